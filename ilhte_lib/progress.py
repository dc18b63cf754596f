"""What is being computed, told to whoever waits: a step's name and, where it is counted, how far it is.

A computation many calls down says ``step(...)``; who wants to hear it opens ``telling(...)`` around all. Nobody in between
hands anything on, and where nobody listens a step costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Told = Callable[[str, int, int], None]
"""Called with the step's name, and how many of how many are done; 0 of 0 where that is not counted."""

_LISTENER: ContextVar[Told | None] = ContextVar("listener", default=None)


@contextmanager
def telling(told: Told | None) -> Iterator[None]:
    """Call ``told`` with every step that is taken inside; with None whoever listened before goes on to."""
    if told is None:
        yield
        return
    before = _LISTENER.set(told)
    try:
        yield
    finally:
        _LISTENER.reset(before)


def step(what: str, done: int = 0, of: int = 0) -> None:
    """Say what is computed from here on: ``step("leaving items out", 12, 60)``, or ``step("fitting M_A")``."""
    told = _LISTENER.get()
    if told is not None:
        told(what, done, of)
