"""Inference for one trial beyond its estimates: intervals, tests, resampling, generalisation, single items.

Each part is computed on its own if the trial allows it; one that cannot be computed is NaN or None, with its reason in
``missing``, and never costs the others.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, cast

from ..engine.approximation import ENOUGH_FOR_LAPLACE
from ..engine.native import fit_statistics, statistics_of
from ..engine.threads import one_blas_thread
from ..errors import InputError
from ..model.compress import SufficientStatistics
from ..model.fit_result import Fit
from ..model.formats import StepForm
from ..model.packed import PackedTrials
from ..model.spec import MODELS
from ..progress import step
from .clusters import ClusterResult, cluster_result
from .delta_method import rho_se, sigma_zeta_se
from .effects import Effects
from .interval import reported_intervals
from .lrt import LikelihoodRatio, likelihood_ratio
from .parts import QUICK_WITHOUT, Missing, Part, Parts
from .profile import ProfileCurve, ProfileInterval, Profiler, objective, wald_interval
from .units import Unit
from .weak import FEWEST_CLUSTERS, Weaknesses, weaknesses

if TYPE_CHECKING:
    from ..data.trial import PreparedTrial, Trial
    from .bootstrap import Bootstrap
    from .discriminations import Discriminations
    from .expected_scores import ExpectedScores, StepsTest
    from .generalise import Generalisation
    from .influence import ItemInfluence
    from .items import ItemInference, RobustComparison
    from .sum_score import SumScoreEffect
    from .surface import Surface
    from .without_one_way import WithoutOneWayItems

PARAMETERS = ("treat", "sigma_zeta", "rho", "sigma_theta")
"""Parameters of M_A with profile-likelihood intervals."""
CLUSTERED = (*PARAMETERS, "m11")
"""The same for a model with clusters, whose SD is included."""
RESAMPLED = ("ate_std", "sigma_zeta_std", "rho", "sd_ratio", "beta3_b", "beta3_c", "delta_beta3")
"""Columns of the summary that are resampled; *_std in SDs of theta (whose estimate is resampled too)."""
INFLUENCE_LIMIT = 100_000_000
"""Leaving items out reads all responses once per item; it is skipped beyond this many readings."""

MANY = "{:,} classes of persons with different answered items are too many for it: Wald intervals are given instead."
OUT_OF_CORE = (
    "persons cannot be resampled, sum scores formed or items left out: sample persons (--max-persons) to have these."
)
NO_END = "it has no {} end: the deviance does not rise far enough on that side, or breaks down."
CLUSTERS_OUT_OF_CORE = "clusters are resampled only if the table is in memory."


@dataclass(frozen=True)
class Inference:
    """Inference for one trial; a part that was not requested or could not be computed is None.

    Attributes
    ----------
    statistics : the sufficient statistics of M_A.
    intervals : profile-likelihood and Wald intervals of ``PARAMETERS`` under M_A, logits (rho without unit).
    curves : their profile curves; empty if not requested.
    test : the likelihood ratio of M_0 and M_A with its naive, halved and mixture p-values.
    p_bootstrap : its parametric-bootstrap p-value; NaN without replicates.
    null_replicates : number of replicates under M_0 behind it.
    resampling : replicates of persons or clusters within arm.
    generalisation : generalisation to other items (``generalise``), logits.
    items : intervals and tests for single items, logits.
    robust : mean and robust mean of the item effects, logits.
    influence : M_A without each item; None for three items or a very large trial.
    sum_score : the sum-score analysis; None where scores do not vary.
    without_one_way : M_0 and M_A without the items answered one way in an arm (``weak``); None if there are none, or if no
        conclusions are drawn anyway.
    scores : expected scores by item and arm; None where all items have two categories.
    steps : test of shared steps; None where steps are not shared (partial) or all items have two categories.
    penalised : the penalised fit of M_A (``engine.penalised``), if it is shown; never used in a test.
    discriminations : sensitivity of the item effects to discriminations.
    surface : the likelihood over the spread of item effects and rho, for pooling trials.
    weak : weaknesses of the table that limit conclusions.
    clustered : whether the trial's persons come in clusters.
    clusters : results of M_A about clusters; None where it has none.
    missing : the parts that could not be computed, with reasons.
    left_out : names of the parts that were not wanted (``infer(quick=True)``).
    seconds : wall time.
    """

    statistics: SufficientStatistics
    intervals: dict[str, ProfileInterval]
    curves: tuple[ProfileCurve, ...]
    test: LikelihoodRatio
    p_bootstrap: float
    null_replicates: int
    resampling: Bootstrap | None
    generalisation: Generalisation | None
    items: ItemInference | None
    robust: RobustComparison | None
    influence: ItemInfluence | None
    sum_score: SumScoreEffect | None
    without_one_way: WithoutOneWayItems | None
    scores: ExpectedScores | None
    steps: StepsTest | None
    penalised: Fit | None
    discriminations: Discriminations | None
    surface: Surface | None
    weak: Weaknesses
    clustered: bool
    missing: tuple[Missing, ...]
    seconds: float
    clusters: ClusterResult | None = None
    left_out: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what could not be computed and why."""
        return tuple(map(str, self.missing))

    def why_missing(self, part: Part) -> str:
        """Why a part could not be computed; "" if it was, or was not requested."""
        if part.value in self.left_out:
            return next(missing.reason for missing in self.missing if missing.part is Part.QUICK)
        return next((missing.reason for missing in self.missing if missing.part is part), "")

    @property
    def knows_clusters(self) -> bool:
        """Whether the intervals allow for clusters, because the model has them or they were resampled."""
        return self.clusters is not None or self.takes_drawn_clusters

    @property
    def takes_drawn_clusters(self) -> bool:
        """Whether standard errors from resampled clusters replace the model's.

        They do if the model has no clusters and at least ``weak.FEWEST_CLUSTERS`` were resampled.
        """
        if self.clusters is not None:
            return False
        drawn = self.resampling
        if drawn is None or not drawn.of_clusters or drawn.n_clusters < FEWEST_CLUSTERS:
            return False
        return math.isfinite(drawn.se("ate"))

    @property
    def too_few_clusters(self) -> bool:
        """Whether clusters were resampled from too few for the results to be used."""
        drawn = self.resampling
        return drawn is not None and drawn.of_clusters and drawn.n_clusters < FEWEST_CLUSTERS

    @property
    def model_only(self) -> bool:
        """Whether a clustered trial has only standard errors that treat its persons as independent."""
        return self.clustered and not self.knows_clusters


