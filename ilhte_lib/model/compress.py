"""Sufficient statistics: a trial reduced without loss to classes of persons and item totals.

All fixed effects are at the person level, so two persons with the same arm, covariate, answered items and sum score
have the same mode and contribute the same terms to the likelihood; they form one class with a count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .formats import ItemFormats
    from .packed import PackedTrials
    from .spec import ModelSpec


@dataclass(frozen=True)
class Clusters:
    """The cluster (school, village, site) of each class of persons, among S clusters.

    Attributes
    ----------
    code : (G,) 0 ... S - 1, nondecreasing within each arm. Every cluster has persons.
    effects : whether the treatment effect varies between clusters too, ``(treat|cluster)``, or only their level.
    """

    code: np.ndarray
    effects: bool = False

    @property
    def count(self) -> int:
        """Number of clusters S."""
        return int(self.code.max(initial=-1)) + 1

    def hold_both_arms(self, n_control_classes: int) -> bool:
        """Whether some cluster has persons in both arms; if none has, whole clusters were randomised."""
        return bool(np.isin(self.code[:n_control_classes], self.code[n_control_classes:]).any())


@dataclass(frozen=True)
class SufficientStatistics:
    """All that the likelihood needs from a trial with J items and G classes of persons.

    Classes are ordered by arm (control first), then by cluster, covariate, answered items and score, so that the statistics
    do not depend on the order of persons.

    Attributes
    ----------
    item_names : J names.
    n_control_classes : number of control classes; they come first.
    count : (G,) persons in each class.
    score : (G,) their sum score r_g.
    covariate : (G,) their covariate, or None for models without one.
    trials : (G, J) number of responses each person of the class gave to each item; None if everyone gave exactly one to each.
        Packed into bits where there are many classes.
    item_total : (2, J) sum of the responses to each item, by arm (control, treated).
    n_persons, n_responses : numbers of persons and responses in the data.
    formats : the items' formats; None where all have two categories.
    at_least : (J, K) number of responses of m or more to each item, m = 1..K; None without formats.
    clusters : clusters of the classes, which then have random effects in the models; None without clusters.
    covariate_total : (2, J) sum of covariate times response to each item, by arm, which M_D needs; None without a covariate
        or where responses are not known person by person.
    item_covariates : (J, m) item covariates, centred, for models that use them; classes do not depend on them.
    """

    item_names: tuple[str, ...]
    n_control_classes: int
    count: np.ndarray
    score: np.ndarray
    covariate: np.ndarray | None
    trials: np.ndarray | PackedTrials | None
    item_total: np.ndarray
    n_persons: int
    n_responses: int
    formats: ItemFormats | None = None
    at_least: np.ndarray | None = None
    clusters: Clusters | None = None
    covariate_total: np.ndarray | None = None
    item_covariates: np.ndarray | None = None

    @property
    def n_items(self) -> int:
        """J."""
        return len(self.item_names)

    @property
    def n_classes(self) -> int:
        """G."""
        return len(self.count)

    @property
    def arm(self) -> np.ndarray:
        """(G,) 0 for control classes, 1 for treated ones."""
        return (np.arange(self.n_classes) >= self.n_control_classes).astype(float)


def sufficient_statistics(
    item_names: tuple[str, ...],
    treat: np.ndarray,
    person: np.ndarray,
    item: np.ndarray,
    resp: np.ndarray,
    covariate: np.ndarray | None = None,
    formats: ItemFormats | None = None,
    cluster: np.ndarray | None = None,
    cluster_effects: bool = False,
) -> SufficientStatistics:
    """Group persons into classes; exact, one pass over the responses.

    Parameters
    ----------
    item_names : J names.
    treat : (P,) 0 or 1.
    person, item, resp : (n,) person index, item index and response of each row (0 or 1, or a score from 0 to the item's
        highest); repeated (person, item) rows are binomial trials.
    covariate : (P,), or None. Persons whose covariate is NaN are left out.
    formats : the items' formats; None where all have two categories.
    cluster : (P,) integer code of each person's cluster, or None.
    cluster_effects : ``Clusters.effects``.

    Persons without any row are left out: they carry no information.
    """
    n_items, n_persons = len(item_names), len(treat)
    if covariate is not None and np.isnan(covariate).any():
        kept_rows = ~np.isnan(covariate)[person]
        person, item, resp = person[kept_rows], item[kept_rows], resp[kept_rows]
    cell = person * n_items + item
    trials = np.bincount(cell, minlength=n_persons * n_items).reshape(n_persons, n_items)
    score = np.bincount(person, weights=resp, minlength=n_persons).astype(np.int64)
    total = np.bincount(item + n_items * treat[person].astype(np.int64), weights=resp, minlength=2 * n_items)
    weighted = None
    if covariate is not None:
        weighted = np.bincount(
            item + n_items * treat[person].astype(np.int64), weights=resp * covariate[person], minlength=2 * n_items
        ).reshape(2, n_items)
    answered = trials.any(axis=1)
    if not answered.all():
        trials, score, treat = trials[answered], score[answered], treat[answered]
        covariate = None if covariate is None else covariate[answered]
        cluster = None if cluster is None else cluster[answered]

    at_least = None if formats is None else at_least_counts(item, resp, formats)
    return classes(
        item_names,
        treat,
        score,
        trials,
        covariate,
        total.reshape(2, n_items),
        len(resp),
        formats=formats,
        at_least=at_least,
        cluster=cluster,
        cluster_effects=cluster_effects,
        covariate_total=weighted,
    )


def complete_statistics(
    item_names: tuple[str, ...], treat: np.ndarray, responses: np.ndarray, formats: ItemFormats | None = None
) -> SufficientStatistics:
    """``sufficient_statistics`` of a (P, J) response matrix without missing values, covariate or clusters.

    A class is then an arm and a score, so classes are counted without sorting.
    """
    n_persons, n_items = responses.shape
    treated = treat.astype(np.int64)
    score = responses.sum(axis=1, dtype=np.int64)
    width = int(score.max(initial=0)) + 1
    count = np.bincount(treated * width + score, minlength=2 * width)
    kept = np.flatnonzero(count)
    total = responses.sum(axis=0, dtype=np.int64)
    of_treated = treated @ responses
    at_least = None
    if formats is not None:
        reached = [(responses >= m).sum(axis=0) for m in range(1, formats.most + 1)]
        at_least = np.column_stack(reached).astype(float)
    return SufficientStatistics(
        item_names=item_names,
        n_control_classes=int(np.count_nonzero(kept < width)),
        count=count[kept].astype(float),
        score=(kept % width).astype(float),
        covariate=None,
        trials=None,
        item_total=np.array([total - of_treated, of_treated], float),
        n_persons=n_persons,
        n_responses=n_persons * n_items,
        formats=formats,
        at_least=at_least,
    )


def at_least_counts(item: np.ndarray, resp: np.ndarray, formats: ItemFormats) -> np.ndarray:
    """(J, K) number of responses (n,) of m or more to each item, m = 1..K."""
    width = formats.most + 1
    counts = np.bincount(item * width + resp, minlength=formats.n_items * width).reshape(-1, width)
    return counts[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:].astype(float)


def classes(
    item_names: tuple[str, ...],
    treat: np.ndarray,
    score: np.ndarray,
    trials: np.ndarray | PackedTrials,
    covariate: np.ndarray | None,
    item_total: np.ndarray,
    n_responses: int,
    count: np.ndarray | None = None,
    formats: ItemFormats | None = None,
    at_least: np.ndarray | None = None,
    cluster: np.ndarray | None = None,
    cluster_effects: bool = False,
    covariate_total: np.ndarray | None = None,
) -> SufficientStatistics:
    """Merge persons, or groups of identical persons, into ordered classes.

    Parameters
    ----------
    item_names : J names.
    treat, score : (P,) arm (0 or 1) and sum score of one person.
    trials : (P, J) number of responses the person gave to each item.
    covariate : (P,), or None.
    item_total : (2, J) sum of the responses to each item, by arm.
    n_responses : total number of responses.
    count : (P,) persons in each group; default 1.
    formats, at_least, covariate_total : as in ``SufficientStatistics``.
    cluster, cluster_effects : as in ``sufficient_statistics``.
    """
    complete = bool((trials == 1).all()) if isinstance(trials, np.ndarray) else trials.complete
    key = treat.astype(np.int64)
    if cluster is not None:
        cluster = np.unique(cluster, return_inverse=True)[1]
        key = _refine(key, cluster)
    if covariate is not None:
        key = _refine(key, np.unique(covariate, return_inverse=True)[1])
    if not complete:
        key = _refine(key, _pattern_codes(trials))
    key = _refine(key, score)
    if count is None:
        _, first, total = np.unique(key, return_index=True, return_counts=True)
    else:
        _, first, group = np.unique(key, return_index=True, return_inverse=True)
        total = np.bincount(group, weights=count)
    return SufficientStatistics(
        item_names=item_names,
        n_control_classes=int(np.count_nonzero(treat[first] == 0)),
        count=total.astype(float),
        score=score[first].astype(float),
        covariate=None if covariate is None else np.asarray(covariate, float)[first],
        trials=None if complete else _as_kept(trials[first]),
        item_total=item_total,
        n_persons=int(total.sum()),
        n_responses=n_responses,
        formats=formats,
        at_least=at_least,
        clusters=None if cluster is None else Clusters(cluster[first], cluster_effects),
        covariate_total=covariate_total,
    )


def _as_kept(trials: np.ndarray | PackedTrials) -> np.ndarray | PackedTrials:
    return trials.astype(float) if isinstance(trials, np.ndarray) else trials


def without_clusters(statistics: SufficientStatistics) -> SufficientStatistics:
    """The same trial in the classes it has when clusters are ignored."""
    s = statistics
    if s.clusters is None:
        return s
    trials = np.ones((s.n_classes, s.n_items), np.int64) if s.trials is None else s.trials
    if isinstance(trials, np.ndarray):
        trials = trials.astype(np.int64)
    return classes(
        s.item_names, s.arm, s.score.astype(np.int64), trials, s.covariate, s.item_total, s.n_responses, s.count, s.formats,
        s.at_least, covariate_total=s.covariate_total,
    )  # fmt: skip


def _refine(key: np.ndarray, code: np.ndarray) -> np.ndarray:
    """Combine two non-negative integer codes into one that sorts by the first, then the second."""
    levels = int(code.max(initial=0)) + 1
    if int(key.max(initial=0)) > (2**62) // levels:
        key = np.unique(key, return_inverse=True)[1]
    return key * levels + code


def _pattern_codes(trials: np.ndarray | PackedTrials) -> np.ndarray:
    """One integer for each distinct row of ``trials``."""
    if not isinstance(trials, np.ndarray) or trials.max(initial=0) <= 1:
        packed = np.packbits(trials.astype(bool), axis=1) if isinstance(trials, np.ndarray) else trials.bits
        if packed.shape[1] <= 8:
            word = np.zeros((len(packed), 8), np.uint8)
            word[:, : packed.shape[1]] = packed
            return np.unique(word.view(">u8").ravel(), return_inverse=True)[1]
    else:
        packed = trials.astype(">u4").view(np.uint8).reshape(len(trials), -1)
    rows = np.ascontiguousarray(packed).view(np.dtype((np.void, packed.shape[1]))).ravel()
    return np.unique(rows, return_inverse=True)[1]


def item_design(statistics: SufficientStatistics, spec: ModelSpec) -> np.ndarray | None:
    """(p, 2 J) linear map from beta to the offsets ``z_i'gamma + T z_i'delta`` of eta by arm; None without item covariates."""
    if statistics.item_covariates is None or not spec.item_covariates:
        return None
    z = statistics.item_covariates.T
    easiness = np.concatenate([z, z], axis=1)
    effects = np.concatenate([np.zeros_like(z), z], axis=1) if spec.moderation else np.empty((0, easiness.shape[1]))
    of_persons = np.zeros((len(spec.beta_names) - spec.n_item_coefficients, easiness.shape[1]))
    return np.concatenate([of_persons, easiness, effects])
