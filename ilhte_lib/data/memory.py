"""Whether a text file fits into memory: the system kills a program that tries in vain, without a message."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

_MOST_COMPRESSED = 1032
"""The largest factor by which deflate can compress."""
_CHUNK = 2**22


def refuse_too_large(path: Path) -> None:
    """Raise MemoryError if a text file, unpacked, is larger than the free memory."""
    free = free_memory()
    if free is None:
        return
    size = path.stat().st_size
    if not path.name.lower().endswith(".gz"):
        if size > free:
            raise MemoryError
    elif size * _MOST_COMPRESSED > free:
        unpacked = 0
        with gzip.open(path, "rb") as stream:
            while chunk := stream.read(_CHUNK):
                unpacked += len(chunk)
                if unpacked > free:
                    raise MemoryError


def free_memory() -> int | None:
    """Bytes of free memory on Linux, at most the container's limit; None elsewhere."""
    found = []
    meminfo = re.search(r"^MemAvailable:\s+(\d+) kB", _text("/proc/meminfo"), re.MULTILINE)
    if meminfo:
        found.append(int(meminfo[1]) * 1024)
    # not what the container has left: its usage includes files cached in memory
    most = _text("/sys/fs/cgroup/memory.max").strip()
    if most.isdecimal():
        found.append(int(most))
    return min(found, default=None)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
