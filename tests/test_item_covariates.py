"""Item covariates in the engine: the deviance, its gradient, what z = 0 leaves, and lme4's fits."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from dense_laplace import dense_laplace
from drawn_rows import KINDS, compressed, draw_psi, draw_rows

from ilhte_lib.data.prepare import prepare
from ilhte_lib.data.read import read_table
from ilhte_lib.engine.laplace import LaplaceDeviance
from ilhte_lib.engine.native import fit_models, fit_statistics
from ilhte_lib.engine.quadrature import QuadratureDeviance
from ilhte_lib.model.compress import sufficient_statistics
from ilhte_lib.model.formats import ItemFormats
from ilhte_lib.model.item_types import ItemCovariate, coded, explained
from ilhte_lib.model.spec import MODELS

NAMES = ("z1", "z2")
CASES = [(kind, model, moderation) for kind, model, moderation in product(KINDS, ("M_0", "M_A", "M_C"), (False, True))]


def z_of(n_items: int, seed: int = 3) -> np.ndarray:
    z = np.random.default_rng(seed).standard_normal((n_items, len(NAMES)))
    return z - z.mean(axis=0)


def drawn(kind: str, model: str, moderation: bool):
    """Rows, sufficient statistics with z, and the model with item covariates."""
    rows = draw_rows(1, kind, covariate=MODELS[model].covariate)
    statistics = replace(compressed(rows), item_covariates=z_of(rows.n_items))
    return rows, statistics, explained(MODELS[model], NAMES, moderation)


@pytest.mark.parametrize(("kind", "model", "moderation"), CASES)
def test_equals_the_dense_implementation(kind, model, moderation):
    rows, statistics, spec = drawn(kind, model, moderation)
    deviance, psi = LaplaceDeviance(statistics, spec), draw_psi(5, spec)
    beta, sigma, factor = deviance.unpack(psi)
    n_persons = len(MODELS[model].beta_names)
    gamma, delta = beta[n_persons : n_persons + 2], beta[n_persons + 2 :] if moderation else np.zeros(2)
    z = statistics.item_covariates
    dense = dense_laplace(
        rows, beta[:n_persons], sigma, factor, item_offsets=np.array([z @ gamma, z @ (gamma + delta)])
    )
    assert deviance(psi).deviance == pytest.approx(dense.deviance, abs=1e-9)
    np.testing.assert_allclose(deviance.item_effects(), dense.item_effects, atol=1e-8)


def differences(deviance, psi: np.ndarray, step: float = 1e-3) -> np.ndarray:
    """The gradient by five-point differences."""
    numeric = np.empty_like(psi)
    for k, unit in enumerate(np.eye(len(psi)) * step):
        far = deviance(psi - 2 * unit).deviance - deviance(psi + 2 * unit).deviance
        near = deviance(psi + unit).deviance - deviance(psi - unit).deviance
        numeric[k] = (far + 8 * near) / (12 * step)
    return numeric


@pytest.mark.parametrize(("kind", "model", "moderation"), CASES)
def test_gradient_against_five_point_differences(kind, model, moderation):
    # rounding and truncation as in test_laplace, at a place inside and where no item has an effect of its own
    _, statistics, spec = drawn(kind, model, moderation)
    deviance = LaplaceDeviance(statistics, spec)
    inside, edge = draw_psi(5, spec), draw_psi(6, spec)
    edge[-2 if spec.item_effects else -1 :] = 0.0
    for psi in (inside, edge):
        gradient = deviance(psi).gradient
        assert np.abs(gradient).max() > 1.0
        np.testing.assert_allclose(gradient, differences(deviance, psi), rtol=0, atol=2e-7)


@pytest.mark.parametrize("moderation", [False, True])
def test_gradient_of_ordered_categories(moderation):
    rng, n_items = np.random.default_rng(2), 5
    formats = ItemFormats(np.array([3, 3, 2, 1, 3]))
    treat = np.repeat([0, 1], 25)
    person, item = np.divmod(np.arange(50 * n_items), n_items)
    eta = 0.4 * treat[person] + rng.standard_normal(50)[person] + 0.7 * rng.standard_normal(n_items)[item]
    resp = formats.draw(item, eta, np.zeros(len(formats.names)), rng)
    names = tuple(f"q{k}" for k in range(n_items))
    statistics = replace(
        sufficient_statistics(names, treat, person, item, resp, formats=formats), item_covariates=z_of(n_items)
    )
    spec = explained(MODELS["M_A"], NAMES, moderation).of_items(formats)
    deviance = LaplaceDeviance(statistics, spec)
    psi = draw_psi(8, replace(spec, steps=()))
    at = len(spec.beta_names)
    psi = np.concatenate([psi[:at], 0.3 * rng.standard_normal(len(spec.steps)), psi[at:]])
    gradient = deviance(psi).gradient
    assert np.abs(gradient[at - 2 : at]).max() > 0.5
    np.testing.assert_allclose(gradient, differences(deviance, psi), rtol=0, atol=2e-7)


def test_gradient_of_the_quadrature():
    _, statistics, spec = drawn("missing", "M_A", True)
    for nodes in (7, 31):
        deviance, psi = QuadratureDeviance(statistics, spec, nodes), draw_psi(5, spec)
        gradient = deviance(psi).gradient
        np.testing.assert_allclose(gradient, differences(deviance, psi), rtol=0, atol=2e-6)


@pytest.mark.parametrize("model", MODELS)
def test_z_of_zero_is_the_model_without(model, monkeypatch):
    monkeypatch.setattr("ilhte_lib.engine.tiny.MOST_WORK", 0)
    rows, statistics, spec = drawn("missing", model, True)
    nothing = replace(statistics, item_covariates=np.zeros_like(statistics.item_covariates))
    plain, beside = LaplaceDeviance(compressed(rows), MODELS[model]), LaplaceDeviance(nothing, spec)
    psi = draw_psi(5, spec)
    at = len(MODELS[model].beta_names)
    kept = np.r_[0:at, at + spec.n_item_coefficients : len(psi)]
    a, b = plain(psi[kept]), beside(psi)
    assert b.deviance == pytest.approx(a.deviance, abs=1e-10)
    np.testing.assert_allclose(b.gradient[kept], a.gradient, rtol=0, atol=1e-10)
    assert not b.gradient[at : at + spec.n_item_coefficients].any()


def test_mode_derivative_moves_with_the_item_covariates():
    _, statistics, spec = drawn("trials", "M_A", True)
    deviance, psi = LaplaceDeviance(statistics, spec), draw_psi(5, spec)
    deviance(psi)
    exact, step = deviance.item_effect_derivatives(), 1e-4
    for k, unit in enumerate(np.eye(len(psi)) * step):
        up, down = (LaplaceDeviance(statistics, spec) for _ in range(2))
        up(psi + unit), down(psi - unit)
        numeric = (up.item_effects() - down.item_effects()) / (2 * step)
        np.testing.assert_allclose(exact[:, :, k], numeric, atol=1e-6)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("reference", "table", "type_of"),
    [
        ("verbagg_gender", "data/tables/verbagg_gender.csv.gz", None),
        ("caffeine_anxiety_binary", "reference/extended/caffeine_anxiety_itemcov.csv.gz", "x_item"),
    ],
)
def test_not_below_lme4(shared, reference, table, type_of):
    goldens = json.loads((shared / f"reference/extended/lme4_itemcov_{reference}.json").read_text())["models"]
    rows = read_table(shared / table)
    trial = prepare(rows)
    by_name = {name: float("do" in name.lower()) for name in trial.item_names}
    if type_of is not None:
        by_name = rows.groupby("item")[type_of].first().to_dict()
    names, z = coded([ItemCovariate("x_item", tuple(float(by_name[name]) for name in trial.item_names))])
    statistics = replace(trial.sufficient_statistics(False), item_covariates=z)
    fits = fit_models(trial, ["M_0", "M_A"])
    for base, golden in (("M_0", goldens["I_0"]), ("M_A", goldens["I_A"])):
        fit = fit_statistics(statistics, explained(MODELS[base], names, True), fitted=fits)
        assert fit.converged
        assert fit.loglik >= golden["logLik"] - 1e-4
        assert fit.loglik == pytest.approx(golden["logLik"], abs=2e-3)
        assert fit.coefficient("treat:x_item") == pytest.approx(golden["beta"]["treat:x_item"], abs=2e-3)
        assert fit.item_cov == pytest.approx(np.array(golden["item_cov"]), abs=5e-3)
        if reference == "verbagg_gender" and base == "M_A":
            # glmmTMB's fit, of which lme4's falls .0005 short
            assert fit.loglik == pytest.approx(-4078.8728, abs=1e-4)
            assert fit.coefficient("treat:x_item") == pytest.approx(0.8230, abs=1e-4)
            assert fit.standard_error("treat:x_item") == pytest.approx(0.161, abs=5e-4)
            assert fit.sigma_zeta == pytest.approx(0.209, abs=5e-4)


@pytest.mark.parametrize("effects", [False, True])
def test_gradient_with_clusters(effects):
    rows = draw_rows(1, "missing")
    cluster = np.arange(len(rows.treat)) // 8
    names = tuple(f"q{k}" for k in range(rows.n_items))
    statistics = sufficient_statistics(
        names, rows.treat, rows.person, rows.item, rows.resp, cluster=cluster, cluster_effects=effects
    )
    statistics = replace(statistics, item_covariates=z_of(rows.n_items))
    spec = explained(MODELS["M_A"], NAMES, True).of_clusters(statistics.clusters)
    psi = draw_psi(5, replace(spec, cluster_factor=()))
    at = len(spec.beta_names)
    psi = np.concatenate([psi[:at], [0.6, 0.2, 0.4][: len(spec.cluster_factor)], psi[at:]])
    deviance = LaplaceDeviance(statistics, spec)
    np.testing.assert_allclose(deviance(psi).gradient, differences(deviance, psi), rtol=0, atol=2e-7)
