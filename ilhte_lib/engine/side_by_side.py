"""Many tables of one size fitted side by side: the replicates of a bootstrap or of a planned design.

The time for fitting a small table goes into NumPy calls rather than arithmetic, so here the searches of many tables proceed
together. The code of ``native`` still decides, table by table, which starts are tried, what happens at a boundary and when a fit is
certified; when it needs a minimum, a Hessian or D(psi), it waits, and when all wait, the results are computed for all of them at
once. The quasi-Newton method of ``optimise`` runs in lock-step, over arrays whose leading axis is the lanes, one per table. Lanes do
not interact, so every fit takes the same steps and has the same result as on its own.

The searches are threads that hand over to each other, one running at a time, so no locks are needed and results do not depend on
timing. Tables with different numbers of classes are padded with classes without persons.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock, Thread
from typing import Any

import numpy as np
from scipy.linalg import lapack

from ..errors import EngineError
from ..model.compress import SufficientStatistics
from ..model.fit_result import LOWER, Fit
from ..model.spec import ModelSpec
from .adjoint import exact_gradient
from .approximation import NODES
from .modes import Model, Modes
from .objective import MAX_NEWTON_STEPS, MODE_TOLERANCE, Evaluation, ModeNotFound
from .optimise import DECREASE_TOLERANCE, MAX_EVALUATIONS, SAME_BASIN, Basin, Minimum, mirrored
from .starts import cluster_information, curvatures, longest_steps
from .threads import one_blas_thread

CELLS = 65_536
"""Approximate number of cells (class x item x table) processed side by side."""
MOST_LANES = 128
SMALL = 20
"""Up to this many item effects, the Schur complements of all lanes are solved in one call: fewer calls but more arithmetic."""
KEPT = 0.75
"""Lanes are compacted when fewer than this share of them are still searching."""


@dataclass(frozen=True)
class Job:
    """One table to fit, with ``fitted`` and ``near`` as in ``native.fit_statistics``."""

    statistics: SufficientStatistics
    fitted: Mapping[str, Fit] = field(default_factory=dict)
    near: bool = False


def lanes_for(jobs: Sequence[Job], nodes: int = 1) -> int:
    """Number of tables to fit side by side, with this number of nodes for each class."""
    cells = nodes * max(job.statistics.n_classes * job.statistics.n_items for job in jobs)
    return int(np.clip(CELLS // cells, 1, MOST_LANES))


@one_blas_thread
def side_by_side(
    jobs: Sequence[Job],
    spec: ModelSpec,
    fit: Callable[[Job, Any], Fit],
    lanes: int | None = None,
    quadrature: tuple[int, Callable[[_Together, np.ndarray], Any]] | None = None,
) -> list[Fit | EngineError]:
    """Result of ``fit`` for each job, given the job's deviance, or the error that ended it; see ``native.fit_side_by_side``.

    ``quadrature`` has the number of nodes and the workspace of fits by quadrature (``QuadratureLanes``).
    """
    if not jobs:
        return []
    lanes = min(len(jobs), lanes or lanes_for(jobs, quadrature[0] if quadrature else 1))
    # sort tables by size, so that little padding is needed, into as few groups as possible, of about equal size
    order = sorted(range(len(jobs)), key=lambda k: jobs[k].statistics.n_classes)
    out: list[Fit | EngineError] = [EngineError("not fitted")] * len(jobs)
    for group in np.array_split(order, -(-len(jobs) // lanes)):
        for k, found in zip(group, _fit_group([jobs[k] for k in group], spec, fit, quadrature), strict=True):
            out[k] = found
    return out


def _fit_group(
    jobs: Sequence[Job],
    spec: ModelSpec,
    fit: Callable[[Job, Any], Fit],
    quadrature: tuple[int, Callable[[_Together, np.ndarray], Any]] | None,
) -> list[Fit | EngineError]:
    together = _Together([job.statistics for job in jobs], spec, quadrature)
    out: list[Fit | EngineError] = [EngineError("not fitted")] * len(jobs)

    def work(k: int) -> Callable[[_Search], None]:
        def run(search: _Search) -> None:
            try:
                out[k] = fit(jobs[k], _LaneDeviance(together, k, search))
            except EngineError as failure:
                out[k] = failure

        return run

    searches = [_Search(work(k)) for k in range(len(jobs))]
    try:
        for search in searches:
            search.resume(None)
        # minima last: the other requests may lead to more of them, and computing many at once is cheaper
        while waiting := [search for search in searches if search.asked is not None]:
            kind = min((search.asked.kind for search in waiting), key=KINDS.index)
            asking = [search for search in waiting if search.asked.kind == kind]
            answers = getattr(together, kind)([search.asked for search in asking])
            for search, answer in zip(asking, answers, strict=True):
                search.resume(answer)
    finally:
        # leave no thread waiting, whatever happened
        for search in searches:
            search.end()
    return out


KINDS = ("evaluate", "items", "differentiate", "hessian", "minimise")
"""Kinds of requests, in the order in which they are served."""


@dataclass(frozen=True)
class _Request:
    """A lane's request: D at ``psi``; the items' modes there, or their derivatives; the Hessian there by differences with ``steps``;
    or a search from ``psi`` over the parameters ``free``, with initial Hessian ``curvature``, given up if it heads for ``basin``."""

    kind: str
    lane: int
    psi: np.ndarray
    tolerance: float = MODE_TOLERANCE
    steps: np.ndarray | None = None
    free: np.ndarray | None = None
    basin: Basin | None = None
    curvature: np.ndarray | None = None


class _Ended(BaseException):
    """Ends a search because another one failed."""


class _Search:
    """A search that is suspended at every request: a thread that runs only while its caller waits."""

    def __init__(self, work: Callable[[_Search], None]):
        self._work, self._go, self._back = work, Lock(), Lock()
        self._go.acquire()
        self._back.acquire()
        self.asked: _Request | None = None
        self._answer: Any = None
        self._failure: BaseException | None = None
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._go.acquire()
        try:
            if not isinstance(self._answer, _Ended):
                self._work(self)
        except BaseException as failure:
            self._failure = failure
        self.asked = None
        if self._back.locked():
            self._back.release()

    def resume(self, answer: Any) -> None:
        """Run until the next request (``asked``) or the end (``asked`` is None)."""
        self._answer = answer
        self._go.release()
        self._back.acquire()
        if self._failure is not None:
            raise self._failure

    def end(self) -> None:
        """End a search that is still waiting or has not begun."""
        if self._thread.is_alive():
            self._answer = _Ended()
            self._go.release()
            self._thread.join()

    def ask(self, request: _Request) -> Any:
        """Called by the search itself: submit a request and wait for the answer."""
        self.asked = request
        self._back.release()
        self._go.acquire()
        if isinstance(self._answer, _Ended):
            raise self._answer
        return self._answer


class _LaneDeviance:
    """The parts of ``LaplaceDeviance`` or ``QuadratureDeviance`` that ``native`` uses, computed together with those of other lanes."""

    def __init__(self, together: _Together, lane: int, search: _Search):
        self.statistics, self.spec = together.tables[lane], together.models.spec
        self.q, self.n_items, self.n_beta = self.spec.q, self.statistics.n_items, len(self.spec.beta_names)
        self.evaluations = self.passes = 0
        self.tolerance = MODE_TOLERANCE
        self.method = "laplace" if together.nodes is None else "aghq"
        self.nodes = together.nodes or NODES
        self._together, self._lane, self._search = together, lane, search
        self._last: tuple[Evaluation, float] | None = None
        """The last evaluation, and the largest change in the last step of its mode search."""

    def start_modes(self, easiness: np.ndarray) -> None:
        """Start the next mode search from these standardised item easinesses (J,), with persons guessed from their scores."""
        self._together.start_modes(self._lane, easiness)
        self._last = None

    def _ask(self, kind: str, psi: np.ndarray, **more: Any) -> Any:
        answer, evaluations, passes = self._search.ask(_Request(kind, self._lane, psi, self.tolerance, **more))
        self.evaluations += evaluations
        self.passes += passes
        if answer is None:
            raise ModeNotFound("there is no usable mode")
        return answer

    def __call__(self, psi: np.ndarray) -> Evaluation:
        """As ``LaplaceDeviance``."""
        if self._last is None or not (self._last[1] < self.tolerance and np.array_equal(psi, self._last[0].psi)):
            self._last = None
            self._last = self._ask("evaluate", np.array(psi, float))
        return self._last[0]

    def minimise(
        self, start: np.ndarray, free: np.ndarray, basin: Basin | None, curvature: np.ndarray | None
    ) -> Minimum:
        """As ``native._minimise``."""
        self._last = None
        minimum, last_step = self._ask("minimise", start, free=free, basin=basin, curvature=curvature)
        self._last = (minimum.evaluation, last_step)
        return minimum

    def hessian(self, at: Evaluation, steps: np.ndarray, free: np.ndarray) -> np.ndarray:
        """As ``LaplaceDeviance.hessian``."""
        return self._ask("hessian", at.psi, steps=steps)[np.ix_(free, free)]

    def _factor(self, psi: np.ndarray) -> np.ndarray:
        factor = np.zeros((self.q, self.q))
        factor[LOWER[self.q]] = psi[self.spec.psi_names.index("l11") :]
        return factor

    def item_effects(self) -> np.ndarray:
        """(J, q) modes of (b_i, zeta_i) at the last psi, logits."""
        psi = self._last[0].psi
        self._w, self._covariance = self._ask("items", psi)
        return (self._factor(psi) @ self._w).T

    def item_covariances(self) -> np.ndarray:
        """(J, q, q) conditional covariance of (b_i, zeta_i) at the last psi; call ``item_effects`` first."""
        factor = self._factor(self._last[0].psi)
        return factor @ self._covariance.transpose(2, 0, 1) @ factor.T

    def item_effect_derivatives(self) -> np.ndarray:
        """(J, q, k) derivative of (b_i, zeta_i) with respect to psi at the last psi."""
        psi = self._last[0].psi
        w, dw = self._ask("differentiate", psi)
        dfactor = np.array([self._factor(unit) for unit in np.eye(len(psi))])
        return (dfactor @ w + self._factor(psi) @ dw).transpose(2, 1, 0)


class _Together:
    """Tables fitted side by side: serves the requests of all searches at once.

    By quadrature with ``nodes`` for each class of persons, or by Laplace if this is None.
    """

    def __init__(
        self,
        tables: Sequence[SufficientStatistics],
        spec: ModelSpec,
        quadrature: tuple[int, Callable[[_Together, np.ndarray], Any]] | None = None,
    ):
        self.tables, self.plain_spec = tables, spec
        self.nodes: int | None = quadrature[0] if quadrature else None
        self._workspace: Callable[[_Together, np.ndarray], Any] = quadrature[1] if quadrature else _Lanes
        self.models = _Models(tables, _Stack(tables), spec)
        s, model = self.models.statistics, self.models
        b = len(tables)
        self.v, self.w = np.zeros((b, s.n_classes)), np.zeros((b, model.q, model.n_items))
        self.k = None if s.clusters is None else np.zeros((b, s.clusters.count, model.spec.cluster_q))
        # the psi of the current modes, NaN if there are none, and whether persons start from their scores
        self.at, self.cold = np.full((b, len(model.spec.psi_names)), np.nan), np.zeros(b, bool)
        self._work: Any = None

    def start_modes(self, lane: int, easiness: np.ndarray) -> None:
        """See ``_LaneDeviance``."""
        self.w[lane, 0] = easiness
        self.at[lane], self.cold[lane] = np.nan, True
        self._work = None

    def _lanes(self, lanes: np.ndarray) -> Any:
        """A workspace for some of the lanes in their current state, reusing the last one if it fits."""
        if self._work is None or not np.array_equal(self._work.own, lanes):
            self._work = self._workspace(self, lanes)
        return self._work

    def _at(self, requests: Sequence[_Request]) -> tuple[Any, np.ndarray, np.ndarray]:
        """A workspace with every array at the psi requested, those psi, and the number of evaluations for each lane."""
        psi = np.array([r.psi for r in requests])
        work = self._lanes(np.array([r.lane for r in requests]))
        moved = ~(work.at == psi).all(axis=1)
        if moved.any():
            work.evaluate(psi, np.array([r.tolerance for r in requests]))
        work.stand()
        return work, psi, moved.astype(int).tolist()

    def evaluate(self, requests: Sequence[_Request]) -> list:
        """D, its gradient, and the item results that a fit reports."""
        psi = np.array([r.psi for r in requests])
        work = self._lanes(np.array([r.lane for r in requests]))
        deviance, gradient = work.evaluate(psi, np.array([r.tolerance for r in requests]))
        work.store()
        return [
            ((Evaluation(psi[b], float(deviance[b]), gradient[b]), work.last[b]) if np.isfinite(deviance[b]) else None,
             1, int(work.sweeps[b]))
            for b in range(len(requests))
        ]  # fmt: skip

    def items(self, requests: Sequence[_Request]) -> list:
        """(q, J) modes of the items, and (q, q, J) their blocks of S^-1."""
        work, _, taken = self._at(requests)
        covariance = np.einsum("bklii->bkli", work.schur_inverse())
        work.store()
        return [((work.w[b].copy(), covariance[b]), n, n) for b, n in enumerate(taken)]

    def differentiate(self, requests: Sequence[_Request]) -> list:
        """(q, J) modes of the items, and (k, q, J) their derivatives in each entry of psi."""
        work, psi, taken = self._at(requests)
        dw = [work.derivative(np.broadcast_to(unit, psi.shape))[1] for unit in np.eye(psi.shape[1])]
        work.store()
        return [((w.copy(), own), n, n) for w, own, n in zip(work.w, np.stack(dw, axis=1), taken, strict=True)]

    def hessian(self, requests: Sequence[_Request]) -> list:
        """(k, k) Hessians, computed as in ``LaplaceDeviance.hessian`` or ``QuadratureDeviance.hessian``."""
        work, psi, taken = self._at(requests)
        steps = np.array([r.steps for r in requests])
        if self.nodes is not None:
            own = work.hessian(psi, steps)
            work.store()
            return [(of_lane, n, n + 2 * psi.shape[1]) for of_lane, n in zip(own, taken, strict=True)]
        shifts = [unit * steps for unit in np.eye(psi.shape[1])]
        moves = [work.derivative(shift) for shift in shifts]
        kept = work.effects()
        rows = []
        with np.errstate(all="ignore"):
            for shift, move in zip(shifts, moves, strict=True):
                sides = []
                for sign in (1.0, -1.0):
                    work.move(tuple(sign * change for change in move if change is not None), kept)
                    work.set_parameters(psi + sign * shift)
                    work.sweep()
                    sides.append(exact_gradient(work)[0])
                rows.append((sides[0] - sides[1]) / (2.0 * shift.sum(axis=1, keepdims=True)))
        work.move((0.0,) * len(kept), kept)
        work.swept = False
        work.store()
        raw = np.stack(rows, axis=1)
        raw = (raw + raw.swapaxes(1, 2)) / 2.0
        return [(own, n, n + 2 * psi.shape[1]) for own, n in zip(raw, taken, strict=True)]

    def minimise(self, requests: Sequence[_Request]) -> list:
        """``native._minimise`` of each lane, in lock-step."""
        descent = _Descent(self, requests)
        descent.run()
        return descent.answers()


class _Descent:
    """The quasi-Newton method of ``optimise.minimise`` with a leading axis of lanes.

    Parameters held fixed have zero gradient and no off-diagonal entries in the Hessian.
    """

    def __init__(self, together: _Together, requests: Sequence[_Request]):
        self.together, self.requests = together, requests
        self.lanes = np.array([r.lane for r in requests])
        self.tolerance = np.array([r.tolerance for r in requests])
        self.psi = np.array([r.psi for r in requests])
        b, k = self.psi.shape
        self.free = np.zeros((b, k), bool)
        for row, r in zip(self.free, requests, strict=True):
            row[r.free] = True
        self.basins: list[np.ndarray] | None = None
        if any(r.basin is not None and r.basin.inverse is not None for r in requests):
            none = (False, np.zeros(k), 0.0, np.eye(k), np.eye(k))
            of = [
                none if r.basin is None or r.basin.inverse is None
                else (True, r.basin.bottom.psi, r.basin.bottom.deviance, r.basin.hessian, r.basin.inverse)
                for r in requests
            ]  # fmt: skip
            self.basins = [np.array(entry) for entry in zip(*of, strict=True)]
        self.longest = longest_steps(together.models.spec, self.psi)
        self.places = np.arange(b)
        self.work = together._lanes(self.lanes)
        self.sweeps = np.zeros(b, int)
        self.deviance, self.gradient = self._evaluate(self.psi)
        if all(r.curvature is not None for r in requests):
            self.full = np.array([r.curvature for r in requests])
        else:
            self.full = _curvatures(self.work, self.psi)
            for guess, r in zip(self.full, requests, strict=True):
                guess[:] = guess if r.curvature is None else r.curvature
        both = self.free[:, :, None] & self.free[:, None, :]
        self.curvature = np.where(both, self.full, np.eye(k))
        self.hessian = self.curvature.copy()
        self.evaluations = np.ones(b, int)
        self.failed, self.last_step = ~np.isfinite(self.deviance), self.work.last.copy()
        self.done, self.converged = self.failed.copy(), np.zeros(b, bool)
        self.step, self.slope, self.promised = np.zeros((b, k)), np.zeros(b), np.zeros(b)
        self.length, self.tried = np.ones(b), np.zeros(b, int)

    def _evaluate(self, psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """D and gradient at the psi of the lanes in the workspace."""
        found = self.work.evaluate(psi, self.tolerance[self.places])
        self.sweeps[self.places] += self.work.sweeps
        return found

    def run(self) -> None:
        """Run until every lane is done."""
        self._plan(np.flatnonzero(~self.done))
        while True:
            self.done |= self.evaluations >= MAX_EVALUATIONS
            active = np.flatnonzero(~self.done[self.places])
            if not len(active):
                break
            if len(active) < KEPT * len(self.places):
                self.work = self.work.closed_up(active)
                self.places = self.places[active]
                active = np.arange(len(active))
            p = self.places
            # finished lanes keep their psi
            length = np.where(self.done[p], 0.0, self.length[p])
            psi = self.psi[p] + length[:, None] * self.step[p]
            self._take(active, psi, *self._evaluate(psi))
        self.work.store()

    def _take(self, active: np.ndarray, psi: np.ndarray, deviance: np.ndarray, gradient: np.ndarray) -> None:
        """Accept or shorten the steps of the active lanes of the workspace."""
        p, psi, deviance, gradient = self.places[active], psi[active], deviance[active], gradient[active]
        self.evaluations[p] += 1
        length, slope = self.length[p], self.slope[p]
        rounding = 1e-12 * (1.0 + np.abs(self.deviance[p]))
        good = deviance <= self.deviance[p] + 1e-4 * length * slope + rounding
        if not good.all():
            bad = ~good
            q = p[bad]
            along = (np.where(self.free[q], gradient[bad], 0.0) * self.step[q]).sum(axis=1) * length[bad]
            shorter = _cubic_minimum(self.deviance[q], slope[bad] * length[bad], deviance[bad], along)
            self.length[q] *= np.where(np.isfinite(deviance[bad]), shorter, 0.25)
            self.tried[q] += 1
            self._afresh(q[self.tried[q] >= 25])
        p, psi, deviance, gradient = p[good], psi[good], deviance[good], gradient[good]
        change = np.where(self.free[p], gradient - self.gradient[p], 0.0)
        self.hessian[p] = _updated(self.hessian[p], psi - self.psi[p], change)
        self.psi[p], self.deviance[p], self.gradient[p] = psi, deviance, gradient
        self.last_step[p] = self.work.last[active[good]]
        self._plan(p)

    def _afresh(self, p: np.ndarray) -> None:
        """Restart lanes in which no step lowers the deviance from the initial Hessian, once; otherwise only rounding is left."""
        small = self.promised[p] < 1e-6
        self.done[p] |= small | (self.hessian[p] == self.curvature[p]).all(axis=(1, 2))
        self.converged[p] |= small
        again = p[~self.done[p]]
        self.hessian[again] = self.curvature[again]
        self._plan(again)

    def _plan(self, p: np.ndarray) -> None:
        """Plan the next step of these lanes, or end them."""
        if not len(p):
            return
        gradient = np.where(self.free[p], self.gradient[p], 0.0)
        try:
            step = -np.linalg.solve(self.hessian[p], gradient[:, :, None])[:, :, 0]
        except np.linalg.LinAlgError:
            # some lane has hardly any curvature in some direction, which the certificate reports
            regular = np.linalg.cond(self.hessian[p]) < 1e15
            self.done[p[~regular]] = True
            p, gradient = p[regular], gradient[regular]
            step = -(np.linalg.pinv(self.hessian[p]) @ gradient[:, :, None])[:, :, 0]
        promised = -0.5 * (gradient * step).sum(axis=1)
        self.converged[p] = promised < DECREASE_TOLERANCE
        self.done[p] |= self.converged[p]
        self.done[p] |= self._head_for_their_basins(p)
        room = np.where(self.free[p], self.longest[p] / np.maximum(np.abs(step), 1e-300), np.inf)
        step *= np.minimum(1.0, room.min(axis=1))[:, None]
        self.step[p], self.slope[p], self.promised[p] = step, (gradient * step).sum(axis=1), promised
        self.length[p], self.tried[p] = 1.0, 0

    def _head_for_their_basins(self, p: np.ndarray) -> np.ndarray:
        """(len(p),) ``Basin.holds`` for each lane."""
        if self.basins is None:
            return np.zeros(len(p), bool)
        known, bottom, deviance, hessian, inverse = (entry[p] for entry in self.basins)
        signs = np.ones(bottom.shape)
        for first, columns in mirrored(self.together.models.spec):
            signs[self.psi[p, first] < 0, first : first + columns] = -1.0
        distance = self.psi[p] * signs - bottom
        slope = np.matmul(hessian, distance[:, :, None])[:, :, 0]
        rest = self.gradient[p] * signs - slope
        size, above = (distance * slope).sum(axis=1), self.deviance[p] - deviance
        left = (rest * np.matmul(inverse, rest[:, :, None])[:, :, 0]).sum(axis=1)
        return known & (above > 0.0) & (np.abs(2.0 * above - size) < SAME_BASIN * size) & (left < SAME_BASIN**2 * size)

    def answers(self) -> list:
        """The minima, with their numbers of evaluations and sweeps; None where the start has no mode."""
        k = self.psi.shape[1]
        diagonal = self.full * np.eye(k)
        hessian = np.where(self.free[:, :, None] & self.free[:, None, :], self.hessian, diagonal)
        return [
            (None if self.failed[b] else (Minimum(
                Evaluation(self.psi[b], float(self.deviance[b]), self.gradient[b]), hessian[b], bool(self.converged[b])
            ), self.last_step[b]), int(self.evaluations[b]), int(self.sweeps[b]))
            for b in range(len(self.requests))
        ]  # fmt: skip


def _curvatures(work: Any, psi: np.ndarray) -> np.ndarray:
    """(B, k, k) ``starts.rough_curvature`` at psi, the current state of the lanes."""
    model, s = work.model, work.model.statistics
    person_variance = psi[:, model.sigma_at, None] ** 2 + 1.0 / np.maximum(work.row_weight, 1e-6)
    weighted = model.weighted_design / person_variance[:, :, None]
    information = np.matmul(weighted.transpose(0, 2, 1), model.design)
    lost = ~np.isfinite(information).all(axis=(1, 2))
    information[lost] = np.eye(information.shape[1])
    of_steps = of_clusters = none = np.empty((work.lanes, 0, 0))
    if model.n_steps:
        of_steps = np.array([work.step_information(b) for b in range(work.lanes)])
    if work.clusters is not None:
        weight = s.count / person_variance
        of_clusters = np.array([
            np.eye(len(model.spec.cluster_factor)) if lost[b] else cluster_information(
                model.spec, psi[b], work.together.tables[own].clusters, weight[b, real], model.design[b, real], information[b]
            )
            for b, (own, real) in enumerate(zip(work.own, s.real, strict=True))
        ])  # fmt: skip
    return curvatures(
        model.spec, psi, information, none, of_steps, of_clusters, person_variance, s.count, work.item_information
    )


def _cubic_minimum(f0: np.ndarray, g0: np.ndarray, f1: np.ndarray, g1: np.ndarray) -> np.ndarray:
    """``optimise._cubic_minimum``, elementwise."""
    with np.errstate(all="ignore"):
        a = g0 + g1 - 2.0 * (f1 - f0)
        b = 3.0 * (f1 - f0) - 2.0 * g0 - g1
        candidate = -g0 / (b + np.sqrt(b * b - 3.0 * a * g0))
    return np.clip(np.where(np.isfinite(candidate), candidate, 0.5), 0.1, 0.6)


def _updated(hessian: np.ndarray, s: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``optimise._updated`` for Hessians (B, k, k), changes of psi (B, k) and changes of the gradient (B, k)."""
    hs = np.matmul(hessian, s[:, :, None])[:, :, 0]
    shs, sy = (s * hs).sum(axis=1), (s * y).sum(axis=1)
    with np.errstate(all="ignore"):
        damped = np.where(sy < 0.1 * shs, 0.9 * shs / (shs - sy), 1.0)[:, None]
        y = damped * y + (1.0 - damped) * hs
        sy = (s * y).sum(axis=1)
        new = (
            hessian
            - hs[:, :, None] * hs[:, None, :] / shs[:, None, None]
            + y[:, :, None] * y[:, None, :] / sy[:, None, None]
        )
    return np.where((shs > 0)[:, None, None], new, hessian)


