"""What a table is too weak in, which interval is shown, and that a failing part costs only itself."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ilhte_lib.analysis import Analysis
from ilhte_lib.data.prepare import prepare
from ilhte_lib.engine.native import fit_models, statistics_of
from ilhte_lib.engine.objective import ModeNotFound
from ilhte_lib.engine.quadrature import person_modes
from ilhte_lib.inference import influence, items, profile, sum_score
from ilhte_lib.inference.effects import effects
from ilhte_lib.inference.infer import Inference, infer
from ilhte_lib.inference.interval import Basis, Interval, average_interval, rho_interval, spread_interval
from ilhte_lib.inference.lrt import p_values
from ilhte_lib.inference.parts import Part
from ilhte_lib.inference.weak import OneWayItem, weakness_sentences, weaknesses
from ilhte_lib.model.simulate import Design, simulate_trial
from ilhte_lib.model.spec import MODELS
from ilhte_report.words.sentences import average_sentence, easiness_sentence, findings, flagged_sentence, test_sentence

test_sentence.__test__ = False


def table(n_persons: int = 40, n_items: int = 5, **changes) -> pd.DataFrame:
    return simulate_trial(
        Design(**{"n_persons": n_persons, "n_items": n_items, "seed": 3, "sigma_zeta": 0.5, **changes})
    )[0]


@pytest.fixture(scope="module")
def parts():
    trial = prepare(table(160, 6, ate=1.5, sigma_zeta=1.0), "t")
    fits = fit_models(trial)
    return trial, fits, effects(trial, fits), infer(trial, fits)


# -- weaknesses ----------------------------------------------------------------------------------------------------


def test_items_answered_one_way_are_found_by_arm(parts):
    assert weaknesses(parts[0], parts[1]).one_way_items == () and weakness_sentences(weaknesses(parts[0], {})) == []
    rows = table()
    first, hard, third, second, *_ = sorted(rows["item"].unique())  # none of the treated happens to solve the hard one
    rows.loc[(rows["item"] == first) & (rows["treat"] == 1), "resp"] = 1
    rows.loc[(rows["item"] == second) & (rows["treat"] == 0), "resp"] = 0
    # an item that one arm never answered is no such item
    rows = rows[(rows["item"] != third) | (rows["treat"] == 1)]
    weak = weaknesses(prepare(rows, "t"), {})
    assert weak.one_way_items == (
        OneWayItem(first, "treated", 1),
        OneWayItem(hard, "treated", 0),
        OneWayItem(second, "control", 0),
    )
    assert weak.one_way_names == (first, hard, second) and not weak.forbids_conclusions and not weak.no_common_item
    said = weakness_sentences(weak)
    assert len(said) == 3 and all("has one response only" in text for text in said)


def test_arms_without_a_common_item_are_found():
    rows = table(60, 8)
    half = sorted(rows["item"].unique())[:4]
    apart = rows[rows["item"].isin(half) == (rows["treat"] == 1)]
    assert weaknesses(prepare(apart, "t"), {}).no_common_item
    one_in_common = rows[(rows["item"].isin(half) == (rows["treat"] == 1)) | (rows["item"] == half[0])]
    assert not weaknesses(prepare(one_in_common, "t"), {}).no_common_item


@pytest.mark.parametrize(("treated", "few"), [(9, True), (10, False)])
def test_an_arm_of_fewer_than_ten_persons(treated, few):
    rows = table(60, 5, ate=3.0)
    persons = rows.drop_duplicates("id")
    kept = [*persons.loc[persons["treat"] == 0, "id"], *persons.loc[persons["treat"] == 1, "id"][:treated]]
    trial = prepare(rows[rows["id"].isin(kept)], "t")
    fits = fit_models(trial)
    result, inference = effects(trial, fits), infer(trial, fits)
    assert result.weak.persons == (30, treated) and result.weak.few_persons == few
    assert (
        "nothing is concluded from it, as an arm has fewer than 10 persons" in average_sentence(result, inference)
    ) == few
    assert ("No item is said to differ" in flagged_sentence(inference)) == few
    assert any(f"30 control persons and {treated} treated" in flag for flag in result.flags) == few


@pytest.mark.parametrize(("clusters", "few"), [(9, True), (10, False)])
def test_fewer_than_ten_clusters(clusters, few):
    rows = table(60)
    rows["cluster"] = [f"c{int(str(who).lstrip('p')) % clusters}" for who in rows["id"].astype("category").cat.codes]
    weak = weaknesses(prepare(rows, "t"), {})
    assert (weak.clusters, weak.few_clusters) == (clusters, few)
    assert any("nothing reliable can be said of how clusters vary" in text for text in weakness_sentences(weak)) == few


# -- intervals and sentences ---------------------------------------------------------------------------------------


def test_the_profile_interval_is_the_one_that_is_shown(parts):
    _, _, result, inference = parts
    by = result.scale.by
    average, reach = average_interval(result, inference), inference.generalisation.reach
    assert average.basis is Basis.T and reach > 1.96
    assert (average.high - average.estimate) * by == pytest.approx(reach * result.average_se)
    told = average_interval(result, without_reach(inference))
    for shown, name, unit in (
        (told, "treat", by),
        (spread_interval(result, inference), "sigma_zeta", by),
        (rho_interval(result, inference), "rho", 1.0),
    ):
        found = inference.intervals[name]
        assert (shown.low, shown.high, shown.basis) == (found.lower / unit, found.upper / unit, Basis.PROFILE)
    bare = replace(without_reach(inference), intervals={})
    assert average_interval(result, bare).basis is Basis.WALD
    assert Interval(math.nan, math.nan, math.nan, Basis.NONE).excludes_zero is False
    assert Interval(2.0, 1.0, math.nan, Basis.PROFILE).excludes_zero is False, (
        "an end that does not exist claims nothing"
    )


def with_profile(inference: Inference, name: str, lower: float, upper: float) -> Inference:
    changed = replace(inference.intervals[name], lower=lower, upper=upper)
    return replace(inference, intervals={**inference.intervals, name: changed})


def without_reach(inference: Inference) -> Inference:
    """Its average effect told by the profile, as where Satterthwaite's degrees of freedom are not known."""
    return replace(inference, generalisation=None)


