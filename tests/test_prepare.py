"""Every rule of the preparation under both profiles, on tables small enough to check by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ilhte_lib import InputError
from ilhte_lib.data.prepare import prepare
from ilhte_lib.data.trial import AuditEntry, Trial

PROFILES = ("vignette", "full")
ITEMS = ("a", "b", "c")


def table_of(n_persons: int = 6, items=ITEMS, **columns) -> pd.DataFrame:
    """Complete rows; persons p1, p2, ... alternate between control and treated; extra columns: one value a person.

    Person k (from 0) answers item i (from 0) with 1 if k // 2 + i is odd, so every item takes both values in each arm.
    """
    k, i = (x.ravel() for x in np.indices((n_persons, len(items))))
    data = {"id": [f"p{x + 1}" for x in k], "item": [items[x] for x in i], "resp": (k // 2 + i) % 2, "treat": k % 2}
    data |= {name: [values[x] for x in k] for name, values in columns.items()}
    return pd.DataFrame(data)


def entries(trial: Trial, step: str) -> list[AuditEntry]:
    return [entry for entry in trial.audit if entry.step == step]


def removed(trial: Trial, step: str) -> list[tuple[int, int, int]]:
    """Rows, persons and items that a step removed."""
    return [(e.rows, e.persons, e.items) for e in entries(trial, step)]


def refusal(table: pd.DataFrame, tab: str = "demo", **options) -> str:
    """The message, which must be one sentence with a remedy after its colon."""
    with pytest.raises(InputError) as caught:
        prepare(table, tab, **options)
    message = str(caught.value)
    assert message.endswith(".") and "\n" not in message and "Traceback" not in message
    assert ". " not in message.replace("...", "")
    assert ":" in message or "so the vignette" in message
    return message


@pytest.mark.parametrize("profile", PROFILES)
def test_a_clean_table_comes_out_as_arrays(profile):
    table = table_of()
    trial = prepare(table, "demo", profile=profile)
    assert (trial.tab, trial.profile, trial.item_names) == ("demo", profile, ITEMS)
    assert (trial.n_persons, trial.n_items, trial.n_responses) == (6, 3, 18)
    assert trial.person_ids.tolist() == ["p1", "p2", "p3", "p4", "p5", "p6"]
    assert trial.treat.tolist() == [0, 1, 0, 1, 0, 1]
    assert trial.covariate is None and trial.covariate_name is None and np.isnan(trial.covariate_correlation)
    assert trial.cluster is None and trial.wave is None and trial.flags == ()
    back = pd.DataFrame(
        {"id": trial.person_ids[trial.person], "item": [ITEMS[k] for k in trial.item], "resp": trial.resp}
    ).assign(treat=trial.treat[trial.person])
    pd.testing.assert_frame_equal(back, table, check_dtype=False)
    assert trial.audit[0].reason == "There is no usable pretest or covariate: M_B and M_C are not fitted."
    assert trial.audit_rows() == [
        {"step": "covariate", "rows": 0, "persons": 0, "items": 0, "reason": trial.audit[0].reason}
    ]


def test_the_input_is_not_changed():
    table = table_of(cov_x=[1, 2, 3, 4, 5, 6])
    table.loc[0, "resp"] = np.nan
    copy = table.copy()
    for profile in PROFILES:
        prepare(table, profile=profile)
    pd.testing.assert_frame_equal(table, copy)


def test_items_come_in_natural_order_whatever_the_rows():
    items = ("q10", "q2", "q1", "p3")
    trial = prepare(table_of(items=items).sample(frac=1, random_state=1))
    assert trial.item_names == ("p3", "q1", "q2", "q10")
    assert prepare(table_of(items=(3, 20, 100))).item_names == ("3", "20", "100")


def test_items_read_as_floats_keep_their_digits():
    labels = (1000001.0, 1000002.0, 0.1 + 0.2, 7.0)
    assert prepare(table_of(items=labels)).item_names == ("0.3", "7", "1000001", "1000002")


# -- waves ------------------------------------------------------------------------------------------------------------


def in_waves(waves: list) -> pd.DataFrame:
    """One block of 6 persons x 3 items a wave."""
    return pd.concat([table_of().assign(wave=w) for w in waves], ignore_index=True)


@pytest.mark.parametrize("waves", [[0, 1, 2], [2.0, 1.0, 0.0], ["0", "1", "2"]])
def test_vignette_keeps_wave_1_literally(waves):
    trial = prepare(in_waves(waves), profile="vignette")
    assert trial.wave == "1" and trial.n_responses == 18
    assert removed(trial, "wave") == [(36, 0, 0)]


def test_vignette_without_a_wave_1_is_refused():
    assert "no rows of wave '1'" in refusal(in_waves([0, 2]), profile="vignette")


@pytest.mark.parametrize(("waves", "kept"), [([0, 1, 2], "1"), ([-1, 0, 2, 3], "2"), ([0.0, 1.5], "1.5")])
def test_full_keeps_the_first_wave_after_randomisation(waves, kept):
    trial = prepare(in_waves(waves))
    assert trial.wave == kept and trial.n_responses == 18
    assert removed(trial, "wave") == [(18 * (len(waves) - 1), 0, 0)]
    assert f"({kept})" in entries(trial, "wave")[0].reason


@pytest.mark.parametrize(
    ("waves", "asked"), [([0, 1, 2], "2"), ([0.0, 1.0, 2.0], "2"), (["pre", "post", "late"], "late")]
)
def test_full_keeps_the_wave_that_was_asked_for(waves, asked):
    trial = prepare(in_waves(waves), wave=asked)
    assert trial.wave == asked and removed(trial, "wave") == [(36, 0, 0)]
    assert f"'{asked}' was asked for" in entries(trial, "wave")[0].reason


def test_waves_that_cannot_be_chosen_are_refused():
    message = refusal(in_waves(["pre", "post"]))
    assert "'pre', 'post'" in message and "--wave" in message
    assert "no rows of wave '7' (it has '0', '1')" in refusal(in_waves([0, 1]), wave="7")
    assert "--wave-column" in refusal(table_of(), wave="1")


@pytest.mark.parametrize("waves", [[2019, 2020], [201909, 202006], [1, 2], [3, 5, 7], [-2, -1]])
def test_waves_whose_codes_are_not_known_are_asked_for(waves):
    """0 and less are before treatment by every convention; years, months and 1 and 2 say nothing."""
    message = refusal(in_waves(waves))
    assert "--wave" in message and all(f"'{wave}'" in message for wave in waves)
    assert prepare(in_waves(waves), wave=str(waves[1])).wave == str(waves[1])


def test_waves_as_the_irw_numbers_them():
    table = in_waves([1, 2])
    table.attrs["waves"] = "irw"
    assert prepare(table).wave == "1"
    assert prepare(in_waves([2020])).wave == "2020"  # there is nothing to choose


def test_a_column_of_time_leads_to_advice_that_works():
    table = pd.concat([table_of(40).assign(time=t) for t in (1, 2)], ignore_index=True)
    message = refusal(table)
    assert "--wave-column 'time' --wave '1'" in message
    assert "(perhaps 'time')" in refusal(table, wave="1")
    assert prepare(table.rename(columns={"time": "wave"}), wave="2").n_responses == 120
    stamps = pd.concat([table_of(40), table_of(40)], ignore_index=True).assign(date=range(240))
    assert "timestamps" in refusal(stamps)


# -- persons ----------------------------------------------------------------------------------------------------------


def restarting() -> pd.DataFrame:
    """Four schools of 12 persons numbered anew in each, whole schools treated."""
    schools = [table_of(12).assign(school=f"s{k}", treat=k % 2) for k in range(4)]
    return pd.concat(schools, ignore_index=True)


def test_names_that_restart_in_every_school():
    message = refusal(restarting())
    assert "restart in every 'school'" in message and "--id-within-cluster" in message and "trials" not in message
    trial = prepare(restarting(), cluster="school", id_within_cluster=True)
    assert (trial.n_persons, trial.n_responses) == (48, 144)
    assert set(trial.person_ids[:2]) == {"s0 / p1", "s0 / p2"}
    within = pd.concat([table_of(12, cov_x=np.arange(12) + k).assign(school=f"s{k}") for k in range(4)])
    for options in ({}, {"repeated": "trials"}, {"profile": "vignette"}):
        assert "restart in every 'school'" in refusal(within, **options)
    assert "--cluster" in refusal(table_of(), id_within_cluster=True)


def test_ids_that_repeat_in_a_file_of_one_row_a_person():
    table = pd.concat([table_of(20), table_of(20)], ignore_index=True)
    table.attrs["one_row_a_person"] = True
    for options in ({}, {"repeated": "trials"}, {"profile": "vignette"}):
        message = refusal(table, **options)
        assert "one row per person" in message and "make the ids unique" in message and "--repeated" not in message


# -- codes for missing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [-99, -9, 999, 9999, 99])
def test_a_code_for_missing_in_a_covariate_is_found_and_not_used(code):
    x = np.tile([1.0, 2, 4, 8, 3, 5, 7, 9, 6, 10], 4)
    x[[3, 17, 30]] = code
    trial = prepare(table_of(40, cov_x=x))
    assert np.isnan(trial.covariate).sum() == 3
    assert any(f"'{code}'" in flag and "--missing-codes" in flag for flag in trial.flags)
    known = x[x != code]
    np.testing.assert_allclose(trial.covariate[0], (x[0] - known.mean()) / known.std(ddof=1))
    as_numbers = prepare(table_of(40, cov_x=x), missing_codes=("none",))
    assert not np.isnan(as_numbers.covariate).any() and not any("missing-codes" in f for f in as_numbers.flags)
    said = prepare(table_of(40, cov_x=x), missing_codes=(str(code), "10"))
    assert np.isnan(said.covariate).sum() == 7


def test_values_of_a_scale_are_no_codes():
    for values in (
        np.arange(40.0) + 60,
        np.linspace(-9, 9, 40),
        np.tile([77.0, 88, 99, 66], 10),
        np.arange(40) // 2 % 2,
    ):
        trial = prepare(table_of(40, cov_x=values))
        assert not np.isnan(trial.covariate).any() and not any("missing-codes" in flag for flag in trial.flags)


def test_codes_that_are_named_are_missing_in_responses_and_arms():
    table = table_of(40).astype({"resp": object})
    table.loc[table.index[:2], "resp"] = [-9, "refused"]
    trial = prepare(table, missing_codes=("-9,refused",))
    assert trial.n_responses == 118 and trial.n_items == 3
    assert "missing-codes" in refusal(table_of(), missing_codes=("none", "-9"))


def test_an_item_with_a_code_for_missing_is_told_with_the_remedy():
    table = table_of(40)
    table.loc[::7, "resp"] = -9
    table.attrs["value_labels"] = {"resp": {-9: "Missing"}}
    message = refusal(table)
    assert "holds -9 (Missing), 0, 1" in message and "--missing-codes '-9'" in message
    assert prepare(table, missing_codes=("-9",)).n_items == 3


def test_blank_text_is_missing():
    table = table_of(40).astype(object)
    for k, name in enumerate(("id", "item", "resp", "treat")):
        table.loc[k, name] = "" if k % 2 else "  "
    trial = prepare(table)
    assert trial.n_responses == 120 - 4


def test_an_empty_wave_column_is_ignored_and_noted():
    trial = prepare(table_of().assign(wave=np.nan))
    assert trial.wave is None and "ignored" in entries(trial, "wave")[0].reason


def test_rows_of_other_waves_are_gone_before_anything_is_checked():
    table = in_waves([1, 0])
    table["resp"] = table["resp"].astype(object)
    table.loc[table["wave"] == 0, ["resp", "treat"]] = ["refused", 9]
    assert prepare(table).n_responses == prepare(table, profile="vignette").n_responses == 18


# -- the covariate ----------------------------------------------------------------------------------------------------


def test_std_baseline_goes_before_every_cov_column():
    trial = prepare(table_of(cov_x=[0, 1, 0, 1, 0, 2], std_baseline=[1, 2, 3, 4, 5, 7]))
    assert trial.covariate_name == "std_baseline"


@pytest.mark.parametrize("profile", PROFILES)
def test_largest_absolute_correlation_among_control_rows(profile):
    # control persons p1, p3, p5, p7 have scores 1, 2, 1, 2; cov_neg is minus them, cov_near close, cov_treated follows the
    # treated alone and is noise in the control arm
    columns = {
        "cov_near": [1, 0, 2, 0, 1, 0, 1.5, 3],
        "cov_neg": [-1, 1, -2, 1, -1, 2, -2, 1],
        "cov_treated": [1, 1, 1, 2, 2, 1, 2, 2],
    }
    table = table_of(8, **columns)
    trial = prepare(table, profile=profile)
    control = table[table["treat"] == 0]
    by_hand = {c: np.corrcoef(control[c], control["resp"])[0, 1] for c in columns}
    assert max(by_hand, key=lambda c: abs(by_hand[c])) == "cov_neg" and by_hand["cov_neg"] < 0
    assert trial.covariate_name == "cov_neg"
    assert trial.covariate_correlation == pytest.approx(by_hand["cov_neg"], abs=1e-12)


def test_the_correlation_counts_ordered_items_and_untruncated_responses():
    # items a, b, c correlate with cov_x; the polytomous item d, dropped later, turns the choice to cov_y
    table = table_of(8, items=("a", "b", "c", "d"), cov_x=[1, 0, 2, 1, 1, 0, 2, 0], cov_y=[0, 1, 1, 1, 2, 0, 4, 3])
    person = table["id"].str[1:].astype(int)
    polytomous = table["item"] == "d"
    table.loc[polytomous, "resp"] = (person[polytomous] - 1) // 2 * 5
    binary_only = prepare(table[~polytomous])
    assert binary_only.covariate_name == "cov_x"
    for profile in PROFILES:
        trial = prepare(table, profile=profile)
        assert trial.covariate_name == "cov_y"
        assert trial.item_names == (ITEMS if profile == "vignette" else (*ITEMS, "d"))
        rows = table[table["treat"] == 0]
        assert trial.covariate_correlation == pytest.approx(np.corrcoef(rows["cov_y"], rows["resp"])[0, 1], abs=1e-12)


def test_the_correlation_uses_rows_that_have_both_before_any_row_is_dropped():
    table = table_of(8, cov_x=[1, 0, 2, 1, 1, 0, 2, 0], cov_y=[np.nan, 1, 1, np.nan, 2, 0, 3, 3])
    table = table.astype({"resp": float})
    table.loc[[2, 8], "resp"] = np.nan
    rows = table[(table["treat"] == 0) & table["resp"].notna()]
    by_hand = {c: rows[[c, "resp"]].dropna().corr().iloc[0, 1] for c in ("cov_x", "cov_y")}
    trial = prepare(table, profile="vignette")
    assert trial.covariate_name == max(by_hand, key=lambda c: abs(by_hand[c]))
    assert trial.covariate_correlation == pytest.approx(by_hand[trial.covariate_name], abs=1e-12)


@pytest.mark.parametrize("profile", PROFILES)
def test_text_and_constant_columns_are_no_candidates(profile):
    columns = {"cov_text": [*"uvwxy", 6], "cov_same": [3.0] * 5 + [np.nan], "cov_empty": [np.nan] * 6}
    alone = prepare(table_of(**columns), profile=profile)
    assert alone.covariate is None
    reasons = [e.reason for e in entries(alone, "covariate")]
    assert [name for name in columns if any(name in r and "not a candidate" in r for r in reasons)] == list(columns)
    # with one number column left it is taken without a correlation, which here does not exist
    beside = prepare(table_of(**columns, cov_x=[1, 2, 1, 3, 1, 4]), profile=profile)
    assert beside.covariate_name is None and "fewer than two values in the control arm" in beside.flags[0]
    beside = prepare(table_of(**columns, cov_x=[1, 2, 5, 3, 1, 4]), profile=profile)
    assert beside.covariate_name == "cov_x" and "only candidate" in entries(beside, "covariate")[-1].reason


def test_a_single_cov_column_needs_no_correlation():
    # control persons who have the covariate, p1 and p3, answer 0 throughout: no correlation is defined
    x = [1, 5, 2, 3, *[np.nan, 4] * 4]
    table = table_of(12, cov_x=x)
    table.loc[table["id"].isin(["p1", "p3"]), "resp"] = 0
    for profile in PROFILES:
        trial = prepare(table, profile=profile)
        assert trial.covariate_name == "cov_x" and np.isnan(trial.covariate_correlation)
    # with two of them there is nothing to choose by
    trial = prepare(table.assign(cov_y=table["cov_x"] * 2))
    assert trial.covariate is None and "No candidate covariate varies" in trial.audit[0].reason


def test_the_user_names_the_covariate():
    table = table_of(std_baseline=[1, 2, 3, 4, 5, 7], age=[30, 41, 35, 28, 60, 33], town=list("uvwxyz"))
    trial = prepare(table, covariate="age")
    assert trial.covariate_name == "age" and entries(trial, "covariate")[0].reason == "'age' was asked for."
    rows = table[table["treat"] == 0]
    assert trial.covariate_correlation == pytest.approx(np.corrcoef(rows["age"], rows["resp"])[0, 1], abs=1e-12)
    assert "'town'" in refusal(table, covariate="town") and "--contrast" in refusal(table, covariate="town")
    assert "no column 'ages'" in refusal(table, covariate="ages")


def test_standardised_over_rows_or_over_persons():
    # person p6 has one row, so rows and persons have different means and SDs
    x = np.array([1.0, 2, 4, 8, 16, 32])
    table = table_of(cov_x=x)
    table = table[(table["id"] != "p6") | (table["item"] == "a")]
    rows = table["cov_x"].to_numpy()
    by_rows = (x - rows.mean()) / rows.std(ddof=1)
    by_persons = (x - x.mean()) / x.std(ddof=1)
    np.testing.assert_allclose(prepare(table, profile="vignette").covariate, by_rows, rtol=1e-12)
    np.testing.assert_allclose(prepare(table, profile="full").covariate, by_persons, rtol=1e-12)
    assert not np.allclose(by_rows, by_persons)


def test_scaled_after_rows_and_items_are_dropped():
    # p7 answers only the constant item d and is gone before the covariate is scaled
    x = [1.0, 2, 4, 8, 16, 32, 1000]
    table = table_of(7, items=(*ITEMS, "d"), cov_x=x)
    table.loc[table["item"] == "d", "resp"] = 1
    table = table[(table["id"] != "p7") | (table["item"] == "d")]
    for profile in PROFILES:
        trial = prepare(table, profile=profile)
        assert removed(trial, "items") == [(7, 1, 1)]
        assert trial.covariate.mean() == pytest.approx(0.0, abs=1e-12)
        assert trial.covariate.std(ddof=1) == pytest.approx(
            1.0 if profile == "full" else np.sqrt(17 / 18 * 6 / 5), abs=1e-12
        )


def test_persons_without_covariate():
    x = [1.0, 2, 4, 8, np.nan, np.nan, 3, 5]
    table = table_of(8, cov_x=x)
    strict, full = (prepare(table, profile=p) for p in PROFILES)
    assert removed(strict, "missing covariate") == [(6, 2, 0)]
    assert (strict.n_persons, strict.n_responses) == (6, 18)
    assert not np.isnan(strict.covariate).any()
    assert (full.n_persons, full.n_responses) == (8, 24)
    assert np.isnan(full.covariate).tolist() == np.isnan(x).tolist()
    assert "2 persons without 'cov_x' are used in M_0 and M_A" in entries(full, "covariate")[-1].reason
    np.testing.assert_allclose(full.covariate, (x - np.nanmean(x)) / np.nanstd(x, ddof=1), rtol=1e-12)


def test_a_covariate_that_varies_within_a_person():
    table = table_of(cov_x=[1.0, 2, 4, 8, 16, 32])
    table.loc[[1, 2, 16], "cov_x"] = [9.0, np.nan, 7.0]
    full = prepare(table)
    x = np.array([1.0, 2, 4, 8, 16, 32])
    np.testing.assert_allclose(full.covariate, (x - x.mean()) / x.std(ddof=1), rtol=1e-12)
    assert full.flags == ("'cov_x' varies within 2 persons; the first value of each is used.",)
    strict = prepare(table, profile="vignette")
    assert removed(strict, "missing covariate") == [(1, 0, 0)] and strict.flags == full.flags
    # the first value, also where the first row has none
    table.loc[0, "cov_x"] = np.nan
    assert prepare(table).covariate.argsort().tolist() == [1, 2, 3, 0, 4, 5]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("x", [[0, 1] * 4, [5, 1, 5, 2, 5, 3, 5, 4], [1, 5, 2, 5, 3, 5, 4, 5]])
def test_a_covariate_with_one_value_in_an_arm_is_set_aside_with_a_flag(x, profile):
    trial = prepare(table_of(8, cov_x=x), profile=profile)
    assert trial.covariate is None and trial.covariate_name is None and np.isnan(trial.covariate_correlation)
    assert "treat:cov cannot be estimated: M_B and M_C are not fitted" in trial.flags[0]


def test_a_covariate_known_in_one_arm_alone():
    table = table_of(8, cov_x=[1, np.nan, 3, np.nan, 2, np.nan, 5, np.nan])
    assert "treated arm" in prepare(table).flags[0]
    assert "nobody in the treated" in refusal(table, profile="vignette")


# -- responses and arms -----------------------------------------------------------------------------------------------


def test_missing_responses_and_arms_are_dropped_and_counted():
    table = table_of(7).astype({"resp": float, "treat": float})
    table.loc[[0, 4], "resp"] = np.nan
    table.loc[table["id"] == "p7", "resp"] = np.nan
    table.loc[table["id"] == "p5", "treat"] = np.nan
    for profile in PROFILES:
        trial = prepare(table, profile=profile)
        assert removed(trial, "missing response") == [(5, 1, 0)]
        assert "1 person has no response at all (id 'p7')" in entries(trial, "missing response")[0].reason
        assert removed(trial, "missing arm") == [(3, 1, 0)]
        assert (trial.n_persons, trial.n_responses) == (5, 13)


def test_rows_without_person_or_item_are_dropped_and_flagged():
    table = table_of()
    table.loc[0, "id"] = None
    table.loc[4, "item"] = np.nan
    trial = prepare(table)
    assert removed(trial, "identifiers") == [(2, 0, 0)] and trial.n_responses == 16
    assert "1 row names no person and 1 no item" in trial.flags[0]


def test_vignette_truncates_responses_and_full_does_not():
    table = table_of().astype({"resp": float})
    table["resp"] = table["resp"].map({0.0: 0.9, 1.0: 1.2})
    assert "not coded 0/1" in refusal(table)
    table.loc[0, "resp"] = -0.7
    trial = prepare(table, profile="vignette")
    assert trial.resp.tolist() == table_of()["resp"].tolist()
    # 0, 0.5, 1 is binary once truncated, polytomous otherwise
    halves = table_of(8).astype({"resp": float})
    halves.loc[0, "resp"] = 0.5
    assert prepare(halves, profile="vignette").item_names == ITEMS
    assert refusal(halves).startswith("Item 'a' of table 'demo' holds 0, 0.5, 1: scores must be whole numbers;")


def test_the_vignette_drops_items_with_other_than_two_values():
    table = table_of(items=("a", "b", "c", "const", "poly", "poly2"))
    table.loc[table["item"] == "const", "resp"] = 1
    for name in ("poly", "poly2"):
        table.loc[table["item"] == name, "resp"] = [0, 1, 2, 1, 0, 2]
    trial = prepare(table, profile="vignette")
    assert trial.item_names == ITEMS and trial.formats is None
    assert removed(trial, "items") == [(6, 0, 1), (12, 0, 2)]
    constant, polytomous = entries(trial, "items")
    assert constant.reason == "Items with a single value: 'const'."
    assert "item 'poly' holds 0, 1, 2" in polytomous.reason and polytomous.reason in trial.flags


def test_an_item_with_two_values_only_because_rows_were_dropped_is_kept():
    table = table_of(items=(*ITEMS, "d")).astype({"resp": float})
    table.loc[table["item"] == "d", "resp"] = [0, 1, np.nan, 1, 0, np.nan]
    assert prepare(table).item_names == (*ITEMS, "d")


def test_fewer_than_three_binary_items_are_refused():
    table = table_of()
    table.loc[table["item"] == "c", "resp"] = 1
    for profile in PROFILES:
        message = refusal(table, "short one", profile=profile)
        assert "'short one' has 2 binary items" in message and "1 item holds a single value: 'c'" in message


def test_items_not_coded_0_and_1():
    table = table_of().astype({"resp": int})
    table.loc[table["item"] == "b", "resp"] += 1
    assert "1 binary item of" in refusal(table) and "item 'b' holds 1, 2" in refusal(table)
    assert "recode" in refusal(table)
    assert "the vignette drops it" in refusal(table, profile="vignette")


def test_arms_that_are_no_arms_are_refused():
    assert "treated (treat = 1) arm" in refusal(table_of().assign(treat=0))
    assert "control (treat = 0) arm" in refusal(table_of().assign(treat=1))
    table = table_of()
    table.loc[table["id"] == "p3", "treat"] = 2
    message = refusal(table)
    assert "must be 0 (control) or 1 (treated)" in message and "3 rows hold '2'" in message and "'p3'" in message
    words = table_of().assign(treat=["ctl", "trt"] * 9)
    assert "'ctl', 'trt'" in refusal(words) and "--control" in refusal(words)
    moving = table_of()
    moving.loc[[3, 9], "treat"] = 0
    message = refusal(moving)
    assert "not constant within a person for 2 persons" in message and "'p2', 'p4'" in message


def test_an_arm_emptied_by_missing_responses_is_refused():
    table = table_of().astype({"resp": float})
    table.loc[table["treat"] == 1, "resp"] = np.nan
    for profile in PROFILES:
        assert "nobody in the treated" in refusal(table, profile=profile)


@pytest.mark.parametrize(("value", "shown"), [("yes", "'yes'"), (np.inf, "'inf'")])
def test_responses_that_are_no_numbers_are_refused(value, shown):
    table = table_of().astype({"resp": object})
    table.loc[4, "resp"] = value
    message = refusal(table)
    assert "Column resp" in message and shown in message and "id 'p2' item 'b'" in message


def test_numbers_written_as_text_count_as_numbers():
    table = table_of(cov_x=[1, 2, 4, 8, 16, 32])
    text = table.astype({"resp": str, "treat": str, "cov_x": str})
    one, two = prepare(table), prepare(text)
    np.testing.assert_array_equal(one.resp, two.resp)
    np.testing.assert_array_equal(one.treat, two.treat)
    np.testing.assert_array_equal(one.covariate, two.covariate)


# -- persons ----------------------------------------------------------------------------------------------------------


def test_the_vignette_draws_the_persons_that_r_draws():
    # R, L'Ecuyer-CMRG: set.seed(42); sample(1:10000, 5) is 3588 3052 2252 5257 8307
    n = 10_000
    k, i = (x.ravel() for x in np.indices((n, 3)))
    label = (k * 7919) % n  # ids in no order: what counts is their first appearance
    table = pd.DataFrame({"id": label, "item": i, "resp": (k + 1) % 2, "treat": ((k + 1) % 3 == 0).astype(int)})
    trial = prepare(table, profile="vignette", max_persons=5)
    drawn = np.array([3588, 3052, 2252, 5257, 8307])
    assert sorted(trial.person_ids) == sorted((drawn - 1) * 7919 % n)
    assert removed(trial, "size") == [(3 * (n - 5), n - 5, 0)]
    assert "5 of 10000 persons were drawn" in entries(trial, "size")[0].reason


def test_who_is_never_drawn():
    n = 5001
    k, i = (x.ravel() for x in np.indices((n, 3)))
    table = pd.DataFrame({"id": k, "item": i, "resp": (k // 2 + i) % 2, "treat": k % 2})
    assert prepare(table).n_persons == prepare(table, profile="vignette", max_persons=0).n_persons == n
    assert prepare(table, profile="vignette").n_persons == 5000
    assert prepare(table[table["id"] < 5000], profile="vignette").n_persons == 5000
    assert entries(prepare(table[table["id"] < 5000], profile="vignette"), "size") == []
    assert prepare(table, max_persons=40).n_persons == 40
    assert "--max-persons" in refusal(table, max_persons=-1)


def test_only_persons_with_usable_rows_are_in_the_hat():
    # the 5,001st person has no response, so nobody needs to go
    n = 5001
    k, i = (x.ravel() for x in np.indices((n, 3)))
    table = pd.DataFrame({"id": k, "item": i, "resp": ((k // 2 + i) % 2).astype(float), "treat": k % 2})
    table.loc[table["id"] == 17, "resp"] = np.nan
    trial = prepare(table, profile="vignette")
    assert trial.n_persons == 5000 and entries(trial, "size") == []


def test_repeated_rows():
    table = table_of()
    again = pd.concat([table, table.iloc[[0, 0, 7, 12]]], ignore_index=True)
    message = refusal(again)
    assert "4 repeated rows" in message and "--repeated trials" in message
    assert "id 'p1' item 'a'" in message and "id 'p3' item 'b'" in message
    for options in ({"profile": "vignette"}, {"repeated": "trials"}):
        trial = prepare(again, **options)
        assert trial.n_responses == 22
        assert trial.flags == ("4 repeated rows of one person and item count as further trials.",)
    with pytest.raises(InputError, match="can be 'error' or 'trials', not 'mean'"):
        prepare(table, repeated="mean")


def test_one_person_under_two_types_of_id_is_refused():
    table = table_of(cov_x=[1, 2, 3, 4, 5, 6])
    mixed = table.assign(id=[int(i[1:]) if i < "p4" else i[1:] for i in table["id"]])
    message = refusal(mixed)
    assert "Column id" in message and "mixes text and numbers" in message
    mixed = table.assign(item=table["item"].map({"a": 1, "b": "2", "c": "3"}))
    assert "Column item" in refusal(mixed)
    for ids in (table["id"].astype("category"), table["id"].astype("string"), table["id"].str[1:].astype(float)):
        assert prepare(table.assign(id=ids)).n_persons == 6


def test_clusters():
    schools = ["s1", "s1", "s2", "s2", "s3", "s3"]
    assert prepare(table_of(cluster=schools)).cluster.tolist() == schools
    assert prepare(table_of(cluster=schools, school=[1, 1, 2, 2, 3, 3]), cluster="school").cluster.tolist() == [
        1,
        1,
        2,
        2,
        3,
        3,
    ]
    assert "no column 'school'" in refusal(table_of(), cluster="school")


def test_items_answered_in_one_arm_only_are_flagged():
    table = table_of(8, items=(*ITEMS, "d"))
    (flag,) = prepare(table[(table["item"] != "d") | (table["treat"] == 1)]).flags
    assert "answered in one arm only" in flag and "'d'" in flag and "'a'" not in flag


# -- the file itself --------------------------------------------------------------------------------------------------


def test_columns_that_are_not_there():
    message = refusal(table_of().rename(columns={"treat": "arm"}).drop(columns="resp"))
    assert "'resp', 'treat'" in message and "'arm'" in message and "rename" in message
    twice = pd.concat([table_of(), table_of()["resp"]], axis=1)
    assert "more than one column named 'resp'" in refusal(twice)


def test_an_empty_table():
    assert "has a header but no rows" in refusal(table_of().iloc[:0])


def test_an_unknown_profile():
    assert "use one of vignette, full" in refusal(table_of(), profile="strict")


def test_a_table_name_with_markup_is_shown_as_it_is():
    assert repr("<b>x</b>\n/etc") in refusal(table_of().iloc[:0], "<b>x</b>\n/etc")


@pytest.mark.parametrize("profile", PROFILES)
def test_the_audit_accounts_for_every_row_person_and_item(profile):
    rng = np.random.default_rng(3)
    n = 60
    table = table_of(
        n, items=tuple(f"q{k}" for k in range(8)), cov_x=np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n))
    )
    table = table.astype({"resp": float, "treat": float}).sample(frac=0.8, random_state=1)
    table["wave"] = np.where(rng.random(len(table)) < 0.1, 0, 1)
    table.loc[rng.random(len(table)) < 0.2, "resp"] = np.nan
    table.loc[table["item"] == "q3", "resp"] = 1.0
    table.loc[table["item"] == "q5", "resp"] = rng.integers(0, 4, (table["item"] == "q5").sum())
    table.loc[table["id"] == "p9", "treat"] = np.nan
    trial = prepare(table, profile=profile, max_persons=40)
    lost = np.array([[e.rows, e.persons, e.items] for e in trial.audit]).sum(axis=0)
    before = (len(table), table["id"].nunique(), table["item"].nunique())
    np.testing.assert_array_equal(np.array(before) - lost, (trial.n_responses, trial.n_persons, trial.n_items))
    assert {"wave", "missing response", "missing arm", "size", "items"} <= {e.step for e in trial.audit if e.rows}


def test_the_vignette_refuses_another_wave_than_1():
    """A wave asked for under the vignette is not silently another one."""
    table = table_of().assign(wave=2)
    with pytest.raises(InputError, match="keeps only wave 1: choose wave '2' under profile full"):
        prepare(table, "t", profile="vignette", wave="2")
    with pytest.raises(InputError, match="no rows of wave '1'.*choose one under profile full"):
        prepare(table, "t", profile="vignette")


def test_without_a_wave_after_randomisation_the_first_is_kept_and_flagged():
    """Waves below 1 are before treatment: the page must say what was analysed."""
    prepared = prepare(table_of().assign(wave=-2), "t")
    assert prepared.wave == "-2"
    assert any("usually means before treatment" in flag for flag in prepared.flags)


def test_numbers_too_large_to_be_squared_warn_nobody():
    import warnings

    table = table_of(8, items=(*ITEMS, "d"), cov_x=[1, 0, 2, 1, 1, 0, 2, 0]).astype({"resp": float})
    table.loc[table.index[table["treat"] == 0][0], "resp"] = 1e300
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trial = prepare(table)
    assert trial.n_items == 3 and any("1e+300" in flag for flag in trial.flags)
