"""The identification problem: closed form, look-alike trials, the simulated grid, its figures and its notebook."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from ilhte_lib.engine.native import fit_statistics
from ilhte_lib.inference.closed_form import (
    attenuation,
    predicted_bias,
    predicted_bias_of,
    treated_spread,
)
from ilhte_lib.inference.look_alike import expected_scores, look_alike
from ilhte_lib.model.fit_result import Fit
from ilhte_lib.model.response_matrix import matrix_statistics
from ilhte_lib.model.simulate import DESIGNS, SPURIOUS_INTERACTION, Design, draw_trial
from ilhte_lib.model.spec import MODELS
from ilhte_report.studies.computed import read_computed
from ilhte_report.studies.identification_figures import grid_figure, same_scores_figure, slider_figure, typical_effects
from ilhte_report.studies.identification_grid import (
    CELL,
    ESTIMATES,
    GAMMA,
    GRID,
    LIMITS,
    RHO,
    SEED,
    SIGMA_ZETA,
    grid_study,
    grid_summary,
)


def fitted(design: Design, model: str = "M_C") -> Fit:
    trial = draw_trial(design)
    return fit_statistics(matrix_statistics(trial.responses, trial.treat, trial.covariate), MODELS[model])


@pytest.fixture(scope="module")
def flexible() -> Fit:
    return fitted(Design(1000, 20, 7, sigma_zeta=0.6, rho=0.5, gamma=0.7, baseline_levels=21))


@pytest.fixture(scope="module")
def stored() -> tuple[pd.DataFrame, dict]:
    return read_computed("identification")


@pytest.fixture(scope="module")
def summary(stored) -> pd.DataFrame:
    return grid_summary(stored[0])


# -- closed form ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rho", "value"), [(0.8, -0.14), (-0.8, 0.06), (0.0, -0.05)])
def test_closed_form_has_its_known_values(rho, value):
    assert predicted_bias(0.7, 1.0, 0.8, rho) == pytest.approx(value, abs=0.005)


def test_closed_form_is_zero_where_the_spread_of_items_stays_the_same():
    assert predicted_bias(0.7, 1.3, 0.0, 0.4) == 0.0
    # sigma_b1 = sigma_b where 2 rho sigma_b = -sigma_zeta
    assert predicted_bias(0.7, 1.0, 0.8, -0.4) == pytest.approx(0.0, abs=1e-12)
    assert treated_spread(1.0, 1.0, -1.0) == 0.0


@pytest.mark.parametrize("spread", [0.3, 1.0, 2.0])
def test_attenuation_is_that_of_a_logistic_curve_averaged_over_items(spread):
    node, weight = np.polynomial.hermite_e.hermegauss(61)
    x = np.linspace(-6.0, 6.0, 121)
    averaged = expit(x[:, None] + spread * node) @ weight / weight.sum()
    # the normal curve that stands for the logistic one is within 0.0095 of it, and it is put in and taken out
    np.testing.assert_allclose(expit(attenuation(spread) * x), averaged, atol=2 * 0.0095)


def test_bias_of_a_fit_is_the_closed_form_at_its_estimates(flexible):
    value = predicted_bias(flexible.coefficient("cov"), flexible.sigma_b, flexible.sigma_zeta, flexible.rho)
    assert predicted_bias_of(flexible).value == pytest.approx(float(value), rel=1e-12)


def test_standard_error_of_the_bias_agrees_with_numerical_derivatives(flexible):
    names = ["cov", "l11", "l21", "l22"]
    at = [flexible.spec.psi_names.index(name) for name in names]
    here = np.array([flexible.coefficient("cov"), *flexible.item_factor[np.tril_indices(2)]])

    def bias(x: np.ndarray) -> float:
        gamma, l11, l21, l22 = x
        sigma_zeta = math.hypot(l21, l22)
        return float(predicted_bias(gamma, l11, sigma_zeta, l21 / sigma_zeta))

    step = 1e-5 * np.eye(4)
    slope = np.array([(bias(here + h) - bias(here - h)) / 2e-5 for h in step])
    expected = math.sqrt(slope @ flexible.vcov[np.ix_(at, at)] @ slope)
    assert predicted_bias_of(flexible).se == pytest.approx(expected, rel=1e-6)


def test_bias_without_item_effects_has_no_standard_error(flexible):
    none = replace(flexible, item_factor=np.array([[1.0, 0.0], [0.0, 0.0]]))
    assert predicted_bias_of(none).value == 0.0
    assert math.isnan(predicted_bias_of(none).se)


def test_bias_needs_item_effects_and_covariate():
    design = Design(200, 5, 3, gamma=0.5)
    with pytest.raises(ValueError, match="M_B"):
        predicted_bias_of(fitted(design, "M_B"))


# -- two processes, one pattern ------------------------------------------------------------------------------------


def test_expected_scores_are_the_means_of_simulated_ones():
    design = Design(40_000, 6, 11, sigma_zeta=0.7, rho=-0.5, gamma=0.8, beta_3=0.3, baseline_levels=3)
    trial = draw_trial(design)
    level = np.unique(trial.covariate)
    expected = expected_scores(design, level)
    score = trial.responses.mean(axis=1)
    for arm in (0, 1):
        for k, value in enumerate(level):
            group = score[(trial.treat == arm) & (trial.covariate == value)]
            assert abs(group.mean() - expected[arm, k]) < 4 * group.std() / math.sqrt(len(group))


def test_look_alike_has_the_same_scores_from_a_true_interaction():
    items = DESIGNS[SPURIOUS_INTERACTION]
    persons = look_alike(items)
    assert (persons.sigma_zeta, persons.seed, items.beta_3) == (0.0, items.seed, 0.0)
    assert persons.beta_3 > 0.1
    pretest = np.linspace(-3, 3, 25)
    ours, theirs = expected_scores(persons, pretest), expected_scores(items, pretest)
    np.testing.assert_allclose(ours[0], theirs[0], atol=1e-14)
    assert np.abs(ours[1] - theirs[1]).max() < 0.01
    without = expected_scores(replace(persons, beta_3=0.0), pretest)
    assert np.abs(without[1] - theirs[1]).max() > 0.03


# -- the grid ------------------------------------------------------------------------------------------------------


def test_grid_covers_what_it_should():
    none = [design for design in GRID if design.beta_3 == 0 and design.sigma_zeta > 0]
    values = [{getattr(design, name) for design in none} for name in ("sigma_zeta", "rho", "n_persons", "n_items")]
    assert [len(v) for v in values] == [4, 5, 2, 2]
    assert len(none) == math.prod(len(v) for v in values) >= 48
    assert all(design.treat_share == 0.5 and design.baseline_levels <= 21 for design in GRID)
    assert len(set(GRID)) == len(GRID)
    assert {design.seed for design in (*GRID, *LIMITS)} == {SEED}


def test_result_depends_neither_on_workers_nor_on_the_number_of_replications():
    designs = tuple(Design(60, 4, SEED, sigma_zeta=s, gamma=0.7, baseline_levels=5) for s in (0.0, 0.8))
    alone = grid_study(designs).simulate(8, workers=1)
    pd.testing.assert_frame_equal(alone, grid_study(designs).simulate(8, workers=2))
    pd.testing.assert_frame_equal(alone.iloc[:6], grid_study(designs).simulate(3, workers=1))
    again = grid_study(designs).replay([5]).iloc[0]
    pd.testing.assert_series_equal(again, alone.iloc[5], check_names=False)


def test_summary_of_a_hand_computed_case():
    row = {**dict.fromkeys(CELL, 0.0), "sigma_b": 1.0, "sigma_zeta": 0.8, "rho": 0.8}
    rows = [
        {**row, "beta3_b": b, "beta3_b_se": 0.1, "beta3_c": c, "beta3_c_se": 0.1, "predicted": 0, "predicted_se": 0}
        for b, c in ((-0.3, -0.1), (-0.1, 0.3), (0.0, 0.1), (np.nan, 0.9))
    ]
    (one,) = grid_summary(pd.DataFrame(rows)).to_dict("records")
    assert one["replications"] == 3
    assert one["bias_b"] == pytest.approx(-0.4 / 3)
    assert one["bias_c"] == pytest.approx(0.1)
    assert one["difference"] == pytest.approx(-0.7 / 3)
    assert one["bias_c_se"] == pytest.approx(0.2 / math.sqrt(3))
    assert (one["rejects_b"], one["rejects_c"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert one["closed_form"] == pytest.approx(float(predicted_bias(GAMMA, 1.0, 0.8, 0.8)))


@pytest.mark.parametrize(("name", "designs"), [("identification", GRID), ("identification_limits", LIMITS)])
def test_stored_trials_are_reproduced_from_the_seed(name, designs):
    rows, about = read_computed(name)
    assert about["seed"] == SEED
    assert set(about) >= {"command", "commit", "versions", "date", "replications"}
    assert len(rows) == about["replications"] * len(designs) and about["replications"] >= 200
    numbers = [0, len(designs) + 1, 7 * len(designs) - 2, len(rows) - len(designs)]
    now = grid_study(designs).replay(numbers)
    then = rows.iloc[numbers].reset_index(drop=True)
    assert list(then["replication"]) == numbers
    pd.testing.assert_frame_equal(now[CELL], then[CELL], check_dtype=False)
    # stored with 4 decimals; the last one may flip with another BLAS
    np.testing.assert_allclose(now[list(ESTIMATES)], then[list(ESTIMATES)], atol=1.5e-4)


def test_stored_grid_shows_the_problem_and_its_cure(summary):
    none = summary[summary["beta_3"] == 0]
    assert (none["replications"] >= 198).all()
    worst = none[(none["sigma_zeta"] == 0.8) & (none["rho"] == 0.8) & (none["n_persons"] == 2000)]
    assert (worst["rejects_b"] > 0.5).all()
    # over all cells some 17,000 tests: 5% within four standard errors, a little more for Wald tests
    assert none["rejects_c"].mean() == pytest.approx(0.05, abs=0.008)
    assert (none["bias_c"].abs() < 4.5 * none["bias_c_se"]).all()
    assert (none["difference"] - none["closed_form"]).abs().max() < 0.03
    assert np.corrcoef(none["difference"], none["closed_form"])[0, 1] > 0.97


# -- figures -------------------------------------------------------------------------------------------------------


def test_typical_items_have_the_spread_and_correlation_asked_for():
    b, zeta = typical_effects(0.6, -0.4)
    assert (b.std(), zeta.std()) == (pytest.approx(1.0), pytest.approx(0.6))
    assert np.corrcoef(b, zeta)[0, 1] == pytest.approx(-0.4)


def test_every_pair_of_slider_positions_shows_just_its_own_traces(summary):
    figure = slider_figure(summary)
    of_spread, of_rho = figure.layout.sliders
    assert [len(of_spread.steps), len(of_rho.steps)] == [1 + len(SIGMA_ZETA), len(RHO)]
    row = summary.set_index(["n_persons", "n_items", "beta_3", "sigma_zeta", "rho"])
    start = [(trace.visible, trace.opacity) for trace in figure.data]
    assert start == states(figure, of_spread.steps[of_spread.active], of_rho.steps[of_rho.active])
    for s, first in zip((0.0, *SIGMA_ZETA), of_spread.steps, strict=True):
        for r, second in zip(RHO, of_rho.steps, strict=True):
            state = states(figure, first, second)
            shown = [t for t, (visible, opacity) in zip(figure.data, state, strict=True) if visible and opacity == 1.0]
            assert len(shown) == 3
            cell = row.loc[(2000, 40, 0.0, s, r if s else 0.0)]
            assert list(shown[2].x) == pytest.approx([cell.bias_c, cell.bias_b, cell.closed_form], rel=1e-3, abs=1e-9)
            x = [value for value in shown[0].x if value is not None]
            assert np.std(x[1::2]) == pytest.approx(float(treated_spread(1.0, s, r)), abs=1e-3)


def states(figure, *steps) -> list[tuple[bool, float]]:
    """(visible, opacity) of every trace after Plotly's restyle calls of these slider steps."""
    now = [{"visible": trace.visible, "opacity": trace.opacity} for trace in figure.data]
    for step in steps:
        assert step.method == "restyle"
        (change, *where) = step.args
        for name, values in change.items():
            for k, value in zip(where[0] if where else range(len(now)), values, strict=True):
                now[k][name] = value
    return [(state["visible"], state["opacity"]) for state in now]


