"""Item-level heterogeneous treatment effects: prepare, compress, fit, standardise, test, draw."""

from __future__ import annotations

from .errors import EngineError, IlhteError, InputError
from .model.fit_result import Fit
from .model.spec import MODELS, ModelSpec

__version__ = "0.1.0"
__all__ = ["MODELS", "EngineError", "Fit", "IlhteError", "InputError", "ModelSpec", "__version__"]
