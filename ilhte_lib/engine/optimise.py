"""Quasi-Newton minimisation of a deviance with an exact gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..model.spec import ModelSpec
from .objective import Deviance, Evaluation, ModeNotFound

DECREASE_TOLERANCE = 1e-9
"""Stop when a full Newton step would lower the deviance by less than this."""
MAX_EVALUATIONS = 300
SAME_BASIN = 0.3
"""Largest relative deviation of value and gradient from the quadratic around a known optimum for a point to be in its basin."""


@dataclass(frozen=True)
class Minimum:
    """The result of a minimisation.

    Attributes
    ----------
    evaluation : deviance and gradient at the minimum.
    hessian : (k, k) quasi-Newton approximation of the Hessian there, positive definite in the free parameters.
    converged : whether the predicted decrease fell below the tolerance.
    exact : whether ``hessian`` is the Hessian itself.
    """

    evaluation: Evaluation
    hessian: np.ndarray
    converged: bool
    exact: bool = False


def minimise(
    deviance: Deviance,
    start: np.ndarray,
    curvature: np.ndarray,
    free: np.ndarray,
    longest: np.ndarray,
    stop: Callable[[Evaluation], bool] | None = None,
    decrease: float = DECREASE_TOLERANCE,
) -> Minimum:
    """BFGS with a step limit and a safeguarded line search (Nocedal and Wright 2006, chapters 3 and 6).

    Parameters
    ----------
    deviance : the objective; every value comes with its gradient.
    start : (k,) first psi.
    curvature : (k, k) positive definite guess of the Hessian.
    free : indices of the parameters to vary; the others stay at ``start``.
    longest : (k,) largest change of each parameter in one step, so that no step overshoots into a trap.
    stop : a condition for giving up at a point without convergence.
    decrease : least amount by which a full Newton step must lower the deviance to be taken.

    Raises
    ------
    ModeNotFound : the start itself cannot be evaluated.
    """
    here = deviance(start)
    hessian = curvature[np.ix_(free, free)].copy()
    converged = False
    first = deviance.evaluations
    while deviance.evaluations - first < MAX_EVALUATIONS:
        gradient = here.gradient[free]
        try:
            step = -np.linalg.solve(hessian, gradient)
        except np.linalg.LinAlgError:
            # hardly any curvature is left in some direction, which the certificate reports
            break
        promised = -0.5 * float(gradient @ step)
        if promised < decrease:
            converged = True
            break
        if stop is not None and stop(here):
            break
        step *= min(1.0, float(np.min(longest[free] / np.maximum(np.abs(step), 1e-300))))
        slope = float(gradient @ step)
        moved = _line_search(deviance, here, step, slope, free)
        if moved is None:
            # either only rounding error is left, or the approximate Hessian is useless: then restart it once
            if promised < 1e-6 or np.array_equal(hessian, curvature[np.ix_(free, free)]):
                converged = promised < 1e-6
                break
            hessian = curvature[np.ix_(free, free)].copy()
            here = deviance(here.psi)
            continue
        hessian = _updated(hessian, moved.psi[free] - here.psi[free], moved.gradient[free] - gradient)
        here = moved
    full = np.diag(np.diagonal(curvature)).copy()
    full[np.ix_(free, free)] = hessian
    return Minimum(here, full, converged)


def _line_search(
    deviance: Deviance, here: Evaluation, step: np.ndarray, slope: float, free: np.ndarray
) -> Evaluation | None:
    """The first point along ``step`` that lowers the deviance enough, with the step shortened by cubic interpolation."""
    length = 1.0
    rounding = 1e-12 * (1.0 + abs(here.deviance))
    for _ in range(25):
        psi = here.psi.copy()
        psi[free] += length * step
        try:
            there = deviance(psi)
        except ModeNotFound:
            length *= 0.25
            continue
        if there.deviance <= here.deviance + 1e-4 * length * slope + rounding:
            return there
        length *= _cubic_minimum(
            here.deviance, slope * length, there.deviance, float(there.gradient[free] @ step) * length
        )
    return None


def _cubic_minimum(f0: float, g0: float, f1: float, g1: float) -> float:
    """Minimiser in [0.1, 0.6] of the cubic through two values and slopes at 0 and 1."""
    a = g0 + g1 - 2.0 * (f1 - f0)
    b = 3.0 * (f1 - f0) - 2.0 * g0 - g1
    root = b * b - 3.0 * a * g0
    candidate = 0.5 if root < 0 else -g0 / (b + np.sqrt(root)) if b + np.sqrt(root) != 0 else 0.5
    return float(np.clip(candidate if np.isfinite(candidate) else 0.5, 0.1, 0.6))


def _updated(hessian: np.ndarray, s: np.ndarray, y: np.ndarray) -> np.ndarray:
    """BFGS update, damped (Powell) where the curvature along s is not clearly positive."""
    hs = hessian @ s
    shs = float(s @ hs)
    if shs <= 0:
        return hessian
    sy = float(s @ y)
    if sy < 0.1 * shs:
        theta = 0.9 * shs / (shs - sy)
        y = theta * y + (1.0 - theta) * hs
        sy = float(s @ y)
    return hessian - np.outer(hs, hs) / shs + np.outer(y, y) / sy


def signs_of(psi: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """(k,) signs, 1 or -1, that make all spreads nonnegative; D is even in sigma and in each column of L and M."""
    signs = np.ones(len(psi))
    for first, columns in mirrored(spec):
        if psi[first] < 0:
            signs[first : first + columns] = -1.0
    return signs


def mirrored(spec: ModelSpec) -> list[tuple[int, int]]:
    """Parameters whose sign may be flipped, as position in psi and number of entries that flip together from there."""
    columns = {"sigma_theta": 1, "l11": spec.q, "l22": 1, "m11": spec.cluster_q, "m22": 1}
    return [(spec.psi_names.index(name), number) for name, number in columns.items() if name in spec.psi_names]


def canonical(psi: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """The psi of the same model with sigma and the diagonals of L and M nonnegative."""
    return psi * signs_of(psi, spec)


class Basin:
    """The region around a known minimum where the deviance is nearly quadratic, so that a search there would end in it.

    With d the distance from the minimum and H the exact Hessian there, the deviance exceeds the minimum by d'Hd/2 and the
    gradient is Hd, each with a relative error below ``SAME_BASIN``.
    """

    def __init__(self, minimum: Minimum, spec: ModelSpec):
        self.spec, self.bottom, self.hessian = spec, minimum.evaluation, minimum.hessian
        self.inverse = np.linalg.inv(minimum.hessian) if np.linalg.eigvalsh(minimum.hessian)[0] > 0 else None

    def holds(self, here: Evaluation) -> bool:
        above = here.deviance - self.bottom.deviance
        if self.inverse is None or above <= 0.0:
            return False
        distance = canonical(here.psi, self.spec) - self.bottom.psi
        slope = self.hessian @ distance
        rest = here.gradient * signs_of(here.psi, self.spec) - slope
        size = float(distance @ slope)
        return abs(2.0 * above - size) < SAME_BASIN * size and float(rest @ self.inverse @ rest) < SAME_BASIN**2 * size
