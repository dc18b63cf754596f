"""Text that is empty, or white space alone, is missing in every format, as in the same rows of a CSV file."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from saved_tables import save, small_trial

from ilhte_lib.data.prepare import prepare
from ilhte_lib.data.read import read_table
from ilhte_lib.errors import InputError

TYPED = [".parquet", ".dta", ".sav", ".xlsx", ".rds"]
BLANKS = ["", " ", "   ", "\t", "\u00a0"]
COLUMNS = ["id", "item", "resp", "treat", "cov_pre", "cluster"]


def outcome(path, **options: object) -> tuple:
    """What a file is prepared to, or the sentence that refuses it."""
    try:
        trial = prepare(read_table(path, **options), "t")
    except InputError as error:
        return (str(error),)
    covariate = None if trial.covariate is None else tuple(np.nan_to_num(trial.covariate, nan=99.0).round(9))
    cluster = tuple("" if pd.isna(value) else str(value) for value in trial.cluster)
    return (
        trial.item_names, tuple(map(str, trial.person_ids)), tuple(trial.treat), tuple(trial.person), tuple(trial.item),
        tuple(trial.resp), covariate, trial.covariate_name, cluster, trial.flags,
    )  # fmt: skip


def as_text(table: pd.DataFrame, column: str, rows: list[int], blank: str) -> pd.DataFrame:
    table = table.astype({column: object})
    table[column] = table[column].map(str)
    table.loc[rows, column] = blank
    return table


@pytest.mark.parametrize("ending", TYPED)
@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_is_missing_in_every_column_and_format(tmp_path, ending, column, blank):
    table = as_text(small_trial(), column, [0, 1, 2, 3, 21], blank)
    missing = table.replace({column: {blank: None}})
    assert outcome(save(table, tmp_path / f"t{ending}")) == outcome(save(missing, tmp_path / "t.csv"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ending=st.sampled_from([".parquet", ".dta", ".sav", ".rds", ".csv"]),
    blanks=st.dictionaries(
        st.sampled_from(COLUMNS),
        st.tuples(st.sets(st.integers(0, 95), max_size=30), st.sampled_from(BLANKS)),
        max_size=4,
    ),
)
def test_blanks_anywhere(tmp_path, ending, blanks):
    table, missing = small_trial(), small_trial()
    for column, (rows, blank) in blanks.items():
        table = as_text(table, column, sorted(rows), blank)
        missing = as_text(missing, column, sorted(rows), "")
    assert outcome(save(table, tmp_path / f"t{ending}")) == outcome(save(missing, tmp_path / "plain.csv"))


@pytest.mark.parametrize("ending", TYPED)
def test_blanks_of_wide_files(tmp_path, ending):
    rng = np.random.default_rng(1)
    wide = pd.DataFrame({"id": [f"p{k}" for k in range(20)], "arm": ["T", "C"] * 10})
    for k in range(4):
        wide[f"q{k}"] = [str(value) for value in rng.integers(0, 2, 20)]
        wide.loc[[k, 7, 2 * k + 9], f"q{k}"] = " "
    wide.loc[3, "id"], wide.loc[5, "arm"] = "", " "
    options = {"wide": ["q*"], "treat": "arm", "control": "C"}
    found = [
        read_table(save(wide.replace(r"^\s*$", None, regex=True), tmp_path / "t.csv"), **options),
        read_table(save(wide, tmp_path / f"t{ending}"), **options),
    ]
    trials = [prepare(table, "t") for table in found]
    # without p3 (no name), p5 (no arm) and p7 (no response)
    assert trials[0].n_persons == trials[1].n_persons == 17
    np.testing.assert_array_equal(trials[0].resp, trials[1].resp)
    assert trials[0].flags == trials[1].flags


@pytest.mark.parametrize("ending", [".parquet", ".dta", ".sav", ".rds"])
def test_words_are_names_where_the_format_can_say_missing(tmp_path, ending):
    table = small_trial()
    table["id"] = table["id"].replace("p3", "NA")
    assert prepare(read_table(save(table, tmp_path / f"t{ending}")), "t").n_persons == 24
    for text in (".csv", ".xlsx"):
        assert prepare(read_table(save(table, tmp_path / f"t{text}")), "t").n_persons == 23


def test_numbers_beside_blanks_are_numbers(tmp_path):
    table = as_text(small_trial(), "treat", [0], " ")
    read = read_table(save(table, tmp_path / "t.csv"))
    assert read["treat"].dtype == float and np.isnan(read["treat"][0])


def test_categories_may_be_blank(tmp_path):
    table = small_trial()
    table["id"] = pd.Categorical(table["id"].replace("p3", ""))
    table["cluster"] = pd.Categorical(table["cluster"].replace("s1", " "))
    table["cov_pre"] = pd.Categorical([1 if k % 3 else None for k in range(len(table))])
    read = read_table(save(table, tmp_path / "t.parquet"))
    assert read["id"].isna().sum() == 4 and read["cluster"].isna().sum() == 24
    assert not any(hasattr(dtype, "categories") for dtype in read.dtypes)
