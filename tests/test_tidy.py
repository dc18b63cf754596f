"""Tidy frames under broom's names, predictions, and the same models in R, whose numbers are ours."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from ilhte_lib import InputError, analyse
from ilhte_lib.inference.interval import average_interval
from ilhte_lib.manifest import MANIFEST
from ilhte_lib.model.simulate import Design, draw_trial, simulate_trial
from ilhte_lib.tidy import GLANCE_COLUMNS, TIDY_COLUMNS


@pytest.fixture(scope="module")
def analysis():
    table = simulate_trial(Design(n_persons=200, n_items=6, seed=3, sigma_zeta=0.5, gamma=0.5))[0]
    table.loc[table["id"] == table["id"].iloc[0], "std_baseline"] = np.nan  # one person whom M_B and M_C do not see
    return analyse(table, tab="mine", method="laplace")


@pytest.fixture(scope="module")
def ratings():
    """Sums of three simulated answers: scores from 0 to 3."""
    drawn = [draw_trial(Design(n_persons=150, n_items=4, seed=5, ate=0.4), replication=k) for k in range(3)]
    scores = sum(trial.responses for trial in drawn)
    person, item = np.indices(scores.shape).reshape(2, -1)
    treat = drawn[0].treat[person]
    return analyse(
        pd.DataFrame({"id": person, "item": item, "resp": scores.ravel(), "treat": treat}).astype({"item": str})
    )


BROOM = """
sink("/dev/null"); source("models.R"); sink()
suppressMessages(library(broom.mixed))
together <- function(of) do.call(rbind, lapply(names(models), function(n) cbind(model = n, as.data.frame(of(models[[n]])))))
write.csv(together(function(m) tidy(m)), "tidy.csv", row.names = FALSE)
write.csv(together(function(m) glance(m)), "glance.csv", row.names = FALSE)
write.csv(as.data.frame(tidy(M_A, effects = "ran_vals")), "values.csv", row.names = FALSE)
found <- as.data.frame(suppressWarnings(augment(M_C)))
write.csv(found[, c("id", "item", ".fitted", ".mu", ".fixed", ".resid")], "augment.csv", row.names = FALSE)
new <- data.frame(id = c("2", NA, "7"), item = c("i01", "i03", NA), treat = c(1, 0, 1), cov = c(0.5, 0, -1))
write.csv(data.frame(p = predict(M_C, new, type = "response", allow.new.levels = TRUE)), "predict.csv", row.names = FALSE)
write.csv(data.frame(name = names(estimates), value = estimates), "estimates.csv", row.names = FALSE)
"""


@pytest.fixture(scope="module")
def in_r(analysis, tmp_path_factory):
    """Folder of what R with lme4 and broom.mixed says of the same models, from our script."""
    if shutil.which("Rscript") is None:
        pytest.skip("R is not installed (make lme4)")
    folder = tmp_path_factory.mktemp("r")
    analysis.to_r(folder)
    loads = "for (p in c('lme4', 'broom.mixed')) if (!requireNamespace(p, quietly = TRUE)) quit(status = 9)"
    if subprocess.run(["Rscript", "-e", loads], capture_output=True, check=False).returncode == 9:
        pytest.skip("R has no lme4 or broom.mixed (make lme4)")
    done = subprocess.run(["Rscript", "-e", BROOM], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.r
def test_the_script_gives_the_same_numbers_in_r(analysis, in_r):
    keys = ["model", "effect", "group", "term"]
    ours, theirs = (frame.fillna({"group": ""}) for frame in (analysis.tidy(), pd.read_csv(in_r / "tidy.csv")))
    both = ours.merge(theirs, on=keys, suffixes=("", "_r"))
    assert len(both) == len(ours) == len(theirs) == 24
    for column in ("estimate", "std.error"):
        np.testing.assert_allclose(both[column].where(both[f"{column}_r"].notna()), both[f"{column}_r"], atol=1e-4)
    fixed = (both["effect"] == "fixed") & (both["conf.method"] == "Wald")  # the average effect's is of t
    assert fixed.sum() == 11
    np.testing.assert_allclose(both["p.value"][fixed], both["p.value_r"][fixed], atol=1e-4)
    s = analysis.effects.summary
    value = pd.read_csv(in_r / "estimates.csv").set_index("name")["value"]
    names = ("ate_std", "sigma_zeta_std", "rho", "sigma_theta", "lrt_stat", "beta3_b", "beta3_c")
    np.testing.assert_allclose(value, [s[name] for name in names], atol=1e-4)


@pytest.mark.r
def test_glance_augment_values_and_predictions_are_those_of_r(analysis, in_r):
    glance = pd.read_csv(in_r / "glance.csv")
    for column in ("nobs", "sigma", "logLik", "AIC", "BIC", "df.residual"):
        np.testing.assert_allclose(analysis.glance()[column], glance[column], atol=1e-4)
    np.testing.assert_allclose(analysis.glance()["deviance"], glance["deviance"], atol=1e-3)
    ours, theirs = analysis.augment("M_C"), pd.read_csv(in_r / "augment.csv", dtype={"id": str})
    both = ours.assign(id=ours["id"].astype(str)).merge(theirs, on=["id", "item"], suffixes=("", "_r"))
    assert len(both) == len(ours) == len(theirs) == 1194
    for column in (".fitted", ".mu", ".fixed", ".resid"):
        np.testing.assert_allclose(both[column], both[f"{column}_r"], atol=1e-4)
    values = analysis.tidy("M_A", "ran_vals").merge(
        pd.read_csv(in_r / "values.csv", dtype={"level": str}), on=["group", "level", "term"], suffixes=("", "_r")
    )
    assert len(values) == 200 + 2 * 6
    for column in ("estimate", "std.error"):
        np.testing.assert_allclose(values[column], values[f"{column}_r"], atol=1e-4)
    new = pd.DataFrame(
        {"id": [2, None, 7], "item": ["i01", "i03", None], "treat": [1, 0, 1], "cov": [0.5, 0, -1]}, dtype=object
    )
    np.testing.assert_allclose(analysis.predict(new, "M_C"), pd.read_csv(in_r / "predict.csv")["p"], atol=1e-4)


def test_intervals_are_those_that_sentences_tell(analysis):
    frame = analysis.tidy("M_A").set_index("term")
    told, by = average_interval(analysis.effects, analysis.inference), analysis.effects.scale.by
    row = frame.loc["treat"]
    assert (row["conf.low"] / by, row["conf.high"] / by) == pytest.approx((told.low, told.high), rel=1e-12)
    assert row["conf.method"] == told.basis and (row["p.value"] < 0.05) == told.excludes_zero
    assert frame.loc["(Intercept)"]["conf.method"] == "Wald"
    assert tuple(analysis.tidy(effects=["fixed", "ran_vals"]).columns) == TIDY_COLUMNS
    assert tuple(analysis.glance("M_0").columns) == GLANCE_COLUMNS and len(analysis.glance("M_0")) == 1


def test_clusters_that_were_drawn_leave_no_p_value_of_the_model():
    table = simulate_trial(Design(n_persons=200, n_items=5, seed=3))[0]
    clustered = analyse(table.assign(cluster=table["id"] // 8), replicates=12, seed=1, ignore_clusters=True)
    row = clustered.tidy("M_A", "fixed").set_index("term").loc["treat"]
    told, by = average_interval(clustered.effects, clustered.inference), clustered.effects.scale.by
    assert row["conf.method"] == "clusters" and np.isnan(row["p.value"])
    assert row["conf.low"] == pytest.approx(told.low * by, rel=1e-12)


def test_predictions_are_for_persons_and_items(analysis):
    trial, fit = analysis.trial, analysis.fits["M_A"]
    new = pd.DataFrame({"treat": [0, 1], "item": trial.item_names[0]})
    link = fit.coefficient("intercept") + fit.ranef[0, 0] + np.array([0, fit.coefficient("treat") + fit.ranef[0, 1]])
    np.testing.assert_allclose(analysis.predict(new, kind="link"), link, rtol=1e-12)
    np.testing.assert_allclose(analysis.predict(new), 1 / (1 + np.exp(-link)), rtol=1e-12)
    own = analysis.predict(pd.DataFrame({"id": [trial.person_ids[5]], "item": [trial.item_names[2]]}))
    rows = analysis.augment()
    mine = rows[(rows["id"] == trial.person_ids[5]) & (rows["item"] == trial.item_names[2])]
    assert own.iloc[0] == pytest.approx(mine[".mu"].iloc[0], rel=1e-12)
    assert analysis.predict().equals(rows[".mu"].rename("response"))
    for wrong, said in (({"id": ["nobody"]}, "no id"), ({"item": ["i01"]}, "needs an arm")):
        with pytest.raises(InputError, match=said):
            analysis.predict(pd.DataFrame(wrong))
    with pytest.raises(InputError, match="no model 'M_X'"):
        analysis.predict(model="M_X")
    with pytest.raises(InputError, match="no predictions 'odds'"):
        analysis.predict(kind="odds")


def test_residual_deviance_of_two_ways(analysis):
    """-2 log of the probabilities that augment shows, term by term."""
    rows = analysis.augment()
    p = np.where(rows["resp"] == 1, rows[".mu"], 1 - rows[".mu"])
    assert analysis.glance("M_A")["deviance"].iloc[0] == pytest.approx(-2 * np.log(p).sum(), rel=1e-10)
    assert (np.sign(rows[".resid"]) == np.where(rows["resp"] == 1, 1, -1)).all()


def test_r_code_names_no_data_and_a_foreign_folder_is_refused(analysis, tmp_path):
    assert analysis.formula["M_C"] == "resp ~ treat * cov + (1|id) + (treat|item)"
    assert all(formula in analysis.r_code for formula in analysis.formula.values())
    written = analysis.to_r(tmp_path / "r")
    assert sorted(p.name for p in (tmp_path / "r").iterdir()) == sorted([MANIFEST, "models.R", "rows.csv"])
    assert len(pd.read_csv(written[1])) == analysis.trial.n_responses
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "models.R").write_text("mine")
    with pytest.raises(InputError, match="not written by ilhte"):
        analysis.to_r(tmp_path / "theirs")
    assert (tmp_path / "theirs" / "models.R").read_text() == "mine"


def test_ratings_have_frames_and_no_r_code(ratings):
    frame = ratings.tidy("M_A", "fixed")
    assert {"tau_1", "tau_2"} <= set(frame["term"]) and np.isfinite(frame["std.error"]).all()
    rows = ratings.augment()
    by_item = rows.groupby("item")[[".mu", "resp"]].mean()
    # at the modes the expected scores are near the observed ones, drawn a little to the middle
    np.testing.assert_allclose(by_item[".mu"], by_item["resp"], atol=0.15)
    assert rows[".mu"].between(0, 3).all() and np.isfinite(rows[".resid"]).all()
    with pytest.raises(InputError, match="--threshold"):
        ratings.r_code  # noqa: B018
    with pytest.raises(InputError, match="no average item"):
        ratings.predict(pd.DataFrame({"treat": [1]}))


def test_modes_of_persons_and_clusters_are_where_the_penalised_likelihood_is_level():
    """Of each random effect, residuals add up to the mode over its variance."""
    table = simulate_trial(Design(n_persons=160, n_items=5, seed=8, sigma_zeta=0.4))[0]
    found = analyse(table.assign(cluster=table["id"] % 12))
    fit, rows = found.fits["M_A"], found.augment()
    assert found.formula["M_A"].endswith("+ (1|cluster)") and "factor(cluster)" in found.r_code
    values = found.tidy("M_A", "ran_vals")
    residual = rows["resp"] - rows[".mu"]
    for group, spread in (("id", fit.sigma_theta), ("cluster", fit.clusters.sigma_u)):
        mode = values[values["group"] == group].set_index("level")["estimate"]
        sums = residual.groupby(rows[group].astype(str)).sum()
        np.testing.assert_allclose(sums[mode.index] * spread**2, mode, atol=1e-7)
    row = found.tidy("M_A").query("group == 'cluster'").iloc[0]
    assert row["term"] == "sd__(Intercept)" and row["estimate"] == fit.clusters.sigma_u
