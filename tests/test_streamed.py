"""Many classes of persons: the deviance without kept cells against the one that keeps them, and persons condensed to a few values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ilhte_lib.engine import condensed, modes, native
from ilhte_lib.engine.laplace import LaplaceDeviance, StreamedDeviance, laplace_deviance
from ilhte_lib.engine.native import fit_statistics
from ilhte_lib.engine.objective import ModeNotFound
from ilhte_lib.engine.streamed import Stream
from ilhte_lib.model.compress import SufficientStatistics, classes
from ilhte_lib.model.formats import ItemFormats, StepForm
from ilhte_lib.model.item_types import explained
from ilhte_lib.model.packed import PackedTrials
from ilhte_lib.model.response_matrix import matrix_statistics
from ilhte_lib.model.spec import MODELS

PSI = {
    "M_0": [0.1, 0.2, 0.9, 1.0],
    "M_A": [0.1, 0.2, 0.9, 1.0, -0.1, 0.3],
    "M_B": [0.1, 0.2, 0.3, 0.1, 0.9, 1.0],
    "M_C": [0.1, 0.2, 0.3, 0.1, 0.9, 1.0, -0.1, 0.3],
}


def drawn(missing: float, n_persons: int = 900) -> SufficientStatistics:
    rng = np.random.default_rng(7)
    treat, x = np.arange(n_persons) % 2, rng.normal(size=n_persons)
    easiness, effect = rng.normal(size=11), 0.3 * rng.normal(size=11)
    eta = rng.normal(size=(n_persons, 1)) + 0.4 * x[:, None] + easiness + treat[:, None] * effect
    answered = rng.random(eta.shape) >= missing
    right = answered & (rng.random(eta.shape) < 1 / (1 + np.exp(-eta)))
    total = np.array([right[treat == arm].sum(axis=0) for arm in (0, 1)], float)
    trials = PackedTrials(np.packbits(answered, axis=1), 11)
    names = tuple(f"q{k}" for k in range(11))
    return classes(names, treat, right.sum(axis=1), trials, x, total, int(answered.sum()))


def both(statistics: SufficientStatistics, model: str, monkeypatch) -> tuple[LaplaceDeviance, StreamedDeviance]:
    """With cells kept and at exact modes, and without."""
    trials = statistics.trials
    kept = replace(statistics, trials=None if trials is None else trials @ np.eye(11))
    exact = LaplaceDeviance(kept, MODELS[model])
    exact.tolerance = 1e-9
    monkeypatch.setattr(modes, "KEPT_CELLS", 1000)
    monkeypatch.setattr(modes, "LARGE_BLOCK", 2000)
    streamed = laplace_deviance(statistics, MODELS[model])
    assert isinstance(streamed, StreamedDeviance)
    streamed.start_modes(np.zeros(11))
    return exact, streamed


@pytest.mark.parametrize("missing", [0.0, 0.15])
@pytest.mark.parametrize("model", PSI)
def test_the_same_deviance_gradient_and_curvature(model, missing, monkeypatch):
    exact, streamed = both(drawn(missing), model, monkeypatch)
    here = np.array(PSI[model])
    moves = np.random.default_rng(1).normal(size=(2, len(here)))
    for psi in (here, here + 0.02 * moves[0], here + 0.3 * moves[1]):
        monkeypatch.setattr(modes, "KEPT_CELLS", 10**9)
        known = exact(psi)
        monkeypatch.setattr(modes, "KEPT_CELLS", 1000)
        found = streamed(psi)
        assert streamed._followed
        assert found.deviance == pytest.approx(known.deviance, rel=1e-13)
        np.testing.assert_allclose(found.gradient, known.gradient, rtol=0, atol=1e-5)
    everything, steps = np.arange(len(here)), np.full(len(here), 1e-4)
    hessian = streamed.hessian(found, steps, everything)
    derivatives, covariances = streamed.item_effect_derivatives(), streamed.item_covariances()
    monkeypatch.setattr(modes, "KEPT_CELLS", 10**9)
    scale = np.abs(known.gradient).max() + np.abs(hessian).max()
    np.testing.assert_allclose(hessian, exact.hessian(known, steps, everything), rtol=0, atol=3e-5 * scale)
    np.testing.assert_allclose(derivatives, exact.item_effect_derivatives(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(covariances, exact.item_covariances(), rtol=0, atol=1e-8)
    np.testing.assert_allclose(streamed.item_effects(), exact.item_effects(), rtol=0, atol=1e-7)


def test_with_covariates_of_items(monkeypatch):
    z = np.random.default_rng(2).normal(size=(11, 1))
    statistics = replace(drawn(0.15), item_covariates=z - z.mean())
    spec = explained(MODELS["M_A"], ("z",), True)
    exact = LaplaceDeviance(replace(statistics, trials=statistics.trials @ np.eye(11)), spec)
    exact.tolerance = 1e-9
    psi = np.array([0.1, 0.2, 0.3, -0.1, 0.9, 1.0, -0.1, 0.3])
    known = exact(psi)
    monkeypatch.setattr(modes, "KEPT_CELLS", 1000)
    streamed = laplace_deviance(statistics, spec)
    streamed.start_modes(np.zeros(11))
    found = streamed(psi)
    assert streamed._followed and found.deviance == pytest.approx(known.deviance, rel=1e-13)
    np.testing.assert_allclose(found.gradient, known.gradient, rtol=0, atol=1e-5)


def test_a_neighbouring_point_takes_two_passes(monkeypatch):
    _, streamed = both(drawn(0.15), "M_A", monkeypatch)
    psi = np.array(PSI["M_A"])
    streamed(psi)
    before = streamed.passes
    streamed(psi + 1e-3)
    assert streamed.passes - before <= 2
    streamed(psi + 1e-3 + 1e-6)
    assert streamed.passes - before <= 3


def test_where_newton_alone_does_not_lead_there_it_is_damped(monkeypatch):
    exact, streamed = both(drawn(0.15), "M_A", monkeypatch)

    def failing(*_: object, **__: object) -> None:
        raise ModeNotFound("not today")

    monkeypatch.setattr(Stream, "pass_over", failing)
    psi = np.array(PSI["M_A"])
    found, effects = streamed(psi), streamed.item_effect_derivatives()
    monkeypatch.setattr(modes, "KEPT_CELLS", 10**9)
    assert found.deviance == pytest.approx(exact(psi).deviance, rel=1e-12)
    np.testing.assert_allclose(effects, exact.item_effect_derivatives(), rtol=0, atol=1e-6)


def test_only_tables_of_many_plain_cells_are_streamed(monkeypatch):
    statistics = drawn(0.15)
    assert type(laplace_deviance(statistics, MODELS["M_A"])) is LaplaceDeviance
    monkeypatch.setattr(modes, "KEPT_CELLS", 1000)
    twice = replace(statistics, trials=2.0 * (statistics.trials @ np.eye(11)))
    assert type(laplace_deviance(twice, MODELS["M_A"])) is LaplaceDeviance


# -- a continuous covariate where nothing is missing --------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["normal", "heavy tails", "ordered"])
def test_persons_of_one_score_are_condensed_exactly(shape, monkeypatch):
    rng = np.random.default_rng(5)
    treat, x = np.arange(9000) % 2, rng.normal(size=9000) if shape != "heavy tails" else rng.standard_t(2, size=9000)
    x = (x - x.mean()) / x.std()
    eta = rng.normal(size=(9000, 1)) + 0.6 * x[:, None] + rng.normal(size=8) + 0.3 * treat[:, None] * rng.normal(size=8)
    scores = (rng.random(eta.shape) < 1 / (1 + np.exp(-eta))).astype(int)
    if shape == "ordered":
        scores += rng.random(eta.shape) < 0.5 / (1 + np.exp(-eta))
    formats = ItemFormats(np.full(8, 2), StepForm.RATING) if shape == "ordered" else None
    statistics = matrix_statistics(scores, treat, x, formats=formats)
    monkeypatch.setattr(condensed, "KEPT_CELLS", 1000)
    assert condensed.worth_condensing(statistics)
    few, fewer = condensed.condensed(statistics)
    assert not condensed.worth_condensing(few) and len(fewer.count) < len(few.count) < 9000 / 4
    for moment in range(4):
        wanted = statistics.count @ statistics.covariate**moment
        assert few.count @ few.covariate**moment == pytest.approx(wanted, rel=1e-10, abs=1e-8)
    there = fit_statistics(statistics, MODELS["M_C"])
    monkeypatch.setattr(condensed, "KEPT_CELLS", 10**9)
    here = fit_statistics(statistics, MODELS["M_C"])
    assert here.converged and there.converged and there.n_persons == 9000
    assert there.loglik == pytest.approx(here.loglik, abs=1e-8)
    np.testing.assert_allclose(there.psi, here.psi, rtol=0, atol=1e-7)
    np.testing.assert_allclose(there.se, here.se, rtol=1e-6)


def test_what_fewer_values_do_not_give_is_fitted_to_all(monkeypatch):
    statistics = drawn(0.0, 4000)
    monkeypatch.setattr(condensed, "KEPT_CELLS", 1000)
    monkeypatch.setattr(native, "SAME", -1.0)
    monkeypatch.setattr(
        native, "laplace_deviance", lambda s, spec: seen.append(s.n_classes) or LaplaceDeviance(s, spec)
    )
    seen: list[int] = []
    fit_statistics(statistics, MODELS["M_B"], standard_errors=False)
    assert seen == [min(seen), statistics.n_classes]
