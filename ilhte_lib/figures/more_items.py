"""How precise the average effect would be with more or fewer items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..inference.generalise import persons_floor, se_with_items
from ..model.compress import SufficientStatistics
from ..model.fit_result import Fit

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from ..inference.units import Scale

LINE, MARK = "#3182bd", "#808080"


def item_numbers(n_items: int) -> np.ndarray:
    """Numbers of items that are drawn: about 40 between 3 and four times the test's, today's among them."""
    return np.unique([*np.linspace(min(3, n_items), 4 * n_items, 40).round().astype(int), n_items])


def items_figure(statistics: SufficientStatistics, fit: Fit, scale: Scale) -> go.Figure:
    """SE of the average effect by number of items, today's test marked; dashed, what persons alone leave.

    Parameters
    ----------
    statistics, fit : data and fit of M_A, with standard errors (without, the curve is empty).
    scale : the table's unit.
    """
    import plotly.graph_objects as go

    items = item_numbers(fit.n_items)
    figure = go.Figure()
    figure.add_scatter(
        x=[int(n) for n in items], y=_short(se_with_items(statistics, fit, items) / scale.by), mode="lines",
        line={"color": LINE, "width": 2}, hovertemplate="%{x} items: SE %{y:.3f}<extra></extra>",
    )  # fmt: skip
    today = float(fit.standard_error("treat")) / scale.by
    figure.add_scatter(
        x=[fit.n_items], y=_short([today]), mode="markers+text", marker={"color": LINE, "size": 11},
        text=["this test"], textposition="top right", hovertemplate="this test, %{x} items: SE %{y:.3f}<extra></extra>",
    )  # fmt: skip
    floor = persons_floor(statistics, fit) / scale.by
    if np.isfinite(today):
        figure.add_hline(y=floor, line={"color": MARK, "dash": "dash", "width": 1})
    clear, grid = "rgba(0,0,0,0)", {"gridcolor": "rgba(128,128,128,0.25)", "zeroline": False}
    figure.update_xaxes(**grid, title={"text": "Items"})
    figure.update_yaxes(**grid, title={"text": f"SE of the average effect ({scale.unit.plural})"}, rangemode="tozero")
    figure.update_layout(
        template="none", paper_bgcolor=clear, plot_bgcolor=clear, height=340, showlegend=False,
        margin={"l": 60, "r": 20, "t": 20, "b": 60},
    )  # fmt: skip
    return figure


def _short(values) -> list[float | None]:
    return [float(f"{x:.4g}") if np.isfinite(x) else None for x in np.asarray(values, float)]
