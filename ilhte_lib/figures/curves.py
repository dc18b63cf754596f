"""Item and test characteristic curves by arm: the probability of a 1 as a function of theta."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..model.fit_result import Fit
from .theme import BLUE, GREY, GRID, compact, escaped, layout

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from ..inference.units import Scale

CONTROL, TREATED = GREY, BLUE
THETA = np.linspace(-3.0, 3.0, 21)
"""Values of theta at which curves are computed, in the table's unit; Plotly joins them by a spline."""
NAME_LENGTH = 24


def characteristic_curves(fit: Fit, scale: Scale, theta: np.ndarray = THETA) -> np.ndarray:
    """(2, J, m) probability of a 1 under control and under treatment.

    For items with more categories it is the expected score divided by the highest.
    ``logit P = beta_0 + beta_1 T + scale.by theta + b_i + zeta_i T`` at the empirical-Bayes b_i and zeta_i of M_A (or of M_C at
    the mean of the covariate).

    Parameters
    ----------
    fit : a fit of M_A or M_C.
    scale : the table's unit.
    theta : (m,) values of theta in that unit.
    """
    control = fit.coefficient("intercept") + fit.ranef[:, 0]
    treated = control + fit.coefficient("treat") + fit.ranef[:, 1]
    eta = np.array([control, treated])[:, :, None] + scale.by * theta
    if fit.formats is None:
        return 1.0 / (1.0 + np.exp(-eta))
    mean = fit.formats.expected(eta.transpose(0, 2, 1), fit.steps)[0] / fit.formats.highest
    return mean.transpose(0, 2, 1)


def item_curves_figure(fit: Fit, scale: Scale) -> go.Figure:
    """Top panel: expected share of items answered with 1, by arm; bottom panel: one line per item and arm.

    The items with the most positive and the most negative effect are drawn thick and labelled.

    Parameters
    ----------
    fit, scale : see ``characteristic_curves``.
    """
    from plotly.subplots import make_subplots

    curves = characteristic_curves(fit, scale)
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.09, subplot_titles=["The test", "Its items"]
    )
    arms = ((CONTROL, "dash", "control"), (TREATED, "solid", "treated"))
    for (colour, dash, name), of_arm in zip(arms, curves, strict=True):
        line = {"color": colour, "shape": "spline"}
        figure.add_scatter(
            x=compact(THETA), y=compact(of_arm.mean(axis=0)), mode="lines", line={**line, "dash": dash, "width": 2.5},
            name=name, legendgroup=name, hovertemplate=f"{name} %{{y:.2f}}<extra></extra>", row=1, col=1,
        )  # fmt: skip
        # one trace for all items, with gaps between their lines
        gaps = np.full((len(of_arm), 1), np.nan)
        figure.add_scatter(
            x=compact(np.tile([*THETA, np.nan], len(of_arm))), y=compact(np.hstack([of_arm, gaps]).ravel()), mode="lines",
            line={**line, "width": 1}, opacity=0.45, name=name, legendgroup=name, showlegend=False, hoverinfo="skip",
            row=2, col=1,
        )  # fmt: skip
        for item in sorted({int(fit.ranef[:, 1].argmax()), int(fit.ranef[:, 1].argmin())}):
            label = escaped(fit.item_names[item], NAME_LENGTH)
            figure.add_scatter(
                x=compact(THETA), y=compact(of_arm[item]), mode="lines", line={**line, "dash": dash, "width": 2.5},
                name=name, legendgroup=name, showlegend=False,
                hovertemplate=f"{label}, {name} %{{y:.2f}}<extra></extra>", row=2, col=1,
            )  # fmt: skip
    _annotate(figure, fit, curves[1])
    figure.update_xaxes(**GRID, zeroline=False, range=[-3, 3])
    figure.update_xaxes(title={"text": f"θ ({scale.unit.of_persons})"}, row=2, col=1)
    figure.update_yaxes(**GRID, zeroline=False, range=[0, 1])
    of_test, of_items = (
        ("Expected share of 1", "Probability of a 1") if fit.formats is None else ("Expected score", "Expected score")
    )
    share = "" if fit.formats is None else " (share of the highest)"
    figure.update_yaxes(title={"text": of_test + share}, row=1, col=1)
    figure.update_yaxes(title={"text": of_items + share}, row=2, col=1)
    figure.update_layout(layout(680, top=40, bottom=90))
    return figure


def _annotate(figure: go.Figure, fit: Fit, treated: np.ndarray) -> None:
    """Label the two items at their treated curves, one on the left and one on the right, so that the labels do not overlap."""
    effect = fit.ranef[:, 1]
    for item, height, side in ((int(effect.argmax()), 0.6, -1), (int(effect.argmin()), 0.4, 1)):
        at = int(np.abs(treated[item] - height).argmin())
        figure.add_annotation(
            x=float(THETA[at]), y=float(treated[item, at]), text=escaped(fit.item_names[item], NAME_LENGTH), row=2, col=1,
            ax=45 * side, ay=18 * side, arrowcolor=TREATED, arrowwidth=1, arrowhead=0,
        )  # fmt: skip
