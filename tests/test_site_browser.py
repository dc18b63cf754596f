"""The site as a reader meets it: a small run rendered once, and looked at with Chromium, the network cut."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytest.importorskip("papermill", reason="papermill is not installed (extra 'report')")
pytest.importorskip("pypandoc", reason="pypandoc is not installed (extra 'report')")
pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra 'test')")

import pandas as pd
from site_cases import copied_project, on_a_server

from ilhte_lib.model.simulate import Design, simulate_trial
from ilhte_report.cli import app
from ilhte_report.intake.source import sources
from ilhte_report.pages.command import command_names
from ilhte_report.project import slug
from ilhte_report.run.key import Settings
from ilhte_report.run.tables import run_tables
from ilhte_report.site.preview.site import build_site
from ilhte_report.site.render import prepare_site

pytestmark = pytest.mark.browser

PROJECT = Path(__file__).resolve().parents[1]
HOSTILE = "=1+1 <img src=x onerror=alert(1)> \"q\" 'a' & `{{< meta title >}}` [l](javascript:alert(2))"
HOSTILE_ITEMS = (
    "<script>alert(3)</script>",
    "</script><script>alert(4)</script>",
    '=HYPERLINK("http://evil.example","x")',
    '"><svg onload=alert(5)>',
    "__proto__",
    "$\\href{javascript:alert(6)}{x}$ ```",
)
PRETESTED = "sim_n0200_j20_sz50_rho00_pre"
OWN = "mine_pretest"
OTHERS = {"bacteria_weeks": 0, "respiratory_visits": 0, "mathexam14w_group": 1, PRETESTED: 3}
"""Tables of the collection that are no trials, and their place in the list."""


@dataclass(frozen=True)
class Site:
    """The rendered folder and the run it was made from."""

    folder: Path
    summary: pd.DataFrame
    items: pd.DataFrame

    @property
    def pages(self) -> list[str]:
        return sorted(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*.html"))

    @property
    def ordered(self) -> pd.DataFrame:
        """The tables as Figure 1 has them."""
        return self.summary.sort_values(["ate_std", "tab"], kind="stable")

    @property
    def trials(self) -> pd.DataFrame:
        """What the first page draws and counts: the tables of one's own."""
        return self.summary[~self.summary["tab"].isin(OTHERS)]

    @property
    def listed(self) -> pd.DataFrame:
        """The tables as the grid has them: trials, groups nobody assigned, own files, simulated ones."""
        return self.ordered.sort_values("tab", key=lambda tab: tab.map(OTHERS).fillna(2), kind="stable")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Seven tables, one of them with names that mean harm, through notebooks and the preview renderer."""
    folder = tmp_path_factory.mktemp("site")
    project = copied_project(folder / "project")
    table, _ = simulate_trial(Design(n_persons=150, n_items=len(HOSTILE_ITEMS), seed=8, sigma_zeta=0.6, gamma=0.5))
    names = dict(zip(sorted(table["item"].unique()), HOSTILE_ITEMS, strict=True))
    # a slash cannot be in a file name
    path = folder / f"{HOSTILE.replace('/', '')}.csv"
    table.assign(item=table["item"].map(names)).to_csv(path, index=False)
    own = [folder / f"{OWN}.csv", folder / "mine_other.csv", path]
    for k, where in enumerate(own[:2]):
        simulate_trial(Design(120, 6 - k, 9 + k, sigma_zeta=0.6, gamma=0.5))[0].to_csv(where, index=False)
    run = project / "results" / "r"
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(project)
        patched.delenv("ILHTE_RUN", raising=False)
        patched.setenv("PYTHONPATH", os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")]))
        wanted = [*OTHERS, *map(str, own)]
        outcomes = run_tables(sources(wanted), run, Settings(bootstrap=19))
        assert [outcome.status for outcome in outcomes] == ["fitted"] * 7, outcomes
        prepare_site(project, run)
        build_site(project, run, {**os.environ, "ILHTE_RUN": str(run)}, lambda line: None)
    return Site(project / "_site", pd.read_parquet(run / "summary.parquet"), pd.read_parquet(run / "items.parquet"))


@pytest.fixture
def visit(site: Site, browser) -> Iterator[Callable]:
    """Opens a page from disk with the network cut; a request that is not for a file, an error or a dialog fails the test."""
    trouble: list[str] = []
    contexts = []

    def opened(name: str, **options):
        context = browser.new_context(offline=True, **{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda r: r.url.startswith(("file:", "data:", "blob:")) or trouble.append(r.url))
        page.on("requestfailed", lambda r: trouble.append(f"{r.url}: {r.failure}"))
        page.on("console", lambda m: m.type == "error" and trouble.append(m.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("dialog", lambda dialog: (trouble.append(dialog.message), dialog.dismiss()))
        page.goto((site.folder / name).as_uri())
        for n in range(page.locator(".ilhte-figure").count()):
            page.locator(".ilhte-figure").nth(n).locator(".main-svg").first.wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert trouble == []


def figure(page, label: str):
    return page.locator(f"#{label} .ilhte-figure")


def number_in(text: str) -> float:
    return float(re.match(r"[−\d.,]+", text)[0].replace("−", "-").replace(",", ""))


# -- figures -------------------------------------------------------------------------------------------------------


def test_both_figures_draw_the_right_number_of_points(visit, site: Site):
    page = visit("index.html")
    traces = figure(page, "fig-items").locator(".scatterlayer .trace")
    points = [traces.nth(n).locator(".point").count() for n in range(traces.count())]
    significant = site.trials.set_index("tab")["sig_il_hte"].astype(bool)
    items = site.items[site.items["tab"].isin(site.trials["tab"])]
    of_significant = int(items["tab"].map(significant).sum())
    expected = [of_significant, len(items) - of_significant, int(significant.sum()), int((~significant).sum())]
    # a trace without points draws nothing
    assert sorted(points) == sorted(n for n in expected if n) and sum(points) == len(items) + 3
    drawn = site.trials.dropna(subset=["delta_beta3", "sd_ratio"])
    assert figure(page, "fig-interaction").locator(".scatterlayer .point").count() == len(drawn) > 0


def test_the_hover_has_the_numbers_of_its_table(visit, site: Site):
    page = visit("index.html")
    row = site.summary.set_index("tab").loc[OWN]
    both = {"ρ": row["rho"], "Items": 6, "N": 120}
    own = {
        "fig-items": {"ATE": row["ate_std"], "σζ": row["sigma_zeta_std"]},
        "fig-interaction": {"Δβ₃": row["delta_beta3"], "SD ratio": row["sd_ratio"]},
    }
    for label, expected in own.items():
        page.mouse.move(*point_of(page, label, OWN))
        hover = figure(page, label).locator(".hoverlayer .hovertext")
        hover.wait_for()
        text = hover.text_content().replace("\u200b", "")  # which stand around a subscript
        assert text.startswith(OWN)
        found = {
            name: number_in(value) for name, value in re.findall(r"(ATE|σζ|ρ|Items|N|Δβ₃|SD ratio): (−?[\d.]+)", text)
        }
        # rho is shown with two digits, the others with three
        near = {name: 0.0051 if name == "ρ" else 0.00051 for name in both | expected}
        assert found == {name: pytest.approx(value, abs=near[name]) for name, value in (both | expected).items()}
        if label == "fig-items":
            assert text.endswith(f"Sig. IL-HTE: {str(bool(row['sig_il_hte'])).upper()}")


def point_of(page, label: str, tab: str) -> tuple[float, float]:
    """Where on the screen the point is that stands for a table."""
    figure(page, label).scroll_into_view_if_needed()
    return tuple(
        page.evaluate(
            """([label, tab]) => {
                const place = document.querySelector(`#${label} .drawing`);
                const box = place.querySelector(".nsewdrag").getBoundingClientRect();
                for (const trace of place.data) {
                    const n = (trace.customdata || []).indexOf(tab);
                    if (n < 0 || trace.hoverinfo === "skip") continue;
                    const [x, y] = [place._fullLayout.xaxis, place._fullLayout.yaxis];
                    return [box.x + x.l2p(trace.x[n]), box.y + y.l2p(trace.y[n])];
                }
            }""",
            [label, tab],
        )
    )


@pytest.mark.parametrize("label", ["fig-items", "fig-interaction"])
def test_a_click_on_a_point_opens_the_page_of_its_table(visit, site: Site, label: str):
    page = visit("index.html")
    page.mouse.click(*point_of(page, label, OWN))
    page.wait_for_url(f"**/tables/{OWN}.html")


def test_on_a_phone_the_first_tap_shows_and_the_second_opens(visit):
    page = visit("index.html", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    at = point_of(page, "fig-items", OWN)
    page.touchscreen.tap(*at)
    figure(page, "fig-items").locator(".hoverlayer .hovertext").wait_for()
    assert page.url.endswith("index.html")
    # sooner it would be a double tap, which resets the zoom
    page.wait_for_timeout(600)
    page.touchscreen.tap(*at)
    page.wait_for_url(f"**/tables/{OWN}.html")


@pytest.mark.parametrize("label", ["fig-items", "fig-interaction"])
def test_tables_are_found_and_opened_by_name_with_the_keyboard(visit, site: Site, label: str):
    page = visit("index.html")
    box = figure(page, label).get_by_label("Highlight tables by name")
    box.focus()
    page.keyboard.type("MINE pre")
    status = figure(page, label).locator("[role=status]")
    assert status.text_content() == f"1 table: {OWN}"
    dimmed = page.evaluate(
        """(label) => [...document.querySelectorAll(`#${label} .scatterlayer .point`)]
            .filter((point) => Number(getComputedStyle(point).opacity) < 0.3).length""",
        label,
    )
    total = figure(page, label).locator(".scatterlayer .point").count()
    kept = 1 + (6 if label == "fig-items" else 0)
    assert dimmed == total - kept
    assert OWN in figure(page, label).locator(".annotation-text").last.text_content()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/tables/{OWN}.html")


def test_what_is_not_there_is_not_found(visit):
    page = visit("index.html")
    box = figure(page, "fig-items").get_by_label("Highlight tables by name")
    box.fill("constructor")
    assert figure(page, "fig-items").locator("[role=status]").text_content() == "0 tables."
    box.fill("")
    assert figure(page, "fig-items").locator("[role=status]").text_content() == ""


# -- the grid ------------------------------------------------------------------------------------------------------


def column(page, n: int) -> list[str]:
    return page.locator(f".explorer tbody tr:visible > :nth-child({n})").all_inner_texts()


def heading(page, name: str):
    return page.locator(".explorer thead").get_by_role("button", name=name)


def test_the_grid_has_every_table_with_its_numbers(visit, site: Site):
    page = visit("tables.html")
    rows = page.locator(".explorer tbody tr")
    assert [rows.nth(n).locator("a").text_content() for n in range(rows.count())] == list(site.listed["tab"])
    assert [number_in(text) for text in column(page, 3)] == pytest.approx(list(site.listed["ate_std"]), abs=0.0051)
    assert [number_in(text) for text in column(page, 7)] == list(site.listed["n_persons"])
    for n, tab in enumerate(site.listed["tab"]):
        drawing = rows.nth(n).locator("svg.sparkline")
        assert drawing.locator(".items").get_attribute("d").count("M") == (site.items["tab"] == tab).sum()
        assert drawing.get_attribute("aria-label").startswith(f"{(site.items['tab'] == tab).sum()} items from ")


def test_the_grid_sorts_both_ways_with_the_keyboard_and_keeps_the_undefined_last(visit, site: Site):
    page = visit("tables.html")
    heading(page, "Persons").focus()
    page.keyboard.press("Enter")
    assert [number_in(text) for text in column(page, 7)] == sorted(site.summary["n_persons"])
    assert page.locator(".explorer th[aria-sort]").get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Enter")
    assert [number_in(text) for text in column(page, 7)] == sorted(site.summary["n_persons"], reverse=True)
    assert page.locator(".explorer th[aria-sort]").get_attribute("aria-sort") == "descending"
    undefined = int(site.summary["rho"].isna().sum())
    assert undefined > 0
    for _ in range(2):
        heading(page, "ρ").click()
        assert list(column(page, 5)[-undefined:]) == ["–"] * undefined
    heading(page, "Table").click()
    assert column(page, 1) == sorted(column(page, 1), key=str.casefold)


def test_the_grid_searches_and_filters(visit, site: Site):
    page = visit("tables.html")
    status = page.locator(".explorer [role=status]")
    page.get_by_label("Kind").select_option("simulated")
    assert status.text_content() == "1 of 7 tables." and len(column(page, 1)) == 1
    page.get_by_role("button", name="Show all").click()
    page.get_by_label("Covariate").select_option("with")
    page.wait_for_function("document.querySelector('.explorer [role=status]').textContent !== '7 tables.'")
    assert len(column(page, 1)) == int(site.summary["delta_beta3"].notna().sum())
    page.get_by_role("button", name="Show all").click()
    page.locator(".explorer").get_by_label("Search").fill("OTITIS bacteria")
    assert column(page, 1)[0].startswith("bacteria_weeks") and status.text_content() == "1 of 7 tables."
    page.locator(".explorer").get_by_label("Search").fill("no such table")
    assert status.text_content() == "0 of 7 tables."
    page.get_by_role("button", name="Show all").click()
    page.wait_for_function("document.querySelector('.explorer [role=status]').textContent === '7 tables.'")
    if site.summary["sig_il_hte"].nunique() > 1:
        page.get_by_label("Spread of effects").select_option("significant")
        assert len(column(page, 1)) == int(site.summary["sig_il_hte"].sum())


# -- the whole site ------------------------------------------------------------------------------------------------


class References(HTMLParser):
    """The ids of a page and what it links to or loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.targets: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name == "id":
                self.ids.add(value)
            elif name in ("href", "src") and value is not None:
                self.targets.append(value)


