"""Figures of the identification problem: two processes with one pattern, the grid, and sliders.

Each function returns a Plotly figure (``ilhte_lib.figures.theme``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ilhte_lib.figures.theme import BLUE, GREY, RED, compact, layout
from ilhte_lib.inference.closed_form import attenuation, treated_spread
from ilhte_lib.inference.look_alike import expected_scores
from ilhte_lib.model.simulate import Design, draw_trial

from .identification_grid import RHO, SIGMA_ZETA

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


SYMBOL_OF_RHO = {-0.8: "triangle-down", -0.4: "square", 0.0: "circle", 0.4: "diamond", 0.8: "triangle-up"}
SHOWN_ITEMS = 9
LARGEST = (2000, 40)
"""The size of the trials shown with the sliders: persons, items."""


def same_scores_figure(persons: Design, items: Design) -> go.Figure:
    """Two trials, one pattern of scores: ``persons`` (a true interaction) and ``items`` (item effects).

    Above, the share of items answered with 1 by pretest, expected (lines) and simulated (points); below, the effect on
    each item against its easiness, both from the simulated responses (logits of shares).
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=2, row_heights=[0.55, 0.45], vertical_spacing=0.16)
    drawn = {"persons differ": (persons, BLUE, "circle-open", "dash"), "items differ": (items, RED, "diamond", "solid")}
    control = draw_trial(items)
    # the ends of the pretest, with only a few persons, are noise
    level, count = np.unique(control.covariate, return_counts=True)
    level = level[count >= 40]
    grid = np.linspace(level[0], level[-1], 21)
    scores = expected_scores(items, grid)
    figure.add_scatter(x=compact(grid), y=compact(scores[0]), mode="lines", line={"color": GREY}, name="control (both)")
    _add_means(figure, control, 0, level, {"color": GREY, "symbol": "circle"}, "control, simulated")
    for name, (design, colour, symbol, dash) in drawn.items():
        line = {"color": colour, "dash": dash}
        treated = expected_scores(design, grid)[1]
        figure.add_scatter(x=compact(grid), y=compact(treated), mode="lines", line=line, name=f"treated, {name}")
        trial = draw_trial(design)
        marker = {"color": colour, "symbol": symbol, "size": 8}
        # the circles lie under the diamonds: larger ones remain visible
        around = marker | ({"size": 14} if symbol == "circle-open" else {})
        _add_means(figure, trial, 1, level, around, f"treated, {name}, simulated")
        shares = [trial.responses[trial.treat == arm].mean(axis=0) for arm in (0, 1)]
        ctrl, treat = (np.log(share / (1.0 - share)) for share in shares)
        figure.add_scatter(
            x=compact(ctrl), y=compact(treat - ctrl), mode="markers", marker=marker, name=name, showlegend=False,
            hovertemplate=f"{name}<br>easiness %{{x:.2f}}<br>effect %{{y:.2f}}<extra></extra>", row=2, col=1,
        )  # fmt: skip
    figure.update_layout(layout(720))
    figure.update_xaxes(title={"text": "Pretest (SDs)"}, row=1, col=1)
    figure.update_yaxes(title={"text": "Share of items right"}, row=1, col=1)
    figure.update_xaxes(title={"text": "Easiness of the item (logits)"}, row=2, col=1)
    figure.update_yaxes(title={"text": "Effect on the item (logits)"}, row=2, col=1)
    return figure


def _add_means(figure: go.Figure, trial, arm: int, level: np.ndarray, marker: dict, name: str) -> None:
    score = trial.responses.mean(axis=1)
    means = [score[(trial.treat == arm) & (trial.covariate == value)].mean() for value in level]
    figure.add_scatter(x=compact(level), y=compact(means), mode="markers", marker=marker, name=name, showlegend=False)


def grid_figure(summary: pd.DataFrame) -> go.Figure:
    """Mean estimates of M_B and M_C without a true interaction, against the closed form.

    ``summary`` is ``identification_grid.grid_summary``; cells with a true interaction are left out. One trace per model
    and value of rho, with all sizes of trial together; bars are 95% Monte Carlo intervals.
    """
    import plotly.graph_objects as go

    none = summary[summary["beta_3"] == 0]
    figure = go.Figure()
    ends = compact([none["closed_form"].min(), none["closed_form"].max()])
    figure.add_scatter(x=ends, y=ends, mode="lines", line={"color": GREY, "dash": "dash"}, name="closed form exact")
    for model, name, colour in (("b", "M<sub>B</sub>", RED), ("c", "M<sub>C</sub>", BLUE)):
        for rho, rows in none.groupby("rho"):
            symbol = SYMBOL_OF_RHO[round(float(rho), 1)]
            figure.add_scatter(
                x=compact(rows["closed_form"]),
                y=compact(rows[f"bias_{model}"]),
                error_y={"type": "data", "array": compact(1.96 * rows[f"bias_{model}_se"]), "thickness": 1, "width": 0},
                mode="markers",
                marker={"color": colour, "symbol": symbol + ("" if model == "b" else "-open"), "size": 9},
                name=f"{name}, ρ = {_signed(rho, 1)}" if model == "b" else f"{name}, same symbols, open",
                showlegend=model == "b" or rho == 0,
                text=[
                    f"σ<sub>ζ</sub> {r.sigma_zeta:g}, {r.n_persons} persons, {r.n_items} items"
                    for r in rows.itertuples()
                ],
                hovertemplate=f"{name}: %{{y:.3f}}<br>closed form %{{x:.3f}}<br>"
                f"ρ {_signed(rho, 1)}, %{{text}}<extra></extra>",
            )
    figure.update_layout(layout(520))
    figure.update_xaxes(title={"text": "Closed form (logits)"})
    figure.update_yaxes(title={"text": "Mean estimate of β₃, truth 0 (logits)"})
    return figure


