"""A progress line on the terminal that says what is being computed, updated meanwhile and removed at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ilhte_lib.progress import Listener, listening

from .words.printable import visible

if TYPE_CHECKING:
    from rich.console import Console

_A_SECOND = 4
"""Updates per second, so that the clock keeps running in a step without a count."""
_WORTH_TELLING = 2.0
"""Seconds; a shorter remaining time is not shown."""


@contextmanager
def drawing(console: Console, *, quiet: bool = False) -> Iterator[Listener]:
    """Show every ``step`` taken inside the context on a terminal; nothing if it is not a terminal, or if ``quiet``."""
    if quiet or not console.is_terminal or console.is_dumb_terminal:
        yield lambda what, done, of: None
        return
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description} ...", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, refresh_per_second=_A_SECOND) as line:
        task = line.add_task("Starting", total=None)
        now = ""

        def told(what: str, done: int, of: int) -> None:
            nonlocal now
            if what != now:
                now = what
                line.reset(task, total=of or None)
            line.update(task, completed=done, description=visible(what[:1].upper() + what[1:]) + counted(done, of))

        def counted(done: int, of: int) -> str:
            if not of:
                return ""
            left = line.tasks[0].time_remaining if done < of else None
            return f", {done} of {of}" + (f", about {left:.0f} s left" if left and left > _WORTH_TELLING else "")

        with listening(told):
            yield told
