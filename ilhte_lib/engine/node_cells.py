"""The cumulant of all items at many nodes of many persons.

The predictor is the sum of a node's part x and an item's o, so that ``sum_k exp(k (x + o) - c_k)`` is a polynomial in ``exp(-x)``
with coefficients of the item alone, and exponentials are taken of nodes and of items but not of their pairs (as in ``cumulant``,
which does it for the blocks of ``modes``). Arrays are (J, n) with n = G Q nodes, because sums over items then run along memory.
"""

from __future__ import annotations

import numpy as np

from ..model.formats import ItemFormats
from .objective import ModeNotFound


class NodeCells:
    """Items of two categories, responses counted ``trials`` times.

    Parameters
    ----------
    trials : (G, J) responses of each class to each item, or None if there is one each.
    n_items, n_classes, n_control : J, G, and how many of the classes, the first ones, are in the control arm.
    n_nodes : Q.

    ``place`` sets ``expected`` and ``weight`` (J, n), the expected scores and their variances, summed over trials. ``arms`` has the
    nodes of each arm.
    """

    def __init__(self, trials: np.ndarray | None, n_items: int, n_classes: int, n_control: int, n_nodes: int):
        self.n_items, self.n_classes, self.n_nodes = n_items, n_classes, n_nodes
        self.arms = slice(0, n_control * n_nodes), slice(n_control * n_nodes, n_classes * n_nodes)
        self.classes = slice(0, n_control), slice(n_control, n_classes)
        self.by_class = trials
        self.trials = None if trials is None else np.repeat(np.ascontiguousarray(trials.T, float), n_nodes, axis=1)
        self.repeated = trials is not None and bool((trials > 1).any())
        shape = (n_items, n_classes * n_nodes)
        self.expected, self.weight, self.scratch = np.empty(shape), np.empty(shape), np.empty(shape)
        self._set_highest(np.ones(n_items))

    def _set_highest(self, highest: np.ndarray) -> None:
        """Set the items' highest scores (J,), and the highest score possible in each class, by item (G, J) and in all (G, 1)."""
        self.highest = highest
        by_class = np.ones((self.n_classes, 1)) if self.by_class is None else self.by_class
        self.most_by_item = by_class * highest
        self.most = self.most_by_item.sum(axis=1, keepdims=True)

    def place(self, x: np.ndarray, offsets: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Move to nodes x (G, Q) and item parts by arm (J,); return the items' cumulants summed over items and trials (G, Q).

        Raises
        ------
        ModeNotFound : the predictors are so extreme that exponentials overflow.
        """
        total = self._moments(x.reshape(-1), offsets).reshape(x.shape)
        total += self.most * x
        for classes, offset in zip(self.classes, offsets, strict=True):
            total[classes] += (self.most_by_item[classes] @ offset)[:, None]
        if not np.isfinite(total.sum()):
            raise ModeNotFound("linear predictors too large for exponentials")
        return total

    def over_items(self, by_item: tuple[np.ndarray, np.ndarray], array: np.ndarray) -> np.ndarray:
        """(n,) sums over items of an array (J, n), weighted by arm and item."""
        return np.concatenate([of_arm @ array[:, arm] for of_arm, arm in zip(by_item, self.arms, strict=True)])

    def over_nodes(self, array: np.ndarray, by_node: np.ndarray) -> list[np.ndarray]:
        """(J,) by arm, sums over nodes of an array (J, n) weighted by node (n,)."""
        return [array[:, arm] @ by_node[arm] for arm in self.arms]

    def _moments(self, x: np.ndarray, offsets: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Set ``expected`` and ``weight``; return ``A(eta) - K eta`` summed over items and trials (n,)."""
        odds, log_terms, p = self.weight, self.scratch, self.expected
        of_person = np.exp(-x)
        for arm, offset in zip(self.arms, offsets, strict=True):
            np.multiply(np.exp(-offset)[:, None], of_person[arm], out=odds[:, arm])
        if self.trials is not None and not self.repeated:
            odds *= self.trials
        odds += 1.0
        np.log(odds, out=log_terms)
        if self.repeated:
            log_terms *= self.trials
        np.divide(1.0 if self.trials is None else self.trials, odds, out=p)
        np.multiply(p, p, out=self.weight)
        if self.repeated:
            self.weight /= np.maximum(self.trials, 1.0)
        np.subtract(p, self.weight, out=self.weight)
        return log_terms.sum(axis=0)

    def third_moment(self) -> np.ndarray:
        """(J, n) third central moments of the scores, summed over trials; overwrites ``scratch``."""
        out = np.multiply(self.expected, -2.0, out=self.scratch)
        if self.repeated:
            out /= np.maximum(self.trials, 1.0)
        out += 1.0
        out *= self.weight
        return out


class OrderedNodeCells(NodeCells):
    """Items with any number of ordered categories; ``set_steps`` first.

    With j = K - k the distance from the highest score, ``sum_k exp(k eta - c_k) = e^(K eta) sum_j exp(-j o - c_(K-j)) exp(-j x)``.
    """

    def __init__(
        self,
        formats: ItemFormats,
        trials: np.ndarray | None,
        n_items: int,
        n_classes: int,
        n_control: int,
        n_nodes: int,
    ):
        super().__init__(trials, n_items, n_classes, n_control, n_nodes)
        self._set_highest(formats.highest.astype(float))
        self.formats = formats
        self.j = np.arange(formats.most + 1.0)
        # category of each j, and categories beyond an item's highest
        self.category = np.maximum(formats.highest[:, None] - self.j.astype(int), 0)
        self.outside = self.j > formats.highest[:, None]
        self.total = np.empty_like(self.expected)
        self.one = None if self.trials is None else np.maximum(self.trials, 1.0)

    def set_steps(self, steps: np.ndarray) -> None:
        """Set the free steps (S,)."""
        self.constants = self._by_j(self.formats.constants(steps), np.inf)

    def _by_j(self, by_category: np.ndarray, outside: float) -> np.ndarray:
        """Entries by item and category (J, K + 1) rearranged by j."""
        return np.where(self.outside, outside, np.take_along_axis(by_category, self.category, axis=1))

    def _moments(self, x: np.ndarray, offsets: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        self.powers = np.exp(-self.j[:, None] * x)
        self.coefficients = tuple(np.exp(-offset[:, None] * self.j - self.constants) for offset in offsets)
        self._sum(1.0, self.total)
        nu, variance = self._mean_below(), self._sum(self.j**2, self.weight)
        variance /= self.total
        variance -= np.multiply(nu, nu, out=self.scratch)
        np.maximum(variance, 0.0, out=variance)
        np.subtract(self.highest[:, None], nu, out=self.expected)
        log_terms = np.log(self.total, out=self.scratch)
        if self.trials is not None:
            for array in (self.expected, variance, log_terms):
                array *= self.trials
        return log_terms.sum(axis=0)

    def _sum(self, by_j: np.ndarray | float, out: np.ndarray) -> np.ndarray:
        """Write the sums over j of the terms times ``by_j`` (..., K + 1) to ``out`` (J, n)."""
        for arm, coefficients in zip(self.arms, self.coefficients, strict=True):
            np.matmul(coefficients * by_j, self.powers[:, arm], out=out[:, arm])
        return out

    def _mean_below(self) -> np.ndarray:
        """(J, n) expected j of one response."""
        nu = self._sum(self.j, np.empty_like(self.total))
        nu /= self.total
        return nu

    def third_moment(self) -> np.ndarray:
        """(J, n) third central moments of the scores, summed over trials; overwrites ``scratch``."""
        nu, variance = self._mean_below(), self.weight if self.one is None else self.weight / self.one
        out = self._sum(self.j**3, self.scratch)
        out /= self.total
        out -= 3.0 * nu * variance + nu**3
        np.negative(out, out=out)
        if self.trials is not None:
            out *= self.trials
        return out

    def along(self, dsteps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(J, n) derivatives of each cell's cumulant and expected score along ``dsteps`` (S,) of the free steps."""
        change = self._by_j(self.formats.constants(dsteps), 0.0)
        change = np.where(np.isfinite(change), change, 0.0)
        scale = 1.0 / self.total if self.trials is None else self.trials / self.total
        of_cumulant = self._sum(change, np.empty_like(scale)) * scale
        of_mean = self._sum(change * self.j, np.empty_like(scale)) * scale - self._mean_below() * of_cumulant
        return -of_cumulant, of_mean

    def by_category(self, of_cumulant: np.ndarray | float, of_mean: np.ndarray, of_variance: np.ndarray) -> np.ndarray:
        """(J, K + 1) minus the derivatives of a sum over cells in their c_k, given those in each cell's cumulant, mean and variance.

        Cumulant, mean and variance are those of ``trials`` responses; arrays are (J, n), or of a shape that extends to it.
        """
        nu, variance = self._mean_below(), self.weight if self.one is None else self.weight / self.one
        scale = 1.0 / self.total if self.trials is None else self.trials / self.total
        # P(k) times minus (of_cumulant - of_variance variance) + (k - mean) of_mean + (k - mean)^2 of_variance, by powers of j
        level = of_cumulant - of_variance * variance + nu * of_mean + nu**2 * of_variance
        slope = -of_mean - 2.0 * nu * of_variance
        by_j = np.zeros((self.n_items, len(self.j)))
        for power, weight in enumerate((level, slope, of_variance)):
            weight = scale * weight
            for arm, coefficients in zip(self.arms, self.coefficients, strict=True):
                by_j -= self.j**power * coefficients * (weight[:, arm] @ self.powers[:, arm].T)
        out = np.zeros_like(by_j)
        np.put_along_axis(out, self.category, np.where(self.outside, 0.0, by_j), axis=1)
        # every place beyond the highest j writes to category 0, whose own entry is restored
        rows = np.arange(self.n_items)
        out[:, 0] = by_j[rows, self.formats.highest]
        return out
