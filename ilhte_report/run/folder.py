"""The folder of a run: one writer at a time, every file written completely or not at all, and identified by checksums.

Only files written by a run are replaced or removed (``ilhte_lib.manifest``); other folders are refused.

`run.json` is rewritten after each table with the checksums of its two files. It therefore always says which results are
complete, however the last run ended; results that do not match are computed again.
"""

from __future__ import annotations

import errno
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ilhte_lib.errors import InputError
from ilhte_lib.files import sha256_of, to_json
from ilhte_lib.manifest import Manifest, read_manifest, refuse_foreign

from ..project import slug

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REMEDY = "name an empty or a new folder with --out."
_FRAMES = ("summary.parquet", "items.parquet")
_TOLD = ("told", "resampling", "sum_score", "steps")
"""The parts of a table's inference that the site's pages need."""


@dataclass(frozen=True)
class TableRow:
    """One table in ``run.json``.

    Attributes
    ----------
    tab, slug : the name of the table, and its file name in ``fits/`` and ``tables/``.
    status : "fitted" or "failed".
    reason : why it failed, one sentence; None otherwise.
    seconds : wall time of its execution.
    key : hash of everything on which the result depends.
    input_sha256 : checksum of the table's data.
    fit_sha256, notebook_sha256 : checksums of its two files; None if there are none.
    """

    tab: str
    slug: str
    status: str
    reason: str | None
    seconds: float
    key: str
    input_sha256: str
    fit_sha256: str | None = None
    notebook_sha256: str | None = None


class RunFolder:
    """The results of a run on disk, read-only unless it comes from ``open_run_folder``.

    Attributes
    ----------
    path : the folder.
    record : the content of ``run.json`` without the rows; empty if the file is missing or incomplete.
    rows : the tables by name.
    """

    def __init__(self, path: Path, manifest: Manifest | None = None) -> None:
        self.path = path
        self._manifest = manifest
        self.record = _read_record(path)
        self.rows = _rows_of(self.record)

    def document(self, tab: str) -> dict[str, Any] | None:
        """The document of a table, or None if it has none.

        Raises
        ------
        InputError : the file was changed after it was written.
        """
        row = self.rows[tab]
        if row.fit_sha256 is None:
            return None
        if _sha256(self._fit(row)) != row.fit_sha256:
            raise InputError(f"{self._fit(row)} was changed after it was written: repeat the `ilhte run` that made it.")
        return json.loads(self._fit(row).read_text(encoding="utf-8"))

    def result(self, tab: str, key: str) -> TableRow | None:
        """The row of a table if its result for this key exists, complete and unchanged; else None."""
        row = self.rows.get(tab)
        if row is None or row.key != key or row.fit_sha256 is None or row.notebook_sha256 is None:
            return None
        whole = _sha256(self._fit(row)) == row.fit_sha256 and _sha256(self._notebook(row)) == row.notebook_sha256
        return row if whole else None

    def store(self, row: TableRow, document: str, notebook: str) -> None:
        """Store the result of a table, replacing an earlier one."""
        with _telling(self.path):
            self._write(self._fit(row), document.encode())
            self._write(self._notebook(row), notebook.encode())
            self._note(_with_checksums(row, sha256_of(self._fit(row)), sha256_of(self._notebook(row))))

    def store_failure(self, row: TableRow) -> TableRow:
        """Record that a table failed, and return the row. An earlier result for the same key is kept."""
        earlier = self.result(row.tab, row.key)
        if earlier:
            row = _with_checksums(row, earlier.fit_sha256, earlier.notebook_sha256)
            row = replace(row, reason=f"{row.reason} Its earlier result is kept.")
        with _telling(self.path):
            self._note(row)
        return row

    def finish(self, tabs: Sequence[str], header: dict[str, Any]) -> None:
        """Make the folder contain exactly these tables: write their frames and ``run.json``, and remove the files of others."""
        from ilhte_lib.inference.effects import ITEM_COLUMNS, SUMMARY_COLUMNS

        self.rows = {tab: self.rows[tab] for tab in tabs}
        fitted = [row for row in self.rows.values() if row.fit_sha256]
        with _telling(self.path):
            results = {name for row in fitted for name in (f"fits/{row.slug}.json", f"tables/{row.slug}.ipynb")}
            self._files.keep_only(results | {"run.json", *_FRAMES})
            documents = [of for row in fitted for of in by_arm(json.loads(self._fit(row).read_text(encoding="utf-8")))]
            summary, items = (self.path / name for name in _FRAMES)
            self._write(summary, _parquet([document["summary"] for document in documents], SUMMARY_COLUMNS))
            self._write(items, _parquet([item for document in documents for item in document["items"]], ITEM_COLUMNS))
            self.record = {**header, "sha256": {path.name: sha256_of(path) for path in (summary, items)}}
            self._save()

    def holds(self, rows: Sequence[TableRow]) -> bool:
        """Whether the folder is finished with exactly these rows and unchanged frames."""
        frames = self.record.get("sha256")
        return (
            list(_rows_of(self.record).values()) == list(rows)
            and isinstance(frames, dict)
            and all(_sha256(self.path / name) == frames.get(name) for name in _FRAMES)
        )

    def _fit(self, row: TableRow) -> Path:
        return self.path / "fits" / f"{row.slug}.json"

    def _notebook(self, row: TableRow) -> Path:
        return self.path / "tables" / f"{row.slug}.ipynb"

    def _note(self, row: TableRow) -> None:
        self.rows[row.tab] = row
        self.record.pop("sha256", None)  # from now on the frames are out of date
        self._save()

    def _save(self) -> None:
        self.record["tables"] = [asdict(row) for row in self.rows.values()]
        self._write(self.path / "run.json", to_json(self.record).encode())

    @property
    def _files(self) -> Manifest:
        if self._manifest is None:
            raise TypeError("Only a folder from open_run_folder can be written.")
        return self._manifest

    def _write(self, path: Path, content: bytes) -> None:
        self._files.write(path.relative_to(self.path).as_posix(), content)

    @property
    def kept(self) -> list[Path]:
        """Files edited by the user that were kept, beside the new ones or in their place."""
        return self._files.kept


