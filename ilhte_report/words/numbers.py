"""Numbers as text: a true minus sign, a dash for undefined numbers."""

from __future__ import annotations

import math

Row = dict[str, str]
"""A row of a table: column -> text."""
DASH = "–"
FINEST = 4
"""Most decimals of an interval's end."""


def number(value: float | None, digits: int) -> str:
    """A number as text, with a true minus sign; a dash if it is undefined."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return DASH
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) != 0 else text.lstrip("-")


def p_text(p: float) -> str:
    """A p-value to three digits, never 0."""
    return DASH if not math.isfinite(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def between(low: float, high: float, digits: int = 2) -> str:
    """An interval as text; a dash if neither end is defined.

    An end close to 0 has as many decimals as it takes to show its sign (up to ``FINEST``), so that an interval that excludes 0
    does not read as if it included it.
    """
    if not (math.isfinite(low) or math.isfinite(high)):
        return DASH
    return " to ".join(ends(low, high, digits))


def percent_text(share: float, low: float, high: float) -> str:
    """A share in percent with its interval in parentheses."""
    return f"{number(100 * share, 1)} ({between(100 * low, 100 * high, 1)})"


def ends(low: float, high: float, digits: int = 2) -> tuple[str, str]:
    """The two ends of ``between``."""
    return _end(low, digits), _end(high, digits)


def _end(value: float, digits: int) -> str:
    finer = (d for d in range(digits, FINEST + 1) if math.isfinite(value) and round(value, d) != 0)
    return number(value, next(finer, digits))
