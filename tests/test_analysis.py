"""One result that shows itself: from a file, from a frame, in frames, figures, text and HTML."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import PROJECT

import ilhte_lib
from ilhte_lib import InputError, analyse
from ilhte_lib.analysis import INTERVAL_COLUMNS, MODEL_COLUMNS, PLOTS
from ilhte_lib.files import to_json
from ilhte_lib.inference.effects import ITEM_COLUMNS, SUMMARY_COLUMNS
from ilhte_lib.model.simulate import Design, simulate_trial


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return simulate_trial(Design(n_persons=200, n_items=6, seed=3, sigma_zeta=0.5, gamma=0.5))[0]


@pytest.fixture(scope="module")
def analysis(table):
    return analyse(table, tab="mine", curves=True)


def test_frames_have_the_documented_columns(analysis):
    assert tuple(analysis.summary.columns) == SUMMARY_COLUMNS and len(analysis.summary) == 1
    assert tuple(analysis.items.columns) == ITEM_COLUMNS and len(analysis.items) == 6
    assert tuple(analysis.intervals.columns) == INTERVAL_COLUMNS
    assert tuple(analysis.models.columns) == MODEL_COLUMNS
    of = analysis.models.set_index(["model", "term"])["estimate"]
    assert of["M_A", "treat"] == analysis.fits["M_A"].coefficient("treat")
    assert of["M_C", "rho"] == analysis.fits["M_C"].rho
    inside = analysis.intervals.set_index("parameter").loc["treat"]
    assert inside["lower"] < of["M_A", "treat"] < inside["upper"]


def test_a_file_and_a_frame_give_the_same(analysis, table, tmp_path):
    named = table.rename(columns={"id": "student", "treat": "arm"})
    named["arm"] = named["arm"].map({0: "usual", 1: "new"})
    named.to_csv(tmp_path / "trial.csv", index=False)
    options = {"id": "student", "treat": "arm", "control": "Usual"}
    of_file, of_frame = analyse(tmp_path / "trial.csv", **options), analyse(named, **options)
    assert of_file.trial.tab == "trial" and of_frame.trial.tab == "table" and len(of_file.input_sha256) == 64
    for other in (of_file, of_frame):
        pd.testing.assert_frame_equal(other.items.drop(columns="tab"), analysis.items.drop(columns="tab"), rtol=1e-6)
    assert named["arm"].isin(["usual", "new"]).all()  # the frame that was given stays as it was


def test_it_shows_itself(analysis, tmp_path):
    assert repr(analysis).startswith("Analysis('mine': 200 persons, 6 items; average effect ")
    assert "<table" in analysis._repr_html_() and "mine" in analysis._repr_html_()
    assert "Average effect" in analysis.report() and "M_C" in analysis.report(width=200)
    page = analysis.to_html(tmp_path / "mine.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "Average effect" in page
    assert json.loads(to_json(analysis.document()))["summary"]["tab"] == "mine"
    for kind in PLOTS:
        assert len(analysis.plot(kind).data) > 0
    with pytest.raises(InputError, match="no figure 'bars'"):
        analysis.plot("bars")


def test_without_curves_the_figure_of_profiles_is_refused(table):
    with pytest.raises(InputError, match="curves=True"):
        analyse(table).plot("profiles")


def test_options_are_those_of_the_command_line(table):
    with pytest.raises(InputError, match="did you mean control"):
        analyse(table, contrl="usual")
    with pytest.raises(InputError, match="give a whole number"):
        analyse(table, max_persons="many")
    strong, _ = simulate_trial(Design(n_persons=300, n_items=6, seed=3, ate=0.9))
    assert "better" not in analyse(strong).report() and "worse" not in analyse(strong).report()
    assert "which is worse (lower is better here)" in " ".join(analyse(strong, lower_is_better=True).report().split())
    assert analyse(table, missing_codes=-9).trial.n_responses == 1200
    wave = pd.concat([table.assign(visit=v) for v in (1, 2)])
    assert analyse(wave, wave_column="visit", wave=2).trial.wave == "2"


def test_the_face_is_light_and_typed():
    code = "import sys, ilhte_lib; print('scipy' in sys.modules, 'pandas' in sys.modules); ilhte_lib.analyse"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"
    assert (PROJECT / "ilhte_lib" / "py.typed").is_file()
    assert {"analyse", "Analysis", "read_table", "prepare", "fit_models", "Trial", "Fit"} <= set(dir(ilhte_lib))
    with pytest.raises(AttributeError):
        ilhte_lib.nothing  # noqa: B018


def test_a_bootstrap_is_in_it(table):
    drawn = analyse(table, replicates=19, seed=4)
    assert np.isfinite(drawn.inference.p_bootstrap) and np.isfinite(drawn.summary["sd_ratio_se"]).all()
