"""What the data page says about the bundled collection, from its catalogue, and about the files of a run."""

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
    """Each real table with title, design, items, source and licence, linked if it is in the run; facts that all tables of an
    experiment share are given once."""
    from IPython.display import Markdown

    experiments: dict[str, list[TableInfo]] = {}
    for info in catalogue():
        if info.kind == "real":
            experiments.setdefault(info.experiment, []).append(info)
    return Markdown("\n\n".join(_experiment(tables, run) for tables in experiments.values()))


def _experiment(tables: list[TableInfo], run: RunResults) -> str:
    facts = [_facts(info) for info in tables]
    shared = [name for name in facts[0] if all(of[name] == facts[0][name] for of in facts)]
    named = [f"{_named(info.tab, run)} – {escape_markdown(info.title)}" for info in tables]
    lines = [facts[0][name] for name in shared]
    if len(tables) > 1:
        own = [" ".join(text for name, text in of.items() if name not in shared and text) for of in facts]
        listed = "\n".join(f"    - {name}. {text}" for name, text in zip(named, own, strict=True))
        term = f"{len(tables)} tables of one series of experiments: {escape_markdown(tables[0].experiment)}"
        lines.insert(0, f"Its tables:\n\n{listed}")
    else:
        term = named[0]
    return f"{term}\n\n" + "\n".join(f":   {line}\n" for line in lines if line)


def _facts(info: TableInfo) -> dict[str, str]:
    """The facts shown about a table, by subject."""
    assigned = (
        f"Randomised: {sentence(info.randomisation)}"
        if info.randomised
        else f"**Not randomised**: {sentence(info.randomisation)} Differences between the groups are not effects of treatment."
    )
    cut = f"`--threshold {info.threshold}` turns them into 0 and 1." if info.threshold is not None else ""
    return {
        "design": assigned,
        "groups": sentence(info.group),
        "items": f"Items: {sentence(info.items)}",
        "responses": f"Responses: {sentence(info.response)}",
        "labels": f"Answers: {sentence(info.labels)}" if info.labels else "",
        "threshold": cut,
        "pretest": f"Pretest: {sentence(info.pretest)}",
        "note": sentence(info.note) if info.note else "",
        "source": f"Source: {sentence(info.citation)}",
        "origin": f"Taken from: {sentence(info.origin)}",
        "licence": f"Licence: {sentence(info.licence)}",
    }


def simulated_tables(run: RunResults) -> Markdown:
    """The true values of each simulated table and, in parentheses, the estimates of the run."""
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
    """The tables of the run that are not bundled, with the checksums of their files."""
    from IPython.display import Markdown

    others = [row for row in run.record["tables"] if row["tab"] not in run.info and row["status"] == "fitted"]
    if not others:
        return Markdown("")
    lines = [f"- {_named(row['tab'], run)}, SHA-256 `{row['input_sha256'] or 'unknown'}`" for row in others]
    named = "These tables were" if len(lines) > 1 else "This table was"
    return Markdown(f"{named} read from files, identified by these checksums:\n\n" + "\n".join(lines))


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
