"""Progress of a computation: the name of the current step and, where steps are counted, how many are done.

Code deep in the call stack calls ``step(...)``; a caller that wants to follow it wraps the whole in ``listening(...)``. Functions
in between need not pass anything on, and without a listener a step costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str, int, int], None]
"""Called with the step's name, the number done and the number in all; both are 0 for a step that is not counted."""

_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Call ``listener`` with every step taken inside the context; with None an earlier listener, if any, stays."""
    if listener is None:
        yield
        return
    before = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(before)


def step(what: str, done: int = 0, of: int = 0) -> None:
    """Announce what is computed next: ``step("fitting M_A")``, or ``step("leaving items out", 12, 60)``."""
    listener = _LISTENER.get()
    if listener is not None:
        listener(what, done, of)
