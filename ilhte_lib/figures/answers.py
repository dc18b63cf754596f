"""How many in each arm gave an answer, item by item: the effect of a treatment as its readers see it, before any model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .theme import AXIS, DEEP_BLUE, DEEP_RED, GREY, axis_title, compact, effect_axis, escaped, layout

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

_KINDS = (("more", DEEP_RED), ("less", DEEP_BLUE), ("unclear", GREY))


def answers_figure(rows: pd.DataFrame, control: str, treatment: str, words: dict[str, str], axis: str) -> go.Figure:
    """One row an item, from the share under control (open) to the share under treatment (filled).

    Parameters
    ----------
    rows : items from the lowest row of the figure to the highest, with ``label``, ``p_ctrl`` and ``p_treat`` (shares, 0 to 1)
        and ``change``: "more", "less" or "unclear".
    control, treatment : names of the arms, beside the points of the highest row and in the text that hovers.
    words : what the legend calls each of the three changes.
    axis : title of the axis of shares.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    places = dict(zip(rows["label"], range(1, len(rows) + 1), strict=True))
    for change, colour in _KINDS:
        group = rows[rows["change"] == change]
        if group.empty:
            continue
        x, y = [], []
        for row in group.itertuples():
            x += [*compact([row.p_ctrl, row.p_treat]), None]
            y += [places[row.label], places[row.label], None]
        shared = {"legendgroup": change, "mode": "markers"}
        figure.add_scatter(
            x=x, y=y, mode="lines", line={"color": colour, "width": 2}, hoverinfo="skip", showlegend=False, legendgroup=change
        )  # fmt: skip
        text = [
            f"<b>{escaped(row.label)}</b><br>{escaped(control)}: {row.p_ctrl:.0%}<br>{escaped(treatment)}: {row.p_treat:.0%}"
            for row in group.itertuples()
        ]
        height = [places[label] for label in group["label"]]
        figure.add_scatter(
            x=compact(group["p_ctrl"]), y=height, text=text, hoverinfo="text", name=control, showlegend=False,
            marker={"size": 10, "color": colour, "symbol": "circle-open", "line": {"width": 2}}, **shared,
        )  # fmt: skip
        figure.add_scatter(
            x=compact(group["p_treat"]), y=height, text=text, hoverinfo="text", name=words[change],
            marker={"size": 11, "color": colour, "symbol": "circle"}, **shared,
        )  # fmt: skip
    if len(rows):
        top = rows.iloc[-1]
        ends = {control: top["p_ctrl"], treatment: top["p_treat"]}
        for (arm, share), side in zip(sorted(ends.items(), key=lambda end: end[1]), ("right", "left"), strict=True):
            figure.add_annotation(
                text=escaped(arm), x=share, y=len(rows), xanchor=side, yanchor="bottom", yshift=4,
                xshift=-6 if side == "left" else 6, showarrow=False,
            )  # fmt: skip
    figure.update_layout(
        layout(22 * len(rows) + 150, left=20, top=40, bottom=80),
        xaxis={**effect_axis(), **axis_title(axis), "tickformat": ".0%", "rangemode": "tozero"},
        yaxis={
            "tickvals": list(places.values()),
            "ticktext": [escaped(label, 24) for label in places],
            "range": [0.2, len(rows) + 1.3],
            "gridcolor": "rgba(128,128,128,0.15)",
            "zeroline": False,
            "automargin": True,
            "linecolor": AXIS,
        },
    )
    return figure
