"""Who benefits: whether a treatment-by-covariate interaction is due to persons or an artefact of the items.

The rule for the verdict uses 95% intervals throughout. Each claim must hold under M_C and also with M_D in its place, on the same
side of 0. M_D (``engine.slopes``) relaxes the assumptions of M_C: the interaction may vary between items, the SD of persons may
differ between arms, and the log-odds may be curved in the covariate.

masked
    The interval of beta_3 under M_C, in which items have their own effects, excludes 0; that under M_B does not; and the interval
    of the bias that the closed form predicts for M_B (``closed_form.predicted_bias_of``) excludes 0 on the other side. Persons
    differ, but the items hide it from an analysis that ignores them.
person-level
    The interval under M_C excludes 0, and the interaction is not masked.
item-level
    The interval under M_C includes 0 but not the estimate under M_B, which therefore cannot be due to persons alone; the
    intervals under M_B and of the predicted bias exclude 0; and the predicted bias is between 1/2 and 3/2 of beta_3 under M_B.
cannot tell
    Otherwise, if M_D disagrees, and always if M_B or M_C is not certified or the table is too weak (``weak``): an arm has few
    persons with the covariate, persons differ too much for the approximation of the likelihood, or, for "item-level" and
    "masked", the verdict does not hold without the items answered one way in an arm.

The verdict names the source of the interaction found by an analysis that ignores the items. "Item-level" does not mean that
persons do not differ: the interval under M_C shows how much they may. How often the rule errs is simulated in
``ilhte_report.studies.verdicts``, including trials that violate the assumptions of M_C. "Masked" requires the interval under M_C,
because an estimate near 0 under M_B together with a predicted bias also occurs if persons do not differ and M_B happens to miss
the bias. Without the clause about the estimate under M_B, "item-level" was the verdict in 11% of trials of 2,000 persons and 20
items with both a true interaction of 0.1 and an artefact of 0.06.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from ..data.trial import PreparedTrial, Trial
from ..engine.native import fit_statistics
from ..engine.slopes import bends, fit_slopes
from ..errors import IlhteError, InputError
from ..messages import listed
from ..model.fit_result import Fit
from ..model.spec import MODELS
from .closed_form import predicted_bias_of
from .profile import fixed_effect_quantile
from .sum_score import sum_score_interaction
from .weak import FEWEST_PERSONS, Weaknesses, persons_by_arm, weaknesses
from .without_one_way import statistics_without

if TYPE_CHECKING:
    from .bootstrap import Bootstrap

Verdict = Literal["person-level", "item-level", "masked", "cannot tell"]
SLOPES_CELLS = 20_000
"""M_D is fitted to at most this many classes of persons times items, which takes a second or two."""
LEAST, MOST = 0.5, 1.5
"""Range of the ratio of the predicted bias to beta_3 under M_B for "item-level"."""
HALF_WIDTH = 1.959963984540054
"""Half the width of a 95% interval in standard errors."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval; the ends are NaN if there is none."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of 0; False if there is none."""
        return bool(self.low > 0.0 or self.high < 0.0)


def with_wald_interval(value: float, se: float) -> Estimate:
    """An estimate with the interval value +- 1.96 se."""
    return Estimate(float(value), float(value - HALF_WIDTH * se), float(value + HALF_WIDTH * se))


@dataclass(frozen=True)
class WhoBenefits:
    """The treatment-by-covariate interaction of one trial by several models.

    Attributes
    ----------
    covariate : the covariate's column; every interaction is per SD of it.
    n_persons : number of persons who have it.
    sum_score : interaction in a least-squares regression of the sum score (``sum_score.sum_score_interaction``), in within-arm
        SDs of the score; NaN if the trial is too small for it.
    constant, flexible : beta_3 of M_B and of M_C, logits.
    difference : beta_3(M_B) - beta_3(M_C), logits; its interval comes only from a bootstrap, since the fits share their data.
    predicted : the closed form of that difference at the estimates of M_C, logits.
    slopes : beta_3 of M_D (``engine.slopes``), logits, with a curve if the covariate has three values in each arm; NaN if M_D was
        not fitted (``SLOPES_CELLS``), so that the verdict is by M_C alone.
    verdict : see the module.
    reason : why the rule's verdict was not accepted, or "".
    clustered : whether persons come in clusters that the intervals ignore.
    clusters : number of clusters, None if there are none.
    """

    covariate: str
    n_persons: int
    sum_score: Estimate
    constant: Estimate
    flexible: Estimate
    difference: Estimate
    predicted: Estimate
    slopes: Estimate
    verdict: Verdict
    reason: str
    clustered: bool
    clusters: int | None = None


def who_benefits(trial: PreparedTrial, fits: dict[str, Fit], bootstrap: Bootstrap | None = None) -> WhoBenefits:
    """Compare the interactions by sum score, M_B, M_C and M_D, and decide on their source.

    Parameters
    ----------
    trial : prepared data with a covariate; a trial read out of core has no sum scores.
    fits : its fits, at least M_B and M_C, from one engine.
    bootstrap : resampling of persons or clusters (``bootstrap.resampling_bootstrap``), whose intervals replace the Wald intervals
        of M_B and M_C and give one for the difference.

    Raises
    ------
    InputError : the trial has no covariate.
    """
    needs_covariate(trial)
    constant, flexible = fits["M_B"], fits["M_C"]
    value_b, value_c = constant.coefficient("treat:cov"), flexible.coefficient("treat:cov")
    bias = predicted_bias_of(flexible)
    predicted = with_wald_interval(bias.value, bias.se)
    if bootstrap is None:
        beta3_b = interaction_of(constant)
        beta3_c = interaction_of(flexible)
        difference = Estimate(value_b - value_c, np.nan, np.nan)
    else:
        beta3_b = Estimate(value_b, *bootstrap.interval("beta3_b", value_b))
        beta3_c = Estimate(value_c, *bootstrap.interval("beta3_c", value_c))
        difference = Estimate(value_b - value_c, *bootstrap.interval("delta_beta3", value_b - value_c))
    weak = weaknesses(trial, {name: fits[name] for name in ("M_B", "M_C")})
    slopes = _slopes(trial, flexible)
    by_model = verdict(beta3_b, beta3_c, predicted)
    found = verdict(beta3_b, beta3_c, predicted, slopes)
    reason = _too_weak(trial, fits, weak, by_model)
    if not reason and found != by_model:
        reason = _objection(by_model)
    return WhoBenefits(
        covariate=str(trial.covariate_name),
        n_persons=flexible.n_persons,
        sum_score=_sum_score(trial),
        constant=beta3_b,
        flexible=beta3_c,
        difference=difference,
        predicted=predicted,
        slopes=slopes,
        verdict="cannot tell" if reason else found,
        reason=reason,
        clustered=trial.clustered and not trial.clusters_modelled and (bootstrap is None or not bootstrap.of_clusters),
        clusters=weak.clusters,
    )


def interaction_of(fit: Fit) -> Estimate:
    """beta_3 of M_B or M_C with its Wald interval, by t if the model has clusters; logits."""
    value, half = fit.coefficient("treat:cov"), fixed_effect_quantile(fit) * fit.standard_error("treat:cov")
    if fit.clusters is None:
        return with_wald_interval(value, fit.standard_error("treat:cov"))
    return Estimate(value, value - half, value + half)


def _slopes(trial: PreparedTrial, flexible: Fit) -> Estimate:
    """beta_3 of M_D; NaN if it is not fitted."""
    unknown = Estimate(np.nan, np.nan, np.nan)
    if not trial.rows_known or not flexible.converged:
        return unknown
    statistics = trial.sufficient_statistics(True)
    if statistics.n_classes * statistics.n_items > SLOPES_CELLS:
        return unknown
    try:
        found = fit_slopes(statistics, flexible, curved=bends(statistics))
    except (IlhteError, ArithmeticError, np.linalg.LinAlgError):
        return unknown
    return Estimate(found.coefficient("treat:cov"), *found.interval("treat:cov"))


def _too_weak(trial: PreparedTrial, fits: dict[str, Fit], weak: Weaknesses, found: Verdict) -> str:
    """Why the rule's verdict cannot be relied on, or ""."""
    if weak.uncertified:
        return f"the fit of {' and '.join(weak.uncertified)} is not certified"
    if min(persons_by_arm(trial.sufficient_statistics(True))) < FEWEST_PERSONS:
        return f"an arm has fewer than {FEWEST_PERSONS} persons with the covariate"
    if weak.extreme_persons:
        return "persons differ too much for the approximation of the likelihood"
    if found in ("item-level", "masked") and weak.one_way_items and not _holds_without(trial, fits, weak, found):
        return f"the items' part may depend heavily on {listed(weak.one_way_names, 3)}, answered one way in an arm"
    return ""


