"""Quadrature over persons for many tables side by side: the workspace of ``side_by_side`` for fits by quadrature."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .cumulant import step_information
from .objective import MAX_NEWTON_STEPS, MODE_TOLERANCE, ModeNotFound
from .quadrature import PersonIntegrals, QuadratureDeviance, QuadratureModes

if TYPE_CHECKING:
    from .side_by_side import _Together


class QuadratureLanes(QuadratureModes):
    """The workspace of lanes with the same kind of request; attributes as in ``side_by_side._Lanes``.

    A lane whose modes need shortened steps, or whose persons are extreme, is computed on its own by ``QuadratureDeviance``.
    """

    clusters = None

    def __init__(self, together: _Together, own: np.ndarray):
        self.together, self.own, self.lanes = together, own, len(own)
        self.model = model = together.models.some(own)
        self.statistics, self.spec = model.statistics, model.spec
        self.q, self.n_items, self.n_steps = model.q, model.n_items, model.n_steps
        self.n_beta, self.item_design, self.design = len(model.spec.beta_names), None, model.design
        self.persons = PersonIntegrals(self.statistics, together.nodes, (self.lanes,))
        self.arms = self.persons.arms
        self.persons.centre[:] = together.v[own]
        self.w, self.at, self.cold = together.w[own], together.at[own], together.cold[own]
        self.swept, self.alone = False, np.zeros(self.lanes, bool)
        self.sweeps, self.last = np.zeros(self.lanes, int), np.full(self.lanes, np.inf)

    def store(self) -> None:
        """Copy the state of the lanes back to the tables."""
        of, own = self.together, self.own
        of.v[own], of.w[own], of.at[own], of.cold[own] = self.persons.centre, self.w, self.at, self.cold

    def closed_up(self, which: np.ndarray) -> QuadratureLanes:
        """A workspace for some of the lanes."""
        self.store()
        return self.together._lanes(self.own[which])

    def stand(self) -> None:
        """Bring every array to the psi of the modes."""
        if not self.swept:
            with np.errstate(all="ignore"):
                self._set_parameters(np.where(np.isnan(self.at), 0.0, self.at))
                self._sweep()
            self.swept = True

    def _sweep(self) -> None:
        """The integrals at the current modes, S and its inverse."""
        self._pass()
        self.alone |= self.persons.lost
        self.persons.lost[:] = False
        self.information = self.persons.information()
        b, q, j = self.lanes, self.q, self.n_items
        schur = np.zeros((b, q, j, q, j))
        for a, m in zip(self.a, self.information, strict=True):
            schur += (a[:, :, None] * a[:, None, :])[:, :, None, :, None] * m[:, None, :, None, :]
        schur = schur.reshape(b, q * j, q * j)
        np.einsum("bii->bi", schur)[...] += 1.0
        lost = ~np.isfinite(schur).all(axis=(1, 2))
        self.alone |= lost
        schur[lost] = np.eye(q * j)
        sign, self.logdet = np.linalg.slogdet(schur)
        self.alone |= sign <= 0
        self.inverse = np.linalg.inv(schur)

    def _solve(self, item_rhs: np.ndarray) -> np.ndarray:
        """S^-1 applied to (B, q, J)."""
        return np.matmul(self.inverse, item_rhs.reshape(self.lanes, -1, 1)).reshape(item_rhs.shape)

    def schur_inverse(self) -> np.ndarray:
        """(B, q, q, J, J) blocks of S^-1."""
        j = self.n_items
        return self.inverse.reshape(self.lanes, self.q, j, self.q, j).transpose(0, 1, 3, 2, 4)

    def _inverse_blocks(self) -> list[list[np.ndarray]]:
        inverse = self.schur_inverse()
        return [[inverse[:, m, l] for l in range(self.q)] for m in range(self.q)]

    def derivative(self, dpsi: np.ndarray) -> tuple[None, np.ndarray, None]:
        """The derivative (B, q, J) of the modes along dpsi (B, k), in the place it has in ``Modes.derivative``."""
        return None, self._mode_derivative(np.asarray(dpsi)), None

    def evaluate(self, psi: np.ndarray, tolerance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(B,) D, NaN where there is no mode, and (B, k) its gradient, computed as in ``QuadratureDeviance``."""
        with np.errstate(all="ignore"):
            return self._evaluate(psi)

    def _evaluate(self, psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        persons = self.persons
        persons.centre[self.cold] = 0.0
        self.cold[:] = False
        kept = self.w.copy(), persons.centre.copy()
        known = ~np.isnan(self.at[:, 0])
        if known.any():
            self.stand()
            step = self._mode_derivative(np.where(known[:, None], psi - self.at, 0.0))
            near = known & (np.abs(step).max(axis=(1, 2)) < 3.0)
            self.w[near] += step[near]
        first = self.w.copy()
        self.alone[:] = False
        self._set_parameters(psi)
        self._find_modes()
        own: dict[int, tuple[float, np.ndarray]] = {}
        if self.alone.any():
            for b in np.flatnonzero(self.alone):
                found = self._on_its_own(b, psi[b], first[b], kept[1][b])
                if found is not None:
                    own[int(b)] = found
            alone = self.alone.copy()
            # the arrays of those lanes as well, and harmless ones where there is no mode
            lost = np.array([bool(one) and b not in own for b, one in enumerate(alone)])
            self.w[lost], persons.centre[lost] = 0.0, 0.0
            self._set_parameters(np.where(lost[:, None], 0.0, psi))
            self._sweep()
        else:
            alone = self.alone
        deviance, gradient = self.penalised + self.logdet, self._gradient()
        for b, (value, slope) in own.items():
            deviance[b], gradient[b] = value, slope
        deviance[[b for b in np.flatnonzero(alone) if int(b) not in own]] = np.nan
        self.at, self.swept = psi.copy(), True
        lost = ~np.isfinite(deviance)
        if lost.any():
            deviance[lost], self.at[lost] = np.nan, np.nan
            self.w[lost], persons.centre[lost] = kept[0][lost], kept[1][lost]
            self.swept = False
        return deviance, gradient

    def _find_modes(self) -> None:
        """``QuadratureDeviance._find_mode`` for all lanes; one whose step would have to be shortened is left to itself."""
        previous = np.full(self.lanes, np.inf)
        self.sweeps[:] = 1
        self._sweep()
        moving = ~self.alone
        for _ in range(MAX_NEWTON_STEPS):
            step = self._solve(self._score())
            change = np.max([np.abs((a[:, None, :] @ step)[:, 0]).max(axis=1) for a in self.a], axis=0)
            self.alone |= moving & ~((change <= previous) & (change <= 5.0))
            moving &= ~self.alone
            self.w[moving] += step[moving]
            self._sweep()
            self.sweeps[moving] += 1
            self.last[moving] = change[moving]
            shrinks = np.where(np.isfinite(previous), change / previous, 1.0)
            done = (change < MODE_TOLERANCE) & (change * shrinks < QuadratureDeviance.mode_accuracy)
            previous = np.where(moving, change, previous)
            moving &= ~(done | self.alone)
            if not moving.any():
                return
        self.alone |= moving

    def _on_its_own(
        self, b: int, psi: np.ndarray, w: np.ndarray, centre: np.ndarray
    ) -> tuple[float, np.ndarray] | None:
        """D and its gradient for one lane, which ends at its modes; None where there are none."""
        table, stack = self.together.tables[self.own[b]], self.statistics
        one = QuadratureDeviance(table, self.together.plain_spec, self.together.nodes)
        one.w[:], one.persons.centre[:] = w, centre[stack.real[b]]
        try:
            found = one(psi)
        except ModeNotFound:
            return None
        self.sweeps[b], self.last[b] = one.passes, 0.0
        self.w[b], self.persons.centre[b] = one.w, one.persons.centre[stack.sources[b]]
        return found.deviance, found.gradient

    def hessian(self, psi: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """(B, k, k) Hessians by central differences of the gradient, as in ``QuadratureDeviance``."""
        none = np.zeros(self.lanes)
        rows = []
        for shift in (unit * steps for unit in np.eye(psi.shape[1])):
            up, down = (self.evaluate(psi + side * shift, none)[1] for side in (1.0, -1.0))
            rows.append((up - down) / (2.0 * shift.sum(axis=1, keepdims=True)))
        raw = np.stack(rows, axis=1)
        return (raw + raw.swapaxes(1, 2)) / 2.0

    @property
    def item_information(self) -> np.ndarray:
        """(B, 2, J) information on each item by arm."""
        return np.stack(self.col_weight, axis=1)

    def step_information(self, lane: int) -> np.ndarray:
        """(S, S) expected information on a lane's free steps, given items and persons at their modes."""
        s, eta = self.statistics, np.empty((self.statistics.n_classes, self.n_items))
        person = self.fixed[lane] + self.sigma[lane] * self.persons.centre[lane]
        for a, arm in zip(self.a, self.arms, strict=True):
            eta[arm] = person[arm, None] + a[lane] @ self.w[lane]
        times = s.count[lane, :, None] * (np.ones(eta.shape) if s.trials is None else s.trials[lane])
        probabilities = np.moveaxis(s.formats.probabilities(eta, self.steps[lane]), -1, 0)
        return step_information(s.formats, probabilities, times)
