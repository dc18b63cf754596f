"""How well do pooled trials describe the distribution they were drawn from? A simulation of whole collections.

A collection has 15 small trials whose log(sigma_zeta / sigma_theta) and Fisher z of rho are normally distributed over trials. Each is
fitted, its likelihood evaluated over the grid, and all are pooled; then the true values of one more trial are drawn.
"""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING

import numpy as np

from ilhte_lib.engine.native import fit_statistics
from ilhte_lib.inference.pool import pool
from ilhte_lib.inference.surface import surface
from ilhte_lib.model.response_matrix import matrix_statistics
from ilhte_lib.model.simulate import Design, draw_trial
from ilhte_lib.model.spec import MODELS

from .simulation import Simulation
from .size import wilson_interval

if TYPE_CHECKING:
    import pandas as pd

SEED = 41017
REPLICATIONS = 48
TRIALS = tuple(Design(300, n_items, SEED) for n_items in (8, 10, 12) * 5)
"""The sizes of the 15 trials of a collection."""
MU, TAU = np.array([np.log(0.4), 0.4]), np.array([0.35, 0.5])
"""Means and SDs over trials of log(sigma_zeta / sigma_theta) and of atanh(rho)."""


class Collections(Simulation):
    """Collections of trials, drawn and pooled.

    Its table has one row per collection: estimates and ends of the intervals of both means, SDs over trials, whether the
    prediction interval contains a further trial; mean squared errors of rho by maximum likelihood (0 where undefined) and pooled;
    shares of trials whose 95% intervals contain the truth; number of singular fits.
    """

    seed = SEED
    names = (
        "x_mean", "x_low", "x_high", "x_tau", "x_new_inside", "z_mean", "z_low", "z_high", "z_tau", "z_new_inside",
        "rho_error_ml", "rho_error_pooled", "rho_inside", "ratio_inside", "singular",
    )  # fmt: skip

    @property
    def identity(self) -> tuple:
        return (tuple(astuple(design) for design in TRIALS), tuple(MU), tuple(TAU))

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        truth = MU[:, None] + TAU[:, None] * rng.standard_normal((2, len(TRIALS)))
        new = MU + TAU * rng.standard_normal(2)
        surfaces, estimates, singular = [], [], 0
        for k, (x, z) in enumerate(truth.T):
            seed = int(rng.integers(2**31))
            design = Design(
                TRIALS[k].n_persons, TRIALS[k].n_items, seed, sigma_zeta=float(np.exp(x)), rho=float(np.tanh(z))
            )
            drawn = draw_trial(design)
            statistics = matrix_statistics(drawn.responses, drawn.treat)
            null = fit_statistics(statistics, MODELS["M_0"], standard_errors=False)
            main = fit_statistics(statistics, MODELS["M_A"], smaller=null)
            surfaces.append(surface(statistics, null, main))
            estimates.append(main.rho if np.isfinite(main.rho) else 0.0)
            singular += main.singular
        found = pool(surfaces)
        rho, ratio = np.tanh(truth[1]), np.exp(truth[0])
        pooled = np.array([trial.rho for trial in found.trials])
        inside_rho = np.mean([t.rho_low <= r <= t.rho_high for t, r in zip(found.trials, rho, strict=True)])
        inside_ratio = np.mean([t.ratio_low <= r <= t.ratio_high for t, r in zip(found.trials, ratio, strict=True)])
        row: list[float] = []
        for mean, further in ((found.log_ratio, new[0]), (found.fisher_z, new[1])):
            row += [mean.mean, mean.low, mean.high, mean.tau, float(mean.new_low <= further <= mean.new_high)]
        errors = [float(np.mean((values - rho) ** 2)) for values in (np.array(estimates), pooled)]
        return np.array([*row, *errors, inside_rho, inside_ratio, float(singular)])


STUDY = Collections()


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """The findings of the study with 95% Monte Carlo intervals.

    Returns
    -------
    One row per finding: finding, value, lower, upper. Shares of collections have Wilson's interval, means over collections
    an interval of plus and minus 1.96 standard errors.
    """
    import pandas as pd

    rows = rows.dropna()
    out = []
    for name, truth in (("x", MU[0]), ("z", MU[1])):
        covered = ((rows[f"{name}_low"] <= truth) & (truth <= rows[f"{name}_high"])).mean()
        for finding, share in (
            (f"{name}_mean_covered", covered),
            (f"{name}_new_inside", rows[f"{name}_new_inside"].mean()),
        ):
            out.append((finding, float(share), *wilson_interval(float(share), len(rows))))
        out.append((f"{name}_bias", *_about(rows[f"{name}_mean"] - truth)))
    for finding in ("rho_error_ml", "rho_error_pooled", "rho_inside", "ratio_inside", "singular"):
        out.append((finding, *_about(rows[finding])))
    out.append(("rho_error_difference", *_about(rows["rho_error_ml"] - rows["rho_error_pooled"])))
    return pd.DataFrame(out, columns=["finding", "value", "lower", "upper"])


def _about(values: pd.Series) -> tuple[float, float, float]:
    mean, half = float(values.mean()), 1.96 * float(values.std(ddof=1)) / np.sqrt(len(values))
    return mean, mean - half, mean + half
