"""How often the interval of the average effect contains the truth if few or many clusters (schools) were randomised.

Half of the clusters of each trial are treated. It is analysed with ``(1|cluster)`` in the models, and as if its persons were
independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ilhte_lib.engine.native import fit_statistics
from ilhte_lib.inference.profile import Profiler, objective
from ilhte_lib.inference.replicate import replicate_number
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
    clusters, persons, n_items : number of clusters (half of them treated), persons per cluster, items.
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
_NAMES = ("estimate", "se", "rise", "sigma_u", "ignoring_estimate", "ignoring_se", "ignoring_rise")


def draw(design: ClusterDesign, rng: np.random.Generator) -> SufficientStatistics:
    """The sufficient statistics, with clusters, of one simulated trial."""
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


def _at_truth(statistics: SufficientStatistics, truth: float) -> tuple[Fit, float]:
    """M_A, and the rise of its profile deviance of beta_1 at the truth: the profile interval contains the truth if this
    is below the squared quantile, so its ends need not be computed."""
    fit = fit_statistics(statistics, MODELS["M_A"])
    return fit, Profiler(objective(statistics, fit), fit).rise("treat", truth)


def _judged(statistics: SufficientStatistics, _: np.random.Generator) -> list[float]:
    truth = DESIGNS[0].ate
    fit, rise = _at_truth(statistics, truth)
    without, ignoring = _at_truth(without_clusters(statistics), truth)
    return [
        fit.coefficient("treat"), fit.standard_error("treat"), rise, fit.clusters.sigma_u,
        without.coefficient("treat"), without.standard_error("treat"), ignoring,
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
        design = self.designs[replicate_number(rng) % len(self.designs)]
        return np.array(self.analyse(draw(design, rng), rng))


STUDY = _ClusterStudy(DESIGNS, _NAMES, _judged, _table)
"""Its table has one row per trial: replication, clusters, truth, estimate and se of beta_1, and sigma_u, in logits; rise, the rise
of the profile deviance of beta_1 at the truth; and ignoring_estimate, ignoring_se, ignoring_rise from the same trial without its
clusters."""


def cluster_summary(trials: pd.DataFrame) -> pd.DataFrame:
    """Share of intervals of beta_1 that contain the truth, with its 95% Monte Carlo interval (Wilson).

    A trial without an interval counts as a miss.

    Returns
    -------
    One row per number of clusters and method ("profile" and "Wald", by t with clusters - 2 degrees of freedom; "clusters ignored",
    the profile by the normal quantile): clusters, method, coverage, lower, upper, se (median), sd (of the estimates),
    at_zero (share of fits with sigma_u = 0), replications.
    """
    import pandas as pd
    from scipy.special import ndtri, stdtrit

    out = []
    for clusters, rows in trials.groupby("clusters", sort=True):
        t, z = float(stdtrit(clusters - 2, 0.975)), float(ndtri(0.975))
        away = ((rows["estimate"] - rows["truth"]) / rows["se"]).abs()
        # a comparison with NaN is false
        held = {
            "profile": rows["rise"] <= t * t,
            "Wald": away <= t,
            "clusters ignored": rows["ignoring_rise"] <= z * z,
        }
        for method, inside in held.items():
            prefix = "ignoring_" if method == "clusters ignored" else ""
            share = float(inside.mean())
            of_estimates = float(rows[f"{prefix}se"].median()), float(rows[f"{prefix}estimate"].std())
            at_zero = float((rows["sigma_u"] == 0).mean())
            out.append((clusters, method, share, *wilson_interval(share, len(rows)), *of_estimates, at_zero, len(rows)))
    columns = ["clusters", "method", "coverage", "lower", "upper", "se", "sd", "at_zero", "replications"]
    return pd.DataFrame(out, columns=columns)
