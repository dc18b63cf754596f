"""The words and tables of the page about tests and intervals, every number of them computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ilhte_lib.data.prepare import prepare
from ilhte_lib.engine.native import fit_models, statistics_of
from ilhte_lib.inference.bootstrap import bootstrap_p_value, parametric_bootstrap
from ilhte_lib.inference.lrt import likelihood_ratio
from ilhte_lib.inference.profile import ProfileCurve, ProfileInterval, Profiler, objective
from ilhte_lib.model.fit_result import Fit
from ilhte_lib.model.simulate import DESIGNS, simulate_trial
from ilhte_lib.model.spec import MODELS

from ..project import slug
from ..words.numbers import number
from . import bias as bias_study
from . import coverage as coverage_study
from . import size as size_study
from .figures import PARAMETER_NAMES

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Markdown

    from ilhte_lib.data.trial import Trial

EXAMPLE = "sim_n1000_j10_sz20_rhom50"
"""A bundled table with a small true sigma_zeta, for which the halved and the mixture test disagree."""
EXAMPLE_PARAMETERS = ("treat", "sigma_zeta", "rho")
LOW = 0.93
"""Coverage below this is named on the page."""


# -- the example -----------------------------------------------------------------------------------------------------


def example() -> tuple[Trial, dict[str, Fit]]:
    """The example's trial and its fits of M_0 and M_A."""
    trial = prepare(simulate_trial(DESIGNS[EXAMPLE])[0], EXAMPLE)
    return trial, fit_models(trial, ["M_0", "M_A"])


def profiles(trial: Trial, fits: dict[str, Fit]) -> tuple[list[ProfileCurve], list[ProfileInterval]]:
    """Profile curves and intervals of ``EXAMPLE_PARAMETERS``."""
    statistics = statistics_of(trial, MODELS["M_A"])
    profiler = Profiler(objective(statistics, fits["M_A"]), fits["M_A"], fits["M_0"])
    intervals = [profiler.interval(name) for name in EXAMPLE_PARAMETERS]
    return [profiler.curve(interval) for interval in intervals], intervals


def profiles_alt(intervals: list[ProfileInterval], scale: float) -> str:
    """The profile figure in words."""
    parts = []
    for interval in intervals:
        unit = 1.0 if interval.parameter == "rho" else scale
        low, high = number(interval.lower / unit, 2), number(interval.upper / unit, 2)
        estimate = number(interval.estimate / unit, 2)
        parts.append(f"{PARAMETER_NAMES[interval.parameter]}: lowest at {estimate}, interval {low} to {high}")
    return "The rise of the deviance over each parameter. " + "; ".join(parts) + "."


def example_text(trial: Trial, fits: dict[str, Fit], intervals: list[ProfileInterval]) -> Markdown:
    """The three p-values but the bootstrap's, and the interval that goes with them."""
    from IPython.display import Markdown

    test = likelihood_ratio(fits["M_0"], fits["M_A"])
    scale = fits["M_0"].sigma_theta
    spread = next(i for i in intervals if i.parameter == "sigma_zeta")
    truth = DESIGNS[EXAMPLE]
    rejects = {name: getattr(test, name) < 0.05 for name in ("halved", "mixture")}
    contrast = "disagree" if rejects["halved"] != rejects["mixture"] else "agree"
    start = "starts at 0" if spread.lower == 0 else f"starts at {number(spread.lower / scale, 2)} SDs"
    page = f"../tables/{slug(EXAMPLE)}.ipynb"
    return Markdown(
        f"The simulated table [`{EXAMPLE}`]({page}) has {trial.n_persons:,} persons and {trial.n_items} items, and its items do differ "
        f"($\\sigma_\\zeta = {truth.sigma_zeta:g}$ logits). The likelihood ratio of $M_0$ against $M_A$ is {number(test.statistic, 2)}: "
        f"$p = {number(test.halved, 4)}$ halved and $p = {number(test.mixture, 4)}$ by the mixture. At 5% the two {contrast}. "
        f"The profile interval of $\\sigma_\\zeta$ {start} and ends at {number(spread.upper / scale, 2)} SDs."
    )


