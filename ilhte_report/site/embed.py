"""Plotly figures on a page that JupyterLab, Quarto and the preview renderer draw without a network."""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_DEFAULT_HEIGHT = 450
# plotly.js 4 offers to upload the chart to a cloud service unless this is disabled
FIGURE_CONFIG = {"responsive": True, "displaylogo": False, "showSendToCloud": False}


def show(
    figure: Figure, alt: str, pages: Mapping[str, str] | None = None, *, label: str = "", caption: str = ""
) -> None:
    """Display `figure`; `alt` describes it for readers who cannot see it.

    A `label` (`fig-...`) and a `caption` (Markdown) number a figure whose cell has no label of its own.

    `pages` maps the names in the `customdata` of the figure's points to addresses on the site, relative to the page:
    a click on a point opens the page, and a search box above the figure finds, highlights and links points by name.

    The display has two forms: Plotly's own type, which JupyterLab draws, and Markdown with a raw HTML block, which
    Quarto and the preview renderer pass on. (Quarto would prefer `text/html` to both, but loads scripts from the network
    if that contains a script.) The block contains the data only: `site/figures.js` draws it with the
    plotly.js that is shipped once with the site.
    """
    from IPython.display import display

    figure_json = _without_template(figure)
    block = _markdown(figure_json, " ".join(alt.split()), pages)
    bundle = {
        "application/vnd.plotly.v1+json": figure_json,
        "text/markdown": f"::: {{#{label}}}\n\n{block}\n{caption}\n\n:::\n" if label else block,
        "text/plain": alt,
    }
    display(bundle, raw=True)


def _without_template(figure: Figure) -> dict:
    """The figure as JSON without Plotly's default template, which has 7 kB; the page has its own colours."""
    content = json.loads(figure.to_json())
    content["layout"].pop("template", None)
    return {"data": content["data"], "layout": content["layout"], "config": FIGURE_CONFIG}


def _markdown(figure_json: dict, alt: str, pages: Mapping[str, str] | None) -> str:
    content = {**figure_json, "pages": dict(pages)} if pages else figure_json
    text = script_safe(json.dumps(content, separators=(",", ":"), sort_keys=True))
    name = "figure-" + hashlib.sha256(text.encode()).hexdigest()[:10]
    height = figure_json["layout"].get("height") or _DEFAULT_HEIGHT
    words = html.escape(alt)
    return (
        '```{=html}\n<div class="ilhte-figure">\n'
        f'<div class="drawing" id="{name}" role="figure" aria-label="{words}" style="min-height:{height:g}px"></div>\n'
        f'<script type="application/json">{text}</script>\n'
        f"<noscript><p>{words} (The figure itself needs JavaScript.)</p></noscript>\n"
        "</div>\n```\n"
    )


def script_safe(json_text: str) -> str:
    """Equivalent JSON without characters that could end a script element or open a comment or a tag."""
    for character in "<>&\u2028\u2029":
        json_text = json_text.replace(character, f"\\u{ord(character):04x}")
    return json_text
