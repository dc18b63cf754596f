"""A summary row in sentences: the same words on the terminal and on a table's page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ilhte_lib.data.catalogue import TableInfo


def defined(value: float | None) -> bool:
    """Whether a number of a summary row is there."""
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _with_interval(value: float, se: float | None, low: float = -math.inf, high: float = math.inf) -> str:
    """A value and its Wald interval, cut at the parameter's bounds."""
    if not defined(se):
        return f"{value:.2f}"
    return f"{value:.2f} [95% interval {max(low, value - 1.96 * se):.2f} to {min(high, value + 1.96 * se):.2f}]"


def average_sentence(row: dict, *, lower_is_better: bool = False) -> str:
    """The average effect, and which way is good."""
    value, se = row["ate_std"], row["ate_std_se"]
    text = f"Average effect: {_with_interval(value, se)} SDs of the persons"
    if not defined(se):
        return f"{text}; its standard error is not known."
    if abs(value) < 1.96 * se:
        return f"{text}; it cannot be told from none."
    better = (value < 0) == lower_is_better
    direction = "fewer" if value < 0 else "more"
    return f"{text}; treated persons give {direction} responses of 1, which is {'better' if better else 'worse'} here."


def item_spread_sentence(row: dict) -> str:
    """How far items differ in their effect, and how that goes with easiness."""
    spread = _with_interval(row["sigma_zeta_std"], row["sigma_zeta_std_se"], low=0.0)
    text = f"Effects of items spread around it with a standard deviation of {spread} SDs"
    rho = row["rho"]
    if not defined(rho):
        return f"{text}; their correlation with easiness is not defined."
    if abs(rho) > 0.9999:
        return f"{text}; their correlation with easiness is estimated at its boundary, {rho:+.0f} (a singular fit)."
    shown = f"rho = {_with_interval(rho, row['rho_se'], -1.0, 1.0)}"
    if defined(row["rho_se"]) and abs(rho) < 1.96 * row["rho_se"]:
        return f"{text}; they show no clear relation to easiness, {shown}."
    return f"{text}; they are larger on {'easier' if rho > 0 else 'harder'} items, {shown}."


def test_sentence(row: dict) -> str:
    """The test of no item effects."""
    halved = row["profile"] == "vignette"
    p = row["lrt_pval"] if halved else row["lrt_pval_mixture"]
    null = "p halved" if halved else "chi-square mixture"
    shown = "p < .001" if p < 0.001 else f"p = {p:.3f}"
    verdict = "item effects are there" if row["sig_il_hte"] else "the data are compatible with one effect for all items"
    return f"Test of equal effects on all items: LR = {row['lrt_stat']:.2f}, {shown} ({null}); {verdict}."


def interaction_sentence(row: dict) -> str:
    """The treatment by covariate interaction with and without item effects in the model."""
    if not defined(row["delta_beta3"]):
        return "There is no covariate, so nothing is said of who benefits most."
    constant = _with_interval(row["beta3_b"], row["beta3_b_se"])
    flexible = _with_interval(row["beta3_c"], row["beta3_c_se"])
    return (
        f"Treatment by {row['covariate']}, logits per SD of the covariate: {constant} without item effects in "
        f"the model, {flexible} with them; the difference is {row['delta_beta3']:+.3f}."
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
