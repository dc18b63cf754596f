"""Running many tables with papermill: an executed notebook and a document per table, and frames for the pages."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, as_completed
from contextlib import chdir
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ilhte_lib.errors import InputError
from ilhte_lib.files import to_json, versions, write_text

from ..intake.source import Source, bundled_sources, sources
from ..project import OWN_TRIALS, find_project, slug
from .execute import Executed, Task, execute
from .folder import RunFolder, TableRow, open_run_folder, refuse_other_folder
from .key import PAGE_REPLICATES, Settings, code_sha256, fit_notebook, table_key
from .workers import cores, workers

BUNDLED_RUN = "bundled"
"""Name of the folder in ``results/`` for the run of the bundled collection."""


@dataclass(frozen=True)
class TableOutcome:
    """The outcome of one table in this run.

    Attributes
    ----------
    tab : the table's name.
    status : "fitted", "kept" (unchanged since it was fitted) or "failed".
    reason : why it failed, one sentence; None otherwise.
    seconds : wall time spent on it in this run.
    """

    tab: str
    status: str
    reason: str | None
    seconds: float


@dataclass(frozen=True)
class Standing:
    """The progress of a run, in numbers of tables: finished, in total, kept, failed, and running."""

    done: int
    of: int
    kept: int
    failed: int
    running: int


def run_tables(
    sources: Sequence[Source],
    out: Path,
    settings: Settings | None = None,
    *,
    jobs: int | None = None,
    scheduler: str | None = None,
    timeout: float | None = None,
    force: bool = False,
    told: Callable[[TableOutcome | None, Standing], None] = lambda outcome, standing: None,
    edited: Callable[[Path], None] = lambda path: None,
) -> list[TableOutcome]:
    """Execute ``notebooks/fit_table.ipynb`` for each source and collect the results in ``out``.

    Parameters
    ----------
    sources : the tables; their names must differ.
    out : the run's folder; tables in it that are unchanged and whole are not fitted again.
    settings : settings of the analysis.
    jobs : notebooks executed at once on this machine; default: the number of cores.
    scheduler : address of a Dask scheduler whose workers execute the notebooks instead.
    timeout : limit of wall time per table, seconds; default: none.
    force : fit unchanged tables again.
    told : called with the outcome of each table (first with None) and the progress of the run.
    edited : called with the path of each file of an earlier run that was edited since and is kept under that name.

    Raises
    ------
    InputError : two tables have the same name, there are no tables, or the folder cannot be written or is in use by another run.
    """
    settings = settings or Settings()
    _refuse_twins(sources)
    started, clock, cpu = datetime.now(UTC), time.perf_counter(), _cpu_seconds()
    notebook = fit_notebook().read_text(encoding="utf-8")
    code = code_sha256(notebook, settings.engine)
    keys = {source.tab: table_key(source, settings, code) for source in sources}
    tally = _Tally(len(sources), told)
    refuse_other_folder(out, [slug(source.tab) for source in sources])
    with open_run_folder(out) as folder:
        earlier = {} if force else {source.tab: folder.result(source.tab, keys[source.tab]) for source in sources}
        kept = {tab: replace(row, status="fitted", reason=None) for tab, row in earlier.items() if row}
        if len(kept) == len(sources) and folder.holds(list(kept.values())):
            return [tally.add(TableOutcome(tab, "kept", None, 0.0)) for tab in kept]
        folder.rows |= kept
        for tab in kept:
            tally.add(TableOutcome(tab, "kept", None, 0.0))

        def store(source: Source, done: Executed) -> None:
            tally.add(_store(folder, source, keys[source.tab], done))

        readable = []
        for source in sources:
            if source.trouble:
                store(source, Executed(0.0, reason=source.trouble))
            elif source.tab not in kept:
                readable.append((source, _task(source, out, settings, notebook, code, timeout)))
        if readable:
            with workers(min(jobs or cores(), len(readable)), scheduler) as (pool, at_once):
                tally.begin(at_once)
                _execute_all(pool, readable, store)
        header = {
            "run": out.name,
            "started": started.isoformat(timespec="seconds"),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": time.perf_counter() - clock,
            "cpu_seconds": None if scheduler else _cpu_seconds() - cpu,
            "at_once": tally.at_once,
            "scheduler": scheduler,
            "settings": asdict(settings),
            "versions": versions(),
        }
        folder.finish(list(keys), header)
        for path in folder.kept:
            edited(path)
    return [tally.outcomes[source.tab] for source in sources]


def run_collection(project: Path) -> Path:
    """Compute or update the default run of the bundled collection, and return its folder.

    It takes minutes, so progress is reported on standard error, which Quarto shows during its pre-render script.
    """
    from rich.console import Console

    from .progress import progress

    out = project / "results" / BUNDLED_RUN
    with progress(Console(stderr=True)) as told:
        run_tables(bundled_sources(), out, Settings(bootstrap=PAGE_REPLICATES), told=told)
    point_to(out)
    return out


def run_own_trials(project: Path) -> Path:
    """Compute or update the default run of a project's own trials, as ``ilhte run trials.toml``, and return its folder.

    Raises
    ------
    InputError : the file of trials has a mistake. A table that cannot be fitted is listed on the page instead.
    """
    from rich.console import Console

    from .progress import progress

    settings = Settings(bootstrap=PAGE_REPLICATES)
    with chdir(project):
        out = default_folder([OWN_TRIALS], settings)
        with progress(Console(stderr=True)) as told:
            run_tables(sources([OWN_TRIALS]), out, settings, told=told)
    point_to(out)
    return out


def default_folder(names: Sequence[str], settings: Settings) -> Path:
    """The default folder of a run, the same for the same tables and settings, so that the run can be resumed.

    The bundled collection, which the site shows, has one folder whatever the number of replicates.
    """
    try:
        results = find_project() / "results"
    except InputError:
        results = Path("results")
    if not names and replace(settings, bootstrap=0) == Settings():
        return results / BUNDLED_RUN
    digest = hashlib.sha256(json.dumps([*names, asdict(settings)]).encode()).hexdigest()[:8]
    first = slug(Path(names[0]).name)[:40] if names else BUNDLED_RUN
    others = f"-and-{len(names) - 1}-more" if len(names) > 1 else ""
    return results / f"{first}{others}-{digest}"


def point_to(out: Path) -> None:
    """Make ``out`` the latest run, which pages read, if it is in a ``results`` folder."""
    pointer = out.parent / "latest.json"
    if out.parent.name == "results" and (not pointer.exists() or _is_pointer(pointer)):
        write_text(pointer, to_json({"run": out.name}))


def _is_pointer(path: Path) -> bool:
    """Whether a file was written by ``point_to``, and is not a user's file with that name."""
    try:
        return set(json.loads(path.read_text(encoding="utf-8"))) == {"run"}
    except (OSError, ValueError, TypeError):
        return False


