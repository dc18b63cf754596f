"""Recognising the files of a site that Quarto wrote: another render may replace these, while a user's files are kept."""

from __future__ import annotations

from pathlib import Path

from ilhte_lib.files import sha256_of
from ilhte_lib.manifest import read_manifest

_GENERATOR = b'<meta name="generator" content="quarto'
_LISTS = {"search.json", "sitemap.xml", "robots.txt", "listings.json", ".nojekyll"}


def written_by_quarto(site: Path, project: Path) -> dict[str, list[str]]:
    """Name -> checksum of the files that Quarto is known to have written; empty if the site has no page by Quarto.

    Its pages name Quarto as generator, its libraries are in a folder of their own, and resources are copies of the project's
    files in their present or, if the program wrote them, an earlier version.
    """
    names = [path.relative_to(site).as_posix() for path in sorted(site.rglob("*")) if path.is_file()]
    pages = {name for name in names if name.endswith(".html") and _names_quarto(site / name)}
    if not pages:
        return {}
    found = {name: sha256_of(site / name) for name in names if not (site / name).is_symlink()}
    return {
        name: [digest]
        for name, digest in found.items()
        if name in pages | _LISTS or name.startswith("site_libs/") or digest in _copied(project, name)
    }


def _names_quarto(page: Path) -> bool:
    with page.open("rb") as stream:
        return _GENERATOR in stream.read(4000)


def _copied(project: Path, name: str) -> set[str]:
    """Checksums of a file of the project, and of earlier versions that the program wrote."""
    source, (folder, _, inner) = project / name, name.partition("/")
    known = (read_manifest(project / folder) or {}).get(inner, []) if inner else []
    return {*known, *([sha256_of(source)] if source.is_file() else [])}