def false_positive_figure(summary: pd.DataFrame, level: float = 0.05) -> go.Figure:
    """Share of trials without an interaction in which a test at ``level`` finds one, by sigma_zeta; one panel per size.

    Titles give N persons and J items. M_B by value of rho (red, with different symbols), M_C as the range over all values of rho
    (blue); dashed line: ``level``.
    """
    from plotly.subplots import make_subplots

    none = summary[summary["beta_3"] == 0]
    sizes = list(none.groupby(["n_persons", "n_items"]))
    titles = [f"N {n}, J {j}" for (n, j), _ in sizes]
    figure = make_subplots(
        rows=2, cols=2, shared_xaxes=True, shared_yaxes=True, subplot_titles=titles, vertical_spacing=0.12,
        horizontal_spacing=0.05,
    )  # fmt: skip
    for panel, (_, rows) in enumerate(sizes):
        at = {"row": panel // 2 + 1, "col": panel % 2 + 1}
        null = rows[rows["sigma_zeta"] == 0]
        for rho in RHO:
            one = rows[(rows["rho"] == rho) & (rows["sigma_zeta"] > 0)]
            figure.add_scatter(
                x=compact([0.0, *one["sigma_zeta"]]),
                y=compact([*null["rejects_b"], *one["rejects_b"]]),
                mode="lines+markers",
                line={"color": RED, "width": 1},
                marker={"color": RED, "symbol": SYMBOL_OF_RHO[rho], "size": 8},
                name=f"M<sub>B</sub>, ρ = {_signed(rho, 1)}",
                legendgroup=f"{rho}",
                showlegend=panel == 0,
                hovertemplate=f"M<sub>B</sub>, ρ {_signed(rho, 1)}<br>σ<sub>ζ</sub> %{{x}}: %{{y:.1%}}<extra></extra>",
                **at,
            )
        spread = rows.groupby("sigma_zeta")["rejects_c"].agg(["min", "max"])
        for k, end in enumerate(("min", "max")):
            figure.add_scatter(
                x=compact(spread.index), y=compact(spread[end]), mode="lines", line={"color": BLUE, "width": 1},
                fill="tonexty" if k else None, name="M<sub>C</sub>, any ρ", legendgroup="M_C", showlegend=panel == 0 and k == 1,
                hovertemplate="M<sub>C</sub><br>σ<sub>ζ</sub> %{x}: %{y:.1%}<extra></extra>", **at,
            )  # fmt: skip
        figure.add_hline(y=level, line={"color": GREY, "dash": "dash", "width": 1}, **at)
    figure.update_layout(layout(620))
    figure.update_annotations(font={"size": 12})
    figure.update_yaxes(range=[0, 1], tickformat=".0%")
    figure.update_xaxes(tickvals=[0.0, *SIGMA_ZETA])
    figure.update_xaxes(title={"text": "σ<sub>ζ</sub>"}, row=2)
    return figure


def slider_figure(summary: pd.DataFrame) -> go.Figure:
    """The consequences of item effects, with a slider for sigma_zeta and one for rho.

    Above, typical items under control and treatment: stretched apart or drawn together. Below, beta_3 by the closed form and
    its mean estimates by M_B and M_C over the simulated trials of the largest size. The truth is 0.

    The sliders work together without a script: that of sigma_zeta sets which traces are visible, that of rho which
    are opaque, and only the traces of the chosen pair are both. Without item effects rho is undefined, and its slider
    does not change those traces.
    """
    from plotly.subplots import make_subplots

    n, j = LARGEST
    rows = summary[(summary["beta_3"] == 0) & (summary["n_persons"] == n) & (summary["n_items"] == j)]
    figure = make_subplots(rows=2, row_heights=[0.5, 0.5], vertical_spacing=0.2)
    spreads, first = (0.0, *SIGMA_ZETA), (SIGMA_ZETA[-1], RHO[-1])
    pairs: list[tuple[float, float]] = []
    for cell in rows.itertuples():
        s, r = cell.sigma_zeta, cell.rho
        shown = {"visible": s == first[0], "opacity": float(s == 0 or r == first[1])}
        for row, trace in ((1, _item_lines(s, r)), (1, _stretch_words(s, r)), (2, _estimates(cell))):
            figure.add_scatter(**trace, **shown, showlegend=False, hoverinfo="skip", row=row, col=1)
            pairs.append((s, r))
    moved = [k for k, (s, _) in enumerate(pairs) if s > 0]
    visible = [[{"visible": [s == value for s, _ in pairs]}] for value in spreads]
    opaque = [[{"opacity": [float(pairs[k][1] == value) for k in moved]}, moved] for value in RHO]
    figure.update_layout(layout(760), showlegend=False)
    figure.update_layout(
        sliders=[
            _slider("σ<sub>ζ</sub> = ", [f"{v:g}" for v in spreads], visible, spreads.index(first[0]), 0),
            _slider("ρ = ", [_signed(v, 1) for v in RHO], opaque, RHO.index(first[1]), 90),
        ],
        margin={"l": 90, "b": 230},
    )
    figure.update_xaxes(title={"text": "Easiness (logits)"}, range=[-3.4, 3.4], row=1, col=1)
    figure.update_yaxes(tickvals=[0, 1], ticktext=["treated", "control"], range=[-0.7, 1.25], row=1, col=1)
    figure.update_xaxes(title={"text": "β₃ (logits), truth 0"}, range=[-0.2, 0.2], row=2, col=1)
    figure.update_yaxes(
        tickvals=[0, 1, 2], ticktext=["M<sub>C</sub>", "M<sub>B</sub>", "closed form"], range=[-0.5, 2.7], row=2, col=1
    )
    figure.update_yaxes(showgrid=False, zeroline=False)
    return figure


def typical_effects(sigma_zeta: float, rho: float) -> tuple[np.ndarray, np.ndarray]:
    """Easiness and effects of ``SHOWN_ITEMS`` items at normal quantiles, with SDs of exactly 1 and ``sigma_zeta`` and
    correlation ``rho`` (logits)."""
    from scipy.special import ndtri

    b = ndtri((np.arange(SHOWN_ITEMS) + 0.5) / SHOWN_ITEMS)
    b /= b.std()
    other = np.roll(b, SHOWN_ITEMS // 3)
    other -= b * (b @ other) / (b @ b)
    other /= other.std()
    return b, sigma_zeta * (rho * b + np.sqrt(1.0 - rho**2) * other)


def _item_lines(sigma_zeta: float, rho: float) -> dict[str, Any]:
    b, zeta = typical_effects(sigma_zeta, rho)
    return {
        "x": compact(np.column_stack([b, b + zeta, np.full_like(b, np.nan)]).ravel()[:-1]),
        "y": ([1, 0, None] * len(b))[:-1],
        "mode": "lines+markers",
        "line": {"color": GREY, "width": 1},
        "marker": {"color": RED, "size": 8},
    }


def _stretch_words(sigma_zeta: float, rho: float) -> dict[str, Any]:
    spread = float(treated_spread(1.0, sigma_zeta, rho))
    change = float(attenuation(spread) / attenuation(1.0)) - 1.0
    words = f"SD 1.00 → {spread:.2f}<br>slope of the score: {_signed(100 * change, 0)}%"
    return {"x": [0.0], "y": [-0.4], "mode": "text", "text": [words]}


def _estimates(cell) -> dict[str, Any]:
    values = [cell.bias_c, cell.bias_b, cell.closed_form]
    bars = [1.96 * cell.bias_c_se, 1.96 * cell.bias_b_se, 0.0]
    return {
        "x": compact(values),
        "y": [0, 1, 2],
        "error_x": {"type": "data", "array": compact(bars), "thickness": 2, "color": GREY},
        "mode": "markers+text",
        "marker": {"color": [BLUE, RED, GREY], "symbol": ["diamond", "circle", "square"], "size": 11},
        "text": [_signed(value, 3) for value in values],
        "textposition": "top center",
    }


def _slider(prefix: str, labels: list[str], arguments: list[list], active: int, below: int) -> dict:
    return {
        "active": active,
        "currentvalue": {"prefix": prefix, "xanchor": "left"},
        "pad": {"t": 60 + below, "b": 10},
        "steps": [
            {"label": label, "method": "restyle", "args": args} for label, args in zip(labels, arguments, strict=True)
        ],
        "bgcolor": "rgba(128,128,128,0.4)",
        "tickcolor": GREY,
        "bordercolor": GREY,
    }


def _signed(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−") if float(text) != 0 else text[1:]