class _Tally:
    """Counts outcomes and reports each."""

    def __init__(self, of: int, told: Callable[[TableOutcome | None, Standing], None]) -> None:
        self.outcomes: dict[str, TableOutcome] = {}
        self.at_once = 0
        self._of, self._told = of, told
        self._counts = Counter()

    def begin(self, at_once: int) -> None:
        self.at_once = at_once
        self._tell(None)

    def add(self, outcome: TableOutcome) -> TableOutcome:
        self.outcomes[outcome.tab] = outcome
        self._counts[outcome.status] += 1
        self._tell(outcome)
        return outcome

    def _tell(self, outcome: TableOutcome | None) -> None:
        done = len(self.outcomes)
        running = min(self.at_once, self._of - done)
        self._told(outcome, Standing(done, self._of, self._counts["kept"], self._counts["failed"], running))


def _task(source: Source, out: Path, settings: Settings, notebook: str, code: str, limit: float | None) -> Task:
    return Task(
        tab=source.tab,
        title=source.info.title if source.info else source.tab,
        input_sha256=source.sha256,
        parameters={"table": source.name, **settings.of_table(source)},
        notebook=notebook,
        code=code,
        folder=os.getcwd(),
        output=str(out),
        limit=limit,
    )


def _execute_all(
    pool: Executor, tasks: Sequence[tuple[Source, Task]], store: Callable[[Source, Executed], None]
) -> None:
    """Pass each result to ``store`` when it is ready; if that raises, or the user interrupts, stop all running tables."""
    futures = {pool.submit(execute, task): source for source, task in tasks}
    try:
        for future in as_completed(list(futures)):
            store(futures.pop(future), _result(future))
    except BaseException:
        from .kernel import stop_kernels

        for future in futures:
            future.cancel()
        while not all(future.done() for future in futures):
            stop_kernels()
            time.sleep(0.1)
        raise


def _result(future: Future[Executed]) -> Executed:
    try:
        return future.result()
    except Exception as failure:
        reason = f"No worker could finish it ({type(failure).__name__}): see the logs of the cluster."
        return Executed(0.0, reason=reason)


def _store(folder: RunFolder, source: Source, key: str, done: Executed) -> TableOutcome:
    status = "failed" if done.reason else "fitted"
    row = TableRow(source.tab, slug(source.tab), status, done.reason, done.seconds, key, source.sha256)
    if done.reason:
        row = folder.store_failure(row)
    else:
        folder.store(row, done.document, done.notebook)
    return TableOutcome(row.tab, row.status, row.reason, row.seconds)


def _refuse_twins(sources: Sequence[Source]) -> None:
    if not sources:
        raise InputError("There is nothing to run: name files, folders or bundled tables.")
    seen: dict[str, str] = {}
    for source in sources:
        if source.tab in seen:
            raise InputError(
                f"{seen[source.tab]} and {source.name} are both called {source.tab}: name it once, or rename a file."
            )
        seen[source.tab] = source.name


def _cpu_seconds() -> float:
    """CPU time of this process and of its finished kernels."""
    return sum(os.times()[:4])
