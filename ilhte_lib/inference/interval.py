"""The interval reported with each estimate, decided in this one place for tables and sentences alike.

- The average effect has a t interval with Satterthwaite's degrees of freedom, because items and clusters are few.
- Other parameters have the profile-likelihood interval if there is one (for rho with a cut that is valid with few items,
  ``profile.correlation_cut``), otherwise the Wald interval.
- Interactions have Wald intervals, with t if the models have clusters.
- If the models leave clusters out (profile vignette, or clusters ignored) but enough whole clusters were resampled, the average
  effect and the interactions have the interval from resampling, because the likelihood treats persons as independent.

A sentence claims no more than this interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from .delta_method import fisher_interval, rho_se, sigma_zeta_se, variance
from .effects import Effects

if TYPE_CHECKING:
    from ..model.fit_result import Fit
    from .infer import Inference

HALF_WIDTH = 1.96
"""Half the width of a 95% Wald interval in standard errors, as the published analysis rounds it."""


class Basis(StrEnum):
    """The method behind an interval."""

    PROFILE = "profile likelihood"
    T = "t"
    CLUSTERS = "resampling of clusters"
    WALD = "Wald"
    NONE = "none"

    @property
    def short(self) -> str:
        """One word, for a table."""
        return {"PROFILE": "profile", "CLUSTERS": "clusters", "NONE": "–", "T": "t"}.get(self.name, self.value)


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95% interval.

    Attributes
    ----------
    estimate : the estimate; NaN where undefined.
    low, high : ends of the interval; NaN for one that does not exist.
    basis : the method behind the interval.
    """

    estimate: float
    low: float
    high: float
    basis: Basis

    @property
    def defined(self) -> bool:
        """Whether both ends exist."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def excludes_zero(self) -> bool:
        """Whether both ends exist and lie on one side of 0."""
        return self.defined and (self.low > 0.0 or self.high < 0.0)


def average_interval(result: Effects, inference: Inference) -> Interval:
    """The average effect beta_1 of M_A, in the table's unit.

    The half width follows ``generalise.reach_of_average``; without an SE the profile interval is used. Resampling clusters holds
    the items fixed, so the model's variance due to the sampling of items is added to it.
    """
    by = result.scale.by
    estimate = result.average / by
    here, drawn = inference.generalisation, inference.resampling
    if inference.takes_drawn_clusters and here is not None and drawn is not None:
        of_items = max(here.se_with_item_sampling**2 - here.se_without_item_sampling**2, 0.0) / by**2
        half = math.hypot(drawn.quantile() * drawn.se(average_estimand(result)), HALF_WIDTH * math.sqrt(of_items))
        if math.isfinite(half):
            return Interval(estimate, estimate - half, estimate + half, Basis.CLUSTERS)
    if (by_t := average_by_t(result, average_reach(inference))).defined:
        return by_t
    return _profile(inference, "treat", estimate, by) or _wald(estimate, result.average_se / by, half=_half(inference))


def average_by_t(result: Effects, reach: float) -> Interval:
    """The average effect -+ ``reach`` standard errors (``generalise.reach_of_average``), in the table's unit."""
    estimate, half = result.average / result.scale.by, reach * result.average_se / result.scale.by
    return Interval(estimate, estimate - half, estimate + half, Basis.T if math.isfinite(half) else Basis.NONE)


def average_reach(inference: Inference) -> float:
    """Half width of the average effect's interval in standard errors; NaN where unknown."""
    here = inference.generalisation
    return math.nan if here is None else here.reach


def average_estimand(result: Effects) -> str:
    """The bootstrap's name for the average effect in the table's unit."""
    return "ate_std" if math.isfinite(_number(result.summary["ate_std"])) else "ate"


def spread_interval(result: Effects, inference: Inference) -> Interval:
    """sigma_zeta of M_A, in the table's unit."""
    by = result.scale.by
    estimate = result.spread / by
    return _profile(inference, "sigma_zeta", estimate, by) or _wald(estimate, result.spread_se / by, low=0.0)


def rho_interval(result: Effects, inference: Inference) -> Interval:
    """The correlation of easiness and item effect in M_A; without an interval if no item was answered in both arms."""
    estimate = _number(result.summary["rho"])
    if result.weak.no_common_item or not math.isfinite(estimate):
        return Interval(estimate, math.nan, math.nan, Basis.NONE)
    return _profile(inference, "rho", estimate, 1.0) or _fisher(estimate, _number(result.summary["rho_se"]))


