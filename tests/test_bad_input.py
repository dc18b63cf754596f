"""Bad input is refused in one sentence that says what, where and what to do, or fitted with the flag that it needs.

What the file itself can have wrong (missing and duplicate columns, an empty file or a header alone, encoding, delimiter,
cut-off gzip and Parquet files, a folder) is in ``test_read.py``; names that are hostile are in ``test_hostile_names.py``.
"""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from command_line import call, refusal

from ilhte_lib.data.identifiers import check_identifiers
from ilhte_lib.data.prepare import prepare
from ilhte_lib.errors import InputError
from ilhte_lib.model.simulate import Design, simulate_trial


def trial(n_persons: int = 40, n_items: int = 5, **more: object) -> pd.DataFrame:
    """A sound simulated trial: ids p1 ..., items i01 ..., complete responses."""
    table, _ = simulate_trial(Design(n_persons=n_persons, n_items=n_items, seed=5, **more))
    return table.assign(id="p" + table["id"].astype(str), item=table["item"].astype(str))


def fit(table: pd.DataFrame, folder, *options: object, whole: bool = False):
    """``ilhte fit`` of the table as CSV; what it printed and, where it fitted, its document.

    ``whole`` is with all that rests on the estimates: for tables whose estimates are odd."""
    path, out = folder / "t.csv", folder / "out.json"
    table.to_csv(path, index=False)
    out.unlink(missing_ok=True)
    done = call("fit", path, "--json", out, *options, *(() if whole else ("--quick",)))
    return done, json.loads(out.read_text(encoding="utf-8")) if out.exists() else None


def told(table: pd.DataFrame, folder, *options: object) -> str:
    """The sentence of a table that must be refused, and nothing written."""
    done, document = fit(table, folder, *options)
    assert document is None and done.out == ""
    return refusal(done)


def fitted(table: pd.DataFrame, folder, *options: object, whole: bool = False) -> dict:
    """The document of a table that must be fitted: certified, and nothing in it infinite."""
    done, document = fit(table, folder, *options, whole=whole)
    assert done.code == 0, done.err
    assert all(model["converged"] for model in document["models"].values())
    for flag in document["flags"]:
        assert flag[:60] in " ".join(done.out.split())
    return document


def cells(table: pd.DataFrame, rows: list[int], column: str, value: object) -> pd.DataFrame:
    """The table with a value in some cells of a column."""
    table = table.astype({column: object})
    table.loc[rows, column] = value
    return table


def all_in(message: str, *parts: str) -> None:
    for part in parts:
        assert part in message, (part, message)


# ---------------------------------------------------------------- arms


def test_a_third_arm(tmp_path):
    table = trial()
    ids = table["id"].unique()
    table.loc[table["id"].isin(ids[:5]), "treat"] = 2
    message = told(table, tmp_path)
    all_in(message, "Column treat", "0 (control) or 1 (treated)", "25 rows hold '2'", *map(repr, ids[:3]), "--control")
    assert repr(ids[3]) not in message


def test_arms_with_names_need_the_option(tmp_path):
    table = trial().assign(treat=lambda t: t["treat"].map({0: "usual", 1: "new"}))
    all_in(told(table, tmp_path), "'usual', 'new'", "--control")
    document = fitted(table, tmp_path, "--control", "usual")
    plain = fitted(trial(), tmp_path)
    assert document["summary"]["ate_std"] == plain["summary"]["ate_std"]


def test_an_arm_that_changes_within_a_person(tmp_path):
    table = trial()
    ids = table["id"].unique()
    changing = table.groupby("id").head(1).index[:4]
    table.loc[changing, "treat"] = 1 - table.loc[changing, "treat"]
    message = told(table, tmp_path)
    all_in(message, "treat", "not constant within a person for 4 persons", *map(repr, ids[:3]), "one arm")
    assert repr(ids[3]) not in message


@pytest.mark.parametrize(("value", "empty"), [(0, "treated (treat = 1)"), (1, "control (treat = 0)")])
def test_an_empty_arm(tmp_path, value, empty):
    all_in(told(trial().assign(treat=value), tmp_path), f"nobody in the {empty} arm", "both arms")


def test_an_arm_emptied_by_missing_responses(tmp_path):
    table = trial()
    table.loc[table["treat"] == 1, "resp"] = np.nan
    all_in(told(table, tmp_path), "nobody in the treated (treat = 1) arm with usable responses")


# ---------------------------------------------------------------- responses


def test_binary_responses_with_other_codes(tmp_path):
    message = told(trial().assign(resp=lambda t: t["resp"] + 1), tmp_path)
    all_in(message, "5 binary items", "not coded 0/1", "holds 1, 2", "recode")
    assert message.count("holds") == 3


