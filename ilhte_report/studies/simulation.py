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

from ilhte_lib.inference.replicate import Progress, replicate_generator, run_replicates
from ilhte_lib.model.compress import SufficientStatistics
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
        # rng is child k of the seed, the very stream that draw_trial(replication=k) opens
        (k,) = rng.bit_generator.seed_seq.spawn_key
        design = self.designs[k % len(self.designs)]
        trial = draw_trial(design, replication=k)
        statistics = matrix_statistics(trial.responses, trial.treat, trial.covariate, formats=design.formats)
        return np.array(self.analyse(statistics, rng))

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