def persons_interval(inference: Inference) -> Interval:
    """sigma_theta of M_A, logits."""
    found = inference.intervals.get("sigma_theta")
    estimate = found.estimate if found else math.nan
    return _profile(inference, "sigma_theta", estimate, 1.0) or _wald(estimate, persons_se(inference), low=0.0)


def persons_se(inference: Inference) -> float:
    """Standard error of sigma_theta of M_A, logits; NaN where undefined."""
    found = inference.intervals.get("sigma_theta")
    return (found.wald_upper - found.wald_lower) / (2 * HALF_WIDTH) if found else math.nan


def divisor_interval(result: Effects) -> Interval:
    """sigma_theta of M_0, the divisor of effects in SDs, logits."""
    return _wald(_number(result.summary["sigma_theta"]), _number(result.summary["sigma_theta_se"]), low=0.0)


def interaction_interval(result: Effects, inference: Inference, name: str) -> Interval:
    """beta_3 of M_B ("beta3_b") or of M_C ("beta3_c"), logits per SD of the covariate."""
    estimate = _number(result.summary[name])
    if inference.takes_drawn_clusters and inference.resampling is not None:
        low, high = inference.resampling.interval(name, estimate)
        if math.isfinite(low) and math.isfinite(high):
            return Interval(estimate, low, high, Basis.CLUSTERS)
    return _wald(estimate, _number(result.summary[f"{name}_se"]), half=_half(inference))


def reported_intervals(result: Effects, inference: Inference) -> dict[str, Interval]:
    """The intervals that sentences report: average and spread in the table's unit, rho, and any interactions."""
    reported = {
        "average": average_interval(result, inference),
        "spread": spread_interval(result, inference),
        "rho": rho_interval(result, inference),
    }
    interactions = {name: _number(result.summary[name]) for name in ("beta3_b", "beta3_c")}
    return reported | {
        name: interaction_interval(result, inference, name)
        for name, value in interactions.items()
        if math.isfinite(value)
    }


def _profile(inference: Inference, parameter: str, estimate: float, by: float) -> Interval | None:
    found = inference.intervals.get(parameter)
    if found is None or not (math.isfinite(found.lower) or math.isfinite(found.upper)):
        return None
    return Interval(estimate, found.lower / by, found.upper / by, Basis.PROFILE)


def _half(inference: Inference) -> float:
    """Half width of a fixed effect's Wald interval in standard errors, by t if the model has clusters."""
    return HALF_WIDTH if inference.clusters is None else inference.clusters.quantile


def _wald(estimate: float, se: float, low: float = -math.inf, half: float = HALF_WIDTH) -> Interval:
    if not math.isfinite(se):
        return Interval(estimate, math.nan, math.nan, Basis.NONE)
    half = half * se
    return Interval(estimate, max(low, estimate - half), estimate + half, Basis.WALD)


def _fisher(rho: float, se: float) -> Interval:
    low, high = fisher_interval(rho, HALF_WIDTH * se)
    return Interval(rho, low, high, Basis.WALD if math.isfinite(low) else Basis.NONE)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def parameter_interval(fit: Fit, inference: Inference, name: str) -> tuple[Interval, float]:
    """A parameter of any model with its Wald interval, and its standard error, logits (rho without unit).

    Parameters
    ----------
    name : one of ``fit.spec.psi_names`` except the entries of L and M, or "sigma_b", "sigma_zeta", "rho" or "sigma_u".
    """
    if name == "sigma_zeta":
        return _wald(fit.sigma_zeta, se := sigma_zeta_se(fit), low=0.0), se
    if name == "rho":
        return _fisher(fit.rho, se := rho_se(fit)), se
    of_psi = {"sigma_b": "l11", "sigma_u": "m11"}.get(name, name)
    se = math.sqrt(variance(fit, {of_psi: 1.0}))
    estimate = float(fit.psi[fit.spec.psi_names.index(of_psi)])
    if name in fit.spec.beta_names:
        return _wald(estimate, se, half=_half(inference)), se
    if name in fit.spec.steps:
        return _wald(estimate, se), se
    return _wald(abs(estimate), se, low=0.0), se
