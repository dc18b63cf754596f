"""What is being computed is told while it is; ``quick`` computes the estimates alone and says what it left out."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from ilhte_lib.analysis import Analysis, analyse
from ilhte_lib.model.simulate import Design, draw_trial
from ilhte_lib.progress import listening, step
from ilhte_report.drawing import drawing
from ilhte_report.pages.sections import sections

LEFT_OUT = ("Profile intervals", "Sum score", "Without an item", "Single items", "Who benefits")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    trial = draw_trial(Design(150, 6, 5, sigma_zeta=0.6, gamma=0.5))
    person, item = np.indices(trial.responses.shape).reshape(2, -1)
    columns = {"id": person, "item": item, "treat": trial.treat.astype(int)[person], "resp": trial.responses.ravel()}
    return pd.DataFrame(columns | {"cov_x": trial.covariate[person]})


@pytest.fixture(scope="module")
def heard(table) -> list[tuple[str, int, int]]:
    steps: list[tuple[str, int, int]] = []
    with listening(lambda *said: steps.append(said)):
        full = analyse(table, curves=True, replicates=2)
    steps.append(("in all", 0, 0))
    assert full.inference.left_out == ()
    return steps


@pytest.fixture(scope="module")
def both(table) -> tuple[Analysis, Analysis]:
    return analyse(table), analyse(table, quick=True)


def test_every_long_step_is_told_in_its_order(heard):
    said = list(dict.fromkeys(what for what, _, _ in heard))
    expected = [
        "fitting M_0", "fitting M_A", "fitting M_B", "fitting M_C", "Profile of treat", "Profile curve of treat", "Profile of rho",
        "drawing trials with equal effects", "drawing samples of the persons", "Sum score", "leaving items out", "Single items",
    ]  # fmt: skip
    assert [what for what in said if what in expected] == expected
    # the tables without an item are fitted side by side
    assert [done for what, done, of in heard if what == "leaving items out" and of == 6] == [0]


def test_nobody_has_to_listen(heard):
    count = len(heard)
    step("fitting M_A")
    with listening(None):
        step("fitting M_B")
    assert len(heard) == count and "fitting M_A" in [what for what, _, _ in heard]


def test_one_line_on_a_terminal_and_nothing_elsewhere():
    def shown(console: Console, **options: bool) -> None:
        with drawing(console, **options):
            step("leaving items out", 12, 60)
            step("reading \x1b[31mred")

    screen, piped, quiet = io.StringIO(), io.StringIO(), io.StringIO()
    terminal = {"force_terminal": True, "width": 100, "_environ": {"TERM": "xterm"}}
    shown(Console(file=screen, **terminal))
    shown(Console(file=piped))
    shown(Console(file=quiet, **terminal), quiet=True)
    text = screen.getvalue()
    assert "Reading" in text and "\x1b[31mred" not in text and text.count("\n") <= 1
    assert piped.getvalue() == quiet.getvalue() == ""


def test_quick_finds_the_same_estimates_and_tests(both):
    full, quick = both
    for name, fit in full.fits.items():
        np.testing.assert_array_equal(quick.fits[name].psi, fit.psi)
        np.testing.assert_array_equal(quick.fits[name].vcov, fit.vcov)
    assert quick.summary.drop(columns="seconds", errors="ignore").equals(
        full.summary.drop(columns="seconds", errors="ignore")
    )
    assert quick.items.equals(full.items)
    assert quick.inference.test == full.inference.test
    wald = quick.inference.intervals["sigma_theta"]
    assert wald.wald_upper == pytest.approx(full.inference.intervals["sigma_theta"].wald_upper, abs=1e-5)
    assert np.isnan(wald.lower) and np.isnan(wald.upper)


def test_quick_says_what_it_left_out(both):
    full, quick = both
    assert set(LEFT_OUT) <= set(quick.inference.left_out)
    document = quick.document()["inference"]
    assert set(LEFT_OUT) <= set(document["left_out"]) and full.document()["inference"]["left_out"] == []
    assert document["influence"] is None and document["sum_score"] is None
    for text in (quick.report(), quick.html()):
        said = " ".join(text.split())
        assert all(name in said for name in ("Not computed (quick)", *LEFT_OUT))
        for untrue in ("no item is left out", "do not vary", "can be tested against the average", "p (Holm)"):
            assert untrue not in said
    titles = [section.title for section in sections(quick)]
    assert "Estimates" in titles and "Without an item" not in titles and "Who benefits?" not in titles
    assert "Not computed" not in full.report()
