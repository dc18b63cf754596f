"""Simulated trials with known truth, drawn from the package's own model with a seed.

For person p in arm T_p with pretest c_p, and item i with easiness b_i and effect zeta_i,

    logit P(resp = 1) = ate T + gamma c + beta_3 T c + sigma_theta v + b_i + zeta_i T,     v, c ~ (0, 1),
    (b_i, zeta_i) bivariate normal with SDs sigma_b, sigma_zeta and correlation rho

(Gilbert, Miratrix, Joshi & Domingue, 2025, doi:10.3102/10769986241240085). Everything is in logits.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from .formats import ItemFormats

if TYPE_CHECKING:
    import pandas as pd

MISSING = -1
"""Code for a response not observed, in ``SimulatedTrial.responses``."""


@dataclass(frozen=True)
class Design:
    """The parameters of a simulated trial; logits throughout.

    Attributes
    ----------
    n_persons, n_items : size of the trial.
    seed : one seed gives one trial and, with ``replication``, a family of independent trials.
    sigma_theta : SD of the person effects given arm and pretest.
    ate : average treatment effect beta_1, at the mean of the pretest.
    sigma_b, sigma_zeta, rho : SD of item easiness, SD of item-specific effects, their correlation.
    gamma : slope of the pretest; None for a trial without one.
    beta_3 : true treatment-by-pretest interaction; needs a pretest.
    baseline_levels : the pretest has at most this many values (a standardised number-correct score of
        ``baseline_levels - 1`` fair coin flips); None for a normal pretest.
    missing : share of responses missing completely at random.
    forms : number of planned test forms, balanced over persons; form f omits every item whose number is f
        modulo ``forms``. None for a single complete form.
    steps : tau_1 ... tau_K of every item, summing to 0, for responses of 0 to K (see ``formats``); None for 0 and 1.
    treat_share : share of persons treated: exactly ``round(treat_share * n_persons)`` of them, chosen at random. With
        ``clusters``, the share of clusters treated or, with ``sites``, of the persons in each.
    clusters : number of clusters, over which persons are spread evenly; None without clusters.
    sigma_u : SD of the clusters' levels; sigma_theta is then the SD within clusters.
    sites : whether persons are randomised within clusters, which then hold both arms, instead of whole clusters.
    sigma_site : SD of the treatment effect between sites.

    Raises
    ------
    InputError : a value outside its range.
    """

    n_persons: int
    n_items: int
    seed: int
    sigma_theta: float = 1.0
    ate: float = 0.2
    sigma_b: float = 1.0
    sigma_zeta: float = 0.4
    rho: float = 0.0
    gamma: float | None = None
    beta_3: float = 0.0
    baseline_levels: int | None = None
    missing: float = 0.0
    forms: int | None = None
    treat_share: float = 0.5
    steps: tuple[float, ...] | None = None
    clusters: int | None = None
    sigma_u: float = 0.0
    sites: bool = False
    sigma_site: float = 0.0

    def __post_init__(self) -> None:
        rules = {
            "n_items must be at least 1": self.n_items >= 1,
            "seed must not be negative": self.seed >= 0,
            "sigma_theta, sigma_b and sigma_zeta must be finite and not negative": all(
                0 <= s < np.inf for s in (self.sigma_theta, self.sigma_b, self.sigma_zeta)
            ),
            "rho must lie between -1 and 1": -1 <= self.rho <= 1,
            "ate, gamma and beta_3 must be finite": all(
                np.isfinite(x) for x in (self.ate, self.gamma or 0, self.beta_3)
            ),
            "missing must be at least 0 and less than 1": 0 <= self.missing < 1,
            "treat_share must leave at least one person in each arm": 0 < self.treat_share < 1
            and 0 < self.n_treated < self.n_persons,
            "beta_3 and baseline_levels need a pretest: give gamma": self.gamma is not None
            or (self.beta_3 == 0 and self.baseline_levels is None),
            "baseline_levels must be at least 2": self.baseline_levels is None or self.baseline_levels >= 2,
            "steps must be two or more numbers that add up to 0": self.steps is None
            or (len(self.steps) > 1 and abs(sum(self.steps)) < 1e-9),
            "forms must lie between 2 and n_items": self.forms is None or 2 <= self.forms <= self.n_items,
            "clusters must be at least 4, of two or more persons on average": self.clusters is None
            or 4 <= self.clusters <= self.n_persons / 2,
            "sigma_u and sigma_site must be finite and not negative": all(
                0 <= s < np.inf for s in (self.sigma_u, self.sigma_site)
            ),
            "sigma_u and sites need clusters": self.clusters is not None or (self.sigma_u == 0 and not self.sites),
            "effects differ between clusters only where these hold both arms (sites)": self.sites
            or self.sigma_site == 0,
            "treat_share must leave two clusters in each arm": self.clusters is None
            or self.sites
            or 2 <= self.clusters_treated <= self.clusters - 2,
        }
        for rule, kept in rules.items():
            if not kept:
                raise InputError(f"The design of a simulated trial cannot be drawn: {rule}.")

    @property
    def n_treated(self) -> int:
        """Persons in the treatment arm; approximate where clusters are randomised, whose sizes differ by a person or two."""
        if self.clusters and not self.sites:
            return round(self.n_persons * self.clusters_treated / self.clusters)
        return round(self.treat_share * self.n_persons)

    @property
    def clusters_treated(self) -> int:
        """Number of treated clusters where clusters are randomised."""
        return round(self.treat_share * (self.clusters or 0))

    @property
    def cluster(self) -> np.ndarray:
        """(N,) cluster of each person, 0 ... clusters - 1."""
        return np.arange(self.n_persons) * (self.clusters or 1) // self.n_persons

    def draw_arms(self, rng: np.random.Generator) -> np.ndarray:
        """(N,) int8 arms, randomised over persons, over whole clusters or within sites."""
        n = self.n_persons
        if self.clusters is None:
            return (rng.permutation(n) < self.n_treated).astype(np.int8)
        if not self.sites:
            return (rng.permutation(self.clusters) < self.clusters_treated)[self.cluster].astype(np.int8)
        # evenly spaced treated places in a random order within sites give every site its share of treated persons
        place = np.argsort(np.lexsort((rng.random(n), self.cluster)))
        return np.diff(np.floor(np.arange(n + 1) * (self.n_treated / n) + 1e-9))[place].astype(np.int8)

    @property
    def formats(self) -> ItemFormats | None:
        """The items' formats; None where responses are 0 and 1."""
        return None if self.steps is None else ItemFormats(np.full(self.n_items, len(self.steps)))

    @property
    def sigma_person(self) -> float:
        """SD of theta in the control arm when the pretest is not in the model: what M_0 and M_A estimate."""
        return float(np.hypot(self.sigma_theta, self.gamma or 0.0))

    @property
    def name(self) -> str:
        """A table name that marks it as simulated and spells out the design, e.g. ``sim_n0500_j20_sz40_rho50_pre``."""

        def hundredths(value: float) -> str:
            n = round(100 * value)
            return f"{'m' if n < 0 else ''}{abs(n):02d}"

        parts = ["sim", f"n{self.n_persons:04d}", f"j{self.n_items:02d}"]
        parts += [f"sz{hundredths(self.sigma_zeta)}", f"rho{hundredths(self.rho)}"]
        if self.gamma is not None:
            parts.append(f"pre{self.baseline_levels or ''}")
        if self.beta_3:
            parts.append(f"int{hundredths(self.beta_3)}")
        if self.steps:
            parts.append(f"cat{len(self.steps) + 1}")
        if self.missing:
            parts.append(f"mis{hundredths(self.missing)}")
        if self.clusters:
            parts.append(f"{'sites' if self.sites else 'cl'}{self.clusters}_su{hundredths(self.sigma_u)}")
        if self.forms:
            parts.append(f"forms{self.forms}")
        return "_".join(parts)


