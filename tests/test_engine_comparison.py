"""lme4 beside the native engine: one table live, the stored comparison of all, the page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ilhte_lib.data.catalogue import bundled_tables, load_bundled
from ilhte_lib.data.prepare import prepare
from ilhte_lib.data.trial import Trial
from ilhte_lib.engine.native import fit_models
from ilhte_lib.errors import EngineError, InputError
from ilhte_report.intake.source import source
from ilhte_report.studies import computed, engines_compute, engines_page
from ilhte_report.studies.computed import read_computed, write_computed
from ilhte_report.studies.engine_comparison import (
    SAME_LOGLIK,
    STANDARDISED,
    compare,
    estimate,
    lme4_versions,
    tight_logliks,
)
from ilhte_report.studies.engines_page import read_comparison

CLOSE = 0.005
CLOSE_IN_SE = 0.05
SMALL_TRIAL = 170
SHORTFALL = 1e-4


@pytest.fixture(scope="session")
def toenail(project: Path) -> Trial:
    return prepare(load_bundled("toenail_visits", project / "data"), "toenail_visits", profile="full")


# -- the stored comparison ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored():
    return read_comparison()


def test_the_native_loglik_is_never_below_lme4s(stored):
    assert stored.gap.notna().all()
    assert stored.gap.min() > -SHORTFALL


def test_estimates_and_item_effects_agree_where_the_logliks_do(stored):
    rows = stored.models
    close = stored.gap.abs() < SAME_LOGLIK
    # Log-likelihoods 0.01 apart allow estimates sqrt(0.02) = 0.14 standard errors apart: all must be much closer. In SDs of
    # the persons that says little where few persons make standard errors of 0.2 and more, as in the films (about 165)
    large = rows["n_persons"] > SMALL_TRIAL
    assert rows.loc[close, "distance_se"].max() < CLOSE_IN_SE
    agree = close & large
    # by the columns themselves, not by the largest difference that was stored with them
    for name in STANDARDISED:
        differences = (rows[f"{name}_native"] - rows[f"{name}_lme4"])[agree].abs().dropna()
        assert len(differences) and differences.max() < CLOSE, name
    assert rows.loc[agree, "largest_item_difference"].max() < CLOSE
    main = rows[agree & (rows["model"] == "M_A")]["tab"]
    items = stored.items[stored.items["tab"].isin(main)]
    for name in ("b_std", "zeta_std", "total_std"):
        assert (items[f"{name}_native"] - items[f"{name}_lme4"]).abs().max() < CLOSE, name


def test_most_models_agree_closely_enough_to_be_compared(stored):
    assert (stored.gap.abs() < SAME_LOGLIK).mean() > 0.7


def test_lme4_itself_reports_the_native_objective_when_its_inner_search_goes_on(stored):
    rows = stored.models
    tight = (rows["loglik_lme4_tight"] - rows["loglik_at_lme4"]).abs()
    # a hundredth of the largest difference in what the engines report, or less
    assert tight.max() < 5e-4 and tight.max() < 0.05 * stored.gap.max()
    assert stored.stopped.min() > -1e-7


def test_tables_and_items_are_complete(stored, project):
    done = set(stored.models["tab"])
    assert done | set(stored.left_out) == set(bundled_tables(project / "data"))
    assert not done & set(stored.left_out)
    assert set(stored.items["tab"]) == done
    counts = stored.items.groupby("tab").size()
    for tab, rows in stored.models.groupby("tab"):
        assert list(rows["model"]) in (["M_0", "M_A"], ["M_0", "M_A", "M_B", "M_C"])
        assert counts[tab] == rows["n_items"].iloc[0]
    assert (stored.models["cpu_lme4"] > 0).all() and (stored.models["cpu_native"] > 0).all()


def test_the_stored_native_side_is_what_the_engine_says_today(stored, toenail):
    fits = fit_models(toenail)
    rows = stored.models[stored.models["tab"] == "toenail_visits"].set_index("model")
    assert list(rows.index) == list(fits)
    for name, fit in fits.items():
        assert rows.loc[name, "loglik_native"] == pytest.approx(fit.loglik, abs=1e-6)
        assert rows.loc[name, "ate_std_native"] == pytest.approx(
            fit.coefficient("treat") / fits["M_0"].sigma_theta, abs=1e-5
        )


def test_the_file_says_what_computed_it(stored):
    assert stored.about["command"] == "python -m ilhte_report.studies.compute engines"
    assert {"R", "lme4", "pymer4", "rpy2"} <= set(stored.about["lme4"])
    assert len(stored.about["commit"].removesuffix("-dirty")) == 40
    assert {"numpy", "scipy", "python", "ilhte"} <= set(stored.about["versions"])


# -- live --------------------------------------------------------------------------------------------------------------


@pytest.mark.r
@pytest.mark.parametrize("tab", ["toenail_visits", "sim_n0200_j20_sz50_rho00_pre"])
def test_both_engines_live(lme4, project, tab):
    trial = prepare(load_bundled(tab, project / "data"), tab, profile="full")
    native, theirs = estimate(trial, "native"), estimate(trial, "pymer4")
    models, items = compare(trial, native, theirs, tight_logliks(trial, theirs))
    assert [row["model"] for row in models] == ["M_0", "M_A", "M_B", "M_C"]
    for row in models:
        gap = row["loglik_native"] - row["loglik_lme4"]
        assert -SHORTFALL < gap < SAME_LOGLIK
        assert row["largest_difference"] < CLOSE and row["largest_item_difference"] < CLOSE
        assert row["loglik_at_lme4"] == pytest.approx(row["loglik_lme4_tight"], abs=1e-4)
        assert row["singular_native"] == row["singular_lme4"] and row["converged_lme4"]
        assert row["cpu_lme4"] > row["cpu_native"] > 0
    assert [row["item"] for row in items] == list(trial.item_names)


@pytest.mark.r
def test_a_table_once_fitted_by_lme4_is_not_fitted_again(lme4, toenail, monkeypatch, tmp_path):
    where = source("bacteria_weeks")
    trial = engines_compute.prepared_for_both(where)
    monkeypatch.setattr(engines_compute, "find_project", lambda: tmp_path)
    versions = lme4_versions()
    first = engines_compute._lme4(where, trial, versions)
    monkeypatch.setattr(engines_compute, "estimate", lambda *_: pytest.fail("fitted again"))
    again = engines_compute._lme4(where, trial, versions)
    assert [e.psi for e in again[0].values()] == [e.psi for e in first[0].values()] and again[1] == first[1]
    with pytest.raises(pytest.fail.Exception, match="fitted again"):
        engines_compute._lme4(replace(where, sha256="another file"), trial, versions)
    with pytest.raises(pytest.fail.Exception, match="fitted again"):
        engines_compute._lme4(where, trial, {**versions, "lme4": "1.2"})


# -- the comparison itself ---------------------------------------------------------------------------------------------


def test_differences_are_found(toenail):
    """A pretended lme4 that is off by known amounts."""
    native = estimate(toenail, "native")
    psi = np.array(native["M_A"].psi)
    psi[1] += 0.1
    other = {**native, "M_A": replace(native["M_A"], psi=psi.tolist(), loglik=native["M_A"].loglik - 0.5)}
    models, items = compare(toenail, native, other, dict.fromkeys(native, 0.0))
    rows, scale = {row["model"]: row for row in models}, native["M_0"].psi[2]
    assert rows["M_0"]["largest_difference"] == 0 and rows["M_0"]["loglik_at_lme4"] == pytest.approx(
        rows["M_0"]["loglik_native"], abs=1e-8
    )
    changed = rows["M_A"]
    assert changed["largest_difference"] == pytest.approx(0.1 / scale)
    assert changed["largest_item_difference"] == pytest.approx(0.1 / scale)
    assert changed["distance_se"] == pytest.approx(0.1 / native["M_A"].psi_se[1])
    assert changed["loglik_native"] - changed["loglik_lme4"] == pytest.approx(0.5)
    # the objective at the shifted point, near its maximum a parabola in units of the standard error
    fall = changed["loglik_native"] - changed["loglik_at_lme4"]
    assert fall > 0 and fall >= 0.45 * (0.1 / native["M_A"].psi_se[1]) ** 2
    assert items[0]["total_std_lme4"] - items[0]["total_std_native"] == pytest.approx(0.1 / scale)
    assert items[0]["b_std_lme4"] == items[0]["b_std_native"]


# -- files and page ----------------------------------------------------------------------------------------------------


def test_computed_files_keep_their_facts(tmp_path, monkeypatch):
    import pandas as pd

    monkeypatch.setattr(computed, "find_project", lambda: tmp_path)
    with pytest.raises(InputError, match="data/computed/some.parquet does not exist: `make compute`"):
        read_computed("some")
    frame = pd.DataFrame({"tab": ["a", "b"], "x": [1.5, np.nan]})
    path = write_computed("some", frame, "the command", seed=7)
    assert [p.name for p in path.parent.iterdir()] == ["some.parquet"]
    back, about = read_computed("some")
    pd.testing.assert_frame_equal(back, frame)
    assert (about["command"], about["seed"], about["commit"]) == ("the command", 7, "unknown")


def test_an_unknown_computation_is_one_sentence(capsys):
    from ilhte_report.studies.compute import main

    assert main(["nothing"]) == 2
    assert capsys.readouterr().err.startswith("There is no computation 'nothing': use one of ")


def test_without_lme4_the_live_part_says_so(toenail, monkeypatch):
    def missing(trial: Trial, engine: str):
        if engine == "pymer4":
            raise EngineError("The lme4 engine needs R: run `make lme4`.")
        return estimate(trial, engine)

    monkeypatch.setattr(engines_page, "estimate", missing)
    page = engines_page.live_comparison(toenail).data
    assert r"The lme4 engine needs R: run \`make lme4\`." in page
    assert page.count("\n| ") == 4 and "CPU seconds, lme4" not in page  # heads, a rule and two rows


def test_the_page_counts_what_is_stored(stored):
    words = engines_page.overview(stored).data
    assert f"{stored.models['tab'].nunique()} tables, {len(stored.models)} models, {len(stored.items)} items" in words
    assert ("Left out" in words) == bool(stored.left_out)
    assert (
        engines_page.comparison_table(stored).data.count("\n") == stored.models["tab"].nunique() + 2
    )  # heads and a rule
    assert f"{(stored.gap > 0.001).sum()} of {len(stored.models)} models" in engines_page.gap_table(stored).data


def test_what_the_page_says_of_the_gap_holds(stored):
    """Nine tenths of it are error in lme4's reported number, which a longer inner search removes."""
    rows = stored.models
    assert stored.stopped.sum() < 0.1 * stored.gap.sum()
    assert (rows["loglik_lme4_tight"] - rows["loglik_at_lme4"]).abs().max() < 1e-3 < stored.gap.max()


