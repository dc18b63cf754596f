"""A table's results in sentences, the same on the terminal and on the table's page.

A sentence claims no more than the interval beside it (``inference.interval``), and nothing where the data are too weak for
a conclusion (``inference.weak``). Effects are described by their sign; whether a sign is good is said only where the user or
the catalogue has said so.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ilhte_lib.inference.bootstrap import Scheme
from ilhte_lib.inference.effects import ALPHA, Effects
from ilhte_lib.inference.interval import (
    Basis,
    Interval,
    average_estimand,
    average_interval,
    average_reach,
    interaction_interval,
    rho_interval,
    spread_interval,
)
from ilhte_lib.inference.lrt import LikelihoodRatio
from ilhte_lib.inference.parts import Part
from ilhte_lib.inference.weak import FEWEST_CLUSTERS
from ilhte_lib.messages import counted, listed

from .numbers import between, number, p_text
from .terms import TRIAL, Terms

if TYPE_CHECKING:
    from ilhte_lib.data.catalogue import TableInfo
    from ilhte_lib.inference.infer import Inference
    from ilhte_lib.inference.units import Scale
    from ilhte_lib.inference.without_one_way import WithoutOneWayItems

NONE_TESTABLE = "No item has different responses in each arm, so none can be tested against the average."
AT_BOUNDARY = 0.9999
"""A correlation beyond this is on its boundary."""


def defined(value: float | None) -> bool:
    """Whether a number of a summary row exists."""
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def findings(
    result: Effects, inference: Inference, *, lower_is_better: bool = False, terms: Terms = TRIAL
) -> list[str]:
    """A sentence each on average, spread, easiness, test and interaction."""
    said = (
        average_sentence(result, inference, lower_is_better=lower_is_better, terms=terms),
        item_spread_sentence(result, inference, terms),
        easiness_sentence(result, inference, terms),
        test_sentence(result, inference, terms),
        interaction_sentence(result, inference, terms),
    )
    return [sentence for sentence in said if sentence]


def _with_interval(shown: Interval) -> str:
    """An estimate and its interval; an undefined end is a dash."""
    interval = between(shown.low, shown.high)
    return (
        number(shown.estimate, 2)
        if interval == between(math.nan, math.nan)
        else f"{number(shown.estimate, 2)} [95% interval {interval}]"
    )


def _one_way_names(result: Effects) -> str:
    return listed(result.weak.one_way_names, 3)


def _them(result: Effects) -> str:
    return "it" if len(result.weak.one_way_names) == 1 else "them"


def average_sentence(
    result: Effects, inference: Inference, *, lower_is_better: bool = False, terms: Terms = TRIAL
) -> str:
    """The average effect, with its direction if the interval excludes zero."""
    shown = average_interval(result, inference)
    text = f"{terms.average}: {_with_interval(shown)} {result.scale.unit.of_persons}"
    return f"{text}; {average_conclusion(result, inference, lower_is_better=lower_is_better, terms=terms)}."


def average_conclusion(
    result: Effects, inference: Inference, *, lower_is_better: bool = False, terms: Terms = TRIAL
) -> str:
    """What follows from the average effect and its interval, as the end of a sentence."""
    shown = average_interval(result, inference)
    if result.weak.forbids_conclusions:
        return f"nothing is concluded from it, as {result.weak.why_no_conclusions}"
    if not shown.defined:
        return "its standard error is not known"
    if not shown.excludes_zero:
        return "not distinguishable from zero"
    if hangs := _rests_on_one_way_items(result, inference, shown, "treat"):
        return hangs
    positive = shown.estimate > 0
    if inference.statistics.formats is not None:
        more = f"have {'higher' if positive else 'lower'} scores"
    else:
        more = f"give {'more' if positive else 'fewer'} responses of 1"
    good = ""
    if lower_is_better:
        good = f", which is {'worse' if positive else 'better'} (lower is better here)"
    return f"{terms.treated} {more}{good}"


def degrees_sentence(inference: Inference) -> str:
    """How the interval of the average effect is computed, or ""."""
    here, width = inference.generalisation, average_reach(inference)
    if here is None or not math.isfinite(width):
        return ""
    return (
        f"The interval of the average effect is the estimate ± {number(width, 2)} SE, from the t distribution with {number(here.df, 0)} degrees "
        "of freedom (Satterthwaite), and allows for few items."
    )


def item_spread_sentence(result: Effects, inference: Inference, terms: Terms = TRIAL) -> str:
    """How much effects differ between items."""
    shown = spread_interval(result, inference)
    text = f"{terms.effects} vary around it with a standard deviation of {_with_interval(shown)} {result.scale.unit.plural}"
    others = inference.without_one_way
    if result.weak.one_way_items and others is not None:
        again = _without(result, others, "sigma_zeta")
        text += f"; without {_one_way_names(result)}, {_with_interval(again)}"
    return f"{text}."


def easiness_sentence(result: Effects, inference: Inference, terms: Terms = TRIAL) -> str:
    """How the effect is related to easiness, in words that are true whatever the sign of the effects."""
    shown = rho_interval(result, inference)
    if result.weak.no_common_item:
        return ""  # rho is not identified; a flag says so
    if not defined(shown.estimate):
        return (
            f"The correlation of {_inside(terms.effects)} with easiness is not defined: one of the two does not vary."
        )
    value = f"ρ = {_with_interval(shown)}"
    if abs(shown.estimate) > AT_BOUNDARY:
        value += (
            ", on its boundary (a singular fit: the likelihood is highest where effects are a linear function of easiness, as "
            "often happens with few items or effects that hardly differ)"
        )
    if shown.low <= -AT_BOUNDARY and shown.high >= AT_BOUNDARY and not result.weak.forbids_conclusions:
        value += "; no value is excluded, so that not even the sign is known"
    relation, conclusion = easiness_conclusion(result, inference, terms)
    return (
        f"{relation}: {value}."
        if relation
        else f"Correlation of {_inside(terms.effects)} with easiness: {value}; {conclusion}."
    )


def easiness_conclusion(result: Effects, inference: Inference, terms: Terms = TRIAL) -> tuple[str, str]:
    """The relation of effect and easiness as the beginning of a sentence, or, where there is no conclusion, the reason as its end."""
    shown = rho_interval(result, inference)
    if result.weak.forbids_conclusions:
        return "", "nothing is concluded from it"
    if not shown.excludes_zero:
        return f"{terms.effects} show no clear relation to easiness", ""
    if hangs := _rests_on_one_way_items(result, inference, shown, "rho"):
        return "", hangs
    if shown.estimate > 0:
        return f"The easier {_an(terms.item)}, the more positive (or less negative) its {terms.effect}", ""
    return f"The easier {_an(terms.item)}, the more negative (or less positive) its {terms.effect}", ""


def test_sentence(result: Effects, inference: Inference, terms: Terms = TRIAL) -> str:  # noqa: PT028
    """The test of equal effects on all items."""
    row = result.summary
    halved = row["profile"] == "vignette"
    p = row["lrt_pval"] if halved else row["lrt_pval_mixture"]
    null = "p halved" if halved else "chi-square mixture"
    equal = "equal effects" if terms.effect == TRIAL.effect else f"an equal {terms.effect}"
    text = f"Test of {equal} on all {terms.items}: LR = {number(row['lrt_stat'], 2)}, {p_words(p)} ({null})"
    return f"{text}{test_conclusion(result, inference, terms)}."


def test_conclusion(result: Effects, inference: Inference, terms: Terms = TRIAL) -> str:  # noqa: PT028
    """What follows from the test, as the end of a sentence, beginning with its comma or semicolon."""
    row, weak = result.summary, result.weak
    halved = row["profile"] == "vignette"
    differs = f"there is evidence that the {terms.effect} differs between {terms.items}"
    if weak.forbids_conclusions or "M_0" in weak.uncertified:
        why = weak.why_no_conclusions or "the optimum of M_0 is not certified"
        return f"; nothing is concluded from it, as {why}"
    if not row["sig_il_hte"]:
        return f"; the data are compatible with one {terms.effect} for all {terms.items}"
    if halved and row["lrt_pval_mixture"] >= ALPHA:
        return (
            f"; significant by this rule alone: by the chi-square mixture ({p_words(row['lrt_pval_mixture'])}), which the "
            "interval of the standard deviation follows, it is not"
        )
    if weak.one_way_items:
        others = inference.without_one_way
        again = others and _test_p(others.test, halved)
        if again is None or again >= ALPHA:
            left = f" ({p_words(again)} without {_them(result)})" if again is not None else ""
            return f"; this rests on {_one_way_names(result)}{left}, so that nothing is concluded from it"
        return f", without {_one_way_names(result)} {p_words(again)}; {differs}"
    return f"; {differs}"


test_sentence.__test__ = test_conclusion.__test__ = False  # about a test, but no tests for pytest


def interaction_sentence(result: Effects, inference: Inference, terms: Terms = TRIAL) -> str:
    """The treatment-by-covariate interaction with and without item effects in the model."""
    row = result.summary
    if not defined(row["delta_beta3"]):
        question = "who benefits most" if terms.treatment == TRIAL.treatment else "for whom the groups differ most"
        return f"There is no covariate, so nothing is said about {question}."
    constant = _with_interval(interaction_interval(result, inference, "beta3_b"))
    flexible = _with_interval(interaction_interval(result, inference, "beta3_c"))
    return (
        f"{terms.treatment} by {row['covariate']}, logits per SD of the covariate: {constant} without item effects in "
        f"the model, {flexible} with them; the difference is {number(row['delta_beta3'], 3)}."
    )


def caveat(info: TableInfo | None) -> str | None:
    """A warning that must precede the results of a bundled table, or None."""
    if info is None:
        return None
    if info.kind == "simulated":
        return "Simulated: this table was drawn by the project's generator from known values; nobody was treated."
    if not info.randomised:
        return "Not randomised: the two groups were not assigned at random, so differences are not treatment effects."
    if info.items_are == "visits":
        return (
            "The “items” are visits, one outcome at several times: a spread of their effects is a change over time, and "
            "nothing is said about items that were not asked."
        )
    return None


def _inside(subject: str) -> str:
    """The subject of a sentence with a small initial letter, for use inside one."""
    return subject[0].lower() + subject[1:]


def _an(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _without(result: Effects, others: WithoutOneWayItems, parameter: str) -> Interval:
    """An estimate of the fit without the one-way items, in the table's unit."""
    by = 1.0 if parameter == "rho" else result.scale.by
    estimate = {"treat": others.ate, "sigma_zeta": others.sigma_zeta, "rho": others.rho}[parameter]
    found = others.intervals.get(parameter)
    low, high = (found.lower, found.upper) if found else (math.nan, math.nan)
    return Interval(estimate / by, low / by, high / by, Basis.PROFILE if found else Basis.NONE)


