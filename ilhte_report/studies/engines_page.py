"""Text and tables of the engines page, with all numbers from the stored comparison or a live one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ilhte_lib.data.catalogue import bundled_tables, table_info
from ilhte_lib.data.trial import Trial
from ilhte_lib.errors import EngineError

from ..project import data_folder
from ..words.markdown import escape_markdown, fact_table, page_table, table_markdown
from ..words.numbers import number
from .computed import read_computed
from .engine_comparison import SAME_LOGLIK, TIGHT, compare, estimate, tight_logliks

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Markdown


@dataclass(frozen=True)
class Comparison:
    """The stored comparison.

    Attributes
    ----------
    models, items : rows from ``engine_comparison.compare``.
    about : command, commit, date and versions of the computation.
    left_out : bundled tables that are missing from it.
    """

    models: pd.DataFrame
    items: pd.DataFrame
    about: dict
    left_out: list[str]

    @property
    def gap(self) -> pd.Series:
        """The native minus lme4's reported log-likelihood, by model."""
        return self.models["loglik_native"] - self.models["loglik_lme4"]

    @property
    def stopped(self) -> pd.Series:
        """The part of the gap due to early stopping by lme4: the difference in the native objective."""
        return self.models["loglik_native"] - self.models["loglik_at_lme4"]

    @property
    def simulated(self) -> pd.Series:
        """Whether the table of an item is simulated."""
        kinds = {tab: table_info(tab, data_folder()).kind for tab in self.models["tab"].unique()}
        return self.items["tab"].map(kinds) == "simulated"


def read_comparison() -> Comparison:
    """The comparison stored in ``data/computed``.

    Raises
    ------
    InputError : it has not been computed.
    """
    models, about = read_computed("engines_models")
    items, _ = read_computed("engines_items")
    done = set(models["tab"])
    return Comparison(models, items, about, [tab for tab in bundled_tables(data_folder()) if tab not in done])


def overview(stored: Comparison) -> Markdown:
    """How much the engines differ, how much faster the native one is, and which tables are left out."""
    from IPython.display import Markdown

    rows, gap = stored.models, stored.gap
    agree = gap.abs() < SAME_LOGLIK
    estimates = rows.loc[rows.loc[agree, "largest_difference"].idxmax()]
    items = rows.loc[rows.loc[agree, "largest_item_difference"].idxmax()]
    boundaries = (rows["singular_native"] != rows["singular_lme4"]).sum()
    native, lme4 = rows["cpu_native"].sum(), rows["cpu_lme4"].sum()
    slowest = rows.loc[rows["cpu_lme4"].idxmax()]
    same = "The same models are on the boundary with both engines."
    if boundaries:
        same = f"In {boundaries} models only one of the engines is on the boundary."
    text = f"""\
- {rows["tab"].nunique()} tables, {len(rows)} models, {len(stored.items)} items. Names that begin with `sim_` are
  simulated tables.
- **Log-likelihood.** {_lowest(gap)}; the largest difference is {number(gap.max(), 4)}. In {agree.sum()} models the two
  agree to {SAME_LOGLIK:g}.
- **Estimates.** In those models no standardised estimate differs by more than
  {number(estimates["largest_difference"], 4)} ({escape_markdown(_where(estimates))}), and no item's easiness or effect by more than
  {number(items["largest_item_difference"], 4)} SDs ({escape_markdown(_where(items))}). {same}
- **Time.** All models together take {number(native, 1)} s of processor time with the native engine and {number(lme4 / 60, 1)} min
  with lme4, {lme4 / native:,.0f} times as much. lme4's longest fit was {escape_markdown(_where(slowest))}:
  {number(slowest["cpu_lme4"], 0)} s against {number(slowest["cpu_native"], 3)} s."""
    if stored.left_out:
        names = ", ".join(f"`{tab}`" for tab in stored.left_out)
        text += f"\n- **Left out**, because lme4 had not finished: {names}."
    return Markdown(text)


def _lowest(gap: pd.Series) -> str:
    below = (gap < 0).sum()
    if not below:
        return "The native engine's is higher in every model"
    return f"The native engine's is lower in {below} of {len(gap)} models, by {gap.abs()[gap < 0].max():.1e} at most"


def _where(row: pd.Series) -> str:
    return f"{row['tab']}, {row['model']}"


def comparison_table(stored: Comparison) -> Markdown:
    """One row per table: the largest differences among its models, and their total processor time."""
    rows = []
    for tab, of_table in stored.models.assign(gap=stored.gap).groupby("tab", sort=False):
        native, lme4 = of_table["cpu_native"].sum(), of_table["cpu_lme4"].sum()
        rows.append(
            {
                "Table": tab,
                "Δ log-lik.": number(of_table["gap"].max(), 5),
                "Δ estim.": number(of_table["largest_difference"].max(), 5),
                "Δ items": number(of_table["largest_item_difference"].max(), 5),
                "native (s)": number(native, 2),
                "lme4 (s)": number(lme4, 1),
            }
        )
    return page_table(rows, left=("Table",))


