"""What the page of one table says and shows: its data, audit, models, verdict and items.

Each function returns something a notebook displays; every name in it is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from ilhte_lib.effects import Effects
from ilhte_lib.mixed_model import Fit
from ilhte_lib.prepare import Trial

from .markdown import escape_markdown
from .source import Source
from .wording import average_sentence, interaction_sentence, item_spread_sentence, test_sentence

if TYPE_CHECKING:
    from IPython.display import HTML, Markdown


def about(where: Source) -> Markdown:
    """Design, origin and citation; a simulated or non-randomised table says so first."""
    from IPython.display import Markdown

    info = where.info
    if info is None:
        return Markdown(f"Read from the file {escape_markdown(where.name)}.")
    lines = []
    if info.kind == "simulated":
        lines.append(
            "**Simulated.** This table was drawn by the project's generator from known values; nobody was treated."
        )
    elif not info.randomised:
        lines.append(
            "**Not randomised.** The two groups were not assigned at random: differences are not treatment effects."
        )
    facts = (("Groups", info.group), ("Items", info.items), ("Responses", info.response), ("Pretest", info.pretest))
    lines += [f"**{label}.** {_sentence(text)}" for label, text in facts if text]
    if info.note:
        lines.append(f"**Note.** {_sentence(info.note)}")
    if info.citation:
        lines.append(f"**Source.** {_sentence(info.citation)}")
    lines.append(f"**Origin and licence.** {_sentence(info.origin)} {_sentence(info.licence)}")
    return Markdown("\n\n".join(lines))


def _sentence(text: str) -> str:
    text = text.strip()
    return escape_markdown(text if text.endswith((".", "!", "?")) else f"{text}.")


def audit_table(trial: Trial) -> HTML:
    """Every step of the preparation with what it left out."""
    rows = [
        {"Step": e.step, "Rows": e.rows, "Persons": e.persons, "Items": e.items, "Why": e.reason} for e in trial.audit
    ] or [{"Step": "all steps", "Rows": 0, "Persons": 0, "Items": 0, "Why": "Nothing was left out."}]
    kept = {
        "Step": "kept",
        "Rows": trial.n_responses,
        "Persons": trial.n_persons,
        "Items": trial.n_items,
        "Why": "What the models see.",
    }
    return _table([*rows, kept], left=("Step", "Why"))


def model_table(fits: dict[str, Fit]) -> HTML:
    """One column a model: coefficients with standard errors, spreads, log-likelihood and certificate, logits."""

    def row(label: str, value: Callable[[Fit], str]) -> dict:
        return {"": label, **{name: value(fit) for name, fit in fits.items()}}

    def coefficient(name: str) -> Callable[[Fit], str]:
        return lambda fit: coefficient_with_se(fit, name) if name in fit.spec.beta_names else ""

    def of_items(text: Callable[[Fit], str]) -> Callable[[Fit], str]:
        return lambda fit: text(fit) if fit.spec.item_effects else ""

    rows = [
        row("Treatment", coefficient("treat")),
        row("Covariate", coefficient("cov")),
        row("Treatment × covariate", coefficient("treat:cov")),
        row("σ_θ, persons", lambda fit: number(fit.sigma_theta, 3)),
        row("σ_b, easiness", lambda fit: number(fit.sigma_b, 3)),
        row("σ_ζ, item effects", of_items(lambda fit: number(fit.sigma_zeta, 3))),
        row("ρ", of_items(lambda fit: number(fit.rho, 2))),
        row("Log-likelihood", lambda fit: number(fit.loglik, 2)),
        row("Optimum", lambda fit: "certified" if fit.converged else "not certified"),
        row("Boundary", lambda fit: "singular" if fit.singular else ""),
    ]
    return _table([r for r in rows if any(text for name, text in r.items() if name)], left=("",))


def coefficient_with_se(fit: Fit, name: str) -> str:
    """A fixed effect with its standard error in parentheses, logits."""
    return f"{number(fit.coefficient(name), 3)} ({number(fit.standard_error(name), 3)})"


def verdict(trial: Trial, result: Effects, *, lower_is_better: bool = False) -> Markdown:
    """What the table says, in sentences."""
    from IPython.display import Markdown

    row = result.summary
    sentences = [
        average_sentence(row, lower_is_better=lower_is_better),
        item_spread_sentence(row),
        test_sentence(row),
        interaction_sentence(row),
        *trial.flags,
    ]
    return Markdown("\n".join(f"- {escape_markdown(s)}" for s in sentences if s))


def item_table(result: Effects) -> HTML:
    """Items ordered by their effect: share of 1 by arm, easiness and effect in SDs."""
    rows = [
        {
            "Item": row["item"],
            "n control": row["n_ctrl"],
            "n treated": row["n_treat"],
            "Share control": number(row["p_ctrl"], 2),
            "Share treated": number(row["p_treat"], 2),
            "Easiness (SD)": number(row["b_std"], 2),
            "Effect (SD)": number(row["total_std"], 2),
            "SE": number(row["total_se"], 2),
        }
        for row in sorted(result.items, key=lambda r: -r["total_std"])
    ]
    return _table(rows, left=("Item",))


def figure_alt(result: Effects) -> str:
    """The item figure in words."""
    totals = [row["total_std"] for row in result.items]
    return (
        f"Effects of {len(totals)} items with intervals, from {number(min(totals), 2)} to {number(max(totals), 2)} "
        f"SDs, around an average of {number(result.summary['ate_std'], 2)} SDs."
    )


def number(value: float | None, digits: int) -> str:
    """A number for reading, with a true minus sign; an undefined one is a dash."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) != 0 else text.lstrip("-")


def _table(rows: list[dict], left: tuple[str, ...]) -> HTML:
    """Rows as an HTML table, escaped, numbers to the right."""
    from html import escape

    from IPython.display import HTML

    def cell(tag: str, column: str, value: object) -> str:
        side = "left" if column in left else "right"
        return f'<{tag} style="text-align:{side}">{escape(str(value))}</{tag}>'

    head = "".join(cell("th", c, c) for c in rows[0])
    body = "".join("<tr>" + "".join(cell("td", c, v) for c, v in row.items()) + "</tr>" for row in rows)
    return HTML(f'<table class="table table-sm"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>')
