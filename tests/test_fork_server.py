"""Kernels forked from one process that has imported: each with an end, a log and surroundings of its own."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from ilhte_report.run.fork_server import AVAILABLE, ForkedKernel, KernelServer

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="kernels are forked on Linux alone")


def ended(kernel: ForkedKernel, seconds: float = 60.0) -> int:
    deadline = time.monotonic() + seconds
    while (status := kernel.poll()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return status


def test_forks_end_by_themselves_and_the_server_by_itself(tmp_path: Path):
    server = KernelServer(["ilhte_lib.errors", "no_such_module"], dict(os.environ))

    def forked(name: str, *command: str) -> ForkedKernel:
        log = tmp_path / f"{name}.log"
        environment = {**os.environ, "IPYTHONDIR": str(tmp_path)}
        return ForkedKernel(server, server.fork(command, environment, str(tmp_path), str(log)))

    connection = ("-f", str(tmp_path / "kernel.json"))
    kernels = {"whole": forked("whole", "--version"), "wrong": forked("wrong", "--no-such-option=1")}
    kernels["killed"] = forked("killed", *connection)
    assert len({kernel.pid for kernel in kernels.values()}) == 3 and os.getpid() not in {
        k.pid for k in kernels.values()
    }
    assert ended(kernels["whole"]) == 0 and ended(kernels["whole"]) == 0
    assert (tmp_path / "whole.log").read_text().strip()
    assert kernels["killed"].poll() is None
    kernels["killed"].kill()
    assert ended(kernels["killed"]) == -signal.SIGKILL
    kernels["killed"].kill()  # its number may be another's by now: nothing happens
    assert server.lives

    left = forked("left", *connection)
    server._process.kill()
    server._process.wait()
    assert not server.lives
    assert ended(left) != 0
    with pytest.raises(OSError, match="has ended"):
        server.fork((), {}, str(tmp_path), str(tmp_path / "none.log"))
    server.close()


def test_what_is_printed_while_importing_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "talkative.py").write_text("print('[1]')\nprint(input if False else 7)\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    server = KernelServer(["talkative"], {**os.environ, "PYTHONPATH": path})
    try:
        assert server.status(sys.maxsize >> 33) == -signal.SIGKILL  # no child of its own
    finally:
        server.close()
    assert not server.lives
