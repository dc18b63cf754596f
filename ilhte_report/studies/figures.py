"""Figures of the simulations: size of the tests, coverage of the intervals, bias with few items.

Each takes a summary of its study and returns a Plotly figure with a transparent background; bars are 95% Monte Carlo
intervals. Symbols duplicate the colours, which have a contrast of 3:1 on white and on a dark page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ilhte_lib.figures.theme import BLUE, GREY, GRID, RED, VIOLET, compact, layout, with_subscripts

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

_TESTS = {
    "naive": (GREY, "circle-open"),
    "halved": (RED, "diamond"),
    "mixture": (BLUE, "circle"),
    "bootstrap": (VIOLET, "square"),
}
_METHODS = {"profile": (BLUE, "circle"), "Wald": (RED, "diamond-open")}
_APPROXIMATIONS = {"laplace": ("Laplace", RED, "diamond"), "aghq": ("quadrature", BLUE, "circle")}
PARAMETER_NAMES = {"treat": "β₁", "sigma_theta": "σ_θ", "sigma_zeta": "σ_ζ", "rho": "ρ", "ate": "β₁"}


def size_figure(summary: pd.DataFrame, level: float = 0.05) -> go.Figure:
    """Share of null trials in which each test rejects at ``level``, by number of items (``size.size_summary``)."""
    import plotly.graph_objects as go

    rows = summary[summary["level"] == level]
    items = sorted(rows["n_items"].unique())
    figure = go.Figure()
    for k, (test, (colour, symbol)) in enumerate(_TESTS.items()):
        own = rows[rows["test"] == test].sort_values("n_items")
        at = [items.index(n) + 0.13 * (k - 1.5) for n in own["n_items"]]
        figure.add_scatter(
            **_points(at, own["size"], own["lower"], own["upper"], colour, symbol, test, list(own["n_items"]))
        )
    figure.add_hline(y=level, line={"color": GREY, "dash": "dash", "width": 1})
    figure.update_layout(_layout(420))
    figure.update_xaxes(
        tickvals=list(range(len(items))), ticktext=[str(n) for n in items], title={"text": "Items"}, showgrid=False
    )
    figure.update_yaxes(title={"text": f"Rejects at {level:g}"}, rangemode="tozero")
    return figure


def coverage_figure(summary: pd.DataFrame) -> go.Figure:
    """Coverage of the 95% intervals, one panel per parameter (``coverage.coverage_summary``)."""
    from plotly.subplots import make_subplots

    parameters = list(dict.fromkeys(summary["parameter"]))
    names = [with_subscripts(PARAMETER_NAMES[p]) for p in parameters]
    figure = make_subplots(
        rows=1, cols=len(parameters), shared_yaxes=True, subplot_titles=names, horizontal_spacing=0.04
    )
    cells = sorted(set(zip(summary["setting"], summary["n_items"], strict=True)))
    for column, parameter in enumerate(parameters, start=1):
        for k, (method, (colour, symbol)) in enumerate(_METHODS.items()):
            own = summary[(summary["parameter"] == parameter) & (summary["method"] == method)]
            at = [cells.index(cell) + 0.24 * (k - 0.5) for cell in zip(own["setting"], own["n_items"], strict=True)]
            words = [f"setting {s}, {n} items" for s, n in zip(own["setting"], own["n_items"], strict=True)]
            trace = _points(at, own["coverage"], own["lower"], own["upper"], colour, symbol, method, words)
            figure.add_scatter(**trace, legendgroup=method, showlegend=column == 1, row=1, col=column)
        figure.add_hline(y=0.95, line={"color": GREY, "dash": "dash", "width": 1}, row=1, col=column)
    figure.update_layout(_layout(440))
    labels = [f"{s} {n}" for s, n in cells]
    figure.update_xaxes(tickvals=list(range(len(cells))), ticktext=labels, showgrid=False, tickangle=-90)
    figure.update_yaxes(title={"text": "Coverage"}, row=1, col=1)
    return figure


def bias_figure(summary: pd.DataFrame) -> go.Figure:
    """Bias of sigma_theta and sigma_zeta by number of items and approximation (``bias.bias_summary``), logits."""
    from plotly.subplots import make_subplots

    parameters = ("sigma_theta", "sigma_zeta")
    names = [with_subscripts(PARAMETER_NAMES[p]) for p in parameters]
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, subplot_titles=names, horizontal_spacing=0.05)
    items = sorted(summary["n_items"].unique())
    for column, parameter in enumerate(parameters, start=1):
        for k, (method, (label, colour, symbol)) in enumerate(_APPROXIMATIONS.items()):
            own = summary[(summary["parameter"] == parameter) & (summary["method"] == method)].sort_values("n_items")
            at = [items.index(n) + 0.2 * (k - 0.5) for n in own["n_items"]]
            half = 1.96 * own["bias_se"]
            words = [f"{n} items" for n in own["n_items"]]
            trace = _points(at, own["bias"], own["bias"] - half, own["bias"] + half, colour, symbol, label, words)
            figure.add_scatter(**trace, legendgroup=label, showlegend=column == 1, row=1, col=column)
        figure.add_hline(y=0.0, line={"color": GREY, "dash": "dash", "width": 1}, row=1, col=column)
    figure.update_layout(_layout(420))
    figure.update_xaxes(
        tickvals=list(range(len(items))), ticktext=[str(n) for n in items], title={"text": "Items"}, showgrid=False
    )
    figure.update_yaxes(title={"text": "Bias (logits)"}, row=1, col=1)
    return figure


def _points(x, y, low, high, colour: str, symbol: str, name: str, words: list) -> dict[str, Any]:
    """A trace of points with intervals."""
    y, low, high = (np.asarray(v, float) for v in (y, low, high))
    return {
        "x": x,
        "y": compact(y),
        "mode": "markers",
        "name": name,
        "marker": {"color": colour, "symbol": symbol, "size": 9},
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": compact(high - y, 3),
            "arrayminus": compact(y - low, 3),
            "color": colour,
            "thickness": 1.2,
            "width": 3,
        },
        "text": [f"{name}, {word}" for word in words],
        "hovertemplate": "%{text}<br>%{y:.3f}<extra></extra>",
    }


def _layout(height: int) -> dict[str, Any]:
    grid = {"zeroline": False, **GRID}
    return layout(
        height, top=40, bottom=90, **{f"{axis}axis{panel}": grid for axis in "xy" for panel in ("", "2", "3", "4")}
    )
