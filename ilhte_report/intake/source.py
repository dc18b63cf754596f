"""Sources of tables: the bundled collection, files, folders of files, and the Item Response Warehouse (IRW)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilhte_lib.data.catalogue import TableInfo, bundled_tables, load_bundled, table_info
from ilhte_lib.data.file_formats import FORMATS, format_of
from ilhte_lib.data.options import DataOptions
from ilhte_lib.data.place import is_address, is_table_folder, parquet_files
from ilhte_lib.data.read import option_of, read_table, source_name
from ilhte_lib.data.waves import IRW
from ilhte_lib.errors import EngineError, InputError
from ilhte_lib.files import sha256_of

from ..project import data_folder
from .trials_file import TRIALS, read_trials

if TYPE_CHECKING:
    import pandas as pd

    from .irw.tables import IrwTable

BUNDLED = "bundled"
"""Among the names of a run, this word stands for the whole bundled collection."""

IRW_PREFIX = "irw:"


@dataclass(frozen=True)
class Source:
    """A table that can be loaded.

    Attributes
    ----------
    name : the user's name for it: a bundled table's name, a path, or ``irw:`` and a name.
    tab : the table's name.
    path : the file or the folder of Parquet files (for an IRW table its copy in the cache), or None for a bundled table and an
        address.
    info : the catalogue's entry of a bundled table, else None.
    sha256 : checksum of the file, or of design and seed for a simulated table; "" for an address.
    irw : version and citations of an IRW table, else None.
    trouble : why it cannot be read, one sentence, or None; a run lists such a table as failed.
    options : data options for this table only, from a file of trials (``trials_file``).
    """

    name: str
    tab: str
    path: Path | None
    info: TableInfo | None
    sha256: str = field(repr=False)
    irw: IrwTable | None = None
    trouble: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def is_address(self) -> bool:
        """Whether it is an address (s3://, hdfs:// or similar), which a data engine reads."""
        return is_address(self.name)

    @property
    def renamed(self) -> bool:
        """Whether its name differs from that of its file or table."""
        return (
            self.trouble is None and self.path is not None and self.irw is None and self.tab != source_name(self.path)
        )


ADDRESS_IN_RUN = "{} is an address, but a run identifies tables by the checksums of their files: use `ilhte fit`, or name local files."


def source(name: str, tab: str | None = None) -> Source:
    """The source with this name: ``irw:`` and a name, an existing file, else a bundled table; called ``tab`` if given.

    An IRW table that is not in the cache is fetched.

    Raises
    ------
    InputError : there is no such file, bundled table or IRW table.
    IrwError, EngineError : the IRW table cannot be fetched.
    PermissionError : the file may not be read.
    """
    if tab is not None:
        return replace(source(name), tab=tab)
    if name.startswith(IRW_PREFIX):
        return _irw_source(name)
    if not name.strip():
        raise InputError("The name of the table is empty: give a file, irw:NAME or the name of a bundled table.")
    if is_address(name):
        if not name.split("://", 1)[1].strip("/"):
            raise InputError(f"The address {name} names no table: add the bucket or host and the path.")
        return Source(name, source_name(name.rstrip("/")), None, None, sha256="")
    path = Path(name)
    if path.exists():
        if path.is_dir():
            return _folder_source(name, path)
        return Source(name, _readable(source_name(path)), path, None, sha256_of(path))
    if _looks_like_path(name):
        raise InputError(f"There is no file {name}: check the path.")
    info = table_info(name, data_folder())
    return Source(name, info.tab, None, info, info.digest)


def sources(names: Sequence[str]) -> list[Source]:
    """The sources of a run: files, folders (all table files in them), files of trials, ``irw:`` names, bundled tables, ``bundled``.

    A table that exists but cannot be read, or an IRW table that cannot be fetched, has its ``trouble`` set.

    Raises
    ------
    InputError : a name without a source, or a folder without tables.
    """
    missing = _fetch([name for name in names if name.startswith(IRW_PREFIX)])
    found: list[Source] = []
    for name in names:
        if name in missing:
            found.append(_without_data(name, name.removeprefix(IRW_PREFIX), missing[name]))
        elif name == BUNDLED and not Path(name).exists():
            found += bundled_sources()
        elif is_address(name):
            found.append(_without_data(name, source_name(name.rstrip("/")), ADDRESS_IN_RUN.format(name)))
        elif name.lower().endswith(TRIALS):
            found += [replace(_file_source(trial.file), **trial.named()) for trial in read_trials(Path(name))]
        elif Path(name).is_dir() and not is_table_folder(Path(name)):
            found += [_member(str(path)) for path in _tables_in(Path(name))]
        else:
            found.append(_file_source(name))
    return found


def bundled_sources() -> list[Source]:
    """The bundled collection: real tables first, then simulated ones."""
    return [source(name) for name in bundled_tables(data_folder())]


def load(where: Source, data: DataOptions | None = None) -> pd.DataFrame:
    """The long table of a source, its columns named as ``data`` says.

    Raises
    ------
    InputError : the file cannot be read as a table, or options name the columns of a bundled table.
    """
    data = data or DataOptions()
    if where.path is not None:
        table = read_table(where.path, **data.columns)
        if where.irw is not None:
            table.attrs["waves"] = IRW
        return table
    own = {"pretest", "cluster", "missing_codes"}  # these are left to the preparation
    renamed = [role for role, name in data.columns.items() if role not in own and name not in (None, role)]
    if renamed:
        raise InputError(
            f"{where.tab} is a bundled table, its columns need no names: leave out {' '.join(map(option_of, renamed))}."
        )
    return load_bundled(where.tab, data_folder())


def _folder_source(name: str, folder: Path) -> Source:
    """A folder of Parquet files as one table, with a digest of the names and digests of its files."""
    files = parquet_files(folder)
    if not files:
        raise InputError(
            f"{name} is a folder without Parquet files: name a file in it (`ilhte run` takes folders of tables)."
        )
    digests = (f"{file.relative_to(folder).as_posix()} {sha256_of(file)}\n" for file in files)
    return Source(
        name,
        _readable(source_name(folder)),
        folder,
        None,
        hashlib.sha256("".join(digests).encode("utf-8", "surrogateescape")).hexdigest(),
    )


def _readable(name: str) -> str:
    """A file's name as valid text: bytes that are not UTF-8 become the replacement character."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _file_source(name: str) -> Source:
    if _readable(name) != name:
        shown = _readable(name)
        return _without_data(
            shown,
            source_name(shown),
            f"The file name {shown} is not valid UTF-8, so a notebook cannot store it: rename the file.",
        )
    try:
        return source(name)
    except OSError as error:
        return _without_data(
            name, source_name(name), f"{name} cannot be read ({error.strerror}): check its permissions."
        )


def _member(name: str) -> Source:
    """One of a folder of tables: if it is none, the others are fitted all the same."""
    try:
        return _file_source(name)
    except InputError as error:
        return _without_data(name, source_name(name), str(error))


def _without_data(name: str, tab: str, trouble: str) -> Source:
    return Source(name, tab, None, None, sha256="", trouble=trouble)


def _tables_in(folder: Path) -> list[Path]:
    try:
        files = sorted(
            p for p in folder.iterdir()
            if not p.name.startswith(".")
            and (p.name[0] != "_" and is_table_folder(p) if p.is_dir() else p.is_file() and format_of(p.name))
        )  # fmt: skip
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be read ({error.strerror}): check its permissions.") from None
    if not files:
        raise InputError(f"The folder {folder} contains no table: put files there that end in {', '.join(FORMATS)}.")
    return files


def _irw_source(name: str) -> Source:
    from .irw.tables import cached, fetch

    tab = name.removeprefix(IRW_PREFIX)
    table = cached(tab)
    if table is None:
        tables, failures = fetch([tab])
        if failures:
            raise InputError(failures[tab])
        table = tables[0]
    return Source(name, table.name, table.path, None, table.sha256, irw=table)


def _fetch(names: Sequence[str]) -> dict[str, str]:
    """Fetch IRW tables to the cache through one connection; returns the names that cannot be fetched, with the reasons."""
    if not names:
        return {}
    from .irw.tables import cached, fetch
    from .irw.trouble import IrwError

    tabs = [name.removeprefix(IRW_PREFIX) for name in names]
    try:
        failures = fetch(tabs)[1]
    except (IrwError, EngineError) as error:
        failures = {tab: str(error) for tab in tabs if cached(tab) is None}
    return {f"{IRW_PREFIX}{tab}": reason for tab, reason in failures.items()}


def _looks_like_path(name: str) -> bool:
    try:
        return "/" in name or "\\" in name or bool(format_of(name))
    except InputError:
        return False
