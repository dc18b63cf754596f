"""Simulation studies: trials of several designs, each drawn and analysed many times under one seed.

Replication k belongs to design ``k % len(designs)`` and is ``draw_trial(design, replication=k)``: every trial is
independent of every other, and a longer run begins with the replications of a shorter one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ilhte_lib.engine.native import fit_both
from ilhte_lib.errors import EngineError
from ilhte_lib.inference.replicate import Progress, replicate_generator, replicate_number, run_replicates
from ilhte_lib.model.compress import SufficientStatistics
from ilhte_lib.model.fit_result import Fit
from ilhte_lib.model.response_matrix import matrix_statistics
from ilhte_lib.model.simulate import Design, draw_trial

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Study:
    """What is simulated and what is kept of it; a ``replicate.Task``.

    Attributes
    ----------
    designs : share one seed, the study's.
    names : of the numbers that one trial gives.
    analyse : makes these numbers from a trial's statistics; the generator is the one the trial was drawn from, for
        what has to be drawn further (spawn a child of its seed sequence). A function of a module, so that it survives
        pickling.
    table : makes the stored table from the numbers k of trials and (len(k), len(names)) results.
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

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        return np.array(self.analyse(self._drawn(replicate_number(rng)), rng))

    def _drawn(self, k: int) -> SufficientStatistics:
        # the generator of replicate k is child k of the seed, the very stream that draw_trial(replication=k) opens
        design = self.designs[k % len(self.designs)]
        trial = draw_trial(design, replication=k)
        return matrix_statistics(trial.responses, trial.treat, trial.covariate, formats=design.formats)

    def simulate(
        self,
        replications: int,
        *,
        workers: int | None = None,
        progress: Progress | None = None,
        resume: Path | str | None = None,
    ) -> pd.DataFrame:
        """The study's table from ``replications`` trials of each design; the other arguments as in ``run_replicates``."""
        total = replications * len(self.designs)
        rows = run_replicates(self, total, self.seed, workers=workers, progress=progress, resume=resume)
        return self.table(np.arange(total), rows, self.designs)

    def replay(self, numbers: Iterable[int]) -> pd.DataFrame:
        """Some trials by their numbers k, in this process; rows as in ``simulate``."""
        numbers = np.fromiter(numbers, int)
        rows = np.array([self(replicate_generator(self.seed, int(k))) for k in numbers])
        return self.table(numbers, rows, self.designs)


@dataclass(frozen=True)
class PairStudy(Study):
    """A study that begins with M_0 and M_A of each trial, which are fitted side by side; a ``replicate.TaskTogether``.

    Attributes
    ----------
    analyse : as in ``Study``, of many trials of one design: it makes their numbers from statistics, generators and fits.
    standard_errors : whether M_A has them.
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
