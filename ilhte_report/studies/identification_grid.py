"""The grid of simulated trials of the identification page: beta_3 under M_B and M_C with known truth."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from ilhte_lib.engine.native import fit_statistics
from ilhte_lib.inference.closed_form import predicted_bias, predicted_bias_of
from ilhte_lib.model.compress import SufficientStatistics
from ilhte_lib.model.simulate import Design
from ilhte_lib.model.spec import MODELS

from .simulation import Study

if TYPE_CHECKING:
    import pandas as pd

SEED = 20260521
REPLICATIONS = 200
GAMMA, TRUE_INTERACTION = 0.7, 0.2
SIGMA_ZETA = (0.2, 0.4, 0.6, 0.8)
RHO = (-0.8, -0.4, 0.0, 0.4, 0.8)
PERSONS, ITEMS = (500, 2000), (10, 40)
ESTIMATES = ("beta3_b", "beta3_b_se", "beta3_c", "beta3_c_se", "predicted", "predicted_se")
"""The results of a replication: beta_3 of M_B and of M_C and the closed form at the estimates of M_C, each with its standard
error; logits per SD of the pretest."""
CELL = ["n_persons", "n_items", "sigma_theta", "sigma_b", "sigma_zeta", "rho", "beta_3"]


def _design(n_persons: int, n_items: int, sigma_zeta: float, rho: float, **other: float) -> Design:
    fixed = {"seed": SEED, "sigma_theta": 1.0, "sigma_b": 1.0, "ate": 0.2, "gamma": GAMMA, "baseline_levels": 21}
    return Design(n_persons, n_items, sigma_zeta=sigma_zeta, rho=rho, **(fixed | other))


GRID = (
    *(_design(n, j, s, r) for n, j, (s, r) in product(PERSONS, ITEMS, [(0.0, 0.0), *product(SIGMA_ZETA, RHO)])),
    *(
        _design(n, j, s, r, beta_3=TRUE_INTERACTION)
        for n, j, (s, r) in product(PERSONS, ITEMS, [(0.0, 0.0), (0.6, -0.8), (0.6, 0.8)])
    ),
)
"""Cells without a true interaction (sigma_zeta 0, and four values by five of rho, by two numbers of persons and of items), then a
few with one, for which the verdict of ``who_benefits`` should be person-level. Half of the persons are treated; the
pretest has at most 21 values, so that persons fall into few classes."""

LIMITS = (
    *(_design(2000, n_items, 0.8, 0.0) for n_items in (5, 10, 20, 40, 80)),
    _design(2000, 40, 0.8, 0.0, sigma_theta=0.3),
    _design(2000, 40, 0.8, 0.0, sigma_theta=2.0),
    _design(2000, 40, 2.4, 0.0, sigma_b=3.0),
)
"""Cells that test the limits of the closed form: item effects unrelated to easiness, with few items, with persons who differ
little or much, or with widely spread items."""


def _interactions(statistics: SufficientStatistics, _: np.random.Generator) -> list[float]:
    constant = fit_statistics(statistics, MODELS["M_B"])
    flexible = fit_statistics(statistics, MODELS["M_C"], smaller=constant)
    predicted = predicted_bias_of(flexible)
    beta3 = [(fit.coefficient("treat:cov"), fit.standard_error("treat:cov")) for fit in (constant, flexible)]
    return [*beta3[0], *beta3[1], predicted.value, predicted.se]


def _table(numbers: np.ndarray, rows: np.ndarray, designs: tuple[Design, ...]) -> pd.DataFrame:
    import pandas as pd

    cells = [designs[k % len(designs)] for k in numbers]
    columns = {"replication": numbers.astype(np.int32)}
    columns |= {name: [getattr(cell, name) for cell in cells] for name in CELL}
    columns |= {name: np.round(rows[:, i], 4).astype(np.float32) for i, name in enumerate(ESTIMATES)}
    return pd.DataFrame(columns)


def grid_study(designs: tuple[Design, ...] = GRID) -> Study:
    """The study of some designs, which share the seed ``SEED``.

    Its table has one row per replication: its number k, the columns of ``CELL``, and ``ESTIMATES`` (NaN if a model
    could not be fitted), rounded to 4 decimals.
    """
    return Study(designs, ESTIMATES, _interactions, _table)


def grid_summary(replications: pd.DataFrame, level: float = 0.05) -> pd.DataFrame:
    """A summary with one row per cell of the grid.

    Returns
    -------
    The columns of ``CELL``, then
    replications : replications in which both models could be fitted;
    closed_form : ``predicted_bias`` at the truth;
    bias_b, bias_c, difference : means of beta_3(M_B) - beta_3, beta_3(M_C) - beta_3, beta_3(M_B) - beta_3(M_C), each
        with its Monte Carlo standard error in ``*_se``; logits per SD of the pretest;
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
        row["closed_form"] = float(predicted_bias(GAMMA, *(named[x] for x in CELL[3:6])))
        for name, values in (("bias_b", b - named["beta_3"]), ("bias_c", c - named["beta_3"]), ("difference", b - c)):
            row[name] = values.mean()
            row[f"{name}_se"] = values.std(ddof=1) / np.sqrt(len(rows)) if len(rows) > 1 else np.nan
        row["rejects_b"] = float(np.mean(np.abs(b) > cut * rows["beta3_b_se"]))
        row["rejects_c"] = float(np.mean(np.abs(c) > cut * rows["beta3_c_se"]))
        out.append(row)
    return pd.DataFrame(out)
