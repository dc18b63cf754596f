"""Files said to be damaged that are not: columns of lists, bytes of no encoding, types that other languages have."""

from __future__ import annotations

import os
import shutil
import subprocess
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from saved_tables import save, small_trial

from ilhte_lib.data.prepare import prepare
from ilhte_lib.data.r_stream import read_object
from ilhte_lib.data.read import read_table
from ilhte_lib.errors import InputError


def told(path: Path, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        read_table(path, **options)
    assert str(caught.value).isprintable()
    return str(caught.value)


# ---------------------------------------------------------------- wrong endings and names


KINDS = [".csv", ".csv.gz", ".parquet", ".dta", ".sav", ".xlsx", ".rds"]


@pytest.mark.parametrize("ending", KINDS)
def test_a_wrong_ending_is_told_and_no_damage(tmp_path, ending):
    content = save(small_trial(), tmp_path / f"t{ending}").read_bytes()
    for other in (".csv", ".tsv", ".csv.gz", ".parquet", ".dta", ".sav", ".xlsx"):
        if other != ending and not (ending == ".csv" and other == ".tsv") and {ending, other} != {".rds", ".csv.gz"}:
            (tmp_path / f"x{other}").write_bytes(content)
            message = told(tmp_path / f"x{other}")
            assert ending in message and "damaged" not in message, (other, message)


@pytest.mark.parametrize("ending", KINDS)
def test_any_name_of_a_file_will_do(tmp_path, ending):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xe9"))
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this system takes no such names")
    made = save(small_trial(), tmp_path / f"t{ending}").rename(folder / f"\U0001f642 x{ending}")
    assert len(read_table(made)) == len(small_trial())


# ---------------------------------------------------------------- Parquet


def parquet(path: Path, **columns: object) -> Path:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    table = small_trial()
    pq.write_table(pa.table({name: table[name].tolist() for name in table} | columns), path)
    return path


def test_columns_of_lists_are_named(tmp_path):
    pa = pytest.importorskip("pyarrow")
    n = len(small_trial())
    kinds = {
        "list": [[1, 2]] * n,
        "struct": [{"a": 1}] * n,
        "map": pa.array([[("a", 1)]] * n, pa.map_(pa.string(), pa.int32())),
    }
    for name, values in kinds.items():
        read = read_table(parquet(tmp_path / "t.parquet", tags=values))
        assert "tags" not in read and "Column 'tags'" in read.attrs["cautions"][0], name
        assert prepare(read, "t").n_persons == 24
        for role in ("id", "item", "resp", "treat"):
            message = told(parquet(tmp_path / "t.parquet", **{role: values}))
            assert f"Column {role!r}" in message and "lists" in message and "damaged" not in message
    read_table(parquet(tmp_path / "t.parquet", tags=kinds["list"], more=kinds["struct"]))
    assert "Column 'tags'" in told(tmp_path / "t.parquet", pretest="tags")


def test_bytes_in_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    table = small_trial()
    names = [name.encode() for name in table["id"]]
    read = read_table(parquet(tmp_path / "t.parquet", id=names))
    assert read["id"].tolist() == table["id"].tolist() and read.attrs["cautions"] == []
    odd = [b"\xff\x81" + name for name in names]
    invalid = pa.array(odd, pa.binary()).view(pa.string())
    for values in (odd, invalid, invalid.dictionary_encode()):
        read = read_table(parquet(tmp_path / "t.parquet", id=values))
        assert "Column 'id'" in read.attrs["cautions"][0] and "bytes" in read.attrs["cautions"][0]
        assert prepare(read, "t").n_persons == 24


def test_decimals_and_booleans_in_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    table = small_trial()
    arms = pa.array(table["treat"].tolist()).cast(pa.decimal128(25, 2))
    answers = pa.array([None, *[bool(value) for value in table["resp"][1:]]])
    trial = prepare(read_table(parquet(tmp_path / "t.parquet", treat=arms, resp=answers), control="0"), "t")
    assert (trial.n_persons, trial.n_responses) == (24, 95)
    np.testing.assert_array_equal(trial.treat, np.arange(24) % 2)


# ---------------------------------------------------------------- Stata and SPSS


@pytest.mark.parametrize("ending", [".dta", ".sav"])
@pytest.mark.parametrize("column", ["id", "note"])
def test_bytes_of_no_encoding(tmp_path, ending, column):
    pytest.importorskip("pyreadstat")
    table = small_trial().assign(note="Zwei Fälle", other="€")
    table[column] = table[column] + "bZZd"
    path = save(table, tmp_path / f"t{ending}")
    path.write_bytes(path.read_bytes().replace(b"bZZd", b"b\x81\xffd"))
    read = read_table(path)
    (caution,) = read.attrs["cautions"]
    assert f"Column {column!r}" in caution and "bytes" in caution
    # what is text stays the text it is
    assert set(read["other"]) == {"€"}
    assert prepare(read, "t").n_persons == 24


def test_dates_beyond_the_calendar(tmp_path):
    pyreadstat = pytest.importorskip("pyreadstat")
    table = small_trial().assign(day=9e15)
    pyreadstat.write_sav(table, str(tmp_path / "t.sav"), variable_format={"day": "DATE11"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert prepare(read_table(tmp_path / "t.sav"), "t").n_persons == 24


@pytest.mark.parametrize("ending", [".dta", ".sav"])
def test_labels_name_the_arms_in_any_case(tmp_path, ending):
    pyreadstat = pytest.importorskip("pyreadstat")
    table = small_trial().assign(treat=lambda t: t["treat"] + 1)
    write = pyreadstat.write_dta if ending == ".dta" else pyreadstat.write_sav
    labels = {"treat": {1: "Témoin", 2: "New Programme"}, "resp": {0: "No", 1: "Yes", -9: "Missing"}}
    write(table, str(tmp_path / f"t{ending}"), variable_value_labels=labels)
    for control in ("Témoin", "témoin", "TÉMOIN", "Te\u0301moin", " témoin ", "1", "1.0"):
        read = read_table(tmp_path / f"t{ending}", control=control)
        assert read["treat"].tolist() == (table["treat"] - 1).tolist()
        assert read.attrs["value_labels"] == {"resp": {0: "No", 1: "Yes", -9: "Missing"}}
    assert (
        read_table(tmp_path / f"t{ending}", control="new programme")["treat"].tolist() == (2 - table["treat"]).tolist()
    )
    assert read_table(tmp_path / f"t{ending}").attrs["value_labels"]["treat"] == labels["treat"]


def test_labels_go_where_their_columns_go(tmp_path):
    pyreadstat = pytest.importorskip("pyreadstat")
    table = small_trial().rename(columns={"resp": "right", "treat": "arm"}).assign(treat=1.0, cov_sex=1.0)
    labels = {"right": {0: "No", 1: "Yes"}, "arm": {0: "old", 1: "new"}, "treat": {1: "x"}, "cov_sex": {1: "girl"}}
    pyreadstat.write_sav(table, str(tmp_path / "t.sav"), variable_value_labels=labels)
    found = read_table(tmp_path / "t.sav", resp="right", treat="arm").attrs["value_labels"]
    assert found == {"resp": labels["right"], "treat": labels["arm"], "cov_sex": labels["cov_sex"]}
    wide = pd.DataFrame({"treat": [0.0, 1.0] * 6, "q1": 1.0, "q2": 0.0})
    labels = {"q1": {0: "No", 1: "Yes"}, "q2": {0: "Nein", -9: "Refused"}}
    pyreadstat.write_sav(wide, str(tmp_path / "w.sav"), variable_value_labels=labels)
    found = read_table(tmp_path / "w.sav", wide=["q*"]).attrs["value_labels"]
    assert found == {"resp": {0: "No", 1: "Yes", -9: "Refused"}}


# ---------------------------------------------------------------- R


R_FILES = """
b <- data.frame(id = rep(c("a", "b"), each = 3), item = rep(c("x", "y", "z"), 2), resp = c(1, 0, NA, 0, 1, 0),
                treat = rep(0:1, each = 3))
put <- function(d, name, ...) saveRDS(d, paste0(name, ".rds"), ...)
with <- function(...) { d <- b; new <- list(...); for (n in names(new)) d[[n]] <- new[[n]]; d }
put(with(tags = as.list(1:6)), "list"); put(with(tags = as.list(1:6)), "list_xz", compress = "xz")
put(with(tags = as.list(1:6)), "list_plain", compress = FALSE); put(with(tags = as.list(1:6)), "list_2", version = 2)
put(with(tags = as.list(1:6), id = factor(c("a", "a", "a", NA, "b", "b")), flag = c(TRUE, NA, FALSE, TRUE, FALSE, TRUE),
         seq = 1:6, text = as.character(1:6)), "list_types")
put(with(tags = complex(real = 1:6, imaginary = 1)), "complex"); put(with(tags = as.raw(1:6)), "raw")
d <- b; d$tags <- matrix(1:12, 6); put(d, "matrix"); d <- b; d$tags <- data.frame(u = 1:6); put(d, "nested")
d <- b; d$tags <- as.POSIXlt("2020-01-01", tz = "UTC") + 0:5; d$tags <- as.POSIXlt(d$tags); put(d, "time")
put(with(tags = list(quote(x + y), as.name("a"), globalenv(), new.env(), NULL, y ~ x)), "language")
put(with(resp = as.list(b$resp)), "list_resp"); put(b, "letters", ascii = TRUE)
x <- c("\\xe9\\x81", "b", "b", "b", "b", "b"); put(with(note = x), "bytes")
x <- rep("\\xe9", 6); Encoding(x) <- "latin1"; put(with(note = x, tags = as.list(1:6)), "latin1")
i64 <- function(k) structure(k * 4.94065645841247e-324, class = "integer64")
put(with(id = i64(c(1, 1, 1, 2, 2, 2))), "integer64"); put(with(id = i64(c(1, 1, 1, 2, 2, 2)), tags = as.list(1:6)), "integer64_list")
d <- with(resp = i64(c(1, 0, 0, 0, 1, 0))); d$resp[3] <- -0.0; put(d, "integer64_na")
"""


@pytest.fixture(scope="module")
def r_files(tmp_path_factory) -> Path:
    pytest.importorskip("pyreadr")
    if shutil.which("Rscript") is None:
        pytest.skip("R is not installed")
    folder = tmp_path_factory.mktemp("r")
    subprocess.run(["Rscript", "-"], input=R_FILES, text=True, check=True, cwd=folder, timeout=120)
    return folder


@pytest.mark.r
@pytest.mark.parametrize(
    "name",
    [
        "list",
        "list_xz",
        "list_plain",
        "list_2",
        "list_types",
        "complex",
        "raw",
        "matrix",
        "nested",
        "time",
        "language",
        "latin1",
    ],
)
def test_a_column_that_r_alone_has_is_named_and_the_rest_read(r_files, name):
    read = read_table(r_files / f"{name}.rds")
    assert "Column 'tags'" in read.attrs["cautions"][0] and "tags" not in read
    np.testing.assert_array_equal(read["resp"].to_numpy(float), [1, 0, np.nan, 0, 1, 0])
    assert read["treat"].tolist() == [0, 0, 0, 1, 1, 1] and read["item"].tolist() == ["x", "y", "z"] * 2
    if name == "list_types":
        assert read["id"].tolist()[:3] == ["a"] * 3 and pd.isna(read["id"][3])
        assert read["seq"].tolist() == [1, 2, 3, 4, 5, 6] and read["text"].tolist() == list("123456")
        np.testing.assert_array_equal(read["flag"].to_numpy(float), [1, np.nan, 0, 1, 0, 1])
    else:
        assert read["id"].tolist() == ["a"] * 3 + ["b"] * 3
    if name == "latin1":
        assert set(read["note"]) == {"é"}


@pytest.mark.r
def test_other_faults_of_r_files_are_told(r_files):
    assert "Column 'resp'" in told(r_files / "list_resp.rds") and "lists" in told(r_files / "list_resp.rds")
    assert "ascii" in told(r_files / "letters.rds")
    read = read_table(r_files / "bytes.rds")
    assert "Column 'note'" in read.attrs["cautions"][0] and "bytes" in read.attrs["cautions"][0]


@pytest.mark.r
def test_integers_of_64_bits(r_files):
    for name in ("integer64", "integer64_list"):
        assert read_table(r_files / f"{name}.rds")["id"].tolist() == [1, 1, 1, 2, 2, 2]
    read = read_table(r_files / "integer64_na.rds")
    np.testing.assert_array_equal(read["resp"].to_numpy(float), [1, 0, np.nan, 0, 1, 0])


@pytest.mark.r
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_r_file_ends_in_a_sentence(r_files, tmp_path, at, byte, cut):
    content = bytearray((r_files / "list_plain.rds").read_bytes())
    position = int(at * len(content))
    content[position] = byte
    (tmp_path / "t.rds").write_bytes(bytes(content[:position] if cut and position else content))
    with suppress(InputError):  # and nothing else
        read_table(tmp_path / "t.rds")


@pytest.mark.r
def test_a_whole_object(r_files):
    frame = read_object(r_files / "list_types.rds")
    assert frame.classes == ["data.frame"]
    assert frame.attributes["names"].texts() == ["id", "item", "resp", "treat", "tags", "flag", "seq", "text"]
