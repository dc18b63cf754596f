"""The frozen result of fitting one model, whichever engine fitted it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .spec import ModelSpec

if TYPE_CHECKING:
    from .formats import ItemFormats

SINGULAR_BELOW = 1e-4
"""A standard deviation (sigma_theta, or a diagonal entry of L, in logits) below this is on the boundary, as in lme4."""


LOWER = {q: np.tril_indices(q) for q in range(3)}
"""Indices of the lower triangle of a (q, q) factor in the order psi holds it: by rows."""


@dataclass(frozen=True)
class ClusterFit:
    """The random effects of clusters in a fitted model, in logits.

    Attributes
    ----------
    factor : (c, c) lower-triangular M: a cluster's level and, with c = 2, its own treatment effect are ``M k_s``.
    count : number of clusters S.
    both_arms : whether some cluster has persons in both arms; if none has, whole clusters were randomised.
    """

    factor: np.ndarray
    count: int
    both_arms: bool

    @property
    def sigma_u(self) -> float:
        """SD of the clusters' levels."""
        return abs(float(self.factor[0, 0]))

    @property
    def sigma_effect(self) -> float:
        """SD of the treatment effect between clusters; NaN where the model has one effect for all clusters."""
        return float(np.hypot(self.factor[1, 0], self.factor[1, 1])) if len(self.factor) == 2 else float("nan")

    @property
    def correlation(self) -> float:
        """Correlation of a cluster's level and effect; NaN where either does not vary."""
        if len(self.factor) == 1 or self.sigma_u == 0.0 or self.sigma_effect == 0.0:
            return float("nan")
        return float(np.clip(np.sign(self.factor[0, 0]) * self.factor[1, 0] / self.sigma_effect, -1.0, 1.0))

    @property
    def degrees_of_freedom(self) -> int:
        """For the t quantile of the average effect: S - 2 where clusters were randomised, S - 1 where they hold both arms."""
        return self.count - (1 if self.both_arms else 2)


@dataclass(frozen=True)
class Fit:
    """A fitted model. Everything is in logits; undefined numbers are NaN (written as null in JSON).

    Attributes
    ----------
    spec : the model.
    engine : "native" or "pymer4".
    method : how the likelihood was approximated: "laplace" (lme4's nAGQ = 1) or "aghq" (quadrature over persons).
    loglik : maximised log-likelihood.
    beta : (p,) fixed effects, named by ``spec.beta_names``.
    se : (p,) their standard errors.
    sigma_theta : SD of the person effects theta.
    item_factor : (q, q) lower-triangular L with ``item_cov = L L'``.
    vcov : (k, k) covariance of psi = ``spec.psi_names``; rows and columns of parameters held on the boundary are NaN.
        Entries that the engine cannot supply are NaN.
    item_names : J names, the order of every per-item array.
    ranef : (J, q) empirical-Bayes item effects: easiness b_i and, when q = 2, zeta_i.
    ranef_vcov : (J, q, q) their conditional covariance given psi (lme4's postVar).
    ranef_jacobian : (J, q, k) derivative of ``ranef`` with respect to psi, NaN where the engine does not supply it.
    n_persons, n_items, n_responses : sizes of the data this model saw.
    singular : whether sigma_theta or a diagonal entry of L is below ``SINGULAR_BELOW``.
    converged : whether the optimum is certified (native: gradient and curvature) or claimed (pymer4: no warning).
    gradient_norm : largest absolute entry of the projected gradient of the deviance, NaN if unknown.
    hessian_min_eigenvalue : smallest eigenvalue of the deviance's Hessian in the free parameters, NaN if unknown.
    optimizer : the optimiser actually used.
    evaluations, passes : objective evaluations, and passes over the compressed data inside them (0 if unknown).
    seconds : wall time from compressed data to estimates with standard errors.
    messages : notes from the engine about this fit (a later start beat the first; a warning from lme4).
    steps : (S,) free steps of items with more than two categories, named by ``spec.steps``, logits.
    formats : the items' formats; None where all have two categories.
    nodes : quadrature nodes per class of persons; not used by "laplace".
    clusters : the random effects of clusters; None for a model without them.
    """

    spec: ModelSpec
    engine: str
    method: str
    loglik: float
    beta: np.ndarray
    se: np.ndarray
    sigma_theta: float
    item_factor: np.ndarray
    vcov: np.ndarray
    item_names: tuple[str, ...]
    ranef: np.ndarray
    ranef_vcov: np.ndarray
    ranef_jacobian: np.ndarray
    n_persons: int
    n_items: int
    n_responses: int
    singular: bool
    converged: bool
    gradient_norm: float
    hessian_min_eigenvalue: float
    optimizer: str
    evaluations: int
    passes: int
    seconds: float
    messages: tuple[str, ...] = ()
    steps: np.ndarray = field(default_factory=lambda: np.empty(0))
    formats: ItemFormats | None = None
    nodes: int = 15
    clusters: ClusterFit | None = None

    @property
    def deviance(self) -> float:
        """-2 log-likelihood."""
        return -2.0 * self.loglik

    @property
    def item_cov(self) -> np.ndarray:
        """(q, q) covariance of (b_i, zeta_i), squared logits."""
        return self.item_factor @ self.item_factor.T

    @property
    def psi(self) -> np.ndarray:
        """(k,) all parameters in the order of ``spec.psi_names``: beta, steps, M (clusters), sigma_theta, L by rows."""
        of_clusters = () if self.clusters is None else self.clusters.factor[LOWER[self.spec.cluster_q]]
        factor = self.item_factor[LOWER[self.spec.q]]
        return np.array([*self.beta, *self.steps, *of_clusters, self.sigma_theta, *factor])

    @property
    def sigma_persons(self) -> float:
        """SD of persons in the control arm, within and between clusters together."""
        return self.sigma_theta if self.clusters is None else float(np.hypot(self.sigma_theta, self.clusters.sigma_u))

    @property
    def sigma_b(self) -> float:
        """SD of item easiness."""
        return abs(float(self.item_factor[0, 0]))

    @property
    def sigma_zeta(self) -> float:
        """SD of the item-specific treatment effects; NaN for a model without them."""
        return (
            float(np.hypot(self.item_factor[1, 0], self.item_factor[1, 1])) if self.spec.item_effects else float("nan")
        )

    @property
    def rho(self) -> float:
        """Correlation of easiness and item-specific effect; NaN where sigma_b or sigma_zeta is 0."""
        if not self.spec.item_effects or self.sigma_b == 0.0 or self.sigma_zeta == 0.0:
            return float("nan")
        return float(np.clip(np.sign(self.item_factor[0, 0]) * self.item_factor[1, 0] / self.sigma_zeta, -1.0, 1.0))

    def coefficient(self, name: str) -> float:
        """A fixed effect by name (``intercept``, ``treat``, ``cov``, ``treat:cov``), logits."""
        return float(self.beta[self.spec.beta_names.index(name)])

    def standard_error(self, name: str) -> float:
        """The standard error of a fixed effect by name, logits."""
        return float(self.se[self.spec.beta_names.index(name)])
