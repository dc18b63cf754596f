"""A covariate of labels as a contrast: one of them against the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..messages import listed, quoted
from .columns import as_numbers

if TYPE_CHECKING:
    import pandas as pd

MOST_LABELS = 20
"""A column of text with more different values is no covariate of labels."""


def with_contrast(
    table: pd.DataFrame, tab: str, covariate: str | None, label: str | None
) -> tuple[pd.DataFrame, str | None]:
    """The table with a column ``covariate=label`` that is 1 where the covariate has the label, 0 elsewhere, and that name.

    Without a label a column of two labels is contrasted by itself, the second in alphabetical order with the first; a column
    of numbers stays as it is.

    Raises
    ------
    InputError : a label without a covariate, an unknown one, or several labels and none named.
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
                f"Column {quoted(covariate)} of table {quoted(tab)} holds {len(labels)} labels ({listed(labels, 6)}): name the one that "
                "is compared with the others (option --contrast)."
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
