"""The relational step: a long table of any size reduced to counts, in SQL that runs on both DuckDB and Spark.

Everything that enters the sufficient statistics is a count, a sum of integers, a minimum, a maximum or a bitwise or, so that
it depends neither on the engine and its threads nor on the order of rows. A ``Query`` also holds the SQL that merges its
results over parts of the rows, for engines that work on parts (``parts.Dask``).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from ..errors import EngineError, InputError
from ..messages import quoted, wrong_count
from .place import Place, doubled, in_file_and_folder, parquet_files

WORD = 60
"""Items per integer when answered items are packed into bits."""
# the words that pandas reads as missing in text files
MISSING_WORDS = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL",
    "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip


class Query(str):
    """SQL over the responses or the persons.

    Attributes
    ----------
    part : the SQL for one part of them.
    merged : the SQL that makes the whole from ``parts``, the stacked results of all parts.
    """

    part: str
    merged: str

    def __new__(cls, sql: str, merged: str, part: str | None = None) -> Self:
        query = super().__new__(cls, sql)
        query.part, query.merged = part or str(sql), merged
        return query


def smallest(sql: str, columns: str, order: str) -> Query:
    """The first four rows in an order; ``sql`` has DISTINCT or GROUP BY, and neither ORDER BY nor LIMIT."""
    limited = f"ORDER BY {order} LIMIT 4"
    return Query(f"{sql} {limited}", f"SELECT DISTINCT {columns} FROM parts {limited}")


RAW_CELLS = Query(
    """
SELECT own_item, own_resp, own_treat, own_wave, COUNT(*) AS n, COUNT(id) AS named
FROM responses GROUP BY own_item, own_resp, own_treat, own_wave""",
    """
SELECT own_item, own_resp, own_treat, own_wave, CAST(SUM(n) AS BIGINT) AS n, CAST(SUM(named) AS BIGINT) AS named
FROM parts GROUP BY own_item, own_resp, own_treat, own_wave""",
)
"""The first scan: how often each combination of item, response, arm and wave, as spelt in the table, occurs, which decides what is
kept."""

CELLS = """
SELECT item, raw_resp, raw_treat, wave, CAST(SUM(n) AS BIGINT) AS n, CAST(SUM(named) AS BIGINT) AS named
FROM read_cells GROUP BY item, raw_resp, raw_treat, wave"""
"""The same once blanks and words for missing are read as missing (``read_cells``)."""


def numbered_sql(column: str) -> str:
    """The distinct values of a column of the cells, numbered in order."""
    return (
        f"SELECT {column} AS value, ROW_NUMBER() OVER (ORDER BY {column}) AS k "
        f"FROM (SELECT DISTINCT {column} FROM cells WHERE {column} IS NOT NULL) AS found"
    )


NUMBERED_CELLS = """
SELECT items.k AS k, waves.k AS w, resps.k AS r, treats.k AS t, n, named
FROM cells LEFT JOIN items ON cells.item = items.value LEFT JOIN waves ON cells.wave = waves.value
LEFT JOIN resps ON cells.raw_resp = resps.value LEFT JOIN treats ON cells.raw_treat = treats.value"""

KEPT = 6
"""The stage of a response that is kept."""

MARKS = """
SELECT found.*, CASE
    WHEN nameless = 1 THEN 0 WHEN in_wave = 0 THEN 1 WHEN resp IS NULL THEN 2
    WHEN treat IS NULL THEN 3 WHEN kind = 'constant' THEN 4 WHEN kind <> 'kept' THEN 5 ELSE 6 END AS stage
