"""From a long table to the arrays that models are fitted to, with every dropped row, person and item counted.

There are two profiles: ``vignette`` applies the rules of the published analysis to the letter; ``full``, for a researcher's own
data, keeps what those rules discard and refuses what they overlook.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..messages import counted, listed, quoted
from ..model.formats import ItemFormats, StepForm
from .arms import one_arm
from .clusters import (
    check_clusters,
    cluster_model,
    hidden_clusters,
    in_clusters,
    person_cluster,
    refuse_changing,
    too_few_to_model,
)
from .columns import as_numbers, without_blanks
from .contrast import with_contrast
from .covariate import Candidate, candidates, is_covariate, judged
from .identifiers import check_identifiers, item_labels, natural_key
from .item_covariates import of_columns
from .items import keep_binary_items, keep_items, note_items_of_one_arm
from .missing_codes import named_codes, suspected_in, suspicion, without_codes
from .persons import check_repeats, ids_restart, restarting_within, within_clusters
from .scores import category_names, coded, dichotomised, labels_of, scores
from .trial import Audit, ClusterModel, Trial
from .waves import keep_wave

if TYPE_CHECKING:
    import pandas as pd

PROFILES = ("vignette", "full")
REQUIRED_COLUMNS = ("id", "item", "resp", "treat")
VIGNETTE_MAX_PERSONS = 5000
VIGNETTE_SEED = 42


def prepare(
    table: pd.DataFrame,
    tab: str = "table",
    *,
    profile: str = "full",
    covariate: str | None = None,
    contrast: str | None = None,
    wave: str | None = None,
    max_persons: int | None = None,
    repeated: str = "error",
    cluster: str | None = None,
    id_within_cluster: bool = False,
    cluster_effects: bool = False,
    ignore_clusters: bool = False,
    missing_codes: Sequence[str] | None = None,
    categories: Sequence[str] | None = None,
    threshold: float | None = None,
    steps: str = StepForm.RATING,
    arms: Sequence[str] | None = None,
) -> Trial:
    """Apply a profile's rules to a long table.

    Parameters
    ----------
    table : one row per response, with columns id, item, resp, treat and optionally wave, cluster, std_baseline and cov_*.
    tab : its name, for messages and results.
    profile : "vignette" or "full".
    covariate : the covariate's column; default std_baseline, otherwise the cov_* column most correlated with resp among
        control rows.
    contrast : the label of a categorical covariate to compare with the others (``contrast.with_contrast``).
    wave : the wave to keep (profile full); default the first after randomisation, if that can be determined (``keep_wave``).
    max_persons : randomly sample at most this many persons; 0 for all. Default 5,000 under vignette, all under full.
    repeated : "error" or "trials", the treatment of several rows for one person and item (vignette always counts trials).
    cluster : the column of clusters; default ``cluster`` if present, which is modelled if it has at least three values.
    id_within_cluster : whether ids are unique only within a cluster.
    cluster_effects : whether the effect may differ between clusters that hold both arms, ``(treat|cluster)``; otherwise only
        their level, ``(1|cluster)``. Under vignette, as published, the models have no clusters.
    ignore_clusters : whether the models leave clusters out.
    missing_codes : numbers or words that mean a missing response, arm, cluster or covariate; ``("none",)`` for none. Default:
        those that stand apart in a covariate (``missing_codes.suspected``) or an item.
    categories : labels of text responses from the lowest category to the highest; default the file's order of labels, if it
        has one.
    threshold : score responses at or above it as 1, others as 0. Default: under full, ordered categories are modelled; under
        vignette, as published, items with more than two values are left out.
    arms : the one arm to compare with control, for a table with several (``arms``).
    steps : "rating" (items with the same number of categories share their steps) or "partial".

    Blank text is missing. ``table.attrs`` may hold "cautions", sentences for the flags; "waves", see ``keep_wave``;
    "one_row_a_person", see ``check_repeats``; and "value_labels", {column: {code: label}}.

    Raises
    ------
    InputError : the table cannot be used; one sentence names the column, rows or items and the remedy.
    """
    if profile not in PROFILES:
        raise InputError(f"Profile '{profile}' is not known: use one of {', '.join(PROFILES)}.")
    if steps not in tuple(StepForm):
        raise InputError(f"Steps {quoted(str(steps))} are not known: use one of {', '.join(StepForm)}.")
    vignette = profile == "vignette"
    audit = Audit()
    check_columns(table, tab, covariate, cluster)
    codes = named_codes(missing_codes)
    found = cluster is None
    cluster = cluster or ("cluster" if "cluster" in table.columns else None)
    audit.flags += table.attrs.get("cautions", [])
    table = one_arm(table.reset_index(drop=True), tab, arms, audit)
    table = _with_missing(table, covariate, cluster, codes or ())
    table = _drop_unnamed(table, audit)
    table = table.assign(**{column: check_identifiers(table[column], column, tab) for column in ("id", "item")})
    if id_within_cluster:
        if cluster is None:
            raise InputError("--id-within-cluster needs the column of clusters: name it with --cluster.")
        table = within_clusters(table, cluster, audit)

    table, kept_wave = keep_wave(table, tab, vignette, wave, audit)
    table = table.assign(resp=coded(table["resp"], tab, categories or table.attrs.get("categories")))
    responses = dichotomised(_numeric(table, "resp", tab), threshold)
    table = table.assign(resp=responses, treat=_numeric(table, "treat", tab, allowed=(0.0, 1.0)))
    _check_arms(table, tab)

    table, covariate = with_contrast(table, tab, covariate, contrast)
    if codes is None:
        table = _without_suspects(table, covariate, audit)
    chosen, correlation = _choose_covariate(table, tab, covariate, audit)
    if vignette:
        table["resp"] = np.trunc(table["resp"])
    table = _drop_unanswered(table, audit)
    table = audit.keep(table, table["treat"].notna(), "missing arm", "The treatment indicator is missing.")
    if chosen:
        table = table.assign(**{chosen: as_numbers(table[chosen])})
        if vignette:
            table = audit.keep(
                table,
                table[chosen].notna(),
                "missing covariate",
                f"The covariate {quoted(chosen)} is missing; the vignette drops such rows from every model.",
            )
    modelled = cluster_model(cluster, vignette, cluster_effects, ignore_clusters)
    if found and too_few_to_model(table, modelled, audit):
        modelled = ClusterModel.NONE
    if modelled is not ClusterModel.NONE:
        table = in_clusters(table, str(cluster), audit)
    table = _draw_persons(table, tab, vignette, max_persons, audit)
    labels = table.attrs.get("value_labels", {}).get("resp", {})
    labels = labels_of(categories or table.attrs.get("categories")) or labels
    values: dict = {}
    if vignette:
        table = keep_binary_items(table, tab, True, audit)
    else:
        table, values = keep_items(table, tab, codes is not None, audit)
    _check_arms(table, tab)
    again = table[table.duplicated(["id", "item"])]
    check_repeats(table, tab, vignette, repeated, "; ".join(_cells(again)), audit)
    if modelled is not ClusterModel.NONE:
        refuse_changing(table, str(cluster))
    ordered = Ordered(values, StepForm(steps), labels) if any(len(v) > 2 for v in values.values()) else None
    if cluster is None and not vignette and not ignore_clusters and (hidden := hidden_clusters(table)):
        audit.flags.append(hidden)
    trial = _arrays(table, tab, profile, chosen, correlation, kept_wave, cluster, ordered, audit)
    return check_clusters(replace(trial, cluster_name=cluster, cluster_model=modelled))


@dataclass(frozen=True)
class Ordered:
    """Categories of items with more than two: values by item, form of the steps, and labels of the values."""

    values: dict
    form: StepForm
    labels: Mapping


def _three(values) -> str:
    """The first three values, of any content, for a message."""
    return listed((str(v) for v in values), 3)


def check_columns(table: pd.DataFrame, tab: str, covariate: str | None, cluster: str | None) -> None:
    names = [str(c) for c in table.columns]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise InputError(
            f"Table {quoted(tab)} has more than one column named {_three(twice)}: rename or remove the others."
        )
    wanted = dict.fromkeys([*REQUIRED_COLUMNS, *([covariate] if covariate else []), *([cluster] if cluster else [])])
    missing = [c for c in wanted if c not in names]
    if missing:
        raise InputError(
            f"Table {quoted(tab)} has no column {listed(missing, 6)} (found: {listed(names, 12)}): rename your columns "
            "to id, item, resp and treat, or name them with the options of the command."
        )
    if table.empty:
        raise InputError(f"Table {quoted(tab)} has a header but no rows: check that the file was written completely.")


def _with_missing(
    table: pd.DataFrame, covariate: str | None, cluster: str | None, codes: Sequence[str]
) -> pd.DataFrame:
    """The table with blank text and, in columns other than names, the codes as missing values, in the columns used."""
    covariates = [name for name in map(str, table.columns) if is_covariate(name)]
    used = [*covariates, *([covariate] if covariate else []), *([cluster] if cluster else [])]
    named = [name for name in ("id", "item", "wave") if name in table.columns]
    blank = {name: without_blanks(table[name]) for name in dict.fromkeys([*named, "resp", "treat", *used])}
    coded = dict.fromkeys(["resp", "treat", *used])
    return table.assign(**{name: without_codes(v, codes) if name in coded else v for name, v in blank.items()})


def _without_suspects(table: pd.DataFrame, asked: str | None, audit: Audit) -> pd.DataFrame:
    """The table with values that must be codes for missing removed from the candidate covariates."""
    for name in dict.fromkeys([asked] if asked else [c.name for c in candidates(table)]):
        if codes := suspected_in(table[name], table["id"]):
            audit.note("covariate", suspicion(name, codes), flag=True)
            table = table.assign(**{name: as_numbers(table[name]).mask(as_numbers(table[name]).isin(codes))})
    return table


def _drop_unnamed(table: pd.DataFrame, audit: Audit) -> pd.DataFrame:
    """Drop rows without person or item, with a flag: a file's NA, null or None may have been a name."""
    lost = {column: int(table[column].isna().sum()) for column in ("id", "item")}
    reason = (
        f"{counted(lost['id'], 'row names', 'rows name')} no person and {lost['item']} no item (empty, or a word for missing such as NA, null, "
        "None or nan): they are left out."
    )
    if any(lost.values()):
        audit.flags.append(reason)
    return audit.keep(table, table["id"].notna() & table["item"].notna(), "identifiers", reason)


