"""What to check before believing a fit: items that correlate negatively with the rest, and duplicate items."""

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
"""Least number of persons for a correlation or a comparison."""
_LARGEST = 30_000_000
"""Largest response matrix (persons times items) for which items are compared."""


def concerns(trial: Trial, rows: pd.DataFrame) -> tuple[str, ...]:
    """Sentences on what to check, the most serious first.

    Parameters
    ----------
    trial : the prepared trial.
    rows : the rows of the kept wave, with resp and treat as numbers.
    """
    sentences = [all_coded_items(rows)]
    if trial.n_persons * trial.n_items <= _LARGEST:
        matrix = _responses(trial)
        sentences += [reversed_items(trial, matrix), twin_items(trial, matrix)]
    return tuple(sentence for sentence in sentences if sentence)


def _responses(trial: Trial) -> np.ndarray:
    """(P, J) first response of each person to each item, NaN where there is none."""
    matrix = np.full((trial.n_persons, trial.n_items), np.nan)
    matrix[trial.person[::-1], trial.item[::-1]] = trial.resp[::-1]
    return matrix


def item_rest_correlations(trial: Trial, matrix: np.ndarray) -> np.ndarray:
    """(J,) correlation of each item with the mean of the person's other items, both centred within arms; NaN if undefined."""
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
    """A sentence on items whose item-rest correlation is more than two standard errors below 0; empty if there are none."""
    r = item_rest_correlations(trial, matrix)
    n = np.isfinite(matrix).sum(axis=0)
    against = np.flatnonzero(r < -2.0 / np.sqrt(np.maximum(n, 1)))
    if not len(against):
        return ""
    shown = ", ".join(f"{quoted(trial.item_names[k])} ({r[k]:.2f})" for k in against[:5])
    which = counted(len(against), "item has", "items have")
    return (
        f"{which} a negative item-rest correlation, {shown}{', ...' if len(against) > 5 else ''}: if reverse-keyed, recode so that "
        "1 means the same on every item."
    )


def twin_items(trial: Trial, matrix: np.ndarray) -> str:
    """A sentence on pairs of items with the same response from every person; empty if there are none."""
    seen: dict[bytes, list[int]] = {}
    for k in range(trial.n_items):
        if np.isfinite(matrix[:, k]).sum() >= _FEWEST:
            seen.setdefault(np.nan_to_num(matrix[:, k], nan=-1.0).tobytes(), []).append(k)
    pairs = [pair for alike in seen.values() for pair in combinations(alike, 2)]
    if not pairs:
        return ""
    shown = "; ".join(f"{quoted(trial.item_names[b])} equals {quoted(trial.item_names[a])}" for a, b in pairs[:3])
    return f"{shown}{'; ...' if len(pairs) > 3 else ''} for every person, and an item given twice counts twice: leave one out."


def all_coded_items(rows: pd.DataFrame) -> str:
    """A sentence on items that hold nothing but one code for missing; empty if there are none."""
    values = rows.dropna(subset=["resp"]).groupby("item", sort=False)["resp"].agg(["min", "max"])
    coded = values.index[(values["min"] == values["max"]) & values["min"].isin(CODES)]
    if not len(coded):
        return ""
    codes = sorted({f"{v:g}" for v in values.loc[coded, "min"]})
    return (
        f"{counted(len(coded), 'item holds', 'items hold')} nothing but {listed(codes, 3)}, a code for missing: "
        f"{listed(map(str, coded), 3)}; name it with --missing-codes."
    )
