"""The Laplace deviance once more, the plain way: one row a response, dense matrices, no compression and no elimination.

Shares no code with the package; it is what the package's fast evaluation is compared with.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Rows:
    """A small trial as rows, P persons and J items; ``covariate`` (P,) or None. Repeated (person, item) rows are allowed.

    ``cluster`` (P,) has an integer for each person's cluster, or is None.
    """

    treat: np.ndarray
    person: np.ndarray
    item: np.ndarray
    resp: np.ndarray
    covariate: np.ndarray | None
    n_items: int
    cluster: np.ndarray | None = None


@dataclass(frozen=True)
class Dense:
    """Deviance, item effects (J, q) and their conditional covariance (J, q, q) at one psi."""

    deviance: float
    item_effects: np.ndarray
    item_covariances: np.ndarray


def dense_laplace(
    rows: Rows,
    beta: np.ndarray,
    sigma: float,
    factor: np.ndarray,
    steps: list[list[float]] | None = None,
    cluster_factor: np.ndarray | None = None,
    item_offsets: np.ndarray | None = None,
) -> Dense:
    """D = -2 loglik(u^) + |u^|^2 + log det(Lambda' Z' W Z Lambda + I), with the mode u^ to rounding error.

    ``item_offsets`` (2, J) add to the predictor by arm and item. ``steps`` are tau_i1 ... tau_iK of each item with ordered categories, adding up to 0; None: 0 and 1 alone.
    """
    steps = steps or [[0.0]] * rows.n_items
    widest = max(map(len, steps)) + 1
    c = np.full((rows.n_items, widest), np.inf)
    for item, of_item in enumerate(steps):
        c[item, : len(of_item) + 1] = np.concatenate([[0.0], np.cumsum(of_item)])
    c, k = c[rows.item], np.arange(widest)
    chosen = c[np.arange(len(c)), rows.resp]

    def moments(eta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log of the normaliser, mean and variance of each response."""
        exponent = k * eta[:, None] - c
        top = exponent.max(axis=1)
        p = np.exp(exponent - top[:, None])
        total = p.sum(axis=1)
        mean = p @ k / total
        return top + np.log(total), mean, (p * (k - mean[:, None]) ** 2).sum(axis=1) / total

    n_persons, n_items, q = len(rows.treat), rows.n_items, len(factor)
    treat = rows.treat[rows.person].astype(float)
    columns = [np.ones(len(treat)), treat]
    if len(beta) == 4:
        covariate = rows.covariate[rows.person]
        columns += [covariate, treat * covariate]
    fixed = np.column_stack(columns) @ beta
    if item_offsets is not None:
        fixed = fixed + item_offsets[rows.treat[rows.person], rows.item]
    c_factor = np.zeros((0, 0)) if cluster_factor is None else cluster_factor
    n_clusters = 0 if cluster_factor is None else int(rows.cluster.max()) + 1
    last = n_persons + q * n_items
    z = np.zeros((len(treat), last + len(c_factor) * n_clusters))
    where = np.arange(len(treat))
    z[where, rows.person] = 1.0
    z[where, n_persons + q * rows.item] = 1.0
    if q == 2:
        z[where, n_persons + q * rows.item + 1] = treat
    for own in range(len(c_factor)):
        z[where, last + len(c_factor) * rows.cluster[rows.person] + own] = treat if own else 1.0
    scale = np.zeros((z.shape[1], z.shape[1]))
    scale[:n_persons, :n_persons] = sigma * np.eye(n_persons)
    scale[n_persons:last, n_persons:last] = np.kron(np.eye(n_items), factor)
    scale[last:, last:] = np.kron(np.eye(n_clusters), c_factor)
    a = z @ scale

    def penalised(u: np.ndarray) -> float:
        eta = fixed + a @ u
        return float(-2.0 * (rows.resp @ eta - chosen.sum() - moments(eta)[0].sum()) + u @ u)

    u = np.zeros(z.shape[1])
    for _ in range(200):
        _, mean, variance = moments(fixed + a @ u)
        h = a.T @ (variance[:, None] * a) + np.eye(len(u))
        step = np.linalg.solve(h, a.T @ (rows.resp - mean) - u)
        length = 1.0
        while penalised(u + length * step) > penalised(u) + 1e-9 and length > 1e-6:
            length /= 2
        u = u + length * step
        if np.abs(step).max() < 1e-13:
            break
    h = a.T @ (moments(fixed + a @ u)[2][:, None] * a) + np.eye(len(u))
    sign, logdet = np.linalg.slogdet(h)
    assert sign == 1.0
    conditional = (scale @ np.linalg.inv(h) @ scale.T)[n_persons:last, n_persons:last].reshape(n_items, q, n_items, q)
    return Dense(
        penalised(u) + float(logdet),
        (scale @ u)[n_persons:last].reshape(n_items, q),
        np.array([conditional[i, :, i, :] for i in range(n_items)]),
    )
