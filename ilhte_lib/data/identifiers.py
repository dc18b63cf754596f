"""Names of persons and items: one person must not hide under two spellings, nor two under one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..messages import listed, quoted

if TYPE_CHECKING:
    import pandas as pd

# Letter E without a sign is left alone: 1e2 and 100 are two names among hexadecimal ones. So are fractions: 1.1 and 1.10
# are two items of a numbered list.
_WHOLE_NUMBER = re.compile(r"([+-]?)0*(\d+)(?:\.0*)?(?:[eE]\+(\d{1,3}))?", re.ASCII)


def check_identifiers(column: pd.Series, name: str, tab: str) -> pd.Series:
    """A column of persons or items as it is, categories as their values.

    Raises
    ------
    InputError : it mixes text and numbers, holds something that is no name, or has one name in two spellings.
    """
    if hasattr(column.dtype, "categories"):
        column = column.astype(column.cat.categories.dtype)
    try:
        names = column.unique()
    except TypeError as error:
        raise InputError(
            f"Column {name} of table {quoted(tab)} holds lists or the like: give each {_WHO[name]} one number or text."
        ) from error
    texts = [value for value in names if isinstance(value, str)]
    others = [value for value in names if not isinstance(value, str)]
    if texts and others:
        raise InputError(
            f"Column {name} of table {quoted(tab)} mixes text and numbers (text such as {listed(texts, 3)}; numbers such "
            f"as {listed(map(str, others), 3)}): write every one in one type, so that no {_WHO[name]} is counted twice."
        )
    pairs = [f"{quoted(first)} and {quoted(second)}" for first, second in islice(_spelled_twice(texts), 4)]
    if pairs:
        raise InputError(
            f"Column {name} of table {quoted(tab)} holds both {'; '.join(pairs[:3])}{'; ...' if len(pairs) > 3 else ''}, "
            f"which may be one {_WHO[name]} spelled in two ways: write each in one way, or add a letter where they are two."
        )
    return column


_WHO = {"id": "person", "item": "item"}


def _spelled_twice(texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs of texts that differ only in surrounding space, in how Unicode composes a letter, or in how they write a whole number."""
    seen: dict[str, str] = {}
    for text in texts:
        other = seen.setdefault(_plainest(text), text)
        if other != text:
            yield other, text


def _plainest(text: str) -> str:
    text = unicodedata.normalize("NFC", text).strip()
    number = _WHOLE_NUMBER.fullmatch(text)
    if not number:
        return text
    sign, digits, exponent = number.groups()
    return ("-" if sign == "-" and digits != "0" else "") + digits + "0" * (int(exponent or 0) if digits != "0" else 0)


def cluster_codes(cluster: np.ndarray) -> np.ndarray:
    """(P,) integers, one a cluster; each missing value is a cluster of its own."""
    import pandas as pd

    codes = pd.factorize(np.asarray(cluster, dtype=object))[0]
    missing = np.flatnonzero(codes < 0)
    codes[missing] = codes.max(initial=-1) + 1 + np.arange(len(missing))
    return codes
