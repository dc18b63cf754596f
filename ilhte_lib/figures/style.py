"""Colours, axes and texts that the figures share."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SIGNIFICANT, NOT_SIGNIFICANT = "#2166ac", "#d73027"
MIDDLE, UNDEFINED, LINE = "#d3d3d3", "#7f7f7f", "#aaa"
NAME_LENGTH = 80
"""Names longer than this are cut in texts of a figure."""


def layout() -> dict[str, Any]:
    """A figure's layout: transparent, the legend below."""
    clear = "rgba(0,0,0,0)"
    return {
        "template": "none",
        "paper_bgcolor": clear,
        "plot_bgcolor": clear,
        # room above for the buttons of the figure, which would lie on the data
        "margin": {"l": 20, "r": 20, "t": 40, "b": 80},
        "hoverlabel": {"align": "left"},
        # At the figure's lower edge, so that its distance from the axis does not grow with the height.
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 0, "yanchor": "bottom", "yref": "container"},
    }


def title(text: str) -> dict[str, Any]:
    """An axis with a title."""
    return {"title": {"text": text, "standoff": 8}}


def grid() -> dict[str, Any]:
    """Faint lines that show on a light and on a dark page."""
    return {"gridcolor": "rgba(128,128,128,0.2)"}


def effect_axis() -> dict[str, Any]:
    """An axis of effects: zero is marked."""
    return {"zeroline": True, "zerolinecolor": LINE, "zerolinewidth": 1, **grid()}


def numbers(values: pd.Series) -> np.ndarray:
    """A column as an array, NaN where undefined."""
    import numpy as np

    return values.to_numpy(dtype=float, na_value=np.nan)


def compact(values: pd.Series | Iterable[float]) -> list[float | None]:
    """Four significant digits are finer than a pixel; undefined numbers are None, which JSON can write."""
    numbers = (float("nan") if value is None else float(value) for value in values)
    return [float(f"{x:.4g}") if math.isfinite(x) else None for x in numbers]


def rounded(value: float | None, digits: int) -> str:
    """A rounded number without trailing zeros, or "not defined"."""
    if value is None or not math.isfinite(value):
        return "not defined"
    text = f"{value:.{digits}f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def interval(centre: float, half_width: float) -> str:
    """The ends of a symmetric interval."""
    if not math.isfinite(half_width):
        return "interval not defined"
    return f"{rounded(centre - half_width, 3)} to {rounded(centre + half_width, 3)}"


def escaped(name: object, length: int = NAME_LENGTH) -> str:
    """A name for a figure's texts, cut where it is long."""
    text = str(name)
    # Plotly decodes &lt; &gt; &amp; but not quotes, which are harmless in its texts.
    return html.escape(text if len(text) <= length else text[: length - 1] + "…", quote=False)


def bold(name: object) -> str:
    """A name in bold."""
    return f"<b>{escaped(name)}</b>"
