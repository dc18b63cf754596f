"""With many items the inverse of the items' block is LAPACK's: the same numbers in fewer operations."""

from __future__ import annotations

import numpy as np
import pytest

import ilhte_lib.engine.modes as modes
from ilhte_lib.engine.laplace import LaplaceDeviance
from ilhte_lib.model.compress import sufficient_statistics
from ilhte_lib.model.simulate import Design, draw_trial
from ilhte_lib.model.spec import MODELS


@pytest.mark.parametrize("model", ["M_0", "M_A"])
def test_either_inverse_gives_the_same_numbers(model, monkeypatch):
    trial = draw_trial(Design(60, 110, 3))
    person, item = np.indices(trial.responses.shape).reshape(2, -1)
    names = tuple(f"i{k}" for k in range(110))
    statistics = sufficient_statistics(names, trial.treat.astype(int), person, item, trial.responses.ravel())

    def evaluated(by_lapack: int):
        monkeypatch.setattr(modes, "BY_LAPACK", by_lapack)
        deviance = LaplaceDeviance(statistics, MODELS[model])
        psi = np.array([0.1, 0.2, 0.9, 1.1, *([0.1, 0.4] if model == "M_A" else [])])
        found = deviance(psi)
        return found.deviance, found.gradient, deviance.item_covariances()

    for one, other in zip(evaluated(100), evaluated(10**9), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)


def test_a_symmetric_inverse():
    a = np.random.default_rng(5).normal(size=(40, 20))
    matrix = a.T @ a + np.eye(20)
    found = modes._symmetric_inverse(np.asfortranarray(np.linalg.cholesky(matrix)))
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_allclose(found @ matrix, np.eye(20), atol=1e-12)
