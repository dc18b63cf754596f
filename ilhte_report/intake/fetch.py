"""``ilhte fetch``: downloading tables of the Item Response Warehouse to the cache, with their citations."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from ilhte_lib.errors import InputError
from ilhte_lib.files import write_text
from ilhte_lib.messages import quoted

from .irw.tables import PAUSES, IrwTable, cache_folder, fetch, rct_tables
from .source import IRW_PREFIX

CITATIONS = "irw.bib"


def fetch_and_tell(
    names: Sequence[str],
    *,
    rct: bool,
    irw_version: int | None,
    say: Callable[[str], None],
    complain: Callable[[str], None],
    pauses: Sequence[float] = PAUSES,
) -> list[str]:
    """Fetch tables to the cache, reporting on each; returns the names that could not be fetched.

    Parameters
    ----------
    names : tables, with or without the prefix ``irw:``.
    rct : whether to add all tables of the vignette's selection.
    irw_version : the version to read, see ``irw.tables.fetch``.
    say, complain : functions that take a line of output; called while the client redirects ``sys.stdout``.
    pauses : seconds to wait before each further attempt.

    Raises
    ------
    InputError : no table is named, or there is no such version.
    IrwError, EngineError : no table can be fetched at present; those already fetched are in the cache.
    """
    if not names and not rct:
        raise InputError("No table is named: name some, or ask for every randomised trial with --rct.")
    wanted = [name.removeprefix(IRW_PREFIX) for name in names]
    if rct:
        chosen = rct_tables(irw_version=irw_version, pauses=pauses)
        say(f"The selection has {_tables(len(chosen))}: those with a column treat and at least 100 participants.")
        wanted += chosen

    def tell(name: str, outcome: IrwTable | str) -> None:
        if isinstance(outcome, str):
            complain(outcome)
        else:
            release = "the current release" if outcome.irw_version is None else f"IRW version {outcome.irw_version}"
            say(f"{quoted(outcome.name)}: {outcome.n_rows} rows of {release}")

    folder = cache_folder()
    try:
        tables, failures = fetch(wanted, irw_version=irw_version, pauses=pauses, progress=tell)
    finally:
        citations = save_citations(folder)
    if tables:
        say(f"{_tables(len(tables))} in {folder}; the citations of all tables there are in {citations}.")
    return list(failures)


def save_citations(folder: Path) -> Path:
    """Write the citations of all tables in the cache to one BibTeX file, using the copy fetched last of each."""
    records = []
    for path in folder.glob("*/*.json"):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            records.append((record["fetched_at"], record["name"], tuple(record["bibtex"])))
        except (OSError, ValueError, TypeError, KeyError):
            continue  # incomplete: the cache ignores such a table too
    newest = {name: entries for _, name, entries in sorted(records)}
    entries = dict.fromkeys(entry.strip() for name in sorted(newest) for entry in newest[name])
    if records:
        write_text(folder / CITATIONS, "".join(f"{entry}\n\n" for entry in entries))
    return folder / CITATIONS


def _tables(number: int) -> str:
    return f"{number} table{'' if number == 1 else 's'}"