@dataclass(frozen=True)
class SimulatedTrial:
    """A drawn trial as arrays.

    Attributes
    ----------
    responses : (N, J) int8, 0 or 1 (0 to K with ``Design.steps``), ``MISSING`` (-1) where not observed.
    treat : (N,) int8 arm.
    covariate : (N,) pretest with population mean 0 and SD 1, or None.
    easiness, zeta : (J,) the realised b_i and zeta_i, logits.
    shown : (N, J) bool, whether the item was on the person's form; None without planned forms.
    """

    responses: np.ndarray
    treat: np.ndarray
    covariate: np.ndarray | None
    easiness: np.ndarray
    zeta: np.ndarray
    shown: np.ndarray | None = None


def random_generator(design: Design, replication: int | None = None) -> np.random.Generator:
    """PCG64 seeded with ``SeedSequence(design.seed)``, or with its child number ``replication``.

    Any replication can be drawn on its own, in any order and process: child k is ``SeedSequence(seed).spawn(k + 1)[k]``.
    """
    spawn_key = () if replication is None else (replication,)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(design.seed, spawn_key=spawn_key)))


def _draw_items(design: Design, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    w1, w2 = rng.standard_normal((2, design.n_items))
    return design.sigma_b * w1, design.sigma_zeta * (design.rho * w1 + np.sqrt(1.0 - design.rho**2) * w2)


def draw_trial(design: Design, replication: int | None = None) -> SimulatedTrial:
    """Draw one trial as arrays, without pandas; ``replication`` k is the k-th independent trial of the design."""
    rng = random_generator(design, replication)
    n, j = design.n_persons, design.n_items
    easiness, zeta = _draw_items(design, rng)
    treat = design.draw_arms(rng)
    person = design.ate * treat + design.sigma_theta * rng.standard_normal(n)
    covariate = None
    if design.gamma is not None:
        if design.baseline_levels is None:
            covariate = rng.standard_normal(n)
        else:
            flips = design.baseline_levels - 1
            covariate = (2.0 * rng.binomial(flips, 0.5, n) - flips) / np.sqrt(flips)
        person += (design.gamma + design.beta_3 * treat) * covariate
    if design.clusters is not None:
        levels, effects = rng.standard_normal((2, design.clusters))
        person += design.sigma_u * levels[design.cluster] + design.sigma_site * effects[design.cluster] * treat
    eta = person[:, None] + np.where(treat[:, None] == 1, easiness + zeta, easiness)
    if design.steps is None or design.formats is None:
        responses = (rng.random((n, j)) * (1.0 + np.exp(-eta)) < 1.0).astype(np.int8)
    else:
        drawn = design.formats.draw(np.tile(np.arange(j), n), eta.ravel(), np.array(design.steps[:-1]), rng)
        responses = drawn.reshape(n, j).astype(np.int8)
    shown = None
    if design.missing:
        responses[rng.random((n, j)) < design.missing] = MISSING
    if design.forms:
        form = rng.permutation(n) % design.forms
        shown = form[:, None] != np.arange(j) % design.forms
        responses[~shown] = MISSING
    return SimulatedTrial(responses, treat, covariate, easiness, zeta, shown)


def item_names(design: Design) -> list[str]:
    """The J item names of a simulated table: i01, i02, ..."""
    width = max(2, len(str(design.n_items)))
    return [f"i{k:0{width}d}" for k in range(1, design.n_items + 1)]


def truth_of(design: Design) -> dict[str, Any]:
    """The truth behind ``simulate_trial(design)``, ready for JSON.

    Every field of the design, ``sigma_person``, ``ate_std`` and ``sigma_zeta_std`` (in SDs of ``sigma_person``; None
    where that is 0), and the realised ``easiness`` and ``zeta`` of each item by name, logits.
    """
    easiness, zeta = _draw_items(design, random_generator(design))
    names, sd = item_names(design), design.sigma_person
    fields = asdict(design)
    unused = ({"steps"} if design.steps is None else set()) | (set(_OF_CLUSTERS) if design.clusters is None else set())
    known = {key: value for key, value in fields.items() if key not in unused}
    return {
        **known,
        "sigma_person": sd,
        "ate_std": design.ate / sd if sd else None,
        "sigma_zeta_std": design.sigma_zeta / sd if sd else None,
        "easiness": dict(zip(names, easiness.tolist(), strict=True)),
        "zeta": dict(zip(names, zeta.tolist(), strict=True)),
    }


def simulate_trial(design: Design) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Draw a trial as a long table ``id, item, resp, treat[, std_baseline]`` with its truth (see ``truth_of``).

    A response missing at random is a row with NaN in ``resp``; an item that was not on the person's form has no row.
    """
    import pandas as pd

    trial = draw_trial(design)
    n, j = design.n_persons, design.n_items
    resp = trial.responses.ravel()
    table = pd.DataFrame(
        {
            "id": np.repeat(np.arange(1, n + 1), j),
            "item": np.tile(np.array(item_names(design), dtype=object), n),
            "resp": np.where(resp == MISSING, np.nan, resp) if design.missing else resp.astype(np.int64),
            "treat": np.repeat(trial.treat.astype(np.int64), j),
        }
    )
    if trial.covariate is not None:
        table["std_baseline"] = np.repeat(trial.covariate, j)
    if design.clusters is not None:
        table["cluster"] = np.repeat(design.cluster + 1, j)
    if trial.shown is not None:
        table = table[trial.shown.ravel()].reset_index(drop=True)
    return table, truth_of(design)


_OF_CLUSTERS = ("clusters", "sigma_u", "sites", "sigma_site")

_PRETEST_21: dict[str, Any] = {"gamma": 0.7, "baseline_levels": 21}

_DESIGNS = (
    Design(200, 4, 101, ate=0.30, sigma_zeta=0.0),
    Design(200, 10, 102, ate=-0.10, sigma_zeta=0.3),
    Design(500, 8, 103, ate=0.0, sigma_zeta=0.0),
    Design(500, 20, 104, sigma_zeta=0.4, rho=0.5),
    Design(1000, 10, 105, ate=0.45, sigma_zeta=0.2, rho=-0.5, treat_share=0.33),
    Design(1000, 30, 106, ate=0.15, sigma_zeta=0.5, rho=0.9),
    Design(2000, 15, 107, ate=-0.25, sigma_zeta=0.1, rho=0.3),
    Design(2000, 40, 108, ate=0.35, sigma_zeta=0.4, rho=-0.3),
    Design(5000, 60, 109, ate=0.10, sigma_zeta=0.3, rho=0.2),
    Design(200, 20, 110, ate=0.60, sigma_zeta=0.5, gamma=0.6),
    Design(500, 6, 111, ate=0.25, sigma_zeta=0.6, rho=-0.6, gamma=0.5),
    Design(500, 20, 112, ate=0.20, sigma_zeta=0.4, rho=0.5, gamma=0.7),
    Design(800, 12, 113, ate=0.05, sigma_zeta=0.0, gamma=0.8),
    Design(1000, 24, 114, ate=0.40, sigma_zeta=0.7, rho=-0.9, **_PRETEST_21),
    Design(1000, 40, 115, ate=-0.15, sigma_zeta=0.2, rho=0.7, **_PRETEST_21),
    Design(1500, 20, 116, ate=0.30, sigma_zeta=0.7, rho=0.9, **_PRETEST_21),
    Design(2000, 30, 117, ate=0.20, sigma_zeta=0.5, rho=-0.4, beta_3=0.2, **_PRETEST_21),
    Design(3000, 12, 118, ate=0.12, sigma_zeta=0.3, rho=0.6, treat_share=0.67, **_PRETEST_21),
    Design(5000, 25, 119, ate=0.08, sigma_zeta=0.15, **_PRETEST_21),
    Design(
        2000, 40, 120, ate=0.25, sigma_b=1.5, sigma_zeta=0.7, rho=-0.9, sigma_theta=0.7, gamma=1.0, baseline_levels=21
    ),
    Design(500, 20, 121, ate=0.20, sigma_zeta=0.4, rho=0.5, missing=0.1),
    Design(1000, 15, 122, ate=-0.35, sigma_zeta=0.3, rho=-0.2, gamma=0.7, missing=0.2),
    Design(1200, 30, 123, ate=0.28, sigma_zeta=0.4, rho=0.4, forms=3),
    Design(2000, 36, 124, ate=0.18, sigma_zeta=0.35, rho=-0.7, forms=4, **_PRETEST_21),
)

DESIGNS: dict[str, Design] = {design.name: design for design in _DESIGNS}
"""Every simulated table available by name."""

COLLECTION: dict[str, Design] = {_DESIGNS[n].name: _DESIGNS[n] for n in (0, 4, 11, 12, 15, 16, 19, 22)}
"""The bundled simulated tables, each for a question that needs a known truth: no item effects with few items (0) or with a
pretest (12); item effects that a short test misses (4); a typical trial (11); spurious interactions of either sign (15, 19) and
a true one (16); test forms (22)."""

SPURIOUS_INTERACTION = _DESIGNS[19].name
"""The table that shows the identification problem: easy items gain less (rho = -0.9) and the true interaction is 0, so
M_B finds that persons with high pretest scores gain more, and M_C does not."""


def write_collection(
    folder: str | Path,
    designs: Iterable[Design] = tuple(COLLECTION.values()),
    edited: Callable[[Path], None] = lambda path: None,
) -> list[Path]:
    """Write ``<name>.csv.gz`` for each design and ``truth.json`` (name -> truth) into ``folder``, each file atomically.

    The same designs always give the same bytes. ``edited`` is called with the path under which an earlier file is kept that
    the user has edited since. Returns the paths of the tables, in the order of ``designs``.

    Raises
    ------
    InputError : two designs share a name, or ilhte did not write the folder.
    """
    import json

    from ..manifest import Manifest

    designs, folder = list(designs), Path(folder)
    names = [design.name for design in designs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"Two designs are both called {twice}: write them to different folders.")
    remedy = "name an empty or a new folder."
    manifest = Manifest.open(folder, remedy)
    manifest.refuse_collisions([*(f"{name}.csv.gz" for name in names), "truth.json"], remedy)
    paths, truths = [], {}
    for design in designs:
        table, truths[design.name] = simulate_trial(design)
        paths.append(manifest.write(f"{design.name}.csv.gz", _gzipped_csv(table)))
    manifest.write("truth.json", (json.dumps(truths, indent=1, allow_nan=False) + "\n").encode())
    for path in manifest.kept:
        edited(path)
    return paths


def _gzipped_csv(table: pd.DataFrame) -> bytes:
    import gzip

    # With a missing response, a float column would write 1.0 for 1.
    text = table.astype({"resp": "Int64"}).to_csv(index=False, lineterminator="\n")
    buffer = io.BytesIO()
    # No file name and no time in the header: the same table gives the same bytes.
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as stream:
        stream.write(text.encode())
    return buffer.getvalue()
