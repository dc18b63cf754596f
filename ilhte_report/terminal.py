"""Writing sections to a terminal, as ``ilhte fit`` and ``ilhte who-benefits`` do; figures are left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.padding import Padding
from rich.table import Table

from .pages.section import Section
from .words.numbers import Row
from .words.printable import printable

if TYPE_CHECKING:
    from rich.console import Console

_LONGEST = 2000
"""Characters of a sentence."""
_LONGEST_CELL = 200
_WHOLE = ("Estimate", "SE", "Model SE", "p")
"""Columns of numbers that are never wrapped; a long interval may continue on the next line."""
_NARROWEST = 12
"""Minimum width of a column of words, in characters."""


FULL, ON_ONE_SCREEN = 60, 10
"""Most rows of a table; the middle of a longer one is left out."""


def print_sections(console: Console, title: str, sections: Iterable[Section], *, most_rows: int = FULL) -> None:
    """Print sections one after another, without those that consist of a figure only and without the middle of long tables."""
    console.print(f"[bold]{printable(title)}[/bold]")
    for section in sections:
        if not (section.sentences or section.warnings or section.rows):
            continue
        console.print()
        console.print(printable(section.title), style="bold", highlight=False)
        for text in section.sentences:
            console.print(f"• {printable(text, _LONGEST)}", highlight=False)
        for text in section.warnings:
            console.print(f"! {printable(text, _LONGEST)}", style="yellow", highlight=False)
        if section.note:
            console.print(printable(section.note, _LONGEST), style="dim", highlight=False)
        if section.rows and _fits(section.rows, section.left, console.width):
            console.print(_table(section.rows, section.left, most_rows))
        elif section.rows:
            _print_one_by_one(console, section.rows, most_rows)


def _table(rows: Sequence[Row], left: Sequence[str], most: int) -> Table:
    """Rows as a table for a narrow terminal: words left-aligned, numbers right-aligned."""
    table = Table(box=SIMPLE, collapse_padding=True, pad_edge=False)
    for column in rows[0]:
        words = column in left
        table.add_column(
            printable(column),
            justify="left" if words else "right",
            no_wrap=column in _WHOLE,
            overflow="fold",
            min_width=_NARROWEST if words else None,
        )
    for row in _shown(rows, most):
        table.add_row(*(["…"] if row is None else (printable(cell, _LONGEST_CELL) for cell in row.values())))
    if len(rows) > most:
        table.caption = _between(rows, most)
    return table


def _fits(rows: Sequence[Row], left: Sequence[str], width: int) -> bool:
    """Whether every word and number of a table fits without being broken."""

    def needed(column: str) -> int:
        texts = [column, *(str(row[column]) for row in rows)]
        if column in left:
            return _NARROWEST
        return max(len(piece) for text in texts for piece in ([text] if column in _WHOLE else text.split() or [""]))

    return sum(needed(column) + 3 for column in rows[0]) <= width


def _print_one_by_one(console: Console, rows: Sequence[Row], most: int) -> None:
    """For a narrow terminal: each row as a line with its first cell and, below it, the other cells with their column names."""
    for row in _shown(rows, most):
        if row is None:
            console.print("…")
            continue
        (_, first), *others = row.items()
        console.print(printable(first, _LONGEST_CELL), highlight=False)
        named = "; ".join(f"{name} {cell}".strip() for name, cell in others if str(cell).strip())
        console.print(Padding(printable(named, _LONGEST), (0, 0, 0, 4)), highlight=False)
    if len(rows) > most:
        console.print(_between(rows, most), style="dim", highlight=False)


def _shown(rows: Sequence[Row], most: int) -> Sequence[Row | None]:
    """The rows; if there are too many, the first and last ones with None between them."""
    return rows if len(rows) <= most else [*rows[: most - most // 2], None, *rows[-(most // 2) :]]


def _between(rows: Sequence[Row], most: int) -> str:
    where = "in the JSON document (--json)" if most == FULL else "shown by --full"
    return f"{len(rows) - most} rows between these are {where}."
