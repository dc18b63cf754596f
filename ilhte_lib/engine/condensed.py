"""Persons who differ in a continuous covariate alone, condensed to a few values of it by Gauss's quadrature.

Where everyone answered everything, persons of an arm with one score differ in nothing but the covariate, and what a deviance
takes of them is a sum of smooth functions of it. Such a sum over thousands of values is one over a few nodes, with weights that
add up to the number of persons: Gauss's rule for the distribution that the values have, exact for polynomials of degree
2 NODES - 1 (Golub and Welsch 1969, Mathematics of Computation 23). Nodes and weights come from Lanczos's recursion.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from scipy.linalg import eigh_tridiagonal

from ..model.compress import SufficientStatistics
from ..model.packed import KEPT_CELLS

NODES = 40
FEWER = 24
"""Nodes of a rule that is less exact by far, to compare with."""
SAME = 1e-6
"""Deviances of both rules closer than this are those of all values."""
NO_SPREAD = 1e-13
"""What is left of a recursion that has come to its end, relative to the first step."""


def worth_condensing(statistics: SufficientStatistics) -> bool:
    """Whether there are so many classes, of persons who answered everything and are in no cluster, that this leaves fewer."""
    s = statistics
    plain = s.covariate is not None and s.trials is None and s.clusters is None
    return plain and s.n_classes * s.n_items > KEPT_CELLS and s.n_classes > 4 * NODES * (s.score.max() + 1)


def condensed(statistics: SufficientStatistics) -> tuple[SufficientStatistics, SufficientStatistics]:
    """The statistics by ``NODES`` and by ``FEWER`` values of the covariate for each arm and score; counts are no whole numbers."""
    s = statistics
    of_arm = np.arange(s.n_classes) >= s.n_control_classes
    score = s.score.astype(np.int64)
    order = np.argsort(of_arm * (score.max() + 1) + score, kind="stable")
    group = (of_arm * (score.max() + 1) + score)[order]
    value, count = s.covariate[order], s.count[order]
    edges = np.concatenate([[0], np.flatnonzero(np.diff(group)) + 1, [len(group)]])
    found: tuple[list, list] = ([], [])
    for start, stop in pairwise(edges):
        rules = _gauss(value[start:stop], count[start:stop])
        first = order[start]
        for rule, into in zip(rules, found, strict=True):
            into.append((of_arm[first], s.score[first], *rule))
    return _of_groups(s, found[0]), _of_groups(s, found[1])


def _of_groups(s: SufficientStatistics, groups: list) -> SufficientStatistics:
    sizes = [len(nodes) for _, _, nodes, _ in groups]
    arm = np.repeat([of_arm for of_arm, *_ in groups], sizes)
    return replace(
        s,
        n_control_classes=int(np.count_nonzero(~arm)),
        count=np.concatenate([weights for *_, weights in groups]),
        score=np.repeat([score for _, score, *_ in groups], sizes),
        covariate=np.concatenate([nodes for _, _, nodes, _ in groups]),
    )


def _gauss(value: np.ndarray, count: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Nodes and weights of both rules, for values (n,) that occur so often (n,)."""
    if len(value) <= 2 * NODES:
        return [(value, count)] * 2
    persons = count.sum()
    centre = float(count @ value) / persons
    x = value - centre
    diagonal, beside = np.zeros(NODES), np.zeros(NODES - 1)
    before, here, step = np.zeros_like(x), np.sqrt(count / persons), 0.0
    size = NODES
    for k in range(NODES):
        next_one = x * here
        diagonal[k] = here @ next_one
        next_one -= diagonal[k] * here
        next_one -= step * before
        step = float(np.sqrt(next_one @ next_one))
        if k == NODES - 1:
            break
        if not step > NO_SPREAD * np.abs(x).max():
            size = k + 1
            break
        beside[k] = step
        before, here = here, next_one / step
    rules = []
    for n in (size, min(FEWER, size)):
        nodes, vectors = eigh_tridiagonal(diagonal[:n], beside[: n - 1])
        rules.append((nodes + centre, persons * vectors[0] ** 2))
    return rules
