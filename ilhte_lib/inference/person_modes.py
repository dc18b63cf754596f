"""The modes of the persons' posteriors where persons differ enormously, as in a Guttman pattern."""

from __future__ import annotations

import numpy as np

from ..model.compress import SufficientStatistics

MOST_STEPS = 200
"""Every second step at least halves the bracket: far more than a double-precision number can need."""
TOLERANCE = 1e-10


def person_modes(
    statistics: SufficientStatistics, fixed: np.ndarray, sigma: float, offsets: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """(G,) modes v of ``r (fixed + sigma v) - sum_i n_i log(1 + exp(fixed + sigma v + offset_i)) - v^2 / 2``.

    The derivative ``sigma (r - sum_i n_i p_i) - v`` falls in v and changes sign between -sigma (n - r) and sigma r, so
    Newton's method inside a bracket that only shrinks always arrives. Newton's method alone, even with short steps, goes
    back and forth for ever where sigma is large: the derivative is then nearly a staircase.

    Parameters
    ----------
    statistics : the classes of persons.
    fixed : (G,) fixed part of the linear predictor, logits.
    sigma : SD of the persons, logits.
    offsets : item parts of the linear predictor by arm, (J,) each, logits.
    """
    from scipy.special import expit

    s = statistics
    trials = np.ones((s.n_classes, s.n_items)) if s.trials is None else s.trials
    by_class = np.where(s.arm[:, None] == 0, offsets[0], offsets[1]) + fixed[:, None]
    length = trials.sum(axis=1)
    low, high = -sigma * (length - s.score), sigma * s.score
    mode = 0.5 * (low + high)
    for _ in range(MOST_STEPS):
        p = expit(by_class + sigma * mode[:, None])
        slope = sigma * (s.score - (trials * p).sum(axis=1)) - mode
        low, high = np.where(slope >= 0, mode, low), np.where(slope <= 0, mode, high)
        step = slope / (1.0 + sigma**2 * (trials * p * (1.0 - p)).sum(axis=1))
        newton = mode + step
        # a step that leaves the bracket, or that is longer than half of it, is replaced by its middle
        useless = (newton < low) | (newton > high) | (np.abs(step) > 0.5 * (high - low))
        moved = np.where(useless, 0.5 * (low + high), newton)
        change = np.abs(moved - mode).max(initial=0.0)
        mode = moved
        if change < TOLERANCE:
            break
    return mode
