"""The table in a file, as it stands there: CSV, TSV, Parquet, Stata, SPSS, Excel and R, told apart by the file's ending.

A file that cannot be read, or whose values would land under another column's name, is an error of one sentence.
"""

from __future__ import annotations

import csv
import gzip
import re
import warnings
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..messages import listed, quoted

if TYPE_CHECKING:
    import pandas as pd

ValueLabels = dict[str, dict]
"""Column -> {code: label}, as Stata and SPSS files carry them."""

WRONG_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}


def read_file(path: Path, text_columns: Iterable[str] = ()) -> tuple[pd.DataFrame, ValueLabels]:
    """All rows and columns of a file, and the value labels of its columns if the format has such.

    Parameters
    ----------
    path : the file.
    text_columns : columns not to be read as numbers: text in CSV and TSV files, as the cells hold them in Excel sheets.

    Raises
    ------
    InputError
        If there is no such file, its format is unknown or needs a package that is missing, it is empty or damaged,
        two columns have one name, or there are no rows.
    """
    where = quoted(path.name)
    if path.is_dir():
        raise InputError(f"{where} is a folder: name the file that holds the responses.")
    if not path.is_file():
        raise InputError(f"There is no file {quoted(str(path), 200)}: check the name and the folder.")
    ending = format_of(path.name)
    if not ending:
        raise InputError(f"{where} is of no known format: save the table as one of {', '.join(FORMATS)}.")
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{where} is empty: check that it was written or downloaded completely.")
        table, labels = READERS[ending](path, tuple(text_columns))
    except (InputError, MemoryError):
        raise
    except PermissionError as error:
        raise InputError(f"{where} may not be read: change its permissions or copy it elsewhere.") from error
    except ImportError as error:
        raise InputError(f'Reading {ending} files needs one more package: pip install "ilhte[formats]".') from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{where} is a damaged or cut-off gzip file: copy or download it again.") from error
    except Exception as error:  # readers of binary formats raise whatever their bytes led them to
        raise InputError(
            f"{where} cannot be read as {ending} (it is damaged, cut off or of another format): "
            "copy or download it again, or save it as CSV."
        ) from error
    table = table.reset_index(drop=True).set_axis([str(name) for name in table.columns], axis=1)
    refuse_duplicates(table.columns, where)
    if table.empty:
        raise InputError(f"{where} has a header but no rows: check that it was written completely.")
    return table, labels


def format_of(name: str) -> str:
    """The ending of a file's name that tells its format, such as ``.csv.gz``, or an empty string."""
    return next((ending for ending in sorted(FORMATS, key=len, reverse=True) if name.lower().endswith(ending)), "")


def refuse_duplicates(columns: Iterable[str], where: str) -> None:
    """Raise InputError if two columns have one name."""
    seen: set[str] = set()
    twice = dict.fromkeys(name for name in columns if name in seen or seen.add(name))
    if twice:
        raise InputError(f"{where} has more than one column named {listed(twice, 3)}: rename or remove the others.")


def _read_csv(path: Path, text_columns: tuple[str, ...]) -> tuple[pd.DataFrame, ValueLabels]:
    return _read_text(path, ",", text_columns), {}


def _read_tsv(path: Path, text_columns: tuple[str, ...]) -> tuple[pd.DataFrame, ValueLabels]:
    return _read_text(path, "\t", text_columns), {}


def _read_text(path: Path, delimiter: str, text_columns: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    where = quoted(path.name)
    options = {"sep": delimiter, "encoding": "utf-8-sig", "low_memory": False}
    try:
        first = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False, **options)
        header = [str(name) for name in first.iloc[0]]
        refuse_duplicates([name for name in header if name], where)
        if len(header) == 1:
            _suspect_delimiter(header[0], where)
        # index_col=False: else a surplus field moves every value under the name of the column to its left
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                path,
                index_col=False,
                dtype={name: str for name in text_columns if name in header},
                **options,
            )
    except pd.errors.EmptyDataError as error:
        raise InputError(f"{where} is empty: check that it was written or downloaded completely.") from error
    except pd.errors.ParserWarning as error:
        raise InputError(f"{where} has rows with more fields than its header has names: name every column.") from error
    except pd.errors.ParserError as error:
        raise InputError(f"{where} {_parser_fault(str(error))}.") from error
    except UnicodeError as error:
        raise InputError(
            f"{where} is not UTF-8 text{_first_undecodable_line(path)}: save it again with the encoding UTF-8 "
            '(in Excel: "CSV UTF-8").'
        ) from error