def by_arm(document: dict[str, Any]) -> list[dict[str, Any]]:
    """A table's document, or those of its arms."""
    arms = document.get("arms")
    return [document] if arms is None else list(arms["documents"].values())


def refuse_earlier(run: Path) -> None:
    """Raise InputError if the run was written by an earlier version and lacks something that the pages need."""
    import pyarrow.parquet

    from ilhte_lib.inference.effects import ITEM_COLUMNS, SUMMARY_COLUMNS

    remedy = "was made by an earlier version of ilhte: call `ilhte run` again."
    for name, columns in zip(_FRAMES, (SUMMARY_COLUMNS, ITEM_COLUMNS), strict=True):
        if not set(columns) <= set(pyarrow.parquet.read_schema(run / name).names):
            raise InputError(f"The run {run.name} {remedy}")
    for path in sorted((run / "fits").glob("[!.]*.json")):
        for document in by_arm(json.loads(path.read_text(encoding="utf-8"))):
            if not set(_TOLD) <= set(document.get("inference") or ()):
                raise InputError(f"{path.stem} in the run {run.name} {remedy}")


@contextmanager
def open_run_folder(path: Path) -> Iterator[RunFolder]:
    """Open the folder of a run for writing, creating it if necessary; inside the context this process is its only writer.

    Raises
    ------
    InputError : another run is writing to it, it is not a run's folder, or it cannot be written.
    """
    refuse_other_folder(path)
    with _telling(path):
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise InputError(
                f"Another run is writing to {path}: wait until it has finished, or name another folder with --out."
            ) from None
    try:
        with _telling(path):
            manifest = Manifest.open(path, _REMEDY, _of_an_earlier_version)
            for folder in ("fits", "tables"):
                (path / folder).mkdir(exist_ok=True)
        yield RunFolder(path, manifest)
    finally:
        lock.release()


def refuse_other_folder(path: Path, slugs: Sequence[str] = ()) -> None:
    """Raise InputError, before anything is computed, if the folder is not a run's or other files are in the way.

    ``slugs`` are the file names of the tables to be written.
    """
    with _telling(path):
        written = read_manifest(path)
        if written is None and path.is_dir():
            written = _of_an_earlier_version(path) or None
        if written is None:
            refuse_foreign(path, _REMEDY)
            return
        names = [name for slug in slugs for name in (f"fits/{slug}.json", f"tables/{slug}.ipynb")]
        Manifest(path, written).refuse_collisions(["run.json", *_FRAMES, *names], "move it elsewhere, or " + _REMEDY)


def _of_an_earlier_version(path: Path) -> dict[str, list[str]]:
    """The files of a run without a manifest: those whose checksums are in its ``run.json``; empty if there is none."""
    record = _read_record(path)
    rows = _rows_of(record)
    if not rows or not isinstance(record.get("settings"), dict):
        return {}
    claimed = {f"fits/{row.slug}.json": row.fit_sha256 for row in rows.values()}
    claimed |= {f"tables/{row.slug}.ipynb": row.notebook_sha256 for row in rows.values()}
    frames = record.get("sha256")
    claimed |= {name: frames.get(name) for name in _FRAMES} if isinstance(frames, dict) else {}
    files = {name: [digest] for name, digest in claimed.items() if digest and _sha256(path / name) == digest}
    return files | {"run.json": [sha256_of(path / "run.json")]}


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Turn system errors in writing the folder into a sentence with the remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise InputError(
                f"There is no space left for {path}: free some and repeat the command, which then continues from here."
            ) from error
        raise InputError(
            f"The folder {path} cannot be written ({error.strerror}): change its permissions or name another with --out."
        ) from error


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads((path / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _rows_of(record: dict[str, Any]) -> dict[str, TableRow]:
    """The valid rows; a row that was edited and no longer fits is ignored."""
    rows = {}
    tables = record.get("tables")
    for entry in tables if isinstance(tables, list) else []:
        try:
            row = TableRow(**entry)
            if row.slug == slug(row.tab):
                rows[row.tab] = row
        except (TypeError, AttributeError):
            continue
    return rows


def _with_checksums(row: TableRow, fit: str | None, notebook: str | None) -> TableRow:
    return replace(row, fit_sha256=fit, notebook_sha256=notebook)


def _sha256(path: Path) -> str | None:
    try:
        return sha256_of(path)
    except OSError:
        return None


def _parquet(rows: list[dict], columns: Sequence[str]) -> bytes:
    import pandas as pd

    stream = io.BytesIO()
    (pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(columns))).to_parquet(stream, index=False)
    return stream.getvalue()
