"""Times a Python package on one prepared table, in the form of peer_fits.R: one JSON document a fit on standard output.

RAYON_NUM_THREADS=1 python benchmarks/python_peer_fits.py glmm|mixedlm|gpboost|lme_python TABLE.csv MODEL...
"""

from __future__ import annotations

import importlib
import json
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
import pandas as pd

RUNS, ENOUGH = 7, 1.0
"""A fit is made so many times, fewer once they took this many CPU seconds together; the median counts (as in peer_fits.R)."""
READ = 0.05
"""The CPU clock is read over calls that take at least so many seconds together."""
LONGEST, LONGEST_A_RESPONSE = 15.0, 1e-3
"""CPU seconds after which a fit is stopped: so many, and so many a response."""
FORMULAS = {
    "M_0": "resp ~ treat + (1|id) + (1|item)",
    "M_A": "resp ~ treat + (1|id) + (treat|item)",
    "M_B": "resp ~ treat*cov + (1|id) + (1|item)",
    "M_C": "resp ~ treat*cov + (1|id) + (treat|item)",
}


# Each takes the rows and a model's name and returns its fitting call, Laplace with standard errors by the package's defaults,
# which returns the log-likelihood. What is done before that (a table in the package's own form) is not timed.


def glmm(rows: pd.DataFrame, model: str) -> Callable[[], float]:
    package = importlib.import_module("glmm")
    return lambda: package.fit(rows, FORMULAS[model], family="binomial").loglik


def mixedlm(rows: pd.DataFrame, model: str) -> Callable[[], float]:
    package = importlib.import_module("mixedlm")
    return lambda: package.glmer(FORMULAS[model], rows, family=package.families.Binomial()).logLik()


def gpboost(rows: pd.DataFrame, model: str) -> Callable[[], float]:
    """Random slopes of GPBoost are independent of the intercepts: its M_A and M_C have no correlation."""
    package = importlib.import_module("gpboost")
    treat = rows["treat"].to_numpy(float)
    groups = np.column_stack([pd.factorize(rows[name])[0] for name in ("id", "item")])
    columns = [np.ones(len(rows)), treat]
    if model in ("M_B", "M_C"):
        columns += [rows["cov"].to_numpy(), treat * rows["cov"].to_numpy()]
    fixed, answers = np.column_stack(columns), rows["resp"].to_numpy(float)
    slopes = (
        {"group_rand_coef_data": treat[:, None], "ind_effect_group_rand_coef": [2]} if model in ("M_A", "M_C") else {}
    )

    def call() -> float:
        fitted = package.GPModel(
            likelihood="bernoulli_logit",
            group_data=groups,
            matrix_inversion_method="cholesky",
            num_parallel_threads=1,
            **slopes,
        )
        fitted.fit(y=answers, X=fixed)
        # what its summary() computes
        fitted.get_cov_pars(std_err=True)
        fitted.get_coef(std_err=True)
        return -fitted.get_current_neg_log_likelihood()

    return call


def lme_python(rows: pd.DataFrame, model: str) -> Callable[[], float]:
    """Searches the variance parameters alone, the fixed effects within, as lme4 with nAGQ = 0."""
    package, polars = importlib.import_module("lme_python"), importlib.import_module("polars")
    table = polars.DataFrame({name: rows[name].to_list() for name in rows})
    return lambda: package.glmer(FORMULAS[model], table, "binomial").log_likelihood


TOOLS = {tool.__name__: tool for tool in (glmm, mixedlm, gpboost, lme_python)}


def timed(call: Callable[[], float]) -> tuple[float, float, int]:
    """The log-likelihood, the median of the calls' CPU seconds, and how many there were.

    The CPU clock of a process with several threads may tick in steps of 4 ms, so that it is read over as many calls as take
    ``READ`` seconds together.
    """
    seconds: list[float] = []
    calls, spent = 1, 0.0
    while not seconds or (len(seconds) < RUNS and spent < ENOUGH):
        clock = time.process_time()
        for _ in range(calls):
            loglik = float(call())
        taken = time.process_time() - clock
        if taken < READ and not seconds:
            calls *= 2
            continue
        seconds.append(taken / calls)
        spent += taken
    return loglik, statistics.median(seconds), len(seconds)


def main(tool: str, path: str, models: list[str]) -> None:
    table = pd.read_csv(path, dtype={"id": str, "item": str})
    for model in models:
        rows = table.dropna(subset=["cov"]) if model in ("M_B", "M_C") else table
        allowed = LONGEST + LONGEST_A_RESPONSE * len(rows)
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + allowed) + 1, resource.RLIM_INFINITY))
        loglik = seconds = failure = None
        runs = 0
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                loglik, seconds, runs = timed(TOOLS[tool](rows, model))
            # whatever a peer raises is its result on this table
            except Exception as error:
                failure = f"{type(error).__name__}: {error}"
        said = [str(warning.message)[:200] for warning in caught]
        fit = {
            "model": model,
            "logLik": loglik,
            "cpu_s": seconds,
            "runs": runs,
            "warnings": said,
            "failure": failure,
        }
        # a package may have written to standard output, and left its line open
        print("\n" + json.dumps({"tool": tool, "version": version(tool), **fit}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
