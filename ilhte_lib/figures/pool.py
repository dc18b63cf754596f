"""Pooled trials: the item effects of each, shrunk towards the others, and the prediction for a new trial."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..inference.pool import Pool
from .theme import BLUE, GREY, GRID, RED, axis_title, compact, escaped, layout

if TYPE_CHECKING:
    import plotly.graph_objects as go

NEW = "a new trial"


def pool_figure(found: Pool) -> go.Figure:
    """Left: sigma_zeta / sigma_theta of each trial with 95% intervals; right: rho; top row: prediction for a new trial."""
    from plotly.subplots import make_subplots

    figure = make_subplots(cols=2, rows=1, shared_yaxes=True, horizontal_spacing=0.06)
    order = sorted(found.trials, key=lambda trial: trial.ratio)
    names = [escaped(trial.name, 30) for trial in order]
    ratio, rho = found.log_ratio, found.fisher_z
    columns = (
        ([(t.ratio_low, t.ratio, t.ratio_high) for t in order], np.exp([ratio.new_low, ratio.mean, ratio.new_high])),
        ([(t.rho_low, t.rho, t.rho_high) for t in order], np.tanh([rho.new_low, rho.mean, rho.new_high])),
    )
    for column, (trials, new) in enumerate(columns, 1):
        for rows, ends, colour, symbol in ((names, trials, BLUE, "circle"), ([NEW], [tuple(new)], RED, "diamond")):
            low, middle, high = np.array(ends).T
            figure.add_scatter(
                x=compact(middle), y=rows, mode="markers", marker={"color": colour, "size": 8, "symbol": symbol},
                error_x={"type": "data", "array": compact(high - middle), "arrayminus": compact(middle - low), "thickness": 1.5, "width": 0},
                hovertemplate="%{y}: %{x:.2f}<extra></extra>", row=1, col=column,
            )  # fmt: skip
        figure.add_vline(x=float(new[1]), line={"color": GREY, "dash": "dash", "width": 1}, row=1, col=column)
    figure.update_xaxes(**GRID, **axis_title("σ<sub>ζ</sub> / σ<sub>θ</sub>"), rangemode="tozero", row=1, col=1)
    figure.update_xaxes(**GRID, **axis_title("ρ"), range=[-1.05, 1.05], row=1, col=2)
    figure.update_yaxes(**GRID, automargin=True)
    figure.update_layout(layout(120 + 22 * (len(order) + 1), left=40), showlegend=False)
    return figure
