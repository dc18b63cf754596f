"""M_0 and M_A without the items answered one way in an arm: whether the findings still hold."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from ..data.trial import Trial
from ..engine.native import fit_statistics
from ..errors import EngineError, InputError
from ..model.compress import SufficientStatistics, sufficient_statistics
from ..model.fit_result import Fit
from ..model.spec import MODELS
from .lrt import LikelihoodRatio, likelihood_ratio
from .parts import Part, Parts
from .profile import ProfileInterval, Profiler, objective
from .weak import Weaknesses

FEWEST_ITEMS = 3
PARAMETERS = ("treat", "sigma_zeta", "rho")


@dataclass(frozen=True)
class WithoutOneWayItems:
    """Results from the other items.

    Attributes
    ----------
    left_out : names of the items left out.
    sigma_theta : estimate of M_0 on the other items, logits.
    ate, sigma_zeta, rho : estimates of M_A on the other items, logits (rho without unit, NaN where undefined).
    intervals : profile intervals of treat, sigma_zeta and rho that could be computed, logits.
    test : the likelihood ratio of M_0 and M_A on the other items.
    """

    left_out: tuple[str, ...]
    sigma_theta: float
    ate: float
    sigma_zeta: float
    rho: float
    intervals: dict[str, ProfileInterval]
    test: LikelihoodRatio


def statistics_without(trial: Trial, names: tuple[str, ...], *, covariate: bool = False) -> SufficientStatistics:
    """The sufficient statistics of a trial without some items, optionally with its covariate.

    Raises
    ------
    InputError : fewer than three items are left.
    """
    kept = [k for k, name in enumerate(trial.item_names) if name not in names]
    if len(kept) < FEWEST_ITEMS:
        raise InputError(
            f"Only {len(kept)} of {trial.n_items} items have both responses in each arm, and three are needed."
        )
    place = np.full(trial.n_items, -1)
    place[kept] = np.arange(len(kept))
    rows = place[trial.item] >= 0
    return sufficient_statistics(
        tuple(trial.item_names[k] for k in kept),
        trial.treat,
        trial.person[rows],
        place[trial.item[rows]],
        trial.resp[rows],
        trial.covariate if covariate else None,
        trial.formats and trial.formats.without(np.array(kept)),
        **trial.of_clusters,
    )


def without_one_way_items(trial: Trial, fits: dict[str, Fit], weak: Weaknesses) -> WithoutOneWayItems:
    """Refit M_0 and M_A without the items of ``weak.one_way_items``, natively and with the approximation used by ``fits``.

    Raises
    ------
    InputError : fewer than three items are left.
    EngineError : the models cannot be fitted to the other items, or their optimum is not certified.
    """
    statistics = statistics_without(trial, weak.one_way_names)
    method, nodes = fits["M_A"].method, fits["M_A"].nodes
    null = fit_statistics(statistics, MODELS["M_0"], method=method, nodes=nodes)
    main = fit_statistics(statistics, MODELS["M_A"], smaller=null, method=method, nodes=nodes)
    if not (null.converged and main.converged):
        raise EngineError("Without these items the optimum is not certified.")
    profiler = Profiler(objective(statistics, main), main, null)
    parts = Parts()
    intervals = {
        name: parts.attempt(Part.PROFILE, partial(profiler.interval, name, few_items=True)) for name in PARAMETERS
    }
    return WithoutOneWayItems(
        left_out=weak.one_way_names,
        sigma_theta=null.sigma_theta,
        ate=main.coefficient("treat"),
        sigma_zeta=main.sigma_zeta,
        rho=main.rho,
        intervals={name: interval for name, interval in intervals.items() if interval is not None},
        test=likelihood_ratio(null, main),
    )
