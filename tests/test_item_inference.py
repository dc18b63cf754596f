"""Inference for single items, against dense algebra, an independent optimiser and known truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from ilhte_lib.data.prepare import prepare
from ilhte_lib.engine.laplace import LaplaceDeviance
from ilhte_lib.engine.native import fit_models, fit_side_by_side, fit_statistics, statistics_of
from ilhte_lib.errors import EngineError
from ilhte_lib.inference.delta_method import total_effect_variance
from ilhte_lib.inference.generalise import effect_covariance
from ilhte_lib.inference.influence import leave_one_item_out
from ilhte_lib.inference.items import (
    _bisquare_centres,
    _shift_gains,
    free_item_effects,
    item_inference,
    robust_comparison,
)
from ilhte_lib.model.response_matrix import matrix_statistics
from ilhte_lib.model.simulate import Design, draw_trial, simulate_trial
from ilhte_lib.model.spec import MODELS


def drawn(**design):
    return draw_trial(Design(**{"n_persons": 400, "n_items": 10, "seed": 31, "sigma_zeta": 0.4, "rho": 0.3} | design))


def with_effects(effects, n_persons: int = 500, seed: int = 1):
    """Responses of a trial whose items have exactly these effects (logits)."""
    rng = np.random.default_rng(seed)
    effects = np.asarray(effects, float)
    treat = np.arange(n_persons) % 2
    eta = rng.standard_normal(n_persons)[:, None] + np.linspace(-1, 1, len(effects)) + treat[:, None] * effects
    return (rng.random(eta.shape) < 1 / (1 + np.exp(-eta))).astype(int), treat


@pytest.fixture(scope="module")
def data():
    trial = drawn()
    statistics = matrix_statistics(trial.responses, trial.treat)
    return trial, statistics, fit_statistics(statistics, MODELS["M_A"])


@pytest.mark.parametrize("method", ["laplace", "aghq"])
def test_covariance_of_effects_has_the_known_diagonal_and_blocks(method):
    trial = drawn(n_items=6)
    statistics = matrix_statistics(trial.responses, trial.treat)
    fit = fit_statistics(statistics, MODELS["M_A"], method=method)
    covariance = effect_covariance(statistics, fit)
    np.testing.assert_allclose(np.diagonal(covariance), total_effect_variance(fit), rtol=1e-6)
    np.testing.assert_allclose(covariance, covariance.T, atol=1e-12)
    assert (np.linalg.eigvalsh(covariance) > 0).all()


def test_conditional_covariance_agrees_with_the_dense_inverse():
    """Every person and item effect written out, no classes, no elimination: Lambda H^-1 Lambda' by brute force."""
    trial = drawn(n_persons=40, n_items=4)
    statistics = matrix_statistics(trial.responses, trial.treat)
    fit = fit_statistics(statistics, MODELS["M_A"])
    deviance = LaplaceDeviance(statistics, fit.spec)
    deviance(fit.psi)
    p, j = 40, 4
    score = trial.responses.sum(axis=1)
    rows = []
    for person in range(p):
        arm = trial.treat[person]
        g = np.flatnonzero((statistics.arm == arm) & (statistics.score == score[person]))[0]
        for item in range(j):
            row = np.zeros(p + 2 * j)
            row[person] = fit.sigma_theta
            row[[p + item, p + j + item]] = np.array([1, arm]) @ fit.item_factor
            eta = fit.beta @ [1, arm] + fit.sigma_theta * deviance.v[g] + fit.ranef[item] @ [1, arm]
            rows.append((row, 1 / (2 + np.exp(eta) + np.exp(-eta))))
    z, w = np.array([r for r, _ in rows]), np.array([w for _, w in rows])
    inverse = np.linalg.inv(z.T @ (w[:, None] * z) + np.eye(p + 2 * j))
    to_zeta = np.zeros((j, p + 2 * j))
    for item in range(j):
        to_zeta[item, [p + item, p + j + item]] = fit.item_factor[1]
    dense = to_zeta @ inverse @ to_zeta.T
    slopes = fit.ranef_jacobian[:, 1, :].copy()
    slopes[:, 1] += 1
    free = np.flatnonzero(~np.isnan(np.diagonal(fit.vcov)))
    expected = dense + slopes[:, free] @ fit.vcov[np.ix_(free, free)] @ slopes[:, free].T
    np.testing.assert_allclose(effect_covariance(statistics, fit), expected, rtol=1e-6)


