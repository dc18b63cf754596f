"""What goes wrong around a run: a clear message, the other tables go on, earlier results stay whole."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from run_cases import (
    PROJECT,
    another,
    here,
    ilhte,
    kernels_of,
    replay,
    results,
    same,
    start_ilhte,
    undisturbed,
    wait_until,
    write_table,
)

from ilhte_lib.errors import InputError
from ilhte_lib.manifest import MANIFEST
from ilhte_report.intake.source import sources
from ilhte_report.run import tables as run_module
from ilhte_report.run.tables import run_tables

posix = pytest.mark.skipif(os.name != "posix", reason="a matter of POSIX systems")


def rows(run: Path) -> dict[str, dict]:
    """The tables of ``run.json`` by name."""
    return {row["tab"]: row for row in json.loads((run / "run.json").read_text())["tables"]}


@posix
def test_dying_kernel(tmp_path: Path) -> None:
    """A kernel killed from outside is that table's failure and no other's; the next run makes it good."""
    project = another(tmp_path / "p", "if 'trial_000' in table:\n    import time\n    time.sleep(300)")
    process = start_ilhte("run", "data", "--out", "run", "--jobs", 2, cwd=project)
    wait_until(lambda: list((project / "run").glob("fits/trial_001.json")))
    victims = wait_until(lambda: kernels_of(process))
    victims[0].kill()
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 3
    assert "trial_000 failed: Its kernel died" in said
    assert "Traceback" not in said
    found = rows(project / "run")
    assert (found["trial_000"]["status"], found["trial_001"]["status"]) == ("failed", "fitted")
    assert "kernel died" in found["trial_000"]["reason"]
    assert [path.stem for path in (project / "run" / "tables").iterdir()] == ["trial_001"]


def test_kernel_that_ends_itself_and_a_table_over_its_time(tmp_path: Path) -> None:
    """A crash inside the notebook (as of a native library) and one that goes on and on: two sentences, exit code 3."""
    crash = "if 'trial_000' in table:\n    import os\n    os.abort()\nelse:\n    import time\n    time.sleep(300)"
    project = another(tmp_path / "p", crash)
    done = here("run", "data", "--out", "run", "--timeout", 20, cwd=project)
    assert done.returncode == 3
    found = rows(project / "run")
    assert "kernel died" in found["trial_000"]["reason"]
    assert "longer than the limit of 20 s" in found["trial_001"]["reason"]
    assert "--timeout" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert not list((project / "run" / "fits").iterdir())


def test_failure_of_a_repeated_table_leaves_its_earlier_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--force` on an unchanged table that now fails: the result made before is still the result of that table."""
    out = tmp_path / "run"
    monkeypatch.chdir(undisturbed())
    monkeypatch.setattr(run_module, "execute", replay)
    run_tables(sources(["data"]), out)
    expected = results(out)

    def failing(task):
        done = replay(task)
        return run_module.Executed(1.0, reason="It broke.") if task.tab == "trial_000" else done

    monkeypatch.setattr(run_module, "execute", failing)
    outcomes = run_tables(sources(["data"]), out, force=True)
    assert [o.status for o in outcomes] == ["failed", "fitted"]
    assert rows(out)["trial_000"]["reason"] == "It broke. Its earlier result is kept."
    for part in ("documents", "notebooks", "summary", "items"):
        assert same(results(out)[part], expected[part])
    monkeypatch.setattr(run_module, "execute", replay)
    assert [o.status for o in run_tables(sources(["data"]), out)] == ["kept", "kept"]
    assert same(results(out), expected)