def _drop_unanswered(table: pd.DataFrame, audit: Audit) -> pd.DataFrame:
    answered = table["resp"].notna()
    reason = "The response is missing."
    respondents = set(table.loc[answered, "id"].drop_duplicates())
    nonrespondents = [id for id in table.loc[~answered, "id"].drop_duplicates() if id not in respondents]
    if nonrespondents:
        reason += f" {counted(len(nonrespondents), 'person has', 'persons have')} no response at all (id {_three(nonrespondents)})."
    return audit.keep(table, answered, "missing response", reason)


def _numeric(table: pd.DataFrame, name: str, tab: str, allowed: tuple[float, ...] = ()) -> pd.Series:
    """The column as float; text that is not a number, infinities and values not allowed raise InputError."""
    column = table[name]
    numbers = as_numbers(column)
    bad = numbers.isna() & column.notna()
    if allowed:
        bad |= numbers.notna() & ~numbers.isin(allowed)
    bad |= np.isinf(numbers)
    if bad.any():
        values = column[bad].astype(str).drop_duplicates()
        raise not_the_numbers(name, tab, int(bad.sum()), values, table.loc[bad, ["id", "item"]])
    return numbers


def not_the_numbers(name: str, tab: str, n_rows: int, values: Iterable[str], rows: pd.DataFrame) -> InputError:
    """The error about unusable values in column resp or treat; ``rows`` holds the first rows affected (id, item)."""
    if name == "treat":
        rule, who = "must be 0 (control) or 1 (treated)", "id " + _three(rows["id"].drop_duplicates())
        remedy = "recode it, or name the value that means control with --control"
    else:
        rule, who = "must hold numbers", "; ".join(_cells(rows))
        remedy = (
            "recode them, name ordered categories from the lowest to the highest with --categories, or empty them where they mean "
            "a missing response"
        )
    hold = counted(n_rows, "row holds", "rows hold")
    return InputError(f"Column {name} of table {quoted(tab)} {rule}, but {hold} {_three(values)} ({who}): {remedy}.")