FROM (
    SELECT own_item, own_resp, own_treat, own_wave, items.k AS k, COALESCE(fates.kind, 'constant') AS kind,
           fates.word AS word, fates.bit AS bit, resp_numbers.number AS resp, treat_numbers.number AS treat,
           scores.score AS points, CASE WHEN read_cells.item IS NULL THEN 1 ELSE 0 END AS nameless,
           CASE WHEN kept_waves.w IS NOT NULL OR {every_wave} = 1 THEN 1 ELSE 0 END AS in_wave
    FROM read_cells
    LEFT JOIN items ON read_cells.item = items.value LEFT JOIN fates ON items.k = fates.k
    LEFT JOIN resps ON read_cells.raw_resp = resps.value LEFT JOIN resp_numbers ON resps.k = resp_numbers.k
    LEFT JOIN scores ON items.k = scores.k AND resps.k = scores.r
    LEFT JOIN treats ON read_cells.raw_treat = treats.value LEFT JOIN treat_numbers ON treats.k = treat_numbers.k
    LEFT JOIN waves ON read_cells.wave = waves.value LEFT JOIN kept_waves ON waves.k = kept_waves.w
) AS found"""
"""What the first scan decided about each combination of item, response, arm and wave.

``stage`` is the number of rules that a response passes, one after the other: it names an item, is of the wave, is there, has
an arm, its item varies, and is kept.
"""

MARKED = """
SELECT responses.*, marks.k AS k, marks.word AS word, marks.bit AS bit, marks.resp AS resp, marks.treat AS treat,
       marks.points AS points, marks.stage AS stage
FROM responses LEFT JOIN marks
ON responses.own_item IS NOT DISTINCT FROM marks.own_item AND responses.own_resp IS NOT DISTINCT FROM marks.own_resp
AND responses.own_treat IS NOT DISTINCT FROM marks.own_treat AND responses.own_wave IS NOT DISTINCT FROM marks.own_wave
WHERE responses.id IS NOT NULL"""
"""Every response with its mark."""


def without_sql(codes: Mapping[int, Sequence[float]]) -> str:
    """The marked responses with the k-th candidate covariate as ``x<k>``, its codes for missing set to NULL."""
    columns = "".join(
        f", {f'CASE WHEN covariate{k} IN ({_numbers(c)}) THEN NULL ELSE covariate{k} END' if c else f'covariate{k}'} AS x{k}"
        for k, c in codes.items()
    )
    return f"SELECT marked.*{columns} FROM marked"


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"CAST({value!r} AS DOUBLE)" for value in values)


IN_QUESTION = "stage >= 2"
"""Condition for the responses over which a covariate is judged."""


def extremes_sql(k: int, codes: Sequence[float]) -> str:
    """Smallest and largest value of the k-th candidate outside the codes, and how many codes it holds."""
    value = f"covariate{k}"
    coded = f"CASE WHEN {value} IN ({_numbers(codes)}) THEN 1 ELSE 0 END"
    if all(code % 1 == 0 for code in codes):
        # engines look a value up among the codes only if it is whole, as few values of a continuous covariate are
        coded = f"CASE WHEN {value} % 1 = 0 THEN {coded} ELSE 0 END"
    other = "CASE WHEN coded = 0 AND ABS(value) < 1e308 THEN value END"
    looked_up = f"SELECT {value} AS value, {coded} AS coded FROM marked WHERE {IN_QUESTION}"
    return Query(
        f"SELECT MIN({other}) AS low, MAX({other}) AS high, CAST(SUM(coded) AS BIGINT) AS coded FROM ({looked_up}) AS found",
        "SELECT MIN(low) AS low, MAX(high) AS high, CAST(SUM(coded) AS BIGINT) AS coded FROM parts",
    )


def coded_sql(k: int, codes: Sequence[float]) -> str:
    """Number of persons with each of the codes."""
    those = f"FROM marked WHERE {IN_QUESTION} AND covariate{k} IN ({_numbers(codes)})"
    return Query(
        f"SELECT covariate{k} AS code, COUNT(DISTINCT id) AS persons {those} GROUP BY covariate{k}",
        "SELECT code, COUNT(DISTINCT id) AS persons FROM parts GROUP BY code",
        part=f"SELECT DISTINCT covariate{k} AS code, id {those}",
    )


def candidate_sql(k: int) -> str:
    """Counts and range of the k-th candidate covariate's values."""
    x = f"x{k}"
    counts = {
        "present": f"COUNT({x})",
        "text": f"SUM(bad_covariate{k})",
        "infinite": f"SUM(CASE WHEN ABS({x}) > 1.7976931348623157e308 THEN 1 ELSE 0 END)",
    }
    plain = f"CASE WHEN ABS({x}) < 1e300 THEN {x} END"
    summary = ", ".join(f"CAST({count} AS BIGINT) AS {name}" for name, count in counts.items())
    summary += f", MIN({x}) AS low, MAX({x}) AS high"
    those = f"FROM seen WHERE {IN_QUESTION}"
    sums = ", ".join(f"CAST(SUM({name}) AS BIGINT) AS {name}" for name in counts)
    return Query(
        f"SELECT {summary}, AVG({plain}) AS centre {those}",
        f"SELECT {sums}, MIN(low) AS low, MAX(high) AS high, SUM(total) / SUM(plain) AS centre FROM parts",
        part=f"SELECT {summary}, SUM({plain}) AS total, COUNT({plain}) AS plain {those}",
    )


