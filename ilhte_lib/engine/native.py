"""Fitting of the four models: starts, minimisation, boundaries, certificate and standard errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import EngineError, InputError
from ..messages import quoted
from ..model.compress import SufficientStatistics
from ..model.fit_result import LOWER, SINGULAR_BELOW, ClusterFit, Fit
from ..model.packed import PackedTrials
from ..model.spec import MODELS, ModelSpec
from ..progress import step
from .approximation import (
    AUTO_MOST_CELLS,
    CHOICES,
    ENOUGH,
    FEW_ITEMS,
    METHODS,
    MORE_NODES,
    NODES,
    NOTICED,
    shift_of_sigma_theta,
)
from .condensed import SAME, condensed, worth_condensing
from .laplace import LaplaceDeviance, laplace_deviance
from .memory import require_work_space
from .objective import MODE_TOLERANCE, SEARCH_TOLERANCE, Deviance, Evaluation, ModeNotFound
from .optimise import DECREASE_TOLERANCE, Basin, Minimum, canonical, minimise
from .quadrature import ARRAYS, QuadratureDeviance, error_messages, quadrature_error
from .quadrature_lanes import QuadratureLanes
from .side_by_side import Job, side_by_side
from .starts import further_starts, longest_steps, rough_curvature, start, start_from
from .thinned import thinned, worth_thinning
from .threads import one_blas_thread

if TYPE_CHECKING:
    from ..data.trial import PreparedTrial

ENGINES = ("native", "pymer4")
SCALED_GRADIENT_TOLERANCE = 1e-3
"""In a certified fit no gradient entry of the deviance, times the standard error of its parameter, exceeds this."""
LEAST_CURVATURE = 2e-4
"""In a certified fit no eigenvalue of the deviance's Hessian is below this, so no standard error exceeds 100 logits."""
SPREADS = ("m11", "m22", "sigma_theta", "l11", "l22")
"""Parameters with a boundary at 0."""
NEAR_BOUNDARY = 0.05
"""A standard deviation below this (logits) is also tried at exactly 0."""
SAME_DEVIANCE = 1e-7
"""Two optima whose deviances are closer than this count as the same."""
HESSIAN_STEP = 1e-3
"""Step of the differences for the Hessian, in rough standard errors."""


def statistics_of(trial: PreparedTrial, spec: ModelSpec) -> SufficientStatistics:
    """The sufficient statistics of a trial for one model, with the covariate only if the model has it.

    Raises
    ------
    InputError : the model needs a covariate and the trial has none.
    """
    if spec.covariate and trial.covariate is None:
        raise InputError(
            f"{spec.name} needs a covariate, but table {trial.tab} has none: name one (option --covariate)."
        )
    return trial.sufficient_statistics(spec.covariate)


