"""The document of one analysed table: what ``ilhte fit --json`` writes and what a run keeps in ``fits/``."""

from __future__ import annotations

import json
import math
import os
import platform
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .data.prepare import Trial
from .inference.effects import Effects
from .model.mixed_model import Fit

if TYPE_CHECKING:
    from .inference.infer import Inference


def document(
    trial: Trial,
    fits: dict[str, Fit],
    result: Effects,
    inference: Inference | None = None,
    *,
    input_sha256: str | None = None,
) -> dict:
    """Everything known of one table, as plain Python values with None for what is undefined.

    Returns
    -------
    ``{"tab", "summary", "items", "audit", "flags", "models", "inference", "provenance"}``; models
    by name with loglik, beta and se by
    coefficient (logits), sigma_theta (logits), item_cov (squared logits), singular, converged, gradient_norm, seconds;
    inference as in ``inference.inference_record``, with the resampling's standard errors in the summary too, or None.
    """
    record = None
    if inference is not None:
        from .inference.infer import inference_record, with_resampling

        result, record = with_resampling(result, inference), inference_record(inference, result.summary)
    return _plain(
        {
            "tab": trial.tab,
            "summary": result.summary,
            "items": result.items,
            "audit": trial.audit_rows(),
            "flags": list(trial.flags) + [m for fit in fits.values() for m in fit.messages],
            "models": {name: _model(fit) for name, fit in fits.items()},
            "inference": record,
            "provenance": {
                "versions": versions(),
                "profile": trial.profile,
                "engine": fits["M_A"].engine,
                "covariate": trial.covariate_name,
                "covariate_correlation": trial.covariate_correlation,
                "wave": trial.wave,
                "input_sha256": input_sha256,
            },
        }
    )


def _model(fit: Fit) -> dict:
    names = fit.spec.beta_names
    return {
        "formula": fit.spec.formula,
        "loglik": fit.loglik,
        "beta": dict(zip(names, fit.beta, strict=True)),
        "se": dict(zip(names, fit.se, strict=True)),
        "sigma_theta": fit.sigma_theta,
        "item_cov": fit.item_cov,
        "singular": fit.singular,
        "converged": fit.converged,
        "gradient_norm": fit.gradient_norm,
        "hessian_min_eigenvalue": fit.hessian_min_eigenvalue,
        "n_persons": fit.n_persons,
        "n_responses": fit.n_responses,
        "optimizer": fit.optimizer,
        "evaluations": fit.evaluations,
        "seconds": fit.seconds,
    }


def versions() -> dict[str, str]:
    """Versions of what computed a result."""
    import scipy

    from . import __version__

    return {
        "ilhte": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }


def _plain(value):
    """Python values JSON can hold; NaN and infinities become None."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def to_json(contents: dict) -> str:
    """The document as JSON text: null, never NaN."""
    return json.dumps(_plain(contents), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all: to a temporary name beside it, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-", suffix=path.suffix)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
