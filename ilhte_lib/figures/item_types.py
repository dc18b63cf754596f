"""Item effects by an item covariate: grouped by its labels, or plotted against its values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..inference.interval import HALF_WIDTH
from .theme import AXIS, BLUE, DEEP_RED, GREY, GRID, axis_title, compact, effect_axis, escaped, layout

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from ..inference.effects import ShownItem
    from ..inference.item_types import Explanation, TypeEffect
    from ..inference.units import Scale


def item_types_figure(found: Explanation, items: Mapping[int, ShownItem], average: float, scale: Scale) -> go.Figure:
    """Item effects (circles, 95% bars) below the average of their type (diamond, 95% bar); the overall average is dashed.

    A numeric covariate with many values is drawn along the axis instead, with the model's line.

    Parameters
    ----------
    found : the explanation by one covariate.
    items : effects in the unit of ``scale``, by the item's index in ``found.values``.
    average : beta_1 of M_A in that unit.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    if all(kind.items for kind in found.types):
        _grouped(figure, found, items, scale)
        figure.add_vline(x=average, line={"dash": "dash", "color": GREY, "width": 1})
        return figure
    x = [float(value) for value in found.values]
    shown = [items[k] for k in range(len(x))]
    figure.add_scatter(
        x=compact(x),
        y=compact(item.effect for item in shown),
        error_y=_bars((HALF_WIDTH * item.se for item in shown), BLUE),
        mode="markers",
        marker={"color": BLUE, "size": 8},
        name="items",
        text=[escaped(item.name) for item in shown],
        hovertemplate="%{text}: %{y:.2f}<extra></extra>",
    )
    figure.add_scatter(
        x=compact(float(kind.label) for kind in found.types),
        y=compact(kind.effect / scale.by for kind in found.types),
        error_y=_bars(((kind.high - kind.effect) / scale.by for kind in found.types), DEEP_RED),
        mode="lines+markers",
        line={"color": DEEP_RED},
        marker={"color": DEEP_RED, "symbol": "diamond", "size": 11},
        name="model",
    )
    figure.update_layout(
        layout(420, left=20, bottom=90),
        xaxis={**axis_title(escaped(found.names[0])), "zeroline": False, **GRID},
        yaxis={
            **effect_axis(),
            **axis_title(f"Item-specific treatment effect ({scale.unit.plural})"),
            "automargin": True,
        },
    )
    return figure


def _grouped(figure: go.Figure, found: Explanation, items: Mapping[int, ShownItem], scale: Scale) -> None:
    names: list[str] = []
    heads: list[tuple[int, TypeEffect]] = []
    members: list[tuple[int, ShownItem]] = []
    for kind in found.types:
        heads.append((len(names), kind))
        names.append(f"<b>{escaped(kind.label, 30)}</b>")
        for k in sorted(kind.items, key=lambda k: -items[k].effect):
            members.append((len(names), items[k]))
            names.append(escaped(items[k].name, 24))
    figure.add_scatter(
        x=compact(item.effect for _, item in members),
        y=[-row for row, _ in members],
        error_x=_bars((HALF_WIDTH * item.se for _, item in members), BLUE),
        mode="markers",
        marker={"color": BLUE, "size": 8},
        name="items",
        hovertemplate="%{text}: %{x:.2f}<extra></extra>",
        text=[escaped(item.name) for _, item in members],
    )
    figure.add_scatter(
        x=compact(kind.effect / scale.by for _, kind in heads),
        y=[-row for row, _ in heads],
        error_x=_bars(((kind.high - kind.effect) / scale.by for _, kind in heads), DEEP_RED),
        mode="markers",
        marker={"color": DEEP_RED, "symbol": "diamond", "size": 12},
        name="average of the type",
        hovertemplate="%{text}: %{x:.2f}<extra></extra>",
        text=[escaped(kind.label) for _, kind in heads],
    )
    figure.update_layout(
        layout(max(280, 19 * len(names) + 130), left=20, bottom=90),
        xaxis={**effect_axis(), **axis_title(f"Item-specific treatment effect ({scale.unit.plural})")},
        yaxis={
            "tickvals": [-row for row in range(len(names))],
            "ticktext": names,
            "range": [-len(names), 1],
            "showgrid": False,
            "zeroline": False,
            "automargin": True,
            "linecolor": AXIS,
        },
    )


def _bars(half_widths, colour: str) -> dict:
    return {"type": "data", "array": compact(half_widths), "color": colour, "thickness": 1, "width": 0}