@pytest.mark.parametrize("word", ["yes", "1,0", "n/a?", "0x1"])
def test_text_among_the_responses(tmp_path, word):
    table = trial()
    message = told(cells(table, [7, 11, 18, 29], "resp", word), tmp_path)
    all_in(message, "Column resp", f"4 rows hold {word!r}", "empty")
    for row in (7, 11, 18):
        all_in(message, f"id {table['id'][row]!r} item {table['item'][row]!r}")
    assert f"id {table['id'][29]!r}" not in message


@pytest.mark.parametrize("value", [np.inf, -np.inf, "1e999", "9" * 400])
def test_infinite_responses(tmp_path, value):
    all_in(told(cells(trial(), [3], "resp", value), tmp_path), "Column resp", "1 row holds", "id 'p1' item 'i04'")


def test_polytomous_items_are_left_out_and_flagged(tmp_path):
    table = trial(n_items=6)
    odd = table["item"].unique()[2]
    rows = table.index[table["item"] == odd][:3]
    document = fitted(cells(table, list(rows), "resp", 9), tmp_path)
    assert document["summary"]["n_items"] == 5
    (flag,) = document["flags"]
    all_in(flag, "1 item with more than two values is left out", f"item {odd!r} holds 0, 1, 9", "recode", "missing")


def test_polytomous_items_alone(tmp_path):
    table = trial()
    table["resp"] = np.arange(len(table)) % 23
    message = told(table, tmp_path)
    all_in(message, repr(table["item"][0]), "at most 10 ordered categories", "--threshold")


def test_fewer_than_three_items_that_vary(tmp_path):
    table = trial(n_items=4)
    names = sorted(table["item"].unique())
    table.loc[table["item"].isin(names[:2]), "resp"] = 1
    message = told(table, tmp_path)
    all_in(
        message, "2 binary items", "at least 3 are needed", f"2 items hold a single value: {names[0]!r}, {names[1]!r}"
    )


# ---------------------------------------------------------------- who answered what


@pytest.mark.parametrize("arm", [0, 1])
def test_an_item_answered_in_one_arm_only_is_flagged(tmp_path, arm):
    table = trial()
    odd = table["item"].unique()[1]
    document = fitted(table[(table["item"] != odd) | (table["treat"] == arm)], tmp_path, whole=True)
    assert any("answered in one arm only" in flag and repr(odd) in flag for flag in document["flags"])
    (item,) = [row for row in document["items"] if row["item"] == odd]
    assert item[("n_treat", "n_ctrl")[arm]] == 0 and item[("p_treat", "p_ctrl")[arm]] is None
    assert math.isfinite(item["total_std"])


@pytest.mark.parametrize("arm", [0, 1])
def test_an_item_that_separates_the_arms_is_fitted_and_flagged(tmp_path, arm):
    table = trial(n_persons=60)
    odd = table["item"].unique()[1]
    here = table["item"] == odd
    table.loc[here, "resp"] = (table.loc[here, "treat"] == arm).astype(int)
    document = fitted(table, tmp_path, whole=True)
    one_way = [flag for flag in document["flags"] if "one response only" in flag and repr(odd) in flag]
    assert len(one_way) == 2 and "control arm" in one_way[0] and "treated arm" in one_way[1]
    (item,) = [row for row in document["items"] if row["item"] == odd]
    assert {item["p_ctrl"], item["p_treat"]} == {0.0, 1.0}
    assert (item["total_std"] > 0) == (arm == 1) and item["total_se"] > 0
    others = [row["total_std"] for row in document["items"] if row["item"] != odd]
    assert all(abs(item["total_std"]) > abs(value) for value in others)


def test_no_flag_for_an_item_that_merely_leans(tmp_path):
    table = trial(n_persons=60)
    here = table["item"] == table["item"].unique()[1]
    table.loc[here, "resp"] = table.loc[here, "treat"].to_numpy()
    for arm in (0, 1):
        table.loc[table.index[here & (table["treat"] == arm)][0], "resp"] ^= 1
    assert fitted(table, tmp_path)["flags"] == []


@pytest.mark.parametrize("value", [0, 1])
def test_an_item_that_an_arm_answers_one_way_is_flagged(tmp_path, value):
    table = trial(n_persons=60)
    here = table["item"] == table["item"].unique()[1]
    table.loc[here & (table["treat"] == 1), "resp"] = value
    (flag,) = fitted(table, tmp_path, whole=True)["flags"]
    all_in(
        flag, f"one response only ({value}) in the treated arm", "no finite estimate", repr(table["item"].unique()[1])
    )


def test_arms_without_a_common_item_are_flagged(tmp_path):
    table = trial(n_persons=60, n_items=8)
    of_arm = table["item"].isin(table["item"].unique()[:4]).astype(int)
    flags = fitted(table[of_arm == table["treat"]], tmp_path, whole=True)["flags"]
    assert any("No item was answered in both arms" in flag for flag in flags)


