"""What the tests of runs share: tiny tables, the command line as a process, results without what may differ."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
from command_line import call

from ilhte_lib.model.simulate import Design, simulate_trial
from ilhte_report.project import MARK
from ilhte_report.run.execute import Executed, Task

PROJECT = Path(__file__).resolve().parents[1]
FORKED = sys.platform == "linux"
"""Whether kernels are forks of one process."""
TIMES = {"seconds", "cpu_seconds", "started", "finished"}


def write_table(path: Path, seed: int, n_persons: int = 80, n_items: int = 4) -> Path:
    """A small simulated trial as a CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table, _ = simulate_trial(
        Design(n_persons=n_persons, n_items=n_items, seed=seed, sigma_theta=1.5, sigma_b=0.8, sigma_zeta=0.4)
    )
    table.to_csv(path, index=False)
    return path


def small_tables(folder: Path, n: int) -> list[Path]:
    """So many small tables in a folder of their own."""
    return [write_table(folder / f"trial_{k:03d}.csv", seed=k) for k in range(n)]


def small_project(folder: Path, first_cell: str | None = None) -> Path:
    """A folder marked as a project, whose notebook of one table is ours without what takes longest: profile curves,
    discriminations, the surface. What becomes of kernels, folders and results does not depend on these.

    ``first_cell`` is done before everything else in the notebook.
    """
    notebook = json.loads((PROJECT / "notebooks" / "fit_table.ipynb").read_text(encoding="utf-8"))
    cells = notebook["cells"]
    (analysis,) = (cell for cell in cells if "analyse_trial(" in "".join(cell["source"]))
    source = "".join(analysis["source"])
    for part in ("curves", "discriminations", "surface"):
        assert f"{part}=True" in source
        source = source.replace(f"{part}=True", f"{part}=False")
    analysis["source"] = source
    if first_cell:
        at = next(k for k, cell in enumerate(cells) if "parameters" in cell["metadata"].get("tags", [])) + 1
        cell = {"cell_type": "code", "id": "fault", "metadata": {}, "execution_count": None, "outputs": []}
        cells.insert(at, {**cell, "source": first_cell})
    (folder / "notebooks").mkdir(parents=True)
    (folder / "notebooks" / "fit_table.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    for name in (MARK, "_quarto.yml", "index.qmd"):
        (folder / name).touch()
    return folder


def another(folder: Path, first_cell: str | None = None) -> Path:
    """The project of ``undisturbed()`` with its two tables once more, without results."""
    shutil.copytree(undisturbed() / "data", small_project(folder, first_cell) / "data")
    return folder


def ilhte(*arguments: object, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Call the command line and wait for it."""
    return subprocess.run(**_process(arguments, cwd), text=True, capture_output=True, check=False, **options)


def here(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The same in this process, where a process of its own is not the point: that takes a second or two of work."""
    with contextlib.chdir(cwd):
        done = call(*_arguments(arguments))
    return subprocess.CompletedProcess(arguments, done.code, done.out, done.err)


def start_ilhte(*arguments: object, cwd: Path, **options: Any) -> subprocess.Popen[str]:
    """Start the command line."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(**_process(arguments, cwd), **{**pipes, **options})


def _arguments(arguments: tuple[object, ...]) -> tuple[object, ...]:
    """Without replicates, unless they are asked for: what these tests look at does not depend on them."""
    return (*arguments, "--bootstrap", 0) if arguments[0] == "run" and "--bootstrap" not in arguments else arguments


def _process(arguments: tuple[object, ...], cwd: Path) -> dict[str, Any]:
    path = os.pathsep.join([str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "ilhte_report.cli", *map(str, _arguments(arguments))]
    return {"args": command, "cwd": cwd, "env": {**os.environ, "PYTHONPATH": path, "COLUMNS": "200"}}


def kernels_of(process: subprocess.Popen | psutil.Process) -> list[psutil.Process]:
    """The kernels a process has started and that still run."""
    try:
        children = psutil.Process(process.pid).children()
        forked = [kernel for child in children if is_kernel(child) for kernel in child.children()]
    except psutil.NoSuchProcess:
        return []
    # where kernels are forked the child is the process that forks them
    return [kernel for kernel in (forked if FORKED else children) if is_kernel(kernel)]


def is_kernel(process: psutil.Process) -> bool:
    """Whether a process is a kernel that lives, or what kernels are forked from."""
    program = "ilhte_report.run.fork_server" if FORKED else "ipykernel_launcher"
    try:
        return process.status() != psutil.STATUS_ZOMBIE and program in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The first true value of ``condition()``; fails if there is none in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return value


def results(folder: Path) -> dict[str, Any]:
    """Everything a run leaves, but for times and cell ids."""
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return {
        "documents": {
            path.name: _untimed(json.loads(path.read_text())) for path in sorted((folder / "fits").glob("*.json"))
        },
        "notebooks": {path.name: _cells(path) for path in sorted((folder / "tables").glob("*.ipynb"))},
        "summary": pd.read_parquet(folder / "summary.parquet").drop(columns="seconds").to_dict("list"),
        "items": pd.read_parquet(folder / "items.parquet").to_dict("list"),
        "tables": [
            # both hash files in which times are written
            {name: value for name, value in _untimed(row).items() if name not in ("fit_sha256", "notebook_sha256")}
            for row in record["tables"]
        ],
    }


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether results agree, NaN equal to NaN."""
    return json.dumps(one, sort_keys=True, default=str) == json.dumps(other, sort_keys=True, default=str)


def _untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _untimed(entry) for name, entry in value.items() if name not in TIMES}
    return [_untimed(entry) for entry in value] if isinstance(value, list) else value


def _cells(path: Path) -> list[dict[str, Any]]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [{"source": "".join(cell["source"]), "outputs": cell.get("outputs")} for cell in cells]


@functools.cache
def undisturbed() -> Path:
    """A project with two tables in ``data`` and their results, by nothing disturbed, in ``run``."""
    folder = small_project(Path(tempfile.mkdtemp(prefix="ilhte-tests-")))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    small_tables(folder / "data", 2)
    done = ilhte("run", "data", "--out", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def replay(task: Task) -> Executed:
    """What executing a table of ``undisturbed()`` came to, at once: for tests of what happens to results afterwards."""
    run = undisturbed() / "run"
    document, notebook = run / "fits" / f"{task.tab}.json", run / "tables" / f"{task.tab}.ipynb"
    return Executed(1.0, document.read_text(encoding="utf-8"), notebook.read_text(encoding="utf-8"))
