"""The workers that execute the tables of a run: threads of this process, or a Dask cluster, with the same interface.

Each notebook computes in its own kernel process, so threads are enough to keep all cores busy, and papermill
is imported only once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager

from ilhte_lib.errors import EngineError, InputError

PATIENCE = 30
"""Seconds to wait for the scheduler of a cluster, and for its first worker."""


@contextmanager
def workers(jobs: int | None, scheduler: str | None) -> Iterator[tuple[Executor, int]]:
    """An executor and the number of tables it processes at once.

    Parameters
    ----------
    jobs : tables at once on this machine; default: the number of cores.
    scheduler : address of a Dask scheduler; each thread of its workers processes one table at a time.

    Raises
    ------
    InputError : no scheduler answers at this address, or it has no workers.
    EngineError : Dask is not installed.
    """
    if scheduler is None:
        jobs = jobs or cores()
        with ThreadPoolExecutor(jobs) as pool:
            yield pool, jobs
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise EngineError('Running on a cluster needs one more package: pip install "ilhte[cluster]".') from error
    try:
        client = Client(scheduler, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        raise InputError(
            f"No Dask scheduler answers at {scheduler}: check the address and that it is running."
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError as error:
            raise InputError(f"The Dask scheduler at {scheduler} has no worker: start some and try again.") from error
        # not pure: a table that is submitted again must be fitted again
        with client.get_executor(pure=False) as pool:
            yield pool, sum(client.nthreads().values())


def cores() -> int:
    """Number of cores available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
