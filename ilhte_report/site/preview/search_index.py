"""The index for the search box of the preview: the text of the finished pages, section by section."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path

_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_SKIPPED = ("script", "style", "noscript", "svg", "math", "form")
_NUMBER = re.compile(r"(?<!\S)[−+-]?[\d.,()%–]+(?!\S)")


def search_index(site: Path, pages: Iterable[str]) -> str:
    """A script that sets `siteSearchIndex`: for each page its address relative to the site's root, its title, and the id,
    heading and words of each section, without code and plain numbers.

    A script instead of JSON, because a page opened from disk may load scripts but not JSON.
    """
    entries = []
    for page in pages:
        reader = _PageReader()
        reader.feed((site / page).read_text(encoding="utf-8"))
        sections = [[anchor, _words(heading), _words(text)] for anchor, heading, text in reader.sections]
        title = next((heading for _, heading, _ in sections if heading), page)
        entries.append([page, title, [section for section in sections if section[1] or section[2]]])
    return f"window.siteSearchIndex = {json.dumps(entries, ensure_ascii=False, separators=(',', ':'))};\n"


def _words(pieces: list[str]) -> str:
    return " ".join(_NUMBER.sub(" ", " ".join(pieces)).split())


class _PageReader(HTMLParser):
    """Reads `<main>` into sections of id, pieces of the heading and pieces of text."""

    def __init__(self) -> None:
        super().__init__()
        self.sections: list[tuple[str, list[str], list[str]]] = []
        self._main = self._heading = False
        self._skipping = ""
        self._depth = 0
        self._id = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if self._skipping:
            self._depth += tag == self._skipping
        elif tag in _SKIPPED or (tag == "details" and "code-fold" in (values.get("class") or "")):
            self._skipping, self._depth = tag, 1
        elif tag == "main":
            self._main = True
            self.sections.append(("", [], []))
        elif tag == "section":
            self._id = values.get("id") or ""
        elif tag in _HEADINGS and self._main:
            self._heading = True
            self.sections.append((self._id, [], []))

    def handle_endtag(self, tag: str) -> None:
        if self._skipping:
            self._depth -= tag == self._skipping
            if self._depth == 0:
                self._skipping = ""
        elif tag == "main":
            self._main = False
        elif tag in _HEADINGS:
            self._heading = False

    def handle_data(self, data: str) -> None:
        if self._main and not self._skipping:
            _, heading, text = self.sections[-1]
            (heading if self._heading else text).append(data)
