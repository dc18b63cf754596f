"""A page as read from its source: prose, code that is only shown, and cells, in order."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Prose:
    """Markdown; inline `{python}` values in it are computed."""

    text: str


@dataclass
class Verbatim:
    """A fenced block that is not a cell; nothing in it is computed."""

    text: str


@dataclass
class Cell:
    """Python code with its `#|` options; `outputs` as nbformat writes them."""

    source: str
    options: dict
    where: str
    indent: str = ""
    outputs: list[dict] = field(default_factory=list)

    @property
    def label(self) -> str:
        return str(self.options.get("label", ""))


@dataclass
class Document:
    """Front matter and parts of one page; `executed` tells whether the cells already carry their outputs."""

    name: str
    front_matter: dict
    parts: list[Prose | Verbatim | Cell]
    executed: bool
