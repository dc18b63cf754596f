"""Discriminations: the deviance, its gradient, published-by-others numbers, and the verdict on page and terminal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import PROJECT

from ilhte_lib.analysis import analyse
from ilhte_lib.data.prepare import prepare
from ilhte_lib.data.read import read_table
from ilhte_lib.engine.native import fit_deviance, fit_statistics
from ilhte_lib.engine.objective import Evaluation
from ilhte_lib.engine.optimise import minimise
from ilhte_lib.engine.quadrature import QuadratureDeviance
from ilhte_lib.engine.starts import rough_curvature
from ilhte_lib.engine.two_parameter import FlatItems, TwoParameterDeviance
from ilhte_lib.errors import EngineError, InputError
from ilhte_lib.inference.discriminations import Verdict, discriminations, discriminations_of
from ilhte_lib.model.formats import ItemFormats
from ilhte_lib.model.patterns import response_patterns
from ilhte_lib.model.response_matrix import matrix_statistics
from ilhte_lib.model.simulate import Design, draw_trial, simulate_trial
from ilhte_lib.model.spec import MODELS
from ilhte_report.pages.sections import sections
from ilhte_report.studies import slopes
from ilhte_report.studies.computed import read_computed
from ilhte_report.words.discriminations import discriminations_sentence, slopes_sentence

MAIN = MODELS["M_A"]
# TMB, Laplace over persons and items together
VERBAGG = {
    "M_0": -4078.994040,
    "M_A": -4068.857079,
    "treat": 0.37875,
    "theta": 1.37848,
    "zeta": 0.45980,
    "rho": -0.24896,
}


def trial_of(name: str):
    return prepare(read_table(PROJECT / "data" / "tables" / f"{name}.csv.gz"), name)


def patterns_of(responses: np.ndarray, treat: np.ndarray, formats: ItemFormats | None = None):
    person, item = np.nonzero(responses >= 0)
    names = tuple(str(k) for k in range(responses.shape[1]))
    return response_patterns(names, treat.astype(int), person, item, responses[person, item], formats)


def some_psi(deviance: TwoParameterDeviance, rng: np.random.Generator) -> np.ndarray:
    """Parameters away from any optimum, discriminations and all."""
    names = deviance.spec.psi_names
    known = {"intercept": 0.2, "treat": -0.3, "sigma_theta": 0.9, "l11": 0.8, "l21": 0.2, "l22": 0.35}
    return np.array([known.get(name, rng.normal(0, 0.3)) for name in names])


@pytest.mark.parametrize("missing", [0.0, 0.25, 0.7])
@pytest.mark.parametrize("steps", [None, (-0.4, 0.1, 0.3)])
def test_equal_discriminations_are_the_quadrature_deviance(missing, steps):
    drawn = draw_trial(Design(150, 8, 9, missing=missing, steps=steps))
    formats = Design(150, 8, 9, steps=steps).formats
    patterns = patterns_of(drawn.responses, drawn.treat, formats)
    ours = TwoParameterDeviance(patterns, MAIN, free=False)
    theirs = QuadratureDeviance(matrix_statistics(drawn.responses, drawn.treat, formats=formats), MAIN, nodes=41)
    psi = some_psi(ours, np.random.default_rng(3))
    a, b = ours(psi), theirs(psi)
    assert a.deviance == pytest.approx(b.deviance, abs=1e-8)
    np.testing.assert_allclose(a.gradient, b.gradient, atol=1e-6)


@pytest.mark.parametrize("flat", [(), (1, 5)])
@pytest.mark.parametrize("model", ["M_0", "M_A"])
@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("steps", [None, (-0.4, 0.1, 0.3)])
def test_the_gradient_is_that_of_the_deviance(model, missing, steps, flat):
    drawn = draw_trial(Design(120, 6, 4, missing=missing, steps=steps))
    patterns = patterns_of(drawn.responses, drawn.treat, Design(120, 6, 4, steps=steps).formats)
    deviance = TwoParameterDeviance(patterns, MODELS[model], flat=flat)
    psi = some_psi(deviance, np.random.default_rng(1))
    exact, step = deviance(psi).gradient, 1e-5
    numeric = [
        (deviance(psi + step * unit).deviance - deviance(psi - step * unit).deviance) / (2 * step)
        for unit in np.eye(len(psi))
    ]
    np.testing.assert_allclose(exact, numeric, atol=2e-6 * np.abs(exact).max())


def test_a_flat_item_is_the_limit_of_a_discrimination_near_0():
    """Also the derivative in a_i, which decides whether 0 is where it belongs."""
    drawn = draw_trial(Design(120, 6, 4))
    patterns = patterns_of(drawn.responses, drawn.treat)
    flat, whole = TwoParameterDeviance(patterns, MAIN, flat=(2,)), TwoParameterDeviance(patterns, MAIN)
    whole.watching = False
    psi = some_psi(flat, np.random.default_rng(1))
    logs, a = flat.log_discriminations(psi), 1e-5
    assert np.isneginf(logs[2]) and logs[np.arange(6) != 2].sum() == pytest.approx(0.0, abs=1e-12)
    # the same slopes on the scale of all six items
    logs[2] = np.log(a)
    shift = logs.mean()
    by_name = dict(zip(flat.spec.psi_names, psi, strict=True))
    by_name |= {f"log_a|{i + 1}": value - shift for i, value in enumerate(logs)}
    by_name |= {name: by_name[name] * np.exp(shift) for name in ("treat", "sigma_theta")}
    near = whole(np.array([by_name[name] for name in whole.spec.psi_names])).deviance
    there = flat(psi).deviance
    assert near == pytest.approx(there, abs=1e-2)
    assert (near - there) / a == pytest.approx(flat.by_discrimination[2], rel=1e-3)


def test_a_search_towards_a_flat_item_ends_with_its_name():
    drawn = draw_trial(Design(120, 6, 4))
    deviance = TwoParameterDeviance(patterns_of(drawn.responses, drawn.treat), MAIN)
    psi = some_psi(deviance, np.random.default_rng(1))
    psi[list(deviance.spec.psi_names).index("log_a|4")] = -7.0
    with pytest.raises(FlatItems) as raised:
        deviance(psi)
    assert raised.value.items == (3,)
    with pytest.raises(EngineError, match="Fewer than two items rise"):
        TwoParameterDeviance(patterns_of(drawn.responses, drawn.treat), MAIN, flat=range(5))


def test_repeated_answers_are_trials():
    """Two answers of a person to an item count as two, whichever way they are grouped."""
    drawn = draw_trial(Design(60, 5, 2))
    person, item = np.indices(drawn.responses.shape).reshape(2, -1)
    names, resp = tuple("abcde"), drawn.responses.ravel()
    again = response_patterns(
        names, drawn.treat.astype(int), np.tile(person, 2), np.tile(item, 2), np.concatenate([resp, 1 - resp])
    )
    assert again.statistics.trials is not None and (again.statistics.trials == 2).all()
    deviance = TwoParameterDeviance(again, MAIN, free=False)
    psi = some_psi(deviance, np.random.default_rng(5))
    assert deviance(psi).deviance == pytest.approx(
        QuadratureDeviance(again.statistics, MAIN, nodes=41)(psi).deviance, abs=1e-8
    )


def joint_laplace(trial, q: int):
    """D of the two-parameter model by Laplace over persons and items together, which is what TMB was given; no code in common."""
    responses = np.zeros((trial.n_persons, trial.n_items))
    responses[trial.person, trial.item] = trial.resp
    treat, n_items = trial.treat.astype(float), trial.n_items
    v, w = np.zeros(trial.n_persons), np.zeros((q, n_items))

    def deviance(psi: np.ndarray) -> float:
        beta, logs, sigma, lower = psi[:2], psi[2 : n_items + 1], psi[n_items + 1], psi[n_items + 2 :]
        a = np.exp(np.append(logs, -logs.sum()))
        factor = np.array([[lower[0], 0], [lower[1], lower[2]]]) if q == 2 else lower.reshape(1, 1)
        loadings = [factor[0], factor.sum(axis=0)]
        arm = np.array(loadings)[treat.astype(int)]
        for _ in range(50):
            eta = beta[0] + np.outer(beta[1] * treat + sigma * v, a) + arm @ w
            p = 1 / (1 + np.exp(-eta))
            weight, rest = p * (1 - p), responses - p
            d = 1 + sigma**2 * weight @ a**2
            cross = sigma * weight * a
            schur = np.eye(q * n_items)
            for t in (0, 1):
                of_arm = treat == t
                block = np.diag(weight[of_arm].sum(axis=0)) - (cross[of_arm] / d[of_arm, None]).T @ cross[of_arm]
                schur += np.kron(np.outer(loadings[t], loadings[t]), block)
            of_v = sigma * rest @ a - v
            of_w = arm.T @ rest - w - arm.T @ (cross * (of_v / d)[:, None])
            dw = np.linalg.solve(schur, of_w.ravel()).reshape(q, n_items)
            dv = (of_v - (cross * (arm @ dw)).sum(axis=1)) / d
            v[:], w[:] = v + dv, w + dw
            if max(np.abs(dv).max(), np.abs(dw).max()) < 1e-10:
                break
        loglik = (responses * eta - np.logaddexp(0, eta)).sum()
        return -2 * loglik + v @ v + (w**2).sum() + np.log(d).sum() + np.linalg.slogdet(schur)[1]

    return deviance


def test_verbagg_is_what_tmb_found():
    """The same model by another approximation of its likelihood has the other program's optimum; ours is close by."""
    trial = trial_of("verbagg_gender")
    patterns = response_patterns(trial.item_names, trial.treat, trial.person, trial.item, trial.resp)
    found = {}
    for name, q in (("M_0", 1), ("M_A", 2)):
        ours = TwoParameterDeviance(patterns, MODELS[name])
        plain = fit_statistics(trial.sufficient_statistics(False), MODELS[name])
        start = np.array([*plain.beta, *np.zeros(trial.n_items - 1), *plain.psi[2:]])
        psi = fit_deviance(ours, start, standard_errors=False).psi
        theirs = joint_laplace(trial, q)

        def both(psi, theirs=theirs):
            units, step = np.eye(len(psi)), 1e-4
            slopes = [(theirs(psi + step * u) - theirs(psi - step * u)) / (2 * step) for u in units]
            return Evaluation(psi.copy(), theirs(psi), np.array(slopes))

        both.evaluations = 0
        ours(psi)
        best = minimise(both, psi, rough_curvature(ours, psi), np.arange(len(psi)), np.full(len(psi), 0.3))
        found[name] = best.evaluation
        assert -best.evaluation.deviance / 2 == pytest.approx(VERBAGG[name], abs=1e-3)
        assert np.abs(best.evaluation.psi - psi).max() < 0.03  # the approximations hardly differ in the estimates
    at = found["M_A"].psi
    spread = np.hypot(*at[-2:])
    assert at[1] == pytest.approx(VERBAGG["treat"], abs=1e-3)
    assert at[-4] == pytest.approx(VERBAGG["theta"], abs=1e-3)
    assert spread == pytest.approx(VERBAGG["zeta"], abs=1e-3)
    assert at[-2] / spread == pytest.approx(VERBAGG["rho"], abs=2e-3)


