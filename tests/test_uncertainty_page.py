"""The page of tests and intervals: figures and tables hold the numbers they were given, and what the page says of them holds."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ilhte_lib.figures.profile import profile_figure
from ilhte_lib.inference.profile import ProfileCurve, ProfileInterval
from ilhte_lib.inference.units import Scale
from ilhte_report.studies.bias import bias_summary
from ilhte_report.studies.computed import read_computed
from ilhte_report.studies.coverage import coverage_summary
from ilhte_report.studies.figures import bias_figure, coverage_figure, size_figure
from ilhte_report.studies.size import size_summary
from ilhte_report.studies.uncertainty_page import (
    bias_table,
    coverage_overview,
    coverage_table,
    example,
    example_tests,
    profiles,
    size_overview,
    size_table,
)

INTERVAL = ProfileInterval("sigma_zeta", 0.4, 0.0, 0.9, True, False, 0.1, 0.7, 0.95)
CURVE = ProfileCurve("sigma_zeta", np.linspace(0, 1, 5), np.array([3.0, 1.0, 0.2, 2.0, 5.0]))


def rows_of(table) -> list[list[str]]:
    """The cells of an HTML table, row by row."""
    lines = table.data.replace("\u00a0", " ").strip().splitlines()[2:]
    return [[re.sub(r"\\(.)", r"\1", cell.strip()) for cell in line.strip("|").split("|")] for line in lines]


def row_of(table, name: str) -> list[str]:
    """The row whose first cell starts with ``name``."""
    return next(row for row in rows_of(table) if row[0].startswith(name))


def points(figure, name: str) -> list:
    return [t for t in figure.data if t.name == name]


def test_profile_figure_is_in_sds_but_for_rho():
    figure = profile_figure([CURVE], [INTERVAL], scale=Scale.of(2.0))
    line, ends, estimate = figure.data
    assert list(line.x) == [0, 0.125, 0.25, 0.375, 0.5] and list(line.y) == [3.0, 1.0, 0.2, 2.0, 5.0]
    assert list(ends.x) == [0.0, 0.45] and ends.y[0] == pytest.approx(3.8415, abs=1e-4)
    assert list(estimate.x) == [0.2]
    rho = profile_figure([replace(CURVE, parameter="rho")], [replace(INTERVAL, parameter="rho")], scale=Scale.of(2.0))
    assert rho.data[0].x[-1] == 1.0


def test_profile_figure_leaves_out_what_is_undefined():
    undefined = replace(INTERVAL, upper=float("nan"), estimate=float("nan"))
    figure = profile_figure([CURVE], [undefined], scale=Scale.of(1.0))
    assert len(figure.data) == 2 and list(figure.data[1].x) == [0.0]


def null_trials(shift: float = 0.0) -> pd.DataFrame:
    """Likelihood ratios that follow the mixture, moved up by ``shift``."""
    rng = np.random.default_rng(1)
    n = 4000

    def draw():
        return np.where(rng.random(n) < 0.5, rng.chisquare(1, n), rng.chisquare(2, n))

    return pd.concat(
        pd.DataFrame({"n_items": j, "lrt_stat": draw() + shift, "lrt_bootstrap": draw() + shift}) for j in (8, 20)
    )


def test_size_of_a_true_mixture_is_said_to_be_right():
    summary = size_summary(null_trials())
    figure = size_figure(summary)
    (mixture,) = points(figure, "mixture")
    assert len(figure.data) == 4
    np.testing.assert_allclose(mixture.y, 0.05, atol=0.01)
    upper = summary.query("test == 'mixture' and level == .05")["upper"]
    np.testing.assert_allclose(np.add(mixture.y, mixture.error_y.array), upper, atol=1e-3)
    assert row_of(size_overview(summary), "mixture")[-2:] == ["0 of 2", "0 of 2"]
    assert len(rows_of(size_table(summary))) == 2 * 4


def test_a_test_that_rejects_too_often_is_named():
    table = size_overview(size_summary(null_trials(shift=1.0)))
    assert row_of(table, "mixture")[-2:] == ["2 of 2", "0 of 2"]
    assert row_of(table, "bootstrap")[-2:] == ["0 of 2", "0 of 2"]


def intervals(covered: float, parameter: str, n: int = 200) -> pd.DataFrame:
    hit = np.arange(n) < covered * n
    return pd.DataFrame(
        {
            "replication": np.arange(n), "setting": "A", "n_items": 20, "parameter": parameter, "truth": 1.0,
            "lower": np.where(hit, 0.5, 0.2), "upper": np.where(hit, 1.5, 0.9), "wald_lower": 0.5, "wald_upper": 1.5,
        }
    )  # fmt: skip


def test_coverage_is_told_with_the_side_of_its_misses():
    summary = coverage_summary(
        pd.concat([intervals(0.9, "sigma_theta"), intervals(0.95, "treat"), intervals(0.96, "rho")])
    )
    table = coverage_overview(summary)
    cells = next(row for row in rows_of(table) if row[:2] == ["profile", "σ~θ~"])
    assert cells[2:] == ["0.900 to 0.900", "1 of 1", "0.100", "0.000", "0.000"]
    assert len(rows_of(coverage_table(summary))) == 3
    figure = coverage_figure(summary)
    assert sorted(y for t in points(figure, "profile") for y in t.y) == pytest.approx([0.9, 0.95, 0.96])


def test_bias_is_drawn_and_tabulated():
    rng = np.random.default_rng(2)
    frames = [
        pd.DataFrame(
            {
                "n_items": j,
                "method": m,
                "sigma_theta": rng.normal(1 - b, 0.1, 400),
                "sigma_zeta": 0.4,
                "ate": rng.normal(0.2, 0.1, 400),
            }
        )
        for j, m, b in ((3, "laplace", 0.2), (3, "aghq", 0.0), (20, "laplace", 0.02), (20, "aghq", 0.0))
    ]
    summary = bias_summary(pd.concat(frames))
    figure = bias_figure(summary)
    laplace = points(figure, "Laplace")[0]
    assert laplace.y[0] == pytest.approx(-0.2, abs=0.02) and laplace.error_y.array[0] == pytest.approx(
        1.96 * 0.1 / 20, rel=0.15
    )
    mean = float(summary.query("n_items == 3 and method == 'laplace' and parameter == 'sigma_theta'")["bias"].iloc[0])
    cells = next(row for row in rows_of(bias_table(summary)) if row[:2] == ["3", "σ~θ~"])
    assert cells[2].startswith(f"−{abs(mean):.3f} (") and len(rows_of(bias_table(summary))) == 2 * 3


def test_the_example_shows_the_two_tests_disagree():
    trial, fits = example()
    curves, found = profiles(trial, fits)
    spread = next(i for i in found if i.parameter == "sigma_zeta")
    assert spread.lower == 0.0
    assert [c.parameter for c in curves] == ["treat", "sigma_zeta", "rho"]
    table = example_tests(trial, fits, replicates=9)
    halved, mixture = (float(row_of(table, f"p, {name}")[1]) for name in ("halved", "mixture"))
    assert halved < 0.05 <= mixture


def test_what_the_page_says_of_the_stored_simulations_holds():
    """The sentences between the tables of ``notebooks/tests_and_intervals.ipynb``."""
    size = size_summary(read_computed("size")[0]).query("level == 0.05")
    own = dict(iter(size.groupby("test")))
    for test in ("halved", "bootstrap"):
        assert ((own[test]["lower"] <= 0.05) & (own[test]["upper"] >= 0.05)).all()
    assert (own["mixture"]["upper"] < 0.05).all() and own["naive"]["size"].max() < own["mixture"]["size"].min()
    coverage = coverage_summary(read_computed("coverage")[0])
    profile, wald = (coverage[coverage["method"] == method] for method in ("profile", "Wald"))
    assert profile["coverage"].min() > 0.93 and set(profile[profile["upper"] < 0.95]["n_items"]) == {20}
    for parameter in ("sigma_theta", "sigma_zeta"):
        few = profile[(profile["n_items"] == 20) & (profile["parameter"] == parameter)]
        assert few["below"].mean() > 2 * few["above"].mean()
    for parameter in ("sigma_zeta", "rho"):
        least = [rows["coverage"][rows["parameter"] == parameter].min() for rows in (profile, wald)]
        assert least[1] < least[0] - 0.02
    bias = bias_summary(read_computed("bias")[0]).set_index(["n_items", "method", "parameter"])["bias"]
    assert bias[3, "laplace", "sigma_theta"] < -0.1 and abs(bias[3, "aghq", "sigma_theta"]) < 0.01
    assert abs(bias[20, "laplace", "sigma_theta"] - bias[20, "aghq", "sigma_theta"]) < 0.02
    assert 0 < bias[3, "aghq", "sigma_zeta"] / bias[3, "laplace", "sigma_zeta"] < 1
