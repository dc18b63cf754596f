"""The tables of the identification page, and descriptions of its figures; the page itself interprets them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from IPython.display import Markdown

from ilhte_lib.data.prepare import prepare
from ilhte_lib.engine.native import fit_models
from ilhte_lib.errors import InputError
from ilhte_lib.inference.closed_form import predicted_bias
from ilhte_lib.inference.look_alike import expected_scores, look_alike
from ilhte_lib.inference.who_benefits import WhoBenefits, who_benefits
from ilhte_lib.model.simulate import DESIGNS, SPURIOUS_INTERACTION, Design, simulate_trial

from ..words.markdown import fact_table, page_table, table_html
from ..words.numbers import DASH, number
from ..words.who_benefits import comparison_rows
from .identification_figures import SHOWN_ITEMS
from .identification_grid import CELL, ESTIMATES, GAMMA, GRID, grid_study

if TYPE_CHECKING:
    import pandas as pd


def two_processes() -> dict[str, Design]:
    """The simulated table that shows the problem, and the trial with a true interaction that looks like it."""
    items = DESIGNS[SPURIOUS_INTERACTION]
    return {"persons": look_alike(items), "items": items}


def process_designs(designs: dict[str, Design]) -> Markdown:
    """The two processes side by side, and the largest difference between their expected scores."""
    persons, items = designs["persons"], designs["items"]
    pretest = np.linspace(-3.0, 3.0, 61)
    apart = np.abs(expected_scores(persons, pretest) - expected_scores(items, pretest)).max()
    lines = {
        "Persons, items": [f"{design.n_persons:,}, {design.n_items}" for design in (persons, items)],
        "σ_ζ (logits)": [f"{design.sigma_zeta:g}" for design in (persons, items)],
        "ρ": [DASH, number(items.rho, 1)],
        "β₃ (logits per SD of the pretest)": [number(design.beta_3, 3) for design in (persons, items)],
        "Largest difference in expected scores, pretest −3 to 3 (percentage points)": [number(100 * apart, 1)] * 2,
    }
    rows = [{"": name, "Persons differ": one, "Items differ": other} for name, (one, other) in lines.items()]
    return page_table(rows, left=("",))


def scores_alt(designs: dict[str, Design]) -> str:
    """The figure of the two processes in words."""
    control, treated = 100.0 * expected_scores(designs["items"], np.array([-2.0, 2.0]))
    low, high = (number(gap, 1) for gap in treated - control)
    return (
        "Above: share of correct answers by pretest. The curves of the two treated arms coincide; their distance "
        f"from the control arm goes from {low} percentage points at a pretest of −2 SDs to {high} at 2 SDs. Below: "
        "effects on items by easiness. If persons differ they are similar, if items differ they decrease with "
        "easiness."
    )


def fitted(designs: dict[str, Design]) -> dict[str, WhoBenefits]:
    """Draw both trials, fit them with M_B and M_C and compare the results."""
    results = {}
    for name, design in designs.items():
        trial = prepare(simulate_trial(design)[0], design.name)
        results[name] = who_benefits(trial, fit_models(trial, ["M_B", "M_C"]))
    return results


def process_table(designs: dict[str, Design], results: dict[str, WhoBenefits]) -> Markdown:
    """The interaction in both trials by all methods, with the truth and the verdict."""
    columns = {"Persons differ": "persons", "Items differ": "items"}
    rows = [{"": "True β₃", **{column: number(designs[name].beta_3, 3) for column, name in columns.items()}}]
    for one, other in zip(*(comparison_rows(results[name]) for name in columns.values()), strict=True):
        cells = [
            row["Estimate"] + ("" if row["95% interval"] == DASH else f" [{row['95% interval']}]")
            for row in (one, other)
        ]
        rows.append({"": one[""], **dict(zip(columns, cells, strict=True))})
    rows.append({"": "Verdict", **{column: results[name].verdict for column, name in columns.items()}})
    return page_table(rows, left=("", *columns))


# -- the grid ------------------------------------------------------------------------------------------------------


def grid_text(trials: pd.DataFrame, summary: pd.DataFrame, about: dict) -> Markdown:
    """What was simulated, and how; ``about`` is the stored file's metadata."""
    none, design = summary[summary["beta_3"] == 0], GRID[0]
    failed = len(trials) - int(summary["replications"].sum())
    outcome = f"{failed} trials could not be fitted." if failed else "Every fit succeeded."
    rho = f"{number(none['rho'].min(), 1)} to {number(none['rho'].max(), 1)}"
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return Markdown(
        f"{len(none)} cells of {about['replications']} trials each: $\\sigma_\\zeta$ from "
        f"{none['sigma_zeta'].min():g} to {none['sigma_zeta'].max():g}, $\\rho$ from {rho}, "
        f"{_listed(none['n_persons'])} persons, {_listed(none['n_items'])} items; $\\sigma_b = {design.sigma_b:g}$, "
        f"$\\sigma_\\theta = {design.sigma_theta:g}$, pretest with slope {GAMMA:g} and at most "
        f"{design.baseline_levels} values, half of the persons treated. The true interaction is 0 in every cell. "
        f"{outcome} Computed on {about['date']} by `{about['command']}` with seed {about['seed']} and {versions}."
    )


