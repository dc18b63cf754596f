"""Figures for readers who see no colours, or nothing: colours apart, words that say the finding, numbers behind."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from ilhte_lib import analyse
from ilhte_lib.figures import theme
from ilhte_lib.model.simulate import Design, simulate_trial
from ilhte_report.pages.section import BEHIND
from ilhte_report.pages.sections import sections
from ilhte_report.words.figures import form_rows
from ilhte_report.words.sentences import average_conclusion

# Machado, Oliveira and Fernandes 2009, IEEE Transactions on Visualization and Computer Graphics 15(6), severity 1, linear RGB
MISSING = {
    "red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "none": np.eye(3).tolist(),
}
TOGETHER = (
    (theme.BLUE, theme.RED, theme.VIOLET, theme.GREY),
    (theme.DEEP_BLUE, theme.DEEP_RED, theme.GREY),
    (theme.DEEP_BLUE, theme.PALE, theme.DEEP_RED),
)
"""Colours that stand in one figure."""
APART = 20.0
"""CIELAB distance: ten times what an eye just notices."""


def linear(colour: str) -> np.ndarray:
    parts = np.array([int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB (D65) of linear RGB."""
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    ratio = np.array(to_xyz) @ np.clip(rgb, 0, 1) / (0.95047, 1.0, 1.08883)
    x, y, z = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_the_measure_knows_red_from_green_as_eyes_do():
    red, green = linear("#c00000"), linear("#408000")
    far, near = (
        np.linalg.norm(lab(np.array(MISSING[m]) @ red) - lab(np.array(MISSING[m]) @ green)) for m in ("none", "green")
    )
    assert far > 90 and near < 45
    assert lab(linear("#ffffff")) == pytest.approx([100, 0, 0], abs=0.1)


@pytest.mark.parametrize("missing", MISSING)
def test_colours_of_one_figure_are_told_apart(missing):
    for colours in TOGETHER:
        for one, other in combinations(colours, 2):
            seen = [lab(np.array(MISSING[missing]) @ linear(colour)) for colour in (one, other)]
            assert np.linalg.norm(seen[0] - seen[1]) > APART, (one, other)


@pytest.fixture(scope="module")
def analysis():
    return analyse(simulate_trial(Design(n_persons=200, n_items=6, seed=3, sigma_zeta=0.5, gamma=0.5))[0], curves=True)


def test_every_figure_has_words_that_say_the_finding_and_numbers_behind(analysis):
    shown = sections(analysis)
    drawn = {section.title: section for section in shown if section.figure}
    assert len(drawn) == 5
    for title in ("Items in one figure", "Curves"):
        assert average_conclusion(analysis.effects, analysis.inference) in drawn[title].alt
        assert "Test of one effect for all items: " in drawn[title].alt
    assert (
        "which includes 0" in drawn["Profiles of the likelihood"].alt
        and "which excludes 0" in drawn["Profiles of the likelihood"].alt
    )
    assert drawn["Who benefits?"].sentences[0] in drawn["Who benefits?"].alt
    for section in drawn.values():
        in_note = [other for other in shown if f"“{other.title}”" in section.note and other.rows]
        assert section.behind or section.rows or in_note, section.title


def test_the_numbers_behind_are_those_of_the_figure(analysis):
    drawn = {section.title: section for section in sections(analysis) if section.figure}
    profile = drawn["Profiles of the likelihood"].behind
    assert len(profile) == sum(len(curve.value) for curve in analysis.inference.curves)
    curves = drawn["Curves"].behind
    figure = drawn["Curves"].figure()
    (test,) = [trace for trace in figure.data if trace.name == "treated" and trace.showlegend is not False]
    assert [float(row["The test, treated"]) for row in curves] == pytest.approx([*map(float, test.y)], abs=0.0051)
    today = next(row for row in drawn["Other numbers of items"].behind if row["Items"] == "6")
    assert today in form_rows(analysis.inference, analysis.fits["M_A"], analysis.effects.scale)
    assert f"{today['SE (SDs)']} SDs with the 6 of this test" in drawn["Other numbers of items"].alt


def test_the_html_report_folds_them_below_the_figures(analysis):
    page = analysis.html()
    assert page.count(f"<summary>{BEHIND}</summary>") == 3 and "The test, treated" in page
