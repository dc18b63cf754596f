"""Many tables at once: what is run, what is kept, what is left behind, what is shown."""

from __future__ import annotations

import io
import json
import os
import shutil
import time
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console
from run_cases import here, ilhte, replay, results, same, small_project, small_tables, undisturbed, write_table

from ilhte_lib.errors import InputError
from ilhte_report.intake.source import source, sources
from ilhte_report.project import slug
from ilhte_report.run import tables as run_module
from ilhte_report.run.execute import Executed, Task, execute
from ilhte_report.run.key import code_sha256, fit_notebook, imported_modules, table_key
from ilhte_report.run.progress import progress
from ilhte_report.run.tables import Settings, Standing, TableOutcome, default_folder, run_tables

HOSTILE = "..\\<script>alert(1) '\"{x}\x1b[2J=1+1"


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Notebooks are not executed but answered with what executing them came to; the tables asked for."""
    asked: list[str] = []

    def answer(task: Task) -> Executed:
        asked.append(task.tab)
        return replay(task)

    monkeypatch.chdir(undisturbed())
    monkeypatch.setattr(run_module, "execute", answer)
    return asked


def test_mixed_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder, a file with a hostile name, an IRW table from the cache, a bundled table and bad ones in one run."""
    small_tables(small_project(tmp_path) / "trials", 1)
    parquet = pd.read_csv(write_table(tmp_path / "other.csv", seed=5))
    parquet.assign(item=parquet["item"].str[1:].astype(int)).to_parquet(tmp_path / "trials" / "integer_items.parquet")
    (tmp_path / "trials" / "notes.txt").write_text("not a table")
    (tmp_path / "trials" / "empty.csv").write_text("id,item,resp,treat\n")
    write_table(tmp_path / f"{HOSTILE}.csv", seed=6)
    monkeypatch.setenv("ILHTE_CACHE", str(tmp_path / "cache"))
    _cache_irw_table("gilbert_meta_99", parquet)
    names = ["trials", f"{HOSTILE}.csv", "irw:gilbert_meta_99", "sim_n0200_j04_sz00_rho00"]
    before = set(tmp_path.iterdir())
    done = ilhte("run", *names, "--out", "results/mine", cwd=tmp_path)
    assert done.returncode == 3, done.stdout + done.stderr
    out = tmp_path / "results" / "mine"
    record = json.loads((out / "run.json").read_text())
    rows = {row["tab"]: row for row in record["tables"]}
    good = ["integer_items", "trial_000", HOSTILE, "gilbert_meta_99", "sim_n0200_j04_sz00_rho00"]
    assert list(rows) == ["empty", *good]
    assert {tab: row["status"] for tab, row in rows.items()} == {"empty": "failed"} | dict.fromkeys(good, "fitted")
    assert "no rows" in rows["empty"]["reason"]
    assert "empty failed: 'empty.csv' has a header but no rows" in done.stdout
    assert "\x1b" not in done.stdout
    assert "5 tables (0 unchanged)" in done.stdout
    assert pd.read_parquet(out / "summary.parquet")["tab"].tolist() == good
    assert set(pd.read_parquet(out / "items.parquet")["tab"]) == set(good)
    for folder, suffix in (("fits", ".json"), ("tables", ".ipynb")):
        assert {path.name for path in (out / folder).iterdir()} == {slug(tab) + suffix for tab in good}
    assert json.loads((out.parent / "latest.json").read_text()) == {"run": "mine"}
    assert record["seconds"] > 0
    assert record["cpu_seconds"] > 0
    # nothing went elsewhere
    assert set(tmp_path.iterdir()) == {*before, tmp_path / "results"}


def _cache_irw_table(name: str, table: pd.DataFrame) -> None:
    from ilhte_report.intake.irw.client import Download
    from ilhte_report.intake.irw.tables import _keep, cache_folder

    _keep(Download(name, table, f"reference of {name}", "hash", ()), 57, cache_folder())


