"""Trials pooled by their likelihoods: the surface, the model, the study, the command."""

from __future__ import annotations

import json
from html import unescape

import numpy as np
import pytest
from command_line import call, refusal
from scipy.optimize import minimize

from ilhte_lib.analysis import analyse_trial
from ilhte_lib.data.prepare import prepare
from ilhte_lib.engine.laplace import LaplaceDeviance
from ilhte_lib.engine.native import fit_statistics
from ilhte_lib.errors import InputError
from ilhte_lib.files import to_json
from ilhte_lib.inference.pool import MU, MU_SD, PRIOR, TAUS, X, Z, on_grid, pool
from ilhte_lib.inference.surface import Surface, surface
from ilhte_lib.model.response_matrix import matrix_statistics
from ilhte_lib.model.simulate import Design, draw_trial, simulate_trial
from ilhte_lib.model.spec import MODELS
from ilhte_report.run.folder import TableRow, open_run_folder
from ilhte_report.studies import pooling
from ilhte_report.studies.computed import read_computed


def fitted(design: Design):
    drawn = draw_trial(design)
    statistics = matrix_statistics(drawn.responses, drawn.treat)
    null = fit_statistics(statistics, MODELS["M_0"])
    return statistics, null, fit_statistics(statistics, MODELS["M_A"], smaller=null)


@pytest.fixture(scope="module")
def one():
    statistics, null, main = fitted(Design(300, 11, 7, sigma_zeta=0.4, rho=0.3))
    return statistics, null, main, surface(statistics, null, main)


# -- the surface ----------------------------------------------------------------------------------------------------


def restriction(deviance: LaplaceDeviance, psi: np.ndarray) -> float:
    """log det Cov(beta) of the normal model: persons' means with their errors, and the sampling of items."""
    deviance(psi)
    statistics = deviance.statistics
    variance = psi[2] ** 2 + 1.0 / deviance.row_weight
    design = np.column_stack([np.ones(len(variance)), statistics.arm])
    persons = np.linalg.inv(design.T @ (design * (statistics.count / variance)[:, None]))
    factor = np.array([[psi[3], 0.0], [psi[4], psi[5]]])
    return float(np.linalg.slogdet(persons + factor @ factor.T / statistics.n_items)[1])


def test_the_surface_is_the_constrained_maximum(one):
    """At several points, by another optimiser on the deviance itself and the restriction written out; what M_0 has, too."""
    statistics, null, main, found = one
    deviance = LaplaceDeviance(statistics, MODELS["M_A"])
    middle = int(np.argmin(np.abs(found.log_ratio - np.log(main.sigma_zeta / main.sigma_theta))))
    without = np.array([*null.psi, 0.0, 0.0])
    levels = [found.null + (null.deviance - restriction(deviance, without)) / 2.0]
    for row, column in ((middle, 2), (middle, 8), (middle - 2, 5), (middle + 1, 0)):
        ratio, angle = np.exp(found.log_ratio[row]), np.arcsin(found.rho[column])

        def psi(x, ratio=ratio, angle=angle):
            spread = ratio * x[2]
            return np.array([*x, spread * np.sin(angle), spread * np.cos(angle)])

        options = {"xatol": 1e-4, "fatol": 1e-5, "maxiter": 2000}
        best = minimize(
            lambda x, psi=psi: deviance(psi(x)).deviance, main.psi[:4], method="Nelder-Mead", options=options
        )
        level = (best.fun - restriction(deviance, psi(best.x))) / 2.0
        levels.append(found.loglik[row, column] + level)
    # constrained fits stop early (``surface.CLOSE``): a fortieth of a log-likelihood unit changes nothing that is pooled
    np.testing.assert_allclose(levels, levels[0], atol=0.025)


def test_the_surface_has_the_estimate_near_its_top_and_no_effects_at_its_foot(one):
    _, _, main, found = one
    grid = on_grid(found)
    row, column = np.unravel_index(grid.argmax(), grid.shape)
    assert grid.max() == pytest.approx(0.0, abs=0.05)
    # the restricted likelihood has a little more spread
    assert -0.06 < X[row] - np.log(main.sigma_zeta / main.sigma_theta) < 0.25
    assert np.tanh(Z[column]) == pytest.approx(main.rho, abs=0.1)
    # far down every rho is the same model
    np.testing.assert_allclose(grid[0], found.null, atol=0.1)
    assert (grid[-1] < -20).all()


def test_boundary_fits_have_surfaces():
    for seed in (3, 6, 11):
        statistics, null, main = fitted(Design(150, 8, seed, sigma_zeta=0.05))
        found = surface(statistics, null, main)
        assert np.isfinite(found.loglik).all() and found.loglik.max() <= 0.0
        assert len(found.log_ratio) >= 2 and on_grid(found).shape == (len(X), len(Z))


# -- the model --------------------------------------------------------------------------------------------------------


def normal_surface(x: float, z: float, sd_x: float, sd_z: float) -> Surface:
    """As if x and z were observed with normal noise."""
    log_ratio, angles = np.linspace(-6.9, 2.9, 99), np.linspace(-1.5706, 1.5706, 401)
    own = np.arctanh(np.clip(np.sin(angles), -1 + 1e-9, 1 - 1e-9))
    loglik = -0.5 * ((log_ratio[:, None] - x) / sd_x) ** 2 - 0.5 * ((own - z) / sd_z) ** 2
    return Surface(log_ratio, np.sin(angles), loglik, -200.0)


