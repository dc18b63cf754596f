"""Checking a table before it is fitted: what would be used, and what a researcher should know (``ilhte check``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ilhte_lib.data.baseline import BaselineDifference, baseline_difference
from ilhte_lib.data.columns import as_numbers
from ilhte_lib.data.covariate import Candidate, candidates, judged
from ilhte_lib.data.missing_codes import named_codes, without_codes
from ilhte_lib.data.prepare import prepare
from ilhte_lib.data.scores import coded
from ilhte_lib.data.screening import concerns
from ilhte_lib.data.trial import Trial
from ilhte_lib.data.waves import in_wave
from ilhte_lib.errors import InputError
from ilhte_lib.inference.weak import weakness_sentences, weaknesses

from .irw.format import FormatFinding, format_findings

if TYPE_CHECKING:
    import pandas as pd

ARMS = ("control", "treated")


@dataclass(frozen=True)
class Arm:
    """One arm of the data that would be used.

    Attributes
    ----------
    name : "control" or "treated".
    persons : number of persons that the models would use.
    without_response : further persons of the arm, in the kept wave, without any response.
    expected : number of responses if each of ``persons`` had answered each item.
    missing : how many of these are missing.
    """

    name: str
    persons: int
    without_response: int
    expected: int
    missing: int


@dataclass(frozen=True)
class Wave:
    """A wave of the table, and whether it would be used."""

    name: str
    rows: int
    persons: int
    kept: bool


@dataclass(frozen=True)
class ItemCategories:
    """An item's categories, the lowest first, and the number of responses in each, by arm."""

    item: str
    categories: tuple[str, ...]
    control: tuple[int, ...]
    treated: tuple[int, ...]


@dataclass(frozen=True)
class Column:
    """The content of a required column: number of values, and the most frequent values with their numbers of rows."""

    name: str
    n_values: int
    n_missing: int
    frequent: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Check:
    """The result of checking a table.

    Attributes
    ----------
    tab : the table's name.
    n_rows : number of rows read.
    trial : the trial that would be fitted; None if the table cannot be fitted.
    refusal : why it cannot be fitted, one sentence, or None.
    columns : the content of the required columns; empty if the table can be fitted.
    arms : control, treated; empty if the table cannot be fitted, as are all following attributes except ``findings``.
    waves : in order; empty if the table has none.
    constant, polytomous : items of the kept wave that are left out, with one value, and with more than two.
    categories : items with more than two categories, with the number of responses by arm.
    candidates : columns that could be the covariate.
    baseline : differences between the arms in each numeric candidate and in the covariate used.
    concerns : possible problems to consider before trusting a fit, one sentence each.
    findings : findings of irw-validate; None if it is not installed.
    """

    tab: str
    n_rows: int
    trial: Trial | None
    refusal: str | None
    columns: tuple[Column, ...]
    arms: tuple[Arm, ...]
    waves: tuple[Wave, ...]
    constant: tuple[str, ...]
    polytomous: tuple[str, ...]
    categories: tuple[ItemCategories, ...]
    candidates: tuple[Candidate, ...]
    baseline: dict[str, BaselineDifference]
    concerns: tuple[str, ...]
    findings: list[FormatFinding] | None


def check_table(table: pd.DataFrame, tab: str, **options: Any) -> Check:
    """Check a long table; ``options`` are those of ``prepare``. A table that cannot be fitted is described, not refused."""
    common = {"tab": tab, "n_rows": len(table), "findings": format_findings(table, tab)}
    try:
        trial = prepare(table, tab, **options)
    except InputError as error:
        columns = tuple(_column(table[name]) for name in ("id", "item", "resp", "treat") if _is_one(table, name))
        return Check(
            **common, trial=None, refusal=str(error), columns=columns, arms=(), waves=(), constant=(), polytomous=(),
            categories=(), candidates=(), baseline={}, concerns=(),
        )  # fmt: skip
    labels = options.get("categories") or table.attrs.get("categories")
    codes = named_codes(options.get("missing_codes")) or ()
    known = [name for name in ("resp", trial.covariate_name) if name in table.columns]
    table = table.assign(**{name: without_codes(table[name], codes) for name in known})
    rows = _rows_of_wave(table.assign(resp=coded(table["resp"], tab, labels)), trial)
    values = rows.dropna(subset=["resp"]).groupby("item", sort=False)["resp"].nunique()
    found = candidates(rows)
    if trial.covariate_name and trial.covariate_name not in [c.name for c in found]:
        found.append(judged(rows, trial.covariate_name))
    return Check(
        **common,
        trial=trial,
        refusal=None,
        columns=(),
        arms=_arms(rows, trial),
        waves=_waves(table, trial),
        constant=tuple(map(str, values.index[values == 1])),
        polytomous=tuple(name for name in map(str, values.index[values > 2]) if name not in trial.item_names),
        categories=_categories(trial),
        candidates=tuple(found),
        baseline={c.name: _difference(rows, c.name, trial) for c in found if not c.fault},
        concerns=(*weakness_sentences(weaknesses(trial, {})), *concerns(trial, rows)),
    )


