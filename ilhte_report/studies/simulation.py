"""Simulation studies: trials that are drawn and analysed many times under one seed, and can be repeated by their number.

Trial k draws from child k of the study's seed, so all trials are independent, and a longer run begins with the trials of a
shorter one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ilhte_lib.engine.native import fit_both
from ilhte_lib.errors import EngineError
from ilhte_lib.inference.replicate import (
    Progress,
    one_by_one,
    replicate_generator,
    replicate_number,
    run_replicates,
)
from ilhte_lib.model.compress import SufficientStatistics
from ilhte_lib.model.fit_result import Fit
from ilhte_lib.model.response_matrix import matrix_statistics
from ilhte_lib.model.simulate import Design, draw_trial

if TYPE_CHECKING:
    import pandas as pd


class Simulation:
    """A study of which every trial is one replicate; subclasses are a ``replicate.Task``.

    Attributes
    ----------
    seed : the study's seed.
    names : names of the numbers that one trial gives.
    """

    seed: int
    names: tuple[str, ...]

    def total(self, replications: int) -> int:
        """The number of trials with this many replications of each cell of the study (here, one cell)."""
        return replications

    def tabulate(self, numbers: np.ndarray, rows: np.ndarray) -> pd.DataFrame:
        """The stored table from the numbers k of trials and their (len(numbers), len(names)) results."""
        import pandas as pd

        return pd.DataFrame(rows, columns=list(self.names))

    def simulate(
        self,
        replications: int,
        *,
        workers: int | None = None,
        progress: Progress | None = None,
        resume: Path | str | None = None,
    ) -> pd.DataFrame:
        """The study's table from ``replications`` trials of each cell; the other arguments as in ``run_replicates``."""
        total = self.total(replications)
        rows = run_replicates(self, total, self.seed, workers=workers, progress=progress, resume=resume)
        return self.tabulate(np.arange(total), rows)

    def replay(self, numbers: Iterable[int]) -> pd.DataFrame:
        """Some trials by their numbers k, computed again in this process; rows as in ``simulate``."""
        numbers = np.fromiter(numbers, int)
        return self.tabulate(numbers, one_by_one(self, [replicate_generator(self.seed, int(k)) for k in numbers]))


@dataclass(frozen=True)
class Study(Simulation):
    """A study of several designs: trial k is ``draw_trial(designs[k % len(designs)], replication=k)``.

    Attributes
    ----------
    designs : the designs, with the same seed.
    names : names of the numbers that one trial gives.
    analyse : computes these numbers from a trial's statistics. The generator is the one from which the trial was drawn, for
        further draws (spawn a child of its seed sequence). It must be a function of a module, so that it can be pickled.
    table : makes the stored table from the numbers k of trials, their (len(k), len(names)) results, and the designs.
    """

    designs: tuple[Design, ...]
    names: tuple[str, ...]
    analyse: Callable[[SufficientStatistics, np.random.Generator], Sequence[float]]
    table: Callable[[np.ndarray, np.ndarray, tuple[Design, ...]], pd.DataFrame]

    @property
    def seed(self) -> int:
        return self.designs[0].seed

    @property
    def identity(self) -> tuple:
        return tuple(astuple(design) for design in self.designs)

    def total(self, replications: int) -> int:
        return replications * len(self.designs)

    def tabulate(self, numbers: np.ndarray, rows: np.ndarray) -> pd.DataFrame:
        return self.table(numbers, rows, self.designs)

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        return np.array(self.analyse(self._drawn(replicate_number(rng)), rng))

    def _drawn(self, k: int) -> SufficientStatistics:
        # draw_trial(replication=k) opens the same stream as the generator of replicate k, child k of the seed
        design = self.designs[k % len(self.designs)]
        trial = draw_trial(design, replication=k)
        return matrix_statistics(trial.responses, trial.treat, trial.covariate, formats=design.formats)


@dataclass(frozen=True)
class PairStudy(Study):
    """A study that begins with M_0 and M_A of each trial, fitted side by side; a ``replicate.TaskTogether``.

    Attributes
    ----------
    analyse : as in ``Study``, but for many trials of one design: computes their numbers from statistics, generators and fits.
    standard_errors : whether M_A has standard errors.
    """

    analyse: Callable[[list[SufficientStatistics], list[np.random.Generator], list[tuple[Fit, Fit]]], list]
    standard_errors: bool = True

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        return self.together([rng])[0]

    def together(self, generators: list[np.random.Generator]) -> np.ndarray:
        numbers = np.array([replicate_number(rng) for rng in generators])
        rows = np.full((len(numbers), len(self.names)), np.nan)
        for cell in range(len(self.designs)):
            own = np.flatnonzero(numbers % len(self.designs) == cell)
            tables = [self._drawn(int(k)) for k in numbers[own]]
            fits = fit_both(tables, "M_0", "M_A", standard_errors=self.standard_errors)
            done = [k for k, found in enumerate(fits) if not isinstance(found, EngineError)]
            found = self.analyse([tables[k] for k in done], [generators[own[k]] for k in done], [fits[k] for k in done])
            for k, row in zip(done, found, strict=True):
                rows[own[k]] = row
        return rows