def fit_models(
    trial: PreparedTrial,
    models: Iterable[str] | None = None,
    *,
    engine: str = "native",
    method: str = "laplace",
    nodes: int = NODES,
) -> dict[str, Fit]:
    """Fit the models a trial allows: all four, or M_0 and M_A without a covariate.

    Parameters
    ----------
    trial : prepared data.
    models : names among M_0, M_A, M_B, M_C; default all the trial allows.
    engine : "native" or "pymer4" (lme4 in R).
    method, nodes : see ``fit_statistics``; "auto" chooses one method for all models (``approximation``). lme4 has only Laplace.

    Returns
    -------
    Fits by model name, in the order M_0, M_A, M_B, M_C. If ``models`` is None and a model with the covariate cannot be fitted,
    M_0 and M_A are returned, with the reason among the messages of M_A.

    Raises
    ------
    InputError : a name is unknown, a model needs a covariate that the trial lacks, or the engine does not offer the method.
    EngineError : the engine is missing or could not fit.
    """
    if engine not in ENGINES:
        raise InputError(f"Engine '{engine}' is not known: use one of {', '.join(ENGINES)}.")
    wanted = (
        list(models)
        if models is not None
        else [n for n, m in MODELS.items() if trial.covariate is not None or not m.covariate]
    )
    unknown = [n for n in wanted if n not in MODELS]
    if unknown:
        raise InputError(f"Model '{unknown[0]}' is not known: use one of {', '.join(MODELS)}.")
    names = [n for n in MODELS if n in wanted]
    if method not in CHOICES:
        raise InputError(f"Method '{method}' is not known: use one of {', '.join(CHOICES)}.")
    require_work_space()
    if engine == "pymer4":
        if not trial.rows_known:
            raise InputError(f"Table {quoted(trial.tab)} is too large for lme4: use engine native.")
        if trial.formats is not None:
            raise InputError(
                f"Table {quoted(trial.tab)} has items with more than two categories, which lme4 cannot fit: use engine native, or "
                "dichotomise with --threshold."
            )
        if method == "aghq":
            raise InputError(
                f"Engine 'pymer4' does not offer method '{method}' for two crossed random effects: use engine native."
            )
        from .lme4 import fit_pymer4

        return {name: fit_pymer4(trial, name) for name in names}
    compressed: dict[bool, SufficientStatistics] = {}
    fits: dict[str, Fit] = {}
    choice = Choice(method, nodes, {})
    if method == "auto":
        for covariate in {False, trial.covariate is not None}:
            compressed[covariate] = statistics_of(trial, MODELS["M_C" if covariate else "M_A"])
        choice = choose_method(compressed, nodes)
        if choice.method == "aghq":
            choice, fits = _kept_by_quadrature(compressed[False], choice, names)
    for name in names:
        if name in fits:
            continue
        if name in choice.fits and choice.method == "laplace":
            fits[name] = choice.fits[name]
            continue
        step(f"fitting {name}")
        spec = MODELS[name]
        if spec.covariate not in compressed:
            compressed[spec.covariate] = statistics_of(trial, spec)
        try:
            known = {**choice.fits, **fits}
            fits[name] = fit_statistics(
                compressed[spec.covariate], spec, fitted=known, method=choice.method, nodes=choice.nodes
            )
        except EngineError as reason:
            # the models without the covariate are kept
            if models is not None or not spec.covariate or "M_A" not in fits:
                raise
            message = f"M_B and M_C were not fitted: {reason}"
            fits["M_A"] = replace(fits["M_A"], messages=(*fits["M_A"].messages, message))
            fits = {name: fit for name, fit in fits.items() if not MODELS[name].covariate}
            break
    if choice.message and names:
        told = "M_A" if "M_A" in fits else list(fits)[-1]
        fits[told] = replace(fits[told], messages=(*fits[told].messages, choice.message))
    return fits


def _kept_by_quadrature(
    statistics: SufficientStatistics, choice: Choice, names: Sequence[str]
) -> tuple[Choice, dict[str, Fit]]:
    """The choice, and the fits of M_0 and M_A by quadrature; Laplace and none if one of these, but not Laplace's, is not certified.

    Where persons differ enormously, as with Guttman patterns, a search by quadrature may have no end or lead beyond all numbers.
    """
    fits: dict[str, Fit] = {}
    for name in (name for name in names if name in choice.fits):
        step(f"fitting {name}")
        try:
            known = {**choice.fits, **fits}
            fits[name] = fit_statistics(statistics, MODELS[name], fitted=known, method="aghq", nodes=choice.nodes)
            certified = fits[name].converged
        except EngineError:
            certified = False
        if choice.fits[name].converged and not certified:
            message = f"The likelihood is approximated by Laplace, since quadrature over persons leads to no certified optimum of {name}."
            return replace(choice, method="laplace", message=message), {}
    return choice, fits


@dataclass(frozen=True)
class Choice:
    """What ``auto`` chooses: method, nodes, the Laplace fits of M_0 and M_A behind the choice, and a message about it."""

    method: str
    nodes: int
    fits: dict[str, Fit]
    message: str = ""


