"""P-values adjusted for multiple tests, over the items of a table or over tables."""

from __future__ import annotations

import numpy as np


def holm(p: np.ndarray) -> np.ndarray:
    """Holm-adjusted p-values: rejecting those below alpha keeps the chance of any false rejection at alpha.

    ``max over j <= i of min(1, (m - j + 1) p_(j))`` for the i-th smallest of m (Holm 1979, Scandinavian Journal of
    Statistics 6(2)). NaN stays NaN and does not count as a test.
    """
    return _adjusted(p, lambda ordered, rank, m: np.maximum.accumulate((m - rank + 1) * ordered))


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Benjamini-Hochberg-adjusted p-values: rejecting those below alpha keeps the expected share of false ones at alpha.

    ``min over j >= i of m p_(j) / j`` for the i-th smallest of m (Benjamini and Hochberg 1995, Journal of the Royal
    Statistical Society B 57(1)); valid for independent and positively dependent tests. NaN stays NaN and does not count
    as a test.
    """
    return _adjusted(p, lambda ordered, rank, m: np.minimum.accumulate((m * ordered / rank)[::-1])[::-1])


def _adjusted(p: np.ndarray, step) -> np.ndarray:
    p = np.asarray(p, float)
    if ((p < 0) | (p > 1)).any():
        raise ValueError("p-values lie between 0 and 1")
    out = np.full(p.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    m = len(order)
    out[order] = np.minimum(step(p[order], np.arange(1, m + 1), m), 1.0)
    return out
