"""Parts of messages: quoted names, lists and counts."""

from __future__ import annotations

from collections.abc import Iterable


def quoted(name: str, most: int = 60) -> str:
    """A name from a file, for a message: in quotes, with control characters escaped, shortened if it is long."""
    return repr(name if len(name) <= most else name[: most - 3] + "...")


def listed(names: Iterable[str], most: int) -> str:
    """The first ``most`` names, quoted, for a message."""
    names = list(names)
    return ", ".join(quoted(name) for name in names[:most]) + (", ..." if len(names) > most else "")


def counted(n: int, one: str, many: str) -> str:
    """A count with its noun in the right number: ``counted(1, "row holds", "rows hold")`` is "1 row holds"."""
    return f"{n} {one if n == 1 else many}"


def wrong_count(where: str, found: int, line: int, expected: int) -> str:
    """Message about a row whose number of fields differs from its header's."""
    if found > expected:
        remedy = "quote text that holds the separator"
    else:
        remedy = "give every column its separator, be it empty or not, and check that the file is complete"
    return f"{where} has {found} fields in line {line} but {expected} in its header: {remedy}."