def correlation_sql(k: int, centre: float) -> str:
    """Correlation of the k-th candidate with the responses of the control arm; centring at ``centre`` keeps the sums small."""
    both = f"treat = 0 AND resp IS NOT NULL AND x{k} IS NOT NULL"
    pairs = f"CASE WHEN {both} THEN resp END", f"CASE WHEN {both} THEN x{k} - CAST({centre!r} AS DOUBLE) END"
    those = f"FROM seen WHERE {IN_QUESTION}"
    y, x = pairs
    ends = ", ".join(f"{side}({v}) AS {side.lower()}_{n}" for n, v in (("y", y), ("x", x)) for side in ("MIN", "MAX"))
    sums = {"y": y, "x": x, "yy": f"{y} * {y}", "xx": f"{x} * {x}", "yx": f"{y} * {x}"}
    in_part = ", ".join(f"SUM({value}) AS {name}" for name, value in sums.items())
    spread = {name: f"GREATEST(SUM(pairs) * SUM({name}{name}) - SUM({name}) * SUM({name}), 0)" for name in "yx"}
    constant = "MIN(min_y) = MAX(max_y) OR MIN(min_x) = MAX(max_x)"
    return Query(
        f"SELECT COUNT({y}) AS pairs, MIN({y}) = MAX({y}) OR MIN({x}) = MAX({x}) AS constant, CORR({y}, {x}) AS r {those}",
        f"SELECT CAST(SUM(pairs) AS BIGINT) AS pairs, {constant} AS constant, "
        f"CASE WHEN {constant} THEN NULL ELSE (SUM(pairs) * SUM(yx) - SUM(y) * SUM(x)) / SQRT({spread['y']} * {spread['x']}) END AS r FROM parts",
        part=f"SELECT CAST(COUNT({y}) AS DOUBLE) AS pairs, {ends}, {in_part} {those}",
    )


def persons_sql(n_words: int, covariate: int | None, stages: Sequence[int]) -> str:
    """The last scan: one row per person, with the number of rows left after each rule and, for those kept, score and answers.

    ``stages`` are those that occur.
    """
    columns = {}
    for step in range(KEPT + 1):
        # rules that remove nothing leave the same number, which engines count once
        reached = min((stage for stage in stages if stage >= step), default=step)
        counted = "1" if reached <= min(stages, default=0) else f"CASE WHEN stage >= {reached} THEN 1 END"
        columns[f"left{step}"] = "COUNT", counted
    kept = f"stage = {KEPT}"
    within = {
        "treat": "CASE WHEN stage >= 2 THEN treat END",
        "covariate": "CAST(NULL AS DOUBLE)" if covariate is None else f"CASE WHEN {kept} THEN x{covariate} END",
        "cluster": "CASE WHEN stage >= 4 THEN cluster END",
    }
    for name, expression in within.items():
        columns |= {name: ("MIN", expression), f"other_{name}": ("MAX", expression)}
    columns["score"] = "SUM", f"CASE WHEN {kept} THEN CAST(points AS BIGINT) ELSE 0 END"
    for word in range(n_words):
        columns[f"word{word}"] = "BIT_OR", f"CASE WHEN {kept} AND word = {word} THEN bit ELSE CAST(0 AS BIGINT) END"

    def gathered(own: bool) -> str:
        sums = {
            name: f"{how}({expression})" if own else f"{'SUM' if how == 'COUNT' else how}({name})"
            for name, (how, expression) in columns.items()
        }
        return ", ".join(
            f"{f'CAST({value} AS BIGINT)' if value.startswith('SUM') else value} AS {name}"
            for name, value in sums.items()
        )

    return Query(
        f"SELECT id, {gathered(True)} FROM seen GROUP BY id", f"SELECT id, {gathered(False)} FROM parts GROUP BY id"
    )


