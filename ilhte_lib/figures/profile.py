"""The profile curves of a fit: the rise of the deviance away from the estimates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .theme import BLUE, GREY, GRID, compact, layout

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from ..inference.profile import ProfileCurve, ProfileInterval
    from ..inference.units import Scale

_AXES = {
    "treat": "β₁",
    "sigma_zeta": "σ<sub>ζ</sub>",
    "rho": "ρ",
    "sigma_theta": "σ<sub>θ</sub> (logits)",
    "treat:cov": "β₃ (logits)",
}
_MOST_TICKS = 5
"""With more ticks the labels would touch on a phone."""
STANDARDISED = ("treat", "sigma_zeta")
"""Parameters shown in the table's unit."""


def profile_figure(curves: Sequence[ProfileCurve], intervals: Sequence[ProfileInterval], scale: Scale) -> go.Figure:
    """One panel per parameter, four of them two by two: rise of the deviance, quantile, interval and estimate.

    Without any curve the figure is a message.

    Parameters
    ----------
    curves, intervals : curves and intervals of the same parameters in the same order, logits.
    scale : the table's unit, in which ``STANDARDISED`` parameters are shown.
    """
    from plotly.subplots import make_subplots
    from scipy.special import chdtri

    if not curves:
        return _empty()
    columns = len(curves) if len(curves) < 4 else 2
    rows = -(-len(curves) // columns)
    figure = make_subplots(rows=rows, cols=columns, shared_yaxes=True, horizontal_spacing=0.06, vertical_spacing=0.2)
    for place, (curve, interval) in enumerate(zip(curves, intervals, strict=True)):
        row, column = place // columns + 1, place % columns + 1
        unit = scale.by if curve.parameter in STANDARDISED else 1.0
        quantile = interval.cut if np.isfinite(interval.cut) else float(chdtri(1, 1.0 - interval.level))
        title = _AXES.get(curve.parameter, f"{curve.parameter} (logits)")
        if curve.parameter in STANDARDISED:
            title += f" ({scale.unit.plural})"
        x = curve.value / unit
        figure.add_scatter(
            x=compact(x), y=compact(np.maximum(curve.difference, 0.0)), mode="lines", line={"color": BLUE, "width": 2},
            hovertemplate=f"{title} %{{x:.3f}}<br>rise %{{y:.2f}}<extra></extra>", row=row, col=column,
        )  # fmt: skip
        ends = np.array([interval.lower, interval.upper]) / unit
        known = np.isfinite(ends)
        figure.add_scatter(
            x=compact(ends[known]), y=[quantile] * int(known.sum()), mode="markers",
            marker={"color": BLUE, "size": 9, "symbol": "line-ns", "line": {"width": 2, "color": BLUE}},
            hovertemplate="end of the interval %{x:.3f}<extra></extra>", row=row, col=column,
        )  # fmt: skip
        if np.isfinite(interval.estimate):
            figure.add_scatter(
                x=compact([interval.estimate / unit]), y=[0.0], mode="markers", marker={"color": BLUE, "size": 9},
                hovertemplate="estimate %{x:.3f}<extra></extra>", row=row, col=column,
            )  # fmt: skip
        figure.add_hline(y=quantile, line={"color": GREY, "dash": "dash", "width": 1}, row=row, col=column)
        figure.update_xaxes(title={"text": title}, zeroline=False, nticks=_MOST_TICKS, **GRID, row=row, col=column)
    figure.update_yaxes(zeroline=False, **GRID, rangemode="tozero")
    for row in range(1, rows + 1):
        figure.update_yaxes(title={"text": "Rise of the deviance"}, row=row, col=1)
    figure.update_layout(layout(340 if rows == 1 else 560), showlegend=False)
    return figure


def _empty() -> go.Figure:
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.add_annotation(text="No profile could be computed", showarrow=False, xref="paper", yref="paper")
    figure.update_layout(layout(120))
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure
