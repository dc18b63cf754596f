"""The script for R with lme4: its estimates, standard errors and log-likelihoods are ours to 1e-4."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ilhte_lib import analyse
from ilhte_lib.data.catalogue import load_bundled
from ilhte_lib.model.simulate import Design, simulate_trial
from ilhte_lib.r_code import ROWS, SCRIPT

pytestmark = [
    pytest.mark.r,
    pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed (make lme4)"),
]
DATA = Path(__file__).resolve().parents[1] / "data"
WRITTEN = """
told <- do.call(rbind, lapply(names(models), function(n) {
  m <- models[[n]]
  sds <- as.data.frame(VarCorr(m))
  rbind(data.frame(model = n, term = names(fixef(m)), value = fixef(m), se = sqrt(diag(as.matrix(vcov(m))))),
        data.frame(model = n, term = paste(sds$grp, sds$var1, sds$var2), value = sds$sdcor, se = NA),
        data.frame(model = n, term = "logLik", value = as.numeric(logLik(m)), se = NA))
}))
write.csv(told, "told.csv", row.names = FALSE)
modes <- do.call(rbind, lapply(names(models), function(n) cbind(model = n, as.data.frame(ranef(models[[n]], condVar = TRUE)))))
write.csv(modes, "modes.csv", row.names = FALSE)
"""
PAIRS = {
    "id (Intercept) NA": ("id", "sd__(Intercept)"),
    "cluster (Intercept) NA": ("cluster", "sd__(Intercept)"),
    "item (Intercept) NA": ("item", "sd__(Intercept)"),
    "item treat NA": ("item", "sd__treat"),
    "item (Intercept) treat": ("item", "cor__(Intercept).treat"),
}


def in_r(folder: Path, only: tuple[str, ...]) -> pd.DataFrame:
    """What R says of some of the models of a script."""
    if subprocess.run(["Rscript", "-e", "library(lme4)"], capture_output=True, check=False).returncode:
        pytest.skip("lme4 is not installed (make lme4)")
    lines = (folder / SCRIPT).read_text(encoding="utf-8").split("\nmodels <- list(")[0].splitlines()
    kept = [line for line in lines if not line.startswith("M_") or line.split(" ")[0] in only]
    models = ", ".join(f"{name} = {name}" for name in only)
    (folder / "here.R").write_text("\n".join([*kept, f"models <- list({models})", WRITTEN]), encoding="utf-8")
    done = subprocess.run(["Rscript", "here.R"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return pd.read_csv(folder / "told.csv", keep_default_na=False, na_values=[""])


def agree(analysis, folder: Path, only: tuple[str, ...]) -> None:
    """Everything that R tells of these models is what our frames hold, to 1e-4."""
    ours = analysis.tidy()
    for row in in_r(folder, only).itertuples():
        mine = ours[ours["model"] == row.model]
        if row.term == "logLik":
            assert float(row.value) == pytest.approx(analysis.fits[row.model].loglik, abs=1e-6)
            continue
        if row.term in PAIRS:
            group, term = PAIRS[row.term]
            (found,) = mine[(mine["group"] == group) & (mine["term"] == term)].itertuples()
        else:
            (found,) = mine[(mine["effect"] == "fixed") & (mine["term"] == row.term)].itertuples()
            assert float(row.se) == pytest.approx(float(mine.loc[found.Index, "std.error"]), rel=1e-4), row
        assert float(row.value) == pytest.approx(found.estimate, abs=1e-4), row
    names = {"grpvar": "group", "grp": "level"}
    theirs = pd.read_csv(folder / "modes.csv", dtype={"grp": str}).rename(columns=names)
    modes = analysis.tidy(effects="ran_vals")
    both = modes[modes["model"].isin(only)].merge(theirs, on=["model", "group", "level", "term"])
    assert len(both) == len(theirs) == modes["model"].isin(only).sum()
    np.testing.assert_allclose(both["estimate"], both["condval"], atol=1e-4)
    np.testing.assert_allclose(both["std.error"], both["condsd"], atol=1e-4)


def test_a_real_table(tmp_path):
    analysis = analyse(load_bundled("verbagg_gender", DATA), method="laplace")
    analysis.to_r(tmp_path)
    assert (tmp_path / ROWS).is_file()
    agree(analysis, tmp_path, ("M_0", "M_A"))


def test_clusters_a_covariate_and_three_arms(tmp_path):
    table = simulate_trial(Design(n_persons=240, n_items=6, seed=11, sigma_zeta=0.6, gamma=0.4))[0]
    rng = np.random.default_rng(2)
    school = table["id"] % 16
    table["resp"] = np.where(rng.random(len(table)) < 0.12 * (school % 4), 1, table["resp"])
    arm = (table["treat"] * (1 + table["id"] % 2)).map({0: "usual", 1: "letters", 2: "visits & calls"})
    analysis = analyse(table.assign(treat=arm, cluster=school), control="usual", method="laplace")
    analysis.to_r(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["letters", "visits-calls"]
    one = analysis.of_arms["visits & calls"]
    assert one.fits["M_A"].clusters.sigma_u > 0.1
    agree(one, tmp_path / "visits-calls", ("M_A", "M_C"))


def test_item_effects_on_their_boundary(tmp_path):
    analysis = analyse(simulate_trial(Design(n_persons=150, n_items=6, seed=6, sigma_zeta=0.0))[0], method="laplace")
    assert analysis.fits["M_A"].singular
    analysis.to_r(tmp_path)
    agree(analysis, tmp_path, ("M_A",))
