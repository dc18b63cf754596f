"""The Laplace-approximated deviance of the crossed-effects Rasch family and its exact gradient.

Notation (lme4's, Bates et al. 2015, Journal of Statistical Software 67(1)): person g of arm T has
``eta_gi = x_g' beta + sigma v_g + (1, T) L w_i`` with spherical random effects ``u = (v, w)``, and

    D(psi) = -2 loglik(u^) + |u^|^2 + log det H(u^),    H(u) = Lambda' Z' W Z Lambda + I,

``u^`` the mode of the first two terms, ``psi = (beta, sigma, L)``. Persons are eliminated from H because their block
is diagonal, which leaves a Schur complement S over the items. The arrays are over classes of persons (see
``compress``), weighted by their counts: nothing here sees the number of persons.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from .compress import SufficientStatistics
from .mixed_model import ModelSpec

MODE_TOLERANCE = 2e-5
"""The last Newton step changes no linear predictor by more than this (logits); the error after it is of the order of its square."""
MAX_NEWTON_STEPS = 60


class ModeNotFound(ArithmeticError):
    """The penalised likelihood has no mode that Newton's method reaches from here (parameters far out, or not finite)."""


@dataclass(frozen=True)
class Evaluation:
    """The deviance at one psi.

    Attributes
    ----------
    psi : (k,) where.
    deviance : D(psi).
    gradient : (k,) dD/dpsi.
    """

    psi: np.ndarray
    deviance: float
    gradient: np.ndarray


