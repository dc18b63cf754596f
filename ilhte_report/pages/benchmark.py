"""The engine's speed beside its peers: what ``make benchmark`` measured and keeps in ``data/computed/benchmark*.parquet``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ilhte_lib.errors import InputError

from ..studies.computed import read_computed
from ..words.markdown import escape_markdown, page_table
from ..words.numbers import number

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Markdown

NATIVE = "native"
FIT = ["tab", "model"]
STOPPED_SHORT = 0.01
"""A peer's fit further than this below the native log-likelihood stopped short of the maximum."""
SMALLER_MODELS = {"GPBoost": ("M_A", "M_C")}
"""What a peer fits without the correlation of an item's easiness and its effect: its log-likelihood may lie below."""


# -- what the measurements come to -------------------------------------------------------------------------------------


def wide(frame: pd.DataFrame, value: str) -> pd.DataFrame:
    """``value`` with one row a fit (table and model) and one column a tool; NaN where a peer did not fit."""
    fitted = frame[(frame["tool"] == NATIVE) | frame["failure"].isna()]
    table = fitted.pivot_table(value, FIT, "tool", sort=False, dropna=False)
    fits = table.index.isin(list(zip(*(frame[column] for column in FIT), strict=True)))
    return table.loc[fits, list(frame["tool"].unique())]


def ratios(frame: pd.DataFrame, *, after: bool = False) -> pd.DataFrame:
    """How many times as long as the native engine each peer took for each fit.

    The native engine, like a peer, begins each model with the rows; ``after``: with what the smaller models of the table found.
    """
    seconds = wide(frame, "cpu_s")
    own = wide(frame, "cpu_s_after")[NATIVE] if after else seconds[NATIVE]
    return seconds.drop(columns=NATIVE).div(own, axis=0)


def faster(frame: pd.DataFrame) -> pd.Series:
    """Ratios of the fits in which a peer was faster, by tool, table and model, the smallest first."""
    found = ratios(frame).rename_axis(columns="tool").stack().reorder_levels(["tool", *FIT])
    return found[found < 1].sort_values()


def by_model(frame: pd.DataFrame, *, after: bool = False) -> pd.DataFrame:
    """Geometric means of the ratios, one row a model and "all" at the end, one column a peer."""
    logs = np.log(ratios(frame, after=after))
    means = np.exp(logs.groupby("model", sort=True).mean())
    means.loc["all"] = np.exp(logs.mean())
    return means


def table_ratios(frame: pd.DataFrame) -> pd.DataFrame:
    """The ratios of each table, its models summed (those that the peer fitted), which the native engine fits in turn."""
    import pandas as pd

    seconds, own = wide(frame, "cpu_s"), wide(frame, "cpu_s_after")[NATIVE]
    out = {}
    for tool in seconds.columns.drop(NATIVE):
        both = seconds[[tool]].assign(own=own).dropna().groupby("tab", sort=False).sum()
        out[tool] = both[tool] / both["own"]
    return pd.DataFrame(out)


def above(frame: pd.DataFrame) -> pd.DataFrame:
    """The native log-likelihood minus each peer's at that peer's estimates, for each fit."""
    loglik = wide(frame.assign(loglik=frame["loglik_exact"].fillna(frame["loglik"])), "loglik")
    return loglik.drop(columns=NATIVE).rsub(loglik[NATIVE], axis=0)


def same_model(values: pd.DataFrame) -> pd.DataFrame:
    """``values``, one row a fit and one column a peer, NaN where the peer fits a smaller model."""
    values = values.copy()
    for tool, models in SMALLER_MODELS.items():
        if tool in values:
            values.loc[values.index.get_level_values("model").isin(models), tool] = np.nan
    return values


def above_the_best(frame: pd.DataFrame) -> pd.Series:
    """The native log-likelihood minus the best peer's, for each fit that some peer made."""
    return above(frame).min(axis=1).dropna()


# -- what the page shows -----------------------------------------------------------------------------------------------


def measured(name: str) -> pd.DataFrame | Markdown:
    """A benchmark's rows, or a sentence in their place where it has not been run."""
    from IPython.display import Markdown

    try:
        return read_computed(name)[0]
    except InputError:
        return Markdown("*This has not been measured here; `make benchmark` does it.*")


