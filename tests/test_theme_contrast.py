"""Contrast of the colours that the site's own style sheets give to Quarto's pages (WCAG 2.1, 1.4.3 and 1.4.11).

The pages of the preview are measured as they are drawn, in test_site_browser.py.
"""

from __future__ import annotations

import re

import pytest

LIGHT, DARK = "light", "dark"


def luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.fixture(scope="module")
def themes(project) -> dict[str, dict[str, str]]:
    """The variables of Quarto's two themes; the dark one is the light one's file with some of them set before."""
    read = {
        name: dict(re.findall(r"^\$([\w-]+): (#[0-9a-f]{6})", (project / "site" / name).read_text(), re.MULTILINE))
        for name in ("theme.scss", "theme-dark.scss")
    }
    return {LIGHT: read["theme.scss"], DARK: read["theme.scss"] | read["theme-dark.scss"]}


def test_the_measure_is_that_of_wcag():
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#ffffff", "#767676") == pytest.approx(4.54, abs=0.005)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize(
    ("text", "background"),
    [("body-color", "body-bg"), ("link-color", "body-bg"), ("primary", "body-bg"), ("code-color", "code-bg"), ("navbar-fg", "navbar-bg"), ("navbar-hl", "navbar-bg")],
)  # fmt: skip
def test_text_is_legible_in_quartos_themes(themes, theme: str, text: str, background: str):
    assert contrast(themes[theme][text], themes[theme][background]) >= 4.5


def test_code_is_legible_in_the_dark_theme(themes):
    dark = themes[DARK]
    for text in ("code-block-color", "text-muted", "link-color"):
        assert contrast(dark[text], dark["code-block-bg"]) >= 4.5
    assert contrast(dark["code-block-bg"], dark["body-bg"]) < 1.5  # a block of the dark page, not a white one


def test_marks_stand_out_from_the_page(project, themes):
    styles = (project / "site" / "site.css").read_text()
    light, *dark = [
        dict(re.findall(r"--((?:not-)?significant): (#[0-9a-f]{6})", block))
        for block in re.findall(r"\{[^{}]*--significant:[^{}]*\}", styles)
    ]
    assert len(dark) == 3
    for marks, theme in [(light, LIGHT), *((marks, DARK) for marks in dark)]:
        assert len(marks) == 2 and all(contrast(mark, themes[theme]["body-bg"]) >= 3 for mark in marks.values())


def test_the_figures_colours_stand_out_from_the_page(project, themes):
    from ilhte_lib.figures.theme import DEEP_BLUE, DEEP_RED, GREY

    on_dark = dict(re.findall(r'"(#[0-9a-f]{6})": "(#[0-9a-f]{6})"', (project / "site" / "figures.js").read_text()))
    assert set(on_dark) == {DEEP_BLUE, DEEP_RED}
    for colour in (DEEP_BLUE, DEEP_RED, GREY):
        assert contrast(colour, themes[LIGHT]["body-bg"]) >= 3
        assert contrast(on_dark.get(colour, colour), themes[DARK]["body-bg"]) >= 3
