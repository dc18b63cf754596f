"""What is shown of one trial: one list of sections in one order, for the page, the HTML file and the terminal alike.

Findings come first, in sentences; then figures, estimates, items, tests, who benefits; then models, data and audit. A
writer (``pages.notebook``, ``pages.single``, ``terminal``) decides how a section looks and escapes it, never what it says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ilhte_lib.inference.units import Unit
from ilhte_lib.messages import counted

from ..words.approximation import NAMES, approximation_sentence
from ..words.clusters import CLUSTERS, cluster_findings, cluster_rows
from ..words.figures import curves_words, form_words, items_words, profiles_words, who_benefits_words
from ..words.rows import (
    Row,
    audit_rows,
    estimate_rows,
    generalisation_rows,
    influence_rows,
    item_rows,
    model_rows,
    penalised_rows,
    resampling_rows,
    score_rows,
    sum_score_rows,
    test_rows,
)
from ..words.sentences import (
    caveat,
    cluster_sentences,
    degrees_sentence,
    findings,
    flagged_sentence,
    resampling_sentence,
    robust_sentence,
    steps_sentence,
    sum_score_sentence,
)
from ..words.who_benefits import ASSUMED, RULE, clustering_sentence, comparison_rows, slopes_sentence, verdict_sentence
from .origin import bibtex_of, origin_sentences
from .section import Section

if TYPE_CHECKING:
    from ilhte_lib.analysis import Analysis
    from ilhte_lib.inference.who_benefits import WhoBenefits

    from ..intake.source import Source

FINDINGS, ESTIMATES = "What the trial shows", "Estimates"
NO_DRAWS = "Nothing was resampled: --bootstrap N does it N times."
INTERVALS = (
    "The intervals are those that the sentences above tell. One of the profile likelihood holds the values that the likelihood "
    "does not refute: that of σ_ζ starts at exactly 0 where the mixture test does not reject, that of ρ may reach −1 or 1 and "
    "is widened for few items. A Wald interval is the estimate ± 1.96 standard errors of the model (SE), cut where the parameter "
    "ends; of ρ it is symmetric in Fisher's z."
)
DIVISOR = "Effects in SDs are divided by σ_θ of M_0."
MODELS = (
    "M_0 has no item effects, M_A gives every item its own; M_B and M_C add the covariate and its interaction with treatment "
    "to each. Logits, standard errors in parentheses."
)


def sections(analysis: Analysis, source: Source | None = None) -> list[Section]:
    """The sections of an analysis, most important first.

    Parameters
    ----------
    source : where its table comes from, if that is known.
    """
    compared = analysis.who_benefits
    return [
        _findings(analysis),
        _items_drawn(analysis),
        _estimates(analysis),
        *_penalised(analysis),
        *_clusters(analysis),
        *_profiles(analysis),
        *_items(analysis),
        *_tests(analysis),
        *([who_benefits_section(compared)] if compared else []),
        _models(analysis),
        Section("The data", origin_sentences(analysis.info, source), bibtex=bibtex_of(analysis.info, source)),
        Section("What was used, and what was left out", rows=_rows(audit_rows(analysis.trial)), left=("Step", "Why")),
    ]


def _models(analysis: Analysis) -> Section:
    approximation = approximation_sentence(analysis.fits["M_A"], analysis.method_asked)
    return Section("Models", rows=_rows(model_rows(analysis.fits)), note=f"{MODELS} {approximation}")


def _findings(analysis: Analysis) -> Section:
    trial, result, inference = analysis.trial, analysis.effects, analysis.inference
    said = (
        caveat(analysis.info),
        *findings(result, inference, lower_is_better=analysis.lower_is_better),
        flagged_sentence(inference),
    )
    flags = (
        *cluster_sentences(result, inference), *trial.flags, *result.flags, *result.messages, *inference.notes,
    )  # fmt: skip
    persons, items = counted(trial.n_persons, "person", "persons"), counted(trial.n_items, "item", "items")
    size = f"{persons}, {items}, {counted(trial.n_responses, 'response', 'responses')}"
    note = f"{size}; profile {trial.profile}, engine {result.summary['engine']}, {NAMES[result.summary['method']]}."
    return Section(FINDINGS, _said(*said), flags, note=note)


def _items_drawn(analysis: Analysis) -> Section:
    note = (
        "Above: effects of the items in order, with 95% intervals; dashed, their average. Below: the same effects against the "
        "easiness of the items, with their correlation ρ."
    )
    alt = items_words(analysis.effects)
    return Section("Items in one figure", figure=lambda: analysis.plot("items"), alt=alt, note=note)


def _estimates(analysis: Analysis) -> Section:
    rows = estimate_rows(analysis.effects, analysis.inference)
    degrees = degrees_sentence(analysis.inference)
    divisor = DIVISOR if analysis.effects.scale.unit is Unit.SD else None
    note = " ".join(_said(divisor, INTERVALS, degrees))
    return Section(ESTIMATES, rows=_rows(rows), left=("", "Interval from"), note=note)


def _penalised(analysis: Analysis) -> list[Section]:
    """Beside maximum likelihood where that is singular or items are few."""
    main = analysis.fits["M_A"]
    rows = penalised_rows(analysis.effects, analysis.inference, main)
    if not rows:
        return []
    why = "M_A is singular" if main.singular else f"there are only {main.n_items} items"
    note = (
        f"Shown because {why}: the log-likelihood plus 0.75 log det Σ, Σ the covariance of easiness and item effect, is at its "
        "highest inside the boundary. It is the default Wishart prior of bglmer in the R package blme (Chung et al. 2015, "
        "doi:10.3102/1076998615570945). For reading beside the estimates; no test, interval or sentence uses it."
    )
    return [Section("Kept off the boundary", rows=_rows(rows), note=note)]


def _clusters(analysis: Analysis) -> list[Section]:
    """What the models say of clusters, where they have them."""
    found = analysis.inference.clusters
    if found is None:
        return []
    title = "Sites" if found.both_arms else "Clusters"
    said = cluster_findings(found, analysis.inference, str(getattr(analysis.trial, "cluster_name", "cluster")))
    return [
        Section(title, said, rows=_rows(cluster_rows(analysis.effects, analysis.inference)), left=("", "Interval from"), note=CLUSTERS)
    ]  # fmt: skip


def _profiles(analysis: Analysis) -> list[Section]:
    if not analysis.inference.curves:
        return []
    note = (
        "How the deviance of M_A rises as one parameter is held away from its estimate (point) and the others are fitted "
        "again. The 95% interval of the likelihood is where the curve stays below the dashed line, which is higher for ρ, since items are few; that of σ_ζ also reaches 0 wherever the "
        "mixture test does not reject."
    )
    drawn = [analysis.inference.intervals[curve.parameter] for curve in analysis.inference.curves]
    alt = profiles_words(drawn, analysis.effects.scale)
    return [Section("Profiles of the likelihood", figure=lambda: analysis.plot("profiles"), alt=alt, note=note)]


def _items(analysis: Analysis) -> list[Section]:
    """The items of the test, its curves, the test without an item, and items that are not on it."""
    result, inference, main = analysis.effects, analysis.inference, analysis.fits["M_A"]
    scale = result.scale
    note = (
        "From the most positive effect to the most negative. Estimates are empirical Bayes, drawn towards the average; standard "
        "errors include the uncertainty of the average. The p-value is of “this item's effect is the average one”, by an "
        "estimate that borrows nothing from the other items, after Holm's correction."
    )
    curves = (
        "Characteristic curves of the test (above) and of its items (below), under control (grey, dashed) and treatment (blue). "
        "Thick: the items with the most positive and the most negative effect, named at their treated curve."
    )
    # visits of one outcome are no sample of others that might have been on the test
    visits = analysis.info is not None and analysis.info.items_are == "visits"
    influence, others = influence_rows(inference, scale), () if visits else generalisation_rows(inference, main, scale)
    form = "Standard error of the average effect that the same persons would give with other numbers of items. Dashed: the limit with infinitely many items."
    shown = [
        Section("Items", _said(robust_sentence(inference, scale)), rows=_rows(item_rows(result, inference)), left=("Item",), note=note),
        *_scores(analysis),
        Section("Curves", figure=lambda: analysis.plot("curves"), alt=curves_words(main, scale), note=curves),
        Section(
            "Without an item",
            () if influence else ("With so few items, or so much data, none is left out.",),
            rows=_rows(influence),
            left=("Without",),
        ),
    ]  # fmt: skip
    if visits:
        return shown
    return [
        *shown,
        Section(
            "Items that are not on the test",
            () if others else ("The items' effects could not be generalised.",),
            rows=_rows(others),
        ),
        Section("Other numbers of items", figure=lambda: analysis.plot("form"), alt=form_words(inference, main, scale), note=form),
    ]  # fmt: skip


def _scores(analysis: Analysis) -> list[Section]:
    """Expected score points, of items with more than two categories."""
    inference = analysis.inference
    if inference.scores is None:
        return []
    note = (
        "Expected score of each item under M_A, in points: averaged over all persons, and, last, at the average person, "
        "control → treated. An item's effect is the change of the log-odds of each category against the one below it."
    )
    said = _said(steps_sentence(inference))
    return [Section("Scores", said, rows=_rows(score_rows(inference)), left=("Item",), note=note)]


def _tests(analysis: Analysis) -> list[Section]:
    """Of equal effects; other persons; sum scores."""
    result, inference = analysis.effects, analysis.inference
    scores = sum_score_rows(result, inference)
    said = sum_score_sentence(inference) if scores else "The sum scores do not vary."
    return [
        Section(
            "One effect for all items?",
            rows=_rows(test_rows(inference)),
            left=("p-value", "Null distribution"),
            note="Three p-values of the likelihood ratio of M_0 and M_A.",
        ),
        Section(
            "Other persons, the same items",
            (resampling_sentence(inference) or NO_DRAWS,),
            rows=_rows(resampling_rows(result, inference)),
        ),
        Section("What sum scores would say", _said(said), rows=_rows(scores)),
    ]


def who_benefits_section(found: WhoBenefits) -> Section:
    """Persons or items: the interactions side by side, and the verdict on them."""
    from ilhte_lib.figures.who_benefits import who_benefits_figure

    unit = f"In logits per SD of {found.covariate}, the sum score's in SDs of the score within arm; brackets hold 95% intervals."
    return Section(
        "Who benefits?",
        (verdict_sentence(found),),
        _said(clustering_sentence(found), slopes_sentence(found)),
        _rows(comparison_rows(found)),
        figure=lambda: who_benefits_figure(found),
        alt=who_benefits_words(found),
        note=f"{unit} {RULE} {ASSUMED.format(found.covariate, found.covariate)}",
    )


def _said(*sentences: str | None) -> tuple[str, ...]:
    return tuple(sentence for sentence in sentences if sentence)


def _rows(rows: list[Row]) -> tuple[Row, ...]:
    """Each unit in parentheses behind the name instead of in a column, so that the table fits a phone and a terminal."""
    out = []
    for row in rows:
        unit = f" ({row['Unit']})" if row.get("Unit") else ""
        out.append({key: value + unit if key == "" else value for key, value in row.items() if key != "Unit"})
    return tuple(out)
