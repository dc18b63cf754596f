"""The kernels that execute the notebooks of a run: one per table, with the running Python interpreter, and if possible forked
from a process that has imported what they need (``fork_server``).

Each kernel computes on one thread, because tables are processed in parallel and so that results do not depend on the number of
cores. If possible, it is reached through sockets in a folder of its own: a free port could be taken
by another process before the kernel binds it, and anyone on the machine could connect to it.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from weakref import WeakSet

from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.provisioning import LocalProvisioner
from traitlets import List, Unicode, default
from traitlets.config import Config

from .fork_server import AVAILABLE, ForkedKernel, KernelServer

LOG = "kernel.log"
"""File with the kernel's output, beside its connection file."""

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
LONGEST_SOCKET_PATH = 90
"""Longest path of a folder for sockets, in characters (systems allow 104 on macOS, 108 on Linux, for the whole path)."""

_RUNNING: WeakSet[TableKernel] = WeakSet()
_SERVERS: dict[str, KernelServer] = {}
_STARTING = threading.Lock()


class _ThisPython(KernelSpecManager):
    """Whatever kernels are registered on the machine, provides one with the running interpreter."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            # no start-up files of the user; set in the environment, as `--ipython-dir` removes the current folder from sys.path
            env={**ONE_THREAD, "IPYTHONDIR": str(Path(self.parent.connection_file).parent)},
            display_name="Python 3 (ipykernel)",
            language="python",
        )


class _Forked(LocalProvisioner):
    """Starts a kernel as a fork of a server, or as a new process if the server cannot."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """Start the kernel and return its connection information."""
        own = cmd[cmd.index("ipykernel_launcher") + 1 :]
        folder, log = os.path.abspath(kwargs.get("cwd") or "."), kwargs["stderr"].name
        try:
            server = _server(self.parent.code, self.parent.modules)
            pid = server.fork(own, kwargs["env"], folder, log)
        except OSError:
            return await super().launch_kernel(cmd, **kwargs)
        self.process, self.pid, self.pgid, self.cwd = ForkedKernel(server, pid), pid, pid, folder
        return self.connection_info


def _server(code: str, modules: Sequence[str]) -> KernelServer:
    """The process to fork from, started when it is first needed, for each version of the code."""
    with _STARTING:
        server = _SERVERS.get(code)
        if server is None or not server.lives:
            if not _SERVERS:
                atexit.register(_close_servers)
            server = _SERVERS[code] = KernelServer(modules, {**os.environ, **ONE_THREAD})
        return server


def _close_servers() -> None:
    while _SERVERS:
        _SERVERS.popitem()[1].close()


class TableKernel(AsyncKernelManager):
    """The kernel manager that papermill's client creates for each notebook."""

    modules = List(Unicode(), help="Modules imported by the process from which the kernel is forked.").tag(config=True)
    code = Unicode(help="Hash of the code it imports; empty for a kernel that is not forked.").tag(config=True)

    @default("kernel_spec_manager")
    def _kernel_spec_manager_default(self) -> KernelSpecManager:
        return _ThisPython(parent=self)

    async def start_kernel(self, **options: object) -> None:
        """Start the kernel with its output in a file beside the connection file, and register it as running."""
        if self.code and AVAILABLE:
            self.provisioner = _Forked(kernel_id=str(uuid.uuid4()), kernel_spec=self.kernel_spec, parent=self)
        with open(Path(self.connection_file).with_name(LOG), "wb") as log:
            await super().start_kernel(**options, stdout=log, stderr=log)
        _RUNNING.add(self)


def kernel_options(scratch: str, code: str = "", modules: Sequence[str] = ()) -> dict[str, object]:
    """Keyword arguments for ``papermill.execute_notebook``, for a kernel with all its files in the folder ``scratch``.

    Parameters
    ----------
    code : hash of our code, which identifies the process from which the kernel is forked; "" for a kernel that is not forked.
    modules : modules that this process imports.
    """
    config = Config()
    config.TableKernel.code, config.TableKernel.modules = code, list(modules)
    config.TableKernel.connection_file = os.path.join(scratch, "kernel.json")
    if os.name == "posix" and len(scratch) <= LONGEST_SOCKET_PATH:
        config.TableKernel.transport = "ipc"
        config.TableKernel.ip = os.path.join(scratch, "socket")
    return {
        "kernel_name": "python3",
        "kernel_manager_class": TableKernel,
        "config": config,
        # there is no reason to wait for a finished kernel, and an interrupted one may not answer
        "shutdown_kernel": "immediate",
        "extra_arguments": [
            "--log-level=ERROR",
            # no history, and no modules that happen to be beside the data
            "--HistoryManager.enabled=False",
            "--IPKernelApp.ignore_cwd=True",
        ],
    }


def stop_kernels() -> None:
    """Kill all kernels of this process; code that waits for one gets the error of a dead kernel."""
    for kernel in list(_RUNNING):
        process = kernel.provisioner.process if kernel.has_kernel else None
        if process:
            process.kill()
