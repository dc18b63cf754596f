"""The figures in words, for readers who cannot see them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .numbers import between, number
from .who_benefits import bracketed

if TYPE_CHECKING:
    from ilhte_lib.inference.effects import Effects
    from ilhte_lib.inference.infer import Inference
    from ilhte_lib.inference.profile import ProfileInterval
    from ilhte_lib.inference.units import Scale
    from ilhte_lib.inference.who_benefits import WhoBenefits
    from ilhte_lib.model.fit_result import Fit


def items_words(result: Effects) -> str:
    """The item figure in words."""
    effects, unit = [item.effect for item in result.shown_items], result.scale.unit.plural
    return (
        f"Effects of {len(effects)} items with intervals, from {number(min(effects), 2)} to {number(max(effects), 2)} "
        f"{unit}, around an average of {number(result.average / result.scale.by, 2)} {unit}."
    )


def profiles_words(intervals: Iterable[ProfileInterval], scale: Scale) -> str:
    """The profile figure in words."""
    names = {"treat": "average effect", "sigma_zeta": "σ_ζ", "rho": "ρ", "sigma_theta": "σ_θ"}
    parts = []
    for interval in intervals:
        by = scale.by if interval.parameter in ("treat", "sigma_zeta") else 1.0
        ends = between(interval.lower / by, interval.upper / by)
        parts.append(f"{names[interval.parameter]}: lowest at {number(interval.estimate / by, 2)}, interval {ends}")
    return "The rise of the deviance over each parameter. " + "; ".join(parts) + "."


def curves_words(fit: Fit, scale: Scale) -> str:
    """The characteristic curves in words, at the average person."""
    import numpy as np

    from ilhte_lib.figures.curves import characteristic_curves

    control, treated = characteristic_curves(fit, scale, np.zeros(1)).mean(axis=(1, 2))
    effect = fit.ranef[:, 1]
    most, least = fit.item_names[int(effect.argmax())], fit.item_names[int(effect.argmin())]
    share = "share of 1" if fit.formats is None else "score, as a share of the highest,"
    return (
        f"Curves of the test and of its {fit.n_items} items over θ. At θ = 0 the expected {share} is {number(control, 2)} "
        f"under control and {number(treated, 2)} under treatment. Drawn thick: {most}, with the most positive effect, and "
        f"{least}, with the most negative."
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
    """The figure of the section in words."""
    return (
        f"Interaction of treatment and {result.covariate} with 95% intervals, logits per SD: {bracketed(result.constant)} "
        f"under M_B, {bracketed(result.flexible)} under M_C; predicted bias of M_B {bracketed(result.predicted)}."
    )
