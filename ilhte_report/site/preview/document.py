"""A page as read from its source: prose, code that is not executed, and cells, in order."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..front_matter import yaml_mapping


@dataclass
class Prose:
    """Markdown with inline `{python}` values, which are computed."""

    text: str


@dataclass
class Verbatim:
    """A fenced block that is not a cell, which is shown unchanged."""

    text: str


@dataclass
class Cell:
    """Python code with its `#|` options; `outputs` are in the form of nbformat."""

    source: str
    options: dict
    where: str
    indent: str = ""
    outputs: list[dict] = field(default_factory=list)

    @classmethod
    def of(cls, source: str, where: str, indent: str = "") -> Cell:
        """A cell from its source; `where` identifies it in messages, together with its label."""
        lines = source.split("\n")
        n_options = next((n for n, line in enumerate(lines) if not line.startswith("#|")), len(lines))
        head = "\n".join(line[2:].removeprefix(" ") for line in lines[:n_options])
        options = yaml_mapping(head, f"{where}: its options")
        if "label" in options:
            where = f"{where}, {options['label']}"
        return cls("\n".join(lines[n_options:]).strip("\n"), options, where, indent)

    @property
    def label(self) -> str:
        return str(self.options.get("label", ""))


@dataclass
class Document:
    """Front matter and parts of one page; `executed` says whether the cells already have their outputs."""

    name: str
    front_matter: dict
    parts: list[Prose | Verbatim | Cell]
    executed: bool
