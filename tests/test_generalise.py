"""What the effect means for other items: formulas, limits, and a prediction that comes true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from ilhte_lib.engine.native import fit_statistics
from ilhte_lib.errors import InputError
from ilhte_lib.inference.generalise import generalise, items_needed, persons_floor, reach_of_average, se_with_items
from ilhte_lib.inference.items import free_item_effects
from ilhte_lib.model.response_matrix import matrix_statistics
from ilhte_lib.model.simulate import Design, draw_trial
from ilhte_lib.model.spec import MODELS


def fitted(**design):
    trial = draw_trial(Design(**{"n_persons": 500, "n_items": 16, "seed": 14, "sigma_zeta": 0.4, "rho": 0.3} | design))
    statistics = matrix_statistics(trial.responses, trial.treat)
    return statistics, fit_statistics(statistics, MODELS["M_A"])


@pytest.fixture(scope="module")
def data():
    return fitted()


def test_intervals_and_probabilities_are_their_formulas(data):
    statistics, fit = data
    result = generalise(statistics, fit, form_items=25, level=0.9)
    reach, ate, se, spread = student.ppf(0.95, 14), fit.beta[1], fit.se[1], fit.sigma_zeta
    half = reach * np.hypot(spread, se)
    assert result.new_item == pytest.approx((ate - half, ate + half), rel=1e-9)
    half = reach * np.sqrt(spread**2 / 25 + se**2)
    assert result.new_form == pytest.approx((ate - half, ate + half), rel=1e-9)
    assert result.same_sign == pytest.approx(norm.cdf(abs(ate) / spread))
    assert result.same_sign_predictive == pytest.approx(norm.cdf(abs(ate) / np.hypot(spread, se)))
    # the ends of both probabilities are those of beta_1 / sigma_zeta: a normal draw of psi has this spread to first order
    ratio, l21, l22 = ate / spread, *fit.item_factor[1]
    names = fit.spec.psi_names
    at = [names.index(name) for name in ("treat", "l21", "l22")]
    slope = np.array([1.0, -ratio * l21 / spread, -ratio * l22 / spread]) / spread
    half = reach * np.sqrt(slope @ fit.vcov[np.ix_(at, at)] @ slope)
    assert result.same_sign_interval == pytest.approx(norm.cdf([abs(ratio) - half, abs(ratio) + half]), rel=1e-9)
    assert result.share_negative_interval == pytest.approx(norm.cdf([-ratio - half, -ratio + half]), rel=1e-9)
    assert result.share_negative == pytest.approx(norm.cdf(0, loc=ate, scale=spread))
    assert result.n_negative_here == (fit.ranef[:, 1] + ate < 0).sum()
    assert result.n_negative_here / 16 == pytest.approx(result.share_negative_here, abs=0.25)


def test_degrees_of_freedom_are_between_those_of_items_and_of_persons(data):
    statistics, fit = data
    found = generalise(statistics, fit)
    here = found.se_without_item_sampling**2
    items = (fit.se[1] ** 2 - here) * 16 / 15
    assert found.df == pytest.approx((here + items) ** 2 / (here**2 / 498 + items**2 / 15), rel=1e-9)
    assert found.reach * fit.se[1] == pytest.approx(student.ppf(0.975, found.df) * np.sqrt(here + items), rel=1e-9)
    assert reach_of_average(0.2, 0.2, 5, 498) == pytest.approx((498, student.ppf(0.975, 498)))
    # all of it the items': the interval of a mean of five, with their variance estimated by the mean square over five
    assert reach_of_average(0.2, 0.0, 5, 498) == pytest.approx((4, student.ppf(0.975, 4) * np.sqrt(5 / 4)))
    # items that seem not to differ are taken to differ by so much at least, and no more than they seem to where that is more
    assert reach_of_average(0.2, 0.2, 5, 498, 0.95, 0.04) == pytest.approx(
        (
            0.08**2 / (0.04**2 / 4 + 0.04**2 / 498),
            student.ppf(0.975, 0.08**2 / (0.04**2 / 4 + 0.04**2 / 498)) * np.sqrt(2),
        )
    )
    assert reach_of_average(0.3, 0.2, 5, 498, 0.95, 0.01) == reach_of_average(0.3, 0.2, 5, 498)
    few, many = (reach_of_average(0.3, 0.2, 9, clusters)[0] for clusters in (3, 40))
    assert few < many  # few clusters in place of many persons
    assert np.isnan(reach_of_average(np.nan, 0.2, 5, 498)).all() and np.isnan(reach_of_average(0.2, 0.2, 5, 0)).all()


def test_item_sampling_is_the_difference_of_the_two_standard_errors(data):
    """SE^2 with items sampled = SE^2 on these items + sigma_zeta^2 / J, and the second agrees with free item effects."""
    statistics, fit = data
    result = generalise(statistics, fit)
    parts = np.hypot(result.se_without_item_sampling, fit.sigma_zeta / np.sqrt(16))
    assert result.se_with_item_sampling == pytest.approx(parts, rel=0.005)
    assert result.se_without_item_sampling < result.se_with_item_sampling
    # free effects borrow nothing for the few imprecise (very hard) items, so their mean is a little less certain
    fit = fit_statistics(statistics, MODELS["M_A"], method="aghq")
    free = free_item_effects(statistics, fit.sigma_theta)
    direct = np.sqrt(free.covariance.sum()) / 16
    assert 0.97 * direct < generalise(statistics, fit).se_without_item_sampling < direct


def test_without_spread_every_item_has_the_average_effect():
    statistics, fit = fitted(n_items=20, sigma_zeta=0.0)
    without = replace(fit, item_factor=np.diag([fit.item_factor[0, 0], 0.0]))
    result = generalise(statistics, without)
    assert result.sigma_zeta == 0.0
    assert result.same_sign == 1.0 and result.share_negative == 0.0
    assert result.new_item == result.new_form


def test_standard_error_curve_passes_through_today_and_ends_at_the_persons_floor(data):
    statistics, fit = data
    curve = se_with_items(statistics, fit, np.array([4, 16, 64, 10**9]))
    assert curve[1] == pytest.approx(fit.se[1], rel=1e-12)
    assert (np.diff(curve) < 0).all()
    assert curve[-1] == pytest.approx(persons_floor(statistics, fit), rel=1e-6)
    assert persons_floor(statistics, fit) == pytest.approx(fit.sigma_theta * np.sqrt(2 / 250), rel=1e-12)


def test_items_needed_inverts_the_curve(data):
    statistics, fit = data
    assert items_needed(statistics, fit, fit.se[1]) == 16
    target = float(se_with_items(statistics, fit, 30))
    assert items_needed(statistics, fit, target) == 30
    assert items_needed(statistics, fit, target * 0.999) > 30
    assert items_needed(statistics, fit, persons_floor(statistics, fit)) == np.inf
    assert items_needed(statistics, fit, 100.0) == 1


def test_the_curve_predicts_a_longer_test_of_the_same_persons():
    """A quarter of a 60-item test predicts the SE of the whole, averaged over the four quarters."""
    trial = draw_trial(Design(600, 60, 77, sigma_zeta=0.4))
    whole = fit_statistics(matrix_statistics(trial.responses, trial.treat), MODELS["M_A"])
    predicted = []
    for quarter in range(4):
        statistics = matrix_statistics(trial.responses[:, quarter::4], trial.treat)
        predicted.append(float(se_with_items(statistics, fit_statistics(statistics, MODELS["M_A"]), 60)))
    assert np.mean(predicted) == pytest.approx(whole.se[1], rel=0.05)


def test_mistakes_are_told_in_one_sentence(data):
    statistics, fit = data
    with pytest.raises(InputError, match="no item effects"):
        generalise(statistics, fit_statistics(statistics, MODELS["M_0"]))
    with pytest.raises(InputError, match="at least 1"):
        generalise(statistics, fit, form_items=0)
    with pytest.raises(InputError, match="positive"):
        items_needed(statistics, fit, 0.0)
