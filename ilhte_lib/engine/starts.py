"""Starting values: moment estimates of psi, and a rough guess of the deviance's curvature there.

Neither has to be accurate, but the closer they are, the fewer evaluations a fit takes. The factor ``sqrt(1 + 0.35 sigma^2)``
turns marginal into conditional logits (Zeger, Liang and Albert 1988, Biometrics 44(4), whose c^2 = 0.346).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..model.compress import Clusters, SufficientStatistics
from ..model.spec import MODELS, ModelSpec

if TYPE_CHECKING:
    from ..model.fit_result import Fit
    from ..model.formats import ItemFormats
    from .laplace import LaplaceDeviance

SMALLEST_SPREAD = 0.15
"""No standard deviation starts below this (logits), where the gradient vanishes at 0 and would trap the search."""
LARGEST_SIGMA = 4.0
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(11)


def to_conditional(sigma: float) -> float:
    """The factor from marginal logits to logits given theta."""
    return float(np.sqrt(1.0 + 0.35 * sigma**2))


class Moments:
    """Mean scores by item and arm, and the moment estimates built on them.

    Attributes
    ----------
    answers, mean : (2, J) number of responses and mean score, with half a response added to each category.
    variance, logits : (2, J) variance of a response with that mean, and the logits at which the item has this mean.
    steps : (S,) free steps of items with more than two categories, from the log-odds of adjacent categories.
    steepness : slope of the expected score, as a share of the highest, relative to a logistic curve.
    """

    def __init__(self, statistics: SufficientStatistics):
        s = self.statistics = statistics
        self.arms = (slice(0, s.n_control_classes), slice(s.n_control_classes, s.n_classes))
        if s.trials is None:
            persons = np.array([s.count[arm].sum() for arm in self.arms])
            self.answers = np.repeat(persons[:, None], s.n_items, axis=1)
        else:
            self.answers = np.array([s.count[arm] @ s.trials[arm] for arm in self.arms])
        pooled = (s.item_total.sum(axis=0), self.answers.sum(axis=0))
        if s.formats is None:
            self.steps, self.steepness = np.empty(0), 1.0
            self.mean = (s.item_total + 0.5) / (self.answers + 1.0)
            self.variance = self.mean * (1.0 - self.mean)
            both = (pooled[0] + 0.5) / (pooled[1] + 1.0)
            self.pooled_variance = both * (1.0 - both)
            self.logits = np.log(self.mean / (1.0 - self.mean))
        else:
            highest = s.formats.highest
            self.steps = _steps(s, pooled[1])
            self.mean = (s.item_total + 0.25 * highest * (highest + 1)) / (self.answers + 0.5 * (highest + 1))
            both = (pooled[0] + 0.25 * highest * (highest + 1)) / (pooled[1] + 0.5 * (highest + 1))
            logits, variance = _logits(np.vstack([self.mean, both]), s.formats, self.steps)
            self.logits, self.variance, self.pooled_variance = logits[:2], variance[:2], variance[2]
            share = self.mean / highest
            self.steepness = float((self.variance / (highest * share * (1.0 - share))).mean())

    def to_conditional(self, sigma: float) -> float:
        """The factor from marginal logits to logits given theta."""
        return to_conditional(sigma * self.steepness)

    def _scores(self, eta: np.ndarray) -> np.ndarray:
        """(2, m) expected sum score over all items at eta (2, m, J)."""
        if self.statistics.formats is None:
            return (1.0 / (1.0 + np.exp(-eta))).sum(axis=2)
        return self.statistics.formats.expected(eta, self.steps)[0].sum(axis=2)

    def _by_class(self, item_values: np.ndarray) -> np.ndarray:
        """(G,) sum of values by arm and item over the items that a class answered."""
        s = self.statistics
        if s.trials is None:
            return np.repeat(item_values.sum(axis=1), [arm.stop - arm.start for arm in self.arms])
        return np.concatenate([s.trials[arm] @ item_values[t] for t, arm in enumerate(self.arms)])

    def slopes(self) -> np.ndarray:
        """(2, 2) by arm: mean of the covariate, and its marginal slope in logits from a regression of scores on it."""
        s = self.statistics
        expected, binomial = self._by_class(self.mean), self._by_class(self.variance)
        out = np.zeros((2, 2))
        for t, arm in enumerate(self.arms):
            weight = s.count[arm] * binomial[arm]
            mean = (weight @ s.covariate[arm]) / max(weight.sum(), 1e-300)
            centred = s.covariate[arm] - mean
            out[t] = mean, (s.count[arm] * centred) @ (s.score[arm] - expected[arm]) / max(weight @ centred**2, 1e-9)
        return out

    def sigma(self) -> float:
        """SD of theta, including all other differences between persons within arms, from overdispersion of the scores."""
        s = self.statistics
        binomial = self._by_class(self.variance)
        length = float(s.n_items) if s.trials is None else np.maximum(s.trials.sum(axis=1), 2.0)
        beyond = s.count @ ((s.score - self._by_class(self.mean)) ** 2 - binomial)
        wanted = float(beyond / max(s.count @ (binomial**2 * (1.0 - 1.0 / length)), 1e-9))
        if wanted <= SMALLEST_SPREAD**2:
            return SMALLEST_SPREAD
        sigma = min(np.sqrt(wanted), 2.0)
        for _ in range(3):
            # the spread grows roughly as sigma^2 / (1 + bend sigma^2)
            bend = 1.0 / self._spread(sigma) - 1.0 / sigma**2
            inverse = 1.0 / wanted - bend
            sigma = 1.0 / np.sqrt(max(inverse, LARGEST_SIGMA**-2))
        return float(max(sigma, SMALLEST_SPREAD))

    def _spread(self, sigma: float) -> float:
        """Variance of the expected score if theta has SD sigma, divided by the squared sum of the item variances."""
        eta = self.logits[:, None, :] * self.to_conditional(sigma) + sigma * NODES[:, None]
        scores = self._scores(eta)
        weights, persons = WEIGHTS / WEIGHTS.sum(), self.answers.mean(axis=1)
        between = scores**2 @ weights - (scores @ weights) ** 2
        return float(persons @ between / (persons @ self.variance.sum(axis=1) ** 2))

    def items(self, sigma: float, spec: ModelSpec) -> tuple[np.ndarray, np.ndarray]:
        """(2, J) conditional logits by arm, and the inverses of their sampling variances under the model."""
        scale = self.to_conditional(sigma)
        variance = self.variance if spec.item_effects else self.pooled_variance
        return self.logits * scale, np.maximum(self.answers, 1.0) * variance / scale**2


def _steps(statistics: SufficientStatistics, answers: np.ndarray) -> np.ndarray:
    """(S,) free steps from the log-odds of adjacent categories, with half a response added to each; ``answers`` (J,)."""
    formats = statistics.formats
    at_least = np.column_stack([answers, statistics.at_least, np.zeros(formats.n_items)])
    inside = np.arange(formats.most + 1) <= formats.highest[:, None]
    counts = np.where(inside, -np.diff(at_least, axis=1) + 0.5, 1.0)
    log_odds = np.log(counts[:, 1:] / counts[:, :-1])
    weight = np.where(inside[:, 1:], 1.0 / (1.0 / counts[:, 1:] + 1.0 / counts[:, :-1]), 0.0)
    log_odds -= (log_odds * inside[:, 1:]).sum(axis=1, keepdims=True) / formats.highest[:, None]
    return formats.from_steps(-log_odds, weight)


def _logits(mean: np.ndarray, formats: ItemFormats, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits at which each item (..., J) has this mean score, and its variance there, by Newton's method with short steps."""
    eta = np.log(mean / (formats.highest - mean))
    for _ in range(30):
        expected, variance = formats.expected(eta, steps)
        step = np.clip((mean - expected) / np.maximum(variance, 1e-6), -1.0, 1.0)
        eta = eta + step
        if np.abs(step).max() < 1e-8:  # the next would be lost in rounding
            break
    return eta, np.maximum(formats.expected(eta, steps)[1], 1e-3)


