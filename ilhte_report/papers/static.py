"""Drawing our Plotly figures with matplotlib if there is no browser: lines, points, bars, panels and text.

The attributes that our figures use are translated one by one; the result is plainer but has the same content.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from ilhte_lib.figures.behind import plain_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from plotly.graph_objects import Figure

_MARKERS = {
    "circle": "o", "circle-open": "o", "square": "s", "diamond": "D", "triangle-left": "<", "triangle-right": ">", "line-ns": "|",
}  # fmt: skip
_DASHES = {"dash": (0, (4, 2.5)), "dot": (0, (1, 2))}
_POINTS = 72 / 96
"""Points in a pixel of CSS."""


def drawn_by_matplotlib(figure: Figure, ending: str, dpi: int) -> bytes:
    """The figure as a file in the format `ending`, with the size in its layout (CSS pixels)."""
    import matplotlib

    layout = figure.layout
    style = {
        "font.size": layout.font.size * _POINTS, "font.family": "sans-serif", "font.sans-serif": ["Arial", "Liberation Sans", "DejaVu Sans"],
        "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#aaa", "svg.fonttype": "none", "svg.hashsalt": "ilhte",
        "pdf.fonttype": 42, "text.parse_math": False, "axes.unicode_minus": True,
    }  # fmt: skip
    with matplotlib.rc_context(style):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as Drawing

        drawing = Drawing(figsize=(layout.width / 96, layout.height / 96), layout="constrained")
        FigureCanvasAgg(drawing)
        panels = _panels(figure, drawing)
        for trace in figure.data:
            _draw_trace(panels[trace.yaxis or "y"], trace)
        for shape in layout.shapes:
            _draw_line(panels, shape)
        for words in layout.annotations:
            _draw_text(panels, words)
        for place, axes in panels.items():
            _finish(figure, place, axes)
        _legend(figure, drawing, panels)
        out = io.BytesIO()
        stamp = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(ending, {})
        drawing.savefig(out, format=ending, dpi=dpi, metadata=stamp)
        return out.getvalue()


def _axis(figure: Figure, name: str) -> Any:
    return figure.layout[f"{name[0]}axis{name[1:]}"]


def _panels(figure: Figure, drawing: Any) -> dict[str, Axes]:
    """Axes by the name of their y axis, arranged in a grid according to their domains."""
    names = sorted({trace.yaxis or "y" for trace in figure.data}, key=lambda name: int(name[1:] or 1))
    domains = {name: _axis(figure, name).domain or (0.0, 1.0) for name in names}
    sides = {name: _axis(figure, _axis(figure, name).anchor or "x").domain or (0.0, 1.0) for name in names}
    bottoms = sorted({round(domains[name][0], 6) for name in names}, reverse=True)
    lefts = sorted({round(sides[name][0], 6) for name in names})
    heights = [next(d[1] - d[0] for d in domains.values() if round(d[0], 6) == bottom) for bottom in bottoms]
    grid = drawing.add_gridspec(len(bottoms), len(lefts), height_ratios=heights)
    axes: dict[str, Axes] = {}
    by_axis: dict[str, Axes] = {}
    for name in names:
        place = grid[bottoms.index(round(domains[name][0], 6)), lefts.index(round(sides[name][0], 6))]
        own = {"x": _axis(figure, name).anchor or "x", "y": name}
        # panels with a shared range may refer to each other in either direction
        groups = {letter: _axis(figure, axis).matches or axis for letter, axis in own.items()}
        axes[name] = drawing.add_subplot(
            place, **{f"share{letter}": by_axis.get(group) for letter, group in groups.items()}
        )
        by_axis |= {group: axes[name] for group in groups.values() if group not in by_axis}
    return axes


def _draw_trace(axes: Axes, trace: Any) -> None:
    x, y = (["nan" if value is None else value for value in values] for values in (trace.x, trace.y))
    x, y = ([float(value) for value in values] for values in (x, y))
    line, marker = trace.line, trace.marker
    look: dict[str, Any] = {"alpha": trace.opacity, "label": plain_text(trace.name or "")}
    if "lines" in (trace.mode or ""):
        axes.plot(
            x, y, color=line.color, linewidth=(line.width or 2) * _POINTS, linestyle=_DASHES.get(line.dash, "-"), **look
        )  # fmt: skip
    if "markers" in (trace.mode or ""):
        symbols = marker.symbol if isinstance(marker.symbol, (list, tuple)) else [marker.symbol or "circle"] * len(x)
        bars = trace.error_x
        if bars.array is not None:
            low = bars.array if bars.arrayminus is None else bars.arrayminus
            ends = [[float("nan" if w is None else w) for w in widths] for widths in (low, bars.array)]
            axes.errorbar(
                x, y, xerr=ends, fmt="none", ecolor=bars.color or marker.color, elinewidth=(bars.thickness or 2) * _POINTS
            )  # fmt: skip
        for symbol in dict.fromkeys(symbols):
            at = [k for k, own in enumerate(symbols) if own == symbol]
            empty = symbol.endswith("-open") or symbol == "line-ns"
            axes.plot(
                [x[k] for k in at], [y[k] for k in at], linestyle="none", marker=_MARKERS[symbol], color=marker.color,
                markersize=(marker.size or 6) * _POINTS * (1.6 if symbol == "line-ns" else 1.0), markerfacecolor="none" if empty else marker.color,
                markeredgewidth=1.2 if empty else 0.4, markeredgecolor=marker.color if empty else marker.line.color or marker.color,
                zorder=3, **look,
            )  # fmt: skip

    if "text" in (trace.mode or "") and trace.text is not None:
        texts = [trace.text] * len(x) if isinstance(trace.text, str) else trace.text
        for place in zip(x, y, texts, strict=True):
            axes.annotate(plain_text(place[2]), place[:2], xytext=(4, 4), textcoords="offset points", fontsize="small")


def _draw_line(panels: dict[str, Axes], shape: Any) -> None:
    """A line across a panel."""
    style = {
        "color": shape.line.color,
        "linewidth": (shape.line.width or 1) * _POINTS,
        "linestyle": _DASHES.get(shape.line.dash, "-"),
    }
    for name, axes in panels.items():
        if name != str(shape.yref).removesuffix(" domain"):
            continue
        (axes.axvline if shape.x0 == shape.x1 else axes.axhline)(
            shape.x0 if shape.x0 == shape.x1 else shape.y0, **style
        )


def _draw_text(panels: dict[str, Axes], words: Any) -> None:
    text, of = plain_text(words.text), str(words.yref).removesuffix(" domain")
    if words.yref == "paper":
        # panel titles come in the order of the panels
        for axes in panels.values():
            if not axes.get_title():
                axes.set_title(text, fontsize="medium")
                return
        return
    axes, inside = panels[of], str(words.yref).endswith("domain")
    side = {"left": "left", "right": "right"}.get(words.xanchor, "center")
    shift = (0, 0) if words.ax is None else (words.ax * _POINTS, -words.ay * _POINTS)
    arrow = {"arrowstyle": "-", "color": words.arrowcolor, "linewidth": 0.6} if words.showarrow is not False else None
    axes.annotate(
        text, (words.x, words.y), xycoords="axes fraction" if inside else "data", xytext=shift, textcoords="offset points",
        ha=side, va="top" if words.yanchor == "top" else "center", arrowprops=arrow,
    )  # fmt: skip


def _finish(figure: Figure, place: str, axes: Axes) -> None:
    """Set titles, ticks, grid and range of a panel."""
    upright = _axis(figure, place)
    across = _axis(figure, upright.anchor or "x")
    for axis, of, title, limits in (
        (across, axes.xaxis, axes.set_xlabel, axes.set_xlim),
        (upright, axes.yaxis, axes.set_ylabel, axes.set_ylim),
    ):
        if axis.title.text:
            title(plain_text(axis.title.text))
        if axis.tickvals is not None:
            of.set_ticks(list(axis.tickvals), [plain_text(str(text)) for text in axis.ticktext])
        if axis.range is not None:
            limits(*axis.range)
        elif axis.rangemode == "tozero":
            limits(bottom=0) if of is axes.yaxis else limits(left=0)
        if axis.showgrid is not False:
            of.grid(True, color="#e4e4e4", linewidth=0.5)
        if axis.zeroline and of is axes.xaxis:
            axes.axvline(0.0, color="#aaa", linewidth=0.7, zorder=1)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize="small")
    if across.showticklabels is False:
        axes.tick_params(labelbottom=False)
    if upright.showticklabels is False:
        axes.tick_params(labelleft=False)


def _legend(figure: Figure, drawing: Any, panels: dict[str, Axes]) -> None:
    if figure.layout.showlegend is False:
        return
    known = {}
    for trace in figure.data:
        if trace.showlegend is not False and trace.name:
            handles, labels = panels[trace.yaxis or "y"].get_legend_handles_labels()
            known.setdefault(trace.name, handles[labels.index(plain_text(trace.name))])
    if known:
        names = [plain_text(name) for name in known]
        drawing.legend(
            list(known.values()), names, loc="outside lower left", ncols=len(known), frameon=False, fontsize="small"
        )
