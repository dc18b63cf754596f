"""Damaged tables: every outcome is a result that stands up to an independent check, or a clear error.

A result must hold the counts that plain loops over the rows give, the log-likelihood that a dense evaluation on these rows
gives at its estimates, an optimum no step leads away from, a certificate, and null for nothing but what is undefined. A model
whose responses are predicted perfectly has no optimum: it must say that it is not certified, and claim no standard errors.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from damaged_tables import Case, cases
from dense_laplace import Rows, dense_laplace
from hypothesis import HealthCheck, Phase, given, settings
from recount import MISSING_WORDS, Recount, recount

from ilhte_lib.analysis import Analysis, document
from ilhte_lib.data.prepare import prepare
from ilhte_lib.data.read import read_table
from ilhte_lib.data.trial import Trial
from ilhte_lib.engine.native import fit_models
from ilhte_lib.errors import IlhteError
from ilhte_lib.files import to_json
from ilhte_lib.inference.effects import Effects, effects
from ilhte_lib.inference.infer import Inference, infer
from ilhte_lib.model.fit_result import Fit

MAY_BE_NULL = {
    "rho", "rho_se", "sd_ratio", "sd_ratio_se", "sd_ratio_model", "sigma_zeta_std_se", "delta_beta3_se", "ate_std_se", "sigma_theta_se",
    "beta3_b", "beta3_c", "delta_beta3", "beta3_b_se", "beta3_c_se", "n_persons_cov", "covariate", "wave",
    "predicted_bias",
}  # fmt: skip
IN_SDS = {"ate_std", "sigma_zeta_std", "ate_std_se", "sigma_zeta_std_se"}
COVARIATE_COLUMNS = ("beta3_b", "beta3_c", "delta_beta3", "n_persons_cov")

FAR_OUT = 1000.0
"""Estimates of an optimum that is not certified may run off to thousands of logits (responses predicted perfectly), where the
dense mode is lost in rounding: there is nothing to compare with."""

_EXAMPLES = {"derandomize": True, "deadline": None, "phases": (Phase.generate, Phase.shrink), "database": None}
_CHECKS = {"suppress_health_check": list(HealthCheck), "print_blob": False}


@settings(max_examples=120, **_EXAMPLES, **_CHECKS)
@given(cases())
def test_damaged_tables(case: Case) -> None:
    judge(case)


@pytest.mark.soak
@settings(max_examples=int(os.environ.get("ILHTE_FUZZ", "2000")), **_EXAMPLES, **_CHECKS)
@given(cases())
def test_many_damaged_tables(case: Case) -> None:
    judge(case)


def judge(case: Case) -> str:
    """ "error" or "result"; fails if the outcome is neither a clear error nor a result that holds."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # NumPy's of overflow and of 0/0
            trial, fits, records = _outcome(case)
            result = effects(trial, fits)
            inference = infer(trial, fits)
            text = to_json(document(trial, fits, result, inference))
            _printed(trial, fits, result, inference)
        contents = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in the JSON"))
    except IlhteError as error:
        message = str(error)
        assert message.isprintable() and message.endswith((".", "?")) and 20 < len(message) < 1000, message
        return "error"
    unforeseen = [note for note in inference.notes if "It could not be computed" in note]
    assert not unforeseen, unforeseen
    counted = recount(
        records,
        profile=trial.profile,
        wave=trial.wave,
        covariate=trial.covariate_name,
        required=_dropped_for(contents["audit"]),
    )
    _counts_agree(contents, counted)
    _nothing_is_null_without_reason(contents)
    _standardised(contents)
    for fit in fits.values():
        _certified(fit, contents["flags"])
        _likelihood_agrees(fit, _of_model(fit, counted.rows))
    assert contents["summary"]["converged"] == all(fit.converged for fit in fits.values())
    assert fits["M_A"].loglik >= fits["M_0"].loglik - 1e-7
    if "M_C" in fits:
        assert fits["M_C"].loglik >= fits["M_B"].loglik - 1e-7
    return "result"


