"""How often differences in discrimination are mistaken for item effects: a simulation.

No item has an effect of its own in the two-parameter model; treatment shifts the persons, which changes responses to steep items
more than to flat ones. M_0 and M_A are compared with all discriminations equal to 1 and with free ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ilhte_lib.engine.native import fit_statistics
from ilhte_lib.inference.discriminations import LEVEL, Verdict, discriminations_of
from ilhte_lib.model.patterns import response_patterns
from ilhte_lib.model.response_matrix import matrix_statistics
from ilhte_lib.model.spec import MODELS

from .simulation import Simulation
from .size import wilson_interval

if TYPE_CHECKING:
    import pandas as pd

SEED = 41018
REPLICATIONS = 60
N_PERSONS, N_ITEMS, EFFECT, SPREAD = 1000, 20, 0.6, 0.35
"""Half of the persons are treated; the effect is in SDs of the persons (1 logit), the spread is the SD of log a."""


class SlopesAlone(Simulation):
    """Trials whose items differ in discrimination and easiness.

    Its table has one row per trial: mixture p-values and sigma_zeta (logits) with all a = 1 and with free a, whether the verdict
    is that the effects vanish, and the p-value for all a = 1.
    """

    seed = SEED
    names = ("p_equal", "p_free", "zeta_equal", "zeta_free", "vanished", "slopes_p")

    @property
    def identity(self) -> tuple:
        return (N_PERSONS, N_ITEMS, EFFECT, SPREAD)

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        log_a = SPREAD * rng.standard_normal(N_ITEMS)
        treat = (rng.permutation(N_PERSONS) < N_PERSONS // 2).astype(int)
        place = EFFECT * treat + rng.standard_normal(N_PERSONS)
        eta = np.outer(place, np.exp(log_a - log_a.mean())) + rng.standard_normal(N_ITEMS)
        responses = (rng.random(eta.shape) * (1.0 + np.exp(-eta)) < 1.0).astype(int)
        statistics = matrix_statistics(responses, treat)
        main = fit_statistics(statistics, MODELS["M_A"], standard_errors=False)
        person, item = np.indices(responses.shape).reshape(2, -1)
        patterns = response_patterns(statistics.item_names, treat, person, item, responses.ravel())
        found = discriminations_of(patterns, main)
        vanished = float(found.verdict is Verdict.VANISH)
        zetas = found.equal.sigma_zeta, found.free.sigma_zeta
        return np.array([found.equal.test.mixture, found.free.test.mixture, *zetas, vanished, found.slopes_p])


STUDY = SlopesAlone()


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Shares of trials in which each test rejects at 5%, with Wilson's 95% Monte Carlo interval, and the median sigma_zeta.

    Returns
    -------
    Two rows, indexed "equal" and "free": rejects, lower, upper, sigma_zeta (logits).
    """
    import pandas as pd

    rows = rows.dropna()
    out = {}
    for name in ("equal", "free"):
        share = float((rows[f"p_{name}"] < LEVEL).mean())
        out[name] = (share, *wilson_interval(share, len(rows)), float(rows[f"zeta_{name}"].median()))
    return pd.DataFrame.from_dict(out, orient="index", columns=["rejects", "lower", "upper", "sigma_zeta"])
