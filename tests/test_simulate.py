"""The simulated trials: drawn from the model they claim, reproducible, and written whole."""

from __future__ import annotations

import gzip
import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ilhte_lib.errors import InputError
from ilhte_lib.model.simulate import (
    COLLECTION,
    DESIGNS,
    MISSING,
    SPURIOUS_INTERACTION,
    Design,
    draw_trial,
    item_names,
    random_generator,
    simulate_trial,
    truth_of,
    write_collection,
)


def expit(x):
    return 1 / (1 + np.exp(-x))


def within(estimate, truth, standard_error, z=5.0):
    """Sampling error explains the difference; at z = 5 and a fixed seed a right generator passes."""
    return abs(estimate - truth) < z * standard_error


def test_items_have_the_stated_covariance():
    j = 20_000
    trial = draw_trial(Design(4, j, 1, sigma_b=1.3, sigma_zeta=0.5, rho=-0.6))
    b, zeta = trial.easiness, trial.zeta
    assert within(b.mean(), 0, 1.3 / math.sqrt(j)) and within(zeta.mean(), 0, 0.5 / math.sqrt(j))
    assert within(b.std(), 1.3, 1.3 / math.sqrt(2 * j)) and within(zeta.std(), 0.5, 0.5 / math.sqrt(2 * j))
    assert within(np.corrcoef(b, zeta)[0, 1], -0.6, (1 - 0.36) / math.sqrt(j))


@pytest.mark.parametrize("rho", [-1.0, 1.0])
def test_perfect_correlation_can_be_drawn(rho):
    trial = draw_trial(Design(4, 50, 2, sigma_b=2.0, sigma_zeta=0.4, rho=rho))
    np.testing.assert_allclose(trial.zeta, rho * 0.2 * trial.easiness, atol=1e-12)


def test_each_item_answers_with_its_own_easiness_and_effect():
    n = 40_000
    trial = draw_trial(Design(n, 10, 3, sigma_theta=0.0, ate=0.3, sigma_zeta=0.5, rho=0.5))
    for arm in (0, 1):
        p = expit(trial.easiness + arm * (0.3 + trial.zeta))
        share = trial.responses[trial.treat == arm].mean(axis=0)
        assert np.all(np.abs(share - p) < 5 * np.sqrt(p * (1 - p) / (n / 2)))


def test_the_pretest_acts_through_gamma_and_beta_3():
    n, j = 20_000, 5
    design = Design(n, j, 4, 0.0, 0.2, sigma_b=0.0, sigma_zeta=0.0, gamma=0.7, beta_3=-0.4, baseline_levels=3)
    trial = draw_trial(design)
    assert len(np.unique(trial.covariate)) == 3
    for arm in (0, 1):
        for c in np.unique(trial.covariate):
            cell = trial.responses[(trial.treat == arm) & (trial.covariate == c)]
            p = expit(0.2 * arm + (0.7 - 0.4 * arm) * c)
            assert within(cell.mean(), p, math.sqrt(p * (1 - p) / cell.size))


def test_persons_spread_by_sigma_theta():
    n, j = 100_000, 20
    responses = draw_trial(Design(n, j, 5, sigma_theta=1.5, ate=0.0, sigma_b=0.0, sigma_zeta=0.0)).responses
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    # Two items of one person covary by E[p^2] - E[p]^2, and a mean of J items has that variance plus its own noise.
    covariance = np.sum(weights * expit(1.5 * nodes) ** 2) / weights.sum() - 0.25
    expected = covariance + (0.25 - covariance) / j
    assert within(responses.mean(axis=1).var(), expected, expected * math.sqrt(2 / n))


@pytest.mark.parametrize("levels", [None, 2, 21])
def test_the_pretest_is_standardised_with_at_most_the_stated_values(levels):
    n = 50_000
    c = draw_trial(Design(n, 1, 6, gamma=0.5, baseline_levels=levels)).covariate
    assert within(c.mean(), 0, 1 / math.sqrt(n)) and within(c.var(), 1, math.sqrt(2 / n))
    assert len(np.unique(c)) <= (levels or n)


def test_the_treated_share_is_exact_and_random():
    trial = draw_trial(Design(999, 3, 7, gamma=0.7, treat_share=0.3))
    assert trial.treat.sum() == 300
    assert within(trial.covariate[trial.treat == 1].mean(), 0, 1 / math.sqrt(300))
    assert within(np.flatnonzero(trial.treat).mean(), 499, 999 / math.sqrt(12 * 300))


def test_missing_share_in_both_arms():
    trial = draw_trial(Design(4000, 20, 8, missing=0.15))
    for arm in (0, 1):
        absent = trial.responses[trial.treat == arm] == MISSING
        assert within(absent.mean(), 0.15, math.sqrt(0.15 * 0.85 / absent.size))


