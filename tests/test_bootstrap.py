"""The bootstrap: exact draws, one result whatever the workers, resumable."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest

from ilhte_lib.data.prepare import prepare
from ilhte_lib.engine.native import fit_models, statistics_of
from ilhte_lib.errors import EngineError, InputError
from ilhte_lib.inference.bootstrap import (
    ESTIMANDS,
    Bootstrap,
    PersonTable,
    _ParametricTask,
    _ResamplingTask,
    bootstrap_p_value,
    by_laplace,
    estimands,
    parametric_bootstrap,
    resampling_bootstrap,
)
from ilhte_lib.inference.effects import effects
from ilhte_lib.inference.infer import infer
from ilhte_lib.inference.lrt import likelihood_ratio
from ilhte_lib.inference.replicate import replicate_generator, run_replicates
from ilhte_lib.model.compress import sufficient_statistics
from ilhte_lib.model.simulate import Design, simulate_trial
from ilhte_lib.model.spec import MODELS


def prepared(**design):
    table, _ = simulate_trial(Design(**{"n_persons": 120, "n_items": 6, "seed": 5, "sigma_zeta": 0.5} | design))
    return prepare(table.dropna(), "drawn")


@pytest.fixture(scope="module")
def trial():
    return prepared(gamma=0.7, baseline_levels=7, missing=0.15)


@pytest.fixture(scope="module")
def fits(trial):
    return fit_models(trial)


def repeated(trial, times, covariate: bool):
    """The long table in which person p really occurs times[p] times, compressed from scratch."""
    copies = np.repeat(np.arange(trial.n_persons), times)
    rows = [np.flatnonzero(trial.person == p) for p in range(trial.n_persons)]
    person = np.concatenate([np.full(len(rows[p]), k) for k, p in enumerate(copies)])
    row = np.concatenate([rows[p] for p in copies])
    values = trial.covariate[copies] if covariate else None
    return sufficient_statistics(
        trial.item_names, trial.treat[copies], person, trial.item[row], trial.resp[row], values
    )


@pytest.mark.parametrize("covariate", [False, True])
def test_a_weighted_person_table_is_the_repeated_long_table(trial, covariate):
    times = np.random.default_rng(3).multinomial(trial.n_persons, np.full(trial.n_persons, 1 / trial.n_persons))
    weighted, direct = PersonTable(trial, covariate).weighted(times), repeated(trial, times, covariate)
    for field in dataclasses.fields(direct):
        mine, theirs = getattr(weighted, field.name), getattr(direct, field.name)
        if field.name == "covariate_total" and covariate:  # sums of fractions, in another order
            np.testing.assert_allclose(mine, theirs, rtol=1e-13, err_msg=field.name)
        else:
            np.testing.assert_array_equal(mine, theirs, err_msg=field.name)


def test_a_weighted_person_table_of_complete_responses():
    trial = prepared()
    everyone = PersonTable(trial, False).weighted(np.ones(trial.n_persons, int))
    direct = statistics_of(trial, MODELS["M_A"])
    assert everyone.trials is None
    np.testing.assert_array_equal(everyone.count, direct.count)
    np.testing.assert_array_equal(everyone.item_total, direct.item_total)


def test_estimands_are_those_of_the_summary(trial, fits):
    summary = effects(trial, fits).summary
    values = dict(zip(ESTIMANDS, estimands(fits), strict=True))
    for name in (
        "sigma_theta",
        "ate_std",
        "sigma_zeta_std",
        "rho",
        "sd_ratio",
        "lrt_stat",
        "beta3_b",
        "beta3_c",
        "delta_beta3",
    ):
        assert values[name] == pytest.approx(summary[name], rel=1e-12), name


def test_parametric_draws_have_the_models_moments():
    """Means and spreads over many draws against a numerical integral over persons and items."""
    trial = prepared(n_persons=200, n_items=8, sigma_zeta=0.8, rho=0.5, treat_share=0.4)
    fit = fit_models(trial, ["M_0", "M_A"])["M_A"]
    task = _ParametricTask(statistics_of(trial, MODELS["M_A"]), fit)
    shares = []
    for k in range(600):
        resp = task.draw(replicate_generator(8, k))
        arm = task.treat[task.person]
        by_item = [
            np.bincount(task.item[arm == t], weights=resp[arm == t]) / np.count_nonzero(task.treat == t) for t in (0, 1)
        ]
        shares.append(by_item)
    shares = np.array(shares)
    node, weight = np.polynomial.hermite_e.hermegauss(60)
    weight = weight / weight.sum()
    for t, spread in ((0, fit.sigma_b), (1, np.sqrt(fit.item_cov.sum()))):
        mean_eta = fit.beta[0] + t * fit.beta[1]
        eta = mean_eta + np.hypot(spread, fit.sigma_theta) * node
        expected = weight @ (1 / (1 + np.exp(-eta)))
        # every draw has 8 new items: the standard error of the mean over 600 draws comes from the draws themselves
        by_draw = shares[:, t].mean(axis=1)
        assert by_draw.mean() == pytest.approx(expected, abs=4 * by_draw.std() / np.sqrt(600))
    # items of a draw vary as the model says: compare the SD over items of the arms' shares, one from the other arm
    assert np.corrcoef(shares[:, 0].ravel(), shares[:, 1].ravel())[0, 1] > 0.5


def test_parametric_draws_keep_the_design(trial, fits):
    statistics = statistics_of(trial, MODELS["M_C"])
    task = _ParametricTask(statistics, fits["M_C"])
    resp = task.draw(replicate_generator(1, 0))
    again = sufficient_statistics(statistics.item_names, task.treat, task.person, task.item, resp, task.covariate)
    assert (again.n_persons, again.n_responses) == (statistics.n_persons, statistics.n_responses)

    def design(s):
        cells = np.column_stack([s.arm, s.covariate, s.trials])
        kinds, which = np.unique(cells, axis=0, return_inverse=True)
        return kinds, np.bincount(which.ravel(), weights=s.count)

    for mine, theirs in zip(design(again), design(statistics), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_p_value_is_reproducible_and_counts_ties(trial, fits):
    statistics = statistics_of(trial, MODELS["M_0"])
    first = parametric_bootstrap(statistics, fits["M_0"], replicates=9, seed=7, workers=1)
    second = parametric_bootstrap(statistics, fits["M_0"], replicates=9, seed=7, workers=1)
    other = parametric_bootstrap(statistics, fits["M_0"], replicates=9, seed=8, workers=1)
    np.testing.assert_array_equal(first.estimates, second.estimates)
    assert not np.array_equal(first.draws("lrt_stat"), other.draws("lrt_stat"))
    observed = fits["M_0"].deviance - fits["M_A"].deviance
    assert bootstrap_p_value(observed, first) == (1 + np.sum(first.draws("lrt_stat") >= observed)) / 10
    assert bootstrap_p_value(0.0, first) == 1.0
    assert bootstrap_p_value(1e6, first) == 1 / 10
    exact = np.full((3, len(ESTIMANDS)), 2.0)
    assert bootstrap_p_value(2.0, Bootstrap("", 0, exact, (1, 1))) == 1.0


def test_workers_change_nothing(trial, fits):
    alone = resampling_bootstrap(trial, fits, replicates=10, seed=3, workers=1)
    together = resampling_bootstrap(trial, fits, replicates=10, seed=3, workers=2)
    np.testing.assert_allclose(alone.estimates, together.estimates, rtol=1e-9, atol=1e-9)
    assert alone.failed == 0


def test_bootstrap_of_persons_agrees_with_the_models_standard_errors():
    """The item-level spread is not resampled, so the effect's SE is the model's without item sampling."""
    trial = prepared(n_persons=300, n_items=12, sigma_zeta=0.5)
    fits = fit_models(trial, ["M_0", "M_A"])
    boot = resampling_bootstrap(trial, fits, replicates=100, seed=2, workers=1)
    assert boot.scheme == "persons within arm" and boot.units == (150, 150)
    assert boot.se("sigma_theta") == pytest.approx(np.sqrt(fits["M_0"].vcov[2, 2]), rel=0.25)
    # M_0 has no sampling of item effects in its SE either
    assert boot.se("ate") == pytest.approx(fits["M_0"].standard_error("treat"), rel=0.25)
    assert boot.se("sd_ratio") > 0
    low, high = boot.interval("ate", 0.3)
    assert low + high == pytest.approx(0.6) and high - low == pytest.approx(2 * 1.959964 * boot.se("ate"))
    assert np.isnan(boot.se("delta_beta3")) and np.isnan(boot.interval("beta3_b", 0.1)[0])
    # what the docstring says of percentiles: persons' noise in the items' effects counts twice in the replicates
    assert boot.draws("sigma_zeta").mean() > fits["M_A"].sigma_zeta


def clustered(within: bool):
    """A trial whose persons sit in clusters with a shared shift, randomised by cluster or within clusters."""
    rng = np.random.default_rng(11)
    cluster = np.repeat(np.arange(24), 8)
    treat = np.tile([0, 1], 96) if within else (cluster % 2)
    theta = rng.normal(0, 0.7, 192) + rng.normal(0, 1.0, 24)[cluster]
    easiness, effect = np.linspace(-1, 1, 12), 0.3 + np.tile([-0.8, 0.0, 0.8], 4)
    eta = theta[:, None] + easiness + effect * treat[:, None]
    resp = (rng.random((192, 12)) < 1 / (1 + np.exp(-eta))).astype(int)
    import pandas as pd

    table = pd.DataFrame(
        {
            "id": np.repeat(np.arange(192), 12),
            "item": np.tile([f"i{k}" for k in range(12)], 192),
            "resp": resp.ravel(),
            "treat": np.repeat(treat, 12),
            "cluster": np.repeat([f"village {c}" for c in cluster], 12),
        }
    )
    return prepare(table, "villages")


def test_what_is_drawn_is_fitted_by_laplace_where_the_trial_was_fitted_by_quadrature():
    """The draws of persons are the same for both, so that 12 of them tell how alike their standard errors are."""
    trial = prepared(n_items=10, n_persons=150)
    fits = fit_models(trial, ["M_0", "M_A"], method="aghq")
    found = infer(trial, fits, replicates=12, seed=3, quick=True)
    by_quadrature = resampling_bootstrap(trial, fits, replicates=12, seed=3, workers=1)
    for name in ("ate", "ate_std", "sigma_zeta", "sigma_zeta_std"):
        assert found.resampling.se(name) != by_quadrature.se(name)
        assert found.resampling.se(name) == pytest.approx(by_quadrature.se(name), rel=0.04), name

    laplace = fit_models(trial, ["M_0", "M_A"])
    statistics = statistics_of(trial, MODELS["M_0"])
    drawn = parametric_bootstrap(statistics, by_laplace(fits["M_0"]), replicates=12, seed=3, workers=1)
    statistic = likelihood_ratio(laplace["M_0"], laplace["M_A"]).statistic
    assert found.p_bootstrap == bootstrap_p_value(statistic, drawn)

    few = prepared(n_items=5)
    fits = fit_models(few, ["M_0", "M_A"], method="aghq")
    found, again = (
        infer(few, fits, replicates=3, seed=3, quick=True).resampling,
        resampling_bootstrap(few, fits, replicates=3, seed=3, workers=1),
    )
    assert found.se("ate") == again.se("ate")


def test_clusters_are_drawn_whole_within_arm():
    trial = clustered(within=False)
    fits = fit_models(trial, ["M_0", "M_A"])
    drawn = resampling_bootstrap(trial, fits, replicates=40, seed=1, workers=1)
    assert drawn.scheme == "clusters within arm" and drawn.units == (12, 12)
    persons = resampling_bootstrap(trial, fits, clusters=False, replicates=40, seed=1, workers=1)
    assert drawn.se("ate") > 1.4 * persons.se("ate"), "villages differ, so whole villages must spread more"
    unit = np.unique(trial.cluster, return_inverse=True)[1]
    strata = [np.unique(unit[trial.treat == t]) for t in (0, 1)]
    task = _ResamplingTask(trial, fits, unit, strata)
    times = task.times(replicate_generator(1, 0))
    for c in range(24):
        assert len(set(times[unit == c])) == 1
    assert times[trial.treat == 1].sum() == 96 == times[trial.treat == 0].sum()


def test_clusters_that_hold_both_arms_are_drawn_whole():
    trial = clustered(within=True)
    fits = fit_models(trial, ["M_0", "M_A"])
    drawn = resampling_bootstrap(trial, fits, replicates=40, seed=1, workers=1)
    assert drawn.scheme == "whole clusters, which hold both arms" and drawn.units == (24, 24)
    persons = resampling_bootstrap(trial, fits, clusters=False, replicates=40, seed=1, workers=1)
    assert drawn.se("ate") < 1.1 * persons.se("ate"), "what the arms of a village share cancels in the effect"


def test_clusters_that_cannot_be_drawn_are_refused(trial, fits):
    with pytest.raises(InputError, match="no clusters to draw"):
        resampling_bootstrap(trial, fits, clusters=True)
    villages = clustered(within=False)
    lonely = dataclasses.replace(villages, cluster=np.where(villages.treat == 1, "one", villages.cluster))
    with pytest.raises(InputError, match="single cluster"):
        resampling_bootstrap(lonely, {}, replicates=3)


class _Counting:
    """A task that counts its calls in a file, gives its first random number and fails on demand."""

    names = ("draw",)

    def __init__(self, log, stop_after: int | None = None):
        self.log, self.stop_after = str(log), stop_after

    identity = ("counting",)

    def __call__(self, rng):
        with open(self.log, "a") as stream:
            stream.write("x")
        with open(self.log) as stream:
            done = len(stream.read())
        if self.stop_after is not None and done > self.stop_after:
            raise KeyboardInterrupt
        if done == 2:
            raise EngineError("this one cannot be fitted")
        return np.array([rng.random()])


def test_an_interrupted_run_goes_on(tmp_path):
    log, kept = tmp_path / "calls", tmp_path / "kept.npz"
    with pytest.raises(KeyboardInterrupt):
        run_replicates(_Counting(log, stop_after=20), 40, 1, workers=1, resume=kept)
    assert kept.exists()
    seen = []
    rows = run_replicates(
        _Counting(log), 40, 1, workers=1, resume=kept, progress=lambda done, all_: seen.append((done, all_))
    )
    assert seen[0] == (16, 40) and seen[-1] == (40, 40)
    assert len(log.read_text()) == 21 + 24, "two chunks of eight were finished and not computed again"
    expected = np.array([replicate_generator(1, k).random() for k in range(40)])
    expected[1] = np.nan
    np.testing.assert_array_equal(rows[:, 0], expected)
    fewer = run_replicates(_Counting(log), 10, 1, workers=1, resume=kept)
    more = run_replicates(_Counting(log), 44, 1, workers=1, resume=kept)
    np.testing.assert_array_equal(fewer, rows[:10])
    np.testing.assert_array_equal(more[:40], rows)
    assert len(log.read_text()) == 45 + 4
    with pytest.raises(InputError, match="other data, models or seed"):
        run_replicates(_Counting(log), 40, 2, workers=1, resume=kept)
    kept.write_bytes(b"not an archive")
    with pytest.raises(InputError, match="does not hold finished replicates"):
        run_replicates(_Counting(log), 40, 1, workers=1, resume=kept)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".writing")]


class _Dying:
    """A task whose process ends without a word."""

    names = ("nothing",)
    identity = ()

    def __call__(self, rng):
        os._exit(3)


def test_a_dead_worker_is_told_in_one_sentence():
    with pytest.raises(EngineError, match="try again with workers=1"):
        run_replicates(_Dying(), 20, 1, workers=2)


def test_finished_replicates_of_other_data_are_refused(tmp_path, trial, fits):
    kept = tmp_path / "kept.npz"
    statistics = statistics_of(trial, MODELS["M_0"])
    parametric_bootstrap(statistics, fits["M_0"], replicates=2, workers=1, resume=kept)
    fitted_again = dataclasses.replace(fits["M_0"], seconds=9.0, evaluations=1, beta=fits["M_0"].beta * (1 + 1e-12))
    parametric_bootstrap(statistics, fitted_again, replicates=2, workers=1, resume=kept)
    with pytest.raises(InputError, match="other data, models or seed"):
        parametric_bootstrap(statistics, fits["M_A"], replicates=2, workers=1, resume=kept)
    changed = dataclasses.replace(statistics, item_total=statistics.item_total + 1)
    with pytest.raises(InputError, match="other data, models or seed"):
        parametric_bootstrap(changed, fits["M_0"], replicates=2, workers=1, resume=kept)


def test_mistakes_are_told_in_one_sentence(trial, fits):
    statistics = statistics_of(trial, MODELS["M_0"])
    with pytest.raises(InputError, match="at least 1"):
        parametric_bootstrap(statistics, fits["M_0"], replicates=0)
    with pytest.raises(InputError, match="not negative"):
        parametric_bootstrap(statistics, fits["M_0"], seed=-1)
    with pytest.raises(InputError, match="compress the data with it"):
        parametric_bootstrap(statistics, fits["M_B"])


def test_interval_and_se_by_hand():
    column = ESTIMANDS.index("rho")
    rows = np.full((199, len(ESTIMANDS)), np.nan)
    rows[:, column] = np.random.default_rng(0).permutation(np.arange(1.0, 200.0))
    boot = Bootstrap("", 0, rows, (1, 1))
    se = np.arange(1.0, 200.0).std(ddof=1)
    assert boot.se("rho") == pytest.approx(se)
    assert boot.interval("rho", 0.5) == (-1.0, 1.0)
    rows[:, column] /= 1000.0
    half = 1.959964e-3 * se / (1.0 - 0.5**2)  # symmetric in Fisher's z
    assert boot.interval("rho", 0.5) == pytest.approx(
        (np.tanh(np.arctanh(0.5) - half), np.tanh(np.arctanh(0.5) + half)), rel=1e-6
    )
    assert np.isnan(boot.se("ate"))
    rows[:120, column] = np.nan
    assert np.isnan(Bootstrap("", 0, rows, (1, 1)).se("rho"))
