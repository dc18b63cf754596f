"""The process in which a notebook of a run is executed: a Jupyter kernel of this very Python, one a table, forked from a process
that has imported what it needs (``fork_server``) where the system allows.

Each kernel computes on one thread, for the tables run side by side, and so that a result does not depend on how many
cores the machine has. Where the system allows, it is reached through sockets in a folder of its own: ports found free
can be taken by another process before the kernel binds them, and anyone on the machine may connect to them.
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
"""The kernel's own words, beside its connection file."""

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
LONGEST_SOCKET_PATH = 90
"""Characters of a folder whose sockets' paths a system can still hold (104 on macOS, 108 on Linux)."""

_RUNNING: WeakSet[TableKernel] = WeakSet()
_SERVERS: dict[str, KernelServer] = {}
_STARTING = threading.Lock()


class _ThisPython(KernelSpecManager):
    """Whatever kernels are registered on the machine: the one that can import what this process can."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            # no start-up files of the user's; by the environment, for `--ipython-dir` takes the current folder from sys.path
            env={**ONE_THREAD, "IPYTHONDIR": str(Path(self.parent.connection_file).parent)},
            display_name="Python 3 (ipykernel)",
            language="python",
        )


class _Forked(LocalProvisioner):
    """Starts a kernel as a fork of a server; as a process of its own where the server cannot."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """Start the kernel; its connection's particulars."""
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
    """The process to fork from, started when it is first wanted and for each version of the code anew."""
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
    """A kernel manager as papermill's client makes one for each notebook."""

    modules = List(Unicode(), help="What a process imports before the kernel is forked from it.").tag(config=True)
    code = Unicode(help="Which code it imports; empty for a kernel that starts by itself.").tag(config=True)

    @default("kernel_spec_manager")
    def _kernel_spec_manager_default(self) -> KernelSpecManager:
        return _ThisPython(parent=self)

    async def start_kernel(self, **options: object) -> None:
        """Start the kernel, its own words going into a file beside the connection file, and note that it runs."""
        if self.code and AVAILABLE:
            self.provisioner = _Forked(kernel_id=str(uuid.uuid4()), kernel_spec=self.kernel_spec, parent=self)
        with open(Path(self.connection_file).with_name(LOG), "wb") as log:
            await super().start_kernel(**options, stdout=log, stderr=log)
        _RUNNING.add(self)


def kernel_options(scratch: str, code: str = "", modules: Sequence[str] = ()) -> dict[str, object]:
    """Keyword arguments for ``papermill.execute_notebook``: a kernel whose files are all in the folder ``scratch``.

    Parameters
    ----------
    code : the hash of our code, by which the process is known that the kernel is forked from; "" for a kernel that starts by itself.
    modules : what that process imports.
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
        # nothing in a finished kernel is worth waiting for, and an interrupted one may not answer
        "shutdown_kernel": "immediate",
        "extra_arguments": [
            "--log-level=ERROR",
            # no history, no modules that happen to lie beside the data
            "--HistoryManager.enabled=False",
            "--IPKernelApp.ignore_cwd=True",
        ],
    }


def stop_kernels() -> None:
    """Kill every kernel of this process; whoever waits for one gets a dead kernel's error."""
    for kernel in list(_RUNNING):
        process = kernel.provisioner.process if kernel.has_kernel else None
        if process:
            process.kill()
