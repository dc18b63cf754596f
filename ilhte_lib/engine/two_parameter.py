"""The deviance of M_0 and M_A with discriminations, by quadrature over persons and Laplace over items.

    eta_pi = beta_0 + a_i (beta_1 T_p + sigma v_p) + b_i + zeta_i T_p,     prod_i a_i = 1

(Birnbaum's two-parameter model with item effects; for ordered categories Muraki's 1992 generalised partial credit model with
the steps of ``model.formats``, Applied Psychological Measurement 16(2)). The sum score is no longer sufficient, so
classes are response patterns (``model.patterns``). Given the items, a person's integral over v is computed by the trapezoidal
rule on one grid for all persons, whose error for these smooth integrands is exp(-2 pi^2 (s / h)^2), with s the posterior SD and
h the spacing (Trefethen and Weideman 2014, SIAM Review 56(3)). With a common grid the model is evaluated at K nodes per arm and
item instead of for each person, and the rest are matrix products. The Laplace step over the items is that of ``quadrature``,
with the observed information on the items' offsets. The grid does not move with psi, so the gradient is exact.

psi is ``(beta, steps, log a_1 ... log a_(J-1), sigma, L)``; without free discriminations it is as in ``QuadratureDeviance``.
a_i >= 0: an item whose responses do not rise with theta has a_i = 0, for which log a has no value. Such items are ``flat`` and have
no parameter, and the geometric mean is that of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import EngineError, InputError
from ..messages import quoted
from ..model.patterns import ResponsePatterns
from ..model.spec import ModelSpec
from .cumulant import Cells, step_information
from .objective import MODE_TOLERANCE, Evaluation, ModeNotFound
from .quadrature import QuadratureDeviance

REACH = 7.5
"""The grid of v extends this far to both sides; 1e-13 of the normal distribution lies beyond."""
SPACING = 1.0 / 1.15
"""Spacing of the grid in units of the smallest possible posterior SD of v, which leaves an error of 5e-12."""
STEEPEST = 50.0
"""Largest slope of an item, in logits per SD of persons: beyond it the item is a step, and the likelihood rises without bound."""
FLATTEST = 0.01
"""A search ends with ``FlatItems`` where a_i is below this share of the median, as a search along log a would never end."""
MOST_CELLS = 40_000_000
"""Largest number of item pairs times patterns of answered items, or of persons times nodes, that fits into memory."""


class FlatItems(Exception):
    """A search led to discriminations near 0; ``items`` are the positions of these items."""

    def __init__(self, items: tuple[int, ...]):
        super().__init__(f"items {items} do not discriminate")
        self.items = items


class _Arm:
    """The classes of one arm, sorted by the items they answered."""

    def __init__(self, patterns: ResponsePatterns, rows: slice):
        s = patterns.statistics
        self.rows, self.count, self.response = rows, s.count[rows], patterns.response[rows]
        self.total = self.count @ self.response
        if s.trials is None:
            answered, first = np.ones((1, s.n_items)), np.zeros(1, int)
        else:
            trials = s.trials[rows]
            first = np.concatenate([[0], 1 + np.flatnonzero((trials[1:] != trials[:-1]).any(axis=1))]).astype(int)
            answered = trials[first]
        # (M, J) responses to each item for each set of answered items, whose classes begin at first
        self.answered, self.first = answered, first
        self.of_class = np.repeat(np.arange(len(first)), np.diff([*first, len(self.count)]))
        self.own = answered[self.of_class] if len(answered) > 1 else answered
        # answered = base + rest, where rest has few entries; and its products by pair of items, (M, J * J)
        self.base = float(answered.mean() > 0.5)
        self.rest = answered - self.base
        self.rest_pairs = _products(self.rest)

    def by_answered(self, rows: np.ndarray) -> np.ndarray:
        """(M, ...) sums of rows (G, ...) over classes with the same set of answered items."""
        return np.add.reduceat(rows, self.first, axis=0)

    def pairs(self, by_answered: np.ndarray) -> np.ndarray:
        """(K, J, J) sums over the M sets of answered items of ``by_answered`` (M, K) times the responses to both items."""
        n_items = self.answered.shape[1]
        once = by_answered.T @ self.rest
        out = (self.rest_pairs.T @ by_answered).T.reshape(-1, n_items, n_items)
        if self.base:
            out = out + once[:, :, None] + once[:, None, :] + by_answered.sum(axis=0)[:, None, None]
        return out

    def over_pairs(self, by_pair: np.ndarray) -> np.ndarray:
        """(M, K) sums over pairs of answered items of symmetric matrices (K, J, J): the transpose of ``pairs``."""
        out = self.rest_pairs @ by_pair.reshape(len(by_pair), -1).T
        if self.base:
            by_item = by_pair.sum(axis=2)
            out = out + 2.0 * self.rest @ by_item.T + by_item.sum(axis=1)
        return out

    def products(self, k: np.ndarray, mean: np.ndarray, by_answered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Products of ``k`` (J, J) and the mean scores (K, J) at each node, restricted to answered items.

        Returns ``mean' k mean`` (M, K), and the sums (K, J) of ``k mean`` over the sets of answered items with ``by_answered``
        (M, K) persons each.
        """
        if self.base and not self.rest_pairs.nnz:
            pulled = mean @ k
            return (pulled * mean).sum(axis=1)[None], by_answered.T * pulled
        along = np.matmul(self.pairs(by_answered) * k, mean[:, :, None])[:, :, 0]
        return self.over_pairs(mean[:, :, None] * k * mean[:, None, :]), along

    def spread(self, by_answered: np.ndarray) -> np.ndarray:
        """(G or 1, ...) rows for classes from rows for their sets of answered items."""
        return by_answered[self.of_class] if len(by_answered) > 1 else by_answered


