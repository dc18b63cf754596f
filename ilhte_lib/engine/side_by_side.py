"""Many tables of one size fitted side by side: the replicates of a bootstrap or of a planned design.

A fit of a small table is spent on calls of NumPy, not on arithmetic. Here the searches of many tables go on at the same time:
each runs the very code of ``native`` until it needs D(psi), waits, and when all wait, D and its gradient are computed for all of
them in one sweep over arrays with a leading axis of lanes. A search knows nothing of its neighbours, so every fit takes the
steps that it takes by itself and ends where it ends by itself.

The searches are threads that hand over to each other, one running at a time: there is nothing to lock, and the result does not
depend on timing. Tables that differ in their numbers of classes are filled up with classes of no persons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Semaphore, Thread
from typing import Any

import numpy as np
from scipy.linalg import lapack

from ..errors import EngineError
from ..model.compress import SufficientStatistics
from ..model.fit_result import Fit
from ..model.spec import ModelSpec
from .laplace import LaplaceDeviance, _gradient
from .modes import Model, Modes
from .native import fit_statistics
from .objective import MAX_NEWTON_STEPS, ModeNotFound
from .threads import one_blas_thread

CELLS = 65_536
"""About so many cells (class x item x table) are worked on side by side."""
MOST_LANES = 64


@dataclass(frozen=True)
class Job:
    """One table to fit, and fits to start from, as ``native.fit_statistics`` takes them."""

    statistics: SufficientStatistics
    fitted: Mapping[str, Fit] = field(default_factory=dict)


def lanes_for(jobs: Sequence[Job]) -> int:
    """How many tables are fitted side by side."""
    cells = max(job.statistics.n_classes * job.statistics.n_items for job in jobs)
    return int(np.clip(CELLS // cells, 1, MOST_LANES))


@one_blas_thread
def fit_side_by_side(
    jobs: Sequence[Job], spec: ModelSpec, *, standard_errors: bool = False, lanes: int | None = None
) -> list[Fit | EngineError]:
    """Fit one model to many tables by Laplace; the fits are those of ``fit_statistics``.

    Parameters
    ----------
    jobs : tables of the same items, all complete or all with ``trials``, without clusters; of the same formats.
    spec : the model.
    standard_errors : as in ``fit_statistics``.
    lanes : tables side by side; default by their size.

    Returns
    -------
    In the order of ``jobs``, the fit or the error that it ended in.
    """
    if not jobs:
        return []
    lanes = min(len(jobs), lanes or lanes_for(jobs))
    # tables of like size beside each other, so that little is filled up
    order = sorted(range(len(jobs)), key=lambda k: jobs[k].statistics.n_classes)
    waiting = list(reversed(order))
    out: list[Fit | EngineError] = [EngineError("not fitted")] * len(jobs)

    def work(k: int) -> Callable[[_Search], None]:
        def run(search: _Search) -> None:
            job = jobs[k]
            deviance = _LaneDeviance(job.statistics, spec, search)
            try:
                out[k] = fit_statistics(
                    job.statistics, spec, fitted=job.fitted, standard_errors=standard_errors, deviance=deviance
                )
            except EngineError as failure:
                out[k] = failure

        return run

    searches: list[_Search] = []
    beside: _Beside | None = None
    while True:
        # finished searches make room for the next
        changed = len(searches)
        searches = [search for search in searches if search.asked is not None]
        changed -= len(searches)
        while len(searches) < lanes and waiting:
            search = _Search(work(waiting.pop()))
            search.resume(None)
            if search.asked is not None:
                searches.append(search)
                changed += 1
        if not searches:
            return out
        if beside is None or changed:
            beside = _Beside(searches, spec)
        for search, answer in zip(searches, beside.answers(), strict=True):
            search.resume(answer)


class _Search:
    """A search that is suspended whenever it asks for a deviance: a thread that runs only while its caller waits."""

    def __init__(self, work: Callable[[_Search], None]):
        self._work, self._go, self._back = work, Semaphore(0), Semaphore(0)
        self.asked: _Request | None = None
        self._answer: Any = None
        self._failure: BaseException | None = None
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._go.acquire()
        try:
            self._work(self)
        except BaseException as failure:
            self._failure = failure
        self.asked = None
        self._back.release()

    def resume(self, answer: _Answer | None) -> None:
        """Let it run until it asks again (``asked``) or has ended (``asked`` is None)."""
        self._answer = answer
        self._go.release()
        self._back.acquire()
        if self._failure is not None:
            raise self._failure

    def ask(self, request: _Request) -> _Answer | None:
        """Called by the search itself: wait for the answer."""
        self.asked = request
        self._back.release()
        self._go.acquire()
        return self._answer


@dataclass(frozen=True)
class _Request:
    """A deviance that is asked for: where, from where (None: no last psi), and whether persons start from their scores."""

    deviance: _LaneDeviance
    psi: np.ndarray
    before: np.ndarray | None
    cold: bool


@dataclass(frozen=True)
class _Answer:
    """Deviance and gradient, and the modes and informations there; ``sweeps`` and the last step as ``Modes.find`` gives them."""

    deviance: float
    gradient: np.ndarray
    v: np.ndarray
    w: np.ndarray
    row_weight: np.ndarray
    col_weight: np.ndarray
    sweeps: int
    last_step: float


class _LaneDeviance(LaplaceDeviance):
    """A ``LaplaceDeviance`` whose evaluations are computed beside those of others; where that will not do, by itself."""

    def __init__(self, statistics: SufficientStatistics, spec: ModelSpec, search: _Search):
        super().__init__(statistics, spec)
        self._search = search
        self._tiny = None

    def _by_elimination(self, psi: np.ndarray, before: np.ndarray | None) -> tuple[float, np.ndarray]:
        answer = self._search.ask(_Request(self, psi, before, self._cold))
        if answer is None:
            if before is not None:
                self.modes.set_parameters(before[None])
                self.modes.sweep()
            return super()._by_elimination(psi, before)
        modes = self.modes
        modes.v[0], modes.w[0] = answer.v, answer.w
        modes.row_weight[0], modes.col_weight = answer.row_weight, answer.col_weight[None]
        self._cold = False
        self.passes += answer.sweeps
        self._last_step = answer.last_step
        return answer.deviance, answer.gradient

    @property
    def row_weight(self) -> np.ndarray:
        """(G,) information of one person of each class at the last psi."""
        return self.modes.row_weight[0]

    @property
    def col_weight(self) -> np.ndarray:
        """(2, J) information on each item by arm at the last psi."""
        return self.modes.col_weight[0]


class _Stack:
    """The statistics of several tables with a leading axis, filled up to the same numbers of classes in each arm.

    What is filled in are copies of an arm's first class with no persons, which change neither a sum nor a maximum.
    """

    clusters = None
    item_covariates = None
    covariate: np.ndarray | None

    def __init__(self, tables: Sequence[SufficientStatistics]):
        first = tables[0]
        control = max(s.n_control_classes for s in tables)
        treated = max(s.n_classes - s.n_control_classes for s in tables)
        self.n_control_classes, self.n_classes, self.n_items = control, control + treated, first.n_items
        self.formats = first.formats
        self.places, sources, real = [], [], np.zeros((len(tables), control + treated))
        for k, s in enumerate(tables):
            own = np.concatenate(
                [np.arange(s.n_control_classes), control + np.arange(s.n_classes - s.n_control_classes)]
            )
            source = np.repeat([0, s.n_control_classes], [control, treated])
            source[own] = np.arange(s.n_classes)
            real[k, own] = 1.0
            self.places.append(own)
            sources.append(source)

        def stacked(name: str) -> np.ndarray | None:
            if getattr(first, name) is None:
                return None
            return np.array([getattr(s, name)[source] for s, source in zip(tables, sources, strict=True)])

        self.count, self.score, self.trials = stacked("count") * real, stacked("score"), stacked("trials")
        self.covariate = stacked("covariate")
        self.item_total = np.array([s.item_total for s in tables])
        self.at_least = None if first.at_least is None else np.array([s.at_least for s in tables])
        self.arm = (np.arange(self.n_classes) >= control).astype(float)


class _Models(Model):
    """One model on several tables: a ``Model`` whose design, counts and totals have a leading axis of tables."""

    def __init__(self, tables: Sequence[SufficientStatistics], spec: ModelSpec):
        super().__init__(tables[0], spec)
        s = self.statistics = _Stack(tables)
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

    def of_persons(self, beta: np.ndarray) -> np.ndarray:
        return np.matmul(self.design, beta[:, :, None])[:, :, 0]

    def over_persons(self, by_class: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        by_effect = np.matmul(by_class[:, None, :], self.weighted_design)[:, 0]
        return by_effect, (by_class * self.statistics.count).sum(axis=1, keepdims=True)


class _Beside(Modes):
    """The workspace of the searches that go on side by side, a lane each."""

    def __init__(self, searches: Sequence[_Search], spec: ModelSpec):
        requests = [search.asked for search in searches]
        super().__init__(_Models([r.deviance.statistics for r in requests], spec), len(requests))
        self.searches = searches
        self.places = self.model.statistics.places
        self.at: list[np.ndarray | None] = [None] * self.lanes
        self.alone = np.zeros(self.lanes, bool)

    def answers(self) -> list[_Answer | None]:
        """Of what each search asks for; None where it has to be computed by itself."""
        requests = [search.asked for search in self.searches]
        with np.errstate(all="ignore"):
            return self._answers(requests)

    def _answers(self, requests: list[_Request]) -> list[_Answer | None]:
        self.alone[:] = False
        psi = np.array([r.psi for r in requests])
        before = np.array([r.psi if r.before is None else r.before for r in requests])
        stale = [
            r.before is not None and (at is None or not np.array_equal(at, r.before))
            for r, at in zip(requests, self.at, strict=True)
        ]
        for b, request in enumerate(requests):
            self._fill(b, request.deviance)
        if any(stale):
            self.set_parameters(before)
            self.sweep()
        if any(r.before is not None for r in requests):
            dv, dw, _ = self.derivative(psi - before)
            near = np.maximum(np.abs(self.sigma[:, 0]) * np.abs(dv).max(axis=1), np.abs(dw).max(axis=(1, 2))) < 3.0
            near &= np.array([r.before is not None for r in requests])
            self.v[near] += dv[near]
            self.w[near] += dw[near]
        self.set_parameters(psi)
        cold = np.array([r.cold for r in requests])
        if cold.any():
            kept = self.v.copy()
            self.start_persons()
            self.v[~cold] = kept[~cold]
        sweeps, last = self._find(np.array([r.deviance.tolerance for r in requests]))
        gradient, adjoint = _gradient(self)
        deviance = self._penalised() + self._logdet() + self._to_the_mode(adjoint)
        self.at = [None if alone else r.psi for alone, r in zip(self.alone, requests, strict=True)]
        return [
            None if self.alone[b] else self._answer(b, deviance[b], gradient[b], sweeps[b], last[b])
            for b in range(self.lanes)
        ]

    def _fill(self, b: int, deviance: _LaneDeviance) -> None:
        """Where a lane's random effects stand; those of nobody are an arm's first."""
        place, control = self.places[b], self.model.statistics.n_control_classes
        own = deviance.v
        self.v[b, :control], self.v[b, control:] = own[0], own[deviance.statistics.n_control_classes]
        self.v[b, place] = own
        self.w[b] = deviance.w

    def _answer(self, b: int, deviance: float, gradient: np.ndarray, sweeps: int, last: float) -> _Answer:
        place = self.places[b]
        return _Answer(
            float(deviance), gradient.copy(), self.v[b, place], self.w[b].copy(), self.row_weight[b, place],
            self.col_weight[b].copy(), int(sweeps), float(last),
        )  # fmt: skip

    def set_parameters(self, psi: np.ndarray) -> None:
        try:
            super().set_parameters(psi)
        except ModeNotFound:
            # everything but this check is done by then, and the lanes that fail it are left to themselves
            self.alone |= ~(np.abs(self.fixed).max(axis=1) <= 600.0)
            self.fixed[self.alone] = 0.0
            self._load()

    def _load(self) -> None:
        self.a_transposed = self.a.transpose(0, 2, 1)
        self.loadings = (self.a[:, :, :, None] * self.a[:, :, None, :]).reshape(self.lanes, 2, -1)

    def _factorise(self) -> None:
        b, q, j = self.lanes, self.model.q, self.model.n_items
        by_block = np.matmul(self.loadings.transpose(0, 2, 1), self.information.reshape(b, -1, j * j))
        self.schur[...] = by_block.reshape(b, q, q, j, j).transpose(0, 1, 3, 2, 4)
        self.schur_diagonal += 1.0
        self.cholesky = []
        for k, lane in enumerate(self._schur_flat):
            factor, info = lapack.dpotrf(lane.T, lower=1, clean=0, overwrite_a=1)
            if info != 0:
                self.alone[k] = True
                lane[:] = np.eye(len(lane))
                factor = lane.T
            self.cholesky.append(factor)

    def _find(self, tolerance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``Modes.find`` lane by lane; a lane whose step would have to be shortened is left to itself."""
        previous, last = np.full(self.lanes, np.inf), np.full(self.lanes, np.inf)
        sweeps = np.ones(self.lanes, int)
        self.sweep()
        moving = ~self.alone
        for _ in range(MAX_NEWTON_STEPS):
            dv, dw, offsets, _, _ = self.solve(*self.slope()[:2])
            longest = np.abs(self.sigma[:, 0]) * np.abs(dv).max(axis=1) + np.abs(offsets).max(axis=(1, 2))
            self.alone |= moving & ~((longest <= previous) & (longest <= 5.0))
            moving &= ~self.alone
            self.v[moving] += dv[moving]
            self.w[moving] += dw[moving]
            self.sweep()
            sweeps[moving] += 1
            last[moving] = previous[moving] = longest[moving]
            moving &= ~((longest < tolerance) | self.alone)
            if not moving.any():
                return sweeps, last
        self.alone |= moving
        return sweeps, last

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
        return (self.w**2).sum(axis=(1, 2)) - 2.0 * loglik

    def _logdet(self) -> np.ndarray:
        count = self.model.statistics.count
        return (count * np.log(self.d)).sum(axis=1) + 2.0 * np.log(self.schur_diagonal).sum(axis=(1,))

    def _to_the_mode(self, adjoint: tuple[np.ndarray, np.ndarray, Any]) -> np.ndarray:
        person_slope, item_slope, _ = self.slope()
        count = self.model.statistics.count
        return (count * adjoint[0] * person_slope).sum(axis=1) + (adjoint[1] * item_slope).sum(axis=(1, 2))
