"""An analysis as tidy frames with the column names of R's broom and broom.mixed, which users of lme4 know.

``tidy`` has one row per parameter, ``glance`` one per model, ``augment`` one per response. Intervals are those of
``inference.interval``, so that frames and pages agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError
from .inference.interval import (
    HALF_WIDTH,
    Basis,
    Interval,
    average_interval,
    interaction_interval,
    parameter_interval,
    persons_interval,
    rho_interval,
    spread_interval,
)
from .inference.predict import (
    expected_of,
    fixed_part,
    item_part,
    log_probability,
    persons,
    response_rows,
    rows_of,
    used_rows,
)
from .messages import listed, quoted

if TYPE_CHECKING:
    import pandas as pd

    from .analysis import Analysis
    from .model.fit_result import Fit

TIDY_COLUMNS = (
    "model", "effect", "group", "level", "term", "estimate", "std.error", "statistic", "p.value", "conf.low", "conf.high",
    "conf.method",
)  # fmt: skip
"""Columns of ``tidy``, in logits; ``level`` names a person, item or cluster and is present only with "ran_vals"."""
GLANCE_COLUMNS = (
    "model", "nobs", "npar", "sigma", "logLik", "AIC", "BIC", "deviance", "df.residual", "converged", "singular",
)  # fmt: skip
EFFECTS = ("fixed", "ran_pars", "ran_vals")
KINDS = ("response", "link")
_INTERCEPT = "(Intercept)"
_RANDOM = (
    ("id", f"sd__{_INTERCEPT}", "sigma_theta"),
    ("cluster", f"sd__{_INTERCEPT}", "sigma_u"),
    ("item", f"sd__{_INTERCEPT}", "sigma_b"),
    ("item", f"cor__{_INTERCEPT}.treat", "rho"),
    ("item", "sd__treat", "sigma_zeta"),
)
"""Group and term in broom.mixed, and the parameter's name here."""
_METHODS = {Basis.T: "t", Basis.PROFILE: "profile", Basis.CLUSTERS: "clusters", Basis.WALD: "Wald", Basis.NONE: None}


def tidy(
    analysis: Analysis, model: str | None = None, effects: str | Sequence[str] = ("fixed", "ran_pars")
) -> pd.DataFrame:
    """One row per parameter, columns ``TIDY_COLUMNS``; see ``Analysis.tidy``."""
    import pandas as pd

    if analysis.arms is not None:
        return _of_arms(analysis, lambda one: tidy(one, model, effects))
    wanted = (effects,) if isinstance(effects, str) else tuple(effects)
    for name in wanted:
        if name not in EFFECTS:
            raise InputError(f"There are no effects {quoted(name)}: use one of {listed(EFFECTS, 3)}.")
    rows: list[dict[str, Any]] = []
    for name, fit in _models(analysis, model).items():
        if "fixed" in wanted:
            rows += [{"model": name, "effect": "fixed", **row} for row in _fixed(analysis, fit)]
        if "ran_pars" in wanted:
            rows += [{"model": name, "effect": "ran_pars", **row} for row in _spreads(analysis, fit)]
        if "ran_vals" in wanted:
            rows += [{"model": name, "effect": "ran_vals", **row} for row in _values(analysis, fit)]
    columns = [name for name in TIDY_COLUMNS if name != "level" or "ran_vals" in wanted]
    return pd.DataFrame(rows, columns=columns)


def glance(analysis: Analysis, model: str | None = None) -> pd.DataFrame:
    """One row per model, columns ``GLANCE_COLUMNS``; see ``Analysis.glance``."""
    import pandas as pd

    if analysis.arms is not None:
        return _of_arms(analysis, lambda one: glance(one, model))
    rows = []
    for name, fit in _models(analysis, model).items():
        parameters = len(fit.psi)
        rows.append(
            (
                name, fit.n_responses, parameters, 1.0, fit.loglik, 2 * parameters - 2 * fit.loglik,
                math.log(fit.n_responses) * parameters - 2 * fit.loglik, _deviance(analysis, fit),
                fit.n_responses - parameters, fit.converged, fit.singular,
            )
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(GLANCE_COLUMNS))


def augment(analysis: Analysis, model: str = "M_A") -> pd.DataFrame:
    """One row per response used by the model; see ``Analysis.augment``."""
    refuse_arms(analysis)
    trial, fit = rows_of(analysis.trial), _one(analysis, model)
    frame = response_rows(trial)[used_rows(trial, fit)].reset_index(drop=True)
    person, item = (codes[used_rows(trial, fit)] for codes in (trial.person, trial.item))
    treat = trial.treat[person].astype(float)
    fixed = fixed_part(fit, treat, None if trial.covariate is None else trial.covariate[person])
    found = persons(trial, fit)
    eta = fixed + (found.theta + found.of_cluster)[person] + item_part(fit, treat, item)
    mean = expected_of(fit, eta, item)
    resp = frame["resp"].to_numpy()
    frame[".fitted"], frame[".mu"], frame[".fixed"] = eta, mean, fixed
    frame[".resid"] = np.sign(resp - mean) * np.sqrt(-2.0 * log_probability(fit, eta, item, resp))
    return frame


