"""Every real table against lme4's fits of it, and every real table under both profiles."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from drawn_rows import psi_of

from ilhte_lib.data.prepare import prepare
from ilhte_lib.data.trial import Trial
from ilhte_lib.engine.laplace import LaplaceDeviance
from ilhte_lib.engine.native import fit_models, statistics_of
from ilhte_lib.inference.effects import Effects, effects
from ilhte_lib.inference.lrt import p_values
from ilhte_lib.model.fit_result import Fit
from ilhte_lib.model.spec import MODELS

SHARED = Path(__file__).resolve().parents[2] / "shared"
TABLES = sorted(path.stem for path in (SHARED / "reference" / "lme4").glob("*.json")) or ["none here"]
"""The tables that lme4 was fitted to; those with ratings have no such fit."""
CLOSE = 0.005
SAME_LOGLIK = 0.01

STOPPED_EARLY = {
    "washb_bgd_uptake_water_wave1": {"ate_std": 0.0059, "sigma_zeta_std": 0.0126},
    "washb_bgd_uptake_wsh_wave1": {"sigma_zeta_std": 0.0074},
    "washb_bgd_uptake_wsh_allwaves": {"sigma_zeta_std": 0.0074},
}
"""Where lme4 stopped early in a direction so flat that effects differ by more than 0.005 although the log-likelihoods agree
to 0.002: 7 items, l11 and l21 have SEs near 1.1, and the difference is divided by a sigma_theta of 0.25 to 0.46. The
measured differences, rounded up; the reason is checked in ``test_lme4_stopped_early_where_it_differs``."""

TIGHT = Path(__file__).with_name("lme4_tight_pirls.json")
"""Log-likelihoods that lme4 itself gives at its own estimates when its inner search is run to 1e-11 instead of 1e-7, for
the models where ours is more than 0.01 above the reported one (written by lme4_deviance.R)."""


@dataclass(frozen=True)
class Case:
    """One table: prepared and fitted under the vignette's rules, and what lme4 found."""

    trial: Trial
    fits: dict[str, Fit]
    effects: Effects
    reference: dict

    def loglik_gap(self, model: str) -> float:
        """Our log-likelihood minus lme4's."""
        return self.fits[model].loglik - self.reference["models"][model]["logLik"]

    def lme4_psi(self, model: str) -> np.ndarray:
        """lme4's estimates as our parameters."""
        found = self.reference["models"][model]
        covariance = np.array([list(row.values()) for row in found["item_cov"]])
        l11 = np.sqrt(covariance[0, 0])
        factor = [l11]
        if MODELS[model].item_effects:
            l21 = covariance[0, 1] / l11 if l11 > 0 else 0.0
            factor += [l21, np.sqrt(max(covariance[1, 1] - l21**2, 0.0))]
        return np.array([*found["beta"].values(), found["sigma_theta"], *factor])

    def loglik_at_lme4(self, model: str) -> float:
        """Our objective at lme4's estimates, as a log-likelihood."""
        deviance = LaplaceDeviance(statistics_of(self.trial, MODELS[model]), MODELS[model])
        return -deviance(self.lme4_psi(model)).deviance / 2


_cases: dict[str, Case] = {}


@pytest.fixture
def case(shared: Path, tab: str) -> Case:
    return case_of(shared, tab)


def case_of(shared: Path, tab: str) -> Case:
    """One table's case, fitted once a session."""
    if tab not in _cases:
        # the reference used every person of the one table that has more than 5,000
        trial = prepare(table_of(shared, tab), tab, profile="vignette", max_persons=0)
        fits = fit_models(trial)
        reference = json.loads((shared / "reference" / "lme4" / f"{tab}.json").read_text())
        _cases[tab] = Case(trial, fits, effects(trial, fits), reference)
    return _cases[tab]


def table_of(shared: Path, tab: str) -> pd.DataFrame:
    return pd.read_csv(shared / "data" / "tables" / f"{tab}.csv.gz", low_memory=False)


def lme4_effects(reference: dict) -> dict[str, float]:
    """ate_std, sigma_zeta_std and rho as the vignette computes them from lme4's fits."""
    scale, main = reference["models"]["M_0"]["sigma_theta"], reference["models"]["M_A"]
    (var_b, cov), (_, var_zeta) = (list(row.values()) for row in main["item_cov"])
    return {
        "sigma_theta": scale,
        "ate_std": main["beta"]["treat"] / scale,
        "sigma_zeta_std": np.sqrt(var_zeta) / scale,
        "rho": cov / np.sqrt(var_b * var_zeta) if var_b * var_zeta > 0 else np.nan,
    }


@pytest.mark.shared
def test_all_tables_are_there(shared):
    assert len(TABLES) == 31
    assert sorted(p.stem for p in (shared / "reference" / "lme4").glob("*.json")) == TABLES


@pytest.mark.shared
@pytest.mark.parametrize("tab", TABLES)
def test_same_data_and_same_decisions(case):
    ours = (case.trial.n_persons, case.trial.n_items, case.trial.n_responses, case.trial.covariate_name)
    assert ours == tuple(case.reference[k] for k in ("n_persons", "n_items", "n_rows", "covariate"))
    assert set(case.fits) == set(case.reference["models"])
    for model, fit in case.fits.items():
        assert fit.converged, model
        assert fit.singular == case.reference["models"][model]["singular"], model
    theirs = {m: case.reference["models"][m]["logLik"] for m in ("M_0", "M_A")}
    assert case.effects.summary["sig_il_hte"] == (p_values(2 * (theirs["M_A"] - theirs["M_0"])).halved < 0.05)


