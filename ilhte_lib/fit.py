"""Fit the four models: starts, minimisation, boundaries, certificate, standard errors."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np

from .compress import SufficientStatistics, sufficient_statistics
from .errors import EngineError, InputError
from .laplace import Evaluation, LaplaceDeviance, ModeNotFound
from .mixed_model import MODELS, SINGULAR_BELOW, Fit, ModelSpec
from .optimise import Minimum, minimise
from .prepare import Trial
from .quadrature import NODES, QuadratureDeviance, quadrature_error
from .starts import further_starts, moment_start, rough_curvature, start_from

ENGINES = ("native", "pymer4")
METHODS = ("laplace", "aghq")
SCALED_GRADIENT_TOLERANCE = 1e-3
"""Certified: no gradient entry of the deviance, times the standard error of its parameter, exceeds this."""
LEAST_CURVATURE = 2e-4
"""Certified: no eigenvalue of the deviance's Hessian is below this, so no standard error above 100 logits."""
NEAR_BOUNDARY = 0.05
"""A standard deviation below this (logits) is also tried at exactly 0."""
SAME_DEVIANCE = 1e-7
"""Two deviances closer than this are the same optimum."""
FEW_ITEMS = 10
"""With no more items than this the deviance has local optima often enough to always search from several starts."""


def statistics_of(trial: Trial, spec: ModelSpec) -> SufficientStatistics:
    """The sufficient statistics of a trial for one model (with the covariate only where the model has it).

    Raises
    ------
    InputError : the model needs a covariate and the trial has none.
    """
    if spec.covariate and trial.covariate is None:
        raise InputError(f"{spec.name} needs a covariate and table {trial.tab} has none: name one (option --covariate).")
    return sufficient_statistics(
        trial.item_names, trial.treat, trial.person, trial.item, trial.resp, trial.covariate if spec.covariate else None
    )


def fit_models(
    trial: Trial, models: Iterable[str] | None = None, *, engine: str = "native", method: str = "laplace", nodes: int = NODES
) -> dict[str, Fit]:
    """Fit the models a trial allows: all four, or M_0 and M_A where there is no covariate.

    Parameters
    ----------
    trial : prepared data.
    models : names among M_0, M_A, M_B, M_C; default all the trial allows.
    engine : "native" or "pymer4" (lme4 in R).
    method, nodes : see ``fit_statistics``; lme4 has Laplace alone.

    Returns
    -------
    Fits by model name, in the order M_0, M_A, M_B, M_C.

    Raises
    ------
    InputError : a name is unknown, a model needs a covariate the trial has not, or the engine has not this method.
    EngineError : the engine is missing or could not fit.
    """
    if engine not in ENGINES:
        raise InputError(f"Engine '{engine}' is not known: use one of {', '.join(ENGINES)}.")
    wanted = list(models) if models is not None else [n for n, m in MODELS.items() if trial.covariate is not None or not m.covariate]
    unknown = [n for n in wanted if n not in MODELS]
    if unknown:
        raise InputError(f"Model '{unknown[0]}' is not known: use one of {', '.join(MODELS)}.")
    names = [n for n in MODELS if n in wanted]
    if engine == "pymer4":
        if method != "laplace":
            raise InputError(f"Engine 'pymer4' has no method '{method}' for two crossed random effects: use engine native.")
        from .pymer4_engine import fit_pymer4

        return {name: fit_pymer4(trial, name) for name in names}
    compressed: dict[bool, SufficientStatistics] = {}
    fits: dict[str, Fit] = {}
    for name in names:
        spec = MODELS[name]
        if spec.covariate not in compressed:
            compressed[spec.covariate] = statistics_of(trial, spec)
        smaller = fits.get({"M_A": "M_0", "M_C": "M_B"}.get(name, ""))
        fits[name] = fit_statistics(compressed[spec.covariate], spec, smaller=smaller, method=method, nodes=nodes)
    return fits