@one_blas_thread
def infer(
    trial: PreparedTrial,
    fits: dict[str, Fit],
    *,
    replicates: int = 0,
    seed: int | None = None,
    workers: int | None = 1,
    curves: bool = False,
    discriminations: bool = False,
    surface: bool = False,
    quick: bool = False,
) -> Inference:
    """Intervals, tests, resampling, and inference for single and for other items.

    Parameters
    ----------
    trial, fits : prepared data and its fits, at least M_0 and M_A; M_B and M_C are resampled too if given. A trial read out of
        core has no persons to resample, no sum scores and no items to leave out.
    replicates : number for each bootstrap, parametric under M_0 and of persons or clusters within arm; 0 for none.
    seed : seed of both; default ``bootstrap.SEED``.
    workers : processes for the bootstraps; None for one per core.
    curves : whether to compute profile curves.
    discriminations : whether to fit M_0 and M_A with free discriminations (``discriminations``), for tables in memory.
    surface : whether to compute the likelihood over a grid (``surface``).
    quick : whether to compute only the test, the average effect's degrees of freedom and any replicates.

    Raises
    ------
    InputError : the number of replicates or the seed is negative.
    EngineError : M_A is clearly below M_0 in log-likelihood.
    """
    from .bootstrap import SEED

    clock = time.perf_counter()
    if replicates < 0:
        raise InputError(f"The number of replicates is {replicates}: give a number that is not negative.")
    if seed is not None and seed < 0:
        raise InputError(f"The seed is {seed}: give a number that is not negative.")
    null, main = fits["M_0"], fits["M_A"]
    test = likelihood_ratio(null, main)
    statistics = statistics_of(trial, MODELS["M_A"])
    parts = Parts(QUICK_WITHOUT if quick else frozenset())

    from ..engine.penalised import penalised_fit, wants_penalised
    from .generalise import generalise
    from .influence import leave_one_item_out
    from .items import FreeEffects, free_item_effects, item_inference, robust_comparison
    from .sum_score import sum_score_effect
    from .without_one_way import without_one_way_items

    weak = weaknesses(trial, fits)
    # profiles would take hours of evaluations, and in so large a sample Wald intervals are as good
    many = isinstance(statistics.trials, PackedTrials)
    if many:
        parts.missing += [Missing(part, MANY.format(statistics.n_classes)) for part in (Part.PROFILES, Part.FREE)]
    intervals, drawn = ({}, ()) if many else _profiles(statistics, null, main, curves, parts)
    draws = {"seed": SEED if seed is None else seed, "replicates": replicates, "workers": workers}
    p_bootstrap, fitted = math.nan, 0
    if replicates:
        drawn_null = parts.attempt(Part.NULL, lambda: _null_draws(statistics, null, test, draws))
        p_bootstrap, fitted = drawn_null or (math.nan, 0)
    resampling = influence = sum_score = others = slopes = None
    if not trial.rows_known:
        parts.missing.append(Missing(Part.OUT_OF_CORE, OUT_OF_CORE))
        if trial.clustered:
            parts.missing.append(Missing(Part.RESAMPLING, CLUSTERS_OUT_OF_CORE))
    else:
        rows = cast("Trial", trial)
        if replicates:
            resampling = parts.attempt(Part.RESAMPLING, lambda: _resampled(rows, fits, draws))
        sum_score = parts.attempt(Part.SUM_SCORE, lambda: sum_score_effect(rows))
        if weak.one_way_items and not weak.forbids_conclusions:
            others = parts.attempt(Part.SENSITIVITY, lambda: without_one_way_items(rows, fits, weak))
        if discriminations:
            from .discriminations import discriminations as with_slopes

            slopes = parts.attempt(Part.DISCRIMINATIONS, lambda: with_slopes(rows, main))
        if trial.n_items > 3 and trial.n_responses * trial.n_items <= INFLUENCE_LIMIT:
            influence = parts.attempt(Part.INFLUENCE, lambda: leave_one_item_out(rows, main))
    scores = shared = grid = None
    if surface:
        from .surface import surface as over_grid

        grid = parts.attempt(Part.SURFACE, lambda: over_grid(statistics, null, main))
    if main.formats is not None:
        from .expected_scores import expected_scores, steps_test

        scores = expected_scores(main)
        if main.formats.form == StepForm.RATING and len(set(main.formats.group.tolist())) < main.n_items:
            shared = parts.attempt(Part.STEPS, lambda: steps_test(statistics, main))
    penalised = None
    if wants_penalised(main) and not weak.forbids_conclusions and not many:
        penalised = parts.attempt(Part.PENALISED, lambda: penalised_fit(statistics, main))
    free = None
    if not many:
        free = parts.attempt(Part.FREE, lambda: free_item_effects(statistics, main.sigma_persons, main.steps))
    known = free or FreeEffects.undefined(main.n_items)
    tested = parts.attempt(Part.ITEMS, lambda: item_inference(statistics, main, free=known))
    if quick:
        intervals = {name: wald_interval(main, name) for name in PARAMETERS}
        of_design = {
            "Item types": trial.item_covariates,
            "Other waves": trial.other_waves,
            "Who benefits": "M_C" in fits,
        }
        parts.left_out += [name for name, there in of_design.items() if there]
        parts.missing.append(Missing(Part.QUICK, f"{', '.join(parts.left_out)}."))
    return Inference(
        statistics=statistics,
        intervals=intervals,
        curves=drawn,
        test=test,
        p_bootstrap=p_bootstrap,
        null_replicates=fitted,
        resampling=resampling,
        generalisation=parts.attempt(Part.OTHER_ITEMS, lambda: generalise(statistics, main, penalised=penalised)),
        items=tested,
        robust=parts.attempt(Part.ROBUST, lambda: robust_comparison(statistics, main, free=free)) if free else None,
        influence=influence,
        sum_score=sum_score,
        without_one_way=others,
        scores=scores,
        steps=shared,
        penalised=penalised,
        discriminations=slopes,
        surface=grid,
        weak=weak,
        clustered=trial.clustered,
        clusters=cluster_result(main, null),
        left_out=tuple(parts.left_out),
        missing=tuple(parts.missing),
        seconds=time.perf_counter() - clock,
    )


