"""Clusters of persons (schools, villages, sites) in the penalised likelihood, eliminated after persons and before items.

A class g of arm T in cluster s has ``eta_gi = x_g' beta + sigma v_g + m_T' k_s + a_T' w_i`` with ``m_T = M'(1, T)'`` and
spherical ``k_s`` (c,): c = 1 for ``(1|cluster)``, c = 2 for ``(treat|cluster)``. Once persons are eliminated, whose diagonal is
``d_g = 1 + sigma^2 w_g`` with ``w_g = sum_i W_gi``, clusters have the blocks

    H_s = I + sum_T N_sT m_T m_T',   R_s = sum_T m_T (a_T (x) Q_sT)',   N_sT = sum_g n_g w_g / d_g,   Q_sT = sum_g n_g W_g / d_g,

with sums over the classes of s in arm T. Eliminating clusters reduces the items' block by ``R_s' H_s^-1 R_s``, which by pair of
arms is ``sum_s gamma_sTT' Q_sT Q_sT''`` with ``gamma_sTT' = m_T' H_s^-1 m_T'``. All costs are linear in the number of clusters.

The parts of H^-1 that the gradient needs follow by conditioning: persons are independent given items and clusters, and clusters
are independent given items, so that with ``o_T = a_T' w`` and e, f independent of w

    m_T' k_s = f_sT - sum_T' gamma_sTT' Q_sT'' o_T',                              Var f_sT = gamma_sTT,
    eta_gi = sigma e / sqrt(d_g) + m_T' k_s / d_g + o_Ti - sigma^2 W_g' o_T / d_g.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .modes import Model, Modes, _Block


def loading_map(q: int) -> np.ndarray:
    """(q(q+1)/2, 2q) linear map from the lower triangle of a factor F, by rows, to the loadings F'(1, T)' of both arms."""
    return np.array([[1.0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) if q == 2 else np.ones((q, 2 * q))


class ClusterPart:
    """The clusters of one workspace (see ``Modes``), with B values of psi side by side.

    Attributes
    ----------
    k : (B, S, c) spherical random effects.
    m : (B, 2, c) loadings by arm.
    logdet : (B,) sum_s log det H_s.
    """

    def __init__(self, model: Model, lanes: int):
        s = model.statistics
        self.model, self.count, self.size = model, s.count, s.clusters.count
        self.crossed = len(model.pairs) > 2
        self.k = np.zeros((lanes, self.size, model.spec.cluster_q))
        self.m = np.zeros((lanes, 2, model.spec.cluster_q))
        self.q = np.zeros((lanes, 2, self.size, model.n_items))
        # arm and cluster of each class as one number, for all lanes where each lane is a table of its own
        treated = np.arange(model.n_classes) >= model.arms[1].start
        self.cell = s.clusters.code + self.size * treated
        self.one_table = self.cell.ndim == 1
        if not self.one_table:
            self.cell = self.cell + 2 * self.size * np.arange(lanes)[:, None]
        self.runs: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.all_runs = self._runs(slice(None))

    # -- between classes and clusters -----------------------------------------------------------------------------

    def _runs(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Start of each run of classes of one arm and cluster among these rows, and its ``cell``."""
        cell = self.cell[..., rows].ravel()
        starts = np.flatnonzero(np.diff(cell, prepend=-1))
        return starts, cell[starts]

    def _sums(self, values: np.ndarray) -> np.ndarray:
        """(B, 2, S) sums of persons' values (B, G) over the persons of each cluster and arm."""
        out = np.zeros((len(values), 2, self.size))
        starts, cells = self.all_runs
        values = values * self.count
        if self.one_table:
            out.reshape(len(values), -1)[:, cells] = np.add.reduceat(values, starts, axis=1)
        else:
            out.reshape(-1)[cells] = np.add.reduceat(values.ravel(), starts)
        return out

    def _of_classes(self, values: np.ndarray) -> np.ndarray:
        """(B, G) values of the classes, from values (B, 2, S) by arm and cluster."""
        if self.one_table:
            return values.reshape(len(values), -1).take(self.cell, axis=1)
        return values.ravel().take(self.cell)

    def shift(self, k: np.ndarray, m: np.ndarray | None = None) -> np.ndarray:
        """(B, G) ``m_T' k_s`` of each class, with the workspace's loadings or the given ones (B, 2, c)."""
        return self._of_classes((self.m if m is None else m) @ k.transpose(0, 2, 1))

    def collect(self, values: np.ndarray, m: np.ndarray | None = None) -> np.ndarray:
        """(B, S, c) ``sum_g n_g m_T values_g``, loadings as in ``shift``."""
        return self._sums(values).transpose(0, 2, 1) @ (self.m if m is None else m)

    # -- elimination ----------------------------------------------------------------------------------------------

    def gather(self, block: _Block, scale: np.ndarray) -> None:
        """Add a block's part to Q, with ``scale`` = n/d (B, g)."""
        scaled, first = block.scratch[1], block.rows.start
        if first == 0:
            self.q[:] = 0.0
        if first not in self.runs:
            self.runs[first] = self._runs(block.rows)
        starts, cells = self.runs[first]
        np.multiply(block.weight, scale[:, :, None], out=scaled)
        if self.one_table:
            self.q.reshape(len(scaled), -1, scaled.shape[2])[:, cells] += np.add.reduceat(scaled, starts, axis=1)
        else:
            self.q.reshape(-1, scaled.shape[2])[cells] += np.add.reduceat(scaled.reshape(-1, scaled.shape[2]), starts)

    def eliminate(self, modes: Modes) -> None:
        """Factor the blocks H_s and subtract ``sum_s gamma Q Q'`` from the items' information."""
        m = self.m
        self.n = self._sums(modes.row_weight / modes.d)
        h = np.einsum("bts,btk,btl->bskl", self.n, m, m) + np.eye(m.shape[2])
        self.inverse = np.linalg.inv(h)
        self.logdet = np.log(np.linalg.det(h)).sum(axis=1)
        # (B, 2, 2, S)
        self.gamma = np.einsum("btk,bskl,bul->btus", m, self.inverse, m)
        for t in (0, 1):
            root = self.q[:, t] * np.sqrt(np.maximum(self.gamma[:, t, t], 0.0))[:, :, None]
            modes.information[:, t] += np.matmul(root.transpose(0, 2, 1), root)
        if self.crossed:
            weighted = self.q[:, 0] * self.gamma[:, 0, 1, :, None]
            modes.information[:, 2] = np.matmul(weighted.transpose(0, 2, 1), self.q[:, 1])
            modes.information[:, 3] = modes.information[:, 2].transpose(0, 2, 1)

    def pull(self, rhs: np.ndarray) -> np.ndarray:
        """(R, 2, J) part of the items' right-hand sides, by arm, eliminated with right-hand sides (R, S, c) of clusters."""
        y = self.m @ (self.inverse @ rhs[..., None])[..., 0].transpose(0, 2, 1)
        return np.matmul(y[:, :, None, :], self.q)[:, :, 0]

    def back(self, rhs: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """(R, S, c) the clusters' solution, given the items' on the scale of eta (R, 2, J)."""
        along = np.matmul(self.q, offsets[..., None])[..., 0]
        return (self.inverse @ (rhs - along.transpose(0, 2, 1) @ self.m)[..., None])[..., 0]

    # -- the gradient ---------------------------------------------------------------------------------------------

    def set_item_variance(self, k: np.ndarray) -> None:
        """Set Cov(o_T, o_T') (B, P, J, J) by pair of arms (``Model.pairs``)."""
        q, gamma = self.q, self.gamma
        own = np.matmul(q, k[:, :2])
        # y_sT = sum_T' gamma_sTT' K_TT' Q_sT' and z_sTT' = Q_sT' K_TT' Q_sT'
        self.y = own * np.stack([gamma[:, 0, 0], gamma[:, 1, 1]], axis=1)[..., None]
        self.z = np.zeros_like(gamma)
        for t in (0, 1):
            self.z[:, t, t] = (own[:, t] * q[:, t]).sum(axis=-1)
        if self.crossed:
            treated, control = np.matmul(q[:, 1], k[:, 3]), np.matmul(q[:, 0], k[:, 2])
            self.y[:, 0] += gamma[:, 0, 1, :, None] * treated
            self.y[:, 1] += gamma[:, 1, 0, :, None] * control
            self.z[:, 0, 1] = self.z[:, 1, 0] = (treated * q[:, 0]).sum(axis=-1)
        # variance of m_T' k_s, (B, 2, S)
        self.variance = np.einsum("btus,buvs,bvts->bts", gamma, self.z, gamma) + gamma[:, (0, 1), (0, 1)]
        self.along = np.zeros((len(k), self.model.n_classes))

    def add_to_variance(self, block: _Block, twice: np.ndarray, d: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """The clusters' part of Var eta in a block.

        The part common to all cells of a class is returned (B, g); the rest is added in place to ``twice``, which is subtracted
        from each cell. ``d`` is (B, g), ``variance`` is sigma^2 (B, 1).
        """
        cell = self.cell[..., block.rows]
        if self.one_table:
            y = self.y.reshape(len(twice), -1, twice.shape[2]).take(cell, axis=1)
        else:
            y = self.y.reshape(-1, twice.shape[2]).take(cell, axis=0)
        along = self.along[:, block.rows] = np.einsum("bgi,bgi->bg", block.weight, y)
        twice += (2.0 / d)[:, :, None] * y
        return (self._of_classes(self.variance)[:, block.rows] + 2.0 * variance * along) / (d * d)

    def of_persons(self, quadratic: np.ndarray, row_weight: np.ndarray) -> np.ndarray:
        """(B, G) Var(w_g m_T' k_s + W_g' o_T), from Var(W_g' o_T) and w_g."""
        return quadratic - 2.0 * row_weight * self.along + row_weight**2 * self._of_classes(self.variance)

    def gradient(self, row: np.ndarray, residual: np.ndarray, adjoint: np.ndarray) -> np.ndarray:
        """(B, k) dD/d of M's lower triangle.

        Parameters
        ----------
        row : (B, G) derivative of D in a person's eta, the same shift for all items.
        residual : (B, G) observed minus expected scores.
        adjoint : (B, S, c) the clusters' part of the adjoint.
        """
        inverse, m = self.inverse, self.m
        spread = np.einsum("btk,btus,bul->bskl", m, self.z, m)
        covariance = inverse + inverse @ spread @ inverse
        by_m = self._sums(row) @ self.k + self._sums(residual) @ adjoint
        # Cov(k_s, sum of the arm's W eta), summed over clusters
        by_m += 2.0 * np.einsum("bts,bskl,btl->btk", self.n, covariance, m)
        by_m -= 2.0 * np.einsum("bskl,bul,buts->btk", inverse, m, self.z)
        return by_m.reshape(len(by_m), -1) @ loading_map(m.shape[2]).T
