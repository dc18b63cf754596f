"""What ``ilhte check`` says about a table, as sections for the terminal and for the page of ``ilhte app``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ilhte_lib.messages import counted

from ..words.numbers import number
from .section import Section

if TYPE_CHECKING:
    from ilhte_lib.data.baseline import BaselineDifference
    from ilhte_lib.data.large import LargeTrial
    from ilhte_lib.data.trial import Trial

    from ..intake.check import Arm, Check, Column, ItemCategories, Wave
    from ..words.numbers import Row

USED, REFUSED = "What would be used", "It cannot be fitted as it is"
_MOST_NAMES = 10
_MOST_ITEMS = 80


def check_sections(found: Check) -> list[Section]:
    """The sections of a checked table, most important first; for a table that cannot be fitted, what its columns contain."""
    if found.trial is None:
        rows, left = _columns(found.columns), ("Column", "Most frequent (rows)")
        return [
            Section(REFUSED, ("This is what its columns contain.",) if rows else (), rows=rows, left=left),
            _format(found),
        ]
    trial = found.trial
    left_out = tuple(
        f"Items with {what}, left out: {_some(names)}."
        for names, what in ((found.constant, "a single value"), (found.polytomous, "more than two values"))
        if names
    )
    shown = [
        Section(
            USED,
            (f"{found.n_rows} rows were read.", *_counts(trial), *left_out),
            (*trial.flags, *found.concerns),
        ),
        Section("Arms", rows=_arms(found.arms), left=("Arm",)),
    ]
    if found.waves:
        title = "Waves" if len(found.waves) <= _MOST_NAMES else f"Waves, the first {_MOST_NAMES} of {len(found.waves)}"
        shown.append(Section(title, rows=_waves(found.waves), left=("Wave", "")))
    if found.categories:
        more = len(found.categories) - _MOST_ITEMS
        title = "Categories by arm, percent"
        title += f"; the first {_MOST_ITEMS} of {len(found.categories)} items" if more > 0 else ""
        rows = _categories(found.categories[:_MOST_ITEMS])
        shown.append(Section(title, rows=rows, left=("Item", "Categories", "Control", "Treated")))
    if found.candidates:
        shown.append(
            Section(
                "Covariates",
                (_baseline_sentence(found.baseline, clustered=trial.cluster is not None),),
                rows=_candidates(found, trial),
                left=("Column", ""),
                note="Correlation with the responses in the control arm; difference, treated minus control, in SDs (standard error).",
            )
        )
    return [*shown, _left_out(trial), _format(found)]


def large_check_sections(trial: LargeTrial) -> list[Section]:
    """What would be used of a file that is read out of core."""
    return [Section(USED, ("The file is read out of core.", *_counts(trial)), trial.flags), _left_out(trial)]


def _counts(trial: Trial | LargeTrial) -> tuple[str, ...]:
    size = f"{trial.n_persons} persons, {trial.n_items} items, {trial.n_responses} responses; profile {trial.profile}."
    lines = [size]
    if trial.covariate_name:
        correlation = (
            f"whose correlation with the responses in the control arm is {number(trial.covariate_correlation, 2)}"
        )
        lines.append(
            f"The models M_0, M_A, M_B and M_C would be fitted, the last two with the covariate {trial.covariate_name}, {correlation}."
        )
    else:
        lines.append("The models M_0 and M_A would be fitted, as there is no covariate.")
    if trial.wave is not None:
        lines.append(f"Only wave {trial.wave} is used.")
    if trial.n_clusters is not None:
        has = "with random effects in the models" if trial.clusters_modelled else "not in the models"
        lines.append(f"{counted(trial.n_clusters, 'cluster', 'clusters')}, {has}.")
    return tuple(lines)


def _left_out(trial: Trial | LargeTrial) -> Section:
    lines = []
    for entry in trial.audit:
        lost = ", ".join(
            f"{n} {what}" for n, what in ((entry.rows, "rows"), (entry.persons, "persons"), (entry.items, "items")) if n
        )
        lines.append(f"{entry.step}: {entry.reason}{f' ({lost} left out)' if lost else ''}")
    return Section("What was left out or noted", tuple(lines) or ("Nothing was left out.",))


def _format(found: Check) -> Section:
    title, checker = (
        "The format of the Item Response Warehouse",
        "The Item Response Warehouse's own checker (irw-validate)",
    )
    if found.findings is None:
        missing = 'The format of the IRW was not checked: pip install "ilhte[formats]" brings irw-validate.'
        return Section(title, (missing,))
    if not found.findings:
        return Section(title, (f"{checker} finds no problem.",))
    refused = [finding.sentence for finding in found.findings if finding.refused]
    noted = [finding.sentence for finding in found.findings if not finding.refused]
    verdict = "would accept this table"
    if refused:
        verdict = f"would reject this table for {len(refused)} of these reasons, which matters for sharing it there, not for fitting it"
    said = (f"{checker} {verdict}:", *(f"noted: {sentence}" for sentence in noted))
    return Section(title, said, tuple(f"refused: {sentence}" for sentence in refused))


def _arms(arms: Sequence[Arm]) -> tuple[Row, ...]:
    return tuple(
        {
            "Arm": arm.name,
            "Persons": str(arm.persons),
            "Without any response": str(arm.without_response),
            "Missing responses": str(arm.missing),
            "Share": f"{100 * arm.missing / arm.expected:.1f}%",
        }
        for arm in arms
    )


def _categories(items: Sequence[ItemCategories]) -> tuple[Row, ...]:
    """Percentages of the categories, one row per item; only a category that an arm never chose is shown as 0."""

    def shares(counts: Sequence[int]) -> str:
        total = max(sum(counts), 1)
        return " ".join(f"{100 * n / total:.0f}" if n == 0 or n / total >= 0.005 else "<1" for n in counts)

    return tuple(
        {
            "Item": item.item,
            "Categories": _short(" < ".join(item.categories), 60),
            "Control": shares(item.control),
            "Treated": shares(item.treated),
        }
        for item in items
    )


def _waves(waves: Sequence[Wave]) -> tuple[Row, ...]:
    return tuple(
        {"Wave": wave.name, "Rows": str(wave.rows), "Persons": str(wave.persons), "": "kept" if wave.kept else ""}
        for wave in waves[:_MOST_NAMES]
    )


def _columns(columns: Sequence[Column]) -> tuple[Row, ...]:
    return tuple(
        {
            "Column": column.name,
            "Values": str(column.n_values),
            "Empty": str(column.n_missing),
            "Most frequent (rows)": ", ".join(f"{_short(value, 20)} ({count})" for value, count in column.frequent),
        }
        for column in columns
    )


def _candidates(found: Check, trial: Trial) -> tuple[Row, ...]:
    rows = []
    for candidate in found.candidates:
        cells = {"Column": candidate.name, "Correlation": "–", "Difference": "–"}
        if candidate.fault:
            rows.append({**cells, "": f"not usable: {candidate.fault}"})
            continue
        difference = found.baseline[candidate.name]
        cells["Correlation"] = number(candidate.correlation, 2)
        cells["Difference"] = f"{number(difference.smd, 2)} ({number(difference.se, 2)})"
        rows.append({**cells, "": "used" if candidate.name == trial.covariate_name else ""})
    return tuple(rows)


def _baseline_sentence(baseline: dict[str, BaselineDifference], *, clustered: bool) -> str:
    known = {name: d for name, d in baseline.items() if d.se > 0}
    if not known:
        return "Whether the arms differ at baseline is not known."
    apart = [name for name, d in known.items() if abs(d.smd) > 1.96 * d.se]
    errors = "standard errors allow for clusters" if clustered else "persons treated as independent"
    if not apart:
        return f"The arms do not differ at baseline by more than would be expected by chance ({errors})."
    return (
        f"The arms differ at baseline in {_some(apart)} by more than 1.96 standard errors ({errors}); by chance alone this "
        f"happens with one covariate in 20, and {len(known)} {'is' if len(known) == 1 else 'are'} compared here."
    )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMES])
    return shown if len(names) <= _MOST_NAMES else f"{shown} and {len(names) - _MOST_NAMES} more"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."
