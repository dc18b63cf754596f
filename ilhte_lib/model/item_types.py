"""Covariates of items: what is known of an item beside the responses to it, coded for a model.

    eta_pi = x_p'beta + sigma v_p + z_i'gamma + T_p z_i'delta + (1, T_p) L w_i

z is centred over the items, labels as contrasts with the first one, so that beta_1 stays the effect on the average item
(De Boeck & Wilson, 2004, Explanatory Item Response Models, ch. 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .spec import ModelSpec


@dataclass(frozen=True)
class ItemCovariate:
    """One covariate of J items.

    Attributes
    ----------
    name : what it is called.
    values : (J,) numbers, or labels.
    """

    name: str
    values: tuple[float, ...] | tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Its different labels, in order; None of numbers."""
        if not isinstance(self.values[0], str):
            return None
        return tuple(sorted({str(value) for value in self.values}))

    @property
    def column_names(self) -> tuple[str, ...]:
        """(m,) names of its columns of z: its own, or one a label but the first."""
        return (self.name,) if self.labels is None else tuple(f"{self.name}={label}" for label in self.labels[1:])

    @property
    def columns(self) -> np.ndarray:
        """(J, m) its columns of z, each with mean 0 over the items."""
        if self.labels is None:
            raw = np.array(self.values, float)[:, None]
        else:
            raw = np.array([[value == label for label in self.labels[1:]] for value in self.values], float)
        return raw - raw.mean(axis=0)


def coded(covariates: Sequence[ItemCovariate]) -> tuple[tuple[str, ...], np.ndarray]:
    """Names (m,) and columns (J, m) of several covariates side by side."""
    names = tuple(name for covariate in covariates for name in covariate.column_names)
    return names, np.concatenate([covariate.columns for covariate in covariates], axis=1)


def explained(spec: ModelSpec, names: tuple[str, ...], moderation: bool) -> ModelSpec:
    """A model with item covariates of these names besides, which explain easiness and, with ``moderation``, the effects."""
    z = " + ".join(names)
    formula = spec.formula.replace("treat + ", f"treat * ({z}) + " if moderation else f"treat + {z} + ", 1)
    letter = "I" if moderation else "G"
    return replace(
        spec, name=spec.name.replace("M", letter, 1), formula=formula, item_covariates=names, moderation=moderation
    )
