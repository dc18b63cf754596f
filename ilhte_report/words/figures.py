"""The figures in words, for readers who cannot see them, and the numbers behind them as tables."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .numbers import between, number
from .sentences import average_conclusion, test_conclusion
from .terms import TRIAL, Terms
from .who_benefits import bracketed, verdict_sentence

if TYPE_CHECKING:
    from ilhte_lib.inference.effects import Effects
    from ilhte_lib.inference.infer import Inference
    from ilhte_lib.inference.profile import ProfileCurve, ProfileInterval
    from ilhte_lib.inference.units import Scale
    from ilhte_lib.inference.who_benefits import WhoBenefits
    from ilhte_lib.model.fit_result import Fit

    from .numbers import Row


def items_words(result: Effects, inference: Inference, terms: Terms = TRIAL) -> str:
    """The item figure in words, with what it shows."""
    effects, unit = [item.effect for item in result.shown_items], result.scale.unit.plural
    return (
        f"Effects of {len(effects)} items with intervals, from {number(min(effects), 2)} to {number(max(effects), 2)} "
        f"{unit}, around an average of {number(result.average / result.scale.by, 2)} {unit}. {_found(result, inference, terms)}"
    )


def _found(result: Effects, inference: Inference, terms: Terms) -> str:
    """The conclusions on the average effect and on equal effects, as the sentences have them."""
    average = average_conclusion(result, inference, terms=terms)
    test = test_conclusion(result, inference, terms).lstrip(",; ")
    return f"{terms.average}: {average}. Test of one {terms.effect} for all {terms.items}: {test}."


def profiles_words(intervals: Iterable[ProfileInterval], scale: Scale) -> str:
    """The profile figure in words."""
    names = {"treat": "average effect", "sigma_zeta": "σ_ζ", "rho": "ρ", "sigma_theta": "σ_θ"}
    parts = []
    for interval in intervals:
        by = scale.by if interval.parameter in ("treat", "sigma_zeta") else 1.0
        ends = between(interval.lower / by, interval.upper / by)
        zero = "" if interval.parameter == "sigma_theta" else _about_zero(interval.lower, interval.upper)
        parts.append(
            f"{names[interval.parameter]}: minimum at {number(interval.estimate / by, 2)}, interval {ends}{zero}"
        )
    return "Rise of the deviance by parameter: " + "; ".join(parts) + "."


def _about_zero(low: float, high: float) -> str:
    """Whether an interval includes 0; "" where an end is not known."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return ", which excludes 0" if low > 0.0 or high < 0.0 else ", which includes 0"


def curves_words(result: Effects, inference: Inference, fit: Fit, terms: Terms = TRIAL) -> str:
    """The characteristic curves in words, at the average person, with what they show."""
    import numpy as np

    from ilhte_lib.figures.curves import characteristic_curves

    control, treated = characteristic_curves(fit, result.scale, np.zeros(1)).mean(axis=(1, 2))
    effect = fit.ranef[:, 1]
    most, least = fit.item_names[int(effect.argmax())], fit.item_names[int(effect.argmin())]
    share = "share of 1" if fit.formats is None else "score, as a share of the highest,"
    return (
        f"Curves of the test and of its {fit.n_items} items over θ. At θ = 0 the expected {share} is {number(control, 2)} "
        f"under control and {number(treated, 2)} under treatment. Drawn thick: {most}, with the most positive effect, and "
        f"{least}, with the most negative. {_found(result, inference, terms)}"
    )


def form_words(inference: Inference, fit: Fit, scale: Scale) -> str:
    """The curve of standard errors in words."""
    from ilhte_lib.inference.generalise import persons_floor, se_with_items

    today, twice = (
        number(float(se_with_items(inference.statistics, fit, fit.n_items * k)) / scale.by, 3) for k in (1, 2)
    )
    floor = number(persons_floor(inference.statistics, fit) / scale.by, 3)
    return (
        f"The standard error of the average effect falls with the number of items: {today} {scale.unit.plural} with the {fit.n_items} of "
        f"this test, {twice} with twice as many, towards {floor}."
    )


def who_benefits_words(result: WhoBenefits) -> str:
    """The figure of the section "Who benefits?" in words."""
    return (
        f"Interaction of treatment and {result.covariate} with 95% intervals, logits per SD: {bracketed(result.constant)} "
        f"under M_B, {bracketed(result.flexible)} under M_C; predicted bias of M_B {bracketed(result.predicted)}. "
        f"{verdict_sentence(result)}"
    )


def profiles_rows(curves: Iterable[ProfileCurve], scale: Scale) -> list[Row]:
    """The points of the profile curves, parameter by parameter."""
    names = {
        "treat": f"β₁ ({scale.unit.plural})",
        "sigma_zeta": f"σ_ζ ({scale.unit.plural})",
        "sigma_theta": "σ_θ (logits)",
        "rho": "ρ",
    }
    rows = []
    for curve in curves:
        by = scale.by if curve.parameter in ("treat", "sigma_zeta") else 1.0
        for value, rise in zip(curve.value, curve.difference, strict=True):
            name = names.get(curve.parameter, curve.parameter)
            rows.append(
                {"Parameter": name, "Value": number(value / by, 3), "Rise of the deviance": number(max(rise, 0.0), 2)}
            )
    return rows


def curves_rows(fit: Fit, scale: Scale) -> list[Row]:
    """The curve of the test and of the two items named in the figure, at a grid of θ."""
    from ilhte_lib.figures.curves import THETA, characteristic_curves

    control, treated = characteristic_curves(fit, scale)
    effect = fit.ranef[:, 1]
    shown = {"The test": (control.mean(axis=0), treated.mean(axis=0))}
    shown |= {fit.item_names[k]: (control[k], treated[k]) for k in (int(effect.argmax()), int(effect.argmin()))}
    rows = []
    for at, theta in enumerate(THETA):
        row = {f"θ ({scale.unit.of_persons})": number(float(theta), 1)}
        for name, (without, with_treatment) in shown.items():
            row |= {f"{name}, control": number(without[at], 2), f"{name}, treated": number(with_treatment[at], 2)}
        rows.append(row)
    return rows


def form_rows(inference: Inference, fit: Fit, scale: Scale) -> list[Row]:
    """The standard error of the average effect by number of items."""
    from ilhte_lib.inference.generalise import se_with_items

    sizes = sorted({max(2, round(fit.n_items * share)) for share in (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)})
    return [
        {
            "Items": f"{n}",
            f"SE ({scale.unit.plural})": number(float(se_with_items(inference.statistics, fit, n)) / scale.by, 3),
        }
        for n in sizes
    ]
