"""``ilhte fetch`` and ``irw:`` names through the real client, against a Redivis on 127.0.0.1 that can also fail."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("irw", reason="the irw package is not installed")
pytest.importorskip("platformdirs")

from command_line import call, refusal
from conftest import PROJECT
from test_irw_tables import BIB, ROWS, redivis, trial  # noqa: F401 - redivis is a fixture

from ilhte_report.intake import fetch as fetch_module
from ilhte_report.intake.irw import tables as irw_tables


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    """Failures are asked about again at once: the seconds of the pauses are the defaults of functions."""
    for function in (irw_tables.fetch, irw_tables.rct_tables, fetch_module.fetch_and_tell):
        monkeypatch.setattr(function, "__kwdefaults__", {**function.__kwdefaults__, "pauses": (0, 0)})


def cache():
    return irw_tables.cache_folder()


def names_in_cache() -> list[str]:
    return sorted(str(path.relative_to(cache())) for path in cache().rglob("*.parquet"))


def bibtex() -> str:
    return (cache() / "irw.bib").read_text(encoding="utf-8")


# ---------------------------------------------------------------- what is fetched


def test_named_tables_with_their_citations(redivis):  # noqa: F811
    done = call("fetch", "gilbert_meta_1", "irw:gilbert_meta_2")
    assert done.code == 0
    assert "'gilbert_meta_1': 720 rows of IRW version 332" in done.out.splitlines()
    assert "'gilbert_meta_2': 600 rows of IRW version 332" in done.out.splitlines()
    assert (
        done.out.splitlines()[-1]
        == f"2 tables in {cache()}; the citations of all tables there are in {cache() / 'irw.bib'}."
    )
    assert names_in_cache() == ["v332/gilbert_meta_1.parquet", "v332/gilbert_meta_2.parquet"]
    assert bibtex().count("@article") == 2


def test_citations_of_tables_fetched_before_stay(redivis):  # noqa: F811
    call("fetch", "gilbert_meta_1")
    redivis.bibtex["gilbert_meta_2"] = BIB.format(key="newer")
    call("fetch", "gilbert_meta_2")
    assert [line for line in bibtex().splitlines() if line] == [
        BIB.format(key="gilbert_meta_1").replace("On gilbert_meta_1", "On key2020"),
        BIB.format(key="gilbert_meta_2").replace("On gilbert_meta_2", "On newer"),
    ]


def test_a_second_call_asks_nobody(redivis):  # noqa: F811
    call("fetch", "gilbert_meta_1")
    redivis.requests.clear()
    assert call("fetch", "gilbert_meta_1").code == 0
    assert redivis.requests == []


def test_the_vignettes_selection(redivis):  # noqa: F811
    done = call("fetch", "--rct")
    assert done.code == 0
    assert "The selection has 4 tables" in done.out
    assert names_in_cache() == sorted(
        f"v332/{irw_tables.slug(name)}.parquet"
        for name in ("Sparse_Trial", "gilbert_meta_1", "gilbert_meta_2", "text_resp")
    )


def test_a_pinned_version(redivis):  # noqa: F811
    done = call("fetch", "--rct", "--irw-version", "331")
    assert done.code == 0 and "'gilbert_meta_1': 500 rows of IRW version 331" in done.out
    assert names_in_cache() == ["v331/gilbert_meta_1.parquet"]
    assert "9999" in refusal(call("fetch", "gilbert_meta_1", "--irw-version", "9999"))


def test_fit_and_check_by_the_tables_name(redivis):  # noqa: F811
    done = call("fit", "irw:gilbert_meta_1")
    assert done.code == 0 and "120 persons, 6 items, 720 responses" in done.out
    redivis.requests.clear()
    assert "120 persons, 6 items, 720 responses" in call("check", "irw:gilbert_meta_1").out
    assert redivis.requests == []


def test_a_process_of_its_own(redivis, tmp_path):  # noqa: F811
    """The list of versions is at an address of the client's own: here nobody answers there, and the rest goes on."""
    blocked = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-m", "ilhte_report.cli", "fetch", "gilbert_meta_1"],
        env={**os.environ, **blocked, "PYTHONPATH": str(PROJECT)},
        cwd=tmp_path,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "'gilbert_meta_1': 720 rows of the current release"
    assert len(done.stdout.splitlines()) == 2


# ---------------------------------------------------------------- what goes wrong


def test_nothing_is_named():
    assert "--rct" in refusal(call("fetch"))


