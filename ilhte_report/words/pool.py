"""Pooled trials in sentences and tables."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ilhte_lib.inference.pool import Pool, PooledMean

from .numbers import between, number

if TYPE_CHECKING:
    from .numbers import Row


def pool_sentences(found: Pool) -> tuple[str, ...]:
    """The typical spread and correlation, how much of their variation is real, and what to expect in a new trial."""
    ratio, rho = found.log_ratio, found.fisher_z
    typical = f"{number(math.exp(ratio.mean), 2)} [95% interval {between(math.exp(ratio.low), math.exp(ratio.high))}]"
    mean = f"{number(math.tanh(rho.mean), 2)} [95% interval {between(math.tanh(rho.low), math.tanh(rho.high))}]"
    if rho.low > 0:
        tendency = "the easier an item, the more positive (or less negative) its effect, on the whole"
    elif rho.high < 0:
        tendency = "the easier an item, the more negative (or less positive) its effect, on the whole"
    else:
        tendency = "no clear tendency over trials"
    return (
        f"The spread of item effects is typically {typical} standard deviations of the persons.",
        f"Their correlation with easiness is typically {mean}: {tendency}.",
        f"Of the variation of estimated spreads between trials (log scale), an estimated {_percent(ratio.share_real)} is real and the "
        f"rest is sampling error; of the variation of correlations (Fisher's z), {_percent(rho.share_real)}.",
        f"In a new trial, expect a spread of {between(math.exp(ratio.new_low), math.exp(ratio.new_high))} SDs of persons and a "
        f"correlation of {between(math.tanh(rho.new_low), math.tanh(rho.new_high))} (95% prediction intervals).",
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"


def mean_rows(found: Pool) -> list[Row]:
    """The two means and SDs over trials, on the scales of the model."""
    lines = (("log(σ_ζ / σ_θ)", found.log_ratio), ("Fisher z of ρ", found.fisher_z))
    return [{"": name, **_mean(mean)} for name, mean in lines]


def _mean(mean: PooledMean) -> Row:
    return {
        "Mean": number(mean.mean, 2),
        "95% interval": between(mean.low, mean.high),
        "SD over trials": number(mean.tau, 2),
        "95% interval of it": between(mean.tau_low, mean.tau_high),
        "Real": _percent(mean.share_real),
        "A new trial": between(mean.new_low, mean.new_high),
    }


def trial_rows(found: Pool, likelihood: dict[str, tuple[float, float]]) -> list[Row]:
    """Each trial's estimates by maximum likelihood and pooled.

    Parameters
    ----------
    likelihood : sigma_zeta / sigma_theta and rho by maximum likelihood, by the trial's name.
    """
    return [
        {
            "Trial": trial.name,
            "σ_ζ/σ_θ": number(likelihood[trial.name][0], 2),
            "Pooled": f"{number(trial.ratio, 2)} [{between(trial.ratio_low, trial.ratio_high)}]",
            "ρ": number(likelihood[trial.name][1], 2),
            "ρ pooled": f"{number(trial.rho, 2)} [{between(trial.rho_low, trial.rho_high)}]",
        }
        for trial in found.trials
    ]


def pool_words(found: Pool) -> str:
    """The figure of the pooled trials in words."""
    ratios, rhos = [t.ratio for t in found.trials], [t.rho for t in found.trials]
    return (
        f"{len(found.trials)} rows, one per trial, and one for a new trial. Pooled spreads of item effects range from "
        f"{number(min(ratios), 2)} to {number(max(ratios), 2)} SDs of persons, correlations from {number(min(rhos), 2)} to "
        f"{number(max(rhos), 2)}."
    )
