"""Two draft paragraphs for a paper: results with numbers in APA style, and methods with citations.

Conclusions are those of a page's sentences (``words.sentences``), and so are the intervals (``inference.interval``). Numbers
follow the Publication Manual of the APA (7th edition, chapter 6): intervals in brackets, no zero before the decimal point of
a number that cannot exceed 1.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ilhte_lib.inference.bootstrap import Scheme
from ilhte_lib.inference.interval import (
    Basis,
    Interval,
    average_interval,
    interaction_interval,
    rho_interval,
    spread_interval,
)
from ilhte_lib.inference.units import Unit
from ilhte_lib.messages import counted
from ilhte_lib.model.formats import StepForm

from .arms import arms_sentences
from .markdown import escape_markdown
from .numbers import ends, number
from .sentences import (
    average_conclusion,
    caveat,
    cluster_sentences,
    defined,
    easiness_conclusion,
    flagged_sentence,
    test_conclusion,
)
from .terms import TRIAL, terms_of

if TYPE_CHECKING:
    from ilhte_lib.analysis import Analysis
    from ilhte_lib.inference.arms import Arms

_BASES = {
    Basis.T: "t quantiles with Satterthwaite's degrees of freedom",
    Basis.PROFILE: "the profile likelihood",
    Basis.CLUSTERS: "resampling whole clusters",
    Basis.WALD: "Wald's method",
}


def results_paragraph(analysis: Analysis) -> str:
    """What the trial shows, in one paragraph of plain text; several arms side by side."""
    if analysis.arms is not None:
        return _arms_results(analysis.arms)
    result, inference = analysis.effects, analysis.inference
    said = (
        caveat(analysis.info),
        _size(analysis),
        _average(analysis),
        _spread(analysis),
        _easiness(analysis),
        _interaction(analysis),
        flagged_sentence(inference, terms_of(analysis.info)),
        *cluster_sentences(result, inference),
        *result.flags,
        *result.messages,
    )
    return " ".join(sentence for sentence in said if sentence)


def methods_paragraph(analysis: Analysis) -> str:
    """How it was computed, in one paragraph of Markdown with citations (``[@key]`` of references.bib); names are escaped."""
    if analysis.arms is not None:
        return _arms_methods(analysis.arms)
    said = (
        _models(analysis), _ratings(analysis), _covariate(analysis), _clusters(analysis), _estimation(analysis), _units(analysis),
        _test(analysis), _intervals(analysis), _items(analysis), _resampling(analysis),
    )  # fmt: skip
    return " ".join(sentence for sentence in said if sentence)


def _arms_results(found: Arms) -> str:
    """What several arms show, in one paragraph of plain text."""
    by_arm = [
        f"{row.arm} ({counted(row.n_treated, 'person', 'persons')}): {_with_interval(row.average, f' {row.unit.plural}')}, "
        f"{_p(row.p_average_holm)}; standard deviation of item effects {_with_interval(row.spread, f' {row.unit.plural}')}, {_p(row.p_equal_holm)}."
        for row in found.rows
    ]
    return " ".join([*arms_sentences(found), *by_arm])


def _arms_methods(found: Arms) -> str:
    """How several arms were compared, in one paragraph of Markdown with citations; names are escaped."""
    return (
        f"Each of {len(found.rows)} arms was compared with {escape_markdown(found.control)} in a separate analysis with the same control "
        f"persons, described in the arm's own paragraph. p-values for no average effect and for equal effects on all items were corrected for "
        f"the number of arms by {found.correction}'s method [@holm1979simple]; confidence intervals refer to one arm at a time."
    )


def _apa(value: float, digits: int = 2, *, below_one: bool = False) -> str:
    text = number(value, digits)
    return text.replace("0.", ".", 1) if below_one and text.lstrip("−").startswith("0.") else text


def _p(p: float) -> str:
    return "p < .001" if p < 0.001 else f"p = {_apa(p, 3, below_one=True)}"


def _with_interval(shown: Interval, unit: str = "", *, below_one: bool = False) -> str:
    """Estimate, unit and 95% CI; an undefined end is a dash."""
    text = f"{_apa(shown.estimate, below_one=below_one)}{unit}"
    if not (math.isfinite(shown.low) or math.isfinite(shown.high)):
        return text
    low, high = ends(shown.low, shown.high)
    if below_one:
        low, high = (end.replace("0.", ".", 1) if end.lstrip("−").startswith("0.") else end for end in (low, high))
    return f"{text}, 95% CI [{low}, {high}]"


def _size(analysis: Analysis) -> str:
    trial = analysis.trial
    persons, items = counted(trial.n_persons, "person", "persons"), counted(trial.n_items, "item", "items")
    return f"The analysis used {trial.n_responses:,} responses of {persons} to {items}."


def _average(analysis: Analysis) -> str:
    result, inference = analysis.effects, analysis.inference
    shown = _with_interval(average_interval(result, inference), f" {result.scale.unit.of_persons}")
    terms = terms_of(analysis.info)
    concluded = average_conclusion(result, inference, lower_is_better=analysis.lower_is_better, terms=terms)
    return f"The {terms.average[0].lower()}{terms.average[1:]} was {shown}; {concluded}."


def _spread(analysis: Analysis) -> str:
    result, inference = analysis.effects, analysis.inference
    row, halved = result.summary, result.summary["profile"] == "vignette"
    shown = _with_interval(spread_interval(result, inference), f" {result.scale.unit.plural}")
    p = _p(row["lrt_pval"] if halved else row["lrt_pval_mixture"])
    terms = terms_of(analysis.info)
    equal = "equal effects" if terms.effect == TRIAL.effect else f"an equal {terms.effect}"
    against = "p halved" if halved else "mixture of χ² with 1 and 2 degrees of freedom"
    return (
        f"{terms.effects} varied around it with a standard deviation of {shown}; in the likelihood-ratio test of {equal}, "
        f"LR = {number(row['lrt_stat'], 2)}, {p} ({against}){test_conclusion(result, inference, terms)}."
    )


def _easiness(analysis: Analysis) -> str:
    result, inference = analysis.effects, analysis.inference
    shown = rho_interval(result, inference)
    if result.weak.no_common_item or not defined(shown.estimate):
        return ""
    terms = terms_of(analysis.info)
    relation, concluded = easiness_conclusion(result, inference, terms)
    text = f"The correlation of {terms.inside} with easiness was ρ = {_with_interval(shown, below_one=True)}"
    return f"{text}: {relation[0].lower()}{relation[1:]}." if relation else f"{text}; {concluded}."


def _interaction(analysis: Analysis) -> str:
    result, inference = analysis.effects, analysis.inference
    if not defined(result.summary["delta_beta3"]):
        return ""
    alike, differ = (_with_interval(interaction_interval(result, inference, name)) for name in ("beta3_b", "beta3_c"))
    return (
        f"The interaction of {terms_of(analysis.info).treatment.lower()} and {result.summary['covariate']}, in logits per SD of the covariate, was {alike}, in the model "
        f"without item effects and {differ}, in the model with them."
    )


def _models(analysis: Analysis) -> str:
    formula = analysis.fits["M_A"].spec.formula
    return (
        "Responses were analysed with the explanatory item response models of Gilbert et al. [@gilbert2025estimating; "
        "@gilbert2025disentangling]: a cross-classified logistic mixed model with a fixed effect of treatment and random "
        "intercepts of persons and items, M~0~, and the same model in which the effect of treatment also varies over items, "
        f"M~A~ (in the notation of lme4 [@bates2015fitting], `{formula}`)."
    )


def _ratings(analysis: Analysis) -> str:
    formats = analysis.trial.formats
    if formats is None:
        return ""
    form, key = (
        ("rating scale", "andrich1978rating")
        if formats.form == StepForm.RATING
        else ("partial credit", "masters1982rasch")
    )
    return f"Ordered categories were modelled by adjacent-category logits in the {form} form [@{key}]."


def _covariate(analysis: Analysis) -> str:
    if "M_C" not in analysis.fits:
        return ""
    name = escape_markdown(str(analysis.trial.covariate_name))
    return f"The models M~B~ and M~C~ add the standardised covariate {name} and its interaction with treatment to these two."


def _clusters(analysis: Analysis) -> str:
    found = analysis.inference.clusters
    if found is None:
        return ""
    effects = "" if math.isnan(found.sigma_effect) else " and random effects of treatment"
    return (
        f"All models have random intercepts{effects} of the {found.count} clusters, and intervals of fixed effects use the t distribution "
        f"with {found.degrees_of_freedom} degrees of freedom."
    )


def _estimation(analysis: Analysis) -> str:
    from ilhte_lib import __version__

    main = analysis.fits["M_A"]
    by = "lme4, called by ilhte" if main.engine == "pymer4" else "ilhte"
    if main.method == "laplace":
        what = "the Laplace approximation of the likelihood, the objective of lme4 with one quadrature point [@bates2015fitting]"
    else:
        what = "the likelihood with persons integrated out by adaptive quadrature and items by Laplace's approximation"
    return f"Parameters maximise {what}; they were computed by {by} {__version__}."


def _units(analysis: Analysis) -> str:
    if analysis.effects.scale.unit is Unit.SD:
        return "Effects are in standard deviations of the persons: divided by σ~θ~ of M~0~ [@gilbert2025estimating]."
    return "Effects are in logits, as persons do not differ beyond chance."


def _test(analysis: Analysis) -> str:
    text = "Equal effects on all items were tested by the likelihood ratio of M~0~ and M~A~"
    if analysis.trial.profile == "vignette":
        return f"{text}, its p-value of χ² with 2 degrees of freedom halved [@gilbert2025estimating]."
    return (
        f"{text}; as the variance is on its boundary under the hypothesis, the ratio is compared with an even mixture of χ² "
        "with 1 and 2 degrees of freedom [@selfliang1987asymptotic; @stramlee1994variance]."
    )


def _intervals(analysis: Analysis) -> str:
    """The method behind the interval of each estimate, in the order in which they are reported."""
    result, inference = analysis.effects, analysis.inference
    shown = {
        "the average effect": average_interval(result, inference),
        "the standard deviation of item effects": spread_interval(result, inference),
        "their correlation with easiness": rho_interval(result, inference),
    }
    if "M_C" in analysis.fits:
        shown["the interactions"] = interaction_interval(result, inference, "beta3_c")
    of: dict[str, list[str]] = {}
    for name, interval in shown.items():
        if interval.basis in _BASES:
            of.setdefault(_BASES[interval.basis], []).append(name)
    parts = [f"of {', of '.join(names)} from {how}" for how, names in of.items()]
    return f"95% confidence intervals are {'; '.join(parts)}." if parts else ""


def _items(analysis: Analysis) -> str:
    if analysis.inference.items is None:
        return ""
    return "Single items were compared with the average effect under Holm's correction [@holm1979simple]."


def _resampling(analysis: Analysis) -> str:
    drawn = analysis.inference.resampling
    if drawn is None:
        return ""
    units = "whole clusters" if drawn.of_clusters else "persons within arm"
    units = "clusters within arm" if drawn.of_clusters and drawn.scheme != Scheme.WHOLE_CLUSTERS else units
    return f"A bootstrap drew {units} {counted(drawn.replicates, 'time', 'times')} (seed {drawn.seed})."
