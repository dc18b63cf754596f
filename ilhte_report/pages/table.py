"""What the page of one table says and shows: its data, audit, models, verdict and items.

Each function returns something a notebook displays; every name in it is escaped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ilhte_lib.data.trial import Trial
from ilhte_lib.inference.effects import Effects
from ilhte_lib.inference.units import Unit
from ilhte_lib.model.fit_result import Fit

from ..intake.source import Source, data_folder
from ..words.markdown import code_block, escape_markdown, html_table, sentence
from ..words.numbers import number, p_text
from ..words.rows import cluster_sentence, clusters_drawn_sentence
from ..words.sentences import findings

if TYPE_CHECKING:
    from IPython.display import Markdown
    from plotly.graph_objects import Figure

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


def audit_table(trial: Trial) -> Markdown:
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


def model_table(fits: dict[str, Fit]) -> Markdown:
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

    sentences = [
        *findings(result, inference, lower_is_better=lower_is_better),
        *warnings_of(trial, result, inference),
        *(inference.notes if inference else ()),
    ]
    return Markdown("\n".join(f"- {escape_markdown(s)}" for s in sentences))


def warnings_of(trial: Trial, result: Effects, inference: Inference | None) -> list[str]:
    """What a reader of the sentences must be told: of clusters, the preparation, the table's weaknesses, the fits."""
    return [*cluster_sentences(result, inference), *trial.flags, *result.flags, *result.messages]


def cluster_sentences(result: Effects, inference: Inference | None) -> list[str]:
    """What must be said of a clustered trial; nothing of another."""
    if inference is None:
        return []
    return [s for s in (cluster_sentence(inference), clusters_drawn_sentence(result, inference)) if s]


def item_table(result: Effects, inference: Inference | None = None) -> Markdown:
    """Items from the most positive effect to the most negative: share of 1 by arm, easiness, effect, and whether it is
    the average's."""
    tested, unit = inference.items if inference else None, result.scale.unit
    adjusted = dict(zip(tested.item_names, tested.departure_p_holm, strict=True)) if tested else {}
    rows = [
        {
            "Item": item.name,
            "n control": item.n_ctrl,
            "n treated": item.n_treat,
            "Share control": number(item.p_ctrl, 2),
            "Share treated": number(item.p_treat, 2),
            f"Easiness ({unit})": number(item.easiness, 2),
            f"Effect ({unit})": number(item.effect, 2),
            "SE": number(item.se, 2),
            **({"p (Holm)": p_text(float(adjusted[item.name]))} if adjusted else {}),
        }
        for item in result.shown_items
    ]
    return html_table(rows, left=("Item",))


def items_drawn(result: Effects) -> Figure:
    """The figure of the items, in the table's unit."""
    import pandas as pd

    from ilhte_lib.figures.tables import table_figure

    unit = result.scale.unit
    rows = result.items if unit is Unit.SD else result.items_logit
    summary = pd.Series(result.summary | {"ate": result.average})
    return table_figure(pd.DataFrame(rows), summary, unit)


def figure_alt(result: Effects) -> str:
    """The item figure in words."""
    effects, unit = [item.effect for item in result.shown_items], result.scale.unit.plural
    return (
        f"Effects of {len(effects)} items with intervals, from {number(min(effects), 2)} to {number(max(effects), 2)} "
        f"{unit}, around an average of {number(result.average / result.scale.by, 2)} {unit}."
    )
