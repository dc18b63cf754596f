"""A categorical covariate as a contrast of one label with the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..messages import listed, quoted
from .columns import as_numbers

if TYPE_CHECKING:
    import pandas as pd

MOST_LABELS = 20
"""A text column with more distinct values is not taken as categorical."""


def with_contrast(
    table: pd.DataFrame, tab: str, covariate: str | None, label: str | None
) -> tuple[pd.DataFrame, str | None]:
    """The table with a column ``covariate=label``, 1 where the covariate has the label and 0 elsewhere, and that column's name.

    Without a label, the second of two labels in alphabetical order is contrasted with the first, and a numeric column stays
    as it is.

    Raises
    ------
    InputError : a label is given without a covariate or is unknown, or there are several labels and none is named.
    """
    if covariate is None:
        if label is not None:
            raise InputError("--contrast needs the column whose label it names: name it with --covariate.")
        return table, None
    column = table[covariate]
    if label is None and as_numbers(column).notna().any():
        return table, covariate
    labels = sorted(column.dropna().astype(str).unique())
    if label is None:
        if not 2 <= len(labels) <= MOST_LABELS:
            return table, covariate
        if len(labels) > 2:
            raise InputError(
                f"Column {quoted(covariate)} of table {quoted(tab)} holds {len(labels)} labels ({listed(labels, 6)}): name the one to "
                "compare with the others (option --contrast)."
            )
        label = labels[1]
    elif label not in labels:
        raise InputError(
            f"Column {quoted(covariate)} of table {quoted(tab)} has no label {quoted(label)} (it has {listed(labels, 6)}): name one of "
            "these (option --contrast)."
        )
    name = f"{covariate}={label}"
    coded = np.where(column.notna(), (column.astype(str) == label).astype(float), np.nan)
    return table.assign(**{name: coded}), name
