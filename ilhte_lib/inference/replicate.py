"""Independent replicates of one task: seeded, run over all cores, resumable.

Replicate k draws from ``SeedSequence(seed, spawn_key=(k,))``, so its result depends only on the seed and k, not on the number of
workers, the order in which they finish, or interruptions.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

import numpy as np

from ..engine.threads import one_blas_thread
from ..errors import EngineError, InputError

CHUNK = 8
"""Replicates given to a worker at a time."""
CHUNK_TOGETHER = 128
"""Most replicates given to a worker at a time for a ``TaskTogether``."""
SAVE_EVERY = 5.0
"""Seconds between saves of the finished replicates."""
_THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

Progress = Callable[[int, int], None]
"""Called with the numbers of finished replicates and of all replicates."""


class Task(Protocol):
    """A task to be replicated; it must be picklable.

    ``names`` are the columns of its results; calling it with a generator gives one row, with NaN for anything undefined.
    ``identity`` is everything the results depend on besides the seed (nested arrays, numbers and texts); it decides whether
    finished replicates in a file belong to this task.
    """

    names: tuple[str, ...]

    @property
    def identity(self) -> tuple: ...

    def __call__(self, rng: np.random.Generator) -> np.ndarray: ...


@runtime_checkable
class TaskTogether(Task, Protocol):
    """A task whose replicates are cheaper together; each row of ``together`` equals the result of a call."""

    def together(self, generators: list[np.random.Generator]) -> np.ndarray:
        """(len(generators), len(names)) results; a row of NaN is a replicate that could not be fitted."""


def replicate_generator(seed: int, replicate: int) -> np.random.Generator:
    """The random generator of one replicate: PCG64 on child number ``replicate`` of ``SeedSequence(seed)``."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(replicate,))))


def replicate_number(rng: np.random.Generator) -> int:
    """The number of the replicate to which a generator from ``replicate_generator`` belongs."""
    (k,) = cast("np.random.SeedSequence", rng.bit_generator.seed_seq).spawn_key
    return k