def choose_method(statistics: Mapping[bool, SufficientStatistics], nodes: int = NODES) -> Choice:
    """What ``auto`` chooses; ``statistics`` has those without the covariate (False) and, if there is one, with it (True)."""
    plain, largest = statistics[False], max(statistics.values(), key=lambda s: s.n_classes)
    if plain.clusters is not None:
        return Choice("laplace", nodes, {})  # quadrature does not support clusters
    cells = largest.n_classes * largest.n_items
    if cells * nodes > AUTO_MOST_CELLS or isinstance(largest.trials, PackedTrials):
        return Choice(
            "laplace", nodes, {},
            f"The likelihood is approximated by Laplace, since quadrature over {largest.n_classes:,} classes of persons would need "
            f"about {8 * ARRAYS * cells * nodes / 2**30:.1f} GB (use --method aghq to try).",
        )  # fmt: skip
    fits: dict[str, Fit] = {}
    for name in ("M_0", "M_A"):
        step(f"fitting {name}")
        fits[name] = fit_statistics(plain, MODELS[name], fitted=fits)
    main = fits["M_A"]
    step("choosing the approximation")
    try:
        deviance = QuadratureDeviance(plain, main.spec, nodes)
        here = deviance(main.psi)
        if not statistics_are_few(plain) and not abs(shift_of_sigma_theta(main, here.gradient)) > NOTICED:
            return Choice("laplace", nodes, fits)
        for more in MORE_NODES:
            if more <= nodes or cells * more > AUTO_MOST_CELLS or quadrature_error(deviance, here)[0] <= ENOUGH:
                continue
            nodes, deviance = more, QuadratureDeviance(plain, main.spec, more)
            here = deviance(main.psi)
    except (ModeNotFound, np.linalg.LinAlgError):
        return Choice("laplace", nodes, fits)
    return Choice("aghq", nodes, fits)


def fit_model(
    trial: PreparedTrial, model: str, *, engine: str = "native", method: str = "laplace", nodes: int = NODES
) -> Fit:
    """Fit one model; see ``fit_models``."""
    return fit_models(trial, [model], engine=engine, method=method, nodes=nodes)[model]


@one_blas_thread
def fit_statistics(
    statistics: SufficientStatistics,
    spec: ModelSpec,
    *,
    smaller: Fit | None = None,
    fitted: Mapping[str, Fit] = MappingProxyType({}),
    standard_errors: bool = True,
    method: str = "laplace",
    nodes: int = NODES,
    near: bool = False,
    deviance: LaplaceDeviance | None = None,
) -> Fit:
    """Fit one model to sufficient statistics with the native engine.

    Parameters
    ----------
    statistics : the result of ``sufficient_statistics``, with the covariate if the model has one.
    spec : the model.
    smaller : a fit of a nested model to the same data, to start from; the result is never below it in log-likelihood.
    fitted : fits of any models to the same or similar data, by name, to start from.
    standard_errors : whether to compute vcov and the certificate, which takes about as long as the fit.
    method : "laplace" (lme4's nAGQ = 1) or "aghq", quadrature over persons (see ``quadrature``).
    nodes : quadrature nodes for each class of persons, at least 5; not used by "laplace".
    near : whether ``fitted`` are fits to the similar data from which these were drawn, or of a smaller model to these. They are then
        no bounds but the only start, this model's own with its Hessian. Further starts found no other optimum in 1,980 resampled
        replicates of ten trials, nor in 3,069 drawn with equal effects from 31 trials.
    deviance : the workspace to fit with, made for these statistics and this model; default a new one.

    Raises
    ------
    InputError : the method is unknown, or there are too few nodes.
    EngineError : no optimum could be found, which no data so far have caused.
    """
    clock = time.perf_counter()
    if smaller is not None:
        fitted = {**fitted, smaller.spec.name: smaller}
    if method not in METHODS:
        raise InputError(f"Method '{method}' is not known: use one of {', '.join(METHODS)}.")
    if method == "aghq" and statistics.clusters is not None:
        raise InputError(
            "Quadrature over persons (aghq) does not support clusters: use method laplace, or leave clusters out of the model."
        )
    if method == "aghq" and isinstance(statistics.trials, PackedTrials):
        raise InputError(
            f"{statistics.n_classes:,} classes of persons are too many for quadrature (aghq): use method laplace."
        )
    if deviance is None and method == "laplace" and worth_condensing(statistics):
        few, fewer = condensed(statistics)
        fit = fit_statistics(few, spec, fitted=fitted, standard_errors=standard_errors, near=near)
        if abs(_at(fit, fewer) - fit.deviance) < SAME + 1e-14 * abs(fit.deviance):
            return replace(fit, seconds=time.perf_counter() - clock)
    if deviance is None:
        deviance = (
            laplace_deviance(statistics, spec) if method == "laplace" else QuadratureDeviance(statistics, spec, nodes)
        )
    spec = deviance.spec
    # psi of fits with other steps or clusters does not match
    same = (spec.steps, spec.cluster_factor)
    fitted = {name: fit for name, fit in fitted.items() if (fit.spec.steps, fit.spec.cluster_factor) == same}
    of_few = None
    if method == "laplace" and worth_thinning(statistics):
        of_few = fit_statistics(thinned(statistics), spec, fitted=fitted)
        fitted = {**fitted, spec.name: of_few}
    first, easiness = start(statistics, spec, fitted)
    deviance.start_modes(easiness)
    if of_few is not None:
        deviance.start_near(of_few)
    like_these = fitted.get(spec.name) if near else of_few
    curvature = None
    if like_these is not None and np.isfinite(like_these.vcov).all():
        curvature = 2.0 * np.linalg.inv(like_these.vcov)
    nested = [
        (smaller.deviance, start_from(smaller.psi, smaller.spec, first, spec))
        for smaller in fitted.values()
        if not near and smaller is not of_few and _is_nested(smaller, statistics, spec, method)
    ]
    fit = fit_deviance(
        deviance,
        first,
        nested,
        standard_errors=standard_errors,
        curvature=curvature,
        further=like_these is None and not near,
    )
    return replace(fit, seconds=time.perf_counter() - clock)


