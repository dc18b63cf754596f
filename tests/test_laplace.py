"""The deviance against a dense implementation, its derivatives against differences."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from dense_laplace import dense_laplace
from drawn_rows import KINDS, compressed, draw_psi, draw_rows

from ilhte_lib.engine.laplace import LaplaceDeviance
from ilhte_lib.engine.objective import MODE_TOLERANCE, SEARCH_TOLERANCE, ModeNotFound
from ilhte_lib.model.spec import MODELS

CASES = [(kind, model) for kind, model in product(KINDS, MODELS)]
PLACES = ("inside", "inside too", "sigma = 0", "l11 = 0", "l22 = 0", "l21 = l22 = 0", "everything 0", "negative")


def workspace(kind: str, model: str, seed: int = 1, **design) -> LaplaceDeviance:
    spec = MODELS[model]
    return LaplaceDeviance(compressed(draw_rows(seed, kind, covariate=spec.covariate, **design)), spec)


def psi_at(place: str, spec) -> np.ndarray:
    """A seeded psi moved to one of PLACES."""
    psi = draw_psi(PLACES.index(place), spec)
    sigma = len(spec.beta_names)
    if place in ("sigma = 0", "everything 0"):
        psi[sigma] = 0.0
    if place in ("l11 = 0", "everything 0"):
        psi[sigma + 1] = 0.0
    if spec.item_effects and place in ("l21 = l22 = 0", "everything 0"):
        psi[-2] = 0.0
    if spec.item_effects and place in ("l22 = 0", "l21 = l22 = 0", "everything 0"):
        psi[-1] = 0.0
    if place == "negative":
        psi[sigma:] *= -1.0
    return psi


@pytest.fixture(params=["by elimination", "by dense matrices", "by eliminating items"])
def path(request, monkeypatch) -> None:
    """Each of the three ways to compute the deviance, whatever the table's size."""
    monkeypatch.setattr("ilhte_lib.engine.tiny.MOST_WORK", np.inf if request.param == "by dense matrices" else 0)
    if request.param == "by eliminating items":
        monkeypatch.setattr("ilhte_lib.engine.laplace.is_wide", lambda model: model.statistics.clusters is None)


def places_of(spec) -> list[str]:
    return [p for p in PLACES if spec.item_effects or "l2" not in p]


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize(("kind", "model"), CASES)
def test_equals_the_dense_implementation(kind, model):
    spec = MODELS[model]
    rows = draw_rows(1, kind, covariate=spec.covariate)
    deviance = LaplaceDeviance(compressed(rows), spec)
    for place in places_of(spec):
        psi = psi_at(place, spec)
        beta, sigma, factor = deviance.unpack(psi)
        dense = dense_laplace(rows, beta, sigma, factor)
        assert deviance(psi).deviance == pytest.approx(dense.deviance, abs=1e-9), place
        # the mode itself is known to the square of the last Newton step's size, 2e-5, times a curvature of order 1
        np.testing.assert_allclose(deviance.item_effects(), dense.item_effects, atol=1e-8)
        np.testing.assert_allclose(deviance.item_covariances(), dense.item_covariances, atol=1e-8)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize(("kind", "model"), CASES)
def test_gradient_against_five_point_differences(kind, model):
    # Truncation: halving the step from 0.03 on shrinks the error by 16, and at 0.03 it is at most 4e-2 on such tables,
    # so at 1e-3 at most 5e-8. Rounding and the mode's tolerance: 1e-10 in D, so 1.5e-10 / 1e-3. Together under 2e-7,
    # against entries of the gradient of 10 to 300.
    spec, step = MODELS[model], 1e-3
    deviance = workspace(kind, model)
    for place in places_of(spec):
        psi = psi_at(place, spec)
        gradient = deviance(psi).gradient
        numeric = np.empty_like(psi)
        for k, unit in enumerate(np.eye(len(psi)) * step):
            far = deviance(psi - 2 * unit).deviance - deviance(psi + 2 * unit).deviance
            near = deviance(psi + unit).deviance - deviance(psi - unit).deviance
            numeric[k] = (far + 8 * near) / (12 * step)
        assert np.abs(gradient).max() > 1.0
        np.testing.assert_allclose(gradient, numeric, rtol=0, atol=2e-7, err_msg=place)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize(("kind", "model"), CASES)
def test_a_rough_mode_leaves_the_deviance_exact(kind, model):
    spec = MODELS[model]
    exact, rough = workspace(kind, model), workspace(kind, model)
    rough.tolerance = SEARCH_TOLERANCE
    for place in places_of(spec):
        a, b = exact(psi_at(place, spec)), rough(psi_at(place, spec))
        # a last step of at most 1e-3 leaves the mode about its square from where it should be
        assert b.deviance == pytest.approx(a.deviance, abs=1e-8), place
        np.testing.assert_allclose(b.gradient, a.gradient, rtol=0, atol=1e-4, err_msg=place)
    assert rough.passes <= exact.passes
    # the same point again, more exactly: not the rough value kept
    rough.tolerance = MODE_TOLERANCE
    assert rough(b.psi).deviance == pytest.approx(a.deviance, abs=1e-10)


