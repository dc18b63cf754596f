"""The peers: each fits one table in a process of its own, on one thread, and reports the CPU seconds of its fits."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ilhte_lib.files import write_text

from .trials import PROJECT

HERE = Path(__file__).parent
CACHE = PROJECT / "data" / "cache" / "benchmark"
WARM_UP_BELOW = 20_000
"""On tables with fewer responses a peer fits M_0 once more at first, so that what it loads at its first fit is not counted."""
LONGEST = 3600
"""Seconds on the clock after which a peer is stopped on a table."""
ALTERNATIVES = {"lme4": ("lme4", "lme4 without derivatives")}


@dataclass(frozen=True)
class Peer:
    """A package that fits these models: its name, and the command that takes a table and models."""

    name: str
    command: tuple[str, ...]

    def fits(self, table: pd.DataFrame, models: list[str]) -> list[dict]:
        """One report a fit, from the cache if kept there: tool, version, model, cpu_s, loglik (NaN if it failed), failure, and
        loglik_exact, lme4's own objective at its estimates with its inner search run to the end."""
        text = table.to_csv(index=False)
        key = hashlib.sha256(f"{self.name}\n{' '.join(models)}\n{text}".encode()).hexdigest()
        kept = CACHE / self.name / f"{key}.json"
        if not kept.is_file():
            write_text(kept, json.dumps(self._run(text, models, warm=len(table) < WARM_UP_BELOW)))
        return json.loads(kept.read_text(encoding="utf-8"))

    def _run(self, text: str, models: list[str], warm: bool) -> list[dict]:
        with tempfile.NamedTemporaryFile("w", suffix=".csv", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            asked = [models[0], *models] if warm else models
            command = [*self.command, file.name, *asked]
            try:
                run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST)
                failure = (run.stderr.strip().splitlines() or ["it stopped"])[-1] if run.returncode else None
            except subprocess.TimeoutExpired:
                failure = f"stopped after {LONGEST} s"
        if failure:
            return [_report(self.name, "", {"model": model, "failure": failure}) for model in models]
        document = json.loads(run.stdout.splitlines()[-1])
        each = len(document["fits"]) // len(asked)
        fits = document["fits"][each:] if warm else document["fits"]
        names = ALTERNATIVES.get(self.name, (self.name,))
        return [_report(names[k % each], document["version"], fit) for k, fit in enumerate(fits)]


def _report(tool: str, version: str, fit: dict) -> dict:
    missing = float("nan")
    loglik = fit.get("logLik")
    failure = fit.get("failure") or ("no log-likelihood" if loglik is None else None)
    return {
        "tool": tool,
        "version": version,
        "model": fit["model"],
        "cpu_s": fit.get("cpu_s", missing),
        "loglik": missing if loglik is None else loglik,
        "loglik_exact": missing if fit.get("logLik_exact") is None else fit["logLik_exact"],
        "failure": failure,
    }


def installed() -> list[Peer]:
    """The peers that are here; a word about those that are not."""
    found = []
    for name in ("lme4", "glmmTMB"):
        if _in_r(name):
            found.append(Peer(name, ("Rscript", "--vanilla", str(HERE / f"{name}_fits.R"))))
        else:
            print(f"{name} is left out: R with the packages {name} and jsonlite is not here.")
    for name in ("glmm", "mixedlm"):
        if importlib.util.find_spec(name):
            found.append(Peer(name, (sys.executable, str(HERE / "python_peer_fits.py"), name)))
        else:
            print(f"{name} is left out: the Python package is not installed here.")
    return found


def _in_r(package: str) -> bool:
    if shutil.which("Rscript") is None:
        return False
    test = f"quit(status = !all(sapply(c('{package}', 'jsonlite'), requireNamespace, quietly = TRUE)))"
    return subprocess.run(["Rscript", "--vanilla", "-e", test], capture_output=True, check=False).returncode == 0
