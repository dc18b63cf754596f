"""The figure of the engine comparison: one point per item, the native engine against lme4."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ilhte_lib.figures.theme import AXIS, DEEP_BLUE, DEEP_RED, GRID, axis_title, compact, effect_axis, escaped, layout

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


def engines_figure(items: pd.DataFrame, simulated: pd.Series) -> go.Figure:
    """Item effects beta_1 + zeta_i of M_A by both engines; below, on its own scale, lme4's minus the native engine's.

    Parameters
    ----------
    items : one row per item with tab, item, total_std_native, total_std_lme4 (SDs).
    simulated : whether each row's table is simulated.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=2, shared_xaxes=True, row_heights=[0.6, 0.4], vertical_spacing=0.08)
    ends = compact([items["total_std_native"].min(), items["total_std_native"].max()])
    line: dict[str, Any] = {"mode": "lines", "line": {"color": AXIS, "dash": "dash", "width": 1}, "hoverinfo": "skip"}
    figure.add_scatter(x=ends, y=ends, name="no difference", **line, row=1, col=1)
    for which, name, colour, symbol in (
        (~simulated, "real tables", DEEP_BLUE, "circle"),
        (simulated, "simulated tables", DEEP_RED, "diamond"),
    ):
        rows = items[which]
        shared = {
            "x": compact(rows["total_std_native"]),
            "mode": "markers",
            "marker": {"color": colour, "symbol": symbol, "size": 6, "opacity": 0.6},
            "text": [f"{escaped(row.tab, 40)}<br>{escaped(row.item, 24)}" for row in rows.itertuples()],
            "name": name,
            "legendgroup": name,
        }
        above = "%{text}<br>native %{x}, lme4 %{y} SD<extra></extra>"
        below = "%{text}<br>lme4 − native: %{y} SD<extra></extra>"
        figure.add_scatter(y=compact(rows["total_std_lme4"]), hovertemplate=above, **shared, row=1, col=1)
        figure.add_scatter(
            y=compact(rows["total_std_lme4"] - rows["total_std_native"]),
            hovertemplate=below,
            **{**shared, "showlegend": False},
            row=2,
            col=1,
        )
    figure.update_layout(layout(680, left=20, bottom=80))
    figure.update_xaxes(effect_axis())
    figure.update_xaxes(axis_title("Item effect, native engine (SDs)"), row=2, col=1)
    figure.update_yaxes(axis_title("Item effect, lme4 (SDs)"), zeroline=False, automargin=True, **GRID, row=1, col=1)
    figure.update_yaxes(
        axis_title("lme4 − native (SDs)"), automargin=True, exponentformat="power", **effect_axis(), row=2, col=1
    )
    return figure
