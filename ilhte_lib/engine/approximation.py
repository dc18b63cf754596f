"""The choice between Laplace and quadrature as approximation of the likelihood.

Laplace (lme4's nAGQ = 1) underestimates sigma_theta where persons answered few items, by an amount that does not shrink with
the number of persons. Quadrature over persons avoids this bias at a higher cost. ``auto`` chooses quadrature if there are at
most ``FEW_ITEMS`` items, or if it would move sigma_theta of M_A by more than ``NOTICED`` standard errors, judged by one
evaluation of its deviance at Laplace's estimates; and it chooses as many nodes as needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..model.fit_result import Fit

METHODS = ("laplace", "aghq")
CHOICES = ("auto", *METHODS)
FEW_ITEMS = 10
"""With at most this many items ``auto`` chooses quadrature, and the optimum is always searched from several starts."""
ENOUGH_FOR_LAPLACE = 8
"""With at least this many items, resampled trials are fitted by Laplace even if the trial was fitted by quadrature, at a
twentieth of the cost: in the bundled tables standard errors agree to 2% with ten items, but only to 12% with four."""
NOTICED = 0.5
"""``auto`` tolerates a shift of sigma_theta of up to this many standard errors before it chooses quadrature."""
NODES = 15
MORE_NODES = (NODES, 31, 63, 127)
"""Numbers of nodes that ``auto`` tries until twice as many change the log-likelihood by less than ``ENOUGH``."""
ENOUGH = 1e-4
"""Stricter than ``NOTICEABLE``, because draws of the trial, and profiles far from its estimates, need more nodes than the fit itself."""
NOTICEABLE = 1e-3
"""An error of the quadrature below this, in log-likelihood, is not worth a message."""
AUTO_MOST_CELLS = 6_000_000
"""Classes of persons x nodes x items beyond which ``auto`` stays with Laplace (a third of a gigabyte, and minutes)."""


def default_method(profile: str, engine: str = "native") -> str:
    """ "auto" for the native engine under profile "full"; otherwise "laplace", as in lme4."""
    return "auto" if profile == "full" and engine == "native" else "laplace"


def shift_of_sigma_theta(fit: Fit, gradient: np.ndarray) -> float:
    """The shift of sigma_theta, in standard errors, that quadrature would cause, to first order; NaN where undefined.

    This is one Newton step from Laplace's estimates with the curvature of Laplace's deviance (the fit's ``vcov``).

    Parameters
    ----------
    fit : a Laplace fit with standard errors.
    gradient : (k,) gradient of the quadrature deviance at its estimates.
    """
    at = fit.spec.psi_names.index("sigma_theta")
    free = np.flatnonzero(~np.isnan(np.diagonal(fit.vcov)))
    if at not in free:
        return float("nan")
    step = -0.5 * fit.vcov[at, free] @ gradient[free]
    return float(step / np.sqrt(fit.vcov[at, at]))
