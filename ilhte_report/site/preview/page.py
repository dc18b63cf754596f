"""Rendering one page: reading its source, running its cells, writing its HTML."""

from __future__ import annotations

import datetime
import html
import re
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path

import yaml

from ..config import SiteConfig, listed
from ..front_matter import PageError
from .callouts import with_callouts
from .conditions import visible_blocks
from .crossref import with_references
from .document import Cell, Document, Prose, Verbatim
from .execute import execute, needs_kernel
from .links import with_relative_links
from .notebook import read_notebook
from .outputs import cell_blocks
from .pandoc import citation_keys, markdown_tree, tree_html
from .qmd import read_qmd
from .tree import Node, attributes, div, top_level, walk, words

ASSETS = ("preview.css", "preview.js", "search.js")
_SLOT = "cell-slot"
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_SHORTCODE = re.compile(r"\{\{<[^>]*>\}\}")


def read_page(project: Path, source: str) -> Document:
    path = project / source
    if path.suffix == ".ipynb":
        return read_notebook(path, source)
    return read_qmd(path.read_text(encoding="utf-8"), source)


def render_page(
    document: Document, config: SiteConfig, environment: Mapping[str, str], shipped: set[str]
) -> tuple[str, set[str]]:
    """The HTML of `document` and the project files to which it links; `environment` is that of its kernel.

    Raises `PageError` for any mistake in the page.
    """
    name, options = document.name, config.options(document.front_matter)
    if needs_kernel(document):
        execute(document, (config.project / name).parent, environment, options)
    _unwrap(document, options)
    tree = markdown_tree(_markdown(document, options, config), name)
    tree["blocks"] = visible_blocks(tree["blocks"], tree["meta"])
    cells = [part for part in document.parts if isinstance(part, Cell)]
    blocks = walk(
        tree["blocks"],
        lambda node: (
            cell_blocks(cells[int(node["c"][1])], options)
            if node["t"] == "CodeBlock" and _SLOT in node["c"][0][1]
            else None
        ),
    )
    citable = {key for path in config.files(options.get("bibliography")) for key in citation_keys(path)}
    blocks = with_references(with_callouts(blocks), citable, bool(options.get("number-sections")), name)
    tree["blocks"] = walk(_with_list_of_references(blocks), _scrolling)
    page = tree_html(tree, _arguments(tree, config, options, name), name)
    return with_relative_links(page, name, config.pages, shipped, config.project, saved=document.executed)


def _unwrap(document: Document, options: Mapping) -> None:
    """Make the output of cells with `output: asis` part of the page's text: headings, metadata, anything."""
    default = (options.get("execute") or {}).get("output")
    parts: list[Prose | Verbatim | Cell] = []
    for part in document.parts:
        parts.append(part)
        if not isinstance(part, Cell) or not part.options.get("include", True):
            continue
        if part.options.get("output", default) == "asis":
            texts = [_as_is(output) for output in part.outputs]
            part.outputs = [output for output, text in zip(part.outputs, texts, strict=True) if text is None]
            parts += [Verbatim(f"\n{text}\n") for text in texts if text]
    document.parts = parts


def _as_is(output: Mapping) -> str | None:
    """The Markdown of an output; None if it has none."""
    if output["output_type"] == "stream":
        return output["text"] if output["name"] == "stdout" else None
    return output.get("data", {}).get("text/markdown")


def _markdown(document: Document, options: Mapping, config: SiteConfig) -> str:
    """The page as Markdown with a placeholder for each cell."""
    text, n_cells = [], 0
    for part in document.parts:
        if isinstance(part, Cell):
            slot = (f"```{{.{_SLOT}}}", str(n_cells), "```")
            text.append("\n" + "\n".join(part.indent + line for line in slot) + "\n")
            n_cells += 1
            continue
        if isinstance(part, Prose) and (shortcode := _SHORTCODE.search(part.text)):
            raise PageError(f"{document.name}: the preview renderer does not know the shortcode {shortcode[0]}.")
        text.append(part.text)
    head = {key: options[key] for key in ("subtitle", "description", "abstract") if key in options}
    head["title"] = str(options.get("title") or config.title or document.name)
    head["lang"] = str(options.get("lang", "en"))
    head["author"] = _authors(options.get("author"))
    if "date" in options:
        head["date"] = _date(options["date"], config.project / document.name)
    head["link-citations"] = True
    return f"---\n{yaml.safe_dump(head, allow_unicode=True)}---\n\n" + "\n".join(text)


