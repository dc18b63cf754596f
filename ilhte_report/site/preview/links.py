"""Links of a finished page: checked, made relative, and with sources replaced by their pages."""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from ..front_matter import PageError

_TAG = re.compile(r"<(?:a|img|link|script|source)\b[^<>]*>")
_TARGET = re.compile(r'(\s(?:href|src)=)"([^"]*)"')
_ELSEWHERE = re.compile(r"^(?:[a-zA-Z][a-zA-Z0-9+.-]*:|//|#|$)")


def with_relative_links(
    page_html: str, source: str, pages: Mapping[str, str], shipped: set[str], project: Path, *, saved: bool = False
) -> tuple[str, set[str]]:
    """The HTML of the page made from `source` with corrected links, and the project files to which it links.

    Links may be relative to the site's root (`/assets/x.js`) or to the source's folder, and may lead to sources (`index.qmd`),
    pages, shipped files or any other file of the project, which then must be copied. A broken link
    raises `PageError`; but in a page with `saved` outputs a broken link to a notebook is removed, as the outputs may be from
    a run with other tables.
    """
    folder = posixpath.dirname(source)
    known = set(pages.values()) | shipped
    wanted: set[str] = set()

    def resolve(link: str) -> str | None:
        if _ELSEWHERE.match(link):
            return link
        path, mark, rest = re.match(r"([^?#]*)([?#]?)(.*)", link, re.DOTALL).groups()
        target = posixpath.normpath(path.lstrip("/") if path.startswith("/") else posixpath.join(folder, path))
        if path.endswith("/") or target == ".":
            target = posixpath.normpath(posixpath.join(target, "index.html"))
        target = pages.get(unquote(target), target)
        if unquote(target) not in known:
            file = project / unquote(target)
            if target.startswith("..") or not file.is_file():
                if saved and target.endswith(".ipynb"):
                    return None
                raise PageError(f"{source}: the link to {link} is broken.")
            wanted.add(unquote(target))
        return posixpath.relpath(target, folder or ".") + mark + rest

    def resolved(match: re.Match) -> str:
        link = resolve(html.unescape(match[2]))
        return "" if link is None else f'{match[1]}"{html.escape(link)}"'

    def in_tag(tag: re.Match) -> str:
        return _TARGET.sub(resolved, tag[0])

    return _TAG.sub(in_tag, page_html), wanted
