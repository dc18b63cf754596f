"""Sections written as a Markdown document: ``ilhte fit --format markdown``, and what Word and PDF are made of."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from ..words.markdown import code_block, table_markdown, told_markdown
from .section import Section


def sections_markdown(title: str, sections: Sequence[Section], figures: Mapping[str, str] | None = None) -> str:
    """The sections under a title; every name from the data is escaped, for pandoc and Quarto.

    Parameters
    ----------
    figures : the file of a section's figure, by the section's title; a section that is a figure alone is left out without.
    """
    figures = figures or {}
    parts = [f"# {told_markdown(title)}"] if title else []
    for section in sections:
        figure = figures.get(section.title)
        if not (section.sentences or section.warnings or section.rows or section.bibtex or figure):
            continue
        said = (*section.sentences, *section.warnings)
        parts += [f"## {told_markdown(section.title)}", "\n".join(f"- {told_markdown(text)}" for text in said)]
        note = told_markdown(section.note)
        if figure:
            # an image alone in its paragraph is a figure, and what is in brackets its caption
            parts.append(f'![{note or told_markdown(section.title)}]({figure}){{fig-alt="{_attribute(section.alt)}"}}')
        elif note:
            parts.append(note)
        if section.rows:
            parts.append(table_markdown(section.rows, section.left))
        if section.bibtex:
            parts.append(code_block("\n".join(section.bibtex), "bibtex"))
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _attribute(text: str) -> str:
    """Plain text as the value of an attribute in double quotes."""
    return html.escape(" ".join(text.split())).replace("\\", "&#92;")
