"""Several treatments against one control: their average effects and tests side by side, corrected for their number.

Every arm is analysed with the same control persons, so that their estimates are positively correlated. Holm's correction is
valid whatever the correlation (Holm 1979); with it the chance of any false finding among the arms is at most 5%, of average
effects and of tests of equal effects each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .interval import Interval, average_interval, spread_interval
from .multiplicity import holm
from .units import Unit

if TYPE_CHECKING:
    from ..model.fit_result import Fit
    from .effects import Effects
    from .infer import Inference

CORRECTION = "Holm"


@dataclass(frozen=True)
class ArmRow:
    """One arm against control.

    Attributes
    ----------
    arm : its label.
    n_control, n_treated : persons; the control's are the same in all arms but for what an analysis has to leave out.
    unit : of what follows.
    average, spread : beta_1 and sigma_zeta of M_A with the intervals that they have everywhere (not corrected).
    p_average, p_average_holm : two-sided Wald p-value of beta_1 = 0 (t where the model has clusters), and corrected.
    p_equal, p_equal_holm : of equal effects on all items (mixture), and corrected.
    """

    arm: str
    n_control: int
    n_treated: int
    unit: Unit
    average: Interval
    spread: Interval
    p_average: float
    p_average_holm: float
    p_equal: float
    p_equal_holm: float


@dataclass(frozen=True)
class Arms:
    """Every arm against the control, in the table's order; ``correction`` of the p-values is ``CORRECTION``."""

    control: str
    rows: tuple[ArmRow, ...]
    correction: str = CORRECTION


def compare_arms(control: str, arms: Sequence[tuple[str, dict[str, Fit], Effects, Inference]]) -> Arms:
    """The arms side by side.

    Parameters
    ----------
    control : its label.
    arms : by arm its label, fits, effects and inference.
    """
    p_average = np.array([_wald_p(fits["M_A"]) for _, fits, _, _ in arms])
    p_equal = np.array([inference.test.mixture for *_, inference in arms])
    corrected = holm(p_average), holm(p_equal)
    rows = []
    for k, (label, _, result, inference) in enumerate(arms):
        persons = result.weak.persons
        rows.append(
            ArmRow(
                arm=label,
                n_control=int(persons[0]),
                n_treated=int(persons[1]),
                unit=result.scale.unit,
                average=average_interval(result, inference),
                spread=spread_interval(result, inference),
                p_average=float(p_average[k]),
                p_average_holm=float(corrected[0][k]),
                p_equal=float(p_equal[k]),
                p_equal_holm=float(corrected[1][k]),
            )
        )
    return Arms(control, tuple(rows))


def _wald_p(main: Fit) -> float:
    """Two-sided p-value of beta_1 = 0 by the distribution whose quantile its interval has."""
    from scipy.special import ndtr, stdtr

    se = main.standard_error("treat")
    if not (math.isfinite(se) and se > 0):
        return math.nan
    z = -abs(main.coefficient("treat")) / se
    if main.clusters is None:
        return float(2 * ndtr(z))
    return float(2 * stdtr(main.clusters.degrees_of_freedom, z))