def example_table(intervals: list[ProfileInterval], scale: float) -> Markdown:
    """Profile and Wald intervals side by side."""
    from IPython.display import Markdown

    lines = ["| | Estimate | Profile interval | Wald interval |", "|:--|--:|:-:|:-:|"]
    for interval in intervals:
        unit = 1.0 if interval.parameter == "rho" else scale
        name = PARAMETER_NAMES[interval.parameter] + ("" if interval.parameter == "rho" else " (SDs)")
        values = [interval.estimate, interval.lower, interval.upper, interval.wald_lower, interval.wald_upper]
        estimate, low, high, wald_low, wald_high = (number(value / unit, 3) for value in values)
        lines.append(f"| {name} | {estimate} | {low} to {high} | {wald_low} to {wald_high} |")
    return Markdown("\n".join(lines))


def example_bootstrap(trial: Trial, fits: dict[str, Fit], replicates: int) -> Markdown:
    """The bootstrap's p-value from a small number of replicates, drawn now."""
    from IPython.display import Markdown

    statistics = statistics_of(trial, MODELS["M_0"])
    drawn = parametric_bootstrap(statistics, fits["M_0"], replicates=replicates, workers=1)
    test = likelihood_ratio(fits["M_0"], fits["M_A"])
    p = bootstrap_p_value(test.statistic, drawn)
    larger = round(p * (replicates - drawn.failed + 1)) - 1
    return Markdown(
        f"Of {replicates} trials drawn from the fitted $M_0$ just now (seed {drawn.seed}), {larger} have a likelihood ratio "
        f"at least as large: bootstrap $p = ({larger} + 1)/({replicates - drawn.failed} + 1) = {number(p, 3)}$."
    )


# -- the stored simulations --------------------------------------------------------------------------------------------


def about_text(about: dict, trials: str) -> Markdown:
    """By what and when a stored simulation was computed."""
    from IPython.display import Markdown

    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return Markdown(
        f"{trials} Computed on {about['date']} by `{about['command']}` with seed {about['seed']} (fixed before the run) at commit "
        f"`{about['commit'][:10]}`, {versions}."
    )


def size_about(trials: pd.DataFrame, about: dict) -> Markdown:
    """What was simulated for the size of the tests."""
    per_cell = int(trials.groupby("n_items").size().min())
    design = size_study.DESIGNS[0]
    *several, last = (str(n) for n in sorted(trials["n_items"].unique()))
    missing = int(trials["lrt_stat"].isna().sum())
    return about_text(
        about,
        f"{per_cell:,} trials of {design.n_persons} persons each, with {', '.join(several)} or {last} items and $\\sigma_\\zeta = 0$. "
        + ("Every model could be fitted." if not missing else f"{missing} trials could not be fitted."),
    )


def size_findings(summary: pd.DataFrame) -> Markdown:
    """What the simulation says of each test at 5%."""
    from IPython.display import Markdown

    rows = summary[summary["level"] == 0.05]
    sentences = []
    for test in ("halved", "mixture", "bootstrap", "naive"):
        own = rows[rows["test"] == test]
        right = (own["lower"] <= 0.05) & (own["upper"] >= 0.05)
        above, below = int((own["lower"] > 0.05).sum()), int((own["upper"] < 0.05).sum())
        shares = f"{number(100 * own['size'].min(), 1)} to {number(100 * own['size'].max(), 1)}%"
        if right.all():
            verdict = "5% is within the Monte Carlo interval everywhere"
        else:
            parts = [f"too often for {above} of {len(own)} numbers of items"] if above else []
            parts += [f"too rarely for {below} of {len(own)} numbers of items"] if below else []
            verdict = "it rejects " + " and ".join(parts)
        away = number(100 * float((own["size"] - 0.05).abs().mean()), 1)
        sentences.append(f"*{test.capitalize()}*: {shares}, on average {away} points from 5%; {verdict}.")
    text = "\n".join(f"- {s}" for s in sentences)
    mixture = rows[rows["test"] == "mixture"]
    if (mixture["upper"] < 0.05).all():
        text += "\n\nThe mixture, which decides on this site unless a run follows the published rules, errs on the side of caution."
    return Markdown(text)


