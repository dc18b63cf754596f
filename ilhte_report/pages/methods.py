"""The tables of the methods page: compression and certificates in this run, agreement with lme4, provenance."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from ilhte_lib.data.catalogue import load_bundled
from ilhte_lib.data.options import DataOptions
from ilhte_lib.data.prepare import prepare
from ilhte_lib.engine.native import statistics_of
from ilhte_lib.errors import InputError
from ilhte_lib.model.spec import MODELS

from ..project import find_project, latest_run
from ..run.folder import by_arm
from ..studies.computed import computed_folder, read_computed
from ..words.markdown import escape_markdown, page_table
from ..words.numbers import number
from .results import RunResults

if TYPE_CHECKING:
    from IPython.display import Markdown


def compression_table(run: RunResults) -> Markdown:
    """Numbers of responses and of classes of persons, for the run's real bundled tables and its largest simulated one."""
    from IPython.display import Markdown

    rows = run.summary[run.summary["tab"].isin(list(run.info))].sort_values("n_responses")
    real = rows["tab"].map(lambda tab: run.info[tab].kind == "real").astype(bool)
    chosen = [*rows["tab"][real], *rows["tab"][~real].tail(1)]
    if not chosen:
        return Markdown(
            "The responses in this run's files are not stored with its results, so their classes are not counted here."
        )
    return page_table([_compression_row(tab, run.record["settings"]) for tab in chosen], left=("Table",))


def _compression_row(tab: str, settings: dict) -> dict:
    rules = {"profile": settings["profile"], "max_persons": settings["max_persons"], **settings.get("options", {})}
    trial = prepare(load_bundled(tab, find_project() / "data"), tab, **DataOptions.of(rules).rules)
    models = ("M_A", "M_C") if trial.covariate is not None else ("M_A",)
    classes = {model: statistics_of(trial, MODELS[model]).n_classes for model in models}
    return {
        "Table": tab,
        "Persons": f"{trial.n_persons:,}",
        "Responses": f"{trial.n_responses:,}",
        "Classes, M_0 and M_A": f"{classes['M_A']:,}",
        "Classes, M_B and M_C": f"{classes['M_C']:,}" if "M_C" in classes else "–",
        "Persons per class, M_A": number(trial.n_persons / classes["M_A"], 1),
    }


def cluster_coverage_table() -> Markdown:
    """Coverage of the average effect's interval with few and many clusters, and with clusters ignored; a sentence if it has not
    been computed."""
    from IPython.display import Markdown

    from ..studies.clusters import cluster_summary

    try:
        found = cluster_summary(read_computed("clusters")[0])
    except InputError as absent:
        return Markdown(f"*The simulation has not been computed here.* {escape_markdown(str(absent))}")
    rows = [
        {
            "Clusters": str(row.clusters),
            "Interval": row.method,
            "Coverage": f"{number(100 * row.coverage, 1)}%",
            "Monte Carlo": f"{number(100 * row.lower, 1)} to {number(100 * row.upper, 1)}%",
            "Standard error": number(row.se, 3),
            "SD of estimates": number(row.sd, 3),
            "Fits with σ_u = 0": f"{number(100 * row.at_zero, 1)}%",
            "Trials": f"{row.replications:,}",
        }
        for row in found.itertuples()
    ]
    return page_table(rows, left=("Interval",))


def certificate_table() -> Markdown:
    """The fits of the latest run by model: how many are certified, and the worst gradient and curvature among them."""
    documents = [
        document
        for path in sorted((latest_run(find_project()) / "fits").glob("[!.]*.json"))
        for document in by_arm(json.loads(path.read_text(encoding="utf-8")))
    ]
    rows = []
    for model in MODELS:
        fits = [document["models"][model] for document in documents if model in document["models"]]
        if not fits:
            continue
        gradients = [fit["gradient_norm"] for fit in fits if fit["gradient_norm"] is not None]
        curvatures = [fit["hessian_min_eigenvalue"] for fit in fits if fit["hessian_min_eigenvalue"] is not None]
        rows.append(
            {
                "Model": model,
                "Fits": len(fits),
                "Certified": sum(fit["converged"] for fit in fits),
                "On a boundary": sum(fit["singular"] for fit in fits),
                "Largest gradient": _power(max(gradients, default=math.nan)),
                "Smallest curvature": _power(min(curvatures, default=math.nan)),
                "Evaluations, median": f"{sorted(fit['evaluations'] for fit in fits)[len(fits) // 2]}",
                "Seconds in total": number(sum(fit["seconds"] for fit in fits), 2),
            }
        )
    return page_table(rows, left=("Model",))


def agreement() -> Markdown:
    """A comparison with lme4 on the bundled tables, in sentences; a sentence if it has not been computed."""
    from IPython.display import Markdown

    from ..studies.engines_page import overview, read_comparison

    try:
        return overview(read_comparison())
    except InputError as absent:
        return Markdown(f"*The comparison has not been computed here.* {escape_markdown(str(absent))}")


def computed_table() -> Markdown:
    """The stored long computations, with command, date and commit."""
    from IPython.display import Markdown

    names = sorted(path.stem for path in computed_folder().glob("[!.]*.parquet"))
    if not names:
        return Markdown("None has been computed here; `make compute` computes them.")
    rows = []
    for name in names:
        frame, about = read_computed(name)
        rows.append(
            {
                "File in data/computed": f"{name}.parquet",
                "Rows": f"{len(frame):,}",
                "Computed on": about["date"].replace("-", "\N{NON-BREAKING HYPHEN}"),
                "Command": about["command"],
                "Commit": about["commit"][:10],
            }
        )
    return page_table(rows, left=("File in data/computed", "Command", "Commit", "Computed on"))


def more_pages(**names: str) -> Markdown:
    """Links to notebooks that the site contains: link texts by the name in ``notebooks/<name>.ipynb``."""
    from IPython.display import Markdown

    folder = find_project() / "notebooks"
    found = [
        f"- [{words}](notebooks/{name}.ipynb)" for name, words in names.items() if _is_page(folder / f"{name}.ipynb")
    ]
    return Markdown("\n".join(found))


def _is_page(path: Path) -> bool:
    from ..site.config import read_config

    project = find_project()
    return path.relative_to(project).as_posix() in read_config(project).pages


def _power(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2g}"
