"""The origin of a table: its design, source, licence and citations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..project import data_folder
from ..words.markdown import ended

if TYPE_CHECKING:
    from ilhte_lib.data.catalogue import TableInfo

    from ..intake.source import Source


def origin_sentences(info: TableInfo | None, source: Source | None = None) -> tuple[str, ...]:
    """Design and origin in plain text, one sentence per fact; empty if nothing is known."""
    if source is not None and source.irw:
        table = source.irw
        version = f", version {table.irw_version}" if table.irw_version is not None else ""
        return (
            f"Origin: table {table.name} of the Item Response Warehouse{version}, fetched on {table.fetched_at[:10]}.",
        )
    if info is None:
        if source is None:
            return ()
        # a report that is passed on must not reveal the path on this machine
        return (f"Read from {source.name if source.is_address else f'the file {Path(source.name).name}'}.",)
    facts = (
        ("Groups", info.group), ("Items", info.items), ("Responses", info.response), ("Pretest", info.pretest),
        ("Note", info.note), ("Source", info.citation), ("Origin", info.origin), ("Licence", info.licence),
    )  # fmt: skip
    return tuple(ended(f"{label}: {text}") for label, text in facts if text)


def bibtex_of(info: TableInfo | None, source: Source | None = None) -> tuple[str, ...]:
    """BibTeX entries of an IRW table, or those in ``data/citations.bib`` of a bundled table."""
    if source is not None and source.irw:
        return tuple(source.irw.bibtex)
    folder = data_folder()
    if info is None or not info.citation_key or folder is None:
        return ()
    entries = (folder / "citations.bib").read_text(encoding="utf-8").strip().split("\n\n")
    keys = [key.strip() for key in info.citation_key.split(";")]
    return tuple(entry for key in keys for entry in entries if f"{{{key}," in entry.splitlines()[0])
