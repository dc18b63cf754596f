"""The native engine beside its peers, table by table: CPU seconds, ratios, differences in log-likelihood."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable

import numpy as np
import pandas as pd

from ilhte_lib.data.trial import Trial
from ilhte_lib.engine.native import fit_statistics, statistics_of
from ilhte_lib.model.compress import SufficientStatistics
from ilhte_lib.model.fit_result import Fit
from ilhte_lib.model.spec import MODELS
from ilhte_report.pages.benchmark import NATIVE, above, above_the_best, by_model, ratios, table_ratios, wide
from ilhte_report.studies.computed import write_computed

from .peers import Peer
from .trials import PEERS_UP_TO, long_table

ROUNDS = 5
"""The native engine's time is the best of so many, spread before, between and after the peers."""
METHOD = (
    "for the native engine, CPU time of its process from the prepared rows in memory to estimates with standard errors, the "
    f"compression counted with the first model that needs it, best of {ROUNDS}; for a peer, CPU time of its fitting call alone, "
    "warm; one thread everywhere"
)


def compare(name: str, trials: Iterable[Trial], peers: list[Peer]) -> None:
    """Measure, print, and write ``data/computed/<name>.parquet``, one row a table, model and tool."""
    rows: list[dict] = []
    for trial in trials:
        own = measure(trial, peers if trial.n_responses <= PEERS_UP_TO else [])
        show(pd.DataFrame(own))
        rows += own
    frame = pd.DataFrame(rows)
    summarise(frame)
    command = f"python -m benchmarks {'tables' if name == 'benchmark' else 'sizes'}"
    path = write_computed(name, frame, command, method=METHOD, cores=os.cpu_count(), machine=machine())
    print(f"Written to {path.parent.name}/{path.name}.")


def measure(trial: Trial, peers: list[Peer]) -> list[dict]:
    """Rows of one table."""
    models = [m for m, spec in MODELS.items() if trial.covariate is not None or not spec.covariate]
    size = {"tab": trial.tab, "n_persons": trial.n_persons, "n_items": trial.n_items, "n_responses": trial.n_responses}
    full, short, others = [native(trial)], [native(trial, standard_errors=False)], []
    table = long_table(trial) if peers else None
    for peer in peers:
        others += [size | report for report in peer.fits(table, models)]
        full.append(native(trial))
    full += [native(trial) for _ in range(ROUNDS - len(full))]
    short += [native(trial, standard_errors=False) for _ in range(ROUNDS - len(short))]
    own = [
        size
        | {
            "tool": NATIVE,
            "version": "",
            "model": model,
            "cpu_s": min(seconds[model] for seconds, _ in full),
            "cpu_s_without_se": min(seconds[model] for seconds, _ in short),
            "loglik": fit.loglik,
            "loglik_exact": np.nan,
            "failure": None if fit.converged else "not certified",
            "evaluations": fit.evaluations,
            "passes": fit.passes,
        }
        for model, fit in full[0][1].items()
    ]
    return own + others


def native(trial: Trial, *, standard_errors: bool = True) -> tuple[dict[str, float], dict[str, Fit]]:
    """CPU seconds by model, and the fits."""
    seconds: dict[str, float] = {}
    fits: dict[str, Fit] = {}
    compressed: dict[bool, SufficientStatistics] = {}
    for model, spec in MODELS.items():
        if spec.covariate and trial.covariate is None:
            continue
        clock = time.process_time()
        if spec.covariate not in compressed:
            compressed[spec.covariate] = statistics_of(trial, spec)
        fits[model] = fit_statistics(compressed[spec.covariate], spec, fitted=fits, standard_errors=standard_errors)
        seconds[model] = time.process_time() - clock
    return seconds, fits


def show(frame: pd.DataFrame) -> None:
    """Print a table's rows: CPU seconds, then how many times as long each peer took and how far its likelihood lies below."""
    first = frame.iloc[0]
    print(f"\n{first.tab}: {first.n_persons:,} persons, {first.n_items} items, {first.n_responses:,} responses")
    seconds, below = wide(frame, "cpu_s"), above(frame)
    for (tab, model), row in seconds.iterrows():
        cells = [f"native {1e3 * row[NATIVE]:8.1f} ms"]
        for tool in seconds.columns.drop(NATIVE):
            if np.isnan(row[tool]):
                cells.append(f"{tool} failed")
            else:
                cells.append(
                    f"{tool} {row[tool]:.2f} s, x{row[tool] / row[NATIVE]:.0f}, {below.loc[(tab, model), tool]:+.1e}"
                )
        print(f"  {model}  " + " | ".join(cells), flush=True)


def summarise(frame: pd.DataFrame) -> None:
    """Print what the numbers come to: geometric means, worst tables, worst fits, differences in log-likelihood."""
    ratio, tables, difference = ratios(frame), table_ratios(frame), above(frame)
    print("\nCPU time over the native engine's, geometric means\n" + by_model(frame).round(1).to_string())
    for tool in ratio:
        print(
            f"{tool}: worst table {tables[tool].idxmin()} {tables[tool].min():.1f}, worst fit {' '.join(ratio[tool].idxmin())} "
            f"{ratio[tool].min():.2f}, native slower in {(ratio[tool] <= 1).sum()} of {ratio[tool].notna().sum()} fits; native "
            f"log-likelihood above it by {difference[tool].min():.1e} to {difference[tool].max():.1e}"
        )
    best = above_the_best(frame)
    if len(best):
        print(f"native log-likelihood above the best peer's: at worst {best.min():.1e} ({' '.join(best.idxmin())})")


def machine() -> str:
    """The processor's name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"
