"""The simulations: their summaries by hand, and the stored files against a few replications computed again."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2
from stored_studies import agree

from ilhte_report.studies import bias as bias_study
from ilhte_report.studies import coverage as coverage_study
from ilhte_report.studies import ordered as ordered_study
from ilhte_report.studies import size as size_study
from ilhte_report.studies.size import size_p_values, size_summary, wilson_interval


def stored(project, name: str) -> pd.DataFrame:
    path = project / "data" / "computed" / f"{name}.parquet"
    if not path.is_file():
        pytest.skip(f"data/computed/{name}.parquet is not there yet: `make compute` writes it")
    return pd.read_parquet(path)


def test_a_small_run_gives_the_stored_likelihood_ratios(project):
    agree(size_study.STUDY.replay(range(6)), stored(project, "size"), ["replication"], 1e-4)


def test_a_small_run_gives_the_stored_intervals(project):
    again = coverage_study.STUDY.replay(range(6))
    agree(again, stored(project, "coverage"), ["replication", "parameter"], 3e-4)


def test_a_small_run_gives_the_stored_estimates(project):
    agree(bias_study.STUDY.replay(range(8)), stored(project, "bias"), ["replication", "method"], 1e-4)


def test_a_small_run_gives_the_stored_intervals_of_ratings(project):
    again = ordered_study.STUDY.replay(range(4))
    agree(again, stored(project, "ordered"), ["replication", "parameter"], 3e-4)


def test_ratings_are_recovered_and_their_intervals_hold(project):
    """Within 3.5 Monte Carlo standard errors of 95%, for each parameter with 10 and 20 items: seven in a thousand such tables
    of 12 would miss by chance."""
    found = ordered_study.ordered_summary(stored(project, "ordered"))
    profile = found[(found["method"] == "profile") | found["parameter"].str.startswith("tau")]
    assert len(profile) == 2 * 6 and (profile["replications"] == 500).all()
    away = (profile["coverage"] - 0.95).abs() / np.sqrt(0.95 * 0.05 / profile["replications"])
    assert (away < 3.5).all(), profile
    # what the page says
    away = (found["mean"] - found["truth"]) / found["mean_se"]
    by = dict(zip(zip(found["parameter"], found["n_items"], strict=True), away, strict=True))
    assert all(abs(by[name, n]) < 2.5 for name in ("treat", "rho", "tau_1", "tau_2") for n in (10, 20))
    assert by["sigma_zeta", 10] < -2 and by["sigma_zeta", 20] < -2 and by["sigma_theta", 10] < -2
    wald = found[(found["method"] == "Wald") & found["parameter"].isin(["sigma_zeta", "rho"])]
    assert (wald["upper"] < 0.95).all()


def test_stored_files_hold_what_was_announced(project):
    size, coverage, bias = (stored(project, name) for name in ("size", "coverage", "bias"))
    assert size.groupby("n_items").size().to_dict() == {8: 2000, 20: 2000, 40: 2000}
    cells = coverage.groupby(["setting", "n_items", "parameter"]).size()
    assert len(cells) == 3 * 2 * 4 and (cells == 2000).all()
    assert bias.groupby(["n_items", "method"]).size().to_dict() == {
        (j, m): 2000 for j in (3, 5, 10, 20) for m in ("aghq", "laplace")
    }
    import json

    import pyarrow.parquet as pq

    for name, study in (("size", size_study), ("coverage", coverage_study), ("bias", bias_study)):
        path = project / "data" / "computed" / f"{name}.parquet"
        about = json.loads(pq.read_schema(path).metadata[b"ilhte"])
        assert (
            about["seed"] == study.SEED and about["command"] == f"python -m ilhte_report.compute {name}"
        )  # its name at that commit
        assert len(about["commit"]) == 40
        assert path.stat().st_size < 1_000_000


def test_size_of_known_p_values():
    rng = np.random.default_rng(1)
    observed, null = chi2.rvs(2, size=400, random_state=rng), chi2.rvs(2, size=400, random_state=rng)
    trials = pd.DataFrame({"n_items": 8, "lrt_stat": observed, "lrt_bootstrap": null})
    p = size_p_values(trials)
    np.testing.assert_allclose(p["naive"], chi2.sf(observed, 2))
    np.testing.assert_allclose(p["bootstrap"], [(1 + (null >= x).sum()) / 401 for x in observed])
    table = size_summary(trials).set_index(["test", "level"])
    assert table.loc[("naive", 0.05), "size"] == (chi2.sf(observed, 2) < 0.05).mean()
    share = table.loc[("bootstrap", 0.1), "size"]
    assert tuple(table.loc[("bootstrap", 0.1), ["lower", "upper"]]) == wilson_interval(share, 200)
    assert (
        table.loc[("halved", 0.05), "size"]
        >= table.loc[("mixture", 0.05), "size"]
        >= table.loc[("naive", 0.05), "size"]
    )


def test_wilson_interval_by_its_definition():
    """Its ends are the shares that a score test at 5% just does not reject."""
    for share, n in ((0.05, 2000), (0.0, 50), (0.93, 300)):
        for end in wilson_interval(share, n):
            assert abs(share - end) == pytest.approx(1.959963984540054 * np.sqrt(end * (1 - end) / n), abs=1e-9)


def test_coverage_of_known_intervals():
    rows = []
    for k, (low, high) in enumerate([(0.0, 1.0), (0.6, 1.0), (0.0, 0.3), (np.nan, np.nan), (0.1, np.nan)]):
        rows.append((k, "A", 20, "treat", 0.5, low, high, 0.4, 0.6))
    columns = ["replication", "setting", "n_items", "parameter", "truth", "lower", "upper", "wald_lower", "wald_upper"]
    table = coverage_study.coverage_summary(pd.DataFrame(rows, columns=columns)).set_index("method")
    assert table.loc["profile", "coverage"] == 2 / 5
    assert (table.loc["profile", "above"], table.loc["profile", "below"], table.loc["profile", "undefined"]) == (
        0.2,
        0.2,
        0.2,
    )
    assert table.loc["Wald", "coverage"] == 1.0 and table.loc["Wald", "width"] == pytest.approx(0.2)


def test_bias_of_known_estimates():
    trials = pd.DataFrame(
        {
            "n_items": 3,
            "method": "laplace",
            "sigma_theta": [0.8, 1.0, 0.9],
            "sigma_zeta": [0.4, np.nan, 0.6],
            "ate": 0.2,
        }
    )
    table = bias_study.bias_summary(trials).set_index("parameter")
    assert table.loc["sigma_theta", "bias"] == pytest.approx(-0.1)
    assert table.loc["sigma_theta", "bias_se"] == pytest.approx(0.1 / np.sqrt(3))
    assert table.loc["sigma_zeta", "bias"] == pytest.approx(0.1) and table.loc["sigma_zeta", "replications"] == 2
    assert table.loc["ate", "rmse"] == 0.0


def test_replications_do_not_depend_on_each_other():
    """Trial 4 alone is trial 4 of a run, and a run of one a design is the first of each."""
    alone = size_study.STUDY.replay([4])
    run = size_study.STUDY.simulate(2, workers=1)
    agree(alone, run, ["replication"], 1e-9)
    assert list(run["n_items"]) == [8, 20, 40] * 2