def _cells(rows: pd.DataFrame) -> list[str]:
    """The first three rows by person and item, since row numbers of a reshaped table mean nothing in its file."""
    where = rows[["id", "item"]].head(3).itertuples(index=False)
    return [f"id {quoted(str(person))} item {quoted(str(item))}" for person, item in where]


def _check_arms(table: pd.DataFrame, tab: str) -> None:
    arms = table.dropna(subset=["treat"]).groupby("id", sort=False)["treat"].agg(["min", "max"])
    changing = arms.index[arms["min"] != arms["max"]]
    if len(changing):
        if name := restarting_within(table):
            raise InputError(ids_restart(tab, name))
        raise InputError(
            f"Column treat of table {quoted(tab)} is not constant within a person for {counted(len(changing), 'person', 'persons')} "
            f"(id {_three(changing)}): give each person one arm."
        )
    for value, arm in ((0.0, "control (treat = 0)"), (1.0, "treated (treat = 1)")):
        if not (arms["min"] == value).any():
            raise InputError(
                f"Table {quoted(tab)} has nobody in the {arm} arm with usable responses: include persons of both arms."
            )


def _choose_covariate(table: pd.DataFrame, tab: str, asked: str | None, audit: Audit) -> tuple[str | None, float]:
    """The covariate's column and its correlation with resp among control rows."""
    if asked is not None:
        candidate = judged(table, asked)
        if candidate.fault:
            raise InputError(
                f"Column {quoted(asked)} of table {quoted(tab)} cannot serve as covariate, {candidate.fault}: "
                "choose a column of numbers (option --covariate)."
            )
        audit.note("covariate", f"{quoted(asked)} was asked for.")
        return asked, candidate.correlation
    found = candidates(table)
    for candidate in found:
        if candidate.fault:
            audit.note("covariate", f"{quoted(candidate.name)} is not a candidate: {candidate.fault}.")
    usable = [c for c in found if not c.fault]
    chosen, reason = chosen_among(usable)
    audit.note("covariate", reason)
    return (chosen.name, chosen.correlation) if chosen else (None, float("nan"))


