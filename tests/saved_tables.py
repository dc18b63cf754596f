"""A small trial, and ways to save it in any format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

PACKAGE = {".parquet": "pyarrow", ".dta": "pyreadstat", ".sav": "pyreadstat", ".xlsx": "openpyxl", ".rds": "pyreadr"}


def small_trial(n_persons: int = 24, n_items: int = 4, seed: int = 3) -> pd.DataFrame:
    """Columns of a long file: text and numbers, a covariate with fractions, clusters."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(n_persons), n_items)
    return pd.DataFrame(
        {
            "id": [f"p{k}" for k in person],
            "item": np.tile([f"q{k}" for k in range(n_items)], n_persons),
            "resp": rng.integers(0, 2, person.size),
            "treat": person % 2,
            "cov_pre": np.repeat(rng.normal(size=n_persons).round(3), n_items),
            "cluster": [f"s{k // 6}" for k in person],
        }
    )


def save(table: pd.DataFrame, path: Path) -> Path:
    """Write a table in the format of the path's ending; skip where the package for it is missing."""
    package = PACKAGE.get(path.suffix)
    if package:
        pytest.importorskip(package)
    if path.suffix == ".parquet":
        table.to_parquet(path, index=False)
    elif path.suffix in (".dta", ".sav"):
        import pyreadstat

        (pyreadstat.write_dta if path.suffix == ".dta" else pyreadstat.write_sav)(table, str(path))
    elif path.suffix == ".xlsx":
        table.to_excel(path, index=False)
    elif path.suffix == ".rds":
        import pyreadr

        pyreadr.write_rds(str(path), table)
    else:
        table.to_csv(path, index=False)
    return path
