"""Files of R that hold one data frame."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..messages import quoted
from .contents import Contents, Sought

if TYPE_CHECKING:
    import pandas as pd

_SMALLEST_DOUBLE = 1e-150
"""R's 64-bit integers are kept as the bits of doubles: up to 2e18 they read as numbers nearer to 0 than anything measured."""


def read_rds(path: Path, sought: Sought) -> Contents:
    """The data frame of an ``.rds`` file.

    Raises
    ------
    InputError : it holds another object.
    """
    import pandas as pd
    import pyreadr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of objects it skips; the error below says what to do
        table = pyreadr.read_r(str(path)).get(None)
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"{quoted(path.name)} holds no data frame: save one with saveRDS(as.data.frame(x), file).")
    for name in table.columns[table.dtypes == "float64"]:
        table[name] = _whole_of_64_bits(table[name])
    return Contents(table)


def _whole_of_64_bits(column: pd.Series) -> pd.Series:
    """A column whose numbers can only be the bits of 64-bit integers as these; any other as it is."""
    import pandas as pd

    bits = np.ascontiguousarray(column.to_numpy(dtype="float64"))
    values = np.abs(bits[bits != 0])
    if not len(values) or not (values < _SMALLEST_DOUBLE).all():
        return column
    integers = bits.view("int64")
    missing = integers == np.iinfo("int64").min
    if not missing.any():
        return pd.Series(integers, column.index, name=column.name)
    exact = integers.astype(object)
    exact[missing] = np.nan
    return pd.Series(exact, column.index, name=column.name, dtype=object)
