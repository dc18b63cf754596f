"""Runs of many tables leak neither processes nor memory nor files; what a table costs beside a bare kernel."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from run_cases import PROJECT, is_kernel, kernels_of, small_project, small_tables, start_ilhte


@dataclass(frozen=True)
class Sample:
    """The run's process at one moment: tables done, resident bytes, open files, kernels."""

    done: int
    memory: int
    files: int
    kernels: list[psutil.Process]


@pytest.mark.skipif(os.name != "posix", reason="open files are counted as POSIX systems do")
@pytest.mark.parametrize("n_tables", [12, pytest.param(200, marks=pytest.mark.soak)])
def test_many_tables_leak_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_tables: int) -> None:
    """At no time more kernels than asked for, none afterwards; memory and open files stay as they were."""
    small_tables(small_project(tmp_path) / "data", n_tables)
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    process = start_ilhte("run", "data", "--out", "run", "--jobs", 2, cwd=tmp_path, stdout=subprocess.DEVNULL)
    samples: list[Sample] = []
    while process.poll() is None:
        time.sleep(0.2)
        try:
            watched = psutil.Process(process.pid)
            done = len(list((tmp_path / "run" / "fits").glob("*.json")))
            samples.append(Sample(done, watched.memory_info().rss, watched.num_fds(), kernels_of(process)))
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            break
    assert process.wait() == 0
    rows = json.loads((tmp_path / "run" / "run.json").read_text())["tables"]
    assert [row["status"] for row in rows] == ["fitted"] * n_tables
    assert max(len(sample.kernels) for sample in samples) == 2
    assert not any(is_kernel(kernel) for sample in samples for kernel in sample.kernels)
    assert not list((tmp_path / "scratch").iterdir())
    # the first tables bring the imports; the last sample may see the end of the run, when the frames are written
    early = [sample for sample in samples if n_tables / 4 <= sample.done <= n_tables / 2]
    late = [sample for sample in samples if n_tables * 3 / 4 <= sample.done < n_tables]
    assert max(s.files for s in late) <= max(s.files for s in early) + 10
    growth = (max(s.memory for s in late) - max(s.memory for s in early)) / n_tables
    assert growth < 100_000, f"{growth / 1e6:.2f} MB a table"


@pytest.mark.soak
def test_cost_of_a_table() -> None:
    """Beside its fits a table costs at most 2.5 bare kernels that import NumPy and pandas."""
    measure = runpy.run_path(str(PROJECT / "benchmarks" / "notebook_cost.py"))["measure"]
    cost = measure("sim_n2000_j40_sz40_rhom30", rounds=7)
    assert cost.ratio <= 2.5
    assert cost.notebook_bytes < 300_000
