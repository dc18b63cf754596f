"""Stata and SPSS files: values with labels, and text in any encoding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..messages import quoted
from .contents import Contents, Sought, odd_bytes

if TYPE_CHECKING:
    import pandas as pd

# Latin-1 decodes every byte, so that nothing fails and the bytes can be recovered
_ATTEMPTS: tuple[dict[str, Any], ...] = ({}, {"encoding": "latin1"}, {"disable_datetime_conversion": True},
             {"encoding": "latin1", "disable_datetime_conversion": True})  # fmt: skip


def read_stata(path: Path, sought: Sought) -> Contents:
    """The table in a ``.dta`` file, with its value labels."""
    import pyreadstat

    try:
        return _read(path, pyreadstat.read_dta)
    except Exception as error:
        if "format" not in str(error).lower() or "unsupported" not in str(error).lower():
            raise
        return _read_with_pandas(path)


def read_spss(path: Path, sought: Sought) -> Contents:
    """The table in a ``.sav`` file, with its value labels; values declared missing are missing."""
    import pyreadstat

    return _read(path, pyreadstat.read_sav)


def _read(path: Path, reader: Callable[..., tuple[pd.DataFrame, Any]]) -> Contents:
    first: Exception = ValueError("There is no way to read it.")
    for options in _ATTEMPTS:
        try:
            table, meta = reader(str(path), **options)
        except MemoryError:
            raise
        except Exception as error:  # text not in the file's encoding, dates beyond the calendar
            if "allocate" in str(error) or "memory" in str(error):
                raise MemoryError from error
            first = error if options == _ATTEMPTS[0] else first
            continue
        labels = dict(meta.variable_value_labels)
        cautions: tuple[str, ...] = ()
        if "encoding" in options:
            table, labels, cautions = _decoded(table, labels, quoted(path.name))
        single = frozenset(name for name, kind in meta.readstat_variable_types.items() if kind == "float")
        return Contents(table, labels, single, cautions)
    raise first


def _decoded(
    table: pd.DataFrame, labels: dict[str, dict], where: str
) -> tuple[pd.DataFrame, dict[str, dict], tuple[str, ...]]:
    """Redecode text read as Latin-1: as UTF-8, else as Windows-1252, with a caution about columns where that is a guess."""
    table = table.rename(columns=lambda name: _text(str(name))[0])
    odd = []
    for name in table.columns:
        column = table[name]
        if getattr(column.dtype, "kind", "O") == "O":
            texts = {value: _text(value) for value in column.dropna().unique() if isinstance(value, str)}
            if any(text != value for value, (text, _) in texts.items()):
                table[name] = column.map(lambda value, texts=texts: texts[value][0] if value in texts else value)
            if any(is_odd for _, is_odd in texts.values()):
                odd.append(name)
    labels = {
        _text(name)[0]: {code: _text(str(label))[0] for code, label in of_column.items()}
        for name, of_column in labels.items()
    }
    return table, labels, odd_bytes(odd, where)


def _text(latin: str) -> tuple[str, bool]:
    """The true text of one read as Latin-1, and whether it is a guess."""
    if latin.isascii():
        return latin, False
    content = latin.encode("latin-1", errors="replace")
    try:
        return content.decode("utf-8"), False
    except UnicodeDecodeError:
        return "".join(_character(byte) for byte in content), True


def _character(byte: int) -> str:
    try:
        return bytes([byte]).decode("cp1252")
    except UnicodeDecodeError:
        return chr(byte)


def _read_with_pandas(path: Path) -> Contents:
    """For file versions that pyreadstat does not support."""
    import pandas as pd

    with pd.read_stata(path, iterator=True, convert_categoricals=False, convert_missing=False) as reader:
        table = reader.read()
        labels = reader.value_labels()
    single = frozenset(str(name) for name in table.columns[table.dtypes == "float32"])
    return Contents(table, {name: labels[name] for name in labels if name in table.columns}, single)