def _rests_on_one_way_items(result: Effects, inference: Inference, shown: Interval, parameter: str) -> str:
    """The end of a sentence saying that an estimate's sign depends on the one-way items; "" where it does not."""
    if not result.weak.one_way_items:
        return ""
    others = inference.without_one_way
    again = others and _without(result, others, parameter)
    if again and again.excludes_zero and (again.estimate > 0) == (shown.estimate > 0):
        return ""
    left = f" ({_with_interval(again)} without {_them(result)})" if again and defined(again.estimate) else ""
    return f"this rests on {_one_way_names(result)}{left}, so that nothing is concluded from it"


def _test_p(test: LikelihoodRatio, halved: bool) -> float:
    return test.halved if halved else test.mixture


def p_words(p: float) -> str:
    """A p-value in a sentence."""
    return "p < .001" if p < 0.001 else f"p = {p:.3f}"


def cluster_sentences(result: Effects, inference: Inference) -> list[str]:
    """Warnings for a trial with clusters; none for others."""
    return [s for s in (cluster_sentence(inference), clusters_drawn_sentence(result, inference)) if s]


def cluster_sentence(inference: Inference) -> str:
    """A warning where a clustered trial has only model standard errors that ignore clusters, else ""."""
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
        return text  # a flag says that resampling would not help
    return f"{text} Use --bootstrap N for standard errors that allow for the clusters."


