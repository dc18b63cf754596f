"""Which approximation of the likelihood is taken, and that every way in says so."""

from __future__ import annotations

import json

import numpy as np
import pytest
from command_line import call
from conftest import PROJECT

from ilhte_lib.analysis import analyse_trial
from ilhte_lib.data.catalogue import load_bundled
from ilhte_lib.data.prepare import prepare
from ilhte_lib.engine import native
from ilhte_lib.engine.approximation import FEW_ITEMS, NOTICED, default_method, shift_of_sigma_theta
from ilhte_lib.engine.native import fit_models, statistics_of
from ilhte_lib.engine.quadrature import QuadratureDeviance
from ilhte_lib.errors import InputError
from ilhte_lib.model.simulate import Design, simulate_trial


def simulated(n_persons: int, n_items: int):
    return prepare(simulate_trial(Design(n_persons, n_items, 77, sigma_zeta=0.4))[0], "mine")


def test_one_evaluation_tells_how_far_quadrature_moves_sigma_theta():
    for n_persons, n_items in ((600, 12), (4000, 14)):
        trial = simulated(n_persons, n_items)
        laplace, exact = (fit_models(trial, ["M_A"], method=method)["M_A"] for method in ("laplace", "aghq"))
        gradient = QuadratureDeviance(statistics_of(trial, laplace.spec), laplace.spec)(laplace.psi).gradient
        shift = shift_of_sigma_theta(laplace, gradient)
        at = laplace.spec.psi_names.index("sigma_theta")
        moved = (exact.sigma_theta - laplace.sigma_theta) / np.sqrt(laplace.vcov[at, at])
        assert shift == pytest.approx(moved, abs=0.05)
        chosen = fit_models(trial, ["M_0", "M_A"], method="auto")
        assert {fit.method for fit in chosen.values()} == {"aghq" if shift > NOTICED else "laplace"}
        assert (shift > NOTICED) == (n_persons == 4000)  # the bias of Laplace does not shrink with the persons
        same = exact if shift > NOTICED else laplace
        assert chosen["M_A"].loglik == pytest.approx(same.loglik, abs=1e-6)


def test_few_items_have_quadrature_with_enough_nodes():
    trial = prepare(load_bundled("toenail_visits", PROJECT / "data"), "toenail_visits")
    fits = fit_models(trial, method="auto")
    assert trial.n_items <= FEW_ITEMS and {fit.method for fit in fits.values()} == {"aghq"}
    # persons differ by 4 logits: the usual 15 nodes leave an error of 0.1
    assert {fit.nodes for fit in fits.values()} == {31} and all(fit.converged for fit in fits.values())
    assert not any("nodes leave an error" in m for m in (*fits["M_0"].messages, *fits["M_A"].messages))


def test_what_is_too_large_stays_with_laplace_and_says_so(monkeypatch):
    trial = simulated(200, 6)
    monkeypatch.setattr(native, "AUTO_MOST_CELLS", 100)
    shown = analyse_trial(trial)
    assert shown.fits["M_A"].method == "laplace" and "use --method aghq to try" in shown.report(200)


def test_profiles_and_engines_have_their_defaults():
    assert (
        default_method("full") == "auto" and default_method("vignette") == default_method("full", "pymer4") == "laplace"
    )
    trial = simulated(200, 6)
    with pytest.raises(InputError, match="Method 'exact' is not known: use one of auto, laplace, aghq"):
        fit_models(trial, method="exact")
    with pytest.raises(InputError, match="'pymer4' does not offer method 'aghq'"):
        fit_models(trial, engine="pymer4", method="aghq")
    vignette = prepare(simulate_trial(Design(200, 6, 77))[0], "mine", profile="vignette")
    for data, method, words in (
        (trial, "aghq", "with 6 items Laplace's likelihood would underestimate σ_θ"),
        (vignette, "laplace", "The likelihood is Laplace's, as in lme4."),
    ):
        shown = analyse_trial(data)
        document = shown.document()
        assert document["provenance"]["method"] == document["summary"]["method"] == shown.fits["M_A"].method == method
        assert words in " ".join(shown.report(200).split())


def test_the_command_line_takes_a_method(tmp_path):
    where = tmp_path / "trial.csv"
    simulate_trial(Design(200, 6, 77, gamma=0.5))[0].to_csv(where, index=False)
    for method in ("laplace", "aghq"):
        call("fit", where, "--method", method, "--json", tmp_path / "a.json", "--force")
        document = json.loads((tmp_path / "a.json").read_text())
        assert document["provenance"]["method"] == method
    done = call("who-benefits", where, "--method", "laplace")
    assert done.code == 0 and "M_B" in done.out
