"""Item formats: how many ordered categories each item has, and which items share their steps.

Item i has categories 0..K_i and, in the adjacent-category family (Andrich 1978, Psychometrika 43(4); Masters 1982,
Psychometrika 47(2)),

    P(Y = k) = exp(k eta - c_ik) / sum_h exp(h eta - c_ih),   c_ik = tau_i1 + ... + tau_ik,   sum_h tau_ih = 0,

so that the log-odds of category m against m - 1 are eta - tau_im. With one step (K_i = 1) tau is 0 and the item is a Rasch item.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np


class StepForm(StrEnum):
    """Which items share the same steps tau."""

    RATING = "rating"
    """Items with the same number of categories share them: the rating scale model."""
    PARTIAL = "partial"
    """Every item has its own: the partial credit model."""


@dataclass(frozen=True, eq=False)
class ItemFormats:
    """The formats of J items, at least one of which has more than two categories.

    Attributes
    ----------
    highest : (J,) highest score K_i of each item; the lowest is 0.
    form : which items share their steps.
    """

    highest: np.ndarray
    form: StepForm = StepForm.RATING

    @property
    def n_items(self) -> int:
        """J."""
        return len(self.highest)

    @cached_property
    def most(self) -> int:
        """The largest K_i."""
        return int(self.highest.max())

    @cached_property
    def group(self) -> np.ndarray:
        """(J,) index, from 0, of the group of items with which each item shares its steps."""
        if self.form == StepForm.PARTIAL:
            return np.arange(self.n_items)
        return np.unique(self.highest, return_inverse=True)[1].ravel()

    @cached_property
    def _group_highest(self) -> np.ndarray:
        """(groups,) highest score K of each group."""
        return self.highest[np.unique(self.group, return_index=True)[1]]

    @cached_property
    def _free(self) -> tuple[np.ndarray, np.ndarray]:
        """(S,) group and (S,) step, from 0, of each free parameter: every step of a group except its last."""
        pairs = [(g, m) for g, k in enumerate(self._group_highest) for m in range(k - 1)]
        return np.array([g for g, _ in pairs], int), np.array([m for _, m in pairs], int)

    @property
    def names(self) -> tuple[str, ...]:
        """(S,) names of the free steps: tau_m with one format, tau_m|K for the format with K steps, tau_m|i for item i."""
        groups, steps = self._free
        if self.form == StepForm.PARTIAL:
            return tuple(f"tau_{m + 1}|{g + 1}" for g, m in zip(groups, steps, strict=True))
        several = np.count_nonzero(self._group_highest > 1) > 1
        return tuple(
            f"tau_{m + 1}|{self._group_highest[g]}" if several else f"tau_{m + 1}"
            for g, m in zip(groups, steps, strict=True)
        )

    def steps(self, free: np.ndarray) -> np.ndarray:
        """(..., J, K) steps tau of each item from the free parameters (..., S), logits; 0 beyond an item's last step."""
        groups, steps = self._free
        out = np.zeros((*free.shape[:-1], len(self._group_highest), self.most))
        out[..., groups, steps] = free
        last = -out.sum(axis=-1)
        every = np.arange(len(self._group_highest))
        out[..., every, self._group_highest - 1] = last
        return out[..., self.group, :]

    def free(self, steps: np.ndarray) -> np.ndarray:
        """(..., S) derivative with respect to the free parameters, given that with respect to each item's steps (..., J, K).

        This is the transpose of ``steps``.
        """
        groups, step = self._free
        member = (np.arange(len(self._group_highest))[:, None] == self.group).astype(float)
        by_group = np.matmul(member, steps)
        return by_group[..., groups, step] - by_group[..., groups, self._group_highest[groups] - 1]

    def from_steps(self, steps: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """(S,) free parameters closest to steps (J, K), averaged over the items of a group with weights (J, K)."""
        groups, step = self._free
        member = (np.arange(len(self._group_highest))[:, None] == self.group).astype(float)
        mean = (member @ (weight * steps)) / np.maximum(member @ weight, 1e-300)
        inside = np.arange(self.most) < self._group_highest[:, None]
        mean -= (mean * inside).sum(axis=1, keepdims=True) / self._group_highest[:, None]
        return mean[groups, step]

    def constants(self, free: np.ndarray) -> np.ndarray:
        """(..., J, K + 1) c_ik for k = 0..K, infinite beyond an item's last category."""
        tau = self.steps(free)
        out = np.zeros((*tau.shape[:-1], self.most + 1))
        np.cumsum(tau, axis=-1, out=out[..., 1:])
        return np.where(np.arange(self.most + 1) <= self.highest[:, None], out, np.inf)

    def expected(self, eta: np.ndarray, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of the score of each item at eta (..., J) with free steps (S,)."""
        p = self.probabilities(eta, free)
        k = np.arange(self.most + 1)
        mean = p @ k
        return mean, p @ k**2 - mean**2

    def probabilities(self, eta: np.ndarray, free: np.ndarray) -> np.ndarray:
        """(..., J, K + 1) probability of each category at eta (..., J) with free steps (S,)."""
        exponent = eta[..., None] * np.arange(self.most + 1) - self.constants(free)
        exponent -= exponent.max(axis=-1, keepdims=True)
        p = np.exp(exponent)
        return p / p.sum(axis=-1, keepdims=True)

    def draw(self, item: np.ndarray, eta: np.ndarray, free: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(n,) scores drawn for responses to items (n,) at eta (n,), logits."""
        exponent = eta[:, None] * np.arange(self.most + 1) - self.constants(free)[item]
        exponent -= exponent.max(axis=1, keepdims=True)
        reached = np.exp(exponent).cumsum(axis=1)
        return (reached < rng.random(len(eta))[:, None] * reached[:, -1:]).sum(axis=1)

    def without(self, kept: np.ndarray) -> ItemFormats | None:
        """The formats of the items ``kept`` (indices or mask); None where all of them have two categories."""
        highest = self.highest[kept]
        return ItemFormats(highest, self.form) if (highest > 1).any() else None