def _at(fit: Fit, statistics: SufficientStatistics) -> float:
    """The deviance of other statistics at a fit's parameters."""
    deviance = LaplaceDeviance(statistics, fit.spec)
    deviance.start_near(fit)
    deviance.start_modes(deviance.w[0])
    return deviance(fit.psi).deviance


def fit_side_by_side(
    jobs: Sequence[Job],
    spec: ModelSpec,
    *,
    standard_errors: bool = False,
    lanes: int | None = None,
    method: str = "laplace",
    nodes: int = NODES,
) -> list[Fit | EngineError]:
    """Fit one model to many tables at once (see ``side_by_side``); the fits equal those of ``fit_statistics``.

    Parameters
    ----------
    jobs : tables of the same items and formats, all complete or all with ``trials``, and all with clusters or none.
    spec : the model.
    standard_errors, method, nodes : as in ``fit_statistics``.
    lanes : number of tables side by side; default by their size.

    Returns
    -------
    For each job, in order, the fit or the error that ended it.
    """

    def fit(job: Job, deviance: Any) -> Fit:
        return fit_statistics(
            job.statistics,
            spec,
            fitted=job.fitted,
            near=job.near,
            standard_errors=standard_errors,
            method=method,
            nodes=nodes,
            deviance=deviance,
        )

    try:
        return side_by_side(jobs, spec, fit, lanes, None if method == "laplace" else (nodes, QuadratureLanes))
    except (ModeNotFound, np.linalg.LinAlgError):
        # one table that defeats linear algebra must not cost the others their fits
        return [_fit_or_failure(fit, job) for job in jobs]


def _fit_or_failure(fit: Callable[[Job, Any], Fit], job: Job) -> Fit | EngineError:
    try:
        return fit(job, None)
    except EngineError as failure:
        return failure


def fit_both(
    tables: Sequence[SufficientStatistics], smaller: str, larger: str, *, standard_errors: bool = False
) -> list[tuple[Fit, Fit] | EngineError]:
    """Fit two nested models to many tables side by side: the smaller, without standard errors, is the start of the larger."""
    found: list = fit_side_by_side([Job(table) for table in tables], MODELS[smaller])
    null = {k: fit for k, fit in enumerate(found) if isinstance(fit, Fit)}
    jobs = [Job(tables[k], {smaller: fit}) for k, fit in null.items()]
    larger_fits = fit_side_by_side(jobs, MODELS[larger], standard_errors=standard_errors)
    for k, main in zip(null, larger_fits, strict=True):
        found[k] = (null[k], main) if isinstance(main, Fit) else main
    return found


