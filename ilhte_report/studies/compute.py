"""The long computations behind the site: ``python -m ilhte_report.studies.compute [NAME ...]``, all of them without a name.

Each writes its files in ``data/computed``; one that was interrupted continues.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ilhte_lib.errors import IlhteError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from ilhte_lib.inference.replicate import Task

    from .simulation import Study


def _simulate(computation: str, name: str, study: Study, replications: int) -> None:
    """Run a study over all cores and store every replication."""
    from rich.progress import Progress

    from ..project import find_project
    from .computed import write_computed

    finished = find_project() / "data" / "cache" / f"{name}.npz"
    with Progress() as bar:
        job = bar.add_task(name, total=replications * len(study.designs))
        rows = study.simulate(replications, progress=lambda done, _: bar.update(job, completed=done), resume=finished)
    command = f"python -m ilhte_report.studies.compute {computation}"
    write_computed(name, rows, command, seed=study.seed, replications=replications)
    finished.unlink(missing_ok=True)


def _run_cells(
    name: str,
    task: Task,
    seed: int,
    replications: int,
    total: int,
    table: Callable[[np.ndarray, np.ndarray], pd.DataFrame],
    **facts: object,
) -> None:
    """The same for a task that knows of which cell trial k is."""
    import numpy as np
    from rich.progress import Progress

    from ilhte_lib.inference.replicate import run_replicates

    from ..project import find_project
    from .computed import write_computed

    finished = find_project() / "data" / "cache" / f"{name}.npz"
    with Progress() as bar:
        job = bar.add_task(name, total=total)
        rows = run_replicates(
            task, total, seed, progress=lambda done, _: bar.update(job, completed=done), resume=finished
        )
    command = f"python -m ilhte_report.studies.compute {name}"
    write_computed(name, table(np.arange(total), rows), command, seed=seed, replications=replications, **facts)
    finished.unlink(missing_ok=True)


def _run(name: str, simulate: Callable[..., Any], seed: int, replications: int) -> None:
    """Run a study that is a function of the number of replications, and store its table."""
    from rich.progress import Progress

    from ..project import find_project
    from .computed import write_computed

    finished = find_project() / "data" / "cache" / f"{name}.npz"
    with Progress() as bar:
        job = bar.add_task(name, total=replications)
        rows = simulate(replications, progress=lambda done, _: bar.update(job, completed=done), resume=finished)
    command = f"python -m ilhte_report.studies.compute {name}"
    write_computed(name, rows, command, seed=seed, replications=replications)
    finished.unlink(missing_ok=True)


def compute_engines() -> None:
    """Every bundled table with both engines: needs R."""
    from . import engines_compute

    engines_compute.compute_engines()


def compute_size() -> None:
    """The size of the tests of sigma_zeta = 0: five minutes on one core."""
    from .size import REPLICATIONS, STUDY

    _simulate("size", "size", STUDY, REPLICATIONS)


def compute_coverage() -> None:
    """The coverage of the intervals: twenty minutes on one core."""
    from .coverage import REPLICATIONS, STUDY

    _simulate("coverage", "coverage", STUDY, REPLICATIONS)


def compute_bias() -> None:
    """The bias of Laplace and quadrature with few items: ten minutes on one core."""
    from .bias import REPLICATIONS, STUDY

    _simulate("bias", "bias", STUDY, REPLICATIONS)


def compute_ordered() -> None:
    """Recovery and coverage with four ordered categories: ten minutes on one core."""
    from .ordered import REPLICATIONS, STUDY

    _simulate("ordered", "ordered", STUDY, REPLICATIONS)


def compute_clusters() -> None:
    """The coverage of the average effect's interval where clusters were randomised: three minutes on one core."""
    from .clusters import REPLICATIONS, STUDY

    _simulate("clusters", "clusters", STUDY, REPLICATIONS)


def compute_few_items() -> None:
    """Coverage with few items, before and after: a quarter of an hour on one core."""
    from .few_items import REPLICATIONS, STUDY

    _simulate("few_items", "few_items", STUDY, REPLICATIONS)


def compute_verdicts() -> None:
    """Errors of the verdict of who benefits: ten minutes on one core."""
    from .verdicts import MORE, REPLICATIONS, SEED, STUDY, TRIALS, verdict_trials

    _run_cells("verdicts", STUDY, SEED, REPLICATIONS, TRIALS, verdict_trials, more=MORE)


def compute_outliers() -> None:
    """Size and power of the test for a few outlying items: five minutes on one core."""
    from .outliers import CELLS, REPLICATIONS, SEED, STUDY, outliers_table

    _run_cells("outliers", STUDY, SEED, REPLICATIONS, REPLICATIONS * len(CELLS), outliers_table)


def compute_identification() -> None:
    """The grid of the identification page and its limits: half an hour on one core."""
    from .identification_grid import GRID, LIMITS, REPLICATIONS, grid_study

    _simulate("identification", "identification", grid_study(GRID), REPLICATIONS)
    _simulate("identification", "identification_limits", grid_study(LIMITS), REPLICATIONS)


def compute_pooling() -> None:
    """Collections of trials, drawn and pooled: three minutes on one core."""
    from . import pooling

    _run("pooling", pooling.simulate, pooling.SEED, pooling.REPLICATIONS)


def compute_slopes() -> None:
    """Items that differ in discrimination alone: a minute on one core."""
    from . import slopes

    _run("slopes", slopes.simulate, slopes.SEED, slopes.REPLICATIONS)


COMPUTATIONS: dict[str, Callable[[], None]] = {
    "engines": compute_engines,
    "size": compute_size,
    "coverage": compute_coverage,
    "bias": compute_bias,
    "ordered": compute_ordered,
    "clusters": compute_clusters,
    "identification": compute_identification,
    "few_items": compute_few_items,
    "verdicts": compute_verdicts,
    "outliers": compute_outliers,
    "pooling": compute_pooling,
    "slopes": compute_slopes,
}


def main(names: Sequence[str]) -> int:
    """Run the named computations, or all; 2 and a sentence where one cannot be run."""
    unknown = [name for name in names if name not in COMPUTATIONS]
    if unknown:
        print(f"There is no computation {unknown[0]!r}: use one of {', '.join(COMPUTATIONS)}.", file=sys.stderr)
        return 2
    for name in names or COMPUTATIONS:
        try:
            COMPUTATIONS[name]()
        except IlhteError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
