"""The effects of a table's items as a small inline drawing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from ..words.numbers import number

WIDTH, HEIGHT, MARGIN = 160, 22, 7


def sparkline(totals: Sequence[float], average: float, limits: tuple[float, float], *, significant: bool) -> str:
    """An SVG with a tick per item, a line at zero and the average as in Figure 1 (a circle if `significant`, else a diamond).

    It is empty for a table without an average in SDs.

    Parameters
    ----------
    totals, average : effects of the items and of the table, SDs.
    limits : the ends of the scale, shared by drawings that are to be compared; they include zero and `average`, and
        effects beyond them are drawn at the ends.
    """
    low, high = limits
    scale = (WIDTH - 2 * MARGIN) / ((high - low) or 1.0)
    effects = np.asarray(totals, dtype=float)
    effects = effects[np.isfinite(effects)]

    def at(value: float) -> str:
        return f"{MARGIN + (min(max(value, low), high) - low) * scale:.4g}"

    if not math.isfinite(average):
        return ""
    ticks = "".join(f"M{at(value)} 4v14" for value in effects)
    x, kind = at(average), "significant" if significant else "not-significant"
    mark = f'<circle cx="{x}" cy="11" r="4.5"/>' if significant else f'<path d="M{x} 5.5l5.5 5.5-5.5 5.5-5.5-5.5z"/>'
    words = (
        f"{len(effects)} items from {number(effects.min(), 2)} to {number(effects.max(), 2)} SDs around "
        f"{number(average, 2)}"
        if len(effects)
        else f"average {number(average, 2)} SDs"
    )
    return (
        f'<svg class="sparkline {kind}" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{escape(words)}"><path class="zero" d="M{at(0.0)} 0v{HEIGHT}"/>'
        f'<path class="items" d="{ticks}"/>{mark}</svg>'
    )
