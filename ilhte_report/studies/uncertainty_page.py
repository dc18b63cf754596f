"""The tables of the page about tests and intervals, and descriptions of its figures; the page itself interprets them."""

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

from ..words.markdown import fact_table, page_table
from ..words.numbers import between, number, percent_text
from . import bias as bias_study
from . import coverage as coverage_study
from . import size as size_study
from .figures import PARAMETER_NAMES

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Markdown

    from ilhte_lib.data.trial import Trial

EXAMPLE = "sim_n1000_j10_sz20_rhom50"
"""A simulated table with a small true sigma_zeta, for which the halved and the mixture test disagree."""
EXAMPLE_PARAMETERS = ("treat", "sigma_zeta", "rho")
_METHODS = {"laplace": "Laplace", "aghq": "quadrature"}


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


def example_tests(trial: Trial, fits: dict[str, Fit], replicates: int) -> Markdown:
    """The example, its likelihood ratio and three p-values; the bootstrap is run now."""
    test = likelihood_ratio(fits["M_0"], fits["M_A"])
    drawn = parametric_bootstrap(statistics_of(trial, MODELS["M_0"]), fits["M_0"], replicates=replicates, workers=1)
    return fact_table(
        {
            "Persons, items": f"{trial.n_persons:,}, {trial.n_items}",
            "True σ_ζ (logits)": f"{DESIGNS[EXAMPLE].sigma_zeta:g}",
            "Likelihood ratio of M_0 and M_A": number(test.statistic, 2),
            "p, halved": number(test.halved, 4),
            "p, mixture": number(test.mixture, 4),
            f"p, bootstrap ({replicates - drawn.failed} trials, seed {drawn.seed})": number(
                bootstrap_p_value(test.statistic, drawn), 3
            ),
        }
    )


def example_table(intervals: list[ProfileInterval], scale: float) -> Markdown:
    """Profile and Wald intervals side by side."""
    rows = []
    for interval in intervals:
        unit, suffix = (1.0, "") if interval.parameter == "rho" else (scale, " (SDs)")
        rows.append(
            {
                "": PARAMETER_NAMES[interval.parameter] + suffix,
                "Estimate": number(interval.estimate / unit, 3),
                "Profile interval": between(interval.lower / unit, interval.upper / unit, 3),
                "Wald interval": between(interval.wald_lower / unit, interval.wald_upper / unit, 3),
            }
        )
    return page_table(rows, left=("",))


# -- the stored simulations --------------------------------------------------------------------------------------------


def about_text(about: dict, trials: str) -> Markdown:
    """What was simulated (``trials``), and when and how the stored results were computed."""
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


def size_overview(summary: pd.DataFrame) -> Markdown:
    """Over numbers of items: how often each test rejects at 5%, and how often 5% is outside its Monte Carlo interval."""
    rows = []
    for test in size_study.TESTS:
        own = summary[(summary["level"] == 0.05) & (summary["test"] == test)]
        rows.append(
            {
                "Test": test,
                "Rejects at 5%": f"{number(100 * own['size'].min(), 1)} to {number(100 * own['size'].max(), 1)}%",
                "Away from 5%, mean (points)": number(100 * float((own["size"] - 0.05).abs().mean()), 1),
                "Too often": f"{int((own['lower'] > 0.05).sum())} of {len(own)}",
                "Too rarely": f"{int((own['upper'] < 0.05).sum())} of {len(own)}",
            }
        )
    return page_table(rows, left=("Test",))


def size_table(summary: pd.DataFrame) -> Markdown:
    """Size by test, number of items and level."""
    rows = []
    for (n_items, test), own in summary.groupby(["n_items", "test"], sort=False):
        cells = {
            f"{100 * row.level:g}%": percent_text(row.size, row.lower, row.upper)
            for row in own.itertuples(index=False, name="Row")
        }
        rows.append({"Items": n_items, "Test": test, **cells})
    return page_table(rows, left=("Test",))


