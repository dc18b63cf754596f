"""Where a table comes from: the bundled collection, or a file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilhte_lib.catalogue import TableInfo, bundled_tables, load_bundled, table_info
from ilhte_lib.errors import InputError
from ilhte_lib.file_formats import format_of
from ilhte_lib.read import read_table, sha256_of, source_name

from .project import find_project

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Source:
    """A table that can be loaded.

    Attributes
    ----------
    name : what the user wrote: a bundled table's name or a path.
    tab : the table's name.
    path : the file, or None for a bundled table.
    info : the catalogue's entry, or None for a file.
    sha256 : of the file's bytes; of the design and seed for a simulated table.
    """

    name: str
    tab: str
    path: Path | None
    info: TableInfo | None
    sha256: str = field(repr=False)


def data_folder() -> Path | None:
    """The project's ``data`` folder, or None outside a project (simulated tables need none)."""
    try:
        return find_project() / "data"
    except InputError:
        return None


def source(name: str) -> Source:
    """The source a name stands for: an existing file, else a bundled table.

    Raises
    ------
    InputError : neither a file nor a bundled table.
    """
    path = Path(name)
    if path.exists():
        if path.is_dir():
            raise InputError(f"{name} is a folder: name the files in it.")
        return Source(name, source_name(path), path, None, sha256_of(path))
    if _looks_like_path(name):
        raise InputError(f"There is no file {name}: check the path.")
    info = table_info(name, data_folder())
    digest = info.sha256 or hashlib.sha256(repr(info.truth).encode()).hexdigest()
    return Source(name, info.tab, None, info, digest)


def _looks_like_path(name: str) -> bool:
    try:
        return "/" in name or "\\" in name or bool(format_of(name))
    except InputError:
        return False


def bundled_sources() -> list[Source]:
    """The bundled collection: real tables first, then simulated ones."""
    return [source(name) for name in bundled_tables(data_folder())]


def load(where: Source, **columns: Any) -> pd.DataFrame:
    """The long table of a source; ``columns`` are the naming options of ``ilhte_lib.read.read_table``, for files.

    Raises
    ------
    InputError : the file cannot be read as a table.
    """
    if where.path is None:
        return load_bundled(where.tab, data_folder())
    return read_table(where.path, **columns)
