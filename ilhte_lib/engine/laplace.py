"""The Laplace-approximated deviance of the crossed-effects Rasch family and its exact gradient.

    D(psi) = F(u^) + log det H(u^),    F = -2 loglik + |u|^2,

where ``u^`` minimises F, H is half its Hessian and ``psi = (beta, sigma, L)``: lme4's objective with nAGQ = 1 (Bates et al.
2015, Journal of Statistical Software 67(1)). ``modes`` computes the mode and everything at it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..model.compress import SufficientStatistics
from ..model.spec import ModelSpec
from .adjoint import exact_gradient
from .modes import Model, Modes, cells_are_kept
from .objective import MAX_NEWTON_STEPS, MODE_TOLERANCE, Evaluation, ModeNotFound
from .optimise import DECREASE_TOLERANCE
from .streamed import CHORD, FAR, ITEM_TOLERANCE, Stream
from .tiny import TinyDeviance
from .wide import is_wide

if TYPE_CHECKING:
    from ..model.fit_result import Fit

HESSIAN_CELLS = 65536
"""Values of psi are differentiated side by side up to about this many cells (class x item x psi)."""
ONE_SIDED = 0.1
SLOW_CELLS = 8_000_000
"""From so many cells on a pass takes long, and a search ends where a step would lower the deviance by less than ``SMALL_DECREASE``, which is
within some 2e-4 standard errors of the minimum."""
SMALL_DECREASE = 2e-8
SHORTER = 0.03
"""The differences for the Hessian are taken over this part of the step of two-sided ones."""


class LaplaceDeviance:
    """D(psi) and dD/dpsi for one model and one set of sufficient statistics.

    The last mode is kept as the start of the next search. ``psi`` is ordered as ``spec.psi_names``. D is even in sigma, in l22
    and jointly in (l11, l21), so psi needs no bounds: zero is a stationary point in these, not a wall.
    """

    method = "laplace"

    def __init__(self, statistics: SufficientStatistics, spec: ModelSpec):
        self.model = Model(statistics, spec)
        self.statistics, self.spec = statistics, self.model.spec
        self._items_first = is_wide(self.model)
        self.modes = Modes(self.model, items_first=self._items_first)
        self.q, self.n_items, self.n_beta = spec.q, statistics.n_items, self.model.n_beta
        self.design, self.weighted_design = self.model.design, self.model.weighted_design
        self.evaluations = 0
        self.passes = 0
        self._tiny = TinyDeviance(self.model) if TinyDeviance.fits(self.model) else None
        self.tolerance = MODE_TOLERANCE
        """Tolerance of the mode search, logits. The remaining change of log det H is added to first order, so that even a
        tolerance of 1e-3 leaves D exact to far below 1e-8, and the gradient to about thirty times its square."""
        self.at: np.ndarray | None = None
        """The psi whose modes the workspace holds, or None."""
        self._last: Evaluation | None = None
        self._last_step = np.inf
        self._cold = self._swept = False

    @property
    def v(self) -> np.ndarray:
        """(G,) spherical person effects at the last psi."""
        return self.modes.v[0]

    @property
    def w(self) -> np.ndarray:
        """(q, J) spherical item effects at the last psi."""
        return self.modes.w[0]

    @property
    def row_weight(self) -> np.ndarray:
        """(G,) information of one person of each class at the last psi."""
        return self.modes.row_weight[0] if self._swept else self._tiny.information()[0]

    @property
    def col_weight(self) -> np.ndarray:
        """(2, J) information on each item by arm at the last psi."""
        return self.modes.col_weight[0] if self._swept else self._tiny.information()[1]

    def step_information(self) -> np.ndarray:
        """(S, S) expected information on the free steps at the last psi, given items and persons."""
        if not self.model.n_steps:
            return np.empty((0, 0))
        modes = self._at_last()
        return modes.cumulant.information(modes.filled())

    def _at_last(self) -> Modes:
        """The workspace with every array at the last psi."""
        if not self._swept:
            with np.errstate(all="ignore"):
                self.modes.set_parameters(self.at[None])
                self.modes.sweep()
            self.passes += 1
            self._swept = True
        return self.modes

    def unpack(self, psi: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
        """beta, sigma and L from psi, leaving out the steps and the clusters' parameters."""
        at = self.model.sigma_at
        beta, sigma, lower = psi[: self.n_beta], float(psi[at]), psi[at + 1 :]
        factor = np.array([[lower[0], 0.0], [lower[1], lower[2]]]) if self.q == 2 else np.array([[lower[0]]])
        return beta, sigma, factor

    def start_modes(self, easiness: np.ndarray) -> None:
        """Start the next mode search from these standardised item easinesses (J,), with persons guessed from their scores."""
        self.modes.w[0, 0] = easiness
        self.at, self._cold = None, True

    def start_near(self, fit: Fit) -> None:
        """Start the next mode search from the items of a fit to similar data."""
        if fit.item_factor[-1, -1] > 0.0 and fit.item_factor[0, 0] > 0.0:
            self.modes.w[0] = np.linalg.solve(fit.item_factor, fit.ranef.T)

    def __call__(self, psi: np.ndarray) -> Evaluation:
        """Deviance and exact gradient at psi.

        Raises
        ------
        ModeNotFound : psi is so far out that there is no usable mode.
        """
        psi = np.array(psi, float)
        if self.at is not None and self._last_step < self.tolerance and np.array_equal(psi, self.at):
            return self._last
        self.evaluations += 1
        before, self.at, self._swept = self.at, None, False
        kept = self.modes.effects()
        with np.errstate(all="ignore"):
            try:
                deviance, gradient = (self._by_elimination if self._tiny is None else self._by_dense_matrices)(
                    psi, before
                )
                if not np.isfinite(deviance):
                    raise ModeNotFound("the deviance is not finite")
            except ModeNotFound:
                self.modes.move((0.0,) * len(kept), kept)
                raise
        self.at, self._last = psi, Evaluation(psi, deviance, gradient)
        return self._last

    def _by_elimination(self, psi: np.ndarray, before: np.ndarray | None) -> tuple[float, np.ndarray]:
        modes = self.modes
        if before is not None:
            dv, *others = step = modes.derivative((psi - before)[None])
            far = max(np.abs(other).max() for other in others if other is not None)
            if max(abs(modes.sigma[0, 0]) * np.abs(dv).max(), far) < 3.0:
                modes.move(step)
        modes.set_parameters(psi[None])
        if self._cold:
            modes.start_persons()
            self._cold = False
        passes, self._last_step = modes.find(self.tolerance)
        self.passes += passes
        gradient, adjoint = exact_gradient(modes)
        self._swept = True
        return modes.penalised() + modes.logdet() + _to_the_mode(modes, adjoint), gradient[0]

    def _by_dense_matrices(self, psi: np.ndarray, before: np.ndarray | None) -> tuple[float, np.ndarray]:
        tiny = self._tiny
        if self._cold:
            self.modes.set_parameters(psi[None])
            self.modes.start_persons()
            self._cold = False
        tiny.set_modes(self.v, self.w)
        if before is not None:
            tiny.predict(psi - before)
        passes = tiny.passes
        try:
            deviance, gradient = tiny(psi, self.tolerance)
        finally:
            self.passes += tiny.passes - passes
        self.v[:], self.w[:] = tiny.modes()
        self._last_step = tiny.last_step
        return deviance, gradient

    def hessian(self, at: Evaluation, steps: np.ndarray, free: np.ndarray) -> np.ndarray:
        """Hessian of D in the free parameters, by central differences of the exact gradient.

        The modes at the shifted points are extrapolated with the exact derivative of the mode: the error is even in the step, so
        it is the same on both sides and cancels, and no Newton step is needed there. Where cells are not stored, one-sided
        differences with a tenth of the step are used, which leaves a relative error of about 1e-5 in standard errors.

        Parameters
        ----------
        at : an evaluation.
        steps : (k,) step in each parameter.
        free : indices of the free parameters.

        Returns
        -------
        (f, f) symmetric matrix, ordered as ``free``.
        """
        modes_kept = self.modes.stored
        if not modes_kept:
            # one-sided differences need half as many passes, but the gradient at an exact mode
            tolerance, self.tolerance = self.tolerance, MODE_TOLERANCE
            at = self(at.psi)
            self.tolerance = tolerance
            steps = steps * ONE_SIDED
        elif self.at is None or not np.array_equal(self.at, at.psi):
            self(at.psi)
        shifts = np.diag(steps)[free]
        if modes_kept:
            shifts = np.concatenate([shifts, -shifts])
        modes = self._at_last()
        moves = [move for move in modes.derivative(shifts) if move is not None]
        cells = self.model.n_classes * self.n_items
        lanes = max(1, min(len(shifts), HESSIAN_CELLS // cells))
        self.passes += len(shifts)
        gradients, beside = [], None
        with np.errstate(all="ignore"):
            for first in range(0, len(shifts), lanes):
                some = slice(first, min(first + lanes, len(shifts)))
                if beside is None or beside.lanes != some.stop - first:
                    beside = Modes(self.model, some.stop - first, items_first=self._items_first)
                beside.move([move[some] for move in moves], modes.effects())
                beside.set_parameters(at.psi + shifts[some])
                beside.sweep()
                gradients.append(exact_gradient(beside)[0])
        there = np.concatenate(gradients)[:, free]
        if modes_kept:
            up, down = np.split(there, 2)
            raw = (up - down) / (2.0 * steps[free, None])
        else:
            raw = (there - at.gradient[free]) / steps[free, None]
        return (raw + raw.T) / 2.0

    # -- what a fit reports ------------------------------------------------------------------------------------

    def item_effects(self) -> np.ndarray:
        """(J, q) modes of (b_i, zeta_i) at the last psi, logits."""
        return (self.unpack(self.at)[2] @ self.w).T

    def item_covariances(self) -> np.ndarray:
        """(J, q, q) conditional covariance of (b_i, zeta_i) at the last psi: the item blocks of Lambda H^-1 Lambda'."""
        own = self._at_last().item_covariance()[0]
        factor = self.unpack(self.at)[2]
        return factor @ own @ factor.T

    def _inverse_blocks(self) -> np.ndarray:
        """(q, q, J, J) covariance of the spherical item effects given psi and the data: the blocks of S^-1."""
        return self._at_last().schur_inverse()[0]

    def item_effect_derivatives(self) -> np.ndarray:
        """(J, q, k) derivative of (b_i, zeta_i) with respect to psi at the last psi."""
        units = np.eye(len(self.at))
        dw = self._at_last().derivative(units)[1]
        dfactor = np.array([self.unpack(unit)[2] for unit in units])
        return (dfactor @ self.w + self.unpack(self.at)[2] @ dw).transpose(2, 1, 0)


class StreamedDeviance(LaplaceDeviance):
    """``LaplaceDeviance`` for many classes of persons; the same deviance and gradient."""

    def __init__(self, statistics: SufficientStatistics, spec: ModelSpec):
        super().__init__(statistics, spec)
        self.modes = Modes(self.model, one_arm_blocks=True)
        self.stream = Stream(self.modes)
        self.decrease = SMALL_DECREASE if statistics.n_classes * statistics.n_items > SLOW_CELLS else DECREASE_TOLERANCE
        self._followed = False
        """Whether the workspace has the derivatives of the mode that it stands at."""

    def _by_elimination(self, psi: np.ndarray, before: np.ndarray | None) -> tuple[float, np.ndarray]:
        modes, kept = self.modes, self.modes.effects()
        try:
            far = 0.0
            if before is not None and self._followed:
                far = float(np.abs(psi - before).max())
                self.stream.follow(psi - before, self.stream)
            self._followed = False
            return self._streamed(psi, light=far > FAR)
        except ModeNotFound:
            # slower, and damped
            modes.move((0.0, 0.0), kept)
            return super()._by_elimination(psi, None)

    def _streamed(self, psi: np.ndarray, light: bool) -> tuple[float, np.ndarray]:
        """D and its gradient; ``light`` if the first pass may go without new information."""
        modes, stream = self.modes, self.stream
        modes.set_parameters(psi[None])
        if self._cold:
            modes.start_persons()
            self._cold = False
        if light:
            stream.with_old_information()
        before = np.inf
        for _ in range(MAX_NEWTON_STEPS):
            stream.pass_over(information=not light, loglik=not light)
            self.passes += 1
            step = stream.items_step()
            longest = float(np.abs(step[1]).max())
            if not longest < min(before, 5.0):
                raise ModeNotFound("the items' Newton steps do not shrink")
            if longest < ITEM_TOLERANCE and not light:
                break
            before, light = longest, CHORD[0] < longest < CHORD[1]
            modes.w += step[0]
        else:
            raise ModeNotFound("the items have no mode")
        self._last_step = longest
        gradient, left = stream.gradient(step)
        self._followed = self._swept = True
        return modes.penalised(stream.log_terms()) - step[2] + modes.logdet() + left, gradient

    def hessian(self, at: Evaluation, steps: np.ndarray, free: np.ndarray) -> np.ndarray:
        """Hessian of D in the free parameters, by one-sided differences of the exact gradient.

        Over a small part of the step of two-sided ones, which leaves standard errors exact to about 1e-5 of themselves, from
        the gradient at an exact mode. The modes at the shifted points are taken from the exact derivative of the mode.
        """
        tolerance, self.tolerance = self.tolerance, MODE_TOLERANCE
        at = self(at.psi)
        self.tolerance = tolerance
        if not self._followed:
            return super().hessian(at, steps, free)
        steps = steps * SHORTER
        beside, gradients = Stream(Modes(self.model, one_arm_blocks=True)), []
        with np.errstate(all="ignore"):
            for shift in np.diag(steps)[free]:
                beside.follow(shift, self.stream)
                beside.modes.set_parameters((at.psi + shift)[None])
                beside.pass_over(loglik=False)
                gradients.append(beside.gradient(beside.items_step(), follow=False)[0])
        self.passes += len(gradients)
        raw = (np.array(gradients)[:, free] - at.gradient[free]) / steps[free, None]
        return (raw + raw.T) / 2.0

    def item_effect_derivatives(self) -> np.ndarray:
        """(J, q, k) derivative of (b_i, zeta_i) with respect to psi at the last psi."""
        if not self._followed:
            return super().item_effect_derivatives()
        dfactor = np.array([self.unpack(unit)[2] for unit in np.eye(len(self.at))])
        return (dfactor @ self.w + self.unpack(self.at)[2] @ self.stream.dw).transpose(2, 1, 0)


def laplace_deviance(statistics: SufficientStatistics, spec: ModelSpec) -> LaplaceDeviance:
    """The workspace for a fit by Laplace: with many cells, of items of two categories answered once at most and without clusters,
    the one that keeps none of them."""
    s = statistics
    once = s.trials is None or s.trials.max(initial=0.0) <= 1.0
    if cells_are_kept(s.n_classes * s.n_items) or s.formats is not None or s.clusters is not None or not once:
        return LaplaceDeviance(s, spec)
    return StreamedDeviance(s, spec)


def _to_the_mode(modes: Modes, adjoint: tuple[np.ndarray, np.ndarray, np.ndarray | None]) -> float:
    """The change of log det H from the current u to the mode, to first order (one lane).

    With ``H a = d(log det H)/du`` and the Newton step ``H^-1 r`` it is a'r; F changes only to second order.
    """
    person_slope, item_slope, cluster_slope = modes.slope()
    of_clusters = 0.0 if cluster_slope is None else np.vdot(adjoint[2], cluster_slope)
    return float(
        modes.model.statistics.count @ (adjoint[0] * person_slope)[0] + np.vdot(adjoint[1], item_slope) + of_clusters
    )