def _products(rows: np.ndarray) -> Any:
    """(M, J * J) sparse matrix of all pairwise products of the entries of each row (M, J).

    Raises
    ------
    InputError : there are too many.
    """
    from scipy.sparse import csr_array

    n_items = rows.shape[1]
    filled = [np.flatnonzero(row) for row in rows]
    sizes = np.array([len(at) ** 2 for at in filled])
    if sizes.sum() > MOST_CELLS:
        raise InputError(
            f"{len(rows):,} different sets of answered items among {n_items} items are too many for free discriminations: sample "
            "fewer persons (--max-persons)."
        )
    column = np.concatenate([(at[:, None] * n_items + at).ravel() for at in filled])
    value = np.concatenate([np.outer(row[at], row[at]).ravel() for row, at in zip(rows, filled, strict=True)])
    return csr_array((value, column, np.append(0, sizes.cumsum())), shape=(len(rows), n_items**2))


@dataclass
class _Posterior:
    """One arm at the current psi and w: the model on the grid, and posteriors of v.

    Attributes
    ----------
    cumulant, mean, variance, third : (K, J) cumulant and moments of an item's score at each node.
    weighted : (G, K) posterior of v in each class times its count.
    answers : (K, J) expected number of responses at each node.
    expected : (G, J) posterior mean of each class's scores.
    log_marginal : (G,) log marginal likelihood of one person of each class.
    """

    eta: np.ndarray
    cumulant: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    third: np.ndarray
    posterior: np.ndarray
    weighted: np.ndarray
    by_answered: np.ndarray
    answers: np.ndarray
    expected: np.ndarray
    log_marginal: np.ndarray