def persons_who(condition: str) -> tuple[Query, Query]:
    """The number of persons who meet a condition, and the first four of them."""
    those = f"FROM persons WHERE {condition}"
    return (
        Query(f"SELECT COUNT(*) AS n {those}", "SELECT CAST(SUM(n) AS BIGINT) AS n FROM parts"),
        smallest(f"SELECT id {those}", "id", "id"),
    )


def classes_sql(n_words: int, clustered: bool) -> str:
    """Groups of persons with the same arm, cluster (if wanted), covariate, score and answered items, with their number."""
    own = ["treat", *(["cluster"] if clustered else []), "covariate", "score"]
    key = ", ".join([*own, *(f"word{word}" for word in range(n_words))])
    return Query(
        f"SELECT {key}, COUNT(*) AS n FROM persons WHERE left6 > 0 GROUP BY {key}",
        f"SELECT {key}, CAST(SUM(n) AS BIGINT) AS n FROM parts GROUP BY {key}",
    )


COVARIATE_SCORES = Query(
    """
SELECT seen.k AS k, persons.treat AS treat, points, COUNT(*) AS n
FROM seen JOIN persons ON seen.id = persons.id
WHERE stage = 6 AND persons.covariate IS NOT NULL
GROUP BY seen.k, persons.treat, points""",
    "SELECT k, treat, points, CAST(SUM(n) AS BIGINT) AS n FROM parts GROUP BY k, treat, points",
)
"""How often each score of each item occurs among persons who have the covariate."""


class Relations(Protocol):
    """An engine that runs SQL and holds relations. A view is computed at each use, a kept relation once."""

    def names(self, where: Place) -> list[str]:
        """The columns of a folder or address, partition columns last."""

    def kinds(self, where: Place, n_columns: int) -> list[str]:
        """Content of each column of a table: "text", "bytes", "number" (floating point) or "other"."""

    def open(self, where: Place, n_columns: int, select: Mapping[str, str], separator: str = ",") -> None:
        """Make ``responses`` a view of the table whose columns are these expressions of the table's own, c0, c1, ..."""

    def matches(self, text: str, pattern: str) -> str:
        """SQL for whether a whole text matches an RE2 pattern."""

    def composed(self, text: str) -> str:
        """SQL for a text in Unicode normal form C."""

    def view(self, name: str, sql: str) -> None: ...

    def keep(self, name: str, sql: str) -> None: ...

    def table(self, name: str, columns: Mapping[str, Sequence]) -> None:
        """Make a small relation from Python values."""

    def fetch(self, sql: str) -> dict[str, np.ndarray]:
        """A small result by column: int64, float64 with NaN, or objects with None."""


_CSV = """header = true, auto_detect = false, quote = '"', escape = '"', comment = ''"""
"""One fixed dialect instead of a guess: a file in another is refused."""
_NO_HTTPFS = re.compile(r"""extension ["']?httpfs""")
_HTTPFS = ("s3", "s3a", "s3n", "gs", "gcs", "r2", "http", "https", "hf")
"""Schemes that DuckDB's extension httpfs reads."""
_KINDS = {"VARCHAR": "text", "BLOB": "bytes", "DOUBLE": "number", "FLOAT": "number"}


