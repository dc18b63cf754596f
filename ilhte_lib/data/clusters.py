"""Clusters of persons: which of them the models include, which cannot be modelled, and columns that look like unnamed clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..messages import counted, listed, quoted
from .trial import Audit, ClusterModel, Trial

if TYPE_CHECKING:
    import pandas as pd

FEWEST_MODELLED = 3
"""A column ``cluster`` with fewer values is modelled only if the user names it."""
WITHOUT = "or leave clusters out of the models (--ignore-clusters)"


def cluster_model(cluster: str | None, vignette: bool, effects: bool, ignored: bool) -> ClusterModel:
    """How the models treat clusters, from the options.

    Raises
    ------
    InputError : cluster effects were requested without clusters, or where the models leave clusters out.
    """
    if effects and cluster is None:
        raise InputError("--cluster-effects needs the column of clusters: name it with --cluster.")
    if effects and (vignette or ignored):
        other = "profile vignette" if vignette else "--ignore-clusters"
        raise InputError(f"With {other} the models have no clusters: leave out --cluster-effects.")
    if cluster is None or vignette or ignored:
        return ClusterModel.NONE
    return ClusterModel.EFFECTS if effects else ClusterModel.LEVEL


def too_few_to_model(table: pd.DataFrame, modelled: ClusterModel, audit: Audit) -> bool:
    """Whether a column ``cluster`` that the user did not name has too few clusters for a random effect; if so, it is noted."""
    if modelled is not ClusterModel.LEVEL or (count := table["cluster"].nunique()) >= FEWEST_MODELLED:
        return False
    audit.note("clusters", too_few(count))
    return True


def too_few(count: int) -> str:
    """The audit's note on a column ``cluster`` with too few values."""
    return (
        f"Column 'cluster' holds {counted(count, 'value', 'values')}, too few to estimate how clusters vary: the models leave "
        "them out (--cluster 'cluster' keeps them)."
    )


def in_clusters(table: pd.DataFrame, name: str, audit: Audit) -> pd.DataFrame:
    """The rows of persons with a cluster in at least one of their rows; the audit counts the others."""
    known = table[name].fillna(table[name].groupby(table["id"]).transform("first"))
    return audit.keep(
        table.assign(**{name: known}), known.notna(), "missing cluster", f"The person has no {quoted(name)}, which the models need."
    )  # fmt: skip


def refuse_changing(table: pd.DataFrame, name: str) -> None:
    """Raise InputError if a person has more than one cluster."""
    of_person = table[name].groupby(table["id"]).nunique()
    changing = [str(person) for person in of_person.index[of_person > 1]]
    if changing:
        raise InputError(changing_sentence(len(changing), listed(changing, 3), name))


def changing_sentence(count: int, ids: str, name: str) -> str:
    """The message about persons who are in more than one cluster."""
    return (
        f"{counted(count, 'person has', 'persons have')} more than one value of {quoted(name)} (id {ids}): give each person one, "
        f"or use --id-within-cluster if ids restart in each {quoted(name)}, {WITHOUT}."
    )


def check_clusters(trial: Trial) -> Trial:
    """The same trial.

    Raises
    ------
    InputError : clusters in its models cannot be distinguished from persons or arms.
    """
    codes = trial.of_clusters["cluster"]
    if codes is not None:
        refuse_clusters(str(trial.cluster_name), trial.cluster_model, codes, trial.treat, trial.n_persons)
    return trial


def refuse_clusters(column: str, model: ClusterModel, codes: np.ndarray, treat: np.ndarray, n_persons: int) -> None:
    """Raise InputError if clusters cannot be distinguished from persons or arms.

    ``codes`` and ``treat`` have one entry per person, or per group of identical persons.
    """
    name, count = quoted(column), int(codes.max()) + 1
    control, treated = np.unique(codes[treat == 0]), np.unique(codes[treat == 1])
    both = len(np.intersect1d(control, treated))
    if count == n_persons:
        raise InputError(
            f"Each value of {name} holds a single person, so that clusters cannot be distinguished from persons: name the column of "
            f"clusters with --cluster, {WITHOUT}."
        )
    if not both and min(len(control), len(treated)) < 2:
        raise InputError(
            f"One arm is a single value of {name}, so that no analysis can distinguish the effect from what sets that cluster "
            f"apart: {WITHOUT.removeprefix('or ')} to describe the difference anyway."
        )
    if count < 2:
        raise InputError(
            f"All persons have the same value of {name}: name the column of clusters with --cluster, {WITHOUT}."
        )
    if model is ClusterModel.EFFECTS and both < 2:
        raise InputError(
            f"--cluster-effects needs clusters that hold both arms, but each value of {name} is entirely in one arm: leave "
            "the option out."
        )


def person_cluster(table: pd.DataFrame, name: str, person: np.ndarray, audit: Audit) -> np.ndarray:
    """(P,) cluster of each person, the first in the table."""
    by_person = table[name].groupby(person)
    changing = np.flatnonzero(by_person.nunique().to_numpy() > 1)
    if len(changing):
        ids = table["id"].groupby(person).first().iloc[changing]
        audit.flags.append(
            f"{counted(len(changing), 'person has', 'persons have')} more than one value of {quoted(name)} (id {listed(map(str, ids), 3)}): "
            "the first is taken as the person's cluster."
        )
    cluster = by_person.first()
    if lacking := int(cluster.isna().sum()):
        audit.flags.append(
            f"{counted(lacking, 'person has', 'persons have')} no {quoted(name)}: each is a cluster of one."
        )
    if cluster.nunique() + lacking == len(cluster):
        audit.flags.append(f"Each cluster of column {quoted(name)} holds a single person.")
    return cluster.to_numpy(object)


def hidden_clusters(rows: pd.DataFrame) -> str:
    """A sentence on a column of groups, such as schools, each entirely in one arm; empty if there is none."""
    for name in map(str, rows.columns):
        if name in ("id", "item", "resp", "treat", "wave", "cluster") or name.startswith(("cov_", "std_", "itemcov_")):
            continue
        if is_cluster_like(rows, name):
            groups = rows[name].nunique()
            return (
                f"Each of the {groups} values of column {quoted(name)} is entirely in one arm, as when schools or classes are "
                f"randomised: if they were, use --cluster {quoted(name)}; without it, standard errors are too small."
            )
    return ""


def is_cluster_like(rows: pd.DataFrame, name: str) -> bool:
    """Whether a column splits the persons into four or more groups, typically of two or more, each in one arm."""
    try:
        persons = rows.dropna(subset=[name]).drop_duplicates(["id", name])
    except TypeError:  # lists and the like
        return False
    if persons["id"].duplicated().any() or len(persons) < 2 * rows[name].nunique():
        return False
    groups = persons.groupby(name, sort=False)["treat"].agg(["nunique", "size"])
    return len(groups) >= 4 and bool((groups["nunique"] == 1).all()) and float(groups["size"].median()) >= 2