def _common(easiness: np.ndarray, information: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intercept, effect of treatment and SD of easiness (3,) without item effects, and the items' easiness (J,)."""
    precision = information[0] * information[1] / information.sum(axis=0)
    effect = float(precision @ (easiness[1] - easiness[0]) / precision.sum())
    pooled = (information[0] * easiness[0] + information[1] * (easiness[1] - effect)) / information.sum(axis=0)
    spread = np.sqrt(max(pooled.var() - (1.0 / information.sum(axis=0)).mean(), SMALLEST_SPREAD**2))
    return np.array([pooled.mean(), effect, spread]), pooled - pooled.mean()


def _by_item(easiness: np.ndarray, information: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intercept, effect of treatment and lower triangle of L (5,) with item effects, and the items' easiness (J,)."""
    error = 1.0 / information
    effect = easiness[1] - easiness[0]
    covariance = np.cov(easiness[0], effect, bias=True)
    covariance -= np.array([[error[0].mean(), -error[0].mean()], [-error[0].mean(), error.sum(axis=0).mean()]])
    l11 = np.sqrt(max(covariance[0, 0], SMALLEST_SPREAD**2))
    largest = np.sqrt(max(covariance[1, 1], SMALLEST_SPREAD**2))
    l21 = float(np.clip(covariance[0, 1] / l11, -largest, largest))
    l22 = np.sqrt(max(covariance[1, 1] - l21**2, SMALLEST_SPREAD**2))
    shrunk = 1.0 / (l21**2 + l22**2 + error.sum(axis=0))
    mean = float(shrunk @ effect / shrunk.sum())
    return np.array([easiness[0].mean(), mean, l11, l21, l22]), easiness[0] - easiness[0].mean()


def start(
    statistics: SufficientStatistics, spec: ModelSpec, fitted: Mapping[str, Fit]
) -> tuple[np.ndarray, np.ndarray]:
    """Starting psi (k,) and starting standardised item easinesses (J,).

    Parameters
    ----------
    statistics, spec : data and model.
    fitted : fits of models to the same or similar data, by name. A fit of the same model is itself the start; otherwise shared
        parameters are taken from the closest smaller model, shifted by the difference between the two models' moments.
    """
    moments = Moments(statistics)
    again = fitted.get(spec.name)
    if again is not None:
        psi = again.psi
        psi = start_from(psi, spec, psi, spec)
        easiness = moments.logits.mean(axis=0) * moments.to_conditional(again.sigma_theta)
        return psi, (easiness - easiness.mean()) / psi[spec.psi_names.index("l11")]

    null, effects = fitted.get("M_0"), fitted.get("M_A")
    smaller = fitted.get("M_B") if spec.name == "M_C" else null
    sigma = moments.sigma() if smaller is None else max(smaller.sigma_theta, SMALLEST_SPREAD)
    common, easiness = _common(*moments.items(sigma, MODELS["M_0"]))
    own = common
    if spec.item_effects:
        own, easiness = _by_item(*moments.items(sigma, spec))
    intercept, effect, factor = own[0], own[1], own[2:]
    beta = np.zeros(len(spec.beta_names))
    if smaller is not None:
        beta[: len(smaller.beta)] = smaller.beta
        intercept, effect = smaller.beta[:2] + own[:2] - common[:2]
        if not spec.item_effects:
            factor = np.array([max(smaller.sigma_b, SMALLEST_SPREAD)])
    if spec.covariate and (smaller is None or not smaller.spec.covariate):
        means, slopes = moments.slopes().T
        slopes = slopes * moments.to_conditional(sigma)
        intercept -= slopes[0] * means[0]
        effect -= slopes[1] * means[1] - slopes[0] * means[0]
        beta[2:] = slopes[0], slopes[1] - slopes[0]
        persons = moments.statistics.count
        explained = np.where(statistics.arm > 0, slopes[1], slopes[0]) * (
            statistics.covariate - means[statistics.arm.astype(int)]
        )
        sigma = float(np.sqrt(max(sigma**2 - persons @ explained**2 / persons.sum(), SMALLEST_SPREAD**2)))
    beta[:2] = intercept, effect
    if spec.name == "M_C" and smaller is not None and null is not None and effects is not None:
        beta[:2] = smaller.beta[:2] + effects.beta - null.beta
        sigma *= effects.sigma_theta / max(null.sigma_theta, SMALLEST_SPREAD)
        factor = effects.item_factor[np.tril_indices(2)].copy()
        factor[[0, 2]] = np.maximum(factor[[0, 2]], SMALLEST_SPREAD)
    near = effects or null if smaller is null else smaller
    steps = moments.steps if near is None else near.steps
    of_clusters: np.ndarray = np.empty(0)
    if statistics.clusters is not None:
        if near is None:
            of_clusters, sigma = cluster_spreads(moments, sigma, spec)
        else:
            of_clusters = near.clusters.factor[np.tril_indices(spec.cluster_q)].copy()
            of_clusters[[0, -1]] = np.maximum(of_clusters[[0, -1]], SMALLEST_SPREAD)
    if spec.item_covariates:
        _explain(statistics, spec, moments.items(sigma, spec)[0], beta)
    return np.array([*beta, *steps, *of_clusters, max(sigma, SMALLEST_SPREAD), *factor]), easiness / factor[0]


def cluster_spreads(moments: Moments, sigma: float, spec: ModelSpec) -> tuple[np.ndarray, float]:
    """Starting lower triangle of M, and the part of ``sigma``, the SD of persons, that is left within clusters.

    The intraclass correlation is estimated from the products of scores of different persons in the same cluster and arm.
    """
    s = moments.statistics
    rest = s.score - moments._by_class(moments.mean)
    binomial = moments._by_class(moments.variance)
    cell = s.clusters.code + s.clusters.count * s.arm.astype(int)
    sums = np.array([np.bincount(cell, weights=s.count * x) for x in (rest, rest**2, binomial, binomial**2)])
    between = float((sums[0] ** 2 - sums[1]).sum() / max((sums[2] ** 2 - sums[3]).sum(), 1e-9))
    of_persons = float((sums[1] - sums[2]).sum() / max(sums[3].sum(), 1e-9))
    share = float(np.clip(between / of_persons, 0.02, 0.8)) if of_persons > 0 else 0.02
    level = max(sigma * np.sqrt(share), SMALLEST_SPREAD)
    within = max(sigma * np.sqrt(1.0 - share), SMALLEST_SPREAD)
    return np.array([level] if spec.cluster_q == 1 else [level, 0.0, max(0.5 * level, SMALLEST_SPREAD)]), within


def _explain(statistics: SufficientStatistics, spec: ModelSpec, easiness: np.ndarray, beta: np.ndarray) -> None:
    """Write gamma and delta into ``beta``, from regressing easiness by arm (2, J), and its difference, on item covariates."""
    z, m = statistics.item_covariates, len(spec.item_covariates)
    at = len(beta) - spec.n_item_coefficients
    centred = easiness - easiness.mean(axis=1, keepdims=True)
    if spec.moderation:
        beta[at : at + m] = np.linalg.lstsq(z, centred[0], rcond=None)[0]
        beta[at + m :] = np.linalg.lstsq(z, centred[1] - centred[0], rcond=None)[0]
    else:
        beta[at:] = np.linalg.lstsq(z, centred.mean(axis=0), rcond=None)[0]


def start_from(smaller: np.ndarray, smaller_spec: ModelSpec, own: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """A start with the parameters of a smaller model's psi, moved off the boundary, and the others from ``own``."""
    psi = own.copy()
    names = list(spec.psi_names)
    for name, value in zip(smaller_spec.psi_names, smaller, strict=True):
        spread = name in ("sigma_theta", "l11", "l22", "m11", "m22")
        psi[names.index(name)] = max(value, SMALLEST_SPREAD) if spread else value
    return psi


def further_starts(first: np.ndarray, best: np.ndarray, spec: ModelSpec) -> list[np.ndarray]:
    """Further starts to search for other optima, which vary sigma and, with item effects, l21 (both signs) and l22."""
    sigma, l11 = (spec.psi_names.index(name) for name in ("sigma_theta", "l11"))
    low = first.copy()
    low[sigma] = max(0.3 * abs(best[sigma]), SMALLEST_SPREAD)
    if spec.cluster_q == 2:
        m11 = spec.psi_names.index("m11")
        turned = [first.copy(), first.copy()]
        size = max(float(np.hypot(first[m11 + 1], first[m11 + 2])), 2.0 * SMALLEST_SPREAD)
        for sign, start in zip((1.0, -1.0), turned, strict=True):
            start[m11 : m11 + 3] = max(abs(first[m11]), 2.0 * SMALLEST_SPREAD), sign * 0.9 * size, 0.4 * size
        plain = replace(spec, cluster_factor=("m11",))
        kept = np.delete(np.arange(len(first)), [m11 + 1, m11 + 2])
        for other in further_starts(first[kept], best[kept], plain):
            full = first.copy()
            full[kept] = other
            turned.append(full)
        return turned
    if not spec.item_effects:
        return [low]
    spread = max(float(np.hypot(first[l11 + 1], first[l11 + 2])), 2.0 * SMALLEST_SPREAD)
    out = []
    for sign, start in ((1.0, low), (-1.0, first.copy())):
        start[l11] = max(abs(first[l11]), 2.0 * SMALLEST_SPREAD)
        start[l11 + 1] = sign * 0.9 * spread
        start[l11 + 2] = 0.4 * spread
        out.append(start)
    return out


def longest_steps(spec: ModelSpec, start: np.ndarray) -> np.ndarray:
    """(..., k) largest changes in one step of a search from start (..., k)."""
    n_beta = len(spec.beta_names)
    longest = np.full(start.shape, 2.0)
    longest[..., n_beta:] = np.maximum(0.7 * np.abs(start[..., n_beta:]), 0.3)
    longest[..., n_beta : n_beta + len(spec.steps)] = 1.0
    return longest


def rough_curvature(deviance: LaplaceDeviance, psi: np.ndarray) -> np.ndarray:
    """(k, k) positive definite guess of the Hessian of D at psi, where ``deviance`` was last evaluated.

    It is twice the expected information of a model in which each person gives one normal observation of theta with variance
    1/information, and each item one of its easiness in each arm. The data determine marginal rather than conditional logits, so
    beta and L are assumed to scale with ``sqrt(1 + 0.35 sigma^2)``.
    """
    if deviance.at is None:  # the last evaluation found no mode
        deviance(psi)
    s, spec = deviance.statistics, deviance.spec
    at_items = deviance.n_beta - spec.n_item_coefficients
    information, own, person_variance = _person_information(deviance, psi)
    of_items = np.empty((0, 0))
    if at_items < deviance.n_beta:
        of_items = _item_information(deviance, deviance.unpack(psi)[2])
    return curvatures(
        spec,
        psi,
        information,
        of_items,
        deviance.step_information(),
        own,
        person_variance,
        s.count,
        np.asarray(deviance.col_weight),
    )


def _person_information(deviance: LaplaceDeviance, psi: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Information on the persons' coefficients given the items, twice that on M's lower triangle, and the variance of each class's one
    observation of theta."""
    at_items = deviance.n_beta - deviance.spec.n_item_coefficients
    sigma = psi[deviance.spec.psi_names.index("sigma_theta")]
    person_variance = sigma**2 + 1.0 / np.maximum(deviance.row_weight, 1e-6)
    information = (deviance.weighted_design[:at_items] / person_variance) @ deviance.design[:, :at_items]
    own = np.empty((0, 0))
    s = deviance.statistics
    if s.clusters is not None:
        design = deviance.design[:, :at_items]
        own = cluster_information(deviance.spec, psi, s.clusters, s.count / person_variance, design, information)
    return information, own, person_variance


def coefficient_covariance(deviance: LaplaceDeviance, psi: np.ndarray) -> np.ndarray:
    """(p, p) covariance of beta, of which twice the inverse is the block of ``rough_curvature``; for models without item
    covariates, at psi, where ``deviance`` was last evaluated."""
    if deviance.at is None:  # the last evaluation found no mode
        deviance(psi)
    q = deviance.spec.q
    factor = np.zeros((q, q))
    factor[np.tril_indices(q)] = psi[deviance.spec.psi_names.index("sigma_theta") + 1 :]
    return _with_items(np.linalg.pinv(_person_information(deviance, psi)[0]), factor, deviance.n_items)


def _with_items(covariance: np.ndarray, factor: np.ndarray, n_items: int) -> np.ndarray:
    """Covariances of coefficients (..., p, p) given the items, with what drawing items adds, in place."""
    q = factor.shape[-1]
    covariance[..., :q, :q] += factor @ factor.swapaxes(-1, -2) / n_items
    return covariance


def curvatures(
    spec: ModelSpec,
    psi: np.ndarray,
    information: np.ndarray,
    of_items: np.ndarray,
    of_steps: np.ndarray,
    of_clusters: np.ndarray,
    person_variance: np.ndarray,
    count: np.ndarray,
    col_weight: np.ndarray,
) -> np.ndarray:
    """(..., k, k) ``rough_curvature`` of one table or, with a leading axis, of several side by side.

    Parameters
    ----------
    psi : (..., k).
    information, of_items, of_steps, of_clusters : information on the persons' coefficients given the items, on gamma and delta,
        on the steps, and twice that on M's lower triangle.
    person_variance, count : (..., G) variance of the observation of theta for each class, and number of persons in it.
    col_weight : (..., 2, J) information on each item by arm.
    """
    at, n_beta, n_items = spec.psi_names.index("sigma_theta"), len(spec.beta_names), col_weight.shape[-1]
    at_items, steps = n_beta - spec.n_item_coefficients, at - len(spec.cluster_factor)
    sigma = psi[..., at]
    factor = np.zeros((*psi.shape[:-1], spec.q, spec.q))
    rows, columns = np.tril_indices(spec.q)
    factor[..., rows, columns] = psi[..., at + 1 :]
    covariance = _with_items(np.linalg.pinv(information), factor, n_items)
    hessian = np.zeros((*psi.shape, psi.shape[-1]))
    hessian[..., :at_items, :at_items] = 2.0 * np.linalg.inv(covariance)
    hessian[..., at_items:n_beta, at_items:n_beta] = 2.0 * of_items
    hessian[..., n_beta:steps, n_beta:steps] = 2.0 * of_steps
    hessian[..., steps:at, steps:at] = of_clusters
    floor = np.maximum(np.abs(sigma), SMALLEST_SPREAD)
    hessian[..., at, at] = 4.0 * floor**2 * (count / person_variance**2).sum(axis=-1)
    hessian[..., at + 1 :, at + 1 :] = _factor_information(col_weight, factor)
    stretch = np.zeros_like(hessian) + np.eye(psi.shape[-1])
    stretch[..., :, at] = (-0.35 * sigma / (1.0 + 0.35 * sigma**2))[..., None] * psi
    stretch[..., n_beta:steps, at] = 0.0
    stretch[..., at, at] = 1.0
    return stretch.swapaxes(-1, -2) @ hessian @ stretch


def cluster_information(
    spec: ModelSpec,
    psi: np.ndarray,
    clusters: Clusters,
    weight: np.ndarray,
    design: np.ndarray,
    information: np.ndarray,
) -> np.ndarray:
    """Twice the expected information on M's lower triangle, with one normal observation of theta per person.

    ``weight`` (G,) is the number of persons in each class over the variance of one observation, and ``design`` (G, p) their fixed
    effects; ``information`` (p, p) on these is reduced in place by what clusters take from it.
    """
    m = psi[[spec.psi_names.index(name) for name in spec.cluster_factor]]
    factor = np.array([[m[0], 0.0], [m[1], m[2]]]) if len(m) == 3 else m.reshape(1, 1)
    z = design[:, : len(factor)]
    starts = np.argsort(clusters.code, kind="stable")
    at = np.searchsorted(clusters.code[starts], np.arange(clusters.count))
    zz = np.add.reduceat((weight[:, None, None] * z[:, :, None] * z[:, None, :])[starts], at)
    zx = np.add.reduceat((weight[:, None, None] * z[:, :, None] * design[:, None, :])[starts], at)
    floored = factor + np.diag(np.maximum(np.abs(np.diagonal(factor)), SMALLEST_SPREAD) - np.diagonal(factor))
    covariance = floored @ floored.T
    # Z'V^-1 Z and Z'V^-1 X, with V = diag(person_variance) + Z Cov Z' within a cluster
    shrink = np.linalg.inv(np.eye(len(factor)) + zz @ covariance)
    information -= np.einsum("skp,skl,slr->pr", zx, covariance @ shrink, zx)
    precision = shrink @ zz
    slopes = []
    for row, column in zip(*np.tril_indices(len(factor)), strict=True):
        move = np.zeros_like(factor)
        move[row, column] = 1.0
        slopes.append(precision @ (move @ floored.T + floored @ move.T))
    own = np.array([[float(np.einsum("sab,sba->", a, b)) for b in slopes] for a in slopes])
    return own + 1e-6 * np.eye(len(own))


def _item_information(deviance: LaplaceDeviance, factor: np.ndarray) -> np.ndarray:
    """Expected information on gamma and delta, from each item's easiness and effect with their sampling covariance."""
    control, treated = (1.0 / np.maximum(h, 1e-6) for h in deviance.col_weight)
    covariance = np.array([[control, -control], [-control, control + treated]]).transpose(2, 0, 1)
    covariance[:, : len(factor), : len(factor)] += factor @ factor.T
    spec, z = deviance.spec, deviance.statistics.item_covariates
    sizes = 2 if spec.moderation else 1
    # without moderation gamma enters easiness only, and the unexplained effect is a second observation of the same item
    information = np.einsum("ia,ikl,ib->kalb", z, np.linalg.inv(covariance), z)[:sizes, :, :sizes]
    return information.reshape(spec.n_item_coefficients, -1)


def _factor_information(col_weight: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """(..., 3, 3) or (..., 1, 1) twice the expected information on the lower triangle of L (..., q, q).

    ``col_weight`` (..., 2, J) is the information on each item by arm, which gives the sampling covariance of its effects.
    """
    control, treated = np.moveaxis(1.0 / np.maximum(col_weight, 1e-6), -2, 0)
    diagonal = np.diagonal(factor, axis1=-2, axis2=-1)
    floored = np.copysign(np.maximum(np.abs(diagonal), SMALLEST_SPREAD), diagonal)
    factor = factor + (floored - diagonal)[..., None] * np.eye(factor.shape[-1])
    if factor.shape[-1] == 1:
        error, variance = control * treated / (control + treated), factor[..., 0] ** 2
        return (4.0 * variance * (1.0 / (variance + error) ** 2).sum(axis=-1, keepdims=True))[..., None]
    error = np.stack([control, -control, -control, control + treated], axis=-1).reshape(*control.shape, 2, 2)
    precision = np.linalg.inv((factor @ factor.swapaxes(-1, -2))[..., None, :, :] + error)
    slopes = []
    for row, column in ((0, 0), (1, 0), (1, 1)):
        move = np.zeros_like(factor)
        move[..., row, column] = 1.0
        change = move @ factor.swapaxes(-1, -2)
        slopes.append((precision @ (change + change.swapaxes(-1, -2))[..., None, :, :]).reshape(*control.shape, 4))
    along = np.stack(slopes, axis=-3).reshape(*factor.shape[:-2], 3, -1)
    across = np.stack([slope[..., [0, 2, 1, 3]] for slope in slopes], axis=-3).reshape(along.shape)
    information = along @ across.swapaxes(-1, -2)
    # D is even in each column of L, so where one is 0 the cross-derivatives with the other vanish
    l21 = factor[..., 1, 0]
    coupling = np.hypot(diagonal[..., 0], l21) / np.hypot(floored[..., 0], l21) * diagonal[..., 1] / floored[..., 1]
    information[..., 2, :2] *= coupling[..., None]
    information[..., :2, 2] *= coupling[..., None]
    return information