def _profiles(
    statistics: SufficientStatistics, null: Fit, main: Fit, curves: bool, parts: Parts
) -> tuple[dict[str, ProfileInterval], tuple[ProfileCurve, ...]]:
    """Intervals of ``PARAMETERS`` and, if requested, their curves, each attempted separately."""
    intervals: dict[str, ProfileInterval] = {}
    drawn: list[ProfileCurve] = []
    profiler = parts.attempt(Part.PROFILES, lambda: Profiler(objective(statistics, main), main, null))
    if profiler is None:
        return intervals, ()
    for name in CLUSTERED if main.clusters is not None and main.spec.cluster_q == 1 else PARAMETERS:
        interval = parts.attempt(Part.PROFILE, partial(profiler.interval, name, few_items=True), name)
        if interval is None:
            continue
        intervals[name] = interval
        for end, value in (("lower", interval.lower), ("upper", interval.upper)):
            if math.isnan(value):
                parts.missing.append(Missing(Part.PROFILE, NO_END.format(end), name))
        drawn_too = curves and name in PARAMETERS
        curve = parts.attempt(Part.CURVE, partial(profiler.curve, interval), name) if drawn_too else None
        if curve is not None:
            drawn.append(curve)
    return intervals, tuple(drawn)


def _null_draws(statistics: SufficientStatistics, null: Fit, test: LikelihoodRatio, draws: dict) -> tuple[float, int]:
    """P-value and number of replicates.

    For a trial fitted by quadrature, replicates drawn from that fit are fitted by Laplace and compared with the trial's likelihood
    ratio by Laplace, which is valid because any statistic may be compared with its own null distribution.
    """
    from .bootstrap import bootstrap_p_value, by_laplace, parametric_bootstrap

    observed = test.statistic
    if null.method != "laplace":
        smaller = fit_statistics(statistics, null.spec, fitted={"M_0": null}, near=True, standard_errors=False)
        larger = fit_statistics(statistics, MODELS["M_A"], smaller=smaller, standard_errors=False)
        observed = likelihood_ratio(smaller, larger).statistic
    progress = partial(step, "drawing trials with equal effects")
    drawn = parametric_bootstrap(statistics, by_laplace(null), progress=progress, **draws)
    return bootstrap_p_value(observed, drawn), drawn.replicates - drawn.failed


