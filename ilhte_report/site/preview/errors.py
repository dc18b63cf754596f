"""A page that cannot be made."""

from __future__ import annotations

from ilhte_lib.errors import IlhteError


class PageError(IlhteError):
    """One sentence naming the page, the cell or line where there is one, and what is wrong."""