def coverage_about(trials: pd.DataFrame, about: dict) -> Markdown:
    """What was simulated for the coverage of the intervals."""
    per_cell = int(trials.groupby(["setting", "n_items", "parameter"]).size().min())
    settings = "; ".join(
        f"*{name}*: {d.n_persons:,} persons, $\\sigma_\\theta = {d.sigma_theta:g}$, $\\beta_1 = {d.ate:g}$, $\\sigma_b = {d.sigma_b:g}$, "
        f"$\\sigma_\\zeta = {d.sigma_zeta:g}$, $\\rho = {number(d.rho, 1)}$"
        for name, d in coverage_study.SETTINGS.items()
    )
    return about_text(about, f"{per_cell:,} trials for each of three settings with 20 and with 40 items. {settings}.")


def coverage_overview(summary: pd.DataFrame) -> Markdown:
    """Over settings and numbers of items: the coverage of each kind of interval, and on which side it misses."""
    rows = []
    for (method, parameter), own in summary.groupby(["method", "parameter"], sort=False):
        few = own[own["n_items"] == own["n_items"].min()]
        rows.append(
            {
                "Interval": method,
                "Parameter": PARAMETER_NAMES[parameter],
                "Coverage": between(own["coverage"].min(), own["coverage"].max(), 3),
                "Clearly below 0.95": f"{int((own['upper'] < 0.95).sum())} of {len(own)}",
                f"Below truth, {few['n_items'].iloc[0]} items": number(few["below"].mean(), 3),
                f"Above truth, {few['n_items'].iloc[0]} items": number(few["above"].mean(), 3),
                "Undefined, at most": number(own["undefined"].max(), 3),
            }
        )
    return page_table(rows, left=("Interval", "Parameter"))


def coverage_table(summary: pd.DataFrame) -> Markdown:
    """Coverage by setting, number of items and parameter."""
    rows = []
    by = summary.set_index(["setting", "n_items", "parameter", "method"])
    cells = {key[:3] for key in by.index}
    for key in sorted(cells, key=lambda k: (k[0], k[1], coverage_study.PARAMETERS.index(k[2]))):
        profile, wald = by.loc[(*key, "profile")], by.loc[(*key, "Wald")]
        of = {
            name: f"{number(row['coverage'], 3)} ({between(row['lower'], row['upper'], 3)})"
            for name, row in (("Profile", profile), ("Wald", wald))
        }
        truth, below, above = (number(profile[name], d) for name, d in (("truth", 1), ("below", 3), ("above", 3)))
        name = PARAMETER_NAMES[key[2]]
        rows.append(
            {
                "Setting": key[0],
                "Items": key[1],
                "Parameter": name,
                "Truth": truth,
                **of,
                "Below": below,
                "Above": above,
            }
        )
    return page_table(rows, left=("Setting", "Parameter"))


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


def bias_table(summary: pd.DataFrame) -> Markdown:
    """Bias and root mean squared error by number of items, method and parameter."""
    rows = []
    by = summary.set_index(["n_items", "method", "parameter"])
    for n_items in sorted(summary["n_items"].unique()):
        for parameter in bias_study.ESTIMATES:
            row = {"Items": n_items, "Parameter": PARAMETER_NAMES[parameter]}
            of = {label: by.loc[(n_items, method, parameter)] for method, label in _METHODS.items()}
            row |= {
                f"Bias, {label}": f"{number(own['bias'], 3)} ({number(own['bias_se'], 3)})" for label, own in of.items()
            }
            rows.append(row | {f"RMSE, {label}": number(own["rmse"], 3) for label, own in of.items()})
    return page_table(rows, left=("Parameter",))


# -- simulated now -------------------------------------------------------------------------------------------------------


def simulated_now(size: pd.DataFrame, coverage: pd.DataFrame, bias: pd.DataFrame, replications: int) -> Markdown:
    """The first trials of each simulation, drawn and fitted again, compared with the stored ones."""
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
        difference = f"differ by at most {apart:.1g} from the stored ones" if apart else "identical to the stored ones"
        lines.append(f"- {len(now) * len(values)} {what} of {replications} trials: {difference}.")
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
    return "Rejection rates under the null hypothesis at 5%: " + "; ".join(parts) + "."


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
        for method, label in _METHODS.items():
            own = summary[(summary["parameter"] == parameter) & (summary["method"] == method)].sort_values("n_items")
            values = ", ".join(
                f"{number(bias, 3)} with {n} items" for bias, n in zip(own["bias"], own["n_items"], strict=True)
            )
            parts.append(f"{PARAMETER_NAMES[parameter]} by {label}: {values}")
    return "Mean error in logits. " + "; ".join(parts) + "."
