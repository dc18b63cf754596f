"""CPU seconds of one table in a run, its analysis apart, beside a bare kernel that imports NumPy and pandas.

    python benchmarks/notebook_cost.py [TABLE] [ROUNDS]

Four kernels alternate, all in CPU seconds of this process and of every process below it. One is bare and starts by itself.
Three are forked from the one process that a run forks its kernels from, so that they start alike with the same imports: the
table as a run executes it; its notebook as far as the analysis; the same, with the imports of that last cell and without what
it computes. The last two differ by the analysis alone, which is what is taken off the first. A first round is not counted: in a
run papermill is imported once, and the process that is forked started once, for all tables. Of the rounds, and of the
differences within each, the median counts.
"""

from __future__ import annotations

import ast
import json
import os
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import psutil

from ilhte_report.intake.source import source
from ilhte_report.run.execute import Task, execute
from ilhte_report.run.key import code_sha256, directly_imported, fit_notebook


@dataclass(frozen=True)
class Cost:
    """CPU seconds: a bare kernel; a forked one with the data prepared and nothing done; a table without its analysis; the
    analysis; and the executed notebook's bytes."""

    bare: float
    idle: float
    table: float
    analysis: float
    notebook_bytes: int

    @property
    def ratio(self) -> float:
        """How many bare kernels a table costs, its analysis apart."""
        return self.table / self.bare


def measure(table: str, rounds: int) -> Cost:
    """The cost of a bundled table."""
    task, seconds, size = _task(table), [], 0
    for k in range(rounds + 1):
        clocks = [_cpu_seconds()]
        _bare_kernel()
        clocks.append(_cpu_seconds())
        done = execute(task)
        clocks.append(_cpu_seconds())
        for computes in (True, False):
            _as_far_as_the_analysis(task, computes=computes)
            clocks.append(_cpu_seconds())
        if done.reason:
            raise RuntimeError(done.reason)
        if k:
            bare, whole, computed, idle = (after - before for before, after in pairwise(clocks))
            seconds.append((bare, idle, whole - (computed - idle), computed - idle))
            size = len(done.notebook.encode())
    return Cost(*(median(values) for values in zip(*seconds, strict=True)), size)


def shortened(text: str, *, computes: bool) -> str:
    """The notebook of a table up to the cell of its analysis, of which only the imports are left where nothing ``computes``."""
    notebook = json.loads(text)
    last = next(k for k, cell in enumerate(notebook["cells"]) if "analyse_trial(" in "".join(cell["source"]))
    del notebook["cells"][last + 1 :]
    if not computes:
        lines = ast.parse("".join(notebook["cells"][last]["source"])).body
        imports = [ast.unparse(line) for line in lines if isinstance(line, ast.Import | ast.ImportFrom)]
        notebook["cells"][last]["source"] = "\n".join(imports)
    return json.dumps(notebook)


def _as_far_as_the_analysis(task: Task, *, computes: bool) -> None:
    _execute(
        shortened(task.notebook, computes=computes),
        task.parameters,
        code=task.code,
        modules=directly_imported(task.notebook),
    )


def _task(table: str) -> Task:
    where, notebook = source(table), fit_notebook().read_text(encoding="utf-8")
    return Task(
        tab=where.tab,
        title=where.info.title,
        input_sha256=where.sha256,
        parameters={"table": table, "profile": "full", "engine": "native", "max_persons": None, "bootstrap": 0},
        notebook=notebook,
        code=code_sha256(notebook, "native"),
        folder=os.getcwd(),
        output="out",
        limit=None,
    )


def _bare_kernel() -> None:
    import nbformat

    cell = nbformat.v4.new_code_cell("import numpy, pandas")
    _execute(nbformat.writes(nbformat.v4.new_notebook(cells=[cell])))


def _execute(notebook: str, parameters: dict | None = None, **kernel: object) -> None:
    import papermill

    from ilhte_report.run.kernel import kernel_options

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "notebook.ipynb"
        path.write_text(notebook, encoding="utf-8")
        options = kernel_options(scratch, **kernel)
        papermill.execute_notebook(str(path), None, parameters=parameters, progress_bar=False, **options)


def _cpu_seconds() -> float:
    """Of this process and of all below it, those that have ended too."""
    here = psutil.Process()
    total = 0.0
    for process in (here, *here.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])  # user, system, and both of children that were waited for
    return total


if __name__ == "__main__":
    table = sys.argv[1] if len(sys.argv) > 1 else "sim_n2000_j40_sz40_rhom30"
    cost = measure(table, int(sys.argv[2]) if len(sys.argv) > 2 else 5)
    print(
        f"{table}: {cost.table:.2f} CPU seconds a table and {cost.analysis:.2f} for its analysis; a bare kernel {cost.bare:.2f}, a "
        f"forked one with the data prepared {cost.idle:.2f}; ratio {cost.ratio:.2f}; notebook {cost.notebook_bytes / 1000:.0f} kB"
    )
