"""Draft paragraphs for a paper as files: Markdown with citations, Word and LaTeX, and their bibliography."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ilhte_lib.errors import IlhteError
from ilhte_lib.files import file_names
from ilhte_lib.manifest import EMPTY_OR_OURS, Manifest

from ..pages.origin import bibtex_of
from ..project import SOURCES
from ..words.markdown import escape_markdown
from ..words.paper import methods_paragraph, results_paragraph
from .latex import latex_text
from .pandoc import converted

if TYPE_CHECKING:
    from ilhte_lib.analysis import Analysis

    from ..intake.source import Source

BIBLIOGRAPHY = "references.bib"


def write_paragraphs(analysis: Analysis, folder: str | Path, source: Source | None = None) -> list[Path]:
    """Write paper.md, paper.docx, paper.tex (for natbib) and references.bib: methods and results, and the references they cite.

    For a table with several arms: paragraphs on all arms side by side, and a folder for each arm.

    Raises
    ------
    InputError : the folder was not written by ilhte, or another file is in the way.
    """
    kept = Manifest.open(Path(folder), EMPTY_OR_OURS)
    entries = bibliography(analysis, source)
    text = paragraphs_markdown(analysis)
    beside = {BIBLIOGRAPHY: entries.encode("utf-8")}
    cite = ("--citeproc", f"--bibliography={BIBLIOGRAPHY}")
    latex = converted(text.removesuffix("## References\n"), "latex", "--natbib").decode("utf-8")
    written = [
        kept.write_text("paper.md", f"---\nbibliography: {BIBLIOGRAPHY}\n---\n\n{text}"),
        kept.write("paper.docx", converted(text, "docx", *cite, beside=beside)),
        kept.write_text(
            "paper.tex",
            f"% written by ilhte; needs \\usepackage{{natbib}} and \\bibliography{{references}}\n{latex_text(latex)}",
        ),
        kept.write_text(BIBLIOGRAPHY, entries),
    ]
    if analysis.arms is not None:
        for place, one in zip(file_names(list(analysis.of_arms)), analysis.of_arms.values(), strict=True):
            written += write_paragraphs(one, Path(folder) / place, source)
    return written


def paragraphs_markdown(analysis: Analysis) -> str:
    """Methods and results under headings, with names escaped, and a heading for the references."""
    results = escape_markdown(results_paragraph(analysis))
    methods = methods_paragraph(analysis)
    return f"## Methods\n\n{methods}\n\n## Results\n\n{results}\n\n## References\n"


def bibliography(analysis: Analysis, source: Source | None = None) -> str:
    """BibTeX of the methods, and of the table if known."""
    places = (Path(__file__).resolve().parents[2] / BIBLIOGRAPHY, SOURCES / BIBLIOGRAPHY)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise IlhteError("references.bib is missing from the package: install ilhte again.")
    return "\n\n".join([found.read_text(encoding="utf-8").strip(), *bibtex_of(analysis.info, source)]) + "\n"
