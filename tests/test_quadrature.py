"""Quadrature over persons: against brute force for persons alone and for the whole objective."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.integrate import quad

from ilhte_lib.data.prepare import prepare
from ilhte_lib.engine.cumulant import Cells, NodeCells, OrderedNodeCells
from ilhte_lib.engine.laplace import LaplaceDeviance
from ilhte_lib.engine.native import fit_models, fit_statistics
from ilhte_lib.engine.quadrature import PersonIntegrals, QuadratureDeviance
from ilhte_lib.errors import InputError
from ilhte_lib.inference.profile import profile_intervals
from ilhte_lib.model.fit_result import Fit
from ilhte_lib.model.response_matrix import matrix_statistics
from ilhte_lib.model.simulate import Design, draw_trial, simulate_trial
from ilhte_lib.model.spec import MODELS
from ilhte_report.words.approximation import approximation_sentence

PATTERNS = np.array(list(product((0, 1), repeat=3)))


def pattern_probability(pattern: np.ndarray, fixed: float, sigma: float, offset: np.ndarray) -> float:
    """P(pattern | items) by SciPy's adaptive integration over v, no compression."""

    def integrand(v: float) -> float:
        eta = fixed + sigma * v + offset
        return np.exp(-v * v / 2 + pattern @ eta - np.logaddexp(0, eta).sum()) / np.sqrt(2 * np.pi)

    return quad(integrand, -14, 14, epsabs=1e-14, epsrel=1e-13, limit=500, points=[-5, -2, 0, 2, 5])[0]


@pytest.mark.parametrize(
    ("sigma", "offsets", "nodes"),
    [
        (0.0, ([-1.0, 0.0, 1.0], [-0.5, 0.5, 0.0]), 15),
        (0.6, ([-1.5, 0.3, 2.0], [0.0, -0.4, 1.0]), 15),
        (1.0, ([-1.0, 0.0, 1.0], [-0.5, 1.2, 0.8]), 15),
        (2.5, ([-1.0, 0.0, 1.0], [-0.5, 1.2, 0.8]), 61),
    ],
)
def test_persons_given_items_agree_with_brute_force_for_every_pattern(sigma, offsets, nodes):
    """All 8 patterns of 3 items in both arms: probabilities to 1e-8, and they sum to 1."""
    responses = np.vstack([PATTERNS, PATTERNS])
    treat = np.repeat([0, 1], 8)
    statistics = matrix_statistics(responses, treat)
    persons = PersonIntegrals(statistics, nodes)
    offsets = tuple(np.array(o) for o in offsets)
    fixed = 0.2 - 0.5 * statistics.arm
    persons.integrate(fixed, sigma, offsets)
    for arm in (0, 1):
        probabilities = []
        for pattern in PATTERNS:
            g = np.flatnonzero((statistics.arm == arm) & (statistics.score == pattern.sum()))[0]
            # the responses' own term pattern' o is outside the integral
            probabilities.append(np.exp(persons.log_marginal[g] + pattern @ offsets[arm]))
            expected = pattern_probability(pattern, fixed[g], sigma, offsets[arm])
            assert probabilities[-1] == pytest.approx(expected, rel=1e-8)
        assert sum(probabilities) == pytest.approx(1.0, abs=1e-8)


def test_missing_responses_and_several_trials_are_integrated_too():
    responses = np.array([[1, -1, 0], [0, 1, -1], [-1, 1, 1], [1, 0, 1]])
    statistics = matrix_statistics(responses, np.array([0, 0, 1, 1]))
    persons = PersonIntegrals(statistics, 21)
    offset = np.array([-0.7, 0.1, 0.9])
    persons.integrate(np.full(statistics.n_classes, 0.3), 1.2, (offset, offset))
    for row, arm in zip(responses, (0, 0, 1, 1), strict=True):
        seen = row >= 0
        g = next(
            g
            for g in range(statistics.n_classes)
            if statistics.arm[g] == arm
            and np.array_equal(statistics.trials[g] > 0, seen)
            and statistics.score[g] == row[seen].sum()
        )
        expected = pattern_probability(row[seen], 0.3, 1.2, offset[seen])
        assert persons.log_marginal[g] + row[seen] @ offset[seen] == pytest.approx(np.log(expected), abs=1e-8)


