"""The bias of Laplace's method and of quadrature with few items: a simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ilhte_lib.engine.native import fit_statistics
from ilhte_lib.model.compress import SufficientStatistics
from ilhte_lib.model.simulate import Design
from ilhte_lib.model.spec import MODELS

from .simulation import Study

if TYPE_CHECKING:
    import pandas as pd

SEED = 41003
REPLICATIONS = 2000
DESIGNS = tuple(
    Design(500, n_items, SEED, sigma_theta=1.0, ate=0.2, sigma_b=1.0, sigma_zeta=0.4, rho=0.0)
    for n_items in (3, 5, 10, 20)
)
"""500 persons, half of them treated, and 3, 5, 10 or 20 items."""
METHODS = ("laplace", "aghq")
ESTIMATES = ("sigma_theta", "sigma_zeta", "ate")


def _analyse(statistics: SufficientStatistics, _: np.random.Generator) -> list[float]:
    out: list[float] = []
    for method in METHODS:
        fit = fit_statistics(statistics, MODELS["M_A"], method=method, standard_errors=False)
        out += [fit.sigma_theta, fit.sigma_zeta, fit.coefficient("treat")]
    return out


def _table(numbers: np.ndarray, rows: np.ndarray, designs: tuple[Design, ...]) -> pd.DataFrame:
    import pandas as pd

    frames = []
    for m, method in enumerate(METHODS):
        values = np.round(rows[:, m * len(ESTIMATES) : (m + 1) * len(ESTIMATES)], 5).astype(np.float32)
        frames.append(
            pd.DataFrame(
                {
                    "replication": numbers.astype(np.int32),
                    "n_items": np.array([designs[k % len(designs)].n_items for k in numbers], np.int16),
                    "method": method,
                    **dict(zip(ESTIMATES, values.T, strict=True)),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


STUDY = Study(DESIGNS, tuple(f"{method} {estimate}" for method in METHODS for estimate in ESTIMATES), _analyse, _table)
"""Its table has one row per trial and method: replication, n_items, method, and ``ESTIMATES`` of M_A in logits."""


def bias_summary(trials: pd.DataFrame) -> pd.DataFrame:
    """Bias of each estimate by method and number of items.

    Returns
    -------
    One row per number of items, method and parameter: n_items, method, parameter, truth, mean, bias and its Monte Carlo
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
                (
                    n_items,
                    method,
                    parameter,
                    truth,
                    values.mean(),
                    error.mean(),
                    se,
                    np.median(values),
                    rmse,
                    len(values),
                )
            )
    columns = ["n_items", "method", "parameter", "truth", "mean", "bias", "bias_se", "median", "rmse", "replications"]
    return pd.DataFrame(out, columns=columns)