@pytest.mark.shared
@pytest.mark.parametrize("tab", TABLES)
def test_loglik_is_not_below_and_the_objective_is_the_same(case, tab):
    tight = json.loads(TIGHT.read_text())
    for model in case.fits:
        gap = case.loglik_gap(model)
        assert gap > -1e-4, model
        at_lme4 = case.loglik_at_lme4(model)
        # lme4's estimates are a point like any other: never above the optimum
        assert at_lme4 <= case.fits[model].loglik + 1e-8, model
        if gap > SAME_LOGLIK:
            # what lme4 reported carries the error of its inner search, up to 0.13; lme4 with a tighter one agrees
            assert at_lme4 == pytest.approx(tight[tab][model], abs=5e-5), model
        else:
            assert at_lme4 == pytest.approx(case.reference["models"][model]["logLik"], abs=SAME_LOGLIK), model


@pytest.mark.shared
@pytest.mark.parametrize("tab", TABLES)
def test_estimates_where_the_logliks_agree(case, tab):
    agree = {model for model in case.fits if abs(case.loglik_gap(model)) < SAME_LOGLIK}
    ours, theirs = case.effects.summary, lme4_effects(case.reference)
    compared = []
    if "M_0" in agree:
        compared.append("sigma_theta")
    if {"M_0", "M_A"} <= agree:
        compared += ["ate_std", "sigma_zeta_std"]
        if not case.reference["models"]["M_A"]["singular"]:
            compared.append("rho")
    for name in compared:
        allowed = STOPPED_EARLY.get(tab, {}).get(name, CLOSE)
        assert ours[name] == pytest.approx(theirs[name], abs=allowed), name
    for model, column in (("M_B", "beta3_b"), ("M_C", "beta3_c")):
        if model in agree:
            assert ours[column] == pytest.approx(case.reference["models"][model]["beta"]["treat:cov"], abs=CLOSE)


@pytest.mark.shared
@pytest.mark.parametrize("tab", STOPPED_EARLY)
def test_lme4_stopped_early_where_it_differs(case, tab):
    for model in ("M_0", "M_A"):
        fit, at_lme4 = case.fits[model], case.loglik_at_lme4(model)
        assert at_lme4 == pytest.approx(case.reference["models"][model]["logLik"], abs=2e-3)
        assert 0 < fit.loglik - at_lme4 < 1e-4
        distance = np.abs(psi_of(fit) - case.lme4_psi(model)) / np.sqrt(np.diagonal(fit.vcov))
        assert distance.max() < 0.02
    assert np.sqrt(np.diagonal(case.fits["M_A"].vcov))[-3:-1].min() > 0.8


@pytest.mark.shared
def test_most_models_agree_closely_enough_to_be_compared(shared):
    # the comparisons above must not pass by comparing nothing: of 116 models only these are more than 0.01 apart
    apart = {(tab, model) for tab, models in json.loads(TIGHT.read_text()).items() for model in models}
    models = [(tab, model, case_of(shared, tab)) for tab in TABLES for model in case_of(shared, tab).fits]
    assert len(models) == 116
    assert {(tab, model) for tab, model, c in models if abs(c.loglik_gap(model)) >= SAME_LOGLIK} == apart


@pytest.mark.shared
@pytest.mark.parametrize("tab", TABLES)
def test_runs_under_the_full_profile(shared, tab):
    trial = prepare(table_of(shared, tab), tab, profile="full")
    fits = fit_models(trial)
    assert all(fit.converged for fit in fits.values())
    result = effects(trial, fits)
    # where clusters are all that persons differ by there is no SD to standardise with
    in_sds = ("ate_std", "sigma_zeta_std", "ate_std_se") if fits["M_0"].sigma_theta > 0 else ()
    assert np.isfinite([result.summary[k] for k in (*in_sds, "lrt_pval_mixture")]).all()
    assert np.isfinite([result.average, result.spread, result.average_se]).all()
    assert len(result.items) == trial.n_items


@pytest.mark.shared
@pytest.mark.r
@pytest.mark.parametrize(("tab", "model"), [("ethbe_fr_random_wheel", "M_0"), ("washb_bgd_symptoms_wsh_wave1", "M_0")])
def test_lme4_with_a_tighter_inner_search_agrees(case, tab, model, tmp_path):
    if shutil.which("Rscript") is None:
        pytest.skip("R is not installed")
    trial, spec = case.trial, MODELS[model]
    rows = pd.DataFrame(
        {"id": trial.person, "item": trial.item, "resp": trial.resp, "treat": trial.treat[trial.person]}
    )
    rows.to_csv(tmp_path / "rows.csv", index=False)
    psi, n_beta = case.lme4_psi(model), len(spec.beta_names)
    beta, sigma, factor = (",".join(map(repr, map(float, x))) for x in np.split(psi, [n_beta, n_beta + 1]))
    script = Path(__file__).with_name("lme4_deviance.R")
    command = ["Rscript", str(script), str(tmp_path / "rows.csv"), spec.formula, "1e-11", sigma, factor, beta]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    if "there is no package called" in run.stderr:
        pytest.skip("R's package lme4 is not installed")
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) == pytest.approx(json.loads(TIGHT.read_text())[tab][model], abs=1e-6)
