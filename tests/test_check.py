"""``ilhte check`` says what would be used; ``ilhte check`` and ``ilhte fit`` on each format of file."""

from __future__ import annotations

import json
import math
import re
import shlex
import sys

import numpy as np
import pandas as pd
import pytest
from command_line import call, refusal
from test_read import ENDINGS, save

from ilhte_lib.data.baseline import baseline_difference
from ilhte_lib.model.simulate import Design, simulate_trial
from ilhte_report.intake.check import check_table
from ilhte_report.intake.irw.format import format_findings


def small() -> pd.DataFrame:
    """20 persons (12 treated) x 4 items in two waves, a pretest and a text covariate."""
    rng = np.random.default_rng(3)
    person, item = np.repeat(np.arange(20), 4), np.tile(np.arange(4), 20)
    after = pd.DataFrame(
        {
            "id": [f"p{k:02d}" for k in person],
            "item": [f"q{k}" for k in item],
            "resp": rng.integers(0, 2, 80),
            "treat": (person >= 8).astype(int),
            "wave": 1,
            "cov_score": (person % 7) + (person >= 8) * 0.5,
            "cov_town": np.where(person % 2, "north", "south"),
        }
    )
    return pd.concat([after.assign(wave=0), after], ignore_index=True)


def test_codes_for_missing_are_no_responses_in_any_number_of_the_check():
    table = small().query("wave == 1").drop(columns="wave").assign(resp=lambda t: t["resp"].where(t.index % 9 > 0, 99))
    found = check_table(table, "t", missing_codes=("99",))
    (score,) = (c for c in found.candidates if c.name == "cov_score")
    assert score.correlation == pytest.approx(found.trial.covariate_correlation, rel=1e-12)
    assert sum(arm.missing for arm in found.arms) == (table["resp"] == 99).sum()


def in_wave_1(table: pd.DataFrame, persons: slice, items: list[str]) -> pd.Series:
    who = sorted(table["id"].unique())[persons]
    return (table["wave"] == 1) & table["id"].isin(who) & table["item"].isin(items)


# ---------------------------------------------------------------- what would be used


def test_arms_and_what_they_miss():
    table = small().astype({"resp": float})
    table.loc[in_wave_1(table, slice(0, 2), ["q0", "q1", "q2", "q3"]), "resp"] = np.nan  # 2 silent controls
    table.loc[in_wave_1(table, slice(3, 5), ["q2"]), "resp"] = np.nan
    table = table[~in_wave_1(table, slice(10, 13), ["q1"])]  # rows that are not there are missing too
    found = check_table(table, "t")
    control, treated = found.arms
    assert (control.persons, control.without_response, control.expected, control.missing) == (6, 2, 24, 2)
    assert (treated.persons, treated.without_response, treated.expected, treated.missing) == (12, 0, 48, 3)
    assert found.trial.n_persons == 18 and found.trial.n_responses == 24 + 48 - 5


def test_repeated_rows_are_one_response_of_those_expected():
    table = small()
    table = pd.concat([table, table[in_wave_1(table, slice(0, 3), ["q0"])]], ignore_index=True)
    found = check_table(table, "t", repeated="trials")
    assert [arm.missing for arm in found.arms] == [0, 0]


def test_waves_and_items_that_are_left_out():
    table = small()
    table.loc[table["item"] == "q3", "resp"] = 1
    table = pd.concat([table, table[table["item"] == "q0"].assign(item="q9")], ignore_index=True)
    table.loc[table.index[table["item"] == "q9"][:6], "resp"] = 4
    table.loc[table.index[(table["item"] == "q9") & (table["wave"] == 1)][:2], "resp"] = [2, 3]
    found = check_table(table, "t")
    assert [(w.name, w.rows, w.persons, w.kept) for w in found.waves] == [("0", 100, 20, False), ("1", 100, 20, True)]
    assert found.constant == ("q3",) and found.polytomous == ()
    assert found.trial.wave == "1" and found.trial.item_names == ("q0", "q1", "q2", "q9")
    last = found.categories[-1]
    rows = table[(table["item"] == "q9") & (table["wave"] == 1)]
    for arm, counts in ((0, last.control), (1, last.treated)):
        assert list(counts) == [
            int((rows.loc[rows["treat"] == arm, "resp"] == float(c)).sum()) for c in last.categories
        ]
    assert check_table(table, "t", wave="0").waves[0].kept


