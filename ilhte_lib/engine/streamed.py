"""The Laplace deviance where cells are too many to be kept: two passes over them an evaluation, everything else from sums.

Given the items' effects persons do not touch each other, so each block of persons goes to its own modes, one number a person,
while it lies in the processor's cache. Left over is the penalised likelihood in the items' effects alone, whose Hessian is the
Schur complement ``S`` of ``modes``: Newton's method on a few numbers.

The mode moves along psi_k by ``dw_k = S^-1 c_k``, where c_k is made of sums that the pass has taken, and

    dD/dpsi_k = dD/dpsi_k |_u + (dF/du + d(log det H)/du)' du/dpsi_k,

so the adjoint solve of ``adjoint`` and its passes are not needed; and with dF/du in it the derivative of F is exact to the square of
the distance from the mode. The second pass is over the third moments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .objective import MAX_NEWTON_STEPS, ModeNotFound

if TYPE_CHECKING:
    from .modes import Modes

PERSON_TOLERANCE = 1e-9
"""Persons' modes are found to this (of their spherical effects); to its root in a pass that will not be the last."""
ITEM_TOLERANCE = 3e-8
"""Items' modes to this (logits), what is left added to first order: of log det H's slope it leaves some 1e-3 standard errors of a
million persons."""
LONGEST_STEP = 2.0
"""Logits that a person is moved by at most."""
CHORD = 1e-5, 0.1
"""Logits: after a step of the items between these the old information is good for another, and the next pass takes no new one."""
FAR = 1e-4
"""So is it if a parameter has moved by more than this since it was taken, in which case the items will need a step."""