def speed_text() -> Markdown:
    """What was compared, how, and what it comes to."""
    from IPython.display import Markdown

    try:
        frame, about = read_computed("benchmark")
    except InputError:
        return Markdown("")
    means, tables, lowest = by_model(frame).loc["all"], table_ratios(frame), above_the_best(frame)
    parts = [
        f"{tool} takes {number(means[tool], 0)} times as long ({number(tables[tool].min(), 1)} to {number(tables[tool].max(), 0)})"
        for tool in means.index
    ]
    short = (same_model(above(frame)) > STOPPED_SHORT).sum()
    stopped = ", ".join(f"{tool} in {n}" for tool, n in short.items() if n)
    without = frame[(frame["tool"] != NATIVE) & frame["failure"].notna()].groupby("tool", sort=False).size()
    failed = ", ".join(f"{tool} in {n}" for tool, n in without.items())
    certified = frame[frame["tool"] == NATIVE]["failure"].isna()
    (tab, model), shortfall = lowest.idxmin(), lowest.min()
    return Markdown(
        f"{frame['tab'].nunique()} real tables, {certified.size} fits, {certified.sum()} of them certified, on one core of "
        f"{escape_markdown(about['machine'])}, {about['date']}. What is timed: {escape_markdown(about['method'])}.{_earlier(frame)}{_only_smaller(frame)}\n\n"
        "In the geometric mean over the fits, each model alone (and from table to table, all its models in turn), "
        f"{escape_markdown('; '.join(parts))}.\n\n{_faster_text(frame)}\n\n"
        + (
            f"Fits that ended more than {STOPPED_SHORT} below the native log-likelihood: {escape_markdown(stopped)}. "
            if stopped
            else ""
        )
        + (f"No fit, or stopped as too long: {escape_markdown(failed)}. " if failed else "")
        + f"The native engine's log-likelihood minus the best peer's is at worst {_signed(shortfall)} ({_code(tab)}, {model})."
    )


def _earlier(frame: pd.DataFrame) -> str:
    """Which times were kept from another day than the native engine's."""
    today = frame.loc[frame["tool"] == NATIVE, "measured"].max()
    kept = frame[(frame["tool"] != NATIVE) & (frame["measured"] < today)]
    if kept.empty:
        return ""
    tools = ", ".join(escape_markdown(tool) for tool in kept["tool"].unique())
    return (
        f" Kept from {kept['measured'].min()}, one call each: the times of {tools} on the {kept['tab'].nunique()} tables of at least "
        f"{kept['n_responses'].min():,} responses."
    )


def _faster_text(frame: pd.DataFrame) -> str:
    """Where a peer was faster: every table and model, with its time over the native engine's."""
    found, fits = faster(frame), ratios(frame).notna().sum()
    if found.empty:
        return "No peer was faster on any table and model."
    lines = []
    for tool, own in found.groupby("tool", sort=False):
        where = ", ".join(f"{_code(tab)} {model} ({number(ratio, 2)})" for (_, tab, model), ratio in own.items())
        lines.append(f"- {escape_markdown(tool)}, in {len(own)} of {fits[tool]} fits: {where}")
    tables = table_ratios(frame)
    whole = [
        f"{escape_markdown(tool)} on {_code(tab)} ({number(ratio, 2)})"
        for tool in tables
        for tab, ratio in tables[tool][tables[tool] < 1].items()
    ]
    lines.append(
        f"\nWith all models of a table in turn: {', '.join(whole)}."
        if whole
        else "\nNo peer was faster with all models of a table in turn."
    )
    return "A peer was faster here (its time over the native engine's, the model alone):\n\n" + "\n".join(lines)


def _only_smaller(frame: pd.DataFrame) -> str:
    """Which peers were given the smaller tables alone."""
    said = []
    for tool, own in frame[frame["tool"] != NATIVE].groupby("tool", sort=False):
        if own["tab"].nunique() < frame["tab"].nunique():
            said.append(
                f"{escape_markdown(tool)} the {own['tab'].nunique()} of at most {own['n_responses'].max():,} responses"
            )
    return f" Not every table was given to every peer: {'; '.join(said)}." if said else ""


def speed_table() -> Markdown:
    """Geometric means of the ratios of CPU time, by model and peer, the model alone and after the smaller ones."""
    frame = measured("benchmark")
    if not hasattr(frame, "columns"):
        return frame
    alone, after, fits = by_model(frame), by_model(frame, after=True), ratios(frame).notna()
    counts = fits.groupby("model", sort=True).sum()
    counts.loc["all"] = fits.sum()
    rows = []
    for model in alone.index:
        # nothing comes before the smallest
        for means, begins in (
            ((alone, "the rows"),) if model == "M_0" else ((alone, "the rows"), (after, "smaller models"))
        ):
            rows.append(
                {"Model": model, "From": begins, "Fits": f"{counts.loc[model].max()}"}
                | {tool: number(means.loc[model, tool], 1) for tool in means}
            )
    return page_table(rows, left=("Model", "From"))


