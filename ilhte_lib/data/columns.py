"""Any table's column as numbers, and blank text in it as missing."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..messages import quoted

if TYPE_CHECKING:
    import pandas as pd

_DECIMAL = "[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?"
_INFINITE = "[+-]?[iI][nN][fF]([iI][nN][iI][tT][yY])?"
NUMBER = f"[ \t]*({_DECIMAL}|{_INFINITE})[ \t]*"
"""Pattern of text that spells a number, valid in Python's re and SQL's RE2: the same in memory and out of core."""
TRUTH = {"TRUE": 1.0, "True": 1.0, "true": 1.0, "FALSE": 0.0, "False": 0.0, "false": 0.0}
"""Words that count as 1 and 0."""
BLANKS = "".join(
    map(chr, [*range(9, 14), *range(28, 33), 133, 160, 5760, *range(8192, 8203), 8232, 8233, 8239, 8287, 12288])
)
"""The white space that Python's ``strip`` removes."""
NO_WIDTH = "\0\ufeff\u200b"
"""NUL and zero-width marks. Text of nothing but these and ``BLANKS`` is blank."""
_NUMBER = re.compile(NUMBER)
_NUMERIC = (int, float, np.number, np.bool_, Decimal)


def as_numbers(column: pd.Series) -> pd.Series:
    """The column as float64; NaN where it holds no number but text, a date, a list or a complex number.

    Text that spells a number counts as that number, true and false count as 1 and 0. A number beyond the range of float64
    becomes infinite.
    """
    import pandas as pd

    if getattr(column.dtype, "kind", "O") in "mMc":
        return pd.Series(np.nan, column.index, name=column.name)
    if hasattr(column.dtype, "categories"):
        column = column.astype(column.cat.categories.dtype)
    if getattr(column.dtype, "kind", "O") != "O":
        return pd.to_numeric(column, errors="coerce").astype("float64")
    try:
        codes, values = pd.factorize(column)
    except TypeError:  # lists and the like, which are not numbers
        return pd.Series([_number(value) for value in column], column.index, dtype="float64", name=column.name)
    numbers = np.array([*map(_number, values), np.nan])
    return pd.Series(numbers[codes], column.index, dtype="float64", name=column.name)


def _number(value: object) -> float:
    if isinstance(value, str):
        if value in TRUTH:
            return TRUTH[value]
        return float(value) if _NUMBER.fullmatch(value) else np.nan
    if isinstance(value, (complex, np.complexfloating)) or not isinstance(value, _NUMERIC):
        return np.nan
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf
    except (TypeError, ValueError):  # pandas' missing values
        return np.nan


def is_blank(value: object) -> bool:
    """Whether a value is text with nothing in it."""
    return isinstance(value, str) and not value.strip(BLANKS + NO_WIDTH)


def without_blanks(column: pd.Series) -> pd.Series:
    """The column with blank text as missing, and bytes decoded.

    SPSS, Stata and R have no other way to mark missing text.

    Raises
    ------
    InputError : bytes are not UTF-8.
    """
    if getattr(column.dtype, "kind", "O") != "O" and not hasattr(column.dtype, "categories"):
        return column
    try:
        values = column.unique()
    except TypeError:  # lists and the like
        return column
    if any(isinstance(value, bytes) for value in values):
        try:
            column = column.map(lambda value: value.decode() if isinstance(value, bytes) else value)
        except UnicodeDecodeError as error:
            raise InputError(
                f"Column {quoted(str(column.name))} holds bytes that are not UTF-8 text: write it as text."
            ) from error
        values = column.unique()
    blank = [value for value in values if is_blank(value)]
    return column.mask(column.isin(blank)) if blank else column
