"""Power and standard errors of a planned trial, by simulation with the engine and in closed form.

Trials are drawn from the design (``model.simulate``) and analysed like a real one: with a pretest by M_B and M_C, otherwise by
M_0 and M_A, with random effects of clusters if there are any, and by quadrature where ``auto`` always chooses it. The average
effect is tested by t with Satterthwaite's degrees of freedom (``generalise.reach_of_average``), differences between item effects
by the likelihood ratio with its mixture p-value, and the interaction with the pretest by its standard error. Everything is in
logits.

The closed forms assume that every item is equally likely to be answered:

    SE(beta_1)^2 = sigma_zeta^2 / J + (1/N_1 + 1/N_0) (sigma_theta^2 + 1/I),     SE(beta_3)^2 = the second term,

with I the expected information in a person's responses, J times the mean variance of a response, so that 1/I is the error
variance of theta. The first gains (1/G_1 + 1/G_0) sigma_u^2 if clusters are randomised, and sigma_site^2 / G if persons are
randomised within sites. (For a mean over persons and items see Brennan 2001, Generalizability Theory.) There is no closed form
for the test of item effects.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace

import numpy as np

from ..engine.approximation import CHOICES, FEW_ITEMS
from ..engine.native import fit_both, fit_side_by_side, fit_statistics
from ..engine.side_by_side import Job
from ..errors import EngineError, InputError
from ..model.compress import SufficientStatistics
from ..model.fit_result import Fit
from ..model.response_matrix import matrix_statistics
from ..model.simulate import Design, draw_trial
from ..model.spec import MODELS
from .generalise import effect_covariance, reach_of_average
from .lrt import p_values
from .replicate import replicate_number, run_replicates

LEVEL = 0.05
REPLICATES = 1000
SEED = 20250101
STEP_SPACING = 0.5
"""Distance between the steps of planned items with more than two categories, logits."""
RESULTS: tuple[str, ...] = (
    "average",
    "average_se",
    "average_p",
    "spread",
    "rho",
    "items_p",
    "interaction",
    "interaction_se",
    "interaction_p",
)
"""Results of each simulated trial: beta_1, sigma_zeta and beta_3 in logits, NaN where undefined."""


@dataclass(frozen=True)
class PlannedTest:
    """One test of the planned trial.

    Attributes
    ----------
    name : "average" (beta_1), "items" (sigma_zeta = 0) or "interaction" (beta_3).
    truth : true value of the parameter, logits.
    power : share of the simulated trials that reject at 5%.
    power_low, power_high : its 95% Monte Carlo interval (Wilson).
    se : mean standard error in the simulated trials, logits; NaN for the test of items.
    spread_of_estimates : SD of the estimates over the trials, logits.
    closed_se, closed_power : standard error and power in closed form; NaN where there is none.
    """

    name: str
    truth: float
    power: float
    power_low: float
    power_high: float
    se: float
    spread_of_estimates: float
    closed_se: float
    closed_power: float


@dataclass(frozen=True)
class Power:
    """Power of a design.

    Attributes
    ----------
    design : the design, with its seed.
    trials : (R, len(RESULTS)) results of the simulated trials; a row of NaN could not be fitted.
    tests : tests of the average effect, of item effects and, with a pretest, of the interaction.
    method : method by which the trials were fitted, "laplace" or "aghq".
    """

    design: Design
    trials: np.ndarray
    tests: tuple[PlannedTest, ...]
    method: str = "laplace"

    @property
    def replicates(self) -> int:
        """R."""
        return len(self.trials)

    @property
    def failed(self) -> int:
        """Number of trials that could not be fitted."""
        return int(np.isnan(self.trials).all(axis=1).sum())

    def test(self, name: str) -> PlannedTest:
        """One of ``tests`` by name."""
        return next(test for test in self.tests if test.name == name)


def steps_for(categories: int) -> tuple[float, ...] | None:
    """Evenly spaced steps for this many ordered categories; None for two.

    Raises
    ------
    InputError : there are fewer than two categories.
    """
    if categories < 2:
        raise InputError(f"An item cannot have {categories} categories: give at least 2.")
    if categories == 2:
        return None
    steps = STEP_SPACING * (np.arange(categories - 1) - (categories - 2) / 2.0)
    return tuple(float(step) for step in steps)


def method_for(design: Design, method: str = "auto") -> str:
    """The method for trials of a design: that which ``auto`` always chooses for few items, otherwise Laplace.

    With more than ``FEW_ITEMS`` items ``auto`` decides by the data, and nearly always chooses Laplace.

    Raises
    ------
    InputError : the method is unknown, or quadrature was requested with clusters.
    """
    if method not in CHOICES:
        raise InputError(f"Method '{method}' is not known: use one of {', '.join(CHOICES)}.")
    if method == "aghq" and design.clusters is not None:
        raise InputError("Quadrature over persons (aghq) does not support clusters: use method laplace.")
    if method == "auto":
        return "aghq" if design.n_items <= FEW_ITEMS and design.clusters is None else "laplace"
    return method


def power(
    design: Design,
    replicates: int = REPLICATES,
    *,
    method: str = "auto",
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Power:
    """Simulate a design.

    Parameters
    ----------
    design : the planned trial; simulated trial k is ``draw_trial(design, k)``.
    replicates : number of simulated trials.
    method : "auto", "laplace" or "aghq"; see ``method_for``.
    workers : as in ``replicate.run_replicates``; default 1 if trials are fitted side by side, which takes seconds, otherwise one
        per core.
    progress : called with the numbers of finished trials and of all trials.

    Raises
    ------
    InputError : there are no replicates, fewer than three items, or fewer than two persons in an arm.
    """
    if replicates < 1:
        raise InputError(f"The number of simulated trials is {replicates}: give at least 1.")
    if design.n_items < 3 or min(design.n_treated, design.n_persons - design.n_treated) < 2:
        raise InputError("The planned trial is too small: give at least three items and two persons in each arm.")
    method = method_for(design, method)
    together = design.clusters is None
    task = (_PlannedTogether if together else _Planned)(design, method)
    if workers is None and (together or replicates < MANY):
        workers = 1
    rows = run_replicates(task, replicates, design.seed, workers=workers, progress=progress)
    return Power(design, rows, _tests(design, rows), task.method)


MANY = 64
"""From this many trials fitted one by one it pays to start a process on each core."""


@dataclass(frozen=True)
class _Planned:
    """A ``replicate.Task`` that draws trials of a design and fits them by a method."""

    design: Design
    method: str
    names = RESULTS

    @property
    def identity(self) -> tuple:
        return (astuple(self.design), self.method)

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        return simulated(self.design, [replicate_number(rng)], self.method)[0]


class _PlannedTogether(_Planned):
    """The same task with trials fitted side by side."""

    def together(self, generators: list[np.random.Generator]) -> np.ndarray:
        return simulated(self.design, [replicate_number(rng) for rng in generators], self.method)


def simulated(design: Design, numbers: range | list[int], method: str = "laplace") -> np.ndarray:
    """(len(numbers), len(RESULTS)) results of the trials of a design with these numbers."""
    smaller, larger = ("M_0", "M_A") if design.gamma is None else ("M_B", "M_C")
    tables = [_drawn(design, k) for k in numbers]
    if design.clusters is None:
        fits = fit_both(tables, smaller, larger, standard_errors=True)
    else:
        fits = [_one_by_one(table, smaller, larger) for table in tables]
    if method == "aghq":
        fits = _by_quadrature(tables, fits, smaller, larger)
    return np.array([_results(design, table, found) for table, found in zip(tables, fits, strict=True)])


def _drawn(design: Design, number: int) -> SufficientStatistics:
    trial = draw_trial(design, number)
    clusters: dict = {}
    if design.clusters is not None:
        clusters = {"cluster": design.cluster, "cluster_effects": design.sigma_site > 0}
    return matrix_statistics(trial.responses, trial.treat, trial.covariate, formats=design.formats, **clusters)


def _one_by_one(table: SufficientStatistics, smaller: str, larger: str) -> tuple[Fit, Fit] | EngineError:
    try:
        null = fit_statistics(table, MODELS[smaller], standard_errors=False)
        return null, fit_statistics(table, MODELS[larger], smaller=null)
    except EngineError as failure:
        return failure


def _by_quadrature(
    tables: list[SufficientStatistics], found: list[tuple[Fit, Fit] | EngineError], smaller: str, larger: str
) -> list[tuple[Fit, Fit] | EngineError]:
    """The same models by quadrature, started from the Laplace fits."""
    fits = list(found)
    before = {k: pair for k, pair in enumerate(found) if not isinstance(pair, EngineError)}
    jobs = [Job(tables[k], {smaller: pair[0]}) for k, pair in before.items()]
    for k, null in zip(before, fit_side_by_side(jobs, MODELS[smaller], method="aghq"), strict=True):
        fits[k] = null if isinstance(null, EngineError) else (null, before[k][1])
    after = {k: pair for k, pair in enumerate(fits) if not isinstance(pair, EngineError)}
    jobs = [Job(tables[k], {smaller: null, larger: main}) for k, (null, main) in after.items()]
    again = fit_side_by_side(jobs, MODELS[larger], standard_errors=True, method="aghq")
    for k, main in zip(after, again, strict=True):
        fits[k] = main if isinstance(main, EngineError) else (after[k][0], main)
    return fits


def _results(design: Design, table: SufficientStatistics, fits: tuple[Fit, Fit] | EngineError) -> list[float]:
    from scipy.special import ndtr, stdtr, stdtrit

    if isinstance(fits, EngineError):
        return [math.nan] * len(RESULTS)
    null, main = fits
    average, se = main.coefficient("treat"), main.standard_error("treat")
    here = float(np.sqrt(effect_covariance(table, main).sum())) / main.n_items
    of_persons = main.n_persons - 2 if main.clusters is None else main.clusters.degrees_of_freedom
    df, reach = reach_of_average(se, here, main.n_items, of_persons)
    # ratio of the interval's half width to that of a t interval with df degrees of freedom
    wider = reach / float(stdtrit(df, 1.0 - LEVEL / 2.0))
    p = 2.0 * float(stdtr(df, -abs(average / (se * wider))))
    interaction = interaction_se = interaction_p = math.nan
    if design.gamma is not None:
        interaction, interaction_se = main.coefficient("treat:cov"), main.standard_error("treat:cov")
        ratio = -abs(interaction / interaction_se)
        interaction_p = 2.0 * float(ndtr(ratio) if main.clusters is None else stdtr(of_persons, ratio))
    items_p = p_values(null.deviance - main.deviance).mixture
    return [average, se, p, main.sigma_zeta, main.rho, items_p, interaction, interaction_se, interaction_p]


def degrees_of_freedom(se: float, sigma_zeta: float, n_items: int, of_persons: float) -> float:
    """Satterthwaite's degrees of freedom of beta_1.

    Its variance is sigma_zeta^2 / J from items, on J - 1 degrees of freedom, and the rest, on ``of_persons``, from persons or clusters.
    """
    of_items = min(sigma_zeta**2 / n_items, se**2)
    variance_of_persons = se**2 - of_items
    return se**4 / (of_items**2 / (n_items - 1) + variance_of_persons**2 / of_persons)


def _tests(design: Design, rows: np.ndarray) -> tuple[PlannedTest, ...]:
    column = dict(zip(RESULTS, rows.T, strict=True))
    closed = {"average": closed_average(design), "items": (math.nan, math.nan)}
    truths = {"average": design.ate, "items": design.sigma_zeta}
    if design.gamma is not None:
        closed["interaction"], truths["interaction"] = closed_interaction(design), design.beta_3
    tests = []
    for name, truth in truths.items():
        estimates = column["spread" if name == "items" else name]
        # a trial without a standard error does not reject
        fitted = ~np.isnan(rows).all(axis=1)
        rejected = np.nan_to_num(column[f"{name}_p"][fitted], nan=1.0) < LEVEL
        share = float(rejected.mean()) if len(rejected) else math.nan
        low, high = wilson_interval(share, len(rejected)) if len(rejected) else (math.nan, math.nan)
        se = math.nan if name == "items" else _mean(column[f"{name}_se"])
        known = estimates[~np.isnan(estimates)]
        spread = float(known.std(ddof=1)) if len(known) > 1 else math.nan
        tests.append(PlannedTest(name, truth, share, low, high, se, spread, *closed[name]))
    return tuple(tests)


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def wilson_interval(share: float, n: float) -> tuple[float, float]:
    """Wilson's 95% interval for a share observed in n trials (Wilson 1927, JASA 22(158))."""
    z2 = 1.959963984540054**2
    centre = share + z2 / (2 * n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n)))
    return max((centre - half) / (1 + z2 / n), 0.0), min((centre + half) / (1 + z2 / n), 1.0)