def test_every_internal_link_leads_somewhere(site: Site):
    pages = {name: References((site.folder / name).read_text(encoding="utf-8")) for name in site.pages}
    assert {"index.html", "tables.html", "methods.html", "own-data.html", "data.html"} < set(pages)
    broken, n_checked = [], 0
    for name, page in pages.items():
        for target in page.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                assert parts.scheme in ("https", "data", "mailto"), f"{name}: {target}"
                continue
            n_checked += 1
            path = (site.folder / name).parent / unquote(parts.path) if parts.path else site.folder / name
            key = os.path.relpath(path, site.folder).replace(os.sep, "/")
            if not path.is_file() or (
                parts.fragment and key in pages and unquote(parts.fragment) not in pages[key].ids
            ):
                broken.append(f"{name}: {target}")
    assert not broken and n_checked > 100


def test_every_page_opens_offline_is_legible_accessible_and_fits_a_phone(visit, site: Site):
    """Opened in the dark theme and turned to the light one, which its figures have to follow."""
    from axe_playwright_python.sync_playwright import Axe

    wrong = []
    for name in site.pages:
        page = visit(name, color_scheme="dark")
        page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
        wrong += [(name, "dark", *faint) for faint in page.evaluate(FAINT_TEXT)]
        page.emulate_media(color_scheme="light")
        wrong += [(name, "light", *faint) for faint in faint_when_drawn(page)]
        # the rules that depend on the theme are about contrast, which is measured above; one table's page is like another's
        if not name.startswith("tables/") or "bacteria" in name:
            violations = Axe().run(page, context={"exclude": [[".main-svg"]]}, options=AXE).response["violations"]
            wrong += [(name, violation["id"], violation["nodes"][0]["html"][:200]) for violation in violations]
        page.set_viewport_size({"width": 390, "height": 844})
        if (width := page.evaluate("document.documentElement.scrollWidth")) > 390:
            wrong.append((name, "scrolls sideways", width))
        page.context.close()
    assert not wrong


