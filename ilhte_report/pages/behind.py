"""The numbers behind a page's figures, as folded tables below them for readers who cannot see a figure or want its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ilhte_lib.figures.behind import figure_rows
from ilhte_lib.inference.interval import HALF_WIDTH

from ..words.markdown import table_markdown
from ..words.numbers import Row, between, number, p_text
from .section import BEHIND

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from .results import RunResults
    from .story import Anxiety, Fading

_CHANGES = {"more": "more anxious", "less": "less anxious", "unclear": "no clear difference"}


def show_behind(rows: Sequence[Row], left: Sequence[str], more: str = "") -> None:
    """Display the rows behind a figure, folded, with the Markdown ``more`` below them; nothing if there are no rows."""
    from IPython.display import Markdown, display

    if rows:
        table = table_markdown(rows, left)
        display(Markdown(f"<details><summary>{BEHIND}</summary>\n\n{table}\n\n{more}\n\n</details>"))


def points(figure: Figure) -> list[Row]:
    """Every point of a figure, in columns named after its axes."""
    rows = [
        {name: number(value, 3) if isinstance(value, float) else value for name, value in row.items()}
        for row in figure_rows(figure)
    ]
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name, "") for name in names} for row in rows]


def story_rows(story: Anxiety) -> list[Row]:
    """The words of the anxiety inventory from the highest effect to the lowest: mean ratings, effect in the model, conclusion."""
    return [
        {
            "Rated": row.label,
            "Placebo": number(row.control, 2),
            "Caffeine": number(row.treated, 2),
            "Effect, SDs": number(row.total_std, 2),
            "95% interval": between(
                row.total_std - HALF_WIDTH * row.total_se, row.total_std + HALF_WIDTH * row.total_se
            ),
            "With caffeine": _CHANGES[row.change],
        }
        for row in story.items.iloc[::-1].itertuples()
    ]


def fading_rows(story: Fading, times: dict[int, str]) -> list[Row]:
    """The average effect of each film at each time."""
    return [
        {
            "Film": row.treatment,
            "Asked": times[row.wave],
            "Effect, SDs": number(row.effect, 2),
            "95% interval": between(row.low, row.high),
            "Persons": f"{row.persons:,}",
        }
        for row in story.rows.itertuples()
    ]


def effects_rows(run: RunResults) -> list[Row]:
    """Figure 1, one row per table, in the order of the figure: average effect, range of the items' effects, and the test."""
    drawn = run.summary[run.summary["ate_std"].notna()].sort_values("ate_std", kind="stable")
    items = run.items.groupby("tab")["total_std"]
    lowest, highest = items.min(), items.max()
    return [
        {
            "Table": row["tab"],
            "Average, SDs": number(row["ate_std"], 2),
            "Lowest item": number(lowest[row["tab"]], 2),
            "Highest item": number(highest[row["tab"]], 2),
            "σ_ζ, SDs": number(row["sigma_zeta_std"], 2),
            "p": p_text(row["lrt_pval" if row["profile"] == "vignette" else "lrt_pval_mixture"]),
        }
        for row in drawn.to_dict("records")
    ]


def interaction_rows(run: RunResults) -> list[Row]:
    """Figure 2, one row per table: the ratio of the spreads, both interactions and their difference."""
    rows = run.summary.dropna(subset=["delta_beta3", "sd_ratio"]).sort_values("sd_ratio", kind="stable")
    return [
        {
            "Table": row["tab"],
            "Ratio of SDs": number(row["sd_ratio"], 2),
            "β₃ of M_B": number(row["beta3_b"], 3),
            "β₃ of M_C": number(row["beta3_c"], 3),
            "Difference": number(row["delta_beta3"], 3),
            "ρ": number(row["rho"], 2),
            "Items": f"{row['n_items']:.0f}",
        }
        for row in rows.to_dict("records")
    ]
