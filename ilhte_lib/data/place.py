"""Where a large table is: a file, a folder of Parquet files, or an address such as s3:// or hdfs://, which is passed on untouched."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
"""How an address begins; a drive of Windows has one letter."""
PARTITION = re.compile(r"[^=]+=.*")
"""What a folder of a partitioned set is called: ``wave=1``."""
MARKER = "_SUCCESS"
"""The file that Spark writes beside the parts of a table."""


@dataclass(frozen=True)
class Place:
    """A table for an engine of data.

    Attributes
    ----------
    address : as it was written; of a file or folder here, its path.
    is_text : whether it is a CSV file; otherwise Parquet.
    is_remote : whether it is an address, which only the engine can look at.
    is_folder : whether it is a folder here.
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
        """The path from the root, for what does not run in this folder; an address as it is."""
        return self.address if self.is_remote else str(Path(self.address).absolute())


def is_address(name: str) -> bool:
    """Whether a name is an address and no path."""
    return bool(ADDRESS.match(name))


def place(where: str | Path | Place) -> Place:
    """Where a path or an address leads."""
    if isinstance(where, Place):
        return where
    name = str(where)
    is_remote, is_folder = is_address(name), not is_address(name) and Path(name).is_dir()
    return Place(name, not (is_folder or is_remote or name.lower().endswith(".parquet")), is_remote, is_folder)


def is_table_folder(path: Path) -> bool:
    """Whether a folder is one table, not several: by the ending .parquet, by parts of a partition, or as Spark leaves it."""
    if not path.is_dir():
        return False
    inside = list(path.iterdir())
    return (
        path.name.lower().endswith(".parquet")
        or any(p.is_dir() and PARTITION.fullmatch(p.name) and parquet_files(p) for p in inside)
        or any(p.name == MARKER for p in inside)
    )


def parquet_files(folder: Path) -> list[Path]:
    """The Parquet files in a folder and those below it, in order; hidden ones (_ and .) are none of the table's."""
    return sorted(
        p for p in folder.rglob("*.parquet")
        if p.is_file() and not any(part[0] in "._" for part in p.relative_to(folder).parts)
    )  # fmt: skip