def test_the_page_counts_a_shortfall(stored):
    rows = stored.models
    lme4_higher = rows["loglik_native"].where(rows.index > 2, rows["loglik_native"] + 0.25)
    words = engines_page.overview(replace(stored, models=rows.assign(loglik_lme4=lme4_higher))).data
    assert f"lower in 3 of {len(rows)} models, by 2.5e-01" in words


def test_the_figure_has_a_point_an_item_in_both_panels(stored):
    from ilhte_report.studies.engine_figure import engines_figure

    figure = engines_figure(stored.items, stored.simulated)
    above = [t for t in figure.data if t.mode == "markers" and t.yaxis == "y"]
    below = [t for t in figure.data if t.mode == "markers" and t.yaxis == "y2"]
    for traces in (above, below):
        assert sum(len(t.x) for t in traces) == len(stored.items)
    difference = stored.items["total_std_lme4"] - stored.items["total_std_native"]
    drawn = np.concatenate([np.array(t.y, float) for t in below])
    np.testing.assert_allclose(np.sort(drawn), np.sort(difference), rtol=1e-3, atol=1e-9)


def test_the_notebook_is_small_and_executed(project):
    path = project / "notebooks" / "engines.ipynb"
    assert path.stat().st_size < 300_000
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert cells[0]["metadata"]["tags"] == ["parameters"]
    assert all(cell["outputs"] for cell in cells[1:])