def size_table(summary: pd.DataFrame) -> Markdown:
    """Size by test, number of items and level."""
    from IPython.display import Markdown

    levels = sorted(summary["level"].unique())
    header = "| Items | Test | " + " | ".join(f"{100 * level:g}%" for level in levels) + " |"
    lines = [header, "|--:|:--|" + ":-:|" * len(levels)]
    for n_items, of_items in summary.groupby("n_items"):
        for test in size_study.TESTS:
            own = of_items[of_items["test"] == test].set_index("level")
            cells = [
                f"{number(100 * own.loc[x, 'size'], 1)} ({number(100 * own.loc[x, 'lower'], 1)} to {number(100 * own.loc[x, 'upper'], 1)})"
                for x in levels
            ]
            lines.append(f"| {n_items} | {test} | " + " | ".join(cells) + " |")
    return Markdown("\n".join(lines))


def coverage_about(trials: pd.DataFrame, about: dict) -> Markdown:
    """What was simulated for the coverage of the intervals."""
    per_cell = int(trials.groupby(["setting", "n_items", "parameter"]).size().min())
    settings = "; ".join(
        f"*{name}*: {d.n_persons:,} persons, $\\sigma_\\theta = {d.sigma_theta:g}$, $\\beta_1 = {d.ate:g}$, $\\sigma_b = {d.sigma_b:g}$, "
        f"$\\sigma_\\zeta = {d.sigma_zeta:g}$, $\\rho = {number(d.rho, 1)}$"
        for name, d in coverage_study.SETTINGS.items()
    )
    return about_text(about, f"{per_cell:,} trials for each of three settings with 20 and with 40 items. {settings}.")


def coverage_findings(summary: pd.DataFrame) -> Markdown:
    """Where the profile intervals fall short, on which side they miss, and why."""
    from IPython.display import Markdown

    profile = summary[summary["method"] == "profile"]
    low = profile[profile["coverage"] < LOW]
    words = [f"The profile intervals cover in {_range(profile)} of the trials, over {len(profile)} cells."]
    if low.empty:
        least = profile.loc[profile["coverage"].idxmin()]
        words.append(
            f"None is below {LOW}; the lowest is {PARAMETER_NAMES[least['parameter']]} in setting {least['setting']}, "
            f"{least['n_items']} items (Monte Carlo interval {number(least['lower'], 3)} to {number(least['upper'], 3)})."
        )
    short = profile[profile["upper"] < 0.95]
    if len(short):
        names = ", ".join(
            f"{PARAMETER_NAMES[row.parameter]} in {row.setting} with {row.n_items}" for row in short.itertuples()
        )
        words.append(
            f"In {len(short)} cells the Monte Carlo interval lies below 0.95 ({names} items): the $\\chi^2$ quantile is an "
            "approximation for many items."
        )
    for row in low.itertuples():
        where = f"setting {row.setting}, {row.n_items} items"
        words.append(f"{PARAMETER_NAMES[row.parameter]} in {where} has {number(row.coverage, 3)}: {_reason(row)}")
    for parameter in ("sigma_theta", "sigma_zeta"):
        words.append(_misses(profile[(profile["parameter"] == parameter)]))
    wald = summary[summary["method"] == "Wald"]
    short = wald[wald["coverage"] < LOW]
    which = sorted(set(short["parameter"]), key=coverage_study.PARAMETERS.index)
    named = (
        f", {len(short)} of {len(wald)} cells below {LOW} ({', '.join(PARAMETER_NAMES[p] for p in which)})"
        if which
        else ""
    )
    words.append(
        f"The Wald intervals cover in {_range(wald)}{named}; "
        f"they can leave the parameter space and are undefined on its boundary "
        f"(up to {number(100 * wald['undefined'].max(), 1)}% of the trials of a cell)."
    )
    return Markdown(" ".join(w for w in words if w))


def _range(rows: pd.DataFrame) -> str:
    return f"{number(rows['coverage'].min(), 3)} to {number(rows['coverage'].max(), 3)}"


def _misses(rows: pd.DataFrame) -> str:
    """On which side intervals with the fewest items miss, where one side has at least twice the other's misses."""
    own = rows[rows["n_items"] == rows["n_items"].min()]
    if own.empty or own["below"].mean() < 2 * own["above"].mean():
        return ""
    why = {
        "sigma_theta": "Laplace's approximation has $\\sigma_\\theta$ a little low",
        "sigma_zeta": "maximum likelihood estimates a spread from few items a little low",
    }[own["parameter"].iloc[0]]
    return (
        f"With {own['n_items'].iloc[0]} items the intervals of {PARAMETER_NAMES[own['parameter'].iloc[0]]} lie below the truth in "
        f"{number(100 * own['below'].mean(), 1)}% of the trials and above it in {number(100 * own['above'].mean(), 1)}%: {why} (@sec-bias)."
    )


