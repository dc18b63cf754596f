"""Untrusted text, made safe for pages written in Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from ilhte_lib.figures.theme import with_subscripts

if TYPE_CHECKING:
    from IPython.display import Markdown

_NAMES = ("Item", "Without", "Table")
"""Columns of names."""
_SPECIAL = re.compile(r"""([\\`*_{}\[\]<>#|~^$@"'&])|(?<=-)(-)|(?<=\.)(\.)""")


def escape_markdown(text: str) -> str:
    """`text` on one line, escaped so that pandoc and Quarto show it literally, without markup, HTML, formulas or citations."""
    return _SPECIAL.sub(lambda match: "\\" + match[0], " ".join(text.split()))


def told_markdown(text: str) -> str:
    """`text` escaped, with subscripts in the symbols of the models."""
    return with_subscripts(escape_markdown(text), "~", "~")


def code_block(text: str, language: str) -> str:
    """`text` as a code block with a fence that `text` cannot close."""
    longest = max((len(run) for run in re.findall(r"~+", text)), default=0)
    fence = "~" * max(3, longest + 1)
    return f"{fence} {language}\n{text}\n{fence}"


def ended(text: str) -> str:
    """The text with a full stop at its end, unless it ends a sentence already."""
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def sentence(text: str) -> str:
    """Plain text as a sentence in Markdown, escaped."""
    return escape_markdown(ended(text))


def page_table(rows: Sequence[Mapping[str, object]], left: Sequence[str]) -> Markdown:
    """Rows as a table on a page, escaped; columns in ``left`` are left-aligned, the others right-aligned.

    It is Markdown, which JupyterLab, Quarto and the preview renderer can all display: for output of the type `text/html` Quarto
    would add scripts from the network to the page.
    """
    from IPython.display import Markdown

    return Markdown(table_markdown(rows, left))


def fact_table(facts: Mapping[str, object]) -> Markdown:
    """A table of single numbers, by name."""
    return page_table([{"": name, "Value": value} for name, value in facts.items()], left=("",))


def table_markdown(rows: Sequence[Mapping[str, object]], left: Sequence[str]) -> str:
    """Rows as a pipe table with columns as wide as their content needs; names of items and tables get no subscripts."""
    columns = list(rows[0])
    cells = [
        [(escape_markdown if column in _NAMES else told_markdown)(str(row.get(column, ""))) for column in columns]
        for row in rows
    ]
    widths = [max(3, *(len(cell) for cell in column)) for column in zip(columns, *cells, strict=True)]
    rules = [
        ":" + "-" * (width - 1) if name in left else "-" * (width - 1) + ":"
        for name, width in zip(columns, widths, strict=True)
    ]
    lines = [[told_markdown(name) for name in columns], rules, *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def table_html(rows: Sequence[Mapping[str, object]], left: Sequence[str]) -> str:
    """Rows as an HTML table, escaped; columns in ``left`` are left-aligned, the others right-aligned."""

    def cell(tag: str, column: str, value: object) -> str:
        side = "left" if column in left else "right"
        text = escape(str(value))
        shown = text if tag == "td" and column in _NAMES else with_subscripts(text)
        return f'<{tag} style="text-align:{side}">{shown}</{tag.partition(" ")[0]}>'

    head = "".join(cell('th scope="col"' if c else "td", c, c) for c in rows[0])
    body = "".join("<tr>" + "".join(cell("td", c, v) for c, v in row.items()) + "</tr>" for row in rows)
    return f'<table class="table table-sm"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
