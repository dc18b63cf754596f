"""How often the tests of sigma_zeta = 0 reject if it is 0: a simulation.

For each number of items, trials are drawn under the null hypothesis and the likelihood ratio of M_0 against M_A is computed. A
full bootstrap of every trial would take too long; the warp-speed scheme (Giacomini, Politis and White 2013,
Econometric Theory 29(3)) draws a single bootstrap trial from each fitted M_0 and takes the null distribution of the
ratio from all of these draws together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ilhte_lib.engine.native import fit_both
from ilhte_lib.errors import EngineError
from ilhte_lib.inference.bootstrap import TIE, parametric_draw
from ilhte_lib.inference.lrt import p_values
from ilhte_lib.model.compress import SufficientStatistics
from ilhte_lib.model.fit_result import Fit
from ilhte_lib.model.simulate import Design

from .simulation import PairStudy

if TYPE_CHECKING:
    import pandas as pd

SEED = 41001
REPLICATIONS = 2000
DESIGNS = tuple(
    Design(500, n_items, SEED, sigma_theta=1.0, ate=0.2, sigma_b=1.0, sigma_zeta=0.0) for n_items in (8, 20, 40)
)
"""500 persons, half of them treated, and 8, 20 or 40 items with equal effects."""
TESTS = ("naive", "halved", "mixture", "bootstrap")


def _ratio(fits: tuple[Fit, Fit] | EngineError) -> float:
    """The likelihood ratio of M_0 against M_A."""
    return np.nan if isinstance(fits, EngineError) else max(fits[0].deviance - fits[1].deviance, 0.0)


def _ratios(
    tables: list[SufficientStatistics], generators: list[np.random.Generator], fits: list[tuple[Fit, Fit]]
) -> list[list[float]]:
    again = []
    for table, rng, (null, _) in zip(tables, generators, fits, strict=True):
        (child,) = rng.bit_generator.seed_seq.spawn(1)
        again.append(parametric_draw(table, null, np.random.default_rng(child)))
    drawn = fit_both(again, "M_0", "M_A")
    return [[_ratio(observed), _ratio(other)] for observed, other in zip(fits, drawn, strict=True)]


def _table(numbers: np.ndarray, rows: np.ndarray, designs: tuple[Design, ...]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {
            "replication": numbers.astype(np.int32),
            "n_items": np.array([designs[k % len(designs)].n_items for k in numbers], np.int16),
            "lrt_stat": np.round(rows[:, 0], 6),
            "lrt_bootstrap": np.round(rows[:, 1], 6),
        }
    )


STUDY = PairStudy(DESIGNS, ("lrt_stat", "lrt_bootstrap"), _ratios, _table, standard_errors=False)
"""Its table has one row per trial: replication, n_items, lrt_stat, and lrt_bootstrap, the ratio in one trial drawn from
its fitted M_0."""


def size_p_values(trials: pd.DataFrame) -> pd.DataFrame:
    """The p-values of all trials by the four tests (columns ``TESTS``), with ``n_items``; naive is P(chi2_2 > LR)."""
    import pandas as pd

    out = []
    for n_items, rows in trials.dropna().groupby("n_items"):
        ratio, null = rows["lrt_stat"].to_numpy(), np.sort(rows["lrt_bootstrap"].to_numpy())
        tests = [p_values(x) for x in ratio]
        at_least = len(null) - np.searchsorted(null, ratio - TIE, side="left")
        columns = {name: [getattr(t, name) for t in tests] for name in TESTS[:3]}
        out.append(pd.DataFrame({"n_items": n_items, **columns, "bootstrap": (1 + at_least) / (len(null) + 1)}))
    return pd.concat(out, ignore_index=True)


def size_summary(trials: pd.DataFrame, levels: tuple[float, ...] = (0.01, 0.05, 0.1)) -> pd.DataFrame:
    """Share of trials in which each test rejects at each level, with its 95% Monte Carlo interval.

    Returns
    -------
    One row per number of items, test and level: n_items, test, level, size, lower, upper, replications. The interval is
    Wilson's; the bootstrap's critical value is estimated from as many draws as there are trials, which doubles the
    variance, so its interval is that of half the trials.
    """
    import pandas as pd

    out = []
    for n_items, rows in size_p_values(trials).groupby("n_items"):
        for test in TESTS:
            for level in levels:
                share, n = float((rows[test] < level).mean()), len(rows)
                low, high = wilson_interval(share, n / 2 if test == "bootstrap" else n)
                out.append((int(n_items), test, level, share, low, high, n))
    return pd.DataFrame(out, columns=["n_items", "test", "level", "size", "lower", "upper", "replications"])


def wilson_interval(share: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a share observed in n trials (Wilson 1927, JASA 22(158))."""
    from scipy.special import ndtri

    z = float(ndtri(0.5 + level / 2.0))
    centre, spread = share + z * z / (2 * n), z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return float((centre - spread) / (1 + z * z / n)), float((centre + spread) / (1 + z * z / n))
