"""Tables of the Item Response Warehouse (IRW), fetched once and cached on this machine.

A table is stored as a Parquet file with a record (JSON) of its IRW version, content hash, checksum and citations. Each file
is written completely or not at all, the record last: a Parquet file without a matching record counts as absent.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ilhte_lib.errors import EngineError, InputError
from ilhte_lib.files import sha256_of, write_text

from ...project import slug
from .client import Download, open_warehouse
from .trouble import IrwError, one_line

if TYPE_CHECKING:
    import pandas as pd

PAUSES = (2.0, 8.0, 30.0)
"""Seconds before asking again after a time-out or a lost connection."""


@dataclass(frozen=True)
class IrwTable:
    """An IRW table in the cache.

    Attributes
    ----------
    path : the Parquet file, which ``ilhte_lib.read.read_table`` reads; its file name is not the table's name.
    name : the table's name, as the IRW writes it.
    irw_version : the IRW version from which it was read; None if the list of versions could not be fetched.
    reference : its full name at Redivis, with the data set's release.
    content_hash : Redivis' hash of its content, which changes only if its rows do; None if there is none.
    sha256 : checksum of the Parquet file.
    n_rows : number of rows.
    fetched_at : date and time in UTC, ISO 8601.
    bibtex : its citations, the first under the table's name as key; empty where the IRW knows none.
    """

    path: Path
    name: str
    irw_version: int | None
    reference: str
    content_hash: str | None
    sha256: str
    n_rows: int
    fetched_at: str
    bibtex: tuple[str, ...]


def fetch(
    names: Sequence[str],
    *,
    irw_version: int | None = None,
    refresh: bool = False,
    folder: Path | None = None,
    pauses: Sequence[float] = PAUSES,
    progress: Callable[[str, IrwTable | str], None] = lambda name, outcome: None,
) -> tuple[list[IrwTable], dict[str, str]]:
    """Fetch tables to the cache, asking the IRW only for those that are not there yet.

    Parameters
    ----------
    names : the tables.
    irw_version : the IRW version to read; None for any copy in the cache, else the newest version.
    refresh : ask the IRW even if there is a copy.
    folder : the cache, by default ``cache_folder()``.
    pauses : seconds to wait before each further attempt after a time-out or a lost connection.
    progress : called with each name and its table, or the reason why it cannot be fetched.

    Returns
    -------
    The tables, in the order of ``names``, and for each name that cannot be fetched the reason, one sentence.

    Raises
    ------
    IrwError : no table can be fetched at present (network, credentials, quota); those already fetched stay in the cache.
    InputError : there is no such IRW version.
    EngineError : the client is not installed.
    """
    names = list(dict.fromkeys(names))
    folder = folder or cache_folder()
    tables = {name: None if refresh else cached(name, irw_version=irw_version, folder=folder) for name in names}
    failures: dict[str, str] = {}
    for name, table in tables.items():
        if table:
            progress(name, table)
    if not all(tables.values()):
        with open_warehouse(irw_version, pauses) as warehouse:
            for name in [name for name, table in tables.items() if not table]:
                try:
                    tables[name] = _keep(warehouse.download(name), warehouse.version, folder)
                except InputError as error:
                    failures[name] = str(error)
                except IrwError as error:
                    if not error.of_one_table:
                        kept = sum(table is not None for table in tables.values())
                        raise IrwError(f"{error} {kept} of {len(names)} tables are in the cache.") from error
                    failures[name] = str(error)
                progress(name, tables[name] or failures[name])
    return [table for table in tables.values() if table], failures


def rct_tables(*, irw_version: int | None = None, pauses: Sequence[float] = PAUSES) -> list[str]:
    """Names of all IRW tables with a ``treat`` column and at least 100 participants; raises as ``fetch`` does."""
    with open_warehouse(irw_version, pauses) as warehouse:
        return warehouse.rct_tables()


def cached(name: str, *, irw_version: int | None = None, folder: Path | None = None) -> IrwTable | None:
    """The cached copy of a table at an IRW version, by default the one fetched last; None if there is no complete copy."""
    folder = folder or cache_folder()
    copies = []
    for record in folder.glob(f"{'*' if irw_version is None else _release(irw_version)}/{slug(name)}.json"):
        try:
            content = json.loads(record.read_text(encoding="utf-8"))
            table = IrwTable(record.with_suffix(".parquet"), **{**content, "bibtex": tuple(content["bibtex"])})
            if sha256_of(table.path) == table.sha256:
                copies.append(table)
        except (OSError, ValueError, TypeError, KeyError):
            continue  # interrupted between the two files, or written by another version: treated as absent
    return max(copies, key=lambda table: table.fetched_at, default=None)


def cache_folder() -> Path:
    """Where tables are kept: ``irw`` in the folder that ``ILHTE_CACHE`` names, else in the user's cache folder."""
    chosen = os.environ.get("ILHTE_CACHE")
    if chosen:
        return Path(chosen).expanduser() / "irw"
    try:
        from platformdirs import user_cache_path
    except ImportError as error:
        raise EngineError('IRW tables need the package platformdirs: pip install "ilhte[irw]".') from error
    return user_cache_path("ilhte", appauthor=False) / "irw"


def _release(irw_version: int | None) -> str:
    return "current" if irw_version is None else f"v{irw_version}"


def _keep(download: Download, irw_version: int | None, folder: Path) -> IrwTable:
    path = folder / _release(irw_version) / f"{slug(download.name)}.parquet"
    try:
        return _write(download, irw_version, path)
    except OSError as error:
        raise IrwError(
            f"The cache cannot be written in {path.parent} ({one_line(error)}): free some space there, or name another folder "
            "in the environment variable ILHTE_CACHE."
        ) from error


def _write(download: Download, irw_version: int | None, path: Path) -> IrwTable:
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_parquet(path, download.frame)
    table = IrwTable(
        path=path,
        name=download.name,
        irw_version=irw_version,
        reference=download.reference,
        content_hash=download.content_hash,
        sha256=sha256_of(path),
        n_rows=len(download.frame),
        fetched_at=datetime.now(UTC).isoformat(timespec="microseconds"),
        bibtex=download.bibtex,
    )
    record = {name: value for name, value in asdict(table).items() if name != "path"}
    write_text(path.with_suffix(".json"), json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return table


def _write_parquet(path: Path, frame: pd.DataFrame) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # without the metadata on pandas types: the client's are Arrow types, which later stages do not expect
    content = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    temporary = path.with_name(f".writing-{os.getpid()}-{path.name}")
    try:
        pq.write_table(content, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