def test_a_sentence_claims_what_its_interval_does(parts):
    """A Wald interval that excludes 0 beside a profile interval that does not is no ground for a claim."""
    _, _, result, inference = parts
    inference = without_reach(inference)
    clear, unclear = with_profile(inference, "treat", 0.1, 2.0), with_profile(inference, "treat", -0.1, 2.0)
    assert "treated persons give more responses of 1." in average_sentence(result, clear)
    assert "not distinguishable from zero" in average_sentence(result, unclear)
    assert average_sentence(replace(result, average=-1.0), with_profile(inference, "treat", -2.0, -0.1)).endswith(
        "treated persons give fewer responses of 1."
    )
    for low, high, words in (
        (0.1, 0.9, "The easier an item, the more positive (or less negative) its effect"),
        (-0.1, 0.9, "Item effects show no clear relation to easiness"),
    ):
        told = with_profile(inference, "rho", low, high)
        assert easiness_sentence(replace(result, summary=result.summary | {"rho": 0.5}), told).startswith(words)


def test_the_halved_test_alone_is_no_evidence(parts):
    _, _, result, inference = parts
    statistic = 5.0  # halved .041, mixture .054
    test = p_values(statistic)
    row = result.summary | {"profile": "vignette", "lrt_stat": statistic, "lrt_pval": test.halved}
    row |= {"lrt_pval_mixture": test.mixture, "sig_il_hte": True}
    said = test_sentence(replace(result, summary=row), inference)
    assert test.halved < 0.05 < test.mixture
    assert "significant by this rule alone" in said and "there is evidence" not in said


def test_an_optimum_that_is_not_certified_carries_no_conclusion(parts):
    trial, fits, _, inference = parts
    result = effects(trial, fits | {"M_A": replace(fits["M_A"], converged=False)})
    said = findings(result, inference)
    assert "the optimum of M_A is not certified" in said[0] and not any("there is evidence" in text for text in said)


# -- parts that fail -----------------------------------------------------------------------------------------------

BREAKDOWNS = [
    ModeNotFound("no mode"), np.linalg.LinAlgError("Singular matrix"), FloatingPointError("overflow"), ZeroDivisionError(),
    ValueError("array must not contain infs or NaNs"), MemoryError(), IndexError("7"),
]  # fmt: skip


PARTS = [
    (items, "free_item_effects", Part.FREE, "robust"),
    (items, "item_inference", Part.ITEMS, "items"),
    (items, "robust_comparison", Part.ROBUST, "robust"),
    (influence, "leave_one_item_out", Part.INFLUENCE, "influence"),
    (sum_score, "sum_score_effect", Part.SUM_SCORE, "sum_score"),
    (profile.Profiler, "_interval", Part.PROFILE, None),
    (profile.Profiler, "_centre", Part.PROFILES, None),
    (profile.Profiler, "_curve", Part.CURVE, None),
]
EACH = [(BREAKDOWNS[0], *part) for part in PARTS] + [(failure, *PARTS[0]) for failure in BREAKDOWNS[1:]]


@pytest.mark.parametrize(("failure", "where", "name", "part", "gone"), EACH)
def test_a_part_that_fails_costs_only_itself(parts, monkeypatch, failure, where, name, part, gone):
    trial, fits, result, whole = parts

    def broken(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(where, name, broken)
    found = infer(trial, fits, curves=part is Part.CURVE)
    assert {missing.part for missing in found.missing} == {part}
    assert all(str(missing).endswith((".", ")")) for missing in found.missing)
    for other in ("generalisation", "items", "robust", "influence", "sum_score"):
        assert (getattr(found, other) is None) == (other == gone or getattr(whole, other) is None), other
    shown = Analysis(trial, fits, result, found)
    assert f"! {part.value}" in shown.report()
    pytest.importorskip("plotly", reason="plotly is not installed")
    assert part.value in shown.html()


def test_replicates_that_fail_cost_only_themselves(parts, monkeypatch):
    from ilhte_lib.inference import bootstrap

    def broken(*_: object, **__: object) -> None:
        raise ModeNotFound("no mode")

    monkeypatch.setattr(bootstrap, "_refit_together", broken)
    found = infer(parts[0], parts[1], replicates=3)
    assert {missing.part for missing in found.missing} == {Part.NULL, Part.RESAMPLING}
    assert math.isnan(found.p_bootstrap) and found.null_replicates == 0 and found.items is not None


# -- the persons' modes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.0, 0.5, 3.0, 20.0, 80.0])
def test_person_modes_solve_their_equation(sigma):
    trial = prepare(table(60, 7), "t")
    statistics = statistics_of(trial, MODELS["M_A"])
    rng = np.random.default_rng(1)
    fixed, offsets = rng.normal(size=statistics.n_classes), (10 * rng.normal(size=7), 10 * rng.normal(size=7))
    mode = person_modes(statistics, fixed, sigma, offsets)
    for k in range(statistics.n_classes):
        eta = fixed[k] + sigma * mode[k] + offsets[int(statistics.arm[k])]
        # the slope at a mode found to 1e-9 is off by no more than the curvature times that
        slope = sigma * (statistics.score[k] - (1 / (1 + np.exp(-eta))).sum()) - mode[k]
        assert abs(slope) < 1e-8 * (1 + 7 * sigma**2 / 4)
