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
from ..model.compress import SufficientStatistics
from ..model.spec import ModelSpec
from .approximation import NODES, NOTICEABLE
from .cumulant import Cells, step_information
from .modes import item_design
from .objective import MAX_NEWTON_STEPS, MODE_TOLERANCE, Evaluation, ModeNotFound
from .person_modes import person_modes

FEWEST_NODES = 5
"""With fewer nodes the derivative of the sum is not that of the integral, and Laplace is the better choice."""
MOST_CELLS = 40_000_000
"""Classes x nodes x items beyond which the arrays would not fit into the memory of an ordinary machine."""
ARRAYS = 7
"""Number of arrays of (classes, nodes, items) in memory at a time."""
CENTRE_TOLERANCE = 1e-10
"""The nodes' centres are modes to this accuracy (in standardised person effects)."""
ADJOINT_TOLERANCE = 1e-7
"""Relative accuracy of the adjoint of the mode equations, whose derivative is S but for the nodes' movement."""
MOST_CORRECTIONS = 12


@dataclass(frozen=True)
class Centres:
    """The cells at the nodes' centres.

    Attributes
    ----------
    eta, cumulant, mean_response : (G, J) predictor, and cumulant and expected score of one response.
    expected, weight, third : (G, J) first three central moments of the score, summed over trials.
    curvature : (G,) minus the second derivative of the log integrand in v.
    """

    eta: np.ndarray
    cumulant: np.ndarray
    mean_response: np.ndarray
    expected: np.ndarray
    weight: np.ndarray
    third: np.ndarray
    curvature: np.ndarray


@dataclass(frozen=True)
class _Moved:
    """Derivatives of D through the movement of the nodes: in eta at the centres (G, J), in sigma, and in the sums of the expected
    scores and of the variances there (G,)."""

    by_centre: np.ndarray
    by_sigma: float
    of_mean: np.ndarray
    of_variance: np.ndarray


