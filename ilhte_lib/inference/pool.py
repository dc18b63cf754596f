"""Item effects across trials: their usual size, how it varies, and predictions for a further trial.

Trial t has ``x_t = log(sigma_zeta / sigma_theta)`` and ``z_t = atanh(rho)``, and across trials

    x_t ~ N(mu_x, tau_x^2),     z_t ~ N(mu_z, tau_z^2),   independent of each other,

a random-effects meta-analysis (Higgins, Thompson and Spiegelhalter 2009, JRSS A 172(1)) in which trials enter with their whole
likelihood (``surface``) instead of an estimate and a standard error, which a trial with an estimate on a boundary does not have:

    L(mu, tau) = prod_t  integral integral  L_t(x, tanh z) phi(x; mu_x, tau_x) phi(z; mu_z, tau_z) dx dz,

summed over a grid of x and z. With few trials tau is poorly known, and its estimate is often 0, which would make all trials equal.
Therefore tau_x and tau_z have half-normal priors of scale 1 (weak on this scale: Gelman 2006, Bayesian Analysis 1(3); Roever et
al. 2021, Research Synthesis Methods 12(4)), and results are averaged over a grid of them. mu is integrated out by Laplace under a
normal prior (``MU``, ``MU_SD``) so wide that it matters only if the trials are nearly uninformative: a likelihood that does not
exclude sigma_zeta = 0 does not vanish as x decreases, so that a flat prior would give an improper posterior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from .surface import Surface

FEWEST = 3
"""With fewer trials their spread is not estimated."""
X, Z = np.linspace(-7.0, 3.0, 101), np.linspace(-6.0, 6.0, 121)
"""The grid of x and z."""
TAUS = np.array([0.1, 0.15, 0.22, 0.32, 0.45, 0.62, 0.85, 1.2, 1.7])
"""Grid of tau_x and tau_z over which results are averaged."""
MU, MU_SD = np.array([np.log(0.3), 0.0]), np.array([1.5, 1.0])
"""Centre and SD of the priors of mu_x and mu_z; their central 95% are ratios of .02 to 5.7 and correlations of -.96 to .96."""
PRIOR = 1.0
"""Scale of the half-normal prior of tau_x and of tau_z."""
LEVEL = 0.95


@dataclass(frozen=True)
class PooledTrial:
    """One trial, shrunk towards the others.

    Attributes
    ----------
    name : name of its table.
    ratio, ratio_low, ratio_high : posterior median and central 95% of sigma_zeta / sigma_theta given all trials.
    rho, rho_low, rho_high : posterior mean (which minimises the squared error) and central 95% of rho.
    """

    name: str
    ratio: float
    ratio_low: float
    ratio_high: float
    rho: float
    rho_low: float
    rho_high: float


@dataclass(frozen=True)
class PooledMean:
    """A mean over trials, on the scale of x or z.

    Attributes
    ----------
    mean, se : mu and its standard error.
    low, high : 95% interval of mu.
    tau, tau_low, tau_high : posterior median and central 95% of the SD between trials.
    share_real : share of the variation between trials that is not sampling error, the mean of 1 - Var(x_t | data) / tau^2.
    new_low, new_high : 95% prediction interval for x or z of a further trial.
    """

    mean: float
    se: float
    low: float
    high: float
    tau: float
    tau_low: float
    tau_high: float
    share_real: float
    new_low: float
    new_high: float


@dataclass(frozen=True)
class Pool:
    """Results pooled over several trials.

    Attributes
    ----------
    log_ratio : mean of x = log(sigma_zeta / sigma_theta).
    fisher_z : mean of z = atanh(rho).
    trials : each trial, in the order given.
    """

    log_ratio: PooledMean
    fisher_z: PooledMean
    trials: tuple[PooledTrial, ...]


def on_grid(surface: Surface) -> np.ndarray:
    """(len(X), len(Z)) log-likelihood of a trial over the grid.

    Below the surface's range of x it approaches that of no item effects in proportion to the ratio; above, it continues with the
    slope at the end.
    """
    from scipy.interpolate import RectBivariateSpline

    own = surface.log_ratio
    spline = RectBivariateSpline(
        own, np.arcsin(np.clip(surface.rho, -1.0, 1.0)), surface.loglik, kx=min(3, len(own) - 1)
    )
    angle = np.arcsin(np.tanh(Z))
    value = spline(np.clip(X, own[0], own[-1]), angle)
    share = np.exp(np.minimum(X - own[0], 0.0))[:, None]
    slope = np.minimum(spline(own[-1:], angle) - spline(own[-2:-1], angle), 0.0) / (own[-1] - own[-2])
    return surface.null + share * (value - surface.null) + np.maximum(X - own[-1], 0.0)[:, None] * slope


class _Model:
    """The marginal likelihood of all trials."""

    def __init__(self, surfaces: Sequence[Surface]):
        tables = np.array([on_grid(surface) for surface in surfaces])
        top = tables.max(axis=(1, 2))
        self.likelihood, self.top = np.exp(tables - top[:, None, None]), float(top.sum())

    def posterior(self, mu: np.ndarray, tau: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Marginal likelihood (T,) and posteriors of x (T, len(X)) and z (T, len(Z)) of each trial, at mu and tau (2,)."""
        x, z = (_normal(grid, m, t) for grid, m, t in zip((X, Z), mu, tau, strict=True))
        over_z = self.likelihood @ z
        by_x = over_z * x
        mass = by_x.sum(axis=1)
        by_z = np.matmul(x, self.likelihood) * z
        return mass, by_x / mass[:, None], by_z / mass[:, None]

    def at(self, mu: np.ndarray, tau: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Log-likelihood plus log prior of mu at mu and tau (2,), its gradient in mu (2,), and minus its curvature in mu (2,)."""
        mass, by_x, by_z = self.posterior(mu, tau)
        mean, variance = _moments(by_x, by_z)
        from_centre = (mu - MU) / MU_SD
        slope = ((mean - mu[:, None]) / tau[:, None] ** 2).sum(axis=1) - from_centre / MU_SD
        information = (1.0 / tau[:, None] ** 2 - variance / tau[:, None] ** 4).sum(axis=1) + 1.0 / MU_SD**2
        return float(np.log(mass).sum() - 0.5 * from_centre @ from_centre) + self.top, slope, information

    def best_mu(self, mu: np.ndarray, tau: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
        """The most likely mu at tau, by Newton's method with short steps, with the log-likelihood and the information there."""
        here, slope, information = self.at(mu, tau)
        least = 1.0 / MU_SD**2
        for _ in range(60):
            step = slope / np.maximum(information, least)
            step *= min(1.0, 1.0 / max(float(np.abs(step).max()), 1e-12))
            for _ in range(20):
                there = self.at(mu + step, tau)
                if there[0] >= here - 1e-9:
                    break
                step = step / 2.0
            mu = mu + step
            here, slope, information = there
            if float(np.abs(step).max()) < 1e-5:
                break
        return mu, here, np.maximum(information, least)


def _normal(grid: np.ndarray, mean: float, sd: float) -> np.ndarray:
    """Weights of a normal distribution over a grid."""
    weights = np.exp(-0.5 * ((grid - mean) / sd) ** 2)
    return weights / weights.sum()


def _moments(by_x: np.ndarray, by_z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(2, T) means and variances of x and z from their distributions."""
    mean = np.array([by_x @ X, by_z @ Z])
    return mean, np.array([by_x @ X**2, by_z @ Z**2]) - mean**2


def pool(surfaces: Sequence[Surface], names: Sequence[str] | None = None) -> Pool:
    """Pool trials.

    Parameters
    ----------
    surfaces : the likelihoods of the trials.
    names : names of their tables; default their numbers.

    Raises
    ------
    InputError : there are fewer than three trials.
    """
    n = len(surfaces)
    if n < FEWEST:
        raise InputError(
            f"Pooling needs at least {FEWEST} trials, but there {'is' if n == 1 else 'are'} {n}: add trials."
        )
    names = [str(k + 1) for k in range(n)] if names is None else list(names)
    model = _Model(surfaces)
    pairs = [np.array([a, b]) for a in TAUS for b in TAUS]
    cells = np.gradient(TAUS)
    prior = np.log(np.outer(cells, cells)).ravel() - 0.5 * (np.array(pairs) ** 2).sum(axis=1) / PRIOR**2
    mus, informations, log_p = [], [], []
    mu = MU.copy()
    for tau in pairs:
        mu, loglik, information = model.best_mu(mu, tau)
        mus.append(mu)
        informations.append(information)
        log_p.append(loglik - 0.5 * float(np.log(information).sum()))
    weights = np.array(log_p) + prior
    weights = np.exp(weights - weights.max())
    weights /= weights.sum()
    kept = np.flatnonzero(weights > 1e-4 * weights.max())
    weights = weights[kept] / weights[kept].sum()
    centre, taus = np.array(mus)[kept], np.array(pairs)[kept]
    variance = 1.0 / np.array(informations)[kept]
    by_x, by_z, real = np.zeros((n, len(X))), np.zeros((n, len(Z))), np.zeros(2)
    for weight, mu, of_mu, tau in zip(weights, centre, variance, taus, strict=True):
        # the uncertainty of mu widens a trial's prior
        _, x, z = model.posterior(mu, np.sqrt(tau**2 + of_mu))
        by_x, by_z = by_x + weight * x, by_z + weight * z
        _, alone_x, alone_z = model.posterior(mu, tau)
        real += weight * np.clip(1.0 - _moments(alone_x, alone_z)[1].mean(axis=1) / tau**2, 0.0, 1.0)
    means = [_mean(weights, centre[:, k], variance[:, k], taus[:, k], float(real[k])) for k in (0, 1)]
    trials = tuple(_trial(name, x, z) for name, x, z in zip(names, by_x, by_z, strict=True))
    return Pool(means[0], means[1], trials)


def _mean(weights: np.ndarray, mu: np.ndarray, variance: np.ndarray, tau: np.ndarray, real: float) -> PooledMean:
    """Results for x or z from mu, its variance and tau at each pair of taus with these weights."""
    mean = float(weights @ mu)
    se = float(np.sqrt(weights @ (variance + (mu - mean) ** 2)))
    low, high = _mixture_interval(weights, mu, np.sqrt(variance))
    new = _mixture_interval(weights, mu, np.sqrt(variance + tau**2))
    by_tau = np.array([weights[np.isclose(tau, value)].sum() for value in TAUS])
    tau_low, middle, tau_high = (_quantile(by_tau, TAUS, at) for at in ((1.0 - LEVEL) / 2.0, 0.5, (1.0 + LEVEL) / 2.0))
    return PooledMean(mean, se, low, high, middle, tau_low, tau_high, real, new[0], new[1])


def _mixture_interval(weights: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> tuple[float, float]:
    """Central 95% of a mixture of normal distributions."""
    from scipy.special import ndtr

    reach = np.linspace((mean - 6.0 * sd).min(), (mean + 6.0 * sd).max(), 2001)
    below = ndtr((reach[:, None] - mean) / sd) @ weights
    low, high = (float(np.interp(at, below, reach)) for at in ((1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0))
    return low, high


def _quantile(weights: np.ndarray, values: np.ndarray, at: float) -> float:
    return float(np.interp(at, weights.cumsum() - 0.5 * weights, values))


def _trial(name: str, by_x: np.ndarray, by_z: np.ndarray) -> PooledTrial:
    """Results for one trial from its posteriors of x and z."""
    tails = (1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0
    median, low, high = (float(np.exp(_quantile(by_x, X, at))) for at in (0.5, *tails))
    rho_low, rho_high = (float(np.tanh(_quantile(by_z, Z, at))) for at in tails)
    return PooledTrial(name, median, low, high, float(by_z @ np.tanh(Z)), rho_low, rho_high)
