"""Intervals, tests and what follows for other items, as rows and sentences of plain text: the same on page and terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ilhte_lib.inference.bootstrap import Scheme
from ilhte_lib.inference.effects import Effects
from ilhte_lib.inference.infer import Inference
from ilhte_lib.inference.interval import average_estimand, average_interval
from ilhte_lib.inference.parts import Part
from ilhte_lib.inference.units import Scale, Unit
from ilhte_lib.inference.weak import FEWEST_CLUSTERS
from ilhte_lib.messages import counted

from .numbers import DASH, between, number, p_text
from .sentences import defined

if TYPE_CHECKING:
    from ilhte_lib.model.fit_result import Fit

Row = dict[str, str]
TARGETS = (0.10, 0.05)
"""Standard errors of the average effect (in the table's unit) for which the number of items is told."""
MOST_INFLUENTIAL = 3
NONE_TESTABLE = "No item has both responses in each arm, so that none can be tested against the average."


def with_units(rows: list[Row]) -> list[Row]:
    """Rows with each unit in parentheses behind the name instead of in a column, so that they fit a phone."""
    out = []
    for row in rows:
        unit = f" ({row['Unit']})" if row.get("Unit") else ""
        out.append({key: value + unit if key == "" else value for key, value in row.items() if key != "Unit"})
    return out


def estimate_rows(result: Effects, inference: Inference) -> list[Row]:
    """Estimates of M_A with profile-likelihood and Wald intervals, then the interactions of M_B and M_C."""
    row, scale = result.summary, result.scale
    unit = scale.unit.plural
    lines = (
        ("Average effect, β₁", "treat", unit, scale.by, -math.inf, math.inf, result.average, result.average_se),
        ("σ_ζ, item effects", "sigma_zeta", unit, scale.by, 0.0, math.inf, result.spread, result.spread_se),
        ("ρ, with easiness", "rho", "", 1.0, -1.0, 1.0, row["rho"], row["rho_se"]),
        ("σ_θ, persons", "sigma_theta", "logits", 1.0, 0.0, math.inf, math.nan, math.nan),
    )
    rows = []
    for name, parameter, unit, by, low, high, value, se in lines:
        interval = inference.intervals.get(parameter)
        if parameter == "rho" and result.weak.no_common_item:
            rows.append(_estimate(name, unit, math.nan, math.nan, DASH, DASH))
            continue
        if interval is None:
            value, half = value / by if defined(value) else math.nan, 1.96 * se / by if defined(se) else math.nan
            wald, profile = (max(low, value - half), min(high, value + half)), DASH
        else:
            value = value / by if defined(value) else interval.estimate / by
            half = (interval.wald_upper - interval.wald_lower) / 2 / by
            wald = max(low, interval.wald_lower / by), min(high, interval.wald_upper / by)
            profile = between(interval.lower / by, interval.upper / by)
        known = math.isfinite(half)
        rows.append(_estimate(name, unit, value, half / 1.959963984540054, profile, between(*wald) if known else DASH))
    interactions = (
        ("β₃ of M_B", "beta3_b"),
        ("β₃ of M_C", "beta3_c"),
    )
    for name, column in interactions:
        value, se = row[column], row[f"{column}_se"]
        if defined(value):
            wald = between(value - 1.96 * se, value + 1.96 * se) if defined(se) else DASH
            rows.append(_estimate(name, "logits/SD", value, se, DASH, wald))
    return rows


def _estimate(name: str, unit: str, value: float, se: float, profile: str, wald: str) -> Row:
    texts = (name, unit, number(value, 3), number(se, 3), profile, wald)
    return dict(zip(("", "Unit", "Estimate", "SE", "95% profile", "95% Wald"), texts, strict=True))


def test_rows(inference: Inference) -> list[Row]:
    """The p-values of "all items have the same effect" side by side."""
    test, drawn = inference.test, inference.null_replicates
    # where no replicate comes near, the p-value is only known to be no larger
    none_above = drawn and inference.p_bootstrap * (drawn + 1) < 1.5
    bootstrap = ("≤" if none_above else "") + p_text(inference.p_bootstrap)
    rows = [
        ("halved", "half the χ²₂ tail, the published rule", p_text(test.halved)),
        ("mixture", "even mixture of χ²₁ and χ²₂", p_text(test.mixture)),
        (
            "bootstrap",
            f"{counted(drawn, 'trial', 'trials')} drawn from M_0" if drawn else "not drawn (--bootstrap N)",
            bootstrap,
        ),
    ]
    return [{"p-value": name, "Null distribution": how, "p": p} for name, how, p in rows]


def cluster_sentence(inference: Inference) -> str:
    """A warning where a clustered trial has nothing but standard errors of the model, else nothing."""
    if not inference.model_only:
        return ""
    text = (
        "The persons of this trial come in clusters, and the standard errors and intervals shown are the model's, which "
        "treat persons as independent: they may be far too narrow."
    )
    why = inference.why_missing(Part.RESAMPLING)
    if why:
        return f"{text} Clusters were not resampled: {why}"
    if inference.weak.few_clusters:
        return text  # a flag says that resampling would be no better
    return f"{text} Use --bootstrap N for standard errors that allow for the clusters."


def clusters_drawn_sentence(result: Effects, inference: Inference) -> str:
    """What drawing clusters does to the standard error of the average effect; nothing where none were drawn."""
    here, scale = inference.generalisation, result.scale
    if not inference.knows_clusters or here is None:
        return ""
    return (
        "The persons of this trial come in clusters. The intervals of the average effect and of the interactions in these "
        "sentences come from resampling whole clusters: with these items, the standard error of the average effect is "
        f"{number(inference.resampling.se(average_estimand(result)), 3)} {scale.unit.plural} when clusters are resampled, "
        f"{number(here.se_without_item_sampling / scale.by, 3)} under the model, which treats persons as independent. The "
        "test and all other intervals are the model's."
    )


def resampling_sentence(inference: Inference) -> str:
    """What was drawn, how often and from how many units; nothing without resampling."""
    drawn = inference.resampling
    if drawn is None:
        return ""
    what = "clusters" if drawn.of_clusters else "persons"
    control, treated = drawn.units
    if drawn.scheme == Scheme.WHOLE_CLUSTERS:
        units = f"{control} clusters, each of which may hold both arms, were drawn whole with replacement"
    else:
        units = f"{control} control and {treated} treated {what} were drawn with replacement within their arm"
    lost = f" ({drawn.failed} could not be fitted)" if drawn.failed else ""
    text = f"{units}, {counted(drawn.replicates, 'time', 'times')}{lost}, seed {drawn.seed}; the items stay the same."
    of = drawn.replicates - drawn.failed
    if of < 2:
        return f"{text} So few draws give no standard errors."
    if inference.too_few_clusters:
        return f"{text} With fewer than {FEWEST_CLUSTERS} clusters their standard errors are not to be relied on: none are shown."
    return (
        f"{text} An interval is the estimate ± {drawn.quantile():.2f} of these standard errors, cut where the parameter ends, "
        "and it is about these items: with others σ_ζ and ρ vary further. So many draws leave a standard error uncertain "
        f"by about {100 / math.sqrt(2 * (of - 1)):.0f}%."
    )


def resampling_rows(result: Effects, inference: Inference) -> list[Row]:
    """Standard errors and intervals of the resampling beside the model's standard errors; nothing from too few clusters."""
    row, drawn, scale = result.summary, inference.resampling, result.scale
    if drawn is None or inference.too_few_clusters:
        return []
    standard, unit = scale.unit is Unit.SD, scale.unit.plural
    average, spread = ("ate_std", "sigma_zeta_std") if standard else ("ate", "sigma_zeta")
    estimates = row | {average: result.average / scale.by, spread: result.spread / scale.by}
    lines = (
        ("Average effect, β₁", unit, average),
        ("σ_ζ, item effects", unit, spread),
        ("ρ, with easiness", "", "rho"),
        ("SD ratio of easiness", "", "sd_ratio"),
        ("β₃ of M_B", "logits/SD", "beta3_b"),
        ("β₃ of M_C", "logits/SD", "beta3_c"),
        ("β₃, M_B − M_C", "logits/SD", "delta_beta3"),
    )
    here = inference.generalisation
    of_model = {column: row[f"{column}_se"] for column in ("beta3_b", "beta3_c")}
    # drawing persons keeps the items: of the model's standard errors only those on exactly these items can be compared
    of_model[average] = here.se_without_item_sampling / scale.by if here else math.nan
    rows = []
    for name, unit, column in lines:
        if not defined(estimates[column]) or (column == "rho" and result.weak.no_common_item):
            continue
        model = of_model.get(column, math.nan)
        texts = (name, unit, number(estimates[column], 3), number(model, 3), number(drawn.se(column), 3))
        columns = ("", "Unit", "Estimate", "Model SE", "SE", "95% interval")
        rows.append(dict(zip(columns, (*texts, between(*drawn.interval(column, estimates[column]))), strict=True)))
    return rows


def generalisation_rows(inference: Inference, main: Fit, scale: Scale) -> list[Row]:
    """What the effect means for items that are not on the test, in the table's unit."""
    from ilhte_lib.inference.generalise import items_needed, persons_floor

    found = inference.generalisation
    if found is None:
        return []

    unit = scale.unit.plural

    def scaled(value: float) -> str:
        return number(value / scale.by, 3)

    def interval(ends: tuple[float, float]) -> str:
        return between(ends[0] / scale.by, ends[1] / scale.by)

    def needed(target: float) -> str:
        if not math.isfinite(found.se_with_item_sampling):
            return DASH
        items = items_needed(inference.statistics, main, target * scale.by)
        floor = persons_floor(inference.statistics, main)
        return f"{items:,.0f}" if math.isfinite(items) else f"out of reach, {scaled(floor)} stays"

    lines = [
        (f"SE of the average effect, items taken as a sample ({unit})", scaled(found.se_with_item_sampling)),
        (f"SE of the average effect on exactly these items ({unit})", scaled(found.se_without_item_sampling)),
        (f"Effect on one new item, 95% prediction interval, σ_ζ taken as known ({unit})", interval(found.new_item)),
        (
            f"Average effect on a new form of {found.form_items} items, 95% prediction interval ({unit})",
            interval(found.new_form),
        ),
        ("Probability that a new item's effect has the sign of the average", number(found.same_sign, 2)),
        ("… with the uncertainty of the average", number(found.same_sign_predictive, 2)),
        ("Share of all possible items with a negative effect", number(found.share_negative, 2)),
        ("Expected share of negative effects among the items of this test", number(found.share_negative_here, 2)),
        *((f"Items needed for an SE of {target:.2f} {unit}, same persons", needed(target)) for target in TARGETS),
    ]
    return [{"": name, "Value": value} for name, value in lines]


def flagged_sentence(inference: Inference) -> str:
    """Which items differ from the average after Holm's correction."""
    found = inference.items
    if found is None:
        return ""
    tested = int(np.isfinite(found.departure_p).sum())
    if not tested:
        return "" if inference.why_missing(Part.FREE) else NONE_TESTABLE
    if inference.weak.forbids_conclusions:
        return f"No item is said to differ from the average, as {inference.weak.why_no_conclusions}."
    flagged, loose = found.flagged(), int(np.count_nonzero(found.departure_p_bh < 0.05))
    rest = f"by Benjamini and Hochberg's, which lets one in twenty of those it names be wrong, {loose}"
    if not flagged:
        return f"After Holm's correction for {tested} items, none differs from the average at 5%; {rest}."
    shown = ", ".join(flagged[:8]) + (f" and {len(flagged) - 8} more" if len(flagged) > 8 else "")
    verb = "differs" if len(flagged) == 1 else "differ"
    return f"After Holm's correction for {tested} items, {len(flagged)} {verb} from the average at 5%: {shown}; {rest}."


def robust_sentence(inference: Inference, scale: Scale) -> str:
    """Whether the average hangs on a few items."""
    found = inference.robust
    if found is None or not math.isfinite(found.difference):
        return ""
    left_out = int(np.count_nonzero(found.weight == 0))
    verdict = (
        "the average depends on which items are in the test"
        if found.p < 0.05
        else "there is no sign that the average hangs on a few items"
    )
    if inference.weak.forbids_conclusions:
        verdict = f"nothing is concluded from it, as {inference.weak.why_no_conclusions}"
    return (
        f"Each item by itself, their mean effect is {number(found.mean / scale.by, 2)} {scale.unit.plural}; a bisquare-robust "
        f"mean, which gives {left_out} of {found.n_items} items no weight, is {number(found.robust / scale.by, 2)}. If all "
        f"items had one effect, a difference at least as large would have p = {p_text(found.p)}, if effects varied normally "
        f"p = {p_text(found.p_normal)}: {verdict}."
    ).replace("p = <", "p < ")


def influence_rows(inference: Inference, scale: Scale) -> list[Row]:
    """The items without which the average effect changes most."""
    found = inference.influence
    if found is None:
        return []
    order = np.argsort(-np.abs(np.nan_to_num(found.ate_change)), kind="stable")[:MOST_INFLUENTIAL]
    unit = scale.unit.plural
    columns = ("Without", f"Average effect ({unit})", "Change", f"σ_ζ ({unit})", "ρ")
    return [
        dict(
            zip(
                columns,
                (
                    found.item_names[k],
                    number(found.ate[k] / scale.by, 3),
                    number(found.ate_change[k] / scale.by, 3),
                    number(found.sigma_zeta[k] / scale.by, 3),
                    number(found.rho[k], 2),
                ),
                strict=True,
            )
        )
        for k in order
    ]


def sum_score_rows(result: Effects, inference: Inference) -> list[Row]:
    """What an analysis of sum scores would report, beside the model's average."""
    found, scale = inference.sum_score, result.scale
    if found is None:
        return []
    model = average_interval(result, inference)
    lines = (
        (
            "Sum score, standardised mean difference",
            "SDs of scores",
            found.smd,
            found.smd_se,
            _wald(found.smd, found.smd_se),
        ),
        (
            "… corrected for unreliability",
            "SDs of true scores",
            found.corrected,
            found.corrected_se,
            _wald(found.corrected, found.corrected_se),
        ),
        (
            "Model, average effect",
            "SDs of persons" if scale.unit is Unit.SD else scale.unit.plural,
            model.estimate,
            result.average_se / scale.by,
            between(model.low, model.high),
        ),
    )
    return [
        {"": name, "Unit": unit, "Estimate": number(value, 3), "SE": number(se, 3), "95% interval": interval}
        for name, unit, value, se, interval in lines
    ]


def _wald(value: float, se: float) -> str:
    return between(value - 1.96 * se, value + 1.96 * se) if defined(se) else DASH


def sum_score_sentence(inference: Inference) -> str:
    """The reliability behind the correction."""
    found = inference.sum_score
    if found is None:
        return ""
    return (
        f"The mean score of the treated less that of the controls is {number(found.difference, 2)} of "
        f"{inference.statistics.n_items} items; KR-20 within arm is "
        f"{number(found.reliability, 2)} (SE {number(found.reliability_se, 2)}). Unlike the model's, the standard errors of the "
        "score take these items as the only ones."
    )
