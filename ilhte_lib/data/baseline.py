"""Baseline balance: the standardised mean difference of a covariate between two arms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .trial import cluster_codes


@dataclass(frozen=True)
class BaselineDifference:
    """Treated minus control, in SDs of the covariate within arms.

    Attributes
    ----------
    smd : (treated mean - control mean) / pooled SD; NaN where an arm has fewer than two values or all values are equal.
    se : its standard error.
    n_control, n_treated : persons with a value.
    """

    smd: float
    se: float
    n_control: int
    n_treated: int


def baseline_difference(
    covariate: np.ndarray, treat: np.ndarray, cluster: np.ndarray | None = None
) -> BaselineDifference:
    """The standardised mean difference with its large-sample standard error.

    Without clusters se^2 = 1/n_0 + 1/n_1 + d^2 / (2 (n_0 + n_1)) (Hedges & Olkin, 1985, Statistical Methods for
    Meta-Analysis, ch. 5, eq. 8). With clusters the first two terms are replaced by the cluster-robust variance of the
    difference of means, G/(G-1) sum_g (sum_{p in g} psi_p)^2 with psi_p = +-(x_p - mean of p's arm) / n of p's arm
    (Liang & Zeger, 1986, Biometrika 73(1)), divided by the pooled variance.

    Parameters
    ----------
    covariate : (P,) one value per person, NaN where missing.
    treat : (P,) 0 control, 1 treated.
    cluster : (P,) cluster labels, or None.
    """
    known = np.isfinite(covariate)
    x, arm = covariate[known], treat[known].astype(int)
    n = np.bincount(arm, minlength=2)
    if n.min() < 2:
        return BaselineDifference(float("nan"), float("nan"), int(n[0]), int(n[1]))
    means = np.bincount(arm, weights=x, minlength=2) / n
    deviation = x - means[arm]
    pooled = float(np.sqrt((deviation**2).sum() / (n.sum() - 2)))
    if not pooled > 0:
        return BaselineDifference(float("nan"), float("nan"), int(n[0]), int(n[1]))
    smd = (means[1] - means[0]) / pooled
    variance = (1.0 / n).sum()
    if cluster is not None:
        groups = cluster_codes(cluster[known])
        sums = np.bincount(groups, weights=deviation / n[arm] * np.where(arm == 1, 1.0, -1.0))
        count = len(sums)
        variance = count / (count - 1) * (sums**2).sum() / pooled**2 if count > 1 else np.nan
    return BaselineDifference(float(smd), float(np.sqrt(variance + smd**2 / (2.0 * n.sum()))), int(n[0]), int(n[1]))