def _suspect_delimiter(only_column: str, where: str) -> None:
    for delimiter, plural in WRONG_DELIMITERS.items():
        if delimiter in only_column:
            raise InputError(
                f"{where} was read as one column, {quoted(only_column)}: its fields seem to be separated by {plural}; "
                "save it with commas as .csv or with tabs as .tsv."
            )


def _parser_fault(message: str) -> str:
    counts = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", message)
    if counts:
        expected, line, found = counts.groups()
        return f"has {found} fields in line {line} but {expected} in its header: quote text that holds the separator"
    if "EOF inside string" in message:
        return "has a quotation mark that is opened and never closed: close it, or check that the file is complete"
    return "is no regular table of separated fields: save it again as CSV"


def _first_undecodable_line(path: Path) -> str:
    with (gzip.open if path.name.lower().endswith(".gz") else open)(path, "rb") as stream:
        for number, line in enumerate(stream, start=1):
            if line.startswith((b"\xff\xfe", b"\xfe\xff")):
                return " but UTF-16"
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return f" (first in line {number})"
    return ""


def _read_parquet(path: Path, _: tuple[str, ...]) -> tuple[pd.DataFrame, ValueLabels]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        refuse_duplicates(file.schema_arrow.names, quoted(path.name))
        # the file's own note about pandas types would bring back indices and extension types
        return file.read().to_pandas(ignore_metadata=True), {}


def _read_stata(path: Path, _: tuple[str, ...]) -> tuple[pd.DataFrame, ValueLabels]:
    import pyreadstat

    table, meta = pyreadstat.read_dta(str(path))
    return table, meta.variable_value_labels


def _read_spss(path: Path, _: tuple[str, ...]) -> tuple[pd.DataFrame, ValueLabels]:
    import pyreadstat

    table, meta = pyreadstat.read_sav(str(path))
    return table, meta.variable_value_labels


def _read_excel(path: Path, text_columns: tuple[str, ...]) -> tuple[pd.DataFrame, ValueLabels]:
    import pandas as pd

    where = quoted(path.name)
    with pd.ExcelFile(path, engine="openpyxl") as book:
        header = pd.read_excel(book, header=None, nrows=1, dtype=str)
        if header.empty:
            raise InputError(f"The first sheet of {where} is empty: put the table on the first sheet.")
        refuse_duplicates(header.iloc[0].dropna(), where)
        # as the cells hold them: else the text "007" becomes the number 7
        return pd.read_excel(book, dtype=dict.fromkeys(text_columns, object)).infer_objects(), {}


def _read_rds(path: Path, _: tuple[str, ...]) -> tuple[pd.DataFrame, ValueLabels]:
    import pandas as pd
    import pyreadr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of objects it skips; the error below says what to do
        table = pyreadr.read_r(str(path)).get(None)
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"{quoted(path.name)} holds no data frame: save one with saveRDS(as.data.frame(x), file).")
    return table, {}


READERS: dict[str, Callable[[Path, tuple[str, ...]], tuple[pd.DataFrame, ValueLabels]]] = {
    ".csv": _read_csv,
    ".csv.gz": _read_csv,
    ".tsv": _read_tsv,
    ".tsv.gz": _read_tsv,
    ".parquet": _read_parquet,
    ".dta": _read_stata,
    ".sav": _read_spss,
    ".xlsx": _read_excel,
    ".rds": _read_rds,
}
FORMATS = tuple(READERS)


def csv_header(path: Path) -> list[str]:
    """The names in the first line of a CSV file.

    Raises
    ------
    InputError : the file is empty or not UTF-8.
    """
    where = quoted(path.name)
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            header = next(csv.reader(stream), [])
    except UnicodeError as error:
        raise InputError(f"{where} is not UTF-8 text: save it again with the encoding UTF-8.") from error
    if not header:
        raise InputError(f"{where} is empty: check that it was written or downloaded completely.")
    return header
