"""The trial in a table: the analysed wave, with a pretest from an earlier wave on request, and the other waves beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..messages import counted, listed, quoted
from .arms import BESIDE, arms_of, chosen_arms, one_arm_each
from .columns import as_numbers
from .covariate import is_covariate
from .options import DataOptions
from .prepare import person_covariate, prepare
from .trial import Audit, OtherWave, Trial
from .waves import in_wave

if TYPE_CHECKING:
    import pandas as pd

MOST_WAVES = 12
"""At most this many other waves are prepared, in order."""


def prepare_design(table: pd.DataFrame, tab: str, data: DataOptions) -> Trial:
    """The trial in a long table under the data options: ``prepare``, a pretest from an earlier wave, and the other waves.

    For a table with several arms and a named control, the trial of the first arm, whose ``arms`` holds those of all.

    Raises
    ------
    InputError : the table cannot be used this way; one sentence names the reason and the remedy.
    """
    known = arms_of(table)
    if known is not None and len(chosen := chosen_arms(table, tab, data.arms)) > 1:
        if not data.id_within_cluster:
            one_arm_each(table, tab)
        trials = tuple(
            (arm, prepare_design(table, f"{tab}{BESIDE}{arm}", replace(data, arms=(arm,)))) for arm in chosen
        )
        return replace(trials[0][1], tab=tab, arms=trials, control=known[0])
    if data.pretest_from_wave is None:
        trial = prepare(table, tab, **data.rules)
    else:
        trial = _with_pretest(table, tab, data, data.pretest_from_wave)
    return replace(trial, other_waves=_other_waves(table, tab, data, trial))


def _names(table: pd.DataFrame) -> list[str]:
    """Names of a table's waves: numbers in ascending order, other names in order of appearance."""
    numbers = as_numbers(table["wave"])
    if numbers.notna().sum() == table["wave"].notna().sum():
        return [f"{level:.15g}" for level in sorted(numbers.dropna().unique())]
    return list(dict.fromkeys(table["wave"].dropna().astype(str)))


def _position(wave: str) -> float:
    """The wave as a number; NaN if it has a name."""
    try:
        return float(wave)
    except ValueError:
        return float("nan")


def _is_before(wave: str, analysed: str, data: DataOptions) -> bool:
    """Whether a wave is known to precede randomisation."""
    return wave == data.pretest_from_wave or _position(wave) <= 0.0 < _position(analysed)


def _of_wave(table: pd.DataFrame, tab: str, wave: str, data: DataOptions) -> Trial:
    """One wave prepared by the same rules, without a covariate, and without clusters if they cannot be modelled in it."""
    own = _without_covariates(table)
    rules = {**data.rules, "wave": wave, "covariate": None, "contrast": None}
    if wave == data.wave:
        return prepare(own, tab, **rules)
    try:
        return prepare(own, tab, **rules)
    except InputError:
        # a follow-up in a single cluster cannot have cluster effects
        return prepare(own, tab, **{**rules, "cluster_effects": False, "ignore_clusters": True})


def _without_covariates(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns=[name for name in map(str, table.columns) if is_covariate(name)])


def _other_waves(table: pd.DataFrame, tab: str, data: DataOptions, trial: Trial) -> tuple[OtherWave, ...]:
    if trial.wave is None or data.profile != "full":
        return ()
    names = [
        name for name in _names(table) if not in_wave(table["wave"], name).equals(in_wave(table["wave"], trial.wave))
    ]
    found = []
    for name in names[:MOST_WAVES]:
        before = _is_before(name, trial.wave, data)
        try:
            found.append(OtherWave(name, before, _of_wave(table, tab, name, data)))
        except InputError as reason:
            found.append(OtherWave(name, before, None, str(reason)))
    return tuple(found)


