"""A site that was made of what is there is not rendered again; after any change it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ilhte_report.site.render as rendering
from ilhte_report.site.unchanged import STAMP, Inputs


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("ILHTE_RUN", raising=False)
    folder = tmp_path / "p"
    for name, text in {
        "_quarto.yml": "project:\n  type: website\n",
        "index.qmd": "# One",
        "data/table.csv": "id,item,resp,treat\n",
        "results/mine/run.json": "{}",
        "results/other/run.json": "{}",
        "results/latest.json": '{"run": "mine"}',
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def made(project: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry each time the site is really rendered."""
    calls: list[str] = []

    def preview(project: Path, *_: object) -> Path:
        calls.append("made")
        for name in ("_site/index.html", "tables/one.ipynb"):
            (project / name).parent.mkdir(exist_ok=True)
            (project / name).write_text("x")
        return project / "_site"

    monkeypatch.setattr(rendering, "find_quarto", lambda: None)
    monkeypatch.setattr(rendering, "_preview", preview)
    monkeypatch.setattr(rendering, "own_trials", lambda project: None)
    return calls


def test_rendered_once_until_something_changes(project: Path, made: list[str]):
    said: list[str] = []
    for _ in range(3):
        assert rendering.render(project, echo=said.append) == project / "_site"
    assert made == ["made"] and sum("Nothing has changed" in line for line in said) == 2

    def rerendered(change) -> bool:
        change()
        before = len(made)
        rendering.render(project, echo=said.append)
        return len(made) == before + 1

    def touch(name: str):
        path = project / name
        later = path.stat().st_mtime_ns + 5_000_000
        return lambda: os.utime(path, ns=(later, later))

    changes = {
        "a page": touch("index.qmd"),
        "the data": touch("data/table.csv"),
        "the run": touch("results/mine/run.json"),
        "another run": lambda: (project / "results" / "latest.json").write_text('{"run": "other"}'),
        "a new page": lambda: (project / "new.qmd").write_text("# New"),
        "a page that is gone": lambda: (project / "new.qmd").unlink(),
        "the site": lambda: (project / "_site" / "index.html").write_text("edited"),
        "a copied page": lambda: (project / "tables" / "one.ipynb").write_text("edited"),
        "no site": lambda: (project / "_site" / STAMP).unlink(),
    }
    assert [what for what, change in changes.items() if not rerendered(change)] == []
    assert not rerendered(lambda: None)
    assert not rerendered(touch("results/mine/run.json"))  # no page reads it now


def test_what_is_saved_while_rendering_is_rendered_next_time(project: Path, made: list[str], monkeypatch):
    preview = rendering._preview

    def slowly(project: Path, *rest: object) -> Path:
        site = preview(project, *rest)
        (project / "index.qmd").write_text("# Changed meanwhile")
        return site

    monkeypatch.setattr(rendering, "_preview", slowly)
    rendering.render(project, echo=lambda line: None)
    monkeypatch.setattr(rendering, "_preview", preview)
    rendering.render(project, echo=lambda line: None)
    rendering.render(project, echo=lambda line: None)
    assert made == ["made", "made"]


def test_published_without_the_stamp(project: Path, made: list[str], tmp_path: Path):
    rendering.render(project, to=tmp_path / "public", echo=lambda line: None)
    assert (project / "_site" / STAMP).is_file() and not (tmp_path / "public" / STAMP).exists()


def test_looking_is_cheap(project: Path):
    """Whether something changed is told without what renders, fits or draws."""
    code = f"""
import sys
from pathlib import Path
from ilhte_report.site.render import render, Inputs
project = Path({str(project)!r})
site = project / "_site"; site.mkdir()
import ilhte_report.site.render as rendering
rendering.find_quarto = lambda: None
rendering._default_run = lambda project: None
Inputs(project, site, project / "results" / "mine", "").keep()
render(project)
heavy = {{"numpy", "pandas", "scipy", "plotly", "nbformat", "nbclient", "papermill", "jupyter_client"}}
sys.exit(", ".join(heavy & set(sys.modules)) or None)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Nothing has changed" in done.stdout


def test_inputs_name_what_renders(project: Path):
    site = project / "_site"
    site.mkdir()
    Inputs(project, site, project / "results" / "mine", "one").keep()
    assert Inputs(project, site, project / "results" / "mine", "one").unchanged()
    assert not Inputs(project, site, project / "results" / "mine", "two").unchanged()
