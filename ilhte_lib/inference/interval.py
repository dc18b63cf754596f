"""Which interval stands beside an estimate: the one place that decides, for tables and sentences alike.

For the average effect t with Satterthwaite's degrees of freedom, since items, and clusters, are few; elsewhere the
profile-likelihood interval where there is one (of rho cut where it holds with few items, ``profile.correlation_cut``), and the
Wald interval where there is none; of the interactions, where the models have clusters, as far as t says. Where the models have
none (profile vignette, or clusters ignored), whole clusters were drawn, and there are enough of them, the resampling's for the
average effect and the interactions, since the likelihood takes persons as independent. A sentence claims no more than this
interval.
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
    """Where an interval comes from."""

    PROFILE = "profile likelihood"
    T = "t"
    CLUSTERS = "resampling of clusters"
    WALD = "Wald"
    NONE = "none"

    @property
    def short(self) -> str:
        """In a word, for a table."""
        return {"PROFILE": "profile", "CLUSTERS": "clusters", "NONE": "–", "T": "t"}.get(self.name, self.value)


@dataclass(frozen=True)
class Interval:
    """An estimate and the 95% interval that is shown with it.

    Attributes
    ----------
    estimate : NaN where undefined.
    low, high : ends; NaN for one that does not exist.
    basis : where they come from.
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

    The estimate -+ a few SEs by ``generalise.reach_of_average``; the profile's where there is no SE. Drawing clusters keeps the items, so what the sampling of items adds to the variance of the average effect (the
    model's with items sampled less that on exactly these items) is added to it.
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
    """How many standard errors the interval of the average effect reaches; NaN where that is unknown."""
    here = inference.generalisation
    return math.nan if here is None else here.reach


def average_estimand(result: Effects) -> str:
    """The bootstrap's name of the average effect in the table's unit."""
    return "ate_std" if math.isfinite(_number(result.summary["ate_std"])) else "ate"


def spread_interval(result: Effects, inference: Inference) -> Interval:
    """sigma_zeta of M_A, in the table's unit."""
    by = result.scale.by
    estimate = result.spread / by
    return _profile(inference, "sigma_zeta", estimate, by) or _wald(estimate, result.spread_se / by, low=0.0)


def rho_interval(result: Effects, inference: Inference) -> Interval:
    """The correlation of easiness and item effect of M_A; without an interval where no item was answered in both arms."""
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
    """The standard error of sigma_theta of M_A, logits; NaN where undefined."""
    found = inference.intervals.get("sigma_theta")
    return (found.wald_upper - found.wald_lower) / (2 * HALF_WIDTH) if found else math.nan


def divisor_interval(result: Effects) -> Interval:
    """sigma_theta of M_0, by which effects in SDs are divided, logits."""
    return _wald(_number(result.summary["sigma_theta"]), _number(result.summary["sigma_theta_se"]), low=0.0)


def interaction_interval(result: Effects, inference: Inference, name: str) -> Interval:
    """beta_3 of M_B ("beta3_b") or of M_C ("beta3_c"), logits per SD of the covariate."""
    estimate = _number(result.summary[name])
    if inference.takes_drawn_clusters and inference.resampling is not None:
        low, high = inference.resampling.interval(name, estimate)
        if math.isfinite(low) and math.isfinite(high):
            return Interval(estimate, low, high, Basis.CLUSTERS)
    return _wald(estimate, _number(result.summary[f"{name}_se"]), half=_half(inference))


def told_intervals(result: Effects, inference: Inference) -> dict[str, Interval]:
    """The intervals that sentences tell: of average and spread in the table's unit, rho, and the interactions, if there are any."""
    told = {
        "average": average_interval(result, inference),
        "spread": spread_interval(result, inference),
        "rho": rho_interval(result, inference),
    }
    interactions = {name: _number(result.summary[name]) for name in ("beta3_b", "beta3_c")}
    return told | {
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
    """Half the width of a fixed effect's Wald interval in standard errors: of t where the model has clusters."""
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
    """A parameter of any model by itself with its Wald interval, and the standard error, logits (rho without unit).

    Parameters
    ----------
    name : of ``fit.spec.psi_names`` without L and M, or "sigma_b", "sigma_zeta", "rho" or "sigma_u".
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
