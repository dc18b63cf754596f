"""Text from strangers as a cell of a CSV file that somebody will open in a spreadsheet."""

from __future__ import annotations

STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""OWASP's list (CSV Injection), with the full-width forms that East Asian spreadsheets take for the same."""


def csv_safe(text: str) -> str:
    """A cell's text with an apostrophe before it if a spreadsheet would run it as a formula, else as it is.

    Space before the first character counts as nothing, as some spreadsheets drop it. Only for text: a negative number
    is no formula. Separators and quotation marks within a cell are for the CSV writer to quote.
    """
    return f"'{text}" if text.startswith(STARTS_A_FORMULA) or text.lstrip().startswith(STARTS_A_FORMULA) else text
