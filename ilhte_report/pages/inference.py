"""Intervals, tests, other items and single items on a table's page: tables, figures in words, sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ilhte_lib.inference.effects import Effects
from ilhte_lib.inference.infer import Inference

from ..words.markdown import escape_markdown, html_table
from ..words.numbers import between, number
from ..words.rows import (
    cluster_sentence,
    estimate_rows,
    flagged_sentence,
    generalisation_rows,
    influence_rows,
    resampling_rows,
    resampling_sentence,
    robust_sentence,
    sum_score_rows,
    sum_score_sentence,
    test_rows,
    with_units,
)

if TYPE_CHECKING:
    from IPython.display import Markdown

    from ilhte_lib.inference.units import Scale
    from ilhte_lib.model.fit_result import Fit

NO_DRAWS = "Nothing was resampled for this page: `ilhte run --bootstrap N` does it N times."


def estimate_table(result: Effects, inference: Inference) -> Markdown:
    """Estimates with profile and Wald intervals."""
    return html_table(with_units(estimate_rows(result, inference)), left=("",))


def test_table(inference: Inference) -> Markdown:
    """Three p-values."""
    return html_table(test_rows(inference), left=("p-value", "Null distribution"))


def show_resampling(result: Effects, inference: Inference) -> None:
    """Display what was drawn and the standard errors it gives, or that nothing was drawn."""
    from IPython.display import Markdown, display

    if inference.model_only:
        display(Markdown(f"**Clusters.** {escape_markdown(cluster_sentence(inference))}"))
    rows = resampling_rows(result, inference)
    if not rows:
        display(Markdown(escape_markdown(resampling_sentence(inference)) or NO_DRAWS))
        return
    display(Markdown(escape_markdown(resampling_sentence(inference))), html_table(with_units(rows), left=("",)))


def generalisation_table(inference: Inference, main: Fit, scale: Scale) -> Markdown:
    """What the effect means for other items."""
    return _table(generalisation_rows(inference, main, scale), ("",), "The items' effects could not be generalised.")


def item_findings(inference: Inference, scale: Scale) -> Markdown:
    """Items that differ, and whether the average hangs on a few."""
    return _sentences(flagged_sentence(inference), robust_sentence(inference, scale))


def influence_table(inference: Inference, scale: Scale) -> Markdown:
    """The three items that the average depends on most."""
    why = "With so few items, or so much data, none is left out."
    return _table(influence_rows(inference, scale), ("Without",), why)


def show_sum_score(result: Effects, inference: Inference) -> None:
    """Display the sum-score analysis beside the model's."""
    from IPython.display import display

    rows = sum_score_rows(result, inference)
    table = _table(with_units(rows), ("",), "The sum scores do not vary.")
    display(_sentences(sum_score_sentence(inference)), table)


def _sentences(*sentences: str) -> Markdown:
    from IPython.display import Markdown

    return Markdown("\n\n".join(escape_markdown(s) for s in sentences if s))


def _table(rows: list[dict], left: tuple[str, ...], otherwise: str) -> Markdown:
    from IPython.display import Markdown

    return html_table(rows, left=left) if rows else Markdown(otherwise)


# -- figures in words ------------------------------------------------------------------------------------------------


def profiles_alt(inference: Inference, scale: Scale) -> str:
    """The profile figure in words."""
    names = {"treat": "average effect", "sigma_zeta": "σ_ζ", "rho": "ρ", "sigma_theta": "σ_θ"}
    if not inference.curves:
        return "No profile could be computed."
    parts = []
    for curve in inference.curves:
        interval = inference.intervals[curve.parameter]
        by = scale.by if curve.parameter in ("treat", "sigma_zeta") else 1.0
        parts.append(
            f"{names[curve.parameter]}: lowest at {number(interval.estimate / by, 2)}, interval "
            f"{between(interval.lower / by, interval.upper / by)}"
        )
    return "The rise of the deviance over each parameter. " + "; ".join(parts) + "."


def curves_alt(fit: Fit, scale: Scale) -> str:
    """The characteristic curves in words, at the average person."""
    import numpy as np

    from ilhte_lib.figures.curves import characteristic_curves

    control, treated = characteristic_curves(fit, scale, np.zeros(1)).mean(axis=(1, 2))
    effect = fit.ranef[:, 1]
    most, least = fit.item_names[int(effect.argmax())], fit.item_names[int(effect.argmin())]
    return (
        f"Curves of the test and of its {fit.n_items} items over θ. At θ = 0 the expected share of 1 is {number(control, 2)} "
        f"under control and {number(treated, 2)} under treatment. Drawn thick: {most}, with the most positive effect, and "
        f"{least}, with the most negative."
    )


def items_alt(inference: Inference, fit: Fit, scale: Scale) -> str:
    """The curve of standard errors in words."""
    from ilhte_lib.inference.generalise import persons_floor, se_with_items

    today, twice = (
        number(float(se_with_items(inference.statistics, fit, fit.n_items * k)) / scale.by, 3) for k in (1, 2)
    )
    floor = number(persons_floor(inference.statistics, fit) / scale.by, 3)
    return (
        f"The standard error of the average effect falls with the number of items: {today} {scale.unit.plural} with the {fit.n_items} of "
        f"this test, {twice} with twice as many, towards {floor}."
    )