def brute_force_loglik(responses, treat, beta, sigma, factor, centre, spread) -> float:
    """The log-likelihood by sums over a grid of person effects and a grid of the two item effects, no compression.

    The item grid spans 8 ``spread`` (2,) on either side of ``centre`` (2,): where they are taken from does not matter.
    """
    v = np.linspace(-9, 9, 161)
    prior = np.exp(-v * v / 2) / np.sqrt(2 * np.pi) * (v[1] - v[0])
    w = np.linspace(-8, 8, 49)
    first, second = (centre[k] + spread[k] * g.ravel() for k, g in enumerate(np.meshgrid(w, w, indexing="ij")))
    n_items = responses.shape[1]
    if len(factor) == 1:  # two items, easiness alone
        assert n_items == 2
        by_item = [np.column_stack([factor[0, 0] * first, factor[0, 0] * second])] * 2
    else:  # one item, easiness and effect
        assert n_items == 1
        easiness = factor[0, 0] * first
        by_item = [easiness[:, None], (easiness + factor[1, 0] * first + factor[1, 1] * second)[:, None]]
    total = -0.5 * (first**2 + second**2) - np.log(2 * np.pi) + np.log(spread[0] * spread[1] * (w[1] - w[0]) ** 2)
    for arm in (0, 1):
        patterns, counts = np.unique(responses[treat == arm], axis=0, return_counts=True)
        person = beta[0] + beta[1] * arm + sigma * v
        # (grid, v) log P of each item being 1, and of its being 0
        eta = by_item[arm][:, :, None] + person
        one, zero = -np.logaddexp(0, -eta), -np.logaddexp(0, eta)
        for pattern, count in zip(patterns, counts, strict=True):
            inside = sum(one[:, i] if pattern[i] else zero[:, i] for i in range(n_items))
            total += count * np.log(np.exp(inside) @ prior)
    return float(np.logaddexp.reduce(total))


@pytest.mark.parametrize(
    ("model", "psi"), [("M_0", [0.2, 0.3, 1.0, 0.8]), ("M_A", [0.2, 0.3, 1.0, 0.8, -0.2, 0.5])], ids=["M_0", "M_A"]
)
def test_whole_objective_agrees_with_two_dimensional_brute_force(model, psi):
    """Two item effects in all, integrated on a grid. What is left is Laplace's error over the items, of the order of the
    inverse of the number of persons (about 0.6 / N in log-likelihood here): it must fall so, and nothing else may be there."""
    spec, psi = MODELS[model], np.array(psi)
    n_items = 2 if model == "M_0" else 1
    one = draw_trial(Design(40, n_items, 21, sigma_b=0.8, sigma_zeta=0.4, ate=0.3))
    errors = []
    for copies in (16, 64, 256):
        responses, treat = np.tile(one.responses, (copies, 1)), np.tile(one.treat, copies)
        statistics = matrix_statistics(responses, treat)
        deviance = QuadratureDeviance(statistics, spec, 31)
        loglik = -deviance(psi).deviance / 2
        # w = L^-1 (b, zeta): where the grid of item effects has to be
        beta, sigma, factor = deviance.unpack(psi)
        centre = np.linalg.solve(factor, deviance.item_effects().T).ravel()
        inverse = np.linalg.inv(factor)
        spread = np.sqrt([np.diagonal(inverse @ v @ inverse.T) for v in deviance.item_covariances()]).ravel()
        exact = brute_force_loglik(responses, treat, beta, sigma, factor, centre, spread)
        errors.append(abs(loglik - exact))
    assert errors[0] < 0.002
    assert errors[1] < errors[0] / 3 and errors[2] < errors[1] / 3
    assert errors[2] < 0.0001
    # Laplace over persons as well errs by whole units
    laplace = -LaplaceDeviance(statistics, spec)(psi).deviance / 2
    assert abs(laplace - exact) > 10


def drawn(model: str, n_items: int, missing: float = 0.0):
    covariate = MODELS[model].covariate
    trial = draw_trial(
        Design(150, n_items, 3, sigma_zeta=0.4, rho=0.5, missing=missing, gamma=0.5 if covariate else None)
    )
    return matrix_statistics(trial.responses, trial.treat, trial.covariate)


