"""Item-level heterogeneous treatment effects: prepare, compress, fit, standardise, test and draw.

``from ilhte_lib import analyse; a = analyse("trial.csv")`` does all of it; ``a`` displays itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import EngineError, IlhteError, InputError

if TYPE_CHECKING:
    from .analysis import Analysis, analyse
    from .data.prepare import prepare
    from .data.read import read_table
    from .data.trial import Trial
    from .engine.native import fit_models
    from .model.fit_result import Fit
    from .model.spec import MODELS, ModelSpec

__version__ = "0.1.0"
_LATER = {
    "Analysis": "analysis", "analyse": "analysis", "prepare": "data.prepare", "read_table": "data.read", "Trial": "data.trial",
    "fit_models": "engine.native", "Fit": "model.fit_result", "MODELS": "model.spec", "ModelSpec": "model.spec",
}  # fmt: skip
"""Names loaded on first use, so that commands without computation, such as --help, do not load NumPy."""
__all__ = ["EngineError", "IlhteError", "InputError", "__version__", *_LATER]


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_LATER[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
