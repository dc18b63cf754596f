"""The four models: their formulas and the names of their parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .compress import Clusters
    from .formats import ItemFormats


@dataclass(frozen=True)
class ModelSpec:
    """One model of the family ``logit P(resp=1) = x_p' beta + theta_p + b_i + zeta_i treat_p``.

    For items with more than two categories the predictor, less the item's step, is the log-odds of each category against the
    one below it (see ``formats``).

    Attributes
    ----------
    name : "M_0", "M_A", "M_B" or "M_C".
    covariate : whether the fixed part includes ``cov`` and ``treat:cov``.
    item_effects : whether items have their own treatment effect zeta_i (q = 2) or easiness alone (q = 1).
    formula : the same model in lme4's notation.
    steps : names of the free steps of items with more than two categories.
    cluster_factor : where clusters have random effects, names of the lower triangle of M by rows: m11 for their level and,
        with ``(treat|cluster)``, m21 and m22 for the treatment effect in them.
    item_covariates : names of covariates z of the items (see ``item_types``), whose effects on easiness, gamma, and, with
        ``moderation``, on the effect of treatment, delta, are fixed: ``+ z_i'gamma + T_p z_i'delta``.
    """

    name: str
    covariate: bool
    item_effects: bool
    formula: str
    steps: tuple[str, ...] = ()
    cluster_factor: tuple[str, ...] = ()
    item_covariates: tuple[str, ...] = ()
    moderation: bool = False

    def of_items(self, formats: ItemFormats | None) -> ModelSpec:
        """The same model for items with these formats (None: all have two categories)."""
        return replace(self, steps=() if formats is None else formats.names)

    def of_clusters(self, clusters: Clusters | None) -> ModelSpec:
        """The same model with random effects for these clusters (None: without any)."""
        plain = self.formula.removesuffix(" + (1|cluster)").removesuffix(" + (treat|cluster)")
        if clusters is None:
            return replace(self, cluster_factor=(), formula=plain)
        if clusters.effects:
            return replace(self, cluster_factor=("m11", "m21", "m22"), formula=plain + " + (treat|cluster)")
        return replace(self, cluster_factor=("m11",), formula=plain + " + (1|cluster)")

    @property
    def cluster_q(self) -> int:
        """Random effects per cluster: 0, 1 (level) or 2 (level and treatment effect)."""
        return {0: 0, 1: 1, 3: 2}[len(self.cluster_factor)]

    @property
    def q(self) -> int:
        """Random effects per item: 1 (easiness) or 2 (easiness and treatment effect)."""
        return 2 if self.item_effects else 1

    @property
    def beta_names(self) -> tuple[str, ...]:
        """Names of the fixed effects, in the order of ``Fit.beta``: person level first, then item level."""
        of_persons = ("intercept", "treat", "cov", "treat:cov") if self.covariate else ("intercept", "treat")
        moderated = tuple(f"treat:{name}" for name in self.item_covariates) if self.moderation else ()
        return (*of_persons, *self.item_covariates, *moderated)

    @property
    def n_item_coefficients(self) -> int:
        """How many of ``beta_names`` belong to items; they come last, gamma before delta."""
        return len(self.item_covariates) * (2 if self.moderation else 1)

    @property
    def psi_names(self) -> tuple[str, ...]:
        """Names of all free parameters, in the order of ``Fit.vcov``: beta, steps, M by rows, sigma_theta, L by rows."""
        factor = ("l11", "l21", "l22") if self.item_effects else ("l11",)
        return (*self.beta_names, *self.steps, *self.cluster_factor, "sigma_theta", *factor)


MODELS: dict[str, ModelSpec] = {
    "M_0": ModelSpec("M_0", False, False, "resp ~ treat + (1|id) + (1|item)"),
    "M_A": ModelSpec("M_A", False, True, "resp ~ treat + (1|id) + (treat|item)"),
    "M_B": ModelSpec("M_B", True, False, "resp ~ treat * cov + (1|id) + (1|item)"),
    "M_C": ModelSpec("M_C", True, True, "resp ~ treat * cov + (1|id) + (treat|item)"),
}
