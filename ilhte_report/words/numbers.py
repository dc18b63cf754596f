"""Numbers for reading: a true minus sign, a dash for what is undefined."""

from __future__ import annotations

import math

Row = dict[str, str]
"""A row of a table for reading: what stands in each column."""
DASH = "–"
FINEST = 4
"""Most digits of an interval's end."""


def number(value: float | None, digits: int) -> str:
    """A number for reading, with a true minus sign; an undefined one is a dash."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return DASH
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) != 0 else text.lstrip("-")


def p_text(p: float) -> str:
    """A p-value to three digits, never 0."""
    return DASH if not math.isfinite(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def between(low: float, high: float, digits: int = 2) -> str:
    """An interval for reading; a dash where neither end is defined.

    An end that is close to 0 has the digits that show its side of it (up to ``FINEST``), so that an interval that excludes 0
    does not read as if it held it.
    """
    if not (math.isfinite(low) or math.isfinite(high)):
        return DASH
    return " to ".join(ends(low, high, digits))


def ends(low: float, high: float, digits: int = 2) -> tuple[str, str]:
    """The two ends of ``between``."""
    return _end(low, digits), _end(high, digits)


def _end(value: float, digits: int) -> str:
    finer = (d for d in range(digits, FINEST + 1) if math.isfinite(value) and round(value, d) != 0)
    return number(value, next(finer, digits))
