"""What is shown of a trial: one list of sections in one order, for the page, the HTML file and the terminal.

Findings come first, in sentences; then figures, estimates, items, tests, who benefits; then models, data and audit. A
writer (``pages.notebook``, ``pages.single``, ``terminal``) decides how a section looks and escapes it, but not what it says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ilhte_lib.inference.units import Unit
from ilhte_lib.messages import counted

from ..words.approximation import NAMES, approximation_sentence
from ..words.arms import NOTE as NOTE_OF_ARMS
from ..words.arms import arm_rows, arms_sentences, arms_words
from ..words.clusters import CLUSTERS, cluster_finding, cluster_findings, cluster_rows
from ..words.discriminations import discrimination_rows, discriminations_sentence, slopes_sentence
from ..words.figures import (
    curves_rows,
    curves_words,
    form_rows,
    form_words,
    items_words,
    profiles_rows,
    profiles_words,
    who_benefits_words,
)
from ..words.item_types import item_types_note, item_types_rows, item_types_sentences, item_types_words
from ..words.numbers import Row
from ..words.rows import (
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
from ..words.terms import TRIAL, Terms, terms_of
from ..words.waves import (
    fading_note,
    fading_rows,
    fading_sentences,
    placebo_sentences,
    placebo_warning,
    wave_rows,
    waves_note,
    waves_words,
)
from ..words.who_benefits import ASSUMED, RULE, clustering_sentence, comparison_rows, verdict_sentence
from ..words.who_benefits import slopes_sentence as m_d_sentence
from .origin import bibtex_of, origin_sentences
from .section import Section

if TYPE_CHECKING:
    from ilhte_lib.analysis import Analysis
    from ilhte_lib.inference.who_benefits import WhoBenefits

    from ..intake.source import Source

FINDINGS, ESTIMATES, ITEMS, FITTED, DATA = "What the trial shows", "Estimates", "Items", "Models", "The data"
REST = "The rest"
LEFT_OUT_IF_QUICK = ("Without an item", "What sum scores would say")
"""Titles of sections that would give a reason for being empty, which does not apply to a quick analysis."""
OF_DESIGN = ("Item types", "Wave by wave", "Do the effects last?")
"""Beginnings of the titles of sections that depend on the design; their sentences are on the first screen."""
MORE = "--full shows the estimates with standard errors and intervals, tests, who benefits, the models, the data and each step of the preparation."
NO_DRAWS = "Nothing was resampled: use --bootstrap N for N replicates."
TOLD = "The intervals are those quoted in the sentences above. "
INTERVALS = (
    f"{TOLD}A profile-likelihood interval contains the values that the likelihood ratio "
    "does not reject: that of σ_ζ starts at exactly 0 where the mixture test does not reject; that of ρ may reach −1 or 1 and "
    "is widened for few items. A Wald interval is the estimate ± 1.96 standard errors of the model (SE), cut at the limits of the "
    "parameter; for ρ it is symmetric in Fisher's z."
)
DIVISOR = "Effects in SDs are divided by σ_θ of M_0."
DIVISOR_WITHIN = "Effects in SDs are divided by σ_θ of M_0, the SD of persons within clusters."
BY_T = "Intervals of interactions use a t quantile, which is larger: see the section on clusters or sites."
DISCRIMINATIONS = (
    "M_0 and M_A with all discriminations equal, as in all other sections, and with free ones, where the effect on item i is "
    "a_i β₁ + ζ_i (two-parameter model; generalised partial credit for ordered categories). Both are fitted by quadrature over "
    "persons and Laplace's method over items; effects in SDs are divided by the same σ_θ."
)
MODELS = (
    "M_0 has one effect for all items, M_A an effect for each item; M_B and M_C add the covariate and its interaction with treatment "
    "to M_0 and M_A. Logits, standard errors in parentheses. An optimum is certified if the gradient vanishes and the curvature is "
    "positive, so that no nearby values have a higher likelihood."
)


def sections(analysis: Analysis, source: Source | None = None) -> list[Section]:
    """The sections of an analysis, most important first.

    Parameters
    ----------
    source : the source of its table, if known.
    """
    if analysis.arms is not None:
        return _of_arms(analysis, source)
    quick = bool(analysis.inference.left_out)
    compared = None if quick else analysis.who_benefits
    shown = [
        _findings(analysis),
        _items_drawn(analysis),
        _estimates(analysis),
        *_penalised(analysis),
        *_clusters(analysis),
        *_profiles(analysis),
        *_items(analysis),
        *_item_types(analysis),
        *_waves(analysis),
        *_tests(analysis),
        *_discriminations(analysis),
        *([who_benefits_section(compared, terms_of(analysis.info))] if compared else []),
        _models(analysis),
        _data(analysis, source),
        Section("What was used, and what was left out", rows=_rows(audit_rows(analysis.trial)), left=("Step", "Why")),
    ]
    return [section for section in shown if section.title not in LEFT_OUT_IF_QUICK] if quick else shown


def _models(analysis: Analysis) -> Section:
    approximation = approximation_sentence(analysis.fits["M_A"], analysis.method_asked)
    return Section(FITTED, rows=_rows(model_rows(analysis.fits)), note=f"{MODELS} {approximation}")


def first_screen(shown: Sequence[Section], analysis: Analysis) -> list[Section]:
    """The sections that `ilhte fit` prints without --full: findings, items, and what was left out.

    Parameters
    ----------
    shown : all sections, from ``sections``.
    """
    if analysis.arms is not None:
        of_each = [
            section if section.title.endswith(f": {FINDINGS}") else replace(section, note="", rows=())
            for section in shown
            if any(f": {title}" in section.title for title in (FINDINGS, *OF_DESIGN))
        ]
        return [shown[0], *of_each, Section(REST, (MORE,))]
    by_title = {section.title: section for section in shown}
    items = by_title[ITEMS]
    rows = tuple({k: v for k, v in row.items() if not k.startswith("Share of")} for row in items.rows)
    counts = (("rows", "row", "rows"), ("persons", "person", "persons"), ("items", "item", "items"))
    lost = [
        f"Left out, {', '.join(counted(entry[of], one, many) for of, one, many in counts if entry[of])}: {entry['reason']}"
        for entry in analysis.trial.audit_rows()
        if any(entry[of] for of, _, _ in counts)
    ]
    of_design = [section for section in shown if section.title.startswith(OF_DESIGN)]
    return [
        by_title[FINDINGS],
        replace(items, sentences=(), note="", rows=rows),
        *(replace(section, note="", rows=()) for section in of_design),
        Section(REST, (*(lost or ["Nothing was left out."]), MORE)),
    ]


def _of_arms(analysis: Analysis, source: Source | None) -> list[Section]:
    """The arms side by side, then all sections of each arm; the source of the data once, at the end."""
    found = analysis.arms
    side_by_side = Section(
        "Arms",
        _said(caveat(analysis.info), *arms_sentences(found)),
        rows=_rows(arm_rows(found)),
        left=("Arm",),
        figure=lambda: analysis.plot("arms"),
        alt=arms_words(found),
        note=NOTE_OF_ARMS,
    )
    of_each = [
        replace(section, title=f"{arm}: {section.title}")
        for arm, one in analysis.of_arms.items()
        for section in sections(one)
        if section.title != DATA
    ]
    return [side_by_side, *of_each, _data(analysis, source)]


def _data(analysis: Analysis, source: Source | None) -> Section:
    return Section(DATA, origin_sentences(analysis.info, source), bibtex=bibtex_of(analysis.info, source))


def _findings(analysis: Analysis) -> Section:
    trial, result, inference = analysis.trial, analysis.effects, analysis.inference
    terms = terms_of(analysis.info)
    said = (
        caveat(analysis.info),
        *findings(result, inference, lower_is_better=analysis.lower_is_better, terms=terms),
        flagged_sentence(inference, terms),
        cluster_finding(inference, str(getattr(trial, "cluster_name", ""))),
    )
    flags = (
        *_said(placebo_warning(analysis.waves)), *cluster_sentences(result, inference), *trial.flags, *result.flags, *result.messages, *inference.notes,
    )  # fmt: skip
    persons, items = counted(trial.n_persons, "person", "persons"), counted(trial.n_items, "item", "items")
    size = f"{persons}, {items}, {counted(trial.n_responses, 'response', 'responses')}"
    note = f"{size}; rules of preparation: {trial.profile}; engine: {result.summary['engine']}; {NAMES[result.summary['method']]}."
    return Section(FINDINGS, _said(*said), flags, note=note)


def _items_drawn(analysis: Analysis) -> Section:
    note = (
        "Above: effects of the items in order, with 95% intervals; dashed, their average. Below: the same effects against the "
        "easiness of the items, with their correlation ρ. The numbers are in the table “Items”."
    )
    alt = items_words(analysis.effects, analysis.inference, terms_of(analysis.info))
    return Section(
        "Items in one figure",
        figure=lambda: analysis.plot("items", axis=terms_of(analysis.info).axis),
        alt=alt,
        note=note,
    )


def _estimates(analysis: Analysis) -> Section:
    rows = estimate_rows(analysis.effects, analysis.inference, terms_of(analysis.info))
    intervals, divisor = INTERVALS, DIVISOR
    if analysis.inference.clusters is not None:
        intervals, divisor = f"{INTERVALS} {BY_T}", DIVISOR_WITHIN
    degrees = degrees_sentence(analysis.inference)
    note = " ".join(_said(divisor if analysis.effects.scale.unit is Unit.SD else None, intervals, degrees))
    return Section(ESTIMATES, rows=_rows(rows), left=("", "Interval from"), note=note)


def _penalised(analysis: Analysis) -> list[Section]:
    """The penalised fit beside maximum likelihood, where the latter is singular or items are few."""
    main = analysis.fits["M_A"]
    rows = penalised_rows(analysis.effects, analysis.inference, main)
    if not rows:
        return []
    why = "M_A is singular" if main.singular else f"there are only {main.n_items} items"
    note = (
        f"Shown because {why}. This fit maximises the log-likelihood plus 0.75 log det Σ, where Σ is the covariance of easiness and "
        "item effect, which keeps it off the boundary; the penalty is the default Wishart prior of bglmer in the R package blme (Chung et "
        "al. 2015, doi:10.3102/1076998615570945). It is for comparison with the estimates, and no test uses it. The interval of the "
        "average effect assumes at least this fit's σ_ζ, since maximum likelihood often underestimates it with few items."
    )
    return [Section("Kept off the boundary", rows=_rows(rows), note=note)]


def _clusters(analysis: Analysis) -> list[Section]:
    """Estimates about clusters, where the models include them."""
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
        "Rise of the deviance of M_A as one parameter is moved away from its estimate (point) and the others are refitted. The 95% "
        "profile interval is where the curve lies below the dashed line, which is higher for ρ to allow for few items; that of σ_ζ "
        "also extends to 0 whenever the mixture test does not reject."
    )
    drawn = [analysis.inference.intervals[curve.parameter] for curve in analysis.inference.curves]
    alt = profiles_words(drawn, analysis.effects.scale)
    behind = profiles_rows(analysis.inference.curves, analysis.effects.scale)
    return [
        Section(
            "Profiles of the likelihood",
            figure=lambda: analysis.plot("profiles"),
            alt=alt,
            note=note,
            behind=_rows(behind),
            left=("Parameter",),
        )
    ]


def _items(analysis: Analysis) -> list[Section]:
    """The items, the characteristic curves, the test without an item, and items that are not on the test."""
    result, inference, main = analysis.effects, analysis.inference, analysis.fits["M_A"]
    scale = result.scale
    note = (
        "From the most positive effect to the most negative. Estimates are empirical Bayes, shrunk towards the average; standard "
        "errors include the uncertainty of the average."
    )
    if inference.items is not None:
        note += (
            " The p-value is for the hypothesis that the item's effect equals the average, after Holm's correction; it uses an "
            "estimate that borrows nothing from the other items."
        )
    curves = (
        "Characteristic curves of the test (above) and of its items (below), under control (grey, dashed) and treatment (blue). "
        "Thick lines: the items with the most positive and the most negative effect, named at their curve under treatment."
    )
    # visits are not a sample of possible items, and a difference between groups that nobody assigned does not generalise as an
    # effect to other items
    terms = terms_of(analysis.info)
    influence, others = (
        influence_rows(inference, scale),
        () if terms is not TRIAL else generalisation_rows(inference, main, scale),
    )
    form = "Standard error of the average effect for the same persons and other numbers of items. Dashed: the limit with infinitely many items."
    shown = [
        Section(ITEMS, _said(robust_sentence(inference, scale, terms)), rows=_rows(item_rows(result, inference)), left=("Item",), note=note),
        *_scores(analysis),
        Section("Curves", figure=lambda: analysis.plot("curves"), alt=curves_words(result, inference, main, terms), note=curves,
                behind=_rows(curves_rows(main, scale))),
        Section(
            "Without an item",
            () if influence else ("With so few items, or so much data, no item is left out.",),
            rows=_rows(influence),
            left=("Without",),
        ),
    ]  # fmt: skip
    if terms is not TRIAL:
        return shown
    return [
        *shown,
        Section(
            "Items that are not on the test",
            () if others else ("The effects could not be generalised to other items.",),
            rows=_rows(others),
        ),
        Section("Other numbers of items", figure=lambda: analysis.plot("form"), alt=form_words(inference, main, scale), note=form,
                behind=_rows(form_rows(inference, main, scale))),
    ]  # fmt: skip


def _item_types(analysis: Analysis) -> list[Section]:
    """What the covariates of the items explain, one at a time and together."""
    found, result = analysis.item_types, analysis.effects
    if found is None:
        return []
    shown = [
        Section(
            f"Item types: {one.names[0]}",
            _said(*item_types_sentences(one, result, terms_of(analysis.info))),
            rows=_rows(item_types_rows(one, result)),
            figure=partial(analysis.plot, "types", one.names[0]),
            alt=item_types_words(one, result),
            note=f"Blue: the items' effects; red: the average of each type, with 95% intervals. {item_types_note(one)}",
        )
        for one in found.alone
    ]
    if found.together is not None or found.missing:
        together = found.together
        said = item_types_sentences(together, result, terms_of(analysis.info)) if together else []
        rows = item_types_rows(together, result) if together else []
        note = item_types_note(together) if together else ""
        shown.append(Section("Item types together", _said(*said), found.missing, rows=_rows(rows), note=note))
    return shown


def _waves(analysis: Analysis) -> list[Section]:
    """The table's other waves: the placebo test, item effects by wave, and whether effects last."""
    found = analysis.waves
    if found is None:
        return []
    left = ("Wave", "", "Of")
    shown = [
        Section(
            "Wave by wave",
            _said(*placebo_sentences(found)),
            found.missing,
            _rows(wave_rows(found)),
            left,
            figure=lambda: analysis.plot("waves"),
            alt=waves_words(found),
            note=waves_note(found),
        )
    ]
    if found.differences:
        rows = _rows(fading_rows(found))
        said = _said(*fading_sentences(found))
        shown.append(Section("Do the effects last?", said, rows=rows, left=left, note=fading_note(found)))
    return shown


