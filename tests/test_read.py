"""A researcher's file: every format, names and arms mapped, wide made long, and what is wrong told in one sentence."""

from __future__ import annotations

import gzip
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import pandas as pd
import pytest
from command_line import call

from ilhte_lib.data import file_formats
from ilhte_lib.data.prepare import prepare
from ilhte_lib.data.read import read_table, source_name
from ilhte_lib.errors import InputError
from ilhte_lib.files import sha256_of

ENDINGS = [".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".dta", ".sav", ".xlsx", ".rds"]
PACKAGE = {".parquet": "pyarrow", ".dta": "pyreadstat", ".sav": "pyreadstat", ".xlsx": "openpyxl", ".rds": "pyreadr"}


def trial() -> pd.DataFrame:
    """12 persons x 3 items, some responses missing, a pretest and a text column."""
    rng = np.random.default_rng(7)
    persons = np.repeat(np.arange(101, 113), 3)
    resp = rng.integers(0, 2, persons.size).astype(float)
    resp[[4, 20]] = np.nan
    return pd.DataFrame(
        {
            "id": persons,
            "item": np.tile(["add", "sub", "mul"], 12),
            "resp": resp,
            "treat": (persons % 2).astype("int64"),
            "score": np.repeat(rng.normal(size=12), 3),
            "school": np.repeat(["north", "söuth"], 18),
        }
    )


def save(table: pd.DataFrame, path, labels: dict | None = None):
    """Write a table in the format of the path's ending; skip where the package for it is missing."""
    name = path.name
    for ending, package in PACKAGE.items():
        if name.endswith(ending):
            pytest.importorskip(package)
    if ".csv" in name or ".tsv" in name:
        table.to_csv(path, sep="," if ".csv" in name else "\t", index=False)
    elif name.endswith(".parquet"):
        table.to_parquet(path, index=False)
    elif name.endswith(".dta"):
        import pyreadstat

        pyreadstat.write_dta(table, str(path), variable_value_labels=labels or {})
    elif name.endswith(".sav"):
        import pyreadstat

        pyreadstat.write_sav(table, str(path), variable_value_labels=labels or {})
    elif name.endswith(".xlsx"):
        table.to_excel(path, index=False)
    elif name.endswith(".rds"):
        import pyreadr

        pyreadr.write_rds(str(path), table, compress="gzip")
    return path


def text_file(tmp_path, content: str | bytes, name: str = "t.csv"):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def sentence(path, **options) -> str:
    """What a user is told: one line, no traceback, no control characters."""
    with pytest.raises(InputError) as caught:
        read_table(path, **options)
    message = str(caught.value)
    assert message.isprintable()
    assert message.rstrip().endswith((".", "?"))
    return message


# ---------------------------------------------------------------- formats


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_gives_the_same_table(tmp_path, ending):
    expected = trial()
    table = read_table(save(expected, tmp_path / f"my.trial{ending}"))
    assert list(table.columns) == ["id", "item", "resp", "treat", "score", "school"]
    assert len(table) == 36
    assert list(table["id"].astype(str)) == list(expected["id"].astype(str))
    assert list(table["item"]) == list(expected["item"])
    assert list(table["school"]) == list(expected["school"])
    np.testing.assert_array_equal(table["resp"].astype(float), expected["resp"])
    np.testing.assert_array_equal(table["treat"].astype(float), expected["treat"])
    np.testing.assert_allclose(table["score"], expected["score"], rtol=1e-14)  # Excel keeps 16 digits
    assert isinstance(table.index, pd.RangeIndex)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_cut_in_half_is_never_read(tmp_path, ending):
    path = save(pd.concat([trial()] * 400, ignore_index=True), tmp_path / f"t{ending}")
    content = path.read_bytes()
    if ending in (".csv", ".tsv"):
        path.write_bytes(content[: content.index(b"\n", len(content) // 2) - 6] + b'"')
        assert "quotation mark" in sentence(path)
        return
    for part in (len(content) // 2, 5):
        path.write_bytes(content[:part])
        assert re.search(r"cut.off", sentence(path))


@pytest.mark.parametrize("ending", ENDINGS)
def test_bytes_of_no_format(tmp_path, ending):
    path = text_file(tmp_path, bytes(np.random.default_rng(1).integers(0, 256, 4000, dtype="uint8")), f"t{ending}")
    if ending in PACKAGE:
        pytest.importorskip(PACKAGE[ending])
    assert path.name in sentence(path)


@pytest.mark.parametrize(("ending", "module"), [*PACKAGE.items()])
def test_a_missing_package_is_named(tmp_path, monkeypatch, ending, module):
    monkeypatch.setitem(sys.modules, module, None)
    assert 'pip install "ilhte[formats]"' in sentence(text_file(tmp_path, "x", f"t{ending}"))


def test_value_labels_of_stata_and_spss_name_the_control_arm(tmp_path):
    table = trial().assign(treat=lambda t: t["treat"] + 1)
    for ending in (".dta", ".sav"):
        path = save(table, tmp_path / f"t{ending}", {"treat": {1: "Business as usual", 2: "New programme"}})
        for control in ("Business as usual", "1"):
            read = read_table(path, control=control)
            assert list(read["treat"]) == list(table["treat"] - 1)
        assert set(read_table(path)["treat"]) == {1, 2}
        message = sentence(path, control="usual")
        assert "'1 = Business as usual'" in message and "'2 = New programme'" in message


def test_whole_numbered_ids_of_spss_are_integers(tmp_path):
    table = read_table(save(trial().assign(item=np.tile([1, 2, 3], 12)), tmp_path / "t.sav"))
    assert table["id"].dtype == table["item"].dtype == np.int64


def test_factors_and_categories_come_as_their_values(tmp_path):
    table = trial().astype({"item": "category", "school": "category"})
    for ending in (".parquet", ".rds"):
        read = read_table(save(table, tmp_path / f"t{ending}"))
        assert list(read["item"]) == list(trial()["item"])
        assert not any(hasattr(dtype, "categories") for dtype in read.dtypes)


def test_ids_kept_as_the_index_of_a_parquet_file_are_a_column(tmp_path):
    pytest.importorskip("pyarrow")
    trial().set_index("id").to_parquet(tmp_path / "t.parquet")
    assert list(read_table(tmp_path / "t.parquet")["id"]) == list(trial()["id"])


def test_ids_of_two_types_in_a_sheet_stay_apart_for_the_preparation_to_refuse(tmp_path):
    table = trial().astype({"id": object})
    table.loc[:2, "id"] = "101"
    table.loc[3:5, "id"] = 101
    read = read_table(save(table, tmp_path / "t.xlsx"))
    assert read["id"].iloc[0] == "101" and read["id"].iloc[3] == 101
    with pytest.raises(InputError, match="mixes text and numbers"):
        prepare(read, "t")
    read = read_table(save(trial().assign(id=trial()["id"].map("{:04d}".format)), tmp_path / "u.xlsx"))
    assert read["id"].iloc[0] == "0101"


def test_r_object_that_is_no_data_frame(tmp_path):
    pytest.importorskip("pyreadr")
    # saveRDS(list(1), compress = FALSE), as R 4.2 writes it
    content = bytes.fromhex(
        "580a000000030004020200030500000000055554462d3800000013000000010000000e000000013ff0000000000000"
    )
    path = text_file(tmp_path, content, "t.rds")
    assert "no data frame" in sentence(path)


@pytest.mark.r
def test_files_written_by_r(tmp_path):
    pytest.importorskip("pyreadr")
    if shutil.which("Rscript") is None:
        pytest.skip("R is not installed")
    script = """
        d <- data.frame(id = rep(c("a", "b"), each = 3), item = factor(rep(c("x", "y", "z"), 2)),
                        resp = c(1L, NA, 0L, 1L, 1L, 0L), treat = rep(0:1, each = 3))
        saveRDS(d, "gz.rds"); saveRDS(d, "xz.rds", compress = "xz"); write.csv(d, "rows.csv")
        saveRDS(list(1, d), "list.rds"); write.table(d, "shifted.csv", sep = ",")
    """
    subprocess.run(["Rscript", "-"], input=script, text=True, check=True, cwd=tmp_path, timeout=120)
    for name in ("gz.rds", "xz.rds", "rows.csv"):
        table = read_table(tmp_path / name)
        assert list(table["item"]) == ["x", "y", "z"] * 2
        np.testing.assert_array_equal(table["resp"].astype(float), [1, np.nan, 0, 1, 1, 0])
    assert "no data frame" in sentence(tmp_path / "list.rds")
    assert "more fields than its header" in sentence(tmp_path / "shifted.csv")


# ---------------------------------------------------------------- text


def test_ids_and_items_of_text_files_stay_text(tmp_path):
    table = read_table(text_file(tmp_path, "id,item,resp,treat\n01,007,1,0\n1,7,0,0\n1.0,7.0,1,1\n"))
    assert list(table["id"]) == ["01", "1", "1.0"]
    assert list(table["item"]) == ["007", "7", "7.0"]


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path):
    table = read_table(text_file(tmp_path, b"\xef\xbb\xbfid,item,resp,treat\r\na,x,1,0\r\n"))
    assert table.to_dict("records") == [{"id": "a", "item": "x", "resp": 1, "treat": 0}]


@pytest.mark.parametrize(
    ("content", "words"),
    [("", "is empty"), ("\n\n", "is empty"), ("id,item,resp,treat\n", "header but no rows")],
)
def test_nothing_in_the_file(tmp_path, content, words):
    assert re.search(words, sentence(text_file(tmp_path, content)))


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
@pytest.mark.parametrize("separator", list(",;\t|"))
def test_the_separator_is_found_whatever_the_ending_says(tmp_path, separator, name):
    rows = ["id,item,resp,treat,score", "1,a,1,0,0.5", "2,a,,1,-1.5"]
    table = read_table(text_file(tmp_path, "".join(row.replace(",", separator) + "\n" for row in rows), name))
    assert list(table["id"]) == ["1", "2"] and list(table["score"]) == [0.5, -1.5]
    assert table.attrs["cautions"] == []


def test_a_separator_that_only_the_header_has_is_named(tmp_path):
    path = text_file(tmp_path, "id;item;resp;treat\n1 a 1 0\n2 a 1 1\n")
    assert "semicolons" in sentence(path)


def test_wrong_encodings(tmp_path):
    text = "id,item,resp,treat\n1,a,1,0\nJosé,a,1,0\n"
    assert "line 3" in sentence(text_file(tmp_path, text.encode("latin-1")))
    assert "UTF-16" in sentence(text_file(tmp_path, text.encode("utf-16")))
    assert "line 3" in sentence(text_file(tmp_path, gzip.compress(text.encode("cp1252")), "t.csv.gz"))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("1,a,1,0\n2,b,0,1,9\n", "5 fields in line 3 but 4"),
        ("1,a,1,0,9\n2,b,0,1,9\n", "more fields than its header"),
        ("1,a,1,0,9\n2,b,0,1\n", "more fields than its header"),
        ('1,a,1,0\n2,"b,0,1\n', "quotation mark"),
    ],
)
def test_rows_that_do_not_fit_the_header(tmp_path, rows, words):
    assert words in sentence(text_file(tmp_path, "id,item,resp,treat\n" + rows))


def test_a_comma_at_every_lines_end_moves_nothing(tmp_path):
    table = read_table(text_file(tmp_path, "id,item,resp,treat\n7,a,1,0,\n8,b,0,1,\n"))
    assert list(table["id"]) == ["7", "8"] and list(table["treat"]) == [0, 1]


def test_a_gzip_file_with_a_changed_byte_is_refused(tmp_path):
    rows = "".join(f"{i},x{i % 7},{i % 2},{i % 3 // 2}\n" for i in range(20000))
    good = gzip.compress(("id,item,resp,treat\n" + rows).encode(), mtime=0)
    for position in np.linspace(20, len(good) - 5, 25).astype(int):
        bad = bytearray(good)
        bad[position] ^= 0x55
        sentence(text_file(tmp_path, bytes(bad), "t.csv.gz"))


# ---------------------------------------------------------------- the file itself


def test_folders_absent_files_and_unknown_endings(tmp_path):
    assert "is a folder" in sentence(tmp_path)
    assert "There is no file" in sentence(tmp_path / "none.csv")
    assert ".parquet" in sentence(text_file(tmp_path, "x", "t.docx"))


def test_source_name_and_checksum(tmp_path):
    assert source_name("a/b/gilbert.v2.csv.gz") == "gilbert.v2"
    assert source_name("gilbert.CSV") == "gilbert"
    assert source_name("noending") == "noending"
    path = text_file(tmp_path, "abc")
    assert sha256_of(path) == hashlib.sha256(b"abc").hexdigest()


# ---------------------------------------------------------------- columns


def renamed() -> pd.DataFrame:
    return trial().rename(columns={"id": "student", "item": "question", "resp": "correct", "treat": "arm"})


def test_names_are_mapped_and_the_pretest_keeps_its_own(tmp_path):
    path = save(renamed(), tmp_path / "t.csv")
    table = read_table(path, id="student", item="question", resp="correct", treat="arm", pretest="score")
    assert list(table.columns) == ["id", "item", "resp", "treat", "score", "school"]
    assert list(table["id"]) == list(trial()["id"].astype(str))


def test_a_column_that_bears_a_standard_name_gives_way(tmp_path):
    path = save(trial().assign(student=trial()["id"] + 1000), tmp_path / "t.csv")
    table = read_table(path, id="student")
    assert list(table["id"]) == list((trial()["id"] + 1000).astype(str))
    assert "student" not in table
    assert "in the way" in sentence(path, id="student", pretest="id")


def test_two_names_can_be_swapped(tmp_path):
    path = save(trial().rename(columns={"id": "item", "item": "id"}), tmp_path / "t.csv")
    table = read_table(path, id="item", item="id")
    assert list(table["item"]) == list(trial()["item"])


def test_wave_is_mapped(tmp_path):
    path = save(trial().assign(time=1), tmp_path / "t.csv")
    assert "wave" in read_table(path, wave="time")
    assert "--wave-column 'time'" in sentence(path, wave="times")


def test_missing_columns_are_named_with_what_is_there(tmp_path):
    message = sentence(save(renamed(), tmp_path / "t.csv"), id="student", treat="arm")
    assert "no column 'item', 'resp' (found: 'student', 'question', 'correct', 'arm', 'score', 'school')" in message
    assert "--wide" in message


def test_close_matches_are_offered_as_options(tmp_path):
    table = trial().rename(columns={"id": "ID", "resp": " response", "treat": "treatment"})
    message = sentence(save(table, tmp_path / "t.csv"))
    assert "--id 'ID' --resp ' response' --treat 'treatment'" in message
    assert "--pretest 'score'" in sentence(save(trial(), tmp_path / "u.csv"), pretest="scor")


def test_one_column_for_two_roles(tmp_path):
    assert "--id and --item" in sentence(save(trial(), tmp_path / "t.csv"), id="item")


@pytest.mark.parametrize("ending", [".csv", ".tsv.gz", ".parquet", ".xlsx"])
def test_duplicate_columns_are_named(tmp_path, ending):
    path = tmp_path / f"t{ending}"
    save(trial().rename(columns={"school": "copy"}), path)
    if ending == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pandas(trial(), preserve_index=False)
        pq.write_table(table.rename_columns(["id", "item", "resp", "treat", "resp", "school"]), path)
    else:
        table = trial()
        table.columns = ["id", "item", "resp", "treat", "resp", "school"]
        save(table, path)
    assert "more than one column named 'resp'" in sentence(path)


def test_hostile_names_do_not_reach_the_terminal_raw(tmp_path):
    columns = ["\x1b[31mred", "<script>alert(1)</script>", "../../etc", "=cmd()", "x" * 300, "🙂"]
    table = pd.DataFrame([range(6)], columns=columns)
    message = sentence(save(table, tmp_path / "t.csv"))
    assert "\x1b" not in message and len(message) < 600
    assert (
        read_table(save(trial().assign(**dict.fromkeys(columns, 1)), tmp_path / "u.csv"))[columns].eq(1).all(axis=None)
    )


# ---------------------------------------------------------------- arms


def test_treatment_labels_become_arms(tmp_path):
    arm = np.where(trial()["treat"] == 1, "Tutoring", " Business as usual ")
    arm[3:6] = ""
    path = save(trial().assign(treat=arm), tmp_path / "t.csv")
    for control in ("Business as usual", "business as USUAL"):
        treat = read_table(path, control=control)["treat"]
        assert treat[3:6].isna().all()
        np.testing.assert_array_equal(treat.drop([3, 4, 5]), trial()["treat"].drop([3, 4, 5]))


@pytest.mark.parametrize(
    ("codes", "control"), [((1, 2), "1"), ((1.0, 2.5), "1"), ((False, True), "FALSE"), ((0, 1), "0")]
)
def test_numbers_can_be_labels(tmp_path, codes, control):
    path = save(trial().assign(treat=trial()["treat"].map(dict(enumerate(codes)))), tmp_path / "t.csv")
    assert list(read_table(path, control=control)["treat"]) == list(trial()["treat"])


def test_labels_that_are_not_two_arms(tmp_path):
    path = save(trial().assign(treat=np.tile(["a", "b", "c"], 12)), tmp_path / "t.csv")
    table = read_table(path, control="b")
    # of several arms the labels stay, the control's first
    assert table.attrs["arms"] == ("b", "a", "c") and list(table["treat"][:3]) == ["a", "b", "c"]
    assert "no value 'd'" in sentence(path, control="d")
    path = save(trial().assign(treat="a"), tmp_path / "u.csv")
    assert "two arms" in sentence(path, control="a")


# ---------------------------------------------------------------- wide


def wide_trial() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": ["ann", "bob", "cy"],
            "treat": [0, 1, 1],
            "q1": [1, 0, 1],
            "q2": [0, np.nan, 1],
            "q10": [1, 1, 0],
            "std_baseline": [0.5, -1.0, 2.0],
            "quiz_total": [2, 1, 2],
        }
    )


