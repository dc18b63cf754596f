"""The benchmark: what is measured of one table, what its numbers come to, what the methods page shows of them."""

from __future__ import annotations

import ast
import json
import os
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import peers, python_peer_fits
from benchmarks.comparison import compare, measure
from benchmarks.notebook_cost import shortened
from benchmarks.peers import Peer
from benchmarks.trials import long_table
from ilhte_lib.data.catalogue import load_bundled
from ilhte_lib.data.prepare import prepare
from ilhte_lib.data.trial import Trial
from ilhte_lib.engine.native import fit_models
from ilhte_report.pages import benchmark as benchmark_page
from ilhte_report.run.key import fit_notebook
from ilhte_report.studies import computed
from ilhte_report.studies.computed import read_computed

LOGLIK_SHORTFALL = 1e-6
"""The native engine may end so far below the best peer, by rounding and by where a peer stops."""


def rows(*fits: tuple[str, str, str, float, float]) -> pd.DataFrame:
    frame = pd.DataFrame(fits, columns=["tab", "model", "tool", "cpu_s", "loglik"])
    frame["failure"] = np.where(frame["loglik"].isna(), "no log-likelihood", None)
    # in turn the native engine needs half as long from the second model on
    after = np.where(frame["tool"] != "native", np.nan, frame["cpu_s"] / np.where(frame["model"] == "M_0", 1, 2))
    return frame.assign(
        version="1",
        loglik_exact=np.nan,
        cpu_s_after=after,
        measured="2026-01-02",
        n_persons=10,
        n_items=3,
        n_responses=30,
    )


@pytest.fixture
def frame() -> pd.DataFrame:
    return rows(
        ("a", "M_0", "native", 0.01, -10.0),
        ("a", "M_A", "native", 0.02, -9.0),
        ("a", "M_0", "slow", 1.00, -10.5),
        ("a", "M_A", "slow", 8.00, -9.0),
        ("a", "M_0", "fast", 0.005, -10.0 + 1e-3),
        ("a", "M_A", "fast", 0.20, np.nan),
        ("b", "M_0", "native", 0.01, -20.0),
        ("b", "M_0", "slow", 4.00, -20.25),
    )


@pytest.fixture
def trial(project: Path) -> Trial:
    return prepare(load_bundled("bacteria_weeks", project / "data"), "bacteria_weeks", profile="vignette")


def test_ratios_means_and_extremes(frame):
    means = benchmark_page.by_model(frame)
    assert means.loc["M_0", "slow"] == pytest.approx(200.0)
    assert means.loc["M_A", "slow"] == pytest.approx(400.0)
    assert means.loc["all", "slow"] == pytest.approx((100 * 400 * 400) ** (1 / 3))
    tables = benchmark_page.table_ratios(frame)
    # a table's models are fitted in turn
    assert tables["slow"].to_dict() == pytest.approx({"a": 450.0, "b": 400.0})
    after = benchmark_page.by_model(frame, after=True)["slow"]
    assert after[["M_0", "M_A"]].to_dict() == pytest.approx({"M_0": 200.0, "M_A": 800.0})
    # a fit that failed counts neither for nor against its peer
    assert tables.loc["a", "fast"] == pytest.approx(0.5) and np.isnan(means.loc["M_A", "fast"])
    best = benchmark_page.above_the_best(frame)
    assert best.to_dict() == pytest.approx({("a", "M_0"): -1e-3, ("a", "M_A"): 0.0, ("b", "M_0"): 0.25})


def test_the_page_says_where_a_peer_is_faster_and_higher(frame, tmp_path, monkeypatch):
    monkeypatch.setattr(computed, "computed_folder", lambda: tmp_path)
    assert "has not been measured" in benchmark_page.speed_table().data
    assert benchmark_page.speed_text().data == ""
    computed.write_computed("benchmark", frame, "test", method="so", machine="one | two", cores=2)
    text = benchmark_page.speed_text().data
    assert "- fast, in 1 of 1 fits: `a` M_0 (0.50)" in text and "slow, in" not in text
    assert "No peer was faster with" not in text and "models of a table in turn: fast on `a` (0.50)." in text
    assert "given to every peer: fast the 1 of at most 30 responses." in text
    assert "No fit, or stopped as too long: fast in 1." in text and "Kept from" not in text
    assert "at worst −1.0e−03" in text and "one \\| two" in text
    assert "2 real tables, 3 fits, 3 of them certified" in text
    page = benchmark_page.speed_table().data
    assert "| 252.0 |" in page and "251.98" not in page and "252.0" in page
    table = benchmark_page.peer_table().data
    assert (
        "slow 1" in table
        and "| 3 of 3 |" in table
        and "| 1 of 3 |" in table
        and "100.0, a, M~0~" in table
        and "fast 1" in table
        and "0.5, a" in table
    )