def _scores(analysis: Analysis) -> list[Section]:
    """Expected score points, for items with more than two categories."""
    inference = analysis.inference
    if inference.scores is None:
        return []
    note = (
        "Expected score of each item under M_A, in points, averaged over all persons; in the last column for the average person, "
        "control → treated. An item's effect is the change in the log-odds of each category against the one below it."
    )
    said = _said(steps_sentence(inference))
    return [Section("Scores", said, rows=_rows(score_rows(inference)), left=("Item",), note=note)]


def _tests(analysis: Analysis) -> list[Section]:
    """The test of equal effects, resampling of persons, and sum scores."""
    result, inference = analysis.effects, analysis.inference
    scores = sum_score_rows(result, inference)
    said = sum_score_sentence(inference) if scores else "The sum scores do not vary."
    return [
        Section(
            "One effect for all items?",
            rows=_rows(test_rows(inference)),
            left=("p-value", "Null distribution"),
            note="Three p-values for the likelihood ratio of M_0 and M_A.",
        ),
        Section(
            "Other persons, the same items",
            (resampling_sentence(inference) or NO_DRAWS,),
            rows=_rows(resampling_rows(result, inference)),
        ),
        Section("What sum scores would say", _said(said), rows=_rows(scores)),
    ]


def _discriminations(analysis: Analysis) -> list[Section]:
    """The item effects in models with a slope for each item."""
    found, scale = analysis.inference.discriminations, analysis.effects.scale
    if found is None:
        return []
    said = (discriminations_sentence(analysis.inference, scale, terms_of(analysis.info)), slopes_sentence(found))
    return [Section("With discriminations", said, rows=_rows(discrimination_rows(found, scale)), note=DISCRIMINATIONS)]


def who_benefits_section(found: WhoBenefits, terms: Terms = TRIAL) -> Section:
    """The interactions side by side, and the verdict: persons or items."""
    from ilhte_lib.figures.who_benefits import who_benefits_figure

    unit = (
        f"In logits per SD of {found.covariate}; the sum score's interaction is in SDs of the score within arm. Brackets contain 95% "
        "intervals."
    )
    return Section(
        "Who benefits?",
        (verdict_sentence(found, terms),),
        _said(clustering_sentence(found), m_d_sentence(found)),
        _rows(comparison_rows(found)),
        figure=lambda: who_benefits_figure(found),
        alt=who_benefits_words(found),
        note=f"{unit} {RULE} {ASSUMED.format(found.covariate)}",
    )


def _said(*sentences: str | None) -> tuple[str, ...]:
    return tuple(sentence for sentence in sentences if sentence)


def _rows(rows: list[Row]) -> tuple[Row, ...]:
    """Rows with the unit in parentheses after the name instead of in a column, so that the table fits a phone and a terminal."""
    out = []
    for row in rows:
        unit = f" ({row['Unit']})" if row.get("Unit") else ""
        out.append({key: value + unit if key == "" else value for key, value in row.items() if key != "Unit"})
    return tuple(out)
