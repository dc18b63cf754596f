"""R's ``.rds`` files that hold a data frame."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..messages import quoted
from .contents import Contents, Sought, not_read, odd_bytes, refuse_nested
from .r_stream import RObject, is_in_letters, read_object

if TYPE_CHECKING:
    import pandas as pd

_SMALLEST_DOUBLE = 1e-150
"""R stores 64-bit integers in the bits of doubles: up to 2e18 these read as numbers closer to 0 than any measurement."""
_MISSING = -(2**31)


def read_rds(path: Path, sought: Sought) -> Contents:
    """The data frame in an ``.rds`` file; columns of lists and the like are left out, with a caution.

    Raises
    ------
    InputError : it holds another object, or a needed column holds lists or the like.
    """
    import pandas as pd
    import pyreadr

    where = quoted(path.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about objects it skips; the error below has the remedy
        try:
            table = pyreadr.read_r(str(path)).get(None)
        except Exception:  # one unsupported column makes pyreadr reject the whole file
            frame = _whole_object(path)
            if frame is None:
                if is_in_letters(path):
                    raise InputError(
                        f"{where} is in R's text format: save it again with saveRDS(x, file), without ascii = TRUE."
                    ) from None
                raise
            if "data.frame" in frame.classes:
                return _columns(frame, sought, where)
            table = None
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"{where} holds no data frame: save one with saveRDS(as.data.frame(x), file).")
    _know_order(table, path)
    for name in table.columns[table.dtypes == "float64"]:
        table[name] = _whole_of_64_bits(table[name])
    return Contents(table)


def _know_order(table: pd.DataFrame, path: Path) -> None:
    """Turn R's ordered factors into ordered categories, in place; pyreadr does not distinguish them."""
    factors = [name for name in table.columns if hasattr(table[name].dtype, "categories")]
    frame = _whole_object(path) if factors else None
    if frame is None or "names" not in frame.attributes:
        return
    for name, column in zip(frame.attributes["names"].texts(), frame.values, strict=True):
        if name in factors and "ordered" in column.classes:
            levels = [level for level in column.attributes["levels"].texts() if level in table[name].cat.categories]
            table[name] = table[name].cat.set_categories(levels, ordered=True)


def _whole_object(path: Path) -> RObject | None:
    try:
        return read_object(path)
    except MemoryError:
        raise
    except Exception:  # the bytes are not a serialised R object
        return None


def _columns(frame: RObject, sought: Sought, where: str) -> Contents:
    import pandas as pd

    names = [name or "" for name in frame.attributes["names"].texts()]
    columns, nested, odd = {}, [], []
    for name, column in zip(names, frame.values, strict=True):
        if column.kind not in ("logical", "integer", "double", "character") or "dim" in column.attributes:
            nested.append(name)
            continue
        texts = column if column.kind == "character" else column.attributes.get("levels")
        if texts is not None and any(value is not None and not _is_text(*value) for value in texts.values):
            odd.append(name)
        columns[name] = _series(column)
    refuse_nested(nested, sought, where)
    return Contents(pd.DataFrame(columns), cautions=(*not_read(nested, where), *odd_bytes(odd, where)))


def _is_text(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _series(column: RObject) -> pd.Series:
    import pandas as pd

    if column.kind == "character":
        return pd.Series(column.texts(), dtype=object).infer_objects()
    if column.kind == "double":
        numbers = pd.Series(column.values.astype("float64"))
        return _whole_of_64_bits(numbers, certainly="integer64" in column.classes)
    missing = column.values == _MISSING
    levels = column.attributes.get("levels")
    if levels is not None:
        if "ordered" in column.classes:
            codes = np.where(missing, -1, column.values - 1)
            return pd.Series(pd.Categorical.from_codes(codes, levels.texts(), ordered=True))
        names = np.array([*levels.texts(), None], dtype=object)
        return pd.Series(names[np.where(missing, len(names) - 1, column.values - 1)]).infer_objects()
    numbers = pd.Series(column.values.astype("int64"))
    return numbers.mask(missing) if missing.any() else numbers


def _whole_of_64_bits(column: pd.Series, *, certainly: bool = False) -> pd.Series:
    """A column whose numbers can only be the bits of 64-bit integers, as integers; any other unchanged."""
    import pandas as pd

    bits = np.ascontiguousarray(column.to_numpy(dtype="float64"))
    values = np.abs(bits[bits != 0])
    if not certainly and (not len(values) or not (values < _SMALLEST_DOUBLE).all()):
        return column
    integers = bits.view("int64")
    missing = integers == np.iinfo("int64").min
    if not missing.any():
        return pd.Series(integers, column.index, name=column.name)
    exact = integers.astype(object)
    exact[missing] = np.nan
    return pd.Series(exact, column.index, name=column.name, dtype=object)
