"""Item effects by wave: whether they appear with treatment and whether they fade."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .theme import AXIS, BLUE, GREY, GRID, axis_title, compact, effect_axis, escaped, layout

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from ..inference.waves import Waves


def item_waves_figure(found: Waves) -> go.Figure:
    """A grey line per item over the waves, and a blue one for the average with 95% bars; dotted where treatment intervenes.

    The last trace is the average. An item that is missing at a wave has a gap there.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    names = list(dict.fromkeys(item.item for wave in found.waves for item in wave.items))
    effects = [{item.item: item.effect for item in wave.items} for wave in found.waves]
    x = list(range(len(found.waves)))
    for k, name in enumerate(names):
        figure.add_scatter(
            x=x,
            y=compact(of_wave.get(name) for of_wave in effects),
            mode="lines+markers",
            line={"color": GREY, "width": 1},
            marker={"color": GREY, "size": 4},
            opacity=0.6,
            name="items",
            legendgroup="items",
            showlegend=k == 0,
            hovertemplate=f"{escaped(name)}: %{{y:.2f}}<extra></extra>",
        )
    figure.add_scatter(
        x=x,
        y=compact(wave.average for wave in found.waves),
        error_y={
            "type": "data",
            "symmetric": False,
            "array": compact(wave.average_high - wave.average for wave in found.waves),
            "arrayminus": compact(wave.average - wave.average_low for wave in found.waves),
            "color": BLUE,
            "thickness": 1.5,
        },
        mode="lines+markers",
        line={"color": BLUE, "width": 3},
        marker={"color": BLUE, "symbol": "square", "size": 9},
        name="average",
        hovertemplate="average: %{y:.2f}<extra></extra>",
    )
    before = sum(wave.before for wave in found.waves)
    if 0 < before < len(x):
        figure.add_vline(x=before - 0.5, line={"dash": "dot", "color": AXIS})
        figure.add_annotation(x=before - 0.5, y=1, yref="paper", yanchor="bottom", text="treatment", showarrow=False)
    unit = "SDs at the analysed wave" if found.unit == "SD" else "logits"
    figure.update_layout(
        layout(440, left=20, bottom=80),
        xaxis={
            "tickvals": x,
            "ticktext": [escaped(wave.wave, 24) for wave in found.waves],
            "range": [-0.4, len(x) - 0.6],
            "zeroline": False,
            **axis_title("Wave"),
            **GRID,
        },
        yaxis={**effect_axis(), **axis_title(f"Item-specific treatment effect ({unit})"), "automargin": True},
    )
    return figure
