"""What effects, items and arms are called: other words where the groups were not assigned, or the items are visits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ilhte_lib.data.catalogue import TableInfo


@dataclass(frozen=True)
class Terms:
    """The words of a table's claims.

    Attributes
    ----------
    average : what the average over the items is.
    effect : what one item has.
    effects : what several items have, as the subject of a sentence.
    item, items : what an item is.
    treated : the persons with ``treat = 1``.
    treatment : what interacts with a covariate.
    axis : of a figure of the items.
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
    """The words for a table of which this is known."""
    if info is None or info.kind == "simulated":
        return TRIAL
    if not info.randomised:
        return GROUPS
    return VISITS if info.items_are == "visits" else TRIAL
