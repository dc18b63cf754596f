"""The penalised likelihood of the random effects given the parameters: its Hessian, Newton's method, its mode.

Notation (lme4's, Bates et al. 2015, Journal of Statistical Software 67(1)): person g of arm T has

    eta_gi = x_g' beta + sigma v_g + a_T' w_i,    a_T = L'(1, T)',

with spherical random effects ``u = (v, w)``, and ``+ m_T' k_s`` where persons come in clusters (see ``clusters``). The mode u^
minimises ``F(u) = -2 loglik(u) + |u|^2``; half its Hessian is ``H = Lambda' Z' W Z Lambda + I``. Persons are eliminated from H,
whose block for them is diagonal, which leaves a Schur complement over the items. The arrays are over classes of persons (see
``compress``), weighted by their counts, so that no cost depends on the number of persons.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import blas, lapack

from ..model.compress import SufficientStatistics, item_design
from ..model.packed import KEPT_CELLS, PackedTrials
from ..model.spec import ModelSpec
from .clusters import ClusterPart, loading_map
from .cumulant import OrderedCategories, TwoCategories
from .objective import MAX_NEWTON_STEPS, MODE_TOLERANCE, ModeNotFound
from .wide import ItemsFirst

BLOCK_CELLS = 16384
"""Cells (class x item) processed together, so that intermediate results stay in the processor's cache."""
LARGE_BLOCK = 65536
"""The same if blocks hold persons of one arm only, since each block costs about forty calls."""

BY_LAPACK = 100
"""From this many rows on, matrices are inverted by LAPACK, which needs at most half the work but costs more to call."""


def _symmetric_inverse(factor: np.ndarray) -> np.ndarray:
    """(n, n) inverse of a matrix from its lower Cholesky factor (n, n)."""
    lower, info = lapack.dpotri(factor, lower=1)
    if info != 0:
        raise ModeNotFound("the Hessian of the penalised likelihood is singular")
    inverse = lower.T.copy()
    below = np.tri(len(lower), k=-1, dtype=bool)
    inverse[below] = lower[below]
    return inverse


def cells_are_kept(cells: int) -> bool:
    """Whether there is memory for what is computed of so many cells."""
    return cells <= KEPT_CELLS


def diagonals(matrices: np.ndarray) -> np.ndarray:
    """Writable view (..., J) of the diagonals of contiguous (..., J, J) matrices."""
    return matrices.reshape(*matrices.shape[:-2], -1)[..., :: matrices.shape[-1] + 1]


