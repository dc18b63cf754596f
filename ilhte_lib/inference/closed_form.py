"""The identification problem: a treatment-by-covariate interaction produced by item effects alone.

If treatment widens the spread of the items, they discriminate less at the level of the total score, so the slope of the pretest
falls in the treated arm. A model with one effect for all items (M_B) reports this as a treatment-by-pretest interaction
(Gilbert, Miratrix, Joshi & Domingue 2025, Journal of Educational and Behavioral Statistics, doi:10.3102/10769986241240085).
Everything is in logits, per SD of the pretest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..model.fit_result import Fit

LOGISTIC_NORMAL = 16.0 * np.sqrt(3.0) / (15.0 * np.pi)
"""The constant c: a logistic curve averaged over N(0, s^2) is nearly a logistic curve whose slope is smaller by the factor
(1 + c^2 s^2)^(-1/2) (Johnson & Kotz 1970; Zeger, Liang & Albert 1988, Biometrics 44(4), equation 3.4)."""


def attenuation(spread):
    """k = (1 + c^2 spread^2)^(-1/2), the factor on the slope from averaging over items whose easiness has this SD (logits)."""
    return 1.0 / np.sqrt(1.0 + (LOGISTIC_NORMAL * np.asarray(spread)) ** 2)


def treated_spread(sigma_b, sigma_zeta, rho):
    """SD of b + zeta, the easiness of the items under treatment (logits)."""
    variance = np.square(sigma_b) + 2.0 * rho * np.multiply(sigma_b, sigma_zeta) + np.square(sigma_zeta)
    return np.sqrt(np.maximum(variance, 0.0))


def predicted_bias(gamma, sigma_b, sigma_zeta, rho):
    """The closed-form approximation of beta_3(M_B) - beta_3(M_C), logits per SD of the pretest; arguments broadcast.

    ``gamma (k1 - k0) / kbar`` with k0 and k1 the attenuation under control and treatment, and kbar their root mean square: the
    slope of the pretest is attenuated by k0 and k1 in the two arms, but by kbar in both arms of M_B.

    Parameters
    ----------
    gamma : slope of the pretest.
    sigma_b, sigma_zeta, rho : SDs of easiness and of item effects, and their correlation.
    """
    k0, k1 = attenuation(sigma_b), attenuation(treated_spread(sigma_b, sigma_zeta, rho))
    return gamma * (k1 - k0) / np.sqrt((k0**2 + k1**2) / 2.0)


@dataclass(frozen=True)
class PredictedBias:
    """The closed form at a fit of M_C.

    Attributes
    ----------
    value : predicted beta_3(M_B) - beta_3(M_C), logits per SD of the covariate.
    se : its delta-method standard error from the fit's vcov, which does not include the error of the approximation.
    """

    value: float
    se: float


def predicted_bias_of(fit: Fit) -> PredictedBias:
    """The closed form at the estimates of a fit of M_C, with the slope of ``cov`` as gamma.

    At |rho| = 1 (l22 = 0) the derivative in l22 is 0, so holding it fixed does not matter. At sigma_zeta = 0 the closed form is 0
    and has no standard error (NaN).

    Raises
    ------
    ValueError : the model has no covariate or no item effects.
    """
    if not (fit.spec.covariate and fit.spec.item_effects):
        raise ValueError(f"{fit.spec.name} has no covariate or no item effects: the closed form needs M_C")
    gamma = fit.coefficient("cov")
    (l11, _), (l21, l22) = fit.item_factor
    steep = _steepness(fit)
    k0, k1 = attenuation(steep * l11), attenuation(steep * np.hypot(l11 + l21, l22))
    kbar = np.sqrt((k0**2 + k1**2) / 2.0)
    ratio = (k1 - k0) / kbar
    # dk/d(variance) = -c^2 k^3 / 2;  d ratio/dk1 = k0 (k0 + k1) / (2 kbar^3), d ratio/dk0 = -k1 (k0 + k1) / (2 kbar^3)
    common = -gamma * (steep * LOGISTIC_NORMAL) ** 2 * (k0 + k1) / (4.0 * kbar**3)
    by_treated, by_control = common * k0 * k1**3, -common * k1 * k0**3
    slopes = {
        "cov": ratio,
        "l11": 2.0 * (by_treated * (l11 + l21) + by_control * l11),
        "l21": 2.0 * by_treated * (l11 + l21),
        "l22": 2.0 * by_treated * l22,
    }
    at = [fit.spec.psi_names.index(name) for name in slopes]
    slope = np.array(list(slopes.values()))
    free = ~np.isnan(np.diagonal(fit.vcov)[at])
    if fit.sigma_zeta == 0.0 or not free[0]:
        return PredictedBias(float(gamma * ratio), float("nan"))
    at, slope = np.array(at)[free], slope[free]
    return PredictedBias(float(gamma * ratio), float(np.sqrt(slope @ fit.vcov[np.ix_(at, at)] @ slope)))


def _steepness(fit: Fit) -> float:
    """Slope at an item's centre of the expected score, as a share of the highest, relative to a logistic curve; item mean."""
    if fit.formats is None:
        return 1.0
    return float((4.0 * fit.formats.expected(np.zeros(fit.n_items), fit.steps)[1] / fit.formats.highest).mean())