def test_unknown_names_are_refused_before_anything_is_fitted(tmp_path: Path) -> None:
    """A mistyped name is one sentence and exit code 2."""
    (tmp_path / "nothing").mkdir()
    for name, sentence in (("trail.csv", "no file trail.csv"), ("verbag", "verbag"), ("nothing", "contains no table")):
        done = here("run", name, cwd=tmp_path)
        assert done.returncode == 2
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "results").exists()


def test_two_tables_of_one_name_are_refused(tmp_path: Path) -> None:
    """No table silently takes another's place."""
    names = [str(write_table(tmp_path / folder / "trial.csv", seed=1)) for folder in ("a", "b")]
    with pytest.raises(InputError, match="both called trial"):
        run_tables(sources(names), tmp_path / "run")
    with pytest.raises(InputError, match="nothing to run"):
        run_tables([], tmp_path / "run")


def test_unreadable_file_is_that_tables_failure(replayed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that may not be read comes with its reason; the other tables go on."""
    import ilhte_report.intake.source as module

    def forbidden(path):
        if "trial_000" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return "0" * 64

    monkeypatch.setattr(module, "sha256_of", forbidden)
    found = sources(["data"])
    assert [s.tab for s in found] == ["trial_000", "trial_001"]
    assert found[0].trouble == "data/trial_000.csv cannot be read (Permission denied): check its permissions."
    assert found[1].trouble is None


def test_unchanged_tables_are_kept_and_only_these(
    tmp_path: Path, replayed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is executed twice; changed data, settings, code or `force` are."""
    shutil.copytree("data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    run_tables(sources(["data"]), Path("run"))
    stamps = {path: path.stat().st_mtime_ns for path in Path("run").rglob("*") if path.suffix}
    replayed.clear()
    told: list[tuple] = []
    outcomes = run_tables(sources(["data"]), Path("run"), told=lambda *what: told.append(what))
    assert [(o.tab, o.status) for o in outcomes] == [("trial_000", "kept"), ("trial_001", "kept")]
    assert [standing.done for _, standing in told] == [1, 2]
    assert replayed == []
    assert {path: path.stat().st_mtime_ns for path in Path("run").rglob("*") if path.suffix} == stamps

    with open("data/trial_001.csv", "a") as table:
        table.write("p_new,i1,1,0\n")
    run_tables(sources(["data"]), Path("run"))
    assert replayed == ["trial_001"]
    replayed.clear()
    run_tables(sources(["data"]), Path("run"), Settings(profile="vignette"))
    assert sorted(replayed) == ["trial_000", "trial_001"]
    replayed.clear()
    monkeypatch.setattr(run_module, "code_sha256", lambda notebook, engine: "another version")
    run_tables(sources(["data"]), Path("run"), Settings(profile="vignette"))
    assert sorted(replayed) == ["trial_000", "trial_001"]
    replayed.clear()
    run_tables(sources(["data"]), Path("run"), Settings(profile="vignette"), force=True)
    assert sorted(replayed) == ["trial_000", "trial_001"]


def test_a_run_holds_the_tables_it_was_asked_for(tmp_path: Path, replayed: list[str]) -> None:
    """Fewer or more tables in the same folder: what is no longer asked for goes, the rest is kept."""
    out = tmp_path / "run"
    run_tables(sources(["data"]), out)
    expected = results(out)
    replayed.clear()
    run_tables(sources(["data/trial_001.csv"]), out)
    assert replayed == []
    assert list(results(out)["documents"]) == ["trial_001.json"]
    assert results(out)["summary"]["tab"] == ["trial_001"]
    run_tables(sources(["data"]), out)
    assert replayed == ["trial_000"]
    assert same(results(out), expected)


def test_key_covers_everything_a_result_depends_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data, name, each setting, the notebook, each module behind it, versions: any of them makes another key."""
    path = write_table(tmp_path / "trial.csv", seed=1)
    notebook = fit_notebook().read_text(encoding="utf-8")
    code = code_sha256(notebook, "native")
    keys = [table_key(source(str(path)), settings, code) for settings in (Settings(), Settings(profile="vignette"))]
    keys += [
        table_key(source(str(path)), settings, code)
        for settings in (Settings("full", "pymer4"), Settings(max_persons=9), Settings(bootstrap=9))
    ]
    write_table(path, seed=2)
    keys.append(table_key(source(str(path)), Settings(), code))
    keys.append(
        table_key(
            source(str(path)), Settings(), code_sha256(notebook.replace("One table, fitted", "One table"), "native")
        )
    )
    monkeypatch.setattr("ilhte_report.run.key.versions", lambda: {"ilhte": "9.9"})
    keys.append(table_key(source(str(path)), Settings(), code_sha256(notebook, "native")))
    assert len(set(keys)) == 8


def _execute_with(cell: str, table: str) -> tuple[Executed, dict]:
    """The project's notebook with one more cell, executed for a bundled table."""
    notebook = json.loads(fit_notebook().read_text(encoding="utf-8"))
    extra = {"cell_type": "code", "id": "extra", "metadata": {}, "execution_count": None, "outputs": [], "source": cell}
    notebook["cells"].append(extra)
    text = json.dumps(notebook)
    where = source(table)
    task = Task(
        tab=where.tab,
        title="A title: \"quoted\" --- 'twice' # and <b>",
        input_sha256=where.sha256,
        parameters={"table": table, "profile": "full", "engine": "native", "max_persons": None},
        notebook=text,
        code=code_sha256(text, "native"),
        folder=os.getcwd(),
        output="results/run",
        limit=None,
    )
    done = execute(task)
    assert done.reason is None, done.reason
    return done, json.loads(done.notebook)


def test_executed_notebook() -> None:
    """A table of 40 items: small, no copy of plotly.js, no path of the machine; no needless import; key complete."""
    listing = (
        "import os, sys\n"
        "print('\\n'.join(m for m in sys.modules if m.startswith('ilhte')))\n"
        "print('OTHERS', *{m.split('.')[0] for m in sys.modules}, *[m for m in sys.modules if m.startswith('scipy.')])\n"
        "print('THREADS', os.environ['OMP_NUM_THREADS'])"
    )
    done, notebook = _execute_with(listing, "sim_n2000_j40_sz40_rhom30")
    assert len(done.notebook.encode()) < 300_000
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    figures = [
        output
        for cell in code
        for output in cell["outputs"]
        if "application/vnd.plotly.v1+json" in output.get("data", {})
    ]
    # profiles, items, curves, more items: this table has no covariate
    assert len(figures) == 4
    assert "plotly.js v" not in done.notebook
    assert all(cell["execution_count"] for cell in code)
    injected = next(cell for cell in code if "injected-parameters" in cell["metadata"]["tags"])
    assert 'output = "results/run"' in "".join(injected["source"])
    assert "ilhte-" not in json.dumps(notebook["metadata"])
    assert notebook["metadata"]["papermill"]["parameters"]["output"] == "results/run"
    title = "".join(notebook["cells"][0]["source"]).splitlines()[1]
    assert json.loads(title.removeprefix("title: ")) == "A title: \"quoted\" --- 'twice' # and <b>"

    said = "".join(code[-1]["outputs"][0]["text"]).splitlines()
    loaded = {line for line in said if line.startswith("ilhte")}
    known = set(imported_modules(fit_notebook().read_text(encoding="utf-8")))
    # the folder of the process that a kernel is forked from comes along, empty
    packages = {name.rpartition(".")[0] for name in known} | {"ilhte_lib", "ilhte_report", "ilhte_report.run"}
    assert loaded <= known | packages
    others = next(line for line in said if line.startswith("OTHERS")).split()
    # each of these costs a table a tenth of a second or more, and none is needed
    assert not {"papermill", "nbclient", "nbformat", "matplotlib", "requests", "scipy.stats", "scipy.optimize"} & set(
        others
    )
    assert said[-1] == "THREADS 1"


def test_worker_of_another_version_refuses() -> None:
    """A cluster's worker whose code is not that of the run gives a reason instead of other numbers."""
    task = Task("t", "t", "0", {"engine": "native"}, fit_notebook().read_text(), "another", ".", "run", None)
    assert "install the same version" in execute(task).reason


def test_data_that_change_while_they_are_read(tmp_path: Path) -> None:
    """The result is of the data whose hash is recorded, or there is none."""
    path = write_table(tmp_path / "trial.csv", seed=1)
    found = sources([str(path)])
    write_table(path, seed=2)
    outcome = run_tables(found, tmp_path / "run")[0]
    assert (outcome.status, outcome.reason) == (
        "failed",
        "The table's data changed while it was being read: run it again.",
    )


def test_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for the same command, so that a run can be resumed; another for other tables or settings."""
    monkeypatch.chdir(tmp_path)
    assert default_folder([], Settings()) == Path("results/bundled")
    assert default_folder([], Settings(bootstrap=99)) == Path("results/bundled")
    folders = [
        default_folder(names, settings)
        for names in ([], ["a.csv"], ["a.csv", "b.csv"], ["a.csv", "c.csv"], ["../evil/<b>.csv"])
        for settings in (Settings(), Settings(profile="vignette"))
    ]
    assert len(set(folders)) == len(folders)
    assert all(folder.parent == Path("results") for folder in folders)
    assert default_folder(["a.csv", "b.csv"], Settings()) == folders[4]
    assert folders[4].name.startswith("a-csv")


def test_plain_progress() -> None:
    """Away from a terminal: a line a table with what is done, running, failed and left; escape codes are taken out."""
    screen = io.StringIO()
    with progress(Console(file=screen, width=40)) as told:
        told(None, Standing(0, 3, 0, 0, 2))
        told(TableOutcome("kept", "kept", None, 0.0), Standing(1, 3, 1, 0, 2))
        told(TableOutcome("good [bold]", "fitted", None, 1.26), Standing(2, 3, 1, 0, 1))
        told(TableOutcome("bad\x1b[2J", "failed", "No\nrows: [x].", 1.0), Standing(3, 3, 1, 1, 0))
    lines = screen.getvalue().splitlines()
    assert lines[0] == "[1/3, 2 running, 0 failed] kept: kept"
    assert lines[1] == "[2/3, 1 running, 0 failed, about 0 s left] good [bold]: fitted (1.3 s)"
    assert lines[2] == "[3/3] bad\\x1b[2J failed: No\\nrows: [x]."


def test_a_run_that_is_long_at_a_table_says_so(monkeypatch) -> None:
    monkeypatch.setattr("ilhte_report.run.progress.SILENCE", 0.05)
    screen = io.StringIO()
    with progress(Console(file=screen, width=80)) as told:
        told(None, Standing(0, 2, 0, 0, 2))
        deadline = time.monotonic() + 10
        while "at work" not in screen.getvalue() and time.monotonic() < deadline:
            time.sleep(0.02)
    assert screen.getvalue().startswith("[0/2, 2 running, 0 failed] still working after 0 s\n")


def test_quiet_progress() -> None:
    """Only failures, with their reasons."""
    screen = io.StringIO()
    with progress(Console(file=screen), quiet=True) as told:
        told(TableOutcome("good", "fitted", None, 1.0), Standing(1, 2, 0, 0, 1))
        told(TableOutcome("bad", "failed", "No rows.", 1.0), Standing(2, 2, 0, 1, 0))
    assert screen.getvalue() == "[2/2] bad failed: No rows.\n"


def test_progress_on_a_terminal() -> None:
    """A bar with counts, and failures above it."""
    screen = io.StringIO()
    with progress(Console(file=screen, force_terminal=True, width=100)) as told:
        told(None, Standing(0, 4, 0, 0, 2))
        told(TableOutcome("bad\x1b[2J", "failed", "No rows.", 1.0), Standing(1, 4, 0, 1, 2))
    text = screen.getvalue()
    assert "1/4" in text
    assert "2 running, 1 failed" in text
    assert "bad\\x1b[2J failed: No rows." in text
    assert "\x1b[2J" not in text


def test_quiet_command(tmp_path: Path) -> None:
    """`--quiet` says nothing of success; of failure, the reason, on the error stream."""
    (tmp_path / "empty.csv").write_text("id,item,resp,treat\n")
    done = here("run", "empty.csv", "--out", "run", "--quiet", cwd=tmp_path)
    assert done.returncode == 3
    assert done.stdout == ""
    assert "empty failed" in done.stderr
