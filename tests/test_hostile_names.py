"""Names are data from strangers: never a path, never run in a page or on a terminal, never a formula in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import yaml
from command_line import call, refusal
from hypothesis import given, settings
from hypothesis import strategies as st
from run_cases import here
from site_cases import chromium_running

from ilhte_lib.files import sha256_of
from ilhte_lib.model.simulate import Design, simulate_trial
from ilhte_report.intake.irw.tables import IrwTable
from ilhte_report.project import slug
from ilhte_report.site.csv_download import csv_safe
from ilhte_report.site.downloads import csv_text

ITEMS = [
    "</script><script>window.ran=1</script>",
    '<img src=x onerror="window.ran=2">',
    "../../etc/passwd",
    "=HYPERLINK(A1)",
    "\U0001f642",
    "'\"`{{<%=",
    "x" * 300,
    "`{python} window` ${window.ran=3}",
    "$x^2$ *b* [l](javascript:window.ran=4)",
    '<a href="javascript:window.ran=5">here</a>',
    "\x1b[31mred\x07",
    "a\u2028b\nc",
]
TABLES = ['<img src=x onerror="window.ran=6">', "..", "=1+1", "\U0001f642 ' & x", "y" * 240, "\x1b[31mred"]
IRW_TABLE = "../../<script>window.ran=7</script>"


def hostile_trial() -> pd.DataFrame:
    table, _ = simulate_trial(Design(n_persons=250, n_items=len(ITEMS), seed=11, sigma_zeta=0.5))
    return table.assign(item=table["item"].map(dict(zip(sorted(table["item"].unique()), ITEMS, strict=True))))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> Path:
    """A folder with the table, and what ``ilhte fit`` made of it: ``out.json``, ``out.html``, ``printed``."""
    folder = tmp_path_factory.mktemp("fitted")
    name = f"{TABLES[0]}.csv"
    hostile_trial().to_csv(folder / name, index=False)
    done = call("fit", folder / name, "--full", "--json", folder / "out.json", "--html", folder / "out.html")
    assert done.code == 0, done.err
    (folder / "printed").write_text(done.out, encoding="utf-8")
    return folder


# ---------------------------------------------------------------- the document and the terminal


def test_the_document_keeps_every_name_as_it_is(fitted):
    document = json.loads((fitted / "out.json").read_text(encoding="utf-8"))
    assert document["tab"] == TABLES[0]
    assert {row["item"] for row in document["items"]} == set(ITEMS)
    assert sorted(path.name for path in fitted.iterdir()) == sorted(
        [f"{TABLES[0]}.csv", "out.html", "out.json", "printed"]
    )


def test_the_terminal_shows_control_characters(fitted):
    printed = (fitted / "printed").read_text(encoding="utf-8")
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u2028]", printed)
    for shown in (r"\x1b[31mred\x07", r"a\u2028b\nc", "../../etc/passwd", "x" * 57 + "...", "</script><script>"):
        assert shown in printed


def test_check_shows_them_too(tmp_path):
    table = hostile_trial()
    table.loc[table["item"].isin(ITEMS[-2:]), "resp"] = 1
    table["cov_\x1b[31m"] = table["id"].astype("category").cat.codes
    table["cov_[bold]"] = "\x1b]0;title\x07"
    table["wave"] = "\x1b[2J"
    table.to_csv(tmp_path / "t.csv", index=False)
    for options, code in ((("--wave", "\x1b[2J"), 0), ((), 2)):
        done = call("check", tmp_path / "t.csv", *options)
        assert done.code == code
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u2028]", done.out + done.err)
        assert r"\x1b[2J" in done.out + done.err


@pytest.mark.parametrize("name", [*TABLES, "z\nz"])
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_an_error_is_one_printable_line(tmp_path, name, ending):
    path = tmp_path / f"{name}{ending}"
    path.write_bytes(b"id,item,resp,treat\n")
    assert len(refusal(call("fit", path))) < 400


def test_options_are_names_too(tmp_path):
    hostile_trial().to_csv(tmp_path / "t.csv", index=False)
    for option in ("--id", "--covariate", "--wide", "--control", "--wave", "--cluster"):
        for name in ("\x1b[31m\n<b>", "../../" * 60, "=1+1", "[bold]", "{0}", "%s"):
            assert len(refusal(call("fit", tmp_path / "t.csv", option, name))) < 700


# ---------------------------------------------------------------- a spreadsheet


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    st.text(st.sampled_from("=+-@\t\r\n \u00a0\uff1d\uff0b\uff0d\uff20'\",;aA1(|"), max_size=6) | st.text(max_size=20)
)
def test_a_cell_is_never_a_formula(text):
    safe = csv_safe(text)
    assert safe.removeprefix("'") == text or safe == text
    assert not safe.strip().startswith(tuple("=+-@\uff1d\uff0b\uff0d\uff20"))
    assert not safe.startswith(("\t", "\r", "\n"))


def test_harmless_text_is_left_alone():
    for text in ("q1", "a=b", "1-2", "x@y", "", "-".join("ab")):
        assert csv_safe(text) == text


def test_a_downloaded_file_holds_no_formula(fitted):
    items = json.loads((fitted / "out.json").read_text(encoding="utf-8"))["items"]
    formulas = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", " =1", '=1","=2', "\uff1d1"]
    rows = [{**row, "item": name} for row, name in zip(items, [*formulas, *ITEMS], strict=False)]
    for row, line in zip(rows, csv.DictReader(io.StringIO(csv_text(rows, list(rows[0])))), strict=True):
        assert None not in line and None not in line.values()
        assert not line["item"].strip().startswith(tuple("=+-@\uff1d"))
        assert float(line["total_std"]) == row["total_std"], "numbers stay numbers, also negative ones"


# ---------------------------------------------------------------- pages


class Elements(HTMLParser):
    """How many elements of each kind a page has, and every attribute that could run something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.kinds: Counter[str] = Counter()
        self.dangerous: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.kinds[tag] += 1
        self.dangerous += [
            f"{tag} {name}={value}"
            for name, value in attributes
            if "window.ran" in (value or "") and (name.startswith("on") or name in ("href", "src", "srcdoc"))
        ]


