"""All tables of a run in one sortable, searchable grid, each row with a drawing of its item effects.

The grid is a plain HTML table made interactive by `site/explorer.js`. itables would do the same, but its bundle is an
ES module, which browsers refuse to load for a page opened from disk, and has 0.7 MB; this script is short,
works from disk, and without it the table can still be read.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ..words.numbers import DASH, number
from ..words.sentences import defined
from .results import RunResults
from .sparkline import sparkline

if TYPE_CHECKING:
    from IPython.display import Markdown

_COLUMNS = (
    ("Table", "text"),
    ("Effects of the items", None),
    ("Average (SE)", "number"),
    ("σ<sub>ζ</sub> (SE)", "number"),
    ("ρ", "number"),
    ("Spread of effects", "number"),
    ("Persons", "number"),
    ("Items", "number"),
    ("Covariate", "text"),
)
_FILTERS = {"kind": "Kind", "covariate": "Covariate", "spread": "Spread of effects"}
_KINDS = {
    "randomised trial": "tables of randomised trials",
    "trial over visits": "of trials whose items are visits",
    "groups, not assigned": "comparisons of groups that nobody assigned",
    "own file": "tables from files",
    "simulated": "simulated tables",
}
"""Kinds of tables in the order of the list, with their names in the sentence above it."""


def explorer(run: RunResults) -> Markdown:
    """The grid as a raw HTML block: trials first, and within each kind of table ordered by average effect."""
    from IPython.display import Markdown

    if run.summary.empty:
        return Markdown("")
    rows = run.summary.sort_values(["ate_std", "tab"], kind="stable").to_dict("records")
    rows.sort(key=lambda row: list(_KINDS).index(_kind(run, row)))
    facts = [_facts(run, row) for row in rows]
    totals = dict(list(run.items.groupby("tab")["total_std"]))
    # a few extreme items, drawn at the end of the scale, would leave no space for the others
    bulk = run.items["total_std"].quantile([0.01, 0.99])
    limits = min(0.0, bulk.min(), run.summary["ate_std"].min()), max(0.0, bulk.max(), run.summary["ate_std"].max())
    body = "\n".join(_row(run, row, of, totals, limits) for row, of in zip(rows, facts, strict=True))
    return Markdown(f"""```{{=html}}
<div class="explorer">
{_controls(facts)}
<p role="status">{len(rows)} table{"s" if len(rows) > 1 else ""}.</p>
{_counted(facts)}
<p id="explorer-units">Average effect and σ<sub>ζ</sub>, the spread of the items' effects, in SDs of the persons, standard errors
in parentheses. All drawings share a scale from {number(limits[0], 2)} to {number(limits[1], 2)} SDs, with effects beyond it drawn
at its ends. Each tick is an item, the long line is zero and the mark is the average: a blue circle if the spread is
significant, a red diamond if it is not. A table whose persons do not differ has no mark: its page gives effects in logits.</p>
<div class="explorer-scroll" role="region" tabindex="0" aria-label="All tables">
<table class="table" aria-label="All tables" aria-describedby="explorer-units" data-quarto-disable-processing="true">
<thead><tr>{"".join(_heading(title, sort) for title, sort in _COLUMNS)}</tr></thead>
<tbody>
{body}
</tbody></table></div></div>
```
""")


def _facts(run: RunResults, row: dict) -> dict[str, str]:
    """The facts by which a row can be filtered."""
    return {
        "kind": _kind(run, row),
        "covariate": "with" if defined(row["delta_beta3"]) else "without",
        "spread": "significant" if row["sig_il_hte"] else "not significant",
    }


def _kind(run: RunResults, row: dict) -> str:
    info = run.info.get(row["tab"])
    if info is None or info.kind == "simulated":
        return "own file" if info is None else "simulated"
    if not info.randomised:
        return "groups, not assigned"
    return "randomised trial" if info.items_are == "items" else "trial over visits"


def _counted(facts: list[dict[str, str]]) -> str:
    """A sentence that counts the tables of each kind; "" if all are of one kind."""
    counts = {kind: sum(of["kind"] == kind for of in facts) for kind in _KINDS}
    told = [f"{count} {_KINDS[kind]}" for kind, count in counts.items() if count]
    return f"<p>Among them: {', '.join(told)}.</p>" if len(told) > 1 else ""


def _controls(facts: list[dict[str, str]]) -> str:
    """The search box and a selection for each fact in which the tables differ; shown by `site/explorer.js`."""
    choices = ""
    for name, title in _FILTERS.items():
        values = sorted({of[name] for of in facts})
        if len(values) > 1:
            options = "".join(f"<option>{value}</option>" for value in values)
            choices += f'<label>{title} <select name="{name}"><option value="">all</option>{options}</select></label>\n'
    return (
        '<form hidden>\n<label>Search <input type="search" name="words" autocomplete="off" spellcheck="false"></label>\n'
        f'{choices}<button type="reset">Show all</button>\n</form>'
    )


def _heading(title: str, sort: str | None) -> str:
    numeric = ' class="number"' if sort == "number" and title != "Spread of effects" else ""
    sortable = f' data-sort="{sort}"{numeric}' if sort else ""
    return f'<th scope="col"{sortable}>{title}</th>'


def _row(run: RunResults, row: dict, facts: dict[str, str], totals: dict, limits: tuple[float, float]) -> str:
    tab, info = row["tab"], run.info.get(row["tab"])
    name = escape(" ".join(tab.split()))
    link = f'<a href="tables/{run.page(tab)}.ipynb">{name.replace("_", "_<wbr>")}</a>'
    about = f"<small>{escape(info.title)}</small>" if info and info.kind == "real" else ""
    if facts["kind"] in ("trial over visits", "groups, not assigned"):
        about += f" <small>({facts['kind']})</small>"
    at_boundary = " <small>boundary</small>" if defined(row["rho"]) and abs(row["rho"]) > 0.9999 else ""
    p = row["lrt_pval"] if row["profile"] == "vignette" else row["lrt_pval_mixture"]
    shown = "&lt; .001" if p < 0.001 else f"= {p:.3f}".replace("0.", ".")
    drawing = sparkline(totals.get(tab, ()), row["ate_std"], limits, significant=bool(row["sig_il_hte"]))
    cells = [
        f'<th scope="row" data-value="{name}">{link} {about}</th>',
        f"<td>{drawing}</td>",
        _number(row["ate_std"], _with_se(row["ate_std"], row["ate_std_se"])),
        _number(row["sigma_zeta_std"], _with_se(row["sigma_zeta_std"], row["sigma_zeta_std_se"])),
        _number(row["rho"], number(row["rho"], 2) + at_boundary),
        f'<td data-value="{p:.9g}">{facts["spread"]} <small>p {shown}</small></td>',
        _number(row["n_persons"], f"{row['n_persons']:,.0f}"),
        _number(row["n_items"], f"{row['n_items']:.0f}"),
        f"<td>{escape(str(row['covariate'])).replace('_', '_<wbr>') if facts['covariate'] == 'with' else '–'}</td>",
    ]
    data = "".join(f' data-{name}="{value}"' for name, value in facts.items())
    return f"<tr{data}>{''.join(cells)}</tr>"


def _number(value: float | None, shown: str) -> str:
    key = f"{value:.9g}" if defined(value) else ""
    return f'<td class="number" data-value="{key}">{shown}</td>'


def _with_se(value: float, se: float | None) -> str:
    return f"{number(value, 2)} ({number(se, 2)})" if defined(value) else DASH