def clusters_drawn_sentence(result: Effects, inference: Inference) -> str:
    """How resampling clusters changes the standard error of the average effect; "" where none were resampled."""
    here, scale = inference.generalisation, result.scale
    if not inference.takes_drawn_clusters or here is None:
        return ""
    return (
        "The persons of this trial come in clusters. The intervals of the average effect and of the interactions in these "
        "sentences come from resampling whole clusters: with these items, the standard error of the average effect is "
        f"{number(inference.resampling.se(average_estimand(result)), 3)} {scale.unit.plural} when clusters are resampled, "
        f"{number(here.se_without_item_sampling / scale.by, 3)} under the model, which treats persons as independent. The "
        "test and all other intervals are the model's."
    )


def resampling_sentence(inference: Inference) -> str:
    """What was resampled, how often and from how many units; "" without resampling."""
    drawn = inference.resampling
    if drawn is None:
        return ""
    what = "clusters" if drawn.of_clusters else "persons"
    control, treated = drawn.units
    if drawn.scheme == Scheme.WHOLE_CLUSTERS:
        units = f"{control} clusters, each of which may contain both arms, were drawn whole with replacement"
    else:
        units = f"{control} control and {treated} treated {what} were drawn with replacement within their arm"
    lost = f" ({drawn.failed} could not be fitted)" if drawn.failed else ""
    text = f"{units}, {counted(drawn.replicates, 'time', 'times')}{lost}, seed {drawn.seed}; the items stay the same."
    of = drawn.replicates - drawn.failed
    if of < 2:
        return f"{text} With so few draws there are no standard errors."
    if inference.clusters is not None and drawn.of_clusters:
        text += " The models already allow for clusters; this is a check of them and replaces no other interval."
    if inference.too_few_clusters:
        return f"{text} With fewer than {FEWEST_CLUSTERS} clusters such standard errors are unreliable and not shown."
    return (
        f"{text} An interval is the estimate ± {drawn.quantile():.2f} of these standard errors, cut at the limits of the parameter. "
        "It refers to these items: with other items σ_ζ and ρ would vary more. With this number of draws a standard error is "
        f"uncertain by about {100 / math.sqrt(2 * (of - 1)):.0f}%."
    )


