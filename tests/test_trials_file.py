"""A run of one's own trials: the data options of `ilhte fit`, for all tables and for each by a TOML file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from run_cases import here, small_project

from ilhte_lib.errors import InputError
from ilhte_lib.model.simulate import Design, simulate_trial
from ilhte_report.intake.source import sources
from ilhte_report.intake.trials_file import read_trials


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two trials as their authors have them: named arms, one file wide with a code for missing, one with two waves."""
    small_project(tmp_path)
    long, _ = simulate_trial(Design(n_persons=80, n_items=5, seed=2))
    wide = long.pivot(index=["id", "treat"], columns="item", values="resp").reset_index()
    wide.columns = [str(name) for name in wide.columns]
    wide["arm"] = np.where(wide["treat"] == 1, "new", "usual")
    wide.iloc[:3, 2] = -9
    wide.drop(columns="treat").to_csv(tmp_path / "wide.csv", index=False)
    waves = pd.concat([long.assign(year=year) for year in (2019, 2020)])
    waves.rename(columns={"id": "student", "resp": "correct"}).to_csv(tmp_path / "waves.csv", index=False)
    (tmp_path / "trials.toml").write_text(
        '[defaults]\nlower-is-better = true\n\n[[trial]]\nfile = "wide.csv"\nname = "reading"\nwide = "i*"\ntreat = "arm"\n'
        'control = "usual"\nmissing-codes = -9\n\n[[trial]]\nfile = "waves.csv"\nid = "student"\nresp = "correct"\n'
        "wave_column = 'year'\nwave = 2020\n"
    )
    return tmp_path


def test_a_file_of_trials_is_run(folder):
    done = here("run", "trials.toml", "--out", "run", "--bootstrap", "0", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    reading = json.loads((folder / "run" / "fits" / "reading.json").read_text())
    waves = json.loads((folder / "run" / "fits" / "waves.json").read_text())
    assert reading["summary"]["tab"] == "reading" and reading["summary"]["n_responses"] == 80 * 5 - 3
    assert (waves["summary"]["wave"], waves["summary"]["n_responses"]) == ("2020", 400)
    page = (folder / "run" / "tables" / "reading.ipynb").read_text()
    assert "lower is better" in page or "not distinguishable" in page
    again = here("run", "trials.toml", "--out", "run", "--bootstrap", "0", cwd=folder)
    assert "2 unchanged" in again.stdout
    changed = (folder / "trials.toml").read_text().replace("wave = 2020", "wave = 2019")
    (folder / "trials.toml").write_text(changed)
    again = here("run", "trials.toml", "--out", "run", "--bootstrap", "0", cwd=folder)
    assert "1 unchanged" in again.stdout


def same_but_for_rounding(one: object, other: object) -> bool:
    """Whether two nested records are equal, numbers to nine digits."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_but_for_rounding(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_but_for_rounding, one, other))
    return one == (pytest.approx(other, rel=1e-9) if isinstance(other, float) else other)


def test_the_options_of_fit_are_options_of_run(folder):
    options = ("--id", "student", "--resp", "correct", "--wave-column", "year", "--wave", "2020")
    done = here("run", "waves.csv", "--out", "run", "--bootstrap", "9", "--seed", "5", *options, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        here("fit", "waves.csv", *options, "--bootstrap", "9", "--seed", "5", "--json", "f.json", cwd=folder).returncode
        == 0
    )
    of_run, of_fit = (json.loads((folder / p).read_text()) for p in ("run/fits/waves.json", "f.json"))
    del of_run["summary"]["seconds"], of_fit["summary"]["seconds"]
    drawn = of_fit["inference"].pop("resampling"), of_run["inference"].pop("resampling")
    for name in ("sd_ratio_se", "delta_beta3_se"):
        drawn += (of_fit["summary"].pop(name), of_run["summary"].pop(name))
    assert of_run["summary"] == of_fit["summary"] and of_run["inference"]["test"] == of_fit["inference"]["test"]
    # replicates fitted side by side are padded to the largest of their group, and groups depend on the number of workers
    for ours, theirs in zip(drawn[::2], drawn[1::2], strict=True):
        assert same_but_for_rounding(ours, theirs)
    refused = here("run", "waves.csv", "--out", "other", "--bootstrap", "0", cwd=folder)
    assert refused.returncode == 3 and "has no column 'id'" in refused.stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no trial"),
        ("trial = 3", "names no trial"),
        ("[[trial]]\nid = 'x'", "has no file"),
        ("[[trial]]\nfile = 'wide.csv'\ncontrl = 'usual'", "did you mean control"),
        ("[[trial]]\nfile = 'wide.csv'\nheader-row = 'two'", "give a whole number"),
        ("[[trial]]\nfile = 'wide.csv'\nname = 3", "it must be text"),
        ("[[trials]]\nfile = 'wide.csv'", "contains 'trials'"),
        ("[[trial]\n", "is not valid TOML"),
        ("defaults = 3\n[[trial]]\nfile = 'wide.csv'", "is not a table"),
    ],
)
def test_a_mistake_in_the_file_is_told(folder, text, words):
    (folder / "trials.toml").write_text(text)
    with pytest.raises(InputError, match=words):
        read_trials(folder / "trials.toml")


def test_a_relative_name_starts_at_the_file(folder, monkeypatch):
    monkeypatch.chdir("/")
    assert [source.tab for source in sources([str(folder / "trials.toml")])] == ["reading", "waves"]
    with pytest.raises(InputError, match="cannot be read"):
        sources([str(folder / "none.toml")])