def test_candidates_and_the_one_chosen():
    table = small()
    table["cov_other"] = table["id"].str[1:].astype(int) ** 2 % 11
    found = check_table(table, "t")
    by_name = {c.name: c for c in found.candidates}
    assert list(by_name) == ["cov_score", "cov_town", "cov_other"]
    rows = table[(table["wave"] == 1) & (table["treat"] == 0)]
    for name in ("cov_score", "cov_other"):
        expected = np.corrcoef(rows[name], rows["resp"])[0, 1]
        assert math.isclose(by_name[name].correlation, expected, rel_tol=1e-12)
    assert "text" in by_name["cov_town"].fault
    strongest = max(("cov_score", "cov_other"), key=lambda name: abs(by_name[name].correlation))
    assert found.trial.covariate_name == strongest
    assert set(found.baseline) == {"cov_score", "cov_other"}
    assert "age" in check_table(table.assign(age=table["cov_other"]), "t", covariate="age").baseline


def test_what_is_printed(tmp_path):
    path = tmp_path / "trial.csv"
    small().to_csv(path, index=False)
    done = call("check", path)
    assert done.code == 0 and done.err == ""
    for words in (
        "20 persons, 4 items, 80 responses", "models M_0, M_A, M_B and M_C", "wave 1", "covariate cov_score",
        "control 8", "treated 12", "not usable: it holds text in 80 rows", "used",
        "The first wave after randomisation is kept (1). (80 rows left out)",
    ):  # fmt: skip
        assert words in " ".join(done.out.split()), words
    assert "The arms do not differ at baseline" in done.out


def test_a_table_that_cannot_be_fitted_is_described_and_refused(tmp_path):
    path = tmp_path / "trial.csv"
    small().assign(treat=lambda t: t["treat"] + 1).to_csv(path, index=False)
    done = call("check", path)
    message = refusal(done)
    assert "0 (control) or 1 (treated)" in message and "--control" in message
    assert "cannot be fitted" in done.out and "2 (96), 1 (64)" in done.out
    assert call("check", path, "--control", "1").code == 0


def test_what_check_says_is_what_fit_does(tmp_path):
    path, out = tmp_path / "trial.csv", tmp_path / "out.json"
    table, _ = simulate_trial(Design(n_persons=150, n_items=6, seed=2, gamma=0.6, missing=0.1))
    table.to_csv(path, index=False)
    for options in ((), ("--profile", "vignette", "--max-persons", "100")):
        found = check_table(
            table, "trial", profile=options[1] if options else "full", max_persons=100 if options else None
        )
        assert call("fit", path, "--quick", "--json", out, *options).code == 0
        summary = json.loads(out.read_text())["summary"]
        assert (found.trial.n_persons, found.trial.n_items) == (summary["n_persons"], summary["n_items"])
        assert found.trial.n_responses == summary["n_responses"]
        assert sum(arm.persons for arm in found.arms) == summary["n_persons"]
        assert sum(arm.expected - arm.missing for arm in found.arms) == summary["n_responses"]
        assert found.trial.covariate_name == summary["covariate"] == "std_baseline"


@pytest.mark.parametrize("name", ["respiratory_visits", "toenail_visits"])
def test_bundled_tables(name):
    done = call("check", name)
    assert done.code == 0 and "What would be used" in done.out


# ---------------------------------------------------------------- arms at baseline


def test_standardised_difference_by_hand():
    covariate = np.array([1.0, 2.0, 3.0, 2.0, 4.0, 6.0, 4.0, np.nan])
    treat = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    found = baseline_difference(covariate, treat)
    pooled = math.sqrt((2 * 1.0 + 3 * 8 / 3) / 5)  # variances 1 and 8/3
    assert math.isclose(found.smd, 2 / pooled)
    assert math.isclose(found.se, math.sqrt(1 / 3 + 1 / 4 + found.smd**2 / 14))
    assert (found.n_control, found.n_treated) == (3, 4)