def test_an_arm_of_few_persons_is_flagged(tmp_path):
    table = trial(n_persons=60)
    few = set(table.loc[table["treat"] == 1, "id"].unique()[:7])
    flags = fitted(table[(table["treat"] == 0) | table["id"].isin(few)], tmp_path, whole=True)["flags"]
    assert any("30 control persons and 7 treated" in flag for flag in flags)


def test_persons_without_any_response_are_noted(tmp_path):
    table = trial().astype({"resp": float})
    ids = list(table["id"].unique()[[4, 9, 15, 20]])
    table.loc[table["id"].isin(ids), "resp"] = np.nan
    document = fitted(table, tmp_path)
    assert document["summary"]["n_persons"] == 36
    (entry,) = [e for e in document["audit"] if e["step"] == "missing response"]
    assert (entry["rows"], entry["persons"]) == (20, 4)
    all_in(entry["reason"], "4 persons have no response at all", *map(repr, ids[:3]))


def test_repeated_rows(tmp_path):
    table = pd.concat([trial(), trial().iloc[[2, 8, 13, 27]]], ignore_index=True)
    message = told(table, tmp_path)
    all_in(message, "4 repeated rows", "--wave", "--repeated trials")
    for row in (2, 8, 13):
        all_in(message, f"id {table['id'][row]!r} item {table['item'][row]!r}")
    for options in (("--repeated", "trials"), ("--profile", "vignette")):
        document = fitted(table, tmp_path, *options)
        assert document["summary"]["n_responses"] == len(table)
        assert any("4 repeated rows" in flag for flag in document["flags"])


def test_the_same_row_in_two_waves_is_no_repeat(tmp_path):
    table = pd.concat([trial().assign(wave=0), trial().assign(wave=1)], ignore_index=True)
    document = fitted(table, tmp_path)
    assert document["summary"]["wave"] == "1" and document["summary"]["n_responses"] == len(trial())


# ---------------------------------------------------------------- covariates


