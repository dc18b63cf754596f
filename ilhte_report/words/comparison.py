"""The interactions of who benefits, as rows of words and numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .numbers import number

if TYPE_CHECKING:
    from ilhte_lib.inference.who_benefits import Estimate, WhoBenefits


def comparison_rows(result: WhoBenefits) -> list[tuple[str, str, str, str]]:
    """The four interactions side by side: name, estimate, interval, unit."""
    logits = f"logits per SD of {result.covariate}"
    rows = [
        ("Sum score", result.sum_score, f"SDs of the score within arm per SD of {result.covariate}"),
        ("M_B, all items alike", result.constant, logits),
        ("M_C, items differ", result.flexible, logits),
        ("M_B − M_C", result.difference, logits),
        ("Bias of M_B predicted from the items", result.predicted, logits),
    ]
    return [(name, number(estimate.value, 3), interval_of(estimate), unit) for name, estimate, unit in rows]


def interval_of(estimate: Estimate) -> str:
    """An interval for reading; a dash where there is none."""
    if not (math.isfinite(estimate.low) and math.isfinite(estimate.high)):
        return "–"
    return f"{number(estimate.low, 3)} to {number(estimate.high, 3)}"
