"""M_D, in which the interaction of treatment and covariate varies between items, and the SD of persons may differ between arms.

    eta_gi = x_g' beta + sigma_T v_g + m_T' k_s + z_g' L w_i,    z_g = (1, T, c, T c)',

In lme4 it is ``resp ~ treat * cov + (1|id) + (treat * cov|item)``, with ``(0 + arm|id)`` in place of ``(1|id)`` where each arm
has its own SD of persons. It relaxes assumptions of M_C: that all items share the slope of the covariate and the interaction,
and that treatment does not change the SD of persons. With a curve, the fixed part has two more terms, the square of the
covariate for everyone and for the treated. The square is taken net of its mean and its regression on the covariate, so that
``treat:cov`` keeps its meaning as the slope of a straight line through the effects.

Loadings differ between classes, so this module shares only the approach of ``modes``: persons are eliminated, and all other
random effects form one dense block. With ``r_gi`` the row of a cell in that block and ``y_g = sum_i W_gi r_gi``

    S = I + sum_g n_g [ sum_i W_gi r_gi r_gi' - sigma^2 y_g y_g' / d_g ],
    Var eta_gi = sigma^2/d + r' S^-1 r - 2 sigma^2/d r' S^-1 y + sigma^4/d^2 y' S^-1 y        (given the parameters).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from ..errors import EngineError, InputError
from ..model.compress import SufficientStatistics
from ..model.fit_result import SINGULAR_BELOW, Fit
from ..model.spec import MODELS
from .cumulant import Cells
from .objective import MAX_NEWTON_STEPS, MODE_TOLERANCE, Evaluation, ModeNotFound
from .optimise import Minimum, minimise
from .starts import SMALLEST_SPREAD

Q = 4
MOST_CELLS = 40_000_000
"""Largest number of classes times random effects other than the persons', at eight bytes each in several arrays."""
CURVE = ("curve", "treat:curve")
STEP = 1e-3
ALMOST_SAME = 1e-3
"""A spread is set to 0 where that lowers the log-likelihood by no more than this."""


@dataclass(frozen=True)
class SlopesFit:
    """A fit of M_D, logits; undefined numbers are NaN.

    Attributes
    ----------
    loglik : maximised log-likelihood, comparable with that of a ``Fit`` to the same persons.
    beta_names, beta, se : names, estimates and standard errors of the fixed effects ("intercept", "treat", "cov", "treat:cov";
        with a curve also "curve" and "treat:curve", per SD of the residualised square).
    sigma_theta : SD of persons in the control and in the treated arm; equal if shared.
    item_cov : (4, 4) covariance of the items' easiness, effect, slope of the covariate and interaction.
    by_arm : whether each arm has its own sigma_theta.
    singular : whether a diagonal entry of the factor of ``item_cov``, or sigma_theta, is 0.
    converged : whether the optimum is certified.
    n_parameters : free parameters, for likelihood-ratio tests against M_C.
    degrees_of_freedom : for the t quantile of intervals if the model has clusters, else None.
    """

    loglik: float
    beta_names: tuple[str, ...]
    beta: np.ndarray
    se: np.ndarray
    sigma_theta: tuple[float, float]
    item_cov: np.ndarray
    by_arm: bool
    singular: bool
    converged: bool
    n_parameters: int
    formula: str
    degrees_of_freedom: int | None = None

    def coefficient(self, name: str) -> float:
        """A fixed effect by name, logits; ``treat:cov`` is beta_3, averaged over items that differ in it."""
        return float(self.beta[self.beta_names.index(name)])

    def standard_error(self, name: str) -> float:
        """The standard error of a fixed effect by name, logits."""
        return float(self.se[self.beta_names.index(name)])

    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """The Wald interval of a fixed effect, with t if the model has clusters."""
        from scipy.special import ndtri, stdtrit

        at = 0.5 + level / 2.0
        half = float(ndtri(at) if self.degrees_of_freedom is None else stdtrit(self.degrees_of_freedom, at))
        value, se = self.coefficient(name), self.standard_error(name)
        return value - half * se, value + half * se


