"""Functions of psi and their standard errors by the delta method, from the fit's vcov."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..model.fit_result import Fit


def item_spreads(main: Fit) -> tuple[float, float]:
    """SD over items (n - 1) of the empirical-Bayes easiness under control and under treatment, logits."""
    easiness, total = main.ranef[:, 0], main.ranef.sum(axis=1)
    if main.sigma_b == 0.0:
        return 0.0, float(total.std(ddof=1))
    return float(easiness.std(ddof=1)), float(total.std(ddof=1))


def model_sd_ratio(main: Fit) -> float:
    """SD of b + zeta over SD of b by the model's parameters rather than the shrunken estimates; NaN where sigma_b is 0."""
    if main.sigma_b == 0.0:
        return float("nan")
    # |L'(1,1)'|, because rounding can make the sum of L L' negative where rho is -1
    return float(np.linalg.norm(main.item_factor.sum(axis=0)) / main.sigma_b)


def variance(fit: Fit, slopes: dict[str, float]) -> float:
    """Delta-method variance of a function of psi from its nonzero partial derivatives; NaN if a parameter is on its boundary."""
    names = fit.spec.psi_names
    moving = [(names.index(name), slope) for name, slope in slopes.items() if slope != 0.0]
    if not moving:
        return float("nan")
    index, slope = (np.array(x) for x in zip(*moving, strict=True))
    return float(slope @ fit.vcov[np.ix_(index, index)] @ slope)


def sigma_zeta_se(fit: Fit) -> float:
    """Standard error of sigma_zeta, logits; NaN where sigma_zeta is 0."""
    spread = fit.sigma_zeta
    if not spread > 0:
        return float("nan")
    l21, l22 = fit.item_factor[1]
    return float(np.sqrt(variance(fit, {"l21": l21 / spread, "l22": l22 / spread})))


def rho_se(fit: Fit) -> float:
    """Standard error of rho; NaN on a boundary (|rho| = 1, sigma_b = 0 or sigma_zeta = 0)."""
    spread = fit.sigma_zeta
    l21, l22 = fit.item_factor[1]
    if not spread > 0 or l22 == 0.0 or fit.sigma_b == 0.0:
        return float("nan")
    return float(np.sqrt(variance(fit, {"l21": l22**2 / spread**3, "l22": -l21 * l22 / spread**3})))


def fisher_interval(rho: float, half: float) -> tuple[float, float]:
    """An interval of a correlation symmetric in artanh(rho), with half width ``half / (1 - rho^2)`` on that scale.

    NaN where |rho| is 1. Source: Fisher 1921, Metron 1.
    """
    if not abs(rho) < 1.0:
        return float("nan"), float("nan")
    z, half = np.arctanh(rho), half / (1.0 - rho**2)
    return float(np.tanh(z - half)), float(np.tanh(z + half))


def total_effect_variance(fit: Fit) -> np.ndarray:
    """(J,) variance of beta_1 + zeta_i, squared logits; NaN where psi has no vcov.

    It is the conditional variance of zeta_i given psi plus the contribution of the uncertainty of psi, g' V g with g the gradient
    of beta_1 + zeta_i(psi), which includes the covariance of beta_1 and zeta_i (Kass and Steffey 1989, JASA 84(407), first-order
    approximation).
    """
    slopes = fit.ranef_jacobian[:, 1, :].copy()
    slopes[:, fit.spec.beta_names.index("treat")] += 1.0
    free = np.flatnonzero(~np.isnan(np.diagonal(fit.vcov)))
    if not len(free):
        return np.full(fit.n_items, np.nan)
    slopes = slopes[:, free]
    return fit.ranef_vcov[:, 1, 1] + np.einsum("ik,kl,il->i", slopes, fit.vcov[np.ix_(free, free)], slopes)
