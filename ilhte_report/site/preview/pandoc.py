"""Calls of pandoc: Markdown to tree, tree to HTML."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from functools import cache
from pathlib import Path

from ..front_matter import PageError

_LOOKING = threading.Lock()


def markdown_tree(text: str, what: str) -> dict:
    """The document tree of Markdown `text`; `what` names it in messages."""
    return json.loads(_pandoc(["--from", "markdown", "--to", "json"], text, what))


def markdown_blocks(text: str, what: str) -> list[dict]:
    return markdown_tree(text, what)["blocks"]


def tree_html(tree: dict, arguments: list[str], what: str) -> str:
    """A whole page: `tree` written through the template that `arguments` name."""
    made = _pandoc(["--from", "json", "--to", "html5", "--standalone", *arguments], json.dumps(tree), what)
    # remove the invisible, unreachable links to each line of code
    return re.sub(r'<a href="#cb\d+-\d+" aria-hidden="true" tabindex="-1"></a>', "", made)


@cache
def citation_keys(bibliography: Path) -> frozenset[str]:
    """The citation keys in a BibTeX file."""
    text = bibliography.read_text(encoding="utf-8")
    entries = json.loads(_pandoc(["--from", "bibtex", "--to", "csljson"], text, bibliography.name))
    return frozenset(entry["id"] for entry in entries)


def _pandoc(arguments: list[str], text: str, what: str) -> str:
    done = subprocess.run([_program(), *arguments], input=text, capture_output=True, encoding="utf-8", check=False)
    complaint = " ".join(done.stderr.split())
    if done.returncode or "[WARNING]" in done.stderr:
        raise PageError(f"{what}: pandoc says: {complaint}")
    return done.stdout


def _program() -> str:
    # pages are made by several threads, and concurrent calls of pypandoc may return different pandocs
    with _LOOKING:
        return _newest()


@cache
def _newest() -> str:
    import pypandoc

    return pypandoc.get_pandoc_path()
