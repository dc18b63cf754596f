"""Items with four ordered categories: bias of the estimates and coverage of the 95% intervals of M_A, by simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ilhte_lib.engine.native import fit_statistics
from ilhte_lib.inference.profile import profile_intervals
from ilhte_lib.model.compress import SufficientStatistics
from ilhte_lib.model.simulate import Design
from ilhte_lib.model.spec import MODELS

from .simulation import Study

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Markdown

SEED = 41005
REPLICATIONS = 500
STEPS = (-1.2, 0.2, 1.0)
DESIGNS = tuple(
    Design(500, n_items, SEED, ate=0.2, sigma_b=1.0, sigma_zeta=0.4, rho=-0.3, steps=STEPS) for n_items in (10, 20)
)
PARAMETERS = ("treat", "sigma_theta", "sigma_zeta", "rho")
_STEPS = ("tau_1", "tau_2")
_ENDS = ("estimate", "lower", "upper", "wald_lower", "wald_upper")
_TRUTH = {"treat": "ate"}
_Z = 1.959963984540054


def _intervals(statistics: SufficientStatistics, _: np.random.Generator) -> list[float]:
    null = fit_statistics(statistics, MODELS["M_0"], standard_errors=False)
    fit = fit_statistics(statistics, MODELS["M_A"], smaller=null)
    found = profile_intervals(statistics, fit, null, PARAMETERS)
    out = [getattr(found[parameter], end) for parameter in PARAMETERS for end in _ENDS]
    for k, value in enumerate(fit.steps):
        at = fit.spec.psi_names.index(_STEPS[k])
        half = _Z * float(np.sqrt(fit.vcov[at, at]))
        out += [float(value), np.nan, np.nan, value - half, value + half]
    return out


def _table(numbers: np.ndarray, rows: np.ndarray, designs: tuple[Design, ...]) -> pd.DataFrame:
    import pandas as pd

    cells = [designs[k % len(designs)] for k in numbers]
    frames = []
    for p, parameter in enumerate((*PARAMETERS, *_STEPS)):
        ends = {e: np.round(rows[:, p * len(_ENDS) + k], 4).astype(np.float32) for k, e in enumerate(_ENDS)}
        truth = [
            d.steps[_STEPS.index(parameter)] if parameter in _STEPS else getattr(d, _TRUTH.get(parameter, parameter))
            for d in cells
        ]
        of_trial = {"replication": numbers.astype(np.int32), "n_items": np.array([d.n_items for d in cells], np.int16)}
        frames.append(pd.DataFrame({**of_trial, "parameter": parameter, "truth": truth, **ends}))
    return pd.concat(frames, ignore_index=True)


STUDY = Study(
    DESIGNS,
    tuple(f"{parameter} {end}" for parameter in (*PARAMETERS, *_STEPS) for end in _ENDS),
    _intervals,
    _table,
)
"""Its table has one row per trial and parameter: replication, n_items, parameter, truth, estimate, lower, upper (profile; NaN for
steps), wald_lower, wald_upper; logits (rho without unit)."""


def ordered_summary(trials: pd.DataFrame) -> pd.DataFrame:
    """One row per number of items, parameter and method ("profile", "Wald"): truth, mean estimate and its Monte Carlo standard
    error, coverage and its 95% Monte Carlo interval (Wilson), replications."""
    import pandas as pd

    from .size import wilson_interval

    out = []
    for key, rows in trials.groupby(["n_items", "parameter"], sort=False):
        truth, n = float(rows["truth"].iloc[0]), len(rows)
        estimate = rows["estimate"].to_numpy(float)
        recovered = float(np.nanmean(estimate)), float(np.nanstd(estimate, ddof=1) / np.sqrt(n))
        for method, prefix in (("profile", ""), ("Wald", "wald_")):
            low, high = rows[f"{prefix}lower"].to_numpy(float), rows[f"{prefix}upper"].to_numpy(float)
            missing = np.isnan(low) & np.isnan(high)
            if missing.all():
                continue
            # ends are stored with four decimals
            share = float(np.mean(~((high < truth - 5e-5) | (low > truth + 5e-5) | missing)))
            out.append((*key, method, truth, *recovered, share, *wilson_interval(share, n), n))
    columns = [
        "n_items",
        "parameter",
        "method",
        "truth",
        "mean",
        "mean_se",
        "coverage",
        "lower",
        "upper",
        "replications",
    ]
    return pd.DataFrame(out, columns=columns)


def ordered_about(trials: pd.DataFrame, about: dict) -> Markdown:
    """What was simulated for ratings, and how."""
    from ..words.numbers import number
    from .uncertainty_page import about_text

    design, items = DESIGNS[0], sorted(trials["n_items"].unique())
    steps = ", ".join(number(step, 1) for step in design.steps)
    return about_text(
        about,
        f"{int(trials.groupby(['n_items', 'parameter']).size().min()):,} trials of {design.n_persons} persons with each of "
        f"{' and '.join(map(str, items))} items of {len(design.steps) + 1} categories: $\\sigma_\\theta = {design.sigma_theta:g}$, "
        f"$\\beta_1 = {design.ate:g}$, $\\sigma_b = {design.sigma_b:g}$, $\\sigma_\\zeta = {design.sigma_zeta:g}$, "
        f"$\\rho = {number(design.rho, 1)}$, steps {steps}.",
    )


def ordered_table(summary: pd.DataFrame) -> Markdown:
    """Mean estimate and coverage by number of items and parameter."""
    from ..words.markdown import page_table
    from ..words.numbers import between, number
    from .uncertainty_page import PARAMETER_NAMES

    names = {**PARAMETER_NAMES, "tau_1": "τ₁", "tau_2": "τ₂"}
    rows = []
    for (items, parameter), own in summary.groupby(["n_items", "parameter"], sort=False):
        of = {row.method: f"{number(row.coverage, 3)} ({between(row.lower, row.upper, 3)})" for row in own.itertuples()}
        first = own.iloc[0]
        rows.append(
            {
                "Items": str(items),
                "Parameter": names[parameter],
                "Truth": number(first["truth"], 1),
                "Mean estimate": f"{number(first['mean'], 3)} ({number(first['mean_se'], 3)})",
                "Profile": of.get("profile", "–"),
                "Wald": of["Wald"],
            }
        )
    return page_table(rows, left=("Items", "Parameter"))
