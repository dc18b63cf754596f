"""``ilhte app`` in a real browser: files dropped and named, with the keyboard alone, at phone width; who may ask, and what leaves."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import re
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("shiny", reason="shiny is not installed (extra 'app')")
pytest.importorskip("plotly", reason="plotly is not installed (extra 'report')")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra 'test')")

import pandas as pd
import uvicorn
from command_line import call, refusal
from test_hostile_names import ITEMS, hostile_trial

from ilhte_lib.data.options import DataOptions
from ilhte_lib.errors import InputError
from ilhte_lib.model.simulate import Design, simulate_trial
from ilhte_report.app.form import PREFIX, chosen, described, of_files
from ilhte_report.app.guard import Guard
from ilhte_report.app.page import make_page
from ilhte_report.app.serve import application, serve
from ilhte_report.app.session import server
from ilhte_report.intake.columns import Columns, look
from ilhte_report.options import OPTIONS
from ilhte_report.pages.reproduce import command_line

pytestmark = pytest.mark.browser

MEGABYTES = 3
TOKEN = "a-secret-of-this-test"
ONLY_OURS = (
    "() => performance.getEntriesByType('resource').map((e) => e.name).filter((n) => !n.startsWith(location.origin))"
)
OVERFLOW = "() => document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"
FOCUSED = """() => { const e = document.activeElement; const ring = getComputedStyle(e);
  return [e.id, e.textContent.trim().slice(0, 40), ring.outlineStyle !== 'none' || ring.boxShadow !== 'none'
    || getComputedStyle(e.closest('.btn, .btn-file') || e).outlineStyle !== 'none'] }"""


@dataclass(frozen=True)
class Served:
    """The application, served by a thread of this process."""

    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/{TOKEN}/"

    def answer(self, path: str, *, method: str = "GET", body: bytes = b"", **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path, body=body or None, headers=headers)
        return connection.getresponse()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    config = uvicorn.Config(application(make_page(server, MEGABYTES), TOKEN, MEGABYTES), log_level="error")
    running = uvicorn.Server(config)
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not running.started:
            time.sleep(0.02)
        yield Served(listener.getsockname()[1])
        running.should_exit = running.force_exit = True
        thread.join(10)


@pytest.fixture
def page(served, browser) -> Iterator:
    """A new page of the application; at its end nothing went wrong in it and nothing was asked of another host."""
    context = browser.new_context(viewport={"width": 375, "height": 800})
    opened, wrong = context.new_page(), []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("response", lambda answer: wrong.append(answer.url) if answer.status >= 400 else None)
    opened.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    opened.on("dialog", lambda dialog: (wrong.append("a dialog"), dialog.dismiss()))
    opened.set_default_timeout(60_000)
    opened.goto(served.address)
    opened.wait_for_selector("text=Choose a table first.")
    yield opened
    assert opened.evaluate(ONLY_OURS) == [] and wrong == []
    context.close()


def take(page, path: Path, tab: str | None = None) -> str:
    """Choose a file; what the page says of it: of reading it, or of checking it."""
    page.set_input_files("#file", path)
    return told(page, tab or path.name.removesuffix(".gz").rpartition(".")[0])


def told(page, tab: str) -> str:
    says(page, "#table_told", tab)
    if page.locator("#table_told .alert-danger").count():
        return page.inner_text("#table_told")
    page.wait_for_selector("#check_told .alert")
    return page.inner_text("#check_told")


def says(page, where: str, words: str) -> None:
    """Wait for words; without evaluating text as a script, which the page's policy forbids."""
    playwright.expect(page.locator(where)).to_contain_text(words, timeout=60_000)


def fit(page) -> None:
    page.click("#fit")
    page.wait_for_selector("#command")
    page.locator("#shown .main-svg").nth(2).wait_for(state="attached")


def downloaded(page, link: str) -> bytes:
    with page.expect_download() as coming:
        page.click(f"#{link}")
    return Path(coming.value.path()).read_bytes()


