"""Whether a text file can be held in memory at all: the system ends a program that tries, without a word."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

_MOST_COMPRESSED = 1032
"""Deflate makes no text smaller than by this factor."""
_CHUNK = 2**22


def refuse_too_large(path: Path) -> None:
    """Raise MemoryError if a text file, unpacked, has more bytes than there is memory free."""
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
    """Bytes that are free on a Linux system, at most its container's limit; None elsewhere."""
    found = []
    meminfo = re.search(r"^MemAvailable:\s+(\d+) kB", _text("/proc/meminfo"), re.MULTILINE)
    if meminfo:
        found.append(int(meminfo[1]) * 1024)
    # what a container already uses is no guide: files the system keeps in memory for speed count there
    most = _text("/sys/fs/cgroup/memory.max").strip()
    if most.isdecimal():
        found.append(int(most))
    return min(found, default=None)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