@pytest.mark.parametrize(
    ("model", "n_items", "missing", "psi"),
    [
        ("M_0", 3, 0.0, [0.1, 0.2, 1.0, 0.9]),
        ("M_A", 4, 0.0, [0.1, 0.2, 1.0, 0.9, 0.3, 0.4]),
        ("M_A", 6, 0.2, [-0.4, 0.2, 1.4, 0.9, -0.3, 0.0]),
        ("M_A", 5, 0.0, [0.1, 0.2, 0.0, 0.9, 0.3, 0.2]),
        ("M_B", 5, 0.1, [0.1, 0.2, 0.5, -0.1, 1.2, 0.9]),
        ("M_C", 6, 0.2, [0.1, 0.2, 0.5, -0.1, 1.2, 0.9, -0.3, 0.4]),
    ],
)
@pytest.mark.parametrize("nodes", [5, 25])
def test_gradient_and_hessian_agree_with_central_differences(model, n_items, missing, psi, nodes):
    """Also with nodes too few for the integrals, where it counts that they move."""
    deviance, psi, h = QuadratureDeviance(drawn(model, n_items, missing), MODELS[model], nodes), np.array(psi), 1e-4
    units = np.eye(len(psi))
    numeric = [(deviance(psi + h * u).deviance - deviance(psi - h * u).deviance) / (2 * h) for u in units]
    here = deviance(psi)
    np.testing.assert_allclose(here.gradient, numeric, rtol=1e-6, atol=2e-6)
    free = np.arange(len(psi))
    hessian = deviance.hessian(here, np.full(len(psi), 1e-4), free)
    u = units[0] + units[-1]
    second = (deviance(psi + 1e-3 * u).deviance - 2 * here.deviance + deviance(psi - 1e-3 * u).deviance) / 1e-6
    assert u @ hessian @ u == pytest.approx(second, rel=1e-4, abs=1e-3)


def test_item_effects_move_as_their_derivative_says():
    deviance, psi, h = (
        QuadratureDeviance(drawn("M_A", 5), MODELS["M_A"], 21),
        np.array([0.1, 0.2, 1.0, 0.9, 0.3, 0.4]),
        1e-4,
    )
    deviance(psi)
    slopes = deviance.item_effect_derivatives()
    for k, u in enumerate(np.eye(len(psi))):
        sides = []
        for side in (h, -h):
            deviance(psi + side * u)
            sides.append(deviance.item_effects())
        np.testing.assert_allclose(slopes[:, :, k], (sides[0] - sides[1]) / (2 * h), atol=1e-5)


def test_without_person_variance_it_is_laplace_exactly():
    """With sigma = 0 there is nothing to integrate over persons."""
    psi = np.array([0.1, 0.2, 0.0, 0.9, 0.3, 0.2])
    statistics = drawn("M_A", 5)
    ours, theirs = QuadratureDeviance(statistics, MODELS["M_A"])(psi), LaplaceDeviance(statistics, MODELS["M_A"])(psi)
    assert ours.deviance == pytest.approx(theirs.deviance, abs=1e-8)
    np.testing.assert_allclose(ours.gradient, theirs.gradient, atol=1e-6)


def test_compression_changes_nothing():
    """One class a person, by a covariate that differs between all and has slope 0, against the classes of scores."""
    trial = draw_trial(Design(80, 4, 6, sigma_zeta=0.5))
    grouped = matrix_statistics(trial.responses, trial.treat)
    single = matrix_statistics(trial.responses, trial.treat, np.arange(80.0))
    assert grouped.n_classes <= 10 and single.n_classes == 80
    psi = [0.1, 0.3, 1.1, 0.8, 0.2, 0.4]
    a = QuadratureDeviance(grouped, MODELS["M_A"])(psi)
    b = QuadratureDeviance(single, MODELS["M_C"])([*psi[:2], 0.0, 0.0, *psi[2:]])
    assert a.deviance == pytest.approx(b.deviance, abs=1e-9)


