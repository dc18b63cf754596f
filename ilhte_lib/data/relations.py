"""The relational step: a long table of any size reduced to counts, in SQL that DuckDB and Spark run alike.

Whatever enters the sufficient statistics is a count, a sum of integers, a minimum, a maximum or a bit-wise or, so that
it does not depend on the engine, its threads or the order of the rows.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from ..errors import EngineError, InputError
from ..messages import quoted, wrong_count

WORD = 60
"""So many items' answers are kept in the bits of one integer."""
# what pandas reads as missing in text files
MISSING_WORDS = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL",
    "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip

CELLS = """
SELECT item, raw_resp, raw_treat, wave, COUNT(*) AS n, COUNT(id) AS named
FROM responses GROUP BY item, raw_resp, raw_treat, wave"""
"""The first scan: how often item, response, arm and wave come together, which decides what is kept."""


def numbered_sql(column: str) -> str:
    """The different values of a column of the cells, numbered in their order."""
    return (
        f"SELECT {column} AS value, ROW_NUMBER() OVER (ORDER BY {column}) AS k "
        f"FROM (SELECT DISTINCT {column} FROM cells WHERE {column} IS NOT NULL) AS found"
    )


NUMBERED_CELLS = """
SELECT items.k AS k, waves.k AS w, resps.k AS r, treats.k AS t, n, named
FROM cells LEFT JOIN items ON cells.item = items.value LEFT JOIN waves ON cells.wave = waves.value
LEFT JOIN resps ON cells.raw_resp = resps.value LEFT JOIN treats ON cells.raw_treat = treats.value"""

MARKED = """
SELECT responses.*, items.k AS k, fates.word AS word, fates.bit AS bit,
       resps.k AS r, treats.k AS t, resp_numbers.number AS resp, treat_numbers.number AS treat,
       CASE WHEN fates.kind <> 'constant' THEN 1 ELSE 0 END AS varies,
       scores.score AS points, CASE WHEN fates.kind = 'kept' THEN 1 ELSE 0 END AS is_kept,
       CASE WHEN kept_waves.w IS NOT NULL OR {every_wave} = 1 THEN 1 ELSE 0 END AS in_wave
FROM responses
LEFT JOIN items ON responses.item = items.value LEFT JOIN fates ON items.k = fates.k
LEFT JOIN resps ON responses.raw_resp = resps.value LEFT JOIN resp_numbers ON resps.k = resp_numbers.k
LEFT JOIN scores ON items.k = scores.k AND resps.k = scores.r
LEFT JOIN treats ON responses.raw_treat = treats.value LEFT JOIN treat_numbers ON treats.k = treat_numbers.k
LEFT JOIN waves ON responses.wave = waves.value LEFT JOIN kept_waves ON waves.k = kept_waves.w
WHERE responses.id IS NOT NULL"""
"""Every response with what the first scan decided about its item, response, arm and wave."""


def without_sql(codes: Mapping[int, Sequence[float]]) -> str:
    """The marked responses with the k-th candidate for the covariate as ``x<k>``, without its codes for missing."""
    columns = "".join(
        f", {f'CASE WHEN covariate{k} IN ({_numbers(c)}) THEN NULL ELSE covariate{k} END' if c else f'covariate{k}'} AS x{k}"
        for k, c in codes.items()
    )
    return f"SELECT marked.*{columns} FROM marked"


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"CAST({value!r} AS DOUBLE)" for value in values)


IN_QUESTION = "item IS NOT NULL AND in_wave = 1"
"""The responses over which a covariate is judged."""


def extremes_sql(k: int, codes: Sequence[float]) -> str:
    """Smallest and largest value of the k-th candidate outside the codes, and whether it holds any of them."""
    other = f"CASE WHEN covariate{k} NOT IN ({_numbers(codes)}) AND ABS(covariate{k}) < 1e308 THEN covariate{k} END"
    coded = f"CASE WHEN covariate{k} IN ({_numbers(codes)}) THEN 1 ELSE 0 END"
    return f"SELECT MIN({other}) AS low, MAX({other}) AS high, SUM({coded}) AS coded FROM marked WHERE {IN_QUESTION}"