def faint_when_drawn(page) -> list:
    """The faint text of a page whose theme has changed, once its figures are drawn anew or had ten seconds for it."""
    deadline = time.monotonic() + 10
    while (found := page.evaluate(FAINT_TEXT)) and time.monotonic() < deadline:
        page.wait_for_timeout(100)
    return found


AXE = {
    "resultTypes": ["violations"],
    # it would fetch the style sheets, which a page from disk may not
    "preload": False,
    # it takes a heading that is a formula (MathML) for an empty one
    "rules": {"empty-table-header": {"enabled": False}},
}

FAINT_TEXT = """() => {
    const parse = (text) => text.match(/[\\d.]+/g).map(Number);
    // color-mix() and opacity come as color(srgb r g b / a) with parts of one
    const rgba = (text) => {
        const [r, g, b, a = 1] = parse(text.replace("srgb", ""));
        return text.startsWith("color(") ? [255 * r, 255 * g, 255 * b, a] : [r, g, b, a];
    };
    const over = ([r, g, b, a], below) => [r, g, b].map((c, n) => c * a + below[n] * (1 - a));
    const luminance = (rgb) => {
        const [r, g, b] = rgb.map((c) => ((c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const chain = (element) => (element ? [...chain(element.parentElement), element] : []);
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        const box = element.getBoundingClientRect();
        if (!walker.currentNode.data.trim() || !box.width || element.closest("script, noscript, .hoverlayer, .skip")) continue;
        const style = getComputedStyle(element);
        if (style.visibility === "hidden") continue;
        const up = chain(element);
        let below = [255, 255, 255];
        for (const ancestor of up) below = over(rgba(getComputedStyle(ancestor).backgroundColor), below);
        const opacity = up.reduce((product, ancestor) => product * getComputedStyle(ancestor).opacity, 1);
        // what a slider has not chosen is there, but not to be seen
        if (opacity === 0) continue;
        const [r, g, b, a] = rgba(element instanceof SVGElement ? style.fill : style.color);
        const shown = over([r, g, b, a * opacity], below);
        const [light, dark] = [luminance(shown), luminance(below)].sort((x, y) => y - x);
        const ratio = (light + 0.05) / (dark + 0.05);
        const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
        if (ratio < (large ? 3 : 4.5)) found.push([walker.currentNode.data.trim().slice(0, 40), ratio.toFixed(2)]);
    }
    return found;
}"""


