"""A prepared trial, and the audit of its preparation."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypedDict

import numpy as np

from ..model.compress import SufficientStatistics, sufficient_statistics

if TYPE_CHECKING:
    import pandas as pd

    from ..model.formats import ItemFormats
    from ..model.item_types import ItemCovariate


class ClusterModel(StrEnum):
    """Random effects of clusters in the models: none, level ``(1|cluster)``, or level and effect ``(treat|cluster)``."""

    NONE = "none"
    LEVEL = "level"
    EFFECTS = "effects"


class ClusterArguments(TypedDict):
    """Cluster arguments of ``sufficient_statistics``."""

    cluster: np.ndarray | None
    cluster_effects: bool


@dataclass(frozen=True)
class AuditEntry:
    """One step of the preparation: what it left out and why, or only a note (all counts 0).

    Attributes
    ----------
    step : short name of the rule.
    rows, persons, items : numbers removed by the step.
    reason : one sentence.
    """

    step: str
    rows: int
    persons: int
    items: int
    reason: str


class PreparedTrial(Protocol):
    """What fitting and inference need from a prepared trial; implemented by ``Trial`` and ``large.LargeTrial``.

    Attributes
    ----------
    rows_known : whether the responses of single persons are in memory, so that they can be resampled or left out.
    clustered : whether persons come in clusters.
    n_clusters : number of clusters; None if there are none, or it is not known.
    clusters_modelled : whether the models have random effects of clusters.
    """

    @property
    def tab(self) -> str: ...
    @property
    def profile(self) -> str: ...
    @property
    def covariate_name(self) -> str | None: ...
    @property
    def covariate_correlation(self) -> float: ...
    @property
    def wave(self) -> str | None: ...
    @property
    def flags(self) -> tuple[str, ...]: ...
    @property
    def formats(self) -> ItemFormats | None: ...
    @property
    def categories(self) -> tuple[tuple[str, ...], ...] | None: ...
    @property
    def item_names(self) -> tuple[str, ...]: ...
    @property
    def item_covariates(self) -> tuple[ItemCovariate, ...]: ...
    @property
    def other_waves(self) -> tuple[OtherWave, ...]: ...
    @property
    def arms(self) -> tuple[tuple[str, Trial], ...]: ...
    @property
    def control(self) -> str | None: ...
    @property
    def covariate(self) -> np.ndarray | None: ...
    @property
    def n_persons(self) -> int: ...
    @property
    def n_items(self) -> int: ...
    @property
    def n_responses(self) -> int: ...
    @property
    def rows_known(self) -> bool: ...
    @property
    def clustered(self) -> bool: ...
    @property
    def n_clusters(self) -> int | None: ...
    @property
    def clusters_modelled(self) -> bool: ...
    def sufficient_statistics(self, with_covariate: bool) -> SufficientStatistics:
        """Those of all persons or, with the covariate, of the persons who have it."""

    def item_counts(self) -> tuple[np.ndarray, np.ndarray]:
        """(2, J) number of responses, and sum of their scores, for each item by arm (control, treated)."""

    def audit_rows(self) -> list[dict]:
        """The audit as plain dictionaries, for JSON and tables."""


@dataclass(frozen=True)
class Trial:
    """A prepared trial of P persons, J items and n responses.

    Attributes
    ----------
    tab : name of the table.
    profile : "vignette" or "full".
    item_names : J names in natural order, so that results do not depend on the order of rows.
    person_ids : (P,) identifiers as in the table.
    treat : (P,) 0 control, 1 treated.
    person, item : (n,) indices into ``person_ids`` and ``item_names``.
    resp : (n,) 0 or 1, or scores from 0 for items with more categories.
    covariate : (P,) standardised covariate, NaN where missing; None if there is none.
    covariate_name : its column, or None.
    covariate_correlation : its correlation with resp among control rows; NaN if there is none.
    cluster : (P,) cluster of each person, or None.
    wave : the wave that was kept, or None if the table has no waves.
    audit : every step of the preparation, in order.
    flags : short sentences a reader of the results must see.
    formats : the items' formats; None where all have two categories.
    categories : for each item the names of its categories, lowest first; None without formats.
    item_covariates : covariates of the items.
    arms : for a table with several arms, label and trial of each, this one first; otherwise empty.
    control : for a table with several arms, the label of the control; otherwise None.
    other_waves : the table's other waves (``design.prepare_design``).
    cluster_name : the column of clusters, or None.
    cluster_model : random effects of clusters in the models.
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
    formats: ItemFormats | None = None
    categories: tuple[tuple[str, ...], ...] | None = None
    item_covariates: tuple[ItemCovariate, ...] = ()
    other_waves: tuple[OtherWave, ...] = ()
    arms: tuple[tuple[str, Trial], ...] = ()
    control: str | None = None
    cluster_name: str | None = None
    cluster_model: ClusterModel = ClusterModel.NONE

    @property
    def n_persons(self) -> int:
        """Number of persons P."""
        return len(self.person_ids)

    @property
    def n_items(self) -> int:
        """Number of items J."""
        return len(self.item_names)

    @property
    def n_responses(self) -> int:
        """Number of responses n."""
        return len(self.resp)

    @property
    def rows_known(self) -> bool:
        """Always true."""
        return True

    @property
    def clustered(self) -> bool:
        """Whether persons come in clusters."""
        return self.cluster is not None

    @property
    def n_clusters(self) -> int | None:
        """Number of clusters, or None."""
        return None if self.cluster is None else len(np.unique(cluster_codes(self.cluster)))

    def sufficient_statistics(self, with_covariate: bool) -> SufficientStatistics:
        """Those of all persons or, with the covariate, of the persons who have it."""
        return sufficient_statistics(
            self.item_names,
            self.treat,
            self.person,
            self.item,
            self.resp,
            self.covariate if with_covariate else None,
            self.formats,
            **self.of_clusters,
        )

    @property
    def clusters_modelled(self) -> bool:
        """Whether the models have random effects of clusters."""
        return self.cluster is not None and self.cluster_model is not ClusterModel.NONE

    @property
    def of_clusters(self) -> ClusterArguments:
        """Arguments of ``sufficient_statistics`` for the clusters in the models."""
        if self.cluster is None or not self.clusters_modelled:
            return {"cluster": None, "cluster_effects": False}
        return {
            # coded in the order of their names, so that results do not depend on the order of rows
            "cluster": np.unique([str(label) for label in self.cluster], return_inverse=True)[1],
            "cluster_effects": self.cluster_model is ClusterModel.EFFECTS,
        }

    def item_counts(self) -> tuple[np.ndarray, np.ndarray]:
        """(2, J) number of responses, and sum of their scores, for each item by arm (control, treated)."""
        cell, size = self.treat[self.person].astype(int) * self.n_items + self.item, 2 * self.n_items
        answers = np.bincount(cell, minlength=size).reshape(2, -1)
        return answers, np.bincount(cell, weights=self.resp, minlength=size).reshape(2, -1)

    def audit_rows(self) -> list[dict]:
        """The audit as plain dictionaries, for JSON and tables."""
        return [asdict(entry) for entry in self.audit]


