"""How much work a fit is, in evaluations of the deviance and passes over the cells: counts, which repeat, not seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
from drawn_rows import compressed, draw_rows

from ilhte_lib.data.catalogue import load_bundled
from ilhte_lib.data.prepare import prepare
from ilhte_lib.engine.laplace import LaplaceDeviance
from ilhte_lib.engine.modes import Modes
from ilhte_lib.engine.native import fit_models, fit_statistics
from ilhte_lib.engine.tiny import TinyDeviance
from ilhte_lib.model.fit_result import Fit
from ilhte_lib.model.spec import MODELS

# evaluations and passes in 2026: a search from several starts, a table of few items, a usual one, one with 1,075 persons
COUNTS = {
    "bacteria_weeks": {"M_0": (11, 42), "M_A": (37, 119)},
    "toenail_visits": {"M_0": (17, 66), "M_A": (26, 98), "M_B": (17, 68), "M_C": (25, 97)},
    "verbagg_gender": {"M_0": (7, 26), "M_A": (7, 30), "M_B": (6, 27), "M_C": (5, 29)},
    "spisa_gender": {"M_0": (5, 20), "M_A": (6, 28), "M_B": (4, 22), "M_C": (4, 28)},
}
SLACK = 1.15
"""Another BLAS rounds otherwise, and a line search may take a step more."""


def counts(fits: dict[str, Fit]) -> dict[str, tuple[int, int]]:
    return {model: (fit.evaluations, fit.passes) for model, fit in fits.items()}


@pytest.mark.parametrize("tab", COUNTS)
def test_fits_take_no_more_work_than_they_did(project: Path, tab):
    trial = prepare(load_bundled(tab, project / "data"), tab)
    found = counts(fit_models(trial))
    assert found.keys() == COUNTS[tab].keys()
    for model, (evaluations, passes) in COUNTS[tab].items():
        assert found[model][0] <= evaluations * SLACK + 1, model
        assert found[model][1] <= passes * SLACK + 3, model
    assert counts(fit_models(trial)) == found


@pytest.mark.parametrize("n_persons", [30, 400])
def test_passes_are_what_is_counted(monkeypatch, n_persons):
    """The counters against the calls themselves, by either way to the deviance."""
    passes, evaluations = [], []
    sweep, tiny_pass, by = Modes.sweep, TinyDeviance._pass, LaplaceDeviance.__call__
    monkeypatch.setattr(Modes, "sweep", lambda self: passes.extend([1] * self.lanes) or sweep(self))
    monkeypatch.setattr(TinyDeviance, "_pass", lambda self: passes.append(1) or tiny_pass(self))
    monkeypatch.setattr(LaplaceDeviance, "__call__", lambda self, psi: evaluations.append(1) or by(self, psi))
    statistics = compressed(draw_rows(5, n_persons=n_persons, n_items=6 if n_persons < 100 else 40))
    fit = fit_statistics(statistics, MODELS["M_A"])
    assert fit.passes == len(passes)
    # asked again where it stands, the deviance is not computed again
    assert 0 < fit.evaluations <= len(evaluations)


def test_work_does_not_grow_with_the_number_of_persons():
    """Complete data: ten times the persons in the same classes, almost the same search."""
    few, many = (
        fit_statistics(compressed(draw_rows(6, n_persons=n, n_items=20)), MODELS["M_A"]) for n in (1_000, 10_000)
    )
    assert many.n_persons == 10 * few.n_persons
    assert many.passes <= 1.5 * few.passes
