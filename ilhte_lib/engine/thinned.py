"""A start for fits to many classes of persons: a fit to a few of them, each of which represents its neighbours.

Ordered by mean score and covariate, every k-th class of an arm is representative of all. With its count multiplied by k, the
deviance has about the same minimum and curvature as that of all classes, and Newton's method needs only two or three evaluations
from there. The item totals remain those of all persons, and the scores of the chosen classes are shifted by a fraction to sum to
them. The results reported do not depend on the thinned data.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..model.compress import SufficientStatistics
from ..model.packed import KEPT_CELLS

FEW_CELLS = 600_000
"""Classes times items that are kept, approximately."""
STRATA = 64
"""Strata of mean scores, within which classes are ordered by the covariate."""
MOST_SHIFT = 0.4
"""Largest shift of a score."""


def worth_thinning(statistics: SufficientStatistics) -> bool:
    """Whether there are enough classes for thinning; with clusters, classes cannot be left out."""
    cells = statistics.n_classes * statistics.n_items
    return cells > max(KEPT_CELLS, 1.5 * FEW_CELLS) and statistics.clusters is None


def thinned(statistics: SufficientStatistics) -> SufficientStatistics:
    """About ``FEW_CELLS`` cells that represent all; ``item_total`` and ``count`` need not be whole numbers."""
    s = statistics
    wanted = max(FEW_CELLS // s.n_items, 100)
    chosen, count = [], []
    for arm in (slice(0, s.n_control_classes), slice(s.n_control_classes, s.n_classes)):
        size = arm.stop - arm.start
        step = max(1, round(size * 2 / wanted))
        rows = np.sort(arm.start + _alike(s, arm)[step // 2 if step < size else 0 :: step])
        chosen.append(rows)
        count.append(s.count[rows] * (s.count[arm].sum() / s.count[rows].sum()))
    rows, weights = np.concatenate(chosen), np.concatenate(count)
    cut = len(chosen[0])
    trials, total, at_least = None, s.item_total, s.at_least
    if s.trials is not None:
        own = s.trials[rows]
        trials = np.asarray(own @ np.eye(s.n_items))
        answers = np.array(
            [
                s.count[: s.n_control_classes] @ s.trials[: s.n_control_classes],
                s.count[s.n_control_classes :] @ s.trials[s.n_control_classes :],
            ]
        )
        kept = np.array([weights[:cut] @ trials[:cut], weights[cut:] @ trials[cut:]])
        total = total * (kept / np.maximum(answers, 1.0))
        if at_least is not None:
            at_least = at_least * (kept.sum(axis=0) / np.maximum(answers.sum(axis=0), 1.0))[:, None]
    # the scores of persons and the item totals must have the same sum in each arm, or intercept and items would diverge
    score, total = s.score[rows].copy(), total.copy()
    for t, arm in enumerate((slice(0, cut), slice(cut, len(rows)))):
        lacking = total[t].sum() - weights[arm] @ score[arm]
        score[arm] += np.clip(lacking / weights[arm].sum(), -MOST_SHIFT, MOST_SHIFT)
        total[t] *= weights[arm] @ score[arm] / max(total[t].sum(), 1.0)
    return replace(
        s,
        n_control_classes=cut,
        count=weights,
        score=score,
        covariate=None if s.covariate is None else s.covariate[rows],
        trials=trials,
        item_total=total,
        at_least=at_least,
        covariate_total=None,
    )


def _alike(s: SufficientStatistics, arm: slice) -> np.ndarray:
    """The classes of an arm, counted from its first, in an order in which neighbours have about the same mean score and covariate."""
    most = float(s.n_items) if s.trials is None else np.maximum(s.trials[arm].sum(axis=1), 1.0)
    mean = s.score[arm] / most
    if s.covariate is None:
        return np.lexsort((np.broadcast_to(most, mean.shape), mean))
    rank = np.empty(len(mean), np.int64)
    rank[np.argsort(mean, kind="stable")] = np.arange(len(mean))
    return np.lexsort((s.covariate[arm], rank * STRATA // len(mean)))
