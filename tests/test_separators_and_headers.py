"""Text files of any country and program: separators, decimal commas, titles above the names, descriptions below."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from saved_tables import small_trial

from ilhte_lib.data import memory
from ilhte_lib.data.delimited import read_delimited
from ilhte_lib.data.read import read_table
from ilhte_lib.errors import InputError

NAMES = ["id", "item", "resp", "treat", "cov_pre", "cluster"]


def written(path: Path, text: str | bytes) -> Path:
    content = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def lines(table: pd.DataFrame, separator: str = ",", decimal: str = ".", end: str = "\n") -> str:
    return table.to_csv(sep=separator, decimal=decimal, index=False, lineterminator=end)


def told(path: Path, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        read_table(path, **options)
    assert str(caught.value).isprintable()
    return str(caught.value)


def same(found: pd.DataFrame, wanted: pd.DataFrame | None = None) -> None:
    """As the small trial, and nothing said."""
    wanted = small_trial() if wanted is None else wanted
    pd.testing.assert_frame_equal(found, wanted[list(found.columns)], check_dtype=False, check_flags=False)


# ---------------------------------------------------------------- separators and decimal commas


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".csv.gz"])
@pytest.mark.parametrize(("separator", "decimal"), [(",", "."), (";", ","), (";", "."), ("\t", ","), ("|", ".")])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_one_table_in_many_spellings(tmp_path, ending, separator, decimal, end):
    read = read_table(written(tmp_path / f"t{ending}", "\ufeff" + lines(small_trial(), separator, decimal, end)))
    same(read)
    assert read.attrs["cautions"] == [] and read["cov_pre"].dtype == float


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    separator=st.sampled_from(",;\t|"),
    comma=st.booleans(),
    note=st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=12),
    values=st.lists(st.floats(-1e6, 1e6).map(lambda value: round(value, 4)), min_size=24, max_size=24),
)
def test_any_text_and_numbers(tmp_path, separator, comma, note, values):
    table = small_trial().assign(note="x" + note + "x")
    table["cov_pre"] = np.repeat(values, 4)
    decimal = "," if comma and separator != "," else "."
    same(read_table(written(tmp_path / "t.csv", lines(table, separator, decimal))), table)


def test_the_line_by_which_excel_is_told_the_separator(tmp_path):
    for first in ("sep=;\n", '"sep=;"\r\n', "\ufeffSEP=;\n"):
        same(read_table(written(tmp_path / "t.csv", first + lines(small_trial(), ";", ","))))
    same(read_table(written(tmp_path / "t.csv", "sep=,\n" + lines(small_trial()))))


def test_responses_with_a_decimal_comma(tmp_path):
    table = small_trial().astype({"resp": float, "treat": float})
    read = read_table(written(tmp_path / "t.csv", lines(table, ";", ",")), control="0")
    assert read["resp"].tolist() == table["resp"].tolist() and read["treat"].tolist() == table["treat"].tolist()


def test_commas_that_may_part_thousands_are_left_alone(tmp_path):
    table = small_trial().assign(cov_pre=lambda t: [f"{1000 + k:,}" for k in range(len(t))])
    for separator in ",;":
        read = read_table(written(tmp_path / "t.csv", lines(table, separator)))
        assert read["cov_pre"][0] == "1,000"


def test_dots_that_part_thousands_beside_decimal_commas(tmp_path):
    table = small_trial().assign(
        cov_pre=lambda t: [f"{990 + k:,}".replace(",", ".") for k in range(len(t))], more="0,5"
    )
    read = read_table(written(tmp_path / "t.csv", lines(table, ";")))
    assert read["cov_pre"].tolist() == [990 + k for k in range(len(table))] and (read["more"] == 0.5).all()
    assert "Column 'cov_pre'" in read.attrs["cautions"][0] and "thousands" in read.attrs["cautions"][0]
    mixed = table.assign(cov_pre=table["cov_pre"] + ",25")
    read = read_table(written(tmp_path / "t.csv", lines(mixed, ";")))
    assert read["cov_pre"][20] == 1010.25 and read.attrs["cautions"] == []


def test_names_are_never_numbers_of_any_country(tmp_path):
    table = small_trial().assign(item=lambda t: t["item"].str[1:] + ",5")
    read = read_table(written(tmp_path / "t.csv", lines(table, ";", ",")))
    assert sorted(read["item"].unique()) == ["0,5", "1,5", "2,5", "3,5"]


def test_text_with_other_separators_misleads_nobody(tmp_path):
    table = small_trial().assign(**{"a;b;c": "x;y;z", "d|e": "1|2"})
    same(read_table(written(tmp_path / "t.csv", lines(table))), table)
    unknown = table.rename(columns={"id": "pupil", "item": "question", "resp": "right", "treat": "arm"})
    assert "found: 'pupil', 'question', 'right', 'arm'" in told(written(tmp_path / "u.csv", lines(unknown)))


# ---------------------------------------------------------------- where the names stand


TITLES = {
    "one line": ("Trial X\n", 2),
    "a line and an empty one": ("Trial X\n\n", 3),
    "with separators": ("Trial X,,,,,\n,,,,,\n", 3),
    "quoted, over two lines": ('"Trial X,\nwave 1"\nexported 2024-01-01\n', 3),
    "groups": ("Who,,Answer,,Before,\n", 2),
}


@pytest.mark.parametrize("case", TITLES)
@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_titles_above_the_names(tmp_path, case, ending):
    title, row = TITLES[case]
    path = written(tmp_path / f"t{ending}", title + lines(small_trial()))
    assert f"--header-row {row}" in told(path)
    read = read_table(path, header_row=row)
    same(read)
    assert read.attrs["cautions"] == []


def test_a_title_above_names_that_nobody_gave(tmp_path):
    renamed = small_trial().set_axis(["pupil", "question", "right", "arm", "before", "school"], axis=1)
    path = written(tmp_path / "t.csv", "Trial X;;;;;\n" + lines(renamed, ";", ","))
    assert "--header-row 2" in told(path) and "'pupil'" in told(path)
    assert "--id" in told(path, header_row=2)


def test_empty_lines_above_the_names_are_nothing(tmp_path):
    for title in ("\n\n", ",,,,,\n", "\r\n"):
        same(read_table(written(tmp_path / "t.csv", title + lines(small_trial()))))


def test_an_error_further_down_is_told_by_its_row(tmp_path):
    text = "Trial X\n" + lines(small_trial()) + "1,2,3,4,5,6,7,8\n"
    assert "8 fields in line 99 but 6" in told(written(tmp_path / "t.csv", text), header_row=2)


DESCRIPTIONS = {
    "Qualtrics": ([[f"Please answer: {name}" for name in NAMES], [f'{{"ImportId":"QID{name}"}}' for name in NAMES]], "Rows 2 and 3"),
    "Qualtrics, lines in it": (
        [[f"Please\nanswer, {name}" for name in NAMES], [f'{{"ImportId":"QID{name}","timeZone":"Z"}}' for name in NAMES]],
        "Rows 2 and 3",
    ),
    "labels": ([["Who", "Question", "Right?", "Arm", "Before", "School"]], "Row 2"),
    "labels and units": (
        [["Who", "Question", "Right?", "Arm", "Before", "School"], ["text", "text", "0/1", "0/1", "points", "text"]],
        "Rows 2 and 3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("case", DESCRIPTIONS)
def test_descriptions_below_the_names(tmp_path, case, separator):
    rows, which = DESCRIPTIONS[case]
    head = pd.DataFrame(rows, columns=NAMES).to_csv(sep=separator, index=False)
    body = lines(small_trial(), separator, "," if separator == ";" else ".").partition("\n")[2]
    path = written(tmp_path / "t.csv", head + body)
    message = told(path)
    assert which in message and "--header-row 1" in message
    read = read_table(path, header_row=1)
    same(read)
    assert which in read.attrs["cautions"][0]


def test_a_first_row_of_data_is_no_description(tmp_path):
    table = small_trial().astype({"resp": object, "cov_pre": object})
    table.loc[0, "cov_pre"] = "refused"
    assert len(read_table(written(tmp_path / "t.csv", lines(table)))) == len(table)
    table.loc[0, "resp"] = ""
    table.loc[0, ["cov_pre", "cluster"]] = "NA"
    assert len(read_table(written(tmp_path / "t.csv", lines(table)))) == len(table)


def test_rows_that_hold_no_names(tmp_path):
    path = written(tmp_path / "t.csv", lines(small_trial()))
    assert "Row 4000" in told(path, header_row=4000)
    assert "1 or more" in told(path, header_row=0)


@pytest.mark.parametrize("ending", [".parquet", ".sav"])
def test_options_of_other_formats(tmp_path, ending):
    from saved_tables import save

    path = save(small_trial(), tmp_path / f"t{ending}")
    assert "--header-row" in told(path, header_row=2)
    assert "--sheet" in told(path, sheet="Data")
    assert "--sheet" in told(written(tmp_path / "t.csv", lines(small_trial())), sheet="Data")


# ---------------------------------------------------------------- size


def test_a_file_that_does_not_fit_is_called_too_large(tmp_path, monkeypatch):
    path = written(tmp_path / "t.csv.gz", lines(pd.concat([small_trial()] * 200)))
    monkeypatch.setattr(memory, "free_memory", lambda: 100_000)
    assert "too large" in told(path) and "Parquet" in told(path)
    monkeypatch.setattr(memory, "free_memory", lambda: 10_000_000)
    assert len(read_table(path)) == 200 * len(small_trial())


@pytest.mark.parametrize(
    "error", [MemoryError(), pd.errors.ParserError("Error tokenizing data. C error: out of memory")]
)
def test_memory_that_ends_while_reading(tmp_path, monkeypatch, error):
    def fails(*arguments, **options):
        raise error

    path = written(tmp_path / "t.csv.gz", lines(small_trial()))
    monkeypatch.setattr(pd, "read_csv", fails)
    assert "too large" in told(path) and "not a regular table" not in told(path)


def test_free_memory_is_a_number_of_bytes_or_unknown():
    free = memory.free_memory()
    assert free is None or free > 10**7


def test_nothing_is_warned_of(tmp_path):
    many = {f"x{k}": [k] * 120 for k in range(150)} | {f"t{k}": ["a"] * 120 for k in range(120)}
    table = pd.concat([small_trial(n_persons=30), pd.DataFrame(many)], axis=1)
    path = written(tmp_path / "t.csv", lines(table))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_table(path)
        wide = pd.DataFrame({"treat": [0, 1] * 10, **{f"q{k}": [k % 2, 1] * 10 for k in range(140)}})
        assert len(read_table(written(tmp_path / "w.csv", lines(wide)), wide=["q*"])) == 20 * 140


def test_a_reader_without_anything_to_look_for(tmp_path):
    from ilhte_lib.data.contents import Sought

    table = read_delimited(written(tmp_path / "t.csv", lines(small_trial(), ";")), Sought(), ",").table
    assert list(table.columns) == NAMES
