"""What a planned trial would find: power and standard errors, by simulation with the engine and in closed form.

Trials are drawn from the design (``model.simulate``) and fitted as a real one would be: with a pretest by M_B and M_C, without
by M_0 and M_A. The average effect is tested by t with Satterthwaite's degrees of freedom, that effects differ between items by
the likelihood ratio with its mixture p-value, and the interaction with the pretest by its standard error. Logits throughout.

Closed forms, for an equal chance to answer every item:

    SE(beta_1)^2 = sigma_zeta^2 / J + (1/N_1 + 1/N_0) (sigma_theta^2 + 1/I),     SE(beta_3)^2 = the second term,

I the expected information of a person's answers, J times the mean variance of a response. (Of a mean over persons and items:
Brennan 2001, Generalizability Theory; 1/I is the error variance of theta.) Of the test of item effects there is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..engine.native import fit_both
from ..errors import EngineError, InputError
from ..model.fit_result import Fit
from ..model.response_matrix import matrix_statistics
from ..model.simulate import Design, draw_trial
from .lrt import p_values

LEVEL = 0.05
REPLICATES = 1000
SEED = 20250101
STEP_SPACING = 0.5
"""Steps of planned items with more than two categories lie so far apart, logits."""
CHUNK = 64
"""Trials drawn and fitted at a time."""
RESULTS = (
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
"""What each trial gives: beta_1, sigma_zeta and beta_3 in logits, NaN where undefined."""


@dataclass(frozen=True)
class PlannedTest:
    """One test of the planned trial.

    Attributes
    ----------
    name : "average" (beta_1), "items" (sigma_zeta = 0) or "interaction" (beta_3).
    truth : of the parameter, logits.
    power : share of the simulated trials that reject at 5%.
    power_low, power_high : its 95% Monte Carlo interval (Wilson's).
    se : mean standard error in the simulated trials, logits; NaN for the test of items.
    spread_of_estimates : SD of the estimates over the trials, logits.
    closed_se, closed_power : in closed form; NaN where there is none.
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
    """What a design would find.

    Attributes
    ----------
    design : the design, with the seed.
    trials : (R, len(RESULTS)) results of the simulated trials; a row of NaN could not be fitted.
    tests : of the average effect, of the items and, with a pretest, of the interaction.
    """

    design: Design
    trials: np.ndarray
    tests: tuple[PlannedTest, ...]

    @property
    def replicates(self) -> int:
        """R."""
        return len(self.trials)

    @property
    def failed(self) -> int:
        """Trials that could not be fitted."""
        return int(np.isnan(self.trials).all(axis=1).sum())

    def test(self, name: str) -> PlannedTest:
        """One of ``tests``."""
        return next(test for test in self.tests if test.name == name)


def steps_for(categories: int) -> tuple[float, ...] | None:
    """Evenly spaced steps for so many ordered categories; None for two.

    Raises
    ------
    InputError : fewer than two categories.
    """
    if categories < 2:
        raise InputError(f"{categories} categories were asked for: an item has at least 2.")
    if categories == 2:
        return None
    steps = STEP_SPACING * (np.arange(categories - 1) - (categories - 2) / 2.0)
    return tuple(float(step) for step in steps)


def power(
    design: Design, replicates: int = REPLICATES, *, progress: Callable[[int, int], None] = lambda done, of: None
) -> Power:
    """Simulate a design.

    Parameters
    ----------
    design : what is planned; its seed is that of the trials, of which number k is ``draw_trial(design, k)``.
    replicates : how many trials are drawn.
    progress : called with the number of finished trials and of all.

    Raises
    ------
    InputError : no replicates, fewer than three items, or fewer than two persons in an arm.
    """
    if replicates < 1:
        raise InputError(f"{replicates} trials were asked for: at least 1 is needed.")
    if design.n_items < 3 or min(design.n_treated, design.n_persons - design.n_treated) < 2:
        raise InputError("A planned trial needs at least three items and two persons in each arm.")
    rows = np.full((replicates, len(RESULTS)), np.nan)
    for first in range(0, replicates, CHUNK):
        numbers = range(first, min(first + CHUNK, replicates))
        rows[first : numbers.stop] = simulated(design, numbers)
        progress(numbers.stop, replicates)
    return Power(design, rows, _tests(design, rows))


def simulated(design: Design, numbers: range | list[int]) -> np.ndarray:
    """(len(numbers), len(RESULTS)) results of the trials of a design with these numbers."""
    smaller, larger = ("M_0", "M_A") if design.gamma is None else ("M_B", "M_C")
    drawn = [draw_trial(design, k) for k in numbers]
    tables = [matrix_statistics(t.responses, t.treat, t.covariate, formats=design.formats) for t in drawn]
    found = fit_both(tables, smaller, larger, standard_errors=True)
    return np.array([_results(design, fits) for fits in found])


def _results(design: Design, fits: tuple[Fit, Fit] | EngineError) -> list[float]:
    from scipy.special import ndtr, stdtr

    if isinstance(fits, EngineError):
        return [math.nan] * len(RESULTS)
    null, main = fits
    average, se = main.coefficient("treat"), main.standard_error("treat")
    df = degrees_of_freedom(se, main.sigma_zeta, main.n_items, main.n_persons)
    p = 2.0 * float(stdtr(df, -abs(average / se)))
    interaction = interaction_se = interaction_p = math.nan
    if design.gamma is not None:
        interaction, interaction_se = main.coefficient("treat:cov"), main.standard_error("treat:cov")
        interaction_p = 2.0 * float(ndtr(-abs(interaction / interaction_se)))
    items_p = p_values(null.deviance - main.deviance).mixture
    return [average, se, p, main.sigma_zeta, main.rho, items_p, interaction, interaction_se, interaction_p]


def degrees_of_freedom(se: float, sigma_zeta: float, n_items: int, n_persons: float) -> float:
    """Satterthwaite's of beta_1, whose variance is sigma_zeta^2 / J of the items on J - 1 and the rest of the persons on N - 2."""
    of_items = min(sigma_zeta**2 / n_items, se**2)
    of_persons = se**2 - of_items
    return se**4 / (of_items**2 / (n_items - 1) + of_persons**2 / (n_persons - 2))


def _tests(design: Design, rows: np.ndarray) -> tuple[PlannedTest, ...]:
    column = dict(zip(RESULTS, rows.T, strict=True))
    closed = {"average": closed_average(design), "items": (math.nan, math.nan)}
    truths = {"average": design.ate, "items": design.sigma_zeta}
    if design.gamma is not None:
        closed["interaction"], truths["interaction"] = closed_interaction(design), design.beta_3
    tests = []
    for name, truth in truths.items():
        estimates = column["spread" if name == "items" else name]
        # a standard error that is not known rejects nothing
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
    """Wilson's 95% interval of a share observed in n trials (Wilson 1927, JASA 22(158))."""
    z2 = 1.959963984540054**2
    centre = share + z2 / (2 * n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n)))
    return max((centre - half) / (1 + z2 / n), 0.0), min((centre + half) / (1 + z2 / n), 1.0)


