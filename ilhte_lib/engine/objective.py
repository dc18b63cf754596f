"""The interface of what the engine minimises: a deviance D(psi) with its gradient, by any approximation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from ..model.compress import SufficientStatistics
    from ..model.spec import ModelSpec

MODE_TOLERANCE = 2e-5
"""The last Newton step changes no linear predictor by more than this (logits), which leaves an error of the order of its square."""
SEARCH_TOLERANCE = 1e-3
"""Tolerance of modes (logits) during a search, with an error in D far below 1e-8; at the end they are found exactly."""
MAX_NEWTON_STEPS = 60


class ModeNotFound(ArithmeticError):
    """Newton's method reaches no mode of the penalised likelihood (parameters are extreme or not finite)."""


@dataclass(frozen=True)
class Evaluation:
    """The deviance at one psi.

    Attributes
    ----------
    psi : (k,) parameters.
    deviance : D(psi).
    gradient : (k,) dD/dpsi.
    """

    psi: np.ndarray
    deviance: float
    gradient: np.ndarray


class Deviance(Protocol):
    """D(psi) of one model for one set of sufficient statistics, such as ``LaplaceDeviance`` or ``QuadratureDeviance``."""

    method: str
    statistics: SufficientStatistics
    spec: ModelSpec
    evaluations: int

    def __call__(self, psi: np.ndarray) -> Evaluation:
        """D and its gradient at psi (k,).

        Raises
        ------
        ModeNotFound : psi is so extreme that there is no usable mode.
        """

    def hessian(self, at: Evaluation, steps: np.ndarray, free: np.ndarray) -> np.ndarray:
        """(f, f) second derivatives at an evaluation in the f free parameters."""