@dataclass(frozen=True)
class OtherWave:
    """A wave of the table other than the one analysed.

    Attributes
    ----------
    name : the wave's name.
    before : whether it is known to precede randomisation.
    trial : the wave prepared by the same rules, without a covariate; None if it cannot be used.
    reason : why it cannot be used, one sentence.
    """

    name: str
    before: bool
    trial: Trial | None
    reason: str = ""


def cluster_codes(cluster: np.ndarray) -> np.ndarray:
    """(P,) integer codes of clusters; each missing value is a cluster of its own."""
    import pandas as pd

    codes = pd.factorize(np.asarray(cluster, dtype=object))[0]
    missing = np.flatnonzero(codes < 0)
    codes[missing] = codes.max(initial=-1) + 1 + np.arange(len(missing))
    return codes


class Audit:
    """Collects entries and flags while the table is prepared."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []
        self.flags: list[str] = []

    def note(self, step: str, reason: str, *, flag: bool = False) -> None:
        self.entries.append(AuditEntry(step, 0, 0, 0, reason))
        if flag:
            self.flags.append(reason)

    def keep(self, table: pd.DataFrame, kept: np.ndarray, step: str, reason: str) -> pd.DataFrame:
        """``table[kept]``, with an entry if anything is removed."""
        after = table[kept]
        lost = len(table) - len(after)
        if lost:
            persons = table["id"].nunique() - after["id"].nunique()
            items = table["item"].nunique() - after["item"].nunique()
            self.entries.append(AuditEntry(step, lost, persons, items, reason))
        return after