def _arguments(tree: dict, config: SiteConfig, options: Mapping, name: str) -> list[str]:
    package = files(__package__)
    arguments = ["--template", str(package / "page.html"), "--mathml", "--wrap", "none", "--section-divs"]
    variables = {
        "site-title": html.escape(config.title),
        "navigation": _navigation(config.navigation, name),
        "full": "true" if options.get("page-layout") == "full" else "",
        "header-includes": "\n".join(_header_includes(config, options)),
        "stylesheets": "\n".join(
            f'<link rel="stylesheet" href="/{html.escape(path.relative_to(config.project).as_posix())}">'
            for path in config.files(options.get("css"))
        ),
    }
    arguments += [f"--variable={key}={value}" for key, value in variables.items() if value]
    if options.get("toc", True):
        arguments += ["--toc", f"--toc-depth={int(options.get('toc-depth', 3))}"]
    if _has(tree["blocks"], lambda node: node["t"] == "Cite"):
        arguments += ["--citeproc"]
        arguments += [f"--bibliography={path}" for path in config.files(options.get("bibliography"))]
        arguments += [f"--csl={path}" for path in config.files(options.get("csl"))]
    return arguments


def _header_includes(config: SiteConfig, options: Mapping) -> list[str]:
    named = options.get("include-in-header")
    written = [entry["text"] for entry in listed(named) if isinstance(entry, dict) and "text" in entry]
    return [path.read_text(encoding="utf-8") for path in config.files(named)] + written


def _navigation(entries, current: str) -> str:
    items = []
    for entry in entries:
        text = html.escape(str(entry["text"]))
        if entry["menu"]:
            items.append(
                f"<li><details><summary>{text}</summary><ul>{_navigation(entry['menu'], current)}</ul></details></li>"
            )
        else:
            href = str(entry["href"])
            href = href if re.match(r"[a-z]+:|/|#", href) else f"/{href}"
            here = ' aria-current="page"' if href == f"/{current}" else ""
            items.append(f'<li><a href="{html.escape(href)}"{here}>{text}</a></li>')
    return "".join(items)


def _scrolling(node: Node) -> Node | None:
    """A table in a scrollable box, so that a wide table does not make the page scroll on a phone."""
    return div(attributes("", "table-scroll"), [node]) if node["t"] == "Table" else None


def _with_list_of_references(blocks: list[Node]) -> list[Node]:
    """`blocks` with a last section for the references if they cite anything and the page has no place for them (`#refs`)."""
    placed = _has(blocks, lambda node: node["t"] == "Div" and node["c"][0][0] == "refs")
    if placed or not _has(blocks, lambda node: node["t"] == "Cite"):
        return blocks
    heading = {"t": "Header", "c": [top_level(blocks), attributes("references", "unnumbered"), words("References")]}
    return [*blocks, heading, div(attributes("refs"), [])]


def _has(blocks: list[Node], wanted: Callable[[Node], bool]) -> bool:
    found: list[Node] = []
    walk(blocks, lambda node: found.append(node) if wanted(node) else None)
    return bool(found)


def _authors(author) -> list[str]:
    listed = author if isinstance(author, list) else [] if author is None else [author]
    names = [entry.get("name", "") if isinstance(entry, dict) else entry for entry in listed]
    return [" ".join(map(str, name.values())) if isinstance(name, dict) else str(name) for name in names]


def _date(value, source: Path) -> str:
    """A date in Quarto's default format, `November 22, 2026`; a text that is not an ISO date is unchanged."""
    if value in ("today", "now"):
        value = datetime.date.today()
    elif value == "last-modified":
        value = datetime.date.fromtimestamp(source.stat().st_mtime)
    elif isinstance(value, str):
        try:
            value = datetime.datetime.fromisoformat(value)
        except ValueError:
            return value
    return f"{_MONTHS[value.month - 1]} {value.day}, {value.year}"
