"""The site as real Quarto publishes it, page by page in Chromium: skipped where there is no Quarto."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

pytest.importorskip("papermill", reason="papermill is not installed (extra 'report')")
pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra 'test')")

from site_cases import copied_project, on_a_server
from test_own_site import OF_THE_COLLECTION, PARTS, headings, rendered

from ilhte_report.intake.source import sources
from ilhte_report.run.key import Settings
from ilhte_report.run.tables import run_tables
from ilhte_report.site.render import find_quarto, render

pytestmark = pytest.mark.browser

PROJECT = Path(__file__).resolve().parents[1]
TABLES = ("bacteria_weeks", "respiratory_visits", "film_sad_negative")
CONTRAST = """() => {
  const parts = (c) => c.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
  const found = [];
  for (const e of document.querySelectorAll("main pre code span, main pre code, main summary, main p, main td, main figcaption")) {
    if (!e.checkVisibility() || !e.textContent.trim()) continue;
    let box = e, back = null;
    for (; box; box = box.parentElement) {
      const colour = parts(getComputedStyle(box).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) { back = colour; break; }
    }
    const [low, high] = [light(parts(getComputedStyle(e).color)), light(back || [255, 255, 255])].sort((a, b) => a - b);
    if ((high + 0.05) / (low + 0.05) < 4.5) found.push(e.textContent.trim().slice(0, 40));
  }
  return found;
}"""
AXE = {
    "resultTypes": ["violations"],
    # it takes a heading that is a formula (MathML) for an empty one
    "rules": {"empty-table-header": {"enabled": False}},
}
# Where the tab key stopped: whether that comes after the last stop in the page's source, is shown and is ringed.
STOP = """() => {
  const stop = document.activeElement;
  // at the page's end, and for a moment when the box that a reference opened closes with the focus in it
  if (stop === document.body) return null;
  const after = !window.lastStop || Boolean(window.lastStop.compareDocumentPosition(stop) & Node.DOCUMENT_POSITION_FOLLOWING);
  // the box that a reference opens is gone when it is left
  if (!stop.closest("[data-tippy-root]")) window.lastStop = stop;
  const box = stop.getBoundingClientRect();
  const style = getComputedStyle(stop);
  return {
    after,
    what: stop.outerHTML.slice(0, 200),
    shown: box.width > 0 && box.height > 0 && style.visibility === "visible",
    ringed: style.outlineStyle !== "none" || style.boxShadow !== "none",
  };
}"""
WANTED = """() => [...document.querySelectorAll("a[href], button, input, select, summary")]
  .filter((e) => e.checkVisibility({visibilityProperty: true}) && e.tabIndex >= 0 && !e.disabled).length"""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three tables, rendered by Quarto, and beside it what must not be published."""
    if find_quarto() is None:
        pytest.skip("there is no Quarto here")
    project = copied_project(tmp_path_factory.mktemp("quarto") / "project")
    (project / "mydata" / "tables").mkdir(parents=True)
    (project / "mydata" / "tables" / "pupils.csv").write_text("id,item,resp,treat\n", encoding="utf-8")
    (project / "mydata" / "letter.qmd").write_text("A letter.\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(project)
        patched.delenv("ILHTE_RUN", raising=False)
        patched.setenv("PYTHONPATH", str(PROJECT))
        run = project / "results" / "r"
        run_tables(sources(TABLES), run, Settings(bootstrap=0))
        return render(project, run, echo=lambda line: None)


@pytest.fixture(scope="module")
def project(published: Path) -> Path:
    return published.parent


@pytest.fixture(scope="module")
def address(published: Path) -> Iterator[str]:
    with on_a_server(published) as address:
        yield address


def files(published: Path) -> set[str]:
    return {path.relative_to(published).as_posix() for path in published.rglob("*") if path.is_file()}


def test_exactly_what_is_meant_is_published_and_no_page_names_this_machine(published):
    pages = {f"{path.stem}.html" for path in PROJECT.glob("*.qmd")}
    pages |= {f"notebooks/{name}.html" for name in ("engines", "identification", "tests_and_intervals")}
    pages |= {f"tables/{tab}.{kind}" for tab in TABLES for kind in ("html", "csv", "json")}
    others = {"search.json", "assets/plotly.min.js", "tables/run/summary.csv", "tables/run/items.csv"}
    others |= {f"site/{name}" for name in ("figures.js", "explorer.js", "scrollable.js", "site.css")}
    ours = {name for name in files(published) if not name.startswith("site_libs/") and not name.startswith(".")}
    assert ours == pages | others
    for name in ours:
        if name.endswith((".html", ".json")):
            text = (published / name).read_text(encoding="utf-8")
            assert str(published.parent) not in text, name
            # what Quarto leaves of an expression without a value
            assert "<code>{python}" not in text, name
            # sections have no numbers
            assert "Section&nbsp;" not in text, name


def pages(published: Path) -> list[str]:
    return sorted(name for name in files(published) if name.endswith(".html") and "site_libs" not in name)


def opened_page(page, address: str, name: str) -> None:
    """Goes to a page, waits for its figures and opens what is folded."""
    page.goto(f"{address}/{name}")
    for n in range(page.locator(".ilhte-figure").count()):
        page.locator(".ilhte-figure").nth(n).locator(".main-svg").first.wait_for()
    page.evaluate("document.querySelectorAll('main details').forEach((box) => { box.open = true; })")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_legible_fits_and_asks_nobody_else(browser, published, address, width, scheme):
    trouble: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    page.on("request", lambda r: r.url.startswith((address, "data:", "blob:")) or trouble.append(r.url))
    page.on("console", lambda m: m.type == "error" and trouble.append(m.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    for name in pages(published):
        opened_page(page, address, name)
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            trouble.append(f"{name} scrolls sideways")
        trouble += [f"{name}: faint: {text}" for text in page.evaluate(CONTRAST)]
        contents = page.locator("#TOC a").all_text_contents()
        headings = page.locator("main section:not(#quarto-appendix section) > h2").all_text_contents()
        if contents and not set(headings) <= set(contents):
            trouble.append(f"{name}: not in the contents list: {set(headings) - set(contents)}")
    page.close()
    assert not trouble


def test_axe_finds_nothing_wrong_on_any_page(browser, published, address):
    from axe_playwright_python.sync_playwright import Axe

    wrong = []
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    for name in pages(published):
        opened_page(page, address, name)
        violations = Axe().run(page, context={"exclude": [[".main-svg"]]}, options=AXE).response["violations"]
        wrong += [(name, violation["id"], violation["nodes"][0]["html"][:200]) for violation in violations]
    page.close()
    assert not wrong


def test_the_tab_key_goes_through_every_page_in_the_order_of_its_source(browser, published, address):
    wrong = []
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    for name in pages(published):
        page.goto(f"{address}/{name}")
        for n in range(page.locator(".ilhte-figure").count()):
            page.locator(".ilhte-figure").nth(n).locator(".main-svg").first.wait_for()
        wanted, stops = page.evaluate(WANTED), []
        for _ in range(4 * wanted):
            page.keyboard.press("Tab")
            stop = page.evaluate(STOP)
            if stop is None:
                continue
            if not stop["after"]:
                break
            stops.append(stop)
        # after the last comes the first again
        if len(stops) < wanted:
            wrong.append((name, f"{len(stops)} stops for {wanted}", stops[-1]["what"]))
        wrong += [(name, kind, stop["what"]) for stop in stops for kind in ("shown", "ringed") if not stop[kind]]
    page.close()
    assert not wrong


def test_searching_for_the_exact_name_of_a_table_finds_its_page_first(browser, address):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    for tab in TABLES:
        page.goto(f"{address}/data.html")
        page.wait_for_load_state("networkidle")
        page.locator("#quarto-search button").first.click()
        page.locator(".aa-Input").first.fill(tab)
        first = page.locator(".aa-Item a").first
        first.wait_for()
        assert first.get_attribute("href").removeprefix("./").split("?")[0] == f"tables/{tab}.html"
    page.close()


OWN_SITES = {
    "one table": (["reading_2024"], True, {}, "reading_2024", ["The model", "Who benefits most?"]),
    "two tables": (["north", "south"], False, {}, "north and south", ["The model", "Effects of items"]),
    "twenty tables": (
        [f"school_{k:02d}" for k in range(20)], True, {"broken": "It is empty."}, "20 trials",
        ["The model", "Effects of items", "Who benefits most?"],
    ),
    "all failed": ([], True, {"a": "Column treat is missing."}, "No table could be fitted", []),
}  # fmt: skip


@pytest.mark.parametrize("case", OWN_SITES)
def test_a_site_of_one_s_own_tables_speaks_of_them(tmp_path, case):
    if find_quarto() is None:
        pytest.skip("there is no Quarto here")
    names, covariate, failed, title, parts = OWN_SITES[case]
    pages = rendered(tmp_path, names, covariate, failed, by=lambda project, run: render(project, run, echo=str))
    index = pages["index.qmd"]
    assert index.startswith(title)
    assert headings(index, PARTS) == [*parts, *(["The tables", "Limitations"] if names else [])]
    assert ("[figure 2]" in index) == (len(names) > 2 and covariate) and ("[figure 1]" in index) == (len(names) > 1)
    for page, text in pages.items():
        assert "{python}" not in text, page
        assert not OF_THE_COLLECTION.search(text), page
        assert all(f"{tab}: {reason}" in text for tab, reason in failed.items()), page


# -- other ways to call Quarto: after the tests of what is published, for they write there ---------------------------


def quarto_environment(run: Path) -> dict[str, str]:
    return {**os.environ, "ILHTE_RUN": str(run), "QUARTO_PYTHON": sys.executable, "PYTHONPATH": str(PROJECT)}


def test_one_page_is_rendered_by_itself_from_the_run_that_ilhte_run_names(project, published):
    other = project / "results" / "other"
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(project)
        run_tables(sources(TABLES[:1]), other, Settings(bootstrap=0))
    before = (published / "tables.html").read_bytes()
    assert all(tab in (published / "tables.html").read_text(encoding="utf-8") for tab in TABLES)
    done = subprocess.run(
        [find_quarto(), "render", "tables.qmd"],
        cwd=project,
        env=quarto_environment(other),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    text = (published / "tables.html").read_text(encoding="utf-8")
    assert before != text.encode() and [tab in text for tab in TABLES] == [True, False, False]


def test_index_is_rendered_by_itself(project, published):
    (published / "index.html").unlink()
    run = project / "results" / "r"
    done = subprocess.run(
        [find_quarto(), "render", "index.qmd"], cwd=project, env=quarto_environment(run), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert TABLES[0] in (published / "index.html").read_text(encoding="utf-8")


def test_quarto_preview_starts_and_serves_the_first_page(project):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [find_quarto(), "preview", "--port", str(port), "--no-browser"]
    log = project / "preview.log"
    with log.open("w") as out:
        # a session of its own, to be ended with all that it started
        started = subprocess.Popen(
            command,
            cwd=project,
            env=quarto_environment(project / "results" / "r"),
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        text, until = "", time.monotonic() + 240
        while not text and started.poll() is None and time.monotonic() < until:
            time.sleep(1)
            try:
                with urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
                    text = answer.read().decode()
            except (URLError, OSError):
                continue
        assert TABLES[0] in text and "quarto" in text, log.read_text(encoding="utf-8")
    finally:
        os.killpg(started.pid, signal.SIGTERM)
        started.wait(timeout=30)