def test_with_clusters_it_is_the_difference_of_cluster_means():
    """Equal clusters, each in one arm: the variance of an arm's mean is that of its cluster means over their number."""
    rng = np.random.default_rng(4)
    cluster = np.repeat(np.arange(12), 10)
    treat = (cluster % 2).astype(int)
    covariate = rng.normal(size=120) + rng.normal(size=12)[cluster]
    found = baseline_difference(covariate, treat, cluster)
    alone = baseline_difference(covariate, treat)
    means = covariate.reshape(12, 10).mean(axis=1)
    pooled = math.sqrt((covariate[treat == 0].var(ddof=1) + covariate[treat == 1].var(ddof=1)) / 2)
    variance = sum(means[arm::2].var() / 6 for arm in (0, 1)) * 12 / 11 / pooled**2
    assert math.isclose(found.smd, alone.smd)
    assert math.isclose(found.se, math.sqrt(variance + found.smd**2 / 240))
    assert found.se > 1.5 * alone.se


def test_its_standard_error_is_what_differences_of_equal_arms_vary_by():
    rng = np.random.default_rng(6)
    found = [baseline_difference(rng.normal(size=90), np.arange(90) % 3 == 0) for _ in range(2000)]
    assert math.isclose(np.std([d.smd for d in found]), np.mean([d.se for d in found]), rel_tol=0.05)


@pytest.mark.parametrize("covariate", [[1.0] * 6, [np.nan, np.nan, 1, 2, 3, 4], [np.nan] * 6])
def test_a_difference_that_is_not_defined(covariate):
    found = baseline_difference(np.array(covariate), np.array([0, 0, 0, 1, 1, 1]))
    assert math.isnan(found.smd) and math.isnan(found.se)


@pytest.mark.parametrize(
    ("shift", "words"), [(0.0, "do not differ at baseline"), (2.0, "differ at baseline in std_baseline")]
)
def test_arms_that_differ_are_told(tmp_path, shift, words):
    table, _ = simulate_trial(Design(n_persons=120, n_items=4, seed=9, gamma=0.5))
    table["std_baseline"] += shift * table["treat"]
    table.to_csv(tmp_path / "t.csv", index=False)
    assert words in call("check", tmp_path / "t.csv").out


# ---------------------------------------------------------------- the IRW's own checker


def test_the_warehouses_checker_in_plain_words(tmp_path):
    pytest.importorskip("irw_validate", reason="irw-validate is not installed")
    table = small().rename(columns={"cov_town": "town"}).assign(cov_age=1999)
    table.loc[table["item"] == "q3", "item"] = "q-1"
    table.loc[table["item"] == "q1", "item"] = "q_1"
    findings = format_findings(table, "My Table")
    assert findings[0].refused and findings[0].sentence == "cov_age holds values that are not ages."
    sentences = " ".join(finding.sentence for finding in findings)
    for words in ("'town'", "fewer than 100 persons", "q-1 || q_1", "lower-case letters"):
        assert words in sentences, words
    assert "#" not in sentences and "irw_filter" not in sentences
    table.to_csv(tmp_path / "t.csv", index=False)
    assert "would reject this table for 1 of these reasons" in call("check", tmp_path / "t.csv").out


def test_each_finding_of_the_checker_has_a_sentence():
    """Text responses, repeats, missing cells and odd times bring out most checks; none is passed on in its own words."""
    pytest.importorskip("irw_validate", reason="irw-validate is not installed")
    table = small().drop(columns="wave").assign(date=5, rt=-2000.0)
    table.loc[3, ["id", "item"]] = None
    for odd in (
        table,
        table.assign(resp="x"),
        table.assign(resp=7),
        table.assign(treat="a"),
        table.assign(resp=range(160)),
    ):
        for finding in format_findings(odd, "table_total__items"):
            assert finding.sentence.endswith((".", "?")) and len(finding.sentence) < 250
            assert not re.search(r"#\d|irw_|datastandard|profile|_na|redivis", finding.sentence, re.IGNORECASE), finding


def test_without_the_checker_its_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "irw_validate", None)
    small().to_csv(tmp_path / "t.csv", index=False)
    done = call("check", tmp_path / "t.csv")
    assert done.code == 0 and 'pip install "ilhte[formats]" brings irw-validate' in done.out


def test_a_table_the_checker_cannot_take(tmp_path):
    pytest.importorskip("irw_validate", reason="irw-validate is not installed")
    table = small().astype({"treat": object})
    table.loc[[0, 1], "treat"] = ["x", 7]  # it sorts them
    (finding,) = format_findings(table, "t")
    assert finding.refused and "failed on" in finding.sentence