def test_verbagg_with_equal_slopes_is_its_quadrature_fit():
    trial = trial_of("verbagg_gender")
    main = fit_statistics(trial.sufficient_statistics(False), MAIN, method="aghq", nodes=41, standard_errors=False)
    ours = TwoParameterDeviance(
        response_patterns(trial.item_names, trial.treat, trial.person, trial.item, trial.resp), MAIN, free=False
    )
    assert ours(main.psi).deviance == pytest.approx(main.deviance, abs=1e-8)


def test_effects_that_are_only_slopes_vanish():
    """Items differ in discrimination, treatment moves persons, and no item has an effect of its own."""
    rng = np.random.default_rng(12)
    n, a = 1500, np.exp(rng.normal(0, 0.4, 16))
    treat = np.arange(n) % 2
    place = 0.8 * treat + rng.normal(size=n)
    eta = np.outer(place, a / np.exp(np.log(a).mean())) + rng.normal(size=16)
    responses = (rng.random(eta.shape) < 1 / (1 + np.exp(-eta))).astype(int)
    main = fit_statistics(matrix_statistics(responses, treat), MAIN)
    found = discriminations_of(patterns_of(responses, treat), main)
    assert found.verdict is Verdict.VANISH
    assert found.equal.test.mixture < 0.001 and found.free.test.mixture > 0.05
    assert found.spread_interval[0] == 0.0
    assert np.corrcoef(np.log(found.discrimination), np.log(a))[0, 1] > 0.95
    assert np.log(found.discrimination).sum() == pytest.approx(0.0, abs=1e-12)
    assert found.slopes_p < 0.001 and found.slopes_df == 15


