"""Clusters from the options to the page: reference fits, intervals by t, what is refused, what is drawn."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import call

from ilhte_lib import analyse
from ilhte_lib.data.prepare import prepare
from ilhte_lib.data.trial import ClusterModel, Trial
from ilhte_lib.engine.native import fit_models, fit_statistics
from ilhte_lib.errors import InputError
from ilhte_lib.inference.bootstrap import PersonTable, parametric_draw, resampling_bootstrap
from ilhte_lib.inference.interval import Basis, average_interval
from ilhte_lib.inference.profile import Profiler, objective
from ilhte_lib.model.compress import SufficientStatistics, sufficient_statistics, without_clusters
from ilhte_lib.model.spec import MODELS
from ilhte_report.pages.sections import sections
from ilhte_report.studies.clusters import STUDY as COVERAGE
from ilhte_report.studies.clusters import ClusterDesign, cluster_summary, draw
from ilhte_report.studies.computed import read_computed

SHARED = Path(__file__).parents[2] / "shared"
if not SHARED.exists():
    SHARED = Path(__file__).parents[1] / "shared"
EXTENDED, TABLES = SHARED / "reference" / "extended", SHARED / "data" / "tables"
REFERENCES = ("thp_pakistan_schoolquality7y", "washb_bgd_uptake_wsh_wave1", "mdat_malawi", "caffeine_anxiety_binary")

needs_shared = pytest.mark.skipif(not EXTENDED.exists(), reason="the reference data are not in ../shared")


def schools(
    seed: int = 1, per: int = 5, count: int = 12, *, sites: bool = False, covariate: bool = False
) -> pd.DataFrame:
    """A small table of schools in one arm each, or of sites that hold both."""
    rng = np.random.default_rng(seed)
    n, items = per * count, 6
    school = np.repeat(np.arange(count), per)
    treat = (np.arange(n) % 2) if sites else school % 2
    theta = 0.8 * rng.standard_normal(count)[school] + rng.standard_normal(n)
    eta = theta[:, None] + np.linspace(-1, 1, items) + 0.4 * treat[:, None]
    resp = (rng.random(eta.shape) < 1 / (1 + np.exp(-eta))).astype(int)
    table = pd.DataFrame(
        {
            "id": np.repeat(np.arange(n), items),
            "item": np.tile([f"q{k}" for k in range(items)], n),
            "resp": resp.ravel(),
            "treat": np.repeat(treat, items),
            "school": np.repeat([f"s{k}" for k in school], items),
        }
    )
    if covariate:
        table["std_baseline"] = np.repeat(rng.standard_normal(n).round(1), items)
    return table


# -- against other programs ----------------------------------------------------------------------------------------


def _statistics(table: pd.DataFrame, model: str) -> SufficientStatistics:
    """Of all rows that lme4 used: it leaves out rows without a cluster where the model has one."""
    cluster = None
    if not model.startswith("M"):
        table = table.dropna(subset=["cluster"])
    person, item = pd.factorize(table["id"])[0], pd.factorize(table["item"])[0]
    first = table.groupby(person).first()
    if not model.startswith("M"):
        cluster = pd.factorize(first["cluster"])[0]
    names = tuple(map(str, range(item.max() + 1)))
    resp, treat = table["resp"].to_numpy(int), first["treat"].to_numpy(int)
    return sufficient_statistics(
        names, treat, person, item, resp, cluster=cluster, cluster_effects=model.startswith("S")
    )


@needs_shared
@pytest.mark.shared
@pytest.mark.parametrize("reference", REFERENCES)
def test_never_below_lme4(reference):
    gold = json.loads((EXTENDED / f"lme4_clusters_{reference}.json").read_text())
    table = pd.read_csv(TABLES / f"{gold['table']}.csv.gz", low_memory=False)
    if reference.endswith("binary"):
        table = table.assign(resp=(table["resp"] >= 2).astype(int))
    for name, of_lme4 in gold["models"].items():
        fit = fit_statistics(_statistics(table, name), MODELS["M_0" if name.endswith("0") else "M_A"])
        assert fit.converged
        above = fit.loglik - of_lme4["logLik"]
        assert above >= -1e-4, name
        if above > 0.002:  # it stopped elsewhere
            continue
        assert fit.beta == pytest.approx(list(of_lme4["beta"].values()), abs=0.02 + 0.05 * fit.se.max()), name
        assert fit.sigma_theta == pytest.approx(of_lme4["sigma_theta"], rel=0.01), name
        if of_lme4["cluster_cov"] is not None:
            own = fit.clusters.factor @ fit.clusters.factor.T
            np.testing.assert_allclose(own, of_lme4["cluster_cov"], atol=0.005)


@needs_shared
@pytest.mark.shared
def test_cluster_trial_is_glmmtmbs():
    trial = prepare(pd.read_csv(EXTENDED / "cluster_trial.csv.gz"), "cluster_trial")
    fits = fit_models(trial)
    null, main = fits["M_0"], fits["M_A"]
    assert (null.loglik, main.loglik) == pytest.approx((-4135.48133, -4113.420916), abs=1e-4)
    assert main.coefficient("treat") == pytest.approx(1.0912649, abs=1e-4)
    assert main.standard_error("treat") == pytest.approx(0.2310925, rel=0.01)
    spreads = (main.clusters.sigma_u, main.sigma_theta, main.sigma_b, main.sigma_zeta, main.rho)
    assert spreads == pytest.approx((0.42245, 1.02280, 0.77577, 0.47676, 0.416), abs=5e-4)
    ignored = fit_models(replace(trial, cluster_model=ClusterModel.NONE))
    assert ignored["M_A"].standard_error("treat") == pytest.approx(0.1726, abs=5e-4)


# -- intervals -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def analysis():
    return analyse(schools(covariate=True), cluster="school", replicates=6, seed=3)


def test_intervals_are_by_t_and_from_the_model(analysis):
    from scipy.stats import t

    found = analysis.inference.clusters
    assert (found.count, found.both_arms, found.degrees_of_freedom) == (12, False, 10)
    assert found.quantile == pytest.approx(t.ppf(0.975, 10))
    shown = analysis.inference.intervals["treat"]
    fit = analysis.fits["M_A"]
    assert shown.wald_upper - shown.estimate == pytest.approx(found.quantile * fit.standard_error("treat"))
    # the profile reaches as far as the squared t quantile
    profiler = Profiler(objective(analysis.inference.statistics, fit), fit, analysis.fits["M_0"])
    rise = profiler._solve("treat", shown.upper).deviance - profiler.minimum
    assert rise == pytest.approx(found.quantile**2, abs=1e-4)
    told = average_interval(analysis.effects, analysis.inference)
    # Satterthwaite's degrees of freedom, from those of clusters and of items
    assert told.basis is Basis.T
    half = analysis.inference.generalisation.reach * fit.standard_error("treat") / analysis.effects.scale.by
    assert told.high - told.estimate == pytest.approx(half) and analysis.inference.generalisation.reach > 1.97
    assert analysis.inference.resampling.of_clusters  # a check, in the place of nothing
    assert analysis.inference.knows_clusters and not analysis.inference.takes_drawn_clusters
    assert not analysis.inference.model_only and not analysis.who_benefits.clustered


def test_what_is_said_of_clusters(analysis):
    found, fit, null = analysis.inference.clusters, analysis.fits["M_A"], analysis.fits["M_0"]
    u, theta = fit.clusters.sigma_u, fit.sigma_theta
    assert found.icc == pytest.approx(u**2 / (u**2 + theta**2))
    assert 0 < found.icc_lower < found.icc < found.icc_upper < 1
    assert found.ate_all == pytest.approx(
        fit.coefficient("treat") / math.hypot(null.clusters.sigma_u, null.sigma_theta)
    )
    assert abs(analysis.effects.summary["ate_std"]) > abs(found.ate_all)
    document = analysis.document()
    assert document["inference"]["clusters"]["icc"] == pytest.approx(found.icc)
    assert document["models"]["M_A"]["formula"].endswith("+ (1|cluster)")
    assert document["models"]["M_A"]["cluster_cov"][0][0] == pytest.approx(u**2)
    assert "12 clusters (column 'school'), which all models allow for" in sections(analysis)[0].sentences[-1]
    (section,) = [s for s in sections(analysis) if s.title == "Clusters"]
    assert "12 clusters" in section.sentences[0] and "10 degrees of freedom" in section.sentences[0]
    assert f"{found.icc:.3f}" in section.rows[1]["Estimate"]
    assert not any("independent" in flag for s in sections(analysis) for flag in s.warnings)


def test_sites_are_told_and_few_clusters_are_few():
    few = analyse(schools(count=8, sites=True), cluster="school", cluster_effects=True)
    assert few.inference.clusters.degrees_of_freedom == 7
    (section,) = [s for s in sections(few) if s.title == "Sites"]
    text = " ".join(section.sentences)
    assert "With only 8 clusters" in text and "differs between sites" in text
    level = analyse(schools(count=12, sites=True), cluster="school")
    (section,) = [s for s in sections(level) if s.title == "Sites"]
    assert "--cluster-effects" in " ".join(section.sentences)


def test_ignoring_clusters_is_the_model_without_and_says_so():
    table = schools()
    ignored = analyse(table, cluster="school", ignore_clusters=True)
    plain = analyse(table.drop(columns="school"))
    assert ignored.fits["M_A"].loglik == plain.fits["M_A"].loglik
    assert ignored.inference.clusters is None and ignored.inference.model_only
    assert analyse(table, cluster="school", profile="vignette").inference.clusters is None


# -- what is noticed and refused -----------------------------------------------------------------------------------


def test_a_column_that_treatment_is_constant_in_is_noticed(tmp_path):
    path = tmp_path / "trial.csv"
    schools().to_csv(path, index=False)
    for command in ("check", "fit"):
        assert "--cluster 'school'" in " ".join(call(command, path).out.split())
    said = prepare(schools(), "t", cluster="school").flags
    assert not any("--cluster" in flag for flag in said)


def refusal(table: pd.DataFrame, **options) -> str:
    with pytest.raises(InputError) as error:
        prepare(table, "t", cluster="school", **options)
    text = str(error.value)
    assert "\n" not in text and text.endswith(".")
    return text


def test_what_cannot_be_clusters_is_refused_in_a_sentence():
    table = schools()
    one_each = table.assign(school=table["id"])
    assert "holds a single person" in refusal(one_each)
    changing = table.assign(school=np.where(table["item"] == "q0", "other", table["school"]))
    assert "more than one value of 'school'" in refusal(changing)
    two = table.assign(school=np.where(table["treat"] == 1, "a", "b"))
    assert "One arm is a single value of 'school'" in refusal(two)
    assert "All persons have the same value" in refusal(schools(sites=True).assign(school="a"))
    assert "is entirely in one arm" in refusal(table, cluster_effects=True)
    assert "the models have no clusters" in refusal(table, cluster_effects=True, ignore_clusters=True)
    for broken in (one_each, changing, two):
        assert prepare(broken, "t", cluster="school", ignore_clusters=True).n_persons == 60


def test_persons_without_a_cluster_are_left_out_and_counted():
    table = schools()
    table.loc[table["id"] < 2, "school"] = None
    trial = prepare(table, "t", cluster="school")
    assert trial.n_persons == 58
    (entry,) = [entry for entry in trial.audit if entry.step == "missing cluster"]
    assert (entry.rows, entry.persons) == (12, 2)
    # known in one of the person's rows is known
    table.loc[table["id"].eq(0) & table["item"].eq("q0"), "school"] = "s0"
    assert prepare(table, "t", cluster="school").n_persons == 59


def test_quadrature_with_clusters_is_refused():
    with pytest.raises(InputError, match="use method laplace"):
        fit_models(prepare(schools(), "t", cluster="school"), method="aghq")


# -- drawing -------------------------------------------------------------------------------------------------------


def small_trial(**options) -> Trial:
    return prepare(schools(covariate=True), "t", cluster="school", **options)


def test_a_cluster_drawn_twice_is_two_clusters():
    trial = small_trial()
    times = np.ones(trial.n_persons)
    times[trial.cluster == "s0"], times[trial.cluster == "s2"] = 2, 0
    drawn = PersonTable(trial, covariate=True).weighted(times)
    # the same by hand: rows of s0 twice under another name, rows of s2 gone
    table = schools(covariate=True)
    again = table[table["school"] == "s0"].assign(school="s0 again", id=lambda t: t["id"] + 1000)
    by_hand = prepare(pd.concat([table[table["school"] != "s2"], again]), "t", cluster="school")
    plain = replace(by_hand, covariate=np.concatenate([trial.covariate[times > 0], trial.covariate[times == 2]]))
    other = plain.sufficient_statistics(True)
    assert drawn.clusters.count == other.clusters.count == 12
    assert drawn.n_persons == other.n_persons
    a, b = (fit_statistics(s, MODELS["M_C"], standard_errors=False) for s in (drawn, other))
    assert a.loglik == pytest.approx(b.loglik, abs=1e-6)
    np.testing.assert_allclose(drawn.covariate_total, other.covariate_total, atol=1e-9)


def test_trials_drawn_from_the_model_have_its_clusters():
    statistics = draw(ClusterDesign(40, persons=10, sigma_u=1.0), np.random.default_rng(5))
    fit = fit_statistics(statistics, MODELS["M_0"])
    drawn = parametric_draw(statistics, fit, np.random.default_rng(6))
    assert drawn.clusters.count == 40
    again = fit_statistics(drawn, MODELS["M_0"])
    assert again.clusters.sigma_u == pytest.approx(fit.clusters.sigma_u, rel=0.4)
    assert again.clusters.sigma_u > 0.3


def test_where_persons_are_drawn_the_models_have_no_clusters():
    trial = small_trial()
    fits = fit_models(trial, ["M_0", "M_A"])
    drawn = resampling_bootstrap(trial, fits, clusters=False, replicates=2, seed=1, workers=1)
    plain = replace(trial, cluster=None, cluster_model=ClusterModel.NONE)
    other = resampling_bootstrap(plain, fit_models(plain, ["M_0", "M_A"]), replicates=2, seed=1, workers=1)
    np.testing.assert_allclose(drawn.estimates, other.estimates, atol=1e-4)


# -- size, and the study -------------------------------------------------------------------------------------------


def test_two_thousand_clusters():
    statistics = draw(ClusterDesign(2000, persons=8, n_items=8), np.random.default_rng(1))
    fit = fit_statistics(statistics, MODELS["M_A"])
    assert fit.converged and fit.clusters.count == 2000
    assert fit.clusters.sigma_u == pytest.approx(0.5, abs=0.1)
    assert without_clusters(statistics).n_classes == 18


def test_stored_coverage_of_the_average_effect():
    trials, about = read_computed("clusters")
    assert about["seed"] == COVERAGE.seed and about["replications"] == 1000
    replayed = COVERAGE.replay([0, 1, 2])
    for name in replayed:
        np.testing.assert_allclose(
            trials[name][:3].astype(float), replayed[name].astype(float), atol=2e-3, err_msg=name
        )
    found = cluster_summary(trials).set_index(["clusters", "method"])
    assert (found["replications"] == 1000).all()
    for clusters in (8, 20, 40):
        assert 0.93 <= found.loc[(clusters, "profile"), "coverage"] <= 0.97
        assert found.loc[(clusters, "clusters ignored"), "upper"] < 0.93


def test_a_column_cluster_of_two_values_is_modelled_where_it_is_named():
    table = schools(sites=True).assign(cluster=lambda t: np.where(t["school"].isin(["s0", "s1", "s2"]), "a", "b"))
    left = prepare(table.drop(columns="school"), "t")
    assert not left.clusters_modelled and left.clustered
    assert any("too few to estimate" in entry.reason for entry in left.audit)
    assert prepare(table, "t", cluster="cluster").clusters_modelled
    assert prepare(schools().rename(columns={"school": "cluster"}), "t").clusters_modelled