def _outcome(case: Case) -> tuple[Trial, dict[str, Fit], list[dict]]:
    """The fits, and the rows as a reader that shares nothing with the package has them where that is possible."""
    table = case.table
    records = None
    if case.as_text is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "t.csv"
            path.write_bytes(case.as_text)
            table = read_table(path)
        if case.whole:
            text = case.as_text.decode("utf-8")
            records = [
                {name: None if value in MISSING_WORDS else _plain(name, value) for name, value in row.items()}
                for row in csv.DictReader(io.StringIO(text, newline=""))
            ]
    trial = prepare(table, "t", **case.options)
    if records is None:
        records = table.astype(object).to_dict("records")
    return trial, fit_models(trial), records


def _printed(trial: Trial, fits: dict[str, Fit], result: Effects, inference: Inference) -> None:
    """Everything that ``ilhte fit`` prints (what it says is judged in ``test_degenerate``)."""
    assert "Average effect" in Analysis(trial, fits, result, inference).report(80)


def _plain(column: str, text: str) -> object:
    """A cell's text; words for truth as numbers, as the reader has a column of them, but not in names."""
    truth = {"True": 1.0, "False": 0.0, "TRUE": 1.0, "FALSE": 0.0}
    return text if column in ("id", "item", "wave") else truth.get(text, text)


def _dropped_for(audit: list[dict]) -> str | None:
    """The covariate without which the vignette left rows out, also where it then could not be used."""
    named = [re.match("The covariate '(.+)' is missing", entry["reason"]) for entry in audit]
    return next((match[1] for match in named if match), None)


def _counts_agree(contents: dict, counted: Recount) -> None:
    summary, items = contents["summary"], {row["item"]: row for row in contents["items"]}
    assert sorted(items) == counted.items
    assert summary["n_items"] == len(counted.items) >= 3
    assert summary["n_persons"] == len(counted.persons)
    assert summary["n_responses"] == len(counted.rows.resp) == sum(counted.answers.values())
    for name, row in items.items():
        for arm, word in ((0, "ctrl"), (1, "treat")):
            answers = counted.answers.get((arm, name), 0)
            assert row[f"n_{word}"] == answers
            share = row[f"p_{word}"]
            most = answers * counted.highest[name]
            assert share is None if answers == 0 else math.isclose(share, counted.ones[arm, name] / most)
    if counted.rows.covariate is not None and "M_C" not in contents["models"]:  # the reason is told
        assert any("M_B and M_C were not fitted" in flag for flag in contents["flags"])
    elif counted.rows.covariate is not None:
        assert summary["n_persons_cov"] == int((~np.isnan(counted.rows.covariate)).sum())


def _nothing_is_null_without_reason(contents: dict) -> None:
    summary, models = contents["summary"], contents["models"]
    logits = summary["sigma_theta"] == 0
    assert {name for name, value in summary.items() if value is None} <= MAY_BE_NULL | (IN_SDS if logits else set())
    (easiness, _), (_, effect) = models["M_A"]["item_cov"]
    assert (summary["sd_ratio"] is None) == (summary["sigma_b_ctrl"] == 0)
    assert (summary["rho"] is None) == (easiness == 0 or effect == 0)
    assert summary["rho"] is None or abs(summary["rho"]) <= 1
    for name in COVARIATE_COLUMNS:
        assert (summary[name] is None) == ("M_C" not in models), name
    names = ("b", "zeta", "total", "zeta_se") if logits else ("b_std", "zeta_std", "total_std", "zeta_se")
    for row in contents["items_logit" if logits else "items"]:
        for name in names:
            assert row[name] is not None, (row["item"], name)
        assert row["zeta_se"] >= 0
        assert (row["total_se"] is None) == (not models["M_A"]["converged"]), row["item"]
    for name, model in models.items():
        errors = [value is not None and 0 < value < 100 for value in model["se"].values()]
        assert all(errors) if model["converged"] else not any(errors), (name, model["se"])


