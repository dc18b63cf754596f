"""The likelihood of a trial over the spread of item effects and their correlation with easiness, boundaries included.

With few items, ``sigma_zeta / sigma_theta`` and rho are not well summarised by estimates and standard errors: the estimate of rho
may be -1 or 1, that of sigma_zeta 0. Instead, the profile log-likelihood of M_A over both,

    l(x, rho) = max { log L : sigma_zeta / sigma_theta = exp(x), Corr(b, zeta) = rho },

plus ``1/2 log det Cov(beta)``, is stored on a grid of x and of the angle ``arcsin(rho)``, in which it is smooth up to |rho| = 1.
This is the restricted likelihood (Patterson and Thompson 1971, Biometrika 58(3)), because maximising over the means of easiness
and effect would underestimate both spreads with few items; Cov(beta) is that of a normal model, as in
``engine.starts.rough_curvature``. As x decreases it approaches that of M_0 for every rho.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from ..engine.objective import Deviance, Evaluation, ModeNotFound
from ..engine.optimise import Minimum, minimise
from ..engine.starts import coefficient_covariance, rough_curvature
from ..errors import EngineError, InputError
from ..model.compress import SufficientStatistics
from ..model.fit_result import Fit
from .delta_method import sigma_zeta_se
from .profile import objective

if TYPE_CHECKING:
    from ..engine.laplace import LaplaceDeviance
    from ..engine.quadrature import QuadratureDeviance

ANGLES = np.linspace(-np.pi / 2.0, np.pi / 2.0, 9)
"""Values of arcsin(rho) in the grid."""
SMALLEST, LARGEST = 0.02, 20.0
"""Range of sigma_zeta / sigma_theta: below it item effects are undetectable in any trial, and no trial is above it."""
DEPTH = 8.0
"""The grid ends where the log-likelihood has fallen by this much."""
FINEST, COARSEST = 0.1, 0.4
"""Smallest and largest step of the grid in x."""
CLOSE = 0.004
"""A constrained fit stops when its deviance is this close to the minimum, and the remainder is subtracted."""
MOST_CELLS = 200_000
"""With more classes times items the grid would take more than a few seconds, and is left out."""


@dataclass(frozen=True)
class Surface:
    """The restricted profile log-likelihood of one trial, relative to its maximum.

    Attributes
    ----------
    log_ratio : (m,) increasing values of log(sigma_zeta / sigma_theta), evenly spaced.
    rho : (a,) correlations from -1 to 1, evenly spaced in arcsin(rho).
    loglik : (m, a) log-likelihood minus its maximum.
    null : log-likelihood of M_0 (sigma_zeta = 0) minus the same maximum.
    """

    log_ratio: np.ndarray
    rho: np.ndarray
    loglik: np.ndarray
    null: float

    @classmethod
    def of(cls, record: dict) -> Surface:
        """The surface stored in a document."""
        log_ratio, rho, loglik = (np.array(record[name], float) for name in ("log_ratio", "rho", "loglik"))
        return cls(log_ratio, rho, loglik, float(record["null"]))


def surface(statistics: SufficientStatistics, null: Fit, main: Fit) -> Surface:
    """The surface of a trial.

    Parameters
    ----------
    statistics : the data.
    null, main : M_0 and M_A fitted to them.

    Raises
    ------
    InputError : persons do not differ (sigma_theta is 0), or the data are too large.
    EngineError : the constrained fits fail.
    """
    if not main.sigma_theta > 0:
        raise InputError(
            "Persons do not differ, so item effects cannot be expressed in their SDs: leave the table out of a pool."
        )
    if statistics.n_classes * statistics.n_items > MOST_CELLS:
        raise InputError(
            "The table is too large to compute its likelihood over a grid: sample persons (--max-persons)."
        )
    try:
        return _Grid(objective(statistics, main), null, main).surface()
    except (ModeNotFound, np.linalg.LinAlgError) as failure:
        raise EngineError(f"The likelihood could not be computed over a grid ({failure}).") from None


class _Held:
    """The deviance with ratio and rho held fixed, as a function of psi without l21 and l22."""

    def __init__(self, deviance: Deviance, ratio: float, angle: float):
        self.deviance, self.statistics = deviance, deviance.statistics
        self.loadings = ratio * np.sin(angle), ratio * np.cos(angle)

    @property
    def evaluations(self) -> int:
        return self.deviance.evaluations

    def __call__(self, x: np.ndarray) -> Evaluation:
        sigma = x[-2]
        there = self.deviance(np.array([*x, self.loadings[0] * sigma, self.loadings[1] * sigma]))
        gradient = there.gradient[:-2].copy()
        gradient[-2] += np.dot(self.loadings, there.gradient[-2:])
        return Evaluation(x.copy(), there.deviance, gradient)


class _Grid:
    """Constrained fits over the grid, each started from a neighbour."""

    def __init__(self, deviance: LaplaceDeviance | QuadratureDeviance, null: Fit, main: Fit):
        self.deviance, self.null, self.main = deviance, null, main
        psi = main.psi
        deviance(psi)
        self.curvature = rough_curvature(cast("LaplaceDeviance", deviance), psi)[:-2, :-2]
        first = psi[:-2].copy()
        first[-1] = max(first[-1], 0.05)
        self.first = Minimum(Evaluation(first, main.deviance, first), self.curvature, True)

    def surface(self) -> Surface:
        """Compute the grid from the estimate's x up and down, and at every x from its angle to both sides."""
        ratio = max(self.main.sigma_zeta, 1e-300) / self.main.sigma_theta
        se = sigma_zeta_se(self.main) / max(self.main.sigma_zeta, 1e-300)
        step = float(np.clip(0.9 * se, FINEST, COARSEST)) if np.isfinite(se) else COARSEST
        lowest, highest = np.log(SMALLEST), np.log(LARGEST)
        centre = float(np.clip(np.log(ratio), lowest, highest - 1.0))
        columns = {0: self._column(centre, self.first)}
        best = min(m.evaluation.deviance for m in columns[0])
        for side in (1, -1):
            k, neighbour = side, columns[0]
            while (centre + (k - side) * step - (highest if side > 0 else lowest)) * side < 0.0:
                columns[k] = neighbour = self._column(centre + k * step, *neighbour)
                lowest_here = min(m.evaluation.deviance for m in neighbour)
                best = min(best, lowest_here)
                if lowest_here - best > 2.0 * DEPTH:
                    break
                k += side
        order = sorted(columns)
        grid = np.array([[m.evaluation.deviance for m in columns[k]] for k in order])
        null = self.null.deviance - self._restriction(np.array([*self.null.psi, 0.0, 0.0]))
        best = min(null, float(grid.min()))
        x = centre + step * np.array(order)
        return Surface(x, np.sin(ANGLES), np.round((best - grid) / 2.0, 4), float(np.round((best - null) / 2.0, 4)))

    def _column(self, x: float, *neighbours: Minimum) -> list[Minimum]:
        """The fits at one x; each angle starts from the same angle at the last x, or from the previous angle."""
        if len(neighbours) == len(ANGLES):
            return [self._fit(x, angle, near) for angle, near in zip(ANGLES, neighbours, strict=True)]
        start = int(np.argmin(np.abs(ANGLES - self._angle())))
        found = {start: self._fit(x, ANGLES[start], neighbours[0])}
        for k in (*range(start + 1, len(ANGLES)), *range(start - 1, -1, -1)):
            found[k] = self._fit(x, ANGLES[k], found[k - 1] if k > start else found[k + 1])
        return [found[k] for k in range(len(ANGLES))]

    def _angle(self) -> float:
        rho = self.main.rho
        return float(np.arcsin(rho)) if np.isfinite(rho) else 0.0

    def _fit(self, x: float, angle: float, near: Minimum) -> Minimum:
        held = _Held(self.deviance, float(np.exp(x)), angle)
        start, inverse = near.evaluation.psi, np.linalg.inv(near.hessian)

        def left(here: Evaluation) -> float:
            """Distance of the deviance from its minimum, by the neighbour's curvature."""
            return 0.5 * float(here.gradient @ inverse @ here.gradient)

        longest = np.maximum(0.5 * np.abs(start), 0.3)
        found = minimise(
            cast("Deviance", held), start, near.hessian, np.arange(len(start)), longest, lambda here: left(here) < CLOSE
        )
        here = found.evaluation
        sigma = here.psi[-2]
        whole = np.array([*here.psi, held.loadings[0] * sigma, held.loadings[1] * sigma])
        restricted = here.deviance - min(left(here), CLOSE) - self._restriction(whole)
        return Minimum(Evaluation(here.psi, restricted, here.gradient), found.hessian, found.converged)

    def _restriction(self, psi: np.ndarray) -> float:
        """log det Cov(beta) at psi; the deviance was last evaluated nearby."""
        return float(np.linalg.slogdet(coefficient_covariance(cast("LaplaceDeviance", self.deviance), psi))[1])
