"""The treatment-by-covariate interactions of one trial side by side, with their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .theme import BLUE, GREY, RED, compact, layout

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from ..inference.who_benefits import Estimate, WhoBenefits


def who_benefits_figure(result: WhoBenefits) -> go.Figure:
    """The interaction by M_B and M_C, and the bias predicted by the closed form, with 95% intervals."""
    import plotly.graph_objects as go

    rows: list[tuple[str, Estimate, str, str]] = [
        ("bias predicted", result.predicted, GREY, "square"),
        ("M<sub>C</sub>: items differ", result.flexible, BLUE, "diamond"),
        ("M<sub>B</sub>: items alike", result.constant, RED, "circle"),
    ]
    figure = go.Figure()
    for position, (name, estimate, colour, symbol) in enumerate(rows):
        figure.add_scatter(
            x=compact([estimate.value]),
            y=[position],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": compact([estimate.high - estimate.value]),
                "arrayminus": compact([estimate.value - estimate.low]),
                "thickness": 2,
            },
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 11},
            name=name,
            hovertemplate=f"{name}: %{{x:.3f}}<extra></extra>",
        )
    figure.update_layout(layout(260), showlegend=False)
    figure.update_xaxes(title={"text": "Interaction (logits per SD)"}, zeroline=True)
    figure.update_yaxes(
        tickvals=[0, 1, 2], ticktext=[row[0] for row in rows], range=[-0.6, 2.6], showgrid=False, zeroline=False
    )
    return figure
