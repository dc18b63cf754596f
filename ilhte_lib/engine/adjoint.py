"""The exact gradient of the Laplace deviance at the modes, by one adjoint solve instead of finite differences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .wide import Traces

if TYPE_CHECKING:
    from .modes import Modes


def exact_gradient(modes: Modes) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """(B, k) dD/dpsi by one adjoint solve, and the adjoint ``H a = d(log det H)/du``.

    It consists of the deviance's own terms and those of log det H through eta, through Lambda and through the mode:

        dD/dpsi = dF/dpsi + d(log det H)/dpsi |_u - a' (1/2) d2F/(du dpsi).
    """
    model, sigma, d, clusters = modes.model, modes.sigma, modes.d, modes.clusters
    b = modes.lanes
    of = _traces(modes) if modes.wide is None else modes.wide.traces(modes)
    trace_cluster = None
    if clusters is not None:
        trace_cluster = clusters.collect(of.row)
    adjoint_v, adjoint_w, offsets, shared, adjoint_k = modes.solve(
        sigma * of.row, np.matmul(modes.a_transposed, of.col), trace_cluster, of.pulled
    )
    moved = sigma * adjoint_v
    if clusters is not None:
        moved = moved + clusters.shift(adjoint_k)
    adjoint_row = moved * modes.row_weight + shared
    adjoint_col = modes.pull(moved) + offsets * modes.col_weight

    row = of.row - 2.0 * modes.person_residual - adjoint_row
    col = of.col - 2.0 * modes.item_residual - adjoint_col
    by_sigma = (
        modes.v * row + adjoint_v * modes.person_residual + 2.0 * sigma * (modes.row_weight - of.quadratic / d) / d
    )
    by_a = (
        np.matmul(col, modes.w.transpose(0, 2, 1))
        + np.matmul(modes.item_residual, adjoint_w.transpose(0, 2, 1))
        + of.factor
    )
    by_steps = np.empty((b, 0))
    if model.n_steps:
        by_j = of.by_j
        for block in modes.filled():
            along = moved[:, block.rows, None] + np.matmul(model.membership[block.rows], offsets)
            by_j = by_j + modes.cumulant.slope_through_the_mode(block, along)
        by_steps = modes.cumulant.gradient(by_j)
    by_beta = model.over_persons(row)[0]
    if model.item_design is not None:
        by_beta = by_beta + col.reshape(b, -1) @ model.item_design.T
    gradient = np.concatenate(
        [
            by_beta,
            by_steps,
            np.empty((b, 0)) if clusters is None else clusters.gradient(row, modes.person_residual, adjoint_k),
            model.over_persons(by_sigma)[1],
            by_a.reshape(b, -1) @ model.factor_map.T,
        ],
        axis=1,
    )
    return gradient, (adjoint_v, adjoint_w, adjoint_k)


def _traces(modes: Modes) -> Traces:
    """Derivatives of log det H at a fixed u, with persons eliminated first."""
    model, sigma, d = modes.model, modes.sigma, modes.d
    b, j = modes.lanes, model.n_items
    variance = sigma * sigma
    inverse = modes.schur_inverse().reshape(b, -1, j * j)
    # K_TT' = a_T' S^-1 a_T' by pair of arms, (B, P, J, J)
    k = np.matmul(modes.loadings, inverse).reshape(b, -1, j, j)
    modes.outer_columns[:, :2] = k.reshape(b, -1, j * j)[:, :2, :: j + 1]
    clusters = modes.clusters
    if clusters is not None:
        clusters.set_item_variance(k)

    # d(log det H)/d eta = W' h, with h_gi = K_ii + sigma^2 h_pp - 2 sigma^2 (W K)_gi / d the variance of eta_gi under H^-1
    # (see clusters for their part)
    quadratic, trace_row = np.empty_like(d), np.empty_like(d)
    trace_col, by_j = 0.0, 0.0
    pulled: np.ndarray | float | None = None if modes.stored else 0.0
    for block in modes.filled():
        rows, w = block.rows, block.weight
        wk, third, own = block.scratch
        for t, part_weight, part in block.parts:
            np.matmul(part_weight, k[:, t], out=part)
        np.multiply(wk, w, out=own)
        d_rows = d[:, rows]
        quadratic[:, rows] = np.matmul(own, model.ones)
        h_pp = 1.0 / d_rows + variance * quadratic[:, rows] / (d_rows * d_rows)
        modes.cumulant.third_moment(block, third, own)
        modes.outer_rows[:, rows, 2] = variance * h_pp
        wk *= (2.0 * variance / d_rows)[:, :, None]
        if clusters is not None:
            modes.outer_rows[:, rows, 2] += clusters.add_to_variance(block, wk, d_rows, variance)
        np.matmul(modes.outer_rows[:, rows], modes.outer_columns, out=own)
        own -= wk
        if model.n_steps:
            by_j = by_j + modes.cumulant.slope_at_the_mode(block, own)
        own *= third
        trace_row[:, rows] = np.matmul(own, model.ones)
        trace_col = trace_col + np.matmul(model.count_by_arm[..., rows], own)
        if not modes.stored:
            along = variance * trace_row[:, rows] / d_rows
            pulled = pulled + np.matmul(model.count_by_arm[..., rows] * along[:, None, :], w)
    if clusters is not None:
        quadratic = clusters.of_persons(quadratic, modes.row_weight)

    # through Lambda: 2 [S^-1 (information_T a_T)]_ii summed over items
    traces = np.matmul(modes.information.reshape(b, -1, j * j), inverse.transpose(0, 2, 1)).reshape(
        b, -1, model.q, model.q
    )
    left, right = np.transpose(model.pairs)
    explicit = 2.0 * np.matmul(traces, modes.a[:, right, :, None])[:, :, :, 0]
    if len(left) > 2:
        explicit = explicit[:, :2] + explicit[:, 2:]
    return Traces(trace_row, trace_col, quadratic, explicit, by_j, pulled)
