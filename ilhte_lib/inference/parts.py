"""The parts of an inference, and what is said of one that could not be computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import numpy as np

from ..errors import IlhteError

Result = TypeVar("Result")


class Part(StrEnum):
    """A part that is computed by itself, so that its failure costs nothing else."""

    PROFILES = "Profile intervals"
    PROFILE = "Profile"
    CURVE = "Profile curve"
    NULL = "Bootstrap p-value"
    RESAMPLING = "Resampling"
    SUM_SCORE = "Sum score"
    INFLUENCE = "Without an item"
    FREE = "Single items"
    ITEMS = "Intervals of single items"
    ROBUST = "Robust mean"
    OTHER_ITEMS = "Other items"
    SENSITIVITY = "Without one-way items"
    STEPS = "Shared steps"
    PENALISED = "Penalised fit"
    DISCRIMINATIONS = "Discriminations"
    SURFACE = "Likelihood for pooling"
    OUT_OF_CORE = "Read out of core"


@dataclass(frozen=True)
class Missing:
    """A part that could not be computed.

    Attributes
    ----------
    part : which.
    reason : why, one sentence.
    of : the parameter, for a part that is computed for several.
    """

    part: Part
    reason: str
    of: str = ""

    def __str__(self) -> str:
        return f"{self.part.value}{f' of {self.of}' if self.of else ''}: {self.reason}"


class Parts:
    """Computes parts one by one and keeps what was missing."""

    def __init__(self) -> None:
        self.missing: list[Missing] = []

    def attempt(self, part: Part, compute: Callable[[], Result], of: str = "") -> Result | None:
        """What ``compute`` returns; None, and an entry in ``missing``, if it raises anything but an interruption."""
        try:
            return compute()
        except Exception as failure:  # a certified fit is worth more than any part of what follows from it
            self.missing.append(Missing(part, reason_of(failure), of))
            return None


def reason_of(failure: Exception) -> str:
    """Why something could not be computed, in a sentence."""
    if isinstance(failure, IlhteError):
        return str(failure)
    if isinstance(failure, MemoryError):
        return "There is not enough memory for it."
    words = " ".join(str(failure).split()).rstrip(".")
    if isinstance(failure, (ArithmeticError, np.linalg.LinAlgError)):
        return f"The computation broke down ({words or type(failure).__name__})."
    return f"It could not be computed ({type(failure).__name__}{f': {words}' if words else ''})."
