"""What a researcher should look at before believing a fit: items that go against the rest, twins."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from ..messages import counted, listed, quoted
from .missing_codes import CODES
from .trial import Trial

if TYPE_CHECKING:
    import pandas as pd

_FEWEST = 10
"""Persons that a correlation or an equality needs."""
_LARGEST = 30_000_000
"""Persons times items of the response matrix beyond which items are not compared."""


def concerns(trial: Trial, rows: pd.DataFrame) -> tuple[str, ...]:
    """Sentences, the gravest first.

    Parameters
    ----------
    trial : what would be fitted.
    rows : the rows of the kept wave, with resp and treat as numbers.
    """
    said = [all_coded_items(rows)]
    if trial.n_persons * trial.n_items <= _LARGEST:
        matrix = _responses(trial)
        said += [reversed_items(trial, matrix), twin_items(trial, matrix)]
    return tuple(sentence for sentence in said if sentence)


def _responses(trial: Trial) -> np.ndarray:
    """(P, J) each person's first response to each item, NaN where there is none."""
    matrix = np.full((trial.n_persons, trial.n_items), np.nan)
    matrix[trial.person[::-1], trial.item[::-1]] = trial.resp[::-1]
    return matrix


def item_rest_correlations(trial: Trial, matrix: np.ndarray) -> np.ndarray:
    """(J,) correlation of each item with the mean of the person's other items, both less their arm's mean; NaN if undefined."""
    answered = np.isfinite(matrix)
    filled = np.where(answered, matrix, 0.0)
    out = np.full(trial.n_items, np.nan)
    for k in range(trial.n_items):
        others = answered.sum(axis=1) - answered[:, k]
        used = answered[:, k] & (others > 0)
        if used.sum() < _FEWEST:
            continue
        rest = (filled[used].sum(axis=1) - filled[used, k]) / others[used]
        own, arm = matrix[used, k].copy(), trial.treat[used]
        for t in (0, 1):
            if (arm == t).any():
                own[arm == t] -= own[arm == t].mean()
                rest[arm == t] -= rest[arm == t].mean()
        spread = np.sqrt((own**2).sum() * (rest**2).sum())
        out[k] = (own * rest).sum() / spread if spread > 1e-9 else np.nan
    return out


def reversed_items(trial: Trial, matrix: np.ndarray) -> str:
    """Items whose correlation with the rest is negative beyond two standard errors, or an empty text."""
    r = item_rest_correlations(trial, matrix)
    n = np.isfinite(matrix).sum(axis=0)
    against = np.flatnonzero(r < -2.0 / np.sqrt(np.maximum(n, 1)))
    if not len(against):
        return ""
    shown = ", ".join(f"{quoted(trial.item_names[k])} ({r[k]:.2f})" for k in against[:5])
    which = counted(len(against), "item goes", "items go")
    return (
        f"{which} against the rest, with a negative item-rest correlation: {shown}{', ...' if len(against) > 5 else ''}: if keyed "
        "the other way round, recode so that 1 means the same on every item."
    )


def twin_items(trial: Trial, matrix: np.ndarray) -> str:
    """Pairs of items with the same response of every person, or an empty text."""
    seen: dict[bytes, list[int]] = {}
    for k in range(trial.n_items):
        if np.isfinite(matrix[:, k]).sum() >= _FEWEST:
            seen.setdefault(np.nan_to_num(matrix[:, k], nan=-1.0).tobytes(), []).append(k)
    pairs = [pair for alike in seen.values() for pair in combinations(alike, 2)]
    if not pairs:
        return ""
    shown = "; ".join(f"{quoted(trial.item_names[b])} equals {quoted(trial.item_names[a])}" for a, b in pairs[:3])
    return (
        f"{shown}{'; ...' if len(pairs) > 3 else ''} for every person: an item given twice counts twice, leave one out."
    )


def all_coded_items(rows: pd.DataFrame) -> str:
    """Items that hold nothing but one code for missing, or an empty text."""
    values = rows.dropna(subset=["resp"]).groupby("item", sort=False)["resp"].agg(["min", "max"])
    coded = values.index[(values["min"] == values["max"]) & values["min"].isin(CODES)]
    if not len(coded):
        return ""
    codes = sorted({f"{v:g}" for v in values.loc[coded, "min"]})
    return (
        f"{counted(len(coded), 'item holds', 'items hold')} nothing but {listed(codes, 3)}, a code for missing: "
        f"{listed(map(str, coded), 3)}; name it with --missing-codes."
    )
