"""Answered items as one bit each: 8 bytes per class for 60 items, where numbers would take 480."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

KEPT_CELLS = 8_000_000
"""Beyond this many classes times items, neither answered items nor results for cells (8 to 24 bytes each) are stored as numbers."""
ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class PackedTrials:
    """A (G, J) matrix of zeros and ones that replaces ``SufficientStatistics.trials`` where there are many classes.

    Attributes
    ----------
    bits : (G, ceil(J / 8)) bytes, items from the highest bit on, as from ``numpy.packbits``.
    n_items : number of items J.
    """

    bits: np.ndarray
    n_items: int
    __array_ufunc__ = None  # makes NumPy use the matrix products defined here

    @property
    def shape(self) -> tuple[int, int]:
        """(G, J)."""
        return len(self.bits), self.n_items

    @property
    def complete(self) -> bool:
        """Whether everyone answered everything."""
        everything = np.packbits(np.ones(self.n_items, bool))
        return bool((self.bits == everything).all())

    def __len__(self) -> int:
        return len(self.bits)

    def __getitem__(self, rows: slice | np.ndarray) -> PackedTrials:
        return PackedTrials(self.bits[rows], self.n_items)

    def unpack(self, rows: slice, out: np.ndarray) -> None:
        """Write some rows as numbers to ``out`` (g, J)."""
        out[...] = np.unpackbits(self.bits[rows], axis=1, count=self.n_items)

    def max(self, initial: float = 0.0) -> float:
        """The largest entry, at least ``initial``."""
        return max(initial, float(self.bits.any()))

    def sum(self, axis: int) -> np.ndarray:
        """Sums over items, for which ``axis`` must be 1."""
        if axis != 1:
            raise ValueError("sums of packed answers are over items")
        return self @ np.ones(self.n_items)

    def _blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        for start in range(0, len(self), ROWS_AT_ONCE):
            rows = slice(start, min(start + ROWS_AT_ONCE, len(self)))
            numbers = np.empty((rows.stop - start, self.n_items))
            self.unpack(rows, numbers)
            yield rows, numbers

    def __matmul__(self, columns: np.ndarray) -> np.ndarray:
        out = np.empty((len(self), *columns.shape[1:]))
        for rows, numbers in self._blocks():
            np.matmul(numbers, columns, out=out[rows])
        return out

    def __rmatmul__(self, left: np.ndarray) -> np.ndarray:
        out = np.zeros((*left.shape[:-1], self.n_items))
        for rows, numbers in self._blocks():
            out += left[..., rows] @ numbers
        return out
