"""The table in a CSV, TSV, Parquet, Stata, SPSS, Excel or R file, as it is there; the ending tells the format.

A file that cannot be read, or whose values would end up under the wrong column, is an error of one sentence.
"""

from __future__ import annotations

import csv
import gzip
import warnings
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..errors import InputError, missing_module
from ..messages import quoted
from .beginnings import other_format
from .blanks import empty_blanks
from .columnar import read_parquet
from .contents import Contents, Sought, refuse_duplicates
from .delimited import read_delimited
from .labelled import read_spss, read_stata
from .place import parquet_files
from .precision import numbers_if_exact
from .r_objects import read_rds
from .workbook import read_workbook


def read_file(path: Path, sought: Sought | None = None) -> Contents:
    """All rows and columns of a file, with value labels if the format has them.

    Blank text is missing in every format. Words such as NA or null mean missing in text files and Excel sheets, which have no
    other marker; in SPSS, Stata, R and Parquet files, which have one, they are ordinary text.

    Parameters
    ----------
    path : the file.
    sought : what is looked for in it.

    Raises
    ------
    InputError
        The file does not exist, has an unknown format or one that needs a missing package, is empty, damaged or too large for
        memory, has two columns of the same name or no rows, or does not have its names where expected.
    """
    sought = sought or Sought()
    where = quoted(path.name)
    is_folder = path.is_dir()
    if is_folder and not parquet_files(path):
        raise InputError(f"{where} is a folder without Parquet files: name the file that holds the responses.")
    if not is_folder and not path.is_file():
        raise InputError(f"There is no file {quoted(str(path), 200)}: check the name and the folder.")
    ending = ".parquet" if is_folder else format_of(path.name)
    if not ending:
        raise InputError(f"{where} is in an unknown format: save the table as one of {', '.join(FORMATS)}.")
    _refuse_options(ending, sought, where)
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{where} is empty: check that it was written or downloaded completely.")
        other = None if is_folder else other_format(path, ending)
        if other:
            raise InputError(f"{where} is {other}.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the readers' warnings are meant for developers
            contents = READERS[ending](path, sought)
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(_too_large(ending, where)) from error
    except PermissionError as error:
        raise InputError(
            f"You have no permission to read {where}: change its permissions or copy it elsewhere."
        ) from error
    except ImportError as error:
        if missing_module(error) not in PACKAGES:
            raise
        raise InputError(f'Reading {ending} files needs one more package: pip install "ilhte[formats]".') from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{where} is a damaged or cut-off gzip file: copy or download it again.") from error
    except Exception as error:  # readers of binary formats can raise anything on bad bytes
        raise InputError(
            f"{where} cannot be read as {ending} (it is damaged, cut off or of another format): "
            "copy or download it again, or save it as CSV."
        ) from error
    table = contents.table
    table = table.reset_index(drop=True).set_axis([str(name) for name in table.columns], axis=1)
    refuse_duplicates(table.columns, where)
    if table.empty:
        raise InputError(f"{where} has a header but no rows: check that it was written completely.")
    for name in empty_blanks(table):
        if ending in TEXT and name not in sought.names:
            table[name] = numbers_if_exact(table[name])  # as if read without the blanks
    return Contents(table, contents.labels, contents.single, contents.cautions, contents.other_sheets)


def format_of(name: str) -> str:
    """The file name's ending that identifies its format, such as ``.csv.gz``, or an empty string."""
    return next((ending for ending in sorted(FORMATS, key=len, reverse=True) if name.lower().endswith(ending)), "")


def _refuse_options(ending: str, sought: Sought, where: str) -> None:
    if sought.sheet is not None and ending != ".xlsx":
        raise InputError(f"{where} is not an Excel file and has no sheets: leave out --sheet.")
    if sought.header_row is not None and ending not in (".xlsx", *TEXT):
        raise InputError(f"{where} stores column names apart from its rows: leave out --header-row.")
    if sought.header_row is not None and sought.header_row < 1:
        raise InputError(f"--header-row is {sought.header_row}: give the number of a row, 1 or more.")


def _too_large(ending: str, where: str) -> str:
    if ending == ".parquet":
        return f"{where} is too large for this machine's memory: leave columns out, or use a machine with more."
    return (
        f"{where} is too large for this machine's memory: save it as Parquet or uncompressed CSV with one row per response, "
        "which are read piece by piece."
    )


PACKAGES = ("pyarrow", "pyreadstat", "pyreadr", "openpyxl")
"""Packages the readers need besides pandas."""
TEXT = {".csv": ",", ".csv.gz": ",", ".tsv": "\t", ".tsv.gz": "\t"}
READERS: dict[str, Callable[[Path, Sought], Contents]] = {
    **{ending: partial(read_delimited, separator=separator) for ending, separator in TEXT.items()},
    ".parquet": read_parquet,
    ".dta": read_stata,
    ".sav": read_spss,
    ".xlsx": read_workbook,
    ".rds": read_rds,
}
FORMATS = tuple(READERS)


def csv_header(path: Path, separator: str = ",") -> list[str]:
    """The names in the first line of a CSV file.

    Raises
    ------
    InputError : the file is empty or not UTF-8.
    """
    where = quoted(path.name)
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            header = next(csv.reader(stream, delimiter=separator), [])
    except UnicodeError as error:
        raise InputError(f"{where} is not UTF-8 text: save it again with the encoding UTF-8.") from error
    if not header:
        raise InputError(f"{where} is empty: check that it was written or downloaded completely.")
    return header
