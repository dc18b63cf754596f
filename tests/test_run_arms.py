"""A project whose trial has three arms: run, compared with an earlier run, pooled, rendered to its first page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("papermill", reason="papermill is not installed (extra 'report')")
pytest.importorskip("pypandoc", reason="pypandoc is not installed (extra 'report')")

from command_line import call

from ilhte_lib.model.simulate import Design, simulate_trial
from ilhte_report.pages.results import read_run

ARMS = ("usual", "letters", "letters / calls")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """Made by `ilhte init` from a table with three arms, one of whose names has the sign that stands before an arm's."""
    folder = tmp_path_factory.mktemp("arms")
    table = simulate_trial(Design(n_persons=180, n_items=5, seed=5, gamma=0.5))[0]
    arm = table["treat"] * (1 + table["id"] % 2)
    table.assign(treat=arm.map(dict(enumerate(ARMS)))).to_csv(folder / "post.csv", index=False)
    assert call("init", folder / "mine", "--table", folder / "post.csv").code == 0
    return folder / "mine"


@pytest.fixture(scope="module")
def run(project) -> Path:
    folder = project / "results" / "first"
    done = call("run", project / "trials.toml", "--out", folder, "--bootstrap", "0")
    assert done.code == 0, done.err
    return folder


def test_each_arm_has_its_document_and_the_interval_that_its_page_tells(run):
    read = read_run(run)
    assert list(read.summary["tab"]) == [f"post / {arm}" for arm in ARMS[1:]]
    for tab in read.summary["tab"]:
        assert read.document(tab)["tab"] == tab and read.page(tab) == "post"
        low, high = read.told(tab, "average")
        assert low < read.row(tab)["ate_std"] < high
    assert len(read.document("post")["arms"]["rows"]) == 2


def test_a_change_is_told_with_its_arm(run, tmp_path):
    import shutil

    from ilhte_lib.files import sha256_of
    from ilhte_report.run.diff import compare_runs

    other = tmp_path / "other"
    shutil.copytree(run, other)
    assert compare_runs(run, other).tables == {}
    path = other / "fits" / "post.json"
    document = json.loads(path.read_text())
    document["arms"]["documents"][ARMS[2]]["summary"]["n_items"] += 1
    path.write_text(json.dumps(document))
    record = json.loads((other / "run.json").read_text())
    record["tables"][0]["fit_sha256"] = sha256_of(path)
    (other / "run.json").write_text(json.dumps(record))
    (change,) = compare_runs(run, other).tables["post"]
    assert change.what == f"{ARMS[2]}: n_items" and change.after == change.before + 1 and change.is_decision


def test_arms_are_too_few_to_pool_and_that_is_said(run):
    done = call("pool", run)
    said = " ".join(done.out.split())
    assert done.code == 0 and "at least 3 are needed" in said and "post / letters" in said


def test_the_first_page_tells_of_each_arm(project, run, monkeypatch):
    monkeypatch.chdir(project)
    (project / "results" / "latest.json").write_text(json.dumps({"run": "first"}))
    done = call("render", run)
    assert done.code == 0, done.err
    page = (project / "_site" / "index.html").read_text(encoding="utf-8")
    assert "post / letters / calls" in page and len(re.findall(r'href="(?:\./)?tables/post.html"', page)) >= 2
    assert (project / "_site" / "tables" / "post.html").is_file()
