"""The page of tests and intervals: its figures hold the numbers they were given, its sentences say what the numbers say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ilhte_lib.figures.profile import profile_figure
from ilhte_lib.inference.profile import ProfileCurve, ProfileInterval
from ilhte_lib.inference.units import Scale
from ilhte_report.studies.bias import bias_summary
from ilhte_report.studies.coverage import coverage_summary
from ilhte_report.studies.figures import bias_figure, coverage_figure, size_figure
from ilhte_report.studies.size import size_summary
from ilhte_report.studies.uncertainty_page import (
    bias_findings,
    bias_table,
    coverage_findings,
    coverage_table,
    example,
    example_text,
    profiles,
    size_findings,
    size_table,
)

INTERVAL = ProfileInterval("sigma_zeta", 0.4, 0.0, 0.9, True, False, 0.1, 0.7, 0.95)
CURVE = ProfileCurve("sigma_zeta", np.linspace(0, 1, 5), np.array([3.0, 1.0, 0.2, 2.0, 5.0]))


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
    words = size_findings(summary).data
    assert (
        "*Mixture*" in words
        and "within the Monte Carlo interval everywhere" in words.split("*Bootstrap*")[0].split("*Mixture*")[1]
    )
    assert len(size_table(summary).data.splitlines()) == 2 + 2 * 4


def test_a_test_that_rejects_too_often_is_named():
    words = size_findings(size_summary(null_trials(shift=1.0))).data
    mixture = next(line for line in words.splitlines() if "*Mixture*" in line)
    assert "too often for 2 of 2" in mixture
    bootstrap = next(line for line in words.splitlines() if "*Bootstrap*" in line)
    assert "everywhere" in bootstrap


def intervals(covered: float, parameter: str, n: int = 200) -> pd.DataFrame:
    hit = np.arange(n) < covered * n
    return pd.DataFrame(
        {
            "replication": np.arange(n), "setting": "A", "n_items": 20, "parameter": parameter, "truth": 1.0,
            "lower": np.where(hit, 0.5, 0.2), "upper": np.where(hit, 1.5, 0.9), "wald_lower": 0.5, "wald_upper": 1.5,
        }
    )  # fmt: skip


def test_coverage_below_the_limit_is_named_with_its_side_and_reason():
    summary = coverage_summary(
        pd.concat([intervals(0.9, "sigma_theta"), intervals(0.95, "treat"), intervals(0.96, "rho")])
    )
    words = coverage_findings(summary).data
    assert "0.900 to 0.960" in words
    assert "σθ in setting A, 20 items has 0.900: 10.0% of the intervals lie below the truth. Laplace" in words
    assert "β₁ in setting" not in words and "ρ in setting" not in words
    assert "With 20 items the intervals of σθ lie below the truth in 10.0% of the trials and above it in 0.0%" in words
    none = coverage_findings(coverage_summary(intervals(0.95, "treat"))).data
    assert "None is below 0.93; the lowest is β₁ in setting A, 20 items (Monte Carlo interval 0.910 to" in none
    assert "lie below" not in none
    assert len(coverage_table(summary).data.splitlines()) == 2 + 3
    figure = coverage_figure(summary)
    assert sorted(y for t in points(figure, "profile") for y in t.y) == pytest.approx([0.9, 0.95, 0.96])


def test_bias_is_drawn_and_told():
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
    words = bias_findings(summary).data
    mean = float(summary.query("n_items == 3 and method == 'laplace' and parameter == 'sigma_theta'")["bias"].iloc[0])
    assert f"With 3 items Laplace is off by −{abs(mean):.3f}" in words
    assert len(bias_table(summary).data.splitlines()) == 2 + 2 * 3


def test_the_example_shows_the_two_tests_disagree():
    trial, fits = example()
    curves, found = profiles(trial, fits)
    spread = next(i for i in found if i.parameter == "sigma_zeta")
    assert spread.lower == 0.0
    words = example_text(trial, fits, found).data
    assert "the two disagree" in words and "starts at 0 and" in words
    assert [c.parameter for c in curves] == ["treat", "sigma_zeta", "rho"]
