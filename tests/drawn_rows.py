"""Small seeded trials as rows, and the two ways to hand them to the engine: compressed, and one class a person."""

from __future__ import annotations

import numpy as np
from dense_laplace import Rows

from ilhte_lib.model.compress import SufficientStatistics, sufficient_statistics
from ilhte_lib.model.fit_result import Fit
from ilhte_lib.model.spec import ModelSpec

KINDS = ("complete", "missing", "trials")


def draw_rows(
    seed: int,
    kind: str = "complete",
    *,
    n_persons: int = 40,
    n_items: int = 6,
    covariate: bool = False,
    sigma: float = 1.0,
    sigma_b: float = 1.0,
    sigma_zeta: float = 0.5,
    rho: float = 0.3,
    ate: float = 0.3,
) -> Rows:
    """A trial drawn from the model: complete, a third missing, or 0 to 3 trials of each item.

    The covariate has one decimal, so that some persons share its value.
    """
    rng = np.random.default_rng(seed)
    treat = (rng.permutation(n_persons) < n_persons // 2).astype(np.int64)
    c = rng.standard_normal(n_persons).round(1) if covariate else None
    z1, z2 = rng.standard_normal((2, n_items))
    b, zeta = sigma_b * z1, sigma_zeta * (rho * z1 + np.sqrt(1 - rho**2) * z2)
    theta = sigma * rng.standard_normal(n_persons) + (0.0 if c is None else 0.5 * c + 0.2 * treat * c)
    trials = {
        "complete": np.ones((n_persons, n_items), int),
        "missing": (rng.random((n_persons, n_items)) > 1 / 3).astype(int),
        "trials": rng.integers(0, 4, (n_persons, n_items)),
    }[kind]
    person, item = np.nonzero(trials)
    times = trials[person, item]
    person, item = np.repeat(person, times), np.repeat(item, times)
    eta = theta[person] + b[item] + treat[person] * (ate + zeta[item])
    resp = (rng.random(len(eta)) < 1 / (1 + np.exp(-eta))).astype(np.int64)
    return Rows(treat, person, item, resp, c, n_items)


def compressed(rows: Rows) -> SufficientStatistics:
    """The package's sufficient statistics of these rows."""
    names = tuple(f"q{k}" for k in range(rows.n_items))
    return sufficient_statistics(names, rows.treat, rows.person, rows.item, rows.resp, rows.covariate)


def uncompressed(rows: Rows) -> SufficientStatistics:
    """The same trial with every person a class of their own, built by hand."""
    n_persons = len(rows.treat)
    trials, total = np.zeros((n_persons, rows.n_items)), np.zeros((2, rows.n_items))
    np.add.at(trials, (rows.person, rows.item), 1.0)
    np.add.at(total, (rows.treat[rows.person], rows.item), rows.resp)
    score = np.zeros(n_persons)
    np.add.at(score, rows.person, rows.resp)
    order = np.argsort(rows.treat, kind="stable")
    return SufficientStatistics(
        item_names=tuple(f"q{k}" for k in range(rows.n_items)),
        n_control_classes=int((rows.treat == 0).sum()),
        count=np.ones(n_persons),
        score=score[order],
        covariate=None if rows.covariate is None else rows.covariate[order],
        trials=trials[order],
        item_total=total,
        n_persons=n_persons,
        n_responses=len(rows.resp),
    )


def psi_of(fit: Fit) -> np.ndarray:
    """A fit's parameters as the objective takes them."""
    return np.array([*fit.beta, fit.sigma_theta, *fit.item_factor[np.tril_indices(fit.spec.q)]])


def draw_psi(seed: int, spec: ModelSpec) -> np.ndarray:
    """A seeded point of the parameter space, inside."""
    rng = np.random.default_rng(seed)
    beta = 0.5 * rng.standard_normal(len(spec.beta_names))
    factor = [rng.uniform(0.4, 1.4)]
    if spec.item_effects:
        factor += [0.5 * rng.standard_normal(), rng.uniform(0.2, 0.7)]
    return np.array([*beta, rng.uniform(0.4, 1.4), *factor])