class LaplaceDeviance:
    """D(psi) and dD/dpsi for one model and one set of sufficient statistics.

    A workspace: it keeps the last mode (to start the next search from it) and its buffers. ``psi`` is ordered as
    ``spec.psi_names``. D is even in sigma, in l22 and jointly in (l11, l21), so psi needs no bounds: zero is a
    stationary point in these, never a wall.
    """

    method = "laplace"

    def __init__(self, statistics: SufficientStatistics, spec: ModelSpec):
        self.statistics, self.spec = statistics, spec
        self.q, self.n_items = spec.q, statistics.n_items
        self.n_beta = len(spec.beta_names)
        count, n_classes = statistics.count, statistics.n_classes
        treat = statistics.arm
        columns = [np.ones(n_classes), treat]
        if spec.covariate:
            columns += [statistics.covariate, treat * statistics.covariate]
        self.design = np.column_stack(columns)
        self.weighted_design = np.ascontiguousarray((self.design * count[:, None]).T)
        self.arms = (slice(0, statistics.n_control_classes), slice(statistics.n_control_classes, n_classes))
        self.root_count = np.sqrt(count)
        shape = (n_classes, self.n_items)
        self.probability, self.weight, self.scratch = np.empty(shape), np.empty(shape), np.empty(shape)
        self.score_term = self.weighted_design @ statistics.score
        self.evaluations = 0
        self.passes = 0
        self.v = np.zeros(n_classes)
        self.w = np.zeros((self.q, self.n_items))
        self.at: np.ndarray | None = None
        """The psi whose mode and factors are in the buffers, or None."""

    # -- parameters ---------------------------------------------------------------------------------------------

    def unpack(self, psi: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
        """psi as (beta, sigma, L)."""
        beta, sigma = psi[: self.n_beta], float(psi[self.n_beta])
        factor = np.zeros((self.q, self.q))
        factor[np.tril_indices(self.q)] = psi[self.n_beta + 1 :]
        return beta, sigma, factor

    def start_modes(self, easiness: np.ndarray) -> None:
        """Start the next mode search from these standardised item easinesses (J,)."""
        self.w[0] = easiness
        self.at = None

    def take_modes_from(self, other: LaplaceDeviance) -> None:
        """Start the next mode search from the modes of a smaller model on the same classes."""
        if len(other.v) == len(self.v):
            self.v[:] = other.v
        self.w[: other.q] = other.w
        self.at = None

    # -- the inner problem --------------------------------------------------------------------------------------

    def _set_parameters(self, psi: np.ndarray) -> None:
        self.beta, self.sigma, self.factor = self.unpack(psi)
        self.fixed = self.design @ self.beta
        # a_T = L'(1, T)', so that (1, T) L w_i = a_T' w_i
        self.a = (self.factor[0].copy(), self.factor.sum(axis=0))

    def _offsets(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Per arm, the (J,) item part of eta: b_i for control, b_i + zeta_i for treated."""
        return self.a[0] @ w, self.a[1] @ w

    def _pass(self) -> None:
        """Probabilities, weights and residuals at the current u; overwrites the buffers."""
        self.passes += 1
        person_part = self.fixed + self.sigma * self.v
        if not np.isfinite(person_part).all() or np.abs(person_part).max() > 600:
            raise ModeNotFound("linear predictors beyond 600 logits")
        offsets = self._offsets(self.w)
        p, weight = self.probability, self.weight
        for arm, offset in zip(self.arms, offsets, strict=True):
            np.add(person_part[arm, None], offset, out=p[arm])
        np.negative(p, out=p)
        np.exp(p, out=p)
        np.add(p, 1.0, out=p)
        np.reciprocal(p, out=p)
        np.multiply(p, p, out=weight)
        np.subtract(p, weight, out=weight)
        trials = self.statistics.trials
        if trials is not None:
            weight *= trials
            np.multiply(p, trials, out=self.scratch)
            expected = self.scratch
        else:
            expected = p
        count, total = self.statistics.count, self.statistics.item_total
        self.person_residual = self.statistics.score - expected.sum(axis=1)
        self.item_residual = tuple(total[t] - count[arm] @ expected[arm] for t, arm in enumerate(self.arms))
        self.row_weight = weight.sum(axis=1)
        self.col_weight = tuple(count[arm] @ weight[arm] for arm in self.arms)
        self.d = 1.0 + self.sigma**2 * self.row_weight

    def _factorise(self) -> None:
        """The Schur complement S over the items and its Cholesky factor."""
        j, q = self.n_items, self.q
        np.multiply(self.weight, (self.root_count * self.sigma / np.sqrt(self.d))[:, None], out=self.scratch)
        self.information = []
        for t, arm in enumerate(self.arms):
            block = self.scratch[arm]
            m = -(block.T @ block)
            m.flat[:: j + 1] += self.col_weight[t]
            self.information.append(m)
        a0, a1 = self.a
        m0, m1 = self.information
        schur = np.empty((q * j, q * j), order="F")
        for k in range(q):
            for l in range(k + 1):
                schur[k * j : (k + 1) * j, l * j : (l + 1) * j] = (a0[k] * a0[l]) * m0 + (a1[k] * a1[l]) * m1
        schur.flat[:: q * j + 1] += 1.0
        self.cholesky, info = lapack.dpotrf(schur, lower=1, clean=0, overwrite_a=1)
        if info != 0:
            raise ModeNotFound("the Hessian of the penalised likelihood is not positive definite")

    def _solve(self, person_rhs: np.ndarray, item_rhs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """H^-1 applied to a vector: (G,) entries of one person of each class and (q, J) entries of the items."""
        count, arms = self.statistics.count, self.arms
        scaled = count * self.sigma * person_rhs / self.d
        reduced = item_rhs.copy()
        for t, arm in enumerate(arms):
            reduced -= self.a[t][:, None] * (scaled[arm] @ self.weight[arm])
        items, _ = lapack.dpotrs(self.cholesky, reduced.reshape(-1), lower=1)
        items = items.reshape(self.q, self.n_items)
        persons = np.empty_like(person_rhs)
        for t, arm in enumerate(arms):
            persons[arm] = self.weight[arm] @ (self.a[t] @ items)
        persons *= -self.sigma
        persons += person_rhs
        persons /= self.d
        return persons, items

    def _penalised(self) -> float:
        """F = -2 loglik + |u|^2 at the current u; the buffers must be those of this u."""
        s = self.statistics
        person_part = self.fixed + self.sigma * self.v
        offsets = self._offsets(self.w)
        linear = s.count @ (s.score * person_part) + sum(o @ t for o, t in zip(offsets, s.item_total, strict=True))
        # log(1 + e^eta) = eta - log p, and -log p stays finite where log(1 - p) does not
        np.log(self.probability, out=self.scratch)
        for t, arm in enumerate(self.arms):
            block = self.scratch[arm]
            np.subtract(offsets[t], block, out=block)
            block += person_part[arm, None]
        if s.trials is not None:
            self.scratch *= s.trials
        softplus = s.count @ self.scratch.sum(axis=1)
        return -2.0 * (linear - softplus) + s.count @ self.v**2 + float((self.w**2).sum())

    def _find_mode(self) -> None:
        """Newton on u; ends with buffers and factor at the mode. Steps are halved if one makes the fit worse."""
        previous = np.inf
        self._pass()
        for _ in range(MAX_NEWTON_STEPS):
            self._factorise()
            person_rhs = self.sigma * self.person_residual - self.v
            r0, r1 = self.item_residual
            item_rhs = self.a[0][:, None] * r0 + self.a[1][:, None] * r1 - self.w
            dv, dw = self._solve(person_rhs, item_rhs)
            change = np.abs(self.sigma * dv).max() + max(np.abs(o).max() for o in self._offsets(dw))
            if not np.isfinite(change):
                raise ModeNotFound("the Newton step is not finite")
            if change > previous or change > 5.0:
                self._damped_step(dv, dw, person_rhs, item_rhs)
            else:
                self.v += dv
                self.w += dw
                self._pass()
            if change < MODE_TOLERANCE:
                self._factorise()
                return
            previous = change
        raise ModeNotFound(f"no mode after {MAX_NEWTON_STEPS} Newton steps")

    def _damped_step(self, dv: np.ndarray, dw: np.ndarray, person_rhs: np.ndarray, item_rhs: np.ndarray) -> None:
        """Halve the Newton step until the penalised deviance falls by a fair share of what the slope promises."""
        v, w = self.v.copy(), self.w.copy()
        before = self._penalised()
        promised = 2.0 * (self.statistics.count @ (person_rhs * dv) + float((item_rhs * dw).sum()))
        step = 1.0
        for _ in range(40):
            np.add(v, step * dv, out=self.v)
            np.add(w, step * dw, out=self.w)
            try:
                self._pass()
                if self._penalised() <= before - 1e-4 * step * promised + 1e-9 * (1 + abs(before)):
                    return
            except ModeNotFound:
                pass
            step *= 0.5
        raise ModeNotFound("no step along the Newton direction improves the penalised likelihood")

    def _mode_derivative(self, dpsi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Directional derivative of the mode (v, w) along dpsi, by the implicit function theorem."""
        dbeta, dsigma, dfactor = self.unpack(dpsi)
        da = (dfactor[0], dfactor.sum(axis=0))
        shift = self.design @ dbeta + dsigma * self.v
        person_rhs = dsigma * self.person_residual - self.sigma * shift * self.row_weight
        item_rhs = np.zeros((self.q, self.n_items))
        count = self.statistics.count
        for t, arm in enumerate(self.arms):
            offset = da[t] @ self.w
            weighted = (count[arm] * shift[arm]) @ self.weight[arm] + offset * self.col_weight[t]
            item_rhs += da[t][:, None] * self.item_residual[t] - self.a[t][:, None] * weighted
            person_rhs[arm] -= self.sigma * (self.weight[arm] @ offset)
        return self._solve(person_rhs, item_rhs)

    # -- the objective ------------------------------------------------------------------------------------------

    def __call__(self, psi: np.ndarray) -> Evaluation:
        """Deviance and exact gradient at psi.

        Raises
        ------
        ModeNotFound : psi is so far out that there is no usable mode.
        """
        psi = np.array(psi, float)
        self.evaluations += 1
        with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
            kept = (self.v.copy(), self.w.copy())
            try:
                if self.at is not None:
                    dv, dw = self._mode_derivative(psi - self.at)
                    change = np.abs(self.sigma * dv).max(initial=0.0) + np.abs(dw).max()
                    if change < 3.0:
                        self.v += dv
                        self.w += dw
                self.at = None
                self._set_parameters(psi)
                self._find_mode()
            except ModeNotFound:
                self.v[:], self.w[:] = kept
                raise
            deviance = self._penalised() + self._logdet()
            gradient = self._gradient()
        self.at = psi
        return Evaluation(psi, float(deviance), gradient)

    def hessian(self, at: Evaluation, steps: np.ndarray, free: np.ndarray) -> np.ndarray:
        """Hessian of D in the free parameters, by central differences of the exact gradient.

        The modes at the shifted points are taken from the exact derivative of the mode: its error is even in the step,
        the same on both sides, and cancels in the difference, so no Newton step is needed there.

        Parameters
        ----------
        at : the last evaluation made; its modes must still be in place.
        steps : (k,) step in each parameter.
        free : indices of the free parameters.

        Returns
        -------
        (f, f) symmetric matrix, ordered as ``free``.
        """
        v, w = self.v.copy(), self.w.copy()
        units = np.eye(len(at.psi))
        slopes = [self._mode_derivative(units[k]) for k in free]
        columns = []
        with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
            for k, (dv, dw) in zip(free, slopes, strict=True):
                sides = []
                for side in (steps[k], -steps[k]):
                    self._set_parameters(at.psi + side * units[k])
                    np.add(v, side * dv, out=self.v)
                    np.add(w, side * dw, out=self.w)
                    self._pass()
                    self._factorise()
                    sides.append(self._gradient()[free])
                columns.append((sides[0] - sides[1]) / (2.0 * steps[k]))
        self.v[:], self.w[:] = v, w
        self.at = None
        raw = np.array(columns)
        return (raw + raw.T) / 2.0

    def _logdet(self) -> float:
        return float(self.statistics.count @ np.log(self.d) + 2.0 * np.log(np.diagonal(self.cholesky)).sum())

    def _inverse_blocks(self) -> list[list[np.ndarray]]:
        """S^-1 as q x q blocks of (J, J)."""
        inverse, info = lapack.dpotri(self.cholesky, lower=1)
        if info != 0:
            raise ModeNotFound("the Schur complement is singular")
        lower = np.tril(inverse)
        full = lower + np.tril(lower, -1).T
        j = self.n_items
        return [[full[k * j : (k + 1) * j, l * j : (l + 1) * j] for l in range(self.q)] for k in range(self.q)]

    def _gradient(self) -> np.ndarray:
        """dD/dpsi by one adjoint solve: the deviance's own terms, and what log det H adds through eta, Lambda and the mode."""
        s, q, sigma, arms, a = self.statistics, self.q, self.sigma, self.arms, self.a
        count, weight, d, w, v = s.count, self.weight, self.d, self.w, self.v
        blocks = self._inverse_blocks()

        # d(log det H)/d eta, one number a cell: W'(eta) times the variance of eta under H^-1
        quadratic = np.empty_like(d)
        trace_row = np.empty_like(d)
        trace_col, explicit_a = [], []
        for t, arm in enumerate(arms):
            k = sum(a[t][m] * a[t][l] * blocks[m][l] for m in range(q) for l in range(q))
            explicit_a.append(
                [2.0 * sum(a[t][l] * float(np.vdot(blocks[m][l], self.information[t])) for l in range(q)) for m in range(q)]
            )
            wk = np.matmul(weight[arm], k, out=self.scratch[arm])
            quadratic[arm] = np.einsum("gi,gi->g", wk, weight[arm])
            person_variance = 1.0 / d[arm] + sigma**2 * quadratic[arm] / d[arm] ** 2
            wk *= (-2.0 * sigma**2 / d[arm])[:, None]
            wk += np.diagonal(k)
            wk += (sigma**2 * person_variance)[:, None]
            slope = 1.0 - 2.0 * self.probability[arm]
            slope *= weight[arm]
            wk *= slope
            trace_row[arm] = wk.sum(axis=1)
            trace_col.append(count[arm] @ wk)

        # the adjoint solve: how log det H moves with the mode
        item_rhs = a[0][:, None] * trace_col[0] + a[1][:, None] * trace_col[1]
        adjoint_v, adjoint_w = self._solve(sigma * trace_row, item_rhs)
        adjoint_row = sigma * adjoint_v * self.row_weight
        total = []
        for t, arm in enumerate(arms):
            offset = a[t] @ adjoint_w
            adjoint_row[arm] += weight[arm] @ offset
            adjoint_col = (count[arm] * sigma * adjoint_v[arm]) @ weight[arm] + offset * self.col_weight[t]
            total.append(trace_col[t] - 2.0 * self.item_residual[t] - adjoint_col)

        row = trace_row - 2.0 * self.person_residual - adjoint_row
        gradient = np.empty(self.n_beta + 1 + q * (q + 1) // 2)
        gradient[: self.n_beta] = self.weighted_design @ row
        gradient[self.n_beta] = count @ (
            v * row + adjoint_v * self.person_residual + 2.0 * sigma * (self.row_weight / d - quadratic / d**2)
        )
        # rows of L: the first acts on both arms, the second on the treated alone
        by_row = ((total[0] + total[1], self.item_residual[0] + self.item_residual[1]), (total[1], self.item_residual[1]))
        position = self.n_beta + 1
        for k in range(q):
            cell_total, residual = by_row[k]
            for l in range(k + 1):
                explicit = explicit_a[1][l] + (explicit_a[0][l] if k == 0 else 0.0)
                gradient[position] = cell_total @ w[l] + residual @ adjoint_w[l] + explicit
                position += 1
        return gradient

    # -- what a fit reports ------------------------------------------------------------------------------------

    def item_effects(self) -> np.ndarray:
        """(J, q) modes of (b_i, zeta_i) at the last psi, logits."""
        return (self.factor @ self.w).T

    def item_covariances(self) -> np.ndarray:
        """(J, q, q) conditional covariance of (b_i, zeta_i) at the last psi: the item blocks of Lambda H^-1 Lambda'."""
        blocks = self._inverse_blocks()
        own = np.array([[np.diagonal(blocks[k][l]) for l in range(self.q)] for k in range(self.q)])
        return np.einsum("ka,abj,lb->jkl", self.factor, own, self.factor)

    def item_effect_derivatives(self) -> np.ndarray:
        """(J, q, k) derivative of (b_i, zeta_i) with respect to psi at the last psi."""
        n_psi = self.n_beta + 1 + self.q * (self.q + 1) // 2
        out = np.empty((self.n_items, self.q, n_psi))
        for position, unit in enumerate(np.eye(n_psi)):
            _, dw = self._mode_derivative(unit)
            _, _, dfactor = self.unpack(unit)
            out[:, :, position] = (dfactor @ self.w + self.factor @ dw).T
        return out
