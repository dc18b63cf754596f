"""Figures of an analysis for a paper: one column wide, as SVG, PDF and PNG, with descriptions and numbers.

They are the figures of the page (``pages.sections``), laid out for print. Kaleido draws them with an installed browser;
without one, matplotlib draws the same traces.
"""

from __future__ import annotations

import html
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ilhte_lib.errors import IlhteError
from ilhte_lib.figures.behind import figure_rows
from ilhte_lib.files import file_names
from ilhte_lib.manifest import EMPTY_OR_OURS, Manifest

from ..pages.sections import sections
from ..site.csv_download import csv_safe

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from ilhte_lib.analysis import Analysis

COLUMN = 85.0
"""Width of a column of a journal, mm."""
FORMATS = ("svg", "pdf", "png")
PER_MM = 96 / 25.4
"""Pixels of CSS in a millimetre."""
DOTS_PER_INCH = 300
_SMALLER = 0.72
"""Height in print relative to the page, whose letters are larger by the same factor."""
_FONT = {"size": 10, "family": "Arial, Helvetica, Liberation Sans, sans-serif", "color": "#1b1b1b"}
"""10 pixels: 7.5 points."""
_PAGE_MARGIN = 8
"""Pixels that kaleido leaves white on each side of a PDF by shrinking the figure."""


def write_figures(analysis: Analysis, folder: str | Path, width: float = COLUMN, *, browser: bool = True) -> list[Path]:
    """Write every figure as .svg (with a description for screen readers), .pdf, .png (300 dpi), .csv (its data) and .txt (its description).

    Parameters
    ----------
    width : mm.
    browser : draw with kaleido and a browser if they are available; otherwise with matplotlib.

    Raises
    ------
    InputError : the folder was not written by ilhte, or another file is in the way.
    """
    kept = Manifest.open(Path(folder), EMPTY_OR_OURS)
    shown = [section for section in sections(analysis) if section.figure]
    names = file_names([section.title for section in shown])
    figures = {name: for_print(section.figure(), width) for name, section in zip(names, shown, strict=True)}
    images = draw(figures, browser=browser)
    written = []
    for name, section in zip(names, shown, strict=True):
        for ending in FORMATS:
            content = images[name, ending]
            if ending == "svg":
                content = _with_words(content.decode("utf-8"), section.title, section.alt).encode("utf-8")
            written.append(kept.write(f"{name}.{ending}", content))
        rows = [
            {c: csv_safe(v) if isinstance(v, str) else v for c, v in row.items()} for row in figure_rows(figures[name])
        ]
        written.append(kept.write_text(f"{name}.csv", _csv(rows)))
        written.append(kept.write_text(f"{name}.txt", f"{section.title}. {section.alt}\n{section.note}\n"))
    return written


def for_print(figure: Figure, width: float) -> Figure:
    """The figure on white, `width` mm wide, with letters, points and margins for a column."""
    from plotly.graph_objects import Figure

    out = Figure(figure)
    height = out.layout.height or 450
    out.update_layout(
        width=round(width * PER_MM), height=round(height * _SMALLER), paper_bgcolor="white", plot_bgcolor="white"
    )
    out.update_layout(font=_FONT, margin={"l": 10, "r": 8, "t": 22, "b": 48}, legend={"font": {"size": 9}})
    out.update_annotations(font={"size": 10})
    out.update_xaxes(title={"font": {"size": 10}, "standoff": 4}, tickfont={"size": 9}, automargin=True)
    out.update_yaxes(title={"font": {"size": 10}}, tickfont={"size": 9}, automargin=True)
    for trace in out.data:
        size = getattr(getattr(trace, "marker", None), "size", None)
        if isinstance(size, (int, float)):
            trace.marker.size = size * _SMALLER
        trace.cliponaxis = False  # draw points on an axis completely
    return out


def draw(
    figures: dict[str, Figure], formats: tuple[str, ...] = FORMATS, *, browser: bool = True
) -> dict[tuple[str, str], bytes]:
    """Each figure in each format, by name and ending."""
    if browser:
        drawn = _drawn_by_browser(figures, formats)
        if drawn is not None:
            return drawn
    from .static import drawn_by_matplotlib

    return {
        (name, ending): drawn_by_matplotlib(figure, ending, DOTS_PER_INCH)
        for name, figure in figures.items()
        for ending in formats
    }


def _drawn_by_browser(figures: dict[str, Figure], formats: tuple[str, ...]) -> dict[tuple[str, str], bytes] | None:
    """The figures drawn by kaleido; None if it or a browser is missing, or the browser does not start."""
    import logging
    import tempfile

    try:
        import kaleido
    except ImportError:
        return None
    for name in ("kaleido", "choreographer"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        wanted = [
            {
                "fig": shown.to_plotly_json(),
                "path": Path(folder) / f"{name}.{ending}",
                "opts": {
                    "format": ending, "width": shown.layout.width, "height": shown.layout.height,
                    "scale": DOTS_PER_INCH / 96 if ending == "png" else 1,
                },
            }
            for name, figure in figures.items()
            for ending in formats
            for shown in [_with_lower_edge(figure) if ending == "pdf" else figure]
        ]  # fmt: skip
        try:
            # nothing from the network: plotly.js is installed, and no text contains TeX
            kaleido.write_fig_from_object_sync(wanted, kopts={"mathjax": False})
        except Exception:  # whatever the browser's failure, matplotlib can draw
            return None
        try:
            return {
                (name, ending): (Path(folder) / f"{name}.{ending}").read_bytes()
                for name in figures
                for ending in formats
            }
        except OSError as missing:
            raise IlhteError(f"A figure could not be drawn ({missing.filename}): draw without the browser.") from None


def _with_lower_edge(figure: Figure) -> Figure:
    """The figure, made taller by what kaleido's PDF would cut off at the lower edge if it is wider than high."""
    from plotly.graph_objects import Figure

    width, height = figure.layout.width, figure.layout.height
    if height >= width:
        return figure
    more = math.ceil(2 * _PAGE_MARGIN * (1 - height / width)) + 1
    out = Figure(figure)
    out.update_layout(height=height + more, margin={"b": figure.layout.margin.b + more})
    if figure.layout.legend.yref == "container":
        out.update_layout(legend={"y": (figure.layout.legend.y or 0) + more / (height + more)})
    return out


def _with_words(svg: str, title: str, words: str) -> str:
    """The SVG with a title and a description for screen readers."""
    start, _, rest = svg.partition("<svg")
    attributes, _, inside = rest.partition(">")
    attributes = re.sub(r'\s(role|aria-\w+)="[^"]*"', "", attributes)
    described = f"<title>{html.escape(title)}</title><desc>{html.escape(words)}</desc>"
    return f'{start}<svg{attributes} role="img" aria-label="{html.escape(f"{title}. {words}")}">{described}{inside}'


def _csv(rows: list[dict[str, object]]) -> str:
    import pandas as pd

    return pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")
