"""Fits side by side are the fits one by one."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from ilhte_lib.data.prepare import prepare
from ilhte_lib.data.trial import cluster_codes
from ilhte_lib.engine import native, side_by_side
from ilhte_lib.engine.laplace import LaplaceDeviance
from ilhte_lib.engine.native import fit_models, fit_side_by_side, fit_statistics
from ilhte_lib.engine.quadrature import QuadratureDeviance
from ilhte_lib.engine.quadrature_lanes import QuadratureLanes
from ilhte_lib.engine.side_by_side import Job
from ilhte_lib.engine.starts import rough_curvature
from ilhte_lib.errors import EngineError
from ilhte_lib.inference.bootstrap import PersonTable, _ParametricTask, _ResamplingTask
from ilhte_lib.inference.replicate import one_by_one, replicate_generator
from ilhte_lib.model.compress import complete_statistics
from ilhte_lib.model.response_matrix import matrix_statistics
from ilhte_lib.model.simulate import Design, draw_trial, simulate_trial
from ilhte_lib.model.spec import MODELS

DESIGNS = {
    "complete": Design(300, 16, 5),
    "missing, no effects": Design(250, 12, 6, missing=0.2, sigma_zeta=0.0),
    "ordered, missing": Design(200, 11, 7, steps=(-0.5, 0.1, 0.4), missing=0.1),
    "pretest": Design(150, 12, 8, gamma=0.7, baseline_levels=7, beta_3=0.2),
    "forms": Design(200, 15, 9, forms=3, rho=0.9),
    "clusters": Design(240, 11, 10, clusters=12, sigma_u=0.5),
    "sites, ordered": Design(220, 8, 11, clusters=9, sites=True, sigma_u=0.4, sigma_site=0.3, steps=(-0.4, 0.4)),
}


def tables(design: Design, number: int) -> list:
    drawn = [draw_trial(design, k) for k in range(number)]
    cluster = design.cluster if design.clusters else None
    return [
        matrix_statistics(
            t.responses, t.treat, t.covariate, formats=design.formats, cluster=cluster, cluster_effects=design.sites
        )
        for t in drawn
    ]


def same(ours, theirs) -> None:
    assert ours.deviance == pytest.approx(theirs.deviance, abs=1e-9)
    np.testing.assert_allclose(ours.psi, theirs.psi, atol=1e-9)
    np.testing.assert_allclose(ours.se, theirs.se, atol=1e-8)
    np.testing.assert_allclose(ours.ranef, theirs.ranef, atol=1e-9)
    assert (ours.singular, ours.converged, ours.evaluations) == (theirs.singular, theirs.converged, theirs.evaluations)


@pytest.mark.parametrize("name", DESIGNS)
def test_fits_side_by_side_are_those_one_by_one(name):
    small, large = ("M_B", "M_C") if DESIGNS[name].gamma else ("M_0", "M_A")
    drawn = tables(DESIGNS[name], 6)
    null = [fit_statistics(s, MODELS[small]) for s in drawn]
    main = [fit_statistics(s, MODELS[large], smaller=fit) for s, fit in zip(drawn, null, strict=True)]
    beside = fit_side_by_side([Job(s) for s in drawn], MODELS[small], standard_errors=True)
    # fewer lanes than tables: finished searches make room for others
    jobs = [Job(s, {small: fit}) for s, fit in zip(drawn, beside, strict=True)]
    again = fit_side_by_side(jobs, MODELS[large], standard_errors=True, lanes=4)
    for ours, theirs in zip([*beside, *again], [*null, *main], strict=True):
        same(ours, theirs)


def test_a_table_that_cannot_be_fitted_costs_the_others_nothing(monkeypatch):
    """The error stands in its place."""
    drawn = tables(DESIGNS["complete"], 3)
    really = native.fit_statistics

    def failing(statistics, spec, **more):
        if statistics is drawn[1]:
            raise EngineError("too far out")
        return really(statistics, spec, **more)

    monkeypatch.setattr(native, "fit_statistics", failing)
    found = fit_side_by_side([Job(s) for s in drawn], MODELS["M_0"])
    assert isinstance(found[1], EngineError) and found[0].converged and found[2].converged
    assert fit_side_by_side([], MODELS["M_0"]) == []


def test_a_mistake_in_a_search_is_raised(monkeypatch):
    monkeypatch.setattr(native, "fit_statistics", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fit_side_by_side([Job(s) for s in tables(DESIGNS["complete"], 2)], MODELS["M_0"])


def test_steps_that_must_be_shortened_and_searches_that_get_lost():
    """A start far out: the mode is looked for by itself, and a psi without one ends a search, not its neighbours."""
    drawn = tables(DESIGNS["complete"], 3)
    fits = fit_side_by_side([Job(s) for s in drawn], MODELS["M_0"])
    far = replace(fits[0], beta=np.array([9.0, -14.0]), sigma_theta=0.2)
    lost = replace(fits[0], beta=np.array([900.0, 0.0]))
    again = fit_side_by_side([Job(drawn[0], {"M_0": f}) for f in (far, lost, fits[0])], MODELS["M_0"])
    assert isinstance(again[1], EngineError)
    alone = fit_statistics(drawn[0], MODELS["M_0"], fitted={"M_0": far}, standard_errors=False)
    assert again[0].deviance == pytest.approx(alone.deviance, abs=1e-8)
    assert again[2].deviance == pytest.approx(fits[0].deviance, abs=1e-8)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"missing": 0.1},
        {"gamma": 0.7, "baseline_levels": 7},
        {"steps": (-0.4, 0.4)},
        {"clusters": 20, "sigma_u": 0.3},
        {"clusters": 10, "sites": True, "sigma_u": 0.4, "sigma_site": 0.2, "sigma_zeta": 0.0},
    ],
    ids=str,
)
def test_replicates_together_are_those_one_by_one(more):
    """Of the parametric bootstrap, with the parameters of a fit to start from."""
    (statistics,) = tables(replace(DESIGNS["complete"], **more), 1)
    name = "M_B" if statistics.covariate is not None else "M_0"
    task = _ParametricTask(statistics, fit_statistics(statistics, MODELS[name]))
    generators = [[replicate_generator(3, k) for k in range(5)] for _ in (0, 1)]
    np.testing.assert_allclose(task.together(generators[0]), one_by_one(task, generators[1]), atol=1e-7)


def test_persons_drawn_together_are_those_one_by_one():
    table, _ = simulate_trial(Design(150, 11, 4, gamma=0.7, baseline_levels=7, missing=0.1))
    trial = prepare(table.dropna(), "drawn")
    fits = fit_models(trial)
    unit = np.arange(trial.n_persons)
    task = _ResamplingTask(trial, fits, unit, [unit[trial.treat == t] for t in (0, 1)])
    generators = [[replicate_generator(3, k) for k in range(4)] for _ in (0, 1)]
    np.testing.assert_allclose(task.together(generators[0]), one_by_one(task, generators[1]), atol=1e-7)


@pytest.mark.parametrize(
    "design",
    [
        Design(120, 5, 4, gamma=0.7, baseline_levels=4),
        Design(90, 6, 5, missing=0.15, sigma_zeta=0.6),
        Design(100, 5, 6, steps=(-0.5, 0.5), missing=0.1, gamma=0.4, baseline_levels=3),
    ],
    ids=["two categories", "missing", "ordered"],
)
def test_persons_drawn_together_by_quadrature_are_those_one_by_one(design):
    trial = prepare(simulate_trial(design)[0].dropna(), "drawn")
    fits = fit_models(trial, method="aghq", nodes=11)
    unit = np.arange(trial.n_persons)
    task = _ResamplingTask(trial, fits, unit, [unit[trial.treat == t] for t in (0, 1)])
    generators = [[replicate_generator(3, k) for k in range(5)] for _ in (0, 1)]
    together = task.together(generators[0])
    np.testing.assert_allclose(together, one_by_one(task, generators[1]), rtol=1e-6, atol=1e-6)
    assert np.isfinite(together[:, 0]).all()


def test_lanes_of_quadrature_are_its_deviances(monkeypatch):
    """D, gradient, Hessian and first guess of it in every lane, also in one that has to be computed on its own."""
    drawn = tables(Design(90, 5, 7, steps=(-0.4, 0.4), missing=0.1), 3)
    together = side_by_side._Together(drawn, MODELS["M_A"], (9, QuadratureLanes))
    lanes = together._lanes(np.arange(3))
    psi = np.array([0.2, -0.3, 0.3, 1.1, 0.8, 0.2, 0.4]) + 0.05 * np.arange(3)[:, None]
    steps = np.full(psi.shape, 1e-4)
    for own in (False, True):
        if own:
            # steps that do not shrink
            lanes.w[1] = 60.0
        deviance, gradient = lanes.evaluate(psi, np.zeros(3))
        guess, hessian = side_by_side._curvatures(lanes, psi), lanes.hessian(psi, steps)
        for k, statistics in enumerate(drawn):
            alone = QuadratureDeviance(statistics, MODELS["M_A"], 9)
            there = alone(psi[k])
            assert deviance[k] == pytest.approx(there.deviance, abs=1e-8)
            np.testing.assert_allclose(gradient[k], there.gradient, atol=1e-5)
            np.testing.assert_allclose(guess[k], rough_curvature(alone, psi[k]), rtol=1e-6)
            free = np.arange(psi.shape[1])
            np.testing.assert_allclose(hessian[k], alone.hessian(there, steps[k], free), atol=2e-3)
    lost = psi.copy()
    lost[2, 3] = 1e5
    deviance, _ = lanes.evaluate(lost, np.zeros(3))
    assert np.isnan(deviance[2]) and np.isfinite(deviance[:2]).all()


@pytest.mark.parametrize("sites", [False, True])
def test_clusters_drawn_together_are_those_one_by_one(sites):
    """Draws differ in their numbers of clusters, since one drawn twice is two."""
    design = Design(160, 11, 4, gamma=0.7, baseline_levels=5, clusters=16, sigma_u=0.4, sites=sites)
    trial = prepare(simulate_trial(design)[0], "drawn")
    fits = fit_models(trial)
    unit = cluster_codes(trial.cluster)
    strata = [np.arange(16)] if sites else [np.unique(unit[trial.treat == t]) for t in (0, 1)]
    task = _ResamplingTask(trial, fits, unit, strata)
    generators = [[replicate_generator(3, k) for k in range(4)] for _ in (0, 1)]
    together = task.together(generators[0])
    np.testing.assert_allclose(together, one_by_one(task, generators[1]), atol=1e-7)
    assert np.isfinite(together[:, 0]).all() and len(np.unique(together[:, 0])) == 4


def test_a_replicate_goes_on_from_its_original():
    """One start, with the original's Hessian: half of the passes that a fit from scratch takes, and the same optimum."""
    trial = prepare(simulate_trial(Design(300, 8, 5))[0], "drawn")
    original = fit_models(trial)["M_A"]
    times = np.random.default_rng(1).multinomial(trial.n_persons, np.full(trial.n_persons, 1 / trial.n_persons))
    drawn = PersonTable(trial, covariate=False).weighted(times)
    afresh = fit_statistics(drawn, MODELS["M_A"], standard_errors=False)
    goes_on = fit_statistics(drawn, MODELS["M_A"], fitted={"M_A": original}, near=True, standard_errors=False)
    assert goes_on.deviance == pytest.approx(afresh.deviance, abs=1e-7)
    assert goes_on.passes < 0.5 * afresh.passes, (goes_on.passes, afresh.passes)
    # a fit to other data bounds nothing
    higher = replace(original, spec=MODELS["M_0"], loglik=0.0, n_persons=drawn.n_persons, n_responses=drawn.n_responses)
    again = fit_statistics(drawn, MODELS["M_A"], fitted={"M_0": higher}, near=True, standard_errors=False)
    assert again.deviance == pytest.approx(afresh.deviance, abs=1e-7)