def _holds_without(trial: PreparedTrial, fits: dict[str, Fit], weak: Weaknesses, found: Verdict) -> bool:
    """Whether the verdict is the same, by the models' intervals, on the items with both kinds of responses in each arm."""
    if not trial.rows_known:
        return False
    try:
        statistics = statistics_without(cast("Trial", trial), weak.one_way_names, covariate=True)
        method, nodes = fits["M_C"].method, fits["M_C"].nodes
        constant = fit_statistics(statistics, MODELS["M_B"], method=method, nodes=nodes)
        flexible = fit_statistics(statistics, MODELS["M_C"], smaller=constant, method=method, nodes=nodes)
        bias = predicted_bias_of(flexible)
    except (IlhteError, ArithmeticError, np.linalg.LinAlgError):
        return False
    of_b, of_c = interaction_of(constant), interaction_of(flexible)
    return verdict(of_b, of_c, with_wald_interval(bias.value, bias.se)) == found


def needs_covariate(trial: PreparedTrial) -> PreparedTrial:
    """The same trial.

    Raises
    ------
    InputError : it has no covariate.
    """
    if trial.covariate is None:
        raise InputError(
            f"Table {trial.tab} has no usable pretest or other covariate to compare persons by: name one (--covariate)."
        )
    return trial