def test_the_measure_of_legibility_sees_faint_text(visit):
    page = visit("data.html", color_scheme="light")
    assert page.evaluate(FAINT_TEXT) == []
    page.evaluate("document.querySelector('main p').style.color = '#888'")
    assert page.evaluate(FAINT_TEXT)[0][1] == "3.54"
    page.evaluate("Object.assign(document.querySelector('main p').style, {color: '', opacity: 0.5})")
    assert page.evaluate(FAINT_TEXT)


def test_a_page_weighs_less_than_a_megabyte_besides_plotly(site: Site):
    for name in site.pages:
        page = References((site.folder / name).read_text(encoding="utf-8"))
        loaded = {(site.folder / name).resolve()}
        for target in page.targets:
            path = ((site.folder / name).parent / unquote(urlsplit(target).path)).resolve()
            if path.suffix in (".js", ".css", ".png", ".svg"):
                loaded.add(path)
        # what the search box loads when it is used
        loaded.add((site.folder / "site_libs" / "search-index.js").resolve())
        assert sum(path.stat().st_size for path in loaded) < 1_000_000, name


def test_pages_without_a_figure_do_not_load_plotly(visit):
    assert visit("data.html").evaluate("typeof Plotly") == "undefined"
    assert visit("index.html").evaluate("typeof Plotly") == "object"


