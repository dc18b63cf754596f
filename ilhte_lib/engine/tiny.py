"""The Laplace deviance of a table with a handful of classes and items, by dense matrices.

This is the same function as in ``modes`` and ``laplace``, for tables so small that only the number of NumPy calls matters:
persons are not eliminated, and everything is one matrix over the cells (class x item). A class of n_g persons enters
with the person effect ``sqrt(n_g) v_g``; its n_g - 1 other persons add ``(n_g - 1) log d_g`` to log det H. With
``c = (sigma, a_0, a_1)`` the design of the random effects is linear in c,

    eta = X beta + Z u,   Z = sum_k c_k Z_k,   H = Z' W Z + I,   D = F(u^) + log det H + sum_g (n_g - 1) log d_g.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import blas, lapack

from .objective import MAX_NEWTON_STEPS, ModeNotFound

if TYPE_CHECKING:
    from .modes import Model

MOST_WORK = 200_000
"""A table is tiny if its cells times the square of the number of random effects are below this."""


class TinyDeviance:
    """D(psi) and dD/dpsi of a tiny table.

    This is a workspace: it keeps the random effects ``u`` (G + q J,), scaled person effects followed by item effects, and the
    linearisation at the last psi, as the start of the next mode search. ``passes`` counts passes over the cells; ``last_step`` is
    the largest change of a linear predictor in the last Newton step.
    """

    def __init__(self, model: Model):
        s, g, j, q = model.statistics, model.n_classes, model.n_items, model.q
        self.model, self.size, self.passes = model, g + q * j, 0
        self.root_count = np.sqrt(s.count)
        trials = np.ones((g, j)) if s.trials is None else s.trials
        self.trials = (s.count[:, None] * trials).ravel()
        self.design = np.repeat(model.design, j, axis=0)
        self.score = model.weighted_design @ s.score
        parts = np.zeros((1 + 2 * q, g, j, self.size))
        for k in range(g):
            parts[0, k, :, k] = 1.0 / self.root_count[k]
        # score_parts[k] = Z_k' y, which follows from the margins
        self.score_parts = np.zeros((1 + 2 * q, self.size))
        self.score_parts[0, :g] = self.root_count * s.score
        for t, arm in enumerate(model.arms):
            for k in range(q):
                for i in range(j):
                    parts[1 + t * q + k, arm, i, g + k * j + i] = 1.0
                self.score_parts[1 + t * q + k, g + k * j : g + (k + 1) * j] = s.item_total[t]
        self.parts = parts.reshape(1 + 2 * q, g * j, self.size)
        self._flat_parts = self.parts.reshape(1 + 2 * q, -1)
        self._tall_parts = self.parts.reshape(-1, self.size)
        self._identity = np.eye(self.size, order="F")
        self.u = np.zeros(self.size)

    # -- in and out -----------------------------------------------------------------------------------------------

    def set_modes(self, v: np.ndarray, w: np.ndarray) -> None:
        """Set the random effects to person effects (G,) and item effects (q, J)."""
        self.u = np.concatenate([self.root_count * v, w.ravel()])

    def modes(self) -> tuple[np.ndarray, np.ndarray]:
        """Person effects (G,) and item effects (q, J)."""
        g = self.model.n_classes
        return self.u[:g] / self.root_count, self.u[g:].reshape(self.model.q, -1)

    def information(self) -> tuple[np.ndarray, np.ndarray]:
        """Information on one person of each class (G,), and on each item by arm (2, J), at the current u."""
        model = self.model
        weight = self.weight.reshape(model.n_classes, -1)
        return weight.sum(axis=1) / model.statistics.count, np.array([weight[arm].sum(axis=0) for arm in model.arms])

    @staticmethod
    def fits(model: Model) -> bool:
        """Whether a table is tiny."""
        if model.n_steps or model.n_clusters_psi or model.item_design is not None:
            return False
        cells, effects = model.n_classes * model.n_items, model.n_classes + model.q * model.n_items
        return cells * effects**2 < MOST_WORK

    # -- the mode -------------------------------------------------------------------------------------------------

    def predict(self, dpsi: np.ndarray) -> None:
        """Move u along the derivative of the mode from the last psi by ``dpsi`` (k,), unless the move is large."""
        dbeta, dc = self._split(dpsi)
        slope = self.design @ dbeta + dc @ self.along_u
        rhs = dc @ (self.score_parts - self.expected_parts) - (self.weight * slope) @ self.z
        du = lapack.dpotrs(self.cholesky, rhs, lower=1)[0]
        if np.abs(du).max() < 3.0:
            self.u = self.u + du

    def _split(self, psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """psi as beta and c = (sigma, a_0, a_1)."""
        n = self.model.n_beta
        return psi[:n], np.concatenate([psi[n : n + 1], psi[n + 1 :] @ self.model.factor_map])

    def _pass(self) -> None:
        """Probabilities, weights and the Cholesky factor of H at the current u."""
        self.passes += 1
        self.eta = self.fixed + self.z @ self.u
        self.p = 1.0 / (1.0 + np.exp(-self.eta))
        self.expected = self.trials * self.p
        self.weight = self.expected - self.expected * self.p
        self.slope = self.score_z - self.expected @ self.z - self.u
        h = (self.z.T * self.weight) @ self.z
        diagonal = h.reshape(-1)[:: self.size + 1]
        diagonal += 1.0
        self.d = diagonal[: self.model.n_classes].copy()
        self.cholesky, info = lapack.dpotrf(h.T, lower=1, clean=0, overwrite_a=1)
        if info != 0:
            raise ModeNotFound("the Hessian of the penalised likelihood is not positive definite")

    def _penalised(self) -> float:
        """F at the current u."""
        loglik = self.score_fixed + self.score_z @ self.u - self.trials @ np.logaddexp(0.0, self.eta)
        return float(self.u @ self.u - 2.0 * loglik)

    def _find(self, tolerance: float) -> None:
        previous = np.inf
        self._pass()
        for _ in range(MAX_NEWTON_STEPS):
            step = lapack.dpotrs(self.cholesky, self.slope, lower=1)[0]
            longest = float(np.abs(self.z @ step).max())
            if not np.isfinite(longest):
                raise ModeNotFound("the Newton step is not finite")
            if longest > previous or longest > 5.0:
                self._damped_step(step)
            else:
                self.u = self.u + step
                self._pass()
            if longest < tolerance:
                self.last_step = longest
                return
            previous = longest
        raise ModeNotFound(f"no mode after {MAX_NEWTON_STEPS} Newton steps")

    def _damped_step(self, step: np.ndarray) -> None:
        start, before, promised = self.u, self._penalised(), float(self.slope @ step)
        length = 1.0
        for _ in range(40):
            self.u = start + length * step
            try:
                self._pass()
                if self._penalised() <= before - 2e-4 * length * promised + 1e-9 * (1 + abs(before)):
                    return
            except ModeNotFound:
                pass
            length *= 0.5
        raise ModeNotFound("no step along the Newton direction improves the penalised likelihood")

    # -- the objective --------------------------------------------------------------------------------------------

    def __call__(self, psi: np.ndarray, tolerance: float) -> tuple[float, np.ndarray]:
        """Deviance and exact gradient (k,) at psi, as derived in ``laplace``; ``tolerance`` as in ``Modes.find``.

        Raises
        ------
        ModeNotFound : there is no usable mode.
        """
        model = self.model
        beta, c = self._split(psi)
        self.fixed = self.design @ beta
        if not np.abs(self.fixed).max() <= 600.0:
            raise ModeNotFound("linear predictors beyond 600 logits")
        self.z = (c @ self._flat_parts).reshape(-1, self.size)
        self.score_fixed, self.score_z = float(self.score @ beta), c @ self.score_parts
        self._find(tolerance)

        z, weight, d, sigma = self.z, self.weight, self.d, c[0]
        others = model.statistics.count - 1.0
        root = blas.dtrsm(1.0, self.cholesky, self._identity, lower=1)
        z_inverse = z @ (root.T @ root)
        # variance of eta under H^-1, for one person of the class
        variance = np.einsum("ij,ij->i", z_inverse, z).reshape(model.n_classes, -1)
        variance += (sigma * sigma * others / (model.statistics.count * d))[:, None]
        trace = weight * (1.0 - 2.0 * self.p) * variance.ravel()
        adjoint = lapack.dpotrs(self.cholesky, trace @ z, lower=1)[0]
        along = (self._tall_parts @ np.array([self.u, adjoint]).T).reshape(len(c), -1, 2)
        self.along_u, self.expected_parts = along[:, :, 0], self.expected @ self.parts
        rest = trace - weight * (z @ adjoint) + 2.0 * self.expected
        explicit = self._flat_parts @ (weight[:, None] * z_inverse).ravel()
        by_c = self.along_u @ rest + 2.0 * explicit - along[:, :, 1] @ self.expected
        by_c += self.score_parts @ (adjoint - 2.0 * self.u)
        row_weight = self.weight.reshape(model.n_classes, -1).sum(axis=1) / model.statistics.count
        by_c[0] += 2.0 * sigma * float(others @ (row_weight / d))
        gradient = np.concatenate([rest @ self.design - 2.0 * self.score, by_c[:1], model.factor_map @ by_c[1:]])

        logdet = 2.0 * np.log(self.cholesky.diagonal()).sum() + others @ np.log(d)
        # the remaining change of log det H to the mode, see laplace
        deviance = float(self._penalised() + logdet + adjoint @ self.slope)
        return deviance, gradient
