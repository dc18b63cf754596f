"""Where a command writes what was asked for: tested before anything is computed, and no user's file replaced."""

from __future__ import annotations

import errno
import io
import json
import os
import stat
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from ilhte_lib.errors import InputError
from ilhte_lib.files import write_bytes, write_text
from ilhte_lib.messages import quoted

GENERATOR = '<meta name="generator" content="ilhte'
"""How an HTML report says who wrote it."""
KEYWORD, PDF_END = "written by ilhte", b"\n%written by ilhte\n"
"""How a report in Word, and one in PDF, says so."""
STANDARD_OUTPUT = "-"
_ROOM = 1 << 18
"""Bytes that are written and removed again to see whether the disk takes them."""


class Output:
    """One output of a command: a file, a link to one, a pipe, a device, or ``-`` for standard output.

    Parameters
    ----------
    option : its option, for messages ("--json").
    name : what the user gave.
    inputs : files the command reads.
    force : whether an existing file of another origin may be replaced.

    Raises
    ------
    InputError : it cannot be written, is an input, or is an existing file that no earlier call wrote.
    """

    def __init__(self, option: str, name: str, inputs: Iterable[Path], *, force: bool = False) -> None:
        self.option, self.name = option, name
        self.to_standard_output = name == STANDARD_OUTPUT
        if self.to_standard_output:
            return
        if not name or "\0" in name:
            raise InputError(f"{option} needs the name of a file.")
        try:
            # through symbolic links, so that a link stays one
            self.path = Path(name).resolve()
            self._check(list(inputs), force)
        except OSError as error:
            raise InputError(self._refusal(error)) from error

    def write(self, text: str) -> None:
        """Write it all: a file whole or not at all, a pipe or device as it is.

        Raises
        ------
        InputError : there is no room left, or the place is gone.
        """
        try:
            if self.to_standard_output:
                sys.stdout.write(text)
                sys.stdout.flush()
            elif self._is_special():
                with open(self.path, "w", encoding="utf-8") as stream:
                    stream.write(text)
            else:
                write_text(self.path, text)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise InputError(self._refusal(error)) from error

    def write_bytes(self, content: bytes) -> None:
        """As ``write``, of a file that is no text."""
        try:
            write_bytes(self.path, content)
        except OSError as error:
            raise InputError(self._refusal(error)) from error

    def _check(self, inputs: list[Path], force: bool) -> None:
        if self.path.is_dir():
            raise InputError(f"{self.option} {quoted(self.name)} is a folder: name a file in it.")
        if self._is_special():
            if not os.access(self.path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return
        if self.path.exists():
            if any(file.exists() and os.path.samefile(file, self.path) for file in inputs):
                raise InputError(f"{self.option} {quoted(self.name)} is a file that this command reads: name another.")
            if not force and not _is_ours(self.path):
                raise InputError(
                    f"{self.option} {quoted(self.name)} exists and was not written by ilhte: name another file, "
                    "or give --force to replace it."
                )
            if not os.access(self.path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        os.stat(self.path.parent / self.path.name) if self.path.exists() else _refuse_long(self.path)
        with tempfile.TemporaryFile(dir=self.path.parent) as trial:
            trial.write(b"\0" * _ROOM)
            trial.flush()
            os.fsync(trial.fileno())

    def _is_special(self) -> bool:
        """A pipe, a socket or a device."""
        try:
            return not (stat.S_ISREG(mode := os.stat(self.path).st_mode) or stat.S_ISDIR(mode))
        except OSError:
            return False

    def _refusal(self, error: OSError) -> str:
        remedy = (
            "make room, or name another place" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "name another place"
        )
        below_a_file = isinstance(error, NotADirectoryError | FileExistsError)
        reason = "it would be below a file" if below_a_file else error.strerror or type(error).__name__
        return f"{self.option} {quoted(self.name)} cannot be written ({reason}): {remedy}."


def outputs(wanted: dict[str, str | None], inputs: Iterable[Path | None], *, force: bool = False) -> dict[str, Output]:
    """Option -> where it goes, for those that were asked for; every one is tested.

    Raises
    ------
    InputError : as for ``Output``; two of them are one file.
    """
    files = [file for file in inputs if file is not None]
    found = {option: Output(option, name, files, force=force) for option, name in wanted.items() if name is not None}
    places = [output.name if output.to_standard_output else str(output.path) for output in found.values()]
    if len(set(places)) < len(places):
        raise InputError(f"{' and '.join(found)} name the same place: give each a file of its own.")
    return found


def _is_ours(path: Path) -> bool:
    """Whether an existing file is one that a command of ours wrote: a document, a report, or nothing at all."""
    if path.suffix.lower() in (".docx", ".pdf"):
        return _is_our_report(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    if not text:
        return True
    if GENERATOR in text[:2000]:
        return True
    try:
        document = json.loads(text)
    except ValueError:
        return False
    return isinstance(document, dict) and {"tab", "summary", "items", "models", "provenance"} <= set(document)


def _is_our_report(path: Path) -> bool:
    """A Word file with our keyword, a PDF with our last line, or nothing at all."""
    content = path.read_bytes()
    if not content or content.endswith(PDF_END):
        return True
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as parts:
            return f">{KEYWORD}<".encode() in parts.read("docProps/core.xml")
    except (zipfile.BadZipFile, KeyError):
        return False


def _refuse_long(path: Path) -> None:
    """Raise OSError if the system takes no name as long as this."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return
