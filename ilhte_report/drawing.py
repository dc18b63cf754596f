"""A progress bar for the replicates of ``ilhte fit --bootstrap N``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ilhte_lib.inference.infer import Told

if TYPE_CHECKING:
    from rich.console import Console

WORDS = {"null": "trials with equal effects", "resampling": "samples of the persons", "design": "simulated trials"}
"""What is drawn, by the name that ``Told`` has of it."""


@contextmanager
def drawing(console: Console) -> Iterator[Told]:
    """What ``infer`` is to call with its progress: a bar for each bootstrap, gone when all is done; nothing off a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, int] = {}

        def told(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(WORDS[what], total=of)
            bars.update(tasks[what], completed=done)

        yield told