def test_free_effects_agree_with_an_independent_optimiser():
    """Marginal likelihood over patterns on a grid of person effects, maximised by SciPy."""
    responses, treat = with_effects([0.5, -0.5, 0.2], n_persons=120)
    statistics = matrix_statistics(responses, treat)
    free = free_item_effects(statistics, 1.1)
    v = np.linspace(-8, 8, 401)
    prior = np.exp(-v * v / 2) / np.sqrt(2 * np.pi) * (v[1] - v[0])

    def minus_loglik(x: np.ndarray) -> float:
        total = 0.0
        for arm in (0, 1):
            eta = x.reshape(2, 3)[arm][:, None] + 1.1 * v
            one, zero = -np.logaddexp(0, -eta), -np.logaddexp(0, eta)
            y = responses[treat == arm]
            total += np.log(np.exp(y @ one + (1 - y) @ zero) @ prior).sum()
        return -total

    best = minimize(minus_loglik, np.zeros(6), method="BFGS", options={"gtol": 1e-7}).x
    np.testing.assert_allclose(free.effect, best[3:] - best[:3], atol=1e-4)
    h = 1e-3
    steps = h * np.eye(6)
    hessian = np.array(
        [
            [
                (
                    minus_loglik(best + a + b)
                    - minus_loglik(best + a - b)
                    - minus_loglik(best - a + b)
                    + minus_loglik(best - a - b)
                )
                / (4 * h * h)
                for b in steps
            ]
            for a in steps
        ]
    )
    contrast = np.hstack([-np.eye(3), np.eye(3)])
    np.testing.assert_allclose(free.covariance, contrast @ np.linalg.inv(hessian) @ contrast.T, rtol=1e-3)


def test_free_effects_cover_the_truth():
    standardised = []
    for replication in range(12):
        other = draw_trial(Design(400, 10, 31, sigma_zeta=0.4, rho=0.3), replication)
        free = free_item_effects(matrix_statistics(other.responses, other.treat), 1.0)
        standardised.append((free.effect - 0.2 - other.zeta) / np.sqrt(np.diagonal(free.covariance)))
    assert np.std(standardised) == pytest.approx(1.0, abs=0.15)
    assert np.mean(standardised) == pytest.approx(0.0, abs=0.3)


def test_an_item_that_an_arm_answered_all_alike_has_no_effect_of_its_own():
    responses, treat = with_effects([0.5, -0.5, 0.2, 0.1], n_persons=200)
    responses[treat == 1, 2] = 1
    free = free_item_effects(matrix_statistics(responses, treat), 1.0)
    assert np.isnan(free.effect[2]) and np.isnan(free.covariance[2]).all()
    np.testing.assert_array_equal(free.estimable, [0, 1, 3])
    unseen = responses.astype(float)
    unseen[treat == 1, 2] = -1
    without = free_item_effects(matrix_statistics(unseen, treat), 1.0)
    np.testing.assert_allclose(free.effect, without.effect, atol=1e-8)
    np.testing.assert_allclose(free.covariance, without.covariance, atol=1e-8)
    responses[treat == 0, 1] = 0
    assert np.isnan(free_item_effects(matrix_statistics(responses, treat), 1.0).effect[[1, 2]]).all()


def test_intervals_contain_the_uncertainty_of_the_average(data):
    trial, statistics, fit = data
    result = item_inference(statistics, fit)
    np.testing.assert_allclose(result.effect, fit.beta[1] + fit.ranef[:, 1])
    np.testing.assert_allclose(result.upper - result.lower, 2 * 1.959963984540054 * result.se)
    assert (result.se > np.sqrt(fit.ranef_vcov[:, 1, 1])).all()
    assert (result.p_holm >= result.p_bh - 1e-15).all() and (result.p_bh >= result.p - 1e-15).all()
    assert abs(result.departure.sum()) < 1e-9
    inside = (result.lower < 0.2 + trial.zeta) & (0.2 + trial.zeta < result.upper)
    assert inside.sum() >= 8


def test_the_odd_item_is_flagged_and_no_other():
    responses, treat = with_effects([0.1] * 11 + [1.5], n_persons=800)
    statistics = matrix_statistics(responses, treat)
    fit = fit_statistics(statistics, MODELS["M_A"])
    assert item_inference(statistics, fit).flagged() == ("12",)
    result = robust_comparison(statistics, fit)
    assert result.weight[11] == 0.0 and (result.weight[:11] > 0).sum() >= 8
    assert result.difference == result.mean - result.robust > 0
    assert result.p_outliers < 0.01 and list(np.flatnonzero(result.outlying)) == [11]
    # three standard errors of what all items share: 2 sigma_theta / sqrt(N)
    assert result.mean_without == pytest.approx(0.1, abs=0.22)


