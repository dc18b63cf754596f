"""Expected scores by item and arm in points, and a test of whether items share the steps between their categories."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..engine.native import fit_statistics
from ..errors import InputError
from ..model.compress import SufficientStatistics
from ..model.fit_result import Fit
from ..model.formats import ItemFormats, StepForm
from ..model.spec import MODELS

NODES = 31


@dataclass(frozen=True)
class ExpectedScores:
    """Expected score of each item under M_A, in points from 0 to the item's highest score.

    Attributes
    ----------
    item_names : J names.
    highest : (J,) highest scores.
    control, treated : (J,) expected scores of the average person (theta = 0).
    control_mean, treated_mean : (J,) expected scores averaged over persons, theta ~ N(0, sigma_theta^2).
    """

    item_names: tuple[str, ...]
    highest: np.ndarray
    control: np.ndarray
    treated: np.ndarray
    control_mean: np.ndarray
    treated_mean: np.ndarray


def expected_scores(fit: Fit) -> ExpectedScores:
    """Expected scores at the estimates of M_A (or M_C at the mean of the covariate) and its empirical-Bayes item effects.

    Averages over persons are by Gauss-Hermite quadrature with 31 nodes.
    """
    formats = fit.formats or ItemFormats(np.ones(fit.n_items, int))
    control = fit.coefficient("intercept") + fit.ranef[:, 0]
    eta = np.array([control, control + fit.coefficient("treat") + fit.ranef[:, 1]])
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    theta, weights = fit.sigma_persons * nodes, weights / weights.sum()
    over_persons = formats.expected(eta + theta[:, None, None], fit.steps)[0]
    average = formats.expected(eta, fit.steps)[0]
    return ExpectedScores(
        fit.item_names, formats.highest.astype(float), *average, *np.tensordot(weights, over_persons, (0, 0))
    )


@dataclass(frozen=True)
class StepsTest:
    """The likelihood ratio of M_A with steps shared within formats (rating) against item-specific steps (partial).

    Attributes
    ----------
    statistic : likelihood ratio, at least 0.
    df : number of additional steps in the larger model.
    p : p-value by chi-square with df degrees of freedom.
    """

    statistic: float
    df: int
    p: float


def steps_test(statistics: SufficientStatistics, fit: Fit) -> StepsTest:
    """Test whether items with the same number of categories share their steps.

    Parameters
    ----------
    statistics : the data of the fit.
    fit : M_A with shared steps; the larger model is fitted here with the same approximation of the likelihood.

    Raises
    ------
    InputError : no two items share their steps.
    EngineError : the larger model cannot be fitted.
    """
    from dataclasses import replace

    from scipy.special import chdtrc

    if fit.formats is None or fit.formats.form != StepForm.RATING:
        raise InputError("The model has no steps that items share: fit it with --steps rating.")
    own = ItemFormats(fit.formats.highest, StepForm.PARTIAL)
    df = len(own.names) - len(fit.steps)
    if df == 0:
        raise InputError("No two items have the same number of categories, so there are no shared steps to test.")
    larger = fit_statistics(
        replace(statistics, formats=own),
        MODELS[fit.spec.name],
        standard_errors=False,
        method=fit.method,
        nodes=fit.nodes,
    )
    statistic = max(2.0 * (larger.loglik - fit.loglik), 0.0)
    return StepsTest(statistic, df, float(chdtrc(df, statistic)))
