"""Parquet files, which are exact: what they keep as whole numbers stays whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..messages import listed, quoted
from .contents import Contents, Sought, refuse_duplicates

if TYPE_CHECKING:
    import pyarrow as pa


def read_parquet(path: Path, sought: Sought) -> Contents:
    """The table of a Parquet file; columns of names with missing values are Python integers, not floating point.

    Raises
    ------
    InputError : two columns have one name, or one that is needed holds lists, tables or the like.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet

    where = quoted(path.name)
    with pyarrow.parquet.ParquetFile(path) as file:
        schema = file.schema_arrow
        refuse_duplicates(schema.names, where)
        nested = [field.name for field in schema if pa.types.is_nested(field.type)]
        refuse_nested(nested, sought, where)
        table = file.read(columns=[name for name in schema.names if name not in nested])
    text, odd = _as_text(table, where)
    # the file's own note about pandas types would bring back indices and extension types
    frame = text.to_pandas(ignore_metadata=True)
    for name in frame.columns:
        column = text[name]
        if name in sought.names and pa.types.is_integer(column.type) and column.null_count:
            frame[name] = pd.Series(column.to_pylist(), index=frame.index, dtype=object)
    return Contents(frame, cautions=(*not_read(nested, where), *odd))


def refuse_nested(nested: list[str], sought: Sought, where: str) -> None:
    """Raise InputError if a column that is looked for holds something else than one value a row."""
    wanted = [name for name in nested if sought.wants(name)]
    if wanted:
        what = f"Column {quoted(wanted[0])}" if len(wanted) == 1 else f"Columns {listed(wanted, 6)}"
        hold = "holds" if len(wanted) == 1 else "hold"
        raise InputError(f"{what} of {where} {hold} lists or tables in place of single values: give each row one value.")


def not_read(nested: list[str], where: str) -> tuple[str, ...]:
    """A sentence on columns that were passed over, if any were."""
    if not nested:
        return ()
    what = f"Column {quoted(nested[0])}" if len(nested) == 1 else f"Columns {listed(nested, 6)}"
    hold, are = ("holds", "is") if len(nested) == 1 else ("hold", "are")
    return (f"{what} of {where} {hold} lists or tables in place of single values and {are} not read.",)


def _as_text(table: pa.Table, where: str) -> tuple[pa.Table, tuple[str, ...]]:
    """Columns of bytes as text; bytes that are none are told by column."""
    import pyarrow as pa

    cautions = []
    for k, field in enumerate(table.schema):
        if not (pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type) or pa.types.is_fixed_size_binary(field.type)):
            continue
        try:
            column = table[field.name].cast(pa.large_string())
        except pa.ArrowInvalid:
            values = [None if value is None else value.decode("utf-8", errors="backslashreplace") for value in table[field.name].to_pylist()]
            column = pa.chunked_array([pa.array(values, pa.large_string())])
            cautions.append(f"Column {quoted(field.name)} of {where} holds bytes that are no text in UTF-8: they are written as \\x and digits.")
        table = table.set_column(k, field.name, column)
    return table, tuple(cautions)
