"""M_A without each item in turn."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.trial import Trial
from ..engine.laplace import LaplaceDeviance
from ..engine.native import fit_side_by_side, fit_statistics
from ..engine.objective import SEARCH_TOLERANCE, ModeNotFound
from ..engine.side_by_side import Job, lanes_for
from ..engine.threads import one_blas_thread
from ..errors import EngineError
from ..model.compress import SufficientStatistics, at_least_counts, classes
from ..model.fit_result import Fit
from ..progress import step
from .profile import objective

STEP = "leaving items out"
REFIT_ALL = 4_000_000
"""Up to this many responses times items, M_A is refitted without every item; beyond, only without the most influential."""
REFITTED = 3
"""Beyond that, this many items with the largest changes in each of average effect, spread and rho are refitted."""
LOOKED_AT = 50
"""Beyond that, at most this many items are left out, those with the most extreme effects."""


@dataclass(frozen=True)
class ItemInfluence:
    """Results of M_A without each item, as (J,) arrays in the order of the items.

    Entries are NaN where M_A cannot be fitted without the item and, in large data, for items with effects close to the average.

    Attributes
    ----------
    item_names : J names.
    ate, sigma_zeta : estimates without the item, logits.
    rho : estimate without the item; NaN where undefined.
    ate_change, sigma_zeta_change, rho_change : estimate without the item minus the estimate with all items.
    refitted : (J,) whether M_A was refitted rather than its estimates moved by one Newton step.
    """

    item_names: tuple[str, ...]
    ate: np.ndarray
    sigma_zeta: np.ndarray
    rho: np.ndarray
    ate_change: np.ndarray
    sigma_zeta_change: np.ndarray
    rho_change: np.ndarray
    refitted: np.ndarray


@one_blas_thread
def leave_one_item_out(trial: Trial, fit: Fit) -> ItemInfluence:
    """M_A without each item in turn, refitted or, in large data, by one Newton step with refits for the most influential items.

    The step uses the exact gradient of the deviance without the item at the estimates with it, and the curvature behind the
    standard errors. It is the first step of the refit, and with at least twenty items its error is below a sixth of the largest
    change.

    Parameters
    ----------
    trial : prepared data of at least 3 items.
    fit : its fit of M_A, from any engine; refits are native, with the same approximation of the likelihood.
    """
    everything = _Responses(trial)
    values = np.full((trial.n_items, 3), np.nan)
    refitted = np.ones(trial.n_items, bool)
    if trial.n_responses * trial.n_items > REFIT_ALL and np.isfinite(fit.vcov).all():
        refitted[:] = False
        # an item's influence on the average is about its distance from it divided by the number of other items
        looked_at = np.argsort(-np.abs(fit.ranef[:, 1]), kind="stable")[:LOOKED_AT].tolist()
        for done, left_out in enumerate(looked_at):
            step(STEP, done, len(looked_at))
            moved = _moved(everything.without(left_out), fit, left_out)
            if moved is None:
                refitted[left_out] = True
            else:
                values[left_out] = moved
        change = np.abs(values - np.array(_estimates(fit)))
        refitted[np.argsort(np.nan_to_num(change), axis=0)[-REFITTED:].ravel()] = True
    again = np.flatnonzero(refitted).tolist()
    lanes = lanes_for([Job(everything.without(again[0]))], 1 if fit.method == "laplace" else fit.nodes) if again else 1
    for done in range(0, len(again), lanes):
        step(STEP, done, len(again))
        chunk = again[done : done + lanes]
        for left_out, without in zip(chunk, _refitted([everything.without(k) for k in chunk], fit), strict=True):
            values[left_out] = np.nan if without is None else _estimates(without)
    ate, sigma_zeta, rho = values.T
    of_ate, of_sigma_zeta, of_rho = (values - np.array(_estimates(fit))).T
    return ItemInfluence(trial.item_names, ate, sigma_zeta, rho, of_ate, of_sigma_zeta, of_rho, refitted)


def _refitted(tables: list[SufficientStatistics], fit: Fit) -> list[Fit | None]:
    """M_A of each table, those of one format side by side; None where it cannot be fitted."""
    out: list[Fit | None] = [None] * len(tables)
    how: dict[str, Any] = {"method": fit.method, "nodes": fit.nodes, "standard_errors": False}
    alike: dict[tuple, list[int]] = {}
    for k, table in enumerate(tables):
        formats = None if table.formats is None else (tuple(table.formats.highest), table.formats.form)
        alike.setdefault((formats, table.trials is None), []).append(k)
    for group in alike.values():
        if len(group) > 1:
            jobs = [Job(tables[k], {fit.spec.name: fit}) for k in group]
            for k, found in zip(group, fit_side_by_side(jobs, fit.spec, **how), strict=True):
                out[k] = found if isinstance(found, Fit) else None
            continue
        with suppress(EngineError, ArithmeticError, np.linalg.LinAlgError):
            out[group[0]] = fit_statistics(tables[group[0]], fit.spec, smaller=fit, **how)
    return out


def _estimates(fit: Fit) -> tuple[float, float, float]:
    return fit.coefficient("treat"), fit.sigma_zeta, fit.rho


class _Responses:
    """Responses by person and item, from which an item can be removed without rereading all of them."""

    def __init__(self, trial: Trial):
        self.trial = trial
        shape = (trial.n_persons, trial.n_items)
        cell = trial.person * trial.n_items + trial.item
        self.trials = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
        self.sums = np.bincount(cell, weights=trial.resp, minlength=shape[0] * shape[1]).astype(np.int64).reshape(shape)
        self.score = self.sums.sum(axis=1)
        self.item_total = trial.item_counts()[1]
        self.at_least = None if trial.formats is None else at_least_counts(trial.item, trial.resp, trial.formats)

    def without(self, left_out: int) -> SufficientStatistics:
        """The statistics of the other items."""
        trial, kept = self.trial, np.arange(self.trial.n_items) != left_out
        trials = self.trials[:, kept]
        answered = trials.any(axis=1)
        formats = None if trial.formats is None else trial.formats.without(kept)
        at_least = None if formats is None or self.at_least is None else self.at_least[kept, : formats.most]
        clusters = trial.of_clusters
        cluster = clusters["cluster"]
        return classes(
            tuple(name for name, keep in zip(trial.item_names, kept, strict=True) if keep),
            trial.treat[answered],
            (self.score - self.sums[:, left_out])[answered],
            trials[answered],
            None,
            self.item_total[:, kept],
            trial.n_responses - int(self.trials[:, left_out].sum()),
            formats=formats,
            at_least=at_least,
            cluster=None if cluster is None else cluster[answered],
            cluster_effects=clusters["cluster_effects"],
        )


def _moved(statistics: SufficientStatistics, fit: Fit, left_out: int) -> tuple[float, float, float] | None:
    """beta_1, sigma_zeta and rho one Newton step from the fit; None if there is no such step."""
    deviance = objective(statistics, fit)
    if deviance.spec.psi_names != fit.spec.psi_names:
        return None
    effects = np.delete(fit.ranef, left_out, axis=0)
    deviance.start_modes(effects[:, 0] / fit.item_factor[0, 0])
    if isinstance(deviance, LaplaceDeviance):
        deviance.modes.w[0] = np.linalg.solve(fit.item_factor, effects.T)
        deviance.tolerance = SEARCH_TOLERANCE
    try:
        gradient = deviance(fit.psi).gradient
    except ModeNotFound:
        return None
    psi = fit.psi - 0.5 * fit.vcov @ gradient
    l11, l21, l22 = psi[-3:]
    spread = float(np.hypot(l21, l22))
    return float(psi[1]), spread, float(np.sign(l11) * l21 / spread)
