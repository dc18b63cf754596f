"""The run that pages read, and the numbers quoted in their text."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ilhte_lib.data.arms import BESIDE
from ilhte_lib.data.catalogue import TableInfo, table_info
from ilhte_lib.errors import InputError
from ilhte_lib.inference.effects import ALPHA

from ..project import data_folder, find_project, latest_run, slug
from ..run.folder import refuse_earlier
from ..words.markdown import escape_markdown
from ..words.numbers import number

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Markdown

NUMBERS = (
    "sigma_theta", "ate_std", "ate_std_se", "sigma_zeta_std", "sigma_zeta_std_se", "rho", "rho_se", "sd_ratio", "sd_ratio_se",
    "beta3_b", "beta3_b_se", "beta3_c", "beta3_c_se", "delta_beta3", "delta_beta3_se", "predicted_bias",
)  # fmt: skip
"""Columns of the summary that may be undefined."""
NO_BIAS = 5e-4
"""A predicted bias below this (logits per SD of the covariate) is shown as 0 and has no direction."""
ITEM_NUMBERS = ("b_std", "zeta_std", "total_std", "zeta_se", "total_se", "p_ctrl", "p_treat")


@dataclass(frozen=True)
class RunResults:
    """A finished run.

    Attributes
    ----------
    summary : one row per fitted table, with the columns ``ilhte_lib.inference.effects.SUMMARY_COLUMNS``.
    items : one row per item, with the columns ``ITEM_COLUMNS``.
    record : the content of ``run.json``: dates, settings, versions, the outcome of every table.
    info : the catalogue's entries of the bundled tables among them.
    folder : the run's folder.
    """

    summary: pd.DataFrame
    items: pd.DataFrame
    record: dict
    info: dict[str, TableInfo]
    folder: Path | None = None

    def document(self, tab: str) -> dict:
        """The JSON document of one table, or of one of its arms (``tab / arm``): ``ilhte_lib.analysis.document``."""
        if self.folder is None:
            raise InputError(f"The run of {tab} has no folder.")
        table = self._table(tab)
        found = json.loads((self.folder / "fits" / f"{slug(table)}.json").read_text(encoding="utf-8"))
        return found if table == tab else found["arms"]["documents"][tab.removeprefix(f"{table}{BESIDE}")]

    def told(self, tab: str, name: str) -> tuple[float, float]:
        """The ends of the interval quoted on a table's page, for "average" or "spread" (in the table's unit), "rho", "beta3_b" or
        "beta3_c"; NaN for an undefined end."""
        found = self.document(tab)["inference"]["told"][name]
        low, high = (math.nan if found[end] is None else found[end] for end in ("low", "high"))
        return low, high

    @property
    def own(self) -> bool:
        """Whether the run is a user's own: it contains a table that is not bundled, or no trial of the bundled collection."""
        return set(self.summary["tab"]) != set(self.info) or not any(info.is_trial for info in self.info.values())

    def row(self, tab: str) -> dict:
        """The summary of one table."""
        (row,) = self.summary[self.summary["tab"] == tab].to_dict("records")
        return row

    def page(self, tab: str) -> str:
        """The name of a table's page; for an arm (``tab / arm``) that of its table."""
        return slug(self._table(tab))

    def _table(self, tab: str) -> str:
        tables = [row["tab"] for row in self.record["tables"]]
        return next((table for table in tables if table == tab or tab.startswith(f"{table}{BESIDE}")), tab)

    def only(self, tabs: list[str]) -> RunResults:
        """The run restricted to these tables."""
        pages = {self.page(tab) for tab in tabs}
        rows = [row for row in self.record["tables"] if slug(row["tab"]) in pages or row["status"] == "failed"]
        return RunResults(
            self.summary[self.summary["tab"].isin(tabs)].reset_index(drop=True),
            self.items[self.items["tab"].isin(tabs)].reset_index(drop=True),
            self.record | {"tables": rows},
            {tab: info for tab, info in self.info.items() if tab in tabs},
            self.folder,
        )

    @property
    def trials(self) -> list[str]:
        """The tables that count as trials: bundled ones if they are real, randomised and their items are not visits, and all of a
        user's own."""
        return [tab for tab in self.summary["tab"] if tab not in self.info or self.info[tab].is_trial]

    @property
    def counted(self) -> RunResults:
        """The run restricted to its trials; the whole run if it has none."""
        return self.only(self.trials) if self.trials else self

    @property
    def visits(self) -> list[str]:
        """Trials whose "items" are one outcome at several visits."""
        return [tab for tab, info in self.info.items() if info.randomised and info.items_are == "visits"]

    @property
    def simulated(self) -> list[str]:
        """Simulated tables."""
        return [tab for tab, info in self.info.items() if info.kind == "simulated"]

    @property
    def n_experiments(self) -> int:
        """Number of experiments behind the tables; tables of one experiment share persons."""
        return len({self.info[tab].experiment if tab in self.info else tab for tab in self.summary["tab"]})

    @property
    def n_tables(self) -> int:
        """Number of fitted tables."""
        return len(self.summary)

    @property
    def n_items(self) -> int:
        """Number of items over all fitted tables."""
        return len(self.items)

    @property
    def n_simulated(self) -> int:
        """Number of fitted tables that are simulated."""
        return sum(info.kind == "simulated" for info in self.info.values())

    @property
    def n_significant(self) -> int:
        """Number of tables whose item effects are significant under the run's profile."""
        return int(self.summary["sig_il_hte"].sum())

    def n_significant_after(self, correct: Callable[[np.ndarray], np.ndarray]) -> int:
        """Number of tables that remain significant at 5% after all p-values are adjusted (by ``multiplicity.holm``, say)."""
        vignette = self.record["settings"]["profile"] == "vignette"
        p = self.summary["lrt_pval" if vignette else "lrt_pval_mixture"].to_numpy(dtype=float)
        return int((correct(p) < ALPHA).sum())

    @property
    def n_interaction(self) -> int:
        """Number of tables with a covariate, for which M_B and M_C were fitted."""
        return int(self.summary["delta_beta3"].notna().sum())

    @property
    def n_boundary_rho(self) -> int:
        """Number of tables whose correlation of easiness and effect is estimated at -1 or 1."""
        return int((self.summary["rho"].abs() > 0.9999).sum())

    @property
    def not_randomised(self) -> list[str]:
        """Tables whose groups were not assigned at random."""
        return [tab for tab, info in self.info.items() if not info.randomised]

    @property
    def failed(self) -> list[dict]:
        """Outcomes of the tables that could not be fitted."""
        return [row for row in self.record["tables"] if row["status"] == "failed"]

    @property
    def date(self) -> str:
        """The day the run finished."""
        return f"{datetime.fromisoformat(self.record['finished']):%-d %B %Y}"

    @property
    def test_name(self) -> str:
        """The test behind ``sig_il_hte`` under the run's profile."""
        vignette = self.record["settings"]["profile"] == "vignette"
        return "the halved p-value of the published analysis" if vignette else "the mixture of chi-squares"

    def follows_prediction(self) -> tuple[int, int]:
        """Number of tables whose difference has the sign of the closed form, gamma (k1 - k0) / k, and of tables where that is not 0.

        The closed form includes the slope gamma of the covariate: if it is negative, items that are stretched apart make the
        difference positive.
        """
        rows = self.summary.dropna(subset=["delta_beta3", "predicted_bias"])
        rows = rows[rows["predicted_bias"].abs() > NO_BIAS]
        agree = (np.sign(rows["predicted_bias"]) == np.sign(rows["delta_beta3"])).sum()
        return int(agree), len(rows)


