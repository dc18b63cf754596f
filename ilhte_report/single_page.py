"""One table's report as a single HTML file that works without a network: ``ilhte fit --html``."""

from __future__ import annotations

from html import escape

from ilhte_lib.effects import Effects
from ilhte_lib.errors import InputError
from ilhte_lib.mixed_model import Fit
from ilhte_lib.prepare import Trial

from .source import Source
from .table_page import audit_table, estimate_table, figure_alt, item_table, model_table
from .wording import average_sentence, caveat, interaction_sentence, item_spread_sentence, test_sentence

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #1b1b1b; background: #fff; }
table { border-collapse: collapse; width: 100%; display: block; overflow-x: auto; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #ddd; }
"""


def single_page(
    where: Source, trial: Trial, fits: dict[str, Fit], result: Effects, *, lower_is_better: bool = False
) -> str:
    """The report's HTML; every name from the data is escaped.

    Raises
    ------
    InputError : plotly and IPython are not installed.
    """
    try:
        import pandas as pd

        from ilhte_lib.figures import table_figure
    except ModuleNotFoundError as missing:
        raise InputError(f"The HTML report needs {missing.name}: pip install 'ilhte[report]'.") from None
    row = result.summary
    sentences = [
        caveat(where.info),
        average_sentence(row, lower_is_better=lower_is_better),
        item_spread_sentence(row),
        test_sentence(row),
        interaction_sentence(row),
        *trial.flags,
    ]
    # Plotly escapes what could end a script element, and its own code goes into the file
    drawing = table_figure(pd.DataFrame(result.items), pd.Series(row)).to_html(full_html=False, include_plotlyjs=True)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(trial.tab)}: item-level treatment effects</title><style>{_STYLE}</style>
</head><body>
<h1>{escape(trial.tab)}</h1>
<p>{trial.n_persons} persons, {trial.n_items} items, {trial.n_responses} responses;
profile {trial.profile}, engine {row["engine"]}.</p>
<ul>{"".join(f"<li>{escape(s)}</li>" for s in sentences if s)}</ul>
<div role="figure" aria-label="{escape(figure_alt(result))}">{drawing}</div>
<h2>Estimates</h2>{estimate_table(result).data}
<h2>Items</h2>{item_table(result).data}
<h2>Models</h2><p>Logits, standard errors in parentheses.</p>{model_table(fits).data}
<h2>What was left out</h2>{audit_table(trial).data}
</body></html>
"""
