"""The simulations of tests, intervals and bias, into ``data/computed``: three quarters of an hour on one core."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from .computed import write_computed
from .project import find_project


def _compute(name: str, study: ModuleType, simulate: Callable) -> None:
    """Run one study over all cores and store every replication; what was interrupted goes on."""
    from rich.progress import Progress

    finished = find_project() / "data" / "cache" / f"{name}.npz"
    with Progress() as bar:
        job = bar.add_task(name, total=None)
        rows = simulate(progress=lambda done, total: bar.update(job, completed=done, total=total), resume=finished)
    command = f"python -m ilhte_report.compute {name}"
    write_computed(name, rows, command, seed=study.SEED, replications=study.REPLICATIONS)
    finished.unlink(missing_ok=True)


def compute_size() -> None:
    """The size of the tests of sigma_zeta = 0: ``data/computed/size.parquet``."""
    from ilhte_lib import size_study

    _compute("size", size_study, size_study.simulate_size)


def compute_coverage() -> None:
    """The coverage of the intervals: ``data/computed/coverage.parquet``."""
    from ilhte_lib import coverage_study

    _compute("coverage", coverage_study, coverage_study.simulate_coverage)


def compute_bias() -> None:
    """The bias of Laplace and quadrature with few items: ``data/computed/bias.parquet``."""
    from ilhte_lib import bias_study

    _compute("bias", bias_study, bias_study.simulate_bias)
