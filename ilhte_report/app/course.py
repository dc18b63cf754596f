"""The progress of a fit in another thread, and the request to stop it."""

from __future__ import annotations

import threading

STARTED = "Fitting the models"
WAITING = "Waiting for another fit on this machine"
STOPPING = "Stopping after the current step"
STOPPED = "The fit was stopped; there are no results."
_ONE_AT_A_TIME = threading.Lock()
"""Held while models are fitted, which needs a whole processor and much memory."""
LOOKED_AT = 0.5
"""Seconds between two updates of the progress."""


class Stopped(BaseException):
    """The user pressed the button that stops a fit.

    Not an ``Exception``: the inference leaves out a part that fails with one and continues with the others.
    """


class Course:
    """A running fit: its progress and the request to stop it, shared between threads."""

    def __init__(self) -> None:
        self.words = STARTED
        self._stop = threading.Event()

    def stop(self) -> None:
        """Ask the fit to stop at its next step."""
        self._stop.set()
        self.words = STOPPING

    def told(self, what: str, done: int, of: int) -> None:
        """Note the progress; called by ``ilhte_lib.progress`` at every step.

        Raises
        ------
        Stopped : the fit was asked to stop.
        """
        self.go_on()
        self.words = what[:1].upper() + what[1:] + (f", {done} of {of}" if of else "")

    def go_on(self) -> None:
        """Raise Stopped if the fit was asked to stop."""
        if self._stop.is_set():
            raise Stopped(STOPPED)

    def turn(self) -> None:
        """Wait until no other fit is running."""
        while not _ONE_AT_A_TIME.acquire(timeout=LOOKED_AT):
            self.go_on()
            self.words = WAITING

    def end(self) -> None:
        """Let the next fit start."""
        _ONE_AT_A_TIME.release()
