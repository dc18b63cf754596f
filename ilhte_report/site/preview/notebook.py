"""Reading an executed notebook as a page: its saved outputs are shown and nothing is run, as in Quarto."""

from __future__ import annotations

import re
from pathlib import Path

from ..front_matter import split_front_matter
from .document import Cell, Document, Prose

_OPTION_OF_TAG = {
    "remove-cell": ("include", False),
    "hide-cell": ("include", False),
    "hide-code": ("echo", False),
    "hide-output": ("output", False),
}
_HEADING = re.compile(r"\A\s*#[ \t]+(.+?)[ \t]*(?:\n|\Z)")


def read_notebook(path: Path, name: str) -> Document:
    """The page `name` from the notebook at `path`; its title is that of the front matter or the first heading."""
    import nbformat

    front_matter: dict = {}
    parts = []
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells, start=1):
        if cell.cell_type == "code":
            shown = Cell.of(cell.source, f"{name}: cell {number}")
            tags = (_OPTION_OF_TAG[tag] for tag in cell.metadata.get("tags", []) if tag in _OPTION_OF_TAG)
            shown.options = dict(tags) | shown.options
            shown.outputs = cell.outputs
            parts.append(shown)
            continue
        text = cell.source
        if not parts and not front_matter:
            front_matter, text = split_front_matter(text, name)
        if cell.cell_type == "markdown" or text != cell.source:
            parts.append(Prose(f"\n{text}\n"))

    first = parts[0] if parts else None
    heading = _HEADING.match(first.text) if isinstance(first, Prose) else None
    if heading and "title" not in front_matter:
        front_matter["title"] = heading[1]
        first.text = first.text[heading.end() :]
    return Document(name, front_matter, parts, executed=True)
