"""Does a test find a few outlying items, and keep its size if effects are normally distributed?

Trials with normal item effects, and trials in which a few items have an additional effect. Two tests are compared: whether the
mean and a bisquare-robust mean differ by more than if all items had the same effect (``RobustComparison.p``), and the
mean-shift test (``p_outliers``), on which the sentence about "a few items" rests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ilhte_lib.engine.native import fit_statistics
from ilhte_lib.inference.items import robust_comparison
from ilhte_lib.inference.replicate import replicate_number
from ilhte_lib.model.response_matrix import matrix_statistics
from ilhte_lib.model.spec import MODELS

from .simulation import Simulation
from .size import wilson_interval

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Markdown

SEED = 51007
REPLICATIONS = 100
N_PERSONS = 1000
DRAWS = 399


@dataclass(frozen=True)
class Cell:
    """A kind of trial: number of items, SD of their normal effects, and how many have an additional ``shift`` (logits)."""

    n_items: int
    sigma_zeta: float
    outliers: int
    shift: float


_CELL = ["n_items", "sigma_zeta", "outliers", "shift"]
CELLS = (
    *(Cell(j, s, 0, 0.0) for j in (8, 20, 40) for s in (0.0, 0.3, 0.6)),
    *(Cell(j, 0.2, k, 1.2) for j, k in ((8, 1), (20, 1), (20, 3), (40, 1), (40, 6))),
)


class OutlierStudy(Simulation):
    """Trial k is of cell ``k % len(CELLS)``.

    Its table has one row per trial: replication, n_items, sigma_zeta, outliers, shift, and the three p-values.
    """

    seed = SEED
    names = ("p", "p_normal", "p_outliers")

    def total(self, replications: int) -> int:
        return replications * len(CELLS)

    @property
    def identity(self) -> tuple:
        return (N_PERSONS, DRAWS, tuple((c.n_items, c.sigma_zeta, c.outliers, c.shift) for c in CELLS))

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        cell = CELLS[replicate_number(rng) % len(CELLS)]
        easiness, normal = rng.standard_normal((2, cell.n_items))
        effect = 0.2 + cell.sigma_zeta * normal
        effect[: cell.outliers] += cell.shift
        treat = (rng.permutation(N_PERSONS) < N_PERSONS // 2).astype(np.int8)
        eta = rng.standard_normal(N_PERSONS)[:, None] + easiness + treat[:, None] * effect
        responses = (rng.random(eta.shape) * (1.0 + np.exp(-eta)) < 1.0).astype(np.int8)
        statistics = matrix_statistics(responses, treat)
        null = fit_statistics(statistics, MODELS["M_0"], standard_errors=False)
        main = fit_statistics(statistics, MODELS["M_A"], smaller=null, standard_errors=False)
        found = robust_comparison(statistics, main, draws=DRAWS)
        return np.array([found.p, found.p_normal, found.p_outliers])

    def tabulate(self, numbers: np.ndarray, rows: np.ndarray) -> pd.DataFrame:
        import pandas as pd

        cells = [CELLS[k % len(CELLS)] for k in numbers]
        return pd.DataFrame(
            {
                "replication": numbers.astype(np.int32),
                **{name: [getattr(cell, name) for cell in cells] for name in _CELL},
                **{name: np.round(rows[:, at], 4).astype(np.float32) for at, name in enumerate(self.names)},
            }
        )


STUDY = OutlierStudy()


def outliers_summary(trials: pd.DataFrame) -> pd.DataFrame:
    """Share of trials in which each test rejects at 5%, with its 95% Monte Carlo interval (Wilson).

    Returns
    -------
    One row per cell and test ("p": comparison of means, "p_outliers": mean-shift test): n_items, sigma_zeta, outliers, shift, test, rejects, low, high,
    trials.
    """
    import pandas as pd

    out = []
    for key, rows in trials.groupby(_CELL, sort=False):
        for test in ("p", "p_outliers"):
            share = float((rows[test] < 0.05).mean())
            out.append((*key, test, share, *wilson_interval(share, len(rows)), len(rows)))
    return pd.DataFrame(out, columns=[*_CELL, "test", "rejects", "low", "high", "trials"])


def outliers_page(summary: pd.DataFrame) -> Markdown:
    """The table of size and power of both tests."""
    from ..words.markdown import page_table
    from ..words.numbers import between, number

    rows = []
    for key, cell in summary.groupby(_CELL, sort=False):
        n_items, spread, outliers, shift = key
        of = {r.test: f"{number(r.rejects, 3)} ({between(r.low, r.high, 3)})" for r in cell.itertuples()}
        what = "none" if not outliers else f"{outliers} by {shift:g} logits"
        rows.append(
            {
                "Items": str(n_items),
                "σ_ζ": f"{spread:g}",
                "Outlying": what,
                "Comparison of means": of["p"],
                "Mean-shift test": of["p_outliers"],
            }
        )
    return page_table(rows, left=("Outlying",))
