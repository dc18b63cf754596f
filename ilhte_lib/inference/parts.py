"""The parts of an inference, each computed on its own, and reasons for those that could not be computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import numpy as np

from ..errors import IlhteError
from ..progress import step

Result = TypeVar("Result")


class Part(StrEnum):
    """A part that is computed on its own, so that its failure does not affect the others."""

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
    QUICK = "Not computed (quick)"


@dataclass(frozen=True)
class Missing:
    """A part that could not be computed.

    Attributes
    ----------
    part : the part.
    reason : why it could not be computed, one sentence.
    of : the parameter, for a part that is computed for several.
    """

    part: Part
    reason: str
    of: str = ""

    def __str__(self) -> str:
        return f"{self.part.value}{f' of {self.of}' if self.of else ''}: {self.reason}"


QUICK_WITHOUT = frozenset(Part) - {Part.NULL, Part.RESAMPLING, Part.OTHER_ITEMS}
"""Parts left out if only estimates and standard errors are wanted; replicates are still drawn if requested."""


class Parts:
    """Computes parts one by one, and records those that failed and those that were not wanted."""

    def __init__(self, unwanted: frozenset[Part] = frozenset()) -> None:
        self.missing: list[Missing] = []
        self.left_out: list[str] = []
        self._unwanted = unwanted

    def attempt(self, part: Part, compute: Callable[[], Result], of: str = "") -> Result | None:
        """The result of ``compute``; None, with an entry in ``missing``, if it raises anything but an interruption.

        An unwanted part is not computed: it is None, with an entry in ``left_out``.
        """
        if part in self._unwanted:
            self.left_out.append(part.value)
            return None
        step(f"{part.value}{f' of {of}' if of else ''}")
        try:
            return compute()
        except Exception as failure:  # no part may cost the user the fit
            self.missing.append(Missing(part, reason_of(failure), of))
            return None


def reason_of(failure: Exception) -> str:
    """Why something could not be computed, as a sentence."""
    if isinstance(failure, IlhteError):
        return str(failure)
    if isinstance(failure, MemoryError):
        return "There is not enough memory for it."
    words = " ".join(str(failure).split()).rstrip(".")
    if isinstance(failure, (ArithmeticError, np.linalg.LinAlgError)):
        return f"The computation broke down ({words or type(failure).__name__})."
    return f"It could not be computed ({type(failure).__name__}{f': {words}' if words else ''})."
