"""Generalisation of the effect to items that are not on the test.

The items of a test are a sample of those that could have been asked. The average effect beta_1 of M_A is the average over that
population, and its standard error reflects the sampling of both persons and items (Brennan 2001, Generalizability Theory; De
Boeck 2008, Psychometrika 73(4); Gilbert et al. 2025, doi:10.3102/10769986241240085). Everything is in logits except
probabilities and shares; divide by sigma_theta of M_0 for SDs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..model.compress import SufficientStatistics
from ..model.fit_result import Fit
from .delta_method import variance
from .profile import fixed_effect_quantile, objective


@dataclass(frozen=True)
class Generalisation:
    """How the average effect generalises beyond the items of the test.

    Attributes
    ----------
    ate : beta_1, logits.
    se_with_item_sampling : its SE for the population of items, that of the model.
    se_without_item_sampling : SE of the average effect on exactly these items, (1/J) sum_i (beta_1 + zeta_i).
    sigma_zeta : SD of the item effects over items, logits.
    n_items : J.
    df, reach : Satterthwaite's degrees of freedom of beta_1, and the half width of its interval in SEs (``reach_of_average``).
    new_item : prediction interval for the effect on one new item, ``beta_1 -+ t sqrt(sigma_zeta^2 + SE^2)``, with J - 2 degrees of
        freedom for t because sigma_zeta is estimated from the items; NaN with two items.
    form_items, new_form : J* and the prediction interval for the average effect on a new form of J* items,
        ``beta_1 -+ t sqrt(sigma_zeta^2 / J* + SE^2)``.
    same_sign : probability that a new item's effect has the sign of the average, Phi(|beta_1| / sigma_zeta), with the estimates
        taken as true; 1 where sigma_zeta is 0.
    same_sign_interval, share_negative_interval : intervals of same_sign and share_negative, Phi of those of beta_1 / sigma_zeta
        (delta method from ``vcov``, t with J - 2 degrees of freedom); NaN where standard errors are unknown.
    same_sign_predictive : same_sign allowing for the uncertainty of beta_1, Phi(|beta_1| / sqrt(sigma_zeta^2 + SE^2)).
    share_negative : share of items in the population with a negative effect, Phi(-beta_1 / sigma_zeta).
    share_negative_here : expected share among the items of this test, the mean of P(beta_1 + zeta_i < 0 | data).
    n_negative_here : number of items of this test whose estimated effect is negative.
    level : coverage of the intervals.
    """

    ate: float
    df: float
    reach: float
    se_with_item_sampling: float
    se_without_item_sampling: float
    sigma_zeta: float
    n_items: int
    new_item: tuple[float, float]
    form_items: int
    new_form: tuple[float, float]
    same_sign: float
    same_sign_interval: tuple[float, float]
    same_sign_predictive: float
    share_negative: float
    share_negative_interval: tuple[float, float]
    share_negative_here: float
    n_negative_here: int
    level: float


def generalise(
    statistics: SufficientStatistics,
    fit: Fit,
    *,
    form_items: int | None = None,
    level: float = 0.95,
    penalised: Fit | None = None,
) -> Generalisation:
    """Generalise from a fit of M_A to other items.

    Parameters
    ----------
    statistics, fit : data and fit of M_A (or M_C, for the effect at the covariate's mean), with standard errors.
    form_items : J*, the length of a new form; default that of the test.
    level : coverage of the intervals.
    penalised : the penalised fit (``engine.penalised``) if items are few or the fit is singular; its spread of items is then a
        lower bound in the interval of beta_1 (``reach_of_average``). No estimate changes.

    Raises
    ------
    InputError : the model has no item effects, or J* is below 1.
    """
    from scipy.special import ndtr, stdtrit

    if not fit.spec.item_effects:
        raise InputError(f"{fit.spec.name} has no item effects to generalise over: use M_A or M_C.")
    form_items = fit.n_items if form_items is None else form_items
    if form_items < 1:
        raise InputError(f"A form cannot have {form_items} items: give at least 1.")
    ate, se, spread = fit.coefficient("treat"), fit.standard_error("treat"), fit.sigma_zeta
    covariance = effect_covariance(statistics, fit)
    effects = ate + fit.ranef[:, 1]
    # with two items no degrees of freedom are left for their variance
    t = float(stdtrit(fit.n_items - 2, 0.5 + level / 2.0)) if fit.n_items > 2 else float("nan")
    if fit.clusters is not None:
        t = float(np.maximum(t, fixed_effect_quantile(fit, level)))
    here = float(np.sqrt(covariance.sum())) / fit.n_items
    of_persons = int(statistics.count.sum()) - 2 if fit.clusters is None else fit.clusters.degrees_of_freedom
    least = 0.0 if penalised is None else _of_items(statistics, penalised)
    df, reach = reach_of_average(se, here, fit.n_items, of_persons, level, least)
    ratio, half_ratio = _average_in_spreads(fit)
    side = -1.0 if ate < 0 else 1.0

    def around(of: float) -> tuple[float, float]:
        half = t * float(np.sqrt(of))
        return ate - half, ate + half

    def phi(value: float, scale: float) -> float:
        # without spread every effect equals the average
        return float(ndtr(value / scale)) if scale > 0 else float(np.heaviside(value, 0.5))

    return Generalisation(
        ate=ate,
        df=df,
        reach=reach,
        se_with_item_sampling=se,
        se_without_item_sampling=here,
        sigma_zeta=spread,
        n_items=fit.n_items,
        new_item=around(spread**2 + se**2),
        form_items=form_items,
        new_form=around(spread**2 / form_items + se**2),
        same_sign=phi(abs(ate), spread),
        same_sign_interval=_chances(side * ratio, t * half_ratio),
        same_sign_predictive=phi(abs(ate), float(np.hypot(spread, se))),
        share_negative=phi(-ate, spread),
        share_negative_interval=_chances(-ratio, t * half_ratio),
        share_negative_here=float(ndtr(-effects / np.sqrt(np.diagonal(covariance))).mean()),
        n_negative_here=int(np.count_nonzero(effects < 0)),
        level=level,
    )


def _of_items(statistics: SufficientStatistics, fit: Fit) -> float:
    """V_items of a fit, the part of the variance of beta_1 due to the sampling of items, squared logits; 0 if unknown."""
    here = float(effect_covariance(statistics, fit).sum()) / fit.n_items**2
    added = fit.standard_error("treat") ** 2 - here
    return added if added > 0 else 0.0


def reach_of_average(
    se: float, se_here: float, n_items: int, of_persons: int, level: float = 0.95, least_of_items: float = 0.0
) -> tuple[float, float]:
    """Degrees of freedom of beta_1, and the half width of its interval in standard errors; NaN if a standard error is unknown.

    SE^2 is the sum of V_persons, the variance on exactly these items, and V_items, due to the sampling of items. Maximum
    likelihood divides the items' sum of squares by J although it has J - 1 degrees of freedom, so V_items is multiplied by
    J / (J - 1). Then, by Satterthwaite (1946, Biometrics Bulletin 2(6)),

        nu = V^2 / (V_items^2 / (J - 1) + V_persons^2 / (N - 2)),   V = V_items + V_persons,   reach = t_nu sqrt(V) / SE.

    With clusters in the model, their degrees of freedom replace N - 2 (``ClusterFit``). With few items sigma_zeta is often
    estimated far too small or as 0, for which t does not compensate: with 5 items and 500 persons 10% of the estimates are 0, and
    the interval covers .92. V_items is then at least that of the penalised fit, whose spread is kept off 0.

    Parameters
    ----------
    se, se_here : standard errors of beta_1 with items as a sample, and on exactly these items, logits.
    of_persons : degrees of freedom of ``se_here``: N - 2, or those of the clusters.
    least_of_items : lower bound of V_items, squared logits.
    """
    from scipy.special import stdtrit

    if not (np.isfinite(se) and np.isfinite(se_here) and se > 0) or of_persons < 1 or n_items < 2:
        return float("nan"), float("nan")
    here = min(se_here, se) ** 2
    items = max((se**2 - here) * n_items / (n_items - 1), least_of_items)
    df = (here + items) ** 2 / (items**2 / (n_items - 1) + here**2 / of_persons)
    return float(df), float(stdtrit(df, 0.5 + level / 2.0) * np.sqrt(here + items) / se)


def _average_in_spreads(fit: Fit) -> tuple[float, float]:
    """beta_1 / sigma_zeta and its standard error by the delta method; NaN where sigma_zeta is 0."""
    spread = fit.sigma_zeta
    if not spread > 0:
        return float("nan"), float("nan")
    ratio, (l21, l22) = fit.coefficient("treat") / spread, fit.item_factor[1]
    slopes = {"treat": 1.0 / spread, "l21": -ratio * l21 / spread**2, "l22": -ratio * l22 / spread**2}
    return float(ratio), float(np.sqrt(variance(fit, slopes)))


def _chances(z: float, half: float) -> tuple[float, float]:
    """Phi at the ends of z -+ half."""
    from scipy.special import ndtr

    return float(ndtr(z - half)), float(ndtr(z + half))


def persons_floor(statistics: SufficientStatistics, fit: Fit) -> float:
    """SE of beta_1 with infinitely many items: without clusters sigma_theta sqrt(1/N_0 + 1/N_1), logits.

    Every theta would then be known, which leaves the difference between two means of persons.
    """
    if statistics.clusters is not None and fit.clusters is not None:
        return _clusters_floor(statistics, fit)
    treated = float(statistics.count[statistics.n_control_classes :].sum())
    control = float(statistics.count[: statistics.n_control_classes].sum())
    return fit.sigma_theta * float(np.sqrt(1.0 / control + 1.0 / treated))


def _clusters_floor(statistics: SufficientStatistics, fit: Fit) -> float:
    """``persons_floor`` with clusters: the SE of beta_1 by generalised least squares on the thetas."""
    clusters, own = statistics.clusters, fit.clusters
    assert clusters is not None and own is not None
    cell = 2 * clusters.code + statistics.arm.astype(int)
    n = np.bincount(cell, weights=statistics.count, minlength=2 * clusters.count).reshape(-1, 2)
    persons = max(fit.sigma_theta, 1e-6) ** 2
    # of (1, T)'(1, T) summed over a cluster
    cross = np.array([[n.sum(axis=1), n[:, 1]], [n[:, 1], n[:, 1]]]).transpose(2, 0, 1) / persons
    factor = np.zeros((2, 2))
    factor[: len(own.factor), : len(own.factor)] = own.factor
    information = np.linalg.inv(np.eye(2) + cross @ (factor @ factor.T)) @ cross
    return float(np.sqrt(np.linalg.inv(information.sum(axis=0))[1, 1]))


def se_with_items(statistics: SufficientStatistics, fit: Fit, n_items: np.ndarray | int) -> np.ndarray:
    """SE of the average effect with the same persons and other numbers of items, logits.

    ``SE(J*)^2 = A + (SE^2 - A) J / J*``: A (``persons_floor`` squared) does not depend on the items, while the variance of item
    effects, sigma_zeta^2 / J*, and the binomial noise of the responses both fall with their number. At J* = J it is the SE of the
    fit.

    Parameters
    ----------
    statistics, fit : data and fit of M_A.
    n_items : one or more J*, at least 1.
    """
    floor = persons_floor(statistics, fit) ** 2
    items_part = max(fit.standard_error("treat") ** 2 - floor, 0.0)
    return np.sqrt(floor + items_part * fit.n_items / np.asarray(n_items, float))


def items_needed(statistics: SufficientStatistics, fit: Fit, target_se: float) -> float:
    """The smallest number of items with which the same persons would attain SE ``target_se`` (logits); inf if none does.

    Raises
    ------
    InputError : the target is not positive.
    """
    if not target_se > 0:
        raise InputError(f"The target standard error is {target_se}: give a positive number.")
    floor = persons_floor(statistics, fit) ** 2
    items_part = max(fit.standard_error("treat") ** 2 - floor, 0.0)
    if target_se**2 <= floor:
        return float("inf")
    # a number of items that meets the target exactly must not be rounded up
    return float(max(np.ceil(items_part * fit.n_items / (target_se**2 - floor) - 1e-9), 1.0))


def effect_covariance(statistics: SufficientStatistics, fit: Fit) -> np.ndarray:
    """(J, J) covariance of the item effects beta_1 + zeta_i, squared logits; NaN where psi has no vcov.

    It is the conditional covariance of the zeta_i given psi plus the contribution of the uncertainty of psi (Kass and Steffey
    1989, JASA 84(407)). Its diagonal is ``delta_method.total_effect_variance``; the off-diagonal entries give standard errors for
    means and contrasts of items.

    Parameters
    ----------
    statistics, fit : data and fit of a model with item effects, with standard errors.
    """
    free = np.flatnonzero(~np.isnan(np.diagonal(fit.vcov)))
    if not len(free):
        return np.full((fit.n_items, fit.n_items), np.nan)
    deviance = objective(statistics, fit)
    deviance(fit.psi)
    blocks, row = deviance._inverse_blocks(), fit.item_factor[1]
    conditional = sum(row[k] * row[l] * blocks[k][l] for k in range(2) for l in range(2))
    slopes = fit.ranef_jacobian[:, 1, :].copy()
    slopes[:, fit.spec.beta_names.index("treat")] += 1.0
    return conditional + slopes[:, free] @ fit.vcov[np.ix_(free, free)] @ slopes[:, free].T
