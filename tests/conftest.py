"""Fixtures shared by the tests: where the reference data are, if they are there."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# more threads than one only slow small matrices down; NumPy reads this when it is first imported
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def project() -> Path:
    """The project's folder."""
    return PROJECT


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, driven by playwright: for one file, as its event loop would be in the way of others'."""
    from site_cases import chromium_running

    with chromium_running() as running:
        yield running


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


@pytest.fixture(scope="session")
def lme4() -> None:
    """Skips, saying why, where R or pymer4 is not installed; a set-up that is there but broken fails."""
    for package in ("pymer4", "rpy2"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"the Python package {package} is not installed (make lme4)")
    if shutil.which("R") is None and "R_HOME" not in os.environ:
        pytest.skip("R is not installed (make lme4)")
    from ilhte_lib.engine.r_session import start_r
    from ilhte_lib.errors import EngineError

    try:
        start_r()
    except EngineError as error:
        if "R package" in str(error):
            pytest.skip(str(error))
        raise
