"""Counting on a Dask cluster: each worker's DuckDB runs the statements of ``relations`` on parts of the table, then they merge.

A part is a run of row groups of a Parquet file, or a whole CSV file; the rows of one person may be in several. Persons are put
together in buckets by a hash of their id. Workers receive stateless functions, so that Dask can recompute on another worker
what a lost one held. They need this package and DuckDB, and access to the same files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..errors import EngineError, InputError
from ..messages import quoted
from .columnar import dataset_of
from .identifiers import plainest_sql
from .place import Place, parquet_files
from .relations import DuckDB, Query, named, unread_address

if TYPE_CHECKING:
    import pyarrow as pa

PATIENCE = 30
"""Seconds to wait for the scheduler and for its first worker."""
PART_ROWS = 4_000_000
"""Row groups of a file are read together up to about this many rows."""
BUCKETS_A_THREAD = 2
ROWS = re.compile(r"\b(responses|marked|seen)\b")
PERSONS = re.compile(r"\bpersons\b")
MEMORY = "1GB"
"""Limit for DuckDB in one worker thread; what does not fit goes to a temporary folder."""


class Dask:
    """Dask workers, each with a DuckDB; small relations stay in one in this process.

    Parameters
    ----------
    client : a ``distributed.Client``.
    """

    def __init__(self, client: Any):
        self._client = client
        self._here = DuckDB()
        self._own: Any = None
        self._tables: dict[str, Any] = {}
        self._views: dict[str, str] = {}
        self._parts: list[Any] = []
        self._persons: list[Any] = []
        self._n_buckets = max(1, BUCKETS_A_THREAD * sum(client.nthreads().values()))

    @classmethod
    def at(cls, scheduler: str | None = None) -> Self:
        """On the cluster of a scheduler, tcp://host:8786; None for workers on this machine, one per core.

        Raises
        ------
        EngineError : Dask or PyArrow is not installed.
        InputError : no scheduler answers at the address, or it has no workers.
        """
        try:
            import pyarrow.dataset  # noqa: F401
            from distributed import Client, LocalCluster
        except ImportError:
            raise EngineError("Counting on Dask needs more packages: pip install 'ilhte[cluster,large]'.") from None
        own = None
        if scheduler is None:
            own = LocalCluster(threads_per_worker=1, dashboard_address=None, silence_logs="CRITICAL")
        try:
            client = Client(own or scheduler, timeout=PATIENCE)
        except (OSError, ValueError) as error:
            raise InputError(
                f"No Dask scheduler answers at {scheduler}: check the address and that it runs."
            ) from error
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError as error:
            client.close()
            raise InputError(f"The Dask scheduler at {scheduler} has no worker: start some and try again.") from error
        made = cls(client)
        made._own = own
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._persons = []
        self._client.close()
        if self._own is not None:
            self._own.close()
        self._here.__exit__(*failure)

    # -- the table ------------------------------------------------------------------------------------------------

    def names(self, where: Place) -> list[str]:
        return _dataset(where).schema.names

    def kinds(self, where: Place, n_columns: int) -> list[str]:
        if where.is_text:
            return ["text"] * n_columns
        self._here.register("looked", _plain_columns(_dataset(where).schema.empty_table()))
        return self._here.kinds_of("SELECT * FROM looked")

    def open(self, where: Place, n_columns: int, select: Mapping[str, str], separator: str = ",") -> None:
        self._views = {"responses": f"SELECT {named(select)} FROM file"}
        if where.is_text:
            self._parts = [_TextPart(Place(where.local, True, where.is_remote, False), n_columns, separator)]
            return
        data = _dataset(where)
        self._parts = [_ParquetPart(fragment, data.schema) for fragment in _fragments(data)]

    def matches(self, text: str, pattern: str) -> str:
        return self._here.matches(text, pattern)

    def composed(self, text: str) -> str:
        return self._here.composed(text)

    # -- statements -----------------------------------------------------------------------------------------------

    def view(self, name: str, sql: str) -> None:
        self._views[name] = str(sql)

    def table(self, name: str, columns: Mapping[str, Sequence]) -> None:
        self._here.table(name, columns)
        self._share(name)

    def keep(self, name: str, sql: str) -> None:
        if name == "persons" and isinstance(sql, Query):
            self._gather_persons(sql)
        elif isinstance(sql, Query):
            self._here.register("parts", self._by_part(sql))
            self._here.keep(name, sql.merged)
            self._share(name)
        else:
            self._here.keep(name, sql)
            self._share(name)

    def fetch(self, sql: str) -> dict[str, np.ndarray]:
        if not isinstance(sql, Query) or not (ROWS.search(sql) or PERSONS.search(sql)):
            return self._here.fetch(sql)
        self._here.register("parts", self._by_part(sql))
        return self._here.fetch(sql.merged)

    def _share(self, name: str) -> None:
        """Send a small relation along with every task."""
        self._tables[name] = self._here.arrow(f"SELECT * FROM {name}")

    def _by_part(self, sql: Query) -> pa.Table:
        """The results of a statement for all parts of the rows, or buckets of persons, stacked in order."""
        import pyarrow as pa

        if not ROWS.search(sql):
            futures = [self._client.submit(_of_persons, bucket, sql.part, pure=False) for bucket in self._persons]
        else:
            needed = self._persons if PERSONS.search(sql) else []
            futures = [
                self._client.submit(_of_rows, part, self._tables, self._views, sql.part, needed, pure=False)
                for part in self._parts
            ]
        # a column may lack a type in a part without rows
        return pa.concat_tables(self._client.gather(futures), promote_options="permissive")

    def _gather_persons(self, sql: Query) -> None:
        submit = self._client.submit
        # different spellings of one id must get into the same bucket
        plain = plainest_sql("CAST(id AS STRING)", self.matches, self.composed)
        split = [
            submit(_split_persons, part, self._tables, self._views, sql.part, plain, self._n_buckets, pure=False)
            for part in self._parts
        ]
        self._persons = [
            submit(_bucket, [submit(_taken, of_part, b, pure=False) for of_part in split], sql.merged, pure=False)
            for b in range(self._n_buckets)
        ]


# -- in the workers -----------------------------------------------------------------------------------------------


class _ParquetPart:
    """Some row groups of one file."""

    def __init__(self, fragment: Any, schema: pa.Schema):
        self._fragment, self._schema = fragment, schema

    def give_to(self, engine: DuckDB) -> None:
        """Make this part the relation ``file``, with columns c0, c1, ..."""
        table = _plain_columns(self._fragment.to_table(schema=self._schema))
        engine.register("file", table.rename_columns([f"c{k}" for k in range(table.num_columns)]))


class _TextPart:
    """A whole CSV file."""

    def __init__(self, where: Place, n_columns: int, separator: str):
        self._where, self._n_columns, self._separator = where, n_columns, separator

    def give_to(self, engine: DuckDB) -> None:
        """See ``_ParquetPart.give_to``."""
        engine.open(self._where, self._n_columns, {f"c{k}": f"c{k}" for k in range(self._n_columns)}, self._separator)
        engine.view("file", "SELECT * FROM responses")
        engine.keep("kept_file", "SELECT * FROM file")
        engine.view("file", "SELECT * FROM kept_file")


def _of_rows(
    part: _ParquetPart | _TextPart,
    tables: Mapping[str, Any],
    views: Mapping[str, str],
    sql: str,
    persons: Sequence[Any] = (),
) -> pa.Table:
    import pyarrow as pa

    with DuckDB(MEMORY, threads=1) as engine:
        part.give_to(engine)
        for name, table in tables.items():
            engine.register(name, table)
        if persons:
            engine.register("persons", pa.concat_tables(persons, promote_options="permissive"))
        for name, text in views.items():
            engine.view(name, text)
        return engine.arrow(sql)


def _split_persons(
    part: _ParquetPart | _TextPart, tables: Mapping[str, Any], views: Mapping[str, str], sql: str, plain: str, n: int
) -> list[pa.Table]:
    """The persons in a part, by bucket."""
    found = _of_rows(part, tables, views, sql)
    with DuckDB(MEMORY, threads=1) as engine:
        engine.register("found", found)
        return [engine.arrow(f"SELECT * FROM found WHERE HASH({plain}) % {n} = {bucket}") for bucket in range(n)]


def _taken(split: list[pa.Table], bucket: int) -> pa.Table:
    return split[bucket]


def _bucket(known: list[pa.Table], merged: str) -> pa.Table:
    """The persons of a bucket, merged from all parts."""
    import pyarrow as pa

    with DuckDB(MEMORY, threads=1) as engine:
        engine.register("parts", pa.concat_tables(known, promote_options="permissive"))
        return engine.arrow(merged)


def _of_persons(bucket: pa.Table, sql: str) -> pa.Table:
    with DuckDB(MEMORY, threads=1) as engine:
        engine.register("persons", bucket)
        return engine.arrow(sql)


# -- Parquet by row groups ----------------------------------------------------------------------------------------


def _dataset(where: Place) -> Any:
    import pyarrow
    import pyarrow.dataset
    from pyarrow import fs

    try:
        if not where.is_remote:
            files = [str(file) for file in parquet_files_of(where)]
            return dataset_of(files, where.local if where.is_folder else None)
        try:
            system, path = fs.FileSystem.from_uri(where.address)
        except pyarrow.ArrowInvalid:
            import fsspec

            of_fsspec, path = fsspec.core.url_to_fs(where.address)
            system = fs.PyFileSystem(fs.FSSpecHandler(of_fsspec))
        if system.get_file_info(path).type != fs.FileType.Directory:
            return dataset_of(path, None, system)
        inside = system.get_file_info(fs.FileSelector(path, recursive=True))
        files = sorted(f.path for f in inside if f.is_file and _is_part(f.path.removeprefix(path)))
        if not files:
            raise FileNotFoundError
        return dataset_of(files, path, system)
    except (OSError, ValueError, ImportError, pyarrow.ArrowException) as failure:
        raise InputError(unread_address(where.address, failure)) from None


def _is_part(path: str) -> bool:
    """Whether a file below an address is part of the table, as in ``parquet_files``."""
    return path.lower().endswith(".parquet") and not any(part[:1] in ("_", ".") for part in path.split("/"))


def parquet_files_of(where: Place) -> list[Any]:
    """The Parquet files of a local place.

    Raises
    ------
    InputError : the folder has none.
    """
    from pathlib import Path

    if not where.is_folder:
        return [Path(where.local)]
    files = parquet_files(Path(where.local))
    if not files:
        raise InputError(f"The folder {quoted(where.address)} holds no Parquet files: name a folder that does.")
    return files


def _fragments(data: Any) -> list[Any]:
    found = []
    for fragment in data.get_fragments():
        groups: list[int] = []
        rows = 0
        for group in fragment.row_groups:
            groups.append(group.id)
            rows += group.num_rows
            if rows >= PART_ROWS:
                found.append(fragment.subset(row_group_ids=groups))
                groups, rows = [], 0
        if groups:
            found.append(fragment.subset(row_group_ids=groups))
    return found


def _plain_columns(table: pa.Table) -> pa.Table:
    """The table with dictionary columns decoded."""
    import pyarrow as pa

    for k, column in enumerate(table.schema):
        if pa.types.is_dictionary(column.type):
            table = table.set_column(k, column.name, table[k].cast(column.type.value_type))
    return table
