"""The row of column names in a spreadsheet or text file.

Titles may stand above it and descriptions below. Neither is silently skipped: the user is told which row it seems to be.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import InputError
from ..messages import listed
from .contents import Sought, rows_named
from .relations import MISSING_WORDS

Row = tuple[int, list[str]]
"""A row that is not empty: its number from 1, and its cells as text, "" if empty."""

DEEPEST_HEADER = 30
MOST_DESCRIPTIONS = 3
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?|true|false", re.ASCII | re.IGNORECASE)
_IMPORT_ID = re.compile(r'\{\s*"ImportId"\s*:')


@dataclass(frozen=True)
class Header:
    """The row of column names.

    Attributes
    ----------
    row : its number, from 1.
    names : the columns' names, "" where one has none.
    descriptions : numbers of the rows below that describe the columns and are to be left out.
    """

    row: int
    names: tuple[str, ...]
    descriptions: tuple[int, ...] = ()

    def caution(self, where: str) -> tuple[str, ...]:
        """A sentence on the rows left out, if any."""
        if not self.descriptions:
            return ()
        hold = "describes" if len(self.descriptions) == 1 else "describe"
        left = "is" if len(self.descriptions) == 1 else "are"
        return (f"{rows_named(self.descriptions)} of {where} {hold} the columns and {left} left out.",)


def header_of(rows: Sequence[Row], sought: Sought, where: str) -> Header:
    """The row of column names among the first rows of a table.

    Parameters
    ----------
    rows : the first rows that are not empty, at least one.
    sought : what is looked for; its ``header_row``, if given, is final.
    where : the file, for messages.

    Raises
    ------
    InputError : the row given is empty, the names seem to be in another row than the first, or descriptions seem to follow
        them.
    """
    if sought.header_row is not None:
        at = next((k for k, (number, _) in enumerate(rows) if number == sought.header_row), None)
        if at is None:
            raise InputError(f"Row {sought.header_row} of {where} is empty or does not exist: check --header-row.")
        return Header(sought.header_row, tuple(_filled_up(rows, at)), _descriptions(rows, at))
    at = 0 if sought.is_in(rows[0][1]) else _likely(rows, sought)
    if at:
        number = rows[at][0]
        names = [name for name in _filled_up(rows, at) if name.strip()]
        raise InputError(
            f"{where} seems to have its column names in row {number} ({listed(names, 8)}): "
            f"give --header-row {number}, or delete what is above."
        )
    number, names = rows[0]
    descriptions = _descriptions(rows, 0)
    if descriptions:
        shown = [cell for cell in rows[1][1] if cell]
        hold = "holds" if len(descriptions) == 1 else "hold"
        left = "it" if len(descriptions) == 1 else "them"
        raise InputError(
            f"{rows_named(descriptions)} of {where} apparently {hold} descriptions of the columns, not data "
            f"({listed(shown, 3)}): give --header-row {number} to leave {left} out, or delete {left}."
        )
    return Header(number, tuple(names))


def _filled_up(rows: Sequence[Row], at: int) -> list[str]:
    """Names in a row; an empty cell takes the name above it, as in cells merged vertically."""
    names = list(rows[at][1])
    if at:
        above = rows[at - 1][1]
        names += [""] * (len(above) - len(names))
        names = [name or (above[k] if k < len(above) else "") for k, name in enumerate(names)]
    return names


def _likely(rows: Sequence[Row], sought: Sought) -> int:
    """Index of the row that most likely holds the names; 0 unless another row is more likely than the first."""
    first = rows[:DEEPEST_HEADER]
    for at in range(1, len(first)):
        if sought.is_in(_filled_up(rows, at)):
            return at
    widths = sorted(_n_filled(cells) for _, cells in rows)
    usual = widths[len(widths) // 2]
    if len(rows) < 3 or usual < 3 or _n_filled(rows[0][1]) > usual / 2:
        return 0
    for at, (_, _cells) in enumerate(first):
        names = [name for name in _filled_up(rows, at) if name.strip()]
        if len(names) >= 0.9 * usual:
            is_header = len(set(names)) == len(names) and not any(NUMBER.fullmatch(name.strip()) for name in names)
            return at if is_header else 0
    return 0


def _n_filled(cells: Sequence[str]) -> int:
    return sum(1 for cell in cells if cell.strip())


def _descriptions(rows: Sequence[Row], header: int) -> tuple[int, ...]:
    """Numbers of the rows directly below the names that describe the columns.

    They end with Qualtrics' row of import ids, or hold text in the columns (at least two) that hold only numbers below.
    """
    below = rows[header + 1 :]
    for k, (_, cells) in enumerate(below[:MOST_DESCRIPTIONS]):
        filled = [cell for cell in cells if cell.strip()]
        if len(filled) > 1 and sum(bool(_IMPORT_ID.search(cell)) for cell in filled) > len(filled) / 2:
            return tuple(number for number, _ in below[: k + 1])
    for k in range(min(MOST_DESCRIPTIONS, len(below) - 5), 0, -1):
        columns = _numeric_columns(below[k:])
        if len(columns) >= 2 and all(_is_text(cells, columns) for _, cells in below[:k]):
            return tuple(number for number, _ in below[:k])
    return ()


def _numeric_columns(rows: Sequence[Row]) -> list[int]:
    width = max(len(cells) for _, cells in rows)
    columns = []
    for k in range(width):
        values = [cells[k].strip() for _, cells in rows if k < len(cells)]
        values = [value for value in values if value not in MISSING_WORDS]
        if values and all(NUMBER.fullmatch(value) for value in values):
            columns.append(k)
    return columns


def _is_text(cells: Sequence[str], columns: Sequence[int]) -> bool:
    """Whether a row holds text in most of these columns and no number anywhere."""
    filled = {k: cell.strip() for k, cell in enumerate(cells) if cell.strip() not in MISSING_WORDS}
    if any(NUMBER.fullmatch(cell) for cell in filled.values()):
        return False
    return sum(k in filled for k in columns) >= max(2, 0.5 * len(columns))
