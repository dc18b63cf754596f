"""Sensitivity of item effects to discriminations: M_0 and M_A refitted with a slope for each item.

In the Rasch model all items discriminate equally. Where they do not, an effect of treatment on persons moves steep items further
than flat ones, and M_A mistakes this for item effects (with an SD of log a of .35, 20 items, an effect of .6 SD and 2,000 persons
its test rejects in most trials without any). With discriminations a_i, whose geometric mean is 1, treatment moves item i by
``a_i beta_1 + zeta_i``, so that zeta is what the slopes do not explain (Birnbaum 1968; on this confound of item effects Gilbert
2024, doi:10.3102/10769986241240085).

All numbers, also those with all a_i = 1, come from quadrature over persons and Laplace over items (``engine.two_parameter``), so
that the two sets of results differ in nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from ..engine.native import SAME_DEVIANCE, fit_deviance
from ..engine.starts import SMALLEST_SPREAD
from ..engine.two_parameter import FlatItems, TwoParameterDeviance
from ..errors import EngineError, InputError
from ..model.fit_result import Fit
from ..model.patterns import ResponsePatterns, response_patterns
from ..model.spec import MODELS, ModelSpec
from .lrt import LikelihoodRatio, p_values
from .profile import ProfileInterval, Profiler

if TYPE_CHECKING:
    from ..data.trial import Trial

LEVEL = 0.05
FLAT = 0.02
"""An item with a discrimination below this share of the median counts as flat."""
RISES = 1e-3
"""A flat item is set free if the deviance falls by more than this per unit of a_i."""
MOST_RESPONSES = 600_000
"""With more responses the analysis would take more than a few seconds, and is left out."""


class Verdict(StrEnum):
    """How the item effects change when items have discriminations."""

    SURVIVE = "survive"
    """The test rejects both ways, and the interval of sigma_zeta includes the estimate with all a = 1."""
    SHRINK = "shrink"
    """The test rejects both ways, and the interval of sigma_zeta is below the estimate with all a = 1."""
    GROW = "grow"
    """The test rejects both ways, and the interval of sigma_zeta is above the estimate with all a = 1."""
    VANISH = "vanish"
    """The test rejects only with all a = 1."""
    APPEAR = "appear"
    """The test rejects only with free a."""
    NONE = "none"
    """The test rejects neither way."""


@dataclass(frozen=True)
class EffectsBeside:
    """M_A and its test, with all discriminations 1 or free; logits.

    Attributes
    ----------
    average : beta_1.
    sigma_theta, sigma_zeta, rho : estimates of M_A; rho is NaN where undefined.
    test : the likelihood ratio of M_0 and M_A.
    loglik_null, loglik : log-likelihoods of M_0 and M_A.
    singular, converged : whether M_A is singular, and whether both fits converged.
    """

    average: float
    sigma_theta: float
    sigma_zeta: float
    rho: float
    test: LikelihoodRatio
    loglik_null: float
    loglik: float
    singular: bool
    converged: bool


@dataclass(frozen=True)
class Discriminations:
    """The sensitivity analysis.

    Attributes
    ----------
    equal, free : with all a = 1, and with free ones.
    spread_interval : 95% profile-likelihood interval of sigma_zeta with free discriminations, whose lower end is 0 if and only if
        the mixture test does not reject; NaN for an end that does not exist.
    discrimination : (J,) a_i of M_A; 0 for flat items, geometric mean 1 over the others.
    spread : SD of log a over the items that are not flat.
    flat : names of items with a_i = 0, whose responses do not rise with theta (or fall with it).
    verdict : from the mixture test at 5%, and the position of the estimate with all a = 1 relative to the interval with free a.
    slopes_statistic, slopes_df, slopes_p : likelihood ratio of M_A with free a against all a = 1, on J - 1 degrees of freedom.
    """

    equal: EffectsBeside
    free: EffectsBeside
    spread_interval: tuple[float, float]
    discrimination: np.ndarray
    spread: float
    flat: tuple[str, ...]
    verdict: Verdict
    slopes_statistic: float
    slopes_df: int
    slopes_p: float


def discriminations(trial: Trial, main: Fit) -> Discriminations:
    """Fit a trial with and without free discriminations.

    Parameters
    ----------
    trial : prepared data.
    main : M_A of these data, to start from.

    Raises
    ------
    InputError : there are fewer than three items, which cannot identify slopes and effects, or more than ``MOST_RESPONSES``
        responses.
    EngineError : a model could not be fitted.
    """
    if trial.n_items < 3:
        raise InputError("With fewer than three items discriminations are not identified: use a table with more items.")
    if trial.n_responses > MOST_RESPONSES:
        raise InputError(
            f"With more than {MOST_RESPONSES:,} responses discriminations are not fitted: sample persons (--max-persons)."
        )
    patterns = response_patterns(trial.item_names, trial.treat, trial.person, trial.item, trial.resp, trial.formats)
    return discriminations_of(patterns, main)


def discriminations_of(patterns: ResponsePatterns, main: Fit) -> Discriminations:
    """``discriminations`` from response patterns."""
    from scipy.special import chdtrc

    like = main
    null, main = _pair(patterns, main, None)[:2]
    free_null, free_main, deviance = _pair(patterns, main, null)
    log_a = deviance.log_discriminations(free_main.psi)
    # an item that does not discriminate between persons, or reversely, ends at a = 0, and the others define the scale
    steep = log_a > np.median(log_a[deviance.steep]) + np.log(FLAT)
    scale = float(np.exp(log_a[steep].mean()))
    statistic = max(main.deviance - free_main.deviance, 0.0)
    df = len(log_a) - 1
    interval = Profiler(deviance, free_main, free_null, like).interval("sigma_zeta")
    equal, free = _beside(null, main), _beside(free_null, free_main, scale)
    return Discriminations(
        equal=equal,
        free=free,
        spread_interval=(interval.lower, interval.upper),
        discrimination=np.where(steep, np.exp(log_a) / scale, 0.0),
        spread=float(log_a[steep].std(ddof=1)),
        flat=tuple(name for name, kept in zip(patterns.statistics.item_names, steep, strict=True) if not kept),
        verdict=_verdict(equal, free, interval),
        slopes_statistic=statistic,
        slopes_df=df,
        slopes_p=float(chdtrc(df, statistic)),
    )


def _verdict(equal: EffectsBeside, free: EffectsBeside, interval: ProfileInterval) -> Verdict:
    before, after = equal.test.mixture < LEVEL, free.test.mixture < LEVEL
    if not (before and after):
        return Verdict.VANISH if before else Verdict.APPEAR if after else Verdict.NONE
    if equal.sigma_zeta > interval.upper:
        return Verdict.SHRINK
    return Verdict.GROW if equal.sigma_zeta < interval.lower else Verdict.SURVIVE


def _pair(patterns: ResponsePatterns, main: Fit, null: Fit | None) -> tuple[Fit, Fit, TwoParameterDeviance]:
    """M_0 and M_A with all a = 1, or with free a if ``null`` is a fit with all a = 1, and the deviance of M_A."""
    free = null is not None
    smaller = main if null is None else null
    null, _ = _fitted(patterns, MODELS["M_0"], free, smaller, [smaller.sigma_theta, smaller.sigma_b])
    (l11, _), (l21, l22) = main.item_factor
    found, deviance = _fitted(patterns, MODELS["M_A"], free, main, [main.sigma_theta, l11, l21, l22])
    if found.deviance > null.deviance + SAME_DEVIANCE:
        # start from the smaller model with a small spread of item effects
        spread = [null.sigma_theta, null.sigma_b, 0.0, SMALLEST_SPREAD]
        rival, other = _fitted(patterns, MODELS["M_A"], free, null, spread)
        if rival.deviance < found.deviance:
            found, deviance = rival, other
    if found.deviance > null.deviance + 1e-4:
        raise EngineError("M_A with discriminations has a lower likelihood than M_0, so the two cannot be compared.")
    return null, found, deviance


def _fitted(
    patterns: ResponsePatterns, spec: ModelSpec, free: bool, like: Fit, spread: list[float]
) -> tuple[Fit, TwoParameterDeviance]:
    """The fit started from the fixed effects, steps and discriminations (1 if it has none) of ``like`` and these spreads.

    Items whose discriminations fall towards 0 on the way are set to 0. If D would fall from there, they are set free again.
    """
    deviance = TwoParameterDeviance(patterns, spec, free=free)
    while True:
        try:
            fit = fit_deviance(deviance, _start(deviance, like, spread), standard_errors=False)
            break
        except FlatItems as found:
            deviance = TwoParameterDeviance(patterns, spec, free=free, flat=sorted((*deviance.flat, *found.items)))
    deviance.watching = False
    if deviance.flat:
        deviance(fit.psi)
        wrongly = [i for i in deviance.flat if deviance.by_discrimination[i] < -RISES]
        if wrongly:
            deviance = TwoParameterDeviance(
                patterns, spec, free=free, flat=[i for i in deviance.flat if i not in wrongly]
            )
            deviance.watching = False
            fit = fit_deviance(deviance, _start(deviance, fit, spread), standard_errors=False)
    return fit, deviance


def _start(deviance: TwoParameterDeviance, like: Fit, spread: list[float]) -> np.ndarray:
    """(k,) psi with the fixed effects and steps of ``like``, log a = 0 where it has none, and these spreads, none of them 0."""
    steps = dict(zip(like.spec.steps, like.steps, strict=True))
    names = deviance.spec.psi_names[-len(spread) :]
    off = [x if name == "l21" else max(abs(x), SMALLEST_SPREAD) for name, x in zip(names, spread, strict=True)]
    return np.array([*like.beta, *(steps.get(name, 0.0) for name in deviance.spec.steps), *off])


def _beside(null: Fit, main: Fit, scale: float = 1.0) -> EffectsBeside:
    """Results for a pair of fits; sigma_theta and beta_1 are multiplied by ``scale``, by which discriminations are divided."""
    return EffectsBeside(
        scale * main.coefficient("treat"), scale * main.sigma_theta, main.sigma_zeta, main.rho, p_values(null.deviance - main.deviance),
        null.loglik, main.loglik, main.singular, null.converged and main.converged,
    )  # fmt: skip
