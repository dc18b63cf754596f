"""How far Laplace and quadrature are off with few items: a simulation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .fit import fit_statistics
from .mixed_model import MODELS
from .replicate import Progress, replicate_generator, run_replicates
from .response_matrix import matrix_statistics
from .simulate import Design, draw_trial

if TYPE_CHECKING:
    import pandas as pd

SEED = 41003
REPLICATIONS = 2000
DESIGNS = tuple(
    Design(500, n_items, SEED, sigma_theta=1.0, ate=0.2, sigma_b=1.0, sigma_zeta=0.4, rho=0.0) for n_items in (3, 5, 10, 20)
)
"""500 persons, half of them treated, and 3, 5, 10 or 20 items."""
METHODS = ("laplace", "aghq")
ESTIMATES = ("sigma_theta", "sigma_zeta", "ate")


class _BiasTask:
    names = tuple(f"{method} {estimate}" for method in METHODS for estimate in ESTIMATES)

    def __init__(self, designs: tuple[Design, ...]):
        self.designs = designs

    @property
    def identity(self) -> tuple:
        return tuple(astuple(design) for design in self.designs)

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        # rng is child k of the seed, the very stream that draw_trial(replication=k) opens
        (k,) = rng.bit_generator.seed_seq.spawn_key
        trial = draw_trial(self.designs[k % len(self.designs)], replication=k)
        statistics = matrix_statistics(trial.responses, trial.treat)
        out: list[float] = []
        for method in METHODS:
            fit = fit_statistics(statistics, MODELS["M_A"], method=method, standard_errors=False)
            out += [fit.sigma_theta, fit.sigma_zeta, fit.coefficient("treat")]
        return np.array(out)


def simulate_bias(
    replications: int = REPLICATIONS,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    resume: Path | str | None = None,
) -> pd.DataFrame:
    """Estimates of M_A by both methods from ``replications`` trials for each number of items, drawn with seed ``SEED``.

    Returns
    -------
    One row a trial and method: replication, n_items, method, and ``ESTIMATES`` in logits.
    """
    total = replications * len(DESIGNS)
    rows = run_replicates(_BiasTask(DESIGNS), total, SEED, workers=workers, progress=progress, resume=resume)
    return _frame(np.arange(total), rows)


def bias_replications(numbers: Iterable[int]) -> pd.DataFrame:
    """Some trials by their numbers, in this process; rows as in ``simulate_bias``."""
    numbers, task = np.fromiter(numbers, int), _BiasTask(DESIGNS)
    return _frame(numbers, np.array([task(replicate_generator(SEED, int(k))) for k in numbers]))


def _frame(numbers: np.ndarray, rows: np.ndarray) -> pd.DataFrame:
    import pandas as pd

    frames = []
    for m, method in enumerate(METHODS):
        values = np.round(rows[:, m * len(ESTIMATES) : (m + 1) * len(ESTIMATES)], 5).astype(np.float32)
        frames.append(
            pd.DataFrame(
                {
                    "replication": numbers.astype(np.int32),
                    "n_items": np.array([DESIGNS[k % len(DESIGNS)].n_items for k in numbers], np.int16),
                    "method": method,
                    **dict(zip(ESTIMATES, values.T, strict=True)),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def bias_summary(trials: pd.DataFrame) -> pd.DataFrame:
    """Bias of each estimate by method and number of items.

    Returns
    -------
    One row a number of items, method and parameter: n_items, method, parameter, truth, mean, bias and its Monte Carlo
    standard error bias_se, median, rmse (root mean squared error), replications; logits.
    """
    import pandas as pd

    out = []
    for (n_items, method), rows in trials.groupby(["n_items", "method"], sort=False):
        for parameter in ESTIMATES:
            truth = getattr(DESIGNS[0], parameter)
            values = rows[parameter].dropna().to_numpy(float)
            error = values - truth
            se = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
            rmse = np.sqrt((error**2).mean())
            out.append(
                (n_items, method, parameter, truth, values.mean(), error.mean(), se, np.median(values), rmse, len(values))
            )
    columns = ["n_items", "method", "parameter", "truth", "mean", "bias", "bias_se", "median", "rmse", "replications"]
    return pd.DataFrame(out, columns=columns)