def peer_table() -> Markdown:
    """One row a peer: where its ratio is smallest, and how far its log-likelihoods are from the native engine's."""
    frame = measured("benchmark")
    if not hasattr(frame, "columns"):
        return frame
    ratio, tables, difference = ratios(frame), table_ratios(frame), same_model(above(frame))
    versions = frame.groupby("tool")["version"].agg(lambda v: next((x for x in v if x), ""))
    rows = []
    for tool in ratio:
        tab, model = ratio[tool].idxmin()
        rows.append(
            {
                "Peer": f"{tool} {versions[tool]}",
                "Fits": f"{ratio[tool].notna().sum()} of {len(ratio)}",
                "Smallest ratio of a table": f"{number(tables[tool].min(), 1)}, {tables[tool].idxmin()}",
                "Of a fit": f"{number(ratio[tool].min(), 1)}, {tab}, {model}",
                "Log-likelihood above it, least": _signed(difference[tool].min()),
                "Median": _signed(float(difference[tool].median())),
                "Most": _signed(difference[tool].max()),
            }
        )
    return page_table(rows, left=("Peer", "Smallest ratio of a table", "Of a fit"))


def sizes_table() -> Markdown:
    """Simulated trials of growing size: milliseconds of the native engine, and how many times as long each peer took."""
    frame = measured("benchmark_sizes")
    if not hasattr(frame, "columns"):
        return frame
    own = frame[frame["tool"] == NATIVE].set_index(FIT)
    ratio = ratios(frame)
    rows = [
        {
            "Persons × items": tab.partition(",")[0].replace(" x ", "\u00a0×\u00a0"),
            "Missing": tab.partition(", ")[2].removesuffix(" missing") or "–",
            "Model": model,
            "Milliseconds": number(1e3 * own.loc[(tab, model), "cpu_s"], 1),
            "Without SEs": number(1e3 * own.loc[(tab, model), "cpu_s_without_se"], 1),
            "After M_0": "–" if model == "M_0" else number(1e3 * own.loc[(tab, model), "cpu_s_after"], 1),
        }
        | {tool: number(ratio.loc[(tab, model), tool], 0) for tool in ratio}
        for tab, model in own.index
    ]
    return page_table(rows, left=("Persons × items", "Missing", "Model"))


def sizes_text() -> Markdown:
    """Of which day the simulated trials' times are."""
    from IPython.display import Markdown

    try:
        frame, about = read_computed("benchmark_sizes")
    except InputError:
        return Markdown("")
    return Markdown(f"Measured on {about['date']} in the same way.{_earlier(frame)}")


def growth_text() -> Markdown:
    """Where the growth was measured, and whether Spark found the same."""
    from IPython.display import Markdown

    try:
        about = read_computed("benchmark_growth")[1]
    except InputError:
        return Markdown("")
    text = f"Measured on {about['cores']} cores of {escape_markdown(about['machine'])} with DuckDB {about['duckdb']}."
    if spark := about["spark"]:
        found = "the same statistics to the last bit" if spark["same"] else "**other statistics**"
        text += f" Spark {spark['version']}, in local mode, made {found} of the smallest file."
    return Markdown(text)


def growth_table() -> Markdown:
    """1, 10 and 100 million responses out of core: seconds of reading and of fitting, peak memory."""
    frame = measured("benchmark_growth")
    if not hasattr(frame, "columns"):
        return frame
    rows = [
        {
            "Responses": f"{row.n_responses:,}",
            "Persons": f"{row.n_persons:,}",
            "Parquet, MB": number(row.file_mb, 1),
            "Classes": f"{row.n_classes:,}",
            "Reading, s": number(row.read_s, 1),
            "Reading, CPU s": number(row.read_cpu_s, 1),
            "Fitting, s": number(row.fit_s, 2),
            "Peak memory, MB": number(row.peak_mb, 0),
        }
        for row in frame.itertuples()
    ]
    return page_table(rows, left=())


def _code(name: str) -> str:
    return f"`{name}`"


def _signed(value: float) -> str:
    return f"{value:+.1e}".replace("-", "−") if np.isfinite(value) else "–"
