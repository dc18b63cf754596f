"""Small binary tables on which estimates are extreme, undefined or on every boundary at once: what the fuzz test feeds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

Matrix = tuple[np.ndarray, np.ndarray]
"""Responses (P, J) of 0, 1 and NaN where missing, and arms (P,)."""


def degenerate_table(seed: int) -> tuple[str, pd.DataFrame]:
    """A table of one kind, and perhaps damaged once more; its name says what it is, for whoever reads a failure."""
    rng = np.random.default_rng(seed)
    n_persons = int(rng.choice([4, 5, 8, 12, 20, 24, 40]))
    n_items = int(rng.choice([3, 3, 4, 4, 5, 6, 9]))
    treat = np.zeros(n_persons, int)
    treat[rng.permutation(n_persons)[: max(2, n_persons // 2)]] = 1
    kind = KINDS[int(rng.integers(len(KINDS)))]
    responses, treat = kind(rng, n_items, treat)
    names, n_persons = [kind.__name__], len(treat)
    if rng.random() < 0.5:
        spoil = SPOILS[int(rng.integers(len(SPOILS)))]
        responses = spoil(rng, responses.copy(), treat)
        names.append(spoil.__name__)
    person, item = np.nonzero(~np.isnan(responses))
    table = pd.DataFrame(
        {
            "id": [f"p{k}" for k in person],
            "item": [f"q{k}" for k in item],
            "resp": responses[person, item].astype(int),
            "treat": treat[person],
        }
    )
    extra = rng.random()
    if extra < 0.3:
        table["cov_a"] = rng.normal(size=n_persons).round(2)[person]
    elif extra < 0.4:
        table["cov_a"] = np.nansum(responses, axis=1)[person]
    if rng.random() < 0.25:
        clusters = int(rng.choice([2, 3, 6, 12]))
        table["cluster"] = (
            [f"{treat[p]}-{p % clusters}" for p in person]
            if rng.random() < 0.5
            else [f"c{p % clusters}" for p in person]
        )
    return f"{' + '.join(names)}, {n_persons} persons, {n_items} items, seed {seed}", table


def _drawn(
    rng: np.random.Generator, n_items: int, treat: np.ndarray, sigma: float, spread: float, effect: float
) -> Matrix:
    theta, easiness = sigma * rng.normal(size=len(treat)), rng.normal(size=n_items)
    zeta = spread * rng.normal(size=n_items)
    eta = theta[:, None] + easiness + treat[:, None] * (effect + zeta)
    return (rng.random(eta.shape) < 1 / (1 + np.exp(-eta))).astype(float), treat


def ordinary(rng: np.random.Generator, n_items: int, treat: np.ndarray) -> Matrix:
    return _drawn(rng, n_items, treat, 1.0, 0.5, 0.3)


def persons_alike(rng: np.random.Generator, n_items: int, treat: np.ndarray) -> Matrix:
    return _drawn(rng, n_items, treat, 0.0, 0.5, 0.3)


def nothing_differs(rng: np.random.Generator, n_items: int, treat: np.ndarray) -> Matrix:
    return (rng.random((len(treat), n_items)) < 0.5).astype(float), treat


def huge_effect(rng: np.random.Generator, n_items: int, treat: np.ndarray) -> Matrix:
    return _drawn(rng, n_items, treat, 1.0, 0.5, float(rng.choice([-8.0, 8.0])))


def huge_spread(rng: np.random.Generator, n_items: int, treat: np.ndarray) -> Matrix:
    return _drawn(rng, n_items, treat, 1.0, 8.0, 0.0)


def huge_persons(rng: np.random.Generator, n_items: int, treat: np.ndarray) -> Matrix:
    return _drawn(rng, n_items, treat, 20.0, 0.5, 0.0)


def guttman(rng: np.random.Generator, n_items: int, treat: np.ndarray) -> Matrix:
    """Who answers an item with 1 does so with all easier ones."""
    score = rng.integers(0, n_items + 1, len(treat))
    return (np.arange(n_items) < score[:, None]).astype(float), treat


def all_or_nothing(rng: np.random.Generator, n_items: int, treat: np.ndarray) -> Matrix:
    """Each person answers all items alike."""
    answer = rng.random(len(treat)) < np.where(treat == 1, 0.7, 0.3)
    return np.repeat(answer[:, None].astype(float), n_items, axis=1), treat


def same_score(rng: np.random.Generator, n_items: int, treat: np.ndarray) -> Matrix:
    """Everyone has the same score, on different items: persons differ less than chance."""
    score = int(rng.integers(1, n_items))
    return np.array([rng.permutation(np.arange(n_items) < score) for _ in treat]).astype(float), treat


def one_response_each(rng: np.random.Generator, n_items: int, treat: np.ndarray) -> Matrix:
    treat = np.arange(4 * len(treat)) % 2
    responses, _ = _drawn(rng, n_items, treat, 0.0, 0.5, 0.3)
    kept = rng.integers(0, n_items, len(treat))
    responses[np.arange(n_items) != kept[:, None]] = np.nan
    return responses, treat


def forms_are_arms(rng: np.random.Generator, n_items: int, treat: np.ndarray) -> Matrix:
    """The arms have no item in common."""
    responses, treat = _drawn(rng, 2 * n_items, treat, 1.0, 0.5, 0.3)
    responses[(np.arange(2 * n_items) < n_items) == (treat == 1)[:, None]] = np.nan
    return responses, treat


def response_is_arm(rng: np.random.Generator, n_items: int, treat: np.ndarray) -> Matrix:
    """Perfect prediction, but for one response."""
    responses = np.repeat(treat[:, None].astype(float), n_items, axis=1)
    responses[0, 0] = 1 - responses[0, 0]
    return responses, treat


def copies_of_one_item(rng: np.random.Generator, n_items: int, treat: np.ndarray) -> Matrix:
    one, _ = _drawn(rng, 1, treat, 1.0, 0.5, 0.3)
    return np.repeat(one, n_items, axis=1), treat


def nearly_all_one(rng: np.random.Generator, n_items: int, treat: np.ndarray) -> Matrix:
    """A single 0 in each item."""
    responses = np.ones((len(treat), n_items))
    responses[rng.integers(0, len(treat), n_items), np.arange(n_items)] = 0
    return responses, treat


def _item_one_way(rng: np.random.Generator, responses: np.ndarray, treat: np.ndarray) -> np.ndarray:
    items = rng.choice(responses.shape[1], int(rng.integers(1, responses.shape[1])), replace=False)
    arm, answer = int(rng.integers(2)), int(rng.integers(2))
    for item in items:
        responses[treat == arm, item] = np.where(np.isnan(responses[treat == arm, item]), np.nan, answer)
    return responses


def _item_is_arm(rng: np.random.Generator, responses: np.ndarray, treat: np.ndarray) -> np.ndarray:
    item = int(rng.integers(responses.shape[1]))
    responses[:, item] = np.where(np.isnan(responses[:, item]), np.nan, treat)
    return responses


def _much_missing(rng: np.random.Generator, responses: np.ndarray, treat: np.ndarray) -> np.ndarray:
    responses[rng.random(responses.shape) < rng.choice([0.2, 0.6])] = np.nan
    return responses


def _item_in_one_arm(rng: np.random.Generator, responses: np.ndarray, treat: np.ndarray) -> np.ndarray:
    responses[treat == int(rng.integers(2)), int(rng.integers(responses.shape[1]))] = np.nan
    return responses


def _persons_all_alike(rng: np.random.Generator, responses: np.ndarray, treat: np.ndarray) -> np.ndarray:
    for person in np.flatnonzero(rng.random(len(treat)) < 0.7):
        responses[person] = np.where(np.isnan(responses[person]), np.nan, int(rng.integers(2)))
    return responses


KINDS: list[Callable[[np.random.Generator, int, np.ndarray], Matrix]] = [
    ordinary, persons_alike, nothing_differs, huge_effect, huge_spread, huge_persons, guttman, all_or_nothing, same_score,
    one_response_each, forms_are_arms, response_is_arm, copies_of_one_item, nearly_all_one,
]  # fmt: skip
SPOILS: list[Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]] = [
    _item_one_way, _item_is_arm, _much_missing, _item_in_one_arm, _persons_all_alike,
]  # fmt: skip
