"""What is fitted: real tables under the vignette's rules with all their persons, and simulated trials of growing size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from ilhte_lib.data.catalogue import bundled_tables, load_bundled, table_info
from ilhte_lib.data.prepare import prepare
from ilhte_lib.data.read import source_name
from ilhte_lib.data.trial import Trial
from ilhte_lib.errors import InputError

PROJECT = Path(__file__).resolve().parents[1]
SHARED = PROJECT.parent / "shared" / "data" / "tables"
SIZES = ((500, 40, 0.0), (500, 40, 0.1), (5000, 60, 0.0), (5000, 60, 0.1), (20000, 60, 0.1))
PEERS_UP_TO = 300_000
"""Larger trials than this many responses are fitted by the native engine alone: peers take many minutes a model."""


def real_tables() -> Iterator[Trial]:
    """Real tables, small ones first."""
    data = PROJECT / "data"
    if SHARED.is_dir():
        tables = {source_name(path): pd.read_csv(path) for path in sorted(SHARED.glob("*.csv.gz"))}
    else:
        names = [name for name in bundled_tables(data) if table_info(name, data).kind == "real"]
        tables = {name: load_bundled(name, data) for name in names}
    for tab, table in sorted(tables.items(), key=lambda pair: len(pair[1])):
        try:
            yield prepare(table, tab, profile="vignette", max_persons=0)
        except InputError as reason:
            print(f"{tab} is left out: {reason}")


def sizes() -> Iterator[Trial]:
    """Simulated trials: sigma_theta 1, effect .2, sigma_b 1, sigma_zeta .4, rho .5."""
    for n_persons, n_items, missing in SIZES:
        name = f"{n_persons} x {n_items}" + (f", {missing:.0%} missing" if missing else "")
        rng = np.random.default_rng([n_persons, n_items, int(100 * missing)])
        treat, probability = draw(rng, *item_parameters(rng, n_items), n_persons, first=0)
        answered = rng.random(probability.shape) >= missing
        person, item = np.nonzero(answered)
        resp = (rng.random(probability.shape) < probability)[answered].astype(np.int8)
        yield Trial(
            tab=name,
            profile="full",
            item_names=tuple(f"q{k + 1}" for k in range(n_items)),
            person_ids=np.arange(n_persons),
            treat=treat,
            person=person,
            item=item,
            resp=resp,
            covariate=None,
            covariate_name=None,
            covariate_correlation=float("nan"),
            cluster=None,
            wave=None,
            audit=(),
            flags=(),
        )


def item_parameters(rng: np.random.Generator, n_items: int) -> tuple[np.ndarray, np.ndarray]:
    """(J,) easiness and (J,) effect of treatment, logits."""
    easiness = rng.normal(size=n_items)
    return easiness, 0.2 + 0.4 * (0.5 * easiness + np.sqrt(0.75) * rng.normal(size=n_items))


def draw(
    rng: np.random.Generator,
    easiness: np.ndarray,
    effect: np.ndarray,
    n_persons: int,
    first: int,
    pretest: np.ndarray | float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """(P,) arms, alternating from person number ``first``, and (P, J) probabilities of a response of 1, to which a pretest (P,) adds
    .4 logits an SD, and .1 more with treatment."""
    treat = ((first + np.arange(n_persons)) % 2).astype(np.int8)
    theta = rng.normal(size=n_persons) + (0.4 + 0.1 * treat) * pretest
    eta = theta[:, None] + easiness + treat[:, None] * effect
    return treat, 1.0 / (1.0 + np.exp(-eta))


def long_table(trial: Trial) -> pd.DataFrame:
    """The rows a peer is given: id, item, resp, treat and, if there is one, the standardised covariate cov."""
    table = pd.DataFrame(
        {
            "id": np.char.add("p", trial.person.astype(str)),
            "item": [f"i{k:04d}" for k in trial.item],
            "resp": trial.resp.astype(int),
            "treat": trial.treat[trial.person].astype(int),
        }
    )
    return table if trial.covariate is None else table.assign(cov=trial.covariate[trial.person])
