"""What the page of one table says and shows: its data, audit, models, verdict and items.

Each function returns something a notebook displays; every name in it is escaped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ilhte_lib.data.trial import Trial
from ilhte_lib.inference.effects import Effects
from ilhte_lib.model.fit_result import Fit

from ..intake.source import Source, data_folder
from ..words.markdown import code_block, escape_markdown, html_table, sentence
from ..words.numbers import number, p_text
from ..words.rows import cluster_sentence, clusters_drawn_sentence, told_summary
from ..words.sentences import average_sentence, interaction_sentence, item_spread_sentence, test_sentence

if TYPE_CHECKING:
    from IPython.display import HTML, Markdown

    from ilhte_lib.inference.infer import Inference

    from ..intake.irw.tables import IrwTable


def about(where: Source) -> Markdown:
    """Design, origin and citation; a simulated or non-randomised table says so first."""
    from IPython.display import Markdown

    info = where.info
    if where.irw:
        return Markdown(_about_irw(where.irw))
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
    lines += [f"**{label}.** {sentence(text)}" for label, text in facts if text]
    if info.note:
        lines.append(f"**Note.** {sentence(info.note)}")
    if info.citation:
        lines.append(f"**Source.** {sentence(info.citation)}")
    lines.append(f"**Origin and licence.** {sentence(info.origin)} {sentence(info.licence)}")
    lines.append(_bibtex_block(_bundled_bibtex(info.citation_key)))
    return Markdown("\n\n".join(lines))


def _about_irw(table: IrwTable) -> str:
    version = f", version {table.irw_version}" if table.irw_version is not None else ""
    text = f"**Origin.** Table {escape_markdown(table.name)} of the Item Response Warehouse{version}, fetched on {table.fetched_at[:10]}."
    return f"{text}\n\n{_bibtex_block(list(table.bibtex))}"


def _bundled_bibtex(keys: str) -> list[str]:
    """The entries of ``data/citations.bib`` with these ";"-separated keys."""
    folder = data_folder()
    if not keys or folder is None:
        return []
    entries = (folder / "citations.bib").read_text(encoding="utf-8").strip().split("\n\n")
    return [entry for key in keys.split(";") for entry in entries if f"{{{key.strip()}," in entry.splitlines()[0]]


def _bibtex_block(entries: list[str]) -> str:
    if not entries:
        return ""
    return f"<details><summary>BibTeX</summary>\n\n{code_block(chr(10).join(entries), 'bibtex')}\n\n</details>"


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
    return html_table([*rows, kept], left=("Step", "Why"))


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
    return html_table([r for r in rows if any(text for name, text in r.items() if name)], left=("",))


def coefficient_with_se(fit: Fit, name: str) -> str:
    """A fixed effect with its standard error in parentheses, logits."""
    return f"{number(fit.coefficient(name), 3)} ({number(fit.standard_error(name), 3)})"


def verdict(
    trial: Trial, result: Effects, inference: Inference | None = None, *, lower_is_better: bool = False
) -> Markdown:
    """What the table says, in sentences."""
    from IPython.display import Markdown

    row = told_summary(result, inference)
    sentences = [
        average_sentence(row, lower_is_better=lower_is_better),
        item_spread_sentence(row),
        test_sentence(row),
        interaction_sentence(row),
        *cluster_sentences(result, inference),
        *trial.flags,
        *(inference.notes if inference else ()),
    ]
    return Markdown("\n".join(f"- {escape_markdown(s)}" for s in sentences if s))


def cluster_sentences(result: Effects, inference: Inference | None) -> list[str]:
    """What must be said of a clustered trial; nothing of another."""
    if inference is None:
        return []
    scale = result.summary["sigma_theta"]
    return [s for s in (cluster_sentence(inference), clusters_drawn_sentence(inference, scale)) if s]


def item_table(result: Effects, inference: Inference | None = None) -> HTML:
    """Items ordered by their effect: share of 1 by arm, easiness and effect in SDs, and whether it is the average's."""
    tested = inference.items if inference else None
    adjusted = dict(zip(tested.item_names, tested.departure_p_holm, strict=True)) if tested else {}
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
            **({"p (Holm)": p_text(float(adjusted[row["item"]]))} if adjusted else {}),
        }
        for row in sorted(result.items, key=lambda r: -r["total_std"])
    ]
    return html_table(rows, left=("Item",))


def figure_alt(result: Effects) -> str:
    """The item figure in words."""
    totals = [row["total_std"] for row in result.items]
    return (
        f"Effects of {len(totals)} items with intervals, from {number(min(totals), 2)} to {number(max(totals), 2)} "
        f"SDs, around an average of {number(result.summary['ate_std'], 2)} SDs."
    )