@dataclass(frozen=True)
class _Clusters:
    """The clusters of several tables, with ``code`` (B, G), padded to the same number of clusters."""

    code: np.ndarray
    count: int

    @classmethod
    def of(cls, tables: Sequence[SufficientStatistics], sources: np.ndarray, control: int) -> _Clusters:
        """Clusters of tables whose classes are ``sources``; padding joins the last cluster of its arm, so that codes still rise."""
        code = np.array([s.clusters.code[source] for s, source in zip(tables, sources, strict=True)])
        for arm in (slice(0, control), slice(control, None)):
            code[:, arm] = np.maximum.accumulate(code[:, arm], axis=1)
        return cls(code, max(s.clusters.count for s in tables))


class _Stack:
    """The statistics of several tables with a leading axis, padded to the same numbers of classes in each arm.

    Padding consists of copies of an arm's first class without persons, which change neither sums nor maxima.
    """

    item_covariates = None
    covariate: np.ndarray | None

    def __init__(self, tables: Sequence[SufficientStatistics]):
        first = tables[0]
        control = max(s.n_control_classes for s in tables)
        treated = max(s.n_classes - s.n_control_classes for s in tables)
        self.n_control_classes, self.n_classes, self.n_items = control, control + treated, first.n_items
        self.formats = first.formats
        self.sources = np.zeros((len(tables), self.n_classes), int)
        real = np.zeros(self.sources.shape)
        for k, s in enumerate(tables):
            own = s.n_classes - s.n_control_classes
            self.sources[k, : s.n_control_classes] = np.arange(s.n_control_classes)
            self.sources[k, control:] = s.n_control_classes
            self.sources[k, control : control + own] += np.arange(own)
            real[k, : s.n_control_classes] = real[k, control : control + own] = 1.0
        self.real = real > 0

        def stacked(name: str) -> np.ndarray | None:
            if getattr(first, name) is None:
                return None
            return np.array([getattr(s, name)[source] for s, source in zip(tables, self.sources, strict=True)])

        self.count, self.score, self.trials = stacked("count") * real, stacked("score"), stacked("trials")
        self.covariate = stacked("covariate")
        self.item_total = np.array([s.item_total for s in tables])
        self.at_least = None if first.at_least is None else np.array([s.at_least for s in tables])
        self.arm = (np.arange(self.n_classes) >= control).astype(float)
        self.clusters = None if first.clusters is None else _Clusters.of(tables, self.sources, control)

    def some(self, which: np.ndarray) -> _Stack:
        """Some of the tables."""
        few = copy.copy(self)
        for name in ("sources", "real", "count", "score", "trials", "covariate", "item_total", "at_least"):
            if getattr(self, name) is not None:
                setattr(few, name, getattr(self, name)[which])
        if self.clusters is not None:
            few.clusters = replace(self.clusters, code=self.clusters.code[which])
        return few


