"""Several arms against one control: average effects with the item effects around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .theme import BLUE, DEEP_RED, GREY, axis_title, compact, effect_axis, escaped, layout

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from ..inference.arms import Arms
    from ..inference.effects import ShownItem


def arms_figure(found: Arms, items: Sequence[Sequence[ShownItem]]) -> go.Figure:
    """One row per arm: its average effect with a 95% bar (diamond), and its item effects (small circles).

    Parameters
    ----------
    items : the items of each arm, in its unit.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    rows = found.rows
    figure.add_scatter(
        x=compact(item.effect for of_arm in items for item in of_arm),
        y=[-k for k, of_arm in enumerate(items) for _ in of_arm],
        mode="markers",
        marker={"color": BLUE, "size": 6, "opacity": 0.6},
        name="items",
        text=[escaped(item.name) for of_arm in items for item in of_arm],
        hovertemplate="%{text}: %{x:.2f}<extra></extra>",
    )
    figure.add_scatter(
        x=compact(row.average.estimate for row in rows),
        y=[-k for k in range(len(rows))],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": compact(row.average.high - row.average.estimate for row in rows),
            "arrayminus": compact(row.average.estimate - row.average.low for row in rows),
            "color": DEEP_RED,
        },
        mode="markers",
        marker={"color": DEEP_RED, "symbol": "diamond", "size": 12},
        name="average effect",
        text=[escaped(row.arm) for row in rows],
        hovertemplate="%{text}: %{x:.2f}<extra></extra>",
    )
    figure.add_vline(x=0, line={"color": GREY, "width": 1})
    units = " or ".join(dict.fromkeys(row.unit.plural for row in rows))
    figure.update_layout(
        layout(max(260, 50 * len(rows) + 150), left=20, bottom=90),
        xaxis={**effect_axis(), **axis_title(f"Effect against {escaped(found.control)} ({units})")},
        yaxis={
            "tickvals": [-k for k in range(len(rows))],
            "ticktext": [escaped(row.arm, 24) for row in rows],
            "range": [-len(rows) + 0.4, 0.6],
            "showgrid": False,
            "zeroline": False,
            "automargin": True,
        },
    )
    return figure