def _fault(message: str) -> str:
    """DuckDB's error as one sentence with a remedy."""
    line = re.search(r"CSV Error on Line: (\d+)", message)
    counts = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", message)
    if line and counts:
        return wrong_count("The table", int(counts[2]), int(line[1]), int(counts[1]))
    if line and "not utf-8 encoded" in message:
        return f"The table is not UTF-8 text (line {line[1]}): save it as CSV in UTF-8."
    if "sniffing" in message:
        return (
            "The table is not a regular table of fields separated by commas: check for a row with too many or too few fields "
            "and for a quotation mark that is never closed."
        )
    return f"DuckDB could not read the table ({message.splitlines()[0]}): check the file."


def unread_address(address: str, failure: BaseException) -> str:
    """An engine's or a file system's failure to read an address, as one sentence with a remedy."""
    lines = [line for line in str(failure).split("\n\nLINE 1:")[0].splitlines() if line.strip()] or [""]
    # DuckDB quotes the whole traceback of a file system in Python
    reason = re.sub(r"^\w+: ?", "", lines[-1]) if lines[0].startswith("Traceback") else lines[0]
    if isinstance(failure, FileNotFoundError) or not reason.strip():
        reason = "nothing is there"
    return (
        f"{quoted(address, 200)} cannot be read ({reason.strip()}): check the address, that you may read it, and that the files there "
        "end in .parquet."
    )


