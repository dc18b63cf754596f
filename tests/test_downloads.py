"""The results that a site offers as files, and the grid and sections that link to them."""

from __future__ import annotations

import csv
import io
import json
import math
import re

import pandas as pd
import pytest

from ilhte_lib.inference.effects import ITEM_COLUMNS, SUMMARY_COLUMNS
from ilhte_lib.manifest import Manifest
from ilhte_report.pages.explorer import explorer
from ilhte_report.pages.results import RunResults
from ilhte_report.pages.sparkline import MARGIN, WIDTH, sparkline
from ilhte_report.site.downloads import csv_text, downloads, downloads_section


def document(tab: str, *items: str) -> dict:
    rows = [dict.fromkeys(ITEM_COLUMNS) | {"tab": tab, "item": item, "total_std": -0.5} for item in items]
    return {"tab": tab, "summary": dict.fromkeys(SUMMARY_COLUMNS) | {"tab": tab, "ate_std": 0.25}, "items": rows}


def written(run, **documents: dict) -> None:
    (run / "fits").mkdir(parents=True, exist_ok=True)
    for name, content in documents.items():
        (run / "fits" / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def rows_of(path) -> list[dict]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def write_downloads(run, folder) -> None:
    """As the pages of a run are written."""
    manifest = Manifest.open(folder, "")
    files = downloads(run)
    manifest.keep_only(set(files))
    for name, text in files.items():
        manifest.write_text(name, text)


def test_every_table_and_the_whole_run_are_written_and_what_is_gone_is_removed(tmp_path):
    run, folder = tmp_path / "run", tmp_path / "tables"
    written(run, a=document("a", "i1", "i2"), b=document("b", "j1"))
    write_downloads(run, folder)
    assert json.loads((folder / "a.json").read_text()) == document("a", "i1", "i2")
    assert [row["item"] for row in rows_of(folder / "a.csv")] == ["i1", "i2"]
    assert list(rows_of(folder / "a.csv")[0]) == list(ITEM_COLUMNS)
    assert [row["tab"] for row in rows_of(folder / "run" / "summary.csv")] == ["a", "b"]
    assert [row["item"] for row in rows_of(folder / "run" / "items.csv")] == ["i1", "i2", "j1"]

    before = (folder / "a.csv").stat().st_mtime_ns
    (run / "fits" / "b.json").unlink()
    write_downloads(run, folder)
    assert sorted(path.name for path in folder.glob("[!.]*")) == ["a.csv", "a.json", "run"]
    assert (folder / "a.csv").stat().st_mtime_ns == before


def test_text_is_no_formula_and_what_is_undefined_is_empty():
    text = csv_text(
        [{"tab": "=1+1", "item": 'a,"b"\nc', "b_std": math.nan, "rho": None, "total_std": -0.5}],
        ["tab", "item", "b_std", "rho", "total_std"],
    )
    (row,) = csv.DictReader(io.StringIO(text))
    assert row == {"tab": "'=1+1", "item": 'a,"b"\nc', "b_std": "", "rho": "", "total_std": "-0.5"}


def test_the_section_names_the_files_that_are_written(tmp_path):
    written(tmp_path / "run", some_table=document("some_table", "i1"))
    write_downloads(tmp_path / "run", tmp_path / "tables")
    targets = re.findall(r"\]\(([^)]+)\)", downloads_section("some_table"))
    assert targets and all((tmp_path / "tables" / target).is_file() for target in targets)


def test_a_sparkline_has_its_items_on_the_scale_and_its_verdict_as_a_shape():
    drawing = sparkline([-1.0, 0.0, 1.0, 9.0, math.nan], 0.5, (-1.0, 1.0), significant=True)
    ticks = [float(x) for x in re.findall(r"M([\d.]+) 4v14", drawing)]
    assert ticks == [MARGIN, WIDTH / 2, WIDTH - MARGIN, WIDTH - MARGIN]
    assert "<circle" in drawing and 'aria-label="4 items from −1.00 to 9.00 SDs around 0.50"' in drawing
    other = sparkline([0.1], 0.1, (0.0, 1.0), significant=False)
    assert "<circle" not in other and 'class="sparkline not-significant"' in other
    assert sparkline([0.1], math.nan, (0.0, 1.0), significant=True) == "", "persons who do not differ: nothing in SDs"


@pytest.mark.parametrize(("profile", "p"), [("full", "= .040"), ("vignette", "&lt; .001")])
def test_the_grid_shows_the_p_value_of_the_profile_and_escapes_names(profile: str, p: str):
    pytest.importorskip("IPython", reason="IPython is not installed (extra 'report')")
    tab = "<b>x</b>\n```"
    row = dict.fromkeys(SUMMARY_COLUMNS) | {
        "tab": tab, "ate_std": 0.2, "ate_std_se": 0.1, "sigma_zeta_std": 0.3, "rho": -1.0, "n_items": 2, "n_persons": 1234,
        "lrt_pval": 0.0001, "lrt_pval_mixture": 0.04, "sig_il_hte": True, "profile": profile,
    }  # fmt: skip
    items = pd.DataFrame({"tab": [tab] * 2, "total_std": [0.1, 0.3]})
    grid = explorer(RunResults(pd.DataFrame([row]), items, {"tables": []}, {})).data
    assert f"significant <small>p {p}</small>" in grid
    assert "<b>" not in grid and "&lt;b&gt;x&lt;/b&gt; ```" in grid
    assert [line for line in grid.splitlines() if line.startswith("```")] == ["```{=html}", "```"]
    assert (
        "−1.00 <small>boundary</small>" in grid and ">1,234<" in grid and "0.20 (0.10)" in grid and "0.30 (–)" in grid
    )
    # one table differs from no other, so there is nothing to choose from
    assert "<select" not in grid
