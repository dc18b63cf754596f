"""Text files of separated fields: the separator, the row of column names, and how numbers are written.

Files from spreadsheet programs of any locale are read without comment as long as only one reading is possible.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import InputError
from ..messages import listed, quoted, wrong_count
from .contents import Contents, Sought, refuse_duplicates
from .header import DEEPEST_HEADER, Header, Row, header_of
from .memory import refuse_too_large

if TYPE_CHECKING:
    import pandas as pd

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
PREVIEW = 2**18
"""Bytes read to determine separator and header."""

_SEPARATOR_LINE = re.compile(r'"?sep=([^"\s]|\t)"?', re.IGNORECASE)
"""A first line that tells Excel the separator."""
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+", re.ASCII)
_COMMA_NUMBER = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:\.\d{3})+)(?:,\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_ONLY_DECIMAL = re.compile(r"[+-]?(?:0|\d{4,}|\d{1,3}(?:\.\d{3})+),\d+|[+-]?\d+,(?:\d{1,2}|\d{4,})", re.ASCII)
"""A comma that cannot separate thousands: after 0, after four digits or dots, or before other than three digits."""


def read_delimited(path: Path, sought: Sought, separator: str) -> Contents:
    """The table in a text file; columns of names stay text, and numbers may have decimal commas.

    Parameters
    ----------
    path : the file, which may be gzipped.
    sought : what is looked for.
    separator : the one its ending implies; another is used where the rows leave no doubt.

    Raises
    ------
    InputError : the file is empty, is not a regular table or not UTF-8, has its names in another row, or has a row with too
        many or too few fields, which may be cut off or under the wrong column.
    """
    import pandas as pd

    where = quoted(path.name)
    try:
        refuse_too_large(path)
        layout = layout_of(path, sought, separator, where)
        options = {
            "sep": layout.separator,
            "encoding": "utf-8-sig",
            "low_memory": False,
            "skiprows": layout.skipped or None,
        }
        first = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False, **options)
        header = [str(name) for name in first.iloc[0]]
        refuse_duplicates([name for name in header if name], where)
        if len(header) == 1:
            _suspect_separator(header[0], where)
        # without index_col=False a surplus field shifts every value under the name of the column to its left
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                path, index_col=False, dtype={name: str for name in sought.names if name in header}, **options
            )
        if len(header) > 1 and table.iloc[:, -1].isna().any():  # otherwise no row can be short
            _refuse_short_rows(path, layout, len(header), where)
    except pd.errors.EmptyDataError as error:
        raise InputError(f"{where} is empty: check that it was written or downloaded completely.") from error
    except pd.errors.ParserWarning as error:
        raise InputError(f"{where} has rows with more fields than its header has names: name every column.") from error
    except pd.errors.ParserError as error:
        if "out of memory" in str(error):
            raise MemoryError from error
        raise InputError(_parser_fault(str(error), where)) from error
    except UnicodeError as error:
        raise InputError(
            f"{where} is not UTF-8 text{_first_undecodable_line(path)}: save it again with the encoding UTF-8 "
            '(in Excel: "CSV UTF-8").'
        ) from error
    cautions = () if layout.header is None else layout.header.caution(where)
    if layout.separator != "," and _take_decimal_commas(table, sought):
        cautions += _take_thousands(table, path, options, where)
    return Contents(table, cautions=cautions)


class Layout(NamedTuple):
    """How to read a file.

    separator : the character between fields.
    skipped : rows to leave out, counted from 0.
    header : the row of names; None where only the first row can be it.
    """

    separator: str
    skipped: list[int]
    header: Header | None


def layout_of(path: Path, sought: Sought, separator: str, where: str) -> Layout:
    """How to read a file, judged by its beginning."""
    text = _beginning(path)
    hint = _SEPARATOR_LINE.fullmatch(text.partition("\n")[0].strip("\r\ufeff "))
    if hint:
        separator = hint[1]
        rows = _rows(text, separator)[1:]
    else:
        separator, rows = _separated(text, sought, separator)
    if not rows:
        return Layout(separator, [0] if hint else [], None)
    header = header_of(rows, sought, where)
    skipped = {*range(header.row - 1), *(number - 1 for number in header.descriptions)}
    return Layout(separator, sorted(skipped), header)


def _beginning(path: Path) -> str:
    with (gzip.open if path.name.lower().endswith(".gz") else open)(path, "rb") as stream:
        content = stream.read(PREVIEW)
        is_cut = bool(stream.read(1))
    text = content.decode("utf-8-sig", errors="replace")
    # drop the last line, which may be cut in the middle
    return text[: max(text.rfind("\n"), text.rfind("\r")) + 1] if is_cut and re.search(r"[\r\n]", text) else text


def _rows(text: str, separator: str) -> list[Row]:
    """Rows that are not empty, up to the first that cannot be parsed."""
    rows: list[Row] = []
    try:
        for number, cells in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=separator), start=1):
            if any(cell.strip() for cell in cells):
                rows.append((number, cells))
    except csv.Error:  # an unclosed quotation mark, which pandas reports
        pass
    return rows


def _separated(text: str, sought: Sought, promised: str) -> tuple[str, list[Row]]:
    """The separator, and the rows it yields.

    It is the promised one if the required names are found with it; otherwise the only other one with which they are found;
    otherwise the one that yields the most even table, preferring names further up, then the promised one, then more columns.
    """
    ways = {separator: _rows(text, separator) for separator in dict.fromkeys((promised, *DELIMITERS))}
    if sought.needed or sought.patterns:
        naming = [s for s, rows in ways.items() if any(sought.is_in(cells) for _, cells in rows[:DEEPEST_HEADER])]
        if promised in naming:
            return promised, ways[promised]
        naming = [s for s in naming if _usual_width(ways[s]) > 1]
        if len(naming) == 1:
            return naming[0], ways[naming[0]]
    even = {separator: of for separator, rows in ways.items() if (of := _evenness(rows)) is not None}
    if even:
        best = min(even, key=lambda s: (even[s][0], s != promised, -even[s][1]))
    else:  # a damaged table, whose faults are reported by row later
        found = [s for s, rows in ways.items() if rows and len(rows[0][1]) > 1 and _usual_width(rows) > 1]
        best = min(found, key=lambda s: (s != promised, -_usual_width(ways[s])), default=promised)
    return best, ways[best]


def _evenness(rows: Sequence[Row]) -> tuple[int, int] | None:
    """The first row from which on (nearly) all rows have the usual number of fields, and that number; None if uneven."""
    widths = [len(cells) for _, cells in rows]
    usual = _usual_width(rows)
    if usual < 2:
        return None
    first = widths.index(usual)
    off = sum(width != usual for width in widths[first:])
    return (first, usual) if first < DEEPEST_HEADER and off <= 0.02 * len(widths) else None


def _usual_width(rows: Sequence[Row]) -> int:
    """The most common number of fields in a row; 0 if there are no rows."""
    counts = Counter(len(cells) for _, cells in rows)
    return max(counts, key=lambda width: (counts[width], width), default=0)


def _suspect_separator(only_column: str, where: str) -> None:
    for separator, plural in DELIMITERS.items():
        if separator in only_column:
            raise InputError(
                f"{where} was read as one column, {quoted(only_column)}: its fields seem to be separated by {plural}; "
                "save it with commas as .csv or with tabs as .tsv."
            )


def _take_decimal_commas(table: pd.DataFrame, sought: Sought) -> bool:
    """Convert text columns of numbers with decimal commas in place; return whether there were any.

    This is done only if some comma in the file cannot separate thousands; dots that separate thousands are then removed.
    """
    import pandas as pd

    written = {}
    for name in table.columns:
        column = table[name]
        if name in sought.names or not (column.dtype == object or pd.api.types.is_string_dtype(column.dtype)):
            continue
        values = [value for value in column.dropna().unique() if not (isinstance(value, str) and not value.strip())]
        if all(isinstance(value, str) and _COMMA_NUMBER.fullmatch(value.strip()) for value in values):
            written[name] = values
    if not any(_ONLY_DECIMAL.fullmatch(value.strip()) for values in written.values() for value in values):
        return False
    for name, values in written.items():
        numbers = {value: float(value.strip().replace(".", "").replace(",", ".")) for value in values}
        table[name] = table[name].map(numbers).astype("float64")
    return True


def _take_thousands(table: pd.DataFrame, path: Path, options: dict, where: str) -> tuple[str, ...]:
    """In a file with decimal commas, read dots as thousands separators in columns where all can be, with a caution."""
    import pandas as pd

    names = [name for name in table.columns if table[name].dtype == float]
    if not names:
        return ()
    text = pd.read_csv(path, index_col=False, dtype=str, usecols=names, **options)
    cautions = []
    for name in names:
        values = [value for value in text[name].dropna().unique() if "." in value]
        if values and all(_THOUSANDS.fullmatch(value.strip()) for value in values):
            numbers = text[name].map(lambda value: float(value.replace(".", "")), na_action="ignore")
            table[name] = numbers.astype("float64")
            cautions.append(
                f"Column {quoted(name)} of {where} holds numbers such as {listed(values, 2)}: since other numbers of the file "
                "have decimal commas, the dots are taken as thousands separators."
            )
    return tuple(cautions)


def _refuse_short_rows(path: Path, layout: Layout, width: int, where: str) -> None:
    """Raise InputError for the first row with fewer fields than the header, which pandas would pad silently."""
    skipped = set(layout.skipped)
    try:
        with (gzip.open if path.name.lower().endswith(".gz") else open)(
            path, "rt", encoding="utf-8-sig", newline=""
        ) as stream:
            rows = csv.reader(stream, delimiter=layout.separator)
            for number, cells in enumerate(rows):
                is_empty = len(cells) < 2 and not "".join(cells).strip()
                if len(cells) < width and not is_empty and number not in skipped:
                    raise InputError(wrong_count(where, len(cells), rows.line_num, width))
    except csv.Error:  # a field longer than Python's reader accepts, which pandas has read
        return


def _parser_fault(message: str, where: str) -> str:
    counts = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", message)
    if counts:
        expected, line, found = map(int, counts.groups())
        return wrong_count(where, found, line, expected)
    if "EOF inside string" in message:
        return f"{where} has a quotation mark that is opened and never closed: close it, or check that the file is complete."
    return f"{where} is not a regular table of separated fields: save it again as CSV."


def _first_undecodable_line(path: Path) -> str:
    with (gzip.open if path.name.lower().endswith(".gz") else open)(path, "rb") as stream:
        for number, line in enumerate(stream, start=1):
            if line.startswith((b"\xff\xfe", b"\xfe\xff")):
                return " but UTF-16"
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return f" (first in line {number})"
    return ""