def fit_deviance(
    deviance: Deviance,
    first: np.ndarray,
    nested: Sequence[tuple[float, np.ndarray]] = (),
    *,
    standard_errors: bool = True,
    curvature: np.ndarray | None = None,
    further: bool = True,
) -> Fit:
    """Minimise a deviance and certify the optimum.

    Parameters
    ----------
    deviance : ``LaplaceDeviance`` or another with its interface.
    first : (k,) psi to start from.
    nested : deviances of nested models, each with a psi to start from if the optimum found lies above it.
    standard_errors : whether to compute vcov and the certificate.
    curvature : (k, k) initial Hessian; default a guess.
    further : whether to try further starts if items are few or the search ends near a boundary; they are always tried if it does
        not converge. Without them nothing is said of the quadrature's error either.

    Raises
    ------
    EngineError : no optimum could be found.
    """
    spec, method = deviance.spec, deviance.method
    messages: list[str] = []
    deviance.tolerance = SEARCH_TOLERANCE
    try:
        best, held = _search(deviance, spec, first, messages, curvature, further)
        for bound, start_there in nested:
            if bound < best.evaluation.deviance - SAME_DEVIANCE:
                rival, rival_held = _search(deviance, spec, start_there, messages)
                if rival.evaluation.deviance < best.evaluation.deviance:
                    best, held = rival, rival_held
        if further and method == "aghq" and isinstance(deviance, QuadratureDeviance):
            messages += error_messages(deviance, best.evaluation)
        deviance.tolerance = MODE_TOLERANCE
        return _result(deviance, spec, best, held, standard_errors, messages)
    except (ModeNotFound, np.linalg.LinAlgError) as failure:
        raise EngineError(
            f"{spec.name} could not be fitted ({failure}): check the table for items or persons with extreme responses."
        ) from None


def _is_nested(fit: Fit, statistics: SufficientStatistics, spec: ModelSpec, method: str) -> bool:
    """Whether a fit is of a nested model to data of this size, so that ``spec`` cannot have a lower maximum."""
    same_data = (fit.n_persons, fit.n_responses) == (statistics.n_persons, statistics.n_responses)
    return same_data and fit.method == method and set(fit.spec.psi_names) <= set(spec.psi_names)


def _spreads(spec: ModelSpec) -> dict[str, int]:
    """Positions in psi of the parameters with a boundary at 0."""
    return {n: k for k, n in enumerate(spec.psi_names) if n in SPREADS}


def _minimise(
    deviance: LaplaceDeviance,
    start: np.ndarray,
    free: np.ndarray,
    basin: Basin | None = None,
    curvature: np.ndarray | None = None,
) -> Minimum:
    """Search from a start over the parameters ``free``, giving up if it heads for the known minimum of ``basin``.

    The searches of tables fitted side by side run together (``side_by_side``).
    """
    if hasattr(deviance, "minimise"):
        return deviance.minimise(start, free, basin, curvature)
    deviance(start)
    stop = None if basin is None else basin.holds
    curvature = rough_curvature(deviance, start) if curvature is None else curvature
    decrease = getattr(deviance, "decrease", DECREASE_TOLERANCE)
    return minimise(deviance, start, curvature, free, longest_steps(deviance.spec, start), stop, decrease)


