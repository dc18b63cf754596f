"""What the data page says of the bundled collection, from its catalogue, and of the files of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ilhte_lib.data.catalogue import TableInfo, bundled_tables, table_info

from ..project import find_project, slug
from ..words.markdown import escape_markdown, page_table, sentence
from ..words.numbers import number
from .results import RunResults

if TYPE_CHECKING:
    from IPython.display import Markdown


def catalogue() -> list[TableInfo]:
    """The bundled collection: real tables first."""
    folder = find_project() / "data"
    return [table_info(tab, folder) for tab in bundled_tables(folder)]


def real_tables(run: RunResults) -> Markdown:
    """Each real table with its title, design, items, source and licence; linked where the run has it."""
    from IPython.display import Markdown

    entries = []
    for info in catalogue():
        if info.kind != "real":
            continue
        design = (
            f"Randomised: {sentence(info.randomisation)}"
            if info.randomised
            else f"**Not randomised**: {sentence(info.randomisation)} Differences between the groups are not effects of treatment."
        )
        scale = f" Answers: {sentence(info.labels)} Counted as 1 from {info.threshold} on." if info.labels else ""
        facts = [
            f"{design} {sentence(info.group)}",
            f"Items: {sentence(info.items)} Responses: {sentence(info.response)}{scale} Pretest: {sentence(info.pretest)}",
            sentence(info.note) if info.note else "",
            f"Source: {sentence(info.citation)}",
            f"Taken from: {sentence(info.origin)} Licence: {sentence(info.licence)}",
        ]
        lines = "\n".join(f":   {fact}\n" for fact in facts if fact)
        entries.append(f"{_named(info.tab, run)} – {escape_markdown(info.title)}\n\n{lines}")
    return Markdown("\n\n".join(entries))


def simulated_tables(run: RunResults) -> Markdown:
    """The truth each simulated table was drawn from and, in parentheses, what the run estimated."""
    estimates = {row["tab"]: row for row in run.summary.to_dict("records")}

    def beside(true: float, column: str, tab: str) -> str:
        return f"{number(true, 2)} ({number(estimates[tab][column], 2)})" if tab in estimates else number(true, 2)

    rows = [
        {
            "Table": info.tab,
            "Persons": f"{info.truth['n_persons']:,}",
            "Items": info.truth["n_items"],
            "Average": beside(info.truth["ate_std"], "ate_std", info.tab),
            "σ_ζ": beside(info.truth["sigma_zeta_std"], "sigma_zeta_std", info.tab),
            "ρ": beside(info.truth["rho"], "rho", info.tab),
        }
        for info in catalogue()
        if info.kind == "simulated"
    ]
    return page_table(rows, left=("Table",))


def other_tables(run: RunResults) -> Markdown:
    """The tables of the run that are not bundled, with the checksum of what was read."""
    from IPython.display import Markdown

    others = [row for row in run.record["tables"] if row["tab"] not in run.info and row["status"] == "fitted"]
    if not others:
        return Markdown("")
    lines = [f"- {_named(row['tab'], run)}, SHA-256 `{row['input_sha256'] or 'unknown'}`" for row in others]
    named = "These tables were" if len(lines) > 1 else "This table was"
    return Markdown(f"{named} read from files, which the checksums tell apart:\n\n" + "\n".join(lines))


def licences() -> Markdown:
    """Licences of the bundled tables, with the tables under each."""
    from IPython.display import Markdown

    under: dict[str, list[str]] = {}
    for info in catalogue():
        under.setdefault(info.licence, []).append(info.tab)
    lines = []
    for licence, tabs in under.items():
        simulated = [tab for tab in tabs if table_info(tab, find_project() / "data").kind == "simulated"]
        named = [f"`{tab}`" for tab in tabs if tab not in simulated] + (
            [f"{len(simulated)} simulated tables"] if simulated else []
        )
        lines.append(f"- **{escape_markdown(licence)}**: {', '.join(named)}")
    return Markdown("\n".join(lines))


def _named(tab: str, run: RunResults) -> str:
    shown = escape_markdown(tab)
    pages = {run.page(fitted) for fitted in run.summary["tab"]}
    return f"[{shown}](tables/{slug(tab)}.ipynb)" if slug(tab) in pages else shown
