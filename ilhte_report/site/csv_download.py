"""Untrusted text in CSV files that may be opened in a spreadsheet."""

from __future__ import annotations

STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""OWASP's list (CSV Injection), with the full-width forms that East Asian spreadsheets treat alike."""


def csv_safe(text: str) -> str:
    """The text of a cell, preceded by an apostrophe if a spreadsheet would run it as a formula.

    Leading spaces are ignored, as some spreadsheets drop them. Only for text: a negative number
    is not a formula. Separators and quotation marks within a cell are quoted by the CSV writer.
    """
    return f"'{text}" if text.startswith(STARTS_A_FORMULA) or text.lstrip().startswith(STARTS_A_FORMULA) else text