@pytest.mark.parametrize("model", MODELS)
def test_gradient_vanishes_at_zero_standard_deviations(model):
    spec = MODELS[model]
    deviance = workspace("complete", model)
    names = list(spec.psi_names)
    sigma = deviance(psi_at("sigma = 0", spec)).gradient[names.index("sigma_theta")]
    assert sigma == pytest.approx(0.0, abs=1e-12)
    if spec.item_effects:
        gradient = deviance(psi_at("l22 = 0", spec)).gradient
        assert gradient[names.index("l22")] == pytest.approx(0.0, abs=1e-12)
        # the covariance is no variance: leaving l21 = 0 is felt at first order
        assert abs(deviance(psi_at("l21 = l22 = 0", spec)).gradient[names.index("l21")]) > 0.01


@pytest.mark.parametrize("model", MODELS)
def test_even_in_sigma_and_in_each_column_of_the_factor(model):
    spec = MODELS[model]
    deviance = workspace("missing", model)
    psi = draw_psi(3, spec)
    value = deviance(psi).deviance
    sigma = len(spec.beta_names)
    columns = [[sigma], [sigma + 1, sigma + 2], [sigma + 3]] if spec.item_effects else [[sigma], [sigma + 1]]
    for column in columns:
        turned = psi.copy()
        turned[column] *= -1.0
        assert deviance(turned).deviance == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize(("kind", "model"), CASES)
def test_hessian_against_differences_of_full_gradients(kind, model):
    spec = MODELS[model]
    deviance = workspace(kind, model)
    free = np.arange(len(spec.psi_names))
    for place in ("inside", "l22 = 0"):
        psi = psi_at(place, spec)
        steps = np.full(len(psi), 1e-3)
        hessian = deviance.hessian(deviance(psi), steps, free)
        numeric = np.empty_like(hessian)
        for k, unit in enumerate(np.eye(len(psi)) * 1e-3):
            far = deviance(psi - 2 * unit).gradient - deviance(psi + 2 * unit).gradient
            near = deviance(psi + unit).gradient - deviance(psi - unit).gradient
            numeric[k] = (far + 8 * near) / 12e-3
        # the package's differences are of second order: an error of step^2 times a third derivative, here a few units
        np.testing.assert_allclose(hessian, (numeric + numeric.T) / 2, rtol=0, atol=1e-5 * np.abs(numeric).max())
        np.testing.assert_array_equal(hessian, hessian.T)


def test_hessian_of_some_parameters_is_that_block_of_the_whole():
    deviance = workspace("complete", "M_A")
    psi, steps = psi_at("l22 = 0", MODELS["M_A"]), np.full(6, 1e-3)
    whole = deviance.hessian(deviance(psi), steps, np.arange(6))
    some = np.array([0, 1, 3])
    # the two searches for the mode end 1e-10 apart
    np.testing.assert_allclose(deviance.hessian(deviance(psi), steps, some), whole[np.ix_(some, some)], rtol=1e-8)


@pytest.mark.parametrize(("kind", "model"), CASES)
def test_item_effect_derivatives_against_differences(kind, model):
    spec, step = MODELS[model], 1e-3
    deviance = workspace(kind, model)
    for place in ("inside", "l22 = 0", "sigma = 0"):
        psi = psi_at(place, spec)
        deviance(psi)
        derivatives = deviance.item_effect_derivatives()
        assert derivatives.shape == (6, spec.q, len(psi))
        for k, unit in enumerate(np.eye(len(psi)) * step):
            effects = []
            for move in (-2, -1, 1, 2):
                deviance(psi + move * unit)
                effects.append(deviance.item_effects())
            numeric = (effects[0] - 8 * effects[1] + 8 * effects[2] - effects[3]) / (12 * step)
            # the modes are known to about 1e-9 (see above), divided by the step
            np.testing.assert_allclose(derivatives[:, :, k], numeric, rtol=0, atol=2e-6, err_msg=spec.psi_names[k])


@pytest.mark.parametrize("model", ["M_0", "M_C"])
def test_the_value_does_not_depend_on_where_the_mode_search_starts(model):
    spec = MODELS[model]
    psi = draw_psi(5, spec)
    cold = workspace("complete", model)(psi)
    for other in (draw_psi(6, spec), psi + 0.01):
        warm = workspace("complete", model)
        warm(other)
        again = warm(psi)
        assert again.deviance == pytest.approx(cold.deviance, abs=1e-9)
        np.testing.assert_allclose(again.gradient, cold.gradient, atol=1e-7)


def test_a_point_far_out_is_refused_and_leaves_the_workspace_usable():
    spec = MODELS["M_A"]
    deviance = workspace("complete", "M_A")
    psi = draw_psi(7, spec)
    before = deviance(psi).deviance
    far = psi.copy()
    far[0] = 1e5
    with pytest.raises(ModeNotFound):
        deviance(far)
    with pytest.raises(ModeNotFound):
        deviance(np.full(6, np.nan))
    assert deviance(psi).deviance == pytest.approx(before, abs=1e-9)


def test_extreme_but_usable_points_are_finite():
    deviance = workspace("complete", "M_A")
    for psi in (
        [0, 0, 30.0, 1, 0, 1],
        [20.0, 0, 1, 1, 0, 1],
        [0, 0, 1, 20.0, -20.0, 5.0],
        [-9.0, 9.0, 1e-8, 1e-8, 0, 1e-8],
    ):
        evaluation = deviance(np.array(psi, float))
        assert np.isfinite(evaluation.deviance) and np.isfinite(evaluation.gradient).all()
