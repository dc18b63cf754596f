"""Files that others watch: written only when their content changes."""

from __future__ import annotations

from pathlib import Path

from ilhte_lib.files import write_text


def write_if_changed(path: Path, text: str) -> None:
    """Writes `text` to `path`, whole or not at all, unless it holds exactly that already."""
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
