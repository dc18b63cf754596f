"""Sum scores: by hand, against textbook formulas on complete data, and against the truth of simulated trials."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ilhte_lib.data.prepare import prepare
from ilhte_lib.errors import InputError
from ilhte_lib.inference.sum_score import sum_score_effect, sum_score_interaction
from ilhte_lib.model.simulate import Design, draw_trial, simulate_trial


def prepared(responses, treat):
    """A trial of a (P, J) matrix; NaN is missing."""
    responses = np.asarray(responses, float)
    p, j = responses.shape
    table = pd.DataFrame(
        {
            "id": np.repeat(np.arange(p), j),
            "item": np.tile([f"i{k}" for k in range(j)], p),
            "resp": responses.ravel(),
            "treat": np.repeat(treat, j),
        }
    )
    return prepare(table.dropna(subset=["resp"]), "matrix")


def drawn(**design):
    trial = draw_trial(Design(**{"n_persons": 300, "n_items": 12, "seed": 6, "sigma_zeta": 0.3} | design))
    return trial, prepared(np.where(trial.responses < 0, np.nan, trial.responses), trial.treat)


def test_a_small_trial_by_hand():
    responses = [[0, 0, 1], [0, 1, 1], [1, 1, 1], [0, 1, 0], [1, 1, 1], [1, 1, 0]]
    result = sum_score_effect(prepared(responses, [0, 0, 0, 1, 1, 1]))
    # control scores 1, 2, 3; treated 1, 3, 2
    assert result.difference == 0.0 and result.smd == 0.0
    assert result.sd == pytest.approx(1.0)
    assert result.smd_se == pytest.approx(np.sqrt(6 / 9))
    assert (result.n_control, result.n_treated, result.mean_answered) == (3, 3, 3.0)


def test_hedges_factor_and_standard_error():
    trial, prep = drawn()
    score, arm = trial.responses.sum(axis=1), trial.treat == 1
    n1, n0 = arm.sum(), (~arm).sum()
    pooled = np.sqrt(((n1 - 1) * score[arm].var(ddof=1) + (n0 - 1) * score[~arm].var(ddof=1)) / (n0 + n1 - 2))
    d = (score[arm].mean() - score[~arm].mean()) / pooled
    g = d * (1 - 3 / (4 * (n0 + n1 - 2) - 1))
    result = sum_score_effect(prep)
    assert result.sd == pytest.approx(pooled)
    assert result.smd == pytest.approx(g)
    assert result.smd_se == pytest.approx(np.sqrt(1 / n0 + 1 / n1 + g**2 / (2 * (n0 + n1))))


def kr20(responses: np.ndarray, group: np.ndarray) -> float:
    """Kuder and Richardson's formula with variances pooled within groups 0, 1, ..."""
    j = responses.shape[1]
    residual = responses - np.array([responses[group == g].mean(axis=0) for g in np.unique(group)])[group]
    return j / (j - 1) * (1 - residual.var(axis=0).sum() / residual.sum(axis=1).var())


def test_reliability_is_kr20_within_arm():
    trial, prep = drawn()
    assert sum_score_effect(prep).reliability == pytest.approx(
        kr20(trial.responses, trial.treat.astype(int)), rel=1e-12
    )


def test_a_large_effect_does_not_pass_for_reliability():
    trial, prep = drawn(n_persons=4000, ate=2.0, sigma_zeta=0.0)
    without = sum_score_effect(drawn(n_persons=4000, ate=0.0, sigma_zeta=0.0)[1])
    result = sum_score_effect(prep)
    assert result.smd > 1.0
    over_both_arms = kr20(trial.responses, np.zeros(4000, int))
    assert over_both_arms > without.reliability + 0.05
    assert result.reliability < without.reliability + 0.01


def test_standard_error_of_the_reliability_against_the_jackknife():
    trial, prep = drawn()
    treat = trial.treat.astype(int)
    n = len(treat)
    without = [kr20(np.delete(trial.responses, p, axis=0), np.delete(treat, p)) for p in range(n)]
    jackknife = np.sqrt((n - 1) / n * ((without - np.mean(without)) ** 2).sum())
    assert sum_score_effect(prep).reliability_se == pytest.approx(jackknife, rel=0.03)


