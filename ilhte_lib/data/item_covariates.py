"""Item covariates in a table: columns ``itemcov_*``, one value per item."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..messages import listed, quoted
from ..model.item_types import ItemCovariate, coded
from .columns import as_numbers, without_blanks

if TYPE_CHECKING:
    import pandas as pd

    from .trial import Audit

PREFIX = "itemcov_"
FEWEST_DEGREES = 1
"""Least J - m - 2, the degrees of freedom of t for the effect of an item covariate."""


def of_columns(
    table: pd.DataFrame, position: np.ndarray, item_names: tuple[str, ...], audit: Audit
) -> tuple[ItemCovariate, ...]:
    """The usable ``itemcov_*`` columns of a long table; the audit flags what is wrong with the others.

    Parameters
    ----------
    table : the rows analysed.
    position : (n,) item of each row, as index into ``item_names`` (J,).
    """
    import pandas as pd

    found: list[ItemCovariate] = []
    for column in [name for name in map(str, table.columns) if name.startswith(PREFIX)]:
        by_item = without_blanks(table[column]).groupby(position)
        name = column.removeprefix(PREFIX) or column
        varying = np.flatnonzero(by_item.nunique().to_numpy() > 1)
        if len(varying):
            fault: str | None = (
                f"it differs between rows of one item ({listed((item_names[k] for k in varying.tolist()), 3)})"
            )
        else:
            covariate, fault = judged(name, pd.Series(by_item.first().to_numpy(object)), item_names, found)
        if fault is not None:
            audit.note("item covariate", f"Item covariate {quoted(name)} is left out: {fault}.", flag=True)
        else:
            found.append(covariate)
    return tuple(found)


def judged(
    name: str, values: pd.Series, item_names: tuple[str, ...], others: list[ItemCovariate]
) -> tuple[ItemCovariate, str | None]:
    """One covariate (J,), and why it cannot be used with the ``others``, half a sentence, or None."""
    numbers = as_numbers(values)
    lacking = np.flatnonzero(values.isna().to_numpy()).tolist()
    if not lacking and np.isfinite(numbers).all():
        covariate = ItemCovariate(name, tuple(numbers.tolist()))
    else:
        covariate = ItemCovariate(name, tuple(values.astype(str)))
    if lacking:
        return covariate, f"it is missing for {listed((item_names[k] for k in lacking), 3)}"
    if len(set(covariate.values)) == 1:
        return covariate, f"it has the same value for all items ({quoted(str(values.iloc[0]))})"
    size = len(covariate.column_names)
    if len(item_names) - size - 2 < FEWEST_DEGREES:
        return covariate, f"it has {size + 1} values for {len(item_names)} items, which leaves nothing to compare"
    _, z = coded([*others, covariate])
    scaled = z / np.linalg.norm(z, axis=0)
    if np.linalg.matrix_rank(scaled, tol=1e-8) < z.shape[1]:
        beside = listed((other.name for other in others), 3)
        return covariate, f"it is collinear with {beside}"
    return covariate, None