def verdict(constant: Estimate, flexible: Estimate, predicted: Estimate, slopes: Estimate | None = None) -> Verdict:
    """The verdict by the rule of this module.

    Parameters
    ----------
    constant, flexible, predicted : beta_3 of M_B and of M_C, and the bias predicted by the closed form, with intervals.
    slopes : beta_3 of M_D; without its interval the verdict is by M_C alone.
    """
    found = _by(constant, flexible, predicted)
    if found == "cannot tell" or slopes is None or not np.isfinite(slopes.low):
        return found
    same_side = found == "item-level" or slopes.value * flexible.value > 0
    return found if same_side and _by(constant, slopes, predicted) == found else "cannot tell"


def _objection(claim: Verdict) -> str:
    """Why M_D does not support a verdict by M_C."""
    found = (
        "includes 0 or lies on the other side"
        if claim != "item-level"
        else "excludes 0 or includes the estimate of M_B"
    )
    return (
        f"{claim} by M_C, but the interval {found} where the interaction may vary between items, the SD of persons between arms, "
        "and the log-odds may be curved (M_D)"
    )


def _by(constant: Estimate, flexible: Estimate, predicted: Estimate) -> Verdict:
    """The rule with one of the models in which item effects vary."""
    if flexible.excludes_zero:
        hidden = predicted.excludes_zero and predicted.value * flexible.value < 0
        shown = constant.excludes_zero or not np.isfinite(constant.low)
        return "masked" if hidden and not shown else "person-level"
    refuted = not flexible.low <= constant.value <= flexible.high
    if not (constant.excludes_zero and predicted.excludes_zero and refuted):
        return "cannot tell"
    return "item-level" if LEAST <= predicted.value / constant.value <= MOST else "cannot tell"


def _sum_score(trial: PreparedTrial) -> Estimate:
    if not trial.rows_known:
        return Estimate(np.nan, np.nan, np.nan)
    try:
        found = sum_score_interaction(cast("Trial", trial))
    except InputError:
        return Estimate(np.nan, np.nan, np.nan)
    return with_wald_interval(found.interaction, found.interaction_se)
