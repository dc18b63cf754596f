"""Fitting the bundled collection with both engines, into ``data/computed/engines_models.parquet`` and ``engines_items.parquet``.

Ratings are dichotomised, as lme4 fits only 0 and 1. lme4's estimates, which take long, are cached by table in
``data/cache/engines`` and computed again if the table or the versions of R and its packages change; the native engine's are
computed every time.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from ilhte_lib.data.prepare import prepare
from ilhte_lib.data.trial import Trial
from ilhte_lib.files import write_text

from ..intake.source import Source, bundled_sources, load
from ..project import find_project, slug
from .computed import write_computed
from .engine_comparison import Estimates, compare, estimate, lme4_versions, tight_logliks

COMMAND = "python -m ilhte_report.studies.compute engines"
PROFILE = "full"


def compute_engines() -> None:
    """Compare the engines on every bundled table, short ones first, and write both files after each.

    Raises
    ------
    EngineError : R or one of its packages is missing.
    """
    import pandas as pd

    versions = lme4_versions()
    tables = [(where, prepared_for_both(where)) for where in bundled_sources()]
    order = [where.tab for where, _ in tables]
    models: list[dict] = []
    items: list[dict] = []
    for where, trial in sorted(tables, key=lambda pair: pair[1].n_responses):
        of_models, of_items = compare(trial, estimate(trial, "native"), *_lme4(where, trial, versions))
        models += of_models
        items += of_items
        for name, rows in (("engines_models", models), ("engines_items", items)):
            # a stable sort: tables in the order of the collection, rows of a table in their own order
            frame = pd.DataFrame(rows).sort_values("tab", key=lambda tab: tab.map(order.index), kind="stable")
            write_computed(name, frame, COMMAND, profile=PROFILE, lme4=versions)
        print(f"{where.tab}: lme4 {sum(r['cpu_lme4'] for r in of_models):.1f} s of CPU", flush=True)


def prepared_for_both(where: Source) -> Trial:
    """A bundled table for models that lme4 can fit: ratings dichotomised at the catalogue's threshold, without clusters."""
    threshold = where.info.threshold if where.info else None
    return prepare(load(where), where.tab, profile=PROFILE, threshold=threshold, ignore_clusters=True)


def _lme4(where: Source, trial: Trial, versions: dict[str, str]) -> tuple[dict[str, Estimates], dict[str, float]]:
    """lme4's estimates of a table and its log-likelihoods there with a tight inner search, from the cache if it has them for
    this table and these versions."""
    threshold = where.info.threshold if where.info else None
    key = hashlib.sha256(json.dumps([where.sha256, PROFILE, threshold, versions], sort_keys=True).encode()).hexdigest()
    path = find_project() / "data" / "cache" / "engines" / f"{slug(where.tab)}.json"
    kept = _read(path)
    if kept.get("key") == key:
        return {name: Estimates(**values) for name, values in kept["models"].items()}, kept["tight"]
    found = estimate(trial, "pymer4")
    tight = tight_logliks(trial, found)
    write_text(path, json.dumps({"key": key, "models": {n: asdict(e) for n, e in found.items()}, "tight": tight}))
    return found, tight


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
