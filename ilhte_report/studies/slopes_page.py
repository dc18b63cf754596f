"""The results of the study of discriminations, for the methods page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..words.markdown import page_table
from ..words.numbers import between, number
from .computed import read_computed
from .slopes import summary

if TYPE_CHECKING:
    from IPython.display import Markdown

_NAMED = {"equal": "All equal", "free": "Free"}


def slopes_table() -> Markdown:
    """How often each test mistakes discriminations for item effects."""
    found = summary(read_computed("slopes")[0])
    return page_table(
        [
            {
                "Discriminations": _NAMED[str(name)],
                "Test rejects": number(float(row["rejects"]), 2),
                "95% Monte Carlo interval": between(float(row["lower"]), float(row["upper"])),
                "Median σ_ζ (logits)": number(float(row["sigma_zeta"]), 2),
            }
            for name, row in found.iterrows()
        ],
        left=("Discriminations",),
    )
