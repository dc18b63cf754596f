"""Many tables through papermill: one executed notebook, one document a table, and the frames the pages read."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import ilhte_lib
from ilhte_lib.document import to_json, versions, write_text
from ilhte_lib.errors import InputError

from .project import find_project, slug
from .source import Source, bundled_sources

if TYPE_CHECKING:
    import pandas as pd

BUNDLED_RUN = "bundled"
"""Name of the folder under ``results/`` that holds the bundled collection's run."""


@dataclass(frozen=True)
class Settings:
    """How every table of a run is analysed."""

    profile: str = "full"
    engine: str = "native"
    max_persons: int | None = None


@dataclass(frozen=True)
class TableOutcome:
    """What became of one table of a run.

    Attributes
    ----------
    tab, slug : its name and its file name in ``fits/`` and ``tables/``.
    status : "fitted", "kept" (unchanged since it was fitted) or "failed".
    reason : why it failed, one sentence; None otherwise.
    seconds : wall time of this table in this run.
    key : hash of everything the result depends on.
    """

    tab: str
    slug: str
    status: str
    reason: str | None
    seconds: float
    key: str
    input_sha256: str


def run_tables(
    sources: Sequence[Source],
    out: Path,
    settings: Settings | None = None,
    *,
    jobs: int | None = None,
    force: bool = False,
    told: Callable[[TableOutcome, int, int], None] | None = None,
) -> list[TableOutcome]:
    """Execute ``notebooks/fit_table.ipynb`` for each source and collect the results in ``out``.

    Parameters
    ----------
    sources : the tables; their names must differ.
    out : the run's folder; tables in it that are unchanged are not fitted again.
    settings : profile, engine, size.
    jobs : notebooks executed at once; default the number of cores.
    force : fit even what is unchanged.
    told : called after each table with its outcome, how many are done and how many there are.

    Raises
    ------
    InputError : two tables of one name, or nothing to do.
    """
    settings = settings or Settings()
    _refuse_twins(sources)
    notebook = fit_notebook()
    for folder in ("fits", "tables"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    earlier = {} if force else _earlier_outcomes(out)
    started = datetime.now(UTC)
    code = code_sha256(notebook)
    outcomes: dict[str, TableOutcome] = {}
    waiting: list[tuple[Source, str]] = []

    def done(outcome: TableOutcome) -> None:
        outcomes[outcome.tab] = outcome
        if told:
            told(outcome, len(outcomes), len(sources))

    for source in sources:
        key = _key(source, settings, code)
        before = earlier.get(source.tab)
        if before and before["key"] == key and before["status"] != "failed" and _intact(out, before["slug"]):
            done(TableOutcome(source.tab, before["slug"], "kept", None, 0.0, key, source.sha256))
        else:
            waiting.append((source, key))
    if waiting:
        workers = min(jobs or os.cpu_count() or 1, len(waiting))
        with ProcessPoolExecutor(max_workers=workers) as pool:
            futures = [pool.submit(_execute, notebook, source, out, settings, key) for source, key in waiting]
            for future in as_completed(futures):
                done(future.result())
    ordered = [outcomes[source.tab] for source in sources]
    _collect(out, ordered, settings, started)
    return ordered


def run_collection(project: Path) -> Path:
    """The default run of the bundled collection, made or brought up to date; returns its folder."""
    out = project / "results" / BUNDLED_RUN
    run_tables(bundled_sources(), out)
    point_to(out)
    return out


def point_to(out: Path) -> None:
    """Make ``out`` the latest run, the one pages read, if it lies in a ``results`` folder."""
    if out.parent.name == "results":
        write_text(out.parent / "latest.json", to_json({"run": out.name}))


def fit_notebook() -> Path:
    """The notebook of one table: the project's own, or the copy that is installed with the package."""
    try:
        return find_project() / "notebooks" / "fit_table.ipynb"
    except InputError:
        here = Path(__file__).parent
        installed = here / "notebooks" / "fit_table.ipynb"
        # an editable installation has no copy: the clone's own notebook is beside the package
        return installed if installed.is_file() else here.parent / "notebooks" / "fit_table.ipynb"


def code_sha256(notebook: Path) -> str:
    """Hash of all code a result depends on: the library, the notebook and what the notebook imports."""
    digest = hashlib.sha256()
    package = Path(__file__).parent
    files = sorted(Path(ilhte_lib.__file__).parent.glob("*.py")) + [
        package / "embed.py",
        package / "source.py",
        notebook,
    ]
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    digest.update(json.dumps(versions(), sort_keys=True).encode())
    return digest.hexdigest()


def _key(source: Source, settings: Settings, code: str) -> str:
    parts = [source.tab, source.name, source.sha256, asdict(settings), code]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _refuse_twins(sources: Sequence[Source]) -> None:
    if not sources:
        raise InputError("There is nothing to run: name files or bundled tables.")
    seen: dict[str, str] = {}
    for source in sources:
        if source.tab in seen:
            raise InputError(
                f"{seen[source.tab]} and {source.name} are both called {source.tab}: rename one of the files."
            )
        seen[source.tab] = source.name


def _earlier_outcomes(out: Path) -> dict[str, dict]:
    try:
        return {row["tab"]: row for row in json.loads((out / "run.json").read_text(encoding="utf-8"))["tables"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _intact(out: Path, name: str) -> bool:
    try:
        json.loads((out / "fits" / f"{name}.json").read_text(encoding="utf-8"))["summary"]
        json.loads((out / "tables" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True


def _execute(notebook: Path, source: Source, out: Path, settings: Settings, key: str) -> TableOutcome:
    """One table: a titled copy of the notebook, executed by papermill, renamed into place when it is complete."""
    import warnings

    import nbformat
    import papermill

    clock = time.perf_counter()
    name = slug(source.tab)
    final = out / "tables" / f"{name}.ipynb"
    titled = out / "tables" / f".{name}.source.ipynb"
    executed = out / "tables" / f".{name}.executed.ipynb"
    reason = None
    try:
        write_text(titled, nbformat.writes(_titled(nbformat.read(notebook, as_version=4), source)))
        parameters = {"table": source.name, "output": str(out), **asdict(settings)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            papermill.execute_notebook(
                str(titled),
                str(executed),
                parameters=parameters,
                kernel_name="python3",
                progress_bar=False,
                cwd=os.getcwd(),
                extra_arguments=["--log-level=ERROR"],
            )
        os.replace(executed, final)
    except papermill.PapermillExecutionError as failure:
        told = failure.ename in ("InputError", "EngineError")
        reason = failure.evalue if told else f"{failure.ename}: {failure.evalue}"
    finally:
        titled.unlink(missing_ok=True)
        executed.unlink(missing_ok=True)
    if reason is not None:
        final.unlink(missing_ok=True)
        (out / "fits" / f"{name}.json").unlink(missing_ok=True)
    seconds = time.perf_counter() - clock
    return TableOutcome(source.tab, name, "failed" if reason else "fitted", reason, seconds, key, source.sha256)


def _titled(notebook, source: Source):
    """The notebook with the table's title in its front matter (JSON is YAML: no name can break out of it)."""
    title = source.info.title if source.info else source.tab
    front = {"title": title, "subtitle": source.tab}
    notebook.cells[0].source = "---\n" + "\n".join(f"{k}: {json.dumps(v)}" for k, v in front.items()) + "\n---"
    return notebook


def _collect(out: Path, outcomes: list[TableOutcome], settings: Settings, started: datetime) -> None:
    """summary.parquet, items.parquet and run.json from the documents of this run; what is not of it is removed."""
    import pandas as pd

    kept = {outcome.slug for outcome in outcomes if outcome.status != "failed"}
    for folder, suffix in (("fits", ".json"), ("tables", ".ipynb")):
        for file in (out / folder).glob(f"*{suffix}"):
            if file.name.removesuffix(suffix) not in kept:
                file.unlink()
    documents = [
        json.loads((out / "fits" / f"{outcome.slug}.json").read_text(encoding="utf-8"))
        for outcome in outcomes
        if outcome.status != "failed"
    ]
    write_parquet(out / "summary.parquet", pd.DataFrame([d["summary"] for d in documents]))
    write_parquet(out / "items.parquet", pd.DataFrame([row for d in documents for row in d["items"]]))
    record = {
        "run": out.name,
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": asdict(settings),
        "versions": versions(),
        "tables": [asdict(outcome) for outcome in outcomes],
    }
    write_text(out / "run.json", to_json(record))


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """A Parquet file, whole or not at all."""
    temporary = path.with_name(f".{path.name}.writing")
    try:
        frame.to_parquet(temporary, index=False)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
