"""The results of the study of pooled trials, for the page "Across trials"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ilhte_lib.errors import InputError

from ..words.markdown import escape_markdown, page_table
from ..words.numbers import between, number
from .computed import read_computed
from .pooling import summary

if TYPE_CHECKING:
    from IPython.display import Markdown

_NAMED = {
    "x_mean_covered": "Collections whose interval contains the mean of log(σ_ζ / σ_θ)",
    "z_mean_covered": "Collections whose interval contains the mean of Fisher's z",
    "x_new_inside": "New trials inside the prediction interval of log(σ_ζ / σ_θ)",
    "z_new_inside": "New trials inside the prediction interval of Fisher's z",
    "ratio_inside": "Trials whose σ_ζ / σ_θ lies in its pooled interval",
    "rho_inside": "Trials whose ρ lies in its pooled interval",
    "x_bias": "Bias of the mean of log(σ_ζ / σ_θ)",
    "z_bias": "Bias of the mean of Fisher's z",
    "rho_error_ml": "Mean squared error of ρ, maximum likelihood",
    "rho_error_pooled": "Mean squared error of ρ, pooled",
    "rho_error_difference": "Their difference",
}


def coverage_sentence() -> str:
    """The study in a sentence, or a sentence that it has not been computed."""
    try:
        rows, about = read_computed("pooling")
    except InputError as absent:
        return f"The simulation of pooled trials has not been computed here. {escape_markdown(str(absent))}"
    found = summary(rows).set_index("finding")
    shares = [number(float(found.loc[name, "value"]), 2) for name in ("x_mean_covered", "z_mean_covered")]
    ml, pooled = (number(float(found.loc[f"rho_error_{name}", "value"]), 3) for name in ("ml", "pooled"))
    return (
        f"In {len(rows.dropna())} simulated collections of 15 small trials (seed {about['seed']}), the 95% intervals of the two means contain the "
        f"truth with relative frequencies of {shares[0]} and {shares[1]}; the mean squared error of a trial's ρ is {ml} by maximum likelihood and "
        f"{pooled} pooled."
    )


def coverage_table() -> Markdown:
    """All findings with their Monte Carlo intervals; empty if the study has not been computed."""
    from IPython.display import Markdown

    try:
        rows, _ = read_computed("pooling")
    except InputError:
        return Markdown("")
    found = summary(rows).set_index("finding")
    shown = [
        {"": name, "Found": number(float(found.loc[key, "value"]), 3), "95% Monte Carlo interval": between(*(float(found.loc[key, end]) for end in ("lower", "upper")), 3)}
        for key, name in _NAMED.items()
    ]  # fmt: skip
    return page_table(shown, left=("",))
