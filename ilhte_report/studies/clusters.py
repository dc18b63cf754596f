"""How often the interval of the average effect contains the truth where schools were randomised: few of them, and many.

Each trial has half of its clusters treated. It is analysed with ``(1|cluster)`` in the models, and as if its persons were
independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ilhte_lib.engine.native import fit_statistics
from ilhte_lib.inference.profile import Profiler, fixed_effect_quantile, objective
from ilhte_lib.model.compress import SufficientStatistics, sufficient_statistics, without_clusters
from ilhte_lib.model.fit_result import Fit
from ilhte_lib.model.spec import MODELS

from .simulation import Study
from .size import wilson_interval

if TYPE_CHECKING:
    import pandas as pd

SEED = 16012
REPLICATIONS = 1000


@dataclass(frozen=True)
class ClusterDesign:
    """A trial that randomises clusters; logits.

    Attributes
    ----------
    clusters, persons, n_items : clusters in all (half treated), persons in each, items.
    sigma_u, sigma_theta : SDs of clusters and of persons within them.
    ate, sigma_b, sigma_zeta : average effect, SDs of easiness and of item effects, which are independent.
    """

    clusters: int
    seed: int = SEED
    persons: int = 20
    n_items: int = 12
    sigma_u: float = 0.5
    sigma_theta: float = 1.0
    ate: float = 0.3
    sigma_b: float = 1.0
    sigma_zeta: float = 0.4


DESIGNS = tuple(ClusterDesign(clusters) for clusters in (8, 20, 40))
_NAMES = (
    "estimate", "se", "lower", "upper", "wald_lower", "wald_upper", "sigma_u", "ignoring_se", "ignoring_lower", "ignoring_upper",
)  # fmt: skip


def draw(design: ClusterDesign, rng: np.random.Generator) -> SufficientStatistics:
    """One trial, as its statistics with clusters."""
    d, n = design, design.clusters * design.persons
    cluster = np.repeat(np.arange(d.clusters), d.persons)
    treat = cluster % 2
    easiness, zeta = d.sigma_b * rng.standard_normal(d.n_items), d.sigma_zeta * rng.standard_normal(d.n_items)
    level = d.sigma_u * rng.standard_normal(d.clusters)[cluster] + d.sigma_theta * rng.standard_normal(n)
    eta = level[:, None] + easiness + treat[:, None] * (d.ate + zeta)
    resp = rng.random(eta.shape) * (1.0 + np.exp(-eta)) < 1.0
    person, item = np.divmod(np.arange(eta.size), d.n_items)
    names = tuple(str(k + 1) for k in range(d.n_items))
    return sufficient_statistics(names, treat, person, item, resp.ravel().astype(int), cluster=cluster)


def _fitted(statistics: SufficientStatistics) -> tuple[Fit, Fit]:
    null = fit_statistics(statistics, MODELS["M_0"], standard_errors=False)
    return null, fit_statistics(statistics, MODELS["M_A"], smaller=null)


def _intervals(statistics: SufficientStatistics, _: np.random.Generator) -> list[float]:
    null, fit = _fitted(statistics)
    found = Profiler(objective(statistics, fit), fit, null).interval("treat")
    estimate, se = fit.coefficient("treat"), fit.standard_error("treat")
    half = fixed_effect_quantile(fit) * se
    plain = without_clusters(statistics)
    without_null, without = _fitted(plain)
    ignoring = Profiler(objective(plain, without), without, without_null).interval("treat")
    return [
        estimate, se, found.lower, found.upper, estimate - half, estimate + half, fit.clusters.sigma_u,
        without.standard_error("treat"), ignoring.lower, ignoring.upper,
    ]  # fmt: skip


def _table(numbers: np.ndarray, rows: np.ndarray, designs: tuple[ClusterDesign, ...]) -> pd.DataFrame:
    import pandas as pd

    cells = [designs[k % len(designs)] for k in numbers]
    return pd.DataFrame(
        {
            "replication": numbers.astype(np.int32),
            "clusters": np.array([design.clusters for design in cells], np.int16),
            "truth": [design.ate for design in cells],
            # four decimals, a hundredth of the smallest standard error
            **{name: np.round(rows[:, k], 4).astype(np.float32) for k, name in enumerate(_NAMES)},
        }
    )


class _ClusterStudy(Study):
    """A ``Study`` whose trials have clusters."""

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        (k,) = rng.bit_generator.seed_seq.spawn_key
        return np.array(self.analyse(draw(self.designs[k % len(self.designs)], rng), rng))


STUDY = _ClusterStudy(DESIGNS, _NAMES, _intervals, _table)
"""Its table has one row a trial: replication, clusters, truth, estimate and se of beta_1, lower and upper of its profile
interval, wald_lower and wald_upper, both by t; sigma_u; and ignoring_se, ignoring_lower, ignoring_upper with clusters left out
(profile, normal quantile); logits."""

METHODS = {
    "profile": ("lower", "upper"),
    "Wald": ("wald_lower", "wald_upper"),
    "clusters ignored": ("ignoring_lower", "ignoring_upper"),
}


def cluster_summary(trials: pd.DataFrame) -> pd.DataFrame:
    """Share of intervals of beta_1 that contain the truth, with its 95% Monte Carlo interval (Wilson).

    A trial without an interval counts as a miss.

    Returns
    -------
    One row a number of clusters and method ("profile", "Wald", "clusters ignored"): clusters, method, coverage, lower, upper,
    width (median), undefined (share without an end), at_zero (share of fits with sigma_u = 0), replications.
    """
    import pandas as pd

    out = []
    for clusters, rows in trials.groupby("clusters", sort=True):
        truth = rows["truth"].to_numpy(float)
        for method, (low, high) in METHODS.items():
            lower, upper = rows[low].to_numpy(float), rows[high].to_numpy(float)
            missing = np.isnan(lower) | np.isnan(upper)
            # intervals are stored with four decimals: an end this close to the truth contains it
            share = float(np.mean((lower <= truth + 5e-5) & (upper >= truth - 5e-5) & ~missing))
            width = float(np.nanmedian(upper - lower))
            at_zero = float((rows["sigma_u"] == 0).mean())
            ends = wilson_interval(share, len(rows))
            out.append((clusters, method, share, *ends, width, float(missing.mean()), at_zero, len(rows)))
    columns = ["clusters", "method", "coverage", "lower", "upper", "width", "undefined", "at_zero", "replications"]
    return pd.DataFrame(out, columns=columns)
