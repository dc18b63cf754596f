"""Response patterns: persons with the same answers to the same items, for models whose sum score is not sufficient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .compress import SufficientStatistics, at_least_counts
from .formats import ItemFormats


@dataclass(frozen=True)
class ResponsePatterns:
    """A trial reduced, without loss, to classes of persons with one arm and one pattern of responses.

    Attributes
    ----------
    statistics : the classes, ordered by arm (control first), then by answered items, then by responses.
    response : (G, J) sum of one person's responses to each item, 0 where there is none.
    """

    statistics: SufficientStatistics
    response: np.ndarray


def response_patterns(
    item_names: tuple[str, ...],
    treat: np.ndarray,
    person: np.ndarray,
    item: np.ndarray,
    resp: np.ndarray,
    formats: ItemFormats | None = None,
) -> ResponsePatterns:
    """Group persons by arm and responses; parameters as in ``compress.sufficient_statistics``."""
    n_items, n_persons = len(item_names), len(treat)
    cell = person * n_items + item
    shape = (n_persons, n_items)
    trials = np.bincount(cell, minlength=n_persons * n_items).reshape(shape)
    response = np.bincount(cell, weights=resp, minlength=n_persons * n_items).reshape(shape)
    answered = trials.any(axis=1)
    rows = np.column_stack([treat[answered], trials[answered], response[answered]]).astype(float)
    rows, count = np.unique(rows, axis=0, return_counts=True)
    trials, response = rows[:, 1 : n_items + 1], rows[:, n_items + 1 :]
    total = np.array([(count * (rows[:, 0] == arm)) @ response for arm in (0, 1)])
    statistics = SufficientStatistics(
        item_names=item_names,
        n_control_classes=int(np.count_nonzero(rows[:, 0] == 0)),
        count=count.astype(float),
        score=response.sum(axis=1),
        covariate=None,
        trials=None if (trials == 1).all() else trials,
        item_total=total,
        n_persons=int(count.sum()),
        n_responses=len(resp),
        formats=formats,
        at_least=None if formats is None else at_least_counts(item, resp, formats),
    )
    return ResponsePatterns(statistics, response)