def fit_model(trial: Trial, model: str, *, engine: str = "native", method: str = "laplace", nodes: int = NODES) -> Fit:
    """Fit one model; see ``fit_models``."""
    return fit_models(trial, [model], engine=engine, method=method, nodes=nodes)[model]


def fit_statistics(
    statistics: SufficientStatistics,
    spec: ModelSpec,
    *,
    smaller: Fit | None = None,
    standard_errors: bool = True,
    method: str = "laplace",
    nodes: int = NODES,
) -> Fit:
    """Fit one model to sufficient statistics with the native engine.

    Parameters
    ----------
    statistics : what ``sufficient_statistics`` gave, with the covariate if the model has one.
    spec : the model.
    smaller : a fit of a nested model on the same data, to start from; the result is never below it in log-likelihood.
    standard_errors : whether to compute vcov and the certificate (about as long again as the fit).
    method : "laplace" (lme4's nAGQ = 1) or "aghq", quadrature over persons (see ``quadrature``).
    nodes : quadrature nodes for each class of persons, at least 5; of no use to Laplace.

    Raises
    ------
    InputError : the method is unknown, or the nodes are too few.
    EngineError : no optimum could be found, which no data seen so far have caused.
    """
    clock = time.perf_counter()
    if method not in METHODS:
        raise InputError(f"Method '{method}' is not known: use one of {', '.join(METHODS)}.")
    deviance = LaplaceDeviance(statistics, spec) if method == "laplace" else QuadratureDeviance(statistics, spec, nodes)
    own, easiness = moment_start(statistics, spec)
    start = own if smaller is None else start_from(_psi_of(smaller), smaller.spec, own, spec)
    deviance.start_modes(easiness)
    messages: list[str] = []
    try:
        best, held = _search(deviance, spec, start, messages)
        if method == "aghq":
            messages += quadrature_error(deviance, best.evaluation)
        fit = _result(deviance, spec, best, held, standard_errors, messages)
    except (ModeNotFound, np.linalg.LinAlgError) as failure:
        raise EngineError(f"{spec.name} could not be fitted ({failure}): check the table for items or persons far out.") from None
    return _timed(fit, time.perf_counter() - clock)


def _psi_of(fit: Fit) -> np.ndarray:
    return np.array([*fit.beta, fit.sigma_theta, *fit.item_factor[np.tril_indices(fit.spec.q)]])


def _timed(fit: Fit, seconds: float) -> Fit:
    from dataclasses import replace

    return replace(fit, seconds=seconds)


def _spreads(spec: ModelSpec) -> dict[str, int]:
    """Positions in psi of the parameters with a boundary at 0."""
    return {n: k for k, n in enumerate(spec.psi_names) if n in ("sigma_theta", "l11", "l22")}