def figure_alt(stored: Comparison) -> str:
    """The figure in words."""
    native = stored.items["total_std_native"]
    more = stored.items["total_std_lme4"] - native
    return (
        f"{len(native)} points, one per item: effects from {number(native.min(), 2)} to {number(native.max(), 2)} SDs lie "
        "on the line of agreement; below, lme4's minus the native engine's ranges from "
        f"{number(more.min(), 4)} to {number(more.max(), 4)} SDs."
    )


def gap_table(stored: Comparison) -> Markdown:
    """How often lme4's log-likelihood is lower, and how much of that is due to early stopping and to its reported value."""
    rows, gap, stopped = stored.models, stored.gap, stored.stopped
    with_covariate = rows["model"].isin(["M_B", "M_C"])
    has_covariate = rows["tab"].isin(rows["tab"][with_covariate])
    used, unused = (gap[has_covariate & (with_covariate == flag)].median() for flag in (True, False))
    share = 100 * stopped.sum() / gap.sum()
    tight = (rows["loglik_lme4_tight"] - rows["loglik_at_lme4"]).abs()
    return fact_table(
        {
            "lme4 lower by more than 0.001": f"{(gap > 0.001).sum()} of {len(rows)} models",
            f"lme4 lower by more than {SAME_LOGLIK:g}": f"{(gap > SAME_LOGLIK).sum()} of {len(rows)} models",
            "Largest difference": f"{number(gap.max(), 4)} ({_where(rows.loc[gap.idxmax()])})",
            "Median, tables with a covariate, models that use it": _small(used),
            "Median, tables with a covariate, models that do not": _small(unused),
            "Native objective: its maximum minus its value at lme4's estimates, at most": _small(stopped.max()),
            "Distance of lme4's estimates from the maximum, at most (standard errors)": number(
                rows["distance_se"].max(), 3
            ),
            "Part of the difference due to early stopping": f"{number(share, 1)}%",
            "Part of the difference due to error in the reported value": f"{number(100 - share, 1)}%",
            f"lme4 with tolPwrss {TIGHT:g} minus the native objective, in size at most": _small(tight.max()),
            f"lme4 with tolPwrss {TIGHT:g} minus the native objective, median size": _small(tight.median()),
        }
    )


def _small(value: float) -> str:
    """A number of any size to two significant digits."""
    return f"{value:.2g}".replace("-", "−")


def origin(stored: Comparison) -> Markdown:
    """How the comparison was computed."""
    from IPython.display import Markdown

    about = stored.about
    versions = ", ".join(f"{name} {version}" for name, version in {**about["versions"], **about["lme4"]}.items())
    return Markdown(
        f"""\
Computed on {about["date"]} with `{about["command"]}`, commit {about["commit"][:10]}, profile {about["profile"]}:
{escape_markdown(versions)}. Times are processor time (user and system) after a warm-up, from prepared rows to estimates
with standard errors; each model of the native engine was timed separately, including compression."""
    )


def live_comparison(trial: Trial) -> Markdown:
    """Both engines on one table, computed now, one column per model; without lme4 only the native engine, and why."""
    from IPython.display import Markdown

    native = estimate(trial, "native")
    try:
        lme4 = estimate(trial, "pymer4")
        models, _ = compare(trial, native, lme4, tight_logliks(trial, lme4))
    except EngineError as error:
        alone = [
            {"": "Log-likelihood, native", **{name: number(found.loglik, 5) for name, found in native.items()}},
            {"": "CPU seconds, native", **{name: number(found.cpu_seconds, 3) for name, found in native.items()}},
        ]
        return Markdown(f"lme4 is left out. {escape_markdown(str(error))}\n\n{table_markdown(alone, left=('',))}")
    lines = {
        "Log-likelihood, native": ("loglik_native", 5),
        "Log-likelihood, lme4": ("loglik_lme4", 5),
        "Native objective at lme4's estimates": ("loglik_at_lme4", 5),
        "lme4 there, with a tighter inner search": ("loglik_lme4_tight", 5),
        "Largest difference of estimates": ("largest_difference", 5),
        "Largest difference of items (SD)": ("largest_item_difference", 5),
        "CPU seconds, native": ("cpu_native", 3),
        "CPU seconds, lme4": ("cpu_lme4", 3),
    }
    rows = [
        {"": label, **{row["model"]: number(row[column], digits) for row in models}}
        for label, (column, digits) in lines.items()
    ]
    return page_table(rows, left=("",))