def _search(
    deviance: LaplaceDeviance,
    spec: ModelSpec,
    start: np.ndarray,
    messages: list[str],
    curvature: np.ndarray | None = None,
    further: bool = True,
) -> tuple[Minimum, frozenset[int]]:
    """The best optimum over several starts, and the parameters held at 0 there."""
    everything = np.arange(len(start))
    best, held = _at_boundary(deviance, spec, _minimise(deviance, start, everything, None, curvature))
    psi = best.evaluation.psi
    near_edge = bool(held) or min(abs(psi[k]) for k in _spreads(spec).values()) < NEAR_BOUNDARY
    if spec.item_effects and not near_edge:
        l21, l22 = psi[-2:]
        near_edge = abs(l21) > 0.95 * np.hypot(l21, l22)
    if spec.cluster_q == 2 and not near_edge:
        m21, m22 = (psi[spec.psi_names.index(name)] for name in ("m21", "m22"))
        near_edge = abs(m21) > 0.95 * np.hypot(m21, m22)
    if (further and (statistics_are_few(deviance.statistics) or near_edge)) or not best.converged:
        best = _with_exact_hessian(deviance, spec, best)
        for other in further_starts(start, psi, spec):
            known = Basin(best, spec)
            try:
                rival = _minimise(deviance, other, everything, known)
                if known.holds(rival.evaluation):
                    continue
                rival, rival_held = _at_boundary(deviance, spec, rival)
            except (ModeNotFound, np.linalg.LinAlgError):
                continue
            gain = best.evaluation.deviance - rival.evaluation.deviance
            if gain > SAME_DEVIANCE:
                if gain > 1e-4:
                    messages.append(
                        f"{spec.name}: another start gave a log-likelihood higher by {gain / 2:.4f} and was used."
                    )
                best, held = _with_exact_hessian(deviance, spec, rival), rival_held
    return best, held


def _with_exact_hessian(deviance: LaplaceDeviance, spec: ModelSpec, found: Minimum) -> Minimum:
    """The same minimum with canonical signs, and the Hessian from differences of the exact gradient."""
    if found.exact:
        return found
    here = deviance(canonical(found.evaluation.psi, spec))
    # bounded on a plateau, where longer steps would measure the slopes around it
    steps = HESSIAN_STEP / np.sqrt(np.maximum(np.diagonal(found.hessian), LEAST_CURVATURE) / 2.0)
    return Minimum(here, deviance.hessian(here, steps, np.arange(len(steps))), found.converged, exact=True)


def statistics_are_few(statistics: SufficientStatistics) -> bool:
    """Whether the test is so short that several starts are always tried."""
    return statistics.n_items <= FEW_ITEMS


