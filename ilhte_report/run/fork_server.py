"""A process that has imported what a notebook needs and from which the kernels of a run are forked.

Starting an interpreter and importing NumPy, SciPy, pandas, Plotly and IPython takes longer than many fits. One
process does this once, and each kernel is forked from it: a separate process with its own memory, which may die without affecting
the others. The forking process computes nothing, has no sockets and only one thread, as threads do not survive a fork.
It ends with the run, and the kernels end with it (``ipykernel`` watches its parent).

Only on Linux: other systems have no fork, or libraries that do not survive one.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any

AVAILABLE = sys.platform == "linux"
THIRD_PARTY = (
    "ipykernel.kernelapp", "ipykernel.zmqshell", "ipykernel.iostream", "numpy", "scipy.linalg", "scipy.special", "pandas", "plotly.graph_objects",
    "plotly.io", "plotly.subplots",
)  # fmt: skip
"""Packages that a fit and its page import, many of them at first use."""


class KernelServer:
    """The forking process and requests to it; every method may be called from any thread.

    Parameters
    ----------
    modules : modules to import besides ``THIRD_PARTY``.
    environment : environment of the process.
    """

    def __init__(self, modules: Sequence[str], environment: dict[str, str]) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            # -P: no modules from the current folder
            [sys.executable, "-P", "-m", __name__, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )

    @property
    def lives(self) -> bool:
        """Whether the process is running."""
        return self._process.poll() is None

    def fork(self, command: Sequence[str], environment: dict[str, str], folder: str, log: str) -> int:
        """Start a kernel and return its process id, which is also that of its group.

        Parameters
        ----------
        command : as for ``python -m ipykernel_launcher``.
        folder : its working folder.
        log : the file for its output.

        Raises
        ------
        OSError : the forking process has ended, or could not fork.
        """
        asked = {"fork": list(command), "environment": environment, "folder": folder, "log": log}
        pid = self._ask(asked)
        if not isinstance(pid, int):
            raise OSError(str(pid))
        return pid

    def status(self, pid: int) -> int | None:
        """The exit status of a kernel as in ``subprocess.Popen``; None while it runs."""
        try:
            return self._ask({"status": pid})
        except OSError:
            # the process that forked it has ended, so the kernel must end too
            with suppress(OSError):
                os.killpg(pid, signal.SIGKILL)
            return -signal.SIGKILL

    def _ask(self, question: dict[str, Any]) -> Any:
        with self._lock:
            try:
                self._process.stdin.write(json.dumps(question).encode() + b"\n")
                self._process.stdin.flush()
                answer = self._process.stdout.readline()
            except (BrokenPipeError, ValueError):
                answer = b""
            if not answer:
                raise OSError("The process that kernels are forked from has ended.")
        return json.loads(answer)

    def close(self) -> None:
        """End the process and all kernels that are still running."""
        with self._lock:
            for pipe in (self._process.stdin, self._process.stdout):
                with suppress(OSError):
                    pipe.close()
        self._process.wait()


class ForkedKernel:
    """A kernel of a server, with the part of the interface of ``subprocess.Popen`` that ``jupyter_client`` uses."""

    stdin = stdout = stderr = None

    def __init__(self, server: KernelServer, pid: int) -> None:
        self.pid = pid
        self._server, self._status = server, None
        self._signalling = threading.Lock()

    def poll(self) -> int | None:
        """The exit status; None while the kernel runs."""
        with self._signalling:
            if self._status is None:
                self._status = self._server.status(self.pid)
        return self._status

    def wait(self) -> int | None:
        """The exit status of a kernel that has ended (callers poll before they wait)."""
        return self.poll()

    def send_signal(self, number: int) -> None:
        """Send a signal to the kernel and its child processes, unless it has ended."""
        with self._signalling:
            # until its status is collected, its process id is not reused
            if self._status is None:
                with suppress(ProcessLookupError):
                    try:
                        os.killpg(self.pid, number)
                    except ProcessLookupError:  # it has not made its group yet
                        os.kill(self.pid, number)

    def kill(self) -> None:
        """End the kernel immediately."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask the kernel to end."""
        self.send_signal(signal.SIGTERM)


def main(modules: Sequence[str]) -> None:
    """Import the modules, then fork a kernel for each request on standard input, until it is closed."""
    # printed output must not be mistaken for an answer
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    for module in (*THIRD_PARTY, *modules):
        # a kernel that needs the module will report the error
        with suppress(Exception):
            importlib.import_module(module)
    gc.collect()
    gc.freeze()  # so that forks do not copy memory that they only read
    request = _forked(requests, answers)
    if request is not None:
        _be_kernel(request)


def _forked(requests: IO[bytes], answers: IO[bytes]) -> dict | None:
    """Serve requests; returns None at their end, and in a fork the request for which it was made."""
    for line in requests:
        request = json.loads(line)
        answer: Any
        if "status" in request:
            answer = _status(request["status"])
        else:
            try:
                answer = os.fork()
            except OSError as failure:
                answer = f"No kernel could be forked: {failure.strerror}."
            if answer == 0:
                os.setsid()
                requests.close()
                answers.close()
                return request
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()
    return None


def _status(pid: int) -> int | None:
    try:
        done, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return -signal.SIGKILL
    return os.waitstatus_to_exitcode(status) if done else None


def _be_kernel(request: dict) -> None:
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    gc.unfreeze()
    from ipykernel.kernelapp import launch_new_instance

    sys.argv = ["ipykernel_launcher", *request["fork"], f"--IPKernelApp.parent_handle={os.getppid()}"]
    launch_new_instance(sys.argv[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