class _Persons:
    """The integrals over v of both arms, with the interface that ``QuadratureDeviance`` needs."""

    def __init__(self, patterns: ResponsePatterns):
        s = patterns.statistics
        self.formats, self.n_items = s.formats, s.n_items
        slices = (slice(0, s.n_control_classes), slice(s.n_control_classes, s.n_classes))
        self.arms = tuple(_Arm(patterns, rows) for rows in slices)
        self.n_classes = s.n_classes
        self.most = 1.0 if s.trials is None else float(s.trials.max())
        self.centre = np.zeros(0)
        self.nodes = np.zeros(0)
        self.cells: Cells | None = None

    def set_steps(self, steps: np.ndarray) -> None:
        self.cells = None if self.formats is None else Cells(self.formats, steps)

    def set_slopes(self, slopes: np.ndarray) -> None:
        """Make the grid fine enough for these slopes (J,) of the items in v."""
        information = self.most * float((slopes**2) @ self._largest_variance())
        needed = 2.0 * REACH / SPACING * np.sqrt(1.0 + information)
        if not needed * self.n_classes < MOST_CELLS:
            raise ModeNotFound("persons differ so much that the grid would be too large")
        if needed > len(self.nodes) - 1:
            # with some margin, so that it is not rebuilt at every step of a search
            self.nodes = np.linspace(-REACH, REACH, 2 * int(np.ceil(0.53 * needed)) + 1)
            spacing = self.nodes[1] - self.nodes[0]
            self.log_weight = -0.5 * self.nodes**2 + np.log(spacing) - 0.5 * np.log(2.0 * np.pi)

    def _largest_variance(self) -> np.ndarray:
        """(J,) approximately the largest variance of an item's score at any predictor."""
        if self.cells is None:
            return np.full(self.n_items, 0.25)
        eta = np.linspace(-6.0, 6.0, 49)[:, None] * np.ones(self.n_items)
        return 1.02 * self.cells.moments(eta, 2)[2].max(axis=0)

    def integrate(self, slopes: np.ndarray, offsets: tuple[np.ndarray, np.ndarray]) -> None:
        """Integrate at slopes in v (J,) and offsets by arm (J,), logits."""
        self.at = tuple(self._arm(arm, slopes, offset) for arm, offset in zip(self.arms, offsets, strict=True))

    def _arm(self, arm: _Arm, slopes: np.ndarray, offset: np.ndarray) -> _Posterior:
        eta = offset + self.nodes[:, None] * slopes
        if not np.abs(offset).max() <= 600.0:
            raise ModeNotFound("linear predictors beyond 600 logits")
        if self.cells is None:
            odds = np.exp(-np.abs(eta))
            cumulant = np.maximum(eta, 0.0) + np.log1p(odds)
            mean = np.where(eta > 0.0, 1.0, odds) / (1.0 + odds)
            variance = mean * (1.0 - mean)
            third = variance * (1.0 - 2.0 * mean)
        else:
            cumulant, mean, variance, third = self.cells.moments(eta, 3)
        log_integrand = arm.response @ eta.T
        log_integrand -= arm.spread(arm.answered @ cumulant.T)
        log_integrand += self.log_weight
        highest = log_integrand.max(axis=1)
        log_integrand -= highest[:, None]
        posterior = np.exp(log_integrand, out=log_integrand)
        total = posterior.sum(axis=1)
        posterior /= total[:, None]
        weighted = posterior * arm.count[:, None]
        by_answered = arm.by_answered(weighted)
        expected = arm.own * (posterior @ mean)
        return _Posterior(
            eta, cumulant, mean, variance, third, posterior, weighted, by_answered, by_answered.T @ arm.answered, expected,
            highest + np.log(total),
        )  # fmt: skip

    @property
    def loglik(self) -> float:
        return float(sum(arm.count @ at.log_marginal for arm, at in zip(self.arms, self.at, strict=True)))

    def residuals(self) -> tuple[np.ndarray, np.ndarray]:
        """Item totals minus their expectations (J,), by arm."""
        return tuple(arm.total - arm.count @ at.expected for arm, at in zip(self.arms, self.at, strict=True))

    def pairs(self, t: int) -> np.ndarray:
        """(K, J, J) expected number of persons at each node who answered both items."""
        return self.arms[t].pairs(self.at[t].by_answered)

    def information(self) -> list[np.ndarray]:
        """(J, J) by arm: minus the second derivative of the log-likelihood in the items' offsets."""
        out = []
        for t, (arm, at) in enumerate(zip(self.arms, self.at, strict=True)):
            # the product of a matrix with its own transpose takes half the work
            if len(arm.answered) == 1:
                answered = at.mean * arm.answered * np.sqrt(at.by_answered.T)
                square = answered.T @ answered
            else:
                square = np.einsum("kij,ki,kj->ij", self.pairs(t), at.mean, at.mean)
            expected = at.expected * np.sqrt(arm.count)[:, None]
            m = expected.T @ expected - square
            m.flat[:: len(m) + 1] += (at.answers * at.variance).sum(axis=0)
            out.append(m)
        return out