def _resampled(trial: Trial, fits: dict[str, Fit], draws: dict) -> Bootstrap:
    """The resampling, by Laplace if the items are enough for it."""
    from .bootstrap import by_laplace, resampling_bootstrap

    if trial.n_items >= ENOUGH_FOR_LAPLACE:
        fits = {name: by_laplace(fit) for name, fit in fits.items()}
    return resampling_bootstrap(trial, fits, progress=partial(step, "drawing samples of the persons"), **draws)


def with_resampling(result: Effects, inference: Inference) -> Effects:
    """The effects with ``sd_ratio_se`` and ``delta_beta3_se`` from the resampling, if there was one with enough clusters."""
    if inference.resampling is None or inference.too_few_clusters:
        return result
    se = inference.resampling.se
    return replace(
        result, summary={**result.summary, "sd_ratio_se": se("sd_ratio"), "delta_beta3_se": se("delta_beta3")}
    )


def penalised_record(fit: Fit) -> dict:
    """The penalised fit for a document: log-likelihood without the penalty, estimates and standard errors, logits."""
    names = fit.spec.beta_names
    return {
        "loglik": fit.loglik,
        "beta": dict(zip(names, fit.beta, strict=True)),
        "se": dict(zip(names, fit.se, strict=True)),
        "sigma_theta": fit.sigma_theta,
        "sigma_zeta": fit.sigma_zeta,
        "sigma_zeta_se": sigma_zeta_se(fit),
        "rho": fit.rho,
        "rho_se": rho_se(fit),
        "item_cov": fit.item_cov,
        "method": fit.method,
        "converged": fit.converged,
    }


def inference_record(inference: Inference, result: Effects) -> dict:
    """The inference for a document: plain values by name, NaN where undefined.

    Everything is in logits except resampled values whose name ends in _std, in SDs, and average and spread under ``told``, in the
    table's unit. If persons do not differ the resampling also has ate and sigma_zeta, logits. ``clusters`` has the fields of
    ``clusters.ClusterResult``, or is None.
    """
    drawn, summary = inference.resampling, result.summary
    estimates = {name: summary[name] for name in RESAMPLED}
    if result.scale.unit is Unit.LOGIT:
        estimates |= {"ate": result.average, "sigma_zeta": result.spread}

    def resampled(name: str) -> dict:
        estimate = estimates[name]
        at_boundary = name == "rho" and summary["singular"]
        if drawn is None or estimate is None or math.isnan(estimate) or at_boundary:
            return dict.fromkeys(("se", "lower", "upper"), math.nan)
        return dict(zip(("se", "lower", "upper"), (drawn.se(name), *drawn.interval(name, estimate)), strict=True))

    record = {
        "sigma_theta_of_M_0": summary["sigma_theta"],
        "intervals": {name: asdict(interval) for name, interval in inference.intervals.items()},
        "told": {name: asdict(interval) for name, interval in reported_intervals(result, inference).items()},
        "test": {
            **asdict(inference.test),
            "bootstrap": inference.p_bootstrap,
            "bootstrap_replicates": inference.null_replicates,
        },
        "resampling": drawn
        and {
            "scheme": drawn.scheme,
            "seed": drawn.seed,
            "replicates": drawn.replicates,
            "failed": drawn.failed,
            "units": drawn.units,
            "too_few_clusters": inference.too_few_clusters,
            "estimates": {name: resampled(name) for name in estimates},
        },
        "penalised": inference.penalised and penalised_record(inference.penalised),
        "clustered": inference.clustered,
        "clusters": inference.clusters and asdict(inference.clusters),
        "only_model_standard_errors": inference.model_only,
        "notes": inference.notes,
        "left_out": inference.left_out,
        "seconds": inference.seconds,
    }
    names = (
        "generalisation",
        "items",
        "robust",
        "influence",
        "sum_score",
        "without_one_way",
        "scores",
        "steps",
        "discriminations",
        "surface",
    )
    parts = {name: getattr(inference, name) for name in names}
    return record | {name: part and asdict(part) for name, part in parts.items()}