TIED = 1e-9
"""Correlations this close differ only by rounding: the first candidate is taken, so that both ways of reading agree."""


def chosen_among(usable: list[Candidate]) -> tuple[Candidate | None, str]:
    """The default covariate, and why it is chosen."""
    if not usable:
        return None, "There is no usable pretest or covariate: M_B and M_C are not fitted."
    if len(usable) == 1:
        return usable[0], f"{quoted(usable[0].name)} is the only candidate."
    defined = [c for c in usable if np.isfinite(c.correlation)]
    if not defined:
        return None, "No candidate covariate varies with the responses: M_B and M_C are not fitted."
    largest = max(abs(c.correlation) for c in defined)
    best = next(c for c in defined if abs(c.correlation) >= largest - TIED)
    return best, f"{quoted(best.name)} has the largest correlation with the responses in the control arm."


def _draw_persons(table: pd.DataFrame, tab: str, vignette: bool, max_persons: int | None, audit: Audit) -> pd.DataFrame:
    limit = (VIGNETTE_MAX_PERSONS if vignette else 0) if max_persons is None else max_persons
    if limit < 0:
        raise InputError(
            f"The largest number of persons is {limit}: give a positive number, or 0 for all (--max-persons)."
        )
    persons = table["id"].unique()
    if not limit or len(persons) <= limit:
        return table
    from .r_sample import sample_ids

    drawn = sample_ids(persons, size=limit, seed=VIGNETTE_SEED)
    return audit.keep(
        table,
        table["id"].isin(drawn),
        "size",
        f"{limit} of {len(persons)} persons were drawn, the same as in R with seed {VIGNETTE_SEED}.",
    )


