"""Which columns of a table can serve as covariate, and how each correlates with the responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..messages import counted, listed, quoted
from .columns import as_numbers

if TYPE_CHECKING:
    import pandas as pd


SMALLEST_SPAN, LARGEST_SPAN = 1e-100, 1e100
"""Outside this range, squares underflow to 0 or overflow in float64."""


@dataclass(frozen=True)
class Candidate:
    """A column that may be the covariate.

    Attributes
    ----------
    name : the column.
    correlation : its correlation with resp over control rows that have both; NaN if undefined.
    fault : why it cannot serve as covariate, half a sentence, or None.
    """

    name: str
    correlation: float
    fault: str | None


def is_covariate(name: str) -> bool:
    """Whether a column's name makes it a candidate for the covariate."""
    return name == "std_baseline" or name.startswith("cov_")


def candidates(table: pd.DataFrame) -> list[Candidate]:
    """``std_baseline`` alone if the table has it, otherwise every ``cov_*`` column, in the table's order."""
    names = [name for name in map(str, table.columns) if is_covariate(name)]
    return [judged(table, name) for name in names if name == "std_baseline" or "std_baseline" not in names]


def judged(table: pd.DataFrame, name: str) -> Candidate:
    """One column assessed as covariate; ``table`` has id, and resp and treat as numbers."""
    numbers = as_numbers(table[name])
    fault = _fault(table, name, numbers)
    return Candidate(name, float("nan") if fault else _correlation(table, numbers), fault)


def _fault(table: pd.DataFrame, name: str, numbers: pd.Series) -> str | None:
    text, infinite = numbers.isna() & table[name].notna(), np.isinf(numbers)

    def examples(bad: pd.Series) -> Examples:
        return Examples(
            int(bad.sum()),
            tuple(table.loc[bad, name].astype(str).drop_duplicates()[:4]),
            tuple(table.loc[bad, "id"].drop_duplicates()[:4].astype(str)),
        )

    values = numbers.dropna()
    return fault(examples(text), examples(infinite), values.min(), values.max())


@dataclass(frozen=True)
class Examples:
    """Faulty rows of one kind: how many, and the first of their values and persons."""

    n_rows: int
    values: tuple[str, ...] = ()
    persons: tuple[str, ...] = ()


def fault(text: Examples, infinite: Examples, low: float, high: float) -> str | None:
    """Why a column cannot serve as covariate, half a sentence, or None.

    Parameters
    ----------
    text, infinite : rows that hold text, and rows that hold an infinite number.
    low, high : smallest and largest value; NaN if there are none.
    """
    for bad, what in ((text, "text"), (infinite, "infinite values")):
        if bad.n_rows:
            return (
                f"it holds {what} in {counted(bad.n_rows, 'row', 'rows')} ({listed(bad.values, 3)}; "
                f"id {listed(bad.persons, 3)})"
            )
    if np.isnan(low):
        return "it is empty"
    if low == high:
        return f"it has a single value ({quoted(f'{low:g}')})"
    span = high / 2 - low / 2
    return None if SMALLEST_SPAN < span < LARGEST_SPAN else f"its values span {2 * span:g}, so rescale it"


def _correlation(table: pd.DataFrame, numbers: pd.Series) -> float:
    rows = (table["treat"] == 0) & numbers.notna() & table["resp"].notna()
    x, y = numbers[rows].to_numpy(), table.loc[rows, "resp"].to_numpy()
    with np.errstate(all="ignore"):  # numbers too large to be squared have no correlation
        if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
            return float("nan")
        return float(np.corrcoef(x, y)[0, 1])
