"""Modes of the persons' posteriors where persons differ enormously, as with Guttman patterns."""

from __future__ import annotations

import numpy as np

from ..model.compress import SufficientStatistics
from .cumulant import Cells

MOST_STEPS = 200
"""At least every second step halves the bracket, so this is far more than double precision can need."""
TOLERANCE = 1e-10


def person_modes(
    statistics: SufficientStatistics,
    fixed: np.ndarray,
    sigma: float,
    offsets: tuple[np.ndarray, np.ndarray],
    steps: np.ndarray | None = None,
) -> np.ndarray:
    """(G,) modes v of ``r (fixed + sigma v) - sum_i n_i A_i(fixed + sigma v + offset_i) - v^2 / 2``, A an item's cumulant.

    The derivative ``sigma (r - sum_i n_i E_i) - v`` decreases in v and changes sign between -sigma (n - r), with n the highest
    possible score, and sigma r, so Newton's method within a shrinking bracket always converges. Plain Newton steps, even short
    ones, can oscillate forever where sigma is large, because the derivative is then nearly a staircase.

    Parameters
    ----------
    statistics : the classes of persons.
    fixed : (G,) fixed part of the linear predictor, logits.
    sigma : SD of the persons, logits.
    offsets : item parts of the linear predictor by arm, (J,) each, logits.
    steps : (S,) free steps of items with more than two categories.
    """
    from scipy.special import expit

    s = statistics
    trials = np.ones((s.n_classes, s.n_items)) if s.trials is None else s.trials
    by_class = np.where(s.arm[:, None] == 0, offsets[0], offsets[1]) + fixed[:, None]
    cells = None if s.formats is None else Cells(s.formats, steps)
    length = trials.sum(axis=1) if cells is None else trials @ s.formats.highest
    low, high = -sigma * (length - s.score), sigma * s.score
    mode = 0.5 * (low + high)
    for _ in range(MOST_STEPS):
        eta = by_class + sigma * mode[:, None]
        if cells is None:
            p = expit(eta)
            weight = p * (1.0 - p)
        else:
            _, p, weight = cells.moments(eta, 2)
        slope = sigma * (s.score - (trials * p).sum(axis=1)) - mode
        low, high = np.where(slope >= 0, mode, low), np.where(slope <= 0, mode, high)
        step = slope / (1.0 + sigma**2 * (trials * weight).sum(axis=1))
        newton = mode + step
        # bisect instead of a step that leaves the bracket or is longer than half of it
        useless = (newton < low) | (newton > high) | (np.abs(step) > 0.5 * (high - low))
        moved = np.where(useless, 0.5 * (low + high), newton)
        change = np.abs(moved - mode).max(initial=0.0)
        mode = moved
        if change < TOLERANCE:
            break
    return mode