@pytest.mark.parametrize("wide", [["q1", "q2", "q10"], ["q[0-9]*"], ["q1", "q[0-9]*"]])
@pytest.mark.parametrize("ending", ENDINGS)
def test_wide_becomes_long(tmp_path, wide, ending):
    table = read_table(save(wide_trial(), tmp_path / f"t{ending}"), wide=wide)
    assert list(table.columns) == ["id", "item", "resp", "treat", "std_baseline", "quiz_total"]
    assert list(table["id"]) == ["ann"] * 3 + ["bob"] * 3 + ["cy"] * 3
    assert list(table["item"]) == ["q1", "q2", "q10"] * 3
    np.testing.assert_array_equal(table["resp"].astype(float), [1, 0, 1, 0, np.nan, 1, 1, 1, 0])
    assert list(table["treat"]) == [0, 0, 0, 1, 1, 1, 1, 1, 1]
    assert list(table["std_baseline"]) == [0.5] * 3 + [-1.0] * 3 + [2.0] * 3


def test_wide_equals_long(tmp_path):
    long = trial().drop(columns="item").assign(item=np.tile(["i1", "i2", "i3"], 12))
    wide = long.pivot(index=["id", "treat", "score", "school"], columns="item", values="resp").reset_index()
    from_long = read_table(save(long, tmp_path / "l.csv"))
    from_wide = read_table(save(wide, tmp_path / "w.csv"), wide=["i?"])
    pd.testing.assert_frame_equal(from_long[from_wide.columns], from_wide, check_dtype=False)


