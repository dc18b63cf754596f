"""What the engine minimises: a deviance D(psi) with its gradient, however it is approximated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from ..model.compress import SufficientStatistics
    from ..model.spec import ModelSpec

MODE_TOLERANCE = 2e-5
"""The last Newton step changes no linear predictor by more than this (logits); the error after it is of the order of its square."""
SEARCH_TOLERANCE = 1e-3
"""Modes are found to this (logits) while searching, with an error in D far below 1e-8; exactly at the end."""
MAX_NEWTON_STEPS = 60


class ModeNotFound(ArithmeticError):
    """The penalised likelihood has no mode that Newton's method reaches from here (parameters far out, or not finite)."""


@dataclass(frozen=True)
class Evaluation:
    """The deviance at one psi.

    Attributes
    ----------
    psi : (k,) where.
    deviance : D(psi).
    gradient : (k,) dD/dpsi.
    """

    psi: np.ndarray
    deviance: float
    gradient: np.ndarray


class Deviance(Protocol):
    """D(psi) of one model on one set of sufficient statistics; ``LaplaceDeviance`` and ``QuadratureDeviance`` are two."""

    method: str
    statistics: SufficientStatistics
    spec: ModelSpec
    evaluations: int

    def __call__(self, psi: np.ndarray) -> Evaluation:
        """D and its gradient at psi (k,).

        Raises
        ------
        ModeNotFound : psi is so far out that there is no usable mode.
        """

    def hessian(self, at: Evaluation, steps: np.ndarray, free: np.ndarray) -> np.ndarray:
        """(k, k) second derivatives at an evaluation, in the free parameters."""
