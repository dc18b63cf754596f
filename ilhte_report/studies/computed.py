"""The small Parquet files in ``data/computed``: results of long computations with their command, commit and versions."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ilhte_lib.errors import InputError
from ilhte_lib.files import versions

from ..project import find_project

if TYPE_CHECKING:
    import pandas as pd

_METADATA = b"ilhte"


def computed_folder() -> Path:
    """``data/computed`` of the project."""
    return find_project() / "data" / "computed"


def write_computed(name: str, frame: pd.DataFrame, command: str, **facts: object) -> Path:
    """Write ``data/computed/<name>.parquet``, completely or not at all.

    The file's metadata contain ``facts`` (a seed, say; any JSON values), the command, the commit (with "-dirty"
    if files differed from it), the date and the versions.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = computed_folder() / f"{name}.parquet"
    today = datetime.now(UTC).date().isoformat()
    about = {"command": command, "commit": _commit(path.parent), "date": today, "versions": versions(), **facts}
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata({_METADATA: json.dumps(about)})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".writing-{os.getpid()}-{path.name}")
    try:
        pq.write_table(table, temporary, compression="zstd")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def read_computed(name: str) -> tuple[pd.DataFrame, dict]:
    """A file of ``data/computed`` and its metadata: command, commit, date, versions and further facts.

    Raises
    ------
    InputError : it has not been computed.
    """
    import pyarrow.parquet as pq

    path = computed_folder() / f"{name}.parquet"
    if not path.is_file():
        raise InputError(f"data/computed/{path.name} does not exist: `make compute` writes it.")
    table = pq.read_table(path)
    return table.replace_schema_metadata(None).to_pandas(), json.loads(table.schema.metadata[_METADATA])


def _commit(folder: Path) -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        run = subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return run.stdout.strip()
