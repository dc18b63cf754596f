"""The command line called in this process, which takes a tenth of the time that a process of its own takes."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from dataclasses import dataclass
from unittest.mock import patch

from ilhte_report.cli import main


@dataclass(frozen=True)
class Done:
    """How a call ended."""

    code: int
    out: str
    err: str


def call(*arguments: object) -> Done:
    """What ``ilhte ARGUMENTS`` does, on a terminal of 200 columns."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        patch.object(sys, "argv", ["ilhte", *map(str, arguments)]),
        patch.dict(os.environ, {"COLUMNS": "200"}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as leave:
            code = int(leave.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


def refusal(done: Done) -> str:
    """The one sentence a user is told for bad input, with exit code 2 and nothing else."""
    assert done.code == 2, (done.code, done.out, done.err)
    assert done.err.startswith("ilhte: ") and done.err.count("\n") == 1, done.err
    message = done.err.removeprefix("ilhte: ").rstrip("\n")
    assert message.isprintable() and message.endswith((".", "?")), message
    return message
