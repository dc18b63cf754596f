"""Excel files as people have them: several sheets, titles and merged cells, formulas, sizes that are not true."""

from __future__ import annotations

import re
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from saved_tables import small_trial

openpyxl = pytest.importorskip("openpyxl")

from ilhte_lib.data.prepare import prepare
from ilhte_lib.data.read import read_table
from ilhte_lib.errors import InputError

SHEET = "xl/worksheets/sheet1.xml"
NAMES = ["id", "item", "resp", "treat", "cov_pre", "cluster"]


def rows() -> list[list]:
    table = small_trial().astype(object)
    return [NAMES, *table[NAMES].to_numpy().tolist()]


def book(path: Path, *sheets: tuple[str, list[list]], merged: tuple[str, ...] = ()) -> Path:
    """A workbook of sheets, each a title and rows; ``merged`` are ranges of the first."""
    made = openpyxl.Workbook()
    made.remove(made.active)
    for title, cells in sheets:
        sheet = made.create_sheet(title)
        for row in cells:
            sheet.append(row)
    for cells in merged:
        made.worksheets[0].merge_cells(cells)
    made.save(path)
    return path


def patched(path: Path, change, part: str = SHEET) -> Path:
    """The workbook with the bytes of one part changed."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts[part] = change(parts[part])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def told(path: Path, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        read_table(path, **options)
    assert str(caught.value).isprintable()
    return str(caught.value)


def same(found: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found[NAMES], small_trial()[NAMES], check_dtype=False, check_flags=False)
    assert list(found.columns) == NAMES


# ---------------------------------------------------------------- size


def within_seconds(path: Path, seconds: float = 20) -> pd.DataFrame:
    began = time.perf_counter()
    table = read_table(path)
    assert time.perf_counter() - began < seconds
    return table


def test_a_sheet_that_claims_every_cell_there_can_be(tmp_path):
    path = book(tmp_path / "t.xlsx", ("Data", rows()))
    change = re.compile(rb'<dimension ref="[^"]*"')
    same(within_seconds(patched(path, lambda xml: change.sub(b'<dimension ref="A1:XFD1048576"', xml))))
    same(within_seconds(patched(path, lambda xml: change.sub(b'<dimension ref="A1"', xml))))


def test_a_format_in_the_last_cell(tmp_path):
    path = book(tmp_path / "t.xlsx", ("Data", rows()))
    made = openpyxl.load_workbook(path)
    made.active.cell(1048576, 16384).font = openpyxl.styles.Font(bold=True)
    made.save(path)
    same(within_seconds(path))


def test_half_a_million_rows_with_borders_and_nothing_else(tmp_path):
    blank = b"".join(
        b'<row r="%d">%s</row>' % (row, b"".join(b'<c r="%c%d" s="0"/>' % (letter, row) for letter in b"ABCDEF"))
        for row in range(len(rows()) + 1, 500_000)
    )
    path = book(tmp_path / "t.xlsx", ("Data", rows()))
    same(within_seconds(patched(path, lambda xml: xml.replace(b"</sheetData>", blank + b"</sheetData>")), 30))


def test_rows_without_numbers(tmp_path):
    path = book(tmp_path / "t.xlsx", ("Data", rows()))
    same(read_table(patched(path, lambda xml: re.sub(rb'<row r="\d+"', b"<row", xml))))


def test_empty_rows_and_columns_between_are_nothing(tmp_path):
    cells = [[None, *row[:3], None, *row[3:]] for row in rows()]
    cells.insert(20, [None] * 3)
    cells.insert(0, [None])
    read = read_table(book(tmp_path / "t.xlsx", ("Data", cells)))
    same(read)


# ---------------------------------------------------------------- sheets


def test_the_sheet_is_named(tmp_path):
    notes = ("Read me", [["Trial X"], ["see the other sheet"]])
    for title, option in (
        ("Data", "--sheet Data"),
        ("My data", "--sheet 'My data'"),
        ("2024", "--sheet 2"),
        ("Jürgen's", "--sheet 'Jürgen'\"'\"'s'"),
    ):
        path = book(tmp_path / "t.xlsx", notes, (title, rows()))
        assert option in told(path)
        for sheet in (title, title.upper(), 2, "2"):
            same(read_table(path, sheet=sheet))
    assert "has no sheet '3'" in told(path, sheet=3)


def test_the_sheet_and_the_row_are_named_together(tmp_path):
    path = book(tmp_path / "t.xlsx", ("Read me", [["x"]]), ("Data", [["Trial X"], [], *rows()]))
    assert "--sheet Data --header-row 3" in told(path)
    same(read_table(path, sheet="Data", header_row=3))


def test_first_sheets_that_are_empty_or_hidden(tmp_path):
    assert "--sheet Data" in told(book(tmp_path / "t.xlsx", ("Sheet1", []), ("Data", rows())))
    path = book(tmp_path / "u.xlsx", ("lists", [["a"]]), ("Data", rows()))
    made = openpyxl.load_workbook(path)
    made["lists"].sheet_state = "hidden"
    made.active = 1
    made.save(path)
    same(read_table(path))
    same(read_table(path, sheet=1))
    assert "is empty" in told(book(tmp_path / "v.xlsx", ("Data", [])))


def test_names_that_are_not_given_yet(tmp_path):
    renamed = [["pupil", "question", "right", "arm", "before", "school"], *rows()[1:]]
    path = book(tmp_path / "t.xlsx", ("Read me", [["Trial X"], ["by A. Author"]]), ("Data", renamed))
    assert "'Data'" in told(path) and "--sheet Data" in told(path)
    message = told(path, sheet="Data")
    assert "found: 'pupil', 'question'" in message and "--id" in message
    path = book(tmp_path / "u.xlsx", ("Wave 1", renamed), ("Wave 2", renamed))
    assert "'Wave 2'" in told(path) and "--id" in told(path)


def test_a_second_sheet_with_the_same_columns_is_told(tmp_path):
    read = read_table(book(tmp_path / "t.xlsx", ("pre", rows()), ("post", rows())))
    same(read)
    (caution,) = read.attrs["cautions"]
    assert "'pre'" in caution and "'post'" in caution and "--sheet" in caution
    assert read_table(tmp_path / "t.xlsx", sheet="pre").attrs["cautions"] == []


# ---------------------------------------------------------------- headers


HEADERS = {
    "title": ([["Trial X"]], ("A1:F1",), 2),
    "title and empty row": ([["Trial X"], []], ("A1:F1",), 3),
    "groups": ([["Who", None, "Answer", None, "Before", None]], ("A1:B1", "C1:D1", "E1:F1"), 2),
    "title and groups": ([["Trial X"], ["Who", None, "Answer", None, "Before", None]], ("A1:F1", "A2:B2"), 3),
    "threefold": (
        [["Trial X"], ["Who", None, "Answer", None, "Before", None], ["a", "b", "c", "d", "e", "f"]],
        ("A1:F1",),
        4,
    ),
}


@pytest.mark.parametrize("case", HEADERS)
def test_rows_above_the_names(tmp_path, case):
    above, merged, row = HEADERS[case]
    path = book(tmp_path / "t.xlsx", ("Data", above + rows()), merged=merged)
    assert f"--header-row {row}" in told(path)
    same(read_table(path, header_row=row))


def test_names_merged_downwards(tmp_path):
    head = [["id", "treat", "Items", None, None, "cov_pre"], [None, None, "q1", "q2", "q3", None]]
    body = [[f"p{k}", k % 2, k % 2, 1 - k % 3 // 2, 0, k / 7] for k in range(12)]
    path = book(tmp_path / "t.xlsx", ("Data", head + body), merged=("A1:A2", "B1:B2", "C1:E1", "F1:F2"))
    assert "--header-row 2" in told(path, wide=["q*"])
    read = read_table(path, wide=["q*"], header_row=2)
    assert list(read.columns) == ["id", "item", "resp", "treat", "cov_pre"] and len(read) == 36


def test_descriptions_below_the_names(tmp_path):
    labels = ["Person", "Question", "Right?", "Arm", "Before", "School"]
    imports = [f'{{"ImportId":"{name}"}}' for name in NAMES]
    for below, words in (([labels], "Row 2 "), ([labels, imports], "Rows 2 and 3")):
        path = book(tmp_path / "t.xlsx", ("Data", [NAMES, *below, *rows()[1:]]))
        assert words in told(path) and "--header-row 1" in told(path)
        read = read_table(path, header_row=1)
        same(read)
        assert words in read.attrs["cautions"][0]


# ---------------------------------------------------------------- formulas


def with_formulas(path: Path, column: int, formula: str, which=lambda k: True) -> Path:
    cells = [list(row) for row in rows()]
    for k, row in enumerate(cells[1:]):
        if which(k):
            row[column] = formula
    return book(path, ("Data", cells))


def test_formulas_that_were_never_computed(tmp_path):
    message = told(with_formulas(tmp_path / "t.xlsx", 2, "=IF(A2=1,1,0)"))
    assert "Column 'resp'" in message and "96 formulas" in message and "no responses at all" in message
    message = told(with_formulas(tmp_path / "t.xlsx", 2, "=1", lambda k: k == 5))
    assert "1 formula that was" in message and "no responses in 1 row" in message
    assert "Column 'treat'" in told(with_formulas(tmp_path / "t.xlsx", 3, "=1"))
    read = read_table(with_formulas(tmp_path / "t.xlsx", 4, "=1"))
    assert "Column 'cov_pre'" in read.attrs["cautions"][0]
    assert "Column 'cov_pre'" in told(tmp_path / "t.xlsx", pretest="cov_pre")


def test_formulas_of_wide_files(tmp_path):
    cells = [["treat", "q1", "q2", "q3"], *[[k % 2, k % 2, "=1", 1] for k in range(9)]]
    message = told(book(tmp_path / "t.xlsx", ("Data", cells)), wide=["q*"])
    assert "Column 'q2'" in message and "no responses at all" in message


def computed(path: Path, value: bytes, kind: bytes = b"") -> Path:
    change = re.compile(rb'<c r="([A-Z]+\d+)"[^>]*><f>(.*?)</f><v ?(?:/>|></v>)</c>')
    patched(path, lambda xml: change.sub(rb'<c r="\1"' + kind + rb"><f>\2</f><v>" + value + rb"</v></c>", xml))
    return patched(path, lambda xml: xml.replace(b'fullCalcOnLoad="1"', b""), "xl/workbook.xml")


def test_computed_formulas_are_their_values(tmp_path):
    read = read_table(computed(with_formulas(tmp_path / "t.xlsx", 2, "=1", lambda k: k % 2 == 0), b"1"))
    assert read["resp"].tolist()[::2] == [1] * 48 and read.attrs["cautions"] == []


def test_a_formula_whose_value_is_no_text_is_missing(tmp_path):
    path = with_formulas(tmp_path / "t.xlsx", 2, '=IF(A2=1,1,"")', lambda k: k % 8 == 0)
    read = read_table(computed(path, b"", b' t="str"'))
    assert read["resp"].isna().sum() == 12 and read.attrs["cautions"] == []
    assert prepare(read, "t").n_responses == 84


def test_values_that_a_program_left_to_be_computed_are_told(tmp_path):
    path = computed(with_formulas(tmp_path / "t.xlsx", 2, "=1", lambda k: k % 2 == 0), b"0")
    patched(path, lambda xml: xml.replace(b"<calcPr", b'<calcPr fullCalcOnLoad="1"'), "xl/workbook.xml")
    (caution,) = read_table(path).attrs["cautions"]
    assert "'resp'" in caution and "save it there" in caution


# ---------------------------------------------------------------- what cells hold


def test_types_are_those_of_the_cells(tmp_path):
    cells = [["id", "item", "resp", "treat", "cov_a", "cov_b", "day"]]
    for k in range(24):
        cells.append(
            [
                f"{k // 4:03d}",
                k % 4,
                str(k * k % 3 % 2),
                bool(k // 4 % 2),
                "NA" if k < 4 else f"{k / 8}",
                k / 8,
                pd.Timestamp(2024, 1, 1),
            ]
        )
    read = read_table(book(tmp_path / "t.xlsx", ("Data", cells)))
    assert read["id"][5] == "001" and read["item"].dtype == np.int64
    assert read["resp"].tolist() == [k * k % 3 % 2 for k in range(24)]
    assert read["cov_a"].isna().sum() == 4 and read["cov_a"][8] == 1.0
    trial = prepare(read, "t")
    assert (trial.n_persons, trial.n_items) == (6, 4)


def test_files_that_are_no_workbooks(tmp_path):
    path = tmp_path / "t.xlsx"
    path.write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600))
    assert ".xls" in told(path) and "password" in told(path)
    path.write_bytes(b"<html>\n<table></table></html>")
    assert "is text" in told(path)
    path.write_bytes(bytes(range(256)) * 4)
    assert "cannot be read as .xlsx" in told(path)