def test_everything_on_a_page_that_can_be_used_is_reached_with_the_tab_key(visit):
    page = visit("tables.html")
    wanted = page.evaluate(
        "[...document.querySelectorAll('a[href], button, input, select')].filter((e) => e.checkVisibility()).length"
    )
    reached = set()
    page.evaluate("document.activeElement.blur()")
    for _ in range(wanted + 5):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("""() => {
            const e = document.activeElement;
            e.dataset.stop ??= String(document.querySelectorAll("[data-stop]").length);
            return e.matches("a[href], button, input, select") ? e.dataset.stop : "";
        }""")
        )
    assert len(reached - {""}) == wanted


def test_the_site_s_search_finds_sections_and_opens_them_with_the_keyboard(visit):
    page = visit("tables/bacteria_weeks.html")
    page.get_by_label("Search this site").focus()
    page.keyboard.type("compressed")
    page.wait_for_selector(".found a")
    assert "Methods: What is compressed" in page.locator(".found a").all_text_contents()
    page.get_by_label("Search this site").fill("How a fit is certified")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.textContent") == "Methods: How a fit is certified"
    page.keyboard.press("Enter")
    page.wait_for_url("**/methods.html#sec-certificates")
    page.get_by_label("Search this site").fill("zxqj")
    page.wait_for_function("document.querySelector('.found [role=status]').textContent === 'Nothing found.'")
    page.keyboard.press("Escape")
    assert not page.locator(".found").is_visible()