def _listed(column: pd.Series) -> str:
    return " or ".join(f"{value:,}" for value in sorted(set(column)))


def grid_overview(summary: pd.DataFrame) -> Markdown:
    """Bias and false positives over the grid, with and without item effects in the model."""
    none = summary[summary["beta_3"] == 0]
    rows = [
        {
            "": name,
            "Mean of β₃, truth 0": f"{number(none[f'bias_{letter}'].min(), 3)} to {number(none[f'bias_{letter}'].max(), 3)}",
            "Rejects at 5%": f"{none[f'rejects_{letter}'].min():.1%} to {none[f'rejects_{letter}'].max():.1%}",
            "On average": f"{none[f'rejects_{letter}'].mean():.1%}",
            "Highest rate with": _cell(none.loc[none[f"rejects_{letter}"].idxmax()]),
        }
        for letter, name in (("b", "M_B, without item effects"), ("c", "M_C, with them"))
    ]
    return page_table(rows, left=("", "Highest rate with"))


def _cell(row: pd.Series) -> str:
    rho = number(row["rho"], 1)
    return f"{row['n_persons']:,.0f} persons, {row['n_items']:.0f} items, σ_ζ {row['sigma_zeta']:g}, ρ {rho}"


def closed_form_table(summary: pd.DataFrame) -> Markdown:
    """Differences between the closed form and the mean difference of the models: over the grid, and where it is largest."""
    none = summary[summary["beta_3"] == 0]
    gap = (none["difference"] - none["closed_form"]).abs()
    far = none.loc[gap.idxmax()]
    facts = {
        "Largest difference (logits)": number(gap.max(), 3),
        "Median difference (logits)": number(gap.median(), 3),
        f"Largest with {_cell(far)}": f"{number(far['closed_form'], 3)} for {number(far['difference'], 3)}",
    }
    for n_items, rows in none[(none["sigma_zeta"] == 0.8) & (none["rho"] == 0)].groupby("n_items"):
        weight = 1.0 / rows["difference_se"] ** 2
        mean, se = (weight * rows["difference"]).sum() / weight.sum(), weight.sum() ** -0.5
        form = number(float(predicted_bias(GAMMA, 1.0, 0.8, 0.0)), 3)
        facts[f"Effects unrelated to easiness: {n_items} items, σ_ζ 0.8, ρ 0"] = (
            f"{form} for {number(mean, 3)} ({se:.3f})"
        )
    return fact_table(facts)


def limits_table(limits: pd.DataFrame) -> Markdown:
    """All cells of ``identification_grid.LIMITS``: closed form and simulation."""
    rows = [
        {
            "Items": row.n_items,
            "σ_θ": f"{row.sigma_theta:g}",
            "σ_b": f"{row.sigma_b:g}",
            "σ_ζ": f"{row.sigma_zeta:g}",
            "Closed form": number(row.closed_form, 3),
            "M_B − M_C": f"{number(row.difference, 3)} ({row.difference_se:.3f})",
            "Ratio": number(row.difference / row.closed_form, 2),
        }
        for row in limits.itertuples()
    ]
    return page_table(rows, left=())


