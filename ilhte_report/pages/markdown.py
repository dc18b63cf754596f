"""Sections as a Markdown document, for ``ilhte fit --format markdown`` and as the source of Word and PDF reports."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from ..words.markdown import code_block, table_markdown, told_markdown
from .section import Section


def sections_markdown(title: str, sections: Sequence[Section], figures: Mapping[str, str] | None = None) -> str:
    """The sections under a title, with every name from the data escaped for pandoc and Quarto.

    Parameters
    ----------
    figures : files of figures, by the title of their section; a section that consists of a figure only is left out without its file.
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
            # an image alone in its paragraph becomes a figure, with the text in brackets as its caption
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
