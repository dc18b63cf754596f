"""Several arms against one control in sentences and rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ilhte_lib.inference.effects import ALPHA
from ilhte_lib.messages import counted, listed

from .numbers import Row, between, number, p_text

if TYPE_CHECKING:
    from ilhte_lib.inference.arms import Arms

NOTE = (
    "Each arm (number of persons in parentheses) is compared with the control in an analysis of its own, whose sections follow. The "
    "p-values, for no average effect and for equal effects on all items, are corrected for the number of arms by Holm's method; "
    "intervals refer to one arm at a time."
)


def arms_sentences(found: Arms) -> list[str]:
    """Which arms differ from the control, and that they share it."""
    arms = counted(len(found.rows), "arm", "arms")
    controls = max(row.n_control for row in found.rows)
    said = [
        f"{arms.capitalize()} against one control ({found.control}): the same {controls} persons serve as the control for each, so "
        "estimates for different arms are positively correlated."
    ]
    differ = [row.arm for row in found.rows if row.p_average_holm < ALPHA]
    vary = [row.arm for row in found.rows if row.p_equal_holm < ALPHA]
    for names, what, otherwise in (
        (differ, "The average effect differs from zero", "No average effect differs from zero"),
        (vary, "Effects differ between items", "For no arm is there evidence that effects differ between items"),
    ):
        said.append(
            f"{what} after {found.correction}'s correction over the arms: {listed(names, 6)}."
            if names
            else f"{otherwise} after {found.correction}'s correction over the arms."
        )
    return said


def arm_rows(found: Arms) -> list[Row]:
    """One row pern arm."""
    return [
        {
            "Arm": f"{row.arm} ({row.n_treated})",
            "Effect": f"{number(row.average.estimate, 2)} {row.unit.plural}",
            "95% interval": between(row.average.low, row.average.high),
            "p": p_text(row.p_average_holm),
            "σ_ζ": f"{number(row.spread.estimate, 2)} {row.unit.plural}",
            "Interval of σ_ζ": between(row.spread.low, row.spread.high),
            "p, equal": p_text(row.p_equal_holm),
        }
        for row in found.rows
    ]


def arms_words(found: Arms) -> str:
    """The figure of the arms in words."""
    parts = [
        f"{row.arm} {number(row.average.estimate, 2)} [{between(row.average.low, row.average.high)}]"
        for row in found.rows
    ]
    return f"Average effect of each arm against {found.control} with its 95% interval: {'; '.join(parts)}."
