"""Excel workbooks: the sheet with the table, read row by row whatever size it claims to have.

A sheet often claims to extend to the last possible cell because one was once formatted; only cells with content count here.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..messages import counted, listed, quoted
from .contents import Contents, Sought, refuse_duplicates
from .header import DEEPEST_HEADER, Row, header_of
from .relations import MISSING_WORDS
from .sheet_parts import extent, formulas, recalculates_on_load

if TYPE_CHECKING:
    import pandas as pd

PREVIEW = 200
"""Rows examined to find the row of names."""
_OLD_OR_LOCKED = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""First bytes of files in the older format or with a password."""

_COMPUTE = "open the file in Excel or LibreOffice, save it there and try again"

Cells = tuple[int, list[Any]]
"""A row that is not empty: its number from 1, and the values of its cells."""


def read_workbook(path: Path, sought: Sought) -> Contents:
    """The table on a sheet, the first visible one unless another is requested.

    Columns of names are as in the cells (the text 007 is not the number 7); other columns of text that spells numbers become
    numbers. Words that mean missing in text files do so here.

    Raises
    ------
    InputError : there is no such sheet, it is empty, its names are in another row or on another sheet, two columns have the
        same name, or a needed column holds formulas that were never computed.
    """
    import openpyxl

    with path.open("rb") as stream:
        if stream.read(8) == _OLD_OR_LOCKED:
            raise InputError(
                f"{quoted(path.name)} is an Excel file in the older format .xls, or has a password: save it as .xlsx "
                "without a password."
            )
    book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    try:
        return _Book(path, book, sought).contents()
    finally:
        book.close()


