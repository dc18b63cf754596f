"""Where a fit starts: moment estimates of psi, and a rough guess of the deviance's curvature there.

Neither has to be right, only near: good ones save objective evaluations. The factor ``sqrt(1 + 0.35 sigma^2)`` turns
marginal into conditional logits (Zeger, Liang and Albert 1988, Biometrics 44(4), whose c^2 = 0.346).
"""

from __future__ import annotations

import numpy as np

from .compress import SufficientStatistics
from .laplace import LaplaceDeviance
from .mixed_model import ModelSpec

SMALLEST_SPREAD = 0.15
"""No standard deviation starts below this (logits), so that no search begins in the trap at zero."""


def moment_start(statistics: SufficientStatistics, spec: ModelSpec) -> tuple[np.ndarray, np.ndarray]:
    """Starting psi (k,) and starting standardised item easinesses (J,), from item totals and the spread of scores."""
    s = statistics
    arms = (slice(0, s.n_control_classes), slice(s.n_control_classes, s.n_classes))
    if s.trials is None:
        answers = np.array([np.full(s.n_items, s.count[arm].sum()) for arm in arms])
    else:
        answers = np.array([s.count[arm] @ s.trials[arm] for arm in arms])
    share = (s.item_total + 0.5) / (answers + 1.0)
    variance = share * (1.0 - share)
    if s.trials is None:
        expected = np.where(s.arm > 0, share[1].sum(), share[0].sum())
        binomial = np.where(s.arm > 0, variance[1].sum(), variance[0].sum())
        length = np.full(s.n_classes, float(s.n_items))
    else:
        expected, binomial = (np.concatenate([s.trials[arm] @ x[t] for t, arm in enumerate(arms)]) for x in (share, variance))
        length = s.trials.sum(axis=1)
    # scores spread beyond the binomial by sigma^2 times the squared information
    beyond = s.count @ ((s.score - expected) ** 2 - binomial)
    squared = s.count @ (binomial**2 * (1.0 - 1.0 / np.maximum(length, 2.0)))
    sigma = np.sqrt(np.clip(beyond / max(squared, 1e-9), 0.1, 9.0))
    sigma *= (1.0 + 0.35 * sigma**2) ** 0.25
    to_conditional = np.sqrt(1.0 + 0.35 * sigma**2)

    logits = np.log(share / (1.0 - share)) * to_conditional
    mean = logits.mean(axis=1)
    easiness = logits.mean(axis=0) - logits.mean()
    sigma_b = max(float(easiness.std()), SMALLEST_SPREAD)
    beta = [mean[0], mean[1] - mean[0], *([0.0, 0.0] if spec.covariate else [])]
    factor = [sigma_b]
    if spec.item_effects:
        factor += [0.0, _effect_spread(logits, answers, variance, to_conditional)]
    return np.array([*beta, sigma, *factor]), easiness / sigma_b


def _effect_spread(logits: np.ndarray, answers: np.ndarray, variance: np.ndarray, to_conditional: float) -> float:
    """SD of the items' logit differences between arms beyond their sampling error."""
    difference = logits[1] - logits[0]
    error = (to_conditional**2 / (np.maximum(answers, 1.0) * variance)).sum(axis=0).mean()
    return float(np.sqrt(max(difference.var() - error, SMALLEST_SPREAD**2)))


def start_from(smaller: np.ndarray, smaller_spec: ModelSpec, own: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """A start that takes every parameter a smaller model has from its fit and the rest from the moment start."""
    start = own.copy()
    names = list(spec.psi_names)
    spreads = ("sigma_theta", "l11", "l22")
    for name, value in zip(smaller_spec.psi_names, smaller, strict=True):
        start[names.index(name)] = max(value, SMALLEST_SPREAD) if name in spreads else value
    return start


def further_starts(first: np.ndarray, best: np.ndarray, spec: ModelSpec) -> list[np.ndarray]:
    """Starts for a search for other optima: they differ in sigma and, where items have effects, in l21 (both signs) and l22."""
    n_beta = len(spec.beta_names)
    sigma, l11 = n_beta, n_beta + 1
    low = first.copy()
    low[sigma] = max(0.3 * abs(best[sigma]), SMALLEST_SPREAD)
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


def rough_curvature(deviance: LaplaceDeviance, psi: np.ndarray) -> np.ndarray:
    """(k, k) positive definite guess of the Hessian of D at psi, where ``deviance`` was last evaluated.

    As if each person gave one normal observation with variance sigma^2 + 1/information, and each item one of its
    effects: twice the information of that model.
    """
    s = deviance.statistics
    _, sigma, factor = deviance.unpack(psi)
    n_beta, q, n_items = deviance.n_beta, deviance.q, deviance.n_items
    n_persons = s.count.sum()
    information = float(s.count @ deviance.row_weight) / n_persons
    person_variance = sigma**2 + 1.0 / information
    covariance = np.linalg.pinv((deviance.weighted_design @ deviance.design) / person_variance)
    item_part = np.zeros((2, 2))
    item_part[:q, :q] = factor @ factor.T
    covariance[:2, :2] += item_part / n_items
    hessian = np.zeros((len(psi), len(psi)))
    hessian[:n_beta, :n_beta] = 2.0 * np.linalg.inv(covariance)
    hessian[n_beta, n_beta] = 4.0 * n_persons * max(abs(sigma), SMALLEST_SPREAD) ** 2 / person_variance**2
    # an item's easiness is known up to 1/h, its effect up to 1/h0 + 1/h1
    control, treated = (np.maximum(h, 1e-6) for h in deviance.col_weight)
    sigma_b = max(abs(float(factor[0, 0])), SMALLEST_SPREAD)
    easiness_error = person_variance * information * float((1.0 / (control + treated)).mean())
    hessian[n_beta + 1, n_beta + 1] = 4.0 * n_items * sigma_b**2 / (sigma_b**2 + easiness_error) ** 2
    if q == 2:
        effect_error = float((1.0 / control + 1.0 / treated).mean())
        spread = max(abs(float(factor[1, 1])), SMALLEST_SPREAD)
        hessian[n_beta + 2, n_beta + 2] = 2.0 * n_items / (spread**2 + effect_error)
        hessian[n_beta + 3, n_beta + 3] = 4.0 * n_items * spread**2 / (spread**2 + effect_error) ** 2
    return hessian