UNUSABLE = {
    "text": (["low", "mid", "high"], "holds text in 200 rows ('mid', 'high', 'low'; id 'p1', 'p2', 'p3', ...)"),
    "one value": ([3], "has a single value ('3')"),
    "empty": ([np.nan], "is empty"),
    "infinite": ([1.5, np.inf], "holds infinite values in 100 rows ('inf'; id 'p1', 'p3', 'p5', ...)"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_covariate_that_cannot_serve(tmp_path, case):
    values, words = UNUSABLE[case]
    table = trial()
    number = table["id"].str[1:].astype(int)
    table["cov_x"] = [values[k % len(values)] for k in number]
    refused = ("holds 3 labels ('high', 'low', 'mid')", "--contrast") if case == "text" else (words, "--covariate")
    all_in(told(table, tmp_path, "--covariate", "cov_x"), "Column 'cov_x'", *refused)
    document = fitted(table, tmp_path)
    assert document["summary"]["covariate"] is None and list(document["models"]) == ["M_0", "M_A"]
    assert any(words in entry["reason"] for entry in document["audit"])


def test_pretest_is_another_word_for_covariate(tmp_path):
    table = trial(gamma=0.5).rename(columns={"std_baseline": "score"})
    both = [fitted(table, tmp_path, option, "score") for option in ("--covariate", "--pretest")]
    assert both[0]["models"]["M_C"]["beta"] == both[1]["models"]["M_C"]["beta"]
    message = told(table, tmp_path, "--pretest", "scor")
    all_in(message, "'scor'", "--pretest 'score'")


# ---------------------------------------------------------------- identifiers


TWICE = [
    ("1", "1.0"), ("2", "02"), ("100000", "1E+05"), ("1e+05", "100000.0"), ("-3", "-03.00"), ("0", "-0"), ("+7", "7"),
    ("ann", "ann "), ("ann", "\u00a0ann"), ("jos\u00e9", "jose\u0301"),
]  # fmt: skip
DISTINCT = [
    "1",
    "2",
    "1.1",
    "1.10",
    "1e2",
    "100",
    "ann",
    "Ann",
    "1 0",
    "x1",
    "x01",
    "9007199254740993",
    "9007199254740992",
]


@pytest.mark.parametrize("column", ["id", "item"])
@pytest.mark.parametrize("pair", TWICE)
def test_one_name_in_two_spellings_is_refused(column, pair):
    with pytest.raises(InputError) as caught:
        check_identifiers(pd.Series(["other", *pair, pair[0]]), column, "t")
    all_in(str(caught.value), column, f"{pair[0]!r} and {pair[1]!r}", "two ways")


def test_names_that_merely_look_alike_are_kept():
    table = trial(n_persons=len(DISTINCT))
    names = dict(zip(table["id"].unique(), DISTINCT, strict=True))
    assert sorted(prepare(table.assign(id=table["id"].map(names)), "t").person_ids) == sorted(DISTINCT)


def test_three_offenders_of_the_file_are_named(tmp_path):
    table = trial()
    table["id"] = table["id"].str[1:]
    again = table[table["id"].isin(["1", "2", "3", "4"])].assign(id=lambda t: t["id"] + ".0")
    message = told(pd.concat([table, again]), tmp_path)
    all_in(message, "'1' and '1.0'; '2' and '2.0'; '3' and '3.0'; ...", "person")


def test_ids_of_two_types():
    table = trial().astype({"id": object})
    table.loc[:4, "id"] = 1.0
    with pytest.raises(InputError, match=r"mixes text and numbers .*'p2'.*1\.0"):
        prepare(table, "t")


def test_ids_that_are_lists():
    table = trial().astype({"id": object})
    table["id"] = [[value] for value in table["id"]]
    with pytest.raises(InputError, match="holds lists"):
        prepare(table, "t")


@pytest.mark.parametrize("word", ["NA", "None", "null", "nan", ""])
def test_a_name_that_means_missing_is_left_out_and_flagged(tmp_path, word):
    table = trial()
    who = table["id"].unique()[3]
    document = fitted(table.assign(id=table["id"].replace(who, word)), tmp_path)
    assert document["summary"]["n_persons"] == 39
    (flag,) = document["flags"]
    all_in(flag, "5 rows name no person", "NA, null", "left out")


def test_items_whose_labels_read_alike():
    table = trial(n_items=5)
    names = dict(zip(sorted(table["item"].unique()), [0.1, 0.2, 0.1 + 0.2, 0.3, 5.0], strict=True))
    with pytest.raises(InputError, match=r"have the same label \('0\.3'\)"):
        prepare(table.assign(item=table["item"].map(names)), "t")


# ---------------------------------------------------------------- options and size


def test_columns_of_a_bundled_table_have_no_other_names():
    all_in(refusal(call("fit", "verbagg_gender", "--id", "x", "--wave-column", "y")), "bundled", "--id --wave-column")


def test_a_wave_that_is_not_there(tmp_path):
    table = trial().assign(wave=2)
    for wave in ("1", "nan", "two"):
        all_in(told(table, tmp_path, "--wave", wave), f"no rows of wave {wave!r}", "'2'", "--wave")


def test_waves_with_names_must_be_chosen(tmp_path):
    table = trial().assign(wave="end")
    all_in(told(table, tmp_path), "'end'", "--wave")
    assert fitted(table, tmp_path, "--wave", "end")["summary"]["wave"] == "end"


def test_clusters_by_name(tmp_path):
    table = trial().assign(school=lambda t: t["id"].str[-1])
    fitted(table, tmp_path, "--cluster", "school")
    all_in(told(table, tmp_path, "--cluster", "schol"), "no column 'schol'", "--cluster 'school'")


def test_one_bad_row_in_50_megabytes_is_found(tmp_path):
    path = tmp_path / "large.csv"
    items = "".join(f"{{0}},item_{k:02d},{k % 2},{{1}},0.123456789\n" for k in range(40))
    with path.open("w") as stream:
        stream.write("id,item,resp,treat,cov_x\n")
        for person in range(37_000):
            rows = items.format(f"person_{person:06d}", person % 2)
            stream.write(rows.replace("item_07,1", "item_07,l") if person == 36_543 else rows)
    assert path.stat().st_size > 50e6
    message = refusal(call("fit", path))
    all_in(message, "Column resp", "1 row holds 'l' (id 'person_036543' item 'item_07')")


def test_clusters_that_change_or_hold_one_person_are_refused_and_missing_ones_told():
    table = trial()
    who = table["id"].drop_duplicates().tolist()
    school = dict(zip(who, [f"s{k % 4}" for k in range(len(who))], strict=True))
    table["school"] = table["id"].map(school)
    table.loc[table["id"] == who[0], "school"] = None
    first = table.index[table["id"] == who[2]][0]
    table.loc[first, "school"] = None
    made = prepare(table, "t", cluster="school")
    assert any(entry.persons == 1 and "has no 'school'" in entry.reason for entry in made.audit), made.audit
    assert dict(zip(made.person_ids, made.cluster, strict=True))[who[2]] == school[who[2]]
    changing = table.copy()
    changing.loc[changing.index[changing["id"] == who[1]][1], "school"] = "another"
    with pytest.raises(InputError, match="1 person has more than one value of 'school'") as refused:
        prepare(changing, "t", cluster="school")
    assert repr(who[1]) in str(refused.value) and "--ignore-clusters" in str(refused.value)
    with pytest.raises(InputError, match="holds a single person"):
        prepare(table.assign(school=table["id"]), "t", cluster="school")