class DuckDB:
    """DuckDB in this process with a memory limit; what does not fit goes to a temporary folder.

    Parameters
    ----------
    memory : the limit, in DuckDB's notation.
    threads : number of threads; None for all processors.

    Raises
    ------
    EngineError : DuckDB is not installed.
    """

    def __init__(self, memory: str = "2GB", threads: int | None = None):
        try:
            import duckdb
        except ModuleNotFoundError:
            raise EngineError(
                "Large files are read with DuckDB, which is not installed: pip install 'ilhte[large]'."
            ) from None
        self._folder = tempfile.TemporaryDirectory(prefix="ilhte-")
        config: dict[str, Any] = {
            "memory_limit": memory,
            "temp_directory": self._folder.name,
            "preserve_insertion_order": "false",
        }
        if threads:
            config["threads"] = str(threads)
        self._connection, self._error = duckdb.connect(config=config), duckdb.Error
        self._checked = False  # whether the columns of the files are known to differ from those of their folders
        # standard output is for results; a kernel that cannot draw a progress bar may also reject turning it off
        with suppress(self._error):
            self._connection.execute("SET enable_progress_bar = false")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._connection.close()
        self._folder.cleanup()

    def _run(self, sql: str) -> Any:
        try:
            return self._connection.execute(sql)
        except self._error as failure:
            raise InputError(_fault(str(failure))) from None

    def _parquet(self, where: Place) -> str:
        """The SQL table function that reads Parquet from a file, a folder with its subfolders, or an address."""
        address = where.address
        if where.is_remote:
            self._reach(address)
            if set("*?[") & set(address):
                return f"read_parquet({_text(address)}, hive_partitioning = true)"
            # an address may be a folder, if its file system can list files, which http:// cannot
            inside = self._inside(address.rstrip("/"))
            return (
                self._parquet_of(where, inside)
                if inside
                else f"read_parquet({_text(address)}, hive_partitioning = false)"
            )
        if not where.is_folder:
            return f"read_parquet({_text(address)}, hive_partitioning = false)"
        files = parquet_files(Path(address))
        if not files:
            raise InputError(f"The folder {quoted(address)} holds no Parquet files: name a folder that does.")
        return self._parquet_of(where, [str(file) for file in files])

    def _parquet_of(self, where: Place, files: Sequence[str]) -> str:
        """The SQL table function that reads several files, whose columns have types for all of them rather than those of the first.

        Raises
        ------
        InputError : the name of a file is a pattern to DuckDB, or a column is in the files and in the names of their folders.
        """
        for file in files:
            if set("*?[") & set(file):
                raise InputError(
                    f"DuckDB reads *, ? and [ in the path {quoted(file)} as a pattern: rename the file or folder."
                )
        listed = ", ".join(map(_text, files))
        if not self._checked:
            plain = f"read_parquet([{listed}], hive_partitioning = false, union_by_name = true)"
            with suppress(self._error):  # a file that is no Parquet is told of when it is read
                columns = [row[0] for row in self._connection.execute(f"DESCRIBE SELECT * FROM {plain}").fetchall()]
                twice = doubled(columns, [file.removeprefix(where.address) for file in files])
                if twice is not None:
                    raise InputError(in_file_and_folder(quoted(where.name), twice))
            self._checked = True
        return f"read_parquet([{listed}], hive_partitioning = true, union_by_name = true)"

    def _inside(self, folder: str) -> list[str]:
        """The Parquet files below an address; names starting with _ or . are not part of the table, as in ``parquet_files``."""
        pattern = "'" + f"{folder}/**/*.parquet".replace("'", "''") + "'"
        try:
            found = [row[0] for row in self._connection.execute(f"SELECT file FROM glob({pattern})").fetchall()]
        except self._error:
            return []
        # what stands before the folder may be spelled in another way by its file system
        depth = len(folder.split("://", 1)[1].split("/"))
        return sorted(
            file
            for file in found
            if not any(part[:1] in ("_", ".") for part in file.split("://", 1)[-1].split("/")[depth:])
        )

    def _reach(self, address: str) -> None:
        """Make an address readable: by httpfs if it is installed, otherwise by fsspec's file system for its scheme."""
        scheme = address.split("://")[0].lower()
        if scheme in _HTTPFS:
            with suppress(self._error):
                self._connection.execute("LOAD httpfs")
                return
        if scheme in ("http", "https"):
            return  # DuckDB asks of a file when it was modified, which fsspec's does not know
        try:
            import fsspec

            self._connection.register_filesystem(fsspec.core.url_to_fs(address)[0])
        except (ImportError, ValueError):
            if scheme not in _HTTPFS:
                raise EngineError(
                    f"DuckDB needs an fsspec package to read {scheme}:// (s3fs for s3://, pyarrow for hdfs://): install it, or count "
                    "with --engine-data spark."
                ) from None
        except OSError as failure:
            raise InputError(unread_address(address, failure)) from None
        except self._error:
            pass  # already registered

    def _file(self, where: Place, n_columns: int, separator: str = ",") -> str:
        if not where.is_remote and set("*?[") & set(where.address):
            raise InputError(
                f"DuckDB reads *, ? and [ in the path {quoted(where.address)} as a pattern: rename the file or folder."
            )
        if not where.is_text:
            return f"{self._parquet(where)} AS file({', '.join(f'c{k}' for k in range(n_columns))})"
        columns = ", ".join(f"'c{k}': 'VARCHAR'" for k in range(n_columns))
        return f"read_csv({_text(where.address)}, {_CSV}, delim = '{separator}', columns = {{{columns}}})"

    def names(self, where: Place) -> list[str]:
        sql = f"DESCRIBE SELECT * FROM {self._parquet(where)}"
        if not where.is_remote:
            return [row[0] for row in self._run(sql).fetchall()]
        try:
            return [row[0] for row in self._connection.execute(sql).fetchall()]
        except self._error as failure:
            if _NO_HTTPFS.search(str(failure)):
                raise EngineError(
                    f"DuckDB reads {where.address.split('://')[0]}:// with its extension httpfs, which is not here: count with "
                    "--engine-data dask, or for s3:// install s3fs."
                ) from None
            raise InputError(unread_address(where.address, failure)) from None

    def kinds(self, where: Place, n_columns: int) -> list[str]:
        return ["text"] * n_columns if where.is_text else self.kinds_of(f"SELECT * FROM {self._file(where, n_columns)}")

    def kinds_of(self, sql: str) -> list[str]:
        """``kinds`` of the columns of a query."""
        return [_KINDS.get(row[1], "other") for row in self._run(f"DESCRIBE {sql}").fetchall()]

    def open(self, where: Place, n_columns: int, select: Mapping[str, str], separator: str = ",") -> None:
        self.view("responses", f"SELECT {named(select)} FROM {self._file(where, n_columns, separator)}")

    def register(self, name: str, given: Any) -> None:
        """Name an Arrow or pandas table as a relation, without copying it."""
        self._connection.register(name, given)

    def arrow(self, sql: str) -> Any:
        """The result of a SELECT as an Arrow table."""
        try:
            return self._connection.sql(sql).to_arrow_table()
        except self._error as failure:
            raise InputError(_fault(str(failure))) from None

    def matches(self, text: str, pattern: str) -> str:
        return f"regexp_full_match({text}, '{pattern}')"

    def composed(self, text: str) -> str:
        return f"nfc_normalize({text})"

    def view(self, name: str, sql: str) -> None:
        self._run(f"CREATE OR REPLACE TEMP VIEW {name} AS {sql}")

    def keep(self, name: str, sql: str) -> None:
        self._run(f"CREATE OR REPLACE TEMP TABLE {name} AS {sql}")

    def table(self, name: str, columns: Mapping[str, Sequence]) -> None:
        import pandas as pd

        self._connection.register("given", pd.DataFrame(dict(columns)))
        self.keep(name, "SELECT * FROM given")
        self._connection.unregister("given")

    def fetch(self, sql: str) -> dict[str, np.ndarray]:
        return {name: _plain(values) for name, values in self._run(sql).fetchnumpy().items()}


