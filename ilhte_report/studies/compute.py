"""The long computations behind the site: ``python -m ilhte_report.studies.compute [NAME ...]``, all of them without a name.

Each writes its files to ``data/computed``; an interrupted computation continues when it is started again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from ilhte_lib.errors import IlhteError

if TYPE_CHECKING:
    from .simulation import Simulation

MINUTES = {
    "size": 5, "coverage": 20, "bias": 10, "ordered": 10, "clusters": 3, "identification": 30, "few_items": 15, "verdicts": 10,
    "outliers": 5, "pooling": 3, "slopes": 1,
}  # fmt: skip
"""The simulations, with their duration on one core."""
ENGINES = "engines"
"""The comparison of the engines, which needs R."""


def compute(name: str) -> None:
    """Run one computation and store its results.

    Raises
    ------
    IlhteError : it cannot be run here.
    """
    if name == ENGINES:
        from .engines_compute import compute_engines

        compute_engines()
    elif name == "identification":
        from .identification_grid import GRID, LIMITS, REPLICATIONS, grid_study

        _simulate(name, "identification", grid_study(GRID), REPLICATIONS)
        _simulate(name, "identification_limits", grid_study(LIMITS), REPLICATIONS)
    else:
        module = import_module(f".{name}", __package__)
        _simulate(name, name, module.STUDY, module.REPLICATIONS, **getattr(module, "FACTS", {}))


def _simulate(computation: str, name: str, study: Simulation, replications: int, **facts: object) -> None:
    """Run a study on all cores and store its table."""
    from rich.progress import Progress

    from ..project import find_project
    from .computed import write_computed

    finished = find_project() / "data" / "cache" / f"{name}.npz"
    with Progress() as bar:
        job = bar.add_task(name, total=study.total(replications))
        rows = study.simulate(replications, progress=lambda done, _: bar.update(job, completed=done), resume=finished)
    command = f"python -m ilhte_report.studies.compute {computation}"
    write_computed(name, rows, command, seed=study.seed, replications=replications, **facts)
    finished.unlink(missing_ok=True)


def main(names: Sequence[str]) -> int:
    """Run the named computations, or all; returns 2, after a sentence on standard error, if one cannot be run."""
    known = (ENGINES, *MINUTES)
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"There is no computation {unknown[0]!r}: use one of {', '.join(known)}.", file=sys.stderr)
        return 2
    for name in names or known:
        try:
            compute(name)
        except IlhteError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
