"""The course of a fit that is going on in another thread: how far it is, and whether it is to stop."""

from __future__ import annotations

import threading

STARTED = "The models are fitted"
WAITING = "Another fit of this machine goes first"
STOPPING = "It stops after the step it is at"
STOPPED = "The fit was stopped: nothing of it is kept."
_ONE_AT_A_TIME = threading.Lock()
"""Held while models are fitted, which takes all of a processor and much memory."""
LOOKED_AT = 0.5
"""Seconds from one look at how far a fit is to the next."""


class Stopped(BaseException):
    """Somebody pressed the button that stops a fit.

    No Exception: a part of the inference that fails with one is left out, and the others go on.
    """


class Course:
    """A fit that is going on: how far it is, and whether it is to stop, told from one thread to another."""

    def __init__(self) -> None:
        self.words = STARTED
        self._stop = threading.Event()

    def stop(self) -> None:
        """Ask it to stop, which it does at its next step."""
        self._stop.set()
        self.words = STOPPING

    def told(self, what: str, done: int, of: int) -> None:
        """What ``ilhte_lib.progress`` calls at every step.

        Raises
        ------
        Stopped : it was asked to stop.
        """
        self.go_on()
        self.words = what[:1].upper() + what[1:] + (f", {done} of {of}" if of else "")

    def go_on(self) -> None:
        """Raise Stopped if it was asked to stop."""
        if self._stop.is_set():
            raise Stopped(STOPPED)

    def turn(self) -> None:
        """Wait until no other fit is going on."""
        while not _ONE_AT_A_TIME.acquire(timeout=LOOKED_AT):
            self.go_on()
            self.words = WAITING

    def end(self) -> None:
        """Let the next fit begin."""
        _ONE_AT_A_TIME.release()
