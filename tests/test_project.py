"""Finding the project and the run, and naming files after tables from strangers."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilhte_lib.errors import InputError
from ilhte_report.project import MARK, find_project, latest_run, slug
from ilhte_report.site import render as render_module


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("ILHTE_RUN", raising=False)
    (tmp_path / "_quarto.yml").touch()
    (tmp_path / "index.qmd").touch()
    (tmp_path / ".ilhte-project").touch()
    return tmp_path


def test_the_project_is_found_from_a_folder_below_it(clone: Path, monkeypatch: pytest.MonkeyPatch):
    below = clone / "tables" / "deep"
    below.mkdir(parents=True)
    assert find_project(below) == clone
    monkeypatch.chdir(below)
    assert find_project() == clone


def test_outside_a_project_the_message_says_what_is_missing(tmp_path: Path):
    with pytest.raises(InputError, match=r"no project of ilhte .* \.ilhte-project"):
        find_project(tmp_path)


def test_the_latest_run_is_the_one_latest_json_names(clone: Path):
    with pytest.raises(InputError, match="ilhte run"):
        latest_run(clone)
    (clone / "results" / "second").mkdir(parents=True)
    pointer = clone / "results" / "latest.json"
    pointer.write_text(json.dumps({"run": "second"}))
    assert latest_run(clone) == clone / "results" / "second"
    pointer.write_text(json.dumps({"run": "gone"}))
    with pytest.raises(InputError, match="'gone'"):
        latest_run(clone)
    pointer.write_text("[")
    with pytest.raises(InputError, match="does not name a run"):
        latest_run(clone)


def test_ilhte_run_overrides(clone: Path, monkeypatch: pytest.MonkeyPatch):
    (clone / "elsewhere").mkdir()
    monkeypatch.setenv("ILHTE_RUN", "elsewhere")
    assert latest_run(clone) == clone / "elsewhere"
    monkeypatch.setenv("ILHTE_RUN", str(clone / "nowhere"))
    with pytest.raises(InputError, match="ILHTE_RUN"):
        latest_run(clone)


def test_a_harmless_name_is_its_own_file_name():
    for name in ("verbagg_gender", "sim_n0200_j04_sz00_rho00", "a-b", "7"):
        assert slug(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        ".",
        "..",
        "../../etc/passwd",
        "a/b",
        "a\\b",
        "<script>",
        "_hidden",
        ".hidden",
        "-rf",
        "CON",
        "com1",
        "index",
        "Tabelle",
        "é",
        "表",
        "�",
        "x" * 500,
        "a\nb",
        "trailing-",
        "a.ipynb",
    ],
)
def test_any_other_name_becomes_a_safe_one(name: str):
    made = slug(name)
    assert made != name
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
    assert made[0] not in "-_"
    assert len(made) <= 71


@given(st.text(max_size=90), st.text(max_size=90))
def test_different_names_never_share_a_file(one: str, other: str):
    names = [one, other, one.upper(), slug(one), slug(slug(one))]
    assert len({slug(name).lower() for name in names}) == len(set(names))


# -- an installed package, outside of a project ------------------------------------------------------------------------


def test_the_sources_of_the_site_travel_in_the_wheel(project):
    settings = tomllib.loads((project / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    sources = settings["force-include"]
    assert all(target == f"ilhte_report/sources/{name}" for name, target in sources.items())
    pages = {path.name for path in project.glob("*.qmd")}
    # of the data nothing that is under another licence (data/LICENSES)
    data = {"data/computed", "data/citations.bib"}
    assert pages | {MARK, "_quarto.yml", "references.bib", "site", "notebooks"} | data == set(sources)


def test_outside_of_a_project_the_installed_sources_are_rendered(tmp_path, monkeypatch):
    installed, here = tmp_path / "installed", tmp_path / "here"
    for folder in (installed, here):
        folder.mkdir()
    for name in (MARK, "_quarto.yml"):
        (installed / name).touch()
    monkeypatch.chdir(here)
    monkeypatch.delenv("ILHTE_RUN", raising=False)
    monkeypatch.setattr(render_module, "SOURCES", installed)
    with pytest.raises(InputError, match="There is no run yet"):
        render_module.render_here()
    (here / "results" / "mine").mkdir(parents=True)
    (here / "results" / "latest.json").write_text('{"run": "mine"}')
    seen = []
    monkeypatch.setattr(render_module, "render", lambda *given: seen.append((*given, (given[0] / MARK).is_file())))
    render_module.render_here()
    (copy, run, to, _, marked) = seen[0]
    assert marked and not copy.exists() and (run, to) == ((here / "results" / "mine").resolve(), Path("_site"))
    monkeypatch.setattr(render_module, "SOURCES", tmp_path / "nothing")
    with pytest.raises(InputError, match="no project of ilhte"):
        render_module.render_here()
