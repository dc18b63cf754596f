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
from .pages.table import coefficient_with_se, warnings_of
from .words.numbers import number
from .words.printable import printable
from .words.rows import estimate_rows, resampling_rows, resampling_sentence, test_rows, with_units
from .words.sentences import caveat, findings

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
    for sentence in findings(result, inference, lower_is_better=lower_is_better):
        console.print(f"• {printable(sentence, 2000)}", highlight=False)
    warning = caveat(where.info)
    for flag in (*([warning] if warning else []), *warnings_of(trial, result, inference)):
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
        rows = resampling_rows(result, inference)
        if rows:
            console.print(_table("Resampled", rows))
    for note in inference.notes:
        console.print(f"! {printable(note, 2000)}", style="yellow", highlight=False)


def _table(title: str, rows: list[dict[str, str]]) -> Table:
    """Rows as a table that fits a narrow terminal: units beside names, words to the left, numbers to the right."""
    table = Table(title=title, title_justify="left", box=SIMPLE, collapse_padding=True, pad_edge=False)
    rows = with_units(rows)
    for column in rows[0]:
        left = column in ("", "p-value", "Null distribution")
        # a long interval goes on in the next line: a number is never cut
        table.add_column(
            column, justify="left" if left else "right", no_wrap=column in ("Estimate", "SE", "Model SE", "p")
        )
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
    title = f"Items, from the most positive effect to the most negative ({result.scale.unit.of_persons})"
    table = Table(title=title, title_justify="left", box=SIMPLE, collapse_padding=True)
    for column in ("item", "control", "treated", "easiness", "effect", "SE"):
        table.add_column(column, justify="left" if column == "item" else "right")
    ordered = result.shown_items
    shown = ordered if len(ordered) <= most else [*ordered[: most - most // 2], None, *ordered[-(most // 2) :]]
    for item in shown:
        if item is None:
            table.add_row("…")
            continue
        table.add_row(
            printable(item.name),
            number(item.p_ctrl, 2),
            number(item.p_treat, 2),
            number(item.easiness, 2),
            number(item.effect, 2),
            number(item.se, 2),
        )
    if len(ordered) > most:
        table.caption = f"{len(ordered) - most} items between these are in the JSON document (--json)."
    return table