def flagged_sentence(inference: Inference, terms: Terms = TRIAL) -> str:
    """Which items differ from the average after Holm's correction."""
    found = inference.items
    if found is None:
        return ""
    tested = int(np.isfinite(found.departure_p).sum())
    if not tested:
        return "" if inference.why_missing(Part.FREE) else NONE_TESTABLE
    if inference.weak.forbids_conclusions:
        return f"No {terms.item} is said to differ from the average, as {inference.weak.why_no_conclusions}."
    flagged, loose = found.flagged(), int(np.count_nonzero(found.departure_p_bh < 0.05))
    rest = f"after Benjamini and Hochberg's, which tolerates one false finding in twenty, {loose}"
    if not flagged:
        return f"After Holm's correction for {tested} {terms.items}, none differs from the average at 5%; {rest}."
    shown = ", ".join(flagged[:8]) + (f" and {len(flagged) - 8} more" if len(flagged) > 8 else "")
    verb = "differs" if len(flagged) == 1 else "differ"
    return f"After Holm's correction for {tested} {terms.items}, {len(flagged)} {verb} from the average at 5%: {shown}; {rest}."


def robust_sentence(inference: Inference, scale: Scale, terms: Terms = TRIAL) -> str:
    """Whether the average depends on a few items."""
    found = inference.robust
    if found is None or not math.isfinite(found.difference):
        return ""
    left_out = int(np.count_nonzero(found.weight == 0))
    tested = inference.items
    names = [name for name, far in zip(tested.item_names, found.outlying, strict=True) if far] if tested else []
    if inference.weak.forbids_conclusions:
        verdict = f"nothing is concluded from it, as {inference.weak.why_no_conclusions}"
    elif found.p_outliers < ALPHA and names:
        stand = "stands" if len(names) == 1 else "stand"
        verdict = (
            f"{listed(names, 5)} {stand} out from the rest, whose mean is {number(found.mean_without / scale.by, 2)}"
        )
    else:
        verdict = f"there is no evidence that a few {terms.items} stand out"
    return (
        f"With each {terms.item} estimated by itself, the mean {terms.effect} is {number(found.mean / scale.by, 2)} {scale.unit.plural}; a "
        f"bisquare-robust mean, which gives {left_out} of {found.n_items} {terms.items} no weight, is {number(found.robust / scale.by, 2)}. "
        f"The test of whether a few {terms.items} stand out from a normal distribution has p = {p_text(found.p_outliers)}: {verdict}."
    ).replace("p = <", "p < ")


def steps_sentence(inference: Inference) -> str:
    """Whether items share the steps between their categories, or "" where this was not tested."""
    found = inference.steps
    if found is None:
        return ""
    test = f"LR = {number(found.statistic, 2)} on {counted(found.df, 'degree', 'degrees')} of freedom, p = {p_text(found.p)}".replace(
        "p = <", "p < "
    )
    against = (
        "there is evidence against this, and --steps partial gives each item its own steps"
        if found.p < ALPHA
        else "there is no evidence against this"
    )
    return f"Items with the same number of categories are assumed to share the steps between them ({test}): {against}."


def sum_score_sentence(inference: Inference) -> str:
    """The difference in mean scores, and the reliability used in the correction."""
    found = inference.sum_score
    if found is None:
        return ""
    formats = inference.statistics.formats
    whole, reliability = (
        (f"{inference.statistics.n_items} items", "KR-20")
        if formats is None
        else (f"{counted(int(formats.highest.sum()), 'point', 'points')}", "Cronbach's alpha")
    )
    return (
        f"The mean score of the treated minus that of the controls is {number(found.difference, 2)} of "
        f"{whole}; {reliability} within arm is "
        f"{number(found.reliability, 2)} (SE {number(found.reliability_se, 2)}). Unlike the model's, the standard errors of the "
        "score treat the items as fixed."
    )
