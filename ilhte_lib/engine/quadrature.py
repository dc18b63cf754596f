"""Quadrature over persons, which is less biased than Laplace when each person answered few items.

Given the item effects w, persons are independent and each needs a one-dimensional integral. Adaptive Gauss-Hermite
quadrature (Naylor and Smith 1982, Applied Statistics 31(3); Pinheiro and Bates 1995, Journal of Computational and
Graphical Statistics 4(1)) computes it for each class of persons (see ``compress``) around its mode,

    m_g(w) = integral phi(v) exp( r_g (x_g'beta + sigma v) - sum_i A_i(eta_gi) ) dv,

with A_i the cumulant of an item, log(1 + e^eta) for two categories (see ``cumulant``). Laplace is used only over the items, whose
posterior is concentrated because many persons answered each of them:

    D(psi) = -2 [ sum_T o_T't_T + sum_g n_g log m_g(w^) ] + |w^|^2 + log det S(w^),     o_T = (1, T) L w,
    S = sum_T (a_T a_T') (x) M_T + I,   M_T = sum_g n_g { diag E[W_g] - Cov(p_g) },

with t_T the item totals of arm T, and expectations over the posterior of v. The error of the Laplace step is about the inverse
of the number of persons per item, and nearly constant in psi.

The gradient is that of the sum itself, with its nodes moving as psi and the modes do: for the integrals where they stand is
immaterial, but for sums of few nodes it is not, and a search along a gradient of fixed nodes stops away from the optimum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from ..errors import InputError
from ..model.compress import SufficientStatistics, item_design
from ..model.spec import ModelSpec
from .approximation import NODES, NOTICEABLE
from .cumulant import Cells, NodeCells, OrderedNodeCells, step_information
from .objective import MAX_NEWTON_STEPS, MODE_TOLERANCE, Evaluation, ModeNotFound

FEWEST_NODES = 5
"""With fewer nodes the sum is too far from the integral, and Laplace is the better choice."""
MOST_CELLS = 40_000_000
"""Classes x nodes x items beyond which the arrays would not fit into the memory of an ordinary machine."""
ARRAYS = 7
"""Number of arrays of (classes, nodes, items) in memory at a time."""
MOST_BRACKETS = 200
"""At least every second step of ``person_modes`` halves its bracket, so this is far more than double precision can need."""
BRACKET_TOLERANCE = 1e-10
CENTRE_TOLERANCE = 1e-10
"""The nodes' centres are modes to this accuracy (in standardised person effects)."""
ADJOINT_TOLERANCE = 1e-7
"""Relative accuracy of the adjoint of the mode equations, whose derivative is S but for the nodes' movement."""
MOST_CORRECTIONS = 12


@dataclass(frozen=True)
class _Moved:
    """Derivatives of D through the movement of the nodes: in the items' parts of eta by arm (J,), in the persons' parts (G,), in
    sigma, and in the sums of the expected scores and of the variances at the centres (G,)."""

    by_item: list[np.ndarray]
    by_person: np.ndarray
    by_sigma: np.ndarray
    of_mean: np.ndarray
    of_variance: np.ndarray


def person_modes(
    statistics: SufficientStatistics,
    fixed: np.ndarray,
    sigma: float,
    offsets: tuple[np.ndarray, np.ndarray],
    steps: np.ndarray | None = None,
) -> np.ndarray:
    """(G,) modes v of ``r (fixed + sigma v) - sum_i n_i A_i(fixed + sigma v + offset_i) - v^2 / 2``, A an item's cumulant.

    The derivative ``sigma (r - sum_i n_i E_i) - v`` decreases in v and changes sign between -sigma (n - r), with n the highest
    possible score, and sigma r, so Newton's method within a shrinking bracket always converges. Plain Newton steps, even short
    ones, can oscillate forever where sigma is large, because the derivative is then nearly a staircase.

    Parameters
    ----------
    statistics : the classes of persons.
    fixed : (G,) fixed part of the linear predictor, logits.
    sigma : SD of the persons, logits.
    offsets : item parts of the linear predictor by arm, (J,) each, logits.
    steps : (S,) free steps of items with more than two categories.
    """
    from scipy.special import expit

    s = statistics
    trials = np.ones((s.n_classes, s.n_items)) if s.trials is None else s.trials
    by_class = np.where(s.arm[:, None] == 0, offsets[0], offsets[1]) + fixed[:, None]
    cells = None if s.formats is None else Cells(s.formats, steps)
    length = trials.sum(axis=1) if cells is None else trials @ s.formats.highest
    low, high = -sigma * (length - s.score), sigma * s.score
    mode = 0.5 * (low + high)
    for _ in range(MOST_BRACKETS):
        eta = by_class + sigma * mode[:, None]
        if cells is None:
            p = expit(eta)
            weight = p * (1.0 - p)
        else:
            _, p, weight = cells.moments(eta, 2)
        slope = sigma * (s.score - (trials * p).sum(axis=1)) - mode
        low, high = np.where(slope >= 0, mode, low), np.where(slope <= 0, mode, high)
        step = slope / (1.0 + sigma**2 * (trials * weight).sum(axis=1))
        newton = mode + step
        # bisect instead of a step that leaves the bracket or is longer than half of it
        useless = (newton < low) | (newton > high) | (np.abs(step) > 0.5 * (high - low))
        moved = np.where(useless, 0.5 * (low + high), newton)
        change = np.abs(moved - mode).max(initial=0.0)
        mode = moved
        if change < BRACKET_TOLERANCE:
            break
    return mode


