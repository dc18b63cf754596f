"""Who benefits? Is a treatment-by-covariate interaction one of persons, or made by the items?

The rule of the verdict, with 95% intervals throughout; each claim must hold under M_C and again with M_D in its place, on the
same side of 0. M_D (``engine.slopes``) frees what M_C assumes: items may differ in how the covariate moves their effect, persons
more in one arm than in the other, and the log-odds may bend with the covariate.

masked
    the interval of beta_3 under M_C, in which items have effects of their own, excludes 0; that under M_B does not; and the
    bias that the closed form predicts for M_B (``closed_form.predicted_bias_of``) excludes 0, on the other side: persons
    differ, and the items hide it from an analysis blind to them.
person-level
    the interval under M_C excludes 0, and nothing is masked.
item-level
    the interval under M_C holds 0 and not what M_B finds, so that not all of it can be the persons'; that under M_B excludes 0,
    that of the predicted bias does too, and the predicted bias is between 1/2 and 3/2 of beta_3 of M_B.
cannot tell
    otherwise, where M_D objects, and always where M_B or M_C is not certified or the table is too weak (``weak``): an arm of few persons
    with the covariate, persons who differ beyond the likelihood's approximation, and, for "item-level" and "masked", where it does
    not hold without the items that an arm answered one way.

The verdict names the source of the interaction that an analysis blind to the items shows. "Item-level" does not say
that persons do not differ: the interval under M_C says how much they may. How often the rule errs where the truth is
known is simulated in ``ilhte_report.studies.verdicts``, with trials that break what M_C assumes among them. "Masked" needs the
interval of M_C: an M_B near 0 beside a predicted bias says as much where persons do not differ and M_B missed the bias. Without
the clause about what M_B finds, "item-level" was said in 11% of trials of 2,000 persons and 20 items with both a true interaction
of 0.1 and items that add 0.06.
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
from .weak import FEWEST_PERSONS, Weaknesses, weaknesses
from .without_one_way import statistics_without

if TYPE_CHECKING:
    from .bootstrap import Bootstrap

Verdict = Literal["person-level", "item-level", "masked", "cannot tell"]
SLOPES_CELLS = 20_000
"""M_D is fitted to at most so many classes of persons times items: a second or two."""
LEAST, MOST = 0.5, 1.5
"""The predicted bias makes up at least and at most so much of what M_B finds for "item-level"."""
HALF_WIDTH = 1.959963984540054
"""Half the width of a 95% interval in standard errors."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval; NaN ends where there is none."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of 0; False where there is none."""
        return bool(self.low > 0.0 or self.high < 0.0)


def with_wald_interval(value: float, se: float) -> Estimate:
    """An estimate with the interval value +- 1.96 se."""
    return Estimate(float(value), float(value - HALF_WIDTH * se), float(value + HALF_WIDTH * se))


@dataclass(frozen=True)
class WhoBenefits:
    """The treatment-by-covariate interaction of one trial, four ways.

    Attributes
    ----------
    covariate : its column; every interaction is per SD of it.
    n_persons : persons who have it.
    sum_score : interaction in a least-squares regression of the sum score (``sum_score.sum_score_interaction``), in SDs
        of the score within arm; NaN for a trial too small for one.
    constant, flexible : beta_3 of M_B and of M_C, logits.
    difference : beta_3(M_B) - beta_3(M_C), logits; an interval only from a bootstrap, never from two fits' variances.
    predicted : the closed form of that difference at the estimates of M_C, logits.
    slopes : beta_3 of M_D (``engine.slopes``), in which items may differ in the covariate's slope and the interaction, and
        persons more in one arm than in the other, and the log-odds bend with the covariate where it has three values in each
        arm, logits; NaN where it was not fitted (``SLOPES_CELLS``). The verdict then is by M_C alone.
    verdict : see the module.
    reason : why the verdict could not be reached by the rule, or "".
    clustered : whether persons come in clusters that the intervals do not know of.
    clusters : number of clusters, None where there are none.
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
    """Compare the interactions that a sum score, M_B and M_C show, and say where they come from.

    Parameters
    ----------
    trial : prepared data with a covariate; one that was read out of core has no sum scores.
    fits : at least M_B and M_C of it, from one engine.
    bootstrap : of persons or clusters (``bootstrap.resampling_bootstrap``); its intervals then replace the
        Wald intervals of M_B and M_C, and the difference gets one.

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
    """beta_3 of M_B or M_C with its Wald interval, by t where the model has clusters; logits."""
    value, half = fit.coefficient("treat:cov"), fixed_effect_quantile(fit) * fit.standard_error("treat:cov")
    if fit.clusters is None:
        return with_wald_interval(value, fit.standard_error("treat:cov"))
    return Estimate(value, value - half, value + half)


def _slopes(trial: PreparedTrial, flexible: Fit) -> Estimate:
    """beta_3 of M_D; NaN where it is not fitted."""
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
    if min(_persons_with_covariate(trial)) < FEWEST_PERSONS:
        return f"an arm has fewer than {FEWEST_PERSONS} persons with the covariate"
    if weak.extreme_persons:
        return "persons differ too much for the approximation of the likelihood"
    if found in ("item-level", "masked") and weak.one_way_items and not _holds_without(trial, fits, weak, found):
        return f"what the items produce may rest on {listed(weak.one_way_names, 3)}, answered one way in an arm"
    return ""


def _holds_without(trial: PreparedTrial, fits: dict[str, Fit], weak: Weaknesses, found: Verdict) -> bool:
    """Whether the verdict is the same also by the model's intervals on the items that each arm answered both ways."""
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


def _persons_with_covariate(trial: PreparedTrial) -> tuple[int, int]:
    """By arm."""
    statistics = trial.sufficient_statistics(True)
    count, cut = statistics.count, statistics.n_control_classes
    return int(count[:cut].sum()), int(count[cut:].sum())


def needs_covariate(trial: PreparedTrial) -> PreparedTrial:
    """The trial itself.

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
    """The rule of this module from beta_3 of M_B, beta_3 of M_C and the predicted bias, all with intervals.

    Parameters
    ----------
    constant, flexible, predicted : of M_B, of M_C, and of the closed form.
    slopes : of M_D; without its interval the verdict is by M_C alone.
    """
    found = _by(constant, flexible, predicted)
    if found == "cannot tell" or slopes is None or not np.isfinite(slopes.low):
        return found
    same_side = found == "item-level" or slopes.value * flexible.value > 0
    return found if same_side and _by(constant, slopes, predicted) == found else "cannot tell"


def _objection(claim: Verdict) -> str:
    """What M_D has against a verdict by M_C."""
    said = "holds 0 or lies on the other side" if claim != "item-level" else "excludes 0 or holds what M_B finds"
    return (
        f"{claim} by M_C, but the interval {said} where items may differ in the slope, persons in spread by arm, and the "
        "log-odds may bend (M_D)"
    )


def _by(constant: Estimate, flexible: Estimate, predicted: Estimate) -> Verdict:
    """The rule by one model in which items differ."""
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