def test_normal_observations_give_the_textbook_answer():
    """With normal likelihoods the model is the normal-normal one, whose integrals over mu are known."""
    rng = np.random.default_rng(2)
    x, z = rng.normal(-1.0, 0.5, 12), rng.normal(0.3, 0.4, 12)
    sd_x, sd_z = rng.uniform(0.2, 0.4, 12), rng.uniform(0.2, 0.5, 12)
    found = pool([normal_surface(*values) for values in zip(x, z, sd_x, sd_z, strict=True)])
    for observed, noise, mean, centre, wide in (
        (x, sd_x, found.log_ratio, MU[0], MU_SD[0]),
        (z, sd_z, found.fisher_z, MU[1], MU_SD[1]),
    ):
        log_p, mu, var = [], [], []
        for tau in TAUS:
            w = 1.0 / (noise**2 + tau**2)
            all_w, all_observed = (
                np.append(w, wide**-2),
                np.append(observed, centre),
            )  # the prior as one more observation
            mu.append(all_w @ all_observed / all_w.sum())
            var.append(1.0 / all_w.sum())
            rest = (all_w * (all_observed - mu[-1]) ** 2).sum()
            loglik = 0.5 * np.log(w).sum() - 0.5 * rest - 0.5 * np.log(all_w.sum())
            log_p.append(loglik - 0.5 * (tau / PRIOR) ** 2)
        p = np.exp(np.array(log_p) - max(log_p)) * np.gradient(TAUS)
        p /= p.sum()
        expected = p @ np.array(mu)
        assert mean.mean == pytest.approx(expected, abs=5e-3)
        assert mean.se == pytest.approx(np.sqrt(p @ (np.array(var) + (np.array(mu) - expected) ** 2)), rel=0.03)
        assert mean.low < mean.mean < mean.high and mean.new_low < mean.low and mean.high < mean.new_high
    # the third trial, drawn towards the others
    assert min(x[2], found.log_ratio.mean) - 0.1 < np.log(found.trials[2].ratio) < max(x[2], found.log_ratio.mean) + 0.1


def test_trials_that_say_nothing_are_drawn_to_the_middle():
    flat = Surface(np.linspace(-3.9, 2.9, 20), np.sin(np.linspace(-np.pi / 2, np.pi / 2, 9)), np.zeros((20, 9)), 0.0)
    sure = [normal_surface(x, 0.5, 0.1, 0.1) for x in (-1.1, -1.0, -0.9, -1.0)]
    found = pool([*sure, flat], ["a", "b", "c", "d", "flat"])
    last = found.trials[-1]
    assert last.name == "flat"
    assert np.log(last.ratio) == pytest.approx(found.log_ratio.mean, abs=0.05)
    assert last.rho == pytest.approx(np.tanh(0.5), abs=0.06)
    assert last.ratio_low == pytest.approx(np.exp(found.log_ratio.new_low), rel=0.15)


def test_fewer_than_three_trials_are_not_pooled():
    with pytest.raises(InputError, match="at least 3"):
        pool([normal_surface(-1.0, 0.0, 0.3, 0.3)] * 2)


# -- the study --------------------------------------------------------------------------------------------------------


def test_the_study_replays():
    rows, about = read_computed("pooling")
    assert about["seed"] == pooling.SEED and list(rows.columns) == list(pooling.STUDY.names)
    np.testing.assert_allclose(
        pooling.STUDY.replay([1]).iloc[0].to_numpy(), rows.iloc[1].to_numpy(), rtol=1e-4, atol=1e-4
    )


def test_the_study_says_what_the_page_says():
    rows, _ = read_computed("pooling")
    found = pooling.summary(rows).set_index("finding")
    assert found.loc["rho_error_difference", "lower"] > 0.0  # pooled is closer to the truth
    for name in ("x_mean_covered", "z_mean_covered", "x_new_inside", "z_new_inside"):
        assert found.loc[name, "lower"] <= 0.95 <= found.loc[name, "upper"] + 0.03, name
    assert found.loc["singular", "value"] > 1.0  # there were boundary fits in it


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of four trials, its documents as a notebook writes them."""
    folder = tmp_path_factory.mktemp("run") / "mine"
    with open_run_folder(folder) as writer:
        names = []
        for seed in (1, 2, 3, 4):
            table, _ = simulate_trial(Design(150, 8, seed, rho=0.4))
            analysis = analyse_trial(prepare(table, f"trial_{seed}"), surface=seed < 4)
            row = TableRow(analysis.trial.tab, analysis.trial.tab, "fitted", None, 0.0, "key", "0")
            writer.store(row, to_json(analysis.document()), "{}")
            names.append(analysis.trial.tab)
        writer.finish(names, {"settings": {"profile": "full"}})
    return folder


def test_the_command_pools_a_run(run, tmp_path):
    out, page = tmp_path / "pooled.json", tmp_path / "pooled.html"
    done = call("pool", run, "--json", out, "--html", page)
    assert done.code == 0, done.err
    document = json.loads(out.read_text())
    assert [trial["name"] for trial in document["pool"]["trials"]] == ["trial_1", "trial_2", "trial_3"]
    assert document["left_out"] == ["trial_4"]
    for words in (
        "The spread of item effects is typically",
        "In a new trial, expect",
        "and left out: 'trial_4'",
        "Trial by trial",
    ):
        assert words in " ".join(done.out.split())
        assert words in unescape(page.read_text())
    surfaces = [
        Surface.of(json.loads((run / "fits" / f"trial_{k}.json").read_text())["inference"]["surface"])
        for k in (1, 2, 3)
    ]
    assert document["pool"]["log_ratio"]["mean"] == pytest.approx(pool(surfaces).log_ratio.mean)


def test_what_is_no_run_is_told_in_a_sentence(tmp_path):
    assert "run" in refusal(call("pool", tmp_path))
    assert "There is no run" in refusal(call("pool", "nowhere"))
