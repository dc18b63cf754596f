"""Reading a `.qmd` page."""

from __future__ import annotations

import re

from ..front_matter import PageError, split_front_matter
from .document import Cell, Document, Prose, Verbatim

_FENCE = re.compile(r"^([ \t]*)(`{3,}|~{3,})[ \t]*(.*?)[ \t]*$")
_CELL = re.compile(r"^\{python\b[^}]*\}$")


def read_qmd(text: str, name: str) -> Document:
    """The page `name` (its path in the project, used in messages) from its source text."""
    text = text.replace("\r\n", "\n").removeprefix("\ufeff")
    front_matter, body = split_front_matter(text, name)
    first_line = text[: len(text) - len(body)].count("\n") + 1
    return Document(name, front_matter, _parts(body, first_line, name), executed=False)


def _parts(body: str, first_line: int, name: str) -> list[Prose | Verbatim | Cell]:
    parts: list[Prose | Verbatim | Cell] = []
    prose: list[str] = []
    lines = body.split("\n")
    at, cells = 0, 0

    while at < len(lines):
        fence = _FENCE.match(lines[at])
        if fence is None or (fence[2][0] == "`" and "`" in fence[3]):
            prose.append(lines[at])
            at += 1
            continue
        indent, ticks, attributes = fence.groups()
        end = _closing(lines, at, ticks)
        is_cell = _CELL.match(attributes) is not None
        if end is None and is_cell:
            raise PageError(f"{name}: the cell that begins on line {first_line + at} is not closed.")
        end = len(lines) if end is None else end
        parts.append(Prose("\n".join(prose)))
        prose = []
        if is_cell:
            cells += 1
            source = "\n".join(line.removeprefix(indent) for line in lines[at + 1 : end])
            parts.append(Cell.of(source, f"{name}: cell {cells} (line {first_line + at})", indent))
        else:
            parts.append(Verbatim("\n".join(lines[at : end + 1])))
        at = end + 1
    parts.append(Prose("\n".join(prose)))
    return parts


def _closing(lines: list[str], opening: int, ticks: str) -> int | None:
    closing = re.compile(rf"^[ \t]*{re.escape(ticks[0])}{{{len(ticks)},}}[ \t]*$")
    return next((n for n in range(opening + 1, len(lines)) if closing.match(lines[n])), None)
