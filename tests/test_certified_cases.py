"""The cases in which a certified fit was lost, or a sentence said more than the data: each right value, and the words."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ilhte_lib.analysis import Analysis
from ilhte_lib.data.prepare import prepare
from ilhte_lib.data.read import read_table
from ilhte_lib.data.trial import Trial
from ilhte_lib.engine.native import fit_models
from ilhte_lib.files import to_json
from ilhte_lib.inference.effects import Effects, effects
from ilhte_lib.inference.infer import Inference, infer, with_resampling
from ilhte_lib.inference.interval import average_interval
from ilhte_lib.inference.parts import Part
from ilhte_lib.model.fit_result import Fit
from ilhte_report.words.sentences import (
    average_sentence,
    easiness_sentence,
    findings,
    item_spread_sentence,
    test_sentence,
)


@dataclass(frozen=True)
class Analysed:
    """A case and all that is made of it."""

    trial: Trial
    fits: dict[str, Fit]
    result: Effects
    inference: Inference
    contents: dict
    printed: str
    page: str


@cache
def _analysed(path: Path, replicates: int, lower_is_better: bool) -> Analysed:
    trial = prepare(read_table(path), path.stem)
    fits = fit_models(trial)
    inference = infer(trial, fits, replicates=replicates, curves=True)
    result = with_resampling(effects(trial, fits), inference)
    shown = Analysis(trial, fits, result, inference, lower_is_better=lower_is_better)
    contents = json.loads(to_json(shown.document()))
    return Analysed(trial, fits, result, inference, contents, shown.report(200), shown.html())


@pytest.fixture
def analysed(case_files):
    pytest.importorskip("plotly", reason="plotly is not installed")
    return lambda name, replicates=0, lower=False: _analysed(case_files / f"{name}.csv", replicates, lower)


@pytest.fixture
def expected(case_files):
    return json.loads((case_files / "expected.json").read_text())


@pytest.mark.shared
@pytest.mark.parametrize("name", ["guttman", "small_b"])
def test_a_certified_fit_is_reported_and_what_is_missing_named(analysed, name):
    case = analysed(name)
    assert case.fits["M_A"].converged and case.fits["M_0"].converged
    assert case.contents["models"]["M_A"]["loglik"] == case.fits["M_A"].loglik
    assert case.inference.items is not None and np.isfinite(case.inference.items.effect).all()
    for text in (case.printed, case.page):
        assert "Persons differ enormously" in text and "nothing is concluded" in text
    for note in case.inference.notes:
        assert (
            re.match(r"(Single items|Profile of \w+|Profile curve of \w+): ", note)
            and note in case.contents["inference"]["notes"]
        )


@pytest.mark.shared
def test_items_like_the_steps_of_a_ladder_have_effects_of_their_own(analysed):
    """The free estimates exist: a finer quadrature than the one that is used gives the same (121 nodes against 124)."""
    case = analysed("guttman")
    assert case.inference.why_missing(Part.FREE) == ""
    departure = case.inference.items.departure
    by_121_nodes = np.array([-2.264, 0.979, 0.160, 1.268, -0.661, 0.277, 1.129, 2.195, 4.318, 1.457, -2.102, 0.566])
    np.testing.assert_allclose(departure, by_121_nodes - by_121_nodes.mean(), atol=0.01)
    small = analysed("small_b")
    assert "Persons differ so much" in small.inference.why_missing(Part.FREE)
    assert np.isnan(small.inference.items.departure).all() and small.inference.robust is None


@pytest.mark.shared
def test_persons_who_do_not_differ_in_m_0(analysed, expected):
    case, right = analysed("11-theta-zero", 9), expected["11-theta-zero.csv"]["expected"]
    assert case.fits["M_0"].loglik == pytest.approx(right["M_0"]["loglik"], abs=5e-4)
    assert case.fits["M_A"].loglik == pytest.approx(right["M_A"]["loglik"], abs=5e-4)
    assert case.fits["M_A"].sigma_theta == pytest.approx(right["M_A"]["sigma_theta"], abs=5e-4)
    assert case.contents["summary"]["lrt_stat"] == pytest.approx(right["LR"], abs=1e-3)
    _is_in_logits(case)


@pytest.mark.shared
def test_one_response_each(analysed, expected):
    case, right = analysed("11-one-response-each", 9), expected["11-one-response-each.csv"]["expected"]
    assert case.fits["M_A"].loglik == pytest.approx(right["M_A"]["loglik"], abs=5e-4)
    assert case.fits["M_A"].sigma_theta == right["M_A"]["sigma_theta"] == 0
    rho = case.inference.intervals["rho"]
    assert rho.lower < -0.7 and rho.upper == 1.0, "six items with one response a person leave rho open"
    assert case.inference.notes == () and np.isnan(case.inference.sum_score.reliability)
    _is_in_logits(case)


def _is_in_logits(case: Analysed) -> None:
    contents, main = case.contents, case.fits["M_A"]
    assert contents["unit"] == "logit" and contents["summary"]["sigma_theta"] == 0
    for column in ("ate_std", "ate_std_se", "sigma_zeta_std", "sigma_zeta_std_se"):
        assert contents["summary"][column] is None
    for row, effect in zip(contents["items"], main.coefficient("treat") + main.ranef[:, 1], strict=True):
        assert all(row[c] is None for c in ("b_std", "zeta_std", "total_std", "zeta_se", "total_se"))
        assert next(r for r in contents["items_logit"] if r["item"] == row["item"])["total"] == pytest.approx(effect)
    assert contents["inference"]["intervals"]["treat"]["estimate"] == pytest.approx(main.coefficient("treat"), abs=1e-4)
    drawn = contents["inference"]["resampling"]["estimates"]
    assert drawn["ate_std"] == {"se": None, "lower": None, "upper": None}
    assert drawn["ate"]["lower"] < main.coefficient("treat") < drawn["ate"]["upper"] and drawn["sigma_zeta"]["se"] > 0
    assert any("cannot be standardised" in flag for flag in contents["flags"])
    for text in (case.printed, case.page):
        assert "cannot be standardised" in text and "Average effect, β₁ (logits)" in text
        assert f"{main.coefficient('treat'):.2f} [95% interval" in text
    axes = re.findall(r'"text":"([^"]*\((?:SDs|logits)[^"]*\))"', case.page)
    assert axes and not any("SDs" in axis for axis in axes), axes
    assert case.page.count('role="figure"') == 4
    assert "logits;" in findings(case.result, case.inference)[0]


@pytest.mark.shared
def test_an_item_answered_one_way_in_an_arm_carries_no_sentence(analysed):
    case = analysed("10-item-all-right-in-treated")
    assert case.fits["M_A"].loglik == pytest.approx(-956.5679, abs=5e-4)
    assert case.fits["M_A"].sigma_zeta == pytest.approx(1.66, abs=0.005)
    (found,) = case.result.weak.one_way_items
    assert (found.item, found.arm, found.answer) == ("q03", "treated", 1)
    others = case.inference.without_one_way
    assert others.left_out == ("q03",) and others.sigma_zeta < 0.5 and others.test.mixture > 0.05
    said = test_sentence(case.result, case.inference)
    assert "this rests on 'q03'" in said and "there is evidence" not in said
    assert "without 'q03'" in item_spread_sentence(case.result, case.inference)
    flag = "Item 'q03' has one response only (1) in the treated arm: its own effect has no finite estimate"
    assert any(flag in text for text in case.contents["flags"]) and flag in case.printed
    assert "q03" in case.contents["weak"]["one_way_items"][0]["item"]
    assert case.contents["inference"]["without_one_way"]["left_out"] == ["q03"]


@pytest.mark.shared
def test_what_holds_without_the_item_is_said(analysed):
    """In licorice two items have one response only, and the findings do not hang on them."""
    case = analysed("licorice_ge2", lower=True)
    assert case.result.weak.one_way_names == ("pacu30min_cough", "pacu90min_cough")
    assert "there is evidence that the effect differs between items" in test_sentence(case.result, case.inference)


@pytest.mark.shared
def test_an_easiness_sentence_is_true_whatever_the_sign_of_the_effects(analysed):
    case = analysed("licorice_ge2", lower=True)
    order = np.argsort([row["b_std"] for row in case.result.items])
    effect = np.array([row["total_std"] for row in case.result.items])[order]
    assert effect[-3:].mean() < effect[:3].mean() < 0, "the strongest reductions are on the easiest items"
    said = easiness_sentence(case.result, case.inference)
    assert said.startswith("The easier an item, the more negative (or less positive) its effect: ρ = −0.87")
    assert "larger on" not in case.printed and "largest effect" not in case.printed + case.page
    assert "From the most positive effect to the most negative" in case.printed
    assert "fewer responses of 1, which is better (lower is better here)" in case.printed
    unjudged = analysed("licorice_ge2")
    assert not re.search(r"\b(better|worse)\b", unjudged.printed)


@pytest.mark.shared
def test_arms_without_a_common_item(analysed):
    case = analysed("10-form-is-arm")
    assert case.result.weak.no_common_item and easiness_sentence(case.result, case.inference) == ""
    shown = re.sub(r"<script.*?</script>", "", case.page, flags=re.S)
    for text in (case.printed, shown):
        assert "No item was answered in both arms" in text and "predicted perfectly" not in text
        assert "easier an item" not in text and "ρ = " not in text
    assert not any("predicted perfectly" in flag for flag in case.contents["flags"])
    (cause,) = [flag for flag in case.contents["flags"] if flag.startswith("M_A: the optimum is not certified")]
    assert "no item was answered in both arms" in cause
    for sentence in (average_sentence, test_sentence):
        assert "nothing is concluded" in sentence(case.result, case.inference)


@pytest.mark.shared
def test_two_clusters_take_no_place_of_the_model(analysed):
    case = analysed("respiratory_two_centres", 99)
    assert case.inference.resampling.n_clusters == 2 and case.inference.model_only
    interval = average_interval(case.result, case.inference)
    assert f"[95% interval {interval.low:.2f} to {interval.high:.2f}]" in case.printed
    persons = replace(case.trial, cluster=None)
    alone = average_interval(case.result, infer(persons, case.fits))
    assert (interval.low, interval.high) == pytest.approx((alone.low, alone.high), abs=1e-9)
    assert "Persons come in 2 clusters" in case.printed and "treat persons as independent" in case.printed
    assert (
        "−2.63" not in case.printed
        and "Resampled" not in case.printed
        and "With fewer than 10 clusters" in case.printed
    )
    assert case.contents["summary"]["sd_ratio_se"] is None and case.contents["summary"]["delta_beta3_se"] is None
    assert case.contents["inference"]["resampling"]["too_few_clusters"] is True
    assert case.contents["weak"]["few_clusters"] is True and case.contents["weak"]["clusters"] == 2
    of_model = 1.96 * case.fits["M_C"].standard_error("treat:cov")
    page = re.sub(r"<script.*?</script>", "", case.page, flags=re.S)
    value = case.fits["M_C"].coefficient("treat:cov")
    assert f"{value - of_model:.3f}".replace("-", "−") in page, "who benefits: the model's interval as well"


test_sentence.__test__ = False
