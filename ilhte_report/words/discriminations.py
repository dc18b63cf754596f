"""Whether the item effects survive discriminations, in a sentence and a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ilhte_lib.inference.discriminations import Discriminations, Verdict
from ilhte_lib.messages import listed

from .numbers import between, number, p_text
from .terms import TRIAL, Terms

if TYPE_CHECKING:
    from ilhte_lib.inference.infer import Inference
    from ilhte_lib.inference.units import Scale

    from .numbers import Row

_SAID = {
    Verdict.SURVIVE: "{effects} survive",
    Verdict.SHRINK: "{effects} shrink, and some remain",
    Verdict.GROW: "{effects} are larger",
    Verdict.VANISH: "the evidence of {a_spread} vanishes",
    Verdict.APPEAR: "there is evidence of {a_spread} that equal discriminations hide",
    Verdict.NONE: "there is no evidence of {a_spread} either",
}


def discriminations_sentence(inference: Inference, scale: Scale, terms: Terms = TRIAL) -> str:
    """Whether the item effects survive, with test and interval; "" where this was not computed."""
    found = inference.discriminations
    if found is None:
        return ""
    by, unit = scale.by, scale.unit.plural
    low, high = (end / by for end in found.spread_interval)
    test = f"LR = {number(found.free.test.statistic, 2)}, p = {p_text(found.free.test.mixture)}".replace(
        "p = <", "p < "
    )
    numbers = f"σ_ζ = {number(found.free.sigma_zeta / by, 2)} [95% interval {between(low, high)}] {unit}, {test}"
    if inference.weak.forbids_conclusions or not (found.equal.converged and found.free.converged):
        why = inference.weak.why_no_conclusions or "not all of these fits were certified"
        return f"With a discrimination of its own for each {terms.item}: {numbers}; nothing is concluded from it, as {why}."
    apart = ", clusters left out of the model" if inference.clustered else ""
    a_spread = "item effects" if terms is TRIAL else f"a spread of {terms.inside}"
    said = _SAID[found.verdict].format(effects=terms.inside, a_spread=a_spread)
    return f"With a discrimination of its own for each {terms.item}{apart}, {said}: {numbers}."


def slopes_sentence(found: Discriminations) -> str:
    """Whether items differ in discrimination at all."""
    test = f"LR = {number(found.slopes_statistic, 2)} on {found.slopes_df} degrees of freedom, p = {p_text(found.slopes_p)}"
    a = found.discrimination[found.discrimination > 0]
    apart = f" {_flat(found)}" if found.flat else ""
    return (
        f"Discriminations (geometric mean 1) range from {number(float(a.min()), 2)} to {number(float(a.max()), 2)}; test that "
        f"all are 1: {test.replace('p = <', 'p < ')}.{apart}"
    )


def _flat(found: Discriminations) -> str:
    """A sentence on the items whose responses do not increase with the persons' level."""
    names = listed(list(found.flat), 4)
    do, have = ("does", "has") if len(found.flat) == 1 else ("do", "have")
    return f"{names} {do} not rise with the persons' level, and {have} discrimination 0, outside this range."


def discrimination_rows(found: Discriminations, scale: Scale) -> list[Row]:
    """Estimates with equal and with free discriminations, side by side."""
    by, unit = scale.by, scale.unit.plural
    lines = (
        ("Average effect, β₁", unit, lambda m: number(m.average / by, 3)),
        ("σ_ζ, item effects", unit, lambda m: number(m.sigma_zeta / by, 3)),
        ("ρ, with easiness", "", lambda m: number(m.rho, 2)),
        ("Equal effects, LR", "", lambda m: number(m.test.statistic, 2)),
        ("Equal effects, p (mixture)", "", lambda m: p_text(m.test.mixture)),
        ("Log-likelihood of M_A", "", lambda m: number(m.loglik, 2)),
    )
    columns = ("", "Unit", "Equal", "Free")
    rows = [dict(zip(columns, (name, u, f(found.equal), f(found.free)), strict=True)) for name, u, f in lines]
    return [*rows, dict(zip(columns, ("SD of log a", "", number(0.0, 2), number(found.spread, 2)), strict=True))]
