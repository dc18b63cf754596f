"""The other waves of a trial: a placebo test before randomisation, item effects by wave, and whether effects last.

Before randomisation the arms are samples of one population: the average effect beta_1 and the spread of item effects sigma_zeta
are 0, and anything M_A finds is due to chance or a flaw of the trial. M_A is fitted to each wave separately. A later wave is
compared with the analysed one over the persons and items in both; because the persons are the same, the standard error of the
difference comes from resampling them (Efron & Tibshirani, 1993, ch. 8), with the same persons at both waves in each draw.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np

from ..data.trial import ClusterModel, cluster_codes
from ..engine.native import fit_side_by_side, fit_statistics
from ..engine.penalised import penalised_fit, wants_penalised
from ..engine.side_by_side import Job
from ..errors import EngineError, IlhteError
from ..model.fit_result import Fit
from ..model.spec import MODELS
from .bootstrap import SEED, PersonTable, by_laplace
from .delta_method import total_effect_variance
from .effects import Effects
from .generalise import generalise
from .interval import average_interval, spread_interval
from .lrt import likelihood_ratio
from .profile import Profiler, fixed_effect_quantile, objective
from .replicate import run_replicates
from .units import Unit
from .weak import FEWEST_CLUSTERS

if TYPE_CHECKING:
    from ..data.trial import PreparedTrial, Trial
    from .infer import Inference

    _Pair = tuple[tuple[Trial, Fit], tuple[Trial, Fit]]

FEWEST_COMMON = 10
"""Least number of persons in each arm at both waves for a difference between waves."""
FEWEST_COMMON_ITEMS = 3
"""Least number of common items for a difference between waves."""


@dataclass(frozen=True)
class ItemAtWave:
    """One item's effect at a wave and its standard error, in the unit of ``Waves``."""

    item: str
    effect: float
    se: float


@dataclass(frozen=True)
class WaveEffects:
    """Results of M_A at one wave, in the unit of ``Waves``.

    Attributes
    ----------
    wave : name of the wave.
    before : whether it is known to precede randomisation.
    analysed : whether it is the wave of the main analysis.
    n_persons, n_items : numbers of persons and items at this wave.
    average, average_low, average_high : beta_1 with its 95% t interval (``generalise.reach_of_average``).
    spread, spread_low, spread_high : sigma_zeta with its 95% profile interval; NaN for an end that is undefined.
    p : mixture p-value of equal effects on all items.
    items : results for the items, in their order at this wave.
    """

    wave: str
    before: bool
    analysed: bool
    n_persons: int
    n_items: int
    average: float
    average_low: float
    average_high: float
    spread: float
    spread_low: float
    spread_high: float
    p: float
    items: tuple[ItemAtWave, ...]

    @property
    def finds_average(self) -> bool:
        """Whether the interval of the average effect excludes 0."""
        return self.average_low > 0.0 or self.average_high < 0.0


@dataclass(frozen=True)
class WaveDifference:
    """A later wave minus the analysed one, over the persons and items in both, in the unit of ``Waves``.

    Attributes
    ----------
    wave : the later wave.
    n_persons, n_items : numbers in both waves.
    average, spread : differences of beta_1 and sigma_zeta.
    average_se, spread_se : standard errors from resampling persons; NaN without replicates.
    average_low, ... : ends of 95% intervals, normal or, for resampled clusters, t with clusters minus strata degrees of freedom.
    correlation : correlation of the estimated item effects at the two waves.
    replicates : number of replicates that could be fitted.
    of_clusters : whether whole clusters were resampled.
    """

    wave: str
    n_persons: int
    n_items: int
    average: float
    average_se: float
    average_low: float
    average_high: float
    spread: float
    spread_se: float
    spread_low: float
    spread_high: float
    correlation: float
    replicates: int
    of_clusters: bool


@dataclass(frozen=True)
class Waves:
    """Every wave that could be fitted, in order, including the analysed one.

    Attributes
    ----------
    unit : unit of all effects: "SD" of the persons at the analysed wave, so that waves are comparable, or "logit".
    waves : results by wave, in order.
    differences : differences of later waves from the analysed one.
    missing : sentences on waves and differences that could not be computed.
    seed : seed of the resampling.
    """

    unit: Unit
    waves: tuple[WaveEffects, ...]
    differences: tuple[WaveDifference, ...]
    missing: tuple[str, ...]
    seed: int