# ---------------------------------------------------------------- every format


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> dict:
    """The document of the table that every format is given, in the plainest one."""
    folder = tmp_path_factory.mktemp("expected")
    out = folder / "out.json"
    table = save(researchers_table(), folder / "t.csv")
    assert call("fit", table, *RESEARCHERS_COLUMNS, "--quick", "--json", out).code == 0
    return json.loads(out.read_text())


RESEARCHERS_COLUMNS = (
    "--id", "student", "--item", "question", "--resp", "correct", "--treat", "arm", "--control", "usual",
    "--pretest", "score", "--cluster", "school",
)  # fmt: skip


def researchers_table() -> pd.DataFrame:
    table, _ = simulate_trial(Design(n_persons=90, n_items=5, seed=12, gamma=0.7, sigma_zeta=0.5))
    table = table.assign(treat=table["treat"].map({0: "usual", 1: "new"}), school=1 + np.arange(len(table)) // 5 % 9)
    # Excel keeps 16 digits
    table["std_baseline"] = table["std_baseline"].round(6)
    names = {"id": "student", "item": "question", "resp": "correct", "treat": "arm", "std_baseline": "score"}
    return table.rename(columns=names)[[*names.values(), "school"]]


@pytest.mark.parametrize("ending", ENDINGS)
def test_fit_and_check_on_each_format(tmp_path, expected, ending):
    path, out = save(researchers_table(), tmp_path / f"t{ending}"), tmp_path / "out.json"
    done = call("fit", path, *RESEARCHERS_COLUMNS, "--quick", "--json", out)
    assert done.code == 0, done.err
    document = json.loads(out.read_text())
    for part in ("items", "audit", "flags"):
        assert document[part] == expected[part]
    for name, model in expected["models"].items():
        for quantity in ("loglik", "beta", "se", "item_cov"):
            assert document["models"][name][quantity] == model[quantity]
    done = call("check", path, *RESEARCHERS_COLUMNS)
    assert done.code == 0, done.err
    assert "90 persons, 5 items, 450 responses" in done.out and "9 clusters" in done.out
    assert "covariate score, whose correlation with the responses in the control arm is " in done.out


@pytest.mark.parametrize("ending", [".csv", ".sav", ".xlsx"])
def test_fit_and_check_on_a_wide_file(tmp_path, expected, ending):
    table = researchers_table()
    wide = table.pivot(index=["student", "arm", "score", "school"], columns="question", values="correct").reset_index()
    options = [o for o in RESEARCHERS_COLUMNS if o not in ("--item", "question", "--resp", "correct")]
    path, out = save(wide, tmp_path / f"t{ending}"), tmp_path / "out.json"
    assert call("check", path, *options, "--wide", "i*").code == 0
    done = call("fit", path, *options, "--wide", "i*", "--quick", "--json", out)
    assert done.code == 0, done.err
    assert json.loads(out.read_text())["items"] == expected["items"]


def test_a_wave_column_of_another_name(tmp_path):
    path = tmp_path / "t.csv"
    small().rename(columns={"wave": "time"}).to_csv(path, index=False)
    assert "repeated rows" in refusal(call("check", path))
    done = call("check", path, "--wave-column", "time", "--wave", "0")
    assert done.code == 0 and "wave 0" in done.out
    assert "--wave-column 'time'" in refusal(call("check", path, "--wave-column", "times"))


def test_a_table_that_nobody_has_described_is_answered_by_a_command_that_works(tmp_path):
    table = tmp_path / "drinks.csv"
    rng = np.random.default_rng(3)
    body = [f"p{k},{'Placebo' if k % 2 else 'Coffee'},{','.join(map(str, rng.integers(0, 2, 4)))}" for k in range(60)]
    table.write_text("Person,Drink,q1,q2,q3,q4\n" + "\n".join(body) + "\n")
    said = refusal(call("check", table))
    command = said.split(" Its columns look like `")[1].removesuffix("`.")
    assert command == f"ilhte check {table} --id Person --treat Drink --control Placebo --wide 'q*'"
    done = call(*shlex.split(command)[1:])
    assert done.code == 0 and "60 persons, 4 items" in done.out
    # where all was said that is known, nothing is added
    rest = ("--treat", "Drink", "--control", "Placebo", "--wide", "q*")
    assert "look like" not in refusal(call("check", table, "--id", "Nobody", *rest))