def usable_cores() -> int:
    """Number of cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_replicates(
    task: Task,
    replicates: int,
    seed: int,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    resume: Path | str | None = None,
) -> np.ndarray:
    """Run a task ``replicates`` times.

    Parameters
    ----------
    task : see ``Task``. A replicate that raises ``EngineError`` gives a row of NaN.
    replicates : how many, at least 1.
    seed : not negative.
    workers : number of processes; default one per core. With 1 everything runs in this process; more require a script guarded by
        ``if __name__ == "__main__"``, as always with Python's ``multiprocessing``.
    progress : called with the number of finished replicates from time to time.
    resume : a file for the finished replicates. Those already there from an earlier call with the same task and seed are not
        computed again.

    Returns
    -------
    (replicates, len(task.names)) results in the order of the replicates.

    Raises
    ------
    InputError : there are no replicates, the seed is negative, or ``resume`` belongs to another task.
    EngineError : a worker process died.
    """
    if replicates < 1:
        raise InputError(f"The number of replicates is {replicates}: give at least 1.")
    if seed < 0:
        raise InputError(f"The seed is {seed}: give a number that is not negative.")
    store = _Store(task, seed, resume)
    rows = np.full((replicates, len(task.names)), np.nan)
    finished = np.zeros(replicates, bool)
    store.load(rows, finished)
    open_ones = np.flatnonzero(~finished)
    saved = time.monotonic()

    def take(indices: np.ndarray, results: np.ndarray) -> None:
        nonlocal saved
        rows[indices], finished[indices] = results, True
        if progress is not None:
            progress(int(finished.sum()), replicates)
        if time.monotonic() - saved > SAVE_EVERY:
            store.save(rows, finished)
            saved = time.monotonic()

    if progress is not None:
        progress(int(finished.sum()), replicates)
    workers = min(usable_cores() if workers is None else workers, -(-len(open_ones) // CHUNK))
    size = CHUNK
    if isinstance(task, TaskTogether):
        size = int(np.clip(-(-len(open_ones) // max(workers, 1)), CHUNK, CHUNK_TOGETHER))
    chunks = [open_ones[k : k + size] for k in range(0, len(open_ones), size)]
    try:
        if workers <= 1:
            for indices in chunks:
                take(indices, _run(task, seed, indices))
        else:
            _in_processes(task, seed, chunks, workers, take)
    finally:
        if len(open_ones):
            store.save(rows, finished)
    return rows


@one_blas_thread
def _run(task: Task, seed: int, indices: np.ndarray) -> np.ndarray:
    if isinstance(task, TaskTogether):
        return task.together([replicate_generator(seed, int(k)) for k in indices])
    return one_by_one(task, [replicate_generator(seed, int(k)) for k in indices])


def one_by_one(task: Task, generators: list[np.random.Generator]) -> np.ndarray:
    """(len(generators), len(names)) results of a task, with a row of NaN where it raises ``EngineError``."""
    out = np.full((len(generators), len(task.names)), np.nan)
    for row, rng in zip(out, generators, strict=True):
        with suppress(EngineError):
            row[:] = task(rng)
    return out


def _in_processes(task: Task, seed: int, chunks: list, workers: int, take: Callable) -> None:
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    # fresh interpreters, so that the BLAS of each worker reads the number of threads: one, since workers are the parallelism
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (pickle.dumps((task, seed)),))
    try:
        with _one_blas_thread():
            waiting = {pool.submit(_run_in_worker, indices): indices for indices in chunks}
        for done in as_completed(waiting):
            take(waiting[done], done.result())
    except BrokenProcessPool:
        raise EngineError(
            "A worker process ended before its work was done (memory, or a script that does not guard its start with "
            "`if __name__ == '__main__'`): try again with workers=1."
        ) from None
    except BaseException:
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown()


_in_worker: tuple[Task, int] | None = None


def _start_worker(pickled: bytes) -> None:
    global _in_worker
    _in_worker = pickle.loads(pickled)


def _run_in_worker(indices: np.ndarray) -> np.ndarray:
    return _run(*_in_worker, indices)


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _Store:
    """The file of finished replicates: their numbers and rows, and a key for task and seed."""

    def __init__(self, task: Task, seed: int, path: Path | str | None):
        self.path = None if path is None else Path(path)
        self.key = "" if path is None else _key(task, seed)

    def load(self, rows: np.ndarray, finished: np.ndarray) -> None:
        if self.path is None or not self.path.exists():
            return
        try:
            with np.load(self.path, allow_pickle=False) as kept:
                key, index, results = str(kept["key"]), kept["index"], kept["rows"]
        except (OSError, ValueError, KeyError) as failure:
            raise InputError(
                f"{self.path} does not hold finished replicates: delete it or name another file."
            ) from failure
        if key != self.key:
            raise InputError(
                f"{self.path} holds replicates of other data, models or seed: delete it or name another file."
            )
        wanted = index < len(rows)
        rows[index[wanted]], finished[index[wanted]] = results[wanted], True
        # replicates beyond the number requested now are kept in the file for later calls
        self.beyond = (index[~wanted], results[~wanted])

    beyond: tuple[np.ndarray, np.ndarray] | None = None

    def save(self, rows: np.ndarray, finished: np.ndarray) -> None:
        if self.path is None:
            return
        index, results = np.flatnonzero(finished), rows[finished]
        if self.beyond is not None:
            index, results = np.concatenate([index, self.beyond[0]]), np.concatenate([results, self.beyond[1]])
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".writing-{os.getpid()}-{self.path.name}")
        try:
            with temporary.open("wb") as stream:
                np.savez_compressed(stream, key=np.array(self.key), index=index, rows=results)
            os.replace(temporary, self.path)
        finally:
            temporary.unlink(missing_ok=True)


def _key(task: Task, seed: int) -> str:
    """A digest of the task's class and identity and the seed."""
    digest = hashlib.sha256(f"{type(task).__module__}.{type(task).__qualname__} {seed}".encode())

    def feed(value: object) -> None:
        if isinstance(value, np.ndarray) and value.dtype != object:
            digest.update(f"{value.dtype.str}{value.shape}".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
        elif isinstance(value, (tuple, list)):
            digest.update(f"({len(value)}".encode())
            for entry in value:
                feed(entry)
        else:
            digest.update(f"{value!r};".encode())

    feed(task.identity)
    return digest.hexdigest()
