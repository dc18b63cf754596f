"""A part of what is shown, in plain text, for every writer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from ..words.numbers import Row


BEHIND = "The figure as a table"


@dataclass(frozen=True)
class Section:
    """A part of what is shown of a trial, in plain text: the writer escapes it.

    Attributes
    ----------
    title : its heading.
    sentences : what it says.
    warnings : what a reader must be told besides.
    rows : of its table, each a dictionary from column to cell, all with the same columns.
    left : columns of words; the others are numbers.
    figure : draws its figure; called by a writer that shows figures.
    alt : the figure in words, with what is found in it.
    behind : the numbers of the figure as a table, where no table of the section or of another holds them.
    note : how table or figure are to be read.
    bibtex : entries to cite.
    """

    title: str
    sentences: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    left: tuple[str, ...] = ("",)
    figure: Callable[[], Figure] | None = None
    alt: str = ""
    behind: tuple[Row, ...] = ()
    note: str = ""
    bibtex: tuple[str, ...] = ()