def _categories(trial: Trial) -> tuple[ItemCategories, ...]:
    if trial.formats is None:
        return ()
    width = trial.formats.most + 1
    cell = (trial.treat[trial.person].astype(int) * trial.n_items + trial.item) * width + trial.resp
    counts = np.bincount(cell, minlength=2 * trial.n_items * width).reshape(2, trial.n_items, width)
    return tuple(
        ItemCategories(name, names, *(tuple(counts[arm, k, : len(names)].tolist()) for arm in (0, 1)))
        for k, (name, names) in enumerate(zip(trial.item_names, trial.categories, strict=True))
    )


def _is_one(table: pd.DataFrame, name: str) -> bool:
    return list(table.columns).count(name) == 1


def _column(values: pd.Series) -> Column:
    counts = values.dropna().astype(str).value_counts()
    frequent = tuple((str(value), int(count)) for value, count in counts.head(5).items())
    return Column(str(values.name), len(counts), int(values.isna().sum()), frequent)


def _rows_of_wave(table: pd.DataFrame, trial: Trial) -> pd.DataFrame:
    """Rows of the kept wave that name person, item and arm, with ``resp`` and ``treat`` as numbers."""
    rows = table if trial.wave is None else table[in_wave(table["wave"], trial.wave)]
    rows = rows.dropna(subset=["id", "item", "treat"])
    resp = as_numbers(rows["resp"])
    return rows.assign(resp=np.trunc(resp) if trial.profile == "vignette" else resp, treat=as_numbers(rows["treat"]))


def _arms(rows: pd.DataFrame, trial: Trial) -> tuple[Arm, ...]:
    answered_any = set(rows.loc[rows["resp"].notna(), "id"].drop_duplicates())
    everyone = rows.drop_duplicates("id")
    others = everyone.loc[[person not in answered_any for person in everyone["id"]], "treat"]
    pairs = np.unique(trial.person * trial.n_items + trial.item) // trial.n_items
    arms = []
    for value, name in enumerate(ARMS):
        persons = int((trial.treat == value).sum())
        expected = persons * trial.n_items
        answered = int((trial.treat[pairs] == value).sum())
        arms.append(Arm(name, persons, int((others == value).sum()), expected, expected - answered))
    return tuple(arms)


def _waves(table: pd.DataFrame, trial: Trial) -> tuple[Wave, ...]:
    if "wave" not in table.columns:
        return ()
    waves = []
    for value, rows in table.groupby("wave", sort=False):
        name = f"{value:.15g}" if isinstance(value, (float, np.floating)) else str(value)
        kept = trial.wave is not None and bool(in_wave(rows["wave"].head(1), trial.wave).all())
        waves.append(Wave(name, len(rows), int(rows["id"].nunique()), kept))
    return tuple(sorted(waves, key=lambda wave: _natural_order(wave.name)))


def _natural_order(name: str) -> tuple:
    try:
        return 0, float(name), name
    except ValueError:
        return 1, 0.0, name


def _difference(rows: pd.DataFrame, name: str, trial: Trial) -> BaselineDifference:
    import pandas as pd

    first = rows.assign(value=as_numbers(rows[name])).dropna(subset=["value"]).drop_duplicates("id")
    values = pd.Series(first["value"].to_numpy(), index=first["id"]).reindex(trial.person_ids).to_numpy(float)
    return baseline_difference(values, trial.treat, trial.cluster)
