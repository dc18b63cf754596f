"""What of a table should be used, counted once more with plain loops: what the package's results are compared with."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from dense_laplace import Rows

MISSING_WORDS = {
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL",
    "NaN", "None", "n/a", "nan", "null",
}  # fmt: skip
"""What the reader of text files takes for an empty cell."""


TRUTH = {"True": 1.0, "False": 0.0, "TRUE": 1.0, "FALSE": 0.0, "true": 1.0, "false": 0.0}


@dataclass(frozen=True)
class Recount:
    """What the models should see.

    Attributes
    ----------
    items : names, sorted as text.
    answers, ones : (arm, item) -> how many responses, and the sum of their scores (how many of them are 1).
    highest : item -> its highest score.
    rows : the same as arrays; ``rows.covariate`` standardised, NaN where a person has none.
    """

    persons: list[object]
    items: list[str]
    answers: dict[tuple[int, str], int]
    ones: dict[tuple[int, str], int]
    rows: Rows
    highest: dict[str, int]


def recount(
    records: Iterable[dict[str, object]],
    *,
    profile: str,
    wave: str | None,
    covariate: str | None,
    required: str | None,
) -> Recount:
    """Apply the rules to rows with columns id, item, resp, treat and the rest.

    ``wave`` and ``covariate`` are as the result names them; ``required`` is the column that must not be missing.
    """
    kept = []
    for record in records:
        if _missing(record["id"]) or _missing(record["item"]):
            continue
        if wave is not None and not _is_wave(record.get("wave"), wave):
            continue
        resp, treat = _number(record["resp"]), _number(record["treat"])
        if resp is None or treat is None:
            continue
        value = None if covariate is None else _number(record[covariate])
        if profile == "vignette":
            resp = float(math.trunc(resp))
        if required is not None and _number(record[required]) is None:
            continue
        kept.append((record["id"], _label(record["item"]), resp, int(treat), value))

    held = defaultdict(set)
    for _, item, resp, _, _ in kept:
        held[item].add(resp)
    most = 2 if profile == "vignette" else 10
    rank = {
        item: {value: k for k, value in enumerate(sorted(values))}
        for item, values in held.items()
        if 2 <= len(values) <= most and not _perhaps_missing(sorted(values))
    }
    kept = [(who, item, rank[item][resp], *rest) for who, item, resp, *rest in kept if item in rank]
    items = sorted({row[1] for row in kept})
    persons = list(dict.fromkeys(row[0] for row in kept))
    answers, ones = defaultdict(int), defaultdict(int)
    arm_of, values = {}, {}
    for who, item, resp, treat, value in kept:
        arm_of[who] = treat
        answers[treat, item] += 1
        ones[treat, item] += int(resp)
        if value is not None:
            values.setdefault(who, value)
    place = {who: k for k, who in enumerate(persons)}
    rows = Rows(
        treat=np.array([arm_of[who] for who in persons]),
        person=np.array([place[row[0]] for row in kept]),
        item=np.array([items.index(row[1]) for row in kept]),
        resp=np.array([int(row[2]) for row in kept]),
        covariate=None if covariate is None else _standardised(kept, persons, values, profile),
        n_items=len(items),
    )
    highest = {item: len(rank[item]) - 1 for item in items}
    return Recount(persons, items, dict(answers), dict(ones), rows, highest)


def _perhaps_missing(values: list[float]) -> bool:
    """Whether one of three or more values stands apart: far beyond the others, or -1 below 0."""
    if len(values) < 3:
        return False
    inner = [b - a for a, b in pairwise(values)]
    top, bottom = max(inner[:-1]), max(inner[1:])
    return inner[-1] > 2 * top or inner[0] > 2 * bottom or values[:2] == [-1, 0]


def _standardised(kept: list, persons: list, values: dict, profile: str) -> np.ndarray:
    own = np.array([values.get(who, math.nan) for who in persons])
    over = np.array([values[row[0]] for row in kept]) if profile == "vignette" else own[~np.isnan(own)]
    return (own - over.mean()) / over.std(ddof=1)


def _missing(value: object) -> bool:
    return (
        value is None
        or (isinstance(value, str) and all(sign.isspace() or sign in "\0\ufeff\u200b" for sign in value))
        or (isinstance(value, float) and math.isnan(value))
        or type(value).__name__ in ("NAType", "NaTType")
    )


def _number(value: object) -> float | None:
    return None if _missing(value) else TRUTH[value] if value in TRUTH else float(value)


def _is_wave(value: object, wave: str) -> bool:
    if _missing(value):
        return False
    if str(value) == wave:
        return True
    try:
        return float(value) == float(wave)
    except (TypeError, ValueError):
        return False


def _label(value: object) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)
