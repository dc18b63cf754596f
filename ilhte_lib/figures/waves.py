"""Average effects at several times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .theme import AXIS, DEEP_BLUE, DEEP_RED, GREY, GRID, axis_title, compact, effect_axis, escaped, layout

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

_LINES = ((DEEP_RED, "circle", "solid"), (DEEP_BLUE, "square", "dash"), (GREY, "diamond", "dot"))


def waves_figure(rows: pd.DataFrame, times: dict[int, str]) -> go.Figure:
    """A line per treatment over ``times``, with 95% bars.

    Parameters
    ----------
    rows : ``treatment``, ``wave``, ``effect`` with ``low`` and ``high`` (SDs of the persons at that time); at most three treatments.
    times : label of each wave, in order.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    treatments = list(dict.fromkeys(rows["treatment"]))
    for k, (treatment, (colour, symbol, dash)) in enumerate(zip(treatments, _LINES, strict=False)):
        of = rows[rows["treatment"] == treatment].sort_values("wave")
        figure.add_scatter(
            # offset, so that bars do not hide each other
            x=[list(times).index(wave) + 0.06 * (k - 1) for wave in of["wave"]],
            y=compact(of["effect"]),
            error_y={
                "type": "data",
                "symmetric": False,
                "array": compact(of["high"] - of["effect"]),
                "arrayminus": compact(of["effect"] - of["low"]),
                "color": colour,
                "thickness": 1,
                "width": 0,
            },
            mode="lines+markers",
            line={"color": colour, "dash": dash, "width": 2},
            marker={"color": colour, "symbol": symbol, "size": 9},
            name=escaped(treatment),
            hovertemplate="%{y:.2f} SDs<extra>" + escaped(treatment) + "</extra>",
        )
    figure.update_layout(
        layout(400, left=20, top=40, bottom=80),
        xaxis={
            "tickvals": list(range(len(times))),
            "ticktext": list(times.values()),
            "range": [-0.4, len(times) - 0.6],
            "zeroline": False,
            "showline": True,
            "linecolor": AXIS,
            **GRID,
        },
        yaxis={**effect_axis(), **axis_title("Average effect (SDs)"), "automargin": True},
    )
    return figure
