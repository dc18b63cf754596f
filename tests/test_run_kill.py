"""A run that is killed, or whose files are damaged, and started again ends with the results of an undisturbed one."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from run_cases import another, is_kernel, kernels_of, replay, results, same, start_ilhte, undisturbed, wait_until

from ilhte_report.intake.source import sources
from ilhte_report.run import tables as run_module
from ilhte_report.run.tables import point_to, run_tables

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kill -9 is a matter of POSIX systems")


def test_killed_at_ten_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kill -9 at moments spread over an undisturbed run's duration: no kernel survives, the next run completes it."""
    expected, duration = results(undisturbed() / "run"), _seconds(undisturbed() / "run")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))  # what killed processes leave is not for the machine to keep
    spread, cut_off = random.Random(20250601), 0
    for k in range(10):
        folder = tmp_path / str(k)
        another(folder)
        process = start_ilhte("run", "data", "--out", "run", cwd=folder)
        wait_until(lambda place=folder / "run" / "fits": place.is_dir())
        time.sleep(spread.uniform(0.0, duration))
        kernels = kernels_of(process)
        cut_off += process.poll() is None
        process.kill()
        process.communicate()
        monkeypatch.chdir(folder)
        if k == 3:  # with kernels it has been completed often enough
            monkeypatch.setattr(run_module, "execute", replay)
        assert {o.status for o in run_tables(sources(["data"]), Path("run"))} <= {"fitted", "kept"}
        assert same(results(folder / "run"), expected), f"killed at moment {k}"
        wait_until(lambda left=kernels: not any(map(is_kernel, left)))
    assert cut_off >= 5, "most runs were over when they should have been killed"


def _seconds(run: Path) -> float:
    return json.loads((run / "run.json").read_text())["seconds"]


def _in_a_fork(work: Callable[[], object]) -> int:
    """The status, as ``os.waitpid`` gives it, of a process of its own that does ``work``."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def _run_once(out: Path) -> None:
    run_tables(sources(["data"]), out, jobs=1)
    point_to(out)


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Notebooks are not executed but answered with what executing them came to; the tables asked for."""
    asked: list[str] = []

    def answer(task):
        asked.append(task.tab)
        return replay(task)

    monkeypatch.chdir(undisturbed())
    monkeypatch.setattr(run_module, "execute", answer)
    return asked


def _renames(out: Path) -> list[str]:
    """Into which files a run renames, in order."""
    names: list[str] = []
    rename = os.replace

    def noting(old, new):
        names.append(Path(new).name)
        rename(old, new)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", noting)
        _run_once(out)
    return names