def grid_alt(summary: pd.DataFrame) -> str:
    """The figure of the grid in words."""
    none = summary[summary["beta_3"] == 0]
    fit = np.corrcoef(none["closed_form"], none["bias_b"])[0, 1]
    low, high = number(none["bias_b"].min(), 2), number(none["bias_b"].max(), 2)
    return (
        f"Mean estimates of an interaction that is 0, by the closed form, {len(none)} cells. Those of M_B follow the "
        f"closed form (correlation {fit:.2f}), from {low} to {high}; those of M_C are near 0."
    )


def false_positive_alt(summary: pd.DataFrame) -> str:
    """The figure of false positives in words."""
    none = summary[summary["beta_3"] == 0]
    parts = [
        f"{n:,} persons and {j} items: M_B up to {rows['rejects_b'].max():.0%}, M_C up to {rows['rejects_c'].max():.0%}"
        for (n, j), rows in none.groupby(["n_persons", "n_items"])
    ]
    lead = "Share of trials without interaction in which a 5% test finds one, by spread of item effects. "
    return lead + "; ".join(parts) + "."


def slider_alt(summary: pd.DataFrame) -> str:
    """The figure with sliders in words."""
    form = summary.loc[summary["beta_3"] == 0, "closed_form"]
    return (
        "Two sliders choose the spread of item effects and their correlation with easiness. Above, "
        f"{SHOWN_ITEMS} items under control and treatment; below, the interaction by the closed form and as simulated "
        f"under M_B and M_C. The closed form goes from {number(form.min(), 3)} (large spread, positive correlation: "
        f"items stretched) to {number(form.max(), 3)} (negative correlation: items drawn together). The table of all "
        "cells holds the same numbers."
    )


def grid_table(summary: pd.DataFrame) -> Markdown:
    """All cells without a true interaction, folded."""

    def mean(row, name: str) -> str:
        return f"{number(getattr(row, name), 3)} ({getattr(row, f'{name}_se'):.3f})"

    rows = [
        {
            "Persons": f"{row.n_persons:,}",
            "Items": row.n_items,
            "σ_ζ": f"{row.sigma_zeta:g}",
            "ρ": number(row.rho, 1),
            "Closed form": number(row.closed_form, 3),
            "M_B − M_C": mean(row, "difference"),
            "M_B": mean(row, "bias_b"),
            "M_C": mean(row, "bias_c"),
            "M_B rejects": f"{row.rejects_b:.1%}",
            "M_C rejects": f"{row.rejects_c:.1%}",
        }
        for row in summary[summary["beta_3"] == 0].itertuples()
    ]
    title = f"All {len(rows)} cells (means of β₃, truth 0; Monte Carlo standard errors in parentheses)"
    table = table_html(rows, left=())
    return Markdown(
        f'```{{=html}}\n<details><summary>{title}</summary><div class="table-scroll">{table}</div></details>\n```\n'
    )


def simulated_now(
    stored: pd.DataFrame, trials: int, cell: tuple[float, ...] = (500, 40, 1.0, 1.0, 0.8, 0.8, 0.0)
) -> Markdown:
    """The first ``trials`` trials of one cell, simulated again and compared with the stored ones.

    Raises
    ------
    InputError : fewer than one trial, or more than are stored.
    """
    of_cell = len(stored) // len(GRID)
    if not 1 <= trials <= of_cell:
        raise InputError(f"{trials} trials cannot be checked: choose 1 to {of_cell}, the number stored for each cell.")
    position = [tuple(getattr(design, name) for name in CELL) for design in GRID].index(cell)
    numbers = [position + len(GRID) * k for k in range(trials)]
    now = grid_study().replay(numbers)
    then = stored.set_index("replication").loc[numbers, list(ESTIMATES)]
    apart = float(np.nanmax(np.abs(now[list(ESTIMATES)].to_numpy(float) - then.to_numpy(float))))
    b, c = (number(now[name].astype(float).mean(), 3) for name in ("beta3_b", "beta3_c"))
    agreement = (
        f"differ from the stored ones by at most {apart:.4f}" if apart else "equal the stored ones to every digit kept"
    )
    return Markdown(
        f"{trials} trials were simulated and fitted again ({cell[0]} persons, {cell[1]} items, "
        f"$\\sigma_\\zeta = {cell[4]:g}$, $\\rho = {number(cell[5], 1)}$): mean of $\\beta_3$ {b} under $M_B$, {c} "
        f"under $M_C$. The estimates {agreement}."
    )
