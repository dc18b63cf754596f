"""Profile-likelihood intervals: against an independent constrained optimiser, and at the boundaries."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import chi2

from ilhte_lib.engine.laplace import LaplaceDeviance
from ilhte_lib.engine.native import fit_statistics
from ilhte_lib.errors import InputError
from ilhte_lib.inference.lrt import likelihood_ratio
from ilhte_lib.inference.profile import Profiler, profile_intervals
from ilhte_lib.model.response_matrix import matrix_statistics
from ilhte_lib.model.simulate import Design, draw_trial
from ilhte_lib.model.spec import MODELS

QUANTILE = chi2.ppf(0.95, 1)


def fitted(replication: int = 0, **design):
    """Statistics of one drawn trial with its fits of M_0 and M_A."""
    trial = draw_trial(Design(seed=4, **{"n_persons": 400, "n_items": 12} | design), replication)
    statistics = matrix_statistics(trial.responses, trial.treat)
    null = fit_statistics(statistics, MODELS["M_0"])
    return statistics, null, fit_statistics(statistics, MODELS["M_A"], smaller=null)


@pytest.fixture(scope="module")
def ordinary():
    return fitted(sigma_zeta=0.6, rho=0.4)


def constrained_minimum(statistics, fit, parameter: str, value: float) -> float:
    """The deviance minimised under a constraint by SciPy, from numbers alone, in (sigma_b, sigma_zeta, rho)."""
    deviance = LaplaceDeviance(statistics, fit.spec)
    names = ["intercept", "treat", "sigma_theta", "sigma_b", "sigma_zeta", "rho"]
    start = [*fit.beta, fit.sigma_theta, fit.sigma_b, fit.sigma_zeta, np.clip(fit.rho, -0.9, 0.9)]
    held = names.index(parameter)

    def objective(free: np.ndarray) -> float:
        intercept, treat, sigma, sigma_b, sigma_zeta, rho = np.insert(free, held, value)
        return deviance(
            [intercept, treat, sigma, sigma_b, sigma_zeta * rho, sigma_zeta * np.sqrt(max(1 - rho**2, 0.0))]
        ).deviance

    bounds = [(None, None), (None, None), (0.05, None), (0.05, None), (0.02, None), (-1.0, 1.0)]
    del bounds[held]
    start = np.delete(start, held)
    return min(
        minimize(objective, start + shift, bounds=bounds, method="L-BFGS-B", options={"ftol": 1e-13, "gtol": 1e-6}).fun
        for shift in (0.0, np.linspace(-0.05, 0.05, 5))
    )


@pytest.mark.parametrize("parameter", ["treat", "sigma_theta", "sigma_zeta", "rho"])
def test_ends_are_where_an_independent_optimiser_finds_the_quantile(ordinary, parameter):
    statistics, null, fit = ordinary
    interval = profile_intervals(statistics, fit, null, (parameter,))[parameter]
    assert interval.lower < interval.estimate < interval.upper
    for end, bounded in ((interval.lower, interval.lower_bounded), (interval.upper, interval.upper_bounded)):
        assert not bounded
        assert constrained_minimum(statistics, fit, parameter, end) - fit.deviance == pytest.approx(QUANTILE, abs=2e-4)


def test_wald_interval_of_an_unbounded_parameter_is_close(ordinary):
    statistics, null, fit = ordinary
    interval = profile_intervals(statistics, fit, null, ("sigma_theta",))["sigma_theta"]
    width = interval.upper - interval.lower
    assert interval.lower == pytest.approx(interval.wald_lower, abs=0.05 * width)
    assert interval.upper == pytest.approx(interval.wald_upper, abs=0.05 * width)
    half = 1.959963984540054 * np.sqrt(fit.vcov[2, 2])
    assert interval.wald_upper - interval.estimate == pytest.approx(half, rel=1e-9)


def test_lower_end_of_sigma_zeta_is_zero_exactly_where_the_mixture_test_does_not_reject():
    decisions = []
    for replication in range(24):
        statistics, null, fit = fitted(replication, n_persons=200, n_items=8, sigma_zeta=0.35)
        interval = profile_intervals(statistics, fit, null, ("sigma_zeta",))["sigma_zeta"]
        rejects = likelihood_ratio(null, fit).mixture <= 0.05
        assert (interval.lower == 0.0) == (not rejects) == interval.lower_bounded
        assert interval.upper > interval.estimate
        decisions.append(rejects)
    assert 4 < sum(decisions) < 20, "the design must give both decisions for the test to mean anything"


def test_level_moves_the_boundary_decision_with_the_test():
    for replication in range(24):
        statistics, null, fit = fitted(replication, n_persons=200, n_items=8, sigma_zeta=0.35)
        p = likelihood_ratio(null, fit).mixture
        if 0.02 < p < 0.5:
            break
    profiler = Profiler(LaplaceDeviance(statistics, fit.spec), fit, null)
    assert profiler.interval("sigma_zeta", level=1 - 0.98 * p).lower == 0.0
    assert profiler.interval("sigma_zeta", level=1 - 1.02 * p).lower > 0.0


def test_rho_reaches_one_and_is_everything_without_item_effects():
    statistics, null, fit = fitted(n_items=20, sigma_zeta=0.25, rho=0.95)
    interval = profile_intervals(statistics, fit, null, ("rho",))["rho"]
    assert interval.upper == 1.0 and interval.upper_bounded
    assert 0 < interval.lower < 0.95 and not interval.lower_bounded
    statistics, null, fit = fitted(n_items=20, sigma_zeta=0.0)
    assert fit.deviance > null.deviance - QUANTILE
    interval = profile_intervals(statistics, fit, null, ("rho",))["rho"]
    assert (interval.lower, interval.upper) == (-1.0, 1.0)


def test_boundary_of_rho_is_in_exactly_when_its_deviance_is_below_the_quantile():
    for replication in range(4):
        statistics, null, fit = fitted(replication, n_items=20, sigma_zeta=0.3, rho=0.8)
        interval = profile_intervals(statistics, fit, null, ("rho",))["rho"]
        rise = constrained_minimum(statistics, fit, "rho", 1.0) - fit.deviance
        assert (interval.upper == 1.0) == (rise < QUANTILE)


def test_curve_is_zero_at_the_estimate_and_the_quantile_at_the_ends(ordinary):
    statistics, null, fit = ordinary
    profiler = Profiler(LaplaceDeviance(statistics, fit.spec), fit, null)
    for parameter in ("treat", "sigma_zeta", "rho"):
        interval = profiler.interval(parameter)
        curve = profiler.curve(interval, 31)
        assert np.all(np.diff(curve.value) > 0)
        assert np.all(curve.difference > -1e-7)
        assert np.interp(interval.estimate, curve.value, curve.difference) < 0.1
        inside = (curve.value > interval.lower) & (curve.value < interval.upper)
        assert np.all(curve.difference[inside] < QUANTILE + 1e-5)
        assert np.all(curve.difference[~inside] > QUANTILE - 1e-5)


def test_curve_of_sigma_zeta_starts_at_the_likelihood_ratio():
    statistics, null, fit = fitted(n_items=20, sigma_zeta=0.0)
    profiler = Profiler(LaplaceDeviance(statistics, fit.spec), fit, null)
    curve = profiler.curve(profiler.interval("sigma_zeta"), 11)
    assert curve.value[0] == 0.0
    assert curve.difference[0] == pytest.approx(null.deviance - fit.deviance, abs=1e-6)
    # the same deviance from the other side: D_p is continuous at 0
    section = profiler._solve("sigma_zeta", 1e-5)
    assert section.deviance == pytest.approx(null.deviance, abs=1e-3)


def test_profile_of_rho_never_rises_above_the_model_without_item_effects():
    statistics, null, fit = fitted(n_persons=200, n_items=8, sigma_zeta=0.35)
    ratio = null.deviance - fit.deviance
    profiler = Profiler(LaplaceDeviance(statistics, fit.spec), fit, null)
    rises = [profiler._solve("rho", at).deviance - fit.deviance for at in np.linspace(-1.5, 1.5, 13)]
    assert max(rises) <= ratio + 1e-6
    assert max(rises) > 0.5 * ratio


def test_models_with_a_covariate():
    trial = draw_trial(Design(300, 10, 9, sigma_zeta=0.5, gamma=0.7, baseline_levels=11))
    statistics = matrix_statistics(trial.responses, trial.treat, trial.covariate)
    null = fit_statistics(statistics, MODELS["M_B"])
    fit = fit_statistics(statistics, MODELS["M_C"], smaller=null)
    for model, smaller in ((null, None), (fit, null)):
        interval = profile_intervals(statistics, model, smaller, ("treat:cov",))["treat:cov"]
        half = 1.96 * model.standard_error("treat:cov")
        assert interval.lower == pytest.approx(interval.estimate - half, abs=0.05 * half)
        assert interval.upper == pytest.approx(interval.estimate + half, abs=0.05 * half)


def test_item_order_changes_nothing(ordinary):
    statistics, null, fit = ordinary
    trial = draw_trial(Design(400, 12, 4, sigma_zeta=0.6, rho=0.4), 0)
    turned = matrix_statistics(trial.responses[:, ::-1], trial.treat)
    null_turned = fit_statistics(turned, MODELS["M_0"])
    other = profile_intervals(turned, fit_statistics(turned, MODELS["M_A"], smaller=null_turned), null_turned)
    for name, interval in profile_intervals(statistics, fit, null).items():
        assert other[name].lower == pytest.approx(interval.lower, abs=1e-6)
        assert other[name].upper == pytest.approx(interval.upper, abs=1e-6)


def test_mistakes_are_told_in_one_sentence(ordinary):
    statistics, null, fit = ordinary
    with pytest.raises(InputError, match="no parameter 'sigma_x'"):
        profile_intervals(statistics, fit, null, ("sigma_x",))
    with pytest.raises(InputError, match="without item effects"):
        profile_intervals(statistics, fit, None, ("rho",))
    with pytest.raises(InputError, match="number between 0 and 1"):
        profile_intervals(statistics, fit, null, level=95)
    with pytest.raises(InputError, match="M_A is not M_A without item effects"):
        profile_intervals(statistics, fit, fit)


@pytest.mark.shared
def test_an_end_that_laplace_cannot_give_is_undefined(shared):
    """With 4 items and rare responses the Laplace deviance has a spurious deeper valley at five times the sigma_theta."""
    import pandas as pd

    from ilhte_lib.data.prepare import prepare
    from ilhte_lib.engine.native import fit_models, statistics_of

    name = "washb_bgd_symptoms_wsh_wave1"
    trial = prepare(pd.read_csv(shared / "data" / "tables" / f"{name}.csv.gz"), name, ignore_clusters=True)
    fits = fit_models(trial, ["M_0", "M_A"])
    profiler = Profiler(LaplaceDeviance(statistics_of(trial, MODELS["M_A"]), MODELS["M_A"]), fits["M_A"], fits["M_0"])
    interval = profiler.interval("sigma_theta")
    assert np.isnan(interval.upper)
    assert 1.5 < interval.lower < interval.estimate < 2.0
    curve = profiler.curve(interval, 15)
    assert np.isfinite(curve.difference).all() and curve.value[-1] > 2.4
    average = profiler.interval("treat")
    assert np.isfinite([average.lower, average.upper]).all()
