"""What is looked for in a file, and what it contains."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import InputError
from ..messages import listed, quoted

if TYPE_CHECKING:
    import pandas as pd

ValueLabels = dict[str, dict]
"""Column -> {code: label}, as in Stata and SPSS files."""


@dataclass(frozen=True)
class Sought:
    """What a reader needs to know to find the table in a file.

    Attributes
    ----------
    names : columns of identifiers, each with what they identify ("persons", "items", "clusters"); never read as numbers
        that floating point would round.
    needed : columns that must be present.
    responses : the column of responses, or None in a wide file.
    patterns : item columns of a wide file, by name or pattern.
    sheet : of a workbook, by name or number from 1; None for the first.
    header_row : the row of column names, from 1; None for the first that is not empty.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    needed: tuple[str, ...] = ()
    responses: str | None = None
    patterns: tuple[str, ...] = ()
    sheet: str | None = None
    header_row: int | None = None

    def wants(self, name: str) -> bool:
        """Whether a column is looked for."""
        return name in self.names or name in self.needed or self.takes_for_responses(name)

    def takes_for_responses(self, name: str) -> bool:
        """Whether a column is the column of responses, or an item of a wide file."""
        if name == self.responses or name in self.patterns:
            return True
        return name not in self.needed and any(fnmatch.fnmatchcase(name, pattern) for pattern in self.patterns)

    def is_in(self, header: Iterable[str]) -> bool:
        """Whether a row holds the names of all columns that must be present, ignoring case."""
        found = {name.strip().casefold() for name in header} - {""}
        return all(name.strip().casefold() in found for name in self.needed) and all(
            any(fnmatch.fnmatchcase(name, pattern.casefold()) for name in found) for pattern in self.patterns
        )


@dataclass(frozen=True)
class Contents:
    """A table as in its file.

    Attributes
    ----------
    table : all rows and columns.
    labels : value labels of the columns.
    single : columns stored in single precision in the file, whatever their dtype now.
    cautions : sentences a reader of the results must see.
    other_sheets : sheets of the workbook that were not read.
    """

    table: pd.DataFrame
    labels: ValueLabels = field(default_factory=dict)
    single: frozenset[str] = frozenset()
    cautions: tuple[str, ...] = ()
    other_sheets: tuple[str, ...] = ()


def refuse_duplicates(columns: Iterable[str], where: str) -> None:
    """Raise InputError if two columns have the same name."""
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise InputError(f"{where} has more than one column named {listed(twice, 3)}: rename or remove the others.")


def rows_named(numbers: Sequence[int]) -> str:
    """ "Row 2", "Rows 2 and 3", for a message."""
    if len(numbers) == 1:
        return f"Row {numbers[0]}"
    return f"Rows {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def refuse_nested(nested: list[str], sought: Sought, where: str) -> None:
    """Raise InputError if a column that is looked for holds anything but one value per row."""
    wanted = [name for name in nested if sought.wants(name)]
    if wanted:
        hold = "holds" if len(wanted) == 1 else "hold"
        raise InputError(
            f"{_columns(wanted)} of {where} {hold} lists, tables or the like in place of numbers or text: give each row one value."
        )


def not_read(nested: list[str], where: str) -> tuple[str, ...]:
    """A sentence on columns that were skipped, if any."""
    if not nested:
        return ()
    hold, are = ("holds", "is") if len(nested) == 1 else ("hold", "are")
    return (
        f"{_columns(nested)} of {where} {hold} lists, tables or the like in place of numbers or text and {are} not read.",
    )


def odd_bytes(names: Sequence[str], where: str) -> tuple[str, ...]:
    """A sentence on columns with text that is not in the file's encoding, if any."""
    if not names:
        return ()
    hold = "holds" if len(names) == 1 else "hold"
    return (f"{_columns(names)} of {where} {hold} bytes that are not UTF-8 text: some letters may be wrong.",)


def _columns(names: Sequence[str]) -> str:
    return f"Column {quoted(names[0])}" if len(names) == 1 else f"Columns {listed(names, 6)}"