class Model:
    """One model for one set of sufficient statistics: everything that does not depend on psi.

    Attributes
    ----------
    design : (G, p) fixed-effects design x_g of each class, 0 for coefficients of items; ``weighted_design`` (p, G) is its
        transpose times the counts.
    item_design : (p, 2 J) contribution of each fixed effect to the items' part of eta by arm; None without item covariates.
    count_by_arm : (2, G) counts, each class in the row of its arm.
    arms : the classes of each arm, as slices.
    factor_map : (q(q+1)/2, 2q) linear map from the lower triangle of L to (a_0, a_1).
    highest, most_score, most_total : highest possible scores: (J,) of one response to each item, (G,) of a person, (2, J) of
        each item's responses by arm. With two categories the latter two are numbers of responses.
    repeated : whether some person answered some item more than once.
    """

    def __init__(self, statistics: SufficientStatistics, spec: ModelSpec):
        s, spec = statistics, spec.of_items(statistics.formats).of_clusters(statistics.clusters)
        self.statistics, self.spec, self.q = s, spec, spec.q
        self.n_classes, self.n_items, self.n_beta = s.n_classes, s.n_items, len(spec.beta_names)
        self.n_steps, self.n_clusters_psi = len(spec.steps), len(spec.cluster_factor)
        self.sigma_at = self.n_beta + self.n_steps + self.n_clusters_psi
        # pairs of arms whose items share information once persons and clusters are eliminated
        crossed = s.clusters is not None and s.clusters.hold_both_arms(s.n_control_classes)
        self.pairs = ((0, 0), (1, 1), (0, 1), (1, 0)) if crossed else ((0, 0), (1, 1))
        columns = [np.ones(s.n_classes), s.arm]
        if spec.covariate:
            columns += [s.covariate, s.arm * s.covariate]
        columns += [np.zeros(s.n_classes)] * spec.n_item_coefficients
        self.design = np.column_stack(columns)
        self.item_design = item_design(s, spec)
        self.weighted_design = np.ascontiguousarray((self.design * s.count[:, None]).T)
        self.arms = (slice(0, s.n_control_classes), slice(s.n_control_classes, s.n_classes))
        self.count_by_arm = np.array([s.count * (1.0 - s.arm), s.count * s.arm])
        self.membership = np.column_stack([1.0 - s.arm, s.arm])
        self.factor_map = loading_map(self.q)
        self.ones = np.ones(s.n_items)
        self.repeated = s.trials is not None and bool(s.trials.max(initial=0.0) > 1.0)
        self.highest = self.ones if s.formats is None else s.formats.highest.astype(float)
        if s.trials is None:
            self.most_score = np.full(s.n_classes, self.highest.sum())
            self.most_total = np.outer(self.count_by_arm.sum(axis=1), self.highest)
        else:
            self.most_score = s.trials @ self.highest
            self.most_total = (self.count_by_arm @ s.trials) * self.highest

    def of_persons(self, beta: np.ndarray) -> np.ndarray:
        """(B, G) x_g'beta at beta (B, p)."""
        return beta @ self.design.T

    def over_persons(self, by_class: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sums over all persons of values by class (B, G): weighted by each fixed effect's design (B, p), and plain (B, 1)."""
        return np.matmul(by_class, self.weighted_design.T), np.matmul(by_class, self.statistics.count[:, None])

    def split(self, psi: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """psi (B, k) as beta (B, p), steps (B, S), sigma (B, 1) and the item loadings a (B, 2, q)."""
        n, sigma = self.n_beta, self.sigma_at
        loadings = (psi[:, sigma + 1 :] @ self.factor_map).reshape(len(psi), 2, self.q)
        return psi[:, :n], psi[:, n : n + self.n_steps], psi[:, sigma : sigma + 1], loadings

    def cluster_loadings(self, psi: np.ndarray) -> np.ndarray:
        """(B, 2, c) loadings m_T on a cluster's random effects at psi (B, k)."""
        c = self.spec.cluster_q
        own = psi[:, self.n_beta + self.n_steps : self.sigma_at]
        return (own @ loading_map(c)).reshape(len(psi), 2, c)

    def item_offsets(self, beta: np.ndarray) -> np.ndarray | float:
        """(B, 2, J) the items' fixed part of eta, by arm, at beta (B, p)."""
        return 0.0 if self.item_design is None else (beta @ self.item_design).reshape(len(beta), 2, self.n_items)

    def cumulant(self) -> TwoCategories | OrderedCategories:
        """A new cumulant for the items' formats, for one workspace."""
        return TwoCategories(self) if self.statistics.formats is None else OrderedCategories(self)


@dataclass(frozen=True)
class _Block:
    """Some consecutive classes, with views of the workspace's cell arrays; blocks share these arrays if cells are not stored.

    ``parts`` has (arm, weights, scratch rows) for each arm with classes in the block.
    """

    rows: slice
    cells: np.ndarray
    expected: np.ndarray
    weight: np.ndarray
    trials: np.ndarray | None
    scratch: np.ndarray
    parts: tuple[tuple[int, np.ndarray, np.ndarray], ...]


class Modes:
    """The penalised likelihood at B values of psi side by side, each with its own random effects.

    This is a workspace: it keeps its buffers, and the random effects as the start of the next search. B is 1 while searching; the
    Hessian of a small table is cheaper with many psi in one sweep.

    Attributes (all with a leading axis B)
    ----------
    v, w : (B, G) and (B, q, J) spherical random effects.
    expected, weight : (B, G, J) expected score and its variance, by person and item; views of ``cells``.
    person_residual, item_residual : (B, G) and (B, 2, J) observed minus expected scores.
    row_weight, col_weight : (B, G) and (B, 2, J) sums of the weights, by person and by arm and item.
    d : (B, G) persons' diagonal of H.
    information : (B, P, J, J) the items' information by pair of arms (``Model.pairs``) with persons and clusters eliminated:
        without clusters diag(col_weight) - C_T sigma^2 by arm.
    clusters : the clusters' part, or None.
    wide : what is kept instead of ``information`` and ``schur`` where items are eliminated before persons, or None.
    """

    block_cells: int | None = None
    """Cells processed together; None for ``BLOCK_CELLS``."""

    def __init__(self, model: Model, lanes: int = 1, *, items_first: bool = False, one_arm_blocks: bool = False):
        self.model, self.lanes, self.one_arm_blocks = model, lanes, one_arm_blocks
        self.cumulant = model.cumulant()
        g, j, q = model.n_classes, model.n_items, model.q
        self.v, self.w = np.zeros((lanes, g)), np.zeros((lanes, q, j))
        self.clusters = None if model.statistics.clusters is None else ClusterPart(model, lanes)
        block = min(g, max(1, (self.block_cells or (LARGE_BLOCK if one_arm_blocks else BLOCK_CELLS)) // (j * lanes)))
        # more cells are not stored but recomputed block by block when needed
        self.stored = cells_are_kept(g * j * lanes)
        self.cells = np.empty((2, lanes, g if self.stored else block, j))
        self.expected, self.weight = self.cells
        self.sums = np.empty((2, lanes, g))
        self.row_weight = self.sums[1]
        self.wide = ItemsFirst(model, lanes) if items_first and self.stored else None
        if self.wide is None:
            self._make_room()
        # row and column factors of h_pp + K_ii, see adjoint
        self.outer_rows, self.outer_columns = np.empty((lanes, g, 3)), np.ones((lanes, 3, j))
        self.outer_rows[:, :, :2] = model.membership
        self.blocks = self._blocks(block)

    def _make_room(self) -> None:
        """Allocate the arrays of the system that is left once persons are eliminated."""
        lanes, j, q = self.lanes, self.model.n_items, self.model.q
        self.information = np.empty((lanes, len(self.model.pairs), j, j))
        self.information_diagonal = diagonals(self.information)
        self.schur = np.empty((lanes, q, j, q, j))
        self._schur_flat = self.schur.reshape(lanes, q * j, q * j)
        self.schur_diagonal = diagonals(self._schur_flat)
        self._identity = np.eye(q * j, order="F")

    def _blocks(self, size: int) -> list[_Block]:
        model = self.model
        scratch = np.empty((3, self.lanes, size, model.n_items))
        answers = model.statistics.trials
        unpacked = np.empty((size, model.n_items)) if isinstance(answers, PackedTrials) else None
        blocks = []
        for start, stop in self._cuts(size):
            rows, own = slice(start, stop), scratch[:, :, : stop - start]
            parts = []
            for t, arm in enumerate(model.arms):
                low, high = max(start, arm.start), min(stop, arm.stop)
                if low < high:
                    within = slice(low - start, high - start)
                    kept = slice(low, high) if self.stored else within
                    parts.append((t, self.weight[:, kept], own[0, :, within]))
            if unpacked is not None:
                trials = unpacked[: stop - start]
            else:
                trials = None if answers is None else answers[..., rows, :]
            cells = self.cells[:, :, rows if self.stored else slice(0, stop - start)]
            blocks.append(_Block(rows, cells, cells[0], cells[1], trials, own, tuple(parts)))
        return blocks

    def _cuts(self, size: int) -> list[tuple[int, int]]:
        """Where blocks of at most so many classes begin and end."""
        runs = self.model.arms if self.one_arm_blocks else (slice(0, self.model.n_classes),)
        return [(at, min(at + size, run.stop)) for run in runs for at in range(run.start, run.stop, size)]

    # -- one pass -----------------------------------------------------------------------------------------------

    def answered(self) -> Iterator[_Block]:
        """The blocks, with their numbers of responses filled in."""
        packed = self.model.statistics.trials
        for block in self.blocks:
            if isinstance(packed, PackedTrials):
                packed.unpack(block.rows, block.trials)
            yield block

    def filled(self) -> Iterator[_Block]:
        """The blocks, with expected scores and weights at the last predictor, recomputed if cells are not stored."""
        if self.stored:
            yield from self.blocks
            return
        for block in self.answered():
            self.cumulant.moments(block)
            yield block

    def pull(self, values: np.ndarray) -> np.ndarray:
        """(R, 2, J) sums over persons, by arm, of values (R, G) times weights."""
        counts = self.model.count_by_arm
        if self.stored:
            return np.matmul(counts * values[:, None, :], self.weight)
        out: np.ndarray | float = 0.0
        for block in self.filled():
            out = out + np.matmul(counts[..., block.rows] * values[:, None, block.rows], block.weight)
        return out

    def spread(self, offsets: np.ndarray) -> np.ndarray:
        """(R, G) sums over a person's items of weights times offsets (R, 2, J) of the arm."""
        if self.stored:
            return self.by_arm(self.weight, offsets)
        out = np.empty((len(offsets), self.model.n_classes))
        for block in self.filled():
            at = block.rows.start
            for t, weight, _ in block.parts:
                stop = at + weight.shape[1]
                np.matmul(weight, offsets[:, t, :, None], out=out[:, at:stop, None])
                at = stop
        return out

    def set_parameters(self, psi: np.ndarray) -> None:
        """Set psi (B, k).

        Raises
        ------
        ModeNotFound : fixed parts beyond 600 logits, or not finite.
        """
        self.beta, steps, self.sigma, self.a = self.model.split(psi)
        self.cumulant.set_steps(steps)
        self.fixed = self.model.of_persons(self.beta)
        self.item_fixed = self.model.item_offsets(self.beta)
        self.a_transposed = self.a.transpose(0, 2, 1)
        # (a_T)_k (a_T')_l for all k, l: the weights of the pairs of arms in the blocks of the Schur complement
        left, right = np.transpose(self.model.pairs)
        self.loadings = (self.a[:, left, :, None] * self.a[:, right, None, :]).reshape(self.lanes, len(left), -1)
        if self.clusters is not None:
            self.clusters.m = self.model.cluster_loadings(psi)
        if not np.abs(self.fixed).max() <= 600.0:
            raise ModeNotFound("linear predictors beyond 600 logits")

    def person_part(self) -> np.ndarray:
        """(B, G) the part of eta of the persons of each class and their clusters."""
        part = self.fixed + self.sigma * self.v
        return part if self.clusters is None else part + self.clusters.shift(self.clusters.k)

    def item_part(self) -> np.ndarray:
        """(B, 2, J) the items' part of eta by arm at the current u."""
        return self.a @ self.w + self.item_fixed

    def sweep(self) -> None:
        """One pass over the cells at the current u: expected scores, residuals, weights, and the items' information."""
        model, s = self.model, self.model.statistics
        self.cumulant.set_predictor(self.person_part(), self.item_part())
        self.d = np.empty_like(self.v)
        variance = self.sigma * self.sigma
        columns = 0.0
        self._fresh = [True, True]
        self.pulled: np.ndarray | float | None = None if self.stored else 0.0
        for block in self.answered():
            rows, weight = block.rows, block.weight
            self.cumulant.moments(block)
            self.sums[:, :, rows] = np.matmul(block.cells, model.ones)
            columns = columns + np.matmul(model.count_by_arm[..., rows], block.cells)
            d = self.d[:, rows] = 1.0 + variance * self.row_weight[:, rows]
            if not self.stored:
                # needed by the Newton step from here, where it would take another pass
                slope = self.sigma * (s.score[..., rows] - self.sums[0][:, rows]) - self.v[:, rows]
                along = self.sigma * slope / d
                self.pulled = self.pulled + np.matmul(model.count_by_arm[..., rows] * along[:, None, :], weight)
            if self.wide is None:
                self._take_from_items(block)
            if self.clusters is not None:
                self.clusters.gather(block, s.count[..., rows] / d)
        expected_by_item, self.col_weight = columns
        self.person_residual = s.score - self.sums[0]
        self.item_residual = s.item_total - expected_by_item
        if self.wide is None:
            self._eliminate()
        else:
            self.wide.eliminate(self)

    def _take_from_items(self, block: _Block) -> None:
        """Accumulate the part of the items' information that is eliminated with the persons of a block."""
        scaled = block.scratch[0]
        scale = self.sigma * np.sqrt(self.model.statistics.count[..., block.rows] / self.d[:, block.rows])
        np.matmul(scale[:, :, None], self.model.ones[None, :], out=scaled)
        scaled *= block.weight
        for t, _, part in block.parts:
            if self._fresh[t]:
                np.matmul(part.transpose(0, 2, 1), part, out=self.information[:, t])
                self._fresh[t] = False
            else:
                self.information[:, t] += np.matmul(part.transpose(0, 2, 1), part)

    def _eliminate(self) -> None:
        """Compute the items' information once persons and clusters are eliminated, and factor their Schur complement."""
        for t in (0, 1):
            if self._fresh[t]:
                self.information[:, t] = 0.0
        if self.clusters is not None:
            self.clusters.eliminate(self)
        np.negative(self.information, out=self.information)
        self.information_diagonal[:, :2] += self.col_weight
        self.factorise()

    def factorise(self) -> None:
        """Cholesky factor of the Schur complement ``S = sum_TT' (a_T a_T'') (x) information_TT' + I``."""
        b, q, j = self.lanes, self.model.q, self.model.n_items
        by_block = np.matmul(self.loadings.transpose(0, 2, 1), self.information.reshape(b, -1, j * j))
        self.schur[...] = by_block.reshape(b, q, q, j, j).transpose(0, 1, 3, 2, 4)
        self.schur_diagonal += 1.0
        self.cholesky = self.factors(self._schur_flat)

    @staticmethod
    def factors(matrices: np.ndarray) -> list[np.ndarray]:
        """Lower Cholesky factors, in Fortran order, which overwrite the matrices (B, n, n).

        Raises
        ------
        ModeNotFound : one is not positive definite.
        """
        out = []
        for matrix in matrices:
            factor, info = lapack.dpotrf(matrix.T, lower=1, clean=0, overwrite_a=1)
            if info != 0:
                raise ModeNotFound("the Hessian of the penalised likelihood is not positive definite")
            out.append(factor)
        return out

    @staticmethod
    def inverses(factors: list[np.ndarray]) -> np.ndarray:
        """(B, n, n) inverses of matrices from their ``factors``."""
        return np.array([_symmetric_inverse(factor) for factor in factors])

    # -- linear algebra with H ----------------------------------------------------------------------------------

    def by_arm(self, cells: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """(B, G) each class's row of ``cells`` (B, G, J) times its arm's column in ``columns`` (B, 2, J)."""
        out = np.empty((len(columns), cells.shape[1]))
        for t, arm in enumerate(self.model.arms):
            np.matmul(cells[:, arm], columns[:, t, :, None], out=out[:, arm, None])
        return out

    def solve(
        self,
        person_rhs: np.ndarray,
        item_rhs: np.ndarray,
        cluster_rhs: np.ndarray | None = None,
        pulled: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
        """H^-1 applied to a vector with entries (B, G) for one person of each class, (B, q, J) for items, (B, S, c) for clusters.

        With B = 1 there may be any number of right-hand sides. ``pulled`` is ``pull(sigma * person_rhs / d)``, if already known.

        Returns
        -------
        persons, items : the solution.
        offsets, shared : (B, 2, J) the items' solution on the scale of eta, (B, G) its sum over a person's weights.
        clusters : the solution for clusters, None without.
        """
        along = self.sigma * person_rhs / self.d
        by_arm = self.pull(along) if pulled is None else pulled
        if self.clusters is not None:
            cluster_rhs = cluster_rhs - self.clusters.collect(along * self.row_weight)
            by_arm = by_arm + self.clusters.pull(cluster_rhs)
        rhs = item_rhs - np.matmul(self.a_transposed, by_arm)
        items = self.without_persons(rhs.reshape(len(rhs), -1)).reshape(item_rhs.shape)
        offsets = np.matmul(self.a, items)
        shared = self.spread(offsets)
        if self.clusters is None:
            return (person_rhs - self.sigma * shared) / self.d, items, offsets, shared, None
        clusters = self.clusters.back(cluster_rhs, offsets)
        moved = shared + self.row_weight * self.clusters.shift(clusters)
        return (person_rhs - self.sigma * moved) / self.d, items, offsets, shared, clusters

    def without_persons(self, rhs: np.ndarray) -> np.ndarray:
        """S^-1 applied to right-hand sides (B, q J)."""
        if self.wide is not None:
            return self.wide.solve(self, rhs)
        if self.lanes == 1:
            return lapack.dpotrs(self.cholesky[0], rhs.T, lower=1)[0].T
        return np.array([lapack.dpotrs(c, r, lower=1)[0] for c, r in zip(self.cholesky, rhs, strict=True)])

    def schur_inverse(self) -> np.ndarray:
        """(B, q, q, J, J) blocks of S^-1."""
        b, q, j = self.lanes, self.model.q, self.model.n_items
        if self.wide is not None:
            return self.wide.whole_inverse(self)
        if q * j >= BY_LAPACK:
            return self.inverses(self.cholesky).reshape(b, q, j, q, j).transpose(0, 1, 3, 2, 4)
        root = np.empty((b, q * j, q * j))
        for lane, factor in enumerate(self.cholesky):
            root[lane] = blas.dtrsm(1.0, factor, self._identity, lower=1)
        inverse = np.matmul(root.transpose(0, 2, 1), root)
        return inverse.reshape(b, q, j, q, j).transpose(0, 1, 3, 2, 4)

    def item_covariance(self) -> np.ndarray:
        """(B, J, q, q) diagonal blocks of H^-1 for single items."""
        if self.wide is not None:
            return self.wide.item_covariance(self)
        return np.einsum("bklii->bikl", self.schur_inverse())

    def logdet(self) -> float:
        """log det H = sum_g n_g log d_g + log det S, plus sum_s log det H_s with clusters (one lane)."""
        if self.wide is not None:
            return self.wide.logdet()
        of_clusters = 0.0 if self.clusters is None else self.clusters.logdet[0]
        of_persons = self.model.statistics.count @ np.log(self.d[0])
        return float(of_persons + of_clusters + 2.0 * np.log(self.schur_diagonal).sum())

    # -- the mode -----------------------------------------------------------------------------------------------

    def slope(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """-F'(u)/2 at the current u, the right-hand side of Newton's step.

        Shapes are (B, G) for one person of each class, (B, q, J) for items, and (B, S, c) for clusters.
        """
        return (
            self.sigma * self.person_residual - self.v,
            np.matmul(self.a_transposed, self.item_residual) - self.w,
            None if self.clusters is None else self.clusters.collect(self.person_residual) - self.clusters.k,
        )

    def penalised(self, log_terms: np.ndarray | None = None) -> float:
        """F = -2 loglik + |u|^2 at the current u (one lane), from the predictor of the last sweep; ``log_terms`` where they are known."""
        model, s = self.model, self.model.statistics
        person_part, offsets = self.person_part()[0], self.item_part()[0]
        if log_terms is None:
            log_terms = np.empty(model.n_classes)
            for block in self.answered():
                terms = block.scratch[0]
                self.cumulant.log_terms(block, terms)
                log_terms[block.rows] = np.matmul(terms[0], model.ones)
        by_class = person_part * (s.score - model.most_score) - log_terms - 0.5 * self.v[0] ** 2
        loglik = s.count @ by_class + np.vdot(offsets, s.item_total - model.most_total) + self.cumulant.step_loglik()
        of_clusters = 0.0 if self.clusters is None else np.vdot(self.clusters.k, self.clusters.k)
        return float(np.vdot(self.w, self.w) + of_clusters - 2.0 * loglik)

    def start_persons(self) -> None:
        """Guess v from each class's score, whose log-odds are roughly theta plus the mean of its items."""
        model, s = self.model, self.model.statistics
        offsets = self.item_part()
        spread = np.sqrt(1.0 + 0.35 * offsets.var(axis=2)) @ model.membership.T
        if s.trials is None:
            mean = offsets.mean(axis=2) @ model.membership.T
        elif isinstance(s.trials, PackedTrials):
            mean = np.concatenate([s.trials[arm] @ offsets[0, t] for t, arm in enumerate(model.arms)])[None]
            mean /= np.maximum(s.trials @ model.ones, 1.0)
        else:
            trials = np.broadcast_to(s.trials, (self.lanes, model.n_classes, model.n_items))
            mean = self.by_arm(trials, offsets) / np.maximum(s.trials @ model.ones, 1.0)
        rate = (s.score + 0.5) / (model.most_score + 1.0)
        distance = spread * np.log(rate / (1.0 - rate)) - mean - self.fixed
        information = model.most_score * rate * (1.0 - rate)
        self.v[:] = self.sigma * information * distance / (self.sigma**2 * information + 1.0)

    def find(self, tolerance: float = MODE_TOLERANCE) -> tuple[int, float]:
        """Newton's method on u (one lane) until a step changes no linear predictor by more than ``tolerance`` (logits).

        Returns the number of sweeps and the largest change in the last step, and leaves every array at the mode. Steps are halved
        if they are long or stop shrinking.

        Raises
        ------
        ModeNotFound : no mode was reached.
        """
        count = self.model.statistics.count
        previous = np.inf
        self.sweep()
        sweeps = 1
        for _ in range(MAX_NEWTON_STEPS):
            person_rhs, item_rhs, cluster_rhs = self.slope()
            dv, dw, offsets, _, dk = self.solve(person_rhs, item_rhs, cluster_rhs, self.pulled)
            promised = float(count @ (person_rhs * dv)[0] + np.vdot(item_rhs, dw))
            longest = float(abs(self.sigma[0, 0]) * np.abs(dv).max() + np.abs(offsets).max())
            if dk is not None:
                promised += float(np.vdot(cluster_rhs, dk))
                longest += float(np.abs(self.clusters.m @ dk.transpose(0, 2, 1)).max())
            if not np.isfinite(longest + promised):
                raise ModeNotFound("the Newton step is not finite")
            if longest > previous or longest > 5.0:
                sweeps += self._damped_step((dv, dw, dk), promised)
            else:
                self.move((dv, dw, dk))
                self.sweep()
                sweeps += 1
            if longest < tolerance:
                return sweeps, longest
            previous = longest
        raise ModeNotFound(f"no mode after {MAX_NEWTON_STEPS} Newton steps")

    def effects(self) -> tuple[np.ndarray, ...]:
        """Copies of the random effects v, w and, where there are clusters, k."""
        return tuple(effect.copy() for effect in self._effects())

    def _effects(self) -> tuple[np.ndarray, ...]:
        return (self.v, self.w) if self.clusters is None else (self.v, self.w, self.clusters.k)

    def move(self, step: tuple[np.ndarray | None, ...], start: tuple[np.ndarray, ...] | None = None) -> None:
        """Random effects moved by a step, from ``start`` if given."""
        for effect, first, change in zip(self._effects(), start or self._effects(), step, strict=False):
            np.add(first, change, out=effect)

    def _damped_step(self, newton: tuple[np.ndarray | None, ...], promised: float) -> int:
        """Halve the Newton step until F falls by a sufficient share of the promised decrease; returns the number of sweeps."""
        start = self.effects()
        before = self.penalised()
        step = 1.0
        for tried in range(1, 41):
            self.move(tuple(step * change for change in newton if change is not None), start)
            try:
                self.sweep()
                if self.penalised() <= before - 2e-4 * step * promised + 1e-9 * (1 + abs(before)):
                    return tried
            except ModeNotFound:
                pass
            step *= 0.5
        raise ModeNotFound("no step along the Newton direction improves the penalised likelihood")

    def derivative(self, dpsi: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Derivative of the mode (v, w, and k of clusters) along each row of ``dpsi`` (R, k), by the implicit function theorem.

        With one lane R is arbitrary; with B lanes R = B and each moves along its own row.
        """
        model = self.model
        dbeta, dsteps, dsigma, da = model.split(dpsi)
        shift = model.of_persons(dbeta) + dsigma * self.v
        dm = None
        if self.clusters is not None:
            dm = model.cluster_loadings(dpsi)
            shift = shift + self.clusters.shift(self.clusters.k, dm)
        offsets = np.matmul(da, self.w) + model.item_offsets(dbeta)
        weighted = self.pull(shift) + offsets * self.col_weight
        item_rhs = np.matmul(da.transpose(0, 2, 1), self.item_residual) - np.matmul(self.a_transposed, weighted)
        fallen = shift * self.row_weight + self.spread(offsets)
        if model.n_steps:
            of_persons, of_items = self.cumulant.shift(self.filled(), dsteps)
            fallen -= of_persons
            item_rhs = item_rhs + np.matmul(self.a_transposed, of_items)
        person_rhs = dsigma * self.person_residual - self.sigma * fallen
        cluster_rhs = None
        if self.clusters is not None:
            cluster_rhs = self.clusters.collect(self.person_residual, dm) - self.clusters.collect(fallen)
        persons, items, _, _, clusters = self.solve(person_rhs, item_rhs, cluster_rhs)
        return persons, items, clusters
