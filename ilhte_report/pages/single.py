"""One table's report as a single HTML file that works without a network: ``ilhte fit --html``."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ilhte_lib.data.trial import Trial
from ilhte_lib.errors import InputError
from ilhte_lib.inference.effects import Effects
from ilhte_lib.inference.infer import Inference
from ilhte_lib.model.fit_result import Fit

from ..intake.source import Source
from ..words.comparison import comparison_rows
from ..words.markdown import table_html
from ..words.rows import (
    estimate_rows,
    flagged_sentence,
    generalisation_rows,
    influence_rows,
    resampling_rows,
    resampling_sentence,
    robust_sentence,
    sum_score_rows,
    sum_score_sentence,
    test_rows,
    with_units,
)
from ..words.sentences import caveat, findings
from .inference import curves_alt, items_alt, profiles_alt
from .table import audit_table, figure_alt, item_table, items_drawn, model_table, warnings_of
from .who_benefits import clustering_sentence, compared, figure_words, verdict_sentence

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #1b1b1b; background: #fff; }
h1, p, li { overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; display: block; overflow-x: auto; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #ddd; }
"""


def single_page(
    where: Source,
    trial: Trial,
    fits: dict[str, Fit],
    result: Effects,
    inference: Inference,
    *,
    lower_is_better: bool = False,
) -> str:
    """The report's HTML, with the sections of a table's page; every name from the data is escaped.

    Raises
    ------
    InputError : plotly and IPython are not installed.
    """
    try:
        import IPython  # noqa: F401
        import plotly  # noqa: F401
    except ModuleNotFoundError as missing:
        raise InputError(f"The HTML report needs {missing.name}: pip install 'ilhte[report]'.") from None
    sentences = [
        caveat(where.info),
        *findings(result, inference, lower_is_better=lower_is_better),
        *warnings_of(trial, result, inference),
        *inference.notes,
    ]
    # plotly.js goes into the file once, with the first figure
    items = _drawn(items_drawn(result), figure_alt(result), plotly=True)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="ilhte"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(trial.tab)}: item-level treatment effects</title><style>{_STYLE}</style>
</head><body>
<h1>{escape(trial.tab)}</h1>
<p>{trial.n_persons} persons, {trial.n_items} items, {trial.n_responses} responses;
profile {trial.profile}, engine {result.summary["engine"]}.</p>
<ul>{"".join(f"<li>{escape(s)}</li>" for s in sentences if s)}</ul>
{items}
<h2>Items</h2>{item_table(result, inference).data}
{_paragraphs(flagged_sentence(inference), robust_sentence(inference, result.scale))}
{_inference(fits, result, inference)}
{_who_benefits(trial, fits, inference)}
<h2>Models</h2><p>Logits, standard errors in parentheses.</p>{model_table(fits).data}
<h2>What was left out</h2>{audit_table(trial).data}
</body></html>
"""


def _inference(fits: dict[str, Fit], result: Effects, inference: Inference) -> str:
    from ilhte_lib.figures.curves import item_curves_figure
    from ilhte_lib.figures.more_items import items_figure
    from ilhte_lib.figures.profile import profile_figure

    main, scale = fits["M_A"], result.scale
    parts = [
        "<h2>Estimates</h2>",
        _table(estimate_rows(result, inference)),
        _table(test_rows(inference)),
    ]
    if inference.curves:
        intervals = [inference.intervals[curve.parameter] for curve in inference.curves]
        parts.append(_drawn(profile_figure(inference.curves, intervals, scale), profiles_alt(inference, scale)))
    parts += [_paragraphs(resampling_sentence(inference)), _table(resampling_rows(result, inference))]
    parts += ["<h2>Curves</h2>", _drawn(item_curves_figure(main, scale), curves_alt(main, scale))]
    parts += ["<h2>Without an item</h2>" if inference.influence else "", _table(influence_rows(inference, scale))]
    parts += ["<h2>Items that are not on the test</h2>", _table(generalisation_rows(inference, main, scale))]
    parts.append(_drawn(items_figure(inference.statistics, main, scale), items_alt(inference, main, scale)))
    parts += ["<h2>What sum scores would say</h2>", _paragraphs(sum_score_sentence(inference))]
    return "\n".join([*parts, _table(sum_score_rows(result, inference))])


def _who_benefits(trial: Trial, fits: dict[str, Fit], inference: Inference) -> str:
    if "M_C" not in fits:
        return ""
    from ..studies.identification_figures import who_benefits_figure

    found = compared(trial, fits, inference.resampling)
    columns = ("", "Estimate", "95% interval", "Unit")
    rows = [dict(zip(columns, row, strict=True)) for row in comparison_rows(found)]
    said = _paragraphs(verdict_sentence(found), "Brackets hold 95% intervals.", clustering_sentence(found))
    return f"<h2>Who benefits?</h2>{said}{_table(rows)}{_drawn(who_benefits_figure(found), figure_words(found))}"


def _drawn(figure: Figure, alt: str, *, plotly: bool = False) -> str:
    # Plotly escapes what could end a script element, and its own code goes into the file
    drawing = figure.to_html(
        full_html=False, include_plotlyjs=plotly, config={"responsive": True, "showSendToCloud": False}
    )
    return f'<div role="figure" aria-label="{escape(alt)}">{drawing}</div>'


def _table(rows: list[dict]) -> str:
    return table_html(with_units(rows), left=("", "Without", "p-value", "Null distribution")) if rows else ""


def _paragraphs(*sentences: str) -> str:
    return "".join(f"<p>{escape(s)}</p>" for s in sentences if s)
