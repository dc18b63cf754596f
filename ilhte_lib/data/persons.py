"""Identity of persons: ids that restart in every school, and several rows for one person and item."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InputError
from ..messages import counted, listed, quoted
from .covariate import is_covariate
from .trial import Audit
from .waves import looks_like_time, wave_advice

if TYPE_CHECKING:
    import pandas as pd

ONE_ROW_A_PERSON = "one_row_a_person"
"""Key of ``table.attrs``: whether the rows come from a file with one row per person."""
_OWN = ("id", "item", "resp", "treat")


def within_clusters(table: pd.DataFrame, cluster: str, audit: Audit) -> pd.DataFrame:
    """Make ids that are unique only within a cluster unique, as ``cluster / id``; rows without a cluster are left out."""
    known = table[cluster].notna()
    before = table["id"].nunique()
    table = audit.keep(
        table, known, "identifiers", f"Rows without {quoted(cluster)} do not identify a person (--id-within-cluster)."
    )
    table = table.assign(id=table[cluster].astype(str) + " / " + table["id"].astype(str))
    audit.note(
        "identifiers",
        f"Persons are identified by {quoted(cluster)} and id: {counted(table['id'].nunique(), 'person', 'persons')}, "
        f"{before} different ids.",
    )
    return table


def restarting_within(table: pd.DataFrame) -> str | None:
    """The column within which ids restart, so that one id stands for different persons; None if there is none.

    Such a column holds one row per person and item within each value, and rows of one id differ in arm or covariate overall but
    not within its values. Columns of occasions (waves, visits, dates) do not count.
    """
    rows = table.dropna(subset=["id", "item", "resp"])
    for name in _candidates(rows):
        if looks_like_time(name) or rows.duplicated(["id", "item", name]).any():
            continue
        own = [c for c in map(str, rows.columns) if c == "treat" or is_covariate(c)]
        for column in own:
            if column == name:
                continue
            apart = rows.groupby("id", sort=False)[column].nunique()
            within = rows.groupby(["id", name], sort=False)[column].nunique()
            if (apart > 1).any() and not (within > 1).any():
                return name
        if rows.groupby(name, sort=False)["treat"].nunique().max() == 1 and rows[name].nunique() > 3:
            return name
    return None


def _candidates(rows: pd.DataFrame) -> list[str]:
    """Columns that vary between the rows of one id and are neither measurements nor row numbers."""
    found = []
    for name in map(str, rows.columns):
        if name in _OWN or is_covariate(name) or name.startswith("itemcov_"):
            continue
        try:
            different = rows.groupby("id", sort=False)[name].nunique()
        except TypeError:  # lists and the like
            continue
        if (different > 1).any() and (looks_like_time(name) or rows[name].nunique() < len(rows) / 2):
            found.append(name)
    return found


def ids_restart(tab: str, name: str) -> str:
    """The message about ids that restart within the values of a column."""
    return (
        f"Ids of table {quoted(tab)} seem to restart in every {quoted(name)}, so that one id stands for several persons: make "
        f"them unique, or use --cluster {quoted(name)} --id-within-cluster."
    )


def check_repeats(table: pd.DataFrame, tab: str, vignette: bool, repeated: str, where: str, audit: Audit) -> None:
    """Refuse several rows for one person and item, or note them as further trials.

    Parameters
    ----------
    repeated : "error" or "trials"; the vignette always counts trials, except for rows of different persons.
    where : the first such rows, for the message.

    Raises
    ------
    InputError : repeated rows are refused, or look like rows of different persons.
    """
    if repeated not in ("error", "trials"):
        raise InputError(f"Repeated rows can be 'error' or 'trials', not '{repeated}' (option --repeated).")
    again = int(table.duplicated(["id", "item"]).sum())
    if not again:
        return
    if table.attrs.get(ONE_ROW_A_PERSON):
        ids = table.loc[table.duplicated(["id", "item"]), "id"].drop_duplicates()
        remedy = "make the ids unique"
        if name := restarting_within(table) or next((c for c in _candidates(table) if not looks_like_time(c)), None):
            remedy += f", or use --cluster {quoted(name)} --id-within-cluster if they restart in every {quoted(name)}"
        raise InputError(
            f"Ids repeat in table {quoted(tab)}, which has one row per person (id {listed(map(str, ids), 3)}): {remedy}."
        )
    if name := restarting_within(table):
        raise InputError(ids_restart(tab, name))
    if not vignette and repeated == "error":
        raise InputError(
            f"Table {quoted(tab)} has {again} repeated rows of one person and item ({where}): {_advice(table)}."
        )
    audit.note("repeated rows", f"{again} repeated rows of one person and item count as further trials.", flag=True)


def _advice(table: pd.DataFrame) -> str:
    """The remedy for repeated rows that may belong to one person."""
    occasions = [
        name for name in _candidates(table)
        if name != "wave" and (looks_like_time(name) or not table.duplicated(["id", "item", name]).any())
    ]  # fmt: skip
    if occasions:
        named = sorted(occasions, key=lambda name: not looks_like_time(name))[0]
        advice = wave_advice(table, named)
        if not looks_like_time(named):
            advice = f"if {quoted(named)} distinguishes occasions, {advice}; if ids restart in it, --cluster {quoted(named)} --id-within-cluster"
        return f"{advice}; or, if the rows are repeated trials of one item, count them (--repeated trials)"
    return "keep one row for each, choose a wave (--wave-column, --wave), or count them as trials (--repeated trials)"