def waves(
    trial: PreparedTrial,
    fits: dict[str, Fit],
    result: Effects,
    inference: Inference,
    *,
    replicates: int = 0,
    seed: int | None = None,
    workers: int | None = 1,
) -> Waves | None:
    """Results for all waves of a trial; None if it has only one.

    Parameters
    ----------
    trial, fits, result, inference : the analysed wave, its fits, effects and inference.
    replicates, seed, workers : for resampling persons, which gives the standard errors of differences.
    """
    if not trial.other_waves:
        return None
    seed = SEED if seed is None else seed
    rows = cast("Trial", trial)
    missing = [f"Wave {other.name} is left out. {other.reason}" for other in trial.other_waves if other.trial is None]
    known: list[tuple[str, bool, Trial, dict[str, Fit]]] = [(str(trial.wave), False, rows, fits)]
    for other in trial.other_waves:
        if other.trial is None:
            continue
        try:
            own = _fits(other.trial, like=fits["M_A"])
        except EngineError as failure:
            missing.append(f"Wave {other.name} is left out. {failure}")
            continue
        known.append((other.name, other.before, other.trial, own))
    known.sort(key=lambda wave: (not wave[1], _number(wave[0], 0.0 if wave[2] is rows else 1.0)))
    scale = result.scale
    found = tuple(
        _effects(name, before, own, scale.by, _own_ends(result, inference) if of_wave is rows else _ends(of_wave, own))
        for name, before, of_wave, own in known
    )
    found = tuple(
        replace(wave, analysed=of_wave is rows) for wave, (_, _, of_wave, _) in zip(found, known, strict=True)
    )
    differences = []
    here = next(k for k, wave in enumerate(found) if wave.analysed)
    for name, _, later, own in known[here + 1 :]:
        pair = (rows, fits["M_A"]), (later, own["M_A"])
        difference, why_not = _difference(name, pair, scale.by, replicates, seed, workers)
        if difference is not None:
            differences.append(difference)
        else:
            missing.append(why_not)
    return Waves(scale.unit, found, tuple(differences), tuple(missing), seed)


def _number(name: str, otherwise: float) -> float:
    """A wave's number, by which waves are ordered."""
    try:
        return float(name)
    except ValueError:
        return otherwise


def _fits(trial: Trial, like: Fit) -> dict[str, Fit]:
    """M_0 and M_A, with the approximation of the likelihood used by ``like``."""
    fit = partial(fit_statistics, trial.sufficient_statistics(False), method=like.method, nodes=like.nodes)
    null = fit(MODELS["M_0"])
    main = fit(MODELS["M_A"], fitted={"M_0": null})
    return {"M_0": null, "M_A": main}


Ends = tuple[tuple[float, float], tuple[float, float]]
"""Ends of the intervals of beta_1 and sigma_zeta, logits."""


def _own_ends(result: Effects, inference: Inference) -> Ends:
    """The intervals reported for the analysed wave."""
    shown, by = (average_interval(result, inference), spread_interval(result, inference)), result.scale.by
    return ((shown[0].low * by, shown[0].high * by), (shown[1].low * by, shown[1].high * by))


def _ends(trial: Trial, fits: dict[str, Fit]) -> Ends:
    """The intervals that would be reported for the wave on its own (``interval``)."""
    main, statistics = fits["M_A"], trial.sufficient_statistics(False)
    reach, spread = fixed_effect_quantile(main), (math.nan, math.nan)
    with suppress(IlhteError, ArithmeticError, np.linalg.LinAlgError):
        penalised = penalised_fit(statistics, main) if wants_penalised(main) else None
        known = generalise(statistics, main, penalised=penalised).reach
        reach = known if math.isfinite(known) else reach
    with suppress(IlhteError, ArithmeticError, np.linalg.LinAlgError):
        found = Profiler(objective(statistics, main), main, fits["M_0"]).interval("sigma_zeta")
        spread = (found.lower, found.upper)
    estimate, half = main.coefficient("treat"), reach * main.standard_error("treat")
    return (estimate - half, estimate + half), spread


