"""Item covariates, coded for a model: what is known about items apart from the responses to them.

    eta_pi = x_p'beta + sigma v_p + z_i'gamma + T_p z_i'delta + (1, T_p) L w_i

Labels enter as contrasts with the first one. z is centred over the items, so that beta_1 remains the effect on the average
item (De Boeck & Wilson, 2004, Explanatory Item Response Models, ch. 2).
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
    name : its name.
    values : (J,) numbers, or labels.
    """

    name: str
    values: tuple[float, ...] | tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The distinct labels, sorted; None for a numeric covariate."""
        if not isinstance(self.values[0], str):
            return None
        return tuple(sorted({str(value) for value in self.values}))

    @property
    def column_names(self) -> tuple[str, ...]:
        """(m,) names of its columns of z: one column if numeric, otherwise one for each label but the first."""
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
    """The model with these item covariates added, which explain easiness and, with ``moderation``, item effects too."""
    z = " + ".join(names)
    formula = spec.formula.replace("treat + ", f"treat * ({z}) + " if moderation else f"treat + {z} + ", 1)
    letter = "I" if moderation else "G"
    return replace(
        spec, name=spec.name.replace("M", letter, 1), formula=formula, item_covariates=names, moderation=moderation
    )