def trial(n_items: int = 4, **more) -> pd.DataFrame:
    return simulate_trial(Design(n_persons=150, n_items=n_items, seed=8, gamma=0.5, **more))[0]


# -- who may ask -------------------------------------------------------------------------------------------------------


def test_only_this_machine_with_the_token_is_answered(served):
    path = f"/{TOKEN}/"
    good = served.answer(path)
    assert good.status == 200 and "connect-src 'self'" in good.headers["content-security-policy"]
    assert good.headers["referrer-policy"] == "no-referrer"
    for refused in (
        served.answer("/"),
        served.answer("/session/"),
        served.answer(f"/{TOKEN[:-1]}/"),
        served.answer(f"/{TOKEN}"),
        served.answer(path, Host="evil.example"),
        served.answer(path, Host="evil.example:80"),
        served.answer(path, Origin="https://evil.example"),
    ):
        assert refused.status == 404 and TOKEN.encode() not in refused.read()


def test_what_is_too_large_is_refused_before_and_while_it_comes(served):
    path = f"/{TOKEN}/session/x/upload/y"
    most = MEGABYTES * 2**20
    announced = served.answer(path, method="POST", body=b"x" * (most + 1))
    assert announced.status == 413 and b"path" in announced.read()

    heard = []

    async def swallowing(scope, receive, send):
        while (await receive()).get("more_body"):
            heard.append(1)

    async def receive():
        return {"type": "http.request", "body": b"x" * 1000, "more_body": True}

    sent = []

    async def send(message):
        sent.append(message)

    import asyncio

    scope = {"type": "http", "path": "/t/", "headers": [(b"host", b"127.0.0.1:1")]}
    asyncio.run(Guard(swallowing, "t", 5000)(scope, receive, send))
    assert sent[0]["status"] == 413 and len(heard) == 5


def test_a_port_that_is_taken_is_one_sentence(served):
    said: list[str] = []
    with pytest.raises(InputError, match="Port .* leave out --port"):
        serve(lambda *_: None, served.port, 1, opens=False, say=said.append)
    assert said == []


def test_the_command_opens_the_page_on_loopback_alone(monkeypatch):
    seen = {}

    def run(self, sockets):
        seen["bound"] = sockets[0].getsockname()
        self.ready()

    monkeypatch.setattr(uvicorn.Server, "run", run)
    monkeypatch.setattr("webbrowser.open", lambda address: seen.setdefault("opened", address))
    done = call("app")
    assert done.code == 0 and seen["bound"][0] == "127.0.0.1"
    address = urlsplit(done.out.splitlines()[0])
    assert seen["opened"] == address.geturl() and len(address.path) > 30 and address.port == seen["bound"][1]
    seen.clear()
    assert call("app", "--no-browser").code == 0 and "opened" not in seen


# -- the form ----------------------------------------------------------------------------------------------------------


def test_every_option_has_a_field_and_an_untouched_form_changes_nothing():
    shown = str(described(Columns(("id", "item", "resp", "treat"), {}, DataOptions(), True), DataOptions()))
    for name in (field.name for field in fields(DataOptions)):
        assert f'id="{PREFIX}{name}"' in shown + str(of_files()), name
    blank = {name: "" if getattr(DataOptions(), name) is None else getattr(DataOptions(), name) for name in OPTIONS}
    assert chosen("long", blank.get) == DataOptions()
    assert chosen("wide", {"wide": " q* \n\nr, 1\n", "threshold": " 2 "}.get) == DataOptions(
        wide=("q*", "r, 1"), threshold=2
    )
    with pytest.raises(InputError, match="whole number"):
        chosen("long", {"max_persons": "many"}.get)
    with pytest.raises(InputError, match="No item column"):
        chosen("wide", {"wide": "  "}.get)


