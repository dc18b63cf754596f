"""What ``ilhte check`` prints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.table import Table

from ilhte_lib.data.baseline import BaselineDifference
from ilhte_lib.data.trial import Trial
from ilhte_lib.messages import counted

from .intake.check import Arm, Check, Column, ItemCategories, Wave
from .words.numbers import number
from .words.printable import printable

if TYPE_CHECKING:
    from rich.console import Console

    from ilhte_lib.data.large import LargeTrial

_MOST_NAMES = 10
_MOST_ITEMS = 80


def print_check(console: Console, found: Check) -> None:
    """The findings, most important first; names and values out of the file are made safe for the terminal."""
    console.print(f"[bold]{printable(found.tab)}[/bold]  {found.n_rows} rows", highlight=False)
    if found.trial is None:
        console.print("It cannot be fitted as it is; the reason stands at the end.", style="red")
        console.print(_columns(found.columns))
    else:
        _print_use(console, found, found.trial)
    console.print()
    _print_format(console, found)


def print_large_check(console: Console, trial: LargeTrial) -> None:
    """What would be used of a file that is read out of core."""
    console.print(f"[bold]{printable(trial.tab)}[/bold]  read out of core", highlight=False)
    _print_counts(console, trial)
    for flag in trial.flags:
        console.print(f"! {printable(flag, 2000)}", style="yellow", highlight=False)
    _print_audit(console, trial)


def _print_use(console: Console, found: Check, trial: Trial) -> None:
    _print_counts(console, trial)
    for flag in (*trial.flags, *found.concerns):
        console.print(f"! {printable(flag, 2000)}", style="yellow", highlight=False)
    console.print()
    console.print(_arms(found.arms))
    if found.waves:
        console.print(_waves(found.waves))
    for names, what in ((found.constant, "a single value"), (found.polytomous, "more than two values")):
        if names:
            console.print(f"Items with {what}, left out: {_some(names)}.", highlight=False)
    if found.categories:
        console.print(_categories(found.categories))
    if found.candidates:
        console.print(_candidates(found, trial))
        console.print(_baseline_sentence(found.baseline, clustered=trial.cluster is not None), highlight=False)
    console.print()
    _print_audit(console, trial)


def _print_counts(console: Console, trial: Trial | LargeTrial) -> None:
    console.print("What would be used:")
    lines = [
        f"{trial.n_persons} persons, {trial.n_items} items, {trial.n_responses} responses; profile {trial.profile}",
        f"models {'M_0, M_A, M_B and M_C' if trial.covariate_name else 'M_0 and M_A, as there is no covariate'}",
    ]
    if trial.wave is not None:
        lines.append(f"wave {printable(trial.wave)}")
    if trial.covariate_name:
        lines.append(f"covariate {printable(trial.covariate_name)}, {_correlation(trial.covariate_correlation)}")
    if trial.n_clusters is not None:
        has = "with random effects in the models" if trial.clusters_modelled else "not in the models"
        lines.append(f"{counted(trial.n_clusters, 'cluster', 'clusters')}, {has}")
    for line in lines:
        console.print(f"  {line}", highlight=False)


def _print_audit(console: Console, trial: Trial | LargeTrial) -> None:
    console.print("What was left out or noted:" if trial.audit else "Nothing was left out.", highlight=False)
    for entry in trial.audit:
        lost = ", ".join(
            f"{n} {what}" for n, what in ((entry.rows, "rows"), (entry.persons, "persons"), (entry.items, "items")) if n
        )
        text = f"  {entry.step}: {entry.reason}{f' ({lost} left out)' if lost else ''}"
        console.print(printable(text, 2000), style="dim", highlight=False)


def _print_format(console: Console, found: Check) -> None:
    if found.findings is None:
        console.print('The format of the IRW was not checked: pip install "ilhte\\[formats]" brings irw-validate.')
        return
    refused = sum(finding.refused for finding in found.findings)
    verdict = f"would refuse this table for {refused} of these" if refused else "would take this table"
    if not found.findings:
        console.print("The Item Response Warehouse's own checker (irw-validate) finds nothing amiss.", highlight=False)
        return
    console.print(f"The Item Response Warehouse's own checker (irw-validate) {verdict}:", highlight=False)
    for finding in found.findings:
        text = f"  {'refused' if finding.refused else 'noted'}: {finding.sentence}"
        console.print(printable(text, 600), style="yellow" if finding.refused else "dim", highlight=False)


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE)
    for position, column in enumerate(columns):
        table.add_column(column, justify="right" if position else "left")
    for row in rows:
        table.add_row(*row)
    return table


def _arms(arms: Sequence[Arm]) -> Table:
    rows = [
        (arm.name, str(arm.persons), str(arm.silent), str(arm.missing), f"{100 * arm.missing / arm.expected:.1f}%")
        for arm in arms
    ]
    return _table("Arms", ("arm", "persons", "without any response", "missing responses", "share"), rows)


def _categories(items: Sequence[ItemCategories]) -> Table:
    """Shares of the categories, in percent, an item a row; those of a category that an arm never chose stand out as 0."""

    def shares(counts: Sequence[int]) -> str:
        total = max(sum(counts), 1)
        return " ".join(f"{100 * n / total:.0f}" if n == 0 or n / total >= 0.005 else "<1" for n in counts)

    rows = [
        (printable(i.item), printable(" < ".join(i.categories), 60), shares(i.control), shares(i.treated))
        for i in items[:_MOST_ITEMS]
    ]
    title = "Categories by arm, percent"
    title += "" if len(items) <= _MOST_ITEMS else f"; the first {_MOST_ITEMS} of {len(items)} items"
    return _table(title, ("item", "categories", "control", "treated"), rows)


def _waves(waves: Sequence[Wave]) -> Table:
    rows = [
        (printable(wave.name), str(wave.rows), str(wave.persons), "kept" if wave.kept else "")
        for wave in waves[:_MOST_NAMES]
    ]
    title = "Waves" if len(waves) <= _MOST_NAMES else f"Waves, the first {_MOST_NAMES} of {len(waves)}"
    return _table(title, ("wave", "rows", "persons", ""), rows)


def _columns(columns: Sequence[Column]) -> Table:
    rows = [
        (
            column.name,
            str(column.n_values),
            str(column.n_missing),
            ", ".join(f"{printable(value, 20)} ({count})" for value, count in column.frequent),
        )
        for column in columns
    ]
    return _table("What the columns hold", ("column", "values", "empty", "most frequent (rows)"), rows)


def _candidates(found: Check, trial: Trial) -> Table:
    rows = []
    for candidate in found.candidates:
        chosen = "used" if candidate.name == trial.covariate_name else ""
        if candidate.fault:
            rows.append((printable(candidate.name), "–", "–", printable(f"not usable: {candidate.fault}", 200)))
            continue
        difference = found.baseline[candidate.name]
        smd = f"{number(difference.smd, 2)} ({number(difference.se, 2)})"
        rows.append((printable(candidate.name), number(candidate.correlation, 2), smd, chosen))
    return _table(
        "Covariates: correlation with the responses under control; treated minus control in SDs (standard error)",
        ("column", "correlation", "difference", ""),
        rows,
    )


def _baseline_sentence(baseline: dict[str, BaselineDifference], *, clustered: bool) -> str:
    known = {name: d for name, d in baseline.items() if d.se > 0}
    if not known:
        return "Whether the arms differ at baseline is not known."
    apart = [name for name, d in known.items() if abs(d.smd) > 1.96 * d.se]
    errors = "standard errors of clusters" if clustered else "persons taken as independent"
    if not apart:
        return f"The arms do not differ at baseline by more than chance would have it ({errors})."
    return (
        f"The arms differ at baseline in {_some(apart)} by more than 1.96 standard errors ({errors}); chance alone does "
        f"that to one covariate in 20, and {len(known)} {'is' if len(known) == 1 else 'are'} compared here."
    )


def _correlation(value: float) -> str:
    return f"correlation with the responses under control {number(value, 2)}"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:_MOST_NAMES])
    return shown if len(names) <= _MOST_NAMES else f"{shown} and {len(names) - _MOST_NAMES} more"
