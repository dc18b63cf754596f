"""A Dask cluster in place of local threads: the same results, and a lost worker loses no table."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from run_cases import another, ilhte, results, same, undisturbed

from ilhte_lib.errors import InputError
from ilhte_report.intake.source import sources
from ilhte_report.run import workers as workers_module
from ilhte_report.run.tables import run_tables

distributed = pytest.importorskip("distributed", reason="Dask is not installed (the extra `cluster`)")


@pytest.fixture
def cluster() -> Iterator[object]:
    """Two worker processes of one thread each."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs="CRITICAL"
    ) as running:
        yield running


def test_same_results_and_a_lost_worker(tmp_path: Path, cluster: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """On two workers as on local threads; then with one of them killed after the first table, all tables the same."""
    another(tmp_path)
    monkeypatch.chdir(tmp_path)
    done = ilhte("run", "data", "--out", "run", "--scheduler", cluster.scheduler_address, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert same(results(Path("run")), results(undisturbed() / "run"))

    # each table twice under another name: there is work left when the first is done
    for k in range(2):
        shutil.copy(f"data/trial_00{k}.csv", f"data/twin_{k}.csv")
    killed: list[str] = []

    def kill_a_busy_worker(outcome: object, _standing: object) -> None:
        if outcome and not killed:
            with distributed.Client(cluster) as client:
                worker = next(address for address, tasks in client.processing().items() if tasks)
                os.kill(client.run(os.getpid, workers=[worker])[worker], signal.SIGKILL)
                killed.append(worker)

    outcomes = run_tables(
        sources(["data"]), Path("run"), scheduler=cluster.scheduler_address, force=True, told=kill_a_busy_worker
    )
    assert killed
    assert [(o.status, o.reason) for o in outcomes] == [("fitted", None)] * 4
    expected = results(undisturbed() / "run")["documents"]
    found = results(Path("run"))["documents"]
    assert all(found[name] == document for name, document in expected.items())
    assert found["twin_0.json"]["models"] == found["trial_000.json"]["models"]


def test_no_scheduler_and_no_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a sentence that names the address, and nothing is lost."""
    monkeypatch.setattr(workers_module, "PATIENCE", 1)
    monkeypatch.chdir(undisturbed())
    with pytest.raises(InputError, match="No Dask scheduler answers at tcp://127.0.0.1:9"):
        run_tables(sources(["data"]), tmp_path / "run", scheduler="tcp://127.0.0.1:9")
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=None, silence_logs="CRITICAL") as empty,
        pytest.raises(InputError, match="has no worker"),
    ):
        run_tables(sources(["data"]), tmp_path / "run", scheduler=empty.scheduler_address)
