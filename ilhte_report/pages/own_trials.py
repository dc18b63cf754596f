"""The text of the first page for a run of a user's own trials, and which parts of that page apply to a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ilhte_lib.figures.tables import item_effects_figure, table_figure
from ilhte_lib.inference.units import Unit
from ilhte_lib.messages import counted as count

from ..words.markdown import escape_markdown
from ..words.numbers import between, number, p_text
from .results import RunResults, effects_alt, failed_list

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_FEWEST_POINTS = 3
"""Fewest tables for a figure that is to show a relation."""
_MOST_LISTED = 12


def conditions(run: RunResults, tells: bool, *, titled: bool = True) -> str:
    """The page's metadata for `when-meta`, and, if ``titled``, a title for runs of other tables than the collection.

    collection : the run is of the bundled tables that the vignette is about.
    own : the run is of other tables, at least one of them fitted.
    bundled : it contains at least one bundled table.
    several : at least two tables have effects to draw.
    covariate, interactions : at least one table, or enough for a figure, has a covariate.
    nothing : no table could be fitted.
    """
    import yaml

    trials = run.counted
    facts = {
        "collection": tells,
        "own": not tells and bool(run.n_tables),
        "bundled": bool(run.info),
        "several": int(trials.summary["ate_std"].notna().sum()) > 1,
        "covariate": trials.n_interaction > 0,
        "interactions": trials.n_interaction >= _FEWEST_POINTS,
        "nothing": not run.n_tables,
    }
    if titled and not tells:
        facts |= {"title": escape_markdown(_title(run)), "subtitle": "Treatment effects, item by item"}
    return f"---\n{yaml.safe_dump({name: value for name, value in facts.items() if value}, allow_unicode=True)}---\n"


def _title(run: RunResults) -> str:
    names = list(run.summary["tab"])
    if not names:
        return "No table could be fitted"
    if len(names) == 1:
        return _called(run, names[0])
    return " and ".join(names) if len(names) == 2 else _numbered(run)


def _numbered(run: RunResults) -> str:
    """The number of trials in a run, and of other tables separately."""
    n, others = len(run.trials), run.n_tables - len(run.trials)
    if not others:
        return count(n, "trial", "trials")
    if not n:
        return count(others, "table", "tables")
    return f"{count(n, 'trial', 'trials')} and {count(others, 'other table', 'other tables')}"


def _called(run: RunResults, tab: str) -> str:
    return run.info[tab].title if tab in run.info else tab


def seen(run: RunResults) -> str:
    """The size of a single trial; for several, which may share control persons, where to find the sizes."""
    if not run.n_tables:
        return ""
    if run.n_tables > 1:
        return "The numbers of persons and items used for each trial are given below; its page says what was left out, and why."
    (row,) = run.summary.to_dict("records")
    return (
        f"The models use the responses of {row['n_persons']:,} persons to {row['n_items']} items; the trial's page says what "
        "was left out, and why."
    )


def findings(run: RunResults) -> str:
    """One paragraph per table, with its numbers and a link to its page."""
    rows = run.summary.to_dict("records")
    if len(rows) > _MOST_LISTED:
        return (
            f"This site reports {_numbered(run)} with {run.n_items} items: [all tables](tables.qmd) lists them, and "
            "each has a page of its own."
        )
    return "\n\n".join(_finding(run, row) for row in rows)


def _finding(run: RunResults, row: dict) -> str:
    name = escape_markdown(_called(run, row["tab"]))
    lead = "" if run.n_tables == 1 else f"**{name}.** "
    info = run.info.get(row["tab"])
    drawn = "A simulated table. " if info and info.kind == "simulated" else ""
    said = f"{lead}{drawn}{row['n_persons']:,} persons answered {row['n_items']} items. "
    if math.isfinite(row["ate_std"]):
        interval = between(*run.told(row["tab"], "average"))
        p = p_text(row["lrt_pval_mixture"])
        said += (
            f"The average {_effect(run, row['tab'])} is {number(row['ate_std'], 2)} standard deviations of the persons "
            f"\\[95% interval {interval}\\]. Item effects vary around it with a standard deviation of "
            f"{number(row['sigma_zeta_std'], 2)} (p {p if p.startswith('<') else f'= {p}'} for equal effects on all items)."
        )
    else:
        said += "The persons do not differ, so effects are in logits, on the table's page."
    return f"{said} [Its page](tables/{run.page(row['tab'])}.ipynb) has the items, the models and what was left out."


def effects_drawn(run: RunResults) -> tuple[Figure, str]:
    """The figure and its description: item effects of a single trial with intervals, or of several trials around their averages."""
    drawn = run.summary[run.summary["ate_std"].notna()]
    if len(drawn) != 1:
        return item_effects_figure(run.summary, run.items), effects_alt(run)
    (row,) = drawn.to_dict("records")
    items = run.items[run.items["tab"] == row["tab"]]
    ends = between(items["total_std"].min(), items["total_std"].max())
    words = f"Effects of {len(items)} items with 95% intervals: {ends} SDs, around an average of {number(row['ate_std'], 2)}."
    return table_figure(items, drawn.iloc[0], Unit.SD), words


def _effect(run: RunResults, tab: str) -> str:
    """The word for the difference between the arms."""
    info = run.info.get(tab)
    if info is None:
        return "effect"
    if not info.randomised:
        return "difference between the groups, which nobody assigned,"
    return "effect over visits" if info.items_are == "visits" else "effect"


def counted(trials: RunResults) -> str:
    """The beginning of a sentence that counts tables."""
    n = trials.n_tables
    if trials.own:
        return f"Of {n} tables"
    shared = (
        f", from {trials.n_experiments} series of experiments whose persons they share"
        if trials.n_experiments < n
        else ""
    )
    return f"Of {n} tables of randomised trials{shared}"


def apart(run: RunResults) -> str:
    """A sentence on the tables of a run that are not counted as trials, by kind and name; "" if there are none."""
    if len(run.trials) in (0, run.n_tables):
        return ""
    drawn = run.n_simulated
    kinds = [
        _kind(run.visits, 'trial whose "items" are visits', 'trials whose "items" are visits'),
        _kind(
            run.not_randomised,
            "comparison of groups that nobody assigned",
            "comparisons of groups that nobody assigned",
        ),
        f"{count(drawn, 'table', 'tables')} simulated from known values" if drawn else "",
    ]
    told = "; ".join(kind for kind in kinds if kind)
    return f"The run also contains tables that are not evidence about treatment effects on items and are not counted here: {told}."


def _kind(tabs: list[str], one: str, several: str) -> str:
    return f"{count(len(tabs), one, several)} ({', '.join(escape_markdown(tab) for tab in tabs)})" if tabs else ""


def boundary(trials: RunResults) -> str:
    """A sentence on fits with a correlation on its boundary; "" if there are none."""
    n = trials.n_boundary_rho
    tables = "one table" if n == 1 else f"{n} tables"
    return (
        f"In {tables} $\\rho$ is estimated at exactly $-1$ or $1$: a *singular* fit, with too few items or too similar effects to say more."
        if n
        else ""
    )


def failures(run: RunResults) -> str:
    """The tables that could not be fitted; "" if there are none."""
    return failed_list(run).data if run.failed else ""