def coded_sql(k: int, codes: Sequence[float]) -> str:
    """How many persons have each of the codes."""
    return (
        f"SELECT covariate{k} AS code, COUNT(DISTINCT id) AS persons FROM marked "
        f"WHERE {IN_QUESTION} AND covariate{k} IN ({_numbers(codes)}) GROUP BY covariate{k}"
    )


def candidate_sql(k: int) -> str:
    """What the k-th candidate for the covariate holds."""
    x = f"x{k}"
    return (
        f"SELECT COUNT({x}) AS present, SUM(bad_covariate{k}) AS text, SUM(CASE WHEN ABS({x}) > 1.7976931348623157e308 THEN 1 ELSE 0 END) "
        f"AS infinite, MIN({x}) AS low, MAX({x}) AS high, AVG(CASE WHEN ABS({x}) < 1e300 THEN {x} END) AS centre "
        f"FROM seen WHERE {IN_QUESTION}"
    )


def correlation_sql(k: int, centre: float) -> str:
    """How the k-th candidate goes with the responses of the control arm; ``centre`` keeps the sums small."""
    both = f"treat = 0 AND resp IS NOT NULL AND x{k} IS NOT NULL"
    pairs = f"CASE WHEN {both} THEN resp END", f"CASE WHEN {both} THEN x{k} - CAST({centre!r} AS DOUBLE) END"
    return (
        f"SELECT COUNT({pairs[0]}) AS pairs, "
        f"MIN({pairs[0]}) = MAX({pairs[0]}) OR MIN({pairs[1]}) = MAX({pairs[1]}) AS constant, CORR({pairs[0]}, {pairs[1]}) AS r "
        f"FROM seen WHERE {IN_QUESTION}"
    )


def persons_sql(n_words: int, covariate: int | None) -> str:
    """The last scan: one row a person, with the number of rows after each rule and, of those kept, score and answers."""
    rules = ("item IS NOT NULL", "in_wave = 1", "resp IS NOT NULL", "treat IS NOT NULL", "varies = 1", "is_kept = 1")
    columns = ["id"]
    for step in range(len(rules) + 1):
        columns.append(f"SUM(CASE WHEN {' AND '.join(('1 = 1', *rules[:step]))} THEN 1 ELSE 0 END) AS left{step}")
    in_arm, kept = " AND ".join((*rules[:2], rules[3])), " AND ".join(rules)
    columns += [
        f"{side}(CASE WHEN {in_arm} THEN treat END) AS {name}"
        for side, name in (("MIN", "treat"), ("MAX", "other_treat"))
    ]
    value = "CAST(NULL AS DOUBLE)" if covariate is None else f"CASE WHEN {kept} THEN x{covariate} END"
    columns += [f"MIN({value}) AS covariate", f"MAX({value}) AS other_covariate"]
    named = f"CASE WHEN {' AND '.join(rules[:4])} THEN cluster END"
    columns += [f"MIN({named}) AS cluster", f"MAX({named}) AS other_cluster"]
    columns.append(f"SUM(CASE WHEN {kept} THEN CAST(points AS BIGINT) ELSE 0 END) AS score")
    for word in range(n_words):
        columns.append(f"BIT_OR(CASE WHEN {kept} AND word = {word} THEN bit ELSE CAST(0 AS BIGINT) END) AS word{word}")
    return f"SELECT {', '.join(columns)} FROM seen GROUP BY id"


def classes_sql(n_words: int) -> str:
    """Persons with the same arm, cluster, covariate, score and answered items, and how many they are."""
    key = ", ".join(["treat", "cluster", "covariate", "score", *(f"word{word}" for word in range(n_words))])
    return f"SELECT {key}, COUNT(*) AS n FROM persons WHERE left6 > 0 GROUP BY {key}"


COVARIATE_SCORES = """
SELECT seen.k AS k, persons.treat AS treat, points, COUNT(*) AS n
FROM seen JOIN persons ON seen.id = persons.id
WHERE in_wave = 1 AND resp IS NOT NULL AND seen.treat IS NOT NULL AND is_kept = 1 AND persons.covariate IS NOT NULL
GROUP BY seen.k, persons.treat, points"""
"""How often each score of each item occurs among the persons who have the covariate."""


