"""Fits side by side are the fits one by one."""

from __future__ import annotations

import numpy as np
import pytest

from ilhte_lib.engine.native import fit_statistics
from ilhte_lib.engine.side_by_side import Job, fit_side_by_side
from ilhte_lib.errors import EngineError
from ilhte_lib.model.response_matrix import matrix_statistics
from ilhte_lib.model.simulate import Design, draw_trial
from ilhte_lib.model.spec import MODELS

DESIGNS = {
    "complete": Design(300, 16, 5),
    "missing, no effects": Design(250, 12, 6, missing=0.2, sigma_zeta=0.0),
    "ordered, missing": Design(200, 11, 7, steps=(-0.5, 0.1, 0.4), missing=0.1),
    "pretest": Design(150, 12, 8, gamma=0.7, baseline_levels=7, beta_3=0.2),
    "forms": Design(200, 15, 9, forms=3, rho=0.9),
}


def tables(design: Design, number: int) -> list:
    drawn = [draw_trial(design, k) for k in range(number)]
    return [matrix_statistics(t.responses, t.treat, t.covariate, formats=design.formats) for t in drawn]


def same(ours, theirs) -> None:
    assert ours.deviance == pytest.approx(theirs.deviance, abs=1e-9)
    np.testing.assert_allclose(ours.psi, theirs.psi, atol=1e-9)
    np.testing.assert_allclose(ours.se, theirs.se, atol=1e-8)
    np.testing.assert_allclose(ours.ranef, theirs.ranef, atol=1e-9)
    assert (ours.singular, ours.converged, ours.evaluations) == (theirs.singular, theirs.converged, theirs.evaluations)


@pytest.mark.parametrize("name", DESIGNS)
def test_fits_side_by_side_are_those_one_by_one(name):
    small, large = ("M_B", "M_C") if DESIGNS[name].gamma else ("M_0", "M_A")
    drawn = tables(DESIGNS[name], 6)
    null = [fit_statistics(s, MODELS[small]) for s in drawn]
    main = [fit_statistics(s, MODELS[large], smaller=fit) for s, fit in zip(drawn, null, strict=True)]
    beside = fit_side_by_side([Job(s) for s in drawn], MODELS[small], standard_errors=True)
    # fewer lanes than tables: finished searches make room for others
    jobs = [Job(s, {small: fit}) for s, fit in zip(drawn, beside, strict=True)]
    again = fit_side_by_side(jobs, MODELS[large], standard_errors=True, lanes=4)
    for ours, theirs in zip([*beside, *again], [*null, *main], strict=True):
        same(ours, theirs)


def test_a_table_that_cannot_be_fitted_costs_the_others_nothing(monkeypatch):
    """The error stands in its place."""
    from ilhte_lib.engine import side_by_side

    drawn = tables(DESIGNS["complete"], 3)
    really = side_by_side.fit_statistics

    def failing(statistics, spec, **more):
        if statistics is drawn[1]:
            raise EngineError("too far out")
        return really(statistics, spec, **more)

    monkeypatch.setattr(side_by_side, "fit_statistics", failing)
    found = fit_side_by_side([Job(s) for s in drawn], MODELS["M_0"])
    assert isinstance(found[1], EngineError) and found[0].converged and found[2].converged
    assert fit_side_by_side([], MODELS["M_0"]) == []


def test_a_mistake_in_a_search_is_raised(monkeypatch):
    from ilhte_lib.engine import side_by_side

    monkeypatch.setattr(side_by_side, "fit_statistics", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fit_side_by_side([Job(s) for s in tables(DESIGNS["complete"], 2)], MODELS["M_0"])
