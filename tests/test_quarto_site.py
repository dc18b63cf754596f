"""The site as real Quarto publishes it, page by page in Chromium: skipped where there is no Quarto."""

from __future__ import annotations

import functools
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("papermill", reason="papermill is not installed (extra 'report')")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra 'test')")

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


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three tables, rendered by Quarto, and beside it what must not be published."""
    if find_quarto() is None:
        pytest.skip("there is no Quarto here")
    project = tmp_path_factory.mktemp("quarto") / "project"
    project.mkdir()
    for name in (".ilhte-project", "_quarto.yml", "references.bib", *(path.name for path in PROJECT.glob("*.qmd"))):
        shutil.copy(PROJECT / name, project)
    for name in ("site", "data", "notebooks"):
        shutil.copytree(PROJECT / name, project / name, ignore=shutil.ignore_patterns("cache", "__pycache__"))
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
def address(published: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(published)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


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
            assert str(published.parent) not in (published / name).read_text(encoding="utf-8"), name


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_legible_fits_and_asks_nobody_else(published, address, width, scheme):
    found = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("there is no Chromium on the PATH")
    trouble: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
        page.on("request", lambda r: r.url.startswith((address, "data:", "blob:")) or trouble.append(r.url))
        page.on("console", lambda m: m.type == "error" and trouble.append(m.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        for name in sorted(name for name in files(published) if name.endswith(".html") and "site_libs" not in name):
            page.goto(f"{address}/{name}")
            for n in range(page.locator(".ilhte-figure").count()):
                page.locator(".ilhte-figure").nth(n).locator(".main-svg").first.wait_for()
            page.evaluate("document.querySelectorAll('main details').forEach((box) => { box.open = true; })")
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                trouble.append(f"{name} scrolls sideways")
            trouble += [f"{name}: faint: {text}" for text in page.evaluate(CONTRAST)]
            contents = page.locator("#TOC a").all_text_contents()
            headings = page.locator("main section:not(#quarto-appendix section) > h2").all_text_contents()
            if contents and not set(headings) <= set(contents):
                trouble.append(f"{name}: not in the contents list: {set(headings) - set(contents)}")
        browser.close()
    assert not trouble