def test_figures_draw_every_cell_and_item(summary):
    drawn = sum(len(trace.x) for trace in grid_figure(summary).data if trace.mode == "markers")
    assert drawn == 2 * (summary["beta_3"] == 0).sum()
    items = DESIGNS[SPURIOUS_INTERACTION]
    lower = [t for t in same_scores_figure(look_alike(items), items).data if t.xaxis == "x2"]
    assert [len(trace.x) for trace in lower] == [items.n_items] * 2
    # the whole difference between the processes: item effects that fall with easiness, or hardly do
    persons_differ, items_differ = (np.polyfit(t.x, t.y, 1)[0] for t in lower)
    assert items_differ < -0.3 and abs(persons_differ) < 0.1


def test_what_the_page_says_of_the_grid_holds(summary):
    none = summary[summary["beta_3"] == 0]
    assert none["bias_b"].min() < -0.05 < 0.05 < none["bias_b"].max()
    assert none["bias_c"].abs().max() < 0.02 and abs(none["rejects_c"].mean() - 0.05) < 0.01
    few, many = (none[none["n_persons"] == n]["rejects_b"].max() for n in (500, 2000))
    assert many > few > 0.2
    assert (none["difference"] - none["closed_form"]).abs().max() < 0.02


# -- notebook ------------------------------------------------------------------------------------------------------


def test_notebook_is_committed_whole_and_small(project):
    import nbformat

    path = project / "notebooks" / "identification.ipynb"
    assert path.stat().st_size < 300_000
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert "parameters" in code[0].metadata["tags"]
    assert all(len(cell.source.splitlines()) < 10 for cell in code)
    outputs = [output for cell in code[1:] for output in cell.outputs]
    assert len(outputs) >= len(code) - 1
    assert {output.output_type for output in outputs} <= {"display_data", "execute_result"}
    figures = [o.data for o in outputs if "application/vnd.plotly.v1+json" in o.data]
    assert len(figures) == 4 and all(len(data["text/plain"]) > 80 for data in figures)
    assert str(project) not in path.read_text(encoding="utf-8")