class PersonIntegrals:
    """The integrals over v of all classes of persons, and posterior moments, given the items.

    Parameters
    ----------
    statistics : the classes.
    nodes : quadrature nodes for each class.

    ``integrate`` sets ``log_marginal`` (G,), the ``nodes`` (G, Q) of v and their posterior weights ``posterior`` (G, Q), and
    ``expected`` and ``weight`` (G, Q, J), the expected scores and their variances at each node (sums over trials where there are
    several).
    """

    def __init__(self, statistics: SufficientStatistics, nodes: int):
        if nodes < FEWEST_NODES:
            raise InputError(f"{nodes} quadrature nodes are too few: use at least {FEWEST_NODES}, or method laplace.")
        cells = statistics.n_classes * nodes * statistics.n_items
        if cells > MOST_CELLS:
            raise InputError(
                f"Quadrature over {statistics.n_classes:,} classes of persons and {statistics.n_items} items needs about "
                f"{8 * ARRAYS * cells / 2**30:.0f} GB: use method laplace, which is accurate with this many items, or fewer nodes."
            )
        self.statistics = statistics
        position, weight = np.polynomial.hermite.hermgauss(nodes)
        self.position = np.sqrt(2.0) * position
        self.log_weight = np.log(weight) + position**2 + 0.5 * np.log(2.0)
        shape = (statistics.n_classes, nodes, statistics.n_items)
        self.expected, self.weight, self.scratch = np.empty(shape), np.empty(shape), np.empty(shape)
        self.centre = np.zeros(statistics.n_classes)
        self.cells: Cells | None = None
        self.steps: np.ndarray | None = None
        self.arms = (slice(0, statistics.n_control_classes), slice(statistics.n_control_classes, statistics.n_classes))

    def set_steps(self, steps: np.ndarray) -> None:
        """Set the free steps (S,) of items with more than two categories."""
        self.steps, formats = steps, self.statistics.formats
        self.cells = None if formats is None else Cells(formats, steps)

    def integrate(self, fixed: np.ndarray, sigma: float, offsets: tuple[np.ndarray, np.ndarray]) -> None:
        """Integrate at fixed parts (G,), person SD, and item parts of eta by arm (J,), all in logits."""
        curvature = self._find_centres(fixed, sigma, offsets)
        s = self.statistics
        self.nodes = self.centre[:, None] + self.position / np.sqrt(curvature)[:, None]
        eta = fixed[:, None] + sigma * self.nodes
        p, w = self.expected, self.weight
        for arm, offset in zip(self.arms, offsets, strict=True):
            np.add(eta[arm, :, None], offset, out=p[arm])
        cumulant = self.scratch
        if self.cells is not None:
            self.eta = p.copy()
            self.cumulant, self.mean_response, w[:], third = self.cells.moments(self.eta, 3)
            self.slope = np.divide(third, w, out=np.zeros_like(w), where=w > 0)
            p[:], cumulant[:] = self.mean_response, self.cumulant
        else:
            np.negative(p, out=w)
            np.exp(w, out=w)
            w += 1.0
            np.log(w, out=cumulant)
            cumulant += p
            np.reciprocal(w, out=p)
            np.multiply(p, p, out=w)
            np.subtract(p, w, out=w)
            self.slope = 1.0 - 2.0 * p
        if s.trials is not None:
            for array in (cumulant, p, w):
                array *= s.trials[:, None, :]
        log_integrand = s.score[:, None] * eta - cumulant.sum(axis=2) - 0.5 * self.nodes**2 + self.log_weight
        highest = log_integrand.max(axis=1)
        terms = np.exp(log_integrand - highest[:, None])
        total = terms.sum(axis=1)
        self.posterior = terms / total[:, None]
        self.log_marginal = highest + np.log(total) - 0.5 * np.log(2.0 * np.pi * curvature)
        self.mean = np.matmul(self.posterior[:, None, :], p)[:, 0]

    def _find_centres(self, fixed: np.ndarray, sigma: float, offsets: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Move ``centre`` to the posterior modes of v and return the curvature d_g there."""
        for _ in range(MAX_NEWTON_STEPS):
            step, curvature = self._step(fixed, sigma, offsets)
            if np.abs(step).max(initial=0.0) < CENTRE_TOLERANCE:
                return curvature
            # far from the mode the cumulant is flat and Newton overshoots
            self.centre += np.clip(step, -2.0, 2.0)
        self.centre[:] = person_modes(self.statistics, fixed, sigma, offsets, self.steps)
        return self._step(fixed, sigma, offsets)[1]

    def _step(
        self, fixed: np.ndarray, sigma: float, offsets: tuple[np.ndarray, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """(G,) Newton step of each centre, and the curvature there."""
        s = self.statistics
        eta = fixed + sigma * self.centre
        if not np.isfinite(eta).all() or np.abs(eta).max() > 600:
            raise ModeNotFound("linear predictors beyond 600 logits")
        p = np.empty((s.n_classes, s.n_items))
        for arm, offset in zip(self.arms, offsets, strict=True):
            np.add(eta[arm, None], offset, out=p[arm])
        if self.cells is not None:
            _, p, w = self.cells.moments(p, 2)
        else:
            p = 1.0 / (1.0 + np.exp(-p))
            w = p * (1.0 - p)
        if s.trials is not None:
            p *= s.trials
            w *= s.trials
        curvature = 1.0 + sigma**2 * w.sum(axis=1)
        return (sigma * (s.score - p.sum(axis=1)) - self.centre) / curvature, curvature

    def at_centres(self, fixed: np.ndarray, sigma: float, offsets: tuple[np.ndarray, np.ndarray]) -> Centres:
        """The cells at the centres, for the same arguments as ``integrate``."""
        s = self.statistics
        eta = np.empty((s.n_classes, s.n_items))
        for arm, offset in zip(self.arms, offsets, strict=True):
            np.add((fixed[arm] + sigma * self.centre[arm])[:, None], offset, out=eta[arm])
        if self.cells is not None:
            cumulant, mean, weight, third = self.cells.moments(eta, 3)
        else:
            cumulant, mean = np.logaddexp(0.0, eta), 1.0 / (1.0 + np.exp(-eta))
            weight = mean * (1.0 - mean)
            third = weight * (1.0 - 2.0 * mean)
        trials = 1.0 if s.trials is None else s.trials
        weight, third = weight * trials, third * trials
        return Centres(eta, cumulant, mean, mean * trials, weight, third, 1.0 + sigma**2 * weight.sum(axis=1))

    def information(self) -> list[np.ndarray]:
        """M_T (J, J) by arm: minus the second derivative of ``sum_g n_g log m_g`` in the arm's item parts."""
        count = self.statistics.count
        root = np.sqrt(count[:, None] * self.posterior)
        centred = np.subtract(self.expected, self.mean[:, None, :], out=self.scratch)
        centred *= root[:, :, None]
        out = []
        for arm in self.arms:
            block = centred[arm].reshape(-1, centred.shape[2])
            m = -(block.T @ block)
            m.flat[:: len(m) + 1] += np.tensordot(count[arm, None] * self.posterior[arm], self.weight[arm], 2)
            out.append(m)
        return out

    def residuals(self) -> tuple[np.ndarray, np.ndarray]:
        """Item totals minus their expectations (J,), by arm."""
        s = self.statistics
        return tuple(s.item_total[t] - s.count[arm] @ self.mean[arm] for t, arm in enumerate(self.arms))


class QuadratureDeviance:
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

    # -- parameters -----------------------------------------------------------------------------------------------

    def unpack(self, psi: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
        """beta, sigma and L from psi, leaving out the steps."""
        at = self.n_beta + self.n_steps
        beta, sigma = psi[: self.n_beta], float(psi[at])
        factor = np.zeros((self.q, self.q))
        factor[np.tril_indices(self.q)] = psi[at + 1 :]
        return beta, sigma, factor

    def start_modes(self, easiness: np.ndarray) -> None:
        """Start the next mode search from these standardised item easinesses (J,)."""
        self.w[0] = easiness
        self.at = None

    def _set_parameters(self, psi: np.ndarray) -> None:
        self.beta, self.sigma, self.factor = self.unpack(psi)
        self.steps = psi[self.n_beta : self.n_beta + self.n_steps]
        self.persons.set_steps(self.steps)
        self.fixed = self.design @ self.beta
        self.a = (self.factor[0].copy(), self.factor.sum(axis=0))
        self.item_fixed = self._item_offsets(self.beta)

    def _item_offsets(self, beta: np.ndarray) -> np.ndarray:
        """(2, J) the items' fixed part of eta, by arm, at beta (p,)."""
        flat = np.zeros(2 * self.n_items) if self.item_design is None else beta @ self.item_design
        return flat.reshape(2, -1)

    # -- the inner problem ----------------------------------------------------------------------------------------

    def _pass(self) -> None:
        """Compute the person integrals and the penalised deviance at the current w."""
        self.passes += 1
        offsets = tuple(a @ self.w + fixed for a, fixed in zip(self.a, self.item_fixed, strict=True))
        self.offsets = offsets
        self.persons.integrate(self.fixed, self.sigma, offsets)
        self.residual = self.persons.residuals()
        total = self.statistics.item_total
        linear = sum(o @ t for o, t in zip(offsets, total, strict=True))
        loglik = linear + self.statistics.count @ self.persons.log_marginal
        if self.n_steps:
            loglik -= float(np.vdot(self.statistics.at_least, self.statistics.formats.steps(self.steps)))
        self.penalised = -2.0 * loglik + float((self.w**2).sum())

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

    def _score(self) -> np.ndarray:
        """(q, J) half the negative gradient of the penalised deviance in w."""
        return self.a[0][:, None] * self.residual[0] + self.a[1][:, None] * self.residual[1] - self.w

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

    def _mode_derivative(self, dpsi: np.ndarray) -> np.ndarray:
        """(q, J) directional derivative of the mode w along dpsi."""
        dbeta, dsigma, dfactor = self.unpack(dpsi)
        da = (dfactor[0], dfactor.sum(axis=0))
        count, persons = self.statistics.count, self.persons
        shift = (self.design @ dbeta)[:, None] + dsigma * persons.nodes
        of_cumulant, of_mean = self._along_steps(dpsi[self.n_beta : self.n_beta + self.n_steps])
        rhs, of_items = np.zeros((self.q, self.n_items)), self._item_offsets(dbeta)
        for t, arm in enumerate(self.arms):
            offset = da[t] @ self.w + of_items[t]
            weighted = count[arm, None] * persons.posterior[arm]
            # derivative of the log integrand, then of the posterior means of the expected scores
            by_row = (self.statistics.score[arm, None] - persons.expected[arm].sum(axis=2)) * shift[arm]
            by_row -= persons.expected[arm] @ offset
            if of_cumulant is not None:
                by_row -= of_cumulant[arm].sum(axis=2)
            by_row -= (persons.posterior[arm] * by_row).sum(axis=1, keepdims=True)
            moved = np.tensordot(weighted * shift[arm], persons.weight[arm], 2)
            moved += offset * np.tensordot(weighted, persons.weight[arm], 2)
            moved += np.tensordot(weighted * by_row, persons.expected[arm], 2)
            if of_mean is not None:
                moved += np.tensordot(weighted, of_mean[arm], 2)
            rhs += da[t][:, None] * self.residual[t] - self.a[t][:, None] * moved
        return self._solve(rhs)

    def _along_steps(self, dsteps: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        """(G, Q, J) derivatives of each cell's cumulant and expected score along ``dsteps`` (S,) of the free steps."""
        if not dsteps.any():
            return None, None
        persons, formats = self.persons, self.statistics.formats
        change = formats.constants(dsteps).T
        change = np.where(np.isfinite(change), change, 0.0)
        both = persons.cells.along(persons.eta, persons.cumulant, persons.mean_response, change)
        trials = self.statistics.trials
        return both if trials is None else tuple(part * trials[:, None, :] for part in both)

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

    def _gradient(self) -> np.ndarray:
        """dD/dpsi: the deviance's own terms, and those of log det S through eta, L and the mode (one adjoint solve)."""
        s, q, a, persons = self.statistics, self.q, self.a, self.persons
        blocks = self._inverse_blocks()
        weighted = s.count[:, None] * persons.posterior
        # derivatives of D in each node's log integrand (G, Q), in eta there (G, Q, J) and, for the steps, in its moments
        of_level, by_cell = np.empty_like(persons.nodes), np.empty_like(persons.expected)
        of_mean, of_variance = (np.empty_like(by_cell), np.empty_like(by_cell)) if self.n_steps else (None, None)
        explicit = []
        for t, arm in enumerate(self.arms):
            k = sum(a[t][m] * a[t][l] * blocks[m][l] for m in range(q) for l in range(q))
            explicit.append(
                [
                    2.0 * sum(a[t][l] * float(np.vdot(blocks[m][l], self.information[t])) for l in range(q))
                    for m in range(q)
                ]
            )
            # trace of S^-1 dM: Q_g = E[sum_i K_ii W_i - c'Kc], with c the expected scores minus their posterior mean
            centred = persons.expected[arm] - persons.mean[arm, None, :]
            spread = centred @ k
            level = persons.weight[arm] @ np.diagonal(k) - np.einsum("gki,gki->gk", spread, centred)
            level -= (persons.posterior[arm] * level).sum(axis=1, keepdims=True)
            level -= 2.0
            of_level[arm] = weighted[arm] * level
            spread *= -2.0
            if self.n_steps:
                of_mean[arm] = weighted[arm, :, None] * spread
                of_variance[arm] = weighted[arm, :, None] * np.diagonal(k)
            spread += np.diagonal(k) * persons.slope[arm]
            spread *= persons.weight[arm]
            spread -= persons.expected[arm] * level[:, :, None]
            spread *= weighted[arm, :, None]
            by_cell[arm] = spread

        centres = persons.at_centres(self.fixed, self.sigma, self.offsets)
        adjoint = np.zeros((q, self.n_items))
        for _ in range(MOST_CORRECTIONS):
            moved = self._through_nodes(by_cell, of_level, centres)
            col = [
                by_cell[arm].sum(axis=(0, 1)) + moved.by_centre[arm].sum(axis=0) - 2.0 * s.item_total[t]
                for t, arm in enumerate(self.arms)
            ]
            # S is the derivative of the mode equations but for the movement of the nodes: correct what that leaves
            correction = self._solve(a[0][:, None] * col[0] + a[1][:, None] * col[1] + 2.0 * self.w - adjoint)
            if np.abs(correction).max() <= ADJOINT_TOLERANCE * np.abs(adjoint).max():
                break
            adjoint += correction
            for t, arm in enumerate(self.arms):
                offset = a[t] @ correction
                pulled = persons.expected[arm] @ offset
                pulled -= (persons.posterior[arm] * pulled).sum(axis=1, keepdims=True)
                of_level[arm] -= weighted[arm] * pulled
                if self.n_steps:
                    of_mean[arm] -= weighted[arm, :, None] * offset
                change = persons.expected[arm] * pulled[:, :, None]
                change -= offset * persons.weight[arm]
                change *= weighted[arm, :, None]
                by_cell[arm] += change
        by_row = by_cell.sum(axis=2) + of_level * s.score[:, None]

        gradient = np.empty(len(self.spec.psi_names))
        gradient[: self.n_beta] = self.design.T @ (by_row.sum(axis=1) + moved.by_centre.sum(axis=1))
        if self.item_design is not None:
            gradient[: self.n_beta] += self.item_design @ np.concatenate(col)
        position = self.n_beta + self.n_steps
        if self.n_steps:
            gradient[self.n_beta : position] = self._step_gradient(-of_level, of_mean, of_variance, moved, centres)
        gradient[position] = float(np.vdot(by_row, persons.nodes)) + moved.by_sigma
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

    def _through_nodes(self, by_cell: np.ndarray, of_level: np.ndarray, centres: Centres) -> _Moved:
        """What the derivatives of D at each node make of the movement of the nodes, ``v = c + position / sqrt(d)``.

        The centre c is the mode of the log integrand and d minus its second derivative there; D has ``n_g log d_g`` of its own.
        """
        s, persons, sigma = self.statistics, self.persons, self.sigma
        by_node = sigma * (by_cell.sum(axis=2) + of_level * s.score[:, None]) - of_level * persons.nodes
        by_centre = by_node.sum(axis=1)
        away = persons.nodes - persons.centre[:, None]
        of_curvature = (s.count - 0.5 * (by_node * away).sum(axis=1)) / centres.curvature
        by_centre += of_curvature * sigma**3 * centres.third.sum(axis=1)
        of_mean, of_variance = -sigma * by_centre / centres.curvature, sigma**2 * of_curvature
        by_eta = of_mean[:, None] * centres.weight + of_variance[:, None] * centres.third
        by_sigma = by_eta.sum(axis=1) * persons.centre
        by_sigma += by_centre * (s.score - centres.expected.sum(axis=1)) / centres.curvature
        by_sigma += 2.0 * sigma * of_curvature * centres.weight.sum(axis=1)
        return _Moved(by_eta, float(by_sigma.sum()), of_mean, of_variance)

    def _step_gradient(
        self, of_cumulant: np.ndarray, of_mean: np.ndarray, of_variance: np.ndarray, moved: _Moved, centres: Centres
    ) -> np.ndarray:
        """(S,) dD/dtau from the derivatives of D in each cell's cumulant (G, Q), and expected score and variance (G, Q, J)."""
        s, persons = self.statistics, self.persons
        each = np.ones(self.n_items)
        by_category = self._by_category(
            (persons.eta, persons.cumulant, persons.mean_response), persons.weight,
            [of_cumulant[:, :, None] * each, of_mean, of_variance],
        )  # fmt: skip
        # the centres' cells count as a single node
        by_category += self._by_category(
            tuple(part[:, None] for part in (centres.eta, centres.cumulant, centres.mean_response)),
            centres.weight[:, None],
            [np.zeros((len(s.count), 1, self.n_items)), moved.of_mean[:, None, None] * each, moved.of_variance[:, None, None] * each],
        )
        by_step = by_category[::-1].cumsum(axis=0)[::-1][1:].T
        return s.formats.free(2.0 * s.at_least + np.where(persons.cells.inside[1:].T, by_step, 0.0))

    def _by_category(self, cells: tuple[np.ndarray, ...], variance: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
        """(K + 1, J) minus the derivatives of D in c_k, from those in the cumulant, expected score and variance of ``cells``."""
        trials = self.statistics.trials
        if trials is not None:
            parts = [part * trials[:, None, :] for part in parts]
            variance = variance / np.maximum(trials, 1.0)[:, None, :]
        parts = [-part for part in parts]
        parts[0] -= parts[2] * variance
        return self.persons.cells.by_category(*cells, parts)

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

    @property
    def row_weight(self) -> np.ndarray:
        """(G,) posterior mean of a person's information, sum_i W_gi."""
        return (self.persons.posterior * self.persons.weight.sum(axis=2)).sum(axis=1)

    @property
    def col_weight(self) -> tuple[np.ndarray, np.ndarray]:
        """(J,) posterior mean of each item's information, sum_g n_g W_gi, by arm."""
        weighted = self.statistics.count[:, None] * self.persons.posterior
        return tuple(np.tensordot(weighted[arm], self.persons.weight[arm], 2) for arm in self.arms)

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
