"""Waves: a placebo test before randomisation, item effects wave by wave, what lasts, a pretest from an earlier wave."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from command_line import call, refusal

from ilhte_lib.analysis import analyse
from ilhte_lib.data.catalogue import load_bundled
from ilhte_lib.data.design import prepare_design
from ilhte_lib.data.options import DataOptions
from ilhte_lib.errors import InputError
from ilhte_lib.inference.interval import average_interval, spread_interval
from ilhte_report.pages.sections import sections

N, J = 160, 8


def wave(number: object, effect: float, spread: float, seed: int, theta: np.ndarray) -> pd.DataFrame:
    """One wave of a trial of N persons, the treated those with an odd number."""
    easiness, zeta = np.linspace(-1, 1, J), spread * np.tile([1.0, -1.0], J // 2)
    treat = np.arange(N) % 2
    eta = theta[:, None] + easiness + treat[:, None] * (effect + zeta)
    resp = (np.random.default_rng(seed).random(eta.shape) * (1 + np.exp(-eta)) < 1).astype(int)
    person, item = np.divmod(np.arange(N * J), J)
    names = np.array([f"q{k}" for k in range(J)])
    return pd.DataFrame(
        {"id": person, "item": names[item], "resp": resp.ravel(), "treat": treat[person], "wave": number}
    )


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    theta = np.random.default_rng(1).standard_normal(N)
    designs = ((0, 0.0, 0.0, 2), (1, 1.0, 1.0, 3), (2, 0.2, 0.3, 4))
    return pd.concat([wave(number, effect, spread, seed, theta) for number, effect, spread, seed in designs])


@pytest.fixture(scope="module")
def found(table):
    return analyse(table, replicates=20, seed=5)


def test_each_wave_is_what_an_analysis_of_it_alone_finds(table, found):
    alone = {number: analyse(table[table["wave"] == number].drop(columns="wave")) for number in (0, 1, 2)}
    assert [(one.wave, one.before, one.analysed) for one in found.waves.waves] == [
        ("0", True, False),
        ("1", False, True),
        ("2", False, False),
    ]
    by = found.effects.scale.by
    for one, other in zip(found.waves.waves, alone.values(), strict=True):
        assert one.average * by == pytest.approx(other.effects.average, abs=1e-6)
        assert one.spread * by == pytest.approx(other.effects.spread, abs=1e-6)
        average, spread = (interval(other.effects, other.inference) for interval in (average_interval, spread_interval))
        own = other.effects.scale.by
        for shown, low, high in (
            (average, one.average_low, one.average_high),
            (spread, one.spread_low, one.spread_high),
        ):
            assert (low * by, high * by) == pytest.approx((shown.low * own, shown.high * own), abs=1e-4)
        effects = {item.item: item.effect * by for item in one.items}
        assert effects == pytest.approx({row["item"]: row["total"] for row in other.effects.items_logit}, abs=1e-5)
        assert one.p == pytest.approx(other.inference.test.mixture, abs=1e-6)


def test_the_placebo_test_is_told_and_warns_where_it_fails(table, found):
    said = {section.title: section for section in sections(found)}
    (placebo,) = said["Wave by wave"].sentences
    assert placebo.startswith("Before randomisation (wave 0)") and placebo.endswith(
        "Neither is distinguishable from zero."
    )
    assert not any("before randomisation" in text for text in said["What the trial shows"].warnings)
    # the first wave after treatment passed off as one before it
    flawed = analyse(table[table["wave"] > 0].assign(wave=lambda t: t["wave"] - 1))
    said = {section.title: section for section in sections(flawed)}
    assert "Items differ already at that wave." in said["Wave by wave"].sentences[0]
    assert "The arms differ before randomisation (wave 0)" in said["What the trial shows"].warnings[0]


def test_what_lasts_is_the_later_wave_less_the_analysed_one(table, found):
    (difference,) = found.waves.differences
    first, later = found.waves.waves[1:]
    assert (difference.wave, difference.n_persons, difference.n_items) == ("2", N, J)
    assert difference.average == pytest.approx(later.average - first.average, abs=1e-5)
    assert difference.spread == pytest.approx(later.spread - first.spread, abs=1e-5)
    assert difference.average_low < difference.average < difference.average_high < 0
    assert difference.replicates == 20 and not difference.of_clusters
    assert found.waves == analyse(table, replicates=20, seed=5).waves
    without = analyse(table).waves.differences[0]
    assert without.average == difference.average and np.isnan(without.average_se)


def test_each_draw_has_the_same_persons_at_both_waves(table):
    # a later wave that is the analysed one again cannot differ from it, whoever is drawn
    again = table[table["wave"] == 1].assign(wave=2)
    twice = pd.concat([table[table["wave"] < 2], again.sample(frac=1.0, random_state=3)])
    (difference,) = analyse(twice, replicates=10).waves.differences
    assert difference.average == pytest.approx(0, abs=1e-6) and difference.average_se == pytest.approx(0, abs=1e-6)
    assert difference.spread_se == pytest.approx(0, abs=1e-5) and difference.correlation == pytest.approx(1)


def test_only_persons_and_items_of_both_waves_are_compared(table):
    later = (table["wave"] == 2) & ((table["id"] >= 100) | (table["item"] == "q0"))
    (difference,) = analyse(table[~later]).waves.differences
    assert (difference.n_persons, difference.n_items) == (100, J - 1)
    few = analyse(table[(table["wave"] < 2) | (table["id"] < 12)]).waves
    assert not few.differences
    assert any("12 persons and" in reason for reason in few.missing) or "Wave 2 is left out" in few.missing[0]


def test_a_wave_that_cannot_be_used_is_told(table):
    one_arm = table[(table["wave"] != 2) | (table["treat"] == 0)]
    (reason,) = analyse(one_arm).waves.missing
    assert reason.startswith("Wave 2 is left out.") and "nobody in the treated" in reason


def test_one_wave_has_no_others(table):
    found = analyse(table[table["wave"] == 1])
    assert found.waves is None and found.document()["waves"] is None
    with pytest.raises(InputError, match="only one wave"):
        found.plot("waves")


def test_the_figure_has_a_line_an_item_and_the_average(found):
    figure = found.plot("waves")
    assert len(figure.data) == J + 1
    assert list(figure.data[-1].y) == pytest.approx([one.average for one in found.waves.waves], rel=1e-3)
    effects = {one.item: one.effect for one in found.waves.waves[2].items}
    assert figure.data[0].y[2] == pytest.approx(effects["q0"], rel=1e-3)


def test_the_pretest_of_a_wave_is_the_published_baseline(project):
    # std_baseline of the film tables is the mean of the same items at wave 0
    rated = load_bundled("film_horror_energy", project / "data")
    trial = prepare_design(rated, "film", DataOptions(pretest_from_wave="0"))
    published = rated.drop_duplicates("id").set_index("id")["std_baseline"].reindex(trial.person_ids).to_numpy()
    known = np.isfinite(published) & np.isfinite(trial.covariate)
    assert known.sum() > 150
    assert np.corrcoef(published[known], trial.covariate[known])[0, 1] > 0.999
    assert np.nanmean(trial.covariate) == pytest.approx(0, abs=1e-12)
    assert np.nanstd(trial.covariate, ddof=1) == pytest.approx(1)
    assert trial.covariate_name == "score at wave 0" and np.isfinite(trial.covariate_correlation)


def test_persons_without_a_baseline_are_counted(table):
    lost = table[(table["wave"] != 0) | (table["id"] >= 7)]
    found = analyse(lost, pretest_from_wave="0")
    assert found.fits["M_C"].n_persons == N - 7 and found.fits["M_A"].n_persons == N
    assert "7 persons have no score at wave '0'." in found.trial.flags


def test_waves_with_names(table):
    named = table[table["wave"] < 2].assign(wave=lambda t: t["wave"].map({0: "pre", 1: "post"}))
    found = analyse(named, pretest_from_wave="pre")
    assert found.trial.wave == "post" and found.trial.covariate_name == "score at wave pre"
    assert [(one.wave, one.before) for one in found.waves.waves] == [("pre", True), ("post", False)]
    unknown = analyse(named, wave="post").waves.waves
    assert not any(one.before for one in unknown)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pretest_from_wave": "3"}, "has no rows of wave '3' to take a pretest from (it has '0', '1', '2')"),
        ({"pretest_from_wave": "1", "wave": "1"}, "Wave '1' is the wave analysed"),
        ({"pretest_from_wave": "2"}, "Wave '2' comes after wave '1', the wave analysed"),
        ({"pretest_from_wave": "0", "covariate": "age"}, "leave out --covariate"),
    ],
)
def test_a_pretest_that_is_missing_is_one_sentence(table, options, said):
    with pytest.raises(InputError) as refused:
        analyse(table.assign(age=1), **options)
    assert said in str(refused.value)


def test_a_table_without_waves_has_no_pretest_of_one(table):
    with pytest.raises(InputError, match="has no column wave, so no baseline"):
        analyse(table[table["wave"] == 1].drop(columns="wave"), pretest_from_wave="0")
    other = table.assign(item=np.where(table["wave"] == 0, "p" + table["item"], table["item"]))
    with pytest.raises(InputError, match="has none of the items of wave"):
        analyse(other, pretest_from_wave="0")


def test_the_whole_path_with_ordered_categories(tmp_path, monkeypatch, project):
    monkeypatch.chdir(tmp_path)
    rated = load_bundled("film_comedy_tension", project / "data")
    rated = rated[rated["id"].isin(rated["id"].unique()[::3])]
    rated.drop(columns=["study", "keyed", "itemcov_keyed"], errors="ignore").to_csv("film.csv", index=False)
    done = call("fit", "film.csv", "--pretest-from-wave", "0", "--json", "out.json", "--html", "out.html")
    assert done.code == 0, done.err
    assert "Wave by wave" in done.out and "Do the effects last?" in done.out and "score at wave 0" in done.out
    document = json.loads((tmp_path / "out.json").read_text())
    assert [one["wave"] for one in document["waves"]["waves"]] == ["0", "1", "2"]
    assert document["categories"] and document["waves"]["differences"][0]["average_se"] is None
    assert "Wave by wave" in (tmp_path / "out.html").read_text()
    assert "choose one of these" in refusal(call("fit", "film.csv", "--pretest-from-wave", "9"))
