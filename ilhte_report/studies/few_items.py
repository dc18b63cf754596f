"""Coverage with few items of large-sample intervals and of the intervals shown on the site: a simulation.

One setting without correlation (rho = 0), so that the same trials show how often a sentence falsely says "the easier an item, the
more positive its effect", or the opposite. "before": Laplace's likelihood, profiles cut at the
chi2_1 quantile, normal quantiles for new items. "after": the likelihood chosen by ``auto``, t for the average effect and for
new items, the profile of rho cut at ``profile.correlation_cut``; the interval of the average effect assumes at least the spread of
items in the penalised fit (``generalise.reach_of_average``), where that is shown.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from ilhte_lib.engine.native import choose_method, fit_statistics
from ilhte_lib.engine.penalised import penalised_fit, wants_penalised
from ilhte_lib.inference.generalise import generalise
from ilhte_lib.inference.profile import Profiler, objective
from ilhte_lib.model.compress import SufficientStatistics
from ilhte_lib.model.simulate import Design
from ilhte_lib.model.spec import MODELS

from .simulation import Study
from .size import wilson_interval

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Markdown

    from ilhte_lib.inference.generalise import Generalisation
    from ilhte_lib.model.fit_result import Fit

SEED = 51005
REPLICATIONS = 160
ITEMS, PERSONS = (5, 8, 10, 20, 40), (500, 2000)
DESIGNS = tuple(Design(n, j, SEED, ate=0.2, sigma_zeta=0.4, rho=0.0) for j, n in product(ITEMS, PERSONS))
"""sigma_theta = sigma_b = 1, half of the persons treated."""
PROFILED = ("treat", "sigma_theta", "sigma_zeta", "rho")
ESTIMANDS = (*PROFILED, "new_item", "new_form", "share_negative")
"""Quantities with an interval: parameters (logits; rho without unit), the effect on a new item and the average on a new form with
the same number of items (logits), and the share of all items with a negative effect."""
WHEN = ("before", "after")
Z = 1.959963984540054


def _study(statistics: SufficientStatistics, _: np.random.Generator) -> list[float]:
    null = fit_statistics(statistics, MODELS["M_0"])
    laplace = fit_statistics(statistics, MODELS["M_A"], smaller=null)
    before = _profiles(statistics, null, laplace, PROFILED, few_items=False)
    old = generalise(statistics, laplace)
    before |= {
        "new_item": _around(old, np.hypot(old.sigma_zeta, old.se_with_item_sampling)),
        "new_form": _around(old, np.hypot(old.sigma_zeta / np.sqrt(old.n_items), old.se_with_item_sampling)),
        "share_negative": (np.nan, np.nan),
    }
    choice = choose_method({False: statistics})
    if choice.method == "laplace":
        main = laplace
    else:
        null = fit_statistics(statistics, MODELS["M_0"], smaller=null, method="aghq", nodes=choice.nodes)
        main = fit_statistics(
            statistics, MODELS["M_A"], fitted={"M_0": null, "M_A": laplace}, method="aghq", nodes=choice.nodes
        )
    after = _profiles(statistics, null, main, PROFILED[1:], few_items=True)
    penalised = penalised_fit(statistics, main) if wants_penalised(main) else None
    new = generalise(statistics, main, penalised=penalised)
    after |= {"new_item": new.new_item, "new_form": new.new_form, "share_negative": (np.nan, np.nan)}
    half = new.reach * new.se_with_item_sampling
    after["treat"] = (new.ate - half, new.ate + half)
    if after["sigma_zeta"][0] > 0:
        after["share_negative"] = new.share_negative_interval
    return [end for found in (before, after) for name in ESTIMANDS for end in found[name]]


def _profiles(
    statistics: SufficientStatistics, null: Fit, main: Fit, names: tuple[str, ...], *, few_items: bool
) -> dict[str, tuple[float, float]]:
    profiler = Profiler(objective(statistics, main), main, null)
    found = {name: profiler.interval(name, few_items=few_items) for name in names}
    return {name: (interval.lower, interval.upper) for name, interval in found.items()}


def _around(found: Generalisation, sd: float) -> tuple[float, float]:
    return found.ate - Z * sd, found.ate + Z * sd


def _table(numbers: np.ndarray, rows: np.ndarray, designs: tuple[Design, ...]) -> pd.DataFrame:
    import pandas as pd

    cells = [designs[k % len(designs)] for k in numbers]
    frames = []
    for place, (when, name) in enumerate(product(WHEN, ESTIMANDS)):
        frames.append(
            pd.DataFrame(
                {
                    "replication": numbers.astype(np.int32),
                    "n_persons": np.array([cell.n_persons for cell in cells], np.int16),
                    "n_items": np.array([cell.n_items for cell in cells], np.int16),
                    "when": when,
                    "estimand": name,
                    "lower": np.round(rows[:, 2 * place], 4).astype(np.float32),
                    "upper": np.round(rows[:, 2 * place + 1], 4).astype(np.float32),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


STUDY = Study(DESIGNS, tuple(" ".join(x) for x in product(WHEN, ESTIMANDS, ("lower", "upper"))), _study, _table)
"""Its table has one row per trial, ``when`` ("before", "after") and estimand: replication, n_persons, n_items, when, estimand,
lower, upper; NaN where undefined or not known."""


def few_items_summary(trials: pd.DataFrame) -> pd.DataFrame:
    """Coverage by size, ``when`` and estimand, with its 95% Monte Carlo interval.

    For a new item and form it is the mean probability that the interval contains the effect, with a normal interval for that
    mean; for the others the share of intervals that contain the truth (Wilson). A parameter's interval that could not be
    computed counts as a miss; shares that are "not known" are left out and counted.

    Returns
    -------
    One row per cell: n_items, n_persons, when, estimand, coverage, low, high, width (median), known (share of trials with an
    interval), replications.
    """
    import pandas as pd
    from scipy.special import ndtr

    design = DESIGNS[0]
    truth = {
        "treat": design.ate,
        "sigma_theta": design.sigma_theta,
        "sigma_zeta": design.sigma_zeta,
        "rho": design.rho,
        "share_negative": float(ndtr(-design.ate / design.sigma_zeta)),
    }
    out = []
    for key, rows in trials.groupby(["n_items", "n_persons", "when", "estimand"], sort=False):
        n_items, _, when, name = key
        low, high = rows["lower"].to_numpy(float), rows["upper"].to_numpy(float)
        known = ~(np.isnan(low) & np.isnan(high))
        if name == "share_negative" and when == "before":
            continue
        if name in ("new_item", "new_form"):
            sd = design.sigma_zeta / (1.0 if name == "new_item" else np.sqrt(n_items))
            held = ndtr((high - design.ate) / sd) - ndtr((low - design.ate) / sd)
            held = np.where(known, held, 0.0)
            share, half = float(held.mean()), Z * float(held.std(ddof=1)) / np.sqrt(len(held))
            ends = (share - half, share + half)
        else:
            # intervals are stored with four decimals: an end this close to the truth contains it
            inside = known & ~(high < truth[name] - 5e-5) & ~(low > truth[name] + 5e-5)
            of = known if name == "share_negative" else np.ones(len(known), bool)
            share = float(inside[of].mean()) if of.any() else np.nan
            ends = wilson_interval(share, int(of.sum())) if of.any() else (np.nan, np.nan)
        width = float(np.nanmedian(high - low)) if known.any() else np.nan
        out.append((*key, share, *ends, width, float(known.mean()), len(rows)))
    columns = ["n_items", "n_persons", "when", "estimand", "coverage", "low", "high", "width", "known", "replications"]
    return pd.DataFrame(out, columns=columns)


def false_claims(trials: pd.DataFrame) -> pd.DataFrame:
    """How often the interval of rho excludes the true value 0, so that a sentence about easiness is false.

    Returns
    -------
    One row per number of items and ``when``: n_items, when, share, low, high (Wilson), trials.
    """
    import pandas as pd

    rho = trials[trials["estimand"] == "rho"]
    out = []
    for (n_items, when), rows in rho.groupby(["n_items", "when"], sort=False):
        share = float(((rows["lower"] > 0) | (rows["upper"] < 0)).mean())
        out.append((n_items, when, share, *wilson_interval(share, len(rows)), len(rows)))
    return pd.DataFrame(out, columns=["n_items", "when", "share", "low", "high", "trials"])


NAMES = {
    "treat": "β₁", "sigma_theta": "σ_θ", "sigma_zeta": "σ_ζ", "rho": "ρ", "new_item": "new item", "new_form": "new form",
    "share_negative": "share of negative items",
}  # fmt: skip


def few_items_page(summary: pd.DataFrame, n_persons: int) -> Markdown:
    """The table of coverage, before → after, by number of items, with Monte Carlo intervals of the latter."""
    from ..words.markdown import page_table
    from ..words.numbers import between, number

    own = summary[summary["n_persons"] == n_persons]
    by = own.set_index(["when", "estimand", "n_items"])["coverage"].to_dict()
    ends = {(r.estimand, r.n_items): between(r.low, r.high, 2) for r in own[own["when"] == "after"].itertuples()}
    rows = []
    for name in ESTIMANDS:
        row = {"": NAMES[name]}
        for n_items in ITEMS:
            before = by.get(("before", name, n_items))
            arrow = "" if before is None else f"{number(before, 2)} → "
            row[f"J {n_items}"] = f"{arrow}{number(by[('after', name, n_items)], 2)} ({ends[name, n_items]})"
        rows.append(row)
    return page_table(rows, left=("",))


def false_claims_page(claims: pd.DataFrame) -> Markdown:
    """The table of how often a sentence relates effects to easiness although they are unrelated."""
    from ..words.markdown import page_table
    from ..words.numbers import between, number

    rows = []
    for n_items, own in claims.groupby("n_items", sort=False):
        of = {
            r.when: f"{number(100 * r.share, 1)}% ({between(100 * r.low, 100 * r.high, 1)})" for r in own.itertuples()
        }
        rows.append(
            {
                "Items": str(n_items),
                "Large-sample interval": of["before"],
                "Interval shown": of["after"],
                "Trials": f"{own['trials'].iloc[0]:,}",
            }
        )
    return page_table(rows, left=())


def few_items_about(trials: pd.DataFrame, about: dict) -> Markdown:
    """What was simulated, and how."""
    from .uncertainty_page import about_text

    sizes = f"{', '.join(map(str, ITEMS[:-1]))} or {ITEMS[-1]} items and {PERSONS[0]} or {PERSONS[1]:,} persons"
    design = DESIGNS[0]
    per_cell = len(trials) // (len(WHEN) * len(ESTIMANDS) * len(DESIGNS))
    return about_text(
        about,
        f"{per_cell} trials of each size, {sizes}; $\\sigma_\\theta = \\sigma_b = {design.sigma_b:g}$, "
        f"$\\sigma_\\zeta = {design.sigma_zeta:g}$, $\\rho = {design.rho:g}$, an average effect of {design.ate:g} logits.",
    )
