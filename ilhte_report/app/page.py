"""The page of ``ilhte app``: the table, its columns, the check, the results, and how to reproduce them."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from htmltools import HTML, Tag, TagList, tags
from shiny import App, Inputs, Outputs, Session, ui

from ..pages.reproduce import command_line
from ..pages.section import Section
from ..pages.single import section_html
from .form import of_files

if TYPE_CHECKING:
    from .results import Fitted

MOST_REPLICATES = 9999
_STATIC = Path(__file__).parent / "static"


def make_page(server: Callable[[Inputs, Outputs, Session], None], most_megabytes: int) -> App:
    """The Shiny application; files above ``most_megabytes`` must be named by their path."""
    return App(_page(most_megabytes), server)


def _page(most_megabytes: int) -> Tag:
    return ui.page_fluid(
        tags.head(
            tags.meta(name="viewport", content="width=device-width, initial-scale=1"),
            tags.style(HTML((_STATIC / "app.css").read_text(encoding="utf-8"))),
            tags.script(src="plotly.min.js", defer=""),
            tags.script(HTML((_STATIC / "app.js").read_text(encoding="utf-8"))),
        ),
        tags.a("Skip to the results", href="#results", class_="skip"),
        tags.main(
            tags.h1("ilhte: treatment effects, item by item"),
            tags.p(
                "The table stays on this machine: the page can be reached from this machine only and contacts no other."
            ),
            _part("table", "1. The table", _table_fields(most_megabytes)),
            _part("columns", "2. The columns", ui.output_ui("form")),
            _part("check", "3. Check", ui.output_ui("found")),
            _part("results", "4. The results", ui.output_ui("shown")),
            data_most=str(most_megabytes * 2**20),
        ),
        title="ilhte",
        lang="en",
    )


def _part(name: str, title: str, *content: Any) -> Tag:
    return tags.section(
        tags.h2(title, id=f"{name}-title"), *content, id=name, tabindex="-1", aria_labelledby=f"{name}-title"
    )


def _table_fields(most_megabytes: int) -> TagList:
    return TagList(
        ui.input_file("file", f"A file of up to {most_megabytes} MB: choose it or drop it here", width="100%"),
        ui.input_text("path", "Or the path of a file of any size on this machine, or the name of a bundled table", width="100%",
                      spellcheck="false"),
        ui.input_action_button("open", "Open this path"),
        tags.details(
            tags.summary("Place of the table in the file"),
            tags.div(of_files(), class_="fields"),
            ui.input_action_button("again", "Read the file again"),
        ),
        told("table_told"),
    )  # fmt: skip


def told(name: str) -> Tag:
    """The place of a message that screen readers announce."""
    return tags.div(ui.output_ui(name), role="status", aria_live="polite")


def sentence(text: str | TagList, *, wrong: bool) -> Tag:
    return tags.p(text, class_="alert alert-danger" if wrong else "alert alert-success")


DONE = TagList("Fitted: ", tags.a("go to the results", href="#results"), ".")
BOOTSTRAP = TagList(
    "Bootstrap replicates",
    tags.small(
        "For a p-value and for standard errors from resampling persons; 0 for none, 99 for a first impression.",
        class_="help",
    ),
)


def written(sections: list[Section], name: str) -> TagList:
    """The sections under headings with anchors; plotly.js is already on the page."""
    return TagList(
        *(
            TagList(tags.h3(section.title, id=f"{name}-{n}"), HTML(section_html(section, plotly=False)))
            for n, section in enumerate(sections, start=1)
        )
    )


def results_shown(result: Fitted) -> TagList:
    command = command_line(result.table.where.name, result.data, bootstrap=result.bootstrap)
    links = [tags.li(tags.a(s.title, href=f"#result-{n}")) for n, s in enumerate(result.sections, start=1)]
    return TagList(
        tags.p(f"Results for {result.table.where.tab}. Download:"),
        tags.div(
            ui.download_button("report", "Report (HTML)"),
            ui.download_button("tables", "Tables (CSV)"),
            *([ui.download_button("paper", "For a paper (Word, LaTeX, SVG …)")] if find_spec("great_tables") else []),
            ui.download_button("document", "Everything (JSON)"),
            ui.download_button("as_notebook", "Notebook"),
            class_="downloads",
        ),
        tags.p("The same on the command line, in the folder of the file (the notebook belongs there too):"),
        tags.pre(tags.code(command, id="command"), tabindex="0"),
        tags.nav(tags.ul(*links), aria_label="Results"),
        written(result.sections, "result"),
    )
