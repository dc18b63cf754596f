"""Clusters and sites in sentences and rows: how the models include them, and the estimates that result."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ilhte_lib.inference.interval import Basis, Interval, average_interval, spread_interval
from ilhte_lib.messages import quoted

from .numbers import DASH, between, number

if TYPE_CHECKING:
    from ilhte_lib.inference.clusters import ClusterResult
    from ilhte_lib.inference.effects import Effects
    from ilhte_lib.inference.infer import Inference

CLUSTERS = (
    "σ_u is the standard deviation of the clusters' levels. The intraclass correlation is the share of σ_u² in σ_u² + σ_θ² of "
    "M_A: of persons' levels, not of single responses; its interval is the Wald interval of log(σ_u/σ_θ). Elsewhere effects in SDs are divided by σ_θ of M_0, the SD of "
    "persons within clusters; here they are also divided by √(σ_u² + σ_θ²), the SD of all persons."
)


def cluster_finding(inference: Inference, column: str) -> str:
    """A sentence that the models include clusters, with the intraclass correlation; "" where they do not."""
    found = inference.clusters
    if found is None:
        return ""
    alike = between(found.icc_lower, found.icc_upper)
    interval = "" if alike == between(math.nan, math.nan) else f" [95% interval {alike}]"
    few = ", too few to estimate well how they vary" if inference.weak.few_clusters else ""
    return (
        f"Persons come in {found.count} {'sites' if found.both_arms else 'clusters'} (column {quoted(column)}){few}, which all "
        f"models allow for: intraclass correlation {number(found.icc, 2)}{interval}."
    )


def cluster_findings(found: ClusterResult, inference: Inference, column: str) -> tuple[str, ...]:
    """How the models include clusters, which intervals result, and which option would extend the model."""
    name, df = quoted(column), found.degrees_of_freedom
    where = "some with persons of both arms" if found.both_arms else "each entirely in one arm"
    effects = not math.isnan(found.sigma_effect)
    what = "their level and effect" if effects else "their level"
    said = [
        f"Persons come in {found.count} clusters (column {name}), {where}; all models have random effects for {what}, and all "
        f"standard errors, tests and intervals allow for them. Intervals of the interactions extend ± {found.quantile:.2f} standard "
        f"errors (t with {df} degrees of freedom){_of_average(inference)}."
    ]
    if effects:
        spread = f"The effect differs between sites with a standard deviation of {number(found.sigma_effect, 2)} logits"
        if not math.isnan(found.correlation):
            spread += f", correlation with their level {number(found.correlation, 2)}"
            if abs(found.correlation) > 0.9999:
                spread += " (on its boundary, a singular fit)"
        said.append(f"{spread}.")
    elif found.both_arms:
        said.append(
            "Clusters contain both arms: --cluster-effects also lets the treatment effect vary between them, which the "
            "standard error of the average effect does not allow for here."
        )
    if found.sigma_u == 0.0:
        said.append(
            "Clusters do not differ by more than their persons do by chance: σ_u is estimated as 0, a singular fit."
        )
    if inference.weak.few_clusters:
        said.append(
            f"With only {found.count} clusters σ_u is estimated poorly, and intervals that depend on it are rough."
        )
    return tuple(said)


def _of_average(inference: Inference) -> str:
    """The half-width of the interval of the average effect, in standard errors, as the end of a sentence."""
    here = inference.generalisation
    if here is None or not math.isfinite(here.reach):
        return ""
    return f"; that of the average effect ± {here.reach:.2f}, which depends on the number of items too"


def cluster_rows(result: Effects, inference: Inference) -> list[dict[str, str]]:
    """σ_u, the intraclass correlation, and effects in SDs of all persons, each with its interval."""
    found = inference.clusters
    if found is None:
        return []
    nothing = Interval(math.nan, math.nan, math.nan, Basis.NONE)
    profile = inference.intervals.get("m11")
    of_u = nothing if profile is None else Interval(found.sigma_u, profile.lower, profile.upper, Basis.PROFILE)
    by = found.sigma_persons if found.sigma_persons > 0 else math.nan
    ratio = result.scale.by / by

    def scaled(value: float, interval: Interval) -> Interval:
        return Interval(value, interval.low * ratio, interval.high * ratio, interval.basis)

    lines = [
        ("σ_u, clusters", "logits", Interval(found.sigma_u, of_u.low, of_u.high, of_u.basis), found.sigma_u_se),
        ("Intraclass correlation", "", Interval(found.icc, found.icc_lower, found.icc_upper, Basis.WALD), math.nan),
        (
            "Average effect",
            "SDs of all persons",
            scaled(found.ate_all, average_interval(result, inference)),
            found.ate_all_se,
        ),
        (
            "σ_ζ, item effects",
            "SDs of all persons",
            scaled(found.sigma_zeta_all, spread_interval(result, inference)),
            math.nan,
        ),
    ]
    if not math.isnan(found.sigma_effect):
        of_effect = Interval(found.sigma_effect, math.nan, math.nan, Basis.NONE)
        lines.insert(1, ("σ of the effect between sites", "logits", of_effect, math.nan))
    return [
        {
            "": name,
            "Unit": unit,
            "Estimate": number(shown.estimate, 3),
            "SE": number(se, 3),
            "95% interval": between(shown.low, shown.high),
            "Interval from": shown.basis.short if shown.defined else DASH,
        }
        for name, unit, shown, se in lines
    ]
