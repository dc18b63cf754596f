"""Both engines on one table: differences in the results, processor time, and where lme4 stopped on the native objective.

The native engine's deviance, evaluated at lme4's estimates, splits the difference between the two log-likelihoods into what
lme4 lost by stopping early and the error of the value that it reports. lme4 ends its inner search for the modes
of the random effects (PIRLS) at a relative change of 1e-7 (``tolPwrss``), the native engine when the linear predictors
no longer change; ``tight_logliks`` gives lme4's own value at its estimates with a tolerance of 1e-12.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass

import numpy as np

from ilhte_lib.data.trial import Trial
from ilhte_lib.engine.laplace import LaplaceDeviance
from ilhte_lib.engine.native import fit_model, fit_models, statistics_of
from ilhte_lib.model.fit_result import Fit
from ilhte_lib.model.spec import MODELS, ModelSpec

SAME_LOGLIK = 0.01
"""Log-likelihoods that differ by no more than this agree."""
TIGHT = 1e-12
"""A tolerance of the inner search at which its error is negligible."""
STANDARDISED = ("sigma_theta", "ate_std", "sigma_b_std", "sigma_zeta_std", "rho", "beta3")
"""The estimates that are compared: ``*_std`` in SDs of theta of M_0 (each engine's own), sigma_theta in logits and beta3,
the treatment-by-covariate interaction, in logits per SD of the covariate, as the summary reports them."""


@dataclass(frozen=True)
class Estimates:
    """The results of one engine for one model, as plain values for JSON.

    Attributes
    ----------
    loglik : maximised log-likelihood, as the engine reports it.
    psi : (k,) parameters in the order of ``ModelSpec.psi_names``, logits.
    psi_se : (k,) their standard errors, NaN for a parameter on the boundary.
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


def estimate(trial: Trial, engine: str) -> dict[str, Estimates]:
    """Fit all models that a trial allows with one engine, each timed separately after a warm-up.

    The native engine's estimates are those of ``fit_models`` for all models; its times are those of one model alone,
    including compression. lme4's times include passing the rows to R.

    Parameters
    ----------
    trial : prepared data.
    engine : "native" or "pymer4".

    Raises
    ------
    InputError, EngineError : see ``fit_models``.
    """
    names = [n for n, m in MODELS.items() if trial.covariate is not None or not m.covariate]
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
    """Start R and fit one model, so that loading does not count as fitting time."""
    from ilhte_lib.data.catalogue import load_bundled
    from ilhte_lib.data.prepare import prepare

    small = "sim_n0200_j04_sz00_rho00"
    fit_model(prepare(load_bundled(small, None), small), "M_0", engine="pymer4")


# glFormula orders the random terms, and theta, by their numbers of levels
_LOGLIK = """
function(formula, data, id, item, beta, tolerance) {
  parts <- lme4::glFormula(formula, data = data, family = binomial())
  control <- lme4::glmerControl(tolPwrss = tolerance)
  deviance <- do.call(lme4::mkGlmerDevfun, c(parts, list(control = control)))
  deviance <- lme4::updateGlmerDevfun(deviance, parts$reTrms)
  theta <- list(id = id, item = item)[names(parts$reTrms$cnms)]
  -deviance(c(unlist(theta, use.names = FALSE), beta)) / 2
}
"""


def tight_logliks(trial: Trial, found: dict[str, Estimates]) -> dict[str, float]:
    """lme4's own log-likelihood at given estimates of each model, with the tolerance ``TIGHT`` in its inner search.

    Raises
    ------
    EngineError : R or one of its packages is missing.
    """
    from ilhte_lib.engine.lme4 import model_frame
    from ilhte_lib.engine.r_session import quiet, start_r

    start_r()
    with quiet():
        from pymer4.tidystats.bridge import polars2R
        from rpy2.robjects import FloatVector, Formula, r

        loglik, values = r(_LOGLIK), {}
        for name, estimates in found.items():
            spec = MODELS[name]
            beta, sigma, factor = np.split(estimates.psi, [len(spec.beta_names), len(spec.beta_names) + 1])
            rows = polars2R(model_frame(trial, spec))
            parameters = (FloatVector(part) for part in (sigma, factor, beta))
            values[name] = float(loglik(Formula(spec.formula), rows, *parameters, TIGHT)[0])
    return values


def lme4_versions() -> dict[str, str]:
    """Versions of R, lme4, pymer4 and rpy2.

    Raises
    ------
    EngineError : one of them is missing.
    """
    from importlib.metadata import version

    from ilhte_lib.engine.r_session import quiet, start_r

    start_r()
    with quiet():
        from rpy2.robjects import r

        found = {"R": "getRversion()", "lme4": 'packageVersion("lme4")'}
        in_r = {name: str(r(f"as.character({call})")[0]) for name, call in found.items()}
    return in_r | {name: version(name) for name in ("pymer4", "rpy2")}


def _estimates(fit: Fit, cpu_seconds: float) -> Estimates:
    return Estimates(
        loglik=fit.loglik,
        psi=fit.psi.tolist(),
        psi_se=np.sqrt(np.diagonal(fit.vcov)).tolist(),
        ranef=fit.ranef.tolist(),
        singular=fit.singular,
        converged=fit.converged,
        evaluations=fit.evaluations,
        messages=list(fit.messages),
        cpu_seconds=cpu_seconds,
    )


def compare(
    trial: Trial, native: dict[str, Estimates], lme4: dict[str, Estimates], tight: dict[str, float]
) -> tuple[list[dict], list[dict]]:
    """Both engines' estimates of one table side by side; ``tight`` is from ``tight_logliks``.

    Returns
    -------
    One row per model: tab, model, sizes; ``loglik_native``, ``loglik_lme4`` and, both at lme4's estimates,
    ``loglik_at_lme4``, the native objective, and ``loglik_lme4_tight``, lme4's with a tight inner search; the estimates
    of ``STANDARDISED`` by engine (``ate_std_native``, ``ate_std_lme4``, ...), NaN where a model has none;
    ``largest_difference`` among them (rho only where neither engine is on a boundary); ``largest_item_difference`` of
    any item's easiness or effect beta_1 + zeta_i, SDs; ``distance_se``, the largest distance of a parameter from
    lme4's, in its native standard errors; ``cpu_native``, ``cpu_lme4`` in seconds; ``evaluations_*``, ``singular_*``,
    ``converged_*``; ``lme4_says``, its messages.
    Then one row per item of M_A: tab, item, and by engine ``b_std_*``, ``zeta_std_*``, ``total_std_*`` (beta_1 + zeta_i),
    SDs.
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
        effects = [_item_effects(ours) / scale["native"], _item_effects(theirs) / scale["lme4"]]
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
                "loglik_lme4_tight": tight[name],
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


def _item_effects(found: Estimates) -> np.ndarray:
    """(J, q) easiness and, in models with item effects, effect beta_1 + zeta_i, logits."""
    effects = np.array(found.ranef)
    effects[:, 1:] += found.psi[1]
    return effects


def _items(trial: Trial, native: Estimates, lme4: Estimates, scale: dict[str, float]) -> list[dict]:
    columns = {}
    for engine, found in (("native", native), ("lme4", lme4)):
        easiness, total = _item_effects(found).T / scale[engine]
        zeta = np.array(found.ranef)[:, 1] / scale[engine]
        columns |= {f"b_std_{engine}": easiness, f"zeta_std_{engine}": zeta, f"total_std_{engine}": total}
    return [
        {"tab": trial.tab, "item": item, **{name: float(values[k]) for name, values in columns.items()}}
        for k, item in enumerate(trial.item_names)
    ]


def _sigma_theta(found: Estimates) -> float:
    return found.psi[MODELS["M_0"].psi_names.index("sigma_theta")]


def _standardised(found: Estimates, spec: ModelSpec, scale: float) -> dict[str, float]:
    """The estimates of ``STANDARDISED``; rho is NaN on a boundary, where only its sign is determined."""
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
