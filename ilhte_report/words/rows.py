"""Estimates, items, tests, models and audit as rows of plain text, the same on the page and on the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ilhte_lib.inference.effects import Effects
from ilhte_lib.inference.infer import Inference
from ilhte_lib.inference.interval import (
    Basis,
    Interval,
    average_interval,
    divisor_interval,
    interaction_interval,
    persons_interval,
    persons_se,
    rho_interval,
    spread_interval,
)
from ilhte_lib.inference.units import Scale, Unit
from ilhte_lib.messages import counted

from .numbers import DASH, Row, between, number, p_text
from .sentences import defined
from .terms import TRIAL, Terms

if TYPE_CHECKING:
    from ilhte_lib.data.trial import PreparedTrial
    from ilhte_lib.model.fit_result import Fit

TARGETS = (0.10, 0.05)
"""Standard errors of the average effect (in the table's unit) for which the number of items needed is shown."""
MOST_INFLUENTIAL = 3
NOT_KNOWN = "not known"
MOST_STEPS = 12
"""Most steps between categories that are shown; if each item has its own steps there are more."""


def estimate_lines(
    result: Effects, inference: Inference, terms: Terms = TRIAL
) -> list[tuple[str, str, Interval, float]]:
    """Name, unit, interval and standard error of each line of ``estimate_rows``."""
    row, scale = result.summary, result.scale
    unit, by = scale.unit.plural, scale.by
    unknown = Interval(math.nan, math.nan, math.nan, Basis.NONE)
    rho = (rho_interval(result, inference), row["rho_se"])
    lines: list[tuple[str, str, Interval, float]] = [
        (f"{terms.average}, β₁", unit, average_interval(result, inference), result.average_se / by),
        (
            f"σ_ζ, {terms.effects[0].lower()}{terms.effects[1:]}",
            unit,
            spread_interval(result, inference),
            result.spread_se / by,
        ),
        ("ρ, with easiness", "", *((unknown, math.nan) if result.weak.no_common_item else rho)),
        ("σ_θ, persons", "logits", persons_interval(inference), persons_se(inference)),
    ]
    for model, column in (("M_B", "beta3_b"), ("M_C", "beta3_c")):
        if defined(row[column]):
            shown = interaction_interval(result, inference, column)
            lines.append((f"β₃ of {model}", "logits/SD", shown, row[f"{column}_se"]))
    lines.append(("σ_θ of M_0, the divisor", "logits", divisor_interval(result), row["sigma_theta_se"]))
    return lines


def estimate_rows(result: Effects, inference: Inference, terms: Terms = TRIAL) -> list[Row]:
    """Estimates of M_A and the interactions of M_B and M_C, each with the interval that sentences quote; then the divisor."""
    columns = ("", "Unit", "Estimate", "SE", "95% interval", "Interval from")
    return [
        dict(
            zip(
                columns,
                (
                    name,
                    unit,
                    number(shown.estimate, 3),
                    number(se, 3),
                    between(shown.low, shown.high),
                    shown.basis.short,
                ),
                strict=True,
            )
        )
        for name, unit, shown, se in estimate_lines(result, inference, terms)
    ]


def item_rows(result: Effects, inference: Inference) -> list[Row]:
    """Items from the most positive effect to the most negative: share of 1 (or of the top score) by arm, easiness, effect,
    and the test against the average effect."""
    tested, unit = inference.items, result.scale.unit
    share = "Share of 1" if inference.statistics.formats is None else "Share of top score"
    adjusted = dict(zip(tested.item_names, tested.departure_p_holm, strict=True)) if tested else {}
    return [
        {
            "Item": item.name,
            f"{share}, control (n)": f"{number(item.p_ctrl, 2)} ({item.n_ctrl})",
            f"{share}, treated (n)": f"{number(item.p_treat, 2)} ({item.n_treat})",
            f"Easiness ({unit})": number(item.easiness, 2),
            f"Effect ({unit})": number(item.effect, 2),
            "SE": number(item.se, 2),
            **({"p (Holm)": p_text(float(adjusted[item.name]))} if adjusted else {}),
        }
        for item in result.shown_items
    ]


def score_rows(inference: Inference) -> list[Row]:
    """Expected score points of each item by arm, in the order of the items; none where all items have two categories."""
    found = inference.scores
    if found is None:
        return []
    return [
        {
            "Item": f"{name} (0–{found.highest[k]:.0f})",
            "Control": number(found.control_mean[k], 2),
            "Treated": number(found.treated_mean[k], 2),
            "Change": number(found.treated_mean[k] - found.control_mean[k], 2),
            "Average person": f"{number(found.control[k], 2)} → {number(found.treated[k], 2)}",
        }
        for k, name in enumerate(found.item_names)
    ]


def model_rows(fits: dict[str, Fit]) -> list[Row]:
    """One column per model: coefficients with standard errors, SDs, log-likelihood and certificate, logits."""

    def row(label: str, value: Callable[[Fit], str]) -> Row:
        return {"": label, **{name: value(fit) for name, fit in fits.items()}}

    def coefficient(name: str) -> Callable[[Fit], str]:
        def text(fit: Fit) -> str:
            if name not in fit.spec.beta_names:
                return ""
            return f"{number(fit.coefficient(name), 3)} ({number(fit.standard_error(name), 3)})"

        return text

    def effect_of_sites(fit: Fit) -> str:
        return number(fit.clusters.sigma_effect, 3) if fit.spec.cluster_q == 2 else ""

    def of_items(text: Callable[[Fit], str]) -> Callable[[Fit], str]:
        return lambda fit: text(fit) if fit.spec.item_effects else ""

    def step(name: str) -> Callable[[Fit], str]:
        def text(fit: Fit) -> str:
            at = fit.spec.psi_names.index(name)
            return f"{number(fit.psi[at], 3)} ({number(float(np.sqrt(fit.vcov[at, at])), 3)})"

        return text

    steps = next(iter(fits.values())).spec.steps
    rows = [
        row("Treatment", coefficient("treat")),
        row("Covariate", coefficient("cov")),
        row("Treatment × covariate", coefficient("treat:cov")),
        row("σ_θ, persons", lambda fit: number(fit.sigma_theta, 3)),
        row("σ_u, clusters", lambda fit: number(fit.clusters.sigma_u, 3) if fit.clusters else ""),
        row("σ of the effect between sites", effect_of_sites),
        row("σ_b, easiness", lambda fit: number(fit.sigma_b, 3)),
        row("σ_ζ, item effects", of_items(lambda fit: number(fit.sigma_zeta, 3))),
        row("ρ", of_items(lambda fit: number(fit.rho, 2))),
        *(row(f"Step {name.removeprefix('tau_').replace('|', ' of ')}", step(name)) for name in steps[:MOST_STEPS]),
        row("Log-likelihood", lambda fit: number(fit.loglik, 2)),
        row("Optimum", lambda fit: "certified" if fit.converged else "NOT certified"),
        row("Boundary", lambda fit: "singular" if fit.singular else ""),
    ]
    return [r for r in rows if any(text for name, text in r.items() if name)]


def audit_rows(trial: PreparedTrial) -> list[Row]:
    """Every step of the preparation with what it left out, and what the models use."""
    steps = [(e.step, e.rows, e.persons, e.items, e.reason) for e in trial.audit]
    kept = ("kept", trial.n_responses, trial.n_persons, trial.n_items, "What the models use.")
    columns = ("Step", "Rows", "Persons", "Items", "Why")
    lines = [*(steps or [("all steps", 0, 0, 0, "Nothing was left out.")]), kept]
    return [dict(zip(columns, map(str, line), strict=True)) for line in lines]


def test_rows(inference: Inference) -> list[Row]:
    """The p-values for "all items have the same effect", side by side."""
    test, drawn = inference.test, inference.null_replicates
    # if no replicate reaches the observed value, the p-value is only known to be at most this
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


def resampling_rows(result: Effects, inference: Inference) -> list[Row]:
    """Standard errors and intervals from resampling beside the model's standard errors; none with too few clusters."""
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
    # resampling persons keeps the items, so the comparable standard error of the model is the one for exactly these items
    of_model[average] = here.se_without_item_sampling / scale.by if here else math.nan
    rows = []
    for name, unit, column in lines:
        if not defined(estimates[column]) or (column == "rho" and (result.weak.no_common_item or row["singular"])):
            continue
        model = of_model.get(column, math.nan)
        texts = (name, unit, number(estimates[column], 3), number(model, 3), number(drawn.se(column), 3))
        columns = ("", "Unit", "Estimate", "Model SE", "SE", "95% interval")
        rows.append(dict(zip(columns, (*texts, between(*drawn.interval(column, estimates[column]))), strict=True)))
    return rows


def generalisation_rows(inference: Inference, main: Fit, scale: Scale) -> list[Row]:
    """What the effect implies for items that are not on the test, in the table's unit."""
    from ilhte_lib.inference.generalise import items_needed, persons_floor

    found = inference.generalisation
    if found is None:
        return []

    unit = scale.unit.plural

    known = spread_is_known(inference)

    def chance(value: float, ends: tuple[float, float]) -> str:
        return f"{number(value, 2)} [{between(*ends)}]" if known and math.isfinite(ends[0]) else NOT_KNOWN

    def scaled(value: float) -> str:
        return number(value / scale.by, 3)

    def interval(ends: tuple[float, float]) -> str:
        return between(ends[0] / scale.by, ends[1] / scale.by)

    def needed(target: float) -> str:
        if not math.isfinite(found.se_with_item_sampling):
            return DASH
        items = items_needed(inference.statistics, main, target * scale.by)
        floor = persons_floor(inference.statistics, main)
        return f"{items:,.0f}" if math.isfinite(items) else f"out of reach: at least {scaled(floor)}"

    lines = [
        (f"SE of the average effect, items as a sample ({unit})", scaled(found.se_with_item_sampling)),
        (f"SE of the average effect on exactly these items ({unit})", scaled(found.se_without_item_sampling)),
        (f"Effect on one new item, 95% prediction interval ({unit})", interval(found.new_item)),
        (
            f"Average effect on a new form of {found.form_items} items, 95% prediction interval ({unit})",
            interval(found.new_form),
        ),
        (
            "Probability that a new item's effect has the sign of the average",
            chance(found.same_sign, found.same_sign_interval),
        ),
        (
            "Share of all possible items with a negative effect",
            chance(found.share_negative, found.share_negative_interval),
        ),
        ("Expected share of negative effects among the items of this test", number(found.share_negative_here, 2)),
        *((f"Items needed for an SE of {target:.2f} {unit}, same persons", needed(target)) for target in TARGETS),
    ]
    return [{"": name, "Value": value} for name, value in lines]


def penalised_rows(result: Effects, inference: Inference, main: Fit) -> list[Row]:
    """Maximum likelihood and the penalised fit side by side; none where there is no penalised fit."""
    from ilhte_lib.inference.delta_method import rho_se, sigma_zeta_se

    found = inference.penalised
    if found is None:
        return []
    by, unit = result.scale.by, result.scale.unit.plural
    lines = (
        ("Average effect, β₁", unit, main.coefficient("treat") / by, found.coefficient("treat") / by, found.standard_error("treat") / by),
        ("σ_ζ, item effects", unit, main.sigma_zeta / by, found.sigma_zeta / by, sigma_zeta_se(found) / by),
        ("ρ, with easiness", "", main.rho, found.rho, rho_se(found)),
        ("σ_b, easiness", unit, main.sigma_b / by, found.sigma_b / by, math.nan),
        ("σ_θ, persons", "logits", main.sigma_theta, found.sigma_theta, math.nan),
    )  # fmt: skip
    rows = [
        {"": name, "Unit": of, "Likelihood": number(ml, 3), "Penalised": number(value, 3), "SE": number(se, 3)}
        for name, of, ml, value, se in lines
    ]
    logliks = (number(main.loglik, 2), number(found.loglik, 2))
    return [*rows, {"": "Log-likelihood", "Unit": "", "Likelihood": logliks[0], "Penalised": logliks[1], "SE": DASH}]


def spread_is_known(inference: Inference) -> bool:
    """Whether the interval of sigma_zeta excludes 0, so that something can be said about other items."""
    found = inference.intervals.get("sigma_zeta")
    return found is not None and found.lower > 0.0


def influence_rows(inference: Inference, scale: Scale) -> list[Row]:
    """The items whose removal changes the average effect most."""
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