def _reason(row) -> str:
    side = "below" if row.below > row.above else "above"
    missed = f"{number(100 * max(row.below, row.above), 1)}% of the intervals lie {side} the truth."
    if row.parameter == "sigma_theta":
        return f"{missed} Laplace has $\\sigma_\\theta$ a little low with few items, and an interval around a low estimate misses on one side."
    if row.parameter == "sigma_zeta":
        return f"{missed} Maximum likelihood estimates the spread of {row.n_items} items' effects a little low."
    if row.parameter == "treat":
        return f"{missed} Its width rests on $\\sigma_\\zeta$, which is estimated from {row.n_items} items and a little low."
    return (
        f"{missed} With {row.n_items} items the correlation is estimated from {row.n_items} draws, and the "
        "$\\chi^2$ quantile is an approximation for many."
    )


def coverage_table(summary: pd.DataFrame) -> Markdown:
    """Coverage by setting, number of items and parameter."""
    from IPython.display import Markdown

    lines = [
        "| Setting | Items | Parameter | Truth | Profile | Wald | Below | Above |",
        "|:--|--:|:--|--:|:-:|:-:|--:|--:|",
    ]
    both = summary.pivot_table(
        index=["setting", "n_items", "parameter"], columns="method", values=["coverage", "lower", "upper"], sort=False
    )
    profile = summary[summary["method"] == "profile"].set_index(["setting", "n_items", "parameter"])
    for key in sorted(both.index, key=lambda k: (k[0], k[1], coverage_study.PARAMETERS.index(k[2]))):
        row, own = both.loc[key], profile.loc[key]
        cells = [
            f"{number(row[('coverage', m)], 3)} ({number(row[('lower', m)], 3)} to {number(row[('upper', m)], 3)})"
            for m in ("profile", "Wald")
        ]
        lines.append(
            f"| {key[0]} | {key[1]} | {PARAMETER_NAMES[key[2]]} | {number(own['truth'], 1)} | {cells[0]} | {cells[1]} | "
            f"{number(own['below'], 3)} | {number(own['above'], 3)} |"
        )
    return Markdown("\n".join(lines))


def bias_about(trials: pd.DataFrame, about: dict) -> Markdown:
    """What was simulated for the bias with few items."""
    per_cell = int(trials.groupby(["n_items", "method"]).size().min())
    design = bias_study.DESIGNS[0]
    return about_text(
        about,
        f"{per_cell:,} trials of {design.n_persons} persons for each number of items, $\\sigma_\\theta = {design.sigma_theta:g}$, "
        f"$\\sigma_b = {design.sigma_b:g}$, $\\sigma_\\zeta = {design.sigma_zeta:g}$, $\\rho = 0$; $M_A$ fitted by both methods, "
        "quadrature with 15 nodes.",
    )


def bias_findings(summary: pd.DataFrame) -> Markdown:
    """The bias with the fewest and the most items."""
    from IPython.display import Markdown

    by = summary.set_index(["n_items", "method", "parameter"])
    few, many = min(summary["n_items"]), max(summary["n_items"])

    def bias(n: int, method: str, parameter: str) -> str:
        row = by.loc[(n, method, parameter)]
        return f"{number(row['bias'], 3)} (± {number(1.96 * row['bias_se'], 3)})"

    return Markdown(
        f"With {few} items Laplace is off by {bias(few, 'laplace', 'sigma_theta')} logits in $\\sigma_\\theta$, quadrature by "
        f"{bias(few, 'aghq', 'sigma_theta')}; with {many} items by {bias(many, 'laplace', 'sigma_theta')} and {bias(many, 'aghq', 'sigma_theta')}. "
        f"In $\\sigma_\\zeta$ it is {bias(few, 'laplace', 'sigma_zeta')} and {bias(few, 'aghq', 'sigma_zeta')} with {few} items, "
        f"{bias(many, 'laplace', 'sigma_zeta')} and {bias(many, 'aghq', 'sigma_zeta')} with {many}: what quadrature leaves is "
        "mostly the error of maximum likelihood, which estimates a spread from as many draws as there are items."
    )


