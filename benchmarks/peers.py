"""The peers: each fits one table in a process of its own, on one thread, and reports the CPU seconds of its fits.

A fit is timed up to seven times in that process and the median counts: what a package loads at its first fit does not, nor does a
stumble of the clock.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from ilhte_lib.files import write_text

from .trials import PEERS_UP_TO, PROJECT

HERE = Path(__file__).parent
CACHE = PROJECT / "data" / "cache" / "benchmark"
ALTERNATIVES = {"lme4": ("lme4", "lme4 without derivatives")}
"""Peers that fit each model in more than one way."""
IN_R = ("lme4", "glmmTMB")
IN_PYTHON = {"glmm": "glmm", "mixedlm": "mixedlm", "GPBoost": "gpboost", "lme-python": "lme_python"}
"""Names and modules."""
UP_TO = {"lme-python": 8_000}
"""Some fits of lme-python do not come back in the time that is allowed (``python_peer_fits.LONGEST``), which on many larger tables would
take hours to find out: it is not given them."""


@dataclass(frozen=True)
class Peer:
    """A package that fits these models: its name, and the command that takes a table and models."""

    name: str
    command: tuple[str, ...]
    up_to: int = PEERS_UP_TO
    """Larger tables, in responses, are not tried."""

    def fits(self, table: pd.DataFrame, models: list[str]) -> list[dict]:
        """One report a fit, from the cache if kept there: tool, version, model, cpu_s, runs, loglik (NaN if it failed), failure, the
        day it was measured, and loglik_exact, lme4's own objective at its estimates with its inner search run to the end."""
        text = table.to_csv(index=False)
        key = hashlib.sha256(f"{self.name}\nmedian\n{' '.join(models)}\n{text}".encode()).hexdigest()
        kept = CACHE / self.name / f"{key}.json"
        if not kept.is_file():
            write_text(kept, json.dumps(self._run(text, models)))
        return json.loads(kept.read_text(encoding="utf-8"))

    def _run(self, text: str, models: list[str]) -> list[dict]:
        with tempfile.NamedTemporaryFile("w", suffix=".csv", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            run = subprocess.run([*self.command, file.name, *models], capture_output=True, text=True, check=False)
        fits = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
        names = ALTERNATIVES.get(self.name, (self.name,))
        reports = [_report(names[k % len(names)], fit) for k, fit in enumerate(fits)]
        version = fits[0]["version"] if fits else ""
        wanted = [(name, model) for model in models for name in names]
        for k, (name, model) in enumerate(wanted[len(fits) :]):
            failure = _ending(run) if k == 0 else "not reached"
            reports.append(_report(name, {"model": model, "version": version, "failure": failure}))
        return reports


def _ending(run: subprocess.CompletedProcess[str]) -> str:
    """Why a peer made no more fits."""
    if run.returncode == -signal.SIGXCPU:
        return "stopped: it took too long"
    return (run.stderr.strip().splitlines() or [f"it ended with status {run.returncode}"])[-1]


def _report(tool: str, fit: dict) -> dict:
    missing = float("nan")
    loglik, seconds = fit.get("logLik"), fit.get("cpu_s")
    return {
        "tool": tool,
        "version": fit["version"],
        "model": fit["model"],
        "cpu_s": missing if seconds is None else seconds,
        "runs": fit.get("runs", 0),
        "loglik": missing if loglik is None else loglik,
        "loglik_exact": missing if fit.get("logLik_exact") is None else fit["logLik_exact"],
        "failure": fit.get("failure") or ("no log-likelihood" if loglik is None else None),
        "measured": datetime.now(UTC).date().isoformat(),
    }


def installed() -> list[Peer]:
    """The peers that are here; a word about those that are not."""
    found = []
    for name in IN_R:
        if _in_r(name):
            found.append(Peer(name, ("Rscript", "--vanilla", str(HERE / f"{name}_fits.R"))))
        else:
            print(f"{name} is left out: R with the packages {name} and jsonlite is not here.")
    for name, module in IN_PYTHON.items():
        if importlib.util.find_spec(module):
            found.append(
                Peer(name, (sys.executable, str(HERE / "python_peer_fits.py"), module), UP_TO.get(name, PEERS_UP_TO))
            )
        else:
            print(f"{name} is left out: the Python package is not installed here.")
    return found


def _in_r(package: str) -> bool:
    if shutil.which("Rscript") is None:
        return False
    test = f"quit(status = !all(sapply(c('{package}', 'jsonlite'), requireNamespace, quietly = TRUE)))"
    return subprocess.run(["Rscript", "--vanilla", "-e", test], capture_output=True, check=False).returncode == 0