# -- closed forms --------------------------------------------------------------------------------------------------


def information(design: Design) -> float:
    """Expected information on theta in a person's responses: mean variance of a response times the number answered."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    eta = np.hypot(design.sigma_person, design.sigma_b) * nodes
    if design.formats is None or design.steps is None:
        p = 1.0 / (1.0 + np.exp(-eta))
        variance = p * (1.0 - p)
    else:
        variance = design.formats.expected(eta[:, None] * np.ones(design.n_items), np.array(design.steps[:-1]))[1][:, 0]
    answered = (1.0 - design.missing) * (1.0 - (1.0 / design.forms if design.forms else 0.0))
    return float(weights @ variance / weights.sum()) * design.n_items * answered


def persons_variance(design: Design) -> float:
    """Persons' part of the variance of beta_1, which is the whole variance of beta_3, squared logits."""
    treated = design.n_treated
    return (1.0 / treated + 1.0 / (design.n_persons - treated)) * (design.sigma_theta**2 + 1.0 / information(design))


def clusters_variance(design: Design) -> float:
    """Clusters' part of the variance of beta_1, squared logits.

    It comes from the levels of clusters if these are randomised, and from effects that differ between sites otherwise.
    """
    if design.clusters is None:
        return 0.0
    if design.sites:
        return design.sigma_site**2 / design.clusters
    treated = design.clusters_treated
    return design.sigma_u**2 * (1.0 / treated + 1.0 / (design.clusters - treated))


