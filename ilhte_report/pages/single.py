"""Sections as a single HTML file that works offline: ``ilhte fit --html``."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ilhte_lib.errors import InputError
from ilhte_lib.figures.theme import with_subscripts

from ..site.embed import FIGURE_CONFIG
from ..words.markdown import table_html
from .section import BEHIND, Section

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #1b1b1b; background: #fff; }
h1, p, li { overflow-wrap: anywhere; }
.note { color: #555; }
table { border-collapse: collapse; width: 100%; display: block; overflow-x: auto; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #ddd; }
"""


def single_page(title: str, sections: Sequence[Section]) -> str:
    """The sections of an analysis as HTML, with every name from the data escaped.

    Raises
    ------
    InputError : plotly is not installed.
    """
    try:
        import plotly  # noqa: F401
    except ModuleNotFoundError as missing:
        raise InputError(f"The HTML report needs {missing.name}: pip install 'ilhte[report]'.") from None
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="ilhte"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}: item-level treatment effects</title><style>{_STYLE}</style>
</head><body>
<h1>{escape(title)}</h1>
{sections_html(sections)}
</body></html>
"""


def sections_html(sections: Sequence[Section]) -> str:
    """The sections one after another; plotly.js is included with the first figure."""
    first = next((section for section in sections if section.figure), None)
    return "".join(
        f"<h2>{escape(section.title)}</h2>\n{section_html(section, plotly=section is first)}" for section in sections
    )


def section_html(section: Section, *, plotly: bool) -> str:
    """The content of a section, escaped; with ``plotly``, plotly.js is included with its figure."""
    parts = []
    if said := (*section.sentences, *section.warnings):
        parts.append(f"<ul>{''.join(f'<li>{with_subscripts(escape(text))}</li>' for text in said)}</ul>")
    if section.note:
        parts.append(f'<p class="note">{with_subscripts(escape(section.note))}</p>')
    if section.rows:
        parts.append(table_html(section.rows, left=section.left))
    if section.figure:
        # Plotly escapes what could end a script element
        drawing = section.figure().to_html(full_html=False, include_plotlyjs=plotly, config=FIGURE_CONFIG)
        parts.append(f'<div role="figure" aria-label="{escape(section.alt)}">{drawing}</div>')
    if section.figure and section.behind:
        table = table_html(section.behind, left=section.left)
        parts.append(f"<details><summary>{BEHIND}</summary>{table}</details>")
    if section.bibtex:
        entries = escape("\n".join(section.bibtex))
        parts.append(f"<details><summary>BibTeX</summary><pre>{entries}</pre></details>")
    return "\n".join([*parts, ""])
