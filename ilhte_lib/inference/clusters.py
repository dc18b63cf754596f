"""Results about clusters from a model with their random effects: SD, intraclass correlation, variation of effects between sites.

With theta = sigma_theta v within clusters and u the level of clusters, the SD over all persons of the control arm is
``sqrt(sigma_u^2 + sigma_theta^2)``; effects are given in SDs of all persons besides SDs within clusters (Hedges 2007, Journal of
Educational and Behavioral Statistics 32(4)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..model.fit_result import Fit
from .delta_method import variance
from .profile import fixed_effect_quantile

LEVEL = 0.95


@dataclass(frozen=True)
class ClusterResult:
    """Clusters in M_A, and effects on the scale of all persons; NaN where undefined.

    Attributes
    ----------
    count : number of clusters.
    both_arms : whether some hold persons in both arms (sites); otherwise whole clusters were randomised.
    sigma_u, sigma_u_se : SD of the clusters' levels in the control arm and its standard error, logits.
    icc, icc_lower, icc_upper : intraclass correlation sigma_u^2 / (sigma_u^2 + sigma_theta^2) in M_A, for theta and not single
        responses; its interval is transformed from the Wald interval of log(sigma_u / sigma_theta).
    sigma_effect : SD of the treatment effect between clusters, logits; NaN where the model has one effect for all clusters.
    correlation : correlation of a cluster's level and effect.
    sigma_persons : SD over all persons in M_0, sqrt(sigma_u^2 + sigma_theta^2), logits.
    ate_all, ate_all_se, sigma_zeta_all : average effect with its standard error, and SD of item effects, in SDs of all persons.
    degrees_of_freedom, quantile : degrees of freedom and t quantile of the intervals of fixed effects.
    """

    count: int
    both_arms: bool
    sigma_u: float
    sigma_u_se: float
    icc: float
    icc_lower: float
    icc_upper: float
    sigma_effect: float
    correlation: float
    sigma_persons: float
    ate_all: float
    ate_all_se: float
    sigma_zeta_all: float
    degrees_of_freedom: int
    quantile: float


def cluster_result(main: Fit, null: Fit) -> ClusterResult | None:
    """Results of M_A about clusters, with effects standardised by M_0; None where the models have no clusters."""
    own = main.clusters
    if own is None or null.clusters is None:
        return None
    scale = null.sigma_persons if null.sigma_persons > 0 else math.nan
    return ClusterResult(
        count=own.count,
        both_arms=own.both_arms,
        sigma_u=own.sigma_u,
        sigma_u_se=float(np.sqrt(variance(main, {"m11": 1.0}))),
        **_intraclass(main),
        sigma_effect=own.sigma_effect,
        correlation=own.correlation,
        sigma_persons=null.sigma_persons,
        ate_all=main.coefficient("treat") / scale,
        ate_all_se=main.standard_error("treat") / scale,
        sigma_zeta_all=main.sigma_zeta / scale,
        degrees_of_freedom=own.degrees_of_freedom,
        quantile=fixed_effect_quantile(main, LEVEL),
    )


def _intraclass(main: Fit) -> dict[str, float]:
    """The intraclass correlation and its interval."""
    from scipy.special import expit, ndtri

    between, within = main.clusters.sigma_u if main.clusters else 0.0, main.sigma_theta
    total = between**2 + within**2
    icc = between**2 / total if total > 0 else math.nan
    if not (between > 0 and within > 0):
        return {"icc": icc, "icc_lower": math.nan, "icc_upper": math.nan}
    log_ratio = math.log(between / within)
    se = float(np.sqrt(variance(main, {"m11": 1.0 / between, "sigma_theta": -1.0 / within})))
    half = float(ndtri(0.5 + LEVEL / 2.0)) * se
    # icc is the logistic function of 2 log(sigma_u / sigma_theta)
    low, high = (float(expit(2.0 * (log_ratio + side * half))) for side in (-1.0, 1.0))
    return {"icc": icc, "icc_lower": low, "icc_upper": high}