def predict(
    analysis: Analysis, newdata: pd.DataFrame | None = None, model: str = "M_A", kind: str = "response"
) -> pd.Series:
    """Predictions for persons and items; see ``Analysis.predict``."""
    import pandas as pd

    if kind not in KINDS:
        raise InputError(f"There are no predictions {quoted(kind)}: use one of {' and '.join(KINDS)}.")
    refuse_arms(analysis)
    fit = _one(analysis, model)
    if newdata is None:
        shown = augment(analysis, model)
        return shown[".mu" if kind == "response" else ".fitted"].rename(kind)
    size = len(newdata)
    item = _codes(newdata, "item", fit.item_names)
    theta, treat, cov = np.zeros(size), np.full(size, np.nan), np.zeros(size)
    if "id" in newdata:
        trial = rows_of(analysis.trial)
        person = _codes(newdata, "id", [str(name) for name in trial.person_ids])
        known = person >= 0
        found = persons(trial, fit)
        theta[known] = (found.theta + found.of_cluster)[person[known]]
        treat[known] = trial.treat[person[known]]
        if trial.covariate is not None:
            cov[known] = trial.covariate[person[known]]
    for name, values in (("treat", treat), ("cov", cov)):
        if name in newdata:
            values[:] = pd.to_numeric(newdata[name]).to_numpy(float)
    if np.isnan(treat).any():
        raise InputError(
            "A prediction needs an arm: give a column treat (0 control, 1 treated), or name persons of the trial in id."
        )
    eta = fixed_part(fit, treat, cov) + theta + item_part(fit, treat, item)
    if kind == "link":
        return pd.Series(eta, index=newdata.index, name=kind)
    if fit.formats is not None and (item < 0).any():
        raise InputError("Ratings have no average item: name the items in column item, or use kind='link'.")
    return pd.Series(expected_of(fit, eta, item), index=newdata.index, name=kind)


def refuse_arms(analysis: Analysis) -> None:
    """Raise InputError for a table with several arms, each of which has its own analysis."""
    if analysis.arms is not None:
        first = next(iter(analysis.of_arms))
        raise InputError(f"The table has several arms: use the analysis of one, as in a.of_arms[{quoted(first)}].")


def _of_arms(analysis: Analysis, frame_of: Callable[[Analysis], pd.DataFrame]) -> pd.DataFrame:
    """The frames of all arms stacked, with the arm in the first column."""
    import pandas as pd

    frames = []
    for arm, one in analysis.of_arms.items():
        frame = frame_of(one)
        frame.insert(0, "arm", arm)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _models(analysis: Analysis, model: str | None) -> dict[str, Fit]:
    return dict(analysis.fits) if model is None else {model: _one(analysis, model)}


def _one(analysis: Analysis, model: str) -> Fit:
    if model not in analysis.fits:
        raise InputError(
            f"There is no model {quoted(model)}: this trial has {listed(list(analysis.fits), len(analysis.fits))}."
        )
    return analysis.fits[model]


def _fixed(analysis: Analysis, fit: Fit) -> Iterator[dict[str, Any]]:
    for name in (*fit.spec.beta_names, *fit.spec.steps):
        shown, se = parameter_interval(fit, analysis.inference, name)
        shown = _told(analysis, fit, name) or shown
        yield {
            "term": _INTERCEPT if name == "intercept" else name,
            **_numbers(shown, se),
            **_test(analysis, fit, shown, se),
        }


def _spreads(analysis: Analysis, fit: Fit) -> Iterator[dict[str, Any]]:
    for group, term, name in _RANDOM:
        if not fit.spec.item_effects and name in ("rho", "sigma_zeta"):
            continue
        if name == "sigma_u":
            yield from _clusters(analysis, fit)
            continue
        shown, se = parameter_interval(fit, analysis.inference, name)
        yield {"group": group, "term": term, **_numbers(_told(analysis, fit, name) or shown, se)}


def _clusters(analysis: Analysis, fit: Fit) -> Iterator[dict[str, Any]]:
    """SD of cluster levels and, where the effect varies between clusters, its SD and their correlation."""
    if fit.clusters is None:
        return
    shown, se = parameter_interval(fit, analysis.inference, "sigma_u")
    found = analysis.inference.intervals.get("m11") if fit.spec.name == "M_A" else None
    if found is not None:
        shown = Interval(shown.estimate, found.lower, found.upper, Basis.PROFILE)
    yield {"group": "cluster", "term": f"sd__{_INTERCEPT}", **_numbers(shown, se)}
    if fit.spec.cluster_q == 2:
        of_both = (("cor__(Intercept).treat", fit.clusters.correlation), ("sd__treat", fit.clusters.sigma_effect))
        for term, value in of_both:
            yield {
                "group": "cluster",
                "term": term,
                **_numbers(Interval(value, math.nan, math.nan, Basis.NONE), math.nan),
            }


