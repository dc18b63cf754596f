"""Whole numbers as names: never rounded by the reader, and told where the file itself has rounded them."""

from __future__ import annotations

import decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from saved_tables import save, small_trial

from ilhte_lib.data.prepare import prepare
from ilhte_lib.data.read import read_table

FIRST = 2**53 + 1
LONG = 2**60


def numbered(first: int, step: int = 1) -> pd.DataFrame:
    """The small trial with whole numbers for persons, items and clusters."""
    table = small_trial()
    table["id"] = first + step * table["id"].str[1:].astype(int)
    table["item"] = first + step * table["item"].str[1:].astype(int)
    table["cluster"] = first + step * table["cluster"].str[1:].astype(int)
    return table


def parquet(table: pd.DataFrame, path, **kinds: object):
    """Write exact columns, of a type of Arrow each; the first row has none of them."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    columns = {name: pa.array(table[name].tolist()) for name in table if name not in kinds}
    for name, kind in kinds.items():
        columns[name] = pa.array([None, *table[name].tolist()[1:]], kind)
    pq.write_table(pa.table(columns), path)
    return path


def texts(values) -> list[str]:
    return [str(value) for value in values]


@pytest.mark.parametrize("first", [1000, FIRST, LONG])
@pytest.mark.parametrize("column", ["id", "item", "cluster"])
def test_parquet_with_a_null_keeps_every_digit(tmp_path, column, first):
    pa = pytest.importorskip("pyarrow")
    table = numbered(first)
    read = read_table(parquet(table, tmp_path / "t.parquet", **{column: pa.int64()}))
    assert pd.isna(read[column][0])
    assert texts(read[column][1:]) == texts(table[column][1:])
    assert read.attrs["cautions"] == []
    trial = prepare(read, "t")
    assert (trial.n_persons, trial.n_items) == (24, 4)
    assert len(set(texts(value for value in trial.cluster if not pd.isna(value)))) == 4


def test_other_exact_types(tmp_path):
    pa = pytest.importorskip("pyarrow")
    table = numbered(LONG)
    for kind, values in {
        pa.uint64(): table["id"] + 2**62,
        pa.decimal128(25, 0): table["id"].map(decimal.Decimal),
        pa.dictionary(pa.int32(), pa.int64()): table["id"],
    }.items():
        path = parquet(table.assign(id=values), tmp_path / "t.parquet", id=kind)
        read = read_table(path)
        assert texts(read["id"][1:]) == texts(values[1:]), kind
        assert prepare(read, "t").n_persons == 24


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.integers(-(2**62), 2**62), gaps=st.sets(st.sampled_from(["id", "item", "cluster"])))
def test_names_of_any_length(tmp_path, first, gaps):
    pa = pytest.importorskip("pyarrow")
    table = numbered(first)
    by_parquet = read_table(parquet(table, tmp_path / "t.parquet", **{name: pa.int64() for name in gaps}))
    text = table.astype(dict.fromkeys(("id", "item", "cluster"), object))
    text.loc[0, sorted(gaps)] = ""
    by_csv = read_table(save(text, tmp_path / "t.csv"))
    for name in ("id", "item", "cluster"):
        for read in (by_parquet, by_csv):
            assert read[name].nunique() == table.loc[1 if name in gaps else 0 :, name].nunique()
            whole = read[name].dropna()
            assert texts(int(value) for value in whole) == texts(table[name][len(table) - len(whole) :])
        assert by_parquet.attrs["cautions"] == by_csv.attrs["cautions"] == []


def test_the_cluster_of_a_csv_file_by_either_name(tmp_path):
    table = numbered(FIRST).astype({"cluster": object})
    table.loc[0, "cluster"] = ""
    assert read_table(save(table, tmp_path / "t.csv"))["cluster"].nunique() == 4
    path = save(table.rename(columns={"cluster": "school"}), tmp_path / "u.csv")
    assert read_table(path, cluster="school")["school"].dropna().unique().tolist()[0] == str(FIRST)
    # short ones are numbers, as they always were
    short = numbered(7).astype({"cluster": object})
    short.loc[0, "cluster"] = ""
    assert read_table(save(short, tmp_path / "v.csv"))["cluster"].dtype == float


@pytest.mark.parametrize("ending", [".sav", ".dta", ".rds", ".xlsx", ".parquet"])
@pytest.mark.parametrize(("column", "what"), [("id", "persons"), ("item", "items"), ("cluster", "clusters")])
def test_names_above_2_to_the_53_in_floating_point_are_told(tmp_path, ending, column, what):
    table = small_trial()
    table[column] = float(2**55) + 64.0 * table[column].str[1:].astype(int)
    (caution,) = read_table(save(table, tmp_path / f"t{ending}")).attrs["cautions"]
    assert f"Column {column!r}" in caution and "2^53" in caution and f"{what} may have been merged" in caution


@pytest.mark.parametrize("ending", [".sav", ".dta", ".rds", ".xlsx", ".parquet", ".csv"])
def test_nothing_is_said_of_names_that_floating_point_tells_apart(tmp_path, ending):
    table = small_trial()
    table["id"] = 2.0**53 - 100 + table["id"].str[1:].astype(int)
    read = read_table(save(table, tmp_path / f"t{ending}"))
    assert read.attrs["cautions"] == []
    assert read["id"].nunique() == 24


def test_single_precision(tmp_path):
    for first, told in ((2**24 - 100, 0), (2**24, 1)):
        table = small_trial()
        table["id"] = (first + table["id"].str[1:].astype(int)).astype("float32")
        pytest.importorskip("pyreadstat")
        table.to_stata(tmp_path / "t.dta", write_index=False)
        for path in (tmp_path / "t.dta", save(table, tmp_path / "t.parquet")):
            cautions = read_table(path).attrs["cautions"]
            assert len(cautions) == told and all("2^24" in caution and "single" in caution for caution in cautions)


def test_a_missing_name_leaves_the_others_whole(tmp_path):
    table = small_trial()
    table["id"] = table["id"].str[1:].astype(float)
    table.loc[0, "id"] = np.nan
    for ending in (".sav", ".dta", ".rds", ".parquet", ".xlsx"):
        read = read_table(save(table, tmp_path / f"t{ending}"))
        assert texts(read["id"][1:5]) == ["0", "0", "0", "1"], ending


def test_names_beyond_64_bits_stay_apart(tmp_path):
    table = small_trial()
    table["id"] = 1e20 * (1 + table["id"].str[1:].astype(int))
    read = read_table(save(table, tmp_path / "t.parquet"))
    assert read["id"].nunique() == 24 and "2^53" in read.attrs["cautions"][0]


def test_infinite_and_broken_numbers_are_left_alone(tmp_path):
    for name in (np.inf, 0.5, -0.25):
        table = small_trial()
        table["id"] = table["id"].str[1:].astype(float).replace(3.0, name)
        assert read_table(save(table, tmp_path / "t.parquet"))["id"].dtype == float


def test_what_spreadsheet_programs_make_of_long_numbers(tmp_path):
    table = small_trial()
    number = table["id"].str[1:].astype(int)
    shortened = table.assign(id=[f"1.1529{k:02d}E+18" for k in number])
    (caution,) = read_table(save(shortened, tmp_path / "t.csv")).attrs["cautions"]
    assert "'1.152900E+18'" in caution and "persons may have been merged" in caution
    cut = table.assign(id=1234567890123450 + 10 * number)
    for ending in (".csv", ".xlsx"):
        (caution,) = read_table(save(cut, tmp_path / f"u{ending}")).attrs["cautions"]
        assert "15 digits" in caution and "end in 0" in caution
    for whole in (1234567890123450 + number, 12345678901230 + 10 * number, [f"{k}e5" for k in number]):
        assert read_table(save(table.assign(id=whole), tmp_path / "v.csv")).attrs["cautions"] == []


def test_a_workbook_has_no_exact_numbers_above_2_to_the_53(tmp_path):
    (caution, *_) = read_table(save(numbered(FIRST), tmp_path / "t.xlsx")).attrs["cautions"]
    assert "2^53" in caution
