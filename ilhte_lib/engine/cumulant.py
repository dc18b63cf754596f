"""Expected score, variance and third central moment given the linear predictor, for each item format.

The cumulant of an item is ``A(eta) = log sum_k exp(k eta - c_k)`` (see ``model.formats``); its derivatives are the central
moments of the score. Everything else in the engine is the same for all formats. ``TwoCategories`` and ``OrderedCategories``
work on the blocks of ``modes`` and write into their buffers; B is the number of values of psi side by side. ``NodeCells`` and
``OrderedNodeCells`` are their like for the nodes of ``quadrature``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..model.formats import ItemFormats
    from .modes import Model, _Block


class Cells:
    """The cumulant of ordered categories cell by cell, for any predictor eta (..., J)."""

    def __init__(self, formats: ItemFormats, steps: np.ndarray):
        self.highest = formats.highest
        self.inside = np.arange(formats.most + 1)[:, None] <= self.highest
        self.constants = formats.constants(steps).T  # (K + 1, J)

    def _terms(self, eta: np.ndarray) -> np.ndarray:
        """(K + 1, ..., J) ``k eta - c_k``, minus infinity beyond an item's highest category."""
        k, j = self.constants.shape
        between = (1,) * (eta.ndim - 1)
        return np.arange(k).reshape(k, *between, 1) * eta - self.constants.reshape(k, *between, j)

    def moments(self, eta: np.ndarray, order: int) -> list[np.ndarray]:
        """A(eta) and its first derivatives, up to ``order`` (at most 3)."""
        terms = self._terms(eta)
        largest = terms.max(axis=0)
        terms -= largest
        np.exp(terms, out=terms)
        powers = np.arange(len(terms), dtype=float) ** np.arange(order + 1)[:, None]
        sums = (powers @ terms.reshape(len(terms), -1)).reshape(order + 1, *eta.shape)
        out = [largest + np.log(sums[0])]
        raw = sums[1:] / sums[0]
        if order >= 1:
            out.append(raw[0])
        if order >= 2:
            out.append(np.maximum(raw[1] - raw[0] ** 2, 0.0))
        if order >= 3:
            out.append(raw[2] - 3.0 * raw[0] * raw[1] + 2.0 * raw[0] ** 3)
        return out

    def by_category(
        self, eta: np.ndarray, cumulant: np.ndarray, mean: np.ndarray, weights: list[np.ndarray]
    ) -> np.ndarray:
        """(K + 1, J) sums over all cells of ``P(k) sum_p (k - mean)^p weights_p``, p = 0, 1, 2."""
        level, slope, square = weights
        # by powers of k
        by_power = (level - slope * mean + square * mean**2, slope - 2.0 * square * mean, square)
        p = self._terms(eta)
        p -= cumulant
        np.exp(p, out=p)
        sums = [(p * w).reshape(len(p), -1, eta.shape[-1]).sum(axis=1) for w in by_power]
        k = np.arange(len(p))[:, None]
        return sums[0] + k * sums[1] + k**2 * sums[2]

    def along(
        self, eta: np.ndarray, cumulant: np.ndarray, mean: np.ndarray, dconstants: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Directional derivatives of A and of the mean score, cell by cell, as c_k moves along ``dconstants`` (K + 1, J)."""
        of_cumulant, of_mean = np.zeros_like(eta), np.zeros_like(eta)
        for k, (terms, change) in enumerate(zip(self._terms(eta), dconstants, strict=True)):
            p = np.exp(terms - cumulant) * change
            of_cumulant -= p
            of_mean -= p * (k - mean)
        return of_cumulant, of_mean


class TwoCategories:
    """The cumulant ``log(1 + e^eta)``.

    exp(-eta) is the product of a factor per class and a factor per item, so a pass takes G + 2J exponentials.
    """

    def __init__(self, model: Model):
        self.model = model

    def set_steps(self, steps: np.ndarray) -> None:
        """Does nothing: there are no free steps."""

    def set_predictor(self, persons: np.ndarray, items: np.ndarray) -> None:
        """Set eta to persons (B, G) + items (B, 2, J) of the class's arm."""
        self._odds = np.exp(-persons)[:, :, None] * self.model.membership
        self._item_odds = np.exp(-items)

    def move_persons(self, rows: slice, persons: np.ndarray) -> None:
        """The persons' part of eta (B, g) of some rows from now on."""
        self._odds[:, rows] = np.exp(-persons)[:, :, None] * self.model.membership[rows]

    def moments(self, block: _Block) -> None:
        """Write the expected score and its variance to ``block.expected`` and ``block.weight``."""
        expected, weight = block.expected, block.weight
        np.matmul(self._odds[:, block.rows], self._item_odds, out=expected)
        expected += 1.0
        np.divide(1.0 if block.trials is None else block.trials, expected, out=expected)
        np.multiply(expected, expected, out=weight)
        if self.model.repeated:
            weight /= np.maximum(block.trials, 1.0)
        np.subtract(expected, weight, out=weight)

    def third_moment(self, block: _Block, out: np.ndarray, spare: np.ndarray) -> None:
        """Write the third central moment of the score to ``out``."""
        np.multiply(block.expected, -2.0, out=out)
        if self.model.repeated:
            out /= np.maximum(block.trials, 1.0)
        out += 1.0
        out *= block.weight

    def log_terms(self, block: _Block, out: np.ndarray) -> None:
        """Write A(eta) - K eta to ``out``."""
        np.matmul(self._odds[:, block.rows], self._item_odds, out=out)
        out += 1.0
        np.log(out, out=out)
        if block.trials is not None:
            out *= block.trials

    def step_loglik(self) -> float:
        """The term of the log-likelihood in the steps alone (one lane)."""
        return 0.0


class OrderedCategories:
    """The cumulant of items with any number of ordered categories.

    Let eta = x + o be the sum of a person's part and an item's, ``V = exp(-x)``, and ``j = K - k`` the distance from the highest
    score. Then ``sum_k exp(k eta - c_k)`` is ``e^(K eta)`` times a polynomial in V whose coefficients ``exp(-j o - c_(K-j))``
    depend on item and arm alone. The moments of j are ratios of such polynomials, so a pass takes matrix products and
    G + 2J(K + 1) exponentials.
    """

    def __init__(self, model: Model):
        self.model, self.formats = model, model.statistics.formats
        k = np.arange(self.formats.most + 1)
        self.below = k[:, None].astype(float)  # j
        # position of c_(K_i - j) among an item's constants, by j
        self._from_top = np.maximum(self.formats.highest - self.below.astype(int), 0)
        self._outside = self.below > self.formats.highest
        self.highest = self.formats.highest.astype(float)
        # j^p for the rows of both arms, p = 0 ... 3
        self._tall = [np.tile(self.below**power, (2, 1)) for power in range(4)]

    def set_steps(self, steps: np.ndarray) -> None:
        """Set the free steps (B, S)."""
        self.steps = steps
        self._from_the_top = self._by_j(self.formats.constants(steps), np.inf)

    def _by_j(self, by_category: np.ndarray, outside: float) -> np.ndarray:
        """Entries by item and category (..., J, K + 1) rearranged by j (..., K + 1, J)."""
        return np.where(self._outside, outside, by_category[..., np.arange(len(self.highest)), self._from_top])

    def set_predictor(self, persons: np.ndarray, items: np.ndarray) -> None:
        """Set eta to persons (B, G) + items (B, 2, J) of the class's arm."""
        arms = self.model.membership[:, :, None]
        powers = np.exp(-persons[:, :, None] * self.below[:, 0])
        # (B, G, 2 (K + 1)), zero in the other arm's half; and (B, 2 (K + 1), J)
        self._powers = (powers[:, :, None, :] * arms).reshape(*persons.shape, -1)
        self._coefficients = np.exp(-items[:, :, None, :] * self.below - self._from_the_top[:, None]).reshape(
            len(items), -1, items.shape[2]
        )
        self._weighted: dict[int, np.ndarray] = {0: self._coefficients}

    def _sum(self, block: _Block, power: int, out: np.ndarray) -> np.ndarray:
        """sum_j j^power D_j V^j."""
        if power not in self._weighted:
            self._weighted[power] = self._coefficients * self._tall[power]
        return np.matmul(self._powers[:, block.rows], self._weighted[power], out=out)

    def moments(self, block: _Block) -> None:
        """Write the expected score and its variance to ``block.expected`` and ``block.weight``."""
        expected, weight, (total, square) = block.expected, block.weight, block.scratch[:2]
        self._sum(block, 0, total)
        self._sum(block, 1, expected)
        self._sum(block, 2, weight)
        expected /= total
        weight /= total
        np.multiply(expected, expected, out=square)
        weight -= square
        np.maximum(weight, 0.0, out=weight)
        np.subtract(self.highest, expected, out=expected)
        if block.trials is not None:
            expected *= block.trials
            weight *= block.trials

    def _of_one_response(self, block: _Block) -> tuple[np.ndarray, np.ndarray]:
        """E[j] and the variance of one response."""
        expected, weight = block.expected, block.weight
        if self.model.repeated:
            answers = np.maximum(block.trials, 1.0)
            expected, weight = expected / answers, weight / answers
        return self.highest - expected, weight

    def third_moment(self, block: _Block, out: np.ndarray, spare: np.ndarray) -> None:
        """Write the third central moment of the score to ``out``."""
        nu, variance = self._of_one_response(block)
        self._sum(block, 3, out)
        self._sum(block, 0, spare)
        out /= spare
        out -= 3.0 * nu * variance + nu**3
        np.negative(out, out=out)
        if block.trials is not None:
            out *= block.trials

    def log_terms(self, block: _Block, out: np.ndarray) -> None:
        """Write A(eta) - K eta to ``out``."""
        np.log(self._sum(block, 0, out), out=out)
        if block.trials is not None:
            out *= block.trials

    def step_loglik(self) -> float:
        """The term of the log-likelihood in the steps alone (one lane)."""
        return -float(np.vdot(self.model.statistics.at_least, self.formats.steps(self.steps[0])))

    # -- derivatives with respect to the steps ----------------------------------------------------------------------

    def _projected(self, block: _Block, weights: list[np.ndarray]) -> np.ndarray:
        """(B, J, K + 1) by j: sum_g n_g P(j) sum_p j^p weights_p, with cell weights (B, g, J) for each power p."""
        total = self._sum(block, 0, np.empty_like(block.expected))
        scale = self.model.statistics.count[..., block.rows, None] / total
        if block.trials is not None:
            scale = scale * block.trials
        powers = self._powers[:, block.rows].transpose(0, 2, 1)
        out = 0.0
        for power, weight in enumerate(weights):
            out = out + self._tall[power] * np.matmul(powers, scale * weight)
        out = out * self._coefficients
        arms = 2, len(self.below)
        return out.reshape(len(out), *arms, -1).sum(axis=1).transpose(0, 2, 1)

    def _by_step(self, by_j: np.ndarray) -> np.ndarray:
        """(B, J, K) sums over the categories at or above each step, of entries by j (B, J, K + 1)."""
        total = by_j.cumsum(axis=-1)
        step = np.arange(1, self.formats.most + 1)
        place = self.formats.highest[:, None] - step
        summed = np.take_along_axis(total, np.maximum(place, 0)[None].repeat(len(total), axis=0), axis=-1)
        return np.where(place >= 0, summed, 0.0)

    def slope_at_the_mode(self, block: _Block, variance: np.ndarray) -> np.ndarray:
        """(B, J, K + 1) by j, the block's part of dD/dtau with u held fixed: through the likelihood and through log det H.

        ``variance`` (B, g, J) is the variance of eta under H^-1.
        """
        nu, weight = self._of_one_response(block)
        return self._projected(block, [-2.0 - variance * (nu * nu - weight), 2.0 * variance * nu, -variance])

    def slope_through_the_mode(self, block: _Block, adjoint: np.ndarray) -> np.ndarray:
        """(B, J, K + 1) by j, the block's part of dD/dtau through the mode; ``adjoint`` (B, g, J) on the scale of eta."""
        nu, _ = self._of_one_response(block)
        return self._projected(block, [adjoint * nu, -adjoint])

    def gradient(self, by_j: np.ndarray) -> np.ndarray:
        """(B, S) dD/dtau for the free steps, from the two slopes summed over the blocks."""
        return self.formats.free(2.0 * self.model.statistics.at_least + self._by_step(by_j))

    def shift(self, blocks: Iterable[_Block], dsteps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Decrease of the expected scores along each row of ``dsteps`` (R, S), by person (R, G) and by arm and item (R, 2, J).

        With one lane R is arbitrary; with B lanes R = B and each moves along its own row.
        """
        change = self._by_j(self.formats.constants(dsteps), 0.0)  # (R, K + 1, J)
        change = np.where(np.isfinite(change), change, 0.0)
        persons = np.empty((len(dsteps), self.model.n_classes))
        items: list[np.ndarray | float] = [0.0] * len(self.below)
        for block in blocks:
            nu, _ = self._of_one_response(block)
            scale = 1.0 / self._sum(block, 0, np.empty_like(block.expected))
            if block.trials is not None:
                scale *= block.trials
            here = 0.0
            for j in range(len(self.below)):
                both = slice(j, None, len(self.below))
                cells = np.matmul(self._powers[:, block.rows, both], self._coefficients[:, both]) * scale * (nu - j)
                here = here + np.matmul(cells, change[:, j, :, None])[:, :, 0]
                items[j] = items[j] + np.matmul(self.model.count_by_arm[..., block.rows], cells)
            persons[:, block.rows] = here
        return persons, sum(of_j * change[:, j, None, :] for j, of_j in enumerate(items))

    def information(self, blocks: Iterable[_Block], lane: int = 0) -> np.ndarray:
        """(S, S) expected information on the free steps, net of the cells' predictors (one lane)."""
        count = self.model.statistics.count
        count = count if count.ndim == 1 else count[lane]
        total: np.ndarray | float = 0.0
        for block in blocks:
            scale = 1.0 / self._sum(block, 0, np.empty_like(block.expected))[lane]
            by_j = []
            for j in range(len(self.below)):
                both = slice(j, None, len(self.below))
                by_j.append(np.matmul(self._powers[lane, block.rows, both], self._coefficients[lane, both]) * scale)
            p = self._by_category(np.array(by_j))
            trials = block.trials[lane] if block.trials is not None and block.trials.ndim == 3 else block.trials
            times = count[block.rows, None] * (1.0 if trials is None else trials)
            total = total + step_information(self.formats, p, times)
        return total

    def _by_category(self, by_j: np.ndarray) -> np.ndarray:
        """Entries by j = K_i - k rearranged by k, (K + 1, g, J)."""
        place = self._from_top[:, None, :].repeat(by_j.shape[1], axis=1)
        return np.where(self._outside[:, None, :], 0.0, np.take_along_axis(by_j, place, axis=0))


SATURATED = 40.0
"""This far from an item, in logits, its score is certain to the last digit of double precision."""


class NodeCells:
    """All items of two categories at many nodes of many persons, responses counted ``trials`` times.

    As in ``TwoCategories`` exponentials are taken of nodes and of items, not of their pairs. Arrays are (J, n) with n = G Q nodes,
    because sums over items then run along memory; tables fitted side by side have a leading axis.

    Parameters
    ----------
    trials : (G, J) responses of each class to each item, or None if there is one each.
    n_items, n_classes, n_control : J, G, and how many of the classes, the first ones, are in the control arm.
    n_nodes : Q.
    lanes : shape of the leading axis, () for one table.

    ``place`` sets ``expected`` and ``weight`` (J, n), the expected scores and their variances, summed over trials. ``arms`` has the
    nodes of each arm.
    """

    def __init__(
        self,
        trials: np.ndarray | None,
        n_items: int,
        n_classes: int,
        n_control: int,
        n_nodes: int,
        lanes: tuple[int, ...] = (),
    ):
        self.n_items, self.n_classes, self.n_nodes, self.lanes = n_items, n_classes, n_nodes, lanes
        self.arms = slice(0, n_control * n_nodes), slice(n_control * n_nodes, n_classes * n_nodes)
        self.classes = slice(0, n_control), slice(n_control, n_classes)
        self.by_class = trials
        self.trials = None if trials is None else np.repeat(trials.swapaxes(-1, -2).astype(float), n_nodes, axis=-1)
        self.repeated = trials is not None and bool((trials > 1).any())
        shape = (*lanes, n_items, n_classes * n_nodes)
        self.expected, self.weight, self.scratch = np.empty(shape), np.empty(shape), np.empty(shape)
        self._set_highest(np.ones(n_items))
        self.span: float | np.ndarray = 0.0

    def _set_highest(self, highest: np.ndarray) -> None:
        """Set the items' highest scores (J,), and the highest score possible in each class, by item (G, J) and in all (G, 1)."""
        self.highest = highest
        by_class = np.ones((self.n_classes, 1)) if self.by_class is None else self.by_class
        self.most_by_item = by_class * highest
        self.most = self.most_by_item.sum(axis=-1, keepdims=True)

    def place(self, x: np.ndarray, offsets: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Move to nodes x (G, Q) and item parts by arm (J,); return the items' cumulants summed over items and trials (G, Q).

        Nodes so far out that all scores are the lowest or the highest to 17 digits are moved in, which changes nothing and spares
        the exponentials. Results are not finite where the items themselves are so far apart that exponentials overflow.
        """
        furthest = np.max([np.abs(offset).max(axis=-1, initial=0.0) for offset in offsets], axis=0)[..., None]
        reach = furthest + self.span + SATURATED
        flat = x.reshape(*self.lanes, -1)
        total = self._moments(np.clip(flat, -reach, reach), offsets).reshape(x.shape)
        # beyond the reach the cumulant is 0 on the left and K eta on the right
        total += self.most * np.maximum(flat, -reach).reshape(x.shape)
        for classes, offset in zip(self.classes, offsets, strict=True):
            total[..., classes, :] += self.most_by_item[..., classes, :] @ offset[..., None]
        return total

    def over_items(self, by_item: tuple[np.ndarray, np.ndarray], array: np.ndarray) -> np.ndarray:
        """(n,) sums over items of an array (J, n), weighted by arm and item."""
        parts = zip(by_item, self.arms, strict=True)
        return np.concatenate([(of_arm[..., None, :] @ array[..., arm])[..., 0, :] for of_arm, arm in parts], axis=-1)

    def over_nodes(self, array: np.ndarray, by_node: np.ndarray) -> list[np.ndarray]:
        """(J,) by arm, sums over nodes of an array (J, n) weighted by node (n,)."""
        return [(array[..., arm] @ by_node[..., arm, None])[..., 0] for arm in self.arms]

    def _moments(self, x: np.ndarray, offsets: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Set ``expected`` and ``weight``; return ``A(eta) - K eta`` summed over items and trials (n,)."""
        odds, log_terms, p = self.weight, self.scratch, self.expected
        of_person = np.exp(-x)
        for arm, offset in zip(self.arms, offsets, strict=True):
            np.multiply(np.exp(-offset)[..., None], of_person[..., None, arm], out=odds[..., arm])
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
        return log_terms.sum(axis=-2)

    def third_moment(self) -> np.ndarray:
        """(J, n) third central moments of the scores, summed over trials; overwrites ``scratch``."""
        out = np.multiply(self.expected, -2.0, out=self.scratch)
        if self.repeated:
            out /= np.maximum(self.trials, 1.0)
        out += 1.0
        out *= self.weight
        return out


class OrderedNodeCells(NodeCells):
    """The same with any number of ordered categories, as in ``OrderedCategories``; ``set_steps`` first."""

    def __init__(self, formats: ItemFormats, trials: np.ndarray | None, *sizes: Any):
        super().__init__(trials, *sizes)
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
        constants = self.formats.constants(steps)
        self.constants = self._by_j(constants, np.inf)
        self.span = np.abs(np.where(np.isfinite(constants), constants, 0.0)).max(axis=(-1, -2))[..., None]

    def _by_j(self, by_category: np.ndarray, outside: float) -> np.ndarray:
        """Entries by item and category (..., J, K + 1) rearranged by j."""
        return np.where(self.outside, outside, by_category[..., np.arange(self.n_items)[:, None], self.category])

    def _moments(self, x: np.ndarray, offsets: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        self.powers = np.exp(-self.j[:, None] * x[..., None, :])
        self.coefficients = tuple(np.exp(-offset[..., None] * self.j - self.constants) for offset in offsets)
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
        return log_terms.sum(axis=-2)

    def _sum(self, by_j: np.ndarray | float, out: np.ndarray) -> np.ndarray:
        """Write the sums over j of the terms times ``by_j`` (..., K + 1) to ``out`` (J, n)."""
        for arm, coefficients in zip(self.arms, self.coefficients, strict=True):
            out[..., arm] = np.matmul(coefficients * by_j, self.powers[..., arm])
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
        by_j = np.zeros((*self.lanes, self.n_items, len(self.j)))
        for power, weight in enumerate((level, slope, of_variance)):
            weight = scale * weight
            for arm, coefficients in zip(self.arms, self.coefficients, strict=True):
                by_j -= self.j**power * coefficients * (weight[..., arm] @ self.powers[..., arm].swapaxes(-1, -2))
        out, items = np.zeros_like(by_j), np.arange(self.n_items)
        out[..., items[:, None], self.category] = np.where(self.outside, 0.0, by_j)
        # every place beyond the highest j writes to category 0, whose own entry is restored
        out[..., 0] = by_j[..., items, self.formats.highest]
        return out


def step_information(formats: ItemFormats, probabilities: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(S, S) expected information on the free steps, net of each cell's predictor.

    Parameters
    ----------
    probabilities : (K + 1, g, J) probability of each category.
    times : (g, J) number of responses.
    """
    k = np.arange(len(probabilities))[:, None, None]
    mean = (k * probabilities).sum(axis=0)
    inverse = 1.0 / np.maximum((k**2 * probabilities).sum(axis=0) - mean**2, 1e-12)
    share = probabilities[::-1].cumsum(axis=0)[::-1][1:]
    moment = ((k - mean) * probabilities)[::-1].cumsum(axis=0)[::-1][1:]
    most = formats.most
    sums = np.zeros((formats.n_items, most, most))
    for m in range(most):
        for l in range(m + 1):
            own = share[m] * (1.0 - share[l]) - moment[m] * moment[l] * inverse
            sums[:, m, l] = sums[:, l, m] = (times * own).sum(axis=0)
    unit = formats.steps(np.eye(len(formats.names)))
    return np.einsum("rim,iml,sil->rs", unit, sums, unit)
