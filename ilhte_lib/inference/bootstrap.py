"""The bootstrap: parametric under a fitted model, and nonparametric over persons or clusters within arms.

The parametric bootstrap (Efron and Tibshirani 1993, chapter 6; for variance components on their boundary Greven et al. 2008,
Journal of Computational and Graphical Statistics 17(4)) draws new persons, items and responses from a fitted model, in the trial's
own design (arm, covariate and answered items of every person), and refits. Under M_0 it gives the null distribution of the
likelihood ratio.

The nonparametric bootstrap resamples persons within arms, or whole clusters if the trial is clustered (Davison and Hinkley 1997,
section 3.8). It conditions on the items and does not assume the model: its standard errors refer to other persons taking the same
test.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from ..data.trial import ClusterModel, Trial, cluster_codes
from ..engine.native import fit_side_by_side, fit_statistics
from ..engine.side_by_side import Job
from ..errors import EngineError, InputError
from ..messages import quoted
from ..model.compress import Clusters, SufficientStatistics, complete_statistics, sufficient_statistics
from ..model.fit_result import Fit
from ..model.packed import PackedTrials
from ..model.spec import MODELS
from .delta_method import fisher_interval, item_spreads
from .replicate import Progress, one_by_one, run_replicates

REPLICATES = 999
SEED = 20250101
ESTIMANDS = (
    "sigma_theta", "ate", "ate_std", "sigma_zeta", "sigma_zeta_std", "rho", "sd_ratio", "lrt_stat",
    "beta3_b", "beta3_c", "delta_beta3", "lrt_stat_cov",
)  # fmt: skip
"""Results of every replicate, NaN where undefined: sigma_theta (of M_0), ate and sigma_zeta in logits, *_std in SDs of theta, beta3
in logits per SD of the covariate; lrt_stat compares M_0 with M_A, lrt_stat_cov M_B with M_C."""
_BOUNDS = {
    **dict.fromkeys(
        ("sigma_theta", "sigma_zeta", "sigma_zeta_std", "sd_ratio", "lrt_stat", "lrt_stat_cov"), (0.0, np.inf)
    ),
    "rho": (-1.0, 1.0),
}
TIE = 1e-6
"""A replicate's likelihood ratio less than this below the observed one counts as equal to it (rounding)."""


class Scheme(StrEnum):
    """What a bootstrap resamples."""

    MODEL = "trials from a fitted model"
    PERSONS = "persons within arm"
    CLUSTERS = "clusters within arm"
    WHOLE_CLUSTERS = "whole clusters, which hold both arms"


