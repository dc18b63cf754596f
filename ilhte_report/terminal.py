"""Sections written on a terminal: what ``ilhte fit`` and ``ilhte who-benefits`` print. Figures are left to the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.table import Table

from .pages.sections import Section
from .words.numbers import Row
from .words.printable import printable

if TYPE_CHECKING:
    from rich.console import Console

_LONGEST = 2000
"""Characters of a sentence."""
_LONGEST_CELL = 200
_WHOLE = ("Estimate", "SE", "Model SE", "p")
"""Columns of numbers that are never cut; a long interval goes on in the next line."""


FULL, ON_ONE_SCREEN = 60, 10
"""Rows of a table: the middle of a longer one is left out."""


def print_sections(console: Console, title: str, sections: Iterable[Section], *, most_rows: int = FULL) -> None:
    """Print sections one after another; one that is a figure alone is left out, and the middle of a very long table."""
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
        if section.rows:
            console.print(_table(section.rows, section.left, most_rows))


def _table(rows: Sequence[Row], left: Sequence[str], most: int) -> Table:
    """Rows as a table that fits a narrow terminal: words to the left, numbers to the right."""
    table = Table(box=SIMPLE, collapse_padding=True, pad_edge=False)
    for column in rows[0]:
        words = column in left
        table.add_column(
            printable(column),
            justify="left" if words else "right",
            no_wrap=column in _WHOLE,
            overflow="fold",
            min_width=12 if words else None,
        )
    shown = rows if len(rows) <= most else [*rows[: most - most // 2], None, *rows[-(most // 2) :]]
    for row in shown:
        table.add_row(*(["…"] if row is None else (printable(cell, _LONGEST_CELL) for cell in row.values())))
    if len(rows) > most:
        where = "in the JSON document (--json)" if most == FULL else "shown by --full"
        table.caption = f"{len(rows) - most} rows between these are {where}."
    return table
