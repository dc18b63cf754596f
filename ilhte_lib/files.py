"""Atomic writes, checksums, JSON without NaN, and versions."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path


def versions() -> dict[str, str]:
    """Versions of the software that computed a result."""
    import numpy
    import scipy

    from . import __version__

    return {
        "ilhte": __version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
    }


def plain(value):
    """The value as plain Python that JSON can hold; NaN and infinities become None."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):  # NumPy arrays and scalars, recognised without loading NumPy
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def to_json(contents: dict) -> str:
    """The document as JSON text: null, never NaN."""
    return json.dumps(plain(contents), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def file_names(titles: Sequence[str]) -> list[str]:
    """Distinct names of files or folders for arbitrary titles and labels: lower-case letters, digits and hyphens only."""
    names: list[str] = []
    for title in titles:
        name = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60] or "unnamed"
        same = sum(known == name or known.startswith(f"{name}--") for known in names)
        names.append(f"{name}--{same + 1}" if same else name)
    return names


def write_text(path: Path, text: str) -> None:
    """``write_bytes`` in UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: under a temporary name beside it, which is then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-", suffix=path.suffix)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
