"""What accompanies the estimates of one trial: computed once, seeded, complete even where a part cannot be had."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from ilhte_lib.analysis import document
from ilhte_lib.data.prepare import prepare
from ilhte_lib.data.trial import Trial
from ilhte_lib.engine.native import fit_models, statistics_of
from ilhte_lib.errors import InputError
from ilhte_lib.files import to_json
from ilhte_lib.inference.bootstrap import bootstrap_p_value, parametric_bootstrap, resampling_bootstrap
from ilhte_lib.inference.effects import effects
from ilhte_lib.inference.infer import PARAMETERS, RESAMPLED, infer, with_resampling
from ilhte_lib.inference.lrt import likelihood_ratio
from ilhte_lib.inference.profile import Profiler, correlation_cut, objective, profile_intervals
from ilhte_lib.model.simulate import Design, simulate_trial
from ilhte_lib.model.spec import MODELS
from ilhte_lib.progress import listening

DRAWS = 12


def drawn(**design) -> Trial:
    table, _ = simulate_trial(Design(**{"n_persons": 120, "n_items": 5, "seed": 3, "sigma_zeta": 0.5} | design))
    return prepare(table, "drawn")


def in_villages(trial: Trial) -> Trial:
    """Ten villages, five an arm."""
    within_arm = np.zeros(trial.n_persons, int)
    for arm in (0, 1):
        within_arm[trial.treat == arm] = np.arange(np.count_nonzero(trial.treat == arm)) % 5
    return replace(trial, cluster=np.array([f"v{t}{k}" for t, k in zip(trial.treat, within_arm, strict=True)]))


@pytest.fixture(scope="module")
def trial() -> Trial:
    return drawn(gamma=0.6)


@pytest.fixture(scope="module")
def fits(trial):
    return fit_models(trial)


@pytest.fixture(scope="module")
def resampled(trial, fits):
    return infer(trial, fits, replicates=DRAWS, seed=7)


def test_without_replicates(trial, fits):
    found = infer(trial, fits)
    statistics = statistics_of(trial, MODELS["M_A"])
    expected = profile_intervals(statistics, fits["M_A"], fits["M_0"])
    # few items: that of rho is wider than the chi2_1 quantile has it
    narrow, profiler = expected["rho"], Profiler(objective(statistics, fits["M_A"]), fits["M_A"], fits["M_0"])
    expected["rho"] = profiler.interval("rho", few_items=True)
    assert expected["rho"].lower < narrow.lower < narrow.upper <= expected["rho"].upper
    assert expected["rho"].cut == correlation_cut(trial.n_items) > narrow.cut
    assert tuple(found.intervals) == PARAMETERS
    for name in PARAMETERS:
        assert found.intervals[name].lower == pytest.approx(expected[name].lower, abs=1e-4)
        assert found.intervals[name].upper == pytest.approx(expected[name].upper, abs=1e-4)
    assert found.test == likelihood_ratio(fits["M_0"], fits["M_A"])
    assert math.isnan(found.p_bootstrap) and found.null_replicates == 0 and found.resampling is None
    assert found.curves == () and found.notes == () and not found.clustered and not found.model_only
    assert found.sum_score.n_control + found.sum_score.n_treated == trial.n_persons
    assert len(found.items.effect) == len(found.influence.ate) == found.robust.n_items == trial.n_items
    result = effects(trial, fits)
    assert with_resampling(result, found) is result


def test_replicates_are_those_of_the_two_bootstraps(trial, fits, resampled):
    null = parametric_bootstrap(statistics_of(trial, MODELS["M_0"]), fits["M_0"], replicates=DRAWS, seed=7, workers=1)
    assert resampled.p_bootstrap == bootstrap_p_value(resampled.test.statistic, null)
    persons = resampling_bootstrap(trial, fits, replicates=DRAWS, seed=7, workers=1)
    np.testing.assert_array_equal(resampled.resampling.estimates, persons.estimates)
    summary = with_resampling(effects(trial, fits), resampled).summary
    assert summary["sd_ratio_se"] == persons.se("sd_ratio") > 0
    assert summary["delta_beta3_se"] == persons.se("delta_beta3") > 0
    other = infer(trial, fits, replicates=DRAWS, seed=8)
    assert other.resampling.se("sd_ratio") != persons.se("sd_ratio")


def test_progress_is_told_of_both(trial, fits):
    told = []
    with listening(lambda *what: told.append(what)):
        infer(trial, fits, replicates=3)
    for what in ("drawing trials with equal effects", "drawing samples of the persons"):
        assert [step for step in told if step[0] == what][-1] == (what, 3, 3)


def test_clusters_are_known_only_where_they_were_drawn(trial, fits):
    villages = in_villages(trial)
    without = infer(villages, fits)
    assert without.clustered and without.model_only and not without.knows_clusters
    drawn_whole = infer(villages, fits, replicates=4)
    assert drawn_whole.knows_clusters and not drawn_whole.model_only and drawn_whole.resampling.units == (5, 5)


def test_an_arm_of_one_village_costs_only_the_resampling(trial, fits):
    lonely = replace(in_villages(trial), cluster=np.where(trial.treat == 1, "one", in_villages(trial).cluster))
    found = infer(lonely, fits, replicates=3)
    assert found.resampling is None and found.model_only and 0 < found.p_bootstrap <= 1
    assert found.notes == (
        "Resampling: Table 'drawn' has a single cluster to draw from in an arm: how they vary cannot be estimated from one.",
    )


def test_without_standard_errors_everything_else_is_there(trial, fits):
    """As after an optimum that is not certified."""
    bare = {
        name: replace(fit, vcov=np.full_like(fit.vcov, np.nan), se=np.full_like(fit.se, np.nan), converged=False)
        for name, fit in fits.items()
    }
    found = infer(trial, bare)
    assert found.intervals["treat"].lower == pytest.approx(infer(trial, fits).intervals["treat"].lower, abs=1e-3)
    assert math.isnan(found.intervals["treat"].wald_lower) and math.isnan(found.generalisation.new_item[0])
    document(trial, bare, effects(trial, bare), found)


def test_three_items_are_enough():
    trial = drawn(n_items=3, seed=4)
    found = infer(trial, fit_models(trial), curves=True)
    assert found.influence is None and {c.parameter for c in found.curves} <= set(PARAMETERS)


def test_document_has_it_all(trial, fits, resampled):
    result = effects(trial, fits)
    text = to_json(document(trial, fits, result, resampled))
    assert "NaN" not in text
    found = json.loads(text)
    record = found["inference"]
    assert found["summary"]["sd_ratio_se"] == resampled.resampling.se("sd_ratio")
    assert found["summary"]["delta_beta3_se"] == resampled.resampling.se("delta_beta3")
    assert set(record["intervals"]) == set(PARAMETERS)
    told = record["told"]
    assert set(told) == {"average", "spread", "rho", "beta3_b", "beta3_c"}
    assert all(found["low"] < found["estimate"] < found["high"] for found in told.values())
    assert record["intervals"]["sigma_zeta"]["upper"] == resampled.intervals["sigma_zeta"].upper
    test = record["test"]
    assert (test["halved"], test["mixture"]) == (found["summary"]["lrt_pval"], found["summary"]["lrt_pval_mixture"])
    assert test["bootstrap"] == resampled.p_bootstrap and test["bootstrap_replicates"] == DRAWS
    assert set(record["resampling"]["estimates"]) == set(RESAMPLED)
    low, high = resampled.resampling.interval("ate_std", found["summary"]["ate_std"])
    assert record["resampling"]["estimates"]["ate_std"] == {
        "se": resampled.resampling.se("ate_std"), "lower": low, "upper": high,
    }  # fmt: skip
    assert record["resampling"]["seed"] == 7 and record["only_model_standard_errors"] is False
    assert record["items"]["item_names"] == list(trial.item_names)
    for part in ("generalisation", "robust", "influence", "sum_score"):
        assert record[part]
    assert json.loads(to_json(document(trial, fits, result)))["inference"] is None


def test_negative_replicates_are_refused(trial, fits):
    with pytest.raises(InputError, match="not negative"):
        infer(trial, fits, replicates=-1)


def test_a_trial_read_out_of_core_has_what_needs_no_persons(tmp_path):
    pytest.importorskip("duckdb", reason="DuckDB is not installed")
    from ilhte_lib.data.large import large_trial

    table, _ = simulate_trial(Design(n_persons=200, n_items=6, seed=5, sigma_zeta=0.5))
    path = tmp_path / "trial.csv"
    table.to_csv(path, index=False)
    large = large_trial(path, "drawn")
    trial = prepare(table, "drawn")
    found, expected = infer(large, fit_models(large), replicates=3), infer(trial, fit_models(trial), replicates=3)
    assert found.resampling is None and found.sum_score is None and found.influence is None
    assert "out of core" in found.notes[0]
    assert found.p_bootstrap == expected.p_bootstrap
    assert found.intervals["rho"].lower == pytest.approx(expected.intervals["rho"].lower, abs=1e-5)
    np.testing.assert_allclose(found.items.departure, expected.items.departure, atol=1e-8)
