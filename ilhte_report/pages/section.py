"""A section of a report, in plain text, for all writers."""

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
    """A section of a report, in plain text, which the writer escapes.

    Attributes
    ----------
    title : the heading.
    sentences : the text, sentence by sentence.
    warnings : sentences to be marked as warnings.
    rows : the table, each row a dictionary from column to cell, all with the same columns.
    left : columns of words, left-aligned; the others are numbers.
    figure : draws the figure; called by writers that show figures.
    alt : the figure in words, with what it shows.
    behind : the numbers behind the figure as a table, unless another table contains them.
    note : how to read table and figure.
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