def test_an_item_that_falls_as_persons_rise_is_flat_and_sets_no_scale():
    rng = np.random.default_rng(3)
    treat = np.arange(600) % 2
    place = 0.5 * treat + rng.normal(size=600)
    a = np.array([1.0, 0.8, 1.2, 1.1, 0.9, 1.0, 1.3, -0.7])
    responses = (rng.random((600, 8)) < 1 / (1 + np.exp(-np.outer(place, a) - rng.normal(size=8)))).astype(int)
    found = discriminations_of(
        patterns_of(responses, treat), fit_statistics(matrix_statistics(responses, treat), MAIN, standard_errors=False)
    )
    assert found.flat == ("7",) and found.discrimination[7] == 0.0
    assert found.free.converged, "a search along log a would never end"
    assert np.log(found.discrimination[:7]).mean() == pytest.approx(0.0, abs=1e-12)
    assert found.free.sigma_theta == pytest.approx(1.0, abs=0.2)  # in units of the others' mean slope
    assert found.free.average == pytest.approx(0.5, abs=0.25)
    assert "does not rise" in slopes_sentence(found) and "'7'" in slopes_sentence(found)


def test_an_item_like_a_step_ends_the_analysis_with_a_sentence_and_soon():
    found = analyse(simulate_trial(Design(80, 6, 3))[0], discriminations=True)
    assert found.inference.discriminations is None
    assert any("'i05' separates persons like a step" in note for note in found.inference.notes)


