"""Stored simulations beside a few of their trials computed again."""

from __future__ import annotations

import numpy as np
import pandas as pd


def agree(again: pd.DataFrame, kept: pd.DataFrame, keys: list[str], tolerance: float) -> None:
    """Every row of ``again`` is in ``kept``, its numbers no further away than ``tolerance``."""
    both = again.merge(kept, on=keys, suffixes=("", " stored"), validate="one_to_one")
    assert len(both) == len(again)
    for column in again.columns.difference(keys):
        expected = both[f"{column} stored"]
        if both[column].dtype.kind == "f":
            np.testing.assert_allclose(both[column], expected, atol=tolerance, err_msg=column)
        else:
            assert (both[column] == expected).all()
