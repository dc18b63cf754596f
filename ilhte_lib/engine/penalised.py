"""The penalised fit, which keeps the item covariance off its boundary, as a supplement to maximum likelihood.

With few items the likelihood is often highest where the covariance Sigma of easiness and item effect is singular
(|rho| = 1, sigma_zeta = 0), which is rarely plausible. The penalised fit maximises

    log-likelihood + k log det Sigma,     k = (df - q - 1) / 2,  df = q + 2.5,

whose penalty diverges at the boundary and is nearly flat elsewhere (Chung, Rabe-Hesketh, Dorie, Gelman and Liu 2013, Psychometrika
78(4); Chung, Gelman, Rabe-Hesketh, Liu and Dorie 2015, Journal of Educational and Behavioral Statistics 40(2)). It is the mode under
the default Wishart prior of the R package blme (``bglmer``). k is 0.75 for the q = 2 item effects of M_A. With Sigma = L L' the
term ``-4 k (log l11 + log l22)`` is added to the deviance; l11 and l22 are searched on the log scale.

Likelihood ratios never use this fit.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import EngineError
from ..model.compress import SufficientStatistics
from ..model.fit_result import SINGULAR_BELOW, ClusterFit, Fit
from .approximation import FEW_ITEMS
from .laplace import LaplaceDeviance
from .objective import MODE_TOLERANCE, Deviance, Evaluation, ModeNotFound
from .optimise import Minimum, minimise
from .quadrature import QuadratureDeviance
from .starts import rough_curvature

K = 0.75
"""(df - q - 1) / 2 with q = 2 and df = q + 2.5."""
INTERIOR = 0.2
"""l11 and l22 start no closer to 0 than this (logits)."""
HESSIAN_STEP = 1e-3
"""Step of the differences for the Hessian, relative to the parameter or, below that, to 0.1 logits."""
PROMISED = 1e-4
"""In a certified fit, a full Newton step would lower the penalised deviance by less than half of this."""


def wants_penalised(main: Fit) -> bool:
    """Whether to show the penalised fit beside this one, because it is singular or has few items."""
    return main.spec.item_effects and (main.singular or main.n_items <= FEW_ITEMS)


class _LogScale:
    """The penalised deviance as a function of x, which is psi with log l11 and log l22 in place of l11 and l22."""

    def __init__(self, deviance: Deviance):
        self.deviance, self.spec = deviance, deviance.spec
        names = deviance.spec.psi_names
        self.at = np.array([names.index("l11"), names.index("l22")])

    @property
    def evaluations(self) -> int:
        return self.deviance.evaluations

    def psi(self, x: np.ndarray) -> np.ndarray:
        psi = np.array(x, float)
        psi[self.at] = np.exp(psi[self.at])
        return psi

    def __call__(self, x: np.ndarray) -> Evaluation:
        psi = self.psi(x)
        there = self.deviance(psi)
        gradient = there.gradient.copy()
        gradient[self.at] = gradient[self.at] * psi[self.at] - 4.0 * K
        return Evaluation(np.array(x, float), there.deviance - 4.0 * K * float(x[self.at].sum()), gradient)


def penalised_fit(statistics: SufficientStatistics, main: Fit) -> Fit:
    """The penalised fit of M_A (or M_C), with the same approximation of the likelihood as ``main``.

    Parameters
    ----------
    statistics, main : data and maximum-likelihood fit.

    Returns
    -------
    A fit whose ``loglik`` is the log-likelihood at the penalised estimates, without the penalty, and whose ``vcov`` is from the
    curvature with it. Its item covariance is never singular.

    Raises
    ------
    EngineError : no optimum could be found.
    """
    if main.method == "aghq":
        deviance: Deviance = QuadratureDeviance(statistics, main.spec, main.nodes)
    else:
        deviance = LaplaceDeviance(statistics, main.spec)
    section = _LogScale(deviance)
    l11, l22 = section.at
    l21 = l11 + 1
    # parameters that maximum likelihood puts at 0 stay there
    free = np.array(
        [
            k
            for k, name in enumerate(main.spec.psi_names)
            if not (name in ("sigma_theta", "m11", "m22") and main.psi[k] == 0.0)
        ]
    )
    best: Minimum | None = None
    try:
        for sign in (1.0, 0.0):
            x = main.psi.copy()
            if sign == 0.0:
                x[l22], x[l21] = np.hypot(x[l21], x[l22]), 0.0
            x[section.at] = np.log(np.maximum(np.abs(x[section.at]), INTERIOR))
            found = minimise(section, x, _curvature(section, x), free, np.full(len(x), 1.0))
            if best is None or found.evaluation.deviance < best.evaluation.deviance:
                best = found
        assert best is not None
        return _result(section, best, main, free)
    except (ModeNotFound, np.linalg.LinAlgError) as failure:
        raise EngineError(f"The penalised fit could not be computed ({failure}).") from None


def _curvature(section: _LogScale, x: np.ndarray) -> np.ndarray:
    psi = section.psi(x)
    section.deviance(psi)
    scale = np.ones(len(x))
    scale[section.at] = psi[section.at]
    curvature = rough_curvature(section.deviance, psi) * np.outer(scale, scale)
    curvature[section.at, section.at] += 4.0 * K
    return curvature


def _result(section: _LogScale, best: Minimum, main: Fit, free: np.ndarray) -> Fit:
    deviance, names = section.deviance, main.spec.psi_names
    psi = section.psi(best.evaluation.psi)
    sigma = names.index("sigma_theta")
    psi[sigma] = abs(psi[sigma])
    if hasattr(deviance, "tolerance"):
        deviance.tolerance = MODE_TOLERANCE
    here = deviance(psi)
    steps = HESSIAN_STEP * np.maximum(np.abs(psi), 0.1)
    raw = np.asarray(deviance.hessian(here, steps, free))
    hessian = raw if len(raw) == len(free) else raw[np.ix_(free, free)]
    places = np.searchsorted(free, section.at)
    hessian[places, places] += 4.0 * K / psi[section.at] ** 2
    vcov = np.full((len(psi), len(psi)), np.nan)
    gradient = here.gradient.copy()
    gradient[section.at] -= 4.0 * K / psi[section.at]
    smallest, certified = float(np.linalg.eigvalsh(hessian)[0]), False
    if smallest > 0:
        inverse = np.linalg.inv(hessian)
        certified = bool(gradient[free] @ inverse @ gradient[free] < PROMISED)
    if certified:
        vcov[np.ix_(free, free)] = 2.0 * inverse
    here = deviance(psi)
    n_beta = len(main.beta)
    factor = np.zeros((2, 2))
    factor[np.tril_indices(2)] = psi[sigma + 1 :]
    return replace(
        main,
        loglik=-here.deviance / 2.0,
        beta=psi[:n_beta].copy(),
        se=np.sqrt(np.diagonal(vcov)[:n_beta]),
        sigma_theta=float(psi[sigma]),
        item_factor=factor,
        vcov=vcov,
        ranef=deviance.item_effects(),
        ranef_vcov=deviance.item_covariances(),
        ranef_jacobian=deviance.item_effect_derivatives(),
        singular=bool(psi[sigma] < SINGULAR_BELOW),
        converged=certified,
        gradient_norm=float(np.abs(gradient[free]).max()),
        hessian_min_eigenvalue=smallest,
        evaluations=deviance.evaluations,
        passes=0,
        messages=(),
        steps=psi[n_beta : n_beta + len(main.steps)].copy(),
        clusters=_clusters(main, psi[n_beta + len(main.steps) : sigma]),
    )


def _clusters(main: Fit, triangle: np.ndarray) -> ClusterFit | None:
    """The clusters of ``main`` with this lower triangle of M; None without clusters."""
    if main.clusters is None:
        return None
    factor = np.zeros(main.clusters.factor.shape)
    factor[np.tril_indices(len(factor))] = triangle
    return replace(main.clusters, factor=factor)
