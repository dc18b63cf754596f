"""How often the rule of ``ilhte_lib.who_benefits`` gives each verdict where the truth is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from IPython.display import Markdown

from ilhte_lib.inference.who_benefits import verdict, with_wald_interval

from .identification_grid import CELL, ESTIMATES, ITEMS, PERSONS, TRUE_INTERACTION

if TYPE_CHECKING:
    import pandas as pd

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
        "No interaction, $\\sigma_\\zeta \\le 0.4$": none & ~wide & (given["sigma_zeta"] > 0),
        "No interaction, $\\sigma_\\zeta \\ge 0.6$, $\\lvert\\rho\\rvert \\le 0.4$": none & wide & ~close,
        "No interaction, $\\sigma_\\zeta \\ge 0.6$, $\\lvert\\rho\\rvert = 0.8$": none & wide & close,
        "Interaction, no item effects": ~none & (given["sigma_zeta"] == 0),
        "Interaction, items stretched": ~none & (given["rho"] > 0),
        "Interaction, items drawn together": ~none & (given["rho"] < 0),
    }
    sizes = [(n, j) for n in PERSONS for j in ITEMS]
    lines = ["| Truth | " + " | ".join(f"N {n:,}, J {j}" for n, j in sizes) + " |", "|:--" * (1 + len(sizes)) + "|"]
    for truth, where in truths.items():
        cells = []
        for n, j in sizes:
            said = given.loc[where & (given["n_persons"] == n) & (given["n_items"] == j), "verdict"]
            cells.append(" / ".join(f"{100 * (said == word).mean():.0f}" for word in VERDICTS))
        lines.append(f"| {truth} | " + " | ".join(cells) + " |")
    return Markdown("\n".join(lines))


def verdict_errors(given: pd.DataFrame) -> Markdown:
    """How often the rule errs, in sentences."""
    none = given[given["beta_3"] == 0]
    false_person = (none["verdict"] == "person-level").groupby([none[name] for name in CELL]).mean()
    truly = given[given["beta_3"] != 0]
    items = truly[truly["verdict"] == "item-level"]
    wrong_way = float((np.sign(items["beta3_b"]) != np.sign(items["beta_3"])).mean())
    together, apart = (truly[truly["rho"] * side > 0] for side in (-1, 1))

    def most(rows: pd.DataFrame) -> float:
        return float((rows["verdict"] == "item-level").groupby([rows[name] for name in CELL]).mean().max())

    said = (none["verdict"] == "person-level").mean()
    return Markdown(
        f"Without an interaction the verdict is *person-level* in {said:.1%} of the trials, in the worst cell in "
        f"{false_person.max():.1%}. With a true interaction of {TRUE_INTERACTION:g} logits it is *item-level* in up to "
        f"{most(together):.0%} of the trials where treatment draws the items together, and in up to {most(apart):.0%} "
        f"where it stretches them. In {wrong_way:.0%} of all these cases $M_B$ shows the opposite of the true "
        "interaction, so that the items are indeed the source of what it shows."
    )
