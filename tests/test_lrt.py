"""The likelihood-ratio test: its p-values, and the published decisions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

from ilhte_lib.data.prepare import prepare
from ilhte_lib.engine.native import fit_models
from ilhte_lib.errors import EngineError
from ilhte_lib.inference.lrt import likelihood_ratio, p_values
from ilhte_lib.model.simulate import Design, simulate_trial


@pytest.mark.parametrize("statistic", [0.0, 1e-12, 0.5, 2.7, 3.84, 4.605, 5.99, 30.0, 700.0])
def test_p_values_are_tails_of_chi_squares(statistic):
    test = p_values(statistic)
    one, two = chi2.sf(statistic, 1), chi2.sf(statistic, 2)
    assert test.statistic == statistic
    assert test.naive == pytest.approx(two, rel=1e-12)
    assert test.halved == pytest.approx(two / 2, rel=1e-12)
    assert test.mixture == pytest.approx((one + two) / 2, rel=1e-12)


def test_p_values_that_can_be_worked_out_by_hand():
    # P(chi2_2 > x) = exp(-x/2)
    test = p_values(2 * np.log(10))
    assert test.naive == pytest.approx(0.1, rel=1e-14) and test.halved == pytest.approx(0.05, rel=1e-14)
    assert (p_values(0).naive, p_values(0).halved, p_values(0).mixture) == (1.0, 0.5, 1.0)
    assert p_values(-1e-9) == p_values(0)


def test_the_mixture_has_the_right_size_where_the_null_is_that_mixture():
    # half the time the boundary leaves one degree of freedom, half the time two
    rng = np.random.default_rng(1)
    draws = np.concatenate([rng.chisquare(1, 20_000), rng.chisquare(2, 20_000)])
    cut = np.array([p_values(x).mixture for x in draws]) < 0.05
    assert cut.mean() == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 40_000))


@pytest.mark.shared
def test_published_ratios_give_the_published_decisions(shared):
    published = pd.read_csv(shared / "reference" / "irw_published" / "summary.csv")
    assert len(published) == 70
    tests = [p_values(ratio) for ratio in published["LRT"]]
    halved, mixture, naive = (np.array([getattr(t, name) for t in tests]) for name in ("halved", "mixture", "naive"))
    np.testing.assert_allclose(halved, published["lrt_pval"], rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(mixture, published["p_mix12"], rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(naive, published["p_chi2"], rtol=1e-6, atol=1e-12)
    np.testing.assert_array_equal(halved < 0.05, published["sig_il_hte"])
    assert [(p < 0.05).sum() for p in (halved, mixture, naive)] == [40, 39, 34]


def test_ratio_of_two_fits():
    table, _ = simulate_trial(Design(200, 8, 5, sigma_zeta=0.6, gamma=0.5))
    trial = prepare(table)
    fits = fit_models(trial)
    test = likelihood_ratio(fits["M_0"], fits["M_A"])
    assert test == p_values(2 * (fits["M_A"].loglik - fits["M_0"].loglik)) and test.statistic > 0
    with pytest.raises(EngineError, match="M_A is below M_0"):
        likelihood_ratio(fits["M_A"], fits["M_0"])
    fewer = fit_models(prepare(table[table["id"] != 1]), ["M_0"])["M_0"]
    with pytest.raises(ValueError, match="no ratio can be formed"):
        likelihood_ratio(fewer, fits["M_A"])
