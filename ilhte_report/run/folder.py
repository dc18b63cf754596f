"""The folder of a run: one writer at a time, every file written whole or not at all, and checksums to know it by.

`run.json` is rewritten after each table with the checksums of its two files. So it always says which results are
complete, however the last run ended; what does not match it is made again.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ilhte_lib.errors import InputError
from ilhte_lib.files import sha256_of, to_json, write_text

from ..project import slug

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_TEMPORARY = ".writing-"


@dataclass(frozen=True)
class TableRow:
    """One table in ``run.json``.

    Attributes
    ----------
    tab, slug : its name and its file name in ``fits/`` and ``tables/``.
    status : "fitted" or "failed".
    reason : why it failed, one sentence; None otherwise.
    seconds : wall time of its execution.
    key : hash of everything the result depends on.
    input_sha256 : of the table's data.
    fit_sha256, notebook_sha256 : of its two files; None if there are none.
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
    """The results of a run on disk, for reading; who writes has it from ``open_run_folder``.

    Attributes
    ----------
    path : the folder.
    record : what ``run.json`` holds beside the rows; empty if there is none or it is not whole.
    rows : the tables by name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record = _read_record(path)
        self.rows = _rows_of(self.record)

    def document(self, tab: str) -> dict[str, Any] | None:
        """The document of a table, or None if it has none.

        Raises
        ------
        InputError : the file is not the one that was written.
        """
        row = self.rows[tab]
        if row.fit_sha256 is None:
            return None
        if _sha256(self._fit(row)) != row.fit_sha256:
            raise InputError(f"{self._fit(row)} was changed after it was written: repeat the `ilhte run` that made it.")
        return json.loads(self._fit(row).read_text(encoding="utf-8"))

    def result(self, tab: str, key: str) -> TableRow | None:
        """The row of a table whose result is there, complete and untouched, under this key."""
        row = self.rows.get(tab)
        if row is None or row.key != key or row.fit_sha256 is None or row.notebook_sha256 is None:
            return None
        whole = _sha256(self._fit(row)) == row.fit_sha256 and _sha256(self._notebook(row)) == row.notebook_sha256
        return row if whole else None

    def store(self, row: TableRow, document: str, notebook: str) -> None:
        """Keep the result of a table, in place of an earlier one."""
        with _telling(self.path):
            write_text(self._fit(row), document)
            write_text(self._notebook(row), notebook)
            self._note(_with_checksums(row, sha256_of(self._fit(row)), sha256_of(self._notebook(row))))

    def store_failure(self, row: TableRow) -> TableRow:
        """Note that a table failed, and return the row. An earlier result of the same key stands."""
        earlier = self.result(row.tab, row.key)
        if earlier:
            row = _with_checksums(row, earlier.fit_sha256, earlier.notebook_sha256)
            row = replace(row, reason=f"{row.reason} Its earlier result stands.")
        with _telling(self.path):
            self._note(row)
        return row

    def finish(self, tabs: Sequence[str], header: dict[str, Any]) -> None:
        """Bring the folder to exactly these tables: the frames of their results, nothing of others, and ``run.json``."""
        from ilhte_lib.inference.effects import ITEM_COLUMNS, SUMMARY_COLUMNS

        self.rows = {tab: self.rows[tab] for tab in tabs}
        fitted = [row for row in self.rows.values() if row.fit_sha256]
        with _telling(self.path):
            for folder, suffix in (("fits", ".json"), ("tables", ".ipynb")):
                for file in (self.path / folder).glob(f"*{suffix}"):
                    if file.name.removesuffix(suffix) not in {row.slug for row in fitted}:
                        file.unlink()
            documents = [json.loads(self._fit(row).read_text(encoding="utf-8")) for row in fitted]
            summary, items = self.path / "summary.parquet", self.path / "items.parquet"
            _write_parquet(summary, [document["summary"] for document in documents], SUMMARY_COLUMNS)
            _write_parquet(items, [item for document in documents for item in document["items"]], ITEM_COLUMNS)
            self.record = {**header, "sha256": {path.name: sha256_of(path) for path in (summary, items)}}
            self._save()

    def holds(self, rows: Sequence[TableRow]) -> bool:
        """Whether the folder is finished with just these rows, its frames untouched."""
        frames = self.record.get("sha256")
        return (
            list(_rows_of(self.record).values()) == list(rows)
            and isinstance(frames, dict)
            and all(_sha256(self.path / name) == frames.get(name) for name in ("summary.parquet", "items.parquet"))
        )

    def _fit(self, row: TableRow) -> Path:
        return self.path / "fits" / f"{row.slug}.json"

    def _notebook(self, row: TableRow) -> Path:
        return self.path / "tables" / f"{row.slug}.ipynb"

    def _note(self, row: TableRow) -> None:
        self.rows[row.tab] = row
        self.record.pop("sha256", None)  # from here on the frames are those of an earlier state
        self._save()

    def _save(self) -> None:
        self.record["tables"] = [asdict(row) for row in self.rows.values()]
        write_text(self.path / "run.json", to_json(self.record))


@contextmanager
def open_run_folder(path: Path) -> Iterator[RunFolder]:
    """The folder of a run, made if need be, and this process its only writer until it is left.

    Raises
    ------
    InputError : another run has it, or it cannot be written.
    """
    with _telling(path):
        for folder in ("fits", "tables"):
            (path / folder).mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise InputError(
                f"Another run is writing into {path}: wait until it has ended, or name another folder with --out."
            ) from None
    try:
        with _telling(path):
            for leftover in path.rglob(f"{_TEMPORARY}*"):
                leftover.unlink()
        yield RunFolder(path)
    finally:
        lock.release()


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """What the system says when the folder cannot be written, as a sentence with its remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise InputError(
                f"There is no room left for {path}: make some and give the same command again, it goes on from here."
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
    """The rows that are as they were written; a row edited out of shape is as good as none."""
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


def _write_parquet(path: Path, rows: list[dict], columns: Sequence[str]) -> None:
    import pandas as pd

    temporary = path.with_name(f"{_TEMPORARY}{path.name}")
    try:
        with open(temporary, "wb") as stream:
            (pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(columns))).to_parquet(stream, index=False)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
