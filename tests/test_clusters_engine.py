"""Clusters in the engine: against a dense implementation, differences, and the engine without clusters."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from dense_laplace import Rows, dense_laplace
from drawn_rows import draw_psi, draw_rows

from ilhte_lib.engine.laplace import LaplaceDeviance
from ilhte_lib.model.compress import SufficientStatistics, sufficient_statistics
from ilhte_lib.model.formats import ItemFormats, StepForm
from ilhte_lib.model.spec import MODELS

DESIGNS = ("schools", "sites", "sites with effects")
KINDS = ("complete", "missing", "trials", "ordered")
CASES = list(product(DESIGNS, KINDS, ("M_0", "M_C")))


def rows_of(design: str, kind: str, covariate: bool, seed: int = 1) -> Rows:
    """A small trial in seven clusters: schools in one arm each, sites in both (one of them in one)."""
    rows = draw_rows(seed, "missing" if kind == "ordered" else kind, covariate=covariate)
    rng = np.random.default_rng(seed)
    cluster = rng.integers(0, 7, len(rows.treat))
    if design == "schools":
        cluster = np.where(rows.treat == 1, cluster % 4, 4 + cluster % 3)
    else:
        cluster[rows.treat == 1] %= 6
    cluster = np.unique(cluster, return_inverse=True)[1]
    resp = rows.resp
    if kind == "ordered":
        highest = 1 + rows.item % 3
        resp = np.minimum(rng.integers(0, 4, len(resp)), highest)
    return replace(rows, cluster=cluster, resp=resp)


def statistics_of(rows: Rows, effects: bool, ordered: bool) -> SufficientStatistics:
    names = tuple(f"q{k}" for k in range(rows.n_items))
    formats = ItemFormats(1 + np.arange(rows.n_items) % 3, StepForm.PARTIAL) if ordered else None
    return sufficient_statistics(
        names, rows.treat, rows.person, rows.item, rows.resp, rows.covariate, formats, rows.cluster, effects
    )


def workspace(design: str, kind: str, model: str) -> tuple[Rows, LaplaceDeviance]:
    rows = rows_of(design, kind, MODELS[model].covariate)
    return rows, LaplaceDeviance(statistics_of(rows, design == DESIGNS[2], kind == "ordered"), MODELS[model])


def psi_of(deviance: LaplaceDeviance, seed: int, m: tuple[float, ...] | None = None) -> np.ndarray:
    """A seeded psi with the given lower triangle of M."""
    spec, rng = deviance.spec, np.random.default_rng(seed)
    plain = draw_psi(seed, replace(spec, steps=(), cluster_factor=()))
    p = len(spec.beta_names)
    own = m if m is not None else (0.7, -0.3, 0.4)
    return np.array([*plain[:p], *rng.normal(0, 0.4, len(spec.steps)), *own[: len(spec.cluster_factor)], *plain[p:]])


@pytest.mark.parametrize(("design", "kind", "model"), CASES)
def test_equals_the_dense_implementation(design, kind, model):
    rows, deviance = workspace(design, kind, model)
    spec, c = deviance.spec, deviance.spec.cluster_q
    psi = psi_of(deviance, 3)
    beta, sigma, factor = deviance.unpack(psi)
    own = np.zeros((c, c))
    at = len(beta) + len(spec.steps)
    own[np.tril_indices(c)] = psi[at : at + len(spec.cluster_factor)]
    steps = None
    if kind == "ordered":
        formats = deviance.statistics.formats
        tau = formats.steps(psi[len(beta) : at])
        steps = [list(tau[i, : formats.highest[i]]) for i in range(rows.n_items)]
    dense = dense_laplace(rows, beta, sigma, factor, steps, own)
    assert deviance(psi).deviance == pytest.approx(dense.deviance, abs=1e-8)
    np.testing.assert_allclose(deviance.item_effects(), dense.item_effects, atol=1e-8)
    np.testing.assert_allclose(deviance.item_covariances(), dense.item_covariances, atol=1e-8)


@pytest.mark.parametrize(("design", "kind", "model"), CASES)
def test_gradient_hessian_and_item_derivatives_are_those_of_differences(design, kind, model):
    _, deviance = workspace(design, kind, model)
    for seed, m in ((4, None), (5, (0.0, 0.3, 0.0))):
        psi, step = psi_of(deviance, seed, m), 1e-3
        gradient = deviance(psi).gradient
        hessian = deviance.hessian(deviance(psi), np.full(len(psi), step), np.arange(len(psi)))
        moved = deviance.item_effect_derivatives()
        for k, unit in enumerate(np.eye(len(psi)) * step):
            values, slopes, items = [], [], []
            for side in (-2, -1, 1, 2):
                there = deviance(psi + side * unit)
                values.append(there.deviance)
                slopes.append(there.gradient)
                items.append(deviance.item_effects())
            by = np.array([1.0, -8.0, 8.0, -1.0]) / (12 * step)
            assert gradient[k] == pytest.approx(by @ values, abs=4e-7), deviance.spec.psi_names[k]
            # the package's differences are of second order: an error of step^2 times a third derivative
            np.testing.assert_allclose(hessian[k], by @ np.array(slopes), rtol=0, atol=5e-5 * np.abs(hessian).max())
            np.testing.assert_allclose(moved[:, :, k], np.einsum("k,kjq->jq", by, np.array(items)), rtol=0, atol=3e-6)
        assert np.abs(gradient).max() > 1.0


@pytest.mark.parametrize(("design", "kind", "model"), CASES)
def test_clusters_that_do_not_vary_are_the_model_without(design, kind, model):
    rows, deviance = workspace(design, kind, model)
    psi = psi_of(deviance, 6, (0.0, 0.0, 0.0))
    here = deviance(psi)
    without = LaplaceDeviance(statistics_of(replace(rows, cluster=None), False, kind == "ordered"), MODELS[model])
    kept = [k for k, name in enumerate(deviance.spec.psi_names) if name not in deviance.spec.cluster_factor]
    plain = without(psi[kept])
    assert here.deviance == pytest.approx(plain.deviance, abs=1e-10)
    np.testing.assert_allclose(here.gradient[kept], plain.gradient, rtol=0, atol=1e-8)
    np.testing.assert_allclose(deviance.item_covariances(), without.item_covariances(), rtol=0, atol=1e-10)


def test_blocks_change_nothing(monkeypatch):
    _, whole = workspace("sites with effects", "missing", "M_C")
    monkeypatch.setattr("ilhte_lib.engine.modes.BLOCK_CELLS", 30)
    _, parts = workspace("sites with effects", "missing", "M_C")
    psi = psi_of(whole, 7)
    a, b = whole(psi), parts(psi)
    assert a.deviance == pytest.approx(b.deviance, abs=1e-9)
    np.testing.assert_allclose(a.gradient, b.gradient, rtol=0, atol=1e-9)
