"""Both engines on one table: how far apart they end, what each costs, and where lme4 stopped on the native objective.

The native engine's deviance, evaluated at lme4's estimates, parts the difference of the two log-likelihoods in what lme4
lost by where it stopped and in the error of the number it reports there: lme4 ends its inner search for the modes of the
random effects (PIRLS) at a relative change of 1e-7, the native engine when the linear predictors move no more.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .fit import fit_model, fit_models, statistics_of
from .laplace import LaplaceDeviance
from .mixed_model import MODELS, Fit, ModelSpec
from .prepare import Trial

SAME_LOGLIK = 0.01
"""Log-likelihoods no further apart than this agree."""
STANDARDISED = ("sigma_theta", "ate_std", "sigma_b_std", "sigma_zeta_std", "rho", "beta3")
"""Estimates that are compared: ``*_std`` in SDs of theta of M_0 (each engine's own), sigma_theta in logits and beta3, the
treatment-by-covariate interaction, in logits per SD of the covariate, as the summary reports them."""


@dataclass(frozen=True)
class Estimates:
    """What one engine says of one model, as plain values that JSON can keep.

    Attributes
    ----------
    loglik : maximised log-likelihood, as the engine reports it.
    psi : (k,) parameters in the order of ``ModelSpec.psi_names``, logits.
    psi_se : (k,) their standard errors, NaN for one held on the boundary.
    ranef : (J, q) empirical-Bayes item effects, logits.
    singular, converged, evaluations, messages : as in ``Fit``.
    cpu_seconds : processor time, user and system, from prepared rows to estimates with standard errors.
    """

    loglik: float
    psi: list[float]
    psi_se: list[float]
    ranef: list[list[float]]
    singular: bool
    converged: bool
    evaluations: int
    messages: list[str]
    cpu_seconds: float


def estimate(trial: Trial, engine: str, models: Iterable[str] | None = None) -> dict[str, Estimates]:
    """Fit the models a trial allows with one engine, each timed by itself once the engine is warm.

    The native engine's estimates are those of ``fit_models`` on the whole table, its times those of one model alone, rows
    compressed anew; lme4's time includes handing the rows to R.

    Parameters
    ----------
    trial : prepared data.
    engine : "native" or "pymer4".
    models : names; default all the trial allows. M_0 must be among them for standardised estimates.

    Raises
    ------
    InputError, EngineError : see ``fit_models``.
    """
    names = list(models) if models is not None else [n for n, m in MODELS.items() if trial.covariate is not None or not m.covariate]
    if engine == "native":
        fits = fit_models(trial, names)
        return {name: _estimates(fits[name], _timed(trial, name, engine)[1]) for name in names}
    _warm_up()
    return {name: _estimates(*_timed(trial, name, engine)) for name in names}


def _timed(trial: Trial, model: str, engine: str) -> tuple[Fit, float]:
    clock = time.process_time()
    return fit_model(trial, model, engine=engine), time.process_time() - clock


@functools.cache
def _warm_up() -> None:
    """R started and one model fitted: what the first fit of a process pays for loading is nobody's fitting time."""
    from .catalogue import load_bundled
    from .prepare import prepare

    small = "sim_n0200_j04_sz00_rho00"
    fit_model(prepare(load_bundled(small, None), small), "M_0", engine="pymer4")


def lme4_versions() -> dict[str, str]:
    """Versions of R, lme4, pymer4 and rpy2.

    Raises
    ------
    EngineError : one of them is missing.
    """
    from importlib.metadata import version

    from .r_session import quiet, start_r

    start_r()
    with quiet():
        from rpy2.robjects import r

        in_r = {"R": str(r("as.character(getRversion())")[0]), "lme4": str(r('as.character(packageVersion("lme4"))')[0])}
    return in_r | {name: version(name) for name in ("pymer4", "rpy2")}


def _estimates(fit: Fit, cpu_seconds: float) -> Estimates:
    return Estimates(
        loglik=fit.loglik,
        psi=[*fit.beta.tolist(), fit.sigma_theta, *fit.item_factor[np.tril_indices(fit.spec.q)].tolist()],
        psi_se=np.sqrt(np.diagonal(fit.vcov)).tolist(),
        ranef=fit.ranef.tolist(),
        singular=fit.singular,
        converged=fit.converged,
        evaluations=fit.evaluations,
        messages=list(fit.messages),
        cpu_seconds=cpu_seconds,
    )


def compare(trial: Trial, native: dict[str, Estimates], lme4: dict[str, Estimates]) -> tuple[list[dict], list[dict]]:
    """Both engines' estimates of one table side by side.

    Returns
    -------
    One row a model: tab, model, sizes; ``loglik_native``, ``loglik_lme4`` and ``loglik_at_lme4``, the native objective at
    lme4's estimates; the estimates of ``STANDARDISED`` by engine (``ate_std_native``, ``ate_std_lme4``, ...), NaN where a
    model has none; ``largest_difference`` among them (rho only where neither engine is on a boundary);
    ``largest_item_difference`` of any item's easiness or effect, SDs; ``distance_se``, the largest distance of a parameter
    from lme4's, in its native standard errors; ``cpu_native``, ``cpu_lme4`` in seconds; ``evaluations_*``,
    ``singular_*``, ``converged_*``; ``lme4_says``, its messages.
    Then one row an item of M_A: tab, item, ``b_std_*``, ``zeta_std_*`` and ``total_std_*`` (beta_1 + zeta_i) by engine, SDs.
    """
    specs = {name: MODELS[name] for name in lme4}
    scale = {"native": _sigma_theta(native["M_0"]), "lme4": _sigma_theta(lme4["M_0"])}
    models = []
    for name, spec in specs.items():
        ours, theirs = native[name], lme4[name]
        statistics = statistics_of(trial, spec)
        values = {
            engine: _standardised(found, spec, scale[engine]) for engine, found in (("native", ours), ("lme4", theirs))
        }
        gaps = [abs(values["native"][key] - values["lme4"][key]) for key in STANDARDISED]
        effects = [np.array(found.ranef) / s for found, s in ((ours, scale["native"]), (theirs, scale["lme4"]))]
        psi_distance = np.abs(np.array(ours.psi) - theirs.psi) / ours.psi_se
        models.append(
            {
                "tab": trial.tab,
                "model": name,
                "n_persons": statistics.n_persons,
                "n_items": statistics.n_items,
                "n_responses": statistics.n_responses,
                "loglik_native": ours.loglik,
                "loglik_lme4": theirs.loglik,
                "loglik_at_lme4": -LaplaceDeviance(statistics, spec)(np.array(theirs.psi)).deviance / 2.0,
                **{f"{key}_{engine}": values[engine][key] for key in STANDARDISED for engine in values},
                "largest_difference": np.nanmax(gaps),
                "largest_item_difference": np.abs(effects[0] - effects[1]).max(),
                "distance_se": np.nanmax(psi_distance),
                "cpu_native": ours.cpu_seconds,
                "cpu_lme4": theirs.cpu_seconds,
                "evaluations_native": ours.evaluations,
                "evaluations_lme4": theirs.evaluations,
                "singular_native": ours.singular,
                "singular_lme4": theirs.singular,
                "converged_native": ours.converged,
                "converged_lme4": theirs.converged,
                "lme4_says": "; ".join(theirs.messages),
            }
        )
    return models, _items(trial, native["M_A"], lme4["M_A"], scale)


def _items(trial: Trial, native: Estimates, lme4: Estimates, scale: dict[str, float]) -> list[dict]:
    columns = {}
    for engine, found in (("native", native), ("lme4", lme4)):
        easiness, zeta = np.array(found.ranef).T / scale[engine]
        columns |= {f"b_std_{engine}": easiness, f"zeta_std_{engine}": zeta}
        columns[f"total_std_{engine}"] = found.psi[1] / scale[engine] + zeta
    return [
        {"tab": trial.tab, "item": item, **{name: float(values[k]) for name, values in columns.items()}}
        for k, item in enumerate(trial.item_names)
    ]


def _sigma_theta(found: Estimates) -> float:
    return found.psi[MODELS["M_0"].psi_names.index("sigma_theta")]


def _standardised(found: Estimates, spec: ModelSpec, scale: float) -> dict[str, float]:
    """The estimates of ``STANDARDISED`` at psi; rho is NaN on a boundary, where a sign is all there is."""
    psi = dict(zip(spec.psi_names, found.psi, strict=True))
    spread = float(np.hypot(psi["l21"], psi["l22"])) if spec.item_effects else float("nan")
    return {
        "sigma_theta": psi["sigma_theta"],
        "ate_std": psi["treat"] / scale,
        "sigma_b_std": psi["l11"] / scale,
        "sigma_zeta_std": spread / scale,
        "rho": psi["l21"] / spread if spec.item_effects and not found.singular else float("nan"),
        "beta3": psi.get("treat:cov", float("nan")),
    }