def test_a_peer_is_run_once_and_alternates_with_the_native_engine(trial, tmp_path, monkeypatch, capsys):
    """A peer of two lines, in place of one that takes minutes, through everything that a real one goes through."""
    script = tmp_path / "peer.py"
    script.write_text(
        "import json, sys\n"
        "rows = sum(1 for _ in open(sys.argv[1])) - 1\n"
        "for m in sys.argv[2:]:\n"
        "    print('chatter')\n"
        "    print(json.dumps({'version': '9', 'model': m, 'logLik': None if m == 'M_A' else -rows, 'cpu_s': 2.0, 'runs': 3}))\n",
        encoding="utf-8",
    )
    monkeypatch.setattr("benchmarks.peers.CACHE", tmp_path / "cache")
    monkeypatch.setattr(computed, "computed_folder", lambda: tmp_path)
    peer = Peer("stub", (sys.executable, str(script)))
    compare("benchmark", [trial], [peer])
    frame, about = read_computed("benchmark")
    assert about["command"] == "python -m benchmarks tables" and about["machine"]
    own, other = frame[frame["tool"] == "native"], frame[frame["tool"] == "stub"]
    fits = fit_models(trial)
    assert own.set_index("model")["loglik"].to_dict() == {model: fit.loglik for model, fit in fits.items()}
    assert (own[["cpu_s", "cpu_s_without_se", "cpu_s_after"]] > 0).all(axis=None) and (own["evaluations"] > 0).all()
    assert own["measured"].tolist() == other["measured"].tolist()  # of one day
    assert other["loglik"].tolist()[0] == -trial.n_responses and other["failure"].fillna("").tolist() == [
        "",
        "no log-likelihood",
    ]
    assert "stub failed" in capsys.readouterr().out
    script.unlink()
    assert peer.fits(long_table(trial), ["M_0", "M_A"])[0]["loglik"] == -trial.n_responses
    assert len(list((tmp_path / "cache").rglob("*.json"))) == 1


