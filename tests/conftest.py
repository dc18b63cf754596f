"""Fixtures shared by the tests: where the reference data are, if they are there."""

from __future__ import annotations

import os
from pathlib import Path

# more threads than one only slow small matrices down; NumPy reads this when it is first imported
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def project() -> Path:
    """The project's folder."""
    return PROJECT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference tables and fits that developers keep beside the project."""
    folder = PROJECT.parent / "shared"
    if not (folder / "reference").is_dir():
        pytest.skip("the reference data are not there (a folder 'shared' beside the project)")
    return folder


@pytest.fixture(scope="session")
def case_files() -> Path:
    """The folder of small inputs with what is right for each."""
    folder = PROJECT.parent / "shared" / "cases"
    if not folder.is_dir():
        pytest.skip("the cases are not there (a folder 'shared' beside the project)")
    return folder