class Spark:
    """Apache Spark; kept relations are cached there.

    Parameters
    ----------
    session : a ``pyspark.sql.SparkSession``.
    """

    def __init__(self, session: Any):
        self._session = session

    @classmethod
    def at(cls, master: str | None = None) -> Self:
        """The session of this process, or a new one.

        Parameters
        ----------
        master : spark://host:7077, yarn, local-cluster[2,1,1024] or the like; None for Spark's own configuration
            (spark-defaults.conf, spark-submit), otherwise this machine.

        Raises
        ------
        EngineError : PySpark or Java is not installed, or the master does not answer.
        """
        try:
            from pyspark.errors import PySparkException
            from pyspark.sql import SparkSession
        except ImportError:
            raise EngineError(
                "Counting on Spark needs one more package, and Java: pip install 'ilhte[spark]'."
            ) from None
        # standard output is for results
        builder = SparkSession.builder.appName("ilhte").config("spark.ui.showConsoleProgress", "false")
        try:
            session = (builder.master(master) if master else builder).getOrCreate()
        except (PySparkException, RuntimeError, OSError) as failure:
            raise EngineError(
                f"Spark did not start ({str(failure).splitlines()[0]}): check that Java is installed and that --scheduler is right."
            ) from None
        session.sparkContext.setLogLevel("OFF")
        return cls(session)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._session.stop()

    def _file(self, where: Place, n_columns: int | None, separator: str = ",") -> Any:
        # a path without a scheme would refer to the cluster's file system
        address = where.address if where.is_remote else f"file:{where.local}"
        if where.is_folder and not parquet_files(Path(where.local)):
            raise InputError(f"The folder {quoted(where.address)} holds no Parquet files: name a folder that does.")
        read = self._session.read
        try:
            if where.is_text:
                file = read.csv(address, header=True, sep=separator)
            elif where.is_folder:
                # by itself Spark leaves out subfolders that are no partitions, linked ones too, without a word
                files = parquet_files(Path(where.local))
                file = read.option("basePath", address).parquet(*(f"file:{path}" for path in files))
            else:
                file = read.parquet(address)
        except Exception as failure:
            # from pyspark or py4j
            raise InputError(unread_address(where.address, failure)) from None
        return file if n_columns is None else file.toDF(*(f"c{k}" for k in range(n_columns)))

    def names(self, where: Place) -> list[str]:
        file = self._file(where, None)
        # Spark takes the folders' values of a column that is in the files too
        inside = [path.split(f"/{where.name}/", 1)[1] for path in file.inputFiles() if f"/{where.name}/" in path]
        if any("=" in path for path in inside):
            address = where.address if where.is_remote else f"file:{where.local}"
            plain = self._session.read.option("recursiveFileLookup", "true").parquet(address)
            twice = doubled(plain.columns, inside)
            if twice is not None:
                raise InputError(in_file_and_folder(quoted(where.name), twice))
        return list(file.columns)

    def kinds(self, where: Place, n_columns: int) -> list[str]:
        kinds = {"string": "text", "binary": "bytes", "double": "number", "float": "number"}
        return [kinds.get(kind, "other") for _, kind in self._file(where, n_columns).dtypes]

    def open(self, where: Place, n_columns: int, select: Mapping[str, str], separator: str = ",") -> None:
        self._file(where, n_columns, separator).createOrReplaceTempView("file")
        self.view("responses", f"SELECT {named(select)} FROM file")

    def matches(self, text: str, pattern: str) -> str:
        return f"{text} RLIKE '^({pattern})$'"

    def composed(self, text: str) -> str:
        return text  # Spark has no such function, so two forms of one letter are two names

    def view(self, name: str, sql: str) -> None:
        self._session.sql(sql).createOrReplaceTempView(name)

    def keep(self, name: str, sql: str) -> None:
        self._session.sql(sql).cache().createOrReplaceTempView(name)

    def table(self, name: str, columns: Mapping[str, Sequence]) -> None:
        self._session.createDataFrame(list(zip(*columns.values(), strict=True)), list(columns)).createOrReplaceTempView(
            name
        )

    def fetch(self, sql: str) -> dict[str, np.ndarray]:
        result = self._session.sql(sql)
        try:
            rows = result.collect()
        except Exception as failure:
            # from pyspark or py4j; Spark takes the types of the first part and does not cast the others to them
            other = re.search(
                r"reading file (\S+?)\. Data type mismatches when reading Parquet column \[(\w+)\]", str(failure)
            )
            if other is None:
                raise
            raise InputError(
                f"Column {other[2]} has another type in {quoted(other[1], 200)} than in other parts, which Spark does not read: write all "
                "parts with the same types, or count with --engine-data dask."
            ) from None
        return {name: _plain(np.array([row[k] for row in rows], dtype=object)) for k, name in enumerate(result.columns)}


def named(select: Mapping[str, str]) -> str:
    """The column list of a SELECT, each expression with its name."""
    return ", ".join(f"{expression} AS {name}" for name, expression in select.items())


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _plain(values: np.ndarray) -> np.ndarray:
    if np.ma.isMaskedArray(values):
        missing, values = np.ma.getmaskarray(values), np.ma.getdata(values)
    else:
        missing = (
            np.array([value is None for value in values], bool)
            if values.dtype == object
            else np.zeros(len(values), bool)
        )
    if values.dtype != object:
        if not missing.any() and values.dtype.kind in "iub":
            return values.astype(np.int64)
        if values.dtype.kind in "iubf":
            return np.where(missing, np.nan, values.astype(float))
    present = [value for value, gone in zip(values.tolist(), missing, strict=True) if not gone]
    if all(isinstance(value, int) for value in present) and len(present) == len(values) and present:
        return values.astype(np.int64)
    if present and all(isinstance(value, (int, float)) for value in present):
        return np.array(
            [np.nan if gone else value for value, gone in zip(values.tolist(), missing, strict=True)], float
        )
    return np.array(
        [None if gone else value for value, gone in zip(values.tolist(), missing, strict=True)], dtype=object
    )
