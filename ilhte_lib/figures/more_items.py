"""Precision of the average effect with more or fewer items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..inference.generalise import persons_floor, se_with_items
from ..model.compress import SufficientStatistics
from ..model.fit_result import Fit
from .theme import BLUE, GREY, GRID, compact, layout

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from ..inference.units import Scale


def item_numbers(n_items: int) -> np.ndarray:
    """Numbers of items to draw: about 40 between 3 and four times the test's, including the test's own."""
    return np.unique([*np.linspace(min(3, n_items), 4 * n_items, 40).round().astype(int), n_items])


def items_figure(statistics: SufficientStatistics, fit: Fit, scale: Scale) -> go.Figure:
    """SE of the average effect by number of items, with the test marked; dashed, the SE with infinitely many items.

    Parameters
    ----------
    statistics, fit : data and fit of M_A, with standard errors (without them the curve is empty).
    scale : the table's unit.
    """
    import plotly.graph_objects as go

    items = item_numbers(fit.n_items)
    figure = go.Figure()
    figure.add_scatter(
        x=[int(n) for n in items], y=compact(se_with_items(statistics, fit, items) / scale.by), mode="lines",
        line={"color": BLUE, "width": 2}, hovertemplate="%{x} items: SE %{y:.3f}<extra></extra>",
    )  # fmt: skip
    today = float(fit.standard_error("treat")) / scale.by
    figure.add_scatter(
        x=[fit.n_items], y=compact([today]), mode="markers+text", marker={"color": BLUE, "size": 11},
        text=["this test"], textposition="top right", hovertemplate="this test, %{x} items: SE %{y:.3f}<extra></extra>",
    )  # fmt: skip
    floor = persons_floor(statistics, fit) / scale.by
    if np.isfinite(today):
        figure.add_hline(y=floor, line={"color": GREY, "dash": "dash", "width": 1})
    figure.update_xaxes(**GRID, zeroline=False, title={"text": "Items"})
    figure.update_yaxes(
        **GRID, zeroline=False, title={"text": f"SE of the average effect ({scale.unit.plural})"}, rangemode="tozero"
    )
    figure.update_layout(layout(340), showlegend=False)
    return figure