class PersonIntegrals:
    """The integrals over v of all classes of persons, and posterior moments, given the items.

    Parameters
    ----------
    statistics : the classes, or those of several tables with a leading axis.
    nodes : quadrature nodes for each class.
    lanes : shape of the leading axis of all arrays, () for one table.

    ``integrate`` sets ``log_marginal`` (G,), the ``nodes`` (G, Q) of v and their posterior weights ``posterior`` (G, Q), ``mean``
    (J, G), the posterior means of the expected scores, and ``cells`` and ``centre_cells``, the items at the nodes and at their
    centres. With several tables ``lost`` says for each whether it has to be computed on its own.
    """

    def __init__(self, statistics: SufficientStatistics, nodes: int, lanes: tuple[int, ...] = ()):
        if nodes < FEWEST_NODES:
            raise InputError(f"{nodes} quadrature nodes are too few: use at least {FEWEST_NODES}, or method laplace.")
        cells = statistics.n_classes * nodes * statistics.n_items
        if cells > MOST_CELLS:
            raise InputError(
                f"Quadrature over {statistics.n_classes:,} classes of persons and {statistics.n_items} items needs about "
                f"{8 * ARRAYS * cells / 2**30:.0f} GB: use method laplace, which is accurate with this many items, or fewer nodes."
            )
        self.statistics, self.n_nodes, self.lanes, self.lost = statistics, nodes, lanes, np.zeros(lanes, bool)
        position, weight = np.polynomial.hermite.hermgauss(nodes)
        self.position = np.sqrt(2.0) * position
        self.log_weight = np.log(weight) + position**2 + 0.5 * np.log(2.0)
        self.centre = np.zeros((*lanes, statistics.n_classes))
        self.steps: np.ndarray | None = None
        self.arms = (slice(0, statistics.n_control_classes), slice(statistics.n_control_classes, statistics.n_classes))
        self.cells, self.centre_cells = self._cells(nodes), self._cells(1)
        self.ones = np.ones(nodes)

    def _cells(self, n_nodes: int) -> NodeCells:
        s = self.statistics
        size = (s.n_items, s.n_classes, s.n_control_classes, n_nodes, self.lanes)
        return NodeCells(s.trials, *size) if s.formats is None else OrderedNodeCells(s.formats, s.trials, *size)

    def set_steps(self, steps: np.ndarray) -> None:
        """Set the free steps (..., S) of items with more than two categories."""
        self.steps = steps
        for cells in (self.cells, self.centre_cells):
            if isinstance(cells, OrderedNodeCells):
                cells.set_steps(steps)

    def integrate(self, fixed: np.ndarray, sigma: float | np.ndarray, offsets: tuple[np.ndarray, np.ndarray]) -> None:
        """Integrate at fixed parts (G,), person SD, and item parts of eta by arm (J,), all in logits."""
        sigma = np.asarray(sigma)[..., None]
        curvature = self.curvature = self._find_centres(fixed, sigma, offsets)
        s = self.statistics
        self.nodes = self.centre[..., None] + self.position / np.sqrt(curvature)[..., None]
        eta = fixed[..., None] + sigma[..., None] * self.nodes
        log_integrand = s.score[..., None] * eta - 0.5 * self.nodes**2 + self.log_weight
        log_integrand -= self.cells.place(eta, offsets)
        highest = log_integrand.max(axis=-1)
        terms = np.exp(log_integrand - highest[..., None])
        total = terms.sum(axis=-1)
        if not self.lanes and not np.isfinite(total.sum()):
            raise ModeNotFound("linear predictors too large for exponentials")
        self.posterior = terms / total[..., None]
        self.log_marginal = highest + np.log(total) - 0.5 * np.log(2.0 * np.pi * curvature)
        self.weighted = s.count[..., None] * self.posterior
        by_node = np.multiply(self.cells.expected, self._flat(self.posterior)[..., None, :], out=self.cells.scratch)
        self.mean = (by_node.reshape(-1, self.n_nodes) @ self.ones).reshape(*self.lanes, s.n_items, -1)

    def _flat(self, by_node: np.ndarray) -> np.ndarray:
        """(..., n) values at the nodes (..., G, Q)."""
        return by_node.reshape(*self.lanes, -1)

    def _find_centres(self, fixed: np.ndarray, sigma: np.ndarray, offsets: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Move ``centre`` to the posterior modes of v and return the curvature d_g there."""
        for _ in range(MAX_NEWTON_STEPS):
            step, curvature = self._step(fixed, sigma, offsets)
            far = np.abs(step).max(axis=-1, initial=0.0) >= CENTRE_TOLERANCE
            if not (far & ~self.lost).any():
                return curvature
            # far from the mode the cumulant is flat and Newton overshoots
            self.centre += np.clip(step, -2.0, 2.0)
        if self.lanes:
            self.lost |= far
            return curvature
        self.centre[:] = person_modes(self.statistics, fixed, float(sigma[0]), offsets, self.steps)
        return self._step(fixed, sigma, offsets)[1]

    def _step(
        self, fixed: np.ndarray, sigma: np.ndarray, offsets: tuple[np.ndarray, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """(G,) Newton step of each centre, and the curvature there."""
        s = self.statistics
        eta = fixed + sigma * self.centre
        unusable = ~(np.abs(eta).max(axis=-1, initial=0.0) <= 600)
        if unusable.any():
            if not self.lanes:
                raise ModeNotFound("linear predictors beyond 600 logits")
            self.lost |= unusable
            self.centre[unusable] = 0.0
        cells = self.centre_cells
        cells.place(eta[..., None], offsets)
        self.centre_expected, self.centre_weight = cells.expected.sum(axis=-2), cells.weight.sum(axis=-2)
        curvature = 1.0 + sigma**2 * self.centre_weight
        return (sigma * (s.score - self.centre_expected) - self.centre) / curvature, curvature

    def information(self) -> list[np.ndarray]:
        """M_T (J, J) by arm: minus the second derivative of ``sum_g n_g log m_g`` in the arm's item parts."""
        cells, weighted = self.cells, self._flat(self.weighted)
        scores = np.multiply(cells.expected, np.sqrt(weighted)[..., None, :], out=cells.scratch)
        means = self.mean * np.sqrt(self.statistics.count)[..., None, :]
        out = []
        for rows, arm, diagonal in zip(self.arms, cells.arms, cells.over_nodes(cells.weight, weighted), strict=True):
            of_means, of_scores = means[..., rows], scores[..., arm]
            m = of_means @ of_means.swapaxes(-1, -2) - of_scores @ of_scores.swapaxes(-1, -2)
            np.einsum("...ii->...i", m)[...] += diagonal
            out.append(m)
        return out

    def residuals(self) -> tuple[np.ndarray, np.ndarray]:
        """Item totals minus their expectations (J,), by arm."""
        s = self.statistics
        return tuple(
            s.item_total[..., t, :] - (self.mean[..., arm] @ s.count[..., arm, None])[..., 0]
            for t, arm in enumerate(self.arms)
        )


def _dot(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Matrix (..., m, n) times vector (..., n)."""
    return np.matmul(matrix, vector[..., None])[..., 0]


def _along(loading: np.ndarray, of_items: np.ndarray) -> np.ndarray:
    """(..., J) loadings (..., q) times item effects (..., q, J)."""
    return np.matmul(loading[..., None, :], of_items)[..., 0, :]


def _outer(loading: np.ndarray, by_item: np.ndarray) -> np.ndarray:
    """(..., q, J) the transpose of ``_along``."""
    return loading[..., None] * by_item[..., None, :]


class QuadratureModes:
    """The arithmetic of D(psi) and dD/dpsi, for one table or, with a leading axis of all arrays, for several side by side.

    A subclass sets ``statistics``, ``spec``, ``persons``, ``design`` (G, p), ``item_design``, and the sizes ``q``, ``n_items``,
    ``n_beta`` and ``n_steps``; it finds the modes ``w`` (q, J) and solves with S.
    """

    statistics: SufficientStatistics
    spec: ModelSpec
    persons: PersonIntegrals
    q: int
    n_items: int
    n_beta: int
    n_steps: int
    passes = 0

    # -- parameters -----------------------------------------------------------------------------------------------

    def unpack(self, psi: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """beta, sigma and L from psi, leaving out the steps."""
        at = self.n_beta + self.n_steps
        factor = np.zeros((*psi.shape[:-1], self.q, self.q))
        factor[(..., *np.tril_indices(self.q))] = psi[..., at + 1 :]
        return psi[..., : self.n_beta], psi[..., at], factor

    def _set_parameters(self, psi: np.ndarray) -> None:
        self.beta, self.sigma, self.factor = self.unpack(psi)
        self.steps = psi[..., self.n_beta : self.n_beta + self.n_steps]
        self.persons.set_steps(self.steps)
        self.fixed = _dot(self.design, self.beta)
        self.a = (self.factor[..., 0, :].copy(), self.factor.sum(axis=-2))
        self.item_fixed = self._item_offsets(self.beta)

    def _item_offsets(self, beta: np.ndarray) -> np.ndarray:
        """(2, J) the items' fixed part of eta, by arm, at beta (p,)."""
        flat = np.zeros(2 * self.n_items) if self.item_design is None else beta @ self.item_design
        return flat.reshape(2, -1)

    def _pass(self) -> None:
        """Compute the person integrals and the penalised deviance at the current w."""
        self.passes += 1
        s = self.statistics
        offsets = tuple(_along(a, self.w) + fixed for a, fixed in zip(self.a, self.item_fixed, strict=True))
        self.persons.integrate(self.fixed, self.sigma, offsets)
        self.residual = self.persons.residuals()
        loglik = (s.count * self.persons.log_marginal).sum(axis=-1)
        loglik += sum((offset * s.item_total[..., t, :]).sum(axis=-1) for t, offset in enumerate(offsets))
        if self.n_steps:
            loglik -= (s.at_least * s.formats.steps(self.steps)).sum(axis=(-1, -2))
        self.penalised = -2.0 * loglik + (self.w**2).sum(axis=(-1, -2))

    def _score(self) -> np.ndarray:
        """(q, J) half the negative gradient of the penalised deviance in w."""
        return _outer(self.a[0], self.residual[0]) + _outer(self.a[1], self.residual[1]) - self.w

    def _mode_derivative(self, dpsi: np.ndarray) -> np.ndarray:
        """(q, J) directional derivative of the mode w along dpsi, that of the integrals: the nodes are held where they are."""
        dbeta, dsigma, dfactor = self.unpack(dpsi)
        da = (dfactor[..., 0, :], dfactor.sum(axis=-2))
        persons, dsteps = self.persons, dpsi[..., self.n_beta : self.n_beta + self.n_steps]
        shift = _dot(self.design, dbeta)[..., None] + np.asarray(dsigma)[..., None, None] * persons.nodes
        cells, of_items = persons.cells, self._item_offsets(dbeta)
        offsets = tuple(_along(da[t], self.w) + of_items[t] for t in (0, 1))
        weighted, own = self._flat(persons.weighted), self._flat(shift)
        along = cells.along(dsteps) if isinstance(cells, OrderedNodeCells) and dsteps.any() else None
        # derivative of the log integrand, then of the posterior means of the expected scores
        by_row = -cells.expected.sum(axis=-2) * own - cells.over_items(offsets, cells.expected)
        if along is not None:
            by_row -= along[0].sum(axis=-2)
        by_row = self._centred(by_row.reshape(shift.shape) + self.statistics.score[..., None] * shift)
        rhs = np.zeros_like(self.w)
        parts = zip(
            cells.over_nodes(cells.weight, weighted * own),
            cells.over_nodes(cells.weight, weighted),
            cells.over_nodes(cells.expected, weighted * self._flat(by_row)),
            (0.0, 0.0) if along is None else cells.over_nodes(along[1], weighted),
            strict=True,
        )
        for t, (of_shift, information, of_posterior, of_steps) in enumerate(parts):
            moved = of_shift + offsets[t] * information + of_posterior + of_steps
            rhs += _outer(da[t], self.residual[t]) - _outer(self.a[t], moved)
        return self._solve(rhs)

    def _gradient(self) -> np.ndarray:
        """dD/dpsi: the deviance's own terms, and those of log det S through eta, L and the mode (one adjoint solve)."""
        s, q, a, persons = self.statistics, self.q, self.a, self.persons
        blocks = self._inverse_blocks()
        cells, weighted = persons.cells, self._flat(persons.weighted)
        # trace of S^-1 dM: Q_g = E[sum_i K_ii W_i - c'Kc], with c the expected scores minus their posterior mean
        k = [
            sum((a[t][..., m] * a[t][..., l])[..., None, None] * blocks[m][l] for m in range(q) for l in range(q))
            for t in (0, 1)
        ]
        explicit = [
            [
                2.0 * sum(a[t][..., l] * (blocks[m][l] * self.information[t]).sum(axis=(-1, -2)) for l in range(q))
                for m in range(q)
            ]
            for t in (0, 1)
        ]
        diagonal = tuple(np.einsum("...ii->...i", of_arm) for of_arm in k)
        centred = cells.expected - np.repeat(persons.mean, persons.n_nodes, axis=-1)
        spread = np.empty_like(centred)
        for of_arm, arm in zip(k, cells.arms, strict=True):
            spread[..., arm] = of_arm @ centred[..., arm]
        level = cells.over_items(diagonal, cells.weight) - np.einsum("...jn,...jn->...n", spread, centred)
        level = self._centred(level.reshape(persons.nodes.shape)) - 2.0
        spread *= -2.0
        through_mean = np.multiply(spread, cells.weight, out=centred)
        third, scores = cells.third_moment(), cells.expected.sum(axis=-2)
        # derivatives of D in each node's log integrand and in a shift of all its eta (G, Q), and in the items' parts of eta (J,)
        of_level = persons.weighted * level
        flat = self._flat(of_level)
        by_row = weighted * (through_mean.sum(axis=-2) + cells.over_items(diagonal, third)) - flat * scores
        by_row = by_row.reshape(level.shape)
        by_item = [
            of_mean + of_arm * of_third - of_flat
            for of_mean, of_arm, of_third, of_flat in zip(
                cells.over_nodes(through_mean, weighted), diagonal, cells.over_nodes(third, weighted),
                cells.over_nodes(cells.expected, flat), strict=True,
            )
        ]  # fmt: skip
        information = cells.over_nodes(cells.weight, weighted)
        at_centres = persons.centre_cells.third_moment()

        adjoint = np.zeros_like(self.w)
        for _ in range(MOST_CORRECTIONS):
            moved = self._through_nodes(by_row, of_level, at_centres)
            col = [by_item[t] + moved.by_item[t] - 2.0 * s.item_total[..., t, :] for t in (0, 1)]
            # S is the derivative of the mode equations but for the movement of the nodes: correct what that leaves
            correction = self._solve(_outer(a[0], col[0]) + _outer(a[1], col[1]) + 2.0 * self.w - adjoint)
            left, size = (np.abs(part).max(axis=(-1, -2)) for part in (correction, adjoint))
            if not (left > ADJOINT_TOLERANCE * size).any():
                break
            adjoint += correction
            offsets = (_along(a[0], correction), _along(a[1], correction))
            pulled = persons.weighted * self._centred(cells.over_items(offsets, cells.expected).reshape(of_level.shape))
            of_level -= pulled
            flat = self._flat(pulled)
            by_row += (flat * scores - weighted * cells.over_items(offsets, cells.weight)).reshape(of_level.shape)
            for t, of_flat in enumerate(cells.over_nodes(cells.expected, flat)):
                by_item[t] += of_flat - offsets[t] * information[t]
        by_row += of_level * s.score[..., None]

        gradient = np.empty((*persons.lanes, len(self.spec.psi_names)))
        by_person = by_row.sum(axis=-1) + moved.by_person
        gradient[..., : self.n_beta] = _dot(self.design.swapaxes(-1, -2), by_person)
        if self.item_design is not None:
            gradient[: self.n_beta] += self.item_design @ np.concatenate(col)
        position = self.n_beta + self.n_steps
        if self.n_steps:
            gradient[..., self.n_beta : position] = self._step_gradient(of_level, spread, diagonal, adjoint, moved)
        gradient[..., position] = (by_row * persons.nodes).sum(axis=(-1, -2)) + moved.by_sigma
        position += 1
        rows = (
            (col[0] + col[1], self.residual[0] + self.residual[1], [sum(both) for both in zip(*explicit, strict=True)]),
            (col[1], self.residual[1], explicit[1]),
        )
        for m in range(q):
            cell_total, residual, direct = rows[m]
            for l in range(m + 1):
                through = cell_total * self.w[..., l, :] + residual * adjoint[..., l, :]
                gradient[..., position] = through.sum(axis=-1) + direct[l]
                position += 1
        return gradient

    def _flat(self, by_node: np.ndarray) -> np.ndarray:
        """(..., n) values at the nodes (..., G, Q)."""
        return by_node.reshape(*self.persons.lanes, -1)

    def _centred(self, by_node: np.ndarray) -> np.ndarray:
        """(G, Q) values at the nodes minus their posterior means."""
        posterior = self.persons.posterior
        return by_node - ((posterior * by_node) @ self.persons.ones)[..., None]

    def _through_nodes(self, by_row: np.ndarray, of_level: np.ndarray, third: np.ndarray) -> _Moved:
        """What the derivatives of D at each node make of the movement of the nodes, ``v = c + position / sqrt(d)``.

        The centre c is the mode of the log integrand and d minus its second derivative there; D has ``n_g log d_g`` of its own.
        ``by_row`` has the derivatives in a shift of eta through the cells alone, not through the score, and ``third`` (J, G) the
        third moments at the centres.
        """
        s, persons, sigma = self.statistics, self.persons, np.asarray(self.sigma)[..., None]
        curvature, weight, total = persons.curvature, persons.centre_weight, third.sum(axis=-2)
        by_node = sigma[..., None] * (by_row + of_level * s.score[..., None]) - of_level * persons.nodes
        by_centre = by_node @ persons.ones
        away = by_node * (persons.nodes - persons.centre[..., None])
        of_curvature = (s.count - 0.5 * (away @ persons.ones)) / curvature
        by_centre += of_curvature * sigma**3 * total
        of_mean, of_variance = -sigma * by_centre / curvature, sigma**2 * of_curvature
        by_person = of_mean * weight + of_variance * total
        by_sigma = by_person * persons.centre + by_centre * (s.score - persons.centre_expected) / curvature
        by_sigma += 2.0 * sigma * of_curvature * weight
        cells = persons.centre_cells
        by_item = [
            one + two
            for one, two in zip(
                cells.over_nodes(cells.weight, of_mean), cells.over_nodes(third, of_variance), strict=True
            )
        ]
        return _Moved(by_item, by_person, by_sigma.sum(axis=-1), of_mean, of_variance)

    def _step_gradient(
        self,
        of_level: np.ndarray,
        spread: np.ndarray,
        diagonal: tuple[np.ndarray, np.ndarray],
        adjoint: np.ndarray,
        moved: _Moved,
    ) -> np.ndarray:
        """(S,) dD/dtau through the cumulant, expected score and variance of each cell at the nodes and at their centres."""
        s, persons = self.statistics, self.persons
        weighted, of_variance = self._flat(persons.weighted)[..., None, :], np.empty_like(spread)
        for t, arm in enumerate(persons.cells.arms):
            spread[..., arm] -= _along(self.a[t], adjoint)[..., None]
            of_variance[..., arm] = diagonal[t][..., None]
        of_cumulant = -self._flat(of_level)[..., None, :]
        by_category = persons.cells.by_category(of_cumulant, weighted * spread, weighted * of_variance)
        by_category += persons.centre_cells.by_category(
            0.0, moved.of_mean[..., None, :], moved.of_variance[..., None, :]
        )
        by_step = by_category[..., ::-1].cumsum(axis=-1)[..., ::-1][..., 1:]
        inside = np.arange(1, s.formats.most + 1) <= s.formats.highest[:, None]
        return s.formats.free(2.0 * s.at_least + np.where(inside, by_step, 0.0))

    @property
    def row_weight(self) -> np.ndarray:
        """(G,) posterior mean of a person's information, sum_i W_gi."""
        weight = self.persons.cells.weight.sum(axis=-2)
        return (self.persons.posterior * weight.reshape(self.persons.posterior.shape)).sum(axis=-1)

    @property
    def col_weight(self) -> tuple[np.ndarray, np.ndarray]:
        """(J,) posterior mean of each item's information, sum_g n_g W_gi, by arm."""
        cells = self.persons.cells
        return tuple(cells.over_nodes(cells.weight, self._flat(self.persons.weighted)))


class QuadratureDeviance(QuadratureModes):
    """D(psi) and dD/dpsi with quadrature over persons and Laplace over items; the interface of ``LaplaceDeviance``.

    Parameters
    ----------
    statistics, spec : data and model.
    nodes : quadrature nodes for each class of persons, at least 5.

    Raises
    ------
    InputError : too few nodes.
    """

    method = "aghq"
    mode_accuracy = 1e-8
    """S is not quite the derivative of the mode equations, as the nodes move, so that steps shrink at a constant rate: the search
    ends if the next one, judged from the last two, is smaller than this (logits)."""

    def __init__(self, statistics: SufficientStatistics, spec: ModelSpec, nodes: int = NODES):
        spec = spec.of_items(statistics.formats)
        self.statistics, self.spec = statistics, spec
        self.q, self.n_items, self.n_beta = spec.q, statistics.n_items, len(spec.beta_names)
        self.n_steps = len(spec.steps)
        treat = statistics.arm
        columns = [np.ones(statistics.n_classes), treat]
        if spec.covariate:
            columns += [statistics.covariate, treat * statistics.covariate]
        columns += [np.zeros(statistics.n_classes)] * spec.n_item_coefficients
        self.design = np.column_stack(columns)
        self.item_design = item_design(statistics, spec)
        self.weighted_design = np.ascontiguousarray((self.design * statistics.count[:, None]).T)
        self.nodes = nodes
        self.persons = PersonIntegrals(statistics, nodes)
        self.arms = self.persons.arms
        self.w = np.zeros((self.q, self.n_items))
        self.evaluations = 0
        self.passes = 0
        self.at: np.ndarray | None = None

    # -- the inner problem ----------------------------------------------------------------------------------------

    def start_modes(self, easiness: np.ndarray) -> None:
        """Start the next mode search from these standardised item easinesses (J,)."""
        self.w[0] = easiness
        self.at = None

    def _factorise(self) -> None:
        self.information = self.persons.information()
        j, q = self.n_items, self.q
        (a0, a1), (m0, m1) = self.a, self.information
        schur = np.empty((q * j, q * j), order="F")
        for k in range(q):
            for l in range(k + 1):
                schur[k * j : (k + 1) * j, l * j : (l + 1) * j] = (a0[k] * a0[l]) * m0 + (a1[k] * a1[l]) * m1
        schur.flat[:: q * j + 1] += 1.0
        self.cholesky, info = lapack.dpotrf(schur, lower=1, clean=0, overwrite_a=1)
        if info != 0:
            raise ModeNotFound("the Hessian over the items is not positive definite")

    def _solve(self, item_rhs: np.ndarray) -> np.ndarray:
        """S^-1 applied to (q, J)."""
        items, _ = lapack.dpotrs(self.cholesky, item_rhs.reshape(-1), lower=1)
        return items.reshape(self.q, self.n_items)

    def _find_mode(self) -> None:
        previous = np.inf
        self._pass()
        for _ in range(MAX_NEWTON_STEPS):
            self._factorise()
            score = self._score()
            step = self._solve(score)
            change = max(np.abs(self.a[0] @ step).max(), np.abs(self.a[1] @ step).max())
            if not np.isfinite(change):
                raise ModeNotFound("the Newton step is not finite")
            if change > previous or change > 5.0:
                self._damped_step(step, score)
            else:
                self.w += step
                self._pass()
            shrinks = change / previous if np.isfinite(previous) else 1.0
            if change < MODE_TOLERANCE and change * shrinks < self.mode_accuracy:
                self._factorise()
                return
            previous = change
        raise ModeNotFound(f"no mode after {MAX_NEWTON_STEPS} Newton steps")

    def _damped_step(self, step: np.ndarray, score: np.ndarray) -> None:
        w, before = self.w.copy(), self.penalised
        promised = 2.0 * float((score * step).sum())
        length = 1.0
        for _ in range(40):
            np.add(w, length * step, out=self.w)
            try:
                self._pass()
                if self.penalised <= before - 1e-4 * length * promised + 1e-9 * (1 + abs(before)):
                    return
            except ModeNotFound:
                self.persons.centre[:] = 0.0
            length *= 0.5
        raise ModeNotFound("no step along the Newton direction improves the penalised likelihood")

    # -- the objective --------------------------------------------------------------------------------------------

    def __call__(self, psi: np.ndarray) -> Evaluation:
        """Deviance and gradient at psi.

        Raises
        ------
        ModeNotFound : psi is so extreme that there is no usable mode.
        """
        psi = np.array(psi, float)
        self.evaluations += 1
        with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
            kept = (self.w.copy(), self.persons.centre.copy())
            try:
                if self.at is not None:
                    step = self._mode_derivative(psi - self.at)
                    if np.abs(step).max() < 3.0:
                        self.w += step
                self.at = None
                self._set_parameters(psi)
                self._find_mode()
            except ModeNotFound:
                self.w[:], self.persons.centre[:] = kept
                raise
            logdet = 2.0 * np.log(np.diagonal(self.cholesky)).sum()
            gradient = self._gradient()
        self.at = psi
        return Evaluation(psi, float(self.penalised + logdet), gradient)

    def _inverse_blocks(self) -> list[list[np.ndarray]]:
        inverse, info = lapack.dpotri(self.cholesky, lower=1)
        if info != 0:
            raise ModeNotFound("the Hessian over the items is singular")
        j, lower = self.n_items, np.tri(self.n_items, dtype=bool)
        blocks = [[inverse[k * j : (k + 1) * j, l * j : (l + 1) * j] for l in range(self.q)] for k in range(self.q)]
        for k, row in enumerate(blocks):
            # LAPACK does not set entries above the diagonal
            row[k] = np.where(lower, row[k], row[k].T)
            for l in range(k):
                blocks[l][k] = row[l].T
        return blocks

    def step_information(self) -> np.ndarray:
        """(S, S) expected information on the free steps at the last psi, given items and persons (at their modes)."""
        if not self.n_steps:
            return np.empty((0, 0))
        s, persons = self.statistics, self.persons
        eta = np.empty((s.n_classes, self.n_items))
        for a, fixed, arm in zip(self.a, self.item_fixed, self.arms, strict=True):
            eta[arm] = (self.fixed + self.sigma * persons.centre)[arm, None] + a @ self.w + fixed
        times = s.count[:, None] * (np.ones(eta.shape) if s.trials is None else s.trials)
        return step_information(s.formats, np.moveaxis(s.formats.probabilities(eta, self.steps), -1, 0), times)

    def hessian(self, at: Evaluation, steps: np.ndarray, free: np.ndarray) -> np.ndarray:
        """Hessian of D in the free parameters, by central differences of the gradient.

        Parameters and result as in ``LaplaceDeviance.hessian``.
        """
        units = np.eye(len(at.psi))
        columns = []
        for k in free:
            sides = [self(at.psi + side * steps[k] * units[k]).gradient[free] for side in (1.0, -1.0)]
            columns.append((sides[0] - sides[1]) / (2.0 * steps[k]))
        raw = np.array(columns)
        return (raw + raw.T) / 2.0

    # -- what a fit reports and its start needs ----------------------------------------------------------------------

    def item_effects(self) -> np.ndarray:
        """(J, q) modes of (b_i, zeta_i) at the last psi, logits."""
        return (self.factor @ self.w).T

    def item_covariances(self) -> np.ndarray:
        """(J, q, q) conditional covariance of (b_i, zeta_i) at the last psi: the item blocks of L S^-1 L'."""
        blocks = self._inverse_blocks()
        own = np.array([[np.diagonal(blocks[k][l]) for l in range(self.q)] for k in range(self.q)])
        return np.einsum("ka,abj,lb->jkl", self.factor, own, self.factor)

    def item_effect_derivatives(self) -> np.ndarray:
        """(J, q, k) derivative of (b_i, zeta_i) with respect to psi at the last psi."""
        n_psi = len(self.spec.psi_names)
        out = np.empty((self.n_items, self.q, n_psi))
        for position, unit in enumerate(np.eye(n_psi)):
            dw = self._mode_derivative(unit)
            dfactor = self.unpack(unit)[2]
            out[:, :, position] = (dfactor @ self.w + self.factor @ dw).T
        return out


def quadrature_error(deviance: QuadratureDeviance, at: Evaluation) -> tuple[float, int]:
    """The change of the log-likelihood at ``at`` with more nodes (twice as many plus one), and the number of these."""
    finer = QuadratureDeviance(deviance.statistics, deviance.spec, 2 * deviance.nodes + 1)
    finer.w[:], finer.persons.centre[:] = deviance.w, deviance.persons.centre
    return abs(finer(at.psi).deviance - at.deviance) / 2.0, finer.nodes


def error_messages(deviance: QuadratureDeviance, at: Evaluation) -> list[str]:
    """A sentence for ``Fit.messages`` if ``quadrature_error`` is noticeable; otherwise an empty list."""
    error, finer = quadrature_error(deviance, at)
    name = deviance.spec.name
    message = f"{name}: {deviance.nodes} quadrature nodes leave an error of {error:.1g} in the log-likelihood; {finer} nodes leave less."
    return [message] if error > NOTICEABLE else []
