"""Whether there is memory for linear algebra: OpenBLAS, refused its work space by the system, asks again for ever."""

from __future__ import annotations

import mmap

from ..errors import EngineError

WORK_SPACE = 64 * 2**20
"""Bytes: what OpenBLAS maps at its first call, and what fitting a small table takes beside."""


def require_work_space() -> None:
    """Raise EngineError if the system does not grant the memory that the first call would wait for."""
    try:
        mmap.mmap(-1, WORK_SPACE).close()
    except (OSError, MemoryError):
        raise EngineError(
            "There is not enough memory for fitting (a limit such as that of `ulimit -v`, or a full machine): raise the "
            "limit, or close other programs."
        ) from None
