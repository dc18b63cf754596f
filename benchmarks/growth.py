"""Trials of 10,000 to 10,000,000 persons, complete or not, with a covariate or without: generated, read out of core, fitted; time and
memory of each step apart."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd

from ilhte_lib.data.large import large_trial
from ilhte_lib.data.relations import Spark
from ilhte_report.studies.computed import write_computed

from .comparison import machine
from .trials import draw, item_parameters

ITEMS = 60
MISSING = 0.1
PERSONS = (10_000, 100_000, 1_000_000)
KINDS = tuple((missing, covariate) for covariate in (False, True) for missing in (0.0, MISSING))
TRIALS = (*((n, *kind) for kind in KINDS for n in PERSONS), (10_000_000, 0.0, True))
"""Persons, share of responses missing at random, and whether there is a continuous covariate."""
PART = 1_000_000
"""Persons in one file of the folder."""
CHUNK = 20_000
BOUND_MB = 6 * 1024

# a process of its own, so that the peak of its memory is this trial's
READ_AND_FIT = """
import json, resource, sys, time
from ilhte_lib.engine.native import fit_models
from ilhte_lib.data.large import large_trial
clock, cpu = time.perf_counter(), time.process_time()
trial = large_trial(sys.argv[1], "growth")
read, read_cpu = time.perf_counter() - clock, time.process_time() - cpu
clock, cpu = time.perf_counter(), time.process_time()
fits = fit_models(trial)
print(json.dumps({
    "n_responses": trial.n_responses, "n_persons": trial.n_persons, "n_items": trial.n_items,
    "n_classes": trial.statistics.n_classes, "read_s": read, "read_cpu_s": read_cpu,
    "n_classes_covariate": 0 if trial.with_covariate is None else trial.with_covariate.n_classes,
    "fit_s": time.perf_counter() - clock, "fit_cpu_s": time.process_time() - cpu,
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "loglik_m0": fits["M_0"].loglik, "loglik_ma": fits["M_A"].loglik,
    "loglik_mc": fits["M_C"].loglik if "M_C" in fits else None, "models": len(fits), "certified": all(f.converged for f in fits.values()),
}))
"""


def measure() -> None:
    """Print the growth and write ``data/computed/benchmark_growth.parquet``."""
    try:
        import duckdb
    except ImportError:
        print("Large files are left out: DuckDB is not installed here.")
        return
    rows: list[dict] = []
    spark = None
    for trial in TRIALS:
        with tempfile.TemporaryDirectory() as above:
            folder = Path(above) / "growth"
            rows.append(read_and_fitted(folder, *trial))
            if len(rows) == 1:
                spark = on_spark(folder)
    facts = {"cores": os.cpu_count(), "machine": machine(), "duckdb": duckdb.__version__, "spark": spark}
    path = write_computed("benchmark_growth", pd.DataFrame(rows), "python -m benchmarks large", seed=1, **facts)
    print(f"Written to {path.parent.name}/{path.name}.")


def read_and_fitted(folder: Path, n_persons: int, missing: float, covariate: bool) -> dict:
    """One trial, generated into a folder, and what a process of its own took to read and fit it."""
    generate(folder, n_persons, missing, covariate)
    run = subprocess.run([sys.executable, "-c", READ_AND_FIT, str(folder)], capture_output=True, text=True, check=True)
    size = sum(path.stat().st_size for path in folder.iterdir())
    row = json.loads(run.stdout) | {"file_mb": size / 2**20, "missing": missing, "covariate": covariate}
    print(
        f"{row['n_persons']:>10,} persons, {missing:.0%} missing, {row['models']} models: read {row['read_cpu_s']:.1f} s of CPU, "
        f"fitted {row['fit_cpu_s']:.2f} s, {row['n_classes']:,} classes, peak {row['peak_mb']:.0f} MB (bound {BOUND_MB} MB)",
        flush=True,
    )
    return row


def on_spark(path: Path) -> dict | None:
    """Whether Spark, in local mode, reduces a file to the same bits as DuckDB; None, with a word, where it is not here."""
    if shutil.which("java") is None or importlib.util.find_spec("pyspark") is None:
        print("Spark is left out: Java or PySpark is not here.")
        return None
    from pyspark import __version__
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[*]")
    options = {"ui.enabled": "false", "ui.showConsoleProgress": "false", "sql.shuffle.partitions": "4"}
    for name, value in (options | {"driver.host": "127.0.0.1", "driver.bindAddress": "127.0.0.1"}).items():
        builder = builder.config(f"spark.{name}", value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    clock = time.perf_counter()
    there = large_trial(path, "growth", relations=Spark(session)).statistics
    seconds = time.perf_counter() - clock
    session.stop()
    here = large_trial(path, "growth").statistics
    same = all(_bits(getattr(here, field.name)) == _bits(getattr(there, field.name)) for field in fields(here))
    print(
        f"            the same statements on Spark {__version__}: {'the same' if same else 'OTHER'} bits, {seconds:.1f} s"
    )
    return {"version": __version__, "same": same, "seconds": seconds}


def _bits(value: object) -> object:
    return value.tobytes() if isinstance(value, np.ndarray) else value


def generate(folder: Path, n_persons: int, missing: float, covariate: bool) -> None:
    """A trial in long format as a folder of Parquet files, a chunk of persons at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng([1, n_persons, int(100 * missing), covariate])
    easiness, effect = item_parameters(rng, ITEMS)
    names = pa.array([f"q{k + 1}" for k in range(ITEMS)])
    kinds = {"id": pa.int64(), "item": pa.dictionary(pa.int8(), pa.string()), "resp": pa.int8(), "treat": pa.int8()}
    schema = pa.schema(kinds | ({"cov_pretest": pa.float64()} if covariate else {}))
    folder.mkdir()
    for part, start in enumerate(range(0, n_persons, PART)):
        stop = min(start + PART, n_persons)
        with pq.ParquetWriter(folder / f"part-{part:03d}.parquet", schema, compression="zstd") as writer:
            for first in range(start, stop, CHUNK):
                n = min(CHUNK, stop - first)
                pretest = rng.normal(size=n) if covariate else np.zeros(n)
                treat, probability = draw(rng, easiness, effect, n, first, pretest)
                resp = rng.random((n, ITEMS)) < probability
                answered = slice(None) if missing == 0.0 else rng.random(n * ITEMS) >= missing
                items = pa.DictionaryArray.from_arrays(np.tile(np.arange(ITEMS, dtype=np.int8), n)[answered], names)
                columns = [
                    np.repeat(np.arange(first, first + n), ITEMS)[answered],
                    items,
                    resp.ravel().astype(np.int8)[answered],
                    np.repeat(treat, ITEMS)[answered],
                ]
                if covariate:
                    columns.append(np.repeat(pretest, ITEMS)[answered])
                writer.write_table(pa.table(dict(zip(schema.names, columns, strict=True)), schema=schema))
