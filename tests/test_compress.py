"""Compression loses nothing, and depends on nothing it should not."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from drawn_rows import KINDS, compressed, draw_psi, draw_rows, psi_of, uncompressed

from ilhte_lib.engine.laplace import LaplaceDeviance
from ilhte_lib.engine.native import fit_statistics
from ilhte_lib.model.compress import sufficient_statistics
from ilhte_lib.model.spec import MODELS


@pytest.mark.parametrize(("kind", "model"), list(product(KINDS, MODELS)))
def test_compressed_equals_one_class_a_person(kind, model):
    spec = MODELS[model]
    rows = draw_rows(11, kind, n_persons=600, n_items=4, covariate=spec.covariate)
    few, many = compressed(rows), uncompressed(rows)
    assert few.n_classes < many.n_classes
    psi = draw_psi(12, spec)
    a, b = LaplaceDeviance(few, spec)(psi), LaplaceDeviance(many, spec)(psi)
    assert a.deviance == pytest.approx(b.deviance, abs=1e-9)
    np.testing.assert_allclose(a.gradient, b.gradient, rtol=0, atol=1e-9 * np.abs(a.gradient).max())
    one, two = fit_statistics(few, spec), fit_statistics(many, spec)
    assert one.loglik == pytest.approx(two.loglik, abs=1e-9)
    assert one.singular == two.singular
    # the optimum is flat: 1e-9 in the log-likelihood leaves about 1e-5 SE in psi
    free = ~np.isnan(np.diagonal(one.vcov))
    se = np.sqrt(np.diagonal(one.vcov))[free]
    np.testing.assert_allclose(psi_of(one)[free] / se, psi_of(two)[free] / se, rtol=0, atol=1e-4)


def test_complete_data_have_at_most_one_class_per_arm_and_score():
    rows = draw_rows(13, n_persons=3000, n_items=7)
    statistics = compressed(rows)
    assert statistics.n_classes <= 2 * (7 + 1)
    assert statistics.trials is None and statistics.covariate is None
    assert statistics.count.sum() == statistics.n_persons == 3000
    assert statistics.n_responses == 21000
    assert statistics.count @ statistics.score == statistics.item_total.sum() == rows.resp.sum()
    control = statistics.arm == 0
    assert statistics.count[control].sum() == 1500 and not control[statistics.n_control_classes :].any()


def test_planned_forms_collapse_to_classes_of_form_and_score():
    rows = draw_rows(14, n_persons=2000, n_items=9)
    shown = rows.item % 3 != rows.person % 3
    statistics = sufficient_statistics(
        tuple("abcdefghi"), rows.treat, rows.person[shown], rows.item[shown], rows.resp[shown]
    )
    assert statistics.n_classes <= 2 * 3 * (6 + 1)
    assert set(map(tuple, statistics.trials.astype(int))) == {
        tuple(int(i % 3 != form) for i in range(9)) for form in range(3)
    }


@pytest.mark.parametrize("n_items", [8, 9, 64, 65, 130])
def test_patterns_of_any_length_are_told_apart(n_items):
    # two persons of equal score whose answered items differ in the last item alone, and a third like the first
    person = np.repeat([0, 1, 2], n_items - 1)
    item = np.concatenate([np.arange(n_items - 1), np.r_[np.arange(n_items - 2), n_items - 1], np.arange(n_items - 1)])
    resp = np.zeros(len(item), int)
    statistics = sufficient_statistics(tuple(map(str, range(n_items))), np.zeros(3, int), person, item, resp)
    assert statistics.n_classes == 2
    assert sorted(statistics.count) == [1.0, 2.0]


def test_numbers_of_trials_are_told_apart():
    # persons 0 and 1 have score 1 on two answers to item a, person 2 on one answer to each item, person 3 on 300 answers
    person = np.array([0, 0, 1, 1, 2, 2, *[3] * 300])
    item = np.array([0, 0, 0, 0, 0, 1, *[0] * 300])
    resp = np.array([1, 0, 0, 1, 1, 0, 1, *[0] * 299])
    statistics = sufficient_statistics(("a", "b"), np.ones(4, int), person, item, resp)
    assert statistics.n_classes == 3
    assert {(c, *t) for c, t in zip(statistics.count, map(tuple, statistics.trials), strict=True)} == {
        (2.0, 2.0, 0.0),
        (1.0, 1.0, 1.0),
        (1.0, 300.0, 0.0),
    }


def test_classes_by_covariate_keep_its_value():
    rows = draw_rows(15, n_persons=300, n_items=4, covariate=True)
    statistics = compressed(rows)
    keys = set(zip(statistics.arm, statistics.covariate, statistics.score, strict=True))
    assert len(keys) == statistics.n_classes
    score = np.bincount(rows.person, weights=rows.resp)
    assert keys == set(zip(rows.treat.astype(float), rows.covariate, score, strict=True))


def test_persons_without_covariate_and_without_rows_are_left_out():
    rows = draw_rows(16, n_persons=60, n_items=5, covariate=True)
    covariate = rows.covariate.copy()
    covariate[[3, 30]] = np.nan
    kept = rows.person != 7
    statistics = sufficient_statistics(
        tuple("abcde"), rows.treat, rows.person[kept], rows.item[kept], rows.resp[kept], covariate
    )
    gone = np.isin(rows.person, [3, 7, 30])
    assert statistics.n_persons == 57 and statistics.n_responses == (~gone).sum()
    assert statistics.item_total.sum() == rows.resp[~gone].sum()
    assert np.isfinite(statistics.covariate).all() and statistics.trials is None


@pytest.mark.parametrize("kind", KINDS)
def test_row_order_and_person_order_change_no_bit(kind):
    rows = draw_rows(17, kind, n_persons=80, covariate=True)
    one = compressed(rows)
    rng = np.random.default_rng(18)
    order, label = rng.permutation(len(rows.resp)), rng.permutation(80)
    treat, covariate = np.empty_like(rows.treat), np.empty_like(rows.covariate)
    treat[label], covariate[label] = rows.treat, rows.covariate
    two = sufficient_statistics(
        one.item_names, treat, label[rows.person][order], rows.item[order], rows.resp[order], covariate
    )
    for name in ("count", "score", "covariate", "trials", "item_total"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert (one.n_control_classes, one.n_persons, one.n_responses) == (
        two.n_control_classes,
        two.n_persons,
        two.n_responses,
    )
