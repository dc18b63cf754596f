"""The native engine beside its peers, table by table: CPU seconds, ratios, differences in log-likelihood."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

import numpy as np
import pandas as pd

from ilhte_lib.compress import SufficientStatistics
from ilhte_lib.fit import fit_statistics, statistics_of
from ilhte_lib.mixed_model import MODELS, Fit
from ilhte_lib.prepare import Trial
from ilhte_report.computed import write_computed

from .peers import Peer
from .trials import PEERS_UP_TO, long_table

ROUNDS = 5
"""The native engine's time is the best of so many, spread before, between and after the peers."""
METHOD = (
    "native: from the prepared rows in memory to estimates with standard errors, compression in the first model that needs "
    f"it, CPU time of the process, best of {ROUNDS}; peers: CPU time of the fitting call alone, warm; one thread everywhere"
)


def compare(name: str, trials: Iterable[Trial], peers: list[Peer]) -> None:
    """Measure, print, and write ``data/computed/<name>.parquet``, one row a table, model and tool."""
    rows: list[dict] = []
    for trial in trials:
        rows += measure(trial, peers if trial.n_responses <= PEERS_UP_TO else [])
        show(pd.DataFrame(rows[-len(rows) :]).query("tab == @trial.tab"))
    frame = pd.DataFrame(rows)
    facts = summary(frame)
    print("\n".join(f"{key}: {value}" for key, value in facts.items()))
    command = f"python -m benchmarks {'tables' if name == 'benchmark' else 'sizes'}"
    path = write_computed(name, frame, command, method=METHOD, cores=os.cpu_count(), machine=machine(), **facts)
    print(f"Written to {path.parent.name}/{path.name}.")


def measure(trial: Trial, peers: list[Peer]) -> list[dict]:
    """Rows of one table."""
    models = [m for m, spec in MODELS.items() if trial.covariate is not None or not spec.covariate]
    size = {"tab": trial.tab, "n_persons": trial.n_persons, "n_items": trial.n_items, "n_responses": trial.n_responses}
    rounds, others = [native(trial)], []
    table = long_table(trial) if peers else None
    for peer in peers:
        others += [size | report for report in peer.fits(table, models)]
        rounds.append(native(trial))
    rounds += [native(trial) for _ in range(ROUNDS - len(rounds))]
    fits = rounds[0][1]
    own = [
        size
        | {
            "tool": "native",
            "version": "",
            "model": model,
            "cpu_s": min(seconds[model] for seconds, _ in rounds),
            "loglik": fit.loglik,
            "failure": None if fit.converged else "not certified",
            "evaluations": fit.evaluations,
            "passes": fit.passes,
        }
        for model, fit in fits.items()
    ]
    return own + others


def native(trial: Trial) -> tuple[dict[str, float], dict[str, Fit]]:
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
        fits[model] = fit_statistics(compressed[spec.covariate], spec, fitted=fits)
        seconds[model] = time.process_time() - clock
    return seconds, fits


def wide(frame: pd.DataFrame, value: str) -> pd.DataFrame:
    """One row a table and model, one column a tool."""
    return frame.pivot_table(value, ["tab", "model"], "tool", sort=False, dropna=False)


def show(frame: pd.DataFrame) -> None:
    """Print a table's rows: CPU seconds, then how many times as long each peer took and how far its likelihood lies below."""
    first = frame.iloc[0]
    print(f"\n{first.tab}: {first.n_persons:,} persons, {first.n_items} items, {first.n_responses:,} responses")
    seconds, loglik = wide(frame, "cpu_s"), wide(frame, "loglik")
    for (_, model), row in seconds.iterrows():
        cells = [f"native {1e3 * row['native']:8.1f} ms"]
        for tool in seconds.columns.drop("native"):
            below = loglik.loc[(first.tab, model), "native"] - loglik.loc[(first.tab, model), tool]
            failed = np.isnan(row[tool])
            cells.append(f"{tool} failed" if failed else f"{tool} {row[tool]:.2f} s, x{row[tool] / row['native']:.0f}, {below:+.1e}")
        print(f"  {model}  " + " | ".join(cells), flush=True)


def summary(frame: pd.DataFrame) -> dict[str, object]:
    """What the numbers come to: ratios by model and peer, the worst table, the lowest and highest likelihood difference."""
    seconds, loglik = wide(frame, "cpu_s"), wide(frame, "loglik")
    facts: dict[str, object] = {}
    for tool in seconds.columns.drop("native"):
        both = seconds[["native", tool]].dropna()
        if both.empty:
            continue
        ratio = both[tool] / both["native"]
        means = np.exp(np.log(ratio).groupby("model").mean()).round(1).to_dict()
        sums = both.groupby("tab", sort=False).sum()
        per_table = sums[tool] / sums["native"]
        difference = (loglik["native"] - loglik[tool]).dropna()
        facts[f"{tool} / native"] = {
            "geometric mean": round(float(np.exp(np.log(ratio).mean())), 1),
            "by model": means,
            "worst table": [str(per_table.idxmin()), round(float(per_table.min()), 1)],
            "worst fit": [*map(str, ratio.idxmin()), round(float(ratio.min()), 1)],
            "fits": len(ratio),
            "native loglik above": [float(f"{difference.min():.2e}"), float(f"{difference.max():.2e}")],
        }
    return facts


def machine() -> str:
    """The processor's name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        import platform

        return platform.processor() or "unknown"
