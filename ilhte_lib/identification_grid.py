"""The grid of simulated trials behind the identification page: beta_3 under M_B and M_C where the truth is known.

Replication k of the grid belongs to design ``k % len(GRID)`` and is ``draw_trial(design, replication=k)``: one seed for
all, every trial independent of every other, and a longer run begins with the replications of a shorter one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .fit import fit_statistics
from .identification import predicted_bias, predicted_bias_of
from .mixed_model import MODELS
from .replicate import Progress, replicate_generator, run_replicates
from .response_matrix import matrix_statistics
from .simulate import Design, draw_trial

if TYPE_CHECKING:
    import pandas as pd

SEED = 20260521
REPLICATIONS = 200
GAMMA, TRUE_INTERACTION = 0.7, 0.2
SIGMA_ZETA = (0.2, 0.4, 0.6, 0.8)
RHO = (-0.8, -0.4, 0.0, 0.4, 0.8)
PERSONS, ITEMS = (500, 2000), (10, 40)
ESTIMATES = ("beta3_b", "beta3_b_se", "beta3_c", "beta3_c_se", "predicted", "predicted_se")
"""What every replication gives: beta_3 of M_B and of M_C with standard errors, and the closed form at the estimates of
M_C with its; logits per SD of the pretest."""
CELL = ["n_persons", "n_items", "sigma_zeta", "rho", "beta_3"]


def _designs() -> tuple[Design, ...]:
    fixed = {"sigma_theta": 1.0, "sigma_b": 1.0, "ate": 0.2, "gamma": GAMMA, "baseline_levels": 21}
    spreads = [(0.0, 0.0), *product(SIGMA_ZETA, RHO)]
    without = [(n, j, s, r, 0.0) for n, j, (s, r) in product(PERSONS, ITEMS, spreads)]
    truly = [(0.0, 0.0), (0.6, -0.8), (0.6, 0.8)]
    with_interaction = [(n, j, s, r, TRUE_INTERACTION) for n, j, (s, r) in product(PERSONS, ITEMS, truly)]
    return tuple(
        Design(n, j, SEED, sigma_zeta=s, rho=r, beta_3=b, **fixed) for n, j, s, r, b in without + with_interaction
    )


GRID = _designs()
"""Cells without a true interaction (sigma_zeta 0, and four values by five of rho, by two sizes of each kind), then a few
with one, for which the verdict of ``who_benefits`` should be person-level. Half of the persons are treated; the pretest
has at most 21 values, so that persons collapse into few classes."""


class _GridTask:
    """One replication of the grid."""

    names = ESTIMATES

    @property
    def identity(self) -> tuple:
        return tuple(astuple(design) for design in GRID)

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        # rng is child k of the seed, the very stream that draw_trial(replication=k) opens
        (k,) = rng.bit_generator.seed_seq.spawn_key
        trial = draw_trial(GRID[k % len(GRID)], replication=k)
        statistics = matrix_statistics(trial.responses, trial.treat, trial.covariate)
        constant = fit_statistics(statistics, MODELS["M_B"])
        flexible = fit_statistics(statistics, MODELS["M_C"], smaller=constant)
        predicted = predicted_bias_of(flexible)
        beta3 = [(fit.coefficient("treat:cov"), fit.standard_error("treat:cov")) for fit in (constant, flexible)]
        return np.array([*beta3[0], *beta3[1], predicted.value, predicted.se])


def simulate_grid(
    replications: int = REPLICATIONS,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    resume: Path | str | None = None,
) -> pd.DataFrame:
    """Simulate and fit the whole grid, ``replications`` trials a cell.

    Parameters
    ----------
    replications, workers, progress, resume : see ``replicate.run_replicates``; the result does not depend on ``workers``.

    Returns
    -------
    One row a replication: its number k, the columns of ``CELL`` and ``ESTIMATES`` (NaN where a model could not be
    fitted), rounded to 5 decimals, a thousandth of the smallest standard error.
    """
    rows = run_replicates(
        _GridTask(), replications * len(GRID), SEED, workers=workers, progress=progress, resume=resume
    )
    return _frame(np.arange(len(rows)), rows)


def simulate_replications(numbers: Iterable[int]) -> pd.DataFrame:
    """Some replications of the grid by their numbers, in this process; rows as in ``simulate_grid``."""
    numbers, task = np.fromiter(numbers, int), _GridTask()
    return _frame(numbers, np.array([task(replicate_generator(SEED, int(k))) for k in numbers]))


def _frame(numbers: np.ndarray, rows: np.ndarray) -> pd.DataFrame:
    import pandas as pd

    cells = [GRID[k % len(GRID)] for k in numbers]
    columns = {"replication": numbers.astype(np.int32)}
    columns |= {name: [getattr(cell, name) for cell in cells] for name in CELL}
    columns |= {name: np.round(rows[:, i], 5).astype(np.float32) for i, name in enumerate(ESTIMATES)}
    return pd.DataFrame(columns)


def grid_summary(replications: pd.DataFrame, level: float = 0.05) -> pd.DataFrame:
    """One row a cell of the grid.

    Returns
    -------
    The columns of ``CELL``, then
    replications : fits that count (both models fitted);
    closed_form : ``predicted_bias`` at the truth;
    bias_b, bias_c, difference : means of beta_3(M_B) - beta_3, beta_3(M_C) - beta_3, beta_3(M_B) - beta_3(M_C), each with
        its Monte Carlo standard error in ``*_se``; logits per SD of the pretest;
    rejects_b, rejects_c : share of Wald tests of beta_3 = 0 that reject at ``level``; the false-positive rate where
        beta_3 is 0.
    """
    import pandas as pd
    from scipy.special import ndtri

    cut = -ndtri(level / 2.0)
    out = []
    for cell, rows in replications.dropna(subset=["beta3_b", "beta3_c"]).groupby(CELL, sort=False):
        named = dict(zip(CELL, cell, strict=True))
        b, c = (rows[name].to_numpy(float) for name in ("beta3_b", "beta3_c"))
        row = {**named, "replications": len(rows)}
        row["closed_form"] = float(predicted_bias(GAMMA, 1.0, named["sigma_zeta"], named["rho"]))
        for name, values in (("bias_b", b - named["beta_3"]), ("bias_c", c - named["beta_3"]), ("difference", b - c)):
            row[name] = values.mean()
            row[f"{name}_se"] = values.std(ddof=1) / np.sqrt(len(rows)) if len(rows) > 1 else np.nan
        row["rejects_b"] = float(np.mean(np.abs(b) > cut * rows["beta3_b_se"]))
        row["rejects_c"] = float(np.mean(np.abs(c) > cut * rows["beta3_c_se"]))
        out.append(row)
    return pd.DataFrame(out)