def test_quadrature_recovers_what_laplace_understates():
    """20,000 persons and 3 items: quadrature finds sigma_theta = 1.2, Laplace is more than a tenth low."""
    trial = draw_trial(Design(20_000, 3, 4, sigma_theta=1.2, sigma_zeta=0.5, sigma_b=0.8))
    statistics = matrix_statistics(trial.responses, trial.treat)
    fits = {m: fit_statistics(statistics, MODELS["M_A"], method=m) for m in ("laplace", "aghq")}
    se = np.sqrt(fits["aghq"].vcov[2, 2])
    assert abs(fits["aghq"].sigma_theta - 1.2) < 3 * se
    assert fits["laplace"].sigma_theta < 1.08


def test_a_fit_of_the_same_type():
    table, _ = simulate_trial(Design(200, 5, 8, sigma_zeta=0.6, gamma=0.6, baseline_levels=5))
    trial = prepare(table, "drawn")
    fits = fit_models(trial, method="aghq", nodes=11)
    assert list(fits) == ["M_0", "M_A", "M_B", "M_C"]
    for fit in fits.values():
        assert isinstance(fit, Fit) and fit.method == "aghq" and fit.converged
        assert fit.gradient_norm < 1e-3
        assert np.isfinite(fit.se).all() and fit.ranef.shape == (5, fit.spec.q)
        assert np.isfinite(fit.ranef_jacobian).all()
        assert (np.linalg.eigvalsh(fit.ranef_vcov) > -1e-12).all()
    assert fits["M_A"].loglik > fits["M_0"].loglik
    # not a likelihood on Laplace's scale: the two may not be compared, and the fit says which it is
    assert fit_models(trial, ["M_0"])["M_0"].method == "laplace"


def test_item_order_changes_nothing():
    trial = draw_trial(Design(150, 6, 2, sigma_zeta=0.5))
    one = fit_statistics(matrix_statistics(trial.responses, trial.treat), MODELS["M_A"], method="aghq")
    two = fit_statistics(matrix_statistics(trial.responses[:, ::-1], trial.treat), MODELS["M_A"], method="aghq")
    assert one.loglik == pytest.approx(two.loglik, abs=1e-7)
    np.testing.assert_allclose(one.ranef, two.ranef[::-1], atol=1e-4)


def test_profiles_of_a_quadrature_fit_use_its_objective():
    trial = draw_trial(Design(300, 4, 12, sigma_zeta=0.7))
    statistics = matrix_statistics(trial.responses, trial.treat)
    ends = {}
    for method in ("laplace", "aghq"):
        null = fit_statistics(statistics, MODELS["M_0"], method=method)
        fit = fit_statistics(statistics, MODELS["M_A"], smaller=null, method=method)
        interval = profile_intervals(statistics, fit, null, ("sigma_theta",))["sigma_theta"]
        assert interval.estimate == pytest.approx(fit.sigma_theta, abs=1e-6)
        ends[method] = interval.upper
    assert ends["aghq"] > ends["laplace"] + 0.05


def test_mistakes_are_told_in_one_sentence():
    statistics = drawn("M_0", 3)
    with pytest.raises(InputError, match="at least 5"):
        fit_statistics(statistics, MODELS["M_0"], method="aghq", nodes=4)
    with pytest.raises(InputError, match="'pql' is not known: use one of laplace, aghq"):
        fit_statistics(statistics, MODELS["M_0"], method="pql")
    table, _ = simulate_trial(Design(50, 3, 8))
    with pytest.raises(InputError, match="use engine native"):
        fit_models(prepare(table, "drawn"), engine="pymer4", method="aghq")


def test_data_that_would_not_fit_the_memory_are_refused(monkeypatch):
    monkeypatch.setattr("ilhte_lib.engine.quadrature.MOST_CELLS", 500)
    with pytest.raises(InputError, match="use method laplace"):
        fit_statistics(drawn("M_0", 8), MODELS["M_0"], method="aghq")