class SlopesDeviance:
    """D(psi) and its exact gradient for M_D; psi is (beta, steps, M by rows, sigma by arm or shared, L by rows).

    The last mode is kept. D is even in each sigma and in each column of L and M.
    """

    method = "laplace"

    def __init__(self, statistics: SufficientStatistics, by_arm: bool, curved: bool = False):
        s = self.statistics = statistics
        if s.covariate is None or s.covariate_total is None:
            raise InputError(
                "M_D needs a covariate and responses person by person: name a covariate, or use a table that fits into memory."
            )
        spec = self.spec = MODELS["M_C"].of_items(s.formats).of_clusters(s.clusters)
        self.by_arm, self.c = by_arm, spec.cluster_q
        self.n_clusters = 0 if s.clusters is None else s.clusters.count
        self.size = Q * s.n_items + self.c * self.n_clusters
        if s.n_classes * self.size > MOST_CELLS:
            raise EngineError(
                f"M_D is not fitted to a trial with {s.n_classes:,} distinct classes of persons: sample some (--max-persons)."
            )
        self.beta_names = (*spec.beta_names, *(CURVE if curved else ()))
        self.names = (
            *self.beta_names, *spec.steps, *spec.cluster_factor, *(("sigma_0", "sigma_1") if by_arm else ("sigma_theta",)),
            *(f"l{r + 1}{k + 1}" for r in range(Q) for k in range(r + 1)),
        )  # fmt: skip
        ones = np.ones(s.n_classes)
        self.z = np.column_stack([ones, s.arm, s.covariate, s.arm * s.covariate])
        self.x = self.z
        if curved:
            square = curve_of(s)
            self.x = np.column_stack([self.z, square, s.arm * square])
        self.trials = 1.0 if s.trials is None else s.trials
        t, c = s.item_total, s.covariate_total
        self.total = np.array([t.sum(axis=0), t[1], c.sum(axis=0), c[1]])
        self.v, self.u = np.zeros(s.n_classes), np.zeros(self.size)
        self.evaluations = 0
        self.member = np.zeros((s.n_classes, self.n_clusters))
        if s.clusters is not None:
            self.member[np.arange(s.n_classes), s.clusters.code] = 1.0
        self.lower, self.own_lower = np.tril_indices(Q), np.tril_indices(self.c)

    # -- parameters -----------------------------------------------------------------------------------------------

    def _set(self, psi: np.ndarray) -> None:
        spec, s = self.spec, self.statistics
        cuts = np.cumsum([len(self.beta_names), len(spec.steps), len(spec.cluster_factor), 2 if self.by_arm else 1])
        self.beta, self.steps, m, sigma, lower = np.split(psi, cuts)
        self.sigma = np.where(s.arm > 0, sigma[-1], sigma[0])
        self.factor, self.own = np.zeros((Q, Q)), np.zeros((self.c, self.c))
        self.factor[self.lower], self.own[self.own_lower] = lower, m
        self.a, self.m = self.z @ self.factor, self.z[:, : self.c] @ self.own
        self.fixed = self.x @ self.beta
        if not np.abs(self.fixed).max() <= 600.0:
            raise ModeNotFound("linear predictors beyond 600 logits")
        # (G, c S): loadings of each class on the clusters' effects
        self.on_clusters = (self.member[:, :, None] * self.m[:, None, :]).reshape(s.n_classes, -1)
        self.cells = None if s.formats is None else Cells(s.formats, self.steps)

    def _item_part(self, u: np.ndarray) -> np.ndarray:
        """(4, J) the items' part of u."""
        return u[: Q * self.statistics.n_items].reshape(Q, -1)

    def _rows(self, u: np.ndarray) -> np.ndarray:
        """(G, J) ``r_gi' u`` of every cell."""
        return self.a @ self._item_part(u) + (self.on_clusters @ u[Q * self.statistics.n_items :])[:, None]

    def _collected(self, cells: np.ndarray) -> np.ndarray:
        """(size,) ``sum_gi n_g cells_gi r_gi``."""
        weighted = cells * self.statistics.count[:, None]
        return np.concatenate([(self.a.T @ weighted).ravel(), weighted.sum(axis=1) @ self.on_clusters])

    # -- the mode -------------------------------------------------------------------------------------------------

    def _pass(self) -> None:
        s = self.statistics
        self.eta = (self.fixed + self.sigma * self.v)[:, None] + self._rows(self.u)
        if self.cells is None:
            p = 1.0 / (1.0 + np.exp(-self.eta))
            self.mean, weight = p, p * (1.0 - p)
            self.third = weight * (1.0 - 2.0 * p) * self.trials
            self.log_terms = np.logaddexp(0.0, self.eta)
        else:
            self.log_terms, self.mean, weight, third = self.cells.moments(self.eta, 3)
            self.third = third * self.trials
        self.one_weight, self.weight, expected = weight, weight * self.trials, self.mean * self.trials
        self.row_weight = self.weight.sum(axis=1)
        self.d = 1.0 + self.sigma**2 * self.row_weight
        self.person_residual = s.score - expected.sum(axis=1)
        self.item_residual = self.total - self.z.T @ (expected * s.count[:, None])
        items = (self.a[:, :, None] * self.weight[:, None, :]).reshape(s.n_classes, -1)
        self.y = np.concatenate([items, self.on_clusters * self.row_weight[:, None]], axis=1)
        n_j, n_u = s.n_items, Q * s.n_items
        scaled = self.y * np.sqrt(s.count * self.sigma**2 / self.d)[:, None]
        h = -(scaled.T @ scaled)
        weighted = self.weight * s.count[:, None]
        own = np.einsum("gk,gi,gl->kli", self.a, weighted, self.a, optimize=True)
        blocks = h[:n_u, :n_u].reshape(Q, n_j, Q, n_j)
        every = np.arange(n_j)
        blocks[:, every, :, every] += own.transpose(2, 0, 1)
        cross = (self.a[:, :, None] * weighted[:, None, :]).reshape(s.n_classes, -1).T @ self.on_clusters
        h[:n_u, n_u:] += cross
        h[n_u:, :n_u] += cross.T
        h[n_u:, n_u:] += self.on_clusters.T @ (self.on_clusters * (s.count * self.row_weight)[:, None])
        h[np.diag_indices(self.size)] += 1.0
        self.cholesky, info = lapack.dpotrf(h, lower=1, clean=1)
        if info != 0:
            raise ModeNotFound("the Hessian of the penalised likelihood is not positive definite")

    def _slope(self) -> tuple[np.ndarray, np.ndarray]:
        items = (self.factor.T @ self.item_residual).ravel()
        of_clusters = (self.statistics.count * self.person_residual) @ self.on_clusters
        return self.sigma * self.person_residual - self.v, np.concatenate([items, of_clusters]) - self.u

    def _solve(self, person_rhs: np.ndarray, rhs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pulled = self.statistics.count * self.sigma * person_rhs / self.d
        u = lapack.dpotrs(self.cholesky, rhs - pulled @ self.y, lower=1)[0]
        return (person_rhs - self.sigma * (self.y @ u)) / self.d, u

    def _penalised(self) -> float:
        s = self.statistics
        part = self.fixed + self.sigma * self.v + self.on_clusters @ self.u[Q * s.n_items :]
        by_class = part * s.score - (self.log_terms * self.trials).sum(axis=1) - 0.5 * self.v**2
        loglik = s.count @ by_class + np.vdot(self.factor @ self._item_part(self.u), self.total)
        if s.formats is not None:
            loglik -= np.vdot(s.at_least, s.formats.steps(self.steps))
        return float(self.u @ self.u - 2.0 * loglik)

    def _find(self) -> None:
        self._pass()
        previous = np.inf
        for _ in range(MAX_NEWTON_STEPS):
            slope = self._slope()
            dv, du = self._solve(*slope)
            longest = float(np.abs(self.sigma * dv).max() + np.abs(self._rows(du)).max())
            if not np.isfinite(longest):
                raise ModeNotFound("the Newton step is not finite")
            v, u, length = self.v, self.u, 1.0
            before = self._penalised() if longest > previous or longest > 5.0 else np.inf
            for _ in range(40):
                self.v, self.u = v + length * dv, u + length * du
                try:
                    self._pass()
                    if self._penalised() <= before + 1e-9 * (1.0 + abs(before)):
                        break
                except ModeNotFound:
                    pass
                length *= 0.5
            else:
                raise ModeNotFound("no step along the Newton direction improves the penalised likelihood")
            if longest < MODE_TOLERANCE:
                return
            previous = longest
        raise ModeNotFound(f"no mode after {MAX_NEWTON_STEPS} Newton steps")

    # -- the objective --------------------------------------------------------------------------------------------

    def __call__(self, psi: np.ndarray) -> Evaluation:
        """Deviance and exact gradient at psi (k,).

        Raises
        ------
        ModeNotFound : there is no usable mode.
        """
        psi = np.array(psi, float)
        self.evaluations += 1
        kept = self.v, self.u
        try:
            with np.errstate(all="ignore"):
                self._set(psi)
                self._find()
                deviance, gradient = self._evaluated()
            if not np.isfinite(deviance):
                raise ModeNotFound("the deviance is not finite")
        except ModeNotFound:
            self.v, self.u = kept
            raise
        return Evaluation(psi, deviance, gradient)

    def _evaluated(self) -> tuple[float, np.ndarray]:
        s, sigma, d = self.statistics, self.sigma, self.d
        n_j, n_u = s.n_items, Q * s.n_items
        inverse = lapack.dpotri(self.cholesky, lower=1)[0]
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        x = self.y @ inverse
        quadratic = np.einsum("gu,gu->g", x, self.y)
        every = np.arange(n_j)
        own = inverse[:n_u, :n_u].reshape(Q, n_j, Q, n_j)[:, every, :, every]  # (J, 4, 4)
        # Cov(eta_gi, w_i) given the parameters, (G, 4, J), and eta's own variance
        along_items = np.einsum("gk,ikl->gli", self.a, own, optimize=True)
        across = (self.on_clusters @ inverse[n_u:, :n_u]).reshape(-1, Q, n_j)
        along_items += across
        share = (sigma**2 / d)[:, None, None]
        x_items = x[:, :n_u].reshape(-1, Q, n_j)
        x_clusters = np.einsum("gu,gu->g", x[:, n_u:], self.on_clusters)
        variance = np.einsum("gk,gki->gi", self.a, along_items + across - 2.0 * share * x_items)
        of_clusters = np.einsum("gu,uw,gw->g", self.on_clusters, inverse[n_u:, n_u:], self.on_clusters, optimize=True)
        variance += (
            sigma**2 / d + sigma**4 / d**2 * quadratic + of_clusters - 2.0 * sigma**2 / d * x_clusters
        )[:, None]  # fmt: skip

        trace = self.third * variance
        trace_row = trace.sum(axis=1)
        adjoint_v, adjoint_u = self._solve(sigma * trace_row, self._collected(trace))
        along = (sigma * adjoint_v)[:, None] + self._rows(adjoint_u)
        weighted = self.weight * along
        row = trace_row - 2.0 * self.person_residual - weighted.sum(axis=1)
        count = s.count
        by_sigma = self.v * row + adjoint_v * self.person_residual
        by_sigma += 2.0 * sigma * (self.row_weight - quadratic / d) / d
        by_sigma *= count
        cells = count[:, None] * (trace - weighted)
        col = self.z.T @ cells - 2.0 * self.item_residual  # (4, J)
        covariance = (along_items - share * x_items) * (self.weight * count[:, None])[:, None, :]
        by_factor = col @ self._item_part(self.u).T + self.item_residual @ self._item_part(adjoint_u).T
        by_factor += 2.0 * np.einsum("gk,gli->kl", self.z, covariance, optimize=True)
        by_beta = (count * row) @ self.x
        by_own = np.zeros((self.c, self.c))
        if self.c:
            k, adjoint_k = (w[n_u:].reshape(self.n_clusters, self.c) for w in (self.u, adjoint_u))
            code, z = s.clusters.code, self.z[:, : self.c]
            own_x = x[:, n_u:].reshape(-1, self.n_clusters, self.c)[np.arange(len(z)), code]
            moved = row[:, None] * k[code] + self.person_residual[:, None] * adjoint_k[code] + 2.0 * own_x / d[:, None]
            by_own = z.T @ (count[:, None] * moved)
        by_steps = np.empty(0)
        if self.cells is not None:
            times = self.trials * count[:, None]
            weights = [times * (variance * self.one_weight - 2.0), times * along, -times * variance]
            by_category = self.cells.by_category(self.eta, self.log_terms, self.mean, weights)
            at_or_above = by_category[::-1].cumsum(axis=0)[::-1][1:].T
            by_steps = s.formats.free(2.0 * s.at_least + at_or_above)
        treated = s.arm > 0
        spreads = (
            [by_sigma[~treated].sum(), by_sigma[treated].sum()] if self.by_arm else [by_sigma.sum()]
        )  # fmt: skip
        gradient = np.concatenate([by_beta, by_steps, by_own[self.own_lower], spreads, by_factor[self.lower]])
        person_slope, slope = self._slope()
        logdet = float(count @ np.log(d)) + 2.0 * float(np.log(np.diagonal(self.cholesky)).sum())
        left = float(count @ (adjoint_v * person_slope) + adjoint_u @ slope)
        return self._penalised() + logdet + left, gradient

    def hessian(self, at: Evaluation, steps: np.ndarray, free: np.ndarray) -> np.ndarray:
        """(f, f) Hessian in the free parameters, by central differences of the exact gradient."""
        out = np.empty((len(free), len(free)))
        for row, k in enumerate(free):
            unit = np.zeros(len(at.psi))
            unit[k] = steps[k]
            out[row] = (self(at.psi + unit).gradient - self(at.psi - unit).gradient)[free] / (2.0 * steps[k])
        self(at.psi)
        return (out + out.T) / 2.0


def bends(statistics: SufficientStatistics) -> bool:
    """Whether a curve can be distinguished from a straight line: both arms have at least three values of the covariate."""
    covariate, cut = statistics.covariate, statistics.n_control_classes
    return covariate is not None and min(len(np.unique(of)) for of in (covariate[:cut], covariate[cut:])) > 2


def curve_of(statistics: SufficientStatistics) -> np.ndarray:
    """(G,) the square of the covariate net of its mean and its regression on the covariate over persons, in SDs."""
    c, n = np.asarray(statistics.covariate, float), statistics.count
    line = np.column_stack([np.ones(len(c)), c])
    weighted = line * n[:, None]
    rest = c**2 - line @ np.linalg.solve(weighted.T @ line, weighted.T @ c**2)
    return rest / np.sqrt(np.average(rest**2, weights=n))


def fit_slopes(
    statistics: SufficientStatistics, smaller: Fit, *, by_arm: bool = True, curved: bool = False
) -> SlopesFit:
    """Fit M_D to the persons who have the covariate.

    After ``found = fit_slopes(trial.sufficient_statistics(True), fits["M_C"])``, ``found.coefficient("treat:cov")`` and
    ``found.interval("treat:cov")`` are beta_3 and its interval with items free to differ in it, and
    ``2 * (found.loglik - fits["M_C"].loglik)`` is the likelihood ratio against M_C.

    Parameters
    ----------
    statistics : with covariate, in memory (binary or ordered items; clusters as in the other models).
    smaller : M_C fitted to the same statistics, to start from; the result is not below it in log-likelihood.
    by_arm : whether each arm has its own SD of persons.
    curved : whether the log-odds may be curved in the covariate, differently in each arm.

    Raises
    ------
    InputError : there is no covariate, it has too few values for a curve (``bends``), or the trial was read out of core.
    EngineError : no optimum could be found, or the trial is too large.
    """
    if curved and statistics.covariate is not None and not bends(statistics):
        raise InputError("The covariate has fewer than three values in an arm: fit M_D without a curve.")
    deviance = SlopesDeviance(statistics, by_arm, curved)
    try:
        return _fitted(deviance, smaller)
    except (ModeNotFound, np.linalg.LinAlgError) as failure:
        raise EngineError(f"M_D could not be fitted ({failure}).") from None


def _start(deviance: SlopesDeviance, smaller: Fit, size: float) -> np.ndarray:
    """psi of M_C, extended by an SD of ``size`` for the items' slopes and interactions."""
    factor = np.zeros((Q, Q))
    factor[:2, :2] = smaller.item_factor
    factor[[0, 1], [0, 1]] = np.maximum(factor[[0, 1], [0, 1]], SMALLEST_SPREAD)
    factor[[2, 3], [2, 3]] = size
    own = () if smaller.clusters is None else smaller.clusters.factor[np.tril_indices(deviance.c)]
    sigma = [max(smaller.sigma_theta, SMALLEST_SPREAD)] * (2 if deviance.by_arm else 1)
    beta = np.zeros(len(deviance.beta_names))
    beta[: len(smaller.beta)] = smaller.beta
    return np.array([*beta, *smaller.steps, *own, *sigma, *factor[deviance.lower]])


def _curvature(deviance: SlopesDeviance, start: np.ndarray) -> np.ndarray:
    """(k, k) Hessian of the deviance at a start, made positive definite; one serves all searches of a fit."""
    everything = np.arange(len(start))
    raw = deviance.hessian(deviance(start), np.full(len(start), 1e-2), everything)
    values, vectors = np.linalg.eigh(raw)
    return (vectors * np.maximum(np.abs(values), 1.0)) @ vectors.T


def _minimum(deviance: SlopesDeviance, start: np.ndarray, free: np.ndarray, curvature: np.ndarray) -> Minimum:
    longest = np.full(len(start), 0.3)
    longest[: len(deviance.beta_names)] = 1.0
    return minimise(deviance, start, curvature, free, longest)


def _fitted(deviance: SlopesDeviance, smaller: Fit) -> SlopesFit:
    names, everything = list(deviance.names), np.arange(len(deviance.names))
    starts = [_start(deviance, smaller, size) for size in (SMALLEST_SPREAD, 0.05)]
    curvature = _curvature(deviance, starts[-1])
    best = min(
        (_minimum(deviance, start, everything, curvature) for start in starts),
        key=lambda found: found.evaluation.deviance,
    )
    # columns of L near 0 are set to 0, the last first: D is even in each and therefore flat there
    held: set[int] = set()
    for k in reversed(range(Q)):
        column = {names.index(f"l{r + 1}{k + 1}") for r in range(k, Q)}
        if max(abs(best.evaluation.psi[j]) for j in column) < 0.05:
            psi = best.evaluation.psi.copy()
            psi[list(held | column)] = 0.0
            left = np.array([j for j in everything if j not in held | column])
            there = _minimum(deviance, psi, left, curvature)
            if there.evaluation.deviance <= best.evaluation.deviance + 2.0 * ALMOST_SAME:
                best, held = there, held | column
    free = np.array([j for j in everything if j not in held])
    here = deviance(best.evaluation.psi)
    hessian = deviance.hessian(here, np.full(len(everything), STEP), free)
    smallest = float(np.linalg.eigvalsh(hessian)[0])
    certified = smallest > 0
    fixed = len(deviance.beta_names)
    se = np.full(fixed, np.nan)
    if certified:
        vcov = 2.0 * np.linalg.inv(hessian)
        certified = bool((np.abs(here.gradient[free]) * np.sqrt(np.diagonal(vcov))).max() < 1e-2)
        if certified:
            se = np.sqrt(np.diagonal(vcov)[:fixed])
    here = deviance(here.psi)
    clusters, spreads = smaller.clusters, [abs(here.psi[names.index(n)]) for n in names if n.startswith("sigma_")]
    diagonal = [abs(here.psi[names.index(f"l{k + 1}{k + 1}")]) for k in range(Q)]
    persons = "(0 + arm|id)" if deviance.by_arm else "(1|id)"
    formula = smaller.spec.formula.replace("(treat|item)", "(treat * cov|item)").replace("(1|id)", persons)
    if fixed > Q:
        formula = formula.replace("treat * cov + ", "treat * (cov + curve) + ", 1)
    return SlopesFit(
        loglik=-here.deviance / 2.0,
        beta_names=deviance.beta_names,
        beta=here.psi[:fixed].copy(),
        se=se,
        sigma_theta=(float(spreads[0]), float(spreads[-1])),
        item_cov=deviance.factor @ deviance.factor.T,
        by_arm=deviance.by_arm,
        singular=min(*spreads, *diagonal) < SINGULAR_BELOW,
        converged=certified,
        n_parameters=len(everything),
        formula=formula,
        degrees_of_freedom=None if clusters is None else clusters.degrees_of_freedom,
    )
