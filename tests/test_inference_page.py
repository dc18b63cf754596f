"""Intervals, tests, other items and single items as they are shown: rows, sentences, figures, terminal, HTML report."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html import escape

import numpy as np
import pytest
from command_line import call
from run_cases import here, small_project
from scipy.stats import t

from ilhte_lib.analysis import Analysis
from ilhte_lib.data.prepare import prepare
from ilhte_lib.data.trial import Trial
from ilhte_lib.engine.native import fit_models
from ilhte_lib.figures.curves import THETA, characteristic_curves, item_curves_figure
from ilhte_lib.figures.more_items import item_numbers, items_figure
from ilhte_lib.figures.profile import profile_figure
from ilhte_lib.inference.effects import effects
from ilhte_lib.inference.generalise import persons_floor, se_with_items
from ilhte_lib.inference.infer import Inference, infer, with_resampling
from ilhte_lib.inference.interval import Basis, average_interval, interaction_interval, rho_interval
from ilhte_lib.inference.parts import Missing, Part
from ilhte_lib.inference.units import Scale, Unit
from ilhte_lib.model.simulate import Design, simulate_trial
from ilhte_report.intake.source import Source
from ilhte_report.pages.notebook import show_sections
from ilhte_report.pages.sections import ESTIMATES, FINDINGS, sections
from ilhte_report.words.figures import curves_words, form_words, profiles_words
from ilhte_report.words.markdown import escape_markdown
from ilhte_report.words.numbers import between, number, p_text
from ilhte_report.words.rows import (
    estimate_rows,
    generalisation_rows,
    influence_rows,
    resampling_rows,
    sum_score_rows,
    test_rows,
)
from ilhte_report.words.sentences import (
    average_sentence,
    cluster_sentence,
    cluster_sentences,
    flagged_sentence,
    interaction_sentence,
    resampling_sentence,
    robust_sentence,
)

test_rows.__test__ = False  # a function of the page, named for what it shows
LOGITS = Scale.of(0.0)
HOSTILE = "<script>alert(1)</script>*_q"


@pytest.fixture(scope="module")
def parts():
    table, _ = simulate_trial(Design(200, 8, 12, sigma_zeta=0.6, gamma=0.5, ate=0.3))
    table["item"] = table["item"].replace(table["item"].iloc[0], HOSTILE)
    trial = prepare(table, "shown")
    fits = fit_models(trial)
    inference = infer(trial, fits, replicates=19, curves=True)
    return trial, fits, with_resampling(effects(trial, fits), inference), inference


def clustered(trial: Trial, inference: Inference, *, drawn: bool) -> tuple[Trial, Inference]:
    villages = replace(trial, cluster=np.array([f"v{k % 20}" for k in range(trial.n_persons)]))
    scheme = "clusters within arm" if drawn else inference.resampling.scheme
    return villages, replace(inference, clustered=True, resampling=replace(inference.resampling, scheme=scheme))


# -- numbers in words ----------------------------------------------------------------------------------------------


def test_numbers_for_reading():
    assert number(-0.004, 2) == "0.00" and number(-1.5, 1) == "−1.5" and number(float("nan"), 2) == "–"
    assert p_text(0.0) == "<0.001" and p_text(0.05) == "0.050" and p_text(float("nan")) == "–"
    assert between(-1.0, 2.0, 1) == "−1.0 to 2.0" and between(float("nan"), 2.0, 1) == "– to 2.0"
    assert between(float("nan"), float("nan")) == "–"


# -- rows ----------------------------------------------------------------------------------------------------------


def test_estimates_are_in_the_units_they_name(parts):
    _, fits, result, inference = parts
    rows = {row[""]: row for row in estimate_rows(result, inference)}
    scale, here = result.scale.by, inference.generalisation
    half = here.reach * here.se_with_item_sampling
    first = rows["Average effect, β₁"]
    assert first["Estimate"] == number(result.summary["ate_std"], 3) and first["SE"] == number(
        result.summary["ate_std_se"], 3
    )
    assert first["95% interval"] == between((here.ate - half) / scale, (here.ate + half) / scale)
    assert first["Interval from"] == "t" and here.df < 198
    assert rows["σ_θ, persons"]["Estimate"] == number(fits["M_A"].sigma_theta, 3)
    divisor = rows["σ_θ of M_0, the divisor"]
    assert divisor["Estimate"] == number(result.scale.by, 3) and divisor["Unit"] == "logits"
    assert len(rows) == 7
    without = {name: interval for name, interval in inference.intervals.items() if name not in ("rho", "sigma_zeta")}
    missing = {row[""]: row for row in estimate_rows(result, replace(inference, intervals=without))}
    assert missing["ρ, with easiness"]["Interval from"] == missing["σ_ζ, item effects"]["Interval from"] == "Wald"
    assert missing["ρ, with easiness"]["Estimate"] == rows["ρ, with easiness"]["Estimate"]
    wide = estimate_rows(replace(result, spread_se=result.spread), replace(inference, intervals=without))[1]
    assert wide["95% interval"].startswith("0.00 to")  # cut where the parameter ends


def test_three_p_values_stand_side_by_side(parts):
    _, _, _, inference = parts
    rows = test_rows(inference)
    assert [row["p-value"] for row in rows] == ["halved", "mixture", "bootstrap"]
    assert rows[2]["p"].endswith(p_text(inference.p_bootstrap)) and rows[2]["Null distribution"].startswith("19 trials")
    assert test_rows(replace(inference, p_bootstrap=0.05))[2]["p"] == "≤0.050"
    assert test_rows(replace(inference, p_bootstrap=0.10))[2]["p"] == "0.100"
    none = test_rows(replace(inference, p_bootstrap=float("nan"), null_replicates=0))[2]
    assert none["p"] == "–" and "--bootstrap" in none["Null distribution"]


def test_resampling_stands_beside_the_model(parts):
    _, _, result, inference = parts
    rows = resampling_rows(result, inference)
    assert [row[""] for row in rows][-1] == "β₃, M_B − M_C" and len(rows) == 7
    ratio = rows[3]
    assert ratio["Model SE"] == "–" and ratio["SE"] == number(result.summary["sd_ratio_se"], 3)
    here = inference.generalisation.se_without_item_sampling / result.scale.by
    assert rows[0]["Model SE"] == number(here, 3) and rows[4]["Model SE"] == number(result.summary["beta3_b_se"], 3)
    assert rows[0]["95% interval"] == between(*inference.resampling.interval("ate_std", result.summary["ate_std"]))
    assert "100 control and 100 treated persons were drawn" in resampling_sentence(inference)
    assert resampling_rows(result, replace(inference, resampling=None)) == []


def test_other_items_follow_the_formulas(parts):
    _, fits, result, inference = parts
    scale = result.scale.by
    rows = {row[""]: row["Value"] for row in generalisation_rows(inference, fits["M_A"], result.scale)}
    found = inference.generalisation
    assert rows["Effect on one new item, 95% prediction interval (SDs)"] == between(
        *(x / scale for x in found.new_item)
    )
    name = "Share of all possible items with a negative effect"
    assert rows[name] == f"{number(found.share_negative, 2)} [{between(*found.share_negative_interval)}]"
    # where sigma_zeta may be 0, nothing is known of how other items vary
    from_zero = replace(inference.intervals["sigma_zeta"], lower=0.0)
    unsure = replace(inference, intervals={**inference.intervals, "sigma_zeta": from_zero})
    assert {row[""]: row["Value"] for row in generalisation_rows(unsure, fits["M_A"], result.scale)}[
        name
    ] == "not known"
    floor = persons_floor(inference.statistics, fits["M_A"]) / scale
    assert floor > 0.1 and rows["Items needed for an SE of 0.05 SDs, same persons"].startswith("out of reach")
    assert number(floor, 3) in rows["Items needed for an SE of 0.10 SDs, same persons"]


def test_influence_is_in_order_of_its_size(parts):
    _, _, result, inference = parts
    rows, change = influence_rows(inference, result.scale), np.abs(inference.influence.ate_change)
    assert len(rows) == 3
    assert rows[0]["Without"] == inference.influence.item_names[int(change.argmax())]


def test_sum_scores_stand_beside_the_model(parts):
    _, _, result, inference = parts
    score, corrected, model = sum_score_rows(result, inference)
    assert score["Estimate"] == number(inference.sum_score.smd, 3)
    assert corrected["Estimate"] == number(inference.sum_score.corrected, 3)
    assert model["Estimate"] == number(result.summary["ate_std"], 3)


def test_flagged_items_are_named_and_counted(parts):
    _, _, _, inference = parts
    items = inference.items
    odd = replace(items, departure_p_holm=np.where(np.arange(8) == 2, 0.01, 1.0), departure_p_bh=np.full(8, 0.04))
    text = flagged_sentence(replace(inference, items=odd))
    assert f"1 differs from the average at 5%: {items.item_names[2]};" in text and text.endswith(" 8.")
    none = replace(items, departure_p_holm=np.ones(8), departure_p_bh=np.ones(8))
    assert "none differs" in flagged_sentence(replace(inference, items=none))
    assert robust_sentence(replace(inference, robust=replace(inference.robust, p_outliers=0.2)), LOGITS).endswith(
        "there is no evidence that a few items stand out."
    )
    far = replace(inference.robust, p_outliers=0.001, outlying=np.arange(8) == 2, mean_without=0.5)
    text = robust_sentence(replace(inference, robust=far), LOGITS)
    assert text.endswith(f"p = 0.001: '{items.item_names[2]}' stands out from the rest, whose mean is 0.50.")


# -- clusters ------------------------------------------------------------------------------------------------------


def test_only_model_errors_of_a_clustered_trial_are_said_everywhere(parts):
    trial, fits, result, inference = parts
    villages, with_persons = clustered(trial, inference, drawn=False)
    without = replace(with_persons, resampling=None)
    assert cluster_sentence(inference) == ""
    for told in (with_persons, without):
        sentence = cluster_sentence(told)
        assert "treat persons as independent" in sentence
        shown = Analysis(villages, fits, result, told)
        assert sentence in sections(shown)[0].warnings and escape(sentence) in shown.html()
        assert "treat persons as independent" in printed(shown)
    _, drawn = clustered(trial, inference, drawn=True)
    assert cluster_sentence(drawn) == "" and "resampling whole clusters" in cluster_sentences(result, drawn)[0]


def test_sentences_of_a_trial_with_clusters_drawn_use_their_standard_errors(parts):
    trial, fits, result, inference = parts
    assert average_interval(result, inference).basis is Basis.T
    unknown = replace(inference, generalisation=None)
    assert average_interval(result, unknown).basis is Basis.PROFILE
    assert average_interval(result, replace(unknown, intervals={})).basis is Basis.WALD
    villages, drawn = clustered(trial, inference, drawn=True)
    shown, scale = average_interval(result, drawn), result.scale.by
    found, se = inference.generalisation, drawn.resampling.se
    needed = t.ppf(0.975, sum(drawn.resampling.units) - 2)
    of_items = (found.se_with_item_sampling**2 - found.se_without_item_sampling**2) / scale**2
    half = np.sqrt((se("ate_std") * needed) ** 2 + 1.96**2 * of_items)
    assert of_items > 0 and shown.basis is Basis.CLUSTERS and shown.high - shown.estimate == pytest.approx(half)
    of_c = interaction_interval(result, drawn, "beta3_c")
    assert of_c.high - of_c.low == pytest.approx(2 * se("beta3_c") * needed) and of_c.basis is Basis.CLUSTERS
    assert rho_interval(result, drawn).basis is Basis.PROFILE
    found = {section.title: section for section in sections(Analysis(villages, fits, result, drawn))}
    told = {line.split(":")[0].split(" by ")[0]: line for line in found[FINDINGS].sentences}
    assert number(shown.high, 2) in told["Average effect"] and number(of_c.high, 2) in told["Treatment"]
    assert [row["Interval from"] for row in found[ESTIMATES].rows].count("clusters") == 3


def test_one_draw_of_clusters_replaces_nothing(parts):
    trial, fits, result, _ = parts
    found = infer(replace(trial, cluster=np.arange(trial.n_persons) % 20), fits, replicates=1)
    assert not found.knows_clusters and found.model_only
    assert average_interval(result, found).basis is Basis.T and "too narrow" in cluster_sentence(found)
    assert "With so few draws there are no standard errors" in resampling_sentence(
        found
    ) and "1 time," in resampling_sentence(found)
    unknown = replace(result, average_se=math.nan)
    assert "not known" in average_sentence(unknown, replace(found, intervals={}))
    without = replace(result, summary=result.summary | {"delta_beta3": math.nan})
    assert "no covariate" in interaction_sentence(without, found)


def printed(shown: Analysis, width: int = 80) -> str:
    return " ".join(shown.report(width).split())


def test_the_terminal_shows_intervals_tests_and_resampling_in_80_columns(parts):
    trial, fits, result, inference = parts
    text = printed(Analysis(trial, fits, result, inference))
    assert "95% interval" in text and "Interval from" in text
    for row in (*estimate_rows(result, inference), *resampling_rows(result, inference)):
        assert all(value in text for key, value in row.items() if key != "Unit")
    for row in test_rows(inference):
        assert f"{row['p-value']} {row['Null distribution']} {row['p']}" in text
    assert "drawn with replacement" in text and "…" not in text.replace("… corrected", "").replace("… with", "")
    none = replace(inference, resampling=None, missing=(Missing(Part.RESAMPLING, "why not."),))
    without = printed(Analysis(trial, fits, result, none))
    assert "drawn with replacement" not in without and "! Resampling: why not." in without


# -- page ----------------------------------------------------------------------------------------------------------


def test_the_page_escapes_names(parts, monkeypatch):
    trial, fits, result, inference = parts
    displayed = []
    monkeypatch.setattr("IPython.display.display", lambda *things, **_: displayed.extend(things))
    flagged = replace(inference, items=replace(inference.items, departure_p_holm=np.zeros(8)))
    show_sections(sections(Analysis(trial, fits, result, flagged), Source("<script>x.csv", "x", None, None, "")))
    text = "\n".join(thing["text/markdown"] if isinstance(thing, dict) else thing.data for thing in displayed)
    assert "<script>alert" not in text and "<script>x" not in text and "alert" in text
    assert "p (Holm)" in text


def test_three_writers_write_the_same_list_in_the_same_order(parts, monkeypatch):
    trial, fits, result, inference = parts
    analysis = Analysis(trial, fits, result, inference)
    listed = sections(analysis)
    titles = [section.title for section in listed]
    assert titles.index(FINDINGS) == 0 < titles.index(ESTIMATES) < titles.index("Items") < titles.index("Who benefits?")
    assert titles[-3:] == ["Models", "The data", "What was used, and what was left out"]
    displayed = []
    monkeypatch.setattr("IPython.display.display", lambda *things, **_: displayed.extend(things))
    show_sections(listed)
    headings = [
        thing.data.strip().split("\n")[0] for thing in displayed if getattr(thing, "data", "").startswith("\n## ")
    ]
    assert [heading.removeprefix("## ") for heading in headings] == titles
    page = analysis.html()
    assert re.findall(r"<h2>(.*?)</h2>", page) == titles
    in_words = [section.title for section in listed if section.sentences or section.warnings or section.rows]
    assert [line.strip() for line in analysis.report().splitlines() if line.strip() in titles] == in_words
    # every sentence and cell stands in each of them
    terminal = printed(analysis, 400)
    markdown = "".join(thing.data for thing in displayed if not isinstance(thing, dict))
    # with their subscripts on the pages
    page, markdown = re.sub(r"<sub>(\w)</sub>", r"_\1", page), re.sub(r"~(\w)~", r"\_\1", markdown)
    for section in listed:
        for text in (*section.sentences, *section.warnings):
            assert " ".join(text.split()) in terminal and escape(text) in page and escape_markdown(text) in markdown
        for row in section.rows:
            for cell in row.values():
                assert cell in terminal and escape(cell) in page and escape_markdown(cell) in markdown


def test_html_report_has_the_sections_of_a_page(parts):
    trial, fits, result, inference = parts
    page = Analysis(trial, fits, result, inference).html()
    assert page.count('role="figure"') == 5
    assert "<script>alert" not in page
    assert page.count("plotly.js v") == 1
    bare = {name: fits[name] for name in ("M_0", "M_A")}
    none = replace(
        inference, curves=(), resampling=None, influence=None, sum_score=None, generalisation=None, items=None
    )
    short = Analysis(trial, bare, result, none).html()
    assert "Who benefits?" not in short and short.count('role="figure"') == 3


# -- figures -------------------------------------------------------------------------------------------------------


def test_characteristic_curves_are_the_models(parts):
    _, fits, _, _ = parts
    main = fits["M_A"]
    curves = characteristic_curves(main, Scale(Unit.SD, 1.3), np.array([0.0, 1.0]))
    b, zeta = main.ranef[4]
    eta = main.coefficient("intercept") + main.coefficient("treat") + b + zeta + 1.3
    assert curves.shape == (2, 8, 2) and curves[1, 4, 1] == pytest.approx(1 / (1 + np.exp(-eta)))
    assert curves[0, 4, 0] == pytest.approx(1 / (1 + np.exp(-main.coefficient("intercept") - b)))


def test_item_curves_figure_draws_test_items_and_extremes(parts):
    _, fits, result, inference = parts
    main, scale = fits["M_A"], result.scale
    figure = item_curves_figure(main, scale)
    curves = characteristic_curves(main, scale)
    assert len(figure.data) == 2 * (1 + 1 + 2)
    np.testing.assert_allclose(figure.data[0].y, curves[0].mean(axis=0), atol=6e-4)
    items = np.array(figure.data[1].y, float).reshape(8, len(THETA) + 1)
    np.testing.assert_allclose(items[:, :-1], curves[0], atol=6e-4)
    assert np.isnan(items[:, -1]).all()
    named = {annotation.text for annotation in figure.layout.annotations} - {"The test", "Its items"}
    effect, escaped = main.ranef[:, 1], [n.replace("<", "&lt;").replace(">", "&gt;") for n in main.item_names]
    assert {n[:10] for n in named} == {escaped[int(k)][:10] for k in (effect.argmax(), effect.argmin())}
    assert "θ = 0" in curves_words(result, inference, main)


def test_items_figure_marks_today_and_ends_at_the_persons(parts):
    _, fits, result, inference = parts
    main, scale = fits["M_A"], result.scale
    curve, today = items_figure(inference.statistics, main, scale).data
    assert list(today.x) == [8] and today.y[0] == pytest.approx(result.summary["ate_std_se"], abs=1e-4)
    assert curve.y[list(curve.x).index(8)] == pytest.approx(today.y[0], abs=1e-4)
    assert curve.y[-1] == pytest.approx(float(se_with_items(inference.statistics, main, 32)) / scale.by, abs=1e-4)
    assert {3, 8, 32} <= set(item_numbers(8)) and list(item_numbers(60)) == sorted(set(item_numbers(60)))
    assert f"{number(today.y[0], 3)} SDs with the 8" in form_words(inference, main, scale)


def test_four_profiles_stand_two_by_two(parts):
    _, _, result, inference = parts
    scale = result.scale
    intervals = [inference.intervals[curve.parameter] for curve in inference.curves]
    figure = profile_figure(inference.curves, intervals, scale)
    assert [figure.layout[f"xaxis{k}"].title.text for k in ("", 2, 3, 4)] == [
        "β₁ (SDs)",
        "σ<sub>ζ</sub> (SDs)",
        "ρ",
        "σ<sub>θ</sub> (logits)",
    ]
    assert figure.layout.height > profile_figure(inference.curves[:3], intervals[:3], scale).layout.height
    text = json.loads(figure.to_json())
    assert sum(trace["mode"] == "lines" for trace in text["data"]) == 4
    words = profiles_words(intervals, scale)
    assert words.count("minimum at") == 4 and between(intervals[2].lower, intervals[2].upper) in words


# -- commands ------------------------------------------------------------------------------------------------------


def test_fit_with_replicates_and_clusters_is_reproducible(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table, _ = simulate_trial(Design(120, 4, 9, sigma_zeta=0.5))
    table["village"] = table["treat"].astype(str) + (table["id"].astype("category").cat.codes % 6).astype(str)
    table.to_csv(tmp_path / "trial.csv", index=False)
    common = ("fit", "trial.csv", "--cluster", "village", "--full")
    outputs = [
        call(*common, "--bootstrap", 5, "--seed", seed, "--json", f"{k}.json") for k, seed in enumerate((5, 5, 6))
    ]
    assert [o.code for o in outputs] == [0, 0, 0], outputs[0].err
    first, again, other = (json.loads((tmp_path / f"{k}.json").read_text())["inference"] for k in range(3))
    assert first["resampling"] == again["resampling"] != other["resampling"]
    assert first["test"]["bootstrap"] == again["test"]["bootstrap"]
    assert first["resampling"]["seed"] == 5 and "clusters" in first["resampling"]["scheme"]
    assert "clusters" in outputs[0].out and "treat persons as independent" not in outputs[0].out
    bare = call(*common, "--ignore-clusters")
    assert "treat persons as independent" in " ".join(bare.out.split())
    assert "not drawn" in bare.out


def test_run_keeps_the_standard_errors_of_its_resampling(tmp_path):
    import pandas as pd

    table, _ = simulate_trial(Design(100, 4, 9, sigma_zeta=0.5, gamma=0.4))
    table.to_csv(small_project(tmp_path) / "trial.csv", index=False)
    for replicates, known in ((0, False), (5, True)):
        done = here("run", "trial.csv", "--out", "run", "--bootstrap", replicates, cwd=tmp_path)
        assert done.returncode == 0 and "(0 unchanged)" in done.stdout, done.stdout + done.stderr
        summary = pd.read_parquet(tmp_path / "run" / "summary.parquet").iloc[0]
        assert pd.notna(summary["sd_ratio_se"]) == pd.notna(summary["delta_beta3_se"]) == known
    document = json.loads((tmp_path / "run" / "fits" / "trial.json").read_text())
    assert document["inference"]["resampling"]["replicates"] == 5
    assert document["summary"]["sd_ratio_se"] == summary["sd_ratio_se"]
    notebook = (tmp_path / "run" / "tables" / "trial.ipynb").read_text()
    assert "drawn with replacement within their arm" in notebook
