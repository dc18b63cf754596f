"""Location of a large table: a file, a folder of Parquet files, or an address such as s3:// or hdfs://, passed on unchanged."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
"""Beginning of an address; two letters at least, since a Windows drive has one."""
PARTITION = re.compile(r"[^=]+=.*")
"""Name of a folder of a partitioned table, such as ``wave=1``."""
MARKER = "_SUCCESS"
"""The file that Spark writes next to the parts of a table."""
PART = re.compile(r"part[-._]?[0-9]+\b.*\.parquet", re.IGNORECASE)
"""Name of one part of a table, as Spark, Dask and PyArrow write it: part-00000-....parquet, part.0.parquet, part-0.parquet."""


@dataclass(frozen=True)
class Place:
    """Location of a table for a data engine.

    Attributes
    ----------
    address : as written by the user; a path for a local file or folder.
    is_text : whether it is a CSV file; otherwise it is Parquet.
    is_remote : whether it is an address, which only the engine can open.
    is_folder : whether it is a local folder.
    """

    address: str
    is_text: bool
    is_remote: bool
    is_folder: bool

    @property
    def name(self) -> str:
        """The last part of the address."""
        return re.split(r"[/\\]", self.address.rstrip("/\\"))[-1]

    @property
    def local(self) -> str:
        """The absolute path, for processes that run in another folder; an address unchanged."""
        return self.address if self.is_remote else str(Path(self.address).absolute())


def is_address(name: str) -> bool:
    """Whether a name is an address rather than a path."""
    return bool(ADDRESS.match(name))


def place(where: str | Path | Place) -> Place:
    """The place that a path or an address denotes."""
    if isinstance(where, Place):
        return where
    name = str(where)
    is_remote, is_folder = is_address(name), not is_address(name) and Path(name).is_dir()
    return Place(name, not (is_folder or is_remote or name.lower().endswith(".parquet")), is_remote, is_folder)


def is_table_folder(path: Path) -> bool:
    """Whether a folder is one table: its name ends in .parquet, it has partition folders, Spark wrote it, or it has parts alone."""
    if not path.is_dir():
        return False
    inside = list(path.iterdir())
    shown = [p.name for p in inside if p.name[0] not in "._"]
    return (
        path.name.lower().endswith(".parquet")
        or any(p.is_dir() and PARTITION.fullmatch(p.name) and parquet_files(p) for p in inside)
        or any(p.name == MARKER for p in inside)
        or (bool(shown) and all(PART.fullmatch(name) for name in shown))
    )


def parquet_files(folder: Path) -> list[Path]:
    """The Parquet files in a folder and its subfolders, linked ones too, sorted; names starting with _ or . are not part of the table."""
    found: list[Path] = []
    seen: set[str] = set()
    for where, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        # a link to a folder above would lead round and round
        folders[:] = [] if real in seen else [name for name in folders if name[0] not in "._"]
        if real not in seen:
            found += [Path(where, name) for name in files if name[0] not in "._" and name.lower().endswith(".parquet")]
        seen.add(real)
    return sorted(path for path in found if path.is_file())


def doubled(columns: Iterable[str], paths: Iterable[str]) -> str | None:
    """A column of the files that their folders name too (``treat=1``), so that each row has two values of it; None if there is none."""
    named = {part.split("=", 1)[0].lower() for path in paths for part in re.split(r"[/\\]", path)[:-1] if "=" in part}
    return next((column for column in columns if column.lower() in named), None)


def in_file_and_folder(where: str, column: str) -> str:
    """The refusal of such a column."""
    return f"Column {column} of {where} is both in its files and in the names of their folders ({column}=...): remove it from one of them."
