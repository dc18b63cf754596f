"""What covariates of the items explain, in sentences and rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ilhte_lib.inference.effects import ALPHA
from ilhte_lib.messages import counted, listed

from .numbers import Row, between, number
from .sentences import p_words
from .terms import TRIAL, Terms

if TYPE_CHECKING:
    from ilhte_lib.inference.effects import Effects
    from ilhte_lib.inference.item_types import Explanation

COLUMNS = ("", "Unit", "Estimate", "SE", "95% interval")
NOTE = (
    "The model is M_A with the item covariate's effects on easiness and on the effect of treatment. Intervals take the items as a "
    "sample of items of these types (t with {} degrees of freedom). The permutation p-value comes from shuffling the "
    "covariate over the items {} times and does not need many items; that of the likelihood ratio does."
)


def item_types_note(found: Explanation) -> str:
    """The note below the table."""
    return NOTE.format(found.degrees, found.permutations)


def item_types_sentences(found: Explanation, result: Effects, terms: Terms = TRIAL) -> list[str]:
    """Whether effects differ by the covariate, and how much of their spread remains."""
    scale, names = result.scale, listed(found.names, 6)
    subject = "The effects of the items" if terms is TRIAL else terms.effects
    inside = subject[0].lower() + subject[1:]
    tests = f"{p_words(found.p_permutation)} by permutation; likelihood ratio {number(found.statistic, 2)}, {p_words(found.p)}"
    if not found.converged:
        return [f"The fit of the model with {names} is not certified: its estimates are meaningless."]
    if result.weak.forbids_conclusions:
        said = [f"Whether {inside} depend on {names} cannot be concluded from data this weak ({tests})."]
    elif found.p_permutation < ALPHA:
        said = [f"{subject} differ by {names} ({tests})."]
    else:
        said = [f"There is no evidence that {inside} differ by {names} ({tests})."]
    spread = f"{number(found.sigma_zeta / scale.by, 2)} {scale.unit.plural}"
    if math.isfinite(found.share):
        without = number(found.sigma_zeta_without / scale.by, 2)
        said.append(
            f"With {names} in the model the SD of {terms.inside}, σ_ζ, is {spread}, without {without}: an estimated "
            f"{number(100 * found.share, 0)}% of their variance is explained."
        )
    else:
        said.append(f"{subject} have no estimated variance that could be explained.")
    return said


def item_types_rows(found: Explanation, result: Effects) -> list[Row]:
    """Effects by type, their differences, and the remaining spread."""
    scale = result.scale
    by, unit = scale.by, scale.unit.plural

    def row(name: str, estimate: float, se: float = math.nan, low: float = math.nan, high: float = math.nan) -> Row:
        texts = (
            name,
            unit,
            number(estimate / by, 3),
            number(se / by, 3),
            between(low / by, high / by),
        )
        return dict(zip(COLUMNS, texts, strict=True))

    name = found.names[0]
    rows = [
        row(
            f"Effect, {name} = {kind.label}" + (f", {counted(len(kind.items), 'item', 'items')}" if kind.items else ""),
            *(kind.effect, kind.se, kind.low, kind.high),
        )
        for kind in found.types
    ]
    first = found.types[0].label if found.types else ""
    for contrast in found.contrasts:
        label = contrast.name
        if found.types and isinstance(found.values[0], str):
            label = f"{label.removeprefix(f'{name}=')} − {first}"
        elif "=" not in label:
            label = f"per unit of {label}"
        rows.append(row(f"Difference, {label}", contrast.estimate, contrast.se, contrast.low, contrast.high))
    rows.append(row("σ_ζ of M_A", found.sigma_zeta_without))
    rows.append(row(f"σ_ζ left with {', '.join(found.names)}", found.sigma_zeta))
    return rows


def item_types_words(found: Explanation, result: Effects) -> str:
    """The figure of the item types in words."""
    scale = result.scale
    kinds = "; ".join(
        f"{kind.label}: {number(kind.effect / scale.by, 2)} [{between(kind.low / scale.by, kind.high / scale.by)}]"
        for kind in found.types
    )
    return f"Effects of the items by {found.names[0]}, in {scale.unit.plural}, with the average of each: {kinds}."