def test_the_report_has_the_elements_of_a_harmless_one(fitted, tmp_path):
    """The same trial with harmless names gives the same elements, so no name has become one."""
    table = hostile_trial()
    table["item"] = table["item"].map({name: f"q{k:02d}" for k, name in enumerate(ITEMS)})
    table.to_csv(tmp_path / "t.csv", index=False)
    assert call("fit", tmp_path / "t.csv", "--html", tmp_path / "plain.html").code == 0
    hostile, plain = (
        Elements(path.read_text(encoding="utf-8")) for path in (fitted / "out.html", tmp_path / "plain.html")
    )
    assert hostile.kinds == plain.kinds and hostile.dangerous == plain.dangerous == []
    assert plain.kinds["tr"] > len(ITEMS)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A project in which two tables with hostile names were run and rendered: ``results/run`` and ``_site``."""
    outer = tmp_path_factory.mktemp("outer")
    project = outer / "a" / "b" / "project"
    project.mkdir(parents=True)
    source = Path(__file__).resolve().parents[1]
    config = yaml.safe_load((source / "_quarto.yml").read_text(encoding="utf-8"))
    config["project"]["render"] = ["index.qmd", "tables/*.ipynb"]
    config["website"] = {"title": "Hostile", "search": True}
    del config["bibliography"]
    (project / "_quarto.yml").write_text(yaml.safe_dump(config))
    (project / "index.qmd").write_text(INDEX)
    (project / ".ilhte-project").touch()
    for folder in ("site", "notebooks"):
        (project / folder).symlink_to(source / folder)
    (project / "data" / "tables").mkdir(parents=True)
    file = project / "trials" / f"{TABLES[0]}.csv"
    file.parent.mkdir()
    hostile_trial().to_csv(file, index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ILHTE_CACHE", str(outer / "cache"))
        put_into_the_cache(outer / "cache" / "irw", IRW_TABLE)
        before = {path for path in outer.rglob("*") if path.is_file()}
        done = here("run", f"trials/{file.name}", f"irw:{IRW_TABLE}", "--out", "results/run", cwd=project)
        assert done.returncode == 0, done.stdout + done.stderr
        new = {path for path in outer.rglob("*") if path.is_file()} - before
        (outer / "new.json").write_text(json.dumps(sorted(map(str, new))))
        done = here("render", cwd=project)
        assert done.returncode == 0, done.stdout + done.stderr
    return project


def put_into_the_cache(folder: Path, name: str) -> None:
    """A table as ``ilhte fetch`` leaves it."""
    path = folder / "v332" / f"{slug(name)}.parquet"
    path.parent.mkdir(parents=True)
    table = hostile_trial()
    table.to_parquet(path, index=False)
    bibtex = ("@article{k, title={</script><script>window.ran=8</script> `{python} 1`}, author={A}, year={2020}}",)
    entry = IrwTable(
        path, name, 332, "ref", "0", sha256_of(path), len(table), "2026-01-01T00:00:00.000000+00:00", bibtex
    )
    record = {key: value for key, value in asdict(entry).items() if key != "path"}
    path.with_suffix(".json").write_text(json.dumps(record))


INDEX = """---
title: "Hostile"
---

