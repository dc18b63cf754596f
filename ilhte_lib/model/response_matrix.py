"""Sufficient statistics of a response matrix, which simulation and resampling draw without building a long table."""

from __future__ import annotations

import numpy as np

from .compress import SufficientStatistics, sufficient_statistics
from .formats import ItemFormats


def matrix_statistics(
    responses: np.ndarray,
    treat: np.ndarray,
    covariate: np.ndarray | None = None,
    item_names: tuple[str, ...] | None = None,
    formats: ItemFormats | None = None,
    cluster: np.ndarray | None = None,
    cluster_effects: bool = False,
) -> SufficientStatistics:
    """Compress a (P, J) matrix of responses.

    Parameters
    ----------
    responses : (P, J) 0 or 1, or scores under the items' ``formats``; a negative number where a response was not observed.
    treat : (P,) 0 control, 1 treated.
    covariate : (P,), or None.
    item_names : J names; default "1" to "J".
    cluster, cluster_effects : as in ``compress.sufficient_statistics``.
    """
    n_items = responses.shape[1]
    person, item = np.nonzero(responses >= 0)
    names = item_names or tuple(str(k + 1) for k in range(n_items))
    return sufficient_statistics(
        names, treat, person, item, responses[person, item], covariate, formats, cluster, cluster_effects
    )
