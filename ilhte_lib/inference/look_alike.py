"""Two processes with the same total scores: effects that vary between persons, and effects that vary between items."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..model.simulate import Design, draw_trial


def expected_scores(design: Design, pretest: np.ndarray, replication: int | None = None) -> np.ndarray:
    """Expected share of items answered with 1, given pretest and arm, for the items drawn with the design's seed.

    Parameters
    ----------
    design : a design with a pretest.
    pretest : (m,) values of the pretest in SDs.
    replication : which trial of the design (see ``simulate.draw_trial``).

    Returns
    -------
    (2, m) shares, control first; averaged over theta by Gauss-Hermite quadrature with 31 nodes.
    """
    trial = draw_trial(design, replication)
    return _expected(design, np.asarray(pretest, float), trial.easiness, trial.zeta)


def _expected(design: Design, pretest: np.ndarray, easiness: np.ndarray, zeta: np.ndarray) -> np.ndarray:
    from scipy.special import expit

    nodes, weights = np.polynomial.hermite_e.hermegauss(31)
    theta, weights = design.sigma_theta * nodes, weights / weights.sum()
    arms = []
    for treated in (0, 1):
        person = design.ate * treated + ((design.gamma or 0.0) + design.beta_3 * treated) * pretest
        eta = person[:, None, None] + theta[:, None] + (easiness + treated * zeta)
        arms.append(expit(eta).mean(axis=2) @ weights)
    return np.array(arms)


def look_alike(design: Design, replication: int | None = None) -> Design:
    """The trial without item effects whose total scores look the same.

    It has the same persons and easiness (same seed), sigma_zeta = 0, and a *true* interaction beta_3 and average effect for which
    the expected scores of the treated arm are closest to those of ``design``, in least squares over the pretest's distribution;
    those of the control arm are equal.
    """
    from scipy.optimize import least_squares

    trial = draw_trial(design, replication)
    value, count = np.unique(np.asarray(trial.covariate), return_counts=True)
    wanted = _expected(design, value, trial.easiness, trial.zeta)[1]
    same_items = np.zeros_like(trial.zeta)

    def other(parameters: np.ndarray) -> Design:
        ate, beta_3 = parameters
        return replace(design, sigma_zeta=0.0, rho=0.0, ate=float(ate), beta_3=float(beta_3))

    def misfit(parameters: np.ndarray) -> np.ndarray:
        return (_expected(other(parameters), value, trial.easiness, same_items)[1] - wanted) * np.sqrt(count)

    return other(least_squares(misfit, [design.ate, design.beta_3], xtol=1e-12, ftol=1e-12).x)
