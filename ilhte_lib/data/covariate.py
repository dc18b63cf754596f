"""Which columns of a table can serve as covariate, and how each goes with the responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..messages import counted, listed, quoted
from .columns import as_numbers

if TYPE_CHECKING:
    import pandas as pd


SMALLEST_SPAN, LARGEST_SPAN = 1e-100, 1e100
"""Squares of what lies outside are 0 or infinite in float64."""


@dataclass(frozen=True)
class Candidate:
    """A column that may be the covariate.

    Attributes
    ----------
    name : the column.
    correlation : its correlation with resp over the rows of the control arm that have both; NaN if undefined.
    fault : why it cannot serve, half a sentence, or None.
    """

    name: str
    correlation: float
    fault: str | None


def candidates(table: pd.DataFrame) -> list[Candidate]:
    """``std_baseline`` alone if the table has it, else every ``cov_*`` column, in the table's order."""
    names = [str(name) for name in table.columns]
    chosen = [n for n in names if n == "std_baseline"] or [n for n in names if n.startswith("cov_")]
    return [judged(table, name) for name in chosen]


def judged(table: pd.DataFrame, name: str) -> Candidate:
    """One column as a covariate; ``table`` has id, and resp and treat as numbers."""
    numbers = as_numbers(table[name])
    fault = _fault(table, name, numbers)
    return Candidate(name, float("nan") if fault else _correlation(table, numbers), fault)


def _fault(table: pd.DataFrame, name: str, numbers: pd.Series) -> str | None:
    text, infinite = numbers.isna() & table[name].notna(), np.isinf(numbers)
    for bad, what in ((text, "text"), (infinite, "infinite values")):
        if bad.any():
            values = table.loc[bad, name].astype(str).drop_duplicates()
            persons = table.loc[bad, "id"].drop_duplicates()
            return f"it holds {what} in {counted(int(bad.sum()), 'row', 'rows')} ({listed(values, 3)}; id {listed(map(str, persons), 3)})"
    values = numbers.dropna().unique()
    if len(values) == 0:
        return "it is empty"
    if len(values) == 1:
        return f"it has one value ({quoted(f'{values[0]:g}')})"
    span = values.max() / 2 - values.min() / 2
    return None if SMALLEST_SPAN < span < LARGEST_SPAN else f"its values lie {2 * span:g} apart, give it another unit"


def _correlation(table: pd.DataFrame, numbers: pd.Series) -> float:
    rows = (table["treat"] == 0) & numbers.notna() & table["resp"].notna()
    x, y = numbers[rows].to_numpy(), table.loc[rows, "resp"].to_numpy()
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])