def test_an_unknown_table_among_others(redivis):  # noqa: F811
    done = call("fetch", "gilbert_meta_1", "gilbert_meta_3", "\x1b[31mred")
    assert done.code == 3 and "Traceback" not in done.err and "\x1b[31m" not in done.err
    assert (
        "ilhte: There is no table 'gilbert_meta_3' in version 332 of the IRW: did you mean 'gilbert_meta_" in done.err
    )
    assert names_in_cache() == ["v332/gilbert_meta_1.parquet"]


def test_an_unknown_table_alone(redivis):  # noqa: F811
    done = call("fetch", "nosuch")
    assert done.code == 3 and done.out == "" and done.err.count("ilhte: ") == 1
    assert not cache().exists()
    assert "There is no table 'nosuch'" in last_line(call("fit", "irw:nosuch"), code=2)


def last_line(done, code: int) -> str:
    assert done.code == code and "Traceback" not in done.err
    return done.err.rstrip("\n").split("ilhte: ")[-1]


def test_the_quota_is_used_up_half_way(redivis):  # noqa: F811
    redivis.fail(ROWS.replace("/rows", "meta_2/rows"), 429)
    done = call("fetch", "gilbert_meta_1", "gilbert_meta_2")
    message = last_line(done, code=2)
    assert "quota or rate limit" in message and "run the same command again" in message and "1 of 2 tables" in message
    assert names_in_cache() == ["v332/gilbert_meta_1.parquet"] and bibtex().count("@article") == 1
    redivis.faults.clear()
    assert call("fetch", "gilbert_meta_1", "gilbert_meta_2").code == 0
    assert bibtex().count("@article") == 2


def test_a_token_that_is_not_accepted(redivis, monkeypatch):  # noqa: F811
    monkeypatch.setenv("REDIVIS_API_TOKEN", "wrong")
    assert "REDIVIS_API_TOKEN" in last_line(call("fetch", "gilbert_meta_1"), code=2)


def test_a_table_that_is_not_for_us(redivis):  # noqa: F811
    redivis.fail("GET /tables/.*meta_1", 403)
    done = call("fetch", "gilbert_meta_1", "gilbert_meta_2")
    assert "does not let your account read the IRW table 'gilbert_meta_1'" in last_line(done, code=3)
    assert names_in_cache() == ["v332/gilbert_meta_2.parquet"]


def test_a_download_that_breaks_off_each_time(redivis, monkeypatch):  # noqa: F811
    import time

    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    redivis.fail(ROWS, "cut")
    assert "broke off each time and nothing was kept" in last_line(call("fetch", "gilbert_meta_1"), code=3)
    assert not cache().exists() or names_in_cache() == []


def test_no_network(redivis, monkeypatch):  # noqa: F811
    import irw.operations.version

    monkeypatch.setenv("REDIVIS_API_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(irw.operations.version, "MANIFEST_URL", "http://127.0.0.1:9/version_manifest.tsv")
    for command in (("fetch", "gilbert_meta_1"), ("fetch", "--rct"), ("fit", "irw:gilbert_meta_1")):
        assert "check the network and any proxy" in last_line(call(*command), code=2)


def test_the_package_is_named_when_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("ILHTE_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "irw", None)
    assert 'pip install "ilhte[irw]"' in refusal(call("fetch", "gilbert_meta_1"))


def test_no_progress_bar_where_there_is_no_terminal(redivis):  # noqa: F811
    assert "%|" not in call("fetch", "gilbert_meta_1", "--rct").err


def test_hostile_tables_are_fetched_and_fitted_by_name(redivis, tmp_path):  # noqa: F811
    names = ["../../up", "<b>&\"'", "=cmd()", "x" * 200, "\U0001f642 mit Leerzeichen", "\x1b[31mred"]
    redivis.releases[332].update(dict.fromkeys(names, trial()))

    def elsewhere():
        own = (tmp_path / "cache", tmp_path / "clients-own-cache")
        return {path for path in tmp_path.rglob("*") if not any(path.is_relative_to(folder) for folder in own)}

    before = elsewhere()
    done = call("fetch", *names)
    assert done.code == 0 and "6 tables in" in done.out and "\x1b" not in done.out + done.err
    for name in names[:1] + names[-1:]:
        done = call("check", f"irw:{name}")
        assert done.code == 0 and "120 persons" in done.out and "\x1b" not in done.out
    assert "120 persons" in call("fit", f"irw:{names[0]}").out
    assert elsewhere() == before
