"""Intervals, tests and what follows for other items, as rows and sentences of plain text: the same on page and terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ilhte_lib.inference.bootstrap import WHOLE_CLUSTERS
from ilhte_lib.inference.effects import Effects
from ilhte_lib.inference.infer import Inference
from ilhte_lib.inference.parts import Part
from ilhte_lib.messages import counted

from .numbers import DASH, between, number, p_text
from .sentences import defined

if TYPE_CHECKING:
    from ilhte_lib.model.fit_result import Fit

Row = dict[str, str]
TARGETS = (0.10, 0.05)
"""Standard errors of the average effect (SDs) for which the number of items is told."""
MOST_INFLUENTIAL = 3


def with_units(rows: list[Row]) -> list[Row]:
    """Rows with each unit in parentheses behind the name instead of in a column, so that they fit a phone."""
    out = []
    for row in rows:
        unit = f" ({row['Unit']})" if row.get("Unit") else ""
        out.append({key: value + unit if key == "" else value for key, value in row.items() if key != "Unit"})
    return out


def estimate_rows(result: Effects, inference: Inference) -> list[Row]:
    """Estimates of M_A with profile-likelihood and Wald intervals, then the interactions of M_B and M_C."""
    row, scale = result.summary, result.summary["sigma_theta"]
    lines = (
        ("Average effect, β₁", "treat", "SDs", scale, -math.inf, math.inf),
        ("σ_ζ, item effects", "sigma_zeta", "SDs", scale, 0.0, math.inf),
        ("ρ, with easiness", "rho", "", 1.0, -1.0, 1.0),
        ("σ_θ, persons", "sigma_theta", "logits", 1.0, 0.0, math.inf),
    )
    rows = []
    for name, parameter, unit, by, low, high in lines:
        interval = inference.intervals.get(parameter)
        if interval is None:
            rows.append(_estimate(name, unit, math.nan, math.nan, DASH, DASH))
            continue
        half = (interval.wald_upper - interval.wald_lower) / 2 / by
        wald = max(low, interval.wald_lower / by), min(high, interval.wald_upper / by)
        profile = between(interval.lower / by, interval.upper / by)
        se = half / 1.959963984540054
        rows.append(
            _estimate(name, unit, interval.estimate / by, se, profile, between(*wald) if defined(half) else DASH)
        )
    interactions = (
        ("β₃ of M_B", "beta3_b"),
        ("β₃ of M_C", "beta3_c"),
    )
    for name, column in interactions:
        value, se = row[column], row[f"{column}_se"]
        if defined(value):
            rows.append(_estimate(name, "logits/SD", value, se, DASH, between(value - 1.96 * se, value + 1.96 * se)))
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
    why = inference.why_missing(Part.RESAMPLING)
    return (
        "The persons of this trial come in clusters, and only standard errors of the model are shown, which take persons "
        "as independent: the intervals are too narrow. "
        + (
            f"Clusters were not resampled: {why}"
            if why
            else "Resampling clusters (--bootstrap N) gives others."
        )
    )


def told_summary(result: Effects, inference: Inference | None) -> dict:
    """The summary that sentences speak of: where clusters were drawn, with the standard errors these give.

    Drawing clusters keeps the items, so what the sampling of items adds to the variance of the average effect (the
    model's with items sampled less that on exactly these items) is added to it.
    """
    if inference is None or not inference.knows_clusters or inference.generalisation is None:
        return result.summary
    here, drawn, scale = inference.generalisation, inference.resampling, result.summary["sigma_theta"]
    of_items = max(here.se_with_item_sampling**2 - here.se_without_item_sampling**2, 0.0) / scale**2
    # sentences take 1.96 of these: with few clusters more are needed
    se = {name: drawn.se(name) * drawn.quantile() / 1.96 for name in ("ate_std", "beta3_b", "beta3_c")}
    return result.summary | {
        "ate_std_se": math.sqrt(se["ate_std"] ** 2 + of_items),
        "beta3_b_se": se["beta3_b"],
        "beta3_c_se": se["beta3_c"],
    }


def clusters_drawn_sentence(inference: Inference, scale: float) -> str:
    """What drawing clusters does to the standard error of the average effect; nothing where none were drawn."""
    here = inference.generalisation
    if not inference.knows_clusters or here is None:
        return ""
    return (
        "The persons of this trial come in clusters. The intervals of the average effect and of the interactions in these "
        "sentences come from drawing whole clusters: on these items the standard error of the average is "
        f"{number(inference.resampling.se('ate_std'), 3)} SDs so, by the model, which takes persons as independent, "
        f"{number(here.se_without_item_sampling / scale, 3)}. The test and all other intervals are the model's."
    )


def resampling_sentence(inference: Inference) -> str:
    """What was drawn, how often and from how many units; nothing without resampling."""
    drawn = inference.resampling
    if drawn is None:
        return ""
    what = "clusters" if drawn.of_clusters else "persons"
    control, treated = drawn.units
    if drawn.scheme == WHOLE_CLUSTERS:
        units = f"{control} clusters, each of which may hold both arms, were drawn whole with replacement"
    else:
        units = f"{control} control and {treated} treated {what} were drawn with replacement within their arm"
    lost = f" ({drawn.failed} could not be fitted)" if drawn.failed else ""
    text = f"{units}, {counted(drawn.replicates, 'time', 'times')}{lost}, seed {drawn.seed}; the items stay the same."
    of = drawn.replicates - drawn.failed
    if of < 2:
        return f"{text} So few draws give no standard errors."
    return (
        f"{text} An interval is the estimate ± {drawn.quantile():.2f} of these standard errors, cut where the parameter ends, "
        "and it is about these items: with others σ_ζ and ρ vary further. So many draws leave a standard error uncertain "
        f"by about {100 / math.sqrt(2 * (of - 1)):.0f}%."
    )


def resampling_rows(result: Effects, inference: Inference) -> list[Row]:
    """Standard errors and intervals of the resampling beside the model's standard errors."""
    row, drawn = result.summary, inference.resampling
    if drawn is None:
        return []
    lines = (
        ("Average effect, β₁", "SDs", "ate_std"),
        ("σ_ζ, item effects", "SDs", "sigma_zeta_std"),
        ("ρ, with easiness", "", "rho"),
        ("SD ratio of easiness", "", "sd_ratio"),
        ("β₃ of M_B", "logits/SD", "beta3_b"),
        ("β₃ of M_C", "logits/SD", "beta3_c"),
        ("β₃, M_B − M_C", "logits/SD", "delta_beta3"),
    )
    here = inference.generalisation
    of_model = {column: row[f"{column}_se"] for column in ("beta3_b", "beta3_c")}
    # drawing persons keeps the items: of the model's standard errors only those on exactly these items can be compared
    of_model["ate_std"] = here.se_without_item_sampling / row["sigma_theta"] if here else math.nan
    rows = []
    for name, unit, column in lines:
        if not defined(row[column]):
            continue
        model = of_model.get(column, math.nan)
        texts = (name, unit, number(row[column], 3), number(model, 3), number(drawn.se(column), 3))
        columns = ("", "Unit", "Estimate", "Model SE", "SE", "95% interval")
        rows.append(dict(zip(columns, (*texts, between(*drawn.interval(column, row[column]))), strict=True)))
    return rows


def generalisation_rows(inference: Inference, main: Fit, scale: float) -> list[Row]:
    """What the effect means for items that are not on the test, in SDs of the persons."""
    from ilhte_lib.inference.generalise import items_needed, persons_floor

    found = inference.generalisation
    if found is None:
        return []

    def sds(value: float) -> str:
        return number(value / scale, 3)

    def interval(ends: tuple[float, float]) -> str:
        return between(ends[0] / scale, ends[1] / scale)

    def needed(target: float) -> str:
        if not math.isfinite(found.se_with_item_sampling):
            return DASH
        items = items_needed(inference.statistics, main, target * scale)
        floor = persons_floor(inference.statistics, main)
        return f"{items:,.0f}" if math.isfinite(items) else f"out of reach, {sds(floor)} stays"

    lines = [
        ("SE of the average effect, items taken as a sample (SDs)", sds(found.se_with_item_sampling)),
        ("SE of the average effect on exactly these items (SDs)", sds(found.se_without_item_sampling)),
        ("Effect on one new item, 95% prediction interval, σ_ζ taken as known (SDs)", interval(found.new_item)),
        (
            f"Average effect on a new form of {found.form_items} items, 95% prediction interval (SDs)",
            interval(found.new_form),
        ),
        ("Probability that a new item's effect has the sign of the average", number(found.same_sign, 2)),
        ("… with the uncertainty of the average", number(found.same_sign_predictive, 2)),
        ("Share of all possible items with a negative effect", number(found.share_negative, 2)),
        ("Expected share of negative effects among the items of this test", number(found.share_negative_here, 2)),
        *((f"Items needed for an SE of {target:.2f} SDs, same persons", needed(target)) for target in TARGETS),
    ]
    return [{"": name, "Value": value} for name, value in lines]


def flagged_sentence(inference: Inference) -> str:
    """Which items differ from the average after Holm's correction."""
    found = inference.items
    if found is None:
        return ""
    tested = int(np.isfinite(found.departure_p).sum())
    flagged, loose = found.flagged(), int(np.count_nonzero(found.departure_p_bh < 0.05))
    rest = f"by Benjamini and Hochberg's, which lets one in twenty of those it names be wrong, {loose}"
    if not flagged:
        return f"After Holm's correction for {tested} items, none differs from the average at 5%; {rest}."
    shown = ", ".join(flagged[:8]) + (f" and {len(flagged) - 8} more" if len(flagged) > 8 else "")
    verb = "differs" if len(flagged) == 1 else "differ"
    return f"After Holm's correction for {tested} items, {len(flagged)} {verb} from the average at 5%: {shown}; {rest}."


def robust_sentence(inference: Inference, scale: float) -> str:
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
    return (
        f"Each item by itself, their mean effect is {number(found.mean / scale, 2)} SDs; a bisquare-robust mean, which gives "
        f"{left_out} of {found.n_items} items no weight, is {number(found.robust / scale, 2)}. If all items had one effect, a "
        f"difference at least as large would have p = {p_text(found.p)}, if effects varied normally p = "
        f"{p_text(found.p_normal)}: {verdict}."
    ).replace("p = <", "p < ")


def influence_rows(inference: Inference, scale: float) -> list[Row]:
    """The items without which the average effect changes most."""
    found = inference.influence
    if found is None:
        return []
    order = np.argsort(-np.abs(np.nan_to_num(found.ate_change)), kind="stable")[:MOST_INFLUENTIAL]
    columns = ("Without", "Average effect (SDs)", "Change", "σ_ζ (SDs)", "ρ")
    return [
        dict(
            zip(
                columns,
                (
                    found.item_names[k],
                    number(found.ate[k] / scale, 3),
                    number(found.ate_change[k] / scale, 3),
                    number(found.sigma_zeta[k] / scale, 3),
                    number(found.rho[k], 2),
                ),
                strict=True,
            )
        )
        for k in order
    ]


def sum_score_rows(result: Effects, inference: Inference) -> list[Row]:
    """What an analysis of sum scores would report, beside the model's average."""
    found, row = inference.sum_score, result.summary
    if found is None:
        return []
    lines = (
        ("Sum score, standardised mean difference", "SDs of scores", found.smd, found.smd_se),
        ("… corrected for unreliability", "SDs of true scores", found.corrected, found.corrected_se),
        ("Model, average effect", "SDs of persons", row["ate_std"], row["ate_std_se"]),
    )
    return [
        {"": name, "Unit": unit, "Estimate": number(value, 3), "SE": number(se, 3), "95% interval": _wald(value, se)}
        for name, unit, value, se in lines
    ]


def _wald(value: float, se: float) -> str:
    return between(value - 1.96 * se, value + 1.96 * se) if defined(se) else DASH


def sum_score_sentence(inference: Inference) -> str:
    """The reliability behind the correction."""
    found = inference.sum_score
    if found is None:
        return ""
    return (
        f"The treated score {number(found.difference, 2)} of {inference.statistics.n_items} items more than the controls; KR-20 within arm is "
        f"{number(found.reliability, 2)} (SE {number(found.reliability_se, 2)}). Unlike the model's, the standard errors of the "
        "score take these items as the only ones."
    )
