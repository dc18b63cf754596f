"""From fits to effects: standardise by sigma_theta of M_0, test, and tabulate the trial and its items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data.trial import PreparedTrial
from ..model.fit_result import Fit
from .closed_form import predicted_bias_of
from .delta_method import (
    item_spreads,
    model_sd_ratio,
    rho_se,
    sigma_zeta_se,
    total_effect_variance,
    variance,
)
from .lrt import likelihood_ratio
from .units import Scale, Unit
from .weak import Weaknesses, fit_messages, weakness_sentences, weaknesses

ALPHA = 0.05
EQUAL_PERSONS = (
    "Persons do not differ beyond chance (sigma_theta of M_0 is 0), so effects cannot be standardised: they are in logits, and "
    "values in SDs of the persons are missing."
)
SUMMARY_COLUMNS = (
    "tab", "n_items", "n_persons", "n_responses", "sigma_theta", "ate_std", "sigma_zeta_std", "rho", "sigma_b_ctrl",
    "sigma_b_treat", "sd_ratio", "lrt_stat", "lrt_pval", "lrt_pval_mixture", "sig_il_hte", "beta3_b", "beta3_c",
    "delta_beta3", "ate_std_se", "sigma_zeta_std_se", "rho_se", "sigma_theta_se", "beta3_b_se", "beta3_c_se",
    "sd_ratio_se", "delta_beta3_se", "n_persons_cov", "singular", "converged", "engine", "covariate", "wave", "profile",
    "seconds", "sd_ratio_model", "method", "predicted_bias",
)  # fmt: skip
"""One row per table; *_std in SDs, and sigma_theta, sigma_b_*, beta3_*, delta_beta3 and predicted_bias (of delta_beta3,
``closed_form``) in logits, the last three and beta3_* per SD of the covariate."""
ITEM_COLUMNS = (
    "tab", "item", "b_std", "zeta_std", "total_std", "zeta_se", "total_se", "n_ctrl", "n_treat", "p_ctrl", "p_treat",
)  # fmt: skip
"""One row per item, with effects and SEs in SDs of theta."""
LOGIT_ITEM_COLUMNS = (
    "tab", "item", "b", "zeta", "total", "zeta_se", "total_se", "n_ctrl", "n_treat", "p_ctrl", "p_treat",
)  # fmt: skip
"""One row per item, with effects and SEs in logits."""


@dataclass(frozen=True)
class ShownItem:
    """One item for display: easiness, effect and its SE in the table's unit; responses and shares of 1 by arm.

    For items with more categories the share is the mean score divided by the highest.
    """

    name: str
    easiness: float
    effect: float
    se: float
    n_ctrl: int
    n_treat: int
    p_ctrl: float
    p_treat: float


@dataclass(frozen=True)
class Effects:
    """The estimates for a trial.

    Attributes
    ----------
    summary : one value for each of ``SUMMARY_COLUMNS``; NaN or None where undefined, as is everything in SDs if persons do not
        differ (sigma_theta of M_0 is 0).
    items : one dictionary per item with ``ITEM_COLUMNS``, in the order of ``trial.item_names``.
    items_logit : the same with ``LOGIT_ITEM_COLUMNS``.
    average, average_se, spread, spread_se : beta_1 and sigma_zeta of M_A with their standard errors, logits; NaN where
        undefined.
    weak : weaknesses of the table that limit conclusions.
    messages : the engine's messages about its fits.
    """

    summary: dict
    items: list[dict]
    items_logit: list[dict]
    average: float
    average_se: float
    spread: float
    spread_se: float
    weak: Weaknesses
    messages: tuple[str, ...]

    @property
    def scale(self) -> Scale:
        """The unit in which effects are shown."""
        return Scale.of(self.summary["sigma_theta"])

    @property
    def shown_items(self) -> list[ShownItem]:
        """The items in the unit in which effects are shown, from the most positive effect to the most negative."""
        unit = self.scale.unit
        rows, names = (self.items, ITEM_COLUMNS) if unit is Unit.SD else (self.items_logit, LOGIT_ITEM_COLUMNS)
        shown = [ShownItem(*(row[name] for name in ("item", names[2], names[4], *names[6:]))) for row in rows]
        return sorted(shown, key=lambda item: -item.effect)

    @property
    def flags(self) -> tuple[str, ...]:
        """Sentences, besides ``messages``, that a reader of these effects must see."""
        of_persons = (EQUAL_PERSONS,) if self.scale.unit is Unit.LOGIT else ()
        return (*of_persons, *weakness_sentences(self.weak))


def effects(trial: PreparedTrial, fits: dict[str, Fit]) -> Effects:
    """Standardised effects of a trial from its fits of M_0 and M_A and, with a covariate, M_B and M_C.

    Effects are divided by sigma_theta of M_0 (Gilbert, Himmelsbach et al. 2025), which the standard errors, by the delta method
    from vcov, treat as known. If persons do not differ (sigma_theta = 0), values in SDs are NaN.
    """
    null, main = fits["M_0"], fits["M_A"]
    weak = weaknesses(trial, fits)
    return Effects(
        summary=_summary(trial, fits, null, main),
        items=item_rows(trial, main, _standard(null), ITEM_COLUMNS),
        items_logit=item_rows(trial, main, 1.0, LOGIT_ITEM_COLUMNS),
        average=main.coefficient("treat"),
        average_se=main.standard_error("treat"),
        spread=main.sigma_zeta,
        spread_se=sigma_zeta_se(main),
        weak=weak,
        messages=tuple(fit_messages(fits, weak)),
    )


def _standard(null: Fit) -> float:
    """The divisor of effects, logits: sigma_theta of M_0, NaN where that is 0."""
    return null.sigma_theta if null.sigma_theta > 0 else float("nan")


def _summary(trial: PreparedTrial, fits: dict[str, Fit], null: Fit, main: Fit) -> dict:
    test = likelihood_ratio(null, main)
    scale = _standard(null)
    control, treated = item_spreads(main)
    constant, flexible = fits.get("M_B"), fits.get("M_C")
    interaction = {
        "beta3_b": constant.coefficient("treat:cov") if constant else np.nan,
        "beta3_c": flexible.coefficient("treat:cov") if flexible else np.nan,
        "beta3_b_se": constant.standard_error("treat:cov") if constant else np.nan,
        "beta3_c_se": flexible.standard_error("treat:cov") if flexible else np.nan,
    }
    row = {
        "tab": trial.tab,
        "n_items": main.n_items,
        "n_persons": main.n_persons,
        "n_responses": main.n_responses,
        "sigma_theta": null.sigma_theta,
        "ate_std": main.coefficient("treat") / scale,
        "sigma_zeta_std": main.sigma_zeta / scale,
        "rho": main.rho,
        "sigma_b_ctrl": control,
        "sigma_b_treat": treated,
        "sd_ratio": treated / control if control > 0 else np.nan,
        "lrt_stat": test.statistic,
        "lrt_pval": test.halved,
        "lrt_pval_mixture": test.mixture,
        "sig_il_hte": bool((test.halved if trial.profile == "vignette" else test.mixture) < ALPHA),
        "delta_beta3": interaction["beta3_b"] - interaction["beta3_c"],
        "ate_std_se": main.standard_error("treat") / scale,
        "sigma_zeta_std_se": sigma_zeta_se(main) / scale,
        "rho_se": rho_se(main),
        "sigma_theta_se": float(np.sqrt(variance(null, {"sigma_theta": 1.0}))),
        # filled in from resampling: they compare two fits, or two arms, of the same data
        "sd_ratio_se": np.nan,
        "delta_beta3_se": np.nan,
        "n_persons_cov": flexible.n_persons if flexible else None,
        "singular": main.singular,
        "converged": all(fit.converged for fit in fits.values()),
        "engine": main.engine,
        "method": main.method,
        "predicted_bias": predicted_bias_of(flexible).value if flexible else np.nan,
        "covariate": trial.covariate_name,
        "wave": trial.wave,
        "profile": trial.profile,
        "seconds": float(sum(fit.seconds for fit in fits.values())),
        "sd_ratio_model": model_sd_ratio(main),
        **interaction,
    }
    return {name: row[name] for name in SUMMARY_COLUMNS}


def highest_scores(trial: PreparedTrial) -> np.ndarray:
    """(J,) highest score of each item, 1 where it has two categories."""
    return np.ones(trial.n_items) if trial.formats is None else trial.formats.highest.astype(float)


def item_rows(trial: PreparedTrial, main: Fit, scale: float, columns: tuple[str, ...]) -> list[dict]:
    """One row per item of M_A under ``columns``: effects and SEs divided by ``scale``, counts and shares of 1 by arm.

    For items with more categories the share is the mean score divided by the highest.
    """
    answers, total = trial.item_counts()
    with np.errstate(invalid="ignore"):
        share = total / (answers * highest_scores(trial))
    average = main.coefficient("treat")
    zeta_se = np.sqrt(main.ranef_vcov[:, 1, 1]) / scale
    total_se = np.sqrt(total_effect_variance(main)) / scale
    rows = []
    for k, name in enumerate(trial.item_names):
        easiness, zeta = main.ranef[k] / scale
        values = (
            trial.tab, name, easiness, zeta, average / scale + zeta, zeta_se[k], total_se[k],
            int(answers[0, k]), int(answers[1, k]), share[0, k], share[1, k],
        )  # fmt: skip
        rows.append(dict(zip(columns, values, strict=True)))
    return rows
