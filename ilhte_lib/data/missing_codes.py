"""Numbers that stand for "missing": those the user names, and those that stand out in a covariate or item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..messages import listed, quoted
from .columns import as_numbers

if TYPE_CHECKING:
    import pandas as pd

CODES = tuple(
    float(sign * int(text))
    for sign, lengths in ((1, range(2, 7)), (-1, range(1, 7)))
    for n in lengths
    for text in (*(digit * n for digit in "6789"), *("9" * (n - 1) + last for last in "5678" if n > 1))
)
"""Codes common in codebooks, repeated sixes to nines and the last few before 99...: 77, 88, 97, 98, 99, 999, -9, -99 ..."""
NONE = "none"
"""The option's value for taking every number as it is."""


def named_codes(codes: Sequence[str] | None) -> tuple[str, ...] | None:
    """The codes of the option --missing-codes, one by one; None if it was not given, () for "none".

    Raises
    ------
    InputError : "none" is given together with a code, or a code is empty.
    """
    if codes is None:
        return None
    parts = [part.strip() for code in codes for part in code.split(",")]
    if [part.lower() for part in parts] == [NONE]:
        return ()
    if NONE in map(str.lower, parts) or not all(parts):
        raise InputError(
            f"--missing-codes is {quoted(','.join(parts))}: give codes separated by commas, or the word none."
        )
    return tuple(dict.fromkeys(parts))


def without_codes(column: pd.Series, codes: Sequence[str]) -> pd.Series:
    """The column with the codes as missing values; numbers match by value, words by text."""
    texts, numbers = set(codes), {number for code in codes if (number := _number(code)) is not None}
    try:
        values = column.dropna().unique()
    except TypeError:  # lists and the like
        return column
    coded = [value for value in values if str(value).strip() in texts or _number(value) in numbers]
    return column.mask(column.isin(coded)) if coded else column


def _number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def suspected(low: float, high: float, counts: Mapping[float, int]) -> tuple[float, ...]:
    """Which of the ``CODES`` in a covariate stand apart from its other values, as a code for missing does.

    A code is suspected if it lies outside the other values by more than their range, or, where several persons have it, by
    more than a quarter of their range or as a negative number among others that are not.

    Parameters
    ----------
    low, high : smallest and largest of the values not among ``CODES``; NaN if there are none.
    counts : number of persons with each of the ``CODES`` that occurs.
    """
    if not high > low:
        return ()
    found = []
    for code, persons in sorted(counts.items()):
        gap = max(low - code, code - high)
        if gap > high - low or (persons > 1 and (gap > (high - low) / 4 or code < 0 <= low)):
            found.append(code)
    return tuple(found)


def suspected_in(values: pd.Series, persons: pd.Series) -> tuple[float, ...]:
    """``suspected`` of a column in memory, given the person of each row."""
    numbers = as_numbers(values)
    coded = numbers.isin(CODES)
    if not coded.any():
        return ()
    others = numbers[~coded & np.isfinite(numbers)]
    counts = persons[coded].groupby(numbers[coded]).nunique()
    return suspected(others.min(), others.max(), {float(code): int(n) for code, n in counts.items()})


def suspicion(name: str, codes: Sequence[float]) -> str:
    """The sentence about suspected codes in a column."""
    shown = listed((f"{code:g}" for code in codes), 6)
    return (
        f"Column {quoted(name)} holds {shown}, far from its other values like a code for missing, and taken as missing: if it is "
        "a value, use --missing-codes none; if there are other codes, name them all with --missing-codes."
    )


def perhaps_codes(values: Sequence[float], labels: Mapping | None = None, *, ordered: bool = False) -> str:
    """Half a sentence on an item's values that may be codes for missing; empty if there are none.

    Parameters
    ----------
    values : the item's values, ascending.
    labels : value labels in its file, if any.
    ordered : whether the other values are ordered categories, so that only values apart from them are suspect (``apart``).
    """
    labels = labels or {}
    texts = {_number(code): str(label) for code, label in labels.items()}
    suspect = apart(values) if ordered else [v for v in values if v not in (0.0, 1.0) and (v in CODES or v < 0)]
    found = [v for v in values if v in suspect or (v not in (0.0, 1.0) and _means_missing(texts.get(v, "")))]
    if not found:
        return ""
    shown = listed((f"{v:g}" + (f" = {texts[v]}" if v in texts else "") for v in found), 3)
    codes = ",".join(f"{v:g}" for v in found[:3])
    remedy = f"--missing-codes {quoted(codes)}" + ("; if it is a category, --missing-codes none" if ordered else "")
    return f"{shown} may be a code for missing (if so, {remedy})"


def apart(values: Sequence[float]) -> list[float]:
    """Which of an item's values (ascending) do not seem to belong to its scale.

    These are values beyond the others by more than twice the largest step between those, such as 9 after 1 to 5; and -1 below
    0 and 1.
    """
    found = []
    rest = list(values)
    for end, side in ((-1, 1), (0, -1)):
        while len(rest) > 2:
            others = rest[:-1] if end else rest[1:]
            step = max((b - a for a, b in pairwise(others)), default=1.0)
            if side * (rest[end] - others[end]) <= 2.0 * step:
                break
            found.append(rest[end])
            rest = others
    if len(rest) > 2 and rest[0] == -1.0 and rest[1] == 0.0:
        found.append(-1.0)
    return found


def _means_missing(label: str) -> bool:
    plain = label.lower()
    words = (
        "missing",
        "refused",
        "don't know",
        "dont know",
        "no answer",
        "not answered",
        "not applicable",
        "n/a",
        "skipped",
    )
    return any(word in plain for word in words)