@pytest.mark.parametrize(
    ("header", "row", "guess"),
    [
        ("id,item,resp,treat", "1,a,0,1", {}),
        ("Student_ID,Question,Correct,Group,School", "1,a,0,Control,x", {
            "id": "Student_ID", "item": "Question", "resp": "Correct", "treat": "Group", "cluster": "School", "control": "Control",
        }),
        ("pid,arm,pre,q1,q2,q3,q10", "1,placebo,3,0,1,0,1", {
            "id": "pid", "treat": "arm", "covariate": "pre", "wide": ("q*",), "control": "placebo",
        }),
        ("id,treat,q1,q2,q3,quality", "1,0,0,1,0,1.5", {"wide": ("q1", "q2", "q3")}),
        ("x,y", "1,2", {}),
    ],
)  # fmt: skip
def test_columns_are_taken_for_what_they_are_called_and_hold(tmp_path, header, row, guess):
    width = header.count(",") + 1
    others = ",".join("2" if cell in "01" else f"{cell}2" for cell in row.split(","))
    flipped = ",".join({"0": "1", "1": "0"}.get(cell, cell) for cell in row.split(","))
    (tmp_path / "t.csv").write_text(f"{header}\n{row}\n{flipped}\n" if width > 2 else f"{header}\n{row}\n{others}\n")
    assert {
        k: tuple(v) if isinstance(v, list) else v for k, v in look(tmp_path / "t.csv").guess.changed().items()
    } == guess


def test_ratings_in_words_and_a_column_with_a_placebo_are_seen(tmp_path):
    (tmp_path / "t.csv").write_text(
        "Person,Site name,Drink (blinded),I feel: wide awake,I feel: lively,I feel: sad\n"
        "a,x,Placebo,often,never,k.A.\nb,y,2 mg/kg,never,often,never\nc,x,4 mg/kg,often,k.A.,often\n"
    )
    guess = look(tmp_path / "t.csv").guess
    assert (guess.id, guess.treat, guess.control) == ("Person", "Drink (blinded)", "Placebo")
    assert guess.wide == ("I feel: *",)


def test_the_command_is_quoted():
    data = DataOptions(id="a b", wide=("q*", "$(x)"), missing_codes=("-99",), lower_is_better=True)
    assert command_line("-x y.csv", data, bootstrap=0) == (
        "ilhte fit './-x y.csv' --id 'a b' --wide 'q*' --wide '$(x)' --missing-codes=-99 --lower-is-better"
    )
    assert command_line("t.csv", DataOptions(), bootstrap=99) == "ilhte fit t.csv --bootstrap 99"


# -- in the browser ----------------------------------------------------------------------------------------------------


def test_from_a_file_to_results_that_the_command_and_the_notebook_give_too(page, tmp_path, monkeypatch):
    wide = trial().pivot(index=["id", "treat", "std_baseline"], columns="item", values="resp").reset_index()
    wide.columns = ["student", "arm", "pretest", "q1", "q2", "q3", "q4"]
    wide.assign(arm=wide["arm"].map({0: "usual", 1: "new"})).to_csv(tmp_path / "my trial.csv", index=False)
    assert take(page, tmp_path / "my trial.csv") == "It can be fitted."
    assert "150 persons, 4 items, 600 responses" in page.inner_text("#found")
    fit(page)
    command = page.inner_text("#command")
    assert (
        command == "ilhte fit 'my trial.csv' --id student --treat arm --control usual --wide 'q*' --covariate pretest"
    )
    monkeypatch.chdir(tmp_path)
    options = ("--id", "student", "--treat", "arm", "--control", "usual", "--wide", "q*", "--covariate", "pretest")
    printed = call("fit", "my trial.csv", *options, "--json", "out.json")
    expected = json.loads((tmp_path / "out.json").read_text())
    document = json.loads(downloaded(page, "document"))
    assert document["summary"] | {"seconds": 0} == expected["summary"] | {"seconds": 0}
    assert document["items"] == expected["items"]
    first = next(line for line in printed.out.splitlines() if line.startswith("• Average effect"))
    assert first.removeprefix("• ") in " ".join(page.inner_text("#shown").split())
    # what is downloaded
    report = downloaded(page, "report").decode()
    assert "Read from the file my trial.csv." in report and "ilhte-app-" not in report
    with zipfile.ZipFile(io.BytesIO(downloaded(page, "tables"))) as archive:
        items = pd.read_csv(archive.open("items.csv"))
        assert {"summary.csv", "models.csv", "intervals.csv", "shown/estimates.csv"} <= set(archive.namelist())
    assert items["total_std"].tolist() == pytest.approx([item["total_std"] for item in expected["items"]], rel=1e-12)
    space: dict = {}
    for cell in json.loads(downloaded(page, "as_notebook"))["cells"]:
        if cell["cell_type"] == "code" and "show_sections" not in "".join(cell["source"]):
            exec("".join(cell["source"]), space)
    assert space["analysis"].document()["items"] == expected["items"]
    with page.expect_download() as coming:
        page.click("text=Save figure 1 as SVG")
    assert Path(coming.value.path()).read_text().startswith("<svg")