def read_run(folder: Path) -> RunResults:
    """Read a run's folder.

    Raises
    ------
    InputError : the folder does not contain a finished run, or contains one of an earlier version.
    """
    import pandas as pd

    try:
        summary = pd.read_parquet(folder / "summary.parquet")
        items = pd.read_parquet(folder / "items.parquet")
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{folder.name} does not contain a finished run: call `ilhte run`.") from None
    refuse_earlier(folder)
    summary, items = _with_numbers(summary, NUMBERS), _with_numbers(items, ITEM_NUMBERS)
    info, digests = {}, {row["tab"]: row.get("input_sha256") for row in record["tables"]}
    for tab in summary["tab"]:
        with suppress(InputError):
            known = table_info(tab, data_folder())
            # a user's file may have the name of a bundled table
            if known.digest == digests.get(tab):
                info[tab] = known
    return RunResults(summary, items, record, info, folder)


def _with_numbers(frame: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    """The frame with these columns as numbers, NaN where undefined; Parquet keeps no type for a column that is always undefined."""
    return frame.astype({name: float for name in columns if name in frame})


def read_latest() -> RunResults:
    """The run that ``results/latest.json`` or ``ILHTE_RUN`` names."""
    return read_run(latest_run(find_project()))


def effects_alt(run: RunResults) -> str:
    """Figure 1 in words."""
    drawn = run.summary[run.summary["ate_std"].notna()]
    left_out = run.n_tables - len(drawn)
    apart = (
        f" {left_out} more, whose persons do not differ, have no effects in SDs and are not drawn." if left_out else ""
    )
    if drawn.empty:
        return f"No table is drawn.{apart}"
    items = run.items[run.items["tab"].isin(drawn["tab"])]
    return (
        f"{len(drawn)} rows, one per table, ordered by average effect from {_range(drawn['ate_std'], 2)} SDs. "
        f"Around each, the effects of its items, {len(items)} in all, from {_range(items['total_std'], 2)} SDs. "
        f"In {int(drawn['sig_il_hte'].sum())} tables the spread of item effects is significant.{apart}"
    )


def interaction_alt(run: RunResults) -> str:
    """Figure 2 in words."""
    rows = run.summary.dropna(subset=["delta_beta3", "sd_ratio"])
    if rows.empty:
        return "No table has a covariate, so there is no point."
    agree, of = run.follows_prediction()
    return (
        f"{len(rows)} points, one per table: the ratio of the spreads of item easiness runs from "
        f"{_range(rows['sd_ratio'], 2)}, "
        f"the difference in interactions from {_range(rows['delta_beta3'], 3)} logits. "
        f"In {agree} of {of} tables the difference has the sign that the closed form predicts from items and covariate."
    )


def _range(values: pd.Series, digits: int) -> str:
    return f"{number(values.min(), digits)} to {number(values.max(), digits)}"


def page_addresses(run: RunResults) -> dict[str, str]:
    """The address of each table's page, relative to the site's root."""
    return {tab: f"tables/{run.page(tab)}.html" for tab in run.summary["tab"]}


def failed_list(run: RunResults) -> Markdown:
    """The tables that could not be fitted, with their reasons."""
    from IPython.display import Markdown

    if not run.failed:
        return Markdown("Every table of the run could be fitted.")
    lines = [f"- {escape_markdown(row['tab'])}: {escape_markdown(row['reason'])}" for row in run.failed]
    return Markdown("These tables could not be fitted:\n\n" + "\n".join(lines))


def versions_line(run: RunResults) -> str:
    """The versions with which the run was computed."""
    return ", ".join(f"{name} {version}" for name, version in run.record["versions"].items())
