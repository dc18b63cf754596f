"""With many items the inverse of the items' block is LAPACK's, and with few persons items are eliminated before them: the same
numbers in fewer operations."""

from __future__ import annotations

import numpy as np
import pytest

import ilhte_lib.engine.modes as modes
from ilhte_lib.engine.laplace import LaplaceDeviance
from ilhte_lib.engine.modes import Model
from ilhte_lib.engine.wide import is_wide
from ilhte_lib.model.compress import sufficient_statistics
from ilhte_lib.model.simulate import Design, draw_trial
from ilhte_lib.model.spec import MODELS


@pytest.mark.parametrize("model", ["M_0", "M_A"])
def test_either_inverse_gives_the_same_numbers(model, monkeypatch):
    trial = draw_trial(Design(60, 110, 3))
    person, item = np.indices(trial.responses.shape).reshape(2, -1)
    names = tuple(f"i{k}" for k in range(110))
    statistics = sufficient_statistics(names, trial.treat.astype(int), person, item, trial.responses.ravel())

    def evaluated(by_lapack: int, items_first: bool):
        monkeypatch.setattr(modes, "BY_LAPACK", by_lapack)
        monkeypatch.setattr("ilhte_lib.engine.laplace.is_wide", lambda model: items_first)
        deviance = LaplaceDeviance(statistics, MODELS[model])
        psi = np.array([0.1, 0.2, 0.9, 1.1, *([0.1, 0.4] if model == "M_A" else [])])
        found = deviance(psi)
        steps, free = np.full(len(psi), 1e-3), np.arange(len(psi))
        hessian = deviance.hessian(found, steps, free)
        return found.deviance, found.gradient, deviance.item_covariances(), deviance._inverse_blocks(), hessian / 1e3

    for one, *others in zip(evaluated(100, False), evaluated(10**9, False), evaluated(100, True), strict=True):
        for other in others:
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("persons", "items", "model", "wide"), [
    (60, 110, "M_A", True), (60, 110, "M_0", True), (2000, 110, "M_A", False), (60, 40, "M_A", False), (120, 110, "M_0", True),
])  # fmt: skip
def test_which_are_eliminated_first(persons, items, model, wide):
    trial = draw_trial(Design(persons, items, 3))
    person, item = np.indices(trial.responses.shape).reshape(2, -1)
    names = tuple(f"i{k}" for k in range(items))
    statistics = sufficient_statistics(names, trial.treat.astype(int), person, item, trial.responses.ravel())
    assert is_wide(Model(statistics, MODELS[model])) == wide


def test_a_symmetric_inverse():
    a = np.random.default_rng(5).normal(size=(40, 20))
    matrix = a.T @ a + np.eye(20)
    found = modes._symmetric_inverse(np.asfortranarray(np.linalg.cholesky(matrix)))
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_allclose(found @ matrix, np.eye(20), atol=1e-12)