def test_a_fit_is_followed_and_stopped(page, tmp_path):
    """The page says what the fit is at; Stop, by the keyboard, ends it and leaves the page ready for another."""
    trial().to_csv(tmp_path / "long.csv", index=False)
    take(page, tmp_path / "long.csv")
    page.fill("#bootstrap", "9999")
    page.click("#fit")
    playwright.expect(page.locator("#course")).to_contain_text(re.compile(r"\w+ …"), timeout=60_000)
    assert page.evaluate(OVERFLOW) <= 0
    page.focus("#stop")
    page.keyboard.press("Enter")
    says(page, "#check_told", "The fit was stopped")
    assert page.locator("#stop").count() == 0 and page.inner_text("#course") == ""
    page.fill("#bootstrap", "0")
    fit(page)
    assert page.inner_text("#command") == "ilhte fit long.csv"
    with zipfile.ZipFile(io.BytesIO(downloaded(page, "paper"))) as archive:
        names = set(archive.namelist())
        assert (
            archive.read("tables/items.docx")[:2] == b"PK"
            and archive.read("figures/items-in-one-figure.pdf")[:4] == b"%PDF"
        )
    assert {"tables/paper.docx", "tables/models.tex", "figures/items-in-one-figure.svg"} <= names


def test_options_change_the_result(page, tmp_path):
    table = pd.concat([trial().assign(wave=1), trial(ate=1.5).assign(wave=2)])
    table.assign(cov_other=table["id"] % 7).to_csv(tmp_path / "waves.csv", index=False)
    assert "choose one (option --wave)" in take(page, tmp_path / "waves.csv")
    page.select_option(f"#{PREFIX}wave", "1")
    fit(page)
    first = page.inner_text("#shown")
    page.select_option(f"#{PREFIX}wave", "2")
    page.select_option(f"#{PREFIX}covariate", "cov_other")
    page.click("#check_again")
    says(page, "#found", "the covariate cov_other")
    page.click("#fit")
    says(page, "#command", "--wave 2")
    assert "--covariate cov_other" in page.inner_text("#command") and page.inner_text("#shown") != first


def test_with_the_keyboard_alone_at_phone_width(page, tmp_path):
    """From the first field to a report; every stop is ringed, the page never scrolls sideways, and axe finds nothing."""
    trial().to_csv(tmp_path / "keys.csv", index=False)
    stops: list[list] = []

    def tab_to(name: str) -> None:
        for _ in range(90):
            page.keyboard.press("Tab")
            stops.append(page.evaluate(FOCUSED))
            if name in stops[-1][:2]:
                return
        raise AssertionError(f"{name} is not reached: {stops[-90:]}")

    tab_to("path")
    page.keyboard.type(str(tmp_path / "keys.csv"))
    tab_to("open")
    page.keyboard.press("Enter")
    assert told(page, "keys") == "It can be fitted."
    assert page.evaluate(OVERFLOW) <= 0
    tab_to("fit")
    page.keyboard.press("Enter")
    page.wait_for_selector("#command")
    assert "Fitted:" in page.inner_text("#check_told")
    assert page.inner_text("#command") == f"ilhte fit {tmp_path / 'keys.csv'}"
    tab_to("report")
    with page.expect_download() as coming:
        page.keyboard.press("Enter")
    assert coming.value.suggested_filename == "keys.html"
    tab_to("Save figure 1 as SVG")
    assert page.evaluate(OVERFLOW) <= 0
    assert [stop for stop in stops if not stop[2]] == []
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed (extra 'test')")
    rules = {"preload": False, "resultTypes": ["violations"], "rules": {"empty-table-header": {"enabled": False}}}
    found = axe.Axe().run(page, options=rules).response["violations"]
    assert [(v["id"], [node["html"][:200] for node in v["nodes"][:3]]) for v in found] == []


