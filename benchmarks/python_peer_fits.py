"""Times glmm or mixedlm on one prepared table, in the form of lme4_fits.R: one JSON document on standard output.

RAYON_NUM_THREADS=1 python benchmarks/python_peer_fits.py glmm|mixedlm TABLE.csv MODEL...
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import warnings
from importlib.metadata import version

import pandas as pd

FORMULAS = {
    "M_0": "resp ~ treat + (1|id) + (1|item)",
    "M_A": "resp ~ treat + (1|id) + (treat|item)",
    "M_B": "resp ~ treat*cov + (1|id) + (1|item)",
    "M_C": "resp ~ treat*cov + (1|id) + (treat|item)",
}


def fit(tool: str, rows: pd.DataFrame, formula: str) -> float:
    """Fit with the package's defaults (Laplace); the log-likelihood."""
    package = importlib.import_module(tool)
    if tool == "glmm":
        return float(package.fit(rows, formula, family="binomial").loglik)
    return float(package.glmer(formula, rows, family=package.families.Binomial()).logLik())


def main(tool: str, path: str, models: list[str]) -> None:
    table = pd.read_csv(path, dtype={"id": str, "item": str})
    fits = []
    for model in models:
        rows = table.dropna(subset=["cov"]) if model in ("M_B", "M_C") else table
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            cpu, wall = time.process_time(), time.perf_counter()
            try:
                loglik, failure = fit(tool, rows, FORMULAS[model]), None
            # whatever a peer raises is its result on this table
            except Exception as error:
                loglik, failure = None, f"{type(error).__name__}: {error}"
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        said = [str(warning.message)[:200] for warning in caught]
        fits.append(
            {"model": model, "logLik": loglik, "cpu_s": cpu, "wall_s": wall, "warnings": said, "failure": failure}
        )
    print(json.dumps({"tool": tool, "version": version(tool), "fits": fits}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
