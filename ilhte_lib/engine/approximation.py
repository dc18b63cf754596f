"""Laplace or quadrature: which approximation of the likelihood a table needs.

Laplace (lme4's nAGQ = 1) takes sigma_theta for too small where persons answered few items, by an amount that does not
shrink with the number of persons. Quadrature over persons is free of that and costs more. ``auto`` takes quadrature where
there are at most ``FEW_ITEMS`` items, or where it would move sigma_theta of M_A by more than ``NOTICED`` of its standard
error, as one evaluation of its deviance at Laplace's estimates tells; and as many nodes as it takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..model.fit_result import Fit

METHODS = ("laplace", "aghq")
CHOICES = ("auto", *METHODS)
FEW_ITEMS = 10
"""With no more items than this ``auto`` takes quadrature, and a search for the optimum always has several starts."""
ENOUGH_FOR_LAPLACE = 8
"""With so many items the estimates of drawn persons are Laplace's, at a twentieth of the cost, also where the trial was fitted by
quadrature: their standard errors are the same to 2% in the bundled tables of ten items, to 12% only in one of four."""
NOTICED = 0.5
"""So much of its standard error sigma_theta may be off before ``auto`` takes quadrature."""
NODES = 15
MORE_NODES = (NODES, 31, 63, 127)
"""Numbers of nodes that ``auto`` tries, each until the next changes the log-likelihood by less than ``ENOUGH``."""
ENOUGH = 1e-4
"""A smaller error than is worth a message, since the gradient holds the nodes where they are and must lead to the optimum."""
NOTICEABLE = 1e-3
"""An error of the quadrature below this, in log-likelihood, is not worth a message."""
AUTO_MOST_CELLS = 6_000_000
"""Classes of persons times nodes times items beyond which ``auto`` stays with Laplace (a third of a gigabyte, and minutes)."""


def default_method(profile: str, engine: str = "native") -> str:
    """ "auto"; but "laplace", which is lme4's, under the profile "vignette" and in lme4."""
    return "auto" if profile == "full" and engine == "native" else "laplace"


def shift_of_sigma_theta(fit: Fit, gradient: np.ndarray) -> float:
    """By how many of its standard errors quadrature would move sigma_theta, to first order; NaN where that is undefined.

    One step of Newton's method from Laplace's estimates, with the curvature of Laplace's deviance (the fit's ``vcov``).

    Parameters
    ----------
    fit : a Laplace fit, with standard errors.
    gradient : (k,) of quadrature's deviance at its estimates.
    """
    at = fit.spec.psi_names.index("sigma_theta")
    free = np.flatnonzero(~np.isnan(np.diagonal(fit.vcov)))
    if at not in free:
        return float("nan")
    step = -0.5 * fit.vcov[at, free] @ gradient[free]
    return float(step / np.sqrt(fit.vcov[at, at]))