def _arrays(
    table: pd.DataFrame,
    tab: str,
    profile: str,
    chosen: str | None,
    correlation: float,
    wave: str | None,
    cluster: str | None,
    ordered: Ordered | None,
    audit: Audit,
) -> Trial:
    import pandas as pd

    person, person_ids = pd.factorize(table["id"])
    labels, raw_items = pd.factorize(table["item"])
    names = item_labels(raw_items, tab)
    order = sorted(range(len(names)), key=lambda k: natural_key(names[k]))
    position = np.empty(len(names), int)
    position[order] = np.arange(len(names))
    item = position[labels]
    first_row = np.unique(person, return_index=True)[1]
    treat = table["treat"].to_numpy()[first_row].astype(np.int8)
    resp = table["resp"].to_numpy()
    formats = named = None
    if ordered is not None:
        in_order = [ordered.values[raw_items[k]] for k in order]
        formats = ItemFormats(np.array([len(v) - 1 for v in in_order]), ordered.form)
        resp, named = scores(item, resp, in_order), category_names(in_order, ordered.labels)

    covariate = None
    if chosen:
        covariate = person_covariate(table[chosen].to_numpy(float), person, treat, chosen, profile, audit)
        if covariate is None:
            chosen, correlation = None, float("nan")
    cell, size = treat[person].astype(int) * len(names) + item, 2 * len(names)
    answers = np.bincount(cell, minlength=size).reshape(2, -1)
    in_order_names = tuple(names[k] for k in order)
    note_items_of_one_arm(in_order_names, answers, audit)
    of_items = of_columns(table, item, in_order_names, audit)
    return Trial(
        tab=tab,
        profile=profile,
        item_names=in_order_names,
        person_ids=np.asarray(person_ids),
        treat=treat,
        person=person.astype(np.int64),
        item=item.astype(np.int64),
        resp=resp.astype(np.int8),
        covariate=covariate,
        covariate_name=chosen,
        covariate_correlation=correlation,
        cluster=None if cluster is None else person_cluster(table, cluster, person, audit),
        wave=wave,
        audit=tuple(audit.entries),
        flags=tuple(audit.flags),
        formats=formats,
        categories=named,
        item_covariates=of_items,
    )


def person_covariate(
    values: np.ndarray, person: np.ndarray, treat: np.ndarray, name: str, profile: str, audit: Audit
) -> np.ndarray | None:
    """(P,) first value of each person, standardised with the sample SD over rows (vignette) or persons (full).

    None if an arm has fewer than two distinct values, so that its slope, and with it treat:cov, cannot be estimated.
    """
    present = np.flatnonzero(~np.isnan(values))
    holders, where = np.unique(person[present], return_index=True)
    covariate = np.full(len(treat), np.nan)
    covariate[holders] = values[present[where]]
    varying = np.unique(person[present[values[present] != covariate[person[present]]]])
    if len(varying):
        audit.note(
            "covariate",
            f"{quoted(name)} varies within {len(varying)} persons; the first value of each is used.",
            flag=True,
        )
    over = covariate[person] if profile == "vignette" else covariate
    over = over[~np.isnan(over)]
    for value, arm in ((0, "control"), (1, "treated")):
        if len(np.unique(covariate[(treat == value) & ~np.isnan(covariate)])) < 2:
            audit.note(
                "covariate",
                f"{quoted(name)} has fewer than two values in the {arm} arm, so treat:cov cannot be estimated: "
                "M_B and M_C are not fitted.",
                flag=True,
            )
            return None
    missing = int(np.isnan(covariate).sum())
    if missing:
        who = counted(missing, f"person without {quoted(name)} is", f"persons without {quoted(name)} are")
        audit.note("covariate", f"{who} used in M_0 and M_A, not in M_B and M_C.")
    return (covariate - over.mean()) / over.std(ddof=1)