# -- closed forms --------------------------------------------------------------------------------------------------


def information(design: Design) -> float:
    """Expected information on theta in a person's answers: J times the mean variance of a response, less what is missing."""
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
    """What persons add to the variance of beta_1 (and all of that of beta_3), squared logits."""
    treated = design.n_treated
    return (1.0 / treated + 1.0 / (design.n_persons - treated)) * (design.sigma_theta**2 + 1.0 / information(design))


def closed_average(design: Design) -> tuple[float, float]:
    """(SE, power) of beta_1 in closed form; the power by the noncentral t distribution."""
    from scipy.special import nctdtr, stdtrit

    # without a pretest in the model its variance is the persons'
    whole = design if design.gamma is not None else replace(design, sigma_theta=design.sigma_person)
    se = math.sqrt(design.sigma_zeta**2 / design.n_items + persons_variance(whole))
    df = degrees_of_freedom(se, design.sigma_zeta, design.n_items, design.n_persons)
    critical, shift = float(stdtrit(df, 1.0 - LEVEL / 2.0)), design.ate / se
    return se, float(1.0 - nctdtr(df, shift, critical) + nctdtr(df, shift, -critical))


def closed_interaction(design: Design) -> tuple[float, float]:
    """(SE, power) of beta_3 in closed form, per SD of the pretest."""
    from scipy.special import ndtr, ndtri

    se = math.sqrt(persons_variance(design))
    critical, shift = float(ndtri(1.0 - LEVEL / 2.0)), design.beta_3 / se
    return se, float(ndtr(shift - critical) + ndtr(-shift - critical))