def test_planned_forms_are_balanced_and_leave_out_whole_blocks():
    trial = draw_trial(Design(900, 12, 9, forms=3))
    patterns, counts = np.unique(trial.shown, axis=0, return_counts=True)
    assert patterns.sum(axis=1).tolist() == [8, 8, 8] and counts.tolist() == [300, 300, 300]
    assert np.all(patterns.sum(axis=0) == 2)
    np.testing.assert_array_equal(trial.responses == MISSING, ~trial.shown)


def test_the_same_seed_draws_the_same_trial_and_another_seed_does_not():
    design = Design(300, 12, 10, gamma=0.5, missing=0.1, forms=2, rho=0.3)
    first, truth = simulate_trial(design)
    again, truth_again = simulate_trial(design)
    pd.testing.assert_frame_equal(first, again)
    assert truth == truth_again
    other, other_truth = simulate_trial(replace(design, seed=11))
    assert other_truth["zeta"] != truth["zeta"] and not other["resp"].equals(first["resp"])


def test_replications_are_the_children_of_the_seed():
    design = Design(50, 6, 12)
    children = np.random.SeedSequence(12).spawn(3)
    for k in (2, 0, 1):
        expected = np.random.Generator(np.random.PCG64(children[k])).random(4)
        np.testing.assert_array_equal(random_generator(design, k).random(4), expected)
    a, b = draw_trial(design, 0), draw_trial(design, 1)
    assert not np.array_equal(a.responses, b.responses) and not np.array_equal(a.easiness, b.easiness)


def test_the_table_holds_the_drawn_trial():
    design = Design(40, 5, 13, gamma=0.6, missing=0.2)
    trial, (table, truth) = draw_trial(design), simulate_trial(design)
    assert list(table) == ["id", "item", "resp", "treat", "std_baseline"]
    wide = table.pivot(index="id", columns="item", values="resp")
    np.testing.assert_array_equal(wide.to_numpy(), np.where(trial.responses == MISSING, np.nan, trial.responses))
    person = table.groupby("id").first()
    np.testing.assert_array_equal(person["treat"], trial.treat)
    np.testing.assert_array_equal(person["std_baseline"], trial.covariate)
    assert list(truth["easiness"]) == item_names(design) == list(wide)
    np.testing.assert_array_equal(list(truth["easiness"].values()), trial.easiness)
    np.testing.assert_array_equal(list(truth["zeta"].values()), trial.zeta)


def test_items_that_were_not_shown_have_no_row():
    design = Design(30, 6, 14, forms=3)
    table, _ = simulate_trial(design)
    assert len(table) == 30 * 4 and table["resp"].notna().all() and set(table.groupby("id").size()) == {4}


def test_truth_is_json_with_the_standardised_effects():
    truth = truth_of(Design(100, 4, 15, sigma_theta=0.6, gamma=0.8, ate=0.5, sigma_zeta=0.2))
    assert json.loads(json.dumps(truth, allow_nan=False)) == truth
    assert truth["sigma_person"] == pytest.approx(1.0)
    assert (truth["ate_std"], truth["sigma_zeta_std"]) == (pytest.approx(0.5), pytest.approx(0.2))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"n_items": 0}, "n_items"),
        ({"seed": -1}, "seed"),
        ({"sigma_zeta": -0.1}, "sigma_zeta"),
        ({"sigma_theta": math.nan}, "sigma_theta"),
        ({"rho": 1.2}, "rho"),
        ({"ate": math.inf}, "ate"),
        ({"missing": 1.0}, "missing"),
        ({"treat_share": 0.0}, "treat_share"),
        ({"n_persons": 1}, "treat_share"),
        ({"beta_3": 0.2}, "gamma"),
        ({"baseline_levels": 5}, "gamma"),
        ({"gamma": 0.5, "baseline_levels": 1}, "baseline_levels"),
        ({"forms": 1}, "forms"),
    ],
)
def test_a_design_that_cannot_be_drawn_says_which_rule_it_breaks(change, word):
    with pytest.raises(InputError, match=word):
        Design(**{"n_persons": 100, "n_items": 5, "seed": 1, **change})


def test_the_designs_span_what_they_should():
    designs = DESIGNS.values()
    assert len(DESIGNS) == 24 and all(name == d.name and name.startswith("sim_") for name, d in DESIGNS.items())
    assert len({d.seed for d in designs}) == 24

    def span(field):
        values = [getattr(d, field) for d in designs]
        return min(values), max(values)

    assert span("n_persons") == (200, 5000) and span("n_items") == (4, 60)
    assert span("sigma_zeta") == (0.0, 0.7) and span("rho") == (-0.9, 0.9)
    assert 8 <= sum(d.gamma is None for d in designs) <= 16
    assert sum(d.missing > 0 for d in designs) >= 2 and sum(d.forms is not None for d in designs) >= 2
    assert sum(d.n_persons * d.n_items for d in designs) < 1_200_000