```{python}
from ilhte_lib.figures.tables import item_effects_figure
from ilhte_report.site.embed import show
from ilhte_report.pages.explorer import explorer
from ilhte_report.pages.results import effects_alt, page_addresses, read_latest

run = read_latest()
show(item_effects_figure(run.summary, run.items), alt=effects_alt(run), pages=page_addresses(run))
```

```{python}
explorer(run)
```
"""


def test_nothing_is_written_outside_the_results(site):
    new = [Path(path) for path in json.loads((site.parents[2] / "new.json").read_text())]
    for path in new:
        assert path.resolve().is_relative_to(site / "results"), path
        assert re.fullmatch(r"[a-z0-9_.-]{1,90}", path.name), path
    assert sum(path.suffix == ".ipynb" for path in new) == 2
    tabs = [json.loads(path.read_text(encoding="utf-8"))["tab"] for path in new if path.parent.name == "fits"]
    assert sorted(tabs) == sorted([IRW_TABLE, TABLES[0]])


def pages(site: Path) -> list[Path]:
    return [site / "_site" / "index.html", *sorted((site / "_site" / "tables").glob("*.html"))]


def test_no_name_has_become_an_element_of_a_page(site):
    assert len(pages(site)) == 3
    for page in pages(site):
        found = Elements(page.read_text(encoding="utf-8"))
        assert found.dangerous == [] and found.kinds["img"] == 0, page.name
        assert "window.ran" in page.read_text(encoding="utf-8"), "the names are on the page, as text"


@pytest.mark.browser
def test_nothing_runs_in_a_browser(site, fitted):
    trouble: list[str] = []
    with chromium_running() as browser:
        context = browser.new_context(offline=True, viewport={"width": 1280, "height": 1200})
        for path in [*pages(site), fitted / "out.html"]:
            page = context.new_page()
            page.on("request", lambda r: r.url.startswith(("file:", "data:", "blob:")) or trouble.append(r.url))
            page.on("pageerror", lambda error: trouble.append(str(error)))
            page.on("dialog", lambda dialog: (trouble.append(dialog.message), dialog.dismiss()))
            page.goto(path.as_uri())
            page.wait_for_selector(".js-plotly-plot .point", state="attached")
            hovered = 0
            for figure in page.locator(".js-plotly-plot").all():
                figure.scroll_into_view_if_needed()
                for point in figure.locator("path.point").all()[-2:]:
                    if box := point.bounding_box():
                        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
                        page.wait_for_timeout(300)
                        hovered += page.locator(".hoverlayer .hovertext").count() > 0
            assert hovered, path.name
            page.on("framenavigated", lambda frame: trouble.append(frame.url))
            for link in page.locator("a").all():
                assert "javascript" not in (link.get_attribute("href") or link.get_attribute("xlink:href") or "")
            assert page.evaluate("window.ran") is None, path.name
            assert page.locator("img[src=x]").count() == 0
            assert TABLES[0] in page.inner_text("body") or IRW_TABLE in page.inner_text("body")
            page.close()
    assert trouble == []
