"""One theme for all figures: palette, transparent background, grids, and escaping of names.

Colours have a contrast of 3:1 on white and on a dark page, and everything shown by colour is also shown by a symbol or label.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable
from typing import Any

BLUE, RED, VIOLET, GREY = "#3182bd", "#d6604d", "#8f3fd9", "#808080"
"""Lines and points: treated or ours, the other one, a third, and references for comparison. Any two can be distinguished with any
kind of colour blindness (``tests/test_figures_for_all.py``)."""
DEEP_BLUE, DEEP_RED, PALE = "#2166ac", "#d73027", "#d3d3d3"
"""Significant and not significant, and the two ends of a correlation, as in the published figures; its middle."""
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
"""Legend at the figure's lower edge, so that its distance from the axis does not grow with the height."""
_SYMBOL = re.compile(r"(?<![\w\\])([σβτM])\\?_([ζθbu0-3ABC])(?![A-Za-z0-9_\\])")
NAME_LENGTH = 80
"""Longer names are shortened in the texts of a figure."""


def layout(height: int, *, left: int = 60, top: int = 40, bottom: int = 60, **more: Any) -> dict[str, Any]:
    """A figure's layout, with ``height`` and margins in pixels and a transparent background."""
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
    """An axis title close to the tick labels."""
    return {"title": {"text": text, "standoff": 8}}


def effect_axis() -> dict[str, Any]:
    """An axis of effects with 0 marked."""
    return {"zeroline": True, "zerolinecolor": AXIS, "zerolinewidth": 1, **GRID}


def compact(values: Iterable[Any], digits: int = 4) -> list[float | None]:
    """Numbers to four significant digits, which is finer than a pixel; undefined ones are None, for JSON."""
    numbers = (math.nan if value is None else float(value) for value in values)
    return [float(f"{x:.{digits}g}") if math.isfinite(x) else None for x in numbers]


def escaped(name: object, length: int = NAME_LENGTH) -> str:
    """A name of any content, shortened and escaped for Plotly, which interprets some HTML in its texts (quotes are harmless)."""
    text = str(name)
    return html.escape(text if len(text) <= length else text[: length - 1] + "…", quote=False)


def with_subscripts(text: str, begin: str = "<sub>", end: str = "</sub>") -> str:
    """The text with the models' symbols (σ_ζ, M_0) typeset with subscripts, for HTML, Plotly or other marks."""
    return _SYMBOL.sub(rf"\1{begin}\2{end}", text)