def test_names_from_strangers_stay_text(page, tmp_path):
    table = hostile_trial().rename(columns={"id": "<b>id</b>", "treat": '"><img src=x onerror=window.ran=8>'})
    name = "<img src=x onerror=window.ran=9>.csv"
    table.to_csv(tmp_path / name, index=False)
    page.set_input_files("#file", tmp_path / name)
    says(page, "#table_told", "<img src=x")
    page.select_option(f"#{PREFIX}id", "<b>id</b>")
    page.select_option(f"#{PREFIX}treat", '"><img src=x onerror=window.ran=8>')
    fit(page)
    assert page.evaluate("window.ran") is None and page.locator("main img, main b").count() == 0
    assert re.sub(r"\s", "", ITEMS[1]) in re.sub(r"\s", "", page.inner_text("#shown"))
    with zipfile.ZipFile(io.BytesIO(downloaded(page, "tables"))) as archive:
        assert all(re.fullmatch(r"(shown/)?[a-z0-9_-]+\.csv", entry) for entry in archive.namelist())


def test_mistakes_are_the_sentences_of_the_command_line(page, tmp_path):
    (tmp_path / "notes.txt").write_text("a,b\n1,2\n")
    assert "notes.txt is in an unknown format" in take(page, tmp_path / "notes.txt", "notes.txt")
    (tmp_path / "empty.csv").write_text("")
    assert "is empty" in take(page, tmp_path / "empty.csv", "empty.csv")
    for name, sentence in (
        ("/no/such.csv", "There is no file /no/such.csv"),
        ("irw:not_here", "this page downloads nothing"),
    ):
        page.fill("#path", name)
        page.click("#open")
        says(page, "#table_told", sentence)
    (tmp_path / "large.csv").write_bytes(b"x" * (MEGABYTES * 2**20 + 1))
    page.set_input_files("#file", tmp_path / "large.csv")
    page.wait_for_selector("text=large.csv has more than 3 MB: give its path instead.")
    page.fill("#path", "verbagg_gender")
    page.click("#open")
    assert told(page, "verbagg_gender") == "It can be fitted."


CASES = (
    "05-blank-arm.csv", "09-ids-restart-wide.csv", "wide_150_columns_no_id.csv", "13-data-on-sheet-2.xlsx", "05-blank-ids.sav",
    "15-stata114-cp1252-label.dta", "08-minus9-all-items.sav", "15-haven-labelled.rds", "13-qualtrics-three-headers.csv",
)  # fmt: skip


@pytest.mark.shared
def test_ten_files_say_what_check_says(page, case_files, shared):
    """The page and ``ilhte check`` with what the columns were taken for, of nine cases and a real trial."""
    for path in (*(case_files / name for name in CASES), shared / "data" / "tables" / "mentalabacus_arith2013.csv.gz"):
        said = take(page, path)
        try:
            guess = look(path).guess
        except InputError as error:
            assert said == str(error)
            continue
        words = command_line(str(path), guess).removeprefix(f"ilhte fit {path}")
        options = [word.strip("'") for word in re.findall(r"'[^']*'|\S+", words)]
        done = call("check", path, *options)
        if done.code == 0:
            assert said == "It can be fitted.", path
            line = next(line for line in done.out.splitlines() if "persons," in line)
            assert line.removeprefix("• ") in page.inner_text("#found"), path
        else:
            assert said == refusal(done), path
