"""Who benefits? The answer for one table, in words and as rows of numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ilhte_lib.inference.weak import FEWEST_CLUSTERS

from .numbers import DASH, between, number
from .terms import TRIAL, Terms

if TYPE_CHECKING:
    from ilhte_lib.inference.who_benefits import Estimate, WhoBenefits

RULE = (
    "The verdict is person-level if the 95% interval under M_C excludes 0; item-level if it does not, the interval of the "
    "predicted bias excludes 0, and that bias and the difference between M_B and M_C each make up at least half of what M_B "
    "finds; else cannot tell."
)


def comparison_rows(result: WhoBenefits) -> list[dict[str, str]]:
    """The interactions side by side, with their intervals."""
    lines = (
        ("Sum score", result.sum_score),
        ("M_B, all items alike", result.constant),
        ("M_C, items differ", result.flexible),
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
    if result.verdict == "item-level":
        way = "rise" if result.constant.value > 0 else "fall"
        unsure = "" if result.constant.excludes_zero else ", itself not distinguishable from 0"
        return (
            f"{alike} seems to {way} with {name} ({shown}{unsure}), which the items' own effects would produce by "
            f"themselves ({bias}); when items may differ, {kept} logits per SD is left."
        )
    if result.constant.excludes_zero:
        way = "rises" if result.constant.value > 0 else "falls"
        return (
            f"{alike} {way} with {name} ({shown}); when items may differ its interval includes 0 ({kept}), but how "
            f"much of it the items make is not clear ({bias} predicted)."
        )
    return f"{word}: the {terms.effect} may rise or fall with {name}, {kept} logits per SD when items may differ."


def clustering_sentence(result: WhoBenefits) -> str:
    """A warning where the intervals take clustered persons as independent, else nothing."""
    if not result.clustered:
        return ""
    text = "Persons come in clusters here; these intervals treat them as independent and may be too narrow"
    if result.clusters is not None and result.clusters < FEWEST_CLUSTERS:
        return f"{text}; with {result.clusters} clusters resampling gives no better ones."
    return f"{text}; those of `ilhte fit --bootstrap N` do not."


def bracketed(estimate: Estimate) -> str:
    """An estimate with its interval in brackets, if it has one."""
    interval = _interval(estimate, 2)
    return number(estimate.value, 2) + ("" if interval == DASH else f" [{interval}]")


def _interval(estimate: Estimate, digits: int) -> str:
    known = math.isfinite(estimate.low) and math.isfinite(estimate.high)
    return between(estimate.low, estimate.high, digits) if known else DASH
