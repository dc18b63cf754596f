"""The bundled collection: real tables in the data folder, and simulated ones drawn on demand."""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..model.simulate import COLLECTION, DESIGNS, SPURIOUS_INTERACTION, Design, simulate_trial, truth_of

if TYPE_CHECKING:
    import pandas as pd


FEWEST_CLUSTERS = 3
"""Two clusters are no sample: a t interval with one degree of freedom is uninformative about any effect."""


@dataclass(frozen=True)
class TableInfo:
    """The catalogue's entry for one bundled table; texts are plain, not HTML.

    Attributes
    ----------
    tab, title : its name and a short title.
    kind : "real" or "simulated".
    experiment : the experiment it belongs to; tables of one experiment share persons.
    randomised : whether the experimenter assigned ``treat``; if not, effects are differences between groups.
    randomisation : how ``treat`` was assigned, as documented.
    group : what ``treat = 1`` and ``treat = 0`` are.
    items, response, pretest : what the items are, what a response means, which column is a pretest, if any.
    items_are : "items", or "visits" where the items are one outcome at several times.
    labels : labels of a rating scale's categories, "0 not at all; 1 a little ..."; empty where responses are 0 and 1.
    threshold : for an engine limited to 0 and 1, ratings at or above this count as 1, others as 0; None where responses are
        0 and 1.
    lower_is_better : whether a response of 1 is undesirable (symptoms).
    note : what a reader should know before believing the effect; may be empty.
    citation, citation_key : full reference, and its keys in ``data/citations.bib``, separated by ";"; empty if simulated.
    origin, licence : where the table comes from and under which licence.
    sha256 : checksum of the bundled file; None if simulated.
    truth : the true parameters of a simulated table (``simulate.truth_of``); None for a real one.
    """

    tab: str
    title: str
    kind: str
    randomised: bool
    group: str
    items: str
    response: str
    lower_is_better: bool
    pretest: str
    note: str
    citation: str
    citation_key: str
    origin: str
    licence: str
    experiment: str = ""
    randomisation: str = ""
    items_are: str = "items"
    labels: str = ""
    threshold: int | None = None
    sha256: str | None = None
    truth: dict[str, Any] | None = field(default=None, compare=False)

    @property
    def is_trial(self) -> bool:
        """Whether it is a real randomised experiment with items proper, so that it counts towards the findings."""
        return self.kind == "real" and self.randomised and self.items_are == "items"

    @property
    def digest(self) -> str:
        """Identifies its data: the file's checksum, or that of a simulated table's parameters."""
        return self.sha256 or hashlib.sha256(repr(self.truth).encode()).hexdigest()


def bundled_tables(data_folder: str | Path | None) -> list[str]:
    """Names of the bundled collection, real tables first; without a data folder (None) only the simulated ones."""
    return [*_real(data_folder), *COLLECTION]


def table_info(tab: str, data_folder: str | Path | None) -> TableInfo:
    """The catalogue's entry for a bundled table or any other simulated design.

    Raises
    ------
    InputError : there is no such table, or ``data_folder`` has no catalogue.csv.
    """
    if tab in DESIGNS:
        return _simulated_info(DESIGNS[tab])
    real = _real(data_folder)
    if tab not in real:
        names = [*real, *DESIGNS]
        close = difflib.get_close_matches(tab, names, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(names[:3])} and others."
        raise InputError(f"There is no bundled table called {tab!r}: {hint}")
    return real[tab]


def load_bundled(tab: str, data_folder: str | Path | None) -> pd.DataFrame:
    """A bundled table in long format.

    Columns are ``id, item, resp, treat`` and, where it has them, ``wave``, ``cluster``, ``std_baseline``, ``cov_*``, and
    ``itemcov_*`` from ``item_types.csv``. Ratings are as given (``prepare`` dichotomises them with ``threshold``). Clusters too
    few to estimate how clusters vary, such as the two film studies, are in a column ``study``, which no model uses.

    Raises
    ------
    InputError : there is no such table, its file is absent, or it does not match its checksum.
    """
    import pandas as pd

    info = table_info(tab, data_folder)
    if info.kind == "simulated":
        return simulate_trial(DESIGNS[tab])[0]
    path = Path(str(data_folder)) / "tables" / f"{tab}.csv.gz"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"The bundled table {tab} cannot be read ({error.strerror}): restore {path}.") from error
    if hashlib.sha256(content).hexdigest() != info.sha256:
        raise InputError(f"The bundled table {tab} differs from its checksum in catalogue.csv: restore {path}.")
    table = pd.read_csv(io.BytesIO(content), compression="gzip")
    if "cluster" in table and table["cluster"].nunique() < FEWEST_CLUSTERS:
        table = table.rename(columns={"cluster": "study"})
    for name, values in item_types_of(tab, data_folder).items():
        table[f"itemcov_{name}"] = table["item"].map(values)
    return table


def item_types_of(tab: str, data_folder: str | Path | None) -> dict[str, dict[str, str]]:
    """Item covariates of a bundled table, {covariate: {item: value}}; empty where there are none."""
    path = Path(str(data_folder)) / "item_types.csv"
    if data_folder is None or not path.exists():
        return {}
    found: dict[str, dict[str, str]] = {}
    for row in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))):
        if row["tab"] == tab:
            found.setdefault(row["covariate"], {})[row["item"]] = row["value"]
    return found


def _real(data_folder: str | Path | None) -> dict[str, TableInfo]:
    if data_folder is None:
        return {}
    path = Path(data_folder) / "catalogue.csv"
    if not path.exists() and (path.parent / "computed").is_dir():
        return {}  # an installed package: the real tables' licences keep them out of it
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): name the project's data folder.") from error
    flags = {"true": True, "false": False}
    rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(text)))
    return {
        row["tab"]: TableInfo(
            **row
            | {name: flags[row[name]] for name in ("randomised", "lower_is_better")}
            | {"threshold": int(row["threshold"]) if row["threshold"] else None}
        )
        for row in rows
    }


def _simulated_info(design: Design) -> TableInfo:
    pretest = "none"
    if design.gamma is not None:
        values = f" with at most {design.baseline_levels} values" if design.baseline_levels else ""
        pretest = f"std_baseline: simulated pretest{values}"
    note = "Simulated, not a trial: drawn from the model with a known truth."
    if design.forms:
        note += f" Planned missing responses: {design.forms} test forms, each without every {design.forms}th item."
    if design.missing:
        note += f" {design.missing:.0%} of the responses are missing at random."
    if design.beta_3:
        note += f" There is a true treatment-by-pretest interaction of {design.beta_3:g} logits."
    if design.name == SPURIOUS_INTERACTION:
        note += (
            " Made to show the identification problem: easy items gain less from the treatment (rho = -0.9) and the"
            " true treatment-by-pretest interaction is 0. A model without item-level effects (M_B) tends to find a positive"
            " interaction; with them (M_C) it should vanish."
        )
    return TableInfo(
        tab=design.name,
        title=f"Simulated trial: {design.n_persons:,} persons, {design.n_items} items",
        kind="simulated",
        randomised=True,
        group="treat = 1: simulated treatment; treat = 0: simulated control",
        items=f"{design.n_items} simulated items",
        response="resp = 1: simulated correct answer",
        lower_is_better=False,
        pretest=pretest,
        note=note,
        citation="",
        citation_key="",
        origin=f"ilhte_lib.simulate, seed {design.seed}",
        licence="MIT",
        truth=truth_of(design),
    )
