"""Untrusted text on a terminal, where an escape sequence in a name could move the cursor or change colours."""

from __future__ import annotations

from rich.markup import escape


def printable(text: str, most: int = 60) -> str:
    """`text` for a rich console: control characters as backslash sequences, markup escaped, long text truncated."""
    return escape(visible(text if len(text) <= most else text[: most - 3] + "..."))


def visible(text: str) -> str:
    """`text` on one line with control characters as backslash sequences."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
