"""The likelihood-ratio test of M_0 against M_A: whether effects differ between items."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import EngineError
from ..model.fit_result import Fit

NOISE = 1e-6
"""A likelihood ratio this far below 0 is rounding and counts as 0."""


@dataclass(frozen=True)
class LikelihoodRatio:
    """The statistic and its p-values under different nulls.

    Attributes
    ----------
    statistic : D(M_0) - D(M_A), at least 0.
    naive : P(chi2_2 > LR), which ignores that sigma_zeta = 0 is on the boundary.
    halved : naive / 2, the published vignette's rule of thumb.
    mixture : (P(chi2_1 > LR) + P(chi2_2 > LR)) / 2, the asymptotic null for one variance on its boundary and one free
        covariance (Self and Liang 1987, JASA 82(398), case 6; Stram and Lee 1994, Biometrics 50(4)).
    """

    statistic: float
    naive: float
    halved: float
    mixture: float


def p_values(statistic: float) -> LikelihoodRatio:
    """The p-values of a likelihood ratio, twice a difference of log-likelihoods."""
    from scipy.special import chdtrc

    statistic = max(float(statistic), 0.0)
    one, two = float(chdtrc(1, statistic)), float(chdtrc(2, statistic))
    return LikelihoodRatio(statistic, two, two / 2.0, (one + two) / 2.0)


def likelihood_ratio(null: Fit, alternative: Fit) -> LikelihoodRatio:
    """The test of ``null`` (M_0) against ``alternative`` (M_A), fitted to the same responses.

    Raises
    ------
    ValueError : the fits are of different data.
    EngineError : the larger model is clearly below the smaller one.
    """
    if null.n_responses != alternative.n_responses:
        raise ValueError(
            f"M_0 was fitted to {null.n_responses} responses and M_A to {alternative.n_responses}: no ratio can be formed"
        )
    statistic = null.deviance - alternative.deviance
    noise = 1e-3 if alternative.engine != "native" else NOISE
    if statistic < -noise:
        raise EngineError(
            f"M_A is below M_0 by {-statistic / 2:.2g} in log-likelihood, so one of the two did not converge with engine "
            f"{alternative.engine}: fit the table with the native engine."
        )
    return p_values(statistic)