def _canonical(psi: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """The same model with sigma, l11 and l22 not negative: D is even in each column of L and in sigma."""
    psi, at = psi.copy(), _spreads(spec)
    psi[at["sigma_theta"]] = abs(psi[at["sigma_theta"]])
    if psi[at["l11"]] < 0:
        psi[at["l11"] : at["l11"] + spec.q] *= -1.0
    if spec.item_effects:
        psi[at["l22"]] = abs(psi[at["l22"]])
    return psi


def _minimise(deviance: LaplaceDeviance, start: np.ndarray, free: np.ndarray) -> Minimum:
    deviance(start)
    n_beta = deviance.n_beta
    longest = np.full(len(start), 2.0)
    longest[n_beta:] = np.maximum(0.7 * np.abs(start[n_beta:]), 0.3)
    return minimise(deviance, start, rough_curvature(deviance, start), free, longest)


def _search(
    deviance: LaplaceDeviance, spec: ModelSpec, start: np.ndarray, messages: list[str]
) -> tuple[Minimum, frozenset[int]]:
    """The best optimum over the starts, and the parameters held at 0 there."""
    everything = np.arange(len(start))
    best, held = _at_boundary(deviance, spec, _minimise(deviance, start, everything))
    psi = best.evaluation.psi
    near_edge = bool(held) or min(abs(psi[k]) for k in _spreads(spec).values()) < NEAR_BOUNDARY
    if spec.item_effects and not near_edge:
        l21, l22 = psi[-2:]
        near_edge = abs(l21) > 0.95 * np.hypot(l21, l22)
    if statistics_are_few(deviance.statistics) or near_edge or not best.converged:
        for other in further_starts(start, psi, spec):
            try:
                rival, rival_held = _at_boundary(deviance, spec, _minimise(deviance, other, everything))
            except ModeNotFound:
                continue
            gain = best.evaluation.deviance - rival.evaluation.deviance
            if gain > SAME_DEVIANCE:
                if gain > 1e-4:
                    messages.append(f"{spec.name}: another start was better by {gain / 2:.4f} in log-likelihood and was taken.")
                best, held = rival, rival_held
    return best, held


def statistics_are_few(statistics: SufficientStatistics) -> bool:
    """Whether the test is so short that several starts are always tried."""
    return statistics.n_items <= FEW_ITEMS


def _at_boundary(deviance: LaplaceDeviance, spec: ModelSpec, found: Minimum) -> tuple[Minimum, frozenset[int]]:
    """Put standard deviations that are all but 0 at exactly 0 where that is no worse, and confirm that 0 is a minimum.

    D is even in sigma, in l22 and in the first column of L, so its gradient there vanishes at 0 whether or not 0 is
    a minimum: what decides is the second derivative (the derivative with respect to the variance).
    """
    at = _spreads(spec)
    held: frozenset[int] = frozenset()
    best = found

    def edge(zero: frozenset[int], start: np.ndarray, confirm: set[int], gain: float) -> Minimum | None:
        """The minimum with ``zero`` at 0, if it is lower by ``gain`` and D rises on leaving 0 in ``confirm``."""
        start[list(zero)] = 0.0
        try:
            there = _minimise(deviance, start, np.array([k for k in range(len(start)) if k not in zero]))
        except ModeNotFound:
            return None
        if there.evaluation.deviance > best.evaluation.deviance - gain or _falls_away(deviance, there.evaluation, confirm):
            return None
        return there

    for name, position in at.items():
        psi = best.evaluation.psi.copy()
        if abs(psi[position]) >= NEAR_BOUNDARY:
            continue
        column = {position}
        if name == "l11" and spec.item_effects:
            # with no easiness variance the factor is free up to a rotation: all of zeta goes to l22
            column.add(at["l11"] + 1)
            psi[at["l22"]] = np.hypot(psi[at["l11"] + 1], psi[at["l22"]])
        there = edge(held | column, psi, column, -SAME_DEVIANCE)
        if there is not None:
            best, held = there, held | column
    if not spec.item_effects:
        return best, held
    l11, l21, l22 = at["l11"], at["l11"] + 1, at["l22"]
    if abs(found.evaluation.psi[l11]) < NEAR_BOUNDARY and l22 not in held:
        # sigma_b = 0 is a saddle unless D is flat in the covariance there: the minimum beside it has |rho| = 1
        psi = best.evaluation.psi.copy()
        psi[l11] = max(abs(psi[l11]), 10.0 * SINGULAR_BELOW)
        psi[l21] = np.copysign(np.hypot(psi[l21], psi[l22]), psi[l21])
        zero = (held - {l11, l21}) | {l22}
        there = edge(zero, psi, {l22}, SAME_DEVIANCE if l11 in held else -SAME_DEVIANCE)
        if there is not None:
            best, held = there, zero
    if l22 in held and l11 not in held and abs(best.evaluation.psi[l21]) < SINGULAR_BELOW:
        there = edge(held | {l21}, best.evaluation.psi.copy(), set(), -SAME_DEVIANCE)
        if there is not None:
            best, held = there, held | {l21}
    return best, held


def _falls_away(deviance: LaplaceDeviance, edge: Evaluation, column: set[int]) -> bool:
    """Whether D falls on leaving 0 in one of these parameters: then 0 is a saddle, not a minimum."""
    for k in column:
        inside = edge.psi.copy()
        inside[k] = 10.0 * SINGULAR_BELOW
        if deviance(inside).gradient[k] < -1e-9 * deviance.statistics.n_responses:
            return True
    return False


def _result(
    deviance: LaplaceDeviance,
    spec: ModelSpec,
    best: Minimum,
    held: frozenset[int],
    standard_errors: bool,
    messages: list[str],
) -> Fit:
    """Certify the optimum and collect what is reported there."""
    n_psi, n_beta = len(spec.psi_names), len(spec.beta_names)
    free = np.array([k for k in range(n_psi) if k not in held])
    psi = _canonical(best.evaluation.psi, spec)
    spread_positions = _spreads(spec).values()
    vcov = np.full((n_psi, n_psi), np.nan)
    smallest, certified = float("nan"), best.converged
    here = deviance(psi)
    if standard_errors:
        # no longer on a plateau, where they would measure the slopes around it
        steps = 1e-3 / np.sqrt(np.maximum(np.diagonal(best.hessian), LEAST_CURVATURE) / 2.0)
        hessian = deviance.hessian(here, steps, free)
        eigenvalues = np.linalg.eigvalsh(hessian)
        smallest = float(eigenvalues[0])
        if smallest > LEAST_CURVATURE:
            step = -np.linalg.solve(hessian, here.gradient[free])
            polished = psi.copy()
            polished[free] += step
            if np.abs(step * np.sqrt(np.diagonal(hessian))).max() > 1e-6:
                after = deviance(_canonical(polished, spec))
                if after.deviance <= here.deviance + 1e-9 * (1.0 + abs(here.deviance)):
                    here = after
                else:
                    here = deviance(psi)
            vcov[np.ix_(free, free)] = 2.0 * np.linalg.inv(hessian)
            scaled = np.abs(here.gradient[free]) * np.sqrt(np.diagonal(vcov)[free])
            certified = bool(scaled.max() < SCALED_GRADIENT_TOLERANCE)
            if not certified:
                messages.append(
                    f"{spec.name}: the optimum is not certified, its gradient is {scaled.max():.1g} standard errors from zero."
                )
        else:
            certified = False
            messages.append(
                f"{spec.name}: the optimum is not certified, the likelihood has no curvature there (responses may be "
                "predicted perfectly): estimates mean nothing, standard errors are undefined."
            )
        if deviance.at is None or not np.array_equal(deviance.at, here.psi):
            here = deviance(here.psi)
    psi = here.psi
    factor = np.zeros((spec.q, spec.q))
    factor[np.tril_indices(spec.q)] = psi[n_beta + 1 :]
    variance = np.diagonal(vcov)[:n_beta]
    jacobian = deviance.item_effect_derivatives() if standard_errors else np.full((deviance.n_items, spec.q, n_psi), np.nan)
    s = deviance.statistics
    return Fit(
        spec=spec,
        engine="native",
        method=deviance.method,
        loglik=-here.deviance / 2.0,
        beta=psi[:n_beta].copy(),
        se=np.sqrt(variance),
        sigma_theta=float(psi[n_beta]),
        item_factor=factor,
        vcov=vcov,
        item_names=s.item_names,
        ranef=deviance.item_effects(),
        ranef_vcov=deviance.item_covariances(),
        ranef_jacobian=jacobian,
        n_persons=s.n_persons,
        n_items=s.n_items,
        n_responses=s.n_responses,
        singular=bool(any(psi[k] < SINGULAR_BELOW for k in spread_positions)),
        converged=certified,
        gradient_norm=float(np.abs(here.gradient[free]).max()),
        hessian_min_eigenvalue=smallest,
        optimizer="BFGS with exact gradient",
        evaluations=deviance.evaluations,
        passes=deviance.passes,
        seconds=float("nan"),
        messages=tuple(messages),
    )
