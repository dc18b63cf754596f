"""Several treatments against one control: average effects and tests side by side, corrected for multiplicity.

All arms share the control persons, so their estimates are positively correlated. Holm's correction is valid for any correlation
(Holm 1979): the chance of any false finding among the arms is at most 5%, separately for average effects and for tests of equal
effects.
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
    n_control, n_treated : persons; the control persons are the same for all arms, except for those an analysis must leave out.
    unit : unit of average and spread.
    average, spread : beta_1 and sigma_zeta of M_A with their usual intervals (not corrected).
    p_average, p_average_holm : two-sided Wald p-value of beta_1 = 0 (by t if the model has clusters), and corrected.
    p_equal, p_equal_holm : mixture p-value of equal effects on all items, and corrected.
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
    """Every arm against the control, in the table's order, and the name of the correction of p-values."""

    control: str
    rows: tuple[ArmRow, ...]
    correction: str = CORRECTION


def compare_arms(control: str, arms: Sequence[tuple[str, dict[str, Fit], Effects, Inference]]) -> Arms:
    """Compare the arms.

    Parameters
    ----------
    control : label of the control.
    arms : label, fits, effects and inference of each arm.
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
    """Two-sided p-value of beta_1 = 0, normal or, with clusters, by t."""
    from scipy.special import ndtr, stdtr

    se = main.standard_error("treat")
    if not (math.isfinite(se) and se > 0):
        return math.nan
    z = -abs(main.coefficient("treat")) / se
    if main.clusters is None:
        return float(2 * ndtr(z))
    return float(2 * stdtr(main.clusters.degrees_of_freedom, z))
