"""What the commands print: one table's results, the progress of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.table import Table

from ilhte_lib.effects import Effects
from ilhte_lib.mixed_model import Fit
from ilhte_lib.prepare import Trial

from .printable import printable
from .source import Source
from .table_page import coefficient_with_se, number
from .wording import average_sentence, caveat, interaction_sentence, item_spread_sentence, test_sentence

if TYPE_CHECKING:
    from rich.console import Console


def print_results(
    console: Console,
    where: Source,
    trial: Trial,
    fits: dict[str, Fit],
    result: Effects,
    *,
    lower_is_better: bool = False,
    most_items: int = 60,
) -> None:
    """A summary a researcher can read, then the audit, the models and the items."""
    row = result.summary
    console.print(f"[bold]{printable(trial.tab)}[/bold]  profile {trial.profile}, engine {row['engine']}")
    console.print(
        f"{row['n_persons']} persons, {row['n_items']} items, {row['n_responses']} responses", highlight=False
    )
    for entry in trial.audit:
        lost = ", ".join(
            f"{n} {what}" for n, what in ((entry.rows, "rows"), (entry.persons, "persons"), (entry.items, "items")) if n
        )
        console.print(
            f"  {entry.step}: {printable(entry.reason, 2000)}{f' ({lost} left out)' if lost else ''}",
            style="dim",
            highlight=False,
        )
    console.print()
    for sentence in (
        average_sentence(row, lower_is_better=lower_is_better),
        item_spread_sentence(row),
        test_sentence(row),
        interaction_sentence(row),
    ):
        console.print(f"• {printable(sentence, 2000)}", highlight=False)
    warning = caveat(where.info)
    for flag in (*([warning] if warning else []), *trial.flags, *(m for fit in fits.values() for m in fit.messages)):
        console.print(f"! {printable(flag, 2000)}", style="yellow", highlight=False)
    console.print()
    console.print(_models(fits))
    console.print(_items(result, most_items))


def _models(fits: dict[str, Fit]) -> Table:
    """One column a model, so that four fit on a narrow terminal."""
    table = Table(title="Models (logits; standard errors in parentheses)", title_justify="left", box=SIMPLE)
    table.add_column("")
    for name in fits:
        table.add_column(name, justify="right")

    def add(label: str, values: list[str]) -> None:
        if any(values):
            table.add_row(label, *values)

    for coefficient in ("treat", "cov", "treat:cov"):
        add(
            coefficient,
            [
                coefficient_with_se(fit, coefficient) if coefficient in fit.spec.beta_names else ""
                for fit in fits.values()
            ],
        )
    add("sigma_theta", [number(fit.sigma_theta, 3) for fit in fits.values()])
    add("sigma_b", [number(fit.sigma_b, 3) for fit in fits.values()])
    add("sigma_zeta", [number(fit.sigma_zeta, 3) if fit.spec.item_effects else "" for fit in fits.values()])
    add("rho", [number(fit.rho, 2) if fit.spec.item_effects else "" for fit in fits.values()])
    add("log-likelihood", [number(fit.loglik, 2) for fit in fits.values()])
    add("optimum", ["certified" if fit.converged else "NOT certified" for fit in fits.values()])
    add("boundary", ["singular" if fit.singular else "" for fit in fits.values()])
    return table


def _items(result: Effects, most: int) -> Table:
    table = Table(title="Items, largest effect first (SDs of the persons)", title_justify="left", box=SIMPLE)
    for column in ("item", "control", "treated", "easiness", "effect", "SE"):
        table.add_column(column, justify="left" if column == "item" else "right")
    ordered = sorted(result.items, key=lambda item: -item["total_std"])
    for item in ordered[:most]:
        table.add_row(
            printable(item["item"]),
            number(item["p_ctrl"], 2),
            number(item["p_treat"], 2),
            number(item["b_std"], 2),
            number(item["total_std"], 2),
            number(item["total_se"], 2),
        )
    if len(ordered) > most:
        table.caption = f"{len(ordered) - most} more items are in the JSON document (--json)."
    return table
