"""The words and tables of the identification page, every number of them computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from IPython.display import Markdown

from ilhte_lib.data.prepare import prepare
from ilhte_lib.engine.native import fit_models
from ilhte_lib.errors import InputError
from ilhte_lib.inference.closed_form import expected_scores, look_alike, predicted_bias
from ilhte_lib.inference.who_benefits import WhoBenefits, who_benefits
from ilhte_lib.model.simulate import DESIGNS, SPURIOUS_INTERACTION, Design, simulate_trial

from ..words.comparison import comparison_rows
from ..words.markdown import table_html
from ..words.numbers import number
from .identification_figures import SHOWN_ITEMS
from .identification_grid import CELL, ESTIMATES, GAMMA, GRID, grid_study

if TYPE_CHECKING:
    import pandas as pd


def two_processes() -> dict[str, Design]:
    """The bundled table that shows the problem, and the trial with a true interaction that looks like it."""
    items = DESIGNS[SPURIOUS_INTERACTION]
    return {"persons": look_alike(items), "items": items}


def process_text(designs: dict[str, Design]) -> Markdown:
    """The two processes and how near their expected scores are."""
    persons, items = designs["persons"], designs["items"]
    pretest = np.linspace(-3.0, 3.0, 61)
    apart = np.abs(expected_scores(persons, pretest) - expected_scores(items, pretest)).max()
    return Markdown(
        f"*Items differ.* In the simulated table `{SPURIOUS_INTERACTION}` {items.n_persons:,} persons answer "
        f"{items.n_items} items. Treatment acts on every item in its own way ($\\sigma_\\zeta = {items.sigma_zeta:g}$) "
        f"and less on easy ones ($\\rho = {number(items.rho, 1)}$). The interaction with the pretest is 0.\n\n"
        "*Persons differ.* The same persons answer the same items, all of which treatment moves alike "
        "($\\sigma_\\zeta = 0$), but it moves persons with a higher pretest more: "
        f"$\\beta_3 = {persons.beta_3:+.3f}$ logits for each SD.\n\n"
        "Between pretests of −3 and 3 SDs, the expected scores of the two trials are nowhere more than "
        f"{100 * apart:.1f} percentage points apart."
    )


def scores_alt(designs: dict[str, Design]) -> str:
    """The figure of the two processes in words."""
    control, treated = 100.0 * expected_scores(designs["items"], np.array([-2.0, 2.0]))
    low, high = (number(gap, 1) for gap in treated - control)
    return (
        "Above: share of items right by pretest. The curves of the two treated arms lie on each other; their distance "
        f"from the control arm goes from {low} percentage points at a pretest of −2 SDs to {high} at 2 SDs. Below: "
        "effects on items by easiness. Where persons differ they are much the same, where items differ they fall with "
        "easiness."
    )


def fitted(designs: dict[str, Design]) -> dict[str, WhoBenefits]:
    """Both trials drawn, fitted with M_B and M_C and compared."""
    results = {}
    for name, design in designs.items():
        trial = prepare(simulate_trial(design)[0], design.name)
        results[name] = who_benefits(trial, fit_models(trial, ["M_B", "M_C"]))
    return results


def process_table(designs: dict[str, Design], results: dict[str, WhoBenefits]) -> Markdown:
    """The interaction of both trials, four ways, with the truth and the verdict."""
    lines = ["| | Persons differ | Items differ |", "|:--|:--|:--|"]
    truth = [f"{number(designs[name].beta_3, 3)}" for name in ("persons", "items")]
    lines.append(f"| True $\\beta_3$ | {truth[0]} | {truth[1]} |")
    for one, other in zip(*(comparison_rows(results[name]) for name in ("persons", "items")), strict=True):
        cells = [value if interval == "–" else f"{value} [{interval}]" for _, value, interval, _ in (one, other)]
        lines.append(f"| {one[0]} | {cells[0]} | {cells[1]} |")
    lines.append(f"| **Verdict** | **{results['persons'].verdict}** | **{results['items'].verdict}** |")
    return Markdown("\n".join(lines))


# -- the grid ------------------------------------------------------------------------------------------------------


def grid_text(trials: pd.DataFrame, summary: pd.DataFrame, about: dict) -> Markdown:
    """What was simulated, and by what; ``about`` is the stored file's metadata."""
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


def grid_findings(summary: pd.DataFrame) -> Markdown:
    """Bias and false positives over the grid, in sentences."""
    none = summary[summary["beta_3"] == 0]
    worst = none.loc[none["rejects_b"].idxmax()]
    where = (
        f"{worst['n_persons']:,.0f} persons, {worst['n_items']:.0f} items, "
        f"$\\sigma_\\zeta = {worst['sigma_zeta']:g}$, $\\rho = {number(worst['rho'], 1)}$"
    )
    gap, rejects = (none["difference"] - none["closed_form"]).abs(), none["rejects_c"]
    return Markdown(
        f"Without item effects in the model, $\\beta_3$ is off by {_range(none['bias_b'])} logits on average, and a "
        f"test at 5% finds an interaction that is not there in up to {worst['rejects_b']:.0%} of the trials ({where}): "
        f"the more persons, the surer the wrong answer. With item effects in the model it is off by "
        f"{_range(none['bias_c'])}, and {rejects.min():.1%} to {rejects.max():.1%} of the tests reject, "
        f"{rejects.mean():.1%} over all cells. The closed form is within {gap.max():.3f} logits of the mean difference "
        f"between the models in every cell, and within {gap.median():.3f} in half of them."
    )