def test_the_collection_has_a_simulated_table_for_each_question_that_needs_a_known_truth():
    designs = list(COLLECTION.values())
    assert len(designs) == 8 and all(DESIGNS[name] is design for name, design in COLLECTION.items())
    assert SPURIOUS_INTERACTION in COLLECTION
    pretested = [d for d in designs if d.gamma is not None]
    assert {d.sigma_zeta == 0 for d in pretested} == {d.beta_3 != 0 for d in pretested} == {True, False}
    # artefacts of either sign, without any true interaction
    assert {np.sign(d.rho) for d in pretested if abs(d.rho) > 0.8 and d.beta_3 == 0} == {-1.0, 1.0}
    assert any(d.forms for d in designs) and any(d.sigma_zeta == 0 and d.gamma is None for d in designs)


def test_the_identification_table_shows_a_sum_score_interaction_that_is_not_in_its_truth():
    design = DESIGNS[SPURIOUS_INTERACTION]
    assert design.beta_3 == 0 and design.gamma > 0 and design.rho < 0

    def interaction(design, k):
        trial = draw_trial(design, k)
        slopes = [
            np.polyfit(trial.covariate[trial.treat == t], trial.responses[trial.treat == t].mean(axis=1), 1)[0]
            for t in (0, 1)
        ]
        return slopes[1] - slopes[0]

    flat = replace(design, sigma_zeta=0.0)
    difference = [interaction(design, k) - interaction(flat, k) for k in range(30)]
    assert np.mean(difference) > 4 * np.std(difference, ddof=1) / math.sqrt(30)


def test_names_read_as_designs():
    assert Design(500, 20, 1, rho=0.5, gamma=0.7).name == "sim_n0500_j20_sz40_rho50_pre"
    full = Design(
        5000, 60, 1, sigma_zeta=0.05, rho=-0.9, gamma=1, beta_3=-0.2, baseline_levels=21, missing=0.1, forms=3
    )
    assert full.name == "sim_n5000_j60_sz05_rhom90_pre21_intm20_mis10_forms3"


def test_writing_twice_gives_the_same_bytes_and_leaves_no_other_file(tmp_path):
    designs = [DESIGNS["sim_n0200_j04_sz00_rho00"], Design(60, 5, 16, missing=0.2, gamma=0.5)]
    paths = write_collection(tmp_path / "a", designs)
    again = write_collection(tmp_path / "b", designs)
    assert [p.name for p in paths] == [f"{d.name}.csv.gz" for d in designs]
    assert [p.read_bytes() for p in paths] == [p.read_bytes() for p in again]
    # RFC 1952: flags (byte 3) without a file name, modification time (bytes 4 to 7) zero.
    assert all(p.read_bytes()[3:8] == bytes(5) for p in paths)
    assert {p.name for p in (tmp_path / "a").glob("[!.]*")} == {*(p.name for p in paths), "truth.json"}
    truths = json.loads((tmp_path / "a" / "truth.json").read_text())
    for design, path in zip(designs, paths, strict=True):
        table, truth = simulate_trial(design)
        pd.testing.assert_frame_equal(pd.read_csv(path), table, check_dtype=False, rtol=1e-14)
        assert truths[design.name] == truth
    assert b"1.0," not in gzip.decompress(paths[1].read_bytes())


def test_two_designs_of_one_name_are_refused(tmp_path):
    with pytest.raises(InputError, match="sim_n0100_j05"):
        write_collection(tmp_path, [Design(100, 5, 1), Design(100, 5, 2)])
    assert not list(tmp_path.iterdir())


def test_drawing_arrays_needs_numpy_alone():
    code = (
        "import sys; from ilhte_lib.model.simulate import Design, draw_trial; draw_trial(Design(50, 5, 1));"
        "print([m for m in ('pandas', 'scipy', 'plotly') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_arms_of_clusters():
    """Whole clusters are randomised, or persons within each site, and a trial without clusters is drawn as before."""
    design = Design(203, 5, 3, clusters=20, sigma_u=0.5, treat_share=0.4)
    cluster, treat = design.cluster, draw_trial(design).treat
    share = np.bincount(cluster, weights=treat) / np.bincount(cluster)
    assert set(share) == {0.0, 1.0} and share.sum() == design.clusters_treated == 8
    assert set(np.bincount(cluster)) == {10, 11}
    sites = draw_trial(replace(design, sites=True)).treat
    assert sites.sum() == replace(design, sites=True).n_treated == 81
    assert set(np.bincount(cluster, weights=sites)) <= {3, 4, 5}
    table, truth = simulate_trial(design)
    assert table.groupby("id")["cluster"].nunique().eq(1).all() and truth["clusters"] == 20
    assert "clusters" not in simulate_trial(Design(20, 3, 1))[1]