def _with_pretest(table: pd.DataFrame, tab: str, data: DataOptions, wave: str) -> Trial:
    """The trial with the mean score on its own items at an earlier wave as covariate.

    Raises
    ------
    InputError : a covariate is named as well, there is no such wave, or it cannot serve as baseline.
    """
    if data.covariate is not None:
        raise InputError("--pretest-from-wave takes the covariate from an earlier wave: leave out --covariate.")
    if data.profile != "full":
        raise InputError("The vignette keeps only wave 1: use profile full with --pretest-from-wave.")
    if "wave" not in table.columns:
        raise InputError(
            f"Table {quoted(tab)} has no column wave, so no baseline at wave {quoted(wave)}: name the column of waves with --wave-column."
        )
    if not in_wave(table["wave"], wave).any():
        raise InputError(
            f"Table {quoted(tab)} has no rows of wave {quoted(wave)} to take a pretest from (it has {listed(_names(table), 6)}): "
            "choose one of these (option --pretest-from-wave)."
        )
    trial = _of_wave(table, tab, data.wave, data) if data.wave is not None else _first_after(table, tab, data, wave)
    if in_wave(table["wave"], wave).equals(in_wave(table["wave"], str(trial.wave))):
        raise InputError(f"Wave {quoted(wave)} is the wave analysed: take the pretest from an earlier wave.")
    if _position(wave) > _position(str(trial.wave)):
        raise InputError(
            f"Wave {quoted(wave)} comes after wave {quoted(str(trial.wave))}, the wave analysed: take the pretest from an earlier wave."
        )
    try:
        baseline = _of_wave(table, tab, wave, data)
    except InputError as reason:
        raise InputError(f"Wave {quoted(wave)} cannot serve as baseline: {reason}") from None
    common = [name for name in trial.item_names if name in baseline.item_names]
    if not common:
        raise InputError(
            f"Wave {quoted(wave)} has none of the items of wave {quoted(str(trial.wave))}: take the pretest from a wave with the same items."
        )
    score = _mean_scores(baseline, common, trial.person_ids)
    audit = Audit()
    name = f"score at wave {wave}"
    lacking = int(np.isnan(score).sum())
    if lacking == len(score):
        raise InputError(
            f"No person at wave {quoted(str(trial.wave))} has a response at wave {quoted(wave)}: check that ids are the same at both."
        )
    audit.note(
        "covariate",
        f"The covariate is the mean score on {counted(len(common), 'item', 'items')} at wave {quoted(wave)}, over those the person answered.",
    )
    values = person_covariate(score[trial.person], trial.person, trial.treat, name, "full", audit)
    if values is None:
        raise InputError(f"The scores at wave {quoted(wave)} do not vary in each arm: leave out --pretest-from-wave.")
    control = (trial.treat[trial.person] == 0) & ~np.isnan(score[trial.person])
    correlation = float(np.corrcoef(score[trial.person][control], trial.resp[control])[0, 1])
    flags = [f"{counted(lacking, 'person has', 'persons have')} no score at wave {quoted(wave)}."] if lacking else []
    kept = [entry for entry in trial.audit if entry.step != "covariate"]
    return replace(
        trial,
        covariate=values,
        covariate_name=name,
        covariate_correlation=correlation,
        audit=(*kept, *audit.entries),
        flags=(*trial.flags, *audit.flags, *flags),
    )


def _first_after(table: pd.DataFrame, tab: str, data: DataOptions, baseline: str) -> Trial:
    """The trial at the wave analysed by default; with two waves, the one that is not the baseline."""
    names = _names(table)
    others = [name for name in names if not in_wave(table["wave"], name).equals(in_wave(table["wave"], baseline))]
    if len(others) == 1:
        return _of_wave(table, tab, others[0], data)
    return prepare(_without_covariates(table), tab, **data.rules)


def _mean_scores(baseline: Trial, items: list[str], person_ids: np.ndarray) -> np.ndarray:
    """(P,) mean score of each person over the items answered; NaN if none was."""
    position = {name: k for k, name in enumerate(baseline.item_names)}
    used = np.isin(baseline.item, [position[name] for name in items])
    size = baseline.n_persons
    total = np.bincount(baseline.person[used], weights=baseline.resp[used], minlength=size)
    answers = np.bincount(baseline.person[used], minlength=size)
    of_person = {person: k for k, person in enumerate(baseline.person_ids.tolist())}
    where = np.array([of_person.get(person, -1) for person in person_ids.tolist()])
    with np.errstate(invalid="ignore"):
        mean = total / answers
    return np.where(where >= 0, mean[where], np.nan)