def _range(column: pd.Series) -> str:
    return f"{number(column.min(), 3)} to {number(column.max(), 3)}"


def failure_text(summary: pd.DataFrame) -> Markdown:
    """How the closed form fares in the grid: where it is furthest off, and at sigma_zeta = .8 and rho = 0."""
    none = summary[summary["beta_3"] == 0]
    far = none.loc[(none["difference"] - none["closed_form"]).abs().idxmax()]
    parts = []
    for n_items, rows in none[(none["sigma_zeta"] == 0.8) & (none["rho"] == 0)].groupby("n_items"):
        weight = 1.0 / rows["difference_se"] ** 2
        mean, se = (weight * rows["difference"]).sum() / weight.sum(), weight.sum() ** -0.5
        parts.append(f"{number(mean, 3)} (standard error {se:.3f}) with {n_items} items")
    at_zero = number(float(predicted_bias(GAMMA, 1.0, 0.8, 0.0)), 3)
    form, seen = number(far["closed_form"], 3), number(far["difference"], 3)
    return Markdown(
        f"In the grid it is furthest off with {far['n_persons']:,.0f} persons, {far['n_items']:.0f} items, "
        f"$\\sigma_\\zeta = {far['sigma_zeta']:g}$ and $\\rho = {number(far['rho'], 1)}$: {form} for a mean difference "
        f"of {seen}. Item effects that have nothing to do with easiness, $\\sigma_\\zeta = 0.8$ and $\\rho = 0$, "
        f"stretch the items all the same; it says {at_zero}, and the two models differ by {', by '.join(parts)}."
    )


def limits_table(limits: pd.DataFrame) -> Markdown:
    """Every cell of ``identification_grid.LIMITS``: closed form and simulation."""
    lines = [
        "| Items | $\\sigma_\\theta$ | $\\sigma_b$ | $\\sigma_\\zeta$ | Closed form | $M_B - M_C$ | Ratio |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {row.n_items} | {row.sigma_theta:g} | {row.sigma_b:g} | {row.sigma_zeta:g} | {number(row.closed_form, 3)} "
        f"| {number(row.difference, 3)} ({row.difference_se:.3f}) | {row.difference / row.closed_form:.2f} |"
        for row in limits.itertuples()
    ]
    return Markdown("\n".join(lines))


def grid_alt(summary: pd.DataFrame) -> str:
    """The figure of the grid in words."""
    none = summary[summary["beta_3"] == 0]
    fit = np.corrcoef(none["closed_form"], none["bias_b"])[0, 1]
    low, high = number(none["bias_b"].min(), 2), number(none["bias_b"].max(), 2)
    return (
        f"Mean estimates of an interaction that is 0, by the closed form, {len(none)} cells. Those of M_B follow the "
        f"closed form (correlation {fit:.2f}), from {low} to {high}; those of M_C lie around 0."
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
    """Every cell without a true interaction, folded away."""
    heads = ["Persons", "Items", "σζ", "ρ", "Closed form", "M_B − M_C", "M_B", "M_C", "M_B rejects", "M_C rejects"]

    def mean(row, name: str) -> str:
        return f"{number(getattr(row, name), 3)} ({getattr(row, f'{name}_se'):.3f})"

    rows = [
        [
            f"{row.n_persons:,}", str(row.n_items), f"{row.sigma_zeta:g}", number(row.rho, 1),
            number(row.closed_form, 3), mean(row, "difference"), mean(row, "bias_b"), mean(row, "bias_c"),
            f"{row.rejects_b:.1%}", f"{row.rejects_c:.1%}",
        ]
        for row in summary[summary["beta_3"] == 0].itertuples()
    ]  # fmt: skip
    title = f"All {len(rows)} cells (means of β₃, truth 0; Monte Carlo standard errors in parentheses)"
    table = table_html([dict(zip(heads, row, strict=True)) for row in rows], left=())
    return Markdown(
        f'```{{=html}}\n<details><summary>{title}</summary><div class="table-scroll">{table}</div></details>\n```\n'
    )


def simulated_now(
    stored: pd.DataFrame, trials: int, cell: tuple[float, ...] = (500, 40, 1.0, 1.0, 0.8, 0.8, 0.0)
) -> Markdown:
    """The first ``trials`` trials of one cell simulated again, and how far they are from the stored ones.

    Raises
    ------
    InputError : fewer than one, or more than are stored.
    """
    of_cell = len(stored) // len(GRID)
    if not 1 <= trials <= of_cell:
        raise InputError(
            f"{trials} trials cannot be checked: choose 1 to {of_cell}, as many as are stored of each cell."
        )
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
        f"{trials} trials simulated and fitted just now ({cell[0]} persons, {cell[1]} items, "
        f"$\\sigma_\\zeta = {cell[4]:g}$, $\\rho = {number(cell[5], 1)}$): mean of $\\beta_3$ {b} under $M_B$, {c} "
        f"under $M_C$. The estimates {agreement}."
    )
