"""R's sampling, number for number: ``RNGkind("L'Ecuyer-CMRG", "Inversion", "Rejection"); set.seed(seed); sample(x, size)``.

The vignette samples 5,000 persons from larger tables inside furrr, which sets that generator, so the same persons can only be
found by following R's own steps (R 3.6.0 or later, RNG.c and random.c in its sources):

1. ``set.seed`` scrambles the seed 50 times with the congruential generator s -> 69069 s + 1 (mod 2^32), then steps it
   six times more to fill the state, stepping again wherever a value is not below m2, so that it is valid for both moduli.
2. The generator is MRG32k3a (L'Ecuyer 1999, Operations Research 47(1), 159-164): two recurrences of order three,
   x_n = 1403580 x_{n-2} - 810728 x_{n-3} (mod m1) and y_n = 527612 y_{n-1} - 1370589 y_{n-3} (mod m2); the uniform
   number is (x_n - y_n) / (m1 + 1), with m1 added where that difference is not positive.
3. An index below n is drawn by rejection: the ceil(log2 n) low bits of a number assembled from 16-bit chunks, one uniform
   number each, drawn again until the result is below n.
4. ``sample`` without replacement takes element j of those left, then moves the last one left into its place.
   (For n above 1e7 and size <= n/2 R uses a hash instead, which is not needed here and refused.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Id = TypeVar("Id")

M1 = 4294967087
M2 = 4294944443
TO_UNIT = 2.328306549295727688e-10
"""1 / (M1 + 1), with the digits R has."""

LARGEST_POPULATION = 10_000_000
"""Above this, R's ``sample`` may hash and draw different numbers."""


class LEcuyer:
    """R's ``"L'Ecuyer-CMRG"`` generator after ``set.seed(seed)``; ``seed`` is a signed 32-bit integer."""

    def __init__(self, seed: int) -> None:
        if not -(2**31) < seed < 2**31:
            raise ValueError(f"seed must be a signed 32-bit integer, as in R, not {seed}")
        seed %= 2**32
        for _ in range(50):
            seed = _scramble(seed)
        state = []
        for _ in range(6):
            seed = _scramble(seed)
            while seed >= M2:
                seed = _scramble(seed)
            state.append(seed)
        self._x, self._y = state[:3], state[3:]

    def uniform(self) -> float:
        """The next number of R's ``runif``, in (0, 1)."""
        x = (1403580 * self._x[1] - 810728 * self._x[0]) % M1
        y = (527612 * self._y[2] - 1370589 * self._y[0]) % M2
        self._x = [*self._x[1:], x]
        self._y = [*self._y[1:], y]
        return ((x - y) if x > y else (x - y + M1)) * TO_UNIT

    def index(self, n: int) -> int:
        """A uniform integer in 0..n-1 for n >= 1, by R's ``sample.kind = "Rejection"``."""
        bits = (n - 1).bit_length()
        while True:
            value = 0
            for _ in range(0, bits + 1, 16):
                value = 65536 * value + int(self.uniform() * 65536)
            value &= (1 << bits) - 1
            if value < n:
                return value


def _scramble(seed: int) -> int:
    return (69069 * seed + 1) % 2**32


def sample_ids(ids_in_order_of_first_appearance: Sequence[Id], size: int = 5000, seed: int = 42) -> list[Id]:
    """R's ``set.seed(seed); sample(ids, size)``, without replacement, in the order drawn.

    Parameters
    ----------
    ids_in_order_of_first_appearance : the distinct ids, as R's ``unique(id)`` lists them; at most 1e7.
    size : how many to draw, at most the number of ids.
    seed : the argument of ``set.seed``.

    Raises
    ------
    ValueError : ``size`` is not within 0..n, or n is above 1e7.
    """
    left = list(ids_in_order_of_first_appearance)
    if len(left) > LARGEST_POPULATION:
        raise ValueError(f"R's sampling is reproduced for up to {LARGEST_POPULATION:,} ids, not {len(left):,}")
    if not 0 <= size <= len(left):
        raise ValueError(f"cannot draw {size} of {len(left)} ids without replacement")
    generator = LEcuyer(seed)
    drawn = []
    for _ in range(size):
        j = generator.index(len(left))
        drawn.append(left[j])
        left[j] = left[-1]
        left.pop()
    return drawn
