"""The progress of a run: a bar on a terminal; elsewhere one line per table, and a sign of life in long silences."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..words.printable import visible

if TYPE_CHECKING:
    from rich.console import Console

    from .tables import Standing, TableOutcome

    Told = Callable[[TableOutcome | None, Standing], None]

SILENCE = 20.0
"""Seconds of silence after which a run says that it is still working."""


@contextmanager
def progress(console: Console, *, quiet: bool = False) -> Iterator[Told]:
    """A callback for ``run_tables`` that shows each outcome; failures are shown with their reasons even if ``quiet``."""
    if console.is_terminal and not quiet:
        yield from _bar(console)
    else:
        yield from _lines(console, quiet)


def _bar(console: Console) -> Iterator[Told]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        clock = _Clock()

        def told(outcome: TableOutcome | None, standing: Standing) -> None:
            words = f"{standing.running} running, {standing.failed} failed{clock.left(standing)}"
            bar.update(task, total=standing.of, completed=standing.done, description=words)
            if outcome and outcome.status == "failed":
                bar.console.print(_failure(outcome), style="red", markup=False, highlight=False)

        yield told


def _lines(console: Console, quiet: bool) -> Iterator[Told]:
    clock, news, over = _Clock(), threading.Event(), threading.Event()
    at: Standing | None = None

    def line(standing: Standing, what: str) -> None:
        still = (
            f", {standing.running} running, {standing.failed} failed{clock.left(standing)}" if standing.running else ""
        )
        console.print(f"[{standing.done}/{standing.of}{still}] {what}", markup=False, highlight=False, soft_wrap=True)

    def told(outcome: TableOutcome | None, standing: Standing) -> None:
        nonlocal at
        at = standing
        news.set()
        if outcome is None or (quiet and outcome.status != "failed"):
            return
        what = _failure(outcome) if outcome.status == "failed" else f"{visible(outcome.tab)}: {outcome.status}"
        if outcome.status == "fitted":
            what += f" ({outcome.seconds:.1f} s)"
        line(standing, what)

    def breathe() -> None:
        while not over.is_set():
            if not news.wait(SILENCE) and at is not None and at.running:
                line(at, f"still working after {clock.seconds():.0f} s")
            news.clear()

    breath = threading.Thread(target=breathe, daemon=True)
    if not quiet:
        breath.start()
    try:
        yield told
    finally:
        over.set()
        news.set()
        if not quiet:
            breath.join()


def _failure(outcome: TableOutcome) -> str:
    return f"{visible(outcome.tab)} failed: {visible(outcome.reason)}"


class _Clock:
    """Estimates the remaining time from the pace of the tables that were fitted."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self._start

    def left(self, standing: Standing) -> str:
        worked = standing.done - standing.kept
        if not worked or standing.done == standing.of:
            return ""
        seconds = self.seconds() / worked * (standing.of - standing.done)
        return f", about {seconds:.0f} s left" if seconds < 120 else f", about {seconds / 60:.0f} min left"