def test_an_average_that_hangs_on_a_few_items_is_found():
    responses, treat = with_effects([0.1] * 9 + [1.5] * 3, n_persons=4000)
    statistics = matrix_statistics(responses, treat)
    result = robust_comparison(statistics, fit_statistics(statistics, MODELS["M_A"]))
    assert (result.weight[9:] == 0).all()
    # three standard errors of what all items share: 2 sigma_theta / sqrt(N)
    assert result.mean == pytest.approx(0.45, abs=0.1)
    assert result.robust == pytest.approx(0.1, abs=0.1)
    assert result.p < 0.01
    assert result.p_outliers < 0.05 and set(np.flatnonzero(result.outlying)) <= {9, 10, 11}


def test_nothing_is_flagged_where_items_do_not_differ():
    responses, treat = with_effects([0.3] * 12, n_persons=800, seed=3)
    statistics = matrix_statistics(responses, treat)
    fit = fit_statistics(statistics, MODELS["M_A"])
    assert item_inference(statistics, fit).flagged() == ()
    result = robust_comparison(statistics, fit)
    assert result.p > 0.05 and result.p_outliers > 0.05
    assert abs(result.difference) < 2.5 * result.se


def test_robust_comparison_does_not_depend_on_shift_or_order():
    responses, treat = with_effects([0.1, 0.2, -0.3, 0.5, 1.0, 0.0, 0.4], n_persons=300)
    statistics = matrix_statistics(responses, treat)
    fit = fit_statistics(statistics, MODELS["M_A"])
    result = robust_comparison(statistics, fit)
    turned = matrix_statistics(responses[:, ::-1], treat)
    other = robust_comparison(turned, fit_statistics(turned, MODELS["M_A"]))
    assert other.difference == pytest.approx(result.difference, abs=1e-6)
    shown = (result.p, result.p_normal, result.p_outliers)
    assert (other.p, other.p_normal, other.p_outliers) == pytest.approx(shown, abs=3e-3)
    assert list(other.outlying[::-1]) == list(result.outlying)
    np.testing.assert_allclose(other.weight[::-1], result.weight, atol=1e-5)
    effects, cut = np.array([[0.1, 0.2, 0.9, 0.3]]), np.full(4, 0.4)
    assert _bisquare_centres(effects + 5, cut)[0] == pytest.approx(_bisquare_centres(effects, cut)[0] + 5)


def test_gain_of_a_mean_shift_is_that_of_the_normal_likelihood():
    """The effects farthest from the median have means of their own, and the rest one mean and one variance."""
    effects = np.array([[0.1, 0.0, -0.2, 0.15, 3.0, -0.1, 0.05, -2.0, 0.2, 0.1]])
    gains, order = _shift_gains(effects, 0.01)
    assert gains.shape == (1, 2) and list(order[0, :2]) == [4, 7]

    def deviance(rest: np.ndarray) -> float:
        variance = max(float(((rest - rest.mean()) ** 2).sum()) / 10, 0.01)
        return float(10 * np.log(variance) + ((rest - rest.mean()) ** 2).sum() / variance)

    kept = np.delete(effects[0], [4]), np.delete(effects[0], [4, 7])
    assert gains[0] == pytest.approx([deviance(effects[0]) - deviance(rest) for rest in kept])


def test_bisquare_centre_is_the_deepest_minimum():
    rng = np.random.default_rng(5)
    effects, cut = rng.normal(0, 1, (40, 9)), rng.uniform(0.3, 1.5, 9)
    found = _bisquare_centres(effects, cut)
    grid = np.linspace(-4, 4, 8001)
    for row, centre in zip(effects, found, strict=True):
        loss = (1 - np.maximum(1 - ((row - grid[:, None]) / cut) ** 2, 0) ** 3).sum(axis=1)
        own = (1 - np.maximum(1 - ((row - centre) / cut) ** 2, 0) ** 3).sum()
        assert own <= loss.min() + 1e-5


def test_two_items_are_too_few_for_a_robust_mean():
    responses, treat = with_effects([0.1, 0.2, 0.4], n_persons=100)
    responses[treat == 1, 0] = 1
    statistics = matrix_statistics(responses, treat)
    result = robust_comparison(statistics, fit_statistics(statistics, MODELS["M_A"]))
    assert result.n_items == 2 and np.isnan([result.mean, result.p]).all()


