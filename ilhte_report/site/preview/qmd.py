"""Reading a `.qmd` page."""

from __future__ import annotations

import re

import yaml

from .document import Cell, Document, Prose, Verbatim
from .errors import PageError

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?\n)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_FENCE = re.compile(r"^([ \t]*)(`{3,}|~{3,})[ \t]*(.*?)[ \t]*$")
_CELL = re.compile(r"^\{python\b[^}]*\}$")


def read_qmd(text: str, name: str) -> Document:
    """The page `name` (its path in the project, used in messages) from its source text."""
    text = text.replace("\r\n", "\n").removeprefix("\ufeff")
    front_matter, body = split_front_matter(text, name)
    first_line = text[: len(text) - len(body)].count("\n") + 1
    return Document(name, front_matter, _parts(body, first_line, name), executed=False)


def split_front_matter(text: str, name: str) -> tuple[dict, str]:
    match = _FRONT_MATTER.match(text)
    if match is None:
        return {}, text
    return _yaml_mapping(match[1], f"{name}: the front matter"), text[match.end() :]


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
            parts.append(new_cell(source, f"{name}: cell {cells} (line {first_line + at})", indent))
        else:
            parts.append(Verbatim("\n".join(lines[at : end + 1])))
        at = end + 1
    parts.append(Prose("\n".join(prose)))
    return parts


def _closing(lines: list[str], opening: int, ticks: str) -> int | None:
    closing = re.compile(rf"^[ \t]*{re.escape(ticks[0])}{{{len(ticks)},}}[ \t]*$")
    return next((n for n in range(opening + 1, len(lines)) if closing.match(lines[n])), None)


def new_cell(source: str, where: str, indent: str = "") -> Cell:
    """A cell from its source; `where` names it in messages, made clearer by its label."""
    lines = source.split("\n")
    n_options = next((n for n, line in enumerate(lines) if not line.startswith("#|")), len(lines))
    options = _yaml_mapping(
        "\n".join(line[2:].removeprefix(" ") for line in lines[:n_options]), f"{where}: its options"
    )
    if "label" in options:
        where = f"{where}, {options['label']}"
    return Cell("\n".join(lines[n_options:]).strip("\n"), options, where, indent)


def _yaml_mapping(text: str, what: str) -> dict:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PageError(f"{what} cannot be read as YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise PageError(f"{what} must be `name: value` pairs.")
    return content