def _told(analysis: Analysis, fit: Fit, name: str) -> Interval | None:
    """The interval reported in sentences and tables, in logits; None for a parameter that they do not report."""
    result, inference = analysis.effects, analysis.inference
    by = result.scale.by
    if fit.spec.name == "M_A" and name in ("treat", "sigma_zeta"):
        shown = (average_interval if name == "treat" else spread_interval)(result, inference)
        return Interval(shown.estimate * by, shown.low * by, shown.high * by, shown.basis)
    if fit.spec.name == "M_A" and name == "rho":
        return rho_interval(result, inference)
    if fit.spec.name == "M_A" and name == "sigma_theta" and "sigma_theta" in inference.intervals:
        return persons_interval(inference)
    if fit.spec.name in ("M_B", "M_C") and name == "treat:cov":
        return interaction_interval(result, inference, "beta3_b" if fit.spec.name == "M_B" else "beta3_c")
    return None


def _values(analysis: Analysis, fit: Fit) -> Iterator[dict[str, Any]]:
    """Modes of the random effects with conditional standard deviations: items, then clusters and persons if in memory."""
    terms = (_INTERCEPT, "treat")[: fit.spec.q]
    for k, name in enumerate(fit.item_names):
        for at, term in enumerate(terms):
            se = math.sqrt(fit.ranef_vcov[k, at, at])
            yield {"group": "item", "level": name, "term": term, **_numbers(_wald(float(fit.ranef[k, at]), se), se)}
    if analysis.trial.rows_known:
        trial = rows_of(analysis.trial)
        found = persons(trial, fit)
        if found.clusters is not None and found.clusters_se is not None:
            for (k, effect), value in np.ndenumerate(found.clusters):
                se = float(found.clusters_se[k, effect])
                row = {"group": "cluster", "level": str(k), "term": (_INTERCEPT, "treat")[effect]}
                yield {**row, **_numbers(_wald(float(value), se), se)}
        for name, theta, se in zip(trial.person_ids, found.theta, found.se, strict=True):
            if math.isfinite(theta):
                shown = _wald(float(theta), float(se))
                yield {"group": "id", "level": str(name), "term": _INTERCEPT, **_numbers(shown, float(se))}


def _wald(estimate: float, se: float) -> Interval:
    return Interval(estimate, estimate - HALF_WIDTH * se, estimate + HALF_WIDTH * se, Basis.WALD)


def _numbers(shown: Interval, se: float) -> dict[str, Any]:
    return {
        "estimate": shown.estimate,
        "std.error": se,
        "conf.low": shown.low,
        "conf.high": shown.high,
        "conf.method": _METHODS[shown.basis],
    }


def _test(analysis: Analysis, fit: Fit, shown: Interval, se: float) -> dict[str, float]:
    """Statistic and p-value: t where the interval uses t (so that the two agree) or the model has clusters, else Wald z.

    There is none where the interval comes from resampled clusters, which the model's standard error ignores.
    """
    from scipy.special import ndtr, stdtr, stdtrit

    if shown.basis == Basis.CLUSTERS or not se > 0:
        return {}
    here = analysis.inference.generalisation
    if shown.basis == Basis.T and here is not None:
        t = shown.estimate / (se * here.reach / stdtrit(here.df, 0.975))
        return {"statistic": t, "p.value": float(2.0 * stdtr(here.df, -abs(t)))}
    z = shown.estimate / se
    p = ndtr(-abs(z)) if fit.clusters is None else stdtr(fit.clusters.degrees_of_freedom, -abs(z))
    return {"statistic": z, "p.value": float(2.0 * p)}


def _deviance(analysis: Analysis, fit: Fit) -> float:
    """-2 log-likelihood of the responses given all random effects, as lme4's ``deviance``; NaN out of core."""
    if not analysis.trial.rows_known:
        return math.nan
    return float((augment(analysis, fit.spec.name)[".resid"] ** 2).sum())


def _codes(newdata: pd.DataFrame, column: str, names: Sequence[str]) -> np.ndarray:
    """(n,) index of each name; -1, the average person or item, where it is missing or there is no such column."""
    if column not in newdata:
        return np.full(len(newdata), -1)
    places = {name: k for k, name in enumerate(names)}
    given = newdata[column]
    missing = given.isna().to_numpy()
    texts = [str(value) for value in given]
    unknown = [text for text, none in zip(texts, missing, strict=True) if not none and text not in places]
    if unknown:
        raise InputError(
            f"The trial has no {column} {quoted(unknown[0])}: use one that it has, or leave it empty for the average one."
        )
    return np.array([-1 if none else places[text] for text, none in zip(texts, missing, strict=True)], dtype=int)