def test_leaving_an_item_out_is_fitting_without_it():
    table, _ = simulate_trial(Design(200, 6, 3, sigma_zeta=0.5))
    trial = prepare(table, "drawn")
    fit = fit_models(trial, ["M_0", "M_A"])["M_A"]
    influence = leave_one_item_out(trial, fit)
    assert influence.item_names == trial.item_names
    for left_out in (0, 4):
        rest = prepare(table[table["item"] != trial.item_names[left_out]], "drawn")
        direct = fit_models(rest, ["M_0", "M_A"])["M_A"]
        assert influence.ate[left_out] == pytest.approx(direct.beta[1], abs=1e-4)
        assert influence.sigma_zeta[left_out] == pytest.approx(direct.sigma_zeta, abs=1e-3)
        assert influence.ate_change[left_out] == pytest.approx(direct.beta[1] - fit.beta[1], abs=1e-4)


@pytest.mark.parametrize("steps", [None, (-0.8, 0.1, 0.7)])
def test_in_large_data_one_newton_step_ranks_the_items_and_the_first_are_refitted(monkeypatch, steps):
    table, _ = simulate_trial(Design(1000, 20, 3, sigma_zeta=0.5, steps=steps))
    table = table[np.random.default_rng(2).random(len(table)) > 0.1]
    trial = prepare(table, "drawn")
    fit = fit_models(trial, ["M_0", "M_A"])["M_A"]
    all_refitted = leave_one_item_out(trial, fit)
    monkeypatch.setattr("ilhte_lib.inference.influence.REFIT_ALL", 0)
    influence = leave_one_item_out(trial, fit)
    again = influence.refitted
    assert all_refitted.refitted.all() and 3 <= again.sum() <= 9
    for name in ("ate_change", "sigma_zeta_change", "rho_change"):
        exact, found = getattr(all_refitted, name), getattr(influence, name)
        # refitted side by side with other items
        np.testing.assert_allclose(found[again], exact[again], rtol=1e-9)
        assert np.abs(found - exact)[~again].max() < 0.15 * np.abs(exact).max(), name
    first = np.argsort(-np.abs(all_refitted.ate_change))[:3]
    assert again[first].all()
    monkeypatch.setattr("ilhte_lib.inference.influence.LOOKED_AT", 8)
    few = leave_one_item_out(trial, fit)
    assert np.isfinite(few.ate_change).sum() == 8 and few.refitted[first].all()
    np.testing.assert_allclose(few.ate_change[first], all_refitted.ate_change[first], rtol=1e-9)


def test_the_most_influential_item_is_the_odd_one():
    responses, treat = with_effects([0.1] * 7 + [1.8], n_persons=400)
    import pandas as pd

    rows = [(p, f"i{k}", responses[p, k], treat[p]) for p in range(400) for k in range(8)]
    trial = prepare(pd.DataFrame(rows, columns=["id", "item", "resp", "treat"]), "drawn")
    fit = fit_models(trial, ["M_0", "M_A"])["M_A"]
    influence = leave_one_item_out(trial, fit)
    assert np.argmin(influence.ate_change) == 7 == np.argmin(influence.sigma_zeta_change)
    assert influence.ate_change[7] < -0.1


def test_an_item_without_which_nothing_can_be_fitted_is_left_undefined(monkeypatch):
    table, _ = simulate_trial(Design(100, 4, 3, sigma_zeta=0.5))
    trial = prepare(table, "drawn")
    fit = fit_models(trial, ["M_0", "M_A"])["M_A"]

    def refusing(jobs, *arguments, **named):
        found = fit_side_by_side(jobs, *arguments, **named)
        refused = [trial.item_names[2] not in job.statistics.item_names for job in jobs]
        return [EngineError("M_A could not be fitted.") if no else fit for no, fit in zip(refused, found, strict=True)]

    monkeypatch.setattr("ilhte_lib.inference.influence.fit_side_by_side", refusing)
    influence = leave_one_item_out(trial, fit)
    np.testing.assert_array_equal(np.isnan(influence.ate_change), [False, False, True, False])


def test_fewer_nodes_change_nothing_where_they_are_used(monkeypatch):
    """Ten items, the fewest for which large data get fewer nodes."""
    statistics = statistics_of(drawn_trial(), MODELS["M_A"])
    exact = free_item_effects(statistics, 1.2)
    monkeypatch.setattr("ilhte_lib.inference.items.LARGE_CELLS", 0)
    rough = free_item_effects(statistics, 1.2)
    assert 0 < np.abs(rough.effect - exact.effect).max() < 1e-5
    np.testing.assert_allclose(rough.covariance, exact.covariance, rtol=1e-4)


def drawn_trial():
    return prepare(simulate_trial(Design(300, 10, 41, sigma_theta=1.2, sigma_zeta=0.4))[0], "ten")
