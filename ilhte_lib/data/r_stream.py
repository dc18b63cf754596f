"""R's serialisation format, as far as needed to find the columns of a data frame.

See "R Internals", section "Serialization Formats" (R Core Team), versions 2 and 3, big-endian. It is for files that pyreadr
rejects, such as a data frame with a column of lists.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

_UTF8, _LATIN1 = 1 << 3, 1 << 2
_NOTHING = {254, 253, 242, 241, 247, 251, 252}
_PAIRS = {2, 3, 5, 6, 17}
_REFERENCE, _ALTERNATIVE, _SYMBOL, _ENVIRONMENT, _TEXT, _POINTER, _S4, _RAW = 255, 238, 1, 4, 9, 22, 25, 24
_NAMED = {248, 249, 250}
_NUMBERS = {10: ("logical", ">i4"), 13: ("integer", ">i4"), 14: ("double", ">f8"), 15: ("complex", ">c16")}
_LISTS = {16: "character", 19: "list", 20: "list"}
_OPENINGS = ((b"\x1f\x8b", gzip.decompress), (b"BZh", bz2.decompress), (b"\xfd7zXZ", lzma.decompress))


@dataclass
class RObject:
    """An R object.

    Attributes
    ----------
    kind : "logical", "integer", "double", "complex", "character", "list", "raw" or "other".
    values : a NumPy array for numbers, bytes for raw, else a list; texts are (bytes, encoding) or None for NA.
    attributes : by name.
    """

    kind: str
    values: Any
    attributes: dict[str, Any] = field(default_factory=dict)

    def texts(self) -> list[str | None]:
        """The elements of a character vector; bytes that are not text become backslash escapes."""
        return [None if value is None else _decoded(*value) for value in self.values]

    @property
    def classes(self) -> list[str | None]:
        """The class attribute, empty if there is none."""
        found = self.attributes.get("class")
        return found.texts() if isinstance(found, RObject) else []


def read_object(path: Path) -> RObject | None:
    """The object in an ``.rds`` file.

    Raises
    ------
    ValueError, struct.error, IndexError, EOFError : the file has another format, or is damaged.
    """
    content = _unpacked(path)
    if not content.startswith(b"X\n"):
        raise ValueError("no serialised object of R in its usual format")
    return _Stream(content).whole()


def is_in_letters(path: Path) -> bool:
    """Whether an ``.rds`` file is in R's text format."""
    try:
        return _unpacked(path).startswith(b"A\n")
    except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error):
        return False


def _unpacked(path: Path) -> bytes:
    content = path.read_bytes()
    unpack = next((unpack for opening, unpack in _OPENINGS if content.startswith(opening)), bytes)
    return unpack(content)


def _decoded(content: bytes, encoding: str) -> str:
    return content.decode(encoding, errors="backslashreplace")


class _Stream:
    def __init__(self, content: bytes):
        self.content, self.at = content, 2
        self.known: list[Any] = []

    def whole(self) -> Any:
        version = self._integer()
        self.at += 8
        if version == 3:
            self._bytes(self._integer())
        return self._item()

    def _bytes(self, n: int) -> bytes:
        if n < 0 or self.at + n > len(self.content):
            raise EOFError
        self.at += n
        return self.content[self.at - n : self.at]

    def _integer(self) -> int:
        return struct.unpack(">i", self._bytes(4))[0]

    def _length(self) -> int:
        n = self._integer()
        return n if n >= 0 else (self._integer() << 32) + (self._integer() & 0xFFFFFFFF)

    def _item(self) -> Any:
        flags = self._integer()
        kind = flags & 255
        if kind in _NOTHING:
            return None
        if kind == _REFERENCE:
            return self.known[(flags >> 8 or self._integer()) - 1]
        if kind == _SYMBOL:
            return self._remembered(_decoded(*self._item()))
        if kind == _TEXT:
            n = self._integer()
            marks = flags >> 12
            encoding = "cp1252" if marks & _LATIN1 else "utf-8"
            return None if n == -1 else (self._bytes(n), encoding)
        if kind in _PAIRS:
            return RObject("other", [], dict(self._pairs(flags)))
        if kind == _ALTERNATIVE:
            return self._alternative()
        if kind in _NAMED:
            self._integer()
            name = [self._item() for _ in range(self._length())]
            return self._remembered(RObject("other", name))
        if kind == _ENVIRONMENT:
            environment = self._remembered(RObject("other", []))
            self._integer()
            for _ in range(4):
                self._item()
            return environment
        return self._vector(kind, has_attributes=bool(flags & 512))

    def _remembered(self, value: Any) -> Any:
        self.known.append(value)
        return value

    def _pairs(self, flags: int) -> Iterator[tuple[str, Any]]:
        """Tags and values of a pairlist; [0], [1], ... where there is no tag."""
        number = 0
        while (flags & 255) in _PAIRS:
            if flags & 512:
                self._item()
            tag = self._item() if flags & 1024 else None
            yield (tag if isinstance(tag, str) else f"[{number}]"), self._item()
            number += 1
            flags = self._integer()
        if (flags & 255) not in _NOTHING:
            self.at -= 4
            self._item()

    def _alternative(self) -> RObject:
        info, state, attributes = self._item(), self._item(), self._item()
        name = next(iter(info.attributes.values()))
        if name in ("compact_intseq", "compact_realseq"):
            n, first, step = state.values
            values = first + step * np.arange(int(n))
            found = RObject("integer", values.astype("i4")) if name == "compact_intseq" else RObject("double", values)
        elif name == "deferred_string":
            source = next(iter(state.attributes.values()))
            whole = source.kind != "double"
            texts = [str(int(v)) if whole or float(v).is_integer() else f"{v:.15g}" for v in source.values]
            found = RObject("character", [(text.encode(), "utf-8") for text in texts])
        elif name.startswith("wrap_"):
            wrapped = state.values[0] if state.kind == "list" else next(iter(state.attributes.values()))
            found = RObject(wrapped.kind, wrapped.values, dict(wrapped.attributes))
        else:
            raise ValueError(f"a vector of R of the class {name}")
        if isinstance(attributes, RObject):
            found.attributes.update(attributes.attributes)
        return found

    def _vector(self, kind: int, *, has_attributes: bool) -> RObject:
        if kind in _NUMBERS:
            name, dtype = _NUMBERS[kind]
            n = self._length()
            found = RObject(name, np.frombuffer(self._bytes(n * np.dtype(dtype).itemsize), dtype).astype(dtype[1:]))
        elif kind in _LISTS:
            found = RObject(_LISTS[kind], [self._item() for _ in range(self._length())])
        elif kind == _RAW:
            found = RObject("raw", self._bytes(self._length()))
        elif kind == _POINTER:
            found = self._remembered(RObject("other", []))
            self._item(), self._item()
        elif kind == _S4:
            found = RObject("other", [])
        else:
            raise ValueError(f"an object of R of type {kind}")
        if has_attributes:
            attributes = self._item()
            if isinstance(attributes, RObject):
                found.attributes.update(attributes.attributes)
        return found
