"""Weaknesses of a table that limit conclusions: items answered one way, arms without a common item, few persons.

A fit to such a table is correct, but its numbers depend more on the model's assumptions than on the data. They are flagged in the
result, and sentences give estimates without drawing conclusions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..messages import counted, listed

if TYPE_CHECKING:
    from ..data.trial import PreparedTrial
    from ..model.compress import SufficientStatistics
    from ..model.fit_result import Fit

FEWEST_PERSONS = 10
"""An arm with fewer persons is flagged."""
FEWEST_CLUSTERS = 10
"""A trial with fewer clusters is flagged, and standard errors from resampling them do not replace the model's."""
EXTREME_SIGMA = 10.0
"""Above this sigma_theta (logits) the Laplace approximation of a person's likelihood is unreliable."""
ARMS = ("control", "treated")
MOST_NAMED = 5


@dataclass(frozen=True)
class OneWayItem:
    """An item to which everyone in an arm who answered it gave the same response, so that its own effect has no finite estimate.

    Attributes
    ----------
    item : its name.
    arm : "control" or "treated".
    answer : 0 or the highest score.
    """

    item: str
    arm: str
    answer: int


@dataclass(frozen=True)
class Weaknesses:
    """Weaknesses of a table.

    Attributes
    ----------
    one_way_items : items answered one way in an arm, excluding items that only one arm answered.
    no_common_item : whether no item was answered in both arms.
    persons : numbers of persons in the control and in the treated arm.
    clusters : number of clusters; None if there are none, or it is unknown.
    sigma_theta : largest estimate over the fits, logits.
    uncertified : names of the models whose optimum is not certified.
    """

    one_way_items: tuple[OneWayItem, ...]
    no_common_item: bool
    persons: tuple[int, int]
    clusters: int | None
    sigma_theta: float
    uncertified: tuple[str, ...]

    @property
    def few_persons(self) -> bool:
        """Whether an arm has fewer than ``FEWEST_PERSONS`` persons."""
        return min(self.persons) < FEWEST_PERSONS

    @property
    def few_clusters(self) -> bool:
        """Whether there are clusters, but fewer than ``FEWEST_CLUSTERS``."""
        return self.clusters is not None and self.clusters < FEWEST_CLUSTERS

    @property
    def extreme_persons(self) -> bool:
        """Whether persons differ so much that the approximation of the likelihood fails."""
        return self.sigma_theta > EXTREME_SIGMA

    @property
    def one_way_names(self) -> tuple[str, ...]:
        """Names of the items answered one way in one arm or in both, each once."""
        return tuple(dict.fromkeys(found.item for found in self.one_way_items))

    @property
    def forbids_conclusions(self) -> bool:
        """Whether no conclusion at all may be drawn from M_A, as with few persons or an optimum that is not certified."""
        return self.few_persons or self.extreme_persons or self.no_common_item or "M_A" in self.uncertified

    @property
    def why_no_conclusions(self) -> str:
        """The reason for ``forbids_conclusions``, to end a sentence; "" if there is none."""
        if self.no_common_item:
            return "no item was answered in both arms"
        if "M_A" in self.uncertified:
            return "the optimum of M_A is not certified"
        if self.few_persons:
            return f"an arm has fewer than {FEWEST_PERSONS} persons"
        return "persons differ too much for the approximation of the likelihood" if self.extreme_persons else ""


def weaknesses(trial: PreparedTrial, fits: dict[str, Fit]) -> Weaknesses:
    """The weaknesses of a prepared trial and its fits."""
    answers, total = trial.item_counts()
    highest = [1] * trial.n_items if trial.formats is None else trial.formats.highest
    one_way = tuple(
        OneWayItem(name, ARMS[arm], int(highest[k]) if total[arm, k] > 0 else 0)
        for k, name in enumerate(trial.item_names)
        for arm in (0, 1)
        if answers[:, k].all() and total[arm, k] in (0, answers[arm, k] * highest[k])
    )
    return Weaknesses(
        one_way_items=one_way,
        no_common_item=not answers.all(axis=0).any(),
        persons=persons_by_arm(trial.sufficient_statistics(False)),
        clusters=trial.n_clusters,
        sigma_theta=max((fit.sigma_theta for fit in fits.values()), default=0.0),
        uncertified=tuple(name for name, fit in fits.items() if not fit.converged),
    )


def persons_by_arm(statistics: SufficientStatistics) -> tuple[int, int]:
    """Numbers of persons in the control and in the treated arm."""
    count, cut = statistics.count, statistics.n_control_classes
    return int(count[:cut].sum()), int(count[cut:].sum())


def weakness_sentences(weak: Weaknesses) -> list[str]:
    """A sentence on each weakness of a table."""
    sentences = []
    if weak.no_common_item:
        sentences.append(
            "No item was answered in both arms: the effects of single items and their correlation with easiness are not "
            "identified, and the average effect cannot be distinguished from a difference between the arms' items."
        )
    for arm in ARMS:
        for answer in sorted({found.answer for found in weak.one_way_items}):
            names = [f.item for f in weak.one_way_items if (f.arm, f.answer) == (arm, answer)]
            if names:
                items, have, own, them = (
                    (f"Item {listed(names, 1)}", "has", "its own effect has", "it")
                    if len(names) == 1
                    else (f"{len(names)} items ({listed(names, MOST_NAMED)})", "have", "their own effects have", "them")
                )
                sentences.append(
                    f"{items} {have} one response only ({answer}) in the {arm} arm: {own} no finite estimate, and sigma_zeta "
                    f"may depend heavily on {them}."
                )
    if weak.few_persons:
        control, treated = weak.persons
        sentences.append(
            f"There are {counted(control, 'control person', 'control persons')} and {treated} treated: with fewer than "
            f"{FEWEST_PERSONS} in an arm, intervals and tests, which are valid for large samples, are rough."
        )
    if weak.clusters is not None and weak.few_clusters:
        sentences.append(
            f"Persons come in {counted(weak.clusters, 'cluster', 'clusters')}: with fewer than {FEWEST_CLUSTERS}, nothing "
            "reliable can be said of how clusters vary, and resampling them gives no better intervals."
        )
    if weak.extreme_persons:
        sentences.append(
            f"Persons differ enormously (sigma_theta is {weak.sigma_theta:.3g} logits; most give the same response to all items, or "
            "responses form a Guttman pattern), so the approximation of the likelihood is poor."
        )
    return sentences


def fit_messages(fits: dict[str, Fit], weak: Weaknesses) -> list[str]:
    """The engine's messages about each fit; for a fit without a certificate, arms without a common item are named as the cause."""
    messages: list[str] = []
    for name, fit in fits.items():
        if weak.no_common_item and fit.spec.item_effects and not fit.converged:
            messages.append(
                f"{name}: the optimum is not certified, because no item was answered in both arms and the likelihood cannot "
                "distinguish an item's effect from its easiness: standard errors are undefined."
            )
        else:
            messages += fit.messages
    return messages