def _effects(name: str, before: bool, fits: dict[str, Fit], by: float, ends: Ends) -> WaveEffects:
    null, main = fits["M_0"], fits["M_A"]
    average = main.coefficient("treat")
    effects = (average + main.ranef[:, 1]) / by
    errors = np.sqrt(total_effect_variance(main)) / by
    items = zip(main.item_names, effects.tolist(), errors.tolist(), strict=True)
    return WaveEffects(
        wave=name,
        before=before,
        analysed=False,
        n_persons=main.n_persons,
        n_items=main.n_items,
        average=average / by,
        average_low=ends[0][0] / by,
        average_high=ends[0][1] / by,
        spread=main.sigma_zeta / by,
        spread_low=ends[1][0] / by,
        spread_high=ends[1][1] / by,
        p=likelihood_ratio(null, main).mixture,
        items=tuple(ItemAtWave(*item) for item in items),
    )


# -- from one wave to a later one --------------------------------------------------------------------------------------


def _difference(
    name: str, waves: _Pair, by: float, replicates: int, seed: int, workers: int | None
) -> tuple[WaveDifference | None, str]:
    """The difference between a later wave and the first, or None and the reason why there is none."""
    first, later = (trial for trial, _ in waves)
    persons = np.intersect1d(_answering(first), _answering(later))
    items = [item for item in first.item_names if item in later.item_names]
    pair = (_restricted(first, persons, items), _restricted(later, persons, items))
    arms = np.bincount(pair[0].treat.astype(int), minlength=2)
    if arms.min() < FEWEST_COMMON or len(items) < FEWEST_COMMON_ITEMS:
        return None, (
            f"Wave {name} is not compared with wave {first.wave}: {len(persons)} persons and {len(items)} items are in both."
        )
    try:
        task = _Draws(pair, waves)
        observed = task.observed() / by
    except IlhteError as failure:
        return None, f"Wave {name} is not compared with wave {first.wave}. {failure}"
    drawn = run_replicates(task, replicates, seed, workers=workers) if replicates else np.empty((0, 2))
    fitted = drawn[~np.isnan(drawn).any(axis=1)]
    se = np.full(2, np.nan)
    if len(fitted) > max(1, replicates // 2):
        few = task.fewest
        se = fitted.std(axis=0, ddof=1) / by * (math.sqrt(few / (few - 1)) if task.of_clusters else 1.0)
    half = task.quantile() * se
    one, two = ((fit.ranef[:, 1] - fit.ranef[:, 1].mean()) for fit in task.before)
    size = float(np.sqrt((one @ one) * (two @ two)))
    return WaveDifference(
        wave=name,
        n_persons=len(persons),
        n_items=len(items),
        average=float(observed[0]),
        average_se=float(se[0]),
        average_low=float(observed[0] - half[0]),
        average_high=float(observed[0] + half[0]),
        spread=float(observed[1]),
        spread_se=float(se[1]),
        spread_low=float(observed[1] - half[1]),
        spread_high=float(observed[1] + half[1]),
        correlation=float(one @ two) / size if size > 0 else math.nan,
        replicates=len(fitted),
        of_clusters=task.of_clusters,
    ), ""


def _answering(trial: Trial) -> np.ndarray:
    """Ids of the persons with a response."""
    return trial.person_ids[np.unique(trial.person)]


def _restricted(trial: Trial, person_ids: np.ndarray, items: list[str]) -> Trial:
    """The trial restricted to these persons, in this order, and these items, in the trial's order."""
    position = np.full(trial.n_persons, -1)
    place = {person: k for k, person in enumerate(person_ids.tolist())}
    position[:] = [place.get(person, -1) for person in trial.person_ids.tolist()]
    kept_items = np.array([name in set(items) for name in trial.item_names])
    new_item = np.cumsum(kept_items) - 1
    rows = (position[trial.person] >= 0) & kept_items[trial.item]
    source = np.flatnonzero(position >= 0)
    source = source[np.argsort(position[source])]
    return replace(
        trial,
        item_names=tuple(name for name, kept in zip(trial.item_names, kept_items, strict=True) if kept),
        person_ids=trial.person_ids[source],
        treat=trial.treat[source],
        person=position[trial.person[rows]],
        item=new_item[trial.item[rows]],
        resp=trial.resp[rows],
        covariate=None,
        covariate_name=None,
        cluster=None if trial.cluster is None else trial.cluster[source],
        formats=None if trial.formats is None else trial.formats.without(kept_items),
        categories=None,
        item_covariates=(),
        other_waves=(),
    )


class _Draws:
    """A ``replicate.Task`` that resamples the persons of two waves within arms, the same at both, and refits both waves.

    Whole clusters are resampled if there are enough of them (``weak.FEWEST_CLUSTERS``) at both waves. Otherwise clusters are strata
    and left out of the models, because what a cluster's persons share at both waves cancels in the difference.
    """

    names: tuple[str, ...] = ("average", "spread")

    def __init__(self, pair: tuple[Trial, Trial], waves: _Pair):
        first = pair[0]
        codes = None if first.cluster is None else cluster_codes(first.cluster)
        self.of_clusters = codes is not None and bool(codes.max() + 1 >= FEWEST_CLUSTERS)
        if not self.of_clusters:
            pair = (
                replace(pair[0], cluster_model=ClusterModel.NONE),
                replace(pair[1], cluster_model=ClusterModel.NONE),
            )
        self.before = [_main(trial, *wave) for trial, wave in zip(pair, waves, strict=True)]
        self.tables = [PersonTable(trial, covariate=False) for trial in pair]
        treat = first.treat.astype(int)
        if self.of_clusters:
            self.unit = cast("np.ndarray", codes)
            arms = [np.unique(self.unit[treat == t]) for t in (0, 1)]
            crossed = len(np.intersect1d(arms[0], arms[1])) > 0
            self.strata = [np.unique(self.unit)] if crossed else arms
        else:
            self.unit = np.arange(first.n_persons)
            stratum = treat if codes is None else treat + 2 * codes
            self.strata = [np.flatnonzero(stratum == k) for k in np.unique(stratum)]

    @property
    def identity(self) -> tuple:
        data = [(t.used, t.class_of, t.arm, t.trials, t.ones) for t in self.tables]
        return (data, self.unit, self.strata)

    @property
    def fewest(self) -> int:
        """Number of units in the smallest stratum."""
        return min(map(len, self.strata))

    def quantile(self) -> float:
        """Half width of a 95% interval in standard errors."""
        from scipy.special import ndtri, stdtrit

        if not self.of_clusters:
            return float(ndtri(0.975))
        return float(stdtrit(sum(map(len, self.strata)) - len(self.strata), 0.975))

    def observed(self) -> np.ndarray:
        """(2,) differences between the waves themselves, computed as in the draws, logits."""
        first, later = (np.array(_values(main)) for main in self.before)
        return later - first

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        return self.together([rng])[0]

    def together(self, generators: list[np.random.Generator]) -> np.ndarray:
        """Many draws side by side, by Laplace, because the variation of estimates is much the same by quadrature."""
        drawn = [self._times(rng) for rng in generators]
        values = np.full((2, len(drawn), 2), np.nan)
        for of_wave, table, before in zip(values, self.tables, self.before, strict=True):
            tables = [table.weighted(times) for times in drawn]
            usable = [k for k, s in enumerate(tables) if 0 < s.n_control_classes < s.n_classes]
            jobs = [Job(tables[k], {"M_A": by_laplace(before)}, near=True) for k in usable]
            for k, fit in zip(usable, fit_side_by_side(jobs, MODELS["M_A"]), strict=True):
                if isinstance(fit, Fit):
                    of_wave[k] = _values(fit)
        return values[1] - values[0]

    def _times(self, rng: np.random.Generator) -> np.ndarray:
        """(P,) number of times each person was drawn."""
        drawn = np.zeros(int(self.unit.max()) + 1)
        for units in self.strata:
            drawn[units] = rng.multinomial(len(units), np.full(len(units), 1.0 / len(units)))
        return drawn[self.unit]


def _main(trial: Trial, whole: Trial, fit: Fit) -> Fit:
    """M_A of some of the persons and items of a wave, whose own is ``fit``."""
    size = [(t.n_persons, t.n_items, t.n_responses, t.cluster_model) for t in (trial, whole)]
    if size[0] == size[1]:
        return fit
    statistics = trial.sufficient_statistics(False)
    return fit_statistics(statistics, MODELS["M_A"], fitted={"M_A": fit}, method=fit.method, nodes=fit.nodes)


def _values(main: Fit) -> tuple[float, float]:
    """beta_1 and sigma_zeta, logits."""
    return main.coefficient("treat"), main.sigma_zeta
