"""A table's results in sentences: the same words on the terminal and on a table's page.

A sentence claims no more than the interval beside it (``inference.interval``), and nothing where the table is too weak for
a conclusion (``inference.weak``). Effects are spoken of with their sign; which sign is good is said only where the user, or
the catalogue, has said so.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ilhte_lib.inference.effects import ALPHA, Effects
from ilhte_lib.inference.interval import (
    Basis,
    Interval,
    average_interval,
    interaction_interval,
    rho_interval,
    spread_interval,
)
from ilhte_lib.inference.lrt import LikelihoodRatio
from ilhte_lib.messages import listed

from .numbers import between, number

if TYPE_CHECKING:
    from ilhte_lib.data.catalogue import TableInfo
    from ilhte_lib.inference.infer import Inference
    from ilhte_lib.inference.without_one_way import WithoutOneWayItems

AT_BOUNDARY = 0.9999
"""A correlation beyond this is on its boundary."""


def defined(value: float | None) -> bool:
    """Whether a number of a summary row is there."""
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def findings(result: Effects, inference: Inference | None, *, lower_is_better: bool = False) -> list[str]:
    """What a table says, a sentence each: average, spread, easiness, test, interaction."""
    said = (
        average_sentence(result, inference, lower_is_better=lower_is_better),
        item_spread_sentence(result, inference),
        easiness_sentence(result, inference),
        test_sentence(result, inference),
        interaction_sentence(result, inference),
    )
    return [sentence for sentence in said if sentence]


def _with_interval(shown: Interval) -> str:
    """An estimate and its interval; an end that does not exist is a dash."""
    interval = between(shown.low, shown.high)
    return (
        number(shown.estimate, 2)
        if interval == between(math.nan, math.nan)
        else f"{number(shown.estimate, 2)} [95% interval {interval}]"
    )


def _one_way_names(result: Effects) -> str:
    return listed(result.weak.one_way_names, 3)


def _them(result: Effects) -> str:
    return "it" if len(result.weak.one_way_names) == 1 else "them"


def average_sentence(result: Effects, inference: Inference | None, *, lower_is_better: bool = False) -> str:
    """The average effect, and its direction where the interval leaves only one."""
    shown = average_interval(result, inference)
    text = f"Average effect: {_with_interval(shown)} {result.scale.unit.of_persons}"
    if result.weak.forbids_conclusions:
        return f"{text}; nothing is concluded from it, as {result.weak.why_no_conclusions}."
    if not shown.defined:
        return f"{text}; its standard error is not known."
    if not shown.excludes_zero:
        return f"{text}; not distinguishable from zero."
    if result.weak.one_way_items:
        others = inference.without_one_way if inference is not None else None
        again = others and _without(result, others, "treat")
        if not again or not again.excludes_zero or (again.estimate > 0) != (shown.estimate > 0):
            left = f" ({_with_interval(again)} without {_them(result)})" if again else ""
            return f"{text}; this rests on {_one_way_names(result)}{left}, so that nothing is concluded from it."
    more = "more" if shown.estimate > 0 else "fewer"
    good = ""
    if lower_is_better:
        good = f", which is {'worse' if shown.estimate > 0 else 'better'} (lower is better here)"
    return f"{text}; treated persons give {more} responses of 1{good}."


def item_spread_sentence(result: Effects, inference: Inference | None) -> str:
    """How far items differ in their effect."""
    shown = spread_interval(result, inference)
    text = (
        f"Item effects vary around it with a standard deviation of {_with_interval(shown)} {result.scale.unit.plural}"
    )
    others = inference.without_one_way if inference is not None else None
    if result.weak.one_way_items and others is not None:
        again = _without(result, others, "sigma_zeta")
        text += f"; without {_one_way_names(result)}, {_with_interval(again)}"
    return f"{text}."


def easiness_sentence(result: Effects, inference: Inference | None) -> str:
    """How the effect goes with easiness, in words that are true whatever the sign of the effects."""
    shown = rho_interval(result, inference)
    if result.weak.no_common_item:
        return ""  # rho is not identified, which a flag says
    if not defined(shown.estimate):
        return "The correlation of item effects with easiness is not defined: one of the two does not vary."
    at_boundary = ", on its boundary (a singular fit)" if abs(shown.estimate) > AT_BOUNDARY else ""
    value = f"rho = {_with_interval(shown)}{at_boundary}"
    if result.weak.forbids_conclusions:
        return f"Correlation of item effects with easiness: {value}; nothing is concluded from it."
    if not shown.excludes_zero:
        return f"Item effects show no clear relation to easiness: {value}."
    if result.weak.one_way_items:
        others = inference.without_one_way if inference is not None else None
        again = others and _without(result, others, "rho")
        if not again or not again.excludes_zero or (again.estimate > 0) != (shown.estimate > 0):
            left = f" ({_with_interval(again)} without {_them(result)})" if again and defined(again.estimate) else ""
            return (
                f"Correlation of item effects with easiness: {value}; this rests on {_one_way_names(result)}{left}, so that "
                "nothing is concluded from it."
            )
    if shown.estimate > 0:
        return f"The easier an item, the more positive (or less negative) its effect: {value}."
    return f"The easier an item, the more negative (or less positive) its effect: {value}."


def test_sentence(result: Effects, inference: Inference | None) -> str:
    """The test of no item effects."""
    row = result.summary
    halved = row["profile"] == "vignette"
    p = row["lrt_pval"] if halved else row["lrt_pval_mixture"]
    null = "p halved" if halved else "chi-square mixture"
    text = f"Test of equal effects on all items: LR = {number(row['lrt_stat'], 2)}, {_p(p)} ({null})"
    weak = result.weak
    if weak.forbids_conclusions or "M_0" in weak.uncertified:
        why = weak.why_no_conclusions or "the optimum of M_0 is not certified"
        return f"{text}; nothing is concluded from it, as {why}."
    if not row["sig_il_hte"]:
        return f"{text}; the data are compatible with one effect for all items."
    if halved and row["lrt_pval_mixture"] >= ALPHA:
        return (
            f"{text}; significant by this rule alone: by the chi-square mixture ({_p(row['lrt_pval_mixture'])}), which the "
            "interval of the standard deviation follows, it is not."
        )
    if weak.one_way_items:
        others = inference.without_one_way if inference is not None else None
        again = others and _test_p(others.test, halved)
        if again is None or again >= ALPHA:
            left = f" ({_p(again)} without {_them(result)})" if again is not None else ""
            return f"{text}; this rests on {_one_way_names(result)}{left}, so that nothing is concluded from it."
        return f"{text}, without {_one_way_names(result)} {_p(again)}; there is evidence that the effect differs between items."
    return f"{text}; there is evidence that the effect differs between items."


test_sentence.__test__ = False  # a sentence about a test


def interaction_sentence(result: Effects, inference: Inference | None) -> str:
    """The treatment by covariate interaction with and without item effects in the model."""
    row = result.summary
    if not defined(row["delta_beta3"]):
        return "There is no covariate, so nothing is said of who benefits most."
    constant = _with_interval(interaction_interval(result, inference, "beta3_b"))
    flexible = _with_interval(interaction_interval(result, inference, "beta3_c"))
    return (
        f"Treatment by {row['covariate']}, logits per SD of the covariate: {constant} without item effects in "
        f"the model, {flexible} with them; the difference is {number(row['delta_beta3'], 3)}."
    )


def caveat(info: TableInfo | None) -> str | None:
    """What must be said before the results of a bundled table, if anything."""
    if info is None:
        return None
    if info.kind == "simulated":
        return "Simulated: this table was drawn by the project's generator from known values; nobody was treated."
    if not info.randomised:
        return "Not randomised: the two groups were not assigned at random, so differences are not treatment effects."
    return None


def _without(result: Effects, others: WithoutOneWayItems, parameter: str) -> Interval:
    """An estimate without the one-way items, in the table's unit."""
    by = 1.0 if parameter == "rho" else result.scale.by
    estimate = {"treat": others.ate, "sigma_zeta": others.sigma_zeta, "rho": others.rho}[parameter]
    found = others.intervals.get(parameter)
    low, high = (found.lower, found.upper) if found else (math.nan, math.nan)
    return Interval(estimate / by, low / by, high / by, Basis.PROFILE if found else Basis.NONE)


def _test_p(test: LikelihoodRatio, halved: bool) -> float:
    return test.halved if halved else test.mixture


def _p(p: float) -> str:
    return "p < .001" if p < 0.001 else f"p = {p:.3f}"
