"""Who benefits? The rule of the verdict, the numbers beside it, the command and the section of a page."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from command_line import call, refusal
from scipy.stats import t

from ilhte_lib.data.prepare import prepare
from ilhte_lib.data.read import read_table
from ilhte_lib.data.trial import Trial
from ilhte_lib.engine.native import fit_models
from ilhte_lib.engine.slopes import bends, fit_slopes
from ilhte_lib.errors import InputError
from ilhte_lib.inference.bootstrap import ESTIMANDS, Bootstrap
from ilhte_lib.inference.look_alike import look_alike
from ilhte_lib.inference.sum_score import sum_score_interaction
from ilhte_lib.inference.who_benefits import Estimate, verdict, who_benefits, with_wald_interval
from ilhte_lib.model.simulate import DESIGNS, SPURIOUS_INTERACTION, Design, simulate_trial
from ilhte_report.pages.notebook import show_section
from ilhte_report.pages.sections import who_benefits_section
from ilhte_report.words.who_benefits import comparison_rows, slopes_sentence, verdict_sentence


def drawn(design: Design) -> Trial:
    return prepare(simulate_trial(design)[0], design.name)


@pytest.fixture(scope="module")
def small() -> Trial:
    return drawn(Design(150, 6, 21, sigma_zeta=0.5, rho=0.5, gamma=0.7, missing=0.1))


@pytest.fixture(scope="module")
def small_fits(small):
    return fit_models(small, ["M_B", "M_C"])


# -- the rule ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("constant", "flexible", "predicted", "expected"),
    [
        # an interval of M_C that excludes 0 decides
        ((0.30, 0.05), (0.20, 0.05), (0.10, 0.02), "person-level"),
        ((0.30, 0.05), (0.40, 0.05), (-0.10, 0.02), "person-level"),
        # and where M_B shows nothing for what the items take away, they mask it
        ((0.01, 0.05), (-0.20, 0.05), (0.20, 0.02), "masked"),
        ((-0.01, 0.05), (0.20, 0.05), (-0.20, 0.02), "masked"),
        # not if they pull the same way, or cannot be told from 0, or M_B's interval is not known
        ((0.09, 0.05), (0.11, 0.05), (0.20, 0.02), "person-level"),
        ((0.01, 0.05), (-0.20, 0.05), (0.20, 0.20), "person-level"),
        ((0.01, math.nan), (-0.20, 0.05), (0.20, 0.02), "person-level"),
        # an M_B near 0 beside a predicted bias is no sign of persons by itself
        ((0.01, 0.05), (-0.09, 0.05), (0.10, 0.02), "cannot tell"),
        # all of M_B is the items'
        ((0.16, 0.05), (0.00, 0.05), (0.15, 0.03), "item-level"),
        ((-0.16, 0.05), (0.02, 0.05), (-0.15, 0.03), "item-level"),
        # not where M_B itself cannot be told from 0
        ((0.16, 0.24), (-0.04, 0.24), (0.24, 0.07), "cannot tell"),
        # all that M_B finds may be the persons'
        ((0.12, 0.05), (0.04, 0.05), (0.10, 0.03), "cannot tell"),
        # less than half is predicted, or more than one and a half
        ((0.16, 0.05), (0.01, 0.05), (0.07, 0.03), "cannot tell"),
        ((0.16, 0.05), (0.01, 0.05), (0.25, 0.03), "cannot tell"),
        # predicted on the other side, or not told from 0
        ((0.16, 0.05), (0.01, 0.05), (-0.15, 0.03), "cannot tell"),
        ((0.16, 0.05), (0.01, 0.05), (0.15, 0.10), "cannot tell"),
        # nothing anywhere, or nothing known
        ((0.01, 0.05), (0.01, 0.05), (0.00, 0.01), "cannot tell"),
        ((0.16, math.nan), (0.01, math.nan), (0.15, math.nan), "cannot tell"),
    ],
)
def test_rule(constant, flexible, predicted, expected):
    assert verdict(*(with_wald_interval(*pair) for pair in (constant, flexible, predicted))) == expected


@pytest.mark.parametrize(
    ("flexible", "slopes", "expected"),
    [
        # both find it, on one side
        ((0.20, 0.05), (0.19, 0.06), "person-level"),
        # M_D does not, or finds the opposite
        ((0.20, 0.05), (0.19, 0.12), "cannot tell"),
        ((0.20, 0.05), (-0.19, 0.06), "cannot tell"),
        # nothing is left in either; M_D finds something, or holds all that M_B finds
        ((0.00, 0.05), (0.01, 0.06), "item-level"),
        ((0.00, 0.05), (0.13, 0.06), "cannot tell"),
        ((0.00, 0.05), (0.02, 0.12), "cannot tell"),
        # not fitted
        ((0.20, 0.05), (math.nan, math.nan), "person-level"),
        # it makes no claim of its own
        ((0.06, 0.08), (0.20, 0.05), "cannot tell"),
    ],
)
def test_a_claim_holds_under_m_d_too(flexible, slopes, expected):
    pairs = ((0.16, 0.05), flexible, (0.15, 0.03), slopes)
    assert verdict(*(with_wald_interval(*pair) for pair in pairs)) == expected


def test_interval_excludes_zero_only_if_it_is_there():
    assert with_wald_interval(1.96, 0.99).excludes_zero and with_wald_interval(-1.96, 0.99).excludes_zero
    assert not with_wald_interval(1.96, 1.01).excludes_zero
    assert not Estimate(5.0, math.nan, math.nan).excludes_zero


# -- trials --------------------------------------------------------------------------------------------------------


def test_spurious_interaction_is_found_to_be_the_items():
    design = DESIGNS[SPURIOUS_INTERACTION]
    assert design.beta_3 == 0
    trial = drawn(design)
    result = who_benefits(trial, fit_models(trial, ["M_B", "M_C"]))
    assert result.verdict == "item-level"
    assert result.constant.low > 0 and result.sum_score.low > 0
    assert result.flexible.low < 0 < result.flexible.high
    assert result.predicted.low < result.difference.value < result.predicted.high
    assert math.isnan(result.difference.low)
    assert verdict_sentence(result).startswith("Item-level: with all items alike the effect seems to rise")


def test_true_interaction_with_the_same_scores_is_found_to_be_the_persons():
    design = look_alike(DESIGNS[SPURIOUS_INTERACTION])
    trial = drawn(design)
    result = who_benefits(trial, fit_models(trial, ["M_B", "M_C"]))
    assert result.verdict == "person-level"
    assert result.flexible.low < design.beta_3 < result.flexible.high
    assert abs(result.difference.value) < 0.03
    assert verdict_sentence(result).startswith("Person-level: the effect rises")


@pytest.mark.shared
def test_mental_abacus_is_the_telling_case(shared):
    tab = "mentalabacus_arith2013"
    table = read_table(shared / "data" / "tables" / f"{tab}.csv.gz")
    trial = prepare(table, tab, profile="vignette")
    result = who_benefits(trial, fit_models(trial, ["M_B", "M_C"]))
    models = json.loads((shared / "reference" / "lme4" / f"{tab}.json").read_text())["models"]
    for model, estimate, value in (("M_B", result.constant, 0.16), ("M_C", result.flexible, -0.04)):
        assert estimate.value == pytest.approx(models[model]["beta"]["treat:cov"], abs=0.005)
        assert estimate.value == pytest.approx(value, abs=0.005)
    assert result.predicted.low < result.difference.value < result.predicted.high
    # M_B itself finds nothing (0.16, SE 0.24), so there is nothing that the items could be the source of
    assert result.verdict == "cannot tell" and not result.constant.excludes_zero
    assert verdict_sentence(result).startswith("Cannot tell: the effect may rise or fall with")


def test_masked_is_said_of_an_interaction_that_the_items_hide():
    design = Design(6000, 20, 31, ate=0.2, sigma_zeta=0.6, rho=0.8, gamma=0.7, beta_3=0.12, baseline_levels=21)
    trial = drawn(design)
    result = who_benefits(trial, fit_models(trial, ["M_B", "M_C"]))
    assert result.verdict == "masked" and result.flexible.low > 0 > result.predicted.high
    assert result.constant.low < 0 < result.constant.high
    sentence = verdict_sentence(result)
    assert sentence.startswith("Masked: the effect rises with") and "make it seem to fall" in sentence


def test_the_section_says_what_is_assumed(small, small_fits):
    section = who_benefits_section(who_benefits(small, small_fits))
    for assumption in (
        "equally on all items",
        "the log-odds are linear",
        "how much persons differ",
        "effects are normal",
        "independent",
    ):
        assert assumption in section.note


# -- what surrounds it ---------------------------------------------------------------------------------------------


def test_sum_score_stands_beside_the_models_with_its_interval(small, small_fits):
    found = sum_score_interaction(small)
    ours = who_benefits(small, small_fits).sum_score
    assert ours.value == found.interaction
    assert (ours.low + ours.high) / 2 == pytest.approx(ours.value)
    assert (ours.high - ours.low) / found.interaction_se == pytest.approx(2 * 1.96, abs=1e-3)


def test_trial_too_small_for_a_sum_score_regression_still_gets_an_answer(small_fits):
    rows = [(p, i, (p + i) % 2, p % 2) for p in range(4) for i in range(4)]
    person, item, resp, treat = (np.array(column) for column in zip(*rows, strict=True))
    tiny = Trial(
        "tiny", "full", ("a", "b", "c", "d"), np.arange(4), treat[item == 0], person, item, resp,
        np.array([-1.0, -0.5, 0.5, 1.0]), "cov_x", 0.5, None, None, (), (),
    )  # fmt: skip
    assert math.isnan(who_benefits(tiny, small_fits).sum_score.value)


def test_uncertified_fit_gives_no_verdict(small, small_fits):
    result = who_benefits(small, small_fits | {"M_C": replace(small_fits["M_C"], converged=False)})
    assert result.verdict == "cannot tell"
    assert verdict_sentence(result) == "Cannot tell: the fit of M_C is not certified."


def test_bootstrap_replaces_the_intervals_and_knows_clusters(small, small_fits, monkeypatch):
    # M_D takes persons as independent, and has no say in what resampling is for
    monkeypatch.setattr("ilhte_lib.inference.who_benefits._slopes", lambda *_: Estimate(math.nan, math.nan, math.nan))
    clustered = replace(small, cluster=np.arange(small.n_persons) % 10)
    assert who_benefits(clustered, small_fits).clustered
    estimates = np.zeros((199, len(ESTIMANDS)))
    flexible = small_fits["M_C"].coefficient("treat:cov")
    estimates[:, ESTIMANDS.index("beta3_c")] = np.linspace(0.0, abs(flexible), 199)
    estimates[:, ESTIMANDS.index("delta_beta3")] = np.linspace(-1.0, 1.0, 199)
    result = who_benefits(clustered, small_fits, Bootstrap("clusters within arm", 1, estimates, (5, 5)))
    assert not result.clustered
    assert result.verdict == "person-level"
    # 5 and 5 clusters: t with 8 degrees of freedom, and 5 of 5 drawn vary too little by 4/5
    reach = t.ppf(0.975, 8) * np.sqrt(5 / 4)
    half = reach * np.linspace(0.0, abs(flexible), 199).std(ddof=1)
    assert (result.flexible.low, result.flexible.high) == pytest.approx((flexible - half, flexible + half), rel=1e-6)
    half = reach * np.linspace(-1.0, 1.0, 199).std(ddof=1)
    assert result.difference.high - result.difference.low == pytest.approx(2 * half, rel=1e-6)


def test_trial_without_covariate_is_refused():
    trial = drawn(Design(60, 4, 2))
    with pytest.raises(InputError, match="--covariate"):
        who_benefits(trial, fit_models(trial))


def test_section_of_a_page_escapes_names(small, small_fits, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda thing, **_: shown.append(thing))
    hostile = replace(small, covariate_name="<script>alert(1)</script>|x")
    show_section(who_benefits_section(who_benefits(hostile, small_fits)))
    text, _, figure = shown[0].data, *shown[1:]
    assert "## Who benefits?" in text and "<script>" not in text and "alert(1)</script>|x" not in text
    assert "application/vnd.plotly.v1+json" in figure and "<script>alert" not in figure["text/markdown"]
    assert len(comparison_rows(who_benefits(hostile, small_fits))) == 6


def test_m_d_bends_and_has_to_agree(small, small_fits):
    found = who_benefits(small, small_fits)
    statistics = small.sufficient_statistics(True)
    assert bends(statistics)
    direct = fit_slopes(statistics, small_fits["M_C"], curved=True)
    assert (found.slopes.low, found.slopes.high) == pytest.approx(direct.interval("treat:cov"), rel=1e-9)
    assert direct.beta_names[4:] == ("curve", "treat:curve") and "curve" in direct.formula
    unknown = Estimate(math.nan, math.nan, math.nan)
    claim = replace(found, verdict="person-level", reason="")
    assert slopes_sentence(claim) == ""
    assert "was not fitted" in slopes_sentence(replace(claim, slopes=unknown))
    assert slopes_sentence(replace(claim, verdict="cannot tell", slopes=unknown)) == ""
    assert len(comparison_rows(replace(claim, slopes=unknown))) == 5


def test_what_m_d_objects_to_is_not_decided_and_why(small, small_fits, monkeypatch):
    claims = dict(small_fits)
    flexible = small_fits["M_C"]
    at = flexible.spec.beta_names.index("treat:cov")
    beta = flexible.beta.copy()
    beta[at] = 5.0 * flexible.se[at]
    claims["M_C"] = replace(flexible, beta=beta)
    for slopes, expected in (((1.0, 0.9), "cannot tell"), ((1.0, 0.1), "person-level")):
        monkeypatch.setattr("ilhte_lib.inference.who_benefits._slopes", lambda *_, of=slopes: with_wald_interval(*of))
        found = who_benefits(small, claims)
        assert found.verdict == expected
    assert found.reason == ""
    monkeypatch.setattr("ilhte_lib.inference.who_benefits._slopes", lambda *_: with_wald_interval(1.0, 0.9))
    sentence = verdict_sentence(who_benefits(small, claims))
    assert sentence.startswith("Cannot tell: person-level by M_C, but the interval includes 0") and "(M_D)." in sentence


# -- the command ---------------------------------------------------------------------------------------------------


def test_command_prints_the_verdict_and_the_numbers():
    done = call("who-benefits", SPURIOUS_INTERACTION)
    assert done.code == 0, done.err
    assert "Item-level: " in done.out and "nobody was treated" in done.out
    for row in ("Sum score", "M_B, all items alike", "M_C, items differ", "Bias of M_B predicted from the items"):
        assert row in done.out


def test_command_needs_a_covariate():
    refused = refusal(call("who-benefits", "sim_n0200_j04_sz00_rho00"))
    assert "no usable pretest or other covariate" in refused