def test_too_few_nodes_for_the_data_are_reported():
    trial = draw_trial(Design(2000, 3, 4, sigma_theta=3.0))
    statistics = matrix_statistics(trial.responses, trial.treat)
    rough = fit_statistics(statistics, MODELS["M_0"], method="aghq", nodes=5, standard_errors=False)
    fine = fit_statistics(statistics, MODELS["M_0"], method="aghq", nodes=41, standard_errors=False)
    assert any("quadrature nodes leave an error" in m for m in rough.messages)
    assert not fine.messages
    assert abs(rough.loglik - fine.loglik) > 1e-3


@pytest.mark.shared
def test_quadrature_gives_the_interval_that_laplace_cannot(shared):
    """4 items, rare responses: the Laplace deviance has a spurious valley at five times the sigma_theta."""
    import pandas as pd

    from ilhte_lib.engine.native import statistics_of

    name = "washb_bgd_symptoms_wsh_wave1"
    trial = prepare(pd.read_csv(shared / "data" / "tables" / f"{name}.csv.gz"), name, ignore_clusters=True)
    fits = fit_models(trial, ["M_0", "M_A"], method="aghq")
    interval = profile_intervals(statistics_of(trial, MODELS["M_A"]), fits["M_A"], fits["M_0"], ("sigma_theta",))[
        "sigma_theta"
    ]
    assert interval.lower < interval.estimate < interval.upper < 3.0


@pytest.mark.parametrize("steps", [None, (-0.6, 0.1, 0.5)])
@pytest.mark.parametrize("lanes", [(), (2,)])
def test_cells_at_any_distance_are_those_computed_with_care(steps, lanes):
    """Also where the exponentials of a node alone would overflow, and their derivatives in the steps there."""
    formats, n_items = Design(20, 4, 1, steps=steps).formats, 4
    x = np.array([-900.0, -250.0, -30.0, -1.0, 0.0, 2.0, 45.0, 260.0, 900.0]).reshape(3, 3) * np.ones((*lanes, 1, 1))
    trials = np.array([[1.0, 1, 0, 1], [1, 1, 1, 1], [0, 1, 1, 1]]) * np.ones((*lanes, 1, 1))
    offsets = tuple(np.array(o) * np.ones((*lanes, 1)) for o in ([-2.0, 0.0, 1.5, 0.3], [0.4, -0.2, 2.0, -1.0]))
    if steps is None:
        cells = NodeCells(trials, n_items, 3, 1, 3, lanes)
        careful = None
    else:
        free = np.array([0.3, -0.1]) * np.ones((*lanes, 1))
        cells = OrderedNodeCells(formats, trials, n_items, 3, 1, 3, lanes)
        cells.set_steps(free)
        careful = Cells(formats, free if not lanes else free[0])
    total = cells.place(x, offsets)
    for lane in np.ndindex(*lanes):
        for g in range(3):
            offset = offsets[0 if g < 1 else 1][lane]
            eta = x[lane][g][:, None] + offset
            if careful is None:
                mean = 1 / (1 + np.exp(-np.clip(eta, -700, 700)))
                cumulant, weight = np.logaddexp(0, eta), mean * (1 - mean)
            else:
                cumulant, mean, weight = careful.moments(eta, 2)
            own, at = trials[lane][g], slice(3 * g, 3 * g + 3)
            np.testing.assert_allclose(total[lane][g], cumulant @ own, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(cells.expected[lane][:, at], (mean * own).T, atol=1e-12)
            np.testing.assert_allclose(cells.weight[lane][:, at], (weight * own).T, atol=1e-12)


def test_auto_stays_with_laplace_where_quadrature_leads_nowhere():
    """Twelve persons in Guttman patterns: Laplace's optimum is certified, a search by quadrature has no end."""
    table, _ = simulate_trial(Design(12, 5, 10, sigma_theta=15.0, sigma_b=0.1, sigma_zeta=0.4, rho=-0.9))
    trial = prepare(table, "drawn")
    laplace = fit_models(trial, method="laplace")
    fits = fit_models(trial, method="auto")
    for name in ("M_0", "M_A"):
        assert fits[name].method == "laplace" and fits[name].converged
        assert fits[name].loglik == laplace[name].loglik
    assert any("leads to no certified optimum" in message for message in fits["M_A"].messages)
    assert approximation_sentence(fits["M_A"], "auto") == "The likelihood is Laplace's, as in lme4."
