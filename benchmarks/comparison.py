"""The native engine beside its peers, table by table: CPU seconds, ratios, differences in log-likelihood."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

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
from .trials import long_table

ROUNDS = 7
"""The native engine is timed so often, as a peer is, spread before, between and after the peers."""
METHOD = (
    "for the native engine, CPU time of its process from the prepared rows in memory to estimates with standard errors, each model "
    "alone, as a peer fits it, and all of a table in turn, each after the smaller ones (what a table is compressed to being counted "
    f"where it is first wanted); for a peer, CPU time of its fitting call alone. The median of {ROUNDS} counts, for a peer of fewer "
    "once they took a second together; one thread everywhere"
)


def compare(name: str, trials: Iterable[Trial], peers: list[Peer]) -> None:
    """Measure, print, and write ``data/computed/<name>.parquet``, one row a table, model and tool."""
    rows: list[dict] = []
    for trial in trials:
        own = measure(trial, [peer for peer in peers if trial.n_responses <= peer.up_to])
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
    rounds, others = [], []
    table = long_table(trial) if peers else None
    # the native engine's turns: before peer 0, ..., after the last
    turns = [k * len(peers) // (ROUNDS - 1) for k in range(ROUNDS)]
    for k in range(len(peers) + 1):
        rounds += [native(trial, models) for _ in range(turns.count(k))]
        if k < len(peers):
            others += [size | report for report in peers[k].fits(table, models)]
    fits, today = rounds[0].fits, datetime.now(UTC).date().isoformat()
    own = [
        size
        | {
            "tool": NATIVE,
            "version": "",
            "model": model,
            "cpu_s": median(turn.alone[model] for turn in rounds),
            "cpu_s_without_se": median(turn.alone_without_se[model] for turn in rounds),
            "cpu_s_after": median(turn.after[model] for turn in rounds),
            "runs": ROUNDS,
            "loglik": fit.loglik,
            "loglik_exact": np.nan,
            "failure": None if fit.converged else "not certified",
            "measured": today,
            "evaluations": fit.evaluations,
            "passes": fit.passes,
        }
        for model, fit in fits.items()
    ]
    return own + others


@dataclass(frozen=True)
class Turn:
    """CPU seconds of the native engine by model: alone from the rows, so without standard errors, after the smaller models; fits."""

    alone: dict[str, float]
    alone_without_se: dict[str, float]
    after: dict[str, float]
    fits: dict[str, Fit]


def native(trial: Trial, models: list[str]) -> Turn:
    """Fit each model alone, then all in turn."""
    alone, without, after = {}, {}, {}
    for model in models:
        for seconds, errors in ((alone, True), (without, False)):
            clock = time.process_time()
            fit_statistics(statistics_of(trial, MODELS[model]), MODELS[model], standard_errors=errors)
            seconds[model] = time.process_time() - clock
    fits: dict[str, Fit] = {}
    compressed: dict[bool, SufficientStatistics] = {}
    for model in models:
        spec = MODELS[model]
        clock = time.process_time()
        if spec.covariate not in compressed:
            compressed[spec.covariate] = statistics_of(trial, spec)
        fits[model] = fit_statistics(compressed[spec.covariate], spec, fitted=fits)
        after[model] = time.process_time() - clock
    return Turn(alone, without, after, fits)


def show(frame: pd.DataFrame) -> None:
    """Print a table's rows: CPU seconds, then how many times as long each peer took and how far its likelihood lies below."""
    first = frame.iloc[0]
    print(f"\n{first.tab}: {first.n_persons:,} persons, {first.n_items} items, {first.n_responses:,} responses")
    seconds, below, after = wide(frame, "cpu_s"), above(frame), wide(frame, "cpu_s_after")[NATIVE]
    for (tab, model), row in seconds.iterrows():
        cells = [f"native {1e3 * row[NATIVE]:8.1f} ms, in turn {1e3 * after[tab, model]:8.1f}"]
        for tool in seconds.columns.drop(NATIVE):
            if np.isnan(row[tool]):
                cells.append(f"{tool} failed")
            else:
                cells.append(
                    f"{tool} {row[tool]:.3f} s, x{row[tool] / row[NATIVE]:.1f}, {below.loc[(tab, model), tool]:+.1e}"
                )
        print(f"  {model}  " + " | ".join(cells), flush=True)


def summarise(frame: pd.DataFrame) -> None:
    """Print what the numbers come to: geometric means, worst tables, worst fits, differences in log-likelihood."""
    ratio, tables, difference = ratios(frame), table_ratios(frame), above(frame)
    print("\nCPU time over the native engine's, geometric means\n" + by_model(frame).round(1).to_string())
    print("\nThe same, after the smaller models\n" + by_model(frame, after=True).round(1).to_string())
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
