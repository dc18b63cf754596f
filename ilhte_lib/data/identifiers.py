"""Identifiers of persons and items: one person must not appear under two spellings, nor two persons under one."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from ..errors import InputError
from ..messages import listed, quoted
from .columns import BLANKS

if TYPE_CHECKING:
    import pandas as pd

# E without a sign does not count as an exponent: among hexadecimal names 1e2 and 100 differ. Nor are fractions merged: 1.1 and
# 1.10 are two items of a numbered list.
_WHOLE_NUMBER = re.compile(r"([+-]?)0*(\d+)(?:\.0*)?(?:[eE]\+(\d{1,3}))?", re.ASCII)


def check_identifiers(column: pd.Series, name: str, tab: str) -> pd.Series:
    """A column of persons or items unchanged, but with categories as their values.

    Raises
    ------
    InputError : it mixes text and numbers, holds something that cannot be a name, or has one name in two spellings.
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
    refuse_two_spellings(list(islice(_spelled_twice(texts), 4)), name, tab)
    return column


def refuse_two_spellings(pairs: Sequence[tuple[str, str]], name: str, tab: str) -> None:
    """Raise InputError if there are pairs of names that may be the same."""
    if pairs:
        both = [f"{quoted(first)} and {quoted(second)}" for first, second in pairs]
        raise InputError(
            f"Column {name} of table {quoted(tab)} holds both {'; '.join(both[:3])}{'; ...' if len(both) > 3 else ''}, "
            f"which may be one {_WHO[name]} spelled in two ways: spell it in one way, or add a letter if they are two."
        )


def item_labels(values: Sequence, tab: str) -> list[str]:
    """Items as text, the same for integers and whole floats, so that every file format gives the same names.

    Raises
    ------
    InputError : two items get the same text.
    """
    names = [f"{v:.15g}" if isinstance(v, float) else str(v) for v in values]
    if len(set(names)) < len(names):
        alike = [name for name, count in Counter(names).items() if count > 1]
        raise InputError(
            f"Different items of table {quoted(tab)} have the same label ({listed(alike, 3)}): give each item its own name."
        )
    return names


_WHO = {"id": "person", "item": "item"}


def _spelled_twice(texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs of texts that differ only in surrounding space, Unicode composition, or the spelling of a whole number."""
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


def plainest_sql(text: str, matches: Callable[[str, str], str], composed: Callable[[str], str]) -> str:
    """``_plainest`` as an SQL expression; ``matches`` and ``composed`` are those of ``relations.Relations``."""
    bare = f"TRIM(BOTH '{BLANKS}' FROM {composed(text)})"
    digits = f"REGEXP_EXTRACT({bare}, '^[+-]?0*([0-9]+)', 1)"
    zeros = f"REPEAT('0', CAST(COALESCE(NULLIF(REGEXP_EXTRACT({bare}, '[eE][+]([0-9]+)$', 1), ''), '0') AS INT))"
    sign = f"CASE WHEN {bare} LIKE '-%' AND {digits} <> '0' THEN '-' ELSE '' END"
    whole = f"CONCAT({sign}, {digits}, CASE WHEN {digits} = '0' THEN '' ELSE {zeros} END)"
    return f"CASE WHEN {matches(bare, '[+-]?[0-9]+([.]0*)?([eE][+][0-9]{1,3})?')} THEN {whole} ELSE {bare} END"


def natural_key(name: str) -> tuple:
    """Sort key that puts q2 before q10; the name itself breaks ties."""
    parts = re.split(r"(\d+)", name)
    # compared by length and then as text, because int() refuses thousands of digits
    digits = {p: p.lstrip("0") for p in parts if p.isdigit() and p.isascii()}
    return tuple((0, len(digits[p]), digits[p]) if p in digits else (1, 0, p) for p in parts), name
