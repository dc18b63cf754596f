"""Blank text as missing values, in every file format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .columns import is_blank

if TYPE_CHECKING:
    import pandas as pd


def empty_blanks(table: pd.DataFrame) -> list[str]:
    """Make empty and white-space text in the table missing, in place; return the columns that had any."""
    changed = []
    for name in table.columns:
        column = table[name]
        if hasattr(column.dtype, "categories"):
            unused = [value for value in column.cat.categories if is_blank(value)]
            if unused:
                table[name] = column.cat.remove_categories(unused)
                changed.append(name)
        elif getattr(column.dtype, "kind", "O") == "O":
            blank = _blanks(column)
            if blank is not None:
                table[name] = column.mask(blank)
                changed.append(name)
    return changed


def _blanks(column: pd.Series) -> pd.Series | None:
    try:
        values = [value for value in column.unique() if is_blank(value)]
    except TypeError:  # a column of lists or the like
        blank = column.map(is_blank)
        return blank if blank.any() else None
    return column.isin(values) if values else None
