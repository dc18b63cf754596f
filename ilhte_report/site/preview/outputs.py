"""A cell on the page: its code, printed output, figures and tables."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping

from ..front_matter import PageError
from .document import Cell
from .pandoc import markdown_blocks
from .tree import Node, attributes, div, raw

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_IMAGES = ("image/png", "image/jpeg")


def cell_blocks(cell: Cell, options: Mapping) -> list[Node]:
    """The nodes of `cell`, by its own options and those of the page (`execute:`, `code-fold:`)."""
    settings = {"echo": True, "output": True, "include": True, "warning": True} | dict(options.get("execute") or {})
    settings |= {key: options[key] for key in ("code-fold", "code-summary") if key in options} | cell.options
    if not settings["include"]:
        return []
    blocks = _code(cell, settings) if settings["echo"] and cell.source else []
    shown = []
    if settings["output"]:
        for output in cell.outputs:
            if output["output_type"] != "stream" or output["name"] != "stderr" or settings["warning"]:
                shown.extend(_output(output, cell, settings))
    kind = cell.label.partition("-")[0]
    if kind in ("fig", "tbl") and settings["output"]:
        if not shown:
            raise PageError(
                f"{cell.where} is labelled as a {'figure' if kind == 'fig' else 'table'} but shows nothing."
            )
        caption = markdown_blocks(str(settings.get(f"{kind}-cap", "")), f"{cell.where}: its caption")
        shown = [div(attributes(cell.label), [*shown, div(attributes("", "cell-caption"), caption)])]
    blocks += shown
    return [div(attributes("", "cell"), blocks)] if blocks else []


def _code(cell: Cell, settings: Mapping) -> list[Node]:
    code = {"t": "CodeBlock", "c": [attributes("", "python", "cell-code"), cell.source]}
    fold = settings.get("code-fold")
    if not fold or fold == "none":
        return [code]
    opened = " open" if fold == "show" else ""
    summary = html.escape(str(settings.get("code-summary", "Code")))
    return [raw(f'<details class="code-fold"{opened}><summary>{summary}</summary>'), code, raw("</details>")]


def _output(output: Mapping, cell: Cell, settings: Mapping) -> list[Node]:
    if output["output_type"] == "stream":
        return _text(output["text"], f"cell-output-{output['name']}")
    if output["output_type"] == "error":
        return _text("\n".join(output["traceback"]) or f"{output['ename']}: {output['evalue']}", "cell-output-error")
    data = output["data"]
    if "text/html" in data:
        return [_display([raw(data["text/html"])])]
    if "text/markdown" in data:
        return [_display(markdown_blocks(data["text/markdown"], f"{cell.where}: its output"))]
    if "image/svg+xml" in data:
        return [_display([raw(data["image/svg+xml"])])]
    for kind in _IMAGES:
        if kind in data:
            words = html.escape(str(settings.get("fig-alt", settings.get("fig-cap", ""))))
            source = "".join(data[kind].split())
            return [_display([raw(f'<img src="data:{kind};base64,{source}" alt="{words}">')])]
    return _text(data.get("text/plain", ""), "cell-output-text")


def _display(blocks: list[Node]) -> Node:
    return div(attributes("", "cell-output", "cell-output-display"), blocks)


def _text(text: str, name: str) -> list[Node]:
    text = _ANSI.sub("", text).rstrip("\n")
    if not text:
        return []
    return [div(attributes("", "cell-output", name), [{"t": "CodeBlock", "c": [attributes(), text]}])]
