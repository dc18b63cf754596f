"""M_D: against differences, against M_C inside it, against lme4."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_clusters_engine import rows_of, statistics_of

from ilhte_lib.data.prepare import prepare
from ilhte_lib.engine.laplace import LaplaceDeviance
from ilhte_lib.engine.native import fit_models, fit_statistics
from ilhte_lib.engine.slopes import SlopesDeviance, bends, curve_of, fit_slopes
from ilhte_lib.errors import InputError
from ilhte_lib.model.compress import sufficient_statistics
from ilhte_lib.model.response_matrix import matrix_statistics
from ilhte_lib.model.spec import MODELS
from ilhte_report.intake.source import load, source

CASES = (("", "complete"), ("", "trials"), ("", "ordered"), ("schools", "missing"), ("sites with effects", "ordered"))


def statistics(design: str, kind: str):
    rows = rows_of(design or "schools", kind, True)
    rows = rows if design else replace(rows, cluster=None)
    return statistics_of(rows, design == "sites with effects", kind == "ordered")


def some_psi(deviance: SlopesDeviance, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    spreads = ("sigma_0", "sigma_1", "sigma_theta", "m11", "m22", "l11", "l22", "l33", "l44")
    return np.array([0.4 * rng.normal() + 0.6 * (name in spreads) for name in deviance.names])


@pytest.mark.parametrize("by_arm", [False, True])
@pytest.mark.parametrize(("design", "kind"), CASES)
def test_gradient_is_that_of_differences(design, kind, by_arm):
    # with a curve where each arm has its own SD, without where they share one
    deviance, step = SlopesDeviance(statistics(design, kind), by_arm, by_arm), 1e-3
    psi = some_psi(deviance, 3)
    gradient = deviance(psi).gradient
    for k, unit in enumerate(np.eye(len(psi)) * step):
        values = [deviance(psi + side * unit).deviance for side in (-2, -1, 1, 2)]
        numeric = np.array([1.0, -8.0, 8.0, -1.0]) @ values / (12 * step)
        assert gradient[k] == pytest.approx(numeric, abs=4e-7), deviance.names[k]
    assert np.abs(gradient).max() > 1.0


@pytest.mark.parametrize(("design", "kind"), CASES)
def test_items_alike_in_the_slopes_are_m_c(design, kind):
    data = statistics(design, kind)
    deviance, other = SlopesDeviance(data, True), LaplaceDeviance(data, MODELS["M_C"])
    psi = some_psi(deviance, 4)
    names = deviance.names
    psi[[names.index(name) for name in names if name[0] == "l" and name[1] in "34"]] = 0.0
    psi[names.index("sigma_1")] = psi[names.index("sigma_0")]
    kept = [k for k, name in enumerate(names) if not (name[0] == "l" and name[1] in "34") and name != "sigma_1"]
    assert deviance(psi).deviance == pytest.approx(other(psi[kept]).deviance, abs=1e-10)


def test_verbal_aggression_is_lme4s():
    """lme4 1.1-31, bobyqa: resp ~ treat * cov + (1|id) + (treat * cov|item), anger as covariate."""
    trial = prepare(load(source("verbagg_gender")), "verbagg_gender")
    smaller = fit_models(trial)["M_C"]
    found = fit_slopes(trial.sufficient_statistics(True), smaller, by_arm=False)
    assert found.converged and found.singular and found.n_parameters == 15
    assert found.loglik >= -4079.401856 - 1e-4 and found.loglik == pytest.approx(-4079.401856, abs=2e-3)
    np.testing.assert_allclose(found.beta, [-0.23807751, 0.30808099, 0.28536000, -0.01134296], atol=1e-3)
    assert found.interval("treat:cov")[0] < found.coefficient("treat:cov") < found.interval("treat:cov")[1]
    by_arm = fit_slopes(trial.sufficient_statistics(True), smaller)
    assert by_arm.loglik > found.loglik > smaller.loglik
    # (0 + a0|id) + (0 + a1|id), a0 and a1 the arms, in place of (1|id)
    assert by_arm.loglik == pytest.approx(-4078.814125, abs=2e-3) and by_arm.loglik >= -4078.814125 - 1e-4
    assert by_arm.sigma_theta == pytest.approx((1.39498, 1.22060), abs=1e-3)
    np.testing.assert_allclose(np.sqrt(np.diagonal(by_arm.item_cov)), [1.15799, 0.46741, 0.10633, 0.18007], atol=1e-3)


def test_slopes_and_spreads_that_were_drawn_are_found():
    rng = np.random.default_rng(11)
    n, j = 1200, 20
    treat, c = np.arange(n) % 2, rng.standard_normal(n).round(1)
    easiness, effect, slope, interaction = rng.standard_normal((4, j)) * np.array([[1.0], [0.4], [0.3], [0.5]])
    theta = np.where(treat == 1, 1.6, 0.8) * rng.standard_normal(n)
    eta = (theta + 0.2 * treat + 0.4 * c)[:, None] + easiness + treat[:, None] * effect
    eta = eta + c[:, None] * slope + (treat * c)[:, None] * interaction
    resp = (rng.random(eta.shape) < 1 / (1 + np.exp(-eta))).astype(int).ravel()
    person, item = np.divmod(np.arange(n * j), j)
    data = sufficient_statistics(tuple(map(str, range(j))), treat, person, item, resp, c)
    from ilhte_lib.engine.native import fit_statistics

    smaller = fit_statistics(data, MODELS["M_C"])
    found = fit_slopes(data, smaller)
    assert found.converged and found.loglik > smaller.loglik + 50
    assert found.sigma_theta == pytest.approx((0.8, 1.6), rel=0.12)
    drawn = [np.std(x) for x in (easiness, effect, slope, interaction)]
    np.testing.assert_allclose(np.sqrt(np.diagonal(found.item_cov)), drawn, rtol=0.25)
    # the interaction varies over items, which M_C takes for certainty
    assert found.standard_error("treat:cov") > 1.3 * smaller.standard_error("treat:cov")


def test_out_of_core_it_is_refused():
    data = replace(statistics("", "complete"), covariate_total=None)
    with pytest.raises(InputError, match="fits into memory"):
        SlopesDeviance(data, True)


def test_a_curve_that_was_drawn_is_found_and_taken_out_of_the_interaction():
    rng = np.random.default_rng(7)
    n, j = 1500, 12
    treat, c = np.arange(n) % 2, (2.0 * rng.binomial(20, 0.5, n) - 20) / np.sqrt(20)
    eta = (rng.standard_normal(n) + 0.5 * c + (0.3 + 0.2 * treat) * (c**2 - 1))[:, None] + rng.standard_normal(j)
    responses = (rng.random((n, j)) < 1 / (1 + np.exp(-eta))).astype(int)
    data = matrix_statistics(responses, treat, (c - c.mean()) / c.std())
    square = curve_of(data)
    for column in (np.ones(len(square)), data.covariate):
        assert np.average(square * column, weights=data.count) == pytest.approx(0.0, abs=1e-12)
    assert np.average(square**2, weights=data.count) == pytest.approx(1.0)
    smaller = fit_statistics(data, MODELS["M_C"])
    straight, curved = (fit_slopes(data, smaller, curved=of) for of in (False, True))
    by = np.sqrt(2.0 - 2.0 / 20)  # the SD of c^2, less what a binomial of 20 lacks of the normal
    for name, truth in (("curve", 0.3 * by), ("treat:curve", 0.2 * by)):
        assert abs(curved.coefficient(name) - truth) < 3.0 * curved.standard_error(name)
    assert curved.loglik > straight.loglik + 20 and curved.n_parameters == straight.n_parameters + 2
    low, high = curved.interval("treat:cov")
    assert low < 0 < high


def test_two_values_of_a_covariate_cannot_bend():
    drawn = np.random.default_rng(1).integers(0, 2, (40, 3))
    data = matrix_statistics(drawn, np.arange(40) % 2, np.repeat([-1.0, 1.0], 20))
    assert not bends(data)
    with pytest.raises(InputError, match="fewer than three values"):
        fit_slopes(data, fit_statistics(data, MODELS["M_C"]), curved=True)