def test_page_terminal_document_and_python_tell_the_same():
    table = PROJECT / "data" / "tables" / "verbagg_gender.csv.gz"
    analysis = analyse(table, discriminations=True)
    found = analysis.inference.discriminations
    assert found.verdict is Verdict.SURVIVE
    said = discriminations_sentence(analysis.inference, analysis.effects.scale)
    section = next(s for s in sections(analysis) if s.title == "With discriminations")
    assert section.sentences[0] == said and "the item effects survive" in said
    assert " ".join(said.split()[:8]) in " ".join(analysis.report(width=200).split())
    record = analysis.document()["inference"]["discriminations"]
    assert record["verdict"] == "survive" and record["free"]["sigma_zeta"] == found.free.sigma_zeta
    shown = {row[""]: row for row in section.rows}
    by = analysis.effects.scale.by
    assert shown["σ_ζ, item effects (SDs)"]["Free"] == f"{found.free.sigma_zeta / by:.3f}"
    assert analyse(table).inference.discriminations is None


def test_what_cannot_be_asked_is_a_sentence():
    drawn = draw_trial(Design(60, 3, 2))
    patterns = patterns_of(drawn.responses[:, :1], drawn.treat)
    with pytest.raises(InputError, match="single item"):
        TwoParameterDeviance(patterns, MAIN)
    trial = trial_of("verbagg_gender")
    with pytest.raises(InputError, match="fewer than three items"):
        discriminations(
            replace(trial, item_names=trial.item_names[:2]), fit_statistics(patterns.statistics, MODELS["M_0"])
        )


def test_the_study_of_slopes_replays():
    rows, about = read_computed("slopes")
    assert about["seed"] == slopes.SEED and list(rows.columns) == list(slopes.STUDY.names)
    np.testing.assert_allclose(
        slopes.STUDY.replay([3]).iloc[0].to_numpy(), rows.iloc[3].to_numpy(), rtol=1e-4, atol=1e-5
    )
    found = slopes.summary(rows)
    assert found.loc["equal", "lower"] > 0.2  # slopes alone are taken for effects
    assert found.loc["free", "lower"] <= 0.05 <= found.loc["free", "upper"]
