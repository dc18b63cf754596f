"""Predictions of a fit for single persons and responses: modes of theta, linear predictors, expected responses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from ..data.trial import PreparedTrial, Trial
from ..engine.quadrature import person_modes
from ..errors import InputError
from ..model.compress import SufficientStatistics

if TYPE_CHECKING:
    import pandas as pd

    from ..model.fit_result import Fit


Modes = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
MOST_STEPS, TOLERANCE = 50, 1e-9


@dataclass(frozen=True)
class Persons:
    """The random effects of persons under one model.

    Attributes
    ----------
    theta : (P,) modes of theta given the estimates, logits, within clusters if the model has them; NaN for persons whom the model
        did not use.
    se : (P,) their conditional standard deviations given the estimates, logits, with items and clusters uncertain too, as in lme4's
        ``condVar``.
    clusters : (S, c) modes of the clusters' level and, with c = 2, effect, logits, in the order of ``cluster_codes``; None
        without clusters in the model.
    clusters_se : (S, c) their conditional standard deviations, logits; None without clusters in the model.
    of_cluster : (P,) contribution of the cluster to a person's linear predictor in the person's arm, logits; 0 without clusters.
    """

    theta: np.ndarray
    se: np.ndarray
    clusters: np.ndarray | None
    clusters_se: np.ndarray | None
    of_cluster: np.ndarray


def rows_of(trial: PreparedTrial) -> Trial:
    """The trial itself, if the responses of its persons are in memory.

    Raises
    ------
    InputError : it was read out of core.
    """
    if not trial.rows_known:
        raise InputError(
            "The table was counted on disk, so single responses are not available: read it into memory (--max-persons N)."
        )
    return cast(Trial, trial)


def used_rows(trial: Trial, fit: Fit) -> np.ndarray:
    """(n,) whether the model used each response; a model with a covariate uses only persons who have it."""
    if not fit.spec.covariate or trial.covariate is None:
        return np.ones(trial.n_responses, bool)
    return ~np.isnan(trial.covariate)[trial.person]


def response_rows(trial: Trial) -> pd.DataFrame:
    """One row per response as used by the models, with id, item, resp and treat.

    There are also cov (standardised, NaN where missing), if the trial has a covariate, and cluster, if the models have clusters.
    """
    import pandas as pd

    frame = pd.DataFrame(
        {
            "id": np.asarray(trial.person_ids, dtype=object)[trial.person],
            "item": np.asarray(trial.item_names, dtype=object)[trial.item],
            "resp": trial.resp.astype(int),
            "treat": trial.treat[trial.person].astype(int),
        }
    )
    if trial.covariate is not None:
        frame["cov"] = trial.covariate[trial.person]
    codes = trial.of_clusters["cluster"]
    if codes is not None:
        frame["cluster"] = codes[trial.person]
    return frame


def fixed_part(fit: Fit, treat: np.ndarray, cov: np.ndarray | None) -> np.ndarray:
    """(n,) fixed part of the linear predictor, logits; at the covariate's mean where ``cov`` is None."""
    fixed = fit.coefficient("intercept") + fit.coefficient("treat") * treat
    if fit.spec.covariate and cov is not None:
        fixed = fixed + (fit.coefficient("cov") + fit.coefficient("treat:cov") * treat) * cov
    return np.asarray(fixed, float)


def item_part(fit: Fit, treat: np.ndarray, item: np.ndarray) -> np.ndarray:
    """(n,) item part of the linear predictor, b_i + zeta_i T, logits; 0 where ``item`` is -1, the average item."""
    ranef = np.vstack([fit.ranef, np.zeros(fit.spec.q)])
    effect = ranef[item, 1] * treat if fit.spec.item_effects else 0.0
    return np.asarray(ranef[item, 0] + effect, float)


