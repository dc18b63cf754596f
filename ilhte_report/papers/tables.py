"""Tables of an analysis for a paper: great_tables objects, and files for the web, LaTeX, Word and spreadsheets.

They contain the same rows as the page and the terminal (``pages.sections``).
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ilhte_lib.errors import InputError
from ilhte_lib.files import file_names
from ilhte_lib.manifest import EMPTY_OR_OURS, Manifest
from ilhte_lib.messages import listed, quoted

from ..pages.sections import ESTIMATES, FITTED, ITEMS, TOLD, Section, sections
from ..site.csv_download import csv_safe
from ..words.markdown import escape_markdown, table_markdown
from ..words.rows import estimate_lines
from .latex import latex_text
from .pandoc import converted

if TYPE_CHECKING:
    import pandas as pd
    from great_tables import GT

    from ilhte_lib.analysis import Analysis
    from ilhte_lib.inference.arms import Arms

    from ..intake.source import Source

TABLES = {"estimates": ESTIMATES, "items": ITEMS, "models": FITTED}
"""Name -> title of its section."""
OF_ARMS = {"arms": "Arms"}
"""The same for a table with several arms."""
LONGEST = 25
"""Rows of a LaTeX table on one page; a longer one runs over pages."""


def paper_table(analysis: Analysis, name: str) -> GT:
    """A table as a great_tables object, which can be styled further and saved.

    Raises
    ------
    InputError : there is no such table.
    """
    known = _tables_of(analysis)
    if name in TABLES and analysis.arms is not None:
        raise InputError(
            "This analysis has several arms: use the table of one of them (a.of_arms), or write all (a.to_tables)."
        )
    if name not in known:
        raise InputError(f"There is no table {quoted(name)}: use one of {listed(list(known), len(known))}.")
    return _great_table(name, _section(analysis, name), analysis.trial.tab)


def write_tables(analysis: Analysis, folder: str | Path, source: Source | None = None) -> list[Path]:
    """Write every table as .html, .tex (booktabs), .docx and .csv (unrounded); only files written by ilhte are replaced.

    For a table with several arms: the arms side by side, and a folder for each arm.

    Raises
    ------
    InputError : the folder was not written by ilhte, or another file is in the way.
    """
    kept = Manifest.open(Path(folder), EMPTY_OR_OURS)
    shown = {section.title: section for section in sections(analysis, source)}
    written = []
    for name, title in _tables_of(analysis).items():
        section = shown[title]
        table = _great_table(name, section, analysis.trial.tab)
        html = table.as_raw_html(make_page=True).replace("<html", '<html lang="en"', 1)
        written += [
            kept.write_text(f"{name}.html", html + "\n"),
            kept.write_text(f"{name}.tex", _latex(table, section)),
            kept.write(f"{name}.docx", converted(_markdown(section, analysis.trial.tab), "docx")),
            kept.write_text(f"{name}.csv", _numbers(analysis, name).to_csv(index=False, lineterminator="\n")),
        ]
    if analysis.arms is not None:
        for place, one in zip(file_names(list(analysis.of_arms)), analysis.of_arms.values(), strict=True):
            written += write_tables(one, Path(folder) / place, source)
    return written


def _tables_of(analysis: Analysis) -> dict[str, str]:
    return TABLES if analysis.arms is None else OF_ARMS


def _section(analysis: Analysis, name: str) -> Section:
    return next(section for section in sections(analysis) if section.title == _tables_of(analysis)[name])


def _great_table(name: str, section: Section, tab: str) -> GT:
    """The great_tables object of a section; names need no escaping, as great_tables escapes text."""
    import pandas as pd
    from great_tables import GT

    columns = list(section.rows[0])
    table = GT(pd.DataFrame(list(section.rows)), rowname_col=columns[0], id=f"ilhte-{name}")
    words = [column for column in columns if column in section.left]
    table = table.cols_align("right", [c for c in columns if c not in words]).cols_align("left", words)
    table = table.tab_header(title=section.title, subtitle=tab)
    if columns[0]:
        table = table.tab_stubhead(columns[0])
    if note := _note(section):
        table = table.tab_source_note(note)
    return table.tab_options(table_font_size="13px", heading_title_font_size="15px", data_row_padding="3px")


def _note(section: Section) -> str:
    """The note without its reference to sentences above, as the table stands alone."""
    return section.note.replace(TOLD, "").strip()


def _latex(table: GT, section: Section) -> str:
    """LaTeX with the rules of booktabs only, and the note a little below them."""
    text = table.tab_options(table_font_size="9pt").as_latex(use_longtable=len(section.rows) > LONGEST)
    text = re.sub(r"(\\extracolsep{\\fill}}|\\begin{longtable}{)l\|", r"\1l", text, count=1)
    text = text.replace(r"\begin{minipage}{\linewidth}", "\\smallskip\n\\begin{minipage}{\\linewidth}\n\\footnotesize")
    text = text.replace(r"\begin{tabular*}", "\\setlength{\\tabcolsep}{4pt}\n\\begin{tabular*}")
    needs = "booktabs,caption,longtable,array"
    scripts = "% names in non-Latin alphabets need XeLaTeX or LuaLaTeX, and a font with these letters"
    return f"% written by ilhte; in the preamble: \\usepackage{{{needs}}}\n{scripts}\n{latex_text(text)}"


def _markdown(section: Section, tab: str) -> str:
    """A document with one table: rows, caption and note."""
    caption = escape_markdown(f"{section.title}: {tab}")
    return f"{table_markdown(section.rows, section.left)}\n: {caption}\n\n{escape_markdown(_note(section))}\n"


def _numbers(analysis: Analysis, name: str) -> pd.DataFrame:
    """The table's numbers, unrounded, in the units shown."""
    import pandas as pd

    if analysis.arms is not None:
        return _arms_frame(analysis.arms)
    if name == "models":
        return analysis.tidy()
    if name == "items":
        unit = analysis.effects.scale.unit.value
        rows = [{"item": csv_safe(i.name), "unit": unit, **{k: v for k, v in vars(i).items() if k != "name"}}
                for i in analysis.effects.shown_items]  # fmt: skip
        return pd.DataFrame(rows)
    lines = estimate_lines(analysis.effects, analysis.inference)
    return pd.DataFrame(
        [
            {
                "term": term, "unit": unit, "estimate": shown.estimate, "std.error": se, "conf.low": shown.low,
                "conf.high": shown.high, "conf.method": shown.basis.value if shown.defined or not math.isnan(se) else "",
            }
            for term, unit, shown, se in lines
        ]
    )  # fmt: skip


def _arms_frame(arms: Arms) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for row in arms.rows:
        numbers: dict[str, object] = {"arm": csv_safe(row.arm), "n_control": row.n_control, "n_treated": row.n_treated}
        numbers |= {"unit": row.unit.value}
        for name, shown in (("average", row.average), ("sigma_zeta", row.spread)):
            numbers |= {name: shown.estimate, f"{name}_low": shown.low, f"{name}_high": shown.high}
        p = ("p_average", "p_average_holm", "p_equal", "p_equal_holm")
        rows.append(numbers | {column: getattr(row, column) for column in p})
    return pd.DataFrame(rows)
