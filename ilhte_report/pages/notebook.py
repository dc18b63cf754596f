"""Sections written by a notebook: headings and sentences as Markdown, tables as HTML, figures as Plotly's."""

from __future__ import annotations

from collections.abc import Iterable

from ..site.embed import show
from ..words.markdown import code_block, escape_markdown, table_html
from .sections import Section


def show_sections(sections: Iterable[Section]) -> None:
    """Display sections, each under a heading of its own; every name is escaped."""
    for section in sections:
        show_section(section)


def show_section(section: Section) -> None:
    """Display one section."""
    from IPython.display import HTML, Markdown, display

    bullets = [f"- {escape_markdown(text)}" for text in (*section.sentences, *section.warnings)]
    parts = [f"## {escape_markdown(section.title)}", "\n".join(bullets), escape_markdown(section.note)]
    display(Markdown("\n".join(f"\n{part}\n" for part in parts if part)))
    if section.rows:
        display(HTML(f'<div class="table-scroll">{table_html(section.rows, left=section.left)}</div>'))
    if section.figure:
        show(section.figure(), alt=section.alt)
    if section.bibtex:
        entries = code_block("\n".join(section.bibtex), "bibtex")
        display(Markdown(f"<details><summary>BibTeX</summary>\n\n{entries}\n\n</details>"))