class TwoParameterDeviance(QuadratureDeviance):
    """D(psi) and dD/dpsi of M_0 or M_A with discriminations; the interface of ``QuadratureDeviance``.

    Parameters
    ----------
    patterns, spec : data and model, without covariate.
    free : whether the discriminations are parameters; otherwise all are 1.
    flat : positions of the items with a_i = 0.

    ``watching``, whether ``FlatItems`` is raised, can be set.

    Raises
    ------
    InputError : there is a single item, or persons answered too many different sets of items.
    EngineError : fewer than two items are not flat.
    """

    method = "quadrature"
    mode_accuracy = MODE_TOLERANCE
    """S is the derivative of the mode equations, so that steps shrink quadratically."""

    def __init__(self, patterns: ResponsePatterns, spec: ModelSpec, *, free: bool = True, flat: Sequence[int] = ()):
        s = patterns.statistics
        if free and s.n_items < 2:
            raise InputError("A single item has no discrimination to estimate: use a table with several items.")
        spec = spec.of_items(s.formats)
        self.n_shared = len(spec.steps)
        self.flat, self.watching = tuple(flat), free
        self.steep = np.delete(np.arange(s.n_items), self.flat)
        if free and len(self.steep) < 2:
            raise EngineError(
                "Fewer than two items rise with the persons' level, so discriminations are not identified."
            )
        names = tuple(f"log_a|{i + 1}" for i in self.steep[:-1]) if free else ()
        self.statistics, self.spec = s, replace(spec, steps=(*spec.steps, *names))
        self.free = free
        self.q, self.n_items, self.n_beta = spec.q, s.n_items, len(spec.beta_names)
        self.n_steps = len(self.spec.steps)
        self.design = np.column_stack([np.ones(s.n_classes), s.arm])
        self.weighted_design = np.ascontiguousarray((self.design * s.count[:, None]).T)
        self.persons = _Persons(patterns)
        self.arms = tuple(arm.rows for arm in self.persons.arms)
        self.w = np.zeros((self.q, self.n_items))
        self.evaluations = self.passes = 0
        self.at: np.ndarray | None = None

    # -- parameters -----------------------------------------------------------------------------------------------

    def log_discriminations(self, psi: np.ndarray) -> np.ndarray:
        """(J,) log a of each item, minus infinity if it is flat; the others sum to 0."""
        logs = self._by_item(psi)
        logs[list(self.flat)] = -np.inf
        return logs

    def _by_item(self, psi: np.ndarray) -> np.ndarray:
        """(J,) the entries of psi, or of a change of it, for the log a of each item, 0 for flat ones."""
        out = np.zeros(self.n_items)
        if self.free:
            free = psi[self.n_beta + self.n_shared : self.n_beta + self.n_steps]
            out[self.steep] = np.append(free, -free.sum())
        return out

    def _free_slopes(self, by_item: np.ndarray) -> np.ndarray:
        """Derivatives in the free log a, given those in all J (..., J): the transpose of ``_by_item``."""
        by_item = by_item[..., self.steep]
        return by_item[..., :-1] - by_item[..., -1:] if self.free else by_item[..., :0]

    def _set_parameters(self, psi: np.ndarray) -> None:
        """Set the model to psi.

        Raises
        ------
        ModeNotFound : psi is so extreme that nothing can be computed.
        EngineError : an item has become a step (``STEEPEST``).
        FlatItems : an item has become flat (``FLATTEST``) and ``watching`` is set.
        """
        self.beta, self.sigma, self.factor = self.unpack(psi)
        logs = self.log_discriminations(psi)
        if not np.abs(logs[self.steep]).max() <= 20.0:
            raise ModeNotFound("discriminations beyond all bounds")
        if self.watching:
            flat = self.steep[logs[self.steep] < np.median(logs[self.steep]) + np.log(FLATTEST)]
            if len(flat):
                raise FlatItems(tuple(flat.tolist()))
        self.discrimination = np.exp(logs)
        self.steps = psi[self.n_beta : self.n_beta + self.n_shared]
        self.persons.set_steps(self.steps)
        self.slopes = self.discrimination * self.sigma
        if self.free and np.abs(self.slopes).max() > STEEPEST:
            name = self.statistics.item_names[int(np.abs(self.slopes).argmax())]
            raise EngineError(
                f"Item {quoted(name)} separates persons like a step, so its discrimination has no finite estimate, as can happen "
                "with few items and persons: leave the item out."
            )
        self.persons.set_slopes(self.slopes)
        self.a = (self.factor[0].copy(), self.factor.sum(axis=0))

    # -- the inner problem ----------------------------------------------------------------------------------------

    def _pass(self) -> None:
        self.passes += 1
        effects = (self.a[0] @ self.w, self.a[1] @ self.w)
        fixed = (self.beta[0], self.beta[0] + self.discrimination * self.beta[1])
        self.persons.integrate(self.slopes, tuple(f + e for f, e in zip(fixed, effects, strict=True)))
        self.residual = self.persons.residuals()
        loglik = self.persons.loglik
        if self.n_shared:
            loglik -= float(np.vdot(self.statistics.at_least, self.statistics.formats.steps(self.steps)))
        self.penalised = -2.0 * loglik + float((self.w**2).sum())

    def _mode_derivative(self, dpsi: np.ndarray) -> np.ndarray:
        """(q, J) directional derivative of the mode w along dpsi."""
        dbeta, dsigma, dfactor = self.unpack(dpsi)
        dlogs, a = self._by_item(dpsi), self.discrimination
        da = (dfactor[0], dfactor.sum(axis=0))
        dslopes = a * (dsigma + self.sigma * dlogs)
        dfixed = (dbeta[0], dbeta[0] + a * (dbeta[1] + self.beta[1] * dlogs))
        dsteps = dpsi[self.n_beta : self.n_beta + self.n_shared]
        rhs = np.zeros((self.q, self.n_items))
        for t, (arm, at) in enumerate(zip(self.persons.arms, self.persons.at, strict=True)):
            deta = dfixed[t] + da[t] @ self.w + self.persons.nodes[:, None] * dslopes
            dcumulant, dmean = at.mean * deta, at.variance * deta
            if dsteps.any():
                change = self.statistics.formats.constants(dsteps).T
                change = np.where(np.isfinite(change), change, 0.0)
                along = self.persons.cells.along(at.eta, at.cumulant, at.mean, change)
                dcumulant, dmean = dcumulant + along[0], dmean + along[1]
            by_node = arm.response @ deta.T - arm.spread(arm.answered @ dcumulant.T)
            by_node -= (at.posterior * by_node).sum(axis=1, keepdims=True)
            moved = (at.answers * dmean).sum(axis=0)
            moved += ((arm.by_answered(at.weighted * by_node).T @ arm.answered) * at.mean).sum(axis=0)
            rhs += da[t][:, None] * self.residual[t] - self.a[t][:, None] * moved
        return self._solve(rhs)

    # -- the gradient ---------------------------------------------------------------------------------------------

    def _gradient(self) -> np.ndarray:
        """dD/dpsi through each node's predictor, through L, and through the mode (one adjoint solve)."""
        q, a, persons = self.q, self.a, self.persons
        blocks = self._inverse_blocks()
        explicit, kept = [], []
        for t in (0, 1):
            k = sum(a[t][m] * a[t][l] * blocks[m][l] for m in range(q) for l in range(q))
            explicit.append(
                [
                    2.0 * sum(a[t][l] * float(np.vdot(blocks[m][l], self.information[t])) for l in range(q))
                    for m in range(q)
                ]
            )
            kept.append((np.diagonal(k), *self._level(t, k)))

        # derivative of log det S in each item's offset
        trace_col = []
        for (diagonal, level, along), arm, at in zip(kept, persons.arms, persons.at, strict=True):
            by_node = diagonal * at.answers * at.third - 2.0 * at.variance * along
            by_node += self._through_posterior(arm, at, at.weighted * level)
            trace_col.append(by_node.sum(axis=0))
        adjoint = self._solve(a[0][:, None] * trace_col[0] + a[1][:, None] * trace_col[1])

        col, by_v, of_moments = [], np.zeros(self.n_items), []
        for t, ((diagonal, level, along), arm, at) in enumerate(zip(kept, persons.arms, persons.at, strict=True)):
            offset = a[t] @ adjoint
            pulled = arm.spread((arm.answered * offset) @ at.mean.T)
            pulled = pulled - (at.posterior * pulled).sum(axis=1, keepdims=True)
            weight = at.weighted * (level - pulled - 2.0)
            of_mean = -2.0 * along - offset * at.answers
            of_variance = diagonal * at.answers
            by_node = of_mean * at.variance + of_variance * at.third + self._through_posterior(arm, at, weight)
            col.append(by_node.sum(axis=0))
            by_v += persons.nodes @ by_node
            if self.n_shared:
                of_moments.append((at, -(arm.by_answered(weight).T @ arm.answered), of_mean, of_variance))

        gradient = np.empty(len(self.spec.psi_names))
        discrimination = self.discrimination
        gradient[0], gradient[1] = col[0].sum() + col[1].sum(), discrimination @ col[1]
        position = self.n_beta + self.n_shared
        if self.n_shared:
            gradient[self.n_beta : position] = self._shared_gradient(of_moments)
        self.by_discrimination = self.beta[1] * col[1] + self.sigma * by_v
        gradient[position : self.n_beta + self.n_steps] = self._free_slopes(discrimination * self.by_discrimination)
        position = self.n_beta + self.n_steps
        gradient[position] = float(discrimination @ by_v)
        position += 1
        rows = (
            (col[0] + col[1], self.residual[0] + self.residual[1], np.add(*explicit)),
            (col[1], self.residual[1], np.array(explicit[1])),
        )
        for k in range(q):
            cell_total, residual, direct = rows[k]
            for l in range(k + 1):
                gradient[position] = cell_total @ self.w[l] + residual @ adjoint[l] + direct[l]
                position += 1
        return gradient

    @staticmethod
    def _through_posterior(arm: _Arm, at: _Posterior, weight: np.ndarray) -> np.ndarray:
        """(K, J) sum over classes of weight (G, K) times observed minus expected scores at each node."""
        return weight.T @ arm.response - (arm.by_answered(weight).T @ arm.answered) * at.mean

    def _level(self, t: int, k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Terms of tr(k M) for one arm with ``k`` (J, J) held fixed.

        Returns the terms by class and node, centred (G, K), and the sums (K, J) over classes of ``k c``, with c the expected
        scores at a node minus their posterior mean.
        """
        arm, at = self.persons.arms[t], self.persons.at[t]
        pulled = at.expected @ k
        square, along = arm.products(k, at.mean, at.by_answered)
        level = 2.0 * (arm.own * pulled) @ at.mean.T
        level -= (pulled * at.expected).sum(axis=1, keepdims=True)
        level += arm.spread((arm.answered * np.diagonal(k)) @ at.variance.T - square)
        level -= (at.posterior * level).sum(axis=1, keepdims=True)
        along -= at.weighted.T @ (arm.own * pulled)
        return level, along

    def _shared_gradient(self, of_moments: list) -> np.ndarray:
        """(S,) dD/dtau for the steps between categories, from the derivatives in each node's cumulant, mean and variance."""
        s, cells, by_step = self.statistics, self.persons.cells, 0.0
        for at, of_cumulant, of_mean, of_variance in of_moments:
            parts = [-of_cumulant + of_variance * at.variance, -of_mean, -of_variance]
            by_category = cells.by_category(at.eta, at.cumulant, at.mean, parts)
            by_step = by_step + by_category[::-1].cumsum(axis=0)[::-1][1:].T
        return s.formats.free(2.0 * s.at_least + np.where(cells.inside[1:].T, by_step, 0.0))

    def hessian(self, at: Evaluation, steps: np.ndarray, free: np.ndarray) -> np.ndarray:
        """Hessian of D in the free parameters, by central differences of the gradient.

        The modes at the shifted points are extrapolated with the exact derivative of the mode; the error is the same on both
        sides and cancels. Parameters and result as in ``LaplaceDeviance.hessian``.
        """
        if self.at is None or not np.array_equal(self.at, at.psi):
            self(at.psi)
        w, units = self.w.copy(), np.diag(steps)
        moves = [self._mode_derivative(units[k]) for k in free]
        columns = []
        with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
            for k, move in zip(free, moves, strict=True):
                sides = []
                for side in (1.0, -1.0):
                    self.w[:] = w + side * move
                    self._set_parameters(at.psi + side * units[k])
                    self._pass()
                    self._factorise()
                    sides.append(self._gradient()[free])
                columns.append((sides[0] - sides[1]) / (2.0 * steps[k]))
        self.w[:], self.at = w, None
        raw = np.array(columns)
        return (raw + raw.T) / 2.0

    # -- what a fit's start needs -----------------------------------------------------------------------------------

    def step_information(self) -> np.ndarray:
        """Rough (S, S) information on steps and log discriminations at the last psi."""
        out = np.zeros((self.n_steps, self.n_steps))
        if self.n_shared:
            out[: self.n_shared, : self.n_shared] = self._shared_information()
        if self.free:
            # for log a_i: the spread of beta_1 T + sigma v over persons, including the posterior uncertainty of v
            by_item = np.full(self.n_items, 1e-3)
            for t, at in enumerate(self.persons.at):
                place = self.discrimination * (self.beta[1] * t + self.sigma * self.persons.nodes[:, None])
                weight = at.answers * at.variance
                mean = (weight * place).sum(axis=0) / np.maximum(weight.sum(axis=0), 1e-300)
                by_item += (weight * (place - mean) ** 2).sum(axis=0)
            basis = self._free_slopes(np.eye(self.n_items))
            out[self.n_shared :, self.n_shared :] = 0.7 * basis.T @ (by_item[:, None] * basis)
        return out

    def _shared_information(self) -> np.ndarray:
        s, total = self.statistics, 0.0
        for at in self.persons.at:
            p = np.moveaxis(s.formats.probabilities(at.eta, self.steps), -1, 0)
            total = total + step_information(s.formats, p, at.answers)
        return total

    @property
    def row_weight(self) -> np.ndarray:
        """(G,) posterior mean of a person's information."""
        rows = [
            (arm.own * (at.posterior @ (at.variance * self.discrimination**2))).sum(axis=1)
            for arm, at in zip(self.persons.arms, self.persons.at, strict=True)
        ]
        return np.concatenate(rows)

    @property
    def col_weight(self) -> tuple[np.ndarray, np.ndarray]:
        """(J,) posterior mean of each item's information, by arm."""
        return tuple((at.answers * at.variance).sum(axis=0) for at in self.persons.at)
