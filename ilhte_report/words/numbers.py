"""Numbers for reading: a true minus sign, a dash for what is undefined."""

from __future__ import annotations

import math

DASH = "–"


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
    """An interval for reading; a dash where neither end is defined."""
    if not (math.isfinite(low) or math.isfinite(high)):
        return DASH
    return f"{number(low, digits)} to {number(high, digits)}"
