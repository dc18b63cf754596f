"""Displaying sections in a notebook: headings, sentences and tables as Markdown, figures with Plotly."""

from __future__ import annotations

from collections.abc import Iterable

from ..project import slug
from ..site.embed import show
from ..words.markdown import code_block, page_table, table_markdown, told_markdown
from .section import BEHIND, Section


def show_sections(sections: Iterable[Section]) -> None:
    """Display sections, each under its heading, with every name escaped."""
    for section in sections:
        show_section(section)


def show_section(section: Section) -> None:
    """Display one section."""
    from IPython.display import Markdown, display

    bullets = [f"- {told_markdown(text)}" for text in (*section.sentences, *section.warnings)]
    note, label = told_markdown(section.note), f"fig-{slug(section.title)}" if section.figure else ""
    parts = [f"## {told_markdown(section.title)}", "\n".join(bullets), "" if label else note]
    display(Markdown("\n".join(f"\n{part}\n" for part in parts if part)))
    if section.rows:
        display(page_table(section.rows, left=section.left))
    if section.figure:
        show(section.figure(), alt=section.alt, label=label, caption=note or told_markdown(section.title))
    if section.figure and section.behind:
        table = table_markdown(section.behind, section.left)
        display(Markdown(f"<details><summary>{BEHIND}</summary>\n\n{table}\n\n</details>"))
    if section.bibtex:
        entries = code_block("\n".join(section.bibtex), "bibtex")
        display(Markdown(f"<details><summary>BibTeX</summary>\n\n{entries}\n\n</details>"))
