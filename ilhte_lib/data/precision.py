"""Names that are long whole numbers: floating point distinguishes 2^53 from 2^53 + 2, but not from 2^53 + 1.

Where the file is exact they stay exact; where the program that wrote it rounded them they are lost, and the user is told.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from ..messages import listed, quoted

if TYPE_CHECKING:
    import pandas as pd

DOUBLE, SINGLE = 2**53, 2**24
"""From here on, neighbouring whole numbers coincide in double and in single precision."""
EXCEL_DIGITS = 15
_FEWEST_ENDING_IN_0 = 5
"""With fewer long numbers, all may end in 0 by chance."""

_SCIENTIFIC = re.compile(r"[+-]?\d(?:[.,](\d+))?[eE]\+?(\d{2})", re.ASCII)
_SHORTEST_SCIENTIFIC = 11
"""Least exponent: Excel shows whole numbers of 12 digits or more in scientific notation and exports them to text that way."""
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
LONG_NAMES = (r"[+-]?0*[1-9][0-9]{15,}", r"\s*[+-]?[0-9]([.,][0-9]+)?[eE][+]?(1[1-9]|[2-9][0-9])\s*")
"""RE2 patterns of the texts that ``lost_digits`` looks at: long whole numbers, and scientific notation."""


def whole_names(column: pd.Series) -> pd.Series:
    """A column of names as integers, if all its values are whole numbers; otherwise unchanged.

    It is int64 if nothing is missing, otherwise object (Python integers and NaN).
    """
    import pandas as pd

    if column.dtype == object or _is_nullable_integer(column):
        values = column[column.notna()]
        if not len(values) or not all(
            type(value) in (int, float, Decimal) or isinstance(value, np.integer | np.floating) for value in values
        ):
            return column
        if not all(np.isfinite(float(value)) and value == int(value) for value in values):
            return column
        return _integers(column, [int(value) for value in values])
    if getattr(column.dtype, "kind", "O") == "f":
        values = column[column.notna()].to_numpy(dtype="float64")
        if not len(values) or not np.isfinite(values).all() or (values != np.floor(values)).any():
            return column
        if len(values) == len(column) and np.abs(values).max() < 2.0**63:
            return column.astype("int64")
        return _integers(column, [int(value) for value in values])
    return column if not isinstance(column.dtype, pd.CategoricalDtype) else whole_names(column.astype(object))


def _is_nullable_integer(column: pd.Series) -> bool:
    return hasattr(column.dtype, "na_value") and getattr(column.dtype, "kind", "O") in "iu"


def _integers(column: pd.Series, integers: list[int]) -> pd.Series:
    import pandas as pd

    missing = column.isna().to_numpy()
    if not missing.any() and all(-(2**63) <= value < 2**63 for value in integers):
        return pd.Series(np.array(integers, dtype="int64"), column.index, name=column.name)
    values = np.full(len(column), np.nan, dtype=object)
    filled = np.empty(len(integers), dtype=object)
    filled[:] = integers
    values[~missing] = filled
    return pd.Series(values, column.index, name=column.name, dtype=object)


def numbers_if_exact(column: pd.Series) -> pd.Series:
    """A text column as numbers if all of it spells numbers that floating point holds exactly, otherwise unchanged."""
    import pandas as pd

    try:
        numbers = pd.to_numeric(column)
    except (TypeError, ValueError, OverflowError):
        return column
    if numbers.dtype.kind in "iu":
        return numbers
    return numbers if numbers.dtype.kind == "f" and not (numbers.abs() >= DOUBLE).any() else column


def lost_digits(column: pd.Series, what: str, where: str, *, single: bool, is_excel: bool) -> str | None:
    """A sentence if the file holds names that it cannot have kept distinct, else None.

    Parameters
    ----------
    column : as in the file.
    what : what it identifies, such as "persons".
    where : the file, for the message.
    single : whether it was stored in single precision.
    is_excel : whether the file is a workbook, which keeps 15 digits of a number.
    """
    kind = getattr(column.dtype, "kind", "O")
    if kind == "f":
        limit = SINGLE if single or column.dtype.itemsize == 4 else DOUBLE
        values = column.dropna().to_numpy(dtype="float64")
        large = values[np.isfinite(values) & (np.abs(values) >= limit)]
        return _rounded(column.name, large, limit, what, where) if len(large) else None
    if kind in "iu" and not is_excel:
        return None
    names: list[Any] = [value for value in column.dropna().unique() if _is_name(value)]
    # numbers in a workbook are floating point, however many digits are written
    numbers: Any = (float, int, np.integer) if is_excel else float
    large = [value for value in names if isinstance(value, numbers) and abs(value) >= DOUBLE]
    if large:
        return _rounded(column.name, large, DOUBLE, what, where)
    long = [text for text in map(str, names) if _WHOLE.fullmatch(text) and len(text.lstrip("+-0")) > EXCEL_DIGITS]
    if len(long) >= (2 if is_excel else _FEWEST_ENDING_IN_0) and all(text.endswith("0") for text in long):
        return (
            f"Column {quoted(str(column.name))} of {where} holds numbers of more than {EXCEL_DIGITS} digits that all end in 0 "
            f"({listed(long, 2)}), since Excel keeps only {EXCEL_DIGITS}, so {what} may have been merged: export them as text from "
            "their source."
        )
    shown = [value for value in names if isinstance(value, str) and _lacks_digits(value)]
    if shown:
        return (
            f"Column {quoted(str(column.name))} of {where} holds {listed(shown, 2)}, as written by spreadsheet programs that lose the "
            f"digits of long numbers, so {what} may have been merged: export them as text from their source."
        )
    return None


def _is_name(value: object) -> bool:
    return isinstance(value, str | int | np.integer) or (isinstance(value, float) and bool(np.isfinite(value)))


def _lacks_digits(text: str) -> bool:
    match = _SCIENTIFIC.fullmatch(text.strip())
    return match is not None and int(match[2]) >= _SHORTEST_SCIENTIFIC and len(match[1] or "") < int(match[2])


def _rounded(name: object, large: Sequence[Any], limit: int, what: str, where: str) -> str:
    precision, power = ("single", 24) if limit == SINGLE else ("double", 53)
    shown = listed([str(int(value)) for value in dict.fromkeys(list(large[:100]))], 2)
    return (
        f"Column {quoted(str(name))} of {where} holds whole numbers above 2^{power} ({shown}) as floating-point numbers of "
        f"{precision} precision, which cannot distinguish them, so {what} may have been merged: export them as text from "
        "their source."
    )
