"""CPU seconds of one table in a run, fits and intervals apart, beside a bare kernel that imports NumPy and pandas.

    python benchmarks/notebook_cost.py [TABLE] [ROUNDS]

The three alternate, all in CPU seconds of this process and of every process below it: a bare kernel that starts by itself;
the table as a run executes it, in a kernel forked from one that has imported; the analysis in that notebook alone, called
here with the same arguments, which is what is taken off the second. A first round is not counted: in a run papermill is
imported once, and the process that is forked started once, for all tables. The smallest of the rounds is the one least
disturbed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from ilhte_lib.analysis import analyse_trial
from ilhte_lib.data.options import DataOptions
from ilhte_report.intake.preparation import prepared
from ilhte_report.intake.source import source
from ilhte_report.run.execute import Task, execute
from ilhte_report.run.key import code_sha256, fit_notebook


@dataclass(frozen=True)
class Cost:
    """CPU seconds: a bare kernel, a table without its fits and intervals, these; and the executed notebook's bytes."""

    bare: float
    table: float
    fits: float
    notebook_bytes: int

    @property
    def ratio(self) -> float:
        """How many bare kernels a table costs, its fits apart."""
        return self.table / self.bare


def measure(table: str, rounds: int) -> Cost:
    """The cost of a bundled table."""
    bare, tables, fits, size = [], [], [], 0
    for k in range(rounds + 1):
        before = _cpu_seconds()
        _bare_kernel()
        between = _cpu_seconds()
        done = execute(_task(table))
        after = _cpu_seconds()
        if done.reason:
            raise RuntimeError(done.reason)
        trial = prepared(source(table), DataOptions.of({"profile": "full"}))
        began = _cpu_seconds()
        analyse_trial(trial, curves=True, discriminations=True, surface=True)
        fit = _cpu_seconds() - began
        if k:
            bare.append(between - before)
            tables.append(after - between - fit)
            fits.append(fit)
            size = len(done.notebook.encode())
    return Cost(min(bare), min(tables), min(fits), size)


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
    import papermill

    from ilhte_report.run.kernel import kernel_options

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import numpy, pandas")])
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "bare.ipynb"
        path.write_text(nbformat.writes(notebook), encoding="utf-8")
        papermill.execute_notebook(str(path), None, progress_bar=False, **kernel_options(scratch))


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
        f"{table}: {cost.table:.2f} CPU seconds a table and {cost.fits:.2f} for its fits; a bare kernel {cost.bare:.2f}; "
        f"ratio {cost.ratio:.2f}; notebook {cost.notebook_bytes / 1000:.0f} kB"
    )
