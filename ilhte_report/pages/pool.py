"""Pooling the trials of a run, and the sections about them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ilhte_lib.errors import InputError
from ilhte_lib.inference.pool import FEWEST, Pool, pool
from ilhte_lib.inference.surface import Surface
from ilhte_lib.messages import counted, listed

from ..words.pool import mean_rows, pool_sentences, pool_words, trial_rows
from .results import read_run
from .section import Section

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

NOTE = (
    "Random-effects model of log(σ_ζ / σ_θ) and Fisher's z of ρ over trials. Each trial enters with its whole restricted likelihood, also "
    "if its fit is on a boundary. SDs over trials have half-normal priors with scale 1 and are integrated over; the means have a normal "
    "prior so wide (ratios from 0.02 to 5.7) that it matters only if the trials contain almost no information."
)
TRIALS = (
    "For each trial, the maximum-likelihood estimates from the trial alone (σ_ζ/σ_θ and ρ; −1, 1 or 0 if the fit is on a boundary) and "
    "the pooled ones with 95% intervals: the less information a trial contains, the more it is shrunk towards the others."
)


@dataclass(frozen=True)
class PooledRun:
    """The pooled trials of a run.

    Attributes
    ----------
    pool : the pooled result; None with too few trials.
    likelihood : sigma_zeta / sigma_theta and rho of M_A by maximum likelihood, by table.
    n_experiments : number of experiments behind the tables; tables of one experiment share persons.
    left_out : trials of the run without a likelihood to pool.
    """

    pool: Pool | None
    likelihood: dict[str, tuple[float, float]]
    n_experiments: int
    left_out: tuple[str, ...]

    def document(self) -> dict:
        """The results as plain values, for JSON."""
        return asdict(self)


def pooled_run(folder: Path) -> PooledRun:
    """Pool the randomised real trials of a run (for a user's own run, all tables).

    Raises
    ------
    InputError : the folder does not contain a finished run.
    """
    import math

    run = read_run(folder)
    surfaces: dict[str, Surface] = {}
    likelihood, left_out = {}, []
    for tab in run.trials:
        document = run.document(tab)
        record = document["inference"].get("surface")
        if record is None:
            left_out.append(tab)
            continue
        surfaces[tab] = Surface.of(record)
        row = run.row(tab)
        # M_A's own sigma_theta, by which the surface is divided
        model = document["models"]["M_A"]
        spread = math.sqrt(max(model["item_cov"][1][1], 0.0)) / model["sigma_theta"]
        likelihood[tab] = (spread, math.nan if row["rho"] is None else float(row["rho"]))
    found = pool(list(surfaces.values()), list(surfaces)) if len(surfaces) >= FEWEST else None
    return PooledRun(found, likelihood, run.only(list(surfaces)).n_experiments, tuple(left_out))


def pool_sections(found: PooledRun) -> list[Section]:
    """The sections about pooled trials."""
    n = len(found.likelihood)
    why = f"Without a likelihood over a grid and left out: {listed(list(found.left_out), 6)}." if found.left_out else ""
    if found.pool is None:
        text = f"There {'is' if n == 1 else 'are'} {counted(n, 'trial', 'trials')} to pool, and at least {FEWEST} are needed."
        return [Section("What the trials say together", (text,), (why,) if why else ())]
    warnings = [why] if why else []
    if found.n_experiments < n:
        warnings.append(
            f"The {n} tables come from {counted(found.n_experiments, 'series of experiments', 'series of experiments')} and share "
            "persons, but are treated as independent: the intervals of the means are too narrow."
        )
    of = found.pool

    def figure() -> Figure:
        from ilhte_lib.figures.pool import pool_figure

        return pool_figure(of)

    return [
        Section("What the trials say together", pool_sentences(of), tuple(warnings), tuple(mean_rows(of)), note=f"{counted(n, 'trial', 'trials')}. {NOTE}"),
        Section("Trials, shrunk towards each other", figure=figure, alt=pool_words(of), note="Pooled estimates with 95% intervals; dashed: the typical trial; red, on top: the prediction for a new trial."),
        Section("Trial by trial", rows=tuple(trial_rows(of, found.likelihood)), left=("Trial",), note=TRIALS),
    ]  # fmt: skip


def named_or_latest(run: str | None) -> Path:
    """The folder of a run, by path or name; by default the latest.

    Raises
    ------
    InputError : there is no such run.
    """
    from ..project import find_project, latest_run
    from ..run.diff import run_folder_named

    folder = latest_run(find_project()) if run is None else run_folder_named(run)
    if not (folder / "run.json").is_file():
        raise InputError(f"{folder.name} does not contain a finished run: call `ilhte run`.")
    return folder
