"""R inside this process, with the packages pymer4 loads: started once and silent; anything missing is one clear sentence."""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import EngineError

PYTHON_PACKAGES = ("pymer4", "rpy2", "polars")
R_PACKAGES = (
    *("lme4", "lmerTest", "emmeans", "broom", "broom.mixed", "tibble"),
    *("parameters", "performance", "insight", "boot", "report"),
)
"""Packages that pymer4 loads on import; a missing one would cause a traceback from inside it."""


@functools.cache
def start_r() -> None:
    """Start R and check that everything pymer4 needs is present. This happens once per process: R cannot be started twice.

    Raises
    ------
    EngineError : pymer4, rpy2, R or an R package is missing; the message names it and the remedy.
    """
    for package in PYTHON_PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise EngineError(
                f"The lme4 engine needs the Python package {package}: run `make lme4`, or `pip install .[lme4]` where "
                "R is installed, or use the native engine."
            )
    with _loading():
        home = _r_home()
        if home is None:
            raise EngineError(
                "The lme4 engine needs R, which was not found (no R on the PATH, no R_HOME): run `make lme4`, or use the "
                "native engine."
            )
        _import_rpy2(home)
    with quiet():
        missing = _missing_packages()
        if missing:
            raise EngineError(
                f"The lme4 engine needs the R package{'s' * (len(missing) > 1)} {', '.join(missing)}, which R at "
                f"{home} does not have: run `make lme4`, or use the native engine."
            )
        try:
            import pymer4  # noqa: F401
        except ImportError as failure:
            raise EngineError(
                f"pymer4 could not be loaded ({failure}): run `make lme4`, or `pip install .[lme4]` for what it needs, or use the "
                "native engine."
            ) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep R from writing to the console and from deferring warnings; lme4's are in the fitted object."""
    from rpy2 import robjects
    from rpy2.rinterface_lib import callbacks

    printed, warned = callbacks.consolewrite_print, callbacks.consolewrite_warnerror
    callbacks.consolewrite_print = callbacks.consolewrite_warnerror = lambda text: None
    # rpy2 keeps its converter in a context variable, which threads and later cells of a notebook do not inherit
    with robjects.default_converter.context():
        level = robjects.r('getOption("warn")')[0]
        robjects.r("options(warn = -1)")
        try:
            yield
        finally:
            robjects.r(f"options(warn = {level})")
            callbacks.consolewrite_print, callbacks.consolewrite_warnerror = printed, warned


def r_errors() -> type[Exception]:
    """The exception that an error in R becomes."""
    from rpy2.rinterface_lib.embedded import RRuntimeError

    return RRuntimeError


@contextmanager
def _loading() -> Iterator[None]:
    """Silence rpy2 while it loads, and give one thread to R's BLAS, which reads these variables at that time.

    rpy2 also adds R's folders to LD_LIBRARY_PATH, so that a later child process might load another Python's libraries; this is
    undone too.
    """
    logger = logging.getLogger("rpy2")
    level, before = logger.level, dict(os.environ)
    logger.setLevel(logging.CRITICAL)
    os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "LD_LIBRARY_PATH"):
            if name in before:
                os.environ[name] = before[name]
            else:
                os.environ.pop(name, None)
                os.unsetenv(name)  # R may have set it behind Python's back


def _r_home() -> str | None:
    from rpy2 import situation

    try:
        home = situation.get_r_home()
    except OSError:
        return None
    return home if home and Path(home).is_dir() else None


def _import_rpy2(home: str) -> None:
    try:
        import rpy2.robjects  # noqa: F401
    except Exception as failure:
        reason = (str(failure).strip().splitlines() or [type(failure).__name__])[-1]
        raise EngineError(
            f"R at {home} could not be started from Python ({reason}): run `make lme4`, which installs a matching rpy2, or use the "
            "native engine."
        ) from None


def _missing_packages() -> list[str]:
    """R packages that cannot be loaded, also from the project's own R library."""
    from rpy2.robjects import StrVector, r

    # the R library is beside the package in a checkout, and beside the virtual environment in an install
    for folder in (Path(__file__).resolve().parents[2], Path(sys.prefix).parent):
        if (folder / "rlib" / "report").is_dir():
            r[".libPaths"](StrVector([str(folder / "rlib"), *r[".libPaths"]()]))
            break
    loads = r("function(name) requireNamespace(name, quietly = TRUE)")
    return [name for name in R_PACKAGES if not loads(name)[0]]