def test_wide_options(tmp_path):
    table = wide_trial().rename(columns={"id": "pupil", "treat": "arm"}).assign(arm=["old", "new", "new"])
    path = save(table, tmp_path / "t.csv")
    read = read_table(path, id="pupil", treat="arm", control="old", pretest="quiz_total", wide=["q?", "q10"])
    assert list(read["treat"]) == [0] * 3 + [1] * 6
    numbered = read_table(path, treat="arm", control="old", wide=["q?"])
    assert list(numbered["id"]) == [1, 1, 2, 2, 3, 3]


def test_wide_items_with_the_names_of_long_columns(tmp_path):
    table = wide_trial().rename(columns={"q1": "resp", "q2": "value", "q10": "variable"})
    read = read_table(save(table, tmp_path / "t.csv"), wide=["resp", "value", "variable"])
    assert list(read["item"][:3]) == ["resp", "value", "variable"]
    np.testing.assert_array_equal(read["resp"], [1, 0, 1, 0, np.nan, 1, 1, 1, 0])


def test_a_pattern_leaves_the_persons_columns_alone(tmp_path):
    read = read_table(save(wide_trial().drop(columns="quiz_total"), tmp_path / "t.csv"), wide=["*"])
    assert set(read["item"]) == {"q1", "q2", "q10"}
    read = read_table(save(wide_trial(), tmp_path / "u.csv"), wide=["q*"], pretest="quiz_total")
    assert set(read["item"]) == {"q1", "q2", "q10"}