def _standardised(contents: dict) -> None:
    summary, main = contents["summary"], contents["models"]["M_A"]
    scale = contents["models"]["M_0"]["sigma_theta"]
    assert summary["sigma_theta"] == scale >= 0
    if scale > 0:
        assert math.isclose(summary["ate_std"], main["beta"]["treat"] / scale)
        assert math.isclose(
            summary["sigma_zeta_std"], math.sqrt(main["item_cov"][1][1]) / scale, rel_tol=1e-9, abs_tol=1e-12
        )
    else:
        assert all(summary[name] is None for name in IN_SDS)
    statistic = 2 * (main["loglik"] - contents["models"]["M_0"]["loglik"])
    assert math.isclose(summary["lrt_stat"], max(statistic, 0.0), abs_tol=1e-6)
    assert 0 <= summary["lrt_pval"] <= 1 and 0 <= summary["lrt_pval_mixture"] <= 1
    p = summary["lrt_pval"] if summary["profile"] == "vignette" else summary["lrt_pval_mixture"]
    assert summary["sig_il_hte"] == (p < 0.05)


def _certified(fit: Fit, flags: list[str]) -> None:
    assert math.isfinite(fit.loglik) and fit.loglik <= 0
    assert np.isfinite(fit.beta).all() and np.isfinite(fit.item_factor).all() and fit.sigma_theta >= 0
    if fit.converged:
        assert fit.hessian_min_eigenvalue > 0
    else:
        assert any(flag.startswith(f"{fit.spec.name}: the optimum is not certified") for flag in flags), flags


def _of_model(fit: Fit, rows: Rows) -> Rows:
    """The rows the model sees: without persons who lack its covariate."""
    if not fit.spec.covariate:
        return rows
    known = ~np.isnan(rows.covariate)
    place = np.cumsum(known) - 1
    seen = known[rows.person]
    return Rows(
        rows.treat[known],
        place[rows.person[seen]],
        rows.item[seen],
        rows.resp[seen],
        rows.covariate[known],
        rows.n_items,
    )


def _steps(fit: Fit, free: np.ndarray) -> list[list[float]] | None:
    """Steps by item, from those of a format that are free."""
    if fit.formats is None:
        return None
    of_item = {name: [] for name in fit.item_names}
    values = dict(zip(fit.spec.steps, free, strict=True))
    for name, highest in zip(fit.item_names, fit.formats.highest, strict=True):
        several = len({k for k in fit.formats.highest if k > 1}) > 1
        of_item[name] = [values[f"tau_{m}|{highest}" if several else f"tau_{m}"] for m in range(1, highest)]
        of_item[name].append(-sum(of_item[name]))
    return list(of_item.values())


def _likelihood_agrees(fit: Fit, rows: Rows) -> None:
    """The dense deviance of the recounted rows is the fit's, and no small step from the estimates lowers it."""
    if not fit.converged and np.abs(fit.psi).max() > FAR_OUT:
        return
    here = dense_laplace(rows, fit.beta, fit.sigma_theta, fit.item_factor, _steps(fit, fit.steps)).deviance
    assert math.isclose(here, -2 * fit.loglik, rel_tol=1e-7, abs_tol=1e-6), (fit.spec.name, here, -2 * fit.loglik)
    if not fit.converged:
        return
    rng = np.random.default_rng(1)
    n_beta, at, q = len(fit.beta), len(fit.beta) + len(fit.steps), fit.spec.q
    psi = fit.psi
    spread = np.sqrt(np.diagonal(fit.vcov))
    spread = np.where(np.isfinite(spread), spread, 0.1)
    for _ in range(6):
        moved = psi + 0.05 * spread * rng.normal(size=len(psi))
        factor = np.zeros((q, q))
        factor[np.tril_indices(q)] = moved[at + 1 :]
        steps = _steps(fit, moved[n_beta:at])
        there = dense_laplace(rows, moved[:n_beta], abs(moved[at]), factor, steps).deviance
        assert there >= here - 1e-6, (fit.spec.name, there - here)
