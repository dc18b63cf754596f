"""Power of a planned trial by numbers of persons and items, in closed form and as simulated."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..inference.planning import Power, closed_average
from .theme import BLUE, GREY, GRID, RED, VIOLET, axis_title, compact, layout

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from ..model.simulate import Design


def item_numbers(n_items: int) -> list[int]:
    """Half as many items, as many, and twice as many."""
    return sorted({max(3, n_items // 2), n_items, 2 * n_items})


def _of_size(design: Design, n_persons: int, n_items: int) -> Design:
    """The same design with other numbers of persons and items; clusters keep their size."""
    clusters = None if design.clusters is None else max(4, round(design.clusters * n_persons / design.n_persons))
    return replace(design, n_persons=max(n_persons, 2 * (clusters or 0)), n_items=n_items, clusters=clusters)


def planning_figure(found: Power) -> go.Figure:
    """Power of the test of the average effect by number of persons, for three numbers of items, with the simulated point."""
    import plotly.graph_objects as go

    design, figure = found.design, go.Figure()
    persons = np.unique(np.geomspace(max(40, design.n_persons / 5), 5 * design.n_persons, 40).round().astype(int))
    for n_items, colour, dash in zip(
        item_numbers(design.n_items), (GREY, BLUE, VIOLET), ("dot", "solid", "dash"), strict=False
    ):
        powers = [closed_average(_of_size(design, int(n), n_items))[1] for n in persons]
        figure.add_scatter(
            x=[int(n) for n in persons], y=compact(powers), mode="lines", name=f"{n_items} items", line={"color": colour, "dash": dash, "width": 2},
            hovertemplate=f"{n_items} items, %{{x}} persons: %{{y:.2f}}<extra></extra>",
        )  # fmt: skip
    point = found.test("average")
    figure.add_scatter(
        x=[design.n_persons], y=compact([point.power]), mode="markers", name="simulated", marker={"color": RED, "size": 10, "symbol": "diamond"},
        error_y={"type": "data", "array": compact([point.power_high - point.power]), "arrayminus": compact([point.power - point.power_low])},
        hovertemplate="simulated: %{y:.2f}<extra></extra>",
    )  # fmt: skip
    round_numbers = [n for n in np.outer(10 ** np.arange(1, 8), [1, 2, 5]).ravel() if persons[0] <= n <= persons[-1]]
    figure.update_xaxes(**GRID, **axis_title("Persons"), type="log", tickvals=[int(n) for n in round_numbers])
    figure.update_yaxes(**GRID, **axis_title("Power, average effect"), range=[0, 1.02])
    figure.update_layout(layout(400, bottom=100))
    return figure
