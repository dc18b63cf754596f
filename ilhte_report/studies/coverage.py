"""How often the 95% intervals of M_A contain the truth: a simulation away from the boundaries."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ilhte_lib.engine.native import fit_statistics
from ilhte_lib.inference.profile import profile_intervals
from ilhte_lib.model.compress import SufficientStatistics
from ilhte_lib.model.simulate import Design
from ilhte_lib.model.spec import MODELS

from .simulation import Study
from .size import wilson_interval

if TYPE_CHECKING:
    import pandas as pd

SEED = 41002
REPLICATIONS = 2000
SETTINGS = {
    "A": Design(500, 20, SEED, sigma_theta=1.0, ate=0.2, sigma_b=1.0, sigma_zeta=0.4, rho=0.0),
    "B": Design(1000, 20, SEED, sigma_theta=1.0, ate=0.0, sigma_b=1.0, sigma_zeta=0.5, rho=0.5),
    "C": Design(500, 20, SEED, sigma_theta=1.5, ate=0.5, sigma_b=1.2, sigma_zeta=0.6, rho=-0.4),
}
"""Three settings; half of the persons are treated."""
ITEMS = (20, 40)
DESIGNS = tuple(replace(design, n_items=n) for n in ITEMS for design in SETTINGS.values())
_CELLS = tuple((name, n) for n in ITEMS for name in SETTINGS)
PARAMETERS = ("treat", "sigma_theta", "sigma_zeta", "rho")
_ENDS = ("lower", "upper", "wald_lower", "wald_upper")


def _intervals(statistics: SufficientStatistics, _: np.random.Generator) -> list[float]:
    null = fit_statistics(statistics, MODELS["M_0"], standard_errors=False)
    fit = fit_statistics(statistics, MODELS["M_A"], smaller=null)
    intervals = profile_intervals(statistics, fit, null, PARAMETERS)
    return [getattr(intervals[parameter], end) for parameter in PARAMETERS for end in _ENDS]


def _truth(design: Design, parameter: str) -> float:
    return getattr(design, {"treat": "ate"}.get(parameter, parameter))


def _table(numbers: np.ndarray, rows: np.ndarray, designs: tuple[Design, ...]) -> pd.DataFrame:
    import pandas as pd

    cells = [k % len(designs) for k in numbers]
    frames = []
    for p, parameter in enumerate(PARAMETERS):
        ends = {
            end: np.round(rows[:, p * len(_ENDS) + e], 4).astype(np.float32) for e, end in enumerate(_ENDS)
        }  # four decimals: a hundredth of the smallest standard error
        frames.append(
            pd.DataFrame(
                {
                    "replication": numbers.astype(np.int32),
                    "setting": [_CELLS[c][0] for c in cells],
                    "n_items": np.array([_CELLS[c][1] for c in cells], np.int16),
                    "parameter": parameter,
                    "truth": [_truth(designs[c], parameter) for c in cells],
                    **ends,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


STUDY = Study(DESIGNS, tuple(f"{parameter} {end}" for parameter in PARAMETERS for end in _ENDS), _intervals, _table)
"""Its table has one row per trial and parameter: replication, setting ("A", "B", "C"), n_items, parameter, truth, lower,
upper, wald_lower, wald_upper; logits (rho without unit), NaN where undefined."""


def coverage_summary(trials: pd.DataFrame) -> pd.DataFrame:
    """Share of intervals that contain the truth, with its 95% Monte Carlo interval (Wilson).

    A trial whose interval could not be computed counts as a miss; an undefined end counts as infinite.

    Returns
    -------
    One row per setting, number of items, parameter and method ("profile", "Wald"): setting, n_items, parameter, method,
    truth, coverage, lower, upper, below and above (shares of intervals that lie wholly below or above the truth), width
    (median), undefined (share of intervals without any end), replications.
    """
    import pandas as pd

    out = []
    for key, rows in trials.groupby(["setting", "n_items", "parameter"], sort=False):
        truth = float(rows["truth"].iloc[0])
        for method, prefix in (("profile", ""), ("Wald", "wald_")):
            low, high = rows[f"{prefix}lower"].to_numpy(float), rows[f"{prefix}upper"].to_numpy(float)
            missing = np.isnan(low) & np.isnan(high)
            # intervals are stored with four decimals: an end this close to the truth contains it
            below, above = high < truth - 5e-5, low > truth + 5e-5
            share = float(np.mean(~(below | above | missing)))
            out.append(
                (
                    *key, method, truth, share, *wilson_interval(share, len(rows)), float(below.mean()), float(above.mean()),
                    float(np.nanmedian(high - low)), float(missing.mean()), len(rows),
                )
            )  # fmt: skip
    columns = [
        "setting",
        "n_items",
        "parameter",
        "method",
        "truth",
        "coverage",
        "lower",
        "upper",
        "below",
        "above",
        "width",
    ]
    return pd.DataFrame(out, columns=[*columns, "undefined", "replications"])
