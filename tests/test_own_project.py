"""A project of one's own: made in an empty folder, rendered at once, its files the user's from then on."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("papermill", reason="papermill is not installed (extra 'report')")
pytest.importorskip("pypandoc", reason="pypandoc is not installed (extra 'report')")

import yaml
from command_line import call, refusal

from ilhte_lib.model.simulate import Design, simulate_trial
from ilhte_report.intake.columns import look
from ilhte_report.project import data_folder, own_trials
from ilhte_report.run.key import Settings
from ilhte_report.run.tables import default_folder
from ilhte_report.site.own_project import make_project
from ilhte_report.site.render import find_quarto

PROJECT = Path(__file__).resolve().parents[1]


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def wide_trial(path: Path) -> Path:
    table, _ = simulate_trial(Design(n_persons=120, n_items=5, seed=3))
    wide = table.pivot(index=["id", "treat"], columns="item", values="resp").reset_index()
    wide.columns = ["student", "arm", *(f"q{k}" for k in range(1, 6))]
    wide.assign(arm=wide["arm"].map({0: "usual", 1: "new"})).to_csv(path, index=False)
    return path


def test_a_new_project_has_data_trials_a_page_and_a_workflow(tmp_path):
    done = call("init", tmp_path / "mine")
    assert done.code == 0 and "quarto render" in done.out and done.err == ""
    made = tmp_path / "mine"
    (trial,) = tomllib.loads((made / "trials.toml").read_text())["trial"]
    assert pd.read_csv(made / trial["file"]).columns.tolist() == ["id", "item", "resp", "treat", "std_baseline"]
    assert own_trials(made) == made / "trials.toml" and own_trials(PROJECT) is None
    config = yaml.safe_load((made / "_quarto.yml").read_text())
    named = [config["project"]["pre-render"], *config["bibliography"], "index.qmd", config["format"]["html"]["css"]]
    assert all((made / name).is_file() for name in named)
    workflow = yaml.safe_load((made / ".github" / "workflows" / "publish.yml").read_text())
    assert any("ilhte render" in step.get("run", "") for step in workflow["jobs"]["build"]["steps"])
    cited = {
        key.split("{")[1].rstrip(",\n")
        for key in (made / "references.bib").read_text().split("@")[1:]
        for key in [key.splitlines()[0]]
    }
    assert {"gilbert2025estimating", "gilbert2025disentangling", "bates2015fitting"} <= cited


def test_a_table_comes_along_with_what_its_columns_look_like(tmp_path):
    table = wide_trial(tmp_path / "Scores ünd so.csv")
    assert call("init", tmp_path / "mine", "--table", table).code == 0
    (trial,) = tomllib.loads((tmp_path / "mine" / "trials.toml").read_text())["trial"]
    assert trial == {
        "file": trial["file"], "name": "Scores ünd so", "id": "student", "treat": "arm", "control": "usual", "wide": ["q*"],
    }  # fmt: skip
    assert (tmp_path / "mine" / trial["file"]).read_bytes() == table.read_bytes()
    assert look(table).guess.changed() == {key: value for key, value in trial.items() if key not in ("file", "name")}


def test_what_is_said_of_a_workbook_stands_in_its_file_of_trials(tmp_path):
    """A code book first, a title and an empty row above the names: what is missing is said, and said options are kept."""
    openpyxl = pytest.importorskip("openpyxl", reason="openpyxl is not installed (extra 'formats')")
    wide = pd.read_csv(wide_trial(tmp_path / "wide.csv"))
    book = openpyxl.Workbook()
    for row in (["Variable", "Meaning"], ["q1", "the first question"], ["q2", "the second"]):
        book.active.append(row)
    rows = book.create_sheet("Data")
    for row in (["A trial"], [], list(wide.columns), *wide.values.tolist()):
        rows.append(row)
    book.save(tmp_path / "trial.xlsx")
    first = call("init", tmp_path / "first", "--table", tmp_path / "trial.xlsx")
    assert first.code == 0 and "cannot be fitted like this yet" in first.out and "--sheet" in first.out
    done = call("init", tmp_path / "mine", "--table", tmp_path / "trial.xlsx", "--sheet", "Data", "--header-row", 3)
    assert done.code == 0 and "cannot be fitted" not in done.out
    (trial,) = tomllib.loads((tmp_path / "mine" / "trials.toml").read_text())["trial"]
    assert trial | {"file": "", "name": ""} == {
        "file": "", "name": "", "sheet": "Data", "header-row": 3, "id": "student", "treat": "arm", "control": "usual", "wide": ["q*"],
    }  # fmt: skip
    assert "--table" in refusal(call("init", tmp_path / "none", "--sheet", "Data"))


def test_what_is_edited_stays_and_what_is_missing_comes_back(tmp_path):
    made = make_project(tmp_path / "mine")
    before = contents(made)
    (made / "index.qmd").write_text("my words")
    (made / "site" / "site.css").unlink()
    (made / "notes.txt").write_text("mine too")
    kept: list[Path] = []
    make_project(made, edited=kept.append)
    after = contents(made)
    assert (
        kept == [made / "index.qmd"] and after.pop("index.qmd") == b"my words" and after.pop("notes.txt") == b"mine too"
    )
    manifest = ".ilhte-manifest.json"
    assert {k: v for k, v in after.items() if k != manifest} == {
        k: v for k, v in before.items() if k not in (manifest, "index.qmd")
    }


@pytest.mark.parametrize("name", ["thesis.docx", "index.qmd", ".ilhte-manifest.json"])
def test_a_folder_with_something_else_is_refused_and_left_alone(tmp_path, name):
    (tmp_path / name).write_text("something")
    before = contents(tmp_path)
    assert "not empty" in refusal(call("init", tmp_path)) and contents(tmp_path) == before


def test_the_folder_of_a_run_is_refused(tmp_path):
    from ilhte_lib.manifest import Manifest

    Manifest.open(tmp_path / "run", "…").write_text("run.json", "{}")
    before = contents(tmp_path)
    assert "not a project" in refusal(call("init", tmp_path / "run")) and contents(tmp_path) == before


def test_a_table_that_cannot_be_read_makes_no_folder(tmp_path):
    refusal(call("init", tmp_path / "mine", "--table", tmp_path / "nothing.csv"))
    assert not (tmp_path / "mine").exists()


def test_a_run_without_names_is_of_the_project_s_own_trials(tmp_path, monkeypatch):
    made = make_project(tmp_path / "mine")
    monkeypatch.chdir(made)
    assert data_folder() == PROJECT / "data"  # bundled tables are still to be had
    seen = []
    monkeypatch.setattr("ilhte_report.run.tables.run_tables", lambda found, *rest, **more: seen.extend(found) or [])
    assert call("run", "--bootstrap", "0").code == 0
    assert [source.tab for source in seen] == ["A simulated example"]
    assert default_folder(["trials.toml"], Settings()).parent == made / "results"


@pytest.mark.parametrize("renderer", ["preview", "quarto"])
def test_it_renders_at_once(tmp_path, monkeypatch, renderer):
    """With `ilhte render`, and with `quarto render` alone."""
    quarto = find_quarto()
    if renderer == "quarto" and quarto is None:
        pytest.skip("Quarto is not installed")
    made = make_project(tmp_path / "mine", wide_trial(tmp_path / "scores.csv"))
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "QUARTO_PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    if renderer == "preview":
        environment["PATH"] = os.pathsep.join(
            place for place in os.environ["PATH"].split(os.pathsep) if not (Path(place) / "quarto").exists()
        )
        command = [sys.executable, "-m", "ilhte_report.cli", "render"]
    else:
        command = [quarto, "render"]
    done = subprocess.run(command, cwd=made, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    page = (made / "_site" / "index.html").read_text(encoding="utf-8")
    assert "120 persons answered 5 items." in " ".join(page.split()) and "This is a skeleton" in page
    assert (made / "_site" / "tables" / "scores.html").is_file()
