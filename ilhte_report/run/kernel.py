"""The process in which a notebook of a run is executed: a Jupyter kernel of this very Python, one a table.

Each kernel computes on one thread, for the tables run side by side, and so that a result does not depend on how many
cores the machine has. Where the system allows, it is reached through sockets in a folder of its own: ports found free
can be taken by another process before the kernel binds them, and anyone on the machine may connect to them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from weakref import WeakSet

from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from traitlets import default
from traitlets.config import Config

LOG = "kernel.log"
"""The kernel's own words, beside its connection file."""

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
LONGEST_SOCKET_PATH = 90
"""Characters of a folder whose sockets' paths a system can still hold (104 on macOS, 108 on Linux)."""

_RUNNING: WeakSet[TableKernel] = WeakSet()


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


class TableKernel(AsyncKernelManager):
    """A kernel manager as papermill's client makes one for each notebook."""

    @default("kernel_spec_manager")
    def _kernel_spec_manager_default(self) -> KernelSpecManager:
        return _ThisPython(parent=self)

    async def start_kernel(self, **options: object) -> None:
        """Start the kernel, its own words going into a file beside the connection file, and note that it runs."""
        with open(Path(self.connection_file).with_name(LOG), "wb") as log:
            await super().start_kernel(**options, stdout=log, stderr=log)
        _RUNNING.add(self)


def kernel_options(scratch: str) -> dict[str, object]:
    """Keyword arguments for ``papermill.execute_notebook``: a kernel whose files are all in the folder ``scratch``."""
    config = Config()
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
