"""Item effects over tables (Figure 1), the identification problem (Figure 2), and the items of one table.

Each function takes summary and item rows (the columns of a run's ``summary.parquet`` and ``items.parquet``) and returns a Plotly
figure with a transparent background. Names are escaped, because Plotly interprets some HTML in its texts. In the two figures over
tables ``customdata`` holds the unescaped name of each point's table, for links and highlighting.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..inference.units import Unit
from .theme import AXIS, DEEP_BLUE, DEEP_RED, GREY, GRID, PALE, axis_title, compact, effect_axis, escaped, layout

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import plotly.graph_objects as go

_MOST_NAMED = 40
"""Figure 1 has room for the names of at most this many rows."""
_FAR = 4.0
"""An item effect more than this many interquartile ranges outside the quartiles is drawn at the edge of the axis."""
_GROUPS = (
    (True, "Significant IL-HTE (p < .05)", DEEP_BLUE, "circle"),
    (False, "Not significant", DEEP_RED, "diamond"),
)


def item_effects_figure(summary: pd.DataFrame, items: pd.DataFrame) -> go.Figure:
    """Figure 1: one row per table, ordered by average effect, with its item effects around the average.

    Parameters
    ----------
    summary : one row per table with tab, ate_std, sigma_zeta_std, rho, n_items, n_persons, sig_il_hte. Tables without ate_std
        (whose persons do not differ) are not drawn.
    items : one row per item with tab, total_std; items of tables that are not in ``summary`` are not drawn.

    Returns
    -------
    Four traces: the small points (no hover) of significant and other tables, then the large points of the same two. Rows are named
    if there is room. Extreme effects do not compress the axis: they are arrows at its edge.
    """
    import numpy as np
    import plotly.graph_objects as go

    summary = summary[np.isfinite(_numbers(summary["ate_std"]))]
    ordered = summary.sort_values(["ate_std", "tab"], kind="stable")
    position = {tab: k for k, tab in enumerate(ordered["tab"], start=1)}
    significant = ordered["sig_il_hte"].to_numpy(dtype=bool, na_value=False)
    figure = go.Figure()
    low, high = _axis(items.loc[items["tab"].isin(position), "total_std"], ordered["ate_std"])
    for flag, label, colour, _ in _GROUPS:
        drawn = items[items["tab"].isin(ordered["tab"][significant == flag])]
        totals = _numbers(drawn["total_std"])
        marker: dict[str, Any] = {"size": 4, "opacity": 0.4, "color": colour}
        if (beyond := (totals < low) | (totals > high)).any():
            marker["symbol"] = [
                "circle" if not out else "triangle-left" if x < low else "triangle-right"
                for out, x in zip(beyond, totals, strict=True)
            ]
            marker["size"] = [9 if out else 4 for out in beyond]
        figure.add_scatter(
            x=compact(np.clip(totals, low, high)),
            y=[position[tab] for tab in drawn["tab"]],
            mode="markers",
            marker=marker,
            name=f"items: {label}",
            legendgroup=label,
            showlegend=False,
            hoverinfo="skip",
            customdata=list(drawn["tab"]),
        )
    for flag, label, colour, symbol in _GROUPS:
        rows = ordered[significant == flag]
        figure.add_scatter(
            x=compact(rows["ate_std"]),
            y=[position[tab] for tab in rows["tab"]],
            mode="markers",
            marker={"size": 10, "color": colour, "symbol": symbol, "line": {"width": 1, "color": "white"}},
            text=[
                f"{_bold(row.tab)}<br>ATE: {_rounded(row.ate_std, 3)} SD<br>"
                f"σ<sub>ζ</sub>: {_rounded(row.sigma_zeta_std, 3)} SD<br>ρ: {_rounded(row.rho, 2)}<br>Items: {row.n_items:.0f}<br>N: {row.n_persons:.0f}<br>"
                f"Sig. IL-HTE: {str(flag).upper()}"
                for row in rows.itertuples()
            ],
            name=label,
            legendgroup=label,
            hoverinfo="text",
            customdata=list(rows["tab"]),
        )
    named = len(ordered) <= _MOST_NAMED
    names = {
        "tickvals": list(position.values()),
        "ticktext": [escaped(tab, 24) for tab in position],
        "automargin": True,
        "gridcolor": "rgba(128,128,128,0.1)",
    }
    height = max(400, (20 if named else 14) * len(ordered) + (100 if named else 0))
    figure.update_layout(
        layout(height, left=20, bottom=80),
        xaxis={**effect_axis(), **axis_title("Item-specific treatment effect (SDs)")},
        yaxis={
            **(names if named else {"showticklabels": False, "showgrid": False}),
            "zeroline": False,
            "range": [0, len(ordered) + 1],
        },
    )
    return figure


def _axis(totals: pd.Series, averages: pd.Series) -> tuple[float, float]:
    """Range of the axis: all effects, unless some are more than ``_FAR`` interquartile ranges outside the quartiles."""
    import numpy as np

    values = _numbers(totals)
    values = values[np.isfinite(values)]
    if not len(values):
        return -math.inf, math.inf
    first, third = np.quantile(values, [0.25, 0.75])
    far = _FAR * (third - first)
    low, high = min(first - far, averages.min()), max(third + far, averages.max())
    return (low if low > values.min() else -math.inf), (high if high < values.max() else math.inf)


def interaction_figure(summary: pd.DataFrame) -> go.Figure:
    """Figure 2: change of beta_3 when items may have their own effects, against the ratio of the SDs of easiness.

    Parameters
    ----------
    summary : one row per table with tab, sd_ratio, delta_beta3, rho, n_items, n_persons.

    Returns
    -------
    The first trace holds the tables with a defined rho, coloured by it, with squares where it is negative; a second, grey one
    those without. ``figure.layout.meta`` counts the tables ``drawn`` and those left out: ``without_interaction`` (no delta_beta3,
    usually for lack of a pretest) and ``without_ratio`` (delta_beta3 but no sd_ratio).
    """
    import numpy as np
    import plotly.graph_objects as go

    delta, ratio, rho = (_numbers(summary[column]) for column in ("delta_beta3", "sd_ratio", "rho"))
    has_delta, drawn = np.isfinite(delta), np.isfinite(delta) & np.isfinite(ratio)
    figure = go.Figure()

    def add(which: np.ndarray, name: str, marker: dict[str, Any]) -> None:
        rows = summary[which]
        figure.add_scatter(
            x=compact(rows["sd_ratio"]),
            y=compact(rows["delta_beta3"]),
            mode="markers",
            marker={
                "size": compact(2 * np.sqrt(_numbers(rows["n_items"]))),
                # the middle of the scale is nearly white, so that only the outline is visible there
                "line": {"width": 1, "color": GREY},
                **marker,
            },
            text=[
                f"{_bold(row.tab)}<br>Δβ₃: {_rounded(row.delta_beta3, 3)}<br>SD ratio: {_rounded(row.sd_ratio, 3)}<br>"
                f"ρ: {_rounded(row.rho, 2)}<br>Items: {row.n_items:.0f}<br>N: {row.n_persons:.0f}"
                for row in rows.itertuples()
            ],
            name=name,
            hoverinfo="text",
            customdata=list(rows["tab"]),
        )

    defined = drawn & np.isfinite(rho)
    scale = {"colorscale": [[0, DEEP_BLUE], [0.5, PALE], [1, DEEP_RED]], "cmin": -1, "cmax": 1}
    signs = ["square" if value < 0 else "circle" for value in rho[defined]]
    colours = {"color": compact(rho[defined]), "symbol": signs, "colorbar": {"title": {"text": "ρ"}}}
    add(defined, "ρ defined", {**scale, **colours})
    if (drawn & ~defined).any():
        add(drawn & ~defined, "ρ not defined (grey)", {"color": GREY, "symbol": "diamond"})
        figure.update_traces(showlegend=False, selector={"name": "ρ defined"})
        figure.update_layout(showlegend=True)
    figure.update_layout(
        layout(450, left=20, bottom=80),
        meta={
            "drawn": int(drawn.sum()),
            "without_interaction": int((~has_delta).sum()),
            "without_ratio": int((has_delta & ~drawn).sum()),
        },
        xaxis={
            **axis_title("σ<sub>b</sub>(treated) / σ<sub>b</sub>(control)"),
            "zeroline": False,
            "showline": True,
            "linecolor": AXIS,
            **GRID,
        },
        yaxis={**effect_axis(), **axis_title("β₃(M<sub>B</sub>) − β₃(M<sub>C</sub>)"), "automargin": True},
    )
    if drawn.any():
        figure.add_shape(
            type="line", x0=1, x1=1, y0=delta[drawn].min(), y1=delta[drawn].max(), line={"dash": "dash", "color": AXIS}
        )
    else:
        figure.add_annotation(
            text="No table has both interaction estimates", showarrow=False, xref="paper", yref="paper"
        )
    return figure


def table_figure(
    items: pd.DataFrame, summary_row: pd.Series, unit: Unit = Unit.SD, *, axis: str | None = None
) -> go.Figure:
    """One table: its item effects in order with 95% bars, and below them effect against easiness.

    The dashed line is the table's average effect.

    Parameters
    ----------
    items : rows of one table with item, b_std, total_std, total_se (SDs), n_ctrl, n_treat, p_ctrl, p_treat. A bar is
        total_std +- 1.96 total_se; an item whose total_se is null has none.
    summary_row : the table's summary row with ate_std, sig_il_hte and rho.
    unit : unit of effects. In logits, for a table whose persons do not differ, b, total and ate replace b_std, total_std and
        ate_std (``effects.LOGIT_ITEM_COLUMNS``).
    axis : title of the axis of effects.
    """
    import pandas as pd
    from plotly.subplots import make_subplots

    standard = unit is Unit.SD
    easiness, effect, average = ("b_std", "total_std", "ate_std") if standard else ("b", "total", "ate")
    items = items.assign(easiness=items[easiness], effect=items[effect])
    ordered = items.sort_values(["effect", "item"], kind="stable")
    rank = list(range(1, len(ordered) + 1))
    half_width = 1.96 * _numbers(ordered["total_se"])
    _, _, colour, symbol = _GROUPS[0 if summary_row["sig_il_hte"] else 1]
    text = [
        f"{_bold(row.item)}<br>Effect: {_rounded(row.effect, 3)} {unit} ({_interval(row.effect, half)})<br>"
        f"Easiness: {_rounded(row.easiness, 3)} {unit}<br>Control: {_rounded(row.p_ctrl, 3)} of {row.n_ctrl:.0f}<br>"
        f"Treated: {_rounded(row.p_treat, 3)} of {row.n_treat:.0f}"
        for row, half in zip(ordered.itertuples(), half_width, strict=True)
    ]
    marks, below = max(200, 18 * len(ordered)), 260
    figure = make_subplots(rows=2, shared_xaxes=True, row_heights=[marks, below], vertical_spacing=50 / (marks + below))
    shared = {"x": compact(ordered["effect"]), "mode": "markers", "text": text, "hoverinfo": "text"}
    marker = {"size": 8, "color": colour, "symbol": symbol, "line": {"width": 1, "color": "white"}}
    bars = {"type": "data", "array": compact(half_width), "color": colour, "thickness": 1, "width": 0}
    figure.add_scatter(y=rank, error_x=bars, marker=marker, name="items in order", **shared, row=1, col=1)
    figure.add_scatter(y=compact(ordered["easiness"]), marker=marker, name="easiness", **shared, row=2, col=1)
    if pd.notna(summary_row[average]):
        figure.add_vline(x=float(summary_row[average]), line={"dash": "dash", "color": colour, "width": 1})
    figure.add_annotation(
        text=f"ρ = {_rounded(summary_row['rho'], 2)}" if pd.notna(summary_row["rho"]) else "ρ is not defined",
        x=1, y=1, xref="x2 domain", yref="y2 domain", xanchor="right", yanchor="top", showarrow=False,
    )  # fmt: skip
    labels = [escaped(item, 24) for item in ordered["item"]]
    figure.update_layout(layout(marks + below + 160, left=20, bottom=80), showlegend=False)
    figure.update_xaxes(effect_axis())
    figure.update_xaxes(axis_title(f"{axis or 'Item-specific treatment effect'} ({unit.plural})"), row=2, col=1)
    figure.update_yaxes(tickvals=rank, ticktext=labels, showgrid=False, zeroline=False, automargin=True, row=1, col=1)
    figure.update_yaxes(range=[0, len(ordered) + 1], row=1, col=1)
    figure.update_yaxes(axis_title(f"Easiness ({unit.plural})"), zeroline=False, automargin=True, **GRID, row=2, col=1)
    return figure


def _numbers(values: pd.Series) -> np.ndarray:
    import numpy as np

    return values.to_numpy(dtype=float, na_value=np.nan)


def _rounded(value: float | None, digits: int) -> str:
    """A rounded number without trailing zeros, or "not defined"."""
    if value is None or not math.isfinite(value):
        return "not defined"
    text = f"{value:.{digits}f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text.replace("-", "−")


def _interval(centre: float, half_width: float) -> str:
    if not math.isfinite(half_width):
        return "interval not defined"
    return f"{_rounded(centre - half_width, 3)} to {_rounded(centre + half_width, 3)}"


def _bold(name: object) -> str:
    return f"<b>{escaped(name)}</b>"
