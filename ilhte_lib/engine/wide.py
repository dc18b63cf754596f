"""Tables with more items than classes of persons: items are eliminated first, which leaves a system over the classes.

Items are not coupled in H either: given the persons, each has its own q x q block. With ``s_g = sqrt(n_g) v_g`` the scaled mean
effect of a class (its n_g - 1 other directions have ``d_g`` on the diagonal and are not coupled with anything),

    H_items = blockdiag(M_i),   M_i = I + sum_T c_Ti a_T a_T',   c_Ti = sum_{g in T} n_g W_gi,
    N = diag(d) - sigma^2 P,    P_gh = sum_i R_gi R_hi a_g' M_i^-1 a_h,   R = sqrt(n) W,   a_g the loadings of the class's arm,

    log det H = sum_g (n_g - 1) log d_g + sum_i log det M_i + log det N.

N is (G x G), whereas the Schur complement of ``modes`` is (qJ x qJ): with 300 persons and 500 items this is a tenth of the
arithmetic. Newton's method and the gradient are the same up to rounding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.linalg import lapack

if TYPE_CHECKING:
    from .modes import Model, Modes

WIDE = 100
"""From this many random effects of items on, time goes into arithmetic rather than calls."""


class Traces(NamedTuple):
    """Derivatives of log det H at a fixed u, for B values of psi side by side.

    Attributes
    ----------
    row, col : (B, G) in the predictor of one person of a class, the same for all items, and (B, 2, J) in an item's, by arm.
    quadratic : (B, G) variance under H^-1 of W_g' o, with o the items' part of eta in the class's arm.
    factor : (B, 2, q) in the loadings a_T through Lambda.
    by_j : derivatives in the steps before projection, from ``slope_at_the_mode``, if items have steps.
    pulled : see ``Modes.solve``.
    """

    row: np.ndarray
    col: np.ndarray
    quadratic: np.ndarray
    factor: np.ndarray
    by_j: np.ndarray | float
    pulled: np.ndarray | float | None


def is_wide(model: Model) -> bool:
    """Whether eliminating items takes less arithmetic per pass, in products and factorisation, than eliminating persons."""
    g, j, effects = model.n_classes, model.n_items, model.q * model.n_items
    if model.statistics.clusters is not None or effects < WIDE:
        return False
    return g * g * j + g**3 / 3 < g * j * j + effects**3 / 3


class ItemsFirst:
    """The parts of H in a workspace (see ``Modes``) once items are eliminated, without clusters and with all cells stored.

    Attributes
    ----------
    scaled : (B, G, J) R.
    own_inverse : (B, J, q, q) M_i^-1.
    shared : (B, 2, 2, J) a_T' M_i^-1 a_T', by arms.
    cholesky : B lower factors of N.
    """

    def __init__(self, model: Model, lanes: int):
        g, j = model.n_classes, model.n_items
        self.root_count = np.sqrt(model.statistics.count)
        self.scaled = np.empty((lanes, g, j))
        self.among_persons = np.empty((lanes, g, g))
        self._diagonal = self.among_persons.reshape(lanes, -1)[:, :: g + 1]

    def eliminate(self, modes: Modes) -> None:
        """Eliminate the items at the weights of the last pass, and factor N.

        Raises
        ------
        ModeNotFound : H is not positive definite.
        """
        a, count = modes.a, modes.model.statistics.count
        np.multiply(modes.weight, self.root_count[:, None], out=self.scaled)
        own = np.einsum("btk,bti,btl->bikl", a, modes.col_weight, a) + np.eye(modes.model.q)
        self.own_inverse = np.linalg.inv(own)
        self.shared = np.einsum("btk,bikl,bul->btui", a, self.own_inverse, a)
        self._apart = np.log(np.linalg.det(own)).sum(axis=1) + np.log(modes.d) @ (count - 1.0)
        n, (control, treated) = self.among_persons, modes.model.arms
        for t, arm in enumerate(modes.model.arms):
            root = self.scaled[:, arm] * np.sqrt(np.maximum(self.shared[:, t, t], 0.0))[:, None]
            n[:, arm, arm] = np.matmul(root, root.transpose(0, 2, 1))
        across = self.scaled[:, control] * self.shared[:, 0, 1, None]
        n[:, control, treated] = np.matmul(across, self.scaled[:, treated].transpose(0, 2, 1))
        n[:, treated, control] = n[:, control, treated].transpose(0, 2, 1)
        n *= -(modes.sigma * modes.sigma)[:, :, None]
        self._diagonal += modes.d
        self.cholesky = modes.factors(n)

    def logdet(self) -> float:
        """log det H (one lane)."""
        return float(self._apart[0] + 2.0 * np.log(self._diagonal[0]).sum())

    def solve(self, modes: Modes, rhs: np.ndarray) -> np.ndarray:
        """S^-1 = ``M^-1 + M^-1 U' N^-1 U M^-1``, where U has the rows ``sigma R_gi a_g'``, applied to right-hand sides (R, q J).

        Either R = B or B = 1.
        """
        alone = self._item_by_item(rhs.reshape(len(rhs), modes.model.q, -1))
        of_persons = modes.sigma * self.root_count * modes.spread(np.matmul(modes.a, alone))
        if modes.lanes == 1:
            moved = lapack.dpotrs(self.cholesky[0], of_persons.T, lower=1)[0].T
        else:
            lanes = zip(self.cholesky, of_persons, strict=True)
            moved = np.array([lapack.dpotrs(factor, own, lower=1)[0] for factor, own in lanes])
        back = np.matmul(modes.a_transposed, modes.pull(modes.sigma * moved / self.root_count))
        return (alone + self._item_by_item(back)).reshape(rhs.shape)

    def _item_by_item(self, of_items: np.ndarray) -> np.ndarray:
        """(R, q, J) M_i^-1 applied to each item's entries."""
        return np.matmul(self.own_inverse, of_items.transpose(0, 2, 1)[..., None])[..., 0].transpose(0, 2, 1)

    def _through(self, modes: Modes) -> tuple[list[np.ndarray], np.ndarray]:
        """By arm t, ``X_t = N^-1[:, t] R_t`` (B, G, J); and (B, 2, 2, J) the sums ``Y_st,i = sum_{g in s} R_gi X_t,gi``."""
        arms, inverse = modes.model.arms, modes.inverses(self.cholesky)
        x = [np.matmul(inverse[:, :, arm], self.scaled[:, arm]) for arm in arms]
        y = [[np.einsum("bgi,bgi->bi", self.scaled[:, arm], of[:, arm]) for of in x] for arm in arms]
        return x, np.array(y).transpose(2, 0, 1, 3)

    def _own_blocks(self, modes: Modes, y: np.ndarray) -> np.ndarray:
        """(B, J, q, q) diagonal blocks of S^-1 for single items."""
        variance = (modes.sigma * modes.sigma)[:, :, None, None]
        return self.own_inverse + self.own_inverse @ (
            variance * np.einsum("btk,btui,bul->bikl", modes.a, y, modes.a) @ self.own_inverse
        )

    def item_covariance(self, modes: Modes) -> np.ndarray:
        """See ``Modes.item_covariance``."""
        return self._own_blocks(modes, self._through(modes)[1])

    def whole_inverse(self, modes: Modes) -> np.ndarray:
        """See ``Modes.schur_inverse`` (one lane)."""
        q, j = modes.model.q, modes.model.n_items
        return self.solve(modes, np.eye(q * j)).reshape(1, q, j, q, j).transpose(0, 1, 3, 2, 4)

    def traces(self, modes: Modes) -> Traces:
        """The derivatives that ``adjoint.exact_gradient`` needs.

        With ``Cov(v_g, o_i) = -sigma E_gi / sqrt(n_g)``, ``E_gi = sum_t a_g' M_i^-1 a_t X_t,gi``, the variance of eta is
        ``sigma^2 h_pp + Var o_i - 2 sigma^2 E_gi / sqrt(n_g)`` and that of a person ``h_pp = (1 + sigma^2 sum_i R_gi E_gi / n_g) / d_g``.
        """
        model, d, shared, cumulant = modes.model, modes.d, self.shared, modes.cumulant
        variance = modes.sigma * modes.sigma
        x, y = self._through(modes)
        of_items = np.einsum("bsti,bsui,btui->bui", y, shared, shared)
        modes.outer_columns[:, :2] = shared[:, (0, 1), (0, 1)] + variance[:, :, None] * of_items
        along, other = x
        for t, arm in enumerate(model.arms):
            along[:, arm] *= shared[:, 0, t, None]
            other[:, arm] *= shared[:, 1, t, None]
        along += other
        within = np.einsum("bgi,bgi->bg", self.scaled, along) / model.statistics.count
        modes.outer_rows[:, :, 2] = variance * (1.0 + variance * within) / d
        along *= (2.0 * variance / self.root_count)[:, :, None]

        row, col, by_j = np.empty_like(d), 0.0, 0.0
        for block in modes.blocks:
            rows = block.rows
            _, third, own = block.scratch
            cumulant.third_moment(block, third, own)
            np.matmul(modes.outer_rows[:, rows], modes.outer_columns, out=own)
            own -= along[:, rows]
            if model.n_steps:
                by_j = by_j + cumulant.slope_at_the_mode(block, own)
            own *= third
            row[:, rows] = np.matmul(own, model.ones)
            col = col + np.matmul(model.count_by_arm[..., rows], own)
        # [S^-1 (information_T a_T)]_ii: the item's own information minus what is eliminated with persons
        by_own = np.einsum("bikl,bti,btl->btk", self._own_blocks(modes, y), modes.col_weight, modes.a)
        by_persons = variance[:, :, None] * np.einsum("bikl,btsi,bsl->btk", self.own_inverse, y, modes.a)
        return Traces(row, col, within * d, 2.0 * (by_own - by_persons), by_j, None)