def closed_average(design: Design) -> tuple[float, float]:
    """(SE, power) of beta_1 in closed form, with power by the noncentral t distribution."""
    from scipy.special import nctdtr, stdtrit

    # without a pretest in the model its variance is part of that of persons
    whole = design if design.gamma is not None else replace(design, sigma_theta=design.sigma_person)
    se = math.sqrt(design.sigma_zeta**2 / design.n_items + persons_variance(whole) + clusters_variance(design))
    of_persons = design.n_persons - 2 if design.clusters is None else design.clusters - (1 if design.sites else 2)
    df = degrees_of_freedom(se, design.sigma_zeta, design.n_items, of_persons)
    critical, shift = float(stdtrit(df, 1.0 - LEVEL / 2.0)), design.ate / se
    return se, float(1.0 - nctdtr(df, shift, critical) + nctdtr(df, shift, -critical))


def closed_interaction(design: Design) -> tuple[float, float]:
    """(SE, power) of beta_3 in closed form, per SD of the pretest."""
    from scipy.special import ndtr, ndtri

    se = math.sqrt(persons_variance(design))
    critical, shift = float(ndtri(1.0 - LEVEL / 2.0)), design.beta_3 / se
    return se, float(ndtr(shift - critical) + ndtr(-shift - critical))
