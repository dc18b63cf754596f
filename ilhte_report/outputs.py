"""The outputs of a command: checked before anything is computed, and never replacing a user's file."""

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
"""The mark of an HTML report written by ilhte."""
KEYWORD, PDF_END = "written by ilhte", b"\n%written by ilhte\n"
"""The marks of reports in Word and PDF."""
STANDARD_OUTPUT = "-"
_ROOM = 1 << 18
"""Bytes written and removed again to test whether the disk has space."""


class Output:
    """One output of a command: a file, a link to one, a pipe, a device, or ``-`` for standard output.

    Parameters
    ----------
    option : the option, for messages ("--json").
    name : the user's value.
    inputs : files that the command reads.
    force : whether an existing file not written by ilhte may be replaced.

    Raises
    ------
    InputError : the output cannot be written, is an input, or is an existing file not written by ilhte.
    """

    def __init__(self, option: str, name: str, inputs: Iterable[Path], *, force: bool = False) -> None:
        self.option, self.name = option, name
        self.to_standard_output = name == STANDARD_OUTPUT
        if self.to_standard_output:
            return
        if not name or "\0" in name:
            raise InputError(f"{option} needs the name of a file.")
        try:
            # resolve symbolic links, so that a link remains a link
            self.path = Path(name).resolve()
            self._check(list(inputs), force)
        except OSError as error:
            raise InputError(self._refusal(error)) from error

    def write(self, text: str) -> None:
        """Write the text: to a file completely or not at all, to a pipe or device directly.

        Raises
        ------
        InputError : there is no space left, or the place no longer exists.
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
        """Write a binary file, as ``write`` does text."""
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
            "free some space, or name another place"
            if error.errno in (errno.ENOSPC, errno.EDQUOT)
            else "name another place"
        )
        below_a_file = isinstance(error, NotADirectoryError | FileExistsError)
        reason = "part of its path is a file" if below_a_file else error.strerror or type(error).__name__
        return f"{self.option} {quoted(self.name)} cannot be written ({reason}): {remedy}."


def outputs(wanted: dict[str, str | None], inputs: Iterable[Path | None], *, force: bool = False) -> dict[str, Output]:
    """Option -> output, for the options that were given; all are checked.

    Raises
    ------
    InputError : as for ``Output``, or if two of them are the same file.
    """
    files = [file for file in inputs if file is not None]
    found = {option: Output(option, name, files, force=force) for option, name in wanted.items() if name is not None}
    places = [output.name if output.to_standard_output else str(output.path) for output in found.values()]
    if len(set(places)) < len(places):
        raise InputError(f"{' and '.join(found)} name the same file: give each its own.")
    return found


def _is_ours(path: Path) -> bool:
    """Whether an existing file was written by ilhte (a document or a report), or is empty."""
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
    """Whether a file is a Word file with our keyword, a PDF with our last line, or empty."""
    content = path.read_bytes()
    if not content or content.endswith(PDF_END):
        return True
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as parts:
            return f">{KEYWORD}<".encode() in parts.read("docProps/core.xml")
    except (zipfile.BadZipFile, KeyError):
        return False


def _refuse_long(path: Path) -> None:
    """Raise OSError if the name is too long for the system."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return