def test_failure_of_a_changed_table_takes_its_outdated_result_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A result of other data is not shown as that of a table that can no longer be fitted."""
    shutil.copytree(undisturbed(), tmp_path / "w")
    monkeypatch.chdir(tmp_path / "w")
    (tmp_path / "w" / "data" / "trial_000.csv").write_text("id,item,resp,treat\n1,a,1,0\n")
    outcomes = run_tables(sources(["data"]), Path("run"))
    assert [o.status for o in outcomes] == ["failed", "kept"]
    assert [path.stem for path in Path("run/fits").iterdir()] == ["trial_001"]
    assert set(results(Path("run"))["summary"]["tab"]) == {"trial_001"}


def test_two_runs_on_one_folder(tmp_path: Path) -> None:
    """The second is told so and changes nothing; the first ends as if alone."""
    another(tmp_path)
    first = start_ilhte("run", "data", "--out", "run", cwd=tmp_path)
    wait_until(lambda: (tmp_path / "run" / ".lock").exists())
    second = here("run", "data", "--out", "run", cwd=tmp_path)
    assert second.returncode == 2
    assert "Another run is writing to run" in second.stderr
    assert "Traceback" not in second.stderr
    first.communicate(timeout=120)
    assert first.returncode == 0
    assert same(results(tmp_path / "run"), results(undisturbed() / "run"))


@posix
def test_folder_without_write_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an unprivileged user: one sentence that names the folder, and not a byte of it changed."""
    # not in pytest's own folder, which only its user may enter
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        work = shutil.copytree(undisturbed(), Path(place) / "w")
        monkeypatch.chdir(work)
        monkeypatch.setattr(run_module, "execute", replay)
        run_tables(sources(["data"]), Path("run"), force=True)
        before = _bytes_of(work / "run")
        for path in (work, *work.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        message = _as_nobody(lambda: run_tables(sources(["data"]), Path("run"), force=True))
        assert "folder run cannot be written (Permission denied): change its permissions" in message
        message = _as_nobody(lambda: run_tables(sources(["data"]), Path("new/run")))
        assert "folder new/run cannot be written (Permission denied)" in message
        assert _bytes_of(work / "run") == before
        for path in (work, *work.rglob("*")):
            path.chmod(0o755)


def _bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _as_nobody(work: Callable[[], object]) -> str:
    """The message of the InputError that ``work`` raises in a process without privileges."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            if not os.access(PROJECT / "ilhte_report" / "project.py", os.R_OK):
                message = "unreadable"
            else:
                work()
                message = "no error"
        except InputError as error:
            message = str(error)
        except BaseException as error:
            message = repr(error)
        os.write(writer, message.encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as stream:
        message = stream.read()
    if message == "unreadable":
        pytest.skip("an unprivileged user may not read the project here")
    return message


@posix
def test_file_size_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook that cannot be written whole ends the run with a sentence; what was there stays as it was."""
    shutil.copytree(undisturbed(), tmp_path / "w")
    monkeypatch.chdir(tmp_path / "w")
    write_table(Path("data/larger.csv"), seed=9, n_items=30)
    before = _results_in(Path("run"))
    limited = ilhte(
        *("run", "data", "--out", "run"),
        cwd=tmp_path / "w",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000)),
    )
    assert limited.returncode == 2, limited.stdout + limited.stderr
    assert "no space left for run" in limited.stderr
    assert "Traceback" not in limited.stderr
    assert before.items() <= _results_in(Path("run")).items()
    assert not list(Path("run").rglob(".writing-*"))
    assert [o.status for o in run_tables(sources(["data"]), Path("run"))] == ["fitted", "kept", "kept"]


def _results_in(run: Path) -> dict[str, bytes]:
    return {name: content for name, content in _bytes_of(run).items() if not name.endswith(("run.json", MANIFEST))}


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of that size on a folder; skips the test where it may not be mounted."""
    if sys.platform != "linux":
        pytest.skip("mounts a file system as Linux does")
    folder.mkdir(exist_ok=True)
    libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, f"size={size}".encode()) != 0:
        pytest.skip(f"no small disk can be mounted here ({os.strerror(ctypes.get_errno())})")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@posix
def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk of the results fills up: one sentence, earlier results whole; with room again the run goes on."""
    another(tmp_path)
    write_table(tmp_path / "data" / "third.csv", seed=9)
    monkeypatch.chdir(tmp_path)
    with small_disk(tmp_path / "disk", "1m"):
        run, filler = Path("disk/run"), Path("disk/filler")
        shutil.copytree(undisturbed() / "run", run)
        before = _results_in(run)
        with open(filler, "wb") as stream, contextlib.suppress(OSError):
            while True:
                os.write(stream.fileno(), b"x" * 4096)
        full = here("run", "data", "--out", run, cwd=tmp_path)
        assert full.returncode == 2, full.stdout + full.stderr
        assert "no space left for disk/run" in full.stderr
        assert "Traceback" not in full.stderr
        assert before.items() <= _results_in(run).items()
        filler.unlink()
        assert [o.status for o in run_tables(sources(["data"]), run)] == ["fitted", "kept", "kept"]
        assert set(rows(run)) == {"third", "trial_000", "trial_001"}


@posix
def test_no_room_for_temporary_files(tmp_path: Path) -> None:
    """A full folder of temporary files is every table's failure, with the remedy; not a crash."""
    another(tmp_path)
    scratch = tmp_path / "scratch"
    with small_disk(scratch, "16k"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(scratch))
        done = ilhte("run", "data/trial_000.csv", "--out", "run", cwd=tmp_path)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "TMPDIR" in rows(tmp_path / "run")["trial_000"]["reason"]
    assert "Traceback" not in done.stdout + done.stderr


def test_out_is_a_file(tmp_path: Path) -> None:
    """A results folder that is a file is refused in a sentence."""
    (tmp_path / "taken").write_text("mine")
    done = here("run", "sim_n0200_j04_sz00_rho00", "--out", "taken", cwd=tmp_path)
    assert done.returncode == 2
    assert "taken is a file" in done.stderr
    assert (tmp_path / "taken").read_text() == "mine"