def test_every_command_is_on_the_page_for_one_s_own_data(visit):
    text = visit("own-data.html").locator("main").inner_text()
    assert not [name for name in command_names(app) if f"ilhte {name} " not in text]


# -- names that mean harm ------------------------------------------------------------------------------------------


def test_hostile_names_are_shown_and_do_nothing(visit, site: Site):
    tab = next(name for name in site.summary["tab"] if name.startswith("=1+1"))
    # whatever ran would open a dialog, log an error or send a request, which `visit` reports
    page = visit(f"tables/{slug(tab)}.html")
    text = page.locator("main").inner_text()
    assert all(" ".join(item.split()) in text for item in HOSTILE_ITEMS)
    for name in ("index.html", "tables.html", "data.html"):
        page = visit(name)
        assert page.locator("img[src=x], svg[onload], a[href^='javascript:']").count() == 0, name
    page = visit("tables.html")
    assert tab in [link.strip() for link in page.locator(".explorer tbody a").all_text_contents()]
    page = visit("index.html")
    figure(page, "fig-items").get_by_label("Highlight tables by name").fill("onerror")
    assert figure(page, "fig-items").locator("[role=status]").text_content() == f"1 table: {tab}"
    page.mouse.move(*point_of(page, "fig-items", tab))
    hover = figure(page, "fig-items").locator(".hoverlayer .hovertext")
    hover.wait_for()
    assert "<img src=x" in hover.text_content()
    page.get_by_label("Search this site").fill("onerror")
    page.wait_for_selector(".found a")
    page.locator(".found a").first.click()
    page.wait_for_url(f"**/tables/{slug(tab)}.html*")


# -- downloads -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(site: Site) -> Iterator[str]:
    """The address of the site on a web server of this machine."""
    with on_a_server(site.folder) as address:
        yield f"{address}/"


@pytest.fixture
def download(browser, served: str) -> Iterator[Callable[[str, str], str]]:
    """The text of the file behind a link of a page, as the browser saves it."""
    context = browser.new_context(accept_downloads=True, java_script_enabled=False)
    page = context.new_page()

    def saved(name: str, link: str) -> str:
        page.goto(served + name)
        anchor = page.locator("main").get_by_role("link", name=link).first
        with page.expect_download() as begun:
            anchor.click(modifiers=["Alt"])
        return Path(begun.value.path()).read_text(encoding="utf-8")

    yield saved
    context.close()


def test_a_table_s_files_open_and_hold_what_its_page_shows(download, site: Site):
    for tab in site.summary["tab"]:
        page = f"tables/{slug(tab)}.html"
        document = json.loads(download(page, "Everything on this page"))
        assert document["tab"] == tab and set(document["models"]) >= {"M_0", "M_A"}
        rows = list(csv.DictReader(io.StringIO(download(page, "Effects of the items"))))
        expected = site.items[site.items["tab"] == tab]
        assert [float(row["total_std"]) for row in rows] == pytest.approx(list(expected["total_std"]))
        for row in rows:
            assert not any(str(row[name]).startswith(("=", "+", "@")) for name in ("tab", "item"))
    hostile = [row["item"] for row in rows]
    assert [item.removeprefix("'") for item in hostile] == list(expected["item"]) and tab.startswith("=")


def test_the_whole_run_s_files_open(download, site: Site):
    summary = pd.read_csv(io.StringIO(download("tables.html", "summary, one row per table")))
    assert sorted(summary["ate_std"]) == pytest.approx(sorted(site.summary["ate_std"]))
    assert summary["rho"].isna().sum() == site.summary["rho"].isna().sum()
    items = pd.read_csv(io.StringIO(download("tables.html", "effects of all")))
    assert len(items) == len(site.items)
