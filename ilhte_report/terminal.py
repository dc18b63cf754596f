"""What the commands print: one table's results, the progress of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.table import Table

from ilhte_lib.data.trial import Trial
from ilhte_lib.inference.effects import Effects
from ilhte_lib.inference.infer import Inference
from ilhte_lib.model.fit_result import Fit

from .intake.source import Source
from .pages.table import cluster_sentences, coefficient_with_se
from .words.numbers import number
from .words.printable import printable
from .words.rows import estimate_rows, resampling_rows, resampling_sentence, test_rows, told_summary, with_units
from .words.sentences import average_sentence, caveat, interaction_sentence, item_spread_sentence, test_sentence

if TYPE_CHECKING:
    from rich.console import Console


def print_results(
    console: Console,
    where: Source,
    trial: Trial,
    fits: dict[str, Fit],
    result: Effects,
    inference: Inference | None = None,
    *,
    lower_is_better: bool = False,
    most_items: int = 60,
) -> None:
    """A summary a researcher can read, then the audit, intervals and tests, the models and the items."""
    row = told_summary(result, inference)
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
    said = cluster_sentences(result, inference)
    for flag in (
        *([warning] if warning else []),
        *said,
        *trial.flags,
        *(m for fit in fits.values() for m in fit.messages),
    ):
        console.print(f"! {printable(flag, 2000)}", style="yellow", highlight=False)
    console.print()
    if inference is not None:
        _print_inference(console, result, inference)
    console.print(_models(fits))
    console.print(_items(result, most_items))


def _print_inference(console: Console, result: Effects, inference: Inference) -> None:
    """Intervals, three p-values, what was resampled, and why something is missing."""
    console.print(_table("Estimates with 95% intervals", estimate_rows(result, inference)))
    console.print(_table("Test of equal effects on all items", test_rows(inference)))
    if inference.resampling is not None:
        console.print(printable(resampling_sentence(inference), 2000), highlight=False)
        console.print(_table("Resampled", resampling_rows(result, inference)))
    for note in inference.notes:
        console.print(f"! {printable(note, 2000)}", style="yellow", highlight=False)


def _table(title: str, rows: list[dict[str, str]]) -> Table:
    """Rows as a table that fits a narrow terminal: units beside names, words to the left, numbers to the right."""
    table = Table(title=title, title_justify="left", box=SIMPLE)
    rows = with_units(rows)
    for column in rows[0]:
        left = column in ("", "p-value", "Null distribution")
        table.add_column(column, justify="left" if left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(printable, row.values()))
    return table


def _models(fits: dict[str, Fit]) -> Table:
    """One column a model, so that four fit on a narrow terminal."""
    table = Table(
        title="Models (logits; standard errors in parentheses)", title_justify="left", box=SIMPLE, collapse_padding=True
    )
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
    add("loglik", [number(fit.loglik, 2) for fit in fits.values()])
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
