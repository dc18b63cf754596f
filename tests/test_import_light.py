"""What importing costs, told by which modules are loaded, never by seconds."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "scipy",
    "pandas",
    "plotly",
    "typer",
    "rich",
    "papermill",
    "nbformat",
    "nbclient",
    "pyarrow",
    "rpy2",
    "matplotlib",
)


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has after running ``code``."""
    show = "import sys; print('\\n'.join(sorted({name.split('.')[0] for name in sys.modules})))"
    run = subprocess.run([sys.executable, "-c", f"{code}\n{show}"], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_the_library_loads_nothing_before_it_is_used():
    loaded = loaded_by("import ilhte_lib")
    assert loaded - loaded_by("pass") - sys.stdlib_module_names == {"ilhte_lib"}


@pytest.mark.parametrize("words", ["--help", "--version", "fit --help", "run --help"])
def test_help_loads_no_numpy(words):
    code = f"""
import sys
sys.argv = ["ilhte", *{words.split()}]
from ilhte_report.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
"""
    assert not loaded_by(code) & ({"numpy", *HEAVY} - {"typer", "rich"})


@pytest.mark.parametrize(
    "module", ["data.prepare", "model.compress", "inference.effects", "inference.lrt", "data.options", "model.spec"]
)
def test_these_parts_too(module):
    loaded = loaded_by(f"import ilhte_lib.{module}")
    assert not loaded & set(HEAVY) and "ilhte_report" not in loaded


def test_fitting_loads_scipy_and_what_holds_its_threads():
    code = """
import numpy as np
from ilhte_lib.model.compress import sufficient_statistics
from ilhte_lib.engine.native import fit_statistics
from ilhte_lib.model.spec import MODELS
from ilhte_lib.model.simulate import Design, draw_trial
trial = draw_trial(Design(100, 6, 1))
person, item = np.indices(trial.responses.shape).reshape(2, -1)
names = tuple("abcdef")
statistics = sufficient_statistics(names, trial.treat.astype(int), person, item, trial.responses.ravel())
assert fit_statistics(statistics, MODELS["M_A"]).converged
"""
    loaded = loaded_by(code)
    assert "scipy" in loaded
    assert not loaded & (set(HEAVY) - {"scipy"})
    third_party = loaded - loaded_by("import numpy, scipy.linalg, scipy.special") - sys.stdlib_module_names
    assert third_party == {"ilhte_lib", "threadpoolctl"}
