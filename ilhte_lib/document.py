"""The document of one analysed table: what ``ilhte fit --json`` writes and what a run keeps in ``fits/``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from .data.trial import Trial
from .files import plain, versions
from .inference.effects import Effects
from .inference.units import Unit
from .inference.weak import fit_messages
from .model.fit_result import Fit

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
    ``{"tab", "summary", "items", "items_logit", "audit", "flags", "unit", "weak", "models", "inference", "provenance"}``;
    unit is what sentences and pages show, "SD" or, where persons do not differ, "logit", and then items_logit has the items
    in it (else None); weak as ``weak.Weaknesses``; models by name with loglik, beta and se by coefficient (logits),
    sigma_theta (logits), item_cov (squared logits), singular, converged, gradient_norm, seconds;
    inference as in ``inference.inference_record``, with the resampling's standard errors in the summary too, or None.
    """
    record = None
    if inference is not None:
        from .inference.infer import inference_record, with_resampling

        result, record = with_resampling(result, inference), inference_record(inference, result)
    return plain(
        {
            "tab": trial.tab,
            "summary": result.summary,
            "items": result.items,
            "items_logit": None if result.scale.unit is Unit.SD else result.items_logit,
            "audit": trial.audit_rows(),
            "flags": [*trial.flags, *result.flags, *fit_messages(fits, result.weak)],
            "unit": result.scale.unit,
            "weak": {
                **asdict(result.weak),
                **{name: getattr(result.weak, name) for name in ("few_persons", "few_clusters", "extreme_persons")},
            },
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