def _at_boundary(deviance: LaplaceDeviance, spec: ModelSpec, found: Minimum) -> tuple[Minimum, frozenset[int]]:
    """Set standard deviations near 0 to exactly 0 where D does not rise, after confirming that 0 is a minimum.

    D is even in sigma, in l22 and in the first column of L, so its gradient in them vanishes at 0 whether or not 0 is a minimum;
    the second derivative (the derivative with respect to the variance) decides.
    """
    at = _spreads(spec)
    held: frozenset[int] = frozenset()
    best = found

    def edge(zero: frozenset[int], start: np.ndarray, confirm: set[int], gain: float) -> Minimum | None:
        """The minimum with ``zero`` at 0, if it is lower by ``gain`` and D rises from 0 in each of ``confirm``."""
        start[list(zero)] = 0.0
        try:
            there = _minimise(deviance, start, np.array([k for k in range(len(start)) if k not in zero]))
        except ModeNotFound:
            return None
        if there.evaluation.deviance > best.evaluation.deviance - gain or _falls_away(
            deviance, there.evaluation, confirm
        ):
            return None
        return there

    for name, position in at.items():
        psi = best.evaluation.psi.copy()
        if abs(psi[position]) >= NEAR_BOUNDARY:
            continue
        column = {position}
        if name.endswith("11") and name[0] + "22" in at:
            # without variance of the level the factor is determined only up to a rotation: put the effect in the second column
            last = at[name[0] + "22"]
            column.add(position + 1)
            psi[last] = np.hypot(psi[position + 1], psi[last])
        there = edge(held | column, psi, column, -SAME_DEVIANCE)
        if there is not None:
            best, held = there, held | column
    for factor in "lm":
        if factor + "22" not in at:
            continue
        l11, l21, l22 = at[factor + "11"], at[factor + "11"] + 1, at[factor + "22"]
        if abs(found.evaluation.psi[l11]) < NEAR_BOUNDARY and l22 not in held:
            # sigma_b = 0 is a saddle unless D is flat in the covariance there; the minimum next to it has |rho| = 1
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
    """Whether D falls from 0 in one of these parameters, so that 0 is a saddle and not a minimum."""
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
    """Certify the optimum and collect the results there."""
    n_psi, n_beta, sigma = len(spec.psi_names), len(spec.beta_names), spec.psi_names.index("sigma_theta")
    free = np.array([k for k in range(n_psi) if k not in held])
    spread_positions = _spreads(spec).values()
    vcov = np.full((n_psi, n_psi), np.nan)
    smallest, certified = float("nan"), best.converged
    if standard_errors:
        best = _with_exact_hessian(deviance, spec, best)
        here, hessian = best.evaluation, best.hessian[np.ix_(free, free)]
        smallest = float(np.linalg.eigvalsh(hessian)[0])
        if smallest > LEAST_CURVATURE:
            vcov[np.ix_(free, free)] = 2.0 * np.linalg.inv(hessian)
            here = _polished(deviance, spec, here, hessian, free)
            scaled = np.abs(here.gradient[free]) * np.sqrt(np.diagonal(vcov)[free])
            certified = bool(scaled.max() < SCALED_GRADIENT_TOLERANCE)
            if not certified:
                messages.append(
                    f"{spec.name}: the optimum is not certified, because its gradient is {scaled.max():.1g} standard errors from "
                    "zero, and standard errors are not given."
                )
                vcov[:] = np.nan
        else:
            certified = False
            messages.append(
                f"{spec.name}: the optimum is not certified, because the likelihood has no curvature there (responses may be "
                "predicted perfectly): estimates are meaningless and standard errors undefined."
            )
    # leave the workspace at the estimates reported
    here = deviance(here.psi if standard_errors else canonical(best.evaluation.psi, spec))
    psi = here.psi
    factor = np.zeros((spec.q, spec.q))
    factor[LOWER[spec.q]] = psi[sigma + 1 :]
    n_steps = n_beta + len(spec.steps)
    variance = np.diagonal(vcov)[:n_beta]
    jacobian = (
        deviance.item_effect_derivatives() if standard_errors else np.full((deviance.n_items, spec.q, n_psi), np.nan)
    )
    s = deviance.statistics
    return Fit(
        spec=spec,
        engine="native",
        method=deviance.method,
        loglik=-here.deviance / 2.0,
        beta=psi[:n_beta].copy(),
        se=np.sqrt(variance),
        sigma_theta=float(psi[sigma]),
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
        steps=psi[n_beta:n_steps].copy(),
        formats=s.formats,
        nodes=getattr(deviance, "nodes", NODES),
        clusters=_cluster_fit(s, spec, psi[n_steps:sigma]),
    )


def _cluster_fit(statistics: SufficientStatistics, spec: ModelSpec, lower: np.ndarray) -> ClusterFit | None:
    """The fitted clusters, from the lower triangle of M; None without clusters."""
    if statistics.clusters is None:
        return None
    factor = np.zeros((spec.cluster_q, spec.cluster_q))
    factor[LOWER[spec.cluster_q]] = lower
    clusters = statistics.clusters
    return ClusterFit(factor, clusters.count, clusters.hold_both_arms(statistics.n_control_classes))


def _polished(
    deviance: LaplaceDeviance, spec: ModelSpec, here: Evaluation, hessian: np.ndarray, free: np.ndarray
) -> Evaluation:
    """One Newton step with the exact Hessian of the free parameters, if it is not negligible and does not raise D."""
    step = -np.linalg.solve(hessian, here.gradient[free])
    decrease = getattr(deviance, "decrease", DECREASE_TOLERANCE)
    # where passes take long, what the search did not go on for is not worth one either
    least = 1e-6 if decrease <= DECREASE_TOLERANCE else np.sqrt(2.0 * decrease)
    if np.abs(step * np.sqrt(np.diagonal(hessian))).max() <= least:
        return here
    psi = here.psi.copy()
    psi[free] += step
    after = deviance(canonical(psi, spec))
    return after if after.deviance <= here.deviance + 1e-9 * (1.0 + abs(here.deviance)) else here
