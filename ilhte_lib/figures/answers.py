"""Mean responses by item and arm: the effect of a treatment before any model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .theme import AXIS, DEEP_BLUE, DEEP_RED, GREY, axis_title, compact, effect_axis, escaped, layout

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

_KINDS = (("more", DEEP_RED), ("less", DEEP_BLUE), ("unclear", GREY))


def answers_figure(
    rows: pd.DataFrame, control: str, treatment: str, words: dict[str, str], axis: str, ticks: dict[int, str]
) -> go.Figure:
    """One row per item, from the mean response under control (open) to that under treatment (filled).

    Parameters
    ----------
    rows : items from the lowest row of the figure to the highest, with ``label``, ``control`` and ``treated`` (mean responses)
        and ``change``: "more", "less" or "unclear".
    control, treatment : names of the arms, next to the points of the highest row and in hover texts.
    words : legend entry for each of the three changes.
    axis : title of the axis of responses.
    ticks : labels of responses by number.
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
            x += [*compact([row.control, row.treated]), None]
            y += [places[row.label], places[row.label], None]
        shared = {"legendgroup": change, "mode": "markers"}
        figure.add_scatter(
            x=x, y=y, mode="lines", line={"color": colour, "width": 2}, hoverinfo="skip", showlegend=False, legendgroup=change
        )  # fmt: skip
        text = [
            f"<b>{escaped(row.label)}</b><br>{escaped(control)}: {row.control:.2f}<br>{escaped(treatment)}: {row.treated:.2f}"
            for row in group.itertuples()
        ]
        height = [places[label] for label in group["label"]]
        figure.add_scatter(
            x=compact(group["control"]), y=height, text=text, hoverinfo="text", name=control, showlegend=False,
            marker={"size": 10, "color": colour, "symbol": "circle-open", "line": {"width": 2}}, **shared,
        )  # fmt: skip
        figure.add_scatter(
            x=compact(group["treated"]), y=height, text=text, hoverinfo="text", name=words[change],
            marker={"size": 11, "color": colour, "symbol": "circle"}, **shared,
        )  # fmt: skip
    if len(rows):
        # both labels start at their points, one above the other, so that they do not overlap each other or the item names
        top = rows.iloc[-1]
        ends = sorted(((top["control"], control), (top["treated"], treatment)))
        for (place, arm), (lift, shift) in zip(ends, ((5, -5), (-11, 8)), strict=True):
            figure.add_annotation(
                text=escaped(arm), x=place, y=len(rows), xanchor="left", yanchor="bottom", yshift=lift, xshift=shift,
                showarrow=False,
            )  # fmt: skip
    figure.update_layout(
        layout(22 * len(rows) + 150, left=20, top=40, bottom=80),
        xaxis={
            **effect_axis(),
            **axis_title(axis),
            "tickvals": list(ticks),
            "ticktext": list(ticks.values()),
            "rangemode": "tozero",
        },
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