@dataclass(frozen=True)
class Bootstrap:
    """Results of a bootstrap.

    Attributes
    ----------
    scheme : what was resampled; whole clusters if they were not randomised.
    seed : the seed.
    estimates : (B, len(ESTIMANDS)) one row per replicate; a row of NaN is a replicate that could not be fitted.
    units : number of units (persons or clusters) in each arm; persons for the parametric bootstrap; the same number twice if
        clusters hold both arms.
    """

    scheme: Scheme
    seed: int
    estimates: np.ndarray
    units: tuple[int, int]

    @property
    def replicates(self) -> int:
        """B."""
        return len(self.estimates)

    @property
    def failed(self) -> int:
        """Number of replicates that could not be fitted."""
        return int(np.isnan(self.estimates).all(axis=1).sum())

    def draws(self, name: str) -> np.ndarray:
        """The defined replicates of one estimand."""
        column = self.estimates[:, ESTIMANDS.index(name)]
        return column[~np.isnan(column)]

    def se(self, name: str) -> float:
        """Bootstrap standard error (SD of the replicates, n - 1); NaN if fewer than half of them are defined.

        For resampled clusters it is multiplied by sqrt(G / (G - 1)), with G the number of clusters in the smaller arm, because
        resampling G of G units underestimates the variance of a mean by (G - 1) / G (Efron and Tibshirani 1993, An Introduction to
        the Bootstrap, ch. 5).
        """
        draws = self.draws(name)
        if len(draws) <= max(1, self.replicates // 2):
            return float("nan")
        few = min(self.units)
        return float(draws.std(ddof=1)) * (np.sqrt(few / (few - 1)) if self.of_clusters else 1.0)

    @property
    def n_clusters(self) -> int:
        """Number of clusters resampled from; 0 if persons were resampled."""
        if not self.of_clusters:
            return 0
        return self.units[0] if self.scheme == Scheme.WHOLE_CLUSTERS else sum(self.units)

    @property
    def of_clusters(self) -> bool:
        """Whether clusters were resampled."""
        return self.scheme in (Scheme.CLUSTERS, Scheme.WHOLE_CLUSTERS)

    def quantile(self, level: float = 0.95) -> float:
        """Half width of an interval in standard errors: normal or, for clusters, t with clusters minus strata degrees of freedom."""
        from scipy.special import ndtri, stdtrit

        if not self.of_clusters:
            return float(ndtri((1 + level) / 2))
        return float(
            stdtrit(self.units[0] - 1 if self.scheme == Scheme.WHOLE_CLUSTERS else sum(self.units) - 2, (1 + level) / 2)
        )

    def interval(self, name: str, estimate: float, level: float = 0.95) -> tuple[float, float]:
        """``estimate`` -+ ``quantile(level)`` standard errors, cut at the limits of the parameter; NaN as for ``se``.

        For rho it is symmetric in Fisher's z = artanh(rho). The interval holds for these items: with other items sigma_zeta and rho
        would vary more.

        Percentiles of the replicates would be biased: item effects in a sample include the noise of its persons, and resampling
        them adds as much again, so that the replicates' sigma_zeta is above the estimate and their rho below it (the control arm's
        noise enters easiness and effect with opposite signs).
        """
        half = self.quantile(level) * self.se(name)
        if name == "rho":
            return fisher_interval(estimate, half)
        low, high = _BOUNDS.get(name, (-np.inf, np.inf))
        return float(np.maximum(low, estimate - half)), float(np.minimum(high, estimate + half))


def estimands(fits: dict[str, Fit]) -> np.ndarray:
    """(len(ESTIMANDS),) estimates from a set of fits, as defined in ``effects``; NaN where a model is missing."""
    null, main = fits["M_0"], fits["M_A"]
    scale = null.sigma_theta if null.sigma_theta > 0 else np.nan
    control, treated = item_spreads(main)
    ate, spread = main.coefficient("treat"), main.sigma_zeta
    beta3_b = beta3_c = lrt_cov = np.nan
    if "M_B" in fits:
        beta3_b, beta3_c = fits["M_B"].coefficient("treat:cov"), fits["M_C"].coefficient("treat:cov")
        lrt_cov = max(fits["M_B"].deviance - fits["M_C"].deviance, 0.0)
    ratio = treated / control if control > 0 else np.nan
    return np.array(
        [
            null.sigma_theta, ate, ate / scale, spread, spread / scale, main.rho, ratio,
            max(null.deviance - main.deviance, 0.0), beta3_b, beta3_c, beta3_b - beta3_c, lrt_cov,
        ]
    )  # fmt: skip


def by_laplace(fit: Fit) -> Fit:
    """The fit marked as a Laplace fit, so that replicates drawn or started from it are fitted by Laplace."""
    return replace(fit, method="laplace")


def _refit(
    plain: SufficientStatistics, with_covariate: SufficientStatistics | None, before: dict[str, Fit]
) -> dict[str, Fit]:
    """The models refitted to new data by the method of the original fits, each started from its original if there is one."""
    fits: dict[str, Fit] = {}
    first = next(iter(before.values()))
    method, nodes = first.method, first.nodes
    pairs = [("M_0", "M_A", plain)] + ([("M_B", "M_C", with_covariate)] if with_covariate is not None else [])
    for small, large, statistics in pairs:
        null = fit_statistics(
            statistics, MODELS[small], **_starts(before, small), standard_errors=False, method=method, nodes=nodes
        )
        main = fit_statistics(
            statistics, MODELS[large], **_starts(before, large, null), standard_errors=False, method=method, nodes=nodes
        )
        if main.deviance > null.deviance + TIE:
            main = fit_statistics(
                statistics, MODELS[large], smaller=null, standard_errors=False, method=method, nodes=nodes
            )
        fits |= {small: null, large: main}
    return fits


def _starts(before: dict[str, Fit], name: str, null: Fit | None = None) -> dict:
    """Arguments for the start of a model on new data: its original fit, which is not a bound there, or else the smaller model's fit."""
    if name in before:
        return {"fitted": {name: before[name]}, "near": True}
    return {} if null is None else {"fitted": {null.spec.name: null}, "near": True}


def _refit_together(
    plain: list[SufficientStatistics], with_covariate: list[SufficientStatistics] | None, before: dict[str, Fit]
) -> np.ndarray:
    """(len(plain), len(ESTIMANDS)) ``estimands`` of the ``_refit`` of each, with a row of NaN where it failed."""
    found: list[dict[str, Fit]] = [{} for _ in plain]
    first = next(iter(before.values()))
    how = {"method": first.method, "nodes": first.nodes}
    pairs = [("M_0", "M_A", plain)] + ([("M_B", "M_C", with_covariate)] if with_covariate is not None else [])
    for small, large, tables in pairs:
        for name in (small, large):
            going = [k for k, fits in enumerate(found) if fits is not None]
            jobs = [Job(tables[k], **_starts(before, name, found[k].get(small))) for k in going]
            for k, fit in zip(going, fit_side_by_side(jobs, MODELS[name], **how), strict=True):
                if isinstance(fit, Fit):
                    found[k][name] = fit
                else:
                    found[k] = None
        for k, fits in enumerate(found):
            if fits is not None and fits[large].deviance > fits[small].deviance + TIE:
                try:
                    again = fit_statistics(tables[k], MODELS[large], smaller=fits[small], standard_errors=False, **how)
                    fits[large] = again
                except EngineError:
                    found[k] = None
    rows = np.full((len(plain), len(ESTIMANDS)), np.nan)
    for row, fits in zip(rows, found, strict=True):
        if fits is not None:
            row[:] = estimands(fits)
    return rows


# -- parametric ----------------------------------------------------------------------------------------------------


class _ParametricTask:
    """Draws from a fitted model in the design of its data, and refits."""

    names = ESTIMANDS

    def __init__(self, statistics: SufficientStatistics, fit: Fit):
        self.statistics, self.fit = statistics, fit

    @property
    def identity(self) -> tuple:
        s, fit = self.statistics, self.fit
        design = (s.n_control_classes, s.count, s.score, s.covariate, s.trials, s.item_total)
        if s.formats is not None:
            design = (*design, s.formats.highest, s.formats.form, s.at_least)
        psi = np.array([*fit.beta, *fit.steps, fit.sigma_theta, *fit.item_factor.ravel()])
        if s.clusters is not None:
            design = (*design, s.clusters.code, s.clusters.effects)
            psi = np.concatenate([psi, fit.clusters.factor.ravel()])
        # the last digits of an estimate may differ between machines
        return (design, fit.spec.name, fit.method, tuple(f"{value:.5g}" for value in psi))

    def _prepare(self) -> None:
        """Expand the design row by row, in the process that draws."""
        s = self.statistics
        of_class = np.repeat(np.arange(s.n_classes), s.count.astype(int))
        self.treat = s.arm[of_class]
        self.covariate = None if s.covariate is None else s.covariate[of_class]
        self.clusters = {} if s.clusters is None else {
            "cluster": s.clusters.code[of_class], "cluster_effects": s.clusters.effects
        }  # fmt: skip
        columns = [np.ones(len(of_class)), self.treat]
        if self.fit.spec.covariate:
            columns += [self.covariate, self.treat * self.covariate]
        self.fixed = np.column_stack(columns) @ self.fit.beta
        if s.trials is None:
            self.person = np.repeat(np.arange(len(of_class)), s.n_items)
            self.item = np.tile(np.arange(s.n_items), len(of_class))
        else:
            cells = s.trials[of_class].astype(int).ravel()
            cell = np.repeat(np.arange(cells.size), cells)
            self.person, self.item = np.divmod(cell, s.n_items)
        self.cell = self.item + s.n_items * self.treat[self.person].astype(int)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """(n,) responses to the rows of the design."""
        if not hasattr(self, "fixed"):
            self._prepare()
        fit, n_items = self.fit, self.statistics.n_items
        effects = fit.item_factor @ rng.standard_normal((fit.spec.q, n_items))
        by_arm = np.concatenate([effects[0], effects.sum(axis=0)])
        persons = self.fixed + fit.sigma_theta * rng.standard_normal(len(self.fixed))
        if fit.clusters is not None:
            own = rng.standard_normal((fit.clusters.count, len(fit.clusters.factor))) @ fit.clusters.factor.T
            persons = persons + own[self.clusters["cluster"], 0]
            if own.shape[1] == 2:
                persons += own[self.clusters["cluster"], 1] * self.treat
        eta = persons[self.person] + by_arm[self.cell]
        if fit.formats is not None:
            return fit.formats.draw(self.item, eta, fit.steps, rng).astype(np.int8)
        return (rng.random(len(eta)) * (1.0 + np.exp(-eta)) < 1.0).astype(np.int8)

    def compressed(self, resp: np.ndarray, covariate: bool) -> SufficientStatistics:
        """The statistics of drawn responses, with or without the covariate."""
        values = self.covariate if covariate else None
        s = self.statistics
        if values is None and s.trials is None and s.clusters is None:
            return complete_statistics(s.item_names, self.treat, resp.reshape(len(self.treat), -1), s.formats)
        return sufficient_statistics(
            s.item_names, self.treat, self.person, self.item, resp, values, s.formats, **self.clusters
        )

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        resp = self.draw(rng)
        plain = self.compressed(resp, False)
        with_covariate = self.compressed(resp, True) if self.fit.spec.covariate else None
        return estimands(_refit(plain, with_covariate, {self.fit.spec.name: self.fit}))

    def together(self, generators: list[np.random.Generator]) -> np.ndarray:
        """Of many replicates, side by side."""
        if isinstance(self.statistics.trials, PackedTrials):
            return one_by_one(self, generators)
        drawn = [self.draw(rng) for rng in generators]
        plain = [self.compressed(resp, False) for resp in drawn]
        with_covariate = [self.compressed(resp, True) for resp in drawn] if self.fit.spec.covariate else None
        return _refit_together(plain, with_covariate, {self.fit.spec.name: self.fit})

    def __getstate__(self) -> dict:
        return {"statistics": self.statistics, "fit": self.fit}


def parametric_draw(statistics: SufficientStatistics, fit: Fit, rng: np.random.Generator) -> SufficientStatistics:
    """One trial drawn from a fitted model in the design of its data, as for a replicate of the parametric bootstrap."""
    task = _ParametricTask(statistics, fit)
    return task.compressed(task.draw(rng), fit.spec.covariate)


def parametric_bootstrap(
    statistics: SufficientStatistics,
    fit: Fit,
    *,
    replicates: int = REPLICATES,
    seed: int = SEED,
    workers: int | None = None,
    progress: Progress | None = None,
    resume: Path | str | None = None,
) -> Bootstrap:
    """Draw trials from a fitted model and refit them.

    Each replicate draws new person effects N(0, sigma_theta^2), new item effects N(0, L L'), new effects of clusters if the model
    has them, and new responses, with the arms, clusters, covariates and answered items of the trial. It refits M_0 and M_A, and
    also M_B and M_C if ``fit`` is one of these.

    Parameters
    ----------
    statistics : the data of the fit, of which only the design is used.
    fit : any of the four models, from any engine.
    replicates, seed, workers, progress, resume : see ``replicate.run_replicates``.

    Raises
    ------
    InputError : see ``replicate.run_replicates``; or the model needs a covariate that the statistics lack.
    """
    if fit.spec.covariate and statistics.covariate is None:
        raise InputError(f"{fit.spec.name} has a covariate and these statistics have none: compress the data with it.")
    rows = run_replicates(
        _ParametricTask(statistics, fit), replicates, seed, workers=workers, progress=progress, resume=resume
    )
    treated = statistics.count[statistics.n_control_classes :].sum()
    units = (int(statistics.count.sum() - treated), int(treated))
    return Bootstrap(Scheme.MODEL, seed, rows, units)


def bootstrap_p_value(observed: float, bootstrap: Bootstrap, name: str = "lrt_stat") -> float:
    """P-value of a likelihood ratio, ``(1 + #{LR* >= LR}) / (B + 1)`` over the replicates that could be fitted.

    Parameters
    ----------
    observed : the trial's likelihood ratio, D(M_0) - D(M_A).
    bootstrap : replicates drawn under the null model (M_0).
    name : "lrt_stat", or "lrt_stat_cov" for M_B against M_C.

    Source: Davison and Hinkley 1997, equation 4.11.
    """
    draws = bootstrap.draws(name)
    return float((1 + np.count_nonzero(draws >= observed - TIE)) / (len(draws) + 1))


# -- persons and clusters ------------------------------------------------------------------------------------------


class PersonTable:
    """A trial person by person, to be weighted: a draw with replacement is a count for each person.

    The classes of ``compress`` are formed once. Item totals depend on which persons of a class are drawn, so they are computed
    from the persons' own responses.

    Parameters
    ----------
    trial : prepared data.
    covariate : whether classes include the covariate; persons without it are then ignored.
    """

    def __init__(self, trial: Trial, covariate: bool):
        n_persons, n_items = trial.n_persons, trial.n_items
        cell = trial.person * n_items + trial.item
        shape = (n_persons, n_items)
        trials = np.bincount(cell, minlength=n_persons * n_items).reshape(shape)
        self.ones = np.bincount(cell, weights=trial.resp, minlength=n_persons * n_items).reshape(shape)
        used = trials.any(axis=1)
        if covariate:
            used &= ~np.isnan(trial.covariate)
        self.used = np.flatnonzero(used)
        self.ones = self.ones[self.used]
        self.formats, self.at_least = trial.formats, []
        for m in range(1, 1 if trial.formats is None else trial.formats.most + 1):
            reached = np.bincount(cell[trial.resp >= m], minlength=n_persons * n_items).reshape(shape)
            self.at_least.append(reached[self.used].astype(np.int32))
        trials = trials[self.used]
        columns = [trial.treat[self.used].astype(float)]
        known = trial.of_clusters["cluster"]
        self.effects = trial.of_clusters["cluster_effects"]
        if known is not None:
            columns.append(known[self.used].astype(float))
        if covariate:
            columns.append(trial.covariate[self.used])
        self.complete = bool((trials == 1).all())
        if not self.complete:
            columns.extend(trials.T.astype(float))
        columns.append(self.ones.sum(axis=1))
        rows, self.class_of = np.unique(np.column_stack(columns), axis=0, return_inverse=True)
        self.class_of = self.class_of.ravel()
        self.arm, self.score = rows[:, 0], rows[:, -1]
        first = 1 if known is None else 2
        self.cluster = None if known is None else rows[:, 1].astype(np.int64)
        self.covariate = rows[:, first] if covariate else None
        first += 1 if covariate else 0
        self.trials = None if self.complete else rows[:, first : first + n_items]
        self.answered = trials.sum(axis=1)
        self.treated = trial.treat[self.used] == 1
        self.values = trial.covariate[self.used] if covariate else None
        self.item_names = trial.item_names

    def weighted(self, times: np.ndarray) -> SufficientStatistics:
        """The statistics of the trial in which person p occurs ``times[p]`` times (P,)."""
        times = times[self.used].astype(float)
        count = np.bincount(self.class_of, weights=times, minlength=len(self.score))
        kept, clusters = count > 0, None
        if self.cluster is not None:
            kept, count, clusters = self._copies(times)
        return SufficientStatistics(
            item_names=self.item_names,
            n_control_classes=int(np.count_nonzero(self.arm[kept] == 0)),
            count=count if clusters is not None else count[kept],
            score=self.score[kept],
            covariate=None if self.covariate is None else self.covariate[kept],
            trials=None if self.complete else self.trials[kept],
            item_total=np.array([(times * ~self.treated) @ self.ones, (times * self.treated) @ self.ones]),
            n_persons=int(times.sum()),
            n_responses=int(times @ self.answered),
            formats=self.formats,
            at_least=None if self.formats is None else np.column_stack([times @ reached for reached in self.at_least]),
            clusters=clusters,
            covariate_total=None if self.values is None else np.array(
                [(times * arm * self.values) @ self.ones for arm in (~self.treated, self.treated)]
            ),
        )  # fmt: skip

    def _copies(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray, Clusters]:
        """Classes, their counts and clusters, where a cluster drawn r times becomes r clusters rather than one larger one.

        All persons of a cluster are drawn equally often, ``times`` (P,).
        """
        once = np.bincount(self.class_of, minlength=len(self.score)).astype(float)
        drawn = np.zeros(len(self.score), int)
        drawn[self.class_of] = times.astype(int)
        classes = np.repeat(np.arange(len(drawn)), drawn)
        copy = np.arange(len(classes)) - np.repeat(np.cumsum(drawn) - drawn, drawn)
        code = np.unique(self.cluster[classes] + (self.cluster.max() + 1) * copy, return_inverse=True)[1]
        order = np.lexsort((code, self.arm[classes]))
        return classes[order], once[classes[order]], Clusters(code[order], self.effects)


class _ResamplingTask:
    """Resamples persons or clusters within each stratum, and refits."""

    names = ESTIMANDS

    def __init__(self, trial: Trial, before: dict[str, Fit], unit: np.ndarray, strata: list[np.ndarray]):
        self.plain = PersonTable(trial, covariate=False)
        self.with_covariate = PersonTable(trial, covariate=True) if "M_C" in before else None
        self.before, self.unit, self.strata = before, unit, strata

    @property
    def identity(self) -> tuple:
        tables = [table for table in (self.plain, self.with_covariate) if table is not None]
        data = [(t.used, t.class_of, t.arm, t.covariate, t.trials, t.ones) for t in tables]
        return (data, tuple(self.before), self.unit, self.strata)

    def times(self, rng: np.random.Generator) -> np.ndarray:
        """(P,) number of times each person was drawn."""
        drawn = np.zeros(int(self.unit.max()) + 1)
        for units in self.strata:
            drawn[units] = rng.multinomial(len(units), np.full(len(units), 1.0 / len(units)))
        return drawn[self.unit]

    def _drawn(self, rng: np.random.Generator) -> tuple[SufficientStatistics, SufficientStatistics | None]:
        times = self.times(rng)
        plain = self.plain.weighted(times)
        if not 0 < plain.n_control_classes < plain.n_classes:
            raise EngineError("An arm is empty in this draw of clusters.")
        return plain, None if self.with_covariate is None else self.with_covariate.weighted(times)

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        return estimands(_refit(*self._drawn(rng), self.before))

    def together(self, generators: list[np.random.Generator]) -> np.ndarray:
        """Of many replicates, side by side."""
        rows = np.full((len(generators), len(ESTIMANDS)), np.nan)
        drawn = {}
        for k, rng in enumerate(generators):
            with suppress(EngineError):
                drawn[k] = self._drawn(rng)
        if drawn:
            plain, with_covariate = (list(tables) for tables in zip(*drawn.values(), strict=True))
            rows[list(drawn)] = _refit_together(
                plain, None if self.with_covariate is None else with_covariate, self.before
            )
        return rows


def resampling_bootstrap(
    trial: Trial,
    fits: dict[str, Fit],
    *,
    clusters: bool | None = None,
    replicates: int = REPLICATES,
    seed: int = SEED,
    workers: int | None = None,
    progress: Progress | None = None,
    resume: Path | str | None = None,
) -> Bootstrap:
    """Resample persons, or whole clusters, within arms and refit.

    If clusters were randomised, each is in one arm and clusters are resampled within arms. If persons were randomised within
    clusters, a cluster holds both arms and is drawn whole, so that whatever its arms share cancels in the effect as in the trial.
    A person without a cluster is a cluster of one.

    Parameters
    ----------
    trial : prepared data.
    fits : its fits; M_B and M_C are refitted too if given.
    clusters : whether to resample clusters; default if the trial has them. When persons are resampled the models have no clusters.
    replicates, seed, workers, progress, resume : see ``replicate.run_replicates``.

    Raises
    ------
    InputError : clusters were requested and the trial has none, or an arm has fewer than two units.
    """
    if clusters is None:
        clusters = trial.cluster is not None
    if clusters and trial.cluster is None:
        raise InputError(f"Table {trial.tab} has no clusters to draw: name their column (option --cluster).")
    unit = cluster_codes(trial.cluster) if clusters else np.arange(trial.n_persons)
    treated_units, control_units = np.unique(unit[trial.treat == 1]), np.unique(unit[trial.treat == 0])
    strata, scheme = [control_units, treated_units], Scheme.CLUSTERS if clusters else Scheme.PERSONS
    if clusters and len(np.intersect1d(treated_units, control_units)):
        strata, scheme = [np.unique(unit)], Scheme.WHOLE_CLUSTERS
    if min(len(units) for units in strata) < 2:
        raise InputError(
            f"Table {quoted(trial.tab)} has a single {'cluster' if clusters else 'person'} to draw from"
            f"{' in an arm' if len(strata) == 2 else ''}: how they vary cannot be estimated from one."
        )
    if not clusters:
        # resampled persons are not a sample of clusters, so the models leave clusters out
        trial = replace(trial, cluster_model=ClusterModel.NONE)
    before = {name: fits[name] for name in ("M_0", "M_A", "M_B", "M_C") if name in fits}
    rows = run_replicates(
        _ResamplingTask(trial, before, unit, strata),
        replicates,
        seed,
        workers=workers,
        progress=progress,
        resume=resume,
    )
    return Bootstrap(scheme, seed, rows, (len(strata[0]), len(strata[-1])))
