"""A prepared trial, and the audit of how it came to be."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class AuditEntry:
    """One step of the preparation: what it left out and why, or what it only noted (all counts 0).

    Attributes
    ----------
    step : short name of the rule.
    rows, persons, items : how many of each the step removed.
    reason : one sentence.
    """

    step: str
    rows: int
    persons: int
    items: int
    reason: str


@dataclass(frozen=True)
class Trial:
    """A prepared trial of P persons, J binary items and n responses.

    Attributes
    ----------
    tab : name of the table.
    profile : "vignette" or "full".
    item_names : J names in natural order, so that the order of rows in the file changes nothing.
    person_ids : (P,) identifiers as in the table.
    treat : (P,) 0 control, 1 treated.
    person, item : (n,) indices into ``person_ids`` and ``item_names``.
    resp : (n,) 0 or 1.
    covariate : (P,) standardised covariate, NaN where missing; None if there is none.
    covariate_name : its column, or None.
    covariate_correlation : its correlation with resp among control rows; NaN if there is none.
    cluster : (P,) cluster of each person, or None.
    wave : the wave that was kept, or None where the table has no waves.
    audit : every step, in order.
    flags : short sentences a reader of the results must see.
    """

    tab: str
    profile: str
    item_names: tuple[str, ...]
    person_ids: np.ndarray
    treat: np.ndarray
    person: np.ndarray
    item: np.ndarray
    resp: np.ndarray
    covariate: np.ndarray | None
    covariate_name: str | None
    covariate_correlation: float
    cluster: np.ndarray | None
    wave: str | None
    audit: tuple[AuditEntry, ...]
    flags: tuple[str, ...]

    @property
    def n_persons(self) -> int:
        """P."""
        return len(self.person_ids)

    @property
    def n_items(self) -> int:
        """J."""
        return len(self.item_names)

    @property
    def n_responses(self) -> int:
        """n."""
        return len(self.resp)

    def audit_rows(self) -> list[dict]:
        """The audit as plain dictionaries, for JSON and tables."""
        return [asdict(entry) for entry in self.audit]


class Audit:
    """Collects entries while the table shrinks."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []
        self.flags: list[str] = []

    def note(self, step: str, reason: str, *, flag: bool = False) -> None:
        self.entries.append(AuditEntry(step, 0, 0, 0, reason))
        if flag:
            self.flags.append(reason)

    def keep(self, table: pd.DataFrame, kept: np.ndarray, step: str, reason: str) -> pd.DataFrame:
        """``table[kept]``, with an entry if anything goes."""
        after = table[kept]
        lost = len(table) - len(after)
        if lost:
            persons = table["id"].nunique() - after["id"].nunique()
            items = table["item"].nunique() - after["item"].nunique()
            self.entries.append(AuditEntry(step, lost, persons, items, reason))
        return after
