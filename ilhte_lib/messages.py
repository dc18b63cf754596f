"""Words of messages: names out of a file, lists, counts."""

from __future__ import annotations

from collections.abc import Iterable


def quoted(name: str, most: int = 60) -> str:
    """A name out of a file, for a message: in quotes, control characters escaped, cut where it is long."""
    return repr(name if len(name) <= most else name[: most - 3] + "...")


def listed(names: Iterable[str], most: int) -> str:
    """The first names of a list, for a message."""
    names = list(names)
    return ", ".join(quoted(name) for name in names[:most]) + (", ..." if len(names) > most else "")


def counted(n: int, one: str, many: str) -> str:
    """How many, with the words that agree: ``counted(1, "row holds", "rows hold")`` is "1 row holds"."""
    return f"{n} {one if n == 1 else many}"


def wrong_count(where: str, found: int, line: int, expected: int) -> str:
    """The sentence on a row that does not fit its header."""
    if found > expected:
        remedy = "quote text that holds the separator"
    else:
        remedy = "give every column its separator, be it empty or not, and check that the file is complete"
    return f"{where} has {found} fields in line {line} but {expected} in its header: {remedy}."
