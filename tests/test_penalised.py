"""The penalised fit against bglmer of the R package blme, and where it is shown."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import PROJECT

from ilhte_lib.analysis import analyse_trial
from ilhte_lib.data.catalogue import load_bundled
from ilhte_lib.data.prepare import prepare
from ilhte_lib.data.read import read_table
from ilhte_lib.engine.laplace import LaplaceDeviance
from ilhte_lib.engine.native import fit_models, statistics_of
from ilhte_lib.engine.penalised import K, penalised_fit, wants_penalised

PENALTY = 2.0 * K
STOPPED_EARLY = {"thp_pakistan_schoolquality7y", "caffeine_energy"}
"""Here bglmer's own penalised log-likelihood is lower than ours, by 2.6 and 44, and not flat."""


def _objective(loglik: float, factor: np.ndarray) -> float:
    return loglik + PENALTY * float(np.log(np.diagonal(factor)).sum())


def _steepness(deviance: LaplaceDeviance, psi: np.ndarray, se: np.ndarray) -> float:
    """The largest slope of the penalised deviance at psi, per standard error of a parameter."""
    gradient = deviance(psi).gradient.copy()
    gradient[[-3, -1]] -= 4.0 * K / psi[[-3, -1]]
    return float(np.abs(gradient * se).max())


def test_estimates_are_those_of_bglmer(shared):
    """On the same function: at its own estimates ours is the log-likelihood that it reports, on every table. Where its estimates
    are not ours, the function is flat at ours, steep at its, and rises all the way from there to ours: it stopped early."""
    wanted = json.loads((shared / "reference" / "extended" / "blme_wishart.json").read_text())
    for tab, want in wanted.items():
        caffeine = tab.startswith("caffeine")
        table = read_table(shared / "data" / "tables" / f"{tab}.csv.gz")
        trial = prepare(
            table,
            tab,
            profile="full" if caffeine else "vignette",
            threshold=2 if caffeine else None,
            ignore_clusters=caffeine,
        )
        main = fit_models(trial, ["M_0", "M_A"])["M_A"]
        statistics = statistics_of(trial, main.spec)
        found = penalised_fit(statistics, main)
        assert found.converged and found.method == "laplace"
        factor = np.linalg.cholesky(np.array(want["item_cov"]))
        theirs = np.array([*want["beta"].values(), want["sigma_theta"], *factor[np.tril_indices(2)]])
        deviance = LaplaceDeviance(statistics, main.spec)
        there = -deviance(theirs).deviance / 2.0
        assert there == pytest.approx(want["logLik"], abs=1e-2 if tab == "toenail_visits" else 1e-3), tab
        ours, bglmer = _objective(found.loglik, found.item_factor), _objective(there, factor)
        assert ours > bglmer - 1e-6, tab
        se = np.sqrt(np.diagonal(found.vcov))
        assert _steepness(deviance, found.psi, se) < 0.02, tab
        if tab in STOPPED_EARLY:
            assert ours > bglmer + 2.0 and _steepness(deviance, theirs, se) > 1.0, tab
            between = [theirs + share * (found.psi - theirs) for share in (0.0, 0.05, 0.25, 0.5, 0.75, 1.0)]
            values = [-deviance(psi).deviance / 2.0 + PENALTY * np.log(psi[-3] * psi[-1]) for psi in between]
            assert (np.diff(values) > 0).all() and values[0] == pytest.approx(bglmer, abs=1e-6), tab
            assert values[-1] == pytest.approx(ours, abs=1e-6), tab
            continue
        assert found.loglik == pytest.approx(want["logLik"], abs=1e-2), tab
        estimates = (*found.beta, found.sigma_theta, found.sigma_b, found.sigma_zeta, found.rho)
        spreads = np.sqrt(np.diagonal(np.array(want["item_cov"])))
        assert estimates == pytest.approx(
            (*want["beta"].values(), want["sigma_theta"], *spreads, want["rho"]), abs=5e-3
        ), tab


def test_the_optimum_is_one_of_the_penalised_likelihood():
    """By central differences of its own, quadrature and all."""
    trial = prepare(load_bundled("bacteria_weeks", PROJECT / "data"), "bacteria_weeks")
    main = fit_models(trial, ["M_0", "M_A"], method="auto")["M_A"]
    assert main.method == "aghq" and main.singular
    statistics = statistics_of(trial, main.spec)
    found = penalised_fit(statistics, main)
    assert found.method == "aghq" and not found.singular and abs(found.rho) < 1
    from ilhte_lib.inference.profile import objective

    deviance = objective(statistics, found)

    def at(psi: np.ndarray) -> float:
        return deviance(psi).deviance - 4.0 * K * np.log(psi[-3] * psi[-1])

    psi, lowest = found.psi, at(found.psi)
    for k, se in enumerate(np.sqrt(np.diagonal(found.vcov))):
        for side in (-0.1, 0.1):
            there = psi.copy()
            there[k] += side * se
            assert at(there) > lowest


def test_it_is_shown_where_the_fit_is_singular_or_items_are_few_and_changes_no_test():
    trial = prepare(load_bundled("bacteria_weeks", PROJECT / "data"), "bacteria_weeks")
    shown = analyse_trial(trial)
    assert shown.inference.penalised is not None
    record = shown.document()["inference"]["penalised"]
    assert record["rho"] == shown.inference.penalised.rho and record["method"] == "aghq"
    text = " ".join(shown.report(200).split())
    assert "Kept off the boundary" in text and "bglmer in the R package blme" in text
    test = shown.inference.test
    assert test.statistic == pytest.approx(shown.fits["M_0"].deviance - shown.fits["M_A"].deviance)
    main = shown.fits["M_A"]
    many = replace(main, n_items=11, singular=False)
    assert not wants_penalised(many) and wants_penalised(replace(many, singular=True)) and wants_penalised(main)
    assert not wants_penalised(shown.fits["M_0"])
