"""The Item Response Warehouse through its real client, against a Redivis on 127.0.0.1 that can also fail."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
import warnings

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("irw", reason="the irw package is not installed")
pytest.importorskip("platformdirs")

from conftest import PROJECT
from redivis_server import TOKEN, RedivisServer

from ilhte_lib.data.read import read_table
from ilhte_lib.errors import EngineError, InputError
from ilhte_report.intake.irw.tables import cache_folder, cached, fetch, rct_tables
from ilhte_report.intake.irw.trouble import IrwError
from ilhte_report.project import slug

WAREHOUSE = "item_response_warehouse:as2e"
ROWS = r"GET /tables/.*/rows$"
BIB = "@article{{{key}, title={{On {key}}}, year={{2020}}}}"


def trial(persons: int = 120, items: int = 6, seed: int = 1, **columns: object) -> pd.DataFrame:
    """A complete trial as the IRW would hold it."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(persons), items)
    table = pd.DataFrame(
        {
            "id": [f"p{i}" for i in person],
            "item": np.tile([f"i{j}" for j in range(items)], persons),
            "resp": rng.integers(0, 2, person.size),
            "treat": person % 2,
            "std_baseline": np.repeat(rng.normal(size=persons), items),
        }
    )
    return table.assign(**columns)


@pytest.fixture
def redivis(tmp_path, monkeypatch):
    """A server with two IRW versions, and the real client pointed at it and at nothing else."""
    import irw.operations.version
    import redivis.common.auth

    newest = {
        "gilbert_meta_1": trial(),
        "gilbert_meta_2": trial(150, 4, seed=2),
        "Sparse_Trial": trial(400, 12, seed=3).sample(frac=0.2, random_state=1).reset_index(drop=True),
        "too_small": trial(60),
        "no_arms": trial().drop(columns="treat"),
        "text_resp": trial(resp=np.tile(["1", "0", "NA"], 240)),
    }
    earlier = {"gilbert_meta_1": trial(100, 5, seed=9)}
    bibtex = {"gilbert_meta_1": BIB.format(key="key2020"), "gilbert_meta_2": BIB.format(key="other")}
    with RedivisServer({331: earlier, 332: newest}, bibtex) as server:
        monkeypatch.setenv("REDIVIS_API_ENDPOINT", server.address)
        monkeypatch.setenv("REDIVIS_API_TOKEN", TOKEN)
        monkeypatch.setenv("IRW_CACHE_DIR", str(tmp_path / "clients-own-cache"))
        monkeypatch.setenv("ILHTE_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(irw.operations.version, "MANIFEST_URL", server.address + "/version_manifest.tsv")
        monkeypatch.setattr(irw.operations.version, "_MANIFEST", None)
        monkeypatch.setattr(redivis.common.auth, "credentials_file", tmp_path / "no-credentials")
        monkeypatch.setattr(redivis.common.auth, "cached_credentials", None)
        yield server


@pytest.fixture
def no_waiting(monkeypatch):
    """The client's own pauses between attempts take no time."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def get(*names, **options):
    return fetch(names, **{"pauses": (0, 0), **options})


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# ---------------------------------------------------------------- what is fetched


def test_a_table_with_its_provenance(redivis):
    tables, failures = get("gilbert_meta_1")
    assert failures == {}
    (table,) = tables
    assert files(cache_folder()) == ["v332/gilbert_meta_1.json", "v332/gilbert_meta_1.parquet"]
    pd.testing.assert_frame_equal(read_table(table.path), trial(), check_dtype=False)
    assert (table.name, table.irw_version, table.n_rows) == ("gilbert_meta_1", 332, 720)
    assert table.reference == f"datapages.{WAREHOUSE}:v5_0.gilbert_meta_1"
    assert table.content_hash
    assert table.bibtex == (BIB.format(key="key2020").replace("{key2020,", "{gilbert_meta_1,"),)
    assert cached("gilbert_meta_1") == table
    record = json.loads(table.path.with_suffix(".json").read_text())
    assert record["sha256"] == table.sha256 and record["irw_version"] == 332


def test_plain_types_reach_the_reader(redivis):
    tables, _ = get("gilbert_meta_1", "text_resp")
    for table in tables:
        read = read_table(table.path)
        assert not any(isinstance(dtype, pd.ArrowDtype) for dtype in read.dtypes)
        assert read["resp"].dtype.kind in "if"
    assert read["resp"].isna().sum() == 240


def test_a_second_fetch_asks_nobody(redivis):
    first, _ = get("gilbert_meta_1", "gilbert_meta_2")
    redivis.requests.clear()
    again, _ = get("gilbert_meta_2", "gilbert_meta_1", "gilbert_meta_2")
    assert redivis.requests == []
    assert again == first[::-1]


def test_refresh_asks_but_exports_an_unchanged_table_only_once(redivis):
    (first,), _ = get("gilbert_meta_1")
    (again,), _ = get("gilbert_meta_1", refresh=True)
    assert again.sha256 == first.sha256 and again.fetched_at > first.fetched_at
    assert redivis.count(ROWS.replace("/rows", "meta_1/rows")) == 1


def test_a_pinned_version(redivis):
    (newest,), _ = get("gilbert_meta_1")
    (pinned,), _ = get("gilbert_meta_1", irw_version=331)
    assert (newest.n_rows, pinned.n_rows) == (720, 500)
    assert pinned.irw_version == 331 and ":v4_0." in pinned.reference
    assert cached("gilbert_meta_1", irw_version=332) == newest
    assert cached("gilbert_meta_1", irw_version=331) == pinned == cached("gilbert_meta_1")
    assert cached("gilbert_meta_1", irw_version=330) is None
    _, failures = get("gilbert_meta_2", irw_version=331)
    assert "version 331" in failures["gilbert_meta_2"]


def test_an_irw_version_that_does_not_exist(redivis):
    with pytest.raises(InputError, match="9999.*331 to 332"):
        get("gilbert_meta_1", irw_version=9999)
    assert redivis.count("/tables/") == 0


def test_without_the_list_of_versions_the_current_release_is_read(redivis):
    redivis.fail("manifest", 500)
    (table,), _ = get("gilbert_meta_1")
    assert (table.irw_version, table.n_rows) == (None, 720)
    assert ":v5_0." in table.reference
    assert files(cache_folder())[0] == "current/gilbert_meta_1.json"
    with pytest.raises(IrwError, match="list of IRW versions"):
        get("gilbert_meta_2", irw_version=332)


def test_the_name_is_the_warehouses_own(redivis):
    (table,), _ = get("SPARSE_trial")
    assert table.name == "Sparse_Trial"
    assert table.bibtex == ()
    assert table.path.stem == slug("Sparse_Trial")


def test_the_vignettes_selection(redivis):
    expected = ["Sparse_Trial", "gilbert_meta_1", "gilbert_meta_2", "text_resp"]
    assert rct_tables(pauses=()) == expected
    import irw

    with pytest.warns(UserWarning, match="density"):
        assert "Sparse_Trial" not in list(irw.filter(var="treat", n_participants=[100, None]))
    assert rct_tables(irw_version=331, pauses=()) == ["gilbert_meta_1"]


@pytest.mark.parametrize(
    "name", ["", "..", "../../etc/passwd", "a/b", "<script>alert(1)</script>", "=1+1", "x" * 300, "🙂"]
)
def test_hostile_names_are_unknown_and_leave_nothing(redivis, tmp_path, name):
    tables, failures = get(name)
    assert tables == [] and "There is no table" in failures[name]
    assert failures[name].isprintable()
    assert files(tmp_path / "cache") == []


@pytest.mark.parametrize("name", ["../../up", "<b>&\"'", "=cmd()", "x" * 300, "🙂 mit Leerzeichen"])
def test_tables_with_hostile_names_stay_in_the_cache(redivis, tmp_path, name):
    redivis.releases[332][name] = trial(20)
    (table,), _ = get(name)
    assert table.name == name and cached(name) == table
    assert table.path.resolve().is_relative_to(cache_folder().resolve() / "v332")
    assert len(read_table(table.path)) == 120


@pytest.mark.shared
def test_real_tables_come_through_unchanged(redivis, shared):
    names = ["verbagg_gender", "mdat_malawi", "mturk_crosswise"]
    sources = {name: pd.read_csv(shared / "data" / "tables" / f"{name}.csv.gz", low_memory=False) for name in names}
    redivis.releases[332].update(sources)
    tables, failures = get(*names)
    assert failures == {}
    for table in tables:
        pd.testing.assert_frame_equal(read_table(table.path), sources[table.name], check_dtype=False, check_like=True)
    assert set(names) <= set(rct_tables(pauses=()))


def test_progress_is_told_for_every_name(redivis):
    get("gilbert_meta_1")
    told = []
    get(
        "gilbert_meta_2",
        "nowhere",
        "gilbert_meta_1",
        progress=lambda name, outcome: told.append((name, type(outcome).__name__)),
    )
    assert told == [("gilbert_meta_1", "IrwTable"), ("gilbert_meta_2", "IrwTable"), ("nowhere", "str")]


# ---------------------------------------------------------------- what goes wrong


def test_an_unknown_table_does_not_stop_the_others(redivis):
    tables, failures = get("gilbert_meta_3", "gilbert_meta_2")
    assert [table.name for table in tables] == ["gilbert_meta_2"]
    assert "did you mean 'gilbert_meta_" in failures["gilbert_meta_3"]


@pytest.mark.parametrize(
    ("status", "description"), [(429, None), (400, "You cannot export more than 100GB within 30 days")]
)
def test_quota(redivis, status, description):
    get("gilbert_meta_1")
    redivis.fail(ROWS.replace("/rows", "meta_2/rows"), status, description=description)
    with pytest.raises(IrwError, match=r"quota or rate limit.*1 of 2 tables") as caught:
        get("gilbert_meta_1", "gilbert_meta_2")
    assert (description or "Too many requests") in str(caught.value)
    assert redivis.count(ROWS.replace("/rows", "meta_2/rows")) == 2  # the client once, and once to hear why
    assert files(cache_folder()) == ["v332/gilbert_meta_1.json", "v332/gilbert_meta_1.parquet"]


def test_a_token_that_is_not_accepted(redivis, monkeypatch):
    monkeypatch.setenv("REDIVIS_API_TOKEN", "wrong")
    with pytest.raises(IrwError, match="REDIVIS_API_TOKEN"):
        get("gilbert_meta_1")


def test_without_a_token_nobody_is_waited_for(redivis, monkeypatch):
    monkeypatch.delenv("REDIVIS_API_TOKEN")
    with pytest.raises(IrwError, match="REDIVIS_API_TOKEN"):
        get("gilbert_meta_1")
    assert redivis.count("oauth") == 0
    assert "REDIVIS_API_TOKEN" not in os.environ


def test_a_table_that_is_not_for_us(redivis):
    redivis.fail(r"GET /tables/.*meta_1", 403)
    tables, failures = get("gilbert_meta_1", "gilbert_meta_2")
    assert [table.name for table in tables] == ["gilbert_meta_2"]
    assert "does not let your account read the IRW table 'gilbert_meta_1'" in failures["gilbert_meta_1"]


def test_rows_that_are_not_for_us(redivis):
    redivis.fail(ROWS, 403)
    _, failures = get("gilbert_meta_1")
    assert "does not let your account read" in failures["gilbert_meta_1"]


@pytest.mark.parametrize("status", [403, 404])
def test_a_data_set_without_a_release_does_not_hide_the_others(redivis, status):
    redivis.fail("manifest", 500)
    redivis.fail("GET /datasets/.*warehouse_7", status)
    tables, failures = get("gilbert_meta_1", "nowhere")
    assert len(tables) == 1
    assert "without 1 of its data sets" in failures["nowhere"]


def test_a_passing_fault_is_waited_out(redivis):
    redivis.fail("GET /tables/.*meta_1$", 500, times=2)
    (table,), _ = get("gilbert_meta_1")
    assert table.n_rows == 720


def test_a_lasting_fault(redivis):
    redivis.fail("GET /tables/.*meta_1$", 500)
    with pytest.raises(IrwError, match="fault of its own"):
        get("gilbert_meta_1")
    assert (
        redivis.count("GET /tables/.*warehouse:.*meta_1$") == 0
    )  # the newest data set failed, so no older one was asked
    assert redivis.count("GET /tables/.*meta_1$") == 3


def test_pauses_grow_as_they_are_given(redivis, monkeypatch):
    waited = []
    monkeypatch.setattr(time, "sleep", waited.append)
    redivis.fail("GET /datasets/.*warehouse_7", 500)
    with pytest.raises(IrwError):
        fetch(["gilbert_meta_1"], pauses=(1, 4, 9))
    assert waited == [1, 4, 9]


@pytest.mark.parametrize("action", ["drop", "hang"])
def test_a_request_that_is_never_answered(redivis, monkeypatch, action):
    import requests

    monkeypatch.setattr(requests, "request", functools.partial(_impatient, requests.request))
    redivis.fail("GET /tables/.*meta_1$", action, times=1)
    (table,), _ = get("gilbert_meta_1")
    assert table.n_rows == 720
    redivis.fail("GET /tables/.*meta_2$", action)
    with pytest.raises(IrwError, match={"drop": "drops the connection", "hang": "did not answer in time"}[action]):
        get("gilbert_meta_2")


def _impatient(request, **arguments):
    return request(**{**arguments, "timeout": 0.4})


def test_no_network(redivis, monkeypatch):
    import irw.operations.version

    nobody = "http://127.0.0.1:9"
    monkeypatch.setenv("REDIVIS_API_ENDPOINT", nobody)
    monkeypatch.setattr(irw.operations.version, "MANIFEST_URL", nobody + "/version_manifest.tsv")
    with pytest.raises(IrwError, match="check the network"):
        get("gilbert_meta_1")
    with pytest.raises(IrwError, match="check the network"):
        rct_tables(pauses=())


def test_a_slow_download_arrives_whole(redivis):
    redivis.fail(ROWS, "slow")
    (table,), _ = get("gilbert_meta_1")
    assert table.n_rows == 720


def test_a_download_cut_off_once_is_begun_again(redivis, no_waiting):
    redivis.fail(ROWS, "cut", times=1)
    (table,), _ = get("gilbert_meta_1")
    assert table.n_rows == 720


def test_a_download_that_is_always_cut_off_leaves_nothing(redivis, tmp_path, no_waiting):
    redivis.fail(ROWS.replace("/rows", "meta_1/rows"), "cut")
    tables, failures = get("gilbert_meta_1", "gilbert_meta_2")
    assert [table.name for table in tables] == ["gilbert_meta_2"]
    assert "broke off each time" in failures["gilbert_meta_1"]
    assert files(cache_folder()) == ["v332/gilbert_meta_2.json", "v332/gilbert_meta_2.parquet"]


def test_a_data_set_the_client_skipped_is_not_an_absent_table(redivis):
    import irw

    opened = f"GET /datasets/datapages.{WAREHOUSE}"
    redivis.fail(opened, 500, times=1)
    with pytest.warns(UserWarning, match="does not exist"):
        assert irw.fetch("gilbert_meta_1") is None  # what the client makes of it
    irw.reset_version()
    redivis.faults.clear()
    redivis.fail(opened, 500, times=1, after=2)  # past the pin and our own opening: the client's
    (table,), failures = get("gilbert_meta_1")
    assert table.n_rows == 720 and failures == {}
    assert redivis.faults[0].times == 0


def test_a_data_set_the_client_did_not_list_is_not_left_out_of_the_selection(redivis):
    import irw

    listed = f"GET /datasets/datapages.{WAREHOUSE}.*/tables$"
    redivis.fail(listed, 500, times=1)
    assert "gilbert_meta_1" not in list(irw.filter(var="treat", density=None))  # silently
    irw.reset_version()
    redivis.faults.clear()
    redivis.fail(listed, 500, times=1)
    assert "gilbert_meta_1" in rct_tables(pauses=(0,))
    redivis.fail(listed, 500)
    with pytest.raises(IrwError):
        rct_tables(pauses=(0,))


def test_a_catalogue_that_cannot_be_read(redivis):
    redivis.fail("GET /tables/.*irw_meta.*tags", 403)
    with pytest.raises(IrwError, match="catalogue of the IRW"):
        rct_tables(pauses=())


# ---------------------------------------------------------------- the cache


def test_a_damaged_copy_counts_as_absent(redivis):
    (table,), _ = get("gilbert_meta_1")
    content = table.path.read_bytes()
    record = table.path.with_suffix(".json")
    for damage in (
        lambda: table.path.write_bytes(content[: len(content) // 2]),
        lambda: table.path.unlink(),
        lambda: record.write_text('{"name": "gil'),
        lambda: record.write_text('{"name": "gilbert_meta_1", "bibtex": []}'),
        lambda: record.unlink(),
    ):
        damage()
        assert cached("gilbert_meta_1") is None
        (again,), _ = get("gilbert_meta_1")
        assert cached("gilbert_meta_1") == again
        assert again.sha256 == table.sha256


def test_a_write_that_fails_leaves_nothing(redivis, monkeypatch):
    import pyarrow.parquet as pq

    def half(content, path):
        path.write_bytes(b"PAR1half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", half)
    monkeypatch.setenv("IRW_CACHE", "0")
    with pytest.raises(IrwError, match=r"cannot be written.*No space.*ILHTE_CACHE"):
        get("gilbert_meta_1")
    assert files(cache_folder()) == []


def test_the_cache_is_where_the_system_keeps_caches(monkeypatch):
    import platformdirs

    monkeypatch.delenv("ILHTE_CACHE", raising=False)
    assert cache_folder() == platformdirs.user_cache_path("ilhte", appauthor=False) / "irw"


# ---------------------------------------------------------------- the client as a guest


def test_the_clients_package_is_named_when_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "irw", None)
    with pytest.raises(EngineError, match=r'pip install "ilhte\[irw\]"'):
        fetch(["gilbert_meta_1"], folder=tmp_path)


def test_the_client_leaves_no_trace_in_the_process(redivis, capsys):
    before = (sys.excepthook, warnings.showwarning, dict(os.environ))
    get("gilbert_meta_1", "nowhere")
    assert (sys.excepthook, warnings.showwarning, dict(os.environ)) == before
    assert capsys.readouterr().out == ""
    import irw

    assert not irw.get_version("item_response_warehouse")["pinned"].any()


def test_loading_the_module_loads_no_client():
    heavy = "{'irw', 'redivis', 'requests', 'pandas', 'pyarrow'}"
    script = (
        f"import sys, ilhte_report.intake.irw.tables; assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=PROJECT)