class Stream:
    """Passes over the cells of a workspace (one lane, its blocks ``one_arm_blocks``), after each of which persons are at their modes given the items.

    Attributes
    ----------
    dw, dv : (k, q, J) and (G, k) derivatives of the mode, in single precision for persons, whose modes are found exactly.
    """

    def __init__(self, modes: Modes):
        self.modes = modes

    def pass_over(self, *, information: bool = True, loglik: bool = True) -> None:
        """Persons to their modes; residuals, weights, and what else is asked for, there.

        Raises
        ------
        ModeNotFound : a person's mode is not reached.
        """
        modes, model = self.modes, self.modes.model
        s, ones = model.statistics, model.ones
        sigma, v, fixed = float(modes.sigma[0, 0]), modes.v[0], modes.fixed[0]
        p, j = model.n_beta, model.n_items
        modes.cumulant.set_predictor(modes.person_part(), modes.item_part())
        modes.d = np.empty_like(modes.v)
        columns, self.moved = np.zeros((2, 2, j)), np.zeros((2, p + 2, j))
        shared = np.zeros((2, j, j))
        self._log_terms = np.empty(model.n_classes) if loglik else None
        tolerance = PERSON_TOLERANCE if information else np.sqrt(PERSON_TOLERANCE)
        for block in modes.answered():
            rows, (t, _, scaled) = block.rows, block.parts[0]
            weight, scaled, own_v = block.weight[0], scaled[0], v[rows]
            for _ in range(MAX_NEWTON_STEPS):
                modes.cumulant.moments(block)
                expected, information_there = np.matmul(block.cells[:, 0], ones)
                residual = s.score[rows] - expected
                slope, d = sigma * residual - own_v, 1.0 + sigma * sigma * information_there
                step = slope / d
                longest = np.abs(step).max()
                if longest < tolerance:
                    break
                if not np.isfinite(longest):
                    raise ModeNotFound("a person's Newton step is not finite")
                if abs(sigma) * longest > LONGEST_STEP:
                    np.clip(step, -LONGEST_STEP / abs(sigma), LONGEST_STEP / abs(sigma), out=step)
                own_v += step
                modes.cumulant.move_persons(rows, (fixed[rows] + sigma * own_v)[None])
            else:
                raise ModeNotFound("a person has no mode")
            modes.sums[:, 0, rows] = expected, information_there
            modes.d[0, rows] = d
            count = s.count[rows]
            columns[t] += np.matmul(count, block.cells[:, 0])
            left = np.empty((p + 2, len(d)))
            left[:p] = model.weighted_design[:, rows]
            left[p] = count * (own_v + sigma * residual)
            left[p + 1] = count * sigma * slope
            left /= d
            self.moved[t] += left @ weight
            if information:
                np.multiply(weight, (abs(sigma) * np.sqrt(count / d))[:, None], out=scaled)
                shared[t] += scaled.T @ scaled
            if loglik:
                terms = block.scratch[0]
                modes.cumulant.log_terms(block, terms)
                self._log_terms[rows] = np.matmul(terms[0], ones)
        modes.col_weight = columns[None, :, 1]
        modes.person_residual = s.score - modes.sums[0]
        modes.item_residual = (s.item_total - columns[:, 0])[None]
        if information:
            np.negative(shared, out=modes.information[0])
            modes.information_diagonal[0] += modes.col_weight[0]
            modes.factorise()

    def with_old_information(self) -> None:
        """The Schur complement at new parameters, of the information that the last pass took."""
        self.modes.factorise()

    def items_step(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Newton's step of the items: (1, q, J), its offsets (1, 2, J), and what F falls by to the mode, persons' steps in it."""
        modes = self.modes
        person_slope, item_slope, _ = modes.slope()
        rhs = item_slope - np.matmul(modes.a_transposed, self.moved[None, :, -1])
        items = modes.without_persons(rhs.reshape(1, -1)).reshape(rhs.shape)
        fallen = modes.model.statistics.count @ (person_slope * person_slope / modes.d)[0] + np.vdot(rhs, items)
        return items, np.matmul(modes.a, items), float(fallen)

    def differentiate(self) -> None:
        """``dw``, and the change of the items' part of eta along each parameter."""
        modes, model, p = self.modes, self.modes.model, self.modes.model.n_beta
        dbeta, _, dsigma, da = model.split(np.eye(len(model.spec.psi_names)))
        self._da = da
        self._explicit = np.matmul(da, modes.w) + model.item_offsets(dbeta)
        pulled = np.concatenate([dbeta, dsigma], axis=1) @ self.moved[:, : p + 1]  # (2, k, J)
        pulled = pulled.transpose(1, 0, 2) + np.matmul(
            self._explicit.transpose(1, 0, 2), modes.information[0]
        ).transpose(1, 0, 2)
        rhs = np.matmul(da.transpose(0, 2, 1), modes.item_residual) - np.matmul(modes.a_transposed, pulled)
        self.dw = modes.without_persons(rhs.reshape(len(rhs), -1)).reshape(rhs.shape)
        self._offsets = self._explicit + np.matmul(modes.a, self.dw)

    def gradient(self, step: tuple[np.ndarray, np.ndarray, float], *, follow: bool = True) -> tuple[np.ndarray, float]:
        """(k,) dD/dpsi, by the second pass, and what log det H changes by along the items' ``step`` to the mode; ``follow`` if
        ``dv`` is wanted."""
        modes, model = self.modes, self.modes.model
        s, ones = model.statistics, model.ones
        self.differentiate()
        j, p, sigma = model.n_items, model.n_beta, float(modes.sigma[0, 0])
        variance, at = sigma * sigma, model.sigma_at
        v, d, count, residual, row_weight = (
            modes.v[0],
            modes.d[0],
            s.count,
            modes.person_residual[0],
            modes.row_weight[0],
        )
        inverse = modes.schur_inverse().reshape(1, -1, j * j)
        k = np.matmul(modes.loadings, inverse).reshape(-1, j, j)
        own_variance = [np.column_stack([ones, np.diagonal(of_arm)]) for of_arm in k]
        if follow:
            self.dv = np.empty((model.n_classes, len(self.dw)), np.float32)
        quadratic, trace_row = np.empty(model.n_classes), np.empty(model.n_classes)
        trace_col, pulled = np.zeros((2, j)), np.zeros((2, j))
        for block in modes.filled():
            rows, t = block.rows, block.parts[0][0]
            weight, (wk, third, own) = block.weight[0], block.scratch[:, 0]
            d_rows, n = d[rows], count[rows]
            np.matmul(weight, k[t], out=wk)
            np.multiply(wk, weight, out=own)
            quadratic[rows] = np.matmul(own, ones)
            of_person = variance * (1.0 / d_rows + variance * quadratic[rows] / (d_rows * d_rows))
            modes.cumulant.third_moment(block, block.scratch[1], block.scratch[2])
            np.multiply(wk, third, out=own)
            # W' h summed, h_gi = sigma^2 h_pp + K_ii - 2 sigma^2 (W K)_gi / d the variance of eta_gi under H^-1
            across, along_k = np.matmul(third, own_variance[t]).T
            trace_row[rows] = of_person * across + along_k - 2.0 * variance / d_rows * np.matmul(own, ones)
            by_person, plain = np.array([n * of_person, n]) @ third
            trace_col[t] += by_person + own_variance[t][:, 1] * plain - (2.0 * variance * n / d_rows) @ own
            pulled[t] += (variance * n * trace_row[rows] / d_rows) @ weight
            if not follow:
                continue
            change = np.matmul(weight, self._offsets[:, t].T)
            change[:, :p] += model.design[rows] * row_weight[rows, None]
            change[:, at] += v[rows] * row_weight[rows]
            change *= -sigma
            change[:, at] += residual[rows]
            change /= d_rows[:, None]
            self.dv[rows] = change

        slope, item_slope, _ = modes.slope()
        offsets = step[1]
        # with u held
        row = trace_row - 2.0 * residual
        gradient = (self._explicit * (trace_col - 2.0 * modes.item_residual[0])).sum(axis=(1, 2))
        gradient[:p] += model.weighted_design @ row
        gradient[at] += count @ (v * row + 2.0 * sigma * (row_weight - quadratic / d) / d)
        traces = np.matmul(modes.information.reshape(1, -1, j * j), inverse.transpose(0, 2, 1))
        explicit = 2.0 * np.matmul(traces.reshape(1, -1, model.q, model.q), modes.a[:, :, :, None])[0, :, :, 0]
        gradient += (self._da * explicit).sum(axis=(1, 2))
        # through the mode
        along = count * (sigma * trace_row - 2.0 * slope[0]) / d
        gradient[:p] -= sigma * (model.design.T @ (along * row_weight))
        gradient[at] += along @ (residual - sigma * v * row_weight)
        gradient -= (self._offsets * (pulled - 2.0 * self.moved[:, -1])).sum(axis=(1, 2))
        gradient += (self.dw * (np.matmul(modes.a_transposed[0], trace_col) - 2.0 * item_slope[0])).sum(axis=(1, 2))
        left = float(count @ (sigma * trace_row * slope[0] / d) + np.vdot(trace_col - pulled, offsets))
        return gradient, left

    def log_terms(self) -> np.ndarray:
        """(G,) of the last pass that took them."""
        return self._log_terms

    def follow(self, dpsi: np.ndarray, start: Stream) -> None:
        """To where the mode of ``start`` moves along ``dpsi`` (k,)."""
        modes, begin = self.modes, start.modes
        np.add(begin.w, np.tensordot(dpsi, start.dw, axes=1), out=modes.w)
        np.add(begin.v, start.dv @ dpsi, out=modes.v)
