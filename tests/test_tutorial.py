"""The tutorial's file and what it says of it: each command of the page is one that works, and the project it ends with too."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("IPython", reason="IPython is not installed (extra 'report')")

from typer.main import get_command

from ilhte_lib.data.options import DataOptions
from ilhte_report.cli import app
from ilhte_report.intake.columns import look
from ilhte_report.intake.preparation import prepared
from ilhte_report.intake.source import source
from ilhte_report.intake.trials_file import read_trials
from ilhte_report.pages.tutorial import FILE, films, session
from ilhte_report.site.own_project import make_project

PROJECT = Path(__file__).resolve().parents[1]
PAGES = [(PROJECT / name).read_text(encoding="utf-8") for name in ("tutorial.qmd", "coming-from-lme4.qmd")]
TUTORIAL = PAGES[0]


def test_the_file_has_a_row_a_person_and_four_arms_of_them():
    table = films()
    assert table["person"].is_unique and table["film"].nunique() == 4
    items = [name for name in table.columns if name.startswith("feels_")]
    assert len(items) == 10 and table[items].stack().dropna().isin([0, 1, 2, 3]).all()


def test_every_command_on_the_pages_has_the_options_it_names():
    commands = get_command(app).commands
    text = "\n".join(PAGES).replace("\\\n", " ")
    written = re.findall(r"^(?:session\('|`)?(ilhte [a-z].*?)(?:', last.*|`.*| +#.*)?$", text, flags=re.MULTILINE)
    assert len(written) >= 5
    for line in written:
        name, *words = shlex.split(line)[1:]
        known = {spelled for parameter in commands[name].params for spelled in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


def test_what_is_shown_is_what_the_command_prints():
    (command,) = re.findall(r"session\('(ilhte check .*?)', last", TUTORIAL)
    shown = session(command, last=5).data
    assert (
        f"$ {command}" in shown and "films / comedy" in shown and "\x1b" not in shown and shown.rstrip().endswith("~~~")
    )


def test_the_project_s_file_of_trials_reads_the_table(tmp_path):
    films().to_csv(tmp_path / FILE, index=False)
    guess = look(tmp_path / FILE).guess
    assert guess.id == "person" and guess.wide == ("feels_*",) and guess.control is None
    made = make_project(tmp_path / "film-trial", tmp_path / FILE)
    (completed,) = re.findall(r"```toml\n(.*?)```", TUTORIAL, flags=re.DOTALL)
    assert tomllib.loads(completed)["trial"][0]["file"] == "data/films.csv"
    (made / "trials.toml").write_text(completed)
    (trial,) = read_trials(made / "trials.toml")
    found = prepared(source(trial.file), DataOptions.of(trial.options | {"arms": ["sad"]}))
    assert found.n_items == 10 and found.covariate_name == "before"