@pytest.mark.parametrize("steps", [None, (-0.4, 0.4)])
def test_complete_responses_are_counted_as_they_are_sorted(steps):
    design = Design(80, 5, 3, steps=steps)
    drawn = draw_trial(design)
    ours = complete_statistics(tuple("12345"), drawn.treat, drawn.responses, design.formats)
    theirs = matrix_statistics(drawn.responses, drawn.treat, formats=design.formats)
    for name in ("count", "score", "item_total", "at_least"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    for name in ("n_control_classes", "n_persons", "n_responses", "trials", "item_names"):
        assert getattr(ours, name) == getattr(theirs, name)


def test_what_replicates_cost(monkeypatch):
    """Sweeps over the lanes, which is what time is spent on: fewer calls than two tables by themselves take, for 64."""
    swept: list[int] = []
    sweep = side_by_side._Lanes.sweep
    monkeypatch.setattr(side_by_side._Lanes, "sweep", lambda lanes: (swept.append(lanes.lanes), sweep(lanes))[1])
    (statistics,) = tables(Design(300, 16, 5), 1)
    null = fit_statistics(statistics, MODELS["M_0"])
    alone = []
    evaluate = LaplaceDeviance.__call__
    monkeypatch.setattr(LaplaceDeviance, "__call__", lambda d, psi: (alone.append(0), evaluate(d, psi))[1])
    task = _ParametricTask(statistics, null)
    task.together([replicate_generator(3, k) for k in range(64)])
    assert not alone, len(alone)
    # 182 calls, and 95 sweeps a replicate, with what idles beside the slowest
    assert len(swept) < 220 and sum(swept) < 110 * 64


def test_linear_algebra_that_fails_for_all_is_done_one_by_one(monkeypatch):
    """And no thread is left waiting."""
    drawn = tables(DESIGNS["complete"], 3)
    alone = fit_statistics(drawn[1], MODELS["M_0"], standard_errors=False)

    def singular(*_: object) -> None:
        raise np.linalg.LinAlgError("singular")

    monkeypatch.setattr(side_by_side, "_curvatures", singular)
    before = threading.active_count()
    found = fit_side_by_side([Job(s) for s in drawn], MODELS["M_0"])
    assert found[1].deviance == alone.deviance and threading.active_count() == before