def _arms_meet(statistics: SufficientStatistics) -> bool:
    return statistics.clusters is not None and statistics.clusters.hold_both_arms(statistics.n_control_classes)


class _Models(Model):
    """One model for several tables: a ``Model`` whose design, counts and totals have a leading axis of tables."""

    def __init__(self, tables: Sequence[SufficientStatistics], stack: _Stack, spec: ModelSpec):
        # the one with the most pairs of arms among the tables
        super().__init__(max(tables, key=_arms_meet), spec)
        s = self.statistics = stack
        self.n_classes = s.n_classes
        columns = [np.ones(s.count.shape), np.broadcast_to(s.arm, s.count.shape)]
        if self.spec.covariate:
            columns += [s.covariate, s.arm * s.covariate]
        self.design = np.stack(columns, axis=2)
        self.weighted_design = self.design * s.count[:, :, None]
        self.arms = (slice(0, s.n_control_classes), slice(s.n_control_classes, s.n_classes))
        self.count_by_arm = np.stack([s.count * (1.0 - s.arm), s.count * s.arm], axis=1)
        self.membership = np.column_stack([1.0 - s.arm, s.arm])
        self.repeated = s.trials is not None and bool(s.trials.max(initial=0.0) > 1.0)
        if s.trials is None:
            self.most_score = np.full(s.count.shape, self.highest.sum())
            self.most_total = self.count_by_arm.sum(axis=2)[:, :, None] * self.highest
        else:
            self.most_score = s.trials @ self.highest
            self.most_total = np.matmul(self.count_by_arm, s.trials) * self.highest

    def some(self, which: np.ndarray) -> _Models:
        """Of some of the tables."""
        few = copy.copy(self)
        few.statistics = self.statistics.some(which)
        for name in ("design", "weighted_design", "count_by_arm", "most_score", "most_total"):
            setattr(few, name, getattr(self, name)[which])
        return few

    def of_persons(self, beta: np.ndarray) -> np.ndarray:
        return np.matmul(self.design, beta[:, :, None])[:, :, 0]

    def over_persons(self, by_class: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        by_effect = np.matmul(by_class[:, None, :], self.weighted_design)[:, 0]
        return by_effect, (by_class * self.statistics.count).sum(axis=1, keepdims=True)


class _Lanes(Modes):
    """The workspace of lanes with the same kind of request.

    ``own`` are their places among the tables, ``at`` (B, k) the psi of their modes (NaN: of none), ``swept`` whether the arrays are
    those there; ``sweeps`` and ``last`` what the last search for the modes took, and its last step.
    """

    block_cells = CELLS
    """All lanes at once: BLAS calls for a few classes of one lane would cost more than better use of the cache gains."""

    def __init__(self, together: _Together, own: np.ndarray):
        super().__init__(together.models.some(own), len(own))
        self.together, self.own = together, own
        self.v, self.w = together.v[own], together.w[own]
        if self.clusters is not None:
            self.clusters.k = together.k[own]
        self.at, self.cold = together.at[own], together.cold[own]
        self.swept, self.small = False, self.model.q * self.model.n_items <= SMALL
        self.alone = np.zeros(self.lanes, bool)
        self.sweeps, self.last = np.zeros(self.lanes, int), np.full(self.lanes, np.inf)

    def store(self) -> None:
        """Copy the state of the lanes back to the tables."""
        of = self.together
        of.v[self.own], of.w[self.own], of.at[self.own], of.cold[self.own] = self.v, self.w, self.at, self.cold
        if self.clusters is not None:
            of.k[self.own] = self.clusters.k

    def closed_up(self, which: np.ndarray) -> _Lanes:
        """A workspace for some of the lanes."""
        self.store()
        return self.together._lanes(self.own[which])

    def stand(self) -> None:
        """Bring every array to the psi of the modes."""
        if not self.swept:
            with np.errstate(all="ignore"):
                self.set_parameters(np.where(np.isnan(self.at), 0.0, self.at))
                self.sweep()
            self.swept = True

    def evaluate(self, psi: np.ndarray, tolerance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(B,) D, NaN where there is no mode, and (B, k) its gradient, computed as in ``LaplaceDeviance``."""
        with np.errstate(all="ignore"):
            return self._evaluate(psi, tolerance)

    def _evaluate(self, psi: np.ndarray, tolerance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        kept = self.effects()
        known = ~np.isnan(self.at[:, 0])
        if known.any():
            self.stand()
            dv, dw, dk = step = self.derivative(np.where(known[:, None], psi - self.at, 0.0))
            far = np.maximum(np.abs(self.sigma[:, 0]) * np.abs(dv).max(axis=1), np.abs(dw).max(axis=(1, 2)))
            if dk is not None:
                far = np.maximum(far, np.abs(dk).max(axis=(1, 2)))
            self._move_some(known & (far < 3.0), step)
        self.alone[:] = False
        self.set_parameters(psi)
        if self.cold.any():
            v = self.v.copy()
            self.start_persons()
            self.v[~self.cold] = v[~self.cold]
            self.cold[:] = False
        first = self.effects()
        self._find(tolerance)
        lost = np.zeros(self.lanes, bool)
        if self.alone.any():
            for b in np.flatnonzero(self.alone):
                lost[b] = not self._alone(b, psi[b], first, float(tolerance[b]))
            self.alone[:] = False
            self.set_parameters(psi)
            self.sweep()
        gradient, adjoint = exact_gradient(self)
        deviance = self._penalised() + self._logdet() + self._to_the_mode(adjoint)
        deviance[lost | self.alone] = np.nan
        self.at = psi.copy()
        self.swept = True
        lost = ~np.isfinite(deviance)
        if lost.any():
            deviance[lost], self.at[lost] = np.nan, np.nan
            for effect, before in zip(self._effects(), kept, strict=True):
                effect[lost] = before[lost]
            self.swept = False
        return deviance, gradient

    def _move_some(self, which: np.ndarray, step: tuple[np.ndarray | None, ...]) -> None:
        """Move the random effects of the lanes in ``which`` (B,) by their parts of a step."""
        for effect, change in zip(self._effects(), step, strict=False):
            effect[which] += change[which]

    def _alone(self, b: int, psi: np.ndarray, first: tuple[np.ndarray, ...], tolerance: float) -> bool:
        """Find one lane's mode with steps that may be shortened; return whether there is one."""
        table, stack = self.together.tables[self.own[b]], self.model.statistics
        real, source = stack.real[b], stack.sources[b]
        one = Modes(Model(table, self.model.spec))
        one.v[0], one.w[0] = first[0][b, real], first[1][b]
        if one.clusters is not None:
            one.clusters.k[0] = first[2][b, : one.clusters.size]
        try:
            one.set_parameters(psi[None])
            self.sweeps[b], self.last[b] = one.find(tolerance)
        except ModeNotFound:
            for effect in self._effects():
                effect[b] = 0.0
            return False
        self.v[b], self.w[b] = one.v[0][source], one.w[0]
        if one.clusters is not None:
            self.clusters.k[b] = 0.0
            self.clusters.k[b, : one.clusters.size] = one.clusters.k[0]
        return True

    @property
    def item_information(self) -> np.ndarray:
        """(B, 2, J) information on each item by arm."""
        return self.col_weight

    def step_information(self, lane: int) -> np.ndarray:
        """(S, S) expected information on a lane's free steps."""
        return self.cumulant.information(self.blocks, lane)

    def set_parameters(self, psi: np.ndarray) -> None:
        try:
            super().set_parameters(psi)
        except ModeNotFound:
            # everything but this check is done by then, and lanes that fail it are handled one by one
            self.alone |= ~(np.abs(self.fixed).max(axis=1) <= 600.0)
            self.fixed[self.alone] = 0.0

    def factorise(self) -> None:
        b, q, j = self.lanes, self.model.q, self.model.n_items
        by_block = np.matmul(self.loadings.transpose(0, 2, 1), self.information.reshape(b, -1, j * j))
        self.schur[...] = by_block.reshape(b, q, q, j, j).transpose(0, 1, 3, 2, 4)
        self.schur_diagonal += 1.0
        if self.small:
            lost = ~np.isfinite(self._schur_flat).all(axis=(1, 2))
            if lost.any():
                self.alone |= lost
                self._schur_flat[lost] = np.eye(q * j)
            return
        self.cholesky = []
        for k, lane in enumerate(self._schur_flat):
            factor, info = lapack.dpotrf(lane.T, lower=1, clean=0, overwrite_a=1)
            if info != 0:
                self.alone[k] = True
                lane[:] = np.eye(len(lane))
                factor = lane.T
            self.cholesky.append(factor)

    def without_persons(self, rhs: np.ndarray) -> np.ndarray:
        if self.small:
            return np.linalg.solve(self._schur_flat, rhs[:, :, None])[:, :, 0]
        return super().without_persons(rhs)

    def schur_inverse(self) -> np.ndarray:
        if self.small:
            j = self.model.n_items
            inverse = np.linalg.inv(self._schur_flat)
            return inverse.reshape(self.lanes, self.model.q, j, self.model.q, j).transpose(0, 1, 3, 2, 4)
        return super().schur_inverse()

    def _find(self, tolerance: np.ndarray) -> None:
        """``Modes.find`` for all lanes; a lane whose step would have to be shortened is left to be handled on its own."""
        previous = np.full(self.lanes, np.inf)
        self.sweeps[:] = 1
        self.sweep()
        moving = ~self.alone
        for _ in range(MAX_NEWTON_STEPS):
            dv, dw, offsets, _, dk = self.solve(*self.slope())
            longest = np.abs(self.sigma[:, 0]) * np.abs(dv).max(axis=1) + np.abs(offsets).max(axis=(1, 2))
            if dk is not None:
                longest += np.abs(self.clusters.m @ dk.transpose(0, 2, 1)).max(axis=(1, 2))
            self.alone |= moving & ~((longest <= previous) & (longest <= 5.0))
            moving &= ~self.alone
            self._move_some(moving, (dv, dw, dk))
            self.sweep()
            self.sweeps[moving] += 1
            self.last[moving] = previous[moving] = longest[moving]
            moving &= ~((longest < tolerance) | self.alone)
            if not moving.any():
                return
        self.alone |= moving

    def _penalised(self) -> np.ndarray:
        """(B,) F at the current u."""
        model, s = self.model, self.model.statistics
        person_part, offsets = self.person_part(), self.item_part()
        log_terms = np.empty((self.lanes, model.n_classes))
        for block in self.blocks:
            terms = block.scratch[0]
            self.cumulant.log_terms(block, terms)
            log_terms[:, block.rows] = np.matmul(terms, model.ones)
        by_class = person_part * (s.score - model.most_score) - log_terms - 0.5 * self.v**2
        loglik = (s.count * by_class).sum(axis=1) + (offsets * (s.item_total - model.most_total)).sum(axis=(1, 2))
        if model.n_steps:
            loglik = loglik - (s.at_least * s.formats.steps(self.cumulant.steps)).sum(axis=(1, 2))
        of_clusters = 0.0 if self.clusters is None else (self.clusters.k**2).sum(axis=(1, 2))
        return (self.w**2).sum(axis=(1, 2)) + of_clusters - 2.0 * loglik

    def _logdet(self) -> np.ndarray:
        of_persons = (self.model.statistics.count * np.log(self.d)).sum(axis=1)
        of_persons = of_persons if self.clusters is None else of_persons + self.clusters.logdet
        if not self.small:
            return of_persons + 2.0 * np.log(self.schur_diagonal).sum(axis=1)
        sign, of_items = np.linalg.slogdet(self._schur_flat)
        return of_persons + np.where(sign > 0, of_items, np.nan)

    def _to_the_mode(self, adjoint: tuple[np.ndarray, np.ndarray, Any]) -> np.ndarray:
        person_slope, item_slope, cluster_slope = self.slope()
        count = self.model.statistics.count
        moved = (count * adjoint[0] * person_slope).sum(axis=1) + (adjoint[1] * item_slope).sum(axis=(1, 2))
        return moved if cluster_slope is None else moved + (adjoint[2] * cluster_slope).sum(axis=(1, 2))