def test_wide_faults(tmp_path):
    path = save(wide_trial(), tmp_path / "t.csv")
    assert "no item column 'z*'" in sentence(path, wide=["z*"])
    assert "no item column 'treat'" in sentence(path, wide=["treat"])
    assert "did you mean --treat" in sentence(
        save(wide_trial().rename(columns={"treat": "Treated"}), tmp_path / "u.csv"), wide=["q?"]
    )


# ---------------------------------------------------------------- reference tables


@pytest.mark.shared
def test_reference_tables_are_read_as_pandas_reads_them(shared):
    for path in sorted((shared / "data" / "tables").glob("*.csv.gz"))[::6]:
        table = read_table(path)
        plain = pd.read_csv(path, low_memory=False)
        assert set(table.columns) == set(plain.columns)
        assert table["id"].nunique() == plain["id"].nunique()
        np.testing.assert_array_equal(table["resp"], plain["resp"])
        np.testing.assert_array_equal(table["treat"], plain["treat"])


# ---------------------------------------------------------------- packages


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (ModuleNotFoundError("No module named 'pyarrow'", name="pyarrow"), 'pip install "ilhte[formats]"'),
        (ImportError("libarrow.so: failed to map segment from shared object", name="pyarrow.lib"), "memory"),
        (ImportError("libarrow.so: cannot open: Cannot allocate memory", name="pyarrow.lib"), "memory"),
        (ModuleNotFoundError("No module named 'pyarrow_parts'", name="pyarrow_parts"), "An unexpected error"),
    ],
)
def test_a_package_that_cannot_be_loaded_is_not_called_missing(tmp_path, monkeypatch, failure, words):
    def reader(path, sought):
        raise failure

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setitem(file_formats.READERS, ".parquet", reader)
    path = tmp_path / "t.parquet"
    path.write_bytes(b"PAR1 PAR1")
    done = call("fit", path)
    assert done.code == (2 if "pip" in words else 1)
    assert words in done.err and done.err.count("\n") == 1
