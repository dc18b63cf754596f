"""A column of a stranger's table as numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def as_numbers(column: pd.Series) -> pd.Series:
    """The column as float64, NaN wherever it holds no number: text, dates, lists, complex numbers.

    Text that spells a number counts as that number, True and False as 1 and 0. A number beyond the range of float64 is
    infinite.
    """
    import pandas as pd

    if getattr(column.dtype, "kind", "O") in "mMc":
        return pd.Series(np.nan, column.index, name=column.name)
    try:
        return pd.to_numeric(column, errors="coerce").astype("float64")
    except OverflowError:
        return pd.to_numeric(column.map(_within_range), errors="coerce").astype("float64")


def _within_range(value: object) -> object:
    try:
        return float(value) if isinstance(value, int) else value
    except OverflowError:
        return np.inf if value > 0 else -np.inf
