"""The display that carries a figure to JupyterLab, Quarto and the preview renderer."""

from __future__ import annotations

import html
import json
import re

import pytest

pytest.importorskip("plotly")
display_module = pytest.importorskip("IPython.display")

import numpy as np
import plotly.graph_objects as go

from ilhte_report.site.embed import script_safe, show

HOSTILE = "</script><script>alert(1)</script><!-- & \u2028"


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    bundles: list[dict] = []
    monkeypatch.setattr(display_module, "display", lambda bundle, raw: bundles.append(bundle) if raw else None)
    return bundles


def figure() -> go.Figure:
    return go.Figure(go.Scatter(x=np.arange(3), y=[1.5, 2.5, 0.5], text=[HOSTILE] * 3), {"height": 321})


def embedded(markdown: str) -> dict:
    return json.loads(re.search(r'<script type="application/json">(.*)</script>', markdown)[1])


def test_one_display_has_both_forms_and_no_html(shown: list[dict]):
    show(figure(), alt="Three points")
    (bundle,) = shown
    assert set(bundle) == {"application/vnd.plotly.v1+json", "text/markdown", "text/plain"}
    assert bundle["text/markdown"].startswith("```{=html}\n")
    assert embedded(bundle["text/markdown"]) == bundle["application/vnd.plotly.v1+json"]


def test_the_figure_is_kept_and_the_default_template_is_not(shown: list[dict]):
    show(figure(), alt="Three points")
    content = shown[0]["application/vnd.plotly.v1+json"]
    assert go.Figure({"data": content["data"], "layout": content["layout"]}).data[0].y == (1.5, 2.5, 0.5)
    assert content["layout"] == {"height": 321}
    assert len(shown[0]["text/markdown"]) < 2000


def test_nothing_in_the_data_or_the_words_ends_the_element_they_stand_in(shown: list[dict]):
    alt = f'{HOSTILE} " onload="alert(2)\n```'
    show(figure(), alt=alt)
    markdown = shown[0]["text/markdown"]
    assert markdown.count("<script") == markdown.count("</script") == 1
    assert "<!--" not in markdown
    assert [line for line in markdown.splitlines() if line.startswith("```")] == ["```{=html}", "```"]
    label = re.search(r'aria-label="([^"]*)"', markdown)[1]
    assert html.unescape(label) == " ".join(alt.split())


def test_the_same_figure_has_the_same_id_on_every_run(shown: list[dict]):
    show(figure(), alt="a")
    show(figure(), alt="a")
    show(figure().update_layout(height=50), alt="a")
    first, second, other = (re.search(r'id="([^"]+)"', bundle["text/markdown"])[1] for bundle in shown)
    assert first == second != other


def test_script_safe_changes_the_writing_and_not_the_meaning():
    text = json.dumps({"name": HOSTILE}, ensure_ascii=False)
    assert json.loads(script_safe(text)) == {"name": HOSTILE}
    assert not set(script_safe(text)) & set("<>&\u2028")
