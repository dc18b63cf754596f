"""The simulations of the identification page, into ``data/computed``: half an hour on one core."""

from __future__ import annotations

from ilhte_lib.identification_grid import GRID, LIMITS, REPLICATIONS, SEED, simulate_grid

from .computed import write_computed
from .project import find_project

COMMAND = "python -m ilhte_report.compute identification"


def compute_identification() -> None:
    """Simulate the grid and its limits over all cores and store every replication; what was interrupted goes on."""
    from rich.progress import Progress

    for name, designs in (("identification", GRID), ("identification_limits", LIMITS)):
        finished = find_project() / "data" / "cache" / f"{name}.npz"
        with Progress() as bar:
            job = bar.add_task(name, total=REPLICATIONS * len(designs))
            rows = simulate_grid(
                designs=designs, progress=lambda done, _, job=job: bar.update(job, completed=done), resume=finished
            )
        write_computed(name, rows, COMMAND, seed=SEED, replications=REPLICATIONS)
        finished.unlink(missing_ok=True)
