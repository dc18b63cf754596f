"""One theme for every figure: the palette, a clear ground, grids, and the texts of strangers.

Colours have a contrast of 3:1 on white and on a dark page, and a symbol or a label says the same as a colour.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable
from typing import Any

BLUE, RED, VIOLET, GREY = "#3182bd", "#d6604d", "#8f3fd9", "#808080"
"""Of lines and points: treated or ours, the other one, a third, and what is there for comparison. Whoever sees no red, green or blue
tells every two of them apart (``tests/test_figures_for_all.py``)."""
DEEP_BLUE, DEEP_RED, PALE = "#2166ac", "#d73027", "#d3d3d3"
"""Significant and not, and the two ends of a correlation, as the published figures have them; its middle."""
AXIS = "#aaa"
CLEAR = "rgba(0,0,0,0)"
GRID: dict[str, Any] = {"gridcolor": "rgba(128,128,128,0.25)"}
LEGEND: dict[str, Any] = {
    "orientation": "h",
    "x": 0,
    "xanchor": "left",
    "y": 0,
    "yanchor": "bottom",
    "yref": "container",
}
"""At the figure's lower edge, so that its distance from the axis does not grow with the height."""
_SYMBOL = re.compile(r"(?<![\w\\])([σβτM])\\?_([ζθbu0-3ABC])(?![A-Za-z0-9_\\])")
NAME_LENGTH = 80
"""Names longer than this are cut in texts of a figure."""


def layout(height: int, *, left: int = 60, top: int = 40, bottom: int = 60, **more: Any) -> dict[str, Any]:
    """A figure's layout: `height` and margins in pixels, a ground through which the page is seen."""
    return {
        "template": "none",
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "height": height,
        "margin": {"l": left, "r": 20, "t": top, "b": bottom},
        "hoverlabel": {"align": "left"},
        "legend": LEGEND,
        **more,
    }


def axis_title(text: str) -> dict[str, Any]:
    """An axis named close to its numbers."""
    return {"title": {"text": text, "standoff": 8}}


def effect_axis() -> dict[str, Any]:
    """An axis of effects, on which 0 is marked."""
    return {"zeroline": True, "zerolinecolor": AXIS, "zerolinewidth": 1, **GRID}


def compact(values: Iterable[Any], digits: int = 4) -> list[float | None]:
    """Four significant digits are finer than a pixel; undefined numbers are None, which JSON can write."""
    numbers = (math.nan if value is None else float(value) for value in values)
    return [float(f"{x:.{digits}g}") if math.isfinite(x) else None for x in numbers]


def escaped(name: object, length: int = NAME_LENGTH) -> str:
    """A stranger's name, cut and escaped for Plotly, which reads a small HTML in its texts (quotes are harmless there)."""
    text = str(name)
    return html.escape(text if len(text) <= length else text[: length - 1] + "…", quote=False)


def with_subscripts(text: str, begin: str = "<sub>", end: str = "</sub>") -> str:
    """The symbols of the models (σ_ζ, M_0) as they are printed, in HTML and Plotly's texts or between other marks."""
    return _SYMBOL.sub(rf"\1{begin}\2{end}", text)
