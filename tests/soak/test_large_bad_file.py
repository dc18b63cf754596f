"""A file of two gigabytes with one bad row is refused in one sentence that finds the row, by a process that survives it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

PROJECT = Path(__file__).resolve().parents[2]
PERSONS, ITEMS = 1_850_000, 40
SIZE = 2 * 10**9


@pytest.mark.soak
@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (b"person_1543210,item_07,l,0,0.1234", ["Column resp", "1 row holds 'l'", "'person_1543210'", "'item_07'"]),
        (b"person_1543210,item_07,1,0,0.1234,7", ["6 fields in line 61728409", "5 in its header"]),
    ],
)
def test_one_bad_row_in_two_gigabytes(tmp_path: Path, bad: bytes, words: list[str]) -> None:
    if psutil.virtual_memory().available < 16e9:
        pytest.skip("less than 16 GB of memory are free")
    path = tmp_path / "large.csv"
    _write(path, 1_543_210, 7, bad)
    assert path.stat().st_size > SIZE
    done = subprocess.run(
        [sys.executable, "-m", "ilhte_report.cli", "fit", path],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr[-2000:]
    assert done.stderr.startswith("ilhte: ") and done.stderr.count("\n") == 1 and done.stdout == ""
    for word in words:
        assert word in done.stderr


def _write(path: Path, person: int, item: int, bad: bytes) -> None:
    """A sound table, but for one row."""
    with path.open("wb") as stream:
        stream.write(b"id,item,resp,treat,cov_x\n")
        for who in range(PERSONS):
            rows = [b"person_%d,item_%02d,%d,%d,0.1234" % (who, k, (who + k) % 2, who % 2) for k in range(ITEMS)]
            if who == person:
                rows[item] = bad
            stream.write(b"\n".join(rows) + b"\n")