def test_corrected_effect_and_its_standard_error():
    result = sum_score_effect(drawn(ate=0.5)[1])
    assert result.corrected == pytest.approx(result.smd / np.sqrt(result.reliability))
    h = 1e-6
    slope = (result.smd / np.sqrt(result.reliability + h) - result.smd / np.sqrt(result.reliability - h)) / (2 * h)
    expected = np.hypot(result.smd_se / np.sqrt(result.reliability), slope * result.reliability_se)
    assert result.corrected_se == pytest.approx(expected, rel=1e-6)


def test_correction_recovers_the_effect_on_theta():
    """0.4 SDs of theta; the sum score of 10 items shows four fifths of it, and 20,000 persons leave an SE of .02."""
    result = sum_score_effect(drawn(n_persons=20_000, n_items=10, ate=0.4, sigma_zeta=0.0, sigma_b=0.7)[1])
    assert result.smd < 0.36
    assert result.corrected == pytest.approx(0.4, abs=0.04)


def test_missing_responses_at_random_change_little():
    whole, some = (
        sum_score_effect(drawn(n_persons=6000, n_items=20, ate=0.4, missing=share)[1]) for share in (0.0, 0.25)
    )
    assert some.mean_answered == pytest.approx(15, abs=0.1)
    assert some.corrected == pytest.approx(whole.corrected, abs=0.05)
    # a test of 15 items instead of 20, by Spearman and Brown
    shorter = 0.75 * whole.reliability / (1 - 0.25 * whole.reliability)
    assert some.reliability == pytest.approx(shorter, abs=0.02)


def test_items_that_do_not_covary_have_no_reliability():
    responses = np.tile([[0, 1, 0], [1, 0, 0], [0, 0, 1]], (4, 1))
    result = sum_score_effect(prepared(np.vstack([responses, [[1, 1, 0]]]), [0, 1] * 6 + [1]))
    assert np.isnan([result.reliability, result.corrected, result.corrected_se]).all()
    assert np.isfinite(result.smd)


def test_interaction_is_the_difference_of_two_regressions():
    table, _ = simulate_trial(Design(300, 10, 8, gamma=0.8, beta_3=0.4, sigma_zeta=0.2))
    trial = prepare(table, "drawn")
    result = sum_score_interaction(trial)
    score = np.bincount(trial.person, weights=trial.resp)
    fits = []
    for arm in (0, 1):
        here = trial.treat == arm
        x = np.column_stack([np.ones(here.sum()), trial.covariate[here]])
        beta, *_ = np.linalg.lstsq(x, score[here], rcond=None)
        hat = x @ np.linalg.pinv(x)
        scaled = (score[here] - x @ beta) ** 2 / (1 - np.diagonal(hat))
        meat = np.linalg.pinv(x) @ np.diag(scaled) @ np.linalg.pinv(x).T
        fits.append((beta, np.diagonal(meat)))
    sd = sum_score_effect(trial).sd
    assert result.interaction == pytest.approx((fits[1][0][1] - fits[0][0][1]) / sd)
    assert result.interaction_se == pytest.approx(np.sqrt(fits[0][1][1] + fits[1][1][1]) / sd)
    assert result.treat == pytest.approx((fits[1][0][0] - fits[0][0][0]) / sd)
    assert result.cov == pytest.approx(fits[0][0][1] / sd) and result.n_persons == 300


def test_persons_without_the_covariate_are_left_out():
    table, _ = simulate_trial(Design(200, 6, 8, gamma=0.8))
    table.loc[table["id"] <= 20, "std_baseline"] = np.nan
    trial = prepare(table, "drawn")
    assert sum_score_interaction(trial).n_persons == 180


def test_mistakes_are_told_in_one_sentence():
    _, trial = drawn()
    with pytest.raises(InputError, match="no covariate"):
        sum_score_interaction(trial)
    rng = np.random.default_rng(2)
    responses = rng.integers(0, 2, (30, 4))
    treat = np.array([1] + [0] * 29)
    with pytest.raises(InputError, match="fewer than two persons"):
        sum_score_effect(prepared(responses, treat))
    flat = np.arange(30) % 2
    constant = replace(prepared(responses, flat), covariate=np.where(flat == 1, 1.0, rng.normal(size=30)))
    with pytest.raises(InputError, match="does not vary in both arms"):
        sum_score_interaction(constant)
    balanced = np.column_stack([flat, 1 - flat, np.roll(flat, 1), 1 - np.roll(flat, 1)])
    with pytest.raises(InputError, match="no SD to standardise"):
        sum_score_effect(prepared(balanced, np.repeat([0, 1], 15)))