def test_without_peers_the_native_engine_is_measured_alone(trial, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(computed, "computed_folder", lambda: tmp_path)
    compare("benchmark_sizes", [trial], [])
    frame = read_computed("benchmark_sizes")[0]
    assert frame["tool"].tolist() == ["native", "native"] and (frame["cpu_s_without_se"] > 0).all()
    assert "M_A  native" in capsys.readouterr().out
    assert "bacteria\\_weeks" in benchmark_page.sizes_table().data


def test_a_peer_that_stops_is_a_failure_not_an_end(trial, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.peers.CACHE", tmp_path)
    found = Peer("stub", (sys.executable, "-c", "raise SystemExit('no memory left')")).fits(long_table(trial), ["M_0"])
    assert [r["failure"] for r in found] == ["no memory left"] and np.isnan(found[0]["cpu_s"])


def test_a_python_peer_is_timed_by_the_median_and_stopped_where_it_hangs(trial, tmp_path, monkeypatch):
    """A package of four lines in place of glmm, which never comes back from M_A."""
    (tmp_path / "glmm.py").write_text(
        "from types import SimpleNamespace\n"
        "def fit(rows, formula, family):\n"
        "    print('fitting', end='')\n"
        "    while '(treat|' in formula: pass\n"
        "    return SimpleNamespace(loglik=-float(len(rows)))\n",
        encoding="utf-8",
    )
    (tmp_path / "glmm-7.dist-info").mkdir()
    (tmp_path / "glmm-7.dist-info" / "METADATA").write_text("Name: glmm\nVersion: 7\n", encoding="utf-8")
    monkeypatch.setattr("benchmarks.peers.CACHE", tmp_path / "cache")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    code = "import sys; sys.path.append(sys.argv.pop(1)); from benchmarks import python_peer_fits as p; p.LONGEST = 0.5; p.main('glmm', sys.argv[1], sys.argv[2:])"
    command = (sys.executable, "-c", code, str(Path(peers.__file__).parents[1]))
    found = Peer("glmm", command).fits(long_table(trial), ["M_0", "M_A", "M_C"])
    assert [r["failure"] for r in found] == [None, "stopped: it took too long", "not reached"]
    assert found[0]["loglik"] == -trial.n_responses and found[0]["runs"] == python_peer_fits.RUNS
    assert found[0]["cpu_s"] < python_peer_fits.ENOUGH and {r["version"] for r in found} == {"7"}


def test_a_fit_is_timed_until_it_took_long_enough(monkeypatch):
    clock = iter([0.0, 0.5, 1.0, 1.1, 2.0, 2.6, 3.0, 9.0])
    monkeypatch.setattr("benchmarks.python_peer_fits.time.process_time", lambda: next(clock))
    loglik, seconds, runs = python_peer_fits.timed(lambda: -3)
    assert (loglik, runs) == (-3.0, 3) and seconds == pytest.approx(0.5)


def test_a_clock_that_ticks_is_read_over_several_fits(monkeypatch):
    """One fit, then two, then four take no tick or one; from then on four are timed together."""
    ticks = iter([0.0, 0.0, 0.0, 0.004, 0.004, 0.08, 0.08, 0.2, 0.2, 1.3])
    monkeypatch.setattr("benchmarks.python_peer_fits.time.process_time", lambda: next(ticks))
    loglik, seconds, runs = python_peer_fits.timed(lambda: -3)
    assert (loglik, runs) == (-3.0, 3) and seconds == pytest.approx(0.03)


@pytest.mark.parametrize("name", list(peers.IN_PYTHON))
def test_a_python_peer_fits_what_the_page_says(trial, name, tmp_path, monkeypatch):
    pytest.importorskip(peers.IN_PYTHON[name], reason="a peer of the benchmark (make benchmark)")
    monkeypatch.setattr(peers, "CACHE", tmp_path)
    peer = Peer(name, (sys.executable, str(Path(python_peer_fits.__file__)), peers.IN_PYTHON[name]))
    frame = pd.DataFrame(measure(trial, [peer]))
    assert frame["failure"].isna().all() and frame["version"].nunique() == 2
    below = benchmark_page.above(frame)[name].droplevel("tab")
    if name == "lme-python":  # another criterion, whose end is below the maximum
        assert (below > 0.1).all()
    else:
        assert abs(below["M_0"]) < 1e-3
        # a correlation less
        assert below["M_A"] > 0.05 if name == "GPBoost" else abs(below["M_A"]) < 1e-3


def test_what_a_smaller_model_reaches_is_not_compared():
    frame = rows(
        ("a", "M_0", "native", 1.0, -10.0), ("a", "M_A", "native", 1.0, -9.0), ("a", "M_0", "GPBoost", 2.0, -10.5)
    )
    frame = pd.concat([frame, rows(("a", "M_A", "GPBoost", 0.5, -9.5))])
    below = benchmark_page.same_model(benchmark_page.above(frame))["GPBoost"]
    assert below["a", "M_0"] == 0.5 and np.isnan(below["a", "M_A"])
    # in time it is
    assert benchmark_page.faster(frame).to_dict() == {("GPBoost", "a", "M_A"): 0.5}


def test_times_of_another_day_are_told(frame, tmp_path, monkeypatch):
    monkeypatch.setattr(computed, "computed_folder", lambda: tmp_path)
    frame.loc[frame["tool"] == "slow", "measured"] = "2025-11-05"
    computed.write_computed("benchmark", frame, "test", method="so", machine="one", cores=2)
    said = benchmark_page.speed_text().data
    assert "Kept from 2025-11-05, one call each: the times of slow on the 2 tables of at least 30 responses." in said


@pytest.mark.r
def test_lme4_is_timed_and_agrees(trial, tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "CACHE", tmp_path)
    lme4 = next((peer for peer in peers.installed() if peer.name == "lme4"), None)
    if lme4 is None:
        pytest.skip("R with lme4 and jsonlite is not installed (make lme4)")
    frame = pd.DataFrame(measure(trial, [lme4]))
    assert frame["tool"].tolist() == ["native"] * 2 + ["lme4", "lme4 without derivatives"] * 2
    difference = benchmark_page.above(frame)
    assert (difference.abs() < 1e-3).all(axis=None) and (difference > -LOGLIK_SHORTFALL).all(axis=None)
    # lme4's objective is ours: what it ends below is how far from the optimum it stopped
    assert frame["loglik_exact"].notna().sum() == 4
    assert frame["cpu_s"].min() > 0


# -- what is stored -----------------------------------------------------------------------------------------------------


def test_the_page_names_every_fit_in_which_a_peer_was_faster(stored):
    seconds = {(row.tab, row.model, row.tool): row.cpu_s for row in stored.itertuples() if row.cpu_s > 0}
    said = benchmark_page.speed_text().data.replace("\\", "")
    lines = {line.split(",")[0].removeprefix("- "): line for line in said.splitlines() if line.startswith("- ")}
    assert len(lines) == len(set(benchmark_page.faster(stored).index.get_level_values("tool")))
    for (tab, model, tool), taken in seconds.items():
        told = f"`{tab}` {model} (" in lines.get(tool, "")
        assert told == (taken < seconds[tab, model, "native"]), (tab, model, tool)


@pytest.fixture(scope="module")
def stored(project: Path) -> pd.DataFrame:
    if not (project / "data" / "computed" / "benchmark.parquet").is_file():
        pytest.skip("the benchmark has not been run (make benchmark)")
    return read_computed("benchmark")[0]


def test_no_peer_is_above_on_any_stored_table(stored):
    own = stored[stored["tool"] == "native"]
    assert own["failure"].isna().all()
    assert not own.duplicated(["tab", "model"]).any()
    assert benchmark_page.above_the_best(stored).min() > -LOGLIK_SHORTFALL


def test_the_stored_logliks_are_those_of_today(stored, project):
    for tab in ("bacteria_weeks", "verbagg_gender"):
        trial = prepare(load_bundled(tab, project / "data"), tab, profile="vignette", max_persons=0)
        kept = stored[(stored["tab"] == tab) & (stored["tool"] == "native")].set_index("model")["loglik"]
        now = {model: fit.loglik for model, fit in fit_models(trial).items()}
        assert now == pytest.approx(kept.to_dict(), abs=1e-7)


def test_stored_sizes_are_shown(project):
    if not (project / "data" / "computed" / "benchmark_sizes.parquet").is_file():
        pytest.skip("the sizes have not been measured (make benchmark)")
    frame = read_computed("benchmark_sizes")[0]
    assert frame[frame["tool"] == "native"]["failure"].isna().all()
    page = benchmark_page.sizes_table().data
    kept = frame[frame["measured"] < frame.loc[frame["tool"] == "native", "measured"].max()]
    said = benchmark_page.sizes_text().data.replace("\\", "")
    assert all(f"{date}" in said and tool in said for date, tool in zip(kept["measured"], kept["tool"], strict=True))
    assert "| After M~0~ |" in page
    cells = [cell.strip().replace("\\", "") for cell in page.replace("\u00a0", " ").split("|")]
    for tab in frame["tab"].unique():
        size, _, missing = tab.partition(", ")
        assert any(
            a == size.replace("x", "×") and b.startswith(missing.split("%")[0] or "–") for a, b in pairwise(cells)
        )
    assert benchmark_page.above_the_best(frame).min() > -LOGLIK_SHORTFALL


def test_stored_growth_stays_within_its_memory(project):
    if not (project / "data" / "computed" / "benchmark_growth.parquet").is_file():
        pytest.skip("the growth has not been measured (make benchmark)")
    growth, about = read_computed("benchmark_growth")
    assert growth["n_persons"].max() >= 10_000_000 and growth["peak_mb"].max() < 6 * 1024
    of_a_million = growth[growth["n_persons"] == 1_000_000]
    assert {(row.missing > 0, row.covariate) for row in of_a_million.itertuples()} >= {
        (False, False),
        (True, False),
        (False, True),
    }
    with_gaps = of_a_million[(of_a_million["missing"] > 0) & ~of_a_million["covariate"]].iloc[0]
    assert with_gaps["read_cpu_s"] + with_gaps["fit_cpu_s"] < 30 and with_gaps["peak_mb"] < 3 * 1024
    assert growth["certified"].all()
    assert about["spark"] is None or about["spark"]["same"]
    assert about["duckdb"] in benchmark_page.growth_text().data
    page = benchmark_page.growth_table().data
    assert f"{growth['n_responses'].max():,}" in page


# -- what a table of a run costs ---------------------------------------------------------------------------------------


def imports(notebook: str) -> set[str]:
    lines = "\n".join("".join(cell["source"]) for cell in json.loads(notebook)["cells"] if cell["cell_type"] == "code")
    return {ast.unparse(node) for node in ast.walk(ast.parse(lines)) if isinstance(node, ast.Import | ast.ImportFrom)}


def test_what_is_taken_off_a_table_is_its_analysis_alone():
    """The two notebooks whose difference that is differ by one call: imports, kernel and data are the same."""
    whole = fit_notebook().read_text(encoding="utf-8")
    computes, idle = (shortened(whole, computes=computes) for computes in (True, False))
    assert imports(computes) == imports(idle) < imports(whole)
    assert "analyse_trial(" in computes and "analyse_trial(" not in idle
    one, other = (json.loads(text)["cells"] for text in (computes, idle))
    assert one[:-1] == other[:-1] and len(one) == len(other) < len(json.loads(whole)["cells"])