def persons(trial: Trial, fit: Fit) -> Persons:
    """Modes of theta given the estimates and the modes of the items, the joint mode that lme4's ``ranef`` gives."""
    n, n_items = trial.n_persons, fit.n_items
    kept = used_rows(trial, fit)
    person, item, resp = trial.person[kept], trial.item[kept], trial.resp[kept]
    trials = np.bincount(person * n_items + item, minlength=n * n_items).reshape(n, n_items).astype(float)
    score = np.bincount(person, weights=resp, minlength=n)
    # one class per person, control first
    order = np.argsort(trial.treat, kind="stable")
    statistics = SufficientStatistics(
        item_names=fit.item_names,
        n_control_classes=int((trial.treat == 0).sum()),
        count=np.ones(n),
        score=score[order],
        covariate=None,
        trials=trials[order],
        item_total=np.zeros((2, n_items)),
        n_persons=n,
        n_responses=len(person),
        formats=fit.formats,
    )
    every = np.arange(n_items)
    offsets = (item_part(fit, np.zeros(n_items), every), item_part(fit, np.ones(n_items), every))
    cov = None if trial.covariate is None else np.nan_to_num(trial.covariate)
    fixed = fixed_part(fit, trial.treat.astype(float), cov)
    steps = None if fit.formats is None else fit.steps
    sigma = fit.sigma_theta

    def modes(of_cluster: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Expected sum scores, weights of cells and modes of v, with the clusters' effects held fixed."""
        v = np.empty(n)
        v[order] = person_modes(statistics, (fixed + of_cluster)[order], sigma, offsets, steps)
        eta = (fixed + of_cluster + sigma * v)[:, None] + np.where(trial.treat[:, None] == 0, offsets[0], offsets[1])
        mean, spread = expected(fit, eta)
        return (trials * mean).sum(axis=1), trials * spread, v

    clusters, of_cluster, weight, v = _cluster_modes(trial, fit, score, modes)
    theta = sigma * v
    se, clusters_se = _conditional_se(fit, trial, weight)
    unused = ~trials.any(axis=1)
    theta[unused] = se[unused] = np.nan
    return Persons(theta, se, clusters, clusters_se, of_cluster)


def _cluster_modes(
    trial: Trial, fit: Fit, score: np.ndarray, modes: Modes
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray, np.ndarray]:
    """Joint modes of clusters and persons: Newton's method over the clusters, with the persons' modes found at each step."""
    codes = trial.of_clusters["cluster"]
    nothing = np.zeros(trial.n_persons)
    if fit.clusters is None or codes is None:
        _, weight, v = modes(nothing)
        return None, nothing, weight, v
    factor, loading = fit.clusters.factor, _cluster_loadings(fit.clusters.factor, trial.treat)
    size = len(factor)
    k = np.zeros((int(codes.max()) + 1, size))
    for _ in range(MOST_STEPS):
        of_cluster = (loading * k[codes]).sum(axis=1)
        mean, weight, v = modes(of_cluster)
        slope, curvature = -k, np.tile(np.eye(size), (len(k), 1, 1))
        np.add.at(slope, codes, loading * (score - mean)[:, None])
        # a person's mode moves with the cluster, which reduces the information by this factor
        left = weight.sum(axis=1) / (1.0 + fit.sigma_theta**2 * weight.sum(axis=1))
        np.add.at(curvature, codes, loading[:, :, None] * loading[:, None, :] * left[:, None, None])
        step = np.linalg.solve(curvature, slope[:, :, None])[:, :, 0]
        k = k + step
        if np.abs(step).max() < TOLERANCE:
            break
    return k @ factor.T, of_cluster, weight, v


def _cluster_loadings(factor: np.ndarray, treat: np.ndarray) -> np.ndarray:
    """(P, c) loadings of a person's linear predictor on the effects of the cluster."""
    return np.asarray(np.column_stack([np.ones(len(treat)), treat])[:, : len(factor)] @ factor)


def _conditional_se(fit: Fit, trial: Trial, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Conditional standard deviations of persons (P,) and clusters (S, c), from the weights W of cells (P, J).

    They are roots of the diagonal of H^-1 (``engine.modes``) on the scale of the effects. With h_p = 1 + sigma^2 sum_i W_pi, S the
    Schur complement over items and clusters, and c_p the coupling of a person with these (sigma W_p a_T' with items,
    sigma sum_i W_pi l_p with the cluster), the entry of a person is 1 / h_p + c_p' S^-1 c_p / h_p^2. In S, clusters are eliminated
    in turn, since their blocks C_s are small and not coupled with each other: with B_s the block between items and s, and z and y
    the parts of c_p for the cluster and the items, c_p' S^-1 c_p = z' C_s^-1 z + (y - B_s C_s^-1 z)' M (y - B_s C_s^-1 z), where M
    is the inverse over the items.
    """
    sigma, n_items, q, treat = fit.sigma_theta, fit.n_items, fit.spec.q, trial.treat
    h = 1.0 + sigma**2 * weight.sum(axis=1)
    loadings = [fit.item_factor.T @ (1.0, arm)[:q] for arm in (0.0, 1.0)]
    schur = np.eye(n_items * q)
    to_items = np.empty((len(h), n_items * q))
    for arm, a in enumerate(loadings):
        w = weight[treat == arm]
        between = np.diag(w.sum(axis=0)) - (w.T * (sigma**2 / h[treat == arm])) @ w
        schur += np.kron(between, np.outer(a, a))
        to_items[treat == arm] = np.kron(w, a)
    variance = 1.0 / h
    codes = trial.of_clusters["cluster"]
    if fit.clusters is None or codes is None:
        quadratic = np.einsum("pi,ij,pj->p", to_items, np.linalg.inv(schur), to_items, optimize=True)
        return sigma * np.sqrt(variance + (sigma / h) ** 2 * quadratic), None
    factor, loading = fit.clusters.factor, _cluster_loadings(fit.clusters.factor, treat)
    n_clusters, c = int(codes.max()) + 1, len(factor)
    total = weight.sum(axis=1)
    block = np.tile(np.eye(c), (n_clusters, 1, 1))
    np.add.at(block, codes, loading[:, :, None] * loading[:, None, :] * (total / h)[:, None, None])
    between = np.zeros((n_clusters, n_items * q, c))
    np.add.at(between, codes, to_items[:, :, None] * (loading / h[:, None])[:, None, :])
    inverse = np.linalg.inv(block)
    through = between @ inverse
    of_items = np.linalg.inv(schur - np.einsum("sic,sjc->ij", through, between, optimize=True))
    z = loading * total[:, None]
    y = to_items - np.einsum("pic,pc->pi", through[codes], z)
    quadratic = np.einsum("pc,pcd,pd->p", z, inverse[codes], z, optimize=True)
    quadratic += np.einsum("pi,ij,pj->p", y, of_items, y, optimize=True)
    of_clusters = inverse + np.einsum("sic,ij,sjd->scd", through, of_items, through, optimize=True)
    spread = np.einsum("kc,scd,kd->sk", factor, of_clusters, factor)
    return sigma * np.sqrt(variance + (sigma / h) ** 2 * quadratic), np.sqrt(spread)


def expected(fit: Fit, eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Expected score of each item (with two categories the probability of a 1), and its variance, at eta (..., J)."""
    from scipy.special import expit

    if fit.formats is None:
        p = expit(eta)
        return p, p * (1.0 - p)
    return fit.formats.expected(eta, fit.steps)


def expected_of(fit: Fit, eta: np.ndarray, item: np.ndarray) -> np.ndarray:
    """(n,) expected score of item (n,) at eta (n,)."""
    from scipy.special import expit

    if fit.formats is None:
        return expit(eta)
    p = _categories(fit, eta, item)
    return p @ np.arange(p.shape[1])


def log_probability(fit: Fit, eta: np.ndarray, item: np.ndarray, resp: np.ndarray) -> np.ndarray:
    """(n,) log-probability of the responses (n,) given all random effects."""
    if fit.formats is None:
        return -np.logaddexp(0.0, np.where(resp == 1, -eta, eta))
    return np.log(_categories(fit, eta, item)[np.arange(len(resp)), resp])


def _categories(fit: Fit, eta: np.ndarray, item: np.ndarray) -> np.ndarray:
    """(n, K + 1) probability of each category of item (n,) at eta (n,), 0 beyond its highest."""
    assert fit.formats is not None
    exponent = eta[:, None] * np.arange(fit.formats.most + 1) - fit.formats.constants(fit.steps)[item]
    exponent -= exponent.max(axis=1, keepdims=True)
    p = np.exp(exponent)
    return p / p.sum(axis=1, keepdims=True)
