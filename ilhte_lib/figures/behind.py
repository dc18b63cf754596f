"""The data table behind a figure: every point drawn, under the titles of the axes."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_TAG = re.compile(r"<[^>]*>")


def figure_rows(figure: Figure) -> list[dict[str, Any]]:
    """One row per point: its series and, under the axes' titles, its coordinates and the ends of its error bar, if any.

    On an axis with named ticks, coordinates are given by name. Points without coordinates, the gaps in lines, are left out.
    """
    return [row for trace in figure.data for row in _points(figure, trace)]


def _points(figure: Figure, trace: Any) -> Iterator[dict[str, Any]]:
    if trace.x is None or trace.y is None:
        return
    axes = {letter: _axis(figure, trace, letter) for letter in "xy"}
    titles = {letter: _title(figure, trace, letter) for letter in "xy"}
    series = plain_text(trace.name or "")
    bars = trace.error_x
    widths = {"high": bars.array, "low": bars.arrayminus if bars.arrayminus is not None else bars.array}
    for k, (x, y) in enumerate(zip(trace.x, trace.y, strict=True)):
        if not (_known(x) and _known(y)):
            continue
        row = {"series": series, titles["x"]: _named(axes["x"], x), titles["y"]: _named(axes["y"], y)}
        for end, sign in (("low", -1), ("high", 1)):
            if widths[end] is not None and _known(widths[end][k]):
                row[end] = float(f"{x + sign * widths[end][k]:.4g}")
        yield row


def plain_text(text: str) -> str:
    """A Plotly text without its markup; line breaks and subscripts become plain text."""
    return html.unescape(_TAG.sub("", text.replace("<br>", " ").replace("<sub>", "_"))).strip()


def _axis(figure: Figure, trace: Any, letter: str) -> Any:
    return figure.layout[f"{letter}axis{(trace[f'{letter}axis'] or letter)[1:]}"]


def _title(figure: Figure, trace: Any, letter: str) -> str:
    """The axis's title, or that of a matching axis (panels share one title at the lower or left edge)."""
    axis = _axis(figure, trace, letter)
    if not axis.title.text and axis.matches:
        axis = figure.layout[f"{letter}axis{axis.matches[1:]}"]
    if not axis.title.text and not axis.ticktext:
        others = (
            [other for other in figure.select_xaxes() if other.matches and other.title.text] if letter == "x" else []
        )
        axis = others[0] if others else axis
    return plain_text(axis.title.text or "") or ("name" if axis.ticktext else letter)


def _named(axis: Any, value: Any) -> Any:
    if axis.ticktext is None or axis.tickvals is None:
        return value
    places = dict(zip(axis.tickvals, axis.ticktext, strict=True))
    return plain_text(str(places[value])) if value in places else value


def _known(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))
