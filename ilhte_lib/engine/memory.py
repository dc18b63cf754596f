"""A check that there is memory for linear algebra: OpenBLAS retries forever if the system refuses its work space."""

from __future__ import annotations

import mmap

from ..errors import EngineError

WORK_SPACE = 64 * 2**20
"""Bytes that OpenBLAS maps at its first call and that fitting a small table takes."""


def require_work_space() -> None:
    """Raise EngineError if the system does not grant the memory that OpenBLAS would wait for."""
    try:
        mmap.mmap(-1, WORK_SPACE).close()
    except (OSError, MemoryError):
        raise EngineError(
            "There is not enough memory for fitting (a limit such as that of `ulimit -v`, or a full machine): raise the "
            "limit, or close other programs."
        ) from None
