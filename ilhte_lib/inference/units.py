"""The unit in which a table's effects are shown: SDs of its persons, or logits if persons do not differ."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Unit(StrEnum):
    """Unit of effects."""

    SD = "SD"
    LOGIT = "logit"

    @property
    def plural(self) -> str:
        """The unit after a number or in parentheses: "SDs" or "logits"."""
        return f"{self.value}s"

    @property
    def of_persons(self) -> str:
        """The unit spelled out: "SDs of the persons" or "logits"."""
        return "SDs of the persons" if self is Unit.SD else "logits"


@dataclass(frozen=True)
class Scale:
    """A unit and its size.

    Attributes
    ----------
    unit : see ``Unit``.
    by : logits per unit: sigma_theta of M_0 for SDs, 1 for logits.
    """

    unit: Unit
    by: float

    @classmethod
    def of(cls, sigma_theta: float) -> Scale:
        """The scale of a table whose M_0 has this sigma_theta (logits): SDs, or logits if it is 0."""
        return cls(Unit.SD, float(sigma_theta)) if sigma_theta > 0 else cls(Unit.LOGIT, 1.0)