class Relations(Protocol):
    """An engine that runs SQL and keeps relations. A view is computed when used, a kept relation once."""

    def kinds(self, path: Path, n_columns: int) -> list[str]:
        """What each of a file's columns holds: "text", "bytes", "number" (with a fraction) or "other"."""

    def open(self, path: Path, n_columns: int, select: Mapping[str, str], separator: str = ",") -> None:
        """Make ``responses`` the view of a file with these columns, each an expression of the file's ones, c0, c1, ..."""

    def matches(self, text: str, pattern: str) -> str:
        """The expression that a text as a whole matches a pattern of RE2."""

    def composed(self, text: str) -> str:
        """The expression of a text in Unicode's normal form C."""

    def view(self, name: str, sql: str) -> None: ...

    def keep(self, name: str, sql: str) -> None: ...

    def table(self, name: str, columns: Mapping[str, Sequence]) -> None:
        """A small relation of Python values."""

    def fetch(self, sql: str) -> dict[str, np.ndarray]:
        """A small result, by columns: int64, float64 with NaN, or objects with None."""


_CSV = """header = true, auto_detect = false, quote = '"', escape = '"', comment = ''"""
"""One dialect, not the likeliest: a file that does not keep to it is refused."""
_KINDS = {"VARCHAR": "text", "BLOB": "bytes", "DOUBLE": "number", "FLOAT": "number"}


def _fault(message: str) -> str:
    """DuckDB's error in a sentence."""
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


class DuckDB:
    """DuckDB in this process, within a bound of memory; what does not fit goes to a temporary folder.

    Parameters
    ----------
    memory : the bound, as DuckDB writes it.
    threads : None for all processors.

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
        # standard output belongs to the results
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

    def _file(self, path: Path, n_columns: int, separator: str = ",") -> str:
        if set("*?[") & set(str(path)):
            raise InputError(
                f"DuckDB reads *, ? and [ in the path {quoted(str(path))} as a pattern: rename the file or folder."
            )
        name = "'" + str(path).replace("'", "''") + "'"
        if is_parquet(path):
            return f"read_parquet({name}) AS file({', '.join(f'c{k}' for k in range(n_columns))})"
        columns = ", ".join(f"'c{k}': 'VARCHAR'" for k in range(n_columns))
        return f"read_csv({name}, {_CSV}, delim = '{separator}', columns = {{{columns}}})"

    def kinds(self, path: Path, n_columns: int) -> list[str]:
        if not is_parquet(path):
            return ["text"] * n_columns
        described = self._run(f"DESCRIBE SELECT * FROM {self._file(path, n_columns)}").fetchall()
        return [_KINDS.get(row[1], "other") for row in described]

    def open(self, path: Path, n_columns: int, select: Mapping[str, str], separator: str = ",") -> None:
        self.view("responses", f"SELECT {_named(select)} FROM {self._file(path, n_columns, separator)}")

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
    """Apache Spark; what is kept is cached there.

    Parameters
    ----------
    session : a ``pyspark.sql.SparkSession``.
    """

    def __init__(self, session: Any):
        self._session = session

    def _file(self, path: Path, n_columns: int, separator: str = ",") -> Any:
        read = self._session.read
        file = read.parquet(str(path)) if is_parquet(path) else read.csv(str(path), header=True, sep=separator)
        return file.toDF(*(f"c{k}" for k in range(n_columns)))

    def kinds(self, path: Path, n_columns: int) -> list[str]:
        kinds = {"string": "text", "binary": "bytes", "double": "number", "float": "number"}
        return [kinds.get(kind, "other") for _, kind in self._file(path, n_columns).dtypes]

    def open(self, path: Path, n_columns: int, select: Mapping[str, str], separator: str = ",") -> None:
        self._file(path, n_columns, separator).createOrReplaceTempView("file")
        self.view("responses", f"SELECT {_named(select)} FROM file")

    def matches(self, text: str, pattern: str) -> str:
        return f"{text} RLIKE '^({pattern})$'"

    def composed(self, text: str) -> str:
        return text  # Spark has no such function: two forms of one letter are two names

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
        rows = result.collect()
        return {name: _plain(np.array([row[k] for row in rows], dtype=object)) for k, name in enumerate(result.columns)}


def is_parquet(path: Path) -> bool:
    return path.name.lower().endswith(".parquet")


def _named(select: Mapping[str, str]) -> str:
    return ", ".join(f"{expression} AS {name}" for name, expression in select.items())


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
