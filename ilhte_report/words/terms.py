"""The words for effects, items and arms, which differ where the groups were not assigned or the items are visits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ilhte_lib.data.catalogue import TableInfo


@dataclass(frozen=True)
class Terms:
    """The words used in sentences about a table.

    Attributes
    ----------
    average : the average over the items.
    effect : the effect on one item.
    effects : the effects on several items, as the subject of a sentence.
    item, items : one item, several items.
    treated : the persons with ``treat = 1``.
    treatment : the factor that interacts with a covariate.
    axis : title of the axis in a figure of the items.
    """

    average: str = "Average effect"
    effect: str = "effect"
    effects: str = "Item effects"
    item: str = "item"
    items: str = "items"
    treated: str = "treated persons"
    treatment: str = "Treatment"
    axis: str = "Item-specific treatment effect"

    @property
    def inside(self) -> str:
        """``effects`` inside a sentence."""
        return self.effects[0].lower() + self.effects[1:] if self != TRIAL else "the item effects"


TRIAL = Terms()
VISITS = Terms(
    average="Average effect over the visits",
    effects="Effects at the visits",
    item="visit",
    items="visits",
    axis="Treatment effect at a visit",
)
GROUPS = Terms(
    average="Average difference between the groups, which nobody assigned",
    effect="difference between the groups",
    effects="The items' differences between the groups",
    treated="persons of the group with treat = 1",
    treatment="Group",
    axis="Difference between the groups on an item",
)


def terms_of(info: TableInfo | None) -> Terms:
    """The words for a table with this entry in the catalogue; None for a table of the user's own."""
    if info is None or info.kind == "simulated":
        return TRIAL
    if not info.randomised:
        return GROUPS
    return VISITS if info.items_are == "visits" else TRIAL