@pytest.mark.parametrize("moment", ["half written", "written", "renamed"])
def test_killed_inside_each_write_and_rename(tmp_path: Path, replayed: list[str], moment: str) -> None:
    """In each of a run's writes: with half of the temporary file there, with all of it, and right after the rename."""
    names = _renames(tmp_path / "results" / "run")
    kinds = ("trial_000.json", "trial_000.ipynb", "run.json", "summary.parquet", "items.parquet", "latest.json")
    assert set(kinds) <= set(names)
    expected = results(undisturbed() / "run")
    for fatal in range(len(names)):
        out = tmp_path / "results" / f"{moment}-{fatal}"

        def killed_in_rename(out: Path = out, fatal: int = fatal) -> None:
            rename, calls = os.replace, iter(range(len(names)))

            def deadly(old, new):
                if next(calls) != fatal:
                    rename(old, new)
                    return
                if moment == "half written":
                    os.truncate(old, os.path.getsize(old) // 2)
                elif moment == "renamed":
                    rename(old, new)
                os.kill(os.getpid(), signal.SIGKILL)

            os.replace = deadly
            _run_once(out)

        assert os.WTERMSIG(_in_a_fork(killed_in_rename)) == signal.SIGKILL
        _run_once(out)
        assert same(results(out), expected), f"killed in rename {fatal}, to {names[fatal]}"
        assert json.loads((out.parent / "latest.json").read_text()) == {"run": out.name}
        assert not list(out.rglob(".writing-*"))


def test_killed_while_an_earlier_result_is_replaced(tmp_path: Path, replayed: list[str]) -> None:
    """Frames of an earlier state are not taken for those of the tables that are there by then."""
    out = tmp_path / "run"
    _run_once(out)
    earlier = (out / "summary.parquet").read_bytes()
    (out / "fits" / "trial_001.json").unlink()
    (out / "summary.parquet").write_bytes(earlier)

    def killed_before_the_frames() -> None:
        run_module.RunFolder.finish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        _run_once(out)

    assert os.WTERMSIG(_in_a_fork(killed_before_the_frames)) == signal.SIGKILL
    assert "sha256" not in json.loads((out / "run.json").read_text())
    _run_once(out)
    assert same(results(out), results(undisturbed() / "run"))


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _edit(path: Path) -> None:
    """One digit changed to another, the file otherwise well-formed."""
    text = path.read_text(encoding="utf-8")
    at = text.index("0.")
    path.write_text(text[:at] + "9." + text[at + 2 :], encoding="utf-8")


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("name", "damage", "fitted_again"),
    [
        ("fits/trial_001.json", _cut, ["trial_001"]),
        ("fits/trial_001.json", _edit, ["trial_001"]),
        ("fits/trial_001.json", Path.unlink, ["trial_001"]),
        ("tables/trial_001.ipynb", _cut, ["trial_001"]),
        ("tables/trial_001.ipynb", _edit, ["trial_001"]),
        ("tables/trial_001.ipynb", Path.unlink, ["trial_001"]),
        ("summary.parquet", _cut, []),
        ("items.parquet", _empty, []),
        ("items.parquet", Path.unlink, []),
        ("run.json", _cut, ["trial_000", "trial_001"]),
        ("run.json", _empty, ["trial_000", "trial_001"]),
        ("run.json", Path.unlink, ["trial_000", "trial_001"]),
    ],
)
def test_damage_is_noticed_and_made_good(
    tmp_path: Path, replayed: list[str], name: str, damage: Callable[[Path], None], fitted_again: list[str]
) -> None:
    """A torn, hand-edited or missing file: that table is fitted again, no other, and the results are the same."""
    out = tmp_path / "run"
    _run_once(out)
    replayed.clear()
    damage(out / name)
    _run_once(out)
    assert sorted(replayed) == fitted_again
    assert same(results(out), results(undisturbed() / "run"))
    replayed.clear()
    _run_once(out)
    assert replayed == []


def test_hand_edited_record_leads_nowhere(tmp_path: Path, replayed: list[str]) -> None:
    """A row of ``run.json`` that names a file elsewhere, or checksums that do not fit, is as good as none."""
    out = tmp_path / "results" / "run"
    _run_once(out)
    victim = tmp_path / "results" / "victim.json"
    victim.write_text("{}")
    record = json.loads((out / "run.json").read_text())
    record["tables"][0]["slug"] = "../../victim"
    record["tables"][1]["fit_sha256"] = "0" * 64
    record["tables"].append("no row")
    (out / "run.json").write_text(json.dumps(record))
    replayed.clear()
    _run_once(out)
    assert sorted(replayed) == ["trial_000", "trial_001"]
    assert victim.read_text() == "{}"
    assert same(results(out), results(undisturbed() / "run"))


def test_interrupted_run_stops_its_kernels_and_goes_on_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C: exit code 130, no kernel left, what was done is kept."""
    another(tmp_path)
    process = start_ilhte("run", "data", "--out", "run", "--jobs", 1, cwd=tmp_path)
    wait_until(lambda: "fit_sha256" in _text(tmp_path / "run" / "run.json"))
    kernel = wait_until(lambda: kernels_of(process))[0]
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "continues with what is done" in said
    assert "Traceback" not in said
    assert not is_kernel(kernel)
    monkeypatch.chdir(tmp_path)
    assert [o.status for o in run_tables(sources(["data"]), Path("run"))] == ["kept", "fitted"]
    assert same(results(tmp_path / "run"), results(undisturbed() / "run"))


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
