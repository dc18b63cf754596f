"""Planned trials: what is simulated, closed forms, the command."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from command_line import call, refusal
from conftest import PROJECT
from scipy.special import stdtr, stdtrit

from ilhte_lib.analysis import analyse
from ilhte_lib.engine.native import fit_statistics
from ilhte_lib.errors import InputError
from ilhte_lib.files import to_json
from ilhte_lib.inference.generalise import generalise, persons_floor
from ilhte_lib.inference.planning import (
    RESULTS,
    closed_average,
    closed_interaction,
    information,
    method_for,
    power,
    simulated,
    steps_for,
)
from ilhte_lib.model.response_matrix import matrix_statistics
from ilhte_lib.model.simulate import Design, draw_trial, simulate_trial
from ilhte_lib.model.spec import MODELS
from ilhte_report.pages.planning import from_pilot, planned_design, planning_sections

DESIGN = Design(200, 12, 77, ate=0.3, sigma_zeta=0.4)


def test_a_trial_is_the_same_alone_and_among_others():
    """And it is what a fit of that trial by itself says."""
    together = simulated(DESIGN, range(6))
    np.testing.assert_allclose(simulated(DESIGN, [4])[0], together[4], atol=1e-9)
    drawn = draw_trial(DESIGN, 4)
    statistics = matrix_statistics(drawn.responses, drawn.treat)
    null = fit_statistics(statistics, MODELS["M_0"], standard_errors=False)
    main = fit_statistics(statistics, MODELS["M_A"], smaller=null)
    row = dict(zip(RESULTS, together[4], strict=True))
    assert row["average"] == pytest.approx(main.coefficient("treat"), abs=1e-9)
    assert row["average_se"] == pytest.approx(main.standard_error("treat"), abs=1e-8)
    assert row["spread"] == pytest.approx(main.sigma_zeta, abs=1e-9)
    assert math.isnan(row["interaction"])


def test_power_without_effects_is_the_size_of_the_tests():
    found = power(replace(DESIGN, ate=0.0, sigma_zeta=0.0, n_persons=120, n_items=11), 128)
    for test in found.tests:
        assert test.power_low < 0.05 < test.power_high + 0.02, test
    assert found.failed == 0 and found.replicates == 128


@pytest.mark.parametrize(
    "more", [{}, {"gamma": 0.7, "beta_3": 0.25, "baseline_levels": 9}, {"steps": steps_for(4), "missing": 0.1}]
)
def test_closed_forms_are_near_what_is_simulated(more):
    design = replace(DESIGN, **more)
    found = power(design, 64)
    for test in found.tests:
        if test.name != "items":
            assert test.se == pytest.approx(test.closed_se, rel=0.08)
            assert test.power_low - 0.05 <= test.closed_power <= test.power_high + 0.05
            assert test.spread_of_estimates == pytest.approx(test.se, rel=0.25)
    assert math.isnan(found.test("items").closed_power)


def test_the_closed_form_has_its_limits():
    """With endless items only persons are left; with endless persons only items; a pretest takes its part of the persons away."""
    many_items = replace(DESIGN, n_items=100_000)
    assert closed_average(many_items)[0] == pytest.approx(math.sqrt(4 / 200), rel=0.01)
    many_persons = replace(DESIGN, n_persons=10_000_000)
    assert closed_average(many_persons)[0] == pytest.approx(0.4 / math.sqrt(12), rel=0.001)
    pretest = replace(DESIGN, gamma=0.8, sigma_theta=0.6)
    assert closed_average(pretest)[0] < closed_average(replace(DESIGN, sigma_theta=1.0))[0]
    assert closed_interaction(replace(pretest, beta_3=0.0))[1] == pytest.approx(0.05, abs=1e-9)
    assert closed_average(replace(DESIGN, ate=0.0))[1] == pytest.approx(0.05, abs=1e-9)
    assert information(replace(DESIGN, missing=0.25)) == pytest.approx(0.75 * information(DESIGN))


def test_the_closed_form_and_a_fit_agree_on_what_persons_leave():
    drawn = draw_trial(replace(DESIGN, n_persons=1000))
    statistics = matrix_statistics(drawn.responses, drawn.treat)
    fit = fit_statistics(statistics, MODELS["M_A"])
    fitted = replace(
        DESIGN, n_persons=1000, sigma_theta=fit.sigma_theta, sigma_b=fit.sigma_b, sigma_zeta=fit.sigma_zeta
    )
    assert closed_average(fitted)[0] == pytest.approx(fit.standard_error("treat"), rel=0.04)
    assert persons_floor(statistics, fit) < closed_average(fitted)[0]


@pytest.mark.parametrize(
    "more",
    [{"clusters": 16}, {"clusters": 16, "sites": True}, {"clusters": 16, "sites": True, "sigma_site": 0.3}],
    ids=("randomised", "sites", "sites with effects of their own"),
)
def test_clusters_in_closed_form_are_near_what_is_simulated(more):
    design = replace(DESIGN, n_persons=320, sigma_u=0.5, **more)
    found = power(design, 24)
    average = found.test("average")
    assert average.se == pytest.approx(average.closed_se, rel=0.1)
    assert average.power_low - 0.05 <= average.closed_power <= average.power_high + 0.05
    assert found.method == "laplace" and found.failed == 0
    alone = closed_average(replace(design, clusters=None, sigma_u=0.0, sites=False, sigma_site=0.0))[0]
    assert (average.closed_se > alone) == (more != {"clusters": 16, "sites": True})


def test_a_trial_in_clusters_is_tested_by_the_interval_of_its_analysis():
    """The p-value is below 5% exactly where the interval of the average effect excludes 0; the same by quadrature."""
    for design in (replace(DESIGN, clusters=12, sigma_u=0.4), replace(DESIGN, n_items=6), DESIGN):
        drawn, method = draw_trial(design, 3), method_for(design)
        of_clusters = {"cluster": design.cluster} if design.clusters else {}
        statistics = matrix_statistics(drawn.responses, drawn.treat, **of_clusters)
        main = fit_statistics(statistics, MODELS["M_A"], method=method)
        row = dict(zip(RESULTS, simulated(design, [3], method)[0], strict=True))
        assert row["average"] == pytest.approx(main.coefficient("treat"), abs=1e-6)
        known = generalise(statistics, main)
        p = 2 * stdtr(known.df, -abs(known.ate) / known.se_with_item_sampling * stdtrit(known.df, 0.975) / known.reach)
        assert row["average_p"] == pytest.approx(p, abs=1e-5)
    assert [method_for(replace(DESIGN, n_items=j, **c)) for j, c in ((10, {}), (11, {}), (10, {"clusters": 9}))] == [
        "aghq", "laplace", "laplace",
    ]  # fmt: skip


def test_steps_and_refusals():
    assert steps_for(2) is None and steps_for(4) == (-0.5, 0.0, 0.5)
    for wrong in (lambda: steps_for(1), lambda: power(DESIGN, 0), lambda: power(replace(DESIGN, n_items=2), 5)):
        with pytest.raises(InputError):
            wrong()


def test_a_pilot_gives_the_design(tmp_path):
    analysis = analyse(PROJECT / "data" / "tables" / "verbagg_gender.csv.gz")
    pilot = tmp_path / "pilot.json"
    pilot.write_text(to_json(analysis.document()))
    known, steps = from_pilot(pilot)
    main = analysis.fits["M_C"]
    assert steps is None
    assert known["effect"] == main.coefficient("treat") and known["interaction"] == main.coefficient("treat:cov")
    assert known["sigma_zeta"] == pytest.approx(main.sigma_zeta) and known["rho"] == pytest.approx(main.rho)
    design = planned_design({"persons": 800, "items": None}, pilot, 3)
    assert (design.n_persons, design.n_items, design.seed) == (800, 24, 3)
    assert design.treat_share == pytest.approx(main_share(analysis), abs=1e-3)


def main_share(analysis) -> float:
    return float(analysis.trial.treat[analysis.trial.person].mean())


def test_a_pilot_in_clusters_gives_clusters(tmp_path):
    table, _ = simulate_trial(Design(240, 11, 4, clusters=12, sigma_u=0.6, ate=0.4))
    analysis = analyse(table)
    pilot = tmp_path / "pilot.json"
    pilot.write_text(to_json(analysis.document()))
    own = analysis.fits["M_A"]
    design = planned_design({}, pilot, 1)
    assert (design.clusters, design.sites, design.sigma_site) == (12, False, 0.0)
    assert design.sigma_u == pytest.approx(own.clusters.sigma_u)
    assert planned_design({"persons": 480}, pilot, 1).clusters == 24
    assert planned_design({"persons": 480, "clusters": 10, "icc": 0.2}, pilot, 1).sigma_u == pytest.approx(
        own.sigma_theta / 2
    )
    said = " ".join(planning_sections(power(design, 2))[0].sentences)
    assert "12 clusters of about 20" in said and "(1|cluster) in the models" in said


def test_a_pilot_of_ratings_gives_their_steps(tmp_path):
    table, _ = simulate_trial(Design(150, 6, 4, steps=(-0.6, 0.1, 0.5)))
    analysis = analyse(table)
    pilot = tmp_path / "pilot.json"
    pilot.write_text(to_json(analysis.document()))
    _, steps = from_pilot(pilot)
    np.testing.assert_allclose(steps[:-1], analysis.fits["M_A"].steps)
    assert sum(steps) == pytest.approx(0.0, abs=1e-12)
    assert planned_design({}, pilot, 1).steps == steps
    assert planned_design({"categories": 2}, pilot, 1).steps is None


def test_the_command(tmp_path):
    out = tmp_path / "plan.json"
    done = call("design", "--persons", 120, "--items", 8, "--replicates", 12, "--seed", 5, "--json", out)
    assert done.code == 0, done.err
    document = json.loads(out.read_text())
    found = power(Design(120, 8, 5), 12)
    assert document["tests"][0]["power"] == found.test("average").power
    assert document["design"]["n_items"] == 8 and document["replicates"] == 12
    for words in ("For a preregistration", "12 simulated trials, seed 5", "Item effects, σ_ζ"):
        assert words in " ".join(done.out.split())
    section = planning_sections(found)[-1]
    assert section.sentences[0].split(";")[0] in " ".join(done.out.split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rho", 2], "rho must lie between"),
        (["--interaction", 0.2], "need a pretest"),
        (["--treated", 0], "treat_share"),
        (["--from", "nothing.json"], "cannot be read"),
        (["--clusters", 10, "--icc", 1], "less than 1"),
        (["--icc", 0.1], "need clusters"),
        (["--clusters", 10, "--site-sd", 0.2], "hold both arms"),
        (["--clusters", 10, "--method", "aghq"], "does not support clusters"),
    ],
)
def test_mistakes_are_told_in_a_sentence(options, said):
    assert said in refusal(call("design", "--replicates", 2, *options))


def test_a_file_that_is_no_pilot_is_refused(tmp_path):
    for contents in ("{}", "no JSON", '{"models": 3}'):
        path = tmp_path / "other.json"
        path.write_text(contents)
        assert "not a document" in refusal(call("design", "--from", path))


def test_the_figure_shows_curves_and_the_simulated_point():
    pytest.importorskip("plotly")
    from ilhte_lib.figures.planning import item_numbers, planning_figure

    found = power(DESIGN, 8)
    figure = planning_figure(found)
    names = [trace.name for trace in figure.data]
    assert names == [*(f"{n} items" for n in item_numbers(12)), "simulated"]
    assert figure.data[-1].y[0] == pytest.approx(found.test("average").power, abs=1e-4)
    curve = figure.data[1]
    at = np.interp(200, curve.x, np.array(curve.y, float))
    assert at == pytest.approx(closed_average(DESIGN)[1], abs=0.01)
