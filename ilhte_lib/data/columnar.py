"""Parquet files, read exactly: whole numbers stay whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..messages import quoted
from .contents import Contents, Sought, not_read, odd_bytes, refuse_duplicates, refuse_nested
from .place import doubled, in_file_and_folder, parquet_files

if TYPE_CHECKING:
    import pyarrow as pa


def read_parquet(path: Path, sought: Sought) -> Contents:
    """The table in a Parquet file, or in a folder of them with its partitions.

    Integer columns of names stay Python integers where values are missing, instead of becoming floating point.

    Raises
    ------
    InputError : two columns have the same name, or a needed column holds lists, tables or the like.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet

    where = quoted(path.name)

    def of(source: Any, schema: pa.Schema) -> tuple[pa.Table, list[str]]:
        refuse_duplicates(schema.names, where)
        nested = [field.name for field in schema if pa.types.is_nested(field.type)]
        refuse_nested(nested, sought, where)
        return source(columns=[name for name in schema.names if name not in nested]), nested

    if path.is_dir():
        files = [str(file) for file in parquet_files(path)]
        try:
            data = dataset_of(files, str(path))
        except pa.ArrowTypeError as failure:
            raise InputError(
                f"The parts of {where} do not fit together ({failure}): write all of them with the same types of columns."
            ) from None
        table, nested = of(data.to_table, data.schema)
    else:
        # opened here because Arrow rejects file names that are not UTF-8
        with path.open("rb") as stream, pyarrow.parquet.ParquetFile(stream) as file:
            table, nested = of(file.read, file.schema_arrow)
    text, odd = _as_text(table)
    # the file's pandas metadata would bring back indices and extension types
    frame = text.to_pandas(ignore_metadata=True)
    for name in frame.columns:
        column = text[name]
        if name in sought.names and pa.types.is_integer(column.type) and column.null_count:
            frame[name] = pd.Series(column.to_pylist(), index=frame.index, dtype=object)
    return Contents(frame, cautions=(*not_read(nested, where), *odd_bytes(odd, where)))


def dataset_of(source: Any, base: str | None, filesystem: Any = None) -> Any:
    """A dataset of a Parquet file or, with the folder ``base``, of files in it, whose folders' names (``wave=1``) are columns.

    Its schema is one for all files; Arrow takes that of the first, and casts the others to it.

    Whole numbers in one part and fractions in another become floating point, and a column that a part lacks is missing there.

    Raises
    ------
    pyarrow.ArrowTypeError : a column has types that have none in common, such as text and numbers.
    InputError : a column is in the files and in the names of their folders.
    """
    import pyarrow as pa
    import pyarrow.dataset

    if base is not None:
        plain = pyarrow.dataset.dataset(source, format="parquet", filesystem=filesystem)
        twice = doubled(plain.schema.names, [path.removeprefix(base) for path in plain.files])
        if twice is not None:
            raise InputError(in_file_and_folder(quoted(Path(base).name), twice))
    how: dict[str, Any] = {"format": "parquet", "filesystem": filesystem}
    if base is not None:
        how |= {"partitioning": "hive", "partition_base_dir": base}
    data = pyarrow.dataset.dataset(source, **how)
    schemas = [data.schema, *(fragment.physical_schema for fragment in data.get_fragments())]
    schema = pa.unify_schemas(schemas, promote_options="permissive")
    return data if schema == data.schema else pyarrow.dataset.dataset(source, schema=schema, **how)


def _as_text(table: pa.Table) -> tuple[pa.Table, list[str]]:
    """Byte columns as text, and the columns with bytes that are not text, which become backslash escapes."""
    import pyarrow as pa

    odd = []
    for k, field in enumerate(table.schema):
        column = table[field.name]
        if pa.types.is_dictionary(field.type) and _is_textual(field.type.value_type):
            column = column.cast(field.type.value_type)
        elif not _is_textual(field.type):
            continue
        try:
            column = column.cast(pa.large_string())
            column.validate(full=True)
        except pa.ArrowInvalid:
            odd.append(field.name)
            values = column.cast(pa.large_binary()).to_pylist()
            texts = [None if value is None else value.decode("utf-8", errors="backslashreplace") for value in values]
            column = pa.chunked_array([pa.array(texts, pa.large_string())])
        table = table.set_column(k, field.name, column)
    return table, odd


def _is_textual(kind: pa.DataType) -> bool:
    import pyarrow as pa

    types = pa.types
    return any(
        is_such(kind)
        for is_such in (
            types.is_string, types.is_large_string, types.is_binary, types.is_large_binary, types.is_fixed_size_binary
        )
    )  # fmt: skip
