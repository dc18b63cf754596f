"""A report in Word or PDF: the sections of a table's page as one document, made by Quarto if installed, else by pandoc."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ilhte_lib.errors import IlhteError, InputError
from ilhte_lib.files import file_names
from ilhte_lib.messages import quoted

from ..outputs import KEYWORD, PDF_END
from ..pages.markdown import sections_markdown
from ..words.markdown import escape_markdown
from .figures import PER_MM, draw, for_print
from .latex import latex_text
from .pandoc import converted

if TYPE_CHECKING:
    from ilhte_lib.analysis import Analysis

    from ..pages.section import Section

ENDINGS = (".docx", ".pdf")
PAGE = 150.0
"""Width of figures, mm."""
HIGHEST = 170.0
"""Largest height of a figure, mm, which leaves space for the caption."""
_ENGINES = ("xelatex", "lualatex")
_LONGEST = 600
"""Seconds that Quarto may take."""


def refuse_ending(name: str) -> None:
    """Raise InputError if a report with this name cannot be made on this machine."""
    ending = Path(name).suffix.lower()
    if ending not in ENDINGS:
        raise InputError(
            f"--report {quoted(name)}: the name must end in .docx (Word) or .pdf; --html writes a web page."
        )
    if ending == ".pdf" and shutil.which("quarto") is None and _engine() is None:
        raise InputError(
            "A PDF needs Quarto or XeLaTeX, and neither is installed: install one, or use .docx or --html."
        )
    import pypandoc  # noqa: F401


def report_document(analysis: Analysis, sections: Sequence[Section], name: str) -> bytes:
    """The report as the content of a Word or PDF file, depending on the ending of `name`.

    Raises
    ------
    InputError : the ending is unknown, or no program here makes a PDF.
    IlhteError : Quarto or pandoc failed.
    """
    refuse_ending(name)
    ending = Path(name).suffix.lower().removeprefix(".")
    kind = "png" if ending == "docx" else "pdf"
    shown = [s for s in sections if s.figure]
    names = file_names([s.title for s in shown])
    drawn = {name: for_print(s.figure(), PAGE) for name, s in zip(names, shown, strict=True)}
    images = draw(drawn, formats=(kind,))
    files = {f"{name}.{ending}": content for (name, ending), content in images.items()}
    figures = {s.title: f"{name}.{kind}" for name, s in zip(names, shown, strict=True)}
    text = sections_markdown("", sections, figures)
    for name, figure in drawn.items():
        if figure.layout.height > HIGHEST * PER_MM:  # with many items the caption would not fit on the page
            text = text.replace(f"({name}.{kind}){{", f"({name}.{kind}){{height={HIGHEST:g}mm ")
    head = f'---\ntitle: "{_quoted(analysis.trial.tab)}"\nkeywords: ["{KEYWORD}"]\nlang: en\n'
    if ending == "docx":
        # Quarto's fig-alt is called alt in pandoc
        plain = text.replace('fig-alt="', 'alt="')
        return _by_quarto(f"{head}---\n\n{text}", "docx", files) or converted(
            f"{head}---\n\n{plain}", "docx", beside=files
        )
    return _pdf(head, text, files) + PDF_END


def _pdf(head: str, text: str, files: dict[str, bytes]) -> bytes:
    """The PDF, made by LaTeX if installed (through Quarto if installed), else by Quarto's Typst."""
    engine = _engine()
    if engine is None:
        made = _by_quarto(f"{head}---\n\n{text}", "typst", files)
        if made is None:
            raise InputError("A PDF needs Quarto or XeLaTeX, and neither is installed.")
        return made
    # LaTeX's fonts have Greek letters only in mathematics
    document = f"{head}pdf-engine: {engine}\ngeometry: margin=25mm\n---\n\n{latex_text(text, markdown=True)}"
    made = _by_quarto(document, "pdf", files)
    return made or converted(document, "pdf", f"--pdf-engine={engine}", beside=files)


def _by_quarto(document: str, to: str, files: dict[str, bytes]) -> bytes | None:
    """The document rendered by Quarto; None if Quarto is not installed."""
    program = shutil.which("quarto")
    if program is None:
        return None
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        (folder / "report.md").write_text(document, encoding="utf-8")
        done = subprocess.run(
            [program, "render", "report.md", "--to", to], cwd=folder, capture_output=True, encoding="utf-8", errors="replace",
            check=False, timeout=_LONGEST,
        )  # fmt: skip
        made = folder / f"report.{'docx' if to == 'docx' else 'pdf'}"
        if done.returncode or not made.is_file():
            raise IlhteError(f"Quarto could not make the report: {_complaint(done.stderr)}")
        return made.read_bytes()


def _complaint(said: str) -> str:
    """The line in which Quarto names its error, without colours; else its last line."""
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", said).splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["it said nothing"])[0 if errors else -1][:400]


def _engine() -> str | None:
    return next((name for name in _ENGINES if shutil.which(name)), None)


def _quoted(text: str) -> str:
    """Plain text within double quotes of YAML, whose value pandoc reads as Markdown."""
    return escape_markdown(text).replace("\\", "\\\\").replace('"', '\\"')
