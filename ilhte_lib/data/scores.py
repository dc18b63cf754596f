"""Responses as scores: labels and codes of ordered categories, counted from 0 within each item.

An item's categories are the values among its responses. A category that nobody chose carries no information about its step:
its two neighbours become adjacent, with a flag.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..messages import counted, listed, quoted
from ..model.formats import StepForm
from .columns import as_numbers

if TYPE_CHECKING:
    import pandas as pd

MOST_CATEGORIES = 10
Values = Mapping[object, Sequence[float]]
"""Distinct values of the responses to each item, ascending."""


@dataclass(frozen=True)
class Scoring:
    """How responses become scores; see ``categories``, ``threshold`` and ``steps`` in ``prepare.prepare``."""

    categories: Sequence[str] | None
    threshold: float | None
    steps: StepForm


def labels_of(categories: Sequence[str] | None) -> dict[int, str]:
    """The labels of --categories by position, from 0; empty if there are none."""
    return dict(enumerate(label.strip() for part in categories or () for label in part.split(",")))


def coded(column: pd.Series, tab: str, categories: Sequence[str] | None) -> pd.Series:
    """The column with category labels (ignoring case) replaced by their position, from 0; numbers stay.

    Raises
    ------
    InputError : a label is given twice, or there is only one.
    """
    if not categories:
        return column
    labels = labels_of(categories)
    places = {label.casefold(): place for place, label in labels.items()}
    if len(places) < len(labels) or len(places) < 2:
        raise InputError(
            f"--categories of table {quoted(tab)} must name two or more different labels, the lowest first: {listed(labels.values(), 6)}."
        )
    known = {v: places[key] for v in column.dropna().unique() if (key := str(v).strip().casefold()) in places}
    return column.map(lambda value: known.get(value, value)) if known else column


def dichotomised(numbers: pd.Series, threshold: float | None) -> pd.Series:
    """1 where a number is at least the threshold, 0 below; missing values stay."""
    if threshold is None:
        return numbers
    return (numbers >= threshold).astype(float).where(numbers.notna())


def refuse_unscorable(values: Values, tab: str) -> None:
    """Raise InputError for items whose values are not ordered categories: fractions, or more than ten of them."""
    fractions = [item for item, of_item in values.items() if any(v % 1 for v in of_item)]
    if fractions:
        raise InputError(
            f"{_holding(fractions, values, tab)}: scores must be whole numbers; multiply them, or dichotomise with --threshold."
        )
    many = [item for item, of_item in values.items() if len(of_item) > MOST_CATEGORIES]
    if many:
        raise InputError(
            f"{_holding(many, values, tab)}: at most {MOST_CATEGORIES} ordered categories can be fitted; group them, or "
            "dichotomise with --threshold."
        )


def _holding(items: Sequence, values: Values, tab: str) -> str:
    shown = [f"{v:g}" for v in values[items[0]]]
    held = ", ".join(shown[:5]) + (f", ... ({len(shown)} different values)" if len(shown) > 5 else "")
    others = f", and {counted(len(items) - 1, 'other item is', 'other items are')} similar" if len(items) > 1 else ""
    return f"Item {quoted(str(items[0]))} of table {quoted(tab)} holds {held}{others}"


def unused(values: Values) -> str:
    """A sentence on categories that nobody chose; empty if there are none.

    These are gaps between an item's values, and categories at the ends of a scale that more of the other items share.
    """
    sets = {item: frozenset(of_item) for item, of_item in values.items()}
    common = Counter(sets.values())
    gaps = []
    for item, own in sets.items():
        wider = [other for other in common if own < other and common[other] > common[own]]
        scale = max(wider, key=lambda other: common[other], default=own)
        steps = [b - a for a, b in pairwise(values[item])]
        least = min(steps, default=1.0)
        between = {a + least for a, step in zip(values[item], steps, strict=False) if step > least}
        lacking = sorted((scale | between) - own)
        if lacking:
            gaps.append(f"{quoted(str(item))} has no {', '.join(f'{v:g}' for v in lacking[:3])}")
    if not gaps:
        return ""
    return (
        f"{counted(len(gaps), 'item has', 'items have')} categories that nobody chose, so that the categories next to them are "
        f"treated as adjacent: {'; '.join(gaps[:3])}{'; ...' if len(gaps) > 3 else ''}."
    )


def scores(item: np.ndarray, resp: np.ndarray, values: Sequence[Sequence[float]]) -> np.ndarray:
    """(n,) scores, from 0, of responses (n,) to items (n,); ``values`` lists each item's categories in order."""
    every = np.unique(np.concatenate([np.asarray(v, float) for v in values]))
    rank = np.zeros((len(values), len(every)), np.int8)
    for k, of_item in enumerate(values):
        rank[k, np.searchsorted(every, of_item)] = np.arange(len(of_item))
    return rank[item, np.searchsorted(every, resp)]


def category_names(values: Sequence[Sequence[float]], labels: Mapping) -> tuple[tuple[str, ...], ...]:
    """Names of each item's categories: the label of a value if there is one, otherwise the value."""
    texts = {float(number): str(label) for code, label in labels.items() if (number := _as_number(code)) is not None}
    return tuple(tuple(texts.get(v, f"{v:g}") for v in of_item) for of_item in values)


def _as_number(code: object) -> float | None:
    import pandas as pd

    number = as_numbers(pd.Series([code], dtype=object)).iloc[0]
    return None if np.isnan(number) else float(number)
