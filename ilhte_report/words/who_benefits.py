"""Who benefits? The answer for one table, in sentences and rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ilhte_lib.inference.weak import FEWEST_CLUSTERS

from .numbers import DASH, between, number
from .terms import TRIAL, Terms

if TYPE_CHECKING:
    from ilhte_lib.inference.who_benefits import Estimate, WhoBenefits

RULE = (
    "The verdict is person-level if the 95% interval under M_C excludes 0; masked if, in addition, that of M_B includes 0 and that of "
    "the predicted bias excludes 0 on the opposite side; item-level if the interval under M_C includes 0 but not the estimate of M_B, "
    "those of M_B and of the predicted bias exclude 0, and the bias is between 0.5 and 1.5 times the estimate of M_B; otherwise cannot "
    "tell. Where M_D is fitted, the verdict must also hold with M_D in place of M_C."
)
ASSUMED = (
    "M_C assumes that effects change with {0} equally on all items, that the log-odds are linear in it, that "
    "treatment does not change how much persons differ, that item effects are normal, and that persons (or their clusters) are "
    "independent. Where one of these fails, its interval excludes 0 too often. M_D, where it is shown, does not assume the first "
    "three: items may differ in the slope of {0} and in the interaction, persons in spread by arm, and the log-odds may be curved."
)
"""To be formatted with the covariate's name."""


def comparison_rows(result: WhoBenefits) -> list[dict[str, str]]:
    """The interactions side by side, with their intervals."""
    lines = (
        ("Sum score", result.sum_score),
        ("M_B, all items alike", result.constant),
        ("M_C, items differ", result.flexible),
        *([("M_D, slopes and spreads too", result.slopes)] if math.isfinite(result.slopes.value) else []),
        ("M_B − M_C", result.difference),
        ("Bias of M_B predicted from the items", result.predicted),
    )
    return [
        {"": name, "Estimate": number(found.value, 3), "95% interval": _interval(found, 3)} for name, found in lines
    ]


def verdict_sentence(result: WhoBenefits, terms: Terms = TRIAL) -> str:
    """The verdict in one sentence, plain text; brackets hold 95% intervals."""
    name, word = result.covariate, result.verdict.capitalize()
    kept, shown, bias = (bracketed(e) for e in (result.flexible, result.constant, result.predicted))
    alike = f"{word}: with all items alike the {terms.effect}"
    if result.reason:
        return f"{word}: {result.reason}."
    if result.verdict == "person-level":
        way = "rises" if result.flexible.value > 0 else "falls"
        return f"{word}: the {terms.effect} {way} with {name} also when items may differ, {kept} logits per SD."
    if result.verdict == "masked":
        way, other = ("rises", "fall") if result.flexible.value > 0 else ("falls", "rise")
        return (
            f"{word}: the effect {way} with {name} when items may differ, {kept} logits per SD, which the items mask: on their "
            f"own they would make it seem to {other} ({bias}), and with all items alike no interaction is seen ({shown})."
        )
    if result.verdict == "item-level":
        way = "rise" if result.constant.value > 0 else "fall"
        return (
            f"{alike} seems to {way} with {name} ({shown}), which the item effects alone would produce "
            f"({bias}); when items may differ, {kept} logits per SD remain."
        )
    if result.constant.excludes_zero:
        way = "rises" if result.constant.value > 0 else "falls"
        return (
            f"{alike} {way} with {name} ({shown}); when items may differ its interval includes 0 ({kept}), but how "
            f"much of it is due to the items is not clear ({bias} predicted)."
        )
    return f"{word}: the {terms.effect} may rise or fall with {name}, {kept} logits per SD when items may differ."


def slopes_sentence(result: WhoBenefits) -> str:
    """A warning where a claim rests on the assumptions of M_C because M_D was not fitted; else ""."""
    if result.verdict == "cannot tell" or math.isfinite(result.slopes.low):
        return ""
    return (
        f"The verdict rests on the assumptions of M_C: the model in which items may differ in how {result.covariate} changes their "
        "effect, and persons in spread by arm (M_D), was not fitted here."
    )


def clustering_sentence(result: WhoBenefits) -> str:
    """A warning where the intervals treat clustered persons as independent; else ""."""
    if not result.clustered:
        return ""
    text = "Persons come in clusters here; these intervals treat them as independent and may be too narrow"
    if result.clusters is not None and result.clusters < FEWEST_CLUSTERS:
        return f"{text}; with {result.clusters} clusters resampling would not help."
    return f"{text}; those of `ilhte fit --bootstrap N` do not."


def bracketed(estimate: Estimate) -> str:
    """An estimate with its interval in brackets, if it has one."""
    interval = _interval(estimate, 2)
    return number(estimate.value, 2) + ("" if interval == DASH else f" [{interval}]")


def _interval(estimate: Estimate, digits: int) -> str:
    known = math.isfinite(estimate.low) and math.isfinite(estimate.high)
    return between(estimate.low, estimate.high, digits) if known else DASH