class _Book:
    """One workbook, and what is looked for in it."""

    def __init__(self, path: Path, book: Any, sought: Sought):
        self.path, self.sought, self.where = path, sought, quoted(path.name)
        self.sheets = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"] or book.worksheets
        self.all_sheets = book.worksheets
        if not self.sheets:
            raise InputError(f"{self.where} has no sheet with cells: put the table on one.")

    def contents(self) -> Contents:
        sheet = self._sheet()
        rows = self._rows(sheet)
        if self.sought.sheet is None:
            self._look_elsewhere(sheet, rows)
        if not rows:
            raise InputError(f"Sheet {quoted(sheet.title)} of {self.where} is empty: put the table there.")
        header = header_of([_as_text(row) for row in rows[:PREVIEW]], self.sought, self.where)
        refuse_duplicates([name for name in header.names if name.strip()], self.where)
        body = [row for row in rows if row[0] > header.row and row[0] not in header.descriptions]
        names = _column_names(header.names, body)
        cautions = [
            *header.caution(self.where),
            *self._same_columns(sheet),
            *self._formulas(sheet, names, body),
        ]
        others = tuple(other.title for other in self.sheets if other is not sheet)
        return Contents(_frame(names, body, self.sought), cautions=tuple(cautions), other_sheets=others)

    # -- sheets -------------------------------------------------------------------------------------------------

    def _sheet(self) -> Any:
        asked = self.sought.sheet
        if asked is None:
            return self.sheets[0]
        for same in (str, str.casefold):
            for sheet in self.all_sheets:
                if same(sheet.title.strip()) == same(asked.strip()):
                    return sheet
        if asked.strip().isdecimal() and 1 <= int(asked) <= len(self.sheets):
            return self.sheets[int(asked) - 1]
        raise InputError(
            f"{self.where} has no sheet {quoted(asked)} (it has {listed([s.title for s in self.sheets], 8)}): give one of "
            "these, or its number, as --sheet."
        )

    def _rows(self, sheet: Any, most: int | None = None) -> list[Cells]:
        """The rows that are not empty, of the whole sheet or its first ``most`` rows."""
        # the size that the sheet claims is not reliable
        sheet.reset_dimensions()
        last = extent(self.path, getattr(sheet, "_worksheet_path", None)).last_row if most is None else most
        rows: list[Cells] = []
        if last == 0:
            return rows
        for number, values in enumerate(sheet.iter_rows(values_only=True, max_row=last), start=1):
            cells = _trimmed(values)
            if cells:
                rows.append((number, cells))
        return rows

    def _look_elsewhere(self, sheet: Any, rows: list[Cells]) -> None:
        """Raise InputError if the required columns are on another sheet, or this one has no table."""
        if len(self.sheets) < 2 or self._holds(rows):
            return
        better = self._others_with_the_columns(sheet)
        what = f"Sheet {quoted(sheet.title)} of {self.where}"
        if better:
            hold = "sheet {} does" if len(better) == 1 else "sheets {} do"
            first, rows_there = next(iter(better.values()))
            at = next(number for number, cells in rows_there if self._holds([(number, cells)]))
            row = f" --header-row {at}" if at != rows_there[0][0] else ""
            raise InputError(
                f"{what} lacks the required columns, but {hold.format(listed(better, 4))}: "
                f"give --sheet {self._option(first)}{row}."
            )
        widths = sorted(len(cells) for _, cells in rows)
        if len(rows) < 3 or widths[len(widths) // 2] < 3:
            others = [other for other in self.sheets if other is not sheet]
            raise InputError(
                f"{what} holds no table; there {'is' if len(others) == 1 else 'are'} also "
                f"{listed([s.title for s in others], 8)}: name the sheet with the table, such as "
                f"--sheet {self._option(others[0])}."
            )

    def _same_columns(self, sheet: Any) -> list[str]:
        if self.sought.sheet is not None or not self.sought.needed:
            return []
        others = self._others_with_the_columns(sheet)
        if not others:
            return []
        return [
            f"{self.where} is read from sheet {quoted(sheet.title)} alone; {listed(others, 4)} "
            f"{'has' if len(others) == 1 else 'have'} the same columns (option --sheet)."
        ]

    def _others_with_the_columns(self, sheet: Any) -> dict[str, tuple[Any, list[Cells]]]:
        """Title -> sheet and first rows of the other sheets that have the required columns."""
        found = {}
        for other in self.sheets:
            if other is not sheet:
                rows = self._rows(other, DEEPEST_HEADER)
                if self._holds(rows):
                    found[other.title] = other, rows
        return found

    def _holds(self, rows: Sequence[Cells]) -> bool:
        return any(self.sought.is_in(_as_text(row)[1]) for row in rows[:DEEPEST_HEADER])

    def _option(self, sheet: Any) -> str:
        """The sheet as an argument for a shell: its name, or its number if the name is hard to type."""
        title = sheet.title
        plain = title.isprintable() and title == title.strip() and len(title) < 40
        return shlex.quote(title) if plain and not title.isdecimal() else str(self.sheets.index(sheet) + 1)

    # -- formulas -----------------------------------------------------------------------------------------------

    def _formulas(self, sheet: Any, names: dict[int, str], body: list[Cells]) -> list[str]:
        """Cautions on formulas without results; InputError if a needed column has any."""
        part = getattr(sheet, "_worksheet_path", None)
        if part is None or not extent(self.path, part).has_formulas:
            return []
        empty: Counter[int] = Counter()
        present: Counter[int] = Counter()
        rows = {number for number, _ in body}
        for row, column, has_result in formulas(self.path, part):
            if row in rows and column in names:
                (present if has_result else empty)[column] += 1
        valued = {k for _, cells in body for k, cell in enumerate(cells) if cell is not None}
        needed = [k for k, name in names.items() if self.sought.wants(name)]
        for column in needed:
            if empty[column]:
                raise InputError(self._never_computed(names[column], empty[column], has_others=column in valued))
        cautions = [
            f"Column {quoted(names[column])} of {self.where} holds {counted(count, 'formula that was', 'formulas that were')} "
            "never computed and counts as empty in those cells."
            for column, count in sorted(empty.items())
        ]
        stale = [names[column] for column in needed if present[column]]
        if stale and recalculates_on_load(self.path):
            cautions.append(
                f"The program that wrote {self.where} left its formulas to be computed on opening, so values of "
                f"{listed(stale, 4)} may be out of date: {_COMPUTE}."
            )
        return cautions

    def _never_computed(self, column: str, n_formulas: int, *, has_others: bool) -> str:
        what = "responses" if self.sought.takes_for_responses(column) else "values"
        lacking = f"no {what} in {counted(n_formulas, 'row', 'rows')}" if has_others else f"no {what} at all"
        return (
            f"Column {quoted(column)} of {self.where} holds {counted(n_formulas, 'formula that was', 'formulas that were')} "
            f"never computed, so there are {lacking}: {_COMPUTE}."
        )


def _trimmed(values: Sequence[Any]) -> list[Any]:
    """Cells up to the last that is not empty; blank text is empty, whole floats become integers."""
    cells = [_cell(value) for value in values]
    while cells and cells[-1] is None:
        cells.pop()
    return cells


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.strip() else None
    # a float above 2^53 stays one, so that its lost digits can be reported
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _as_text(row: Cells) -> Row:
    return row[0], ["" if cell is None else str(cell) for cell in row[1]]


def _column_names(names: Sequence[str], body: Sequence[Cells]) -> dict[int, str]:
    """Position -> name of the columns that have a name or any content."""
    filled: set[int] = set()
    for _, cells in body:
        filled.update(k for k, cell in enumerate(cells) if cell is not None)
    named = {k: name for k, name in enumerate(names) if name.strip()}
    return {k: named.get(k, f"Unnamed: {k}") for k in sorted({*named, *filled})}


def _frame(names: dict[int, str], body: Sequence[Cells], sought: Sought) -> pd.DataFrame:
    import pandas as pd

    columns = {}
    for k, name in names.items():
        values = [cells[k] if k < len(cells) else None for _, cells in body]
        values = [None if isinstance(value, str) and value.strip() in MISSING_WORDS else value for value in values]
        columns[name] = _named(values) if name in sought.names else _typed(values)
    return pd.DataFrame(columns, index=range(len(body)))


def _named(values: list[Any]) -> pd.Series:
    import pandas as pd

    return pd.Series(values, dtype=object) if None in values else pd.Series(values, dtype=object).infer_objects()


def _typed(values: list[Any]) -> pd.Series:
    """The column as numbers if all values are or spell numbers, otherwise unchanged."""
    import pandas as pd

    column = pd.Series(values, dtype=object)
    if any(isinstance(value, str) for value in values):
        try:
            return pd.to_numeric(column)
        except (TypeError, ValueError):
            return column
    if all(value is None or type(value) in (int, float) for value in values):
        return pd.to_numeric(column)
    return column.infer_objects()