def bias_table(summary: pd.DataFrame) -> Markdown:
    """Bias and root mean squared error by number of items, method and parameter."""
    from IPython.display import Markdown

    lines = [
        "| Items | Parameter | Bias, Laplace | Bias, quadrature | RMSE, Laplace | RMSE, quadrature |",
        "|--:|:--|--:|--:|--:|--:|",
    ]
    by = summary.set_index(["n_items", "method", "parameter"])
    for n_items in sorted(summary["n_items"].unique()):
        for parameter in bias_study.ESTIMATES:
            rows = [by.loc[(n_items, method, parameter)] for method in bias_study.METHODS]
            bias = [f"{number(row['bias'], 3)} ({number(row['bias_se'], 3)})" for row in rows]
            rmse = [number(row["rmse"], 3) for row in rows]
            lines.append(
                f"| {n_items} | {PARAMETER_NAMES[parameter]} | {bias[0]} | {bias[1]} | {rmse[0]} | {rmse[1]} |"
            )
    return Markdown("\n".join(lines))


# -- simulated now -------------------------------------------------------------------------------------------------------


def simulated_now(size: pd.DataFrame, coverage: pd.DataFrame, bias: pd.DataFrame, replications: int) -> Markdown:
    """The first trials of each simulation drawn and fitted again, and how far they are from the stored ones."""
    from IPython.display import Markdown

    studies = (
        ("likelihood ratios", size_study.STUDY, size, ["replication"]),
        ("ends of intervals", coverage_study.STUDY, coverage, ["replication", "parameter"]),
        ("estimates", bias_study.STUDY, bias, ["replication", "method"]),
    )
    lines = []
    for what, study, stored, keys in studies:
        now = study.replay(range(replications))
        values = [c for c in now.columns if now[c].dtype.kind == "f"]
        then = stored.set_index(keys).loc[
            list(now[keys].itertuples(index=False, name=None)) if len(keys) > 1 else now[keys[0]], values
        ]
        apart = float(np.nanmax(np.abs(now[values].to_numpy(float) - then.to_numpy(float))))
        lines.append(
            f"- {len(now) * len(values)} {what} of {replications} trials: at most {apart:.1g} from the stored ones."
        )
    return Markdown("\n".join(lines))


# -- figures in words ------------------------------------------------------------------------------------------------------


def size_alt(summary: pd.DataFrame) -> str:
    """The size figure in words."""
    rows = summary[summary["level"] == 0.05]
    parts = []
    for test in size_study.TESTS:
        own = rows[rows["test"] == test].sort_values("n_items")
        values = ", ".join(
            f"{number(100 * share, 1)}% with {n} items" for share, n in zip(own["size"], own["n_items"], strict=True)
        )
        parts.append(f"{test} {values}")
    return "Share of null trials rejected at 5%: " + "; ".join(parts) + "."


def coverage_alt(summary: pd.DataFrame) -> str:
    """The coverage figure in words."""
    parts = []
    for parameter in coverage_study.PARAMETERS:
        own = summary[summary["parameter"] == parameter]
        ranges = [
            f"{method} {number(of['coverage'].min(), 3)} to {number(of['coverage'].max(), 3)}"
            for method, of in own.groupby("method", sort=False)
        ]
        parts.append(f"{PARAMETER_NAMES[parameter]}: {', '.join(ranges)}")
    return "Coverage of 95% intervals over settings and numbers of items. " + "; ".join(parts) + "."


def bias_alt(summary: pd.DataFrame) -> str:
    """The bias figure in words."""
    parts = []
    for parameter in ("sigma_theta", "sigma_zeta"):
        for method, label in (("laplace", "Laplace"), ("aghq", "quadrature")):
            own = summary[(summary["parameter"] == parameter) & (summary["method"] == method)].sort_values("n_items")
            values = ", ".join(
                f"{number(bias, 3)} with {n} items" for bias, n in zip(own["bias"], own["n_items"], strict=True)
            )
            parts.append(f"{PARAMETER_NAMES[parameter]} by {label}: {values}")
    return "Mean error in logits. " + "; ".join(parts) + "."
