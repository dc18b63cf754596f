"""How often the rule of ``ilhte_lib.who_benefits`` gives each verdict where the truth is known."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from ilhte_lib.inference.who_benefits import verdict, with_wald_interval

from ..words.markdown import fact_table, page_table
from .identification_grid import CELL, ESTIMATES, ITEMS, PERSONS, TRUE_INTERACTION

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Markdown

VERDICTS = ("person-level", "item-level", "cannot tell")


def with_verdicts(trials: pd.DataFrame) -> pd.DataFrame:
    """The fitted trials with the verdict of each in a column ``verdict``."""
    fitted = trials.dropna(subset=list(ESTIMATES[:4]))
    given = [
        verdict(
            with_wald_interval(row.beta3_b, row.beta3_b_se),
            with_wald_interval(row.beta3_c, row.beta3_c_se),
            with_wald_interval(row.predicted, row.predicted_se),
        )
        for row in fitted.itertuples()
    ]
    return fitted.assign(verdict=given)


def verdict_table(given: pd.DataFrame) -> Markdown:
    """How often each verdict is given where the truth is known, by size of trial; ``given`` is ``with_verdicts``."""
    none, wide, close = given["beta_3"] == 0, given["sigma_zeta"] >= 0.6, given["rho"].abs() > 0.4
    truths = {
        "No interaction, no item effects": none & (given["sigma_zeta"] == 0),
        "No interaction, σ_ζ ≤ 0.4": none & ~wide & (given["sigma_zeta"] > 0),
        "No interaction, σ_ζ ≥ 0.6, |ρ| ≤ 0.4": none & wide & ~close,
        "No interaction, σ_ζ ≥ 0.6, |ρ| = 0.8": none & wide & close,
        "Interaction, no item effects": ~none & (given["sigma_zeta"] == 0),
        "Interaction, items stretched": ~none & (given["rho"] > 0),
        "Interaction, items drawn together": ~none & (given["rho"] < 0),
    }
    rows = []
    for truth, where in truths.items():
        row = {"Truth": truth}
        for n, j in product(PERSONS, ITEMS):
            said = given.loc[where & (given["n_persons"] == n) & (given["n_items"] == j), "verdict"]
            row[f"N {n:,}, J {j}"] = " / ".join(f"{100 * (said == word).mean():.0f}" for word in VERDICTS)
        rows.append(row)
    return page_table(rows, left=("Truth",))


def verdict_errors(given: pd.DataFrame) -> Markdown:
    """How often the rule errs."""
    none = given[given["beta_3"] == 0]
    false_person = (none["verdict"] == "person-level").groupby([none[name] for name in CELL]).mean()
    truly = given[given["beta_3"] != 0]
    items = truly[truly["verdict"] == "item-level"]
    opposite = float((np.sign(items["beta3_b"]) != np.sign(items["beta_3"])).mean())

    def most(rows: pd.DataFrame) -> str:
        return f"{(rows['verdict'] == 'item-level').groupby([rows[name] for name in CELL]).mean().max():.0%}"

    interaction = f"Interaction of {TRUE_INTERACTION:g} logits"
    return fact_table(
        {
            "No interaction: person-level, all trials": f"{(none['verdict'] == 'person-level').mean():.1%}",
            "No interaction: person-level, worst cell": f"{false_person.max():.1%}",
            f"{interaction}: item-level, worst cell where items are drawn together": most(truly[truly["rho"] < 0]),
            f"{interaction}: item-level, worst cell where items are stretched": most(truly[truly["rho"] > 0]),
            "Of these, M_B shows the opposite of the true interaction": f"{opposite:.0%}",
        }
    )
