"""Items with ordered categories: the engine against goldens, differences, the dense reference, R, and what follows from symmetry."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import PROJECT
from dense_laplace import Rows, dense_laplace

from ilhte_lib.data.prepare import prepare
from ilhte_lib.engine.laplace import LaplaceDeviance
from ilhte_lib.engine.native import fit_models, fit_statistics
from ilhte_lib.engine.quadrature import QuadratureDeviance
from ilhte_lib.model.compress import SufficientStatistics, sufficient_statistics
from ilhte_lib.model.fit_result import Fit
from ilhte_lib.model.formats import ItemFormats, StepForm
from ilhte_lib.model.simulate import Design, draw_trial
from ilhte_lib.model.spec import MODELS

FORMS = tuple(StepForm)
SHARED = PROJECT.parent / "shared"


def rows_of(seed: int, highest: list[int], n_persons: int = 60, *, missing: float = 0.1, again: int = 20):
    """treat, covariate, person, item, resp of a small trial with mixed formats, holes and repeated rows."""
    rng = np.random.default_rng(seed)
    top = np.array(highest)
    treat, covariate = np.arange(n_persons) % 2, rng.normal(size=n_persons).round(1)
    person, item = np.repeat(np.arange(n_persons), len(top)), np.tile(np.arange(len(top)), n_persons)
    seen = rng.random(len(person)) > missing
    person, item = np.r_[person[seen], person[seen][:again]], np.r_[item[seen], item[seen][:again]]
    eta = rng.normal(size=n_persons)[person] + rng.normal(size=len(top))[item] + 0.4 * treat[person]
    formats = ItemFormats(top, StepForm.PARTIAL)
    resp = formats.draw(item, eta, 0.5 * rng.normal(size=len(formats.names)), rng)
    for k, most in enumerate(top):  # each category is used
        resp[np.flatnonzero(item == k)[: most + 1]] = np.arange(most + 1)
    return treat, covariate, person, item, resp


def statistics_of(rows, highest: list[int] | None, form: StepForm = StepForm.RATING, *, covariate: bool = True):
    treat, values, person, item, resp = rows
    formats = None if highest is None else ItemFormats(np.array(highest), form)
    names = tuple(f"i{k}" for k in range(int(item.max()) + 1))
    return sufficient_statistics(names, treat, person, item, resp, values if covariate else None, formats)


def some_psi(rng: np.random.Generator, spec) -> np.ndarray:
    return np.array(
        [
            0.3 + abs(0.4 * rng.normal()) if name in ("sigma_theta", "l11", "l22") else 0.4 * rng.normal()
            for name in spec.psi_names
        ]
    )


# -- two categories are the special case -----------------------------------------------------------------------------


@pytest.mark.parametrize("deviance", [LaplaceDeviance, QuadratureDeviance])
@pytest.mark.parametrize("model", ["M_A", "M_C"])
def test_one_step_is_the_binary_engine(deviance, model):
    rows = rows_of(1, [1] * 7)
    binary, ordered = (statistics_of(rows, highest) for highest in (None, [1] * 7))
    if model == "M_A":
        binary, ordered = (statistics_of(rows, highest, covariate=False) for highest in (None, [1] * 7))
    rng = np.random.default_rng(5)
    for _ in range(3):
        psi = some_psi(rng, MODELS[model])
        here, there = (deviance(statistics, MODELS[model]) for statistics in (binary, ordered))
        assert there.spec.psi_names == here.spec.psi_names
        if deviance is LaplaceDeviance:
            assert there.modes.cumulant.__class__ is not here.modes.cumulant.__class__
            here.tolerance = there.tolerance = 1e-9
        one, other = here(psi), there(psi)
        assert other.deviance == pytest.approx(one.deviance, rel=1e-12)
        np.testing.assert_allclose(other.gradient, one.gradient, rtol=1e-9, atol=1e-9)


# -- goldens ---------------------------------------------------------------------------------------------------------


def verbagg() -> SufficientStatistics:
    """lme4's VerbAgg with its three categories."""
    path = SHARED / "reference/extended/verbagg_three_categories.csv.gz"
    if not path.exists():
        pytest.skip("the reference fits are not beside the project")
    table = pd.read_csv(path)
    person, item = pd.factorize(table["p"])[0], table["it"].to_numpy()
    treat = table["t"].groupby(person).first().to_numpy()
    names = tuple(f"i{k:02d}" for k in range(item.max() + 1))
    formats = ItemFormats(np.full(len(names), 2))
    return sufficient_statistics(names, treat, person, item, table["y"].to_numpy(), None, formats)


def test_three_categories_of_verbagg():
    """TMB, response by response: reference/extended/README.md."""
    statistics = verbagg()
    assert statistics.n_classes == 70 and statistics.n_responses == 7584
    null = fit_statistics(statistics, MODELS["M_0"])
    main = fit_statistics(statistics, MODELS["M_A"], smaller=null)
    assert null.converged and main.converged and not main.singular
    assert null.loglik == pytest.approx(-6410.325668, abs=1e-5)
    assert main.loglik == pytest.approx(-6391.772244, abs=1e-5)
    np.testing.assert_allclose(main.beta, [-0.87524, 0.24146], atol=1e-5)
    assert main.sigma_theta == pytest.approx(0.9674, abs=5e-5)
    np.testing.assert_allclose(main.item_factor[np.tril_indices(2)], [0.85181, -0.05834, 0.35312], atol=5e-5)
    assert main.steps == pytest.approx([-0.29958], abs=2e-5)


ORACLE = SHARED / "reference/extended/polytomous_oracle.json"


@pytest.mark.parametrize("tab", sorted(json.loads(ORACLE.read_text())) if ORACLE.exists() else [])
def test_never_below_the_oracle(tab):
    """Its search can stop early; where it did not, estimates agree.

    Where nobody chose a category of some item the oracle keeps it and shares its step, and here its neighbours are merged:
    another model of the rating form.
    """
    models = json.loads(ORACLE.read_text())[tab]
    table = pd.read_csv(SHARED / f"data/tables/{tab}.csv.gz").dropna(subset=["resp"])
    if "wave" in table:
        table = table[table["wave"] == 1].drop(columns="wave")
    agreed = 0
    for form in FORMS:
        trial = prepare(table, tab, steps=form)
        fits = fit_models(trial, ["M_0", "M_A"])
        for name, fit in fits.items():
            found = models.get(f"{name}_{form}")
            if found is None or fit.n_persons != found["n_persons"]:
                continue
            assert fit.converged and fit.loglik >= found["loglik"] - 1e-4
            if fit.loglik - found["loglik"] < 0.01:
                agreed += 1
                np.testing.assert_allclose(fit.beta, list(found["beta"].values()), atol=0.01)
                assert fit.sigma_theta == pytest.approx(found["sigma_theta"], abs=0.01)
    stopped_early = ("caffeine_anxiety", "caffeine_tension", "film_sad_tension")
    assert agreed or tab in stopped_early


# -- gradient, compression -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("highest", [[3] * 6, [1, 3, 3, 2, 1, 4]])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("model", ["M_0", "M_C"])
def test_gradient_is_that_of_differences(model, form, highest):
    statistics = statistics_of(rows_of(3, highest), highest, form)
    rng = np.random.default_rng(7)
    for deviance, bound in (
        (LaplaceDeviance(statistics, MODELS[model]), 2e-6),
        (QuadratureDeviance(statistics, MODELS[model], 7), 4e-6),
        (QuadratureDeviance(statistics, MODELS[model], 31), 4e-6),
    ):
        if isinstance(deviance, LaplaceDeviance):
            deviance.tolerance = 1e-10
        for at in range(3):
            psi = some_psi(rng, deviance.spec)
            if model == "M_C" and at == 2:
                psi[-1] = 0.0  # |rho| = 1
            here = deviance(psi)
            for k, unit in enumerate(np.eye(len(psi))):
                slope = (deviance(psi + 1e-4 * unit).deviance - deviance(psi - 1e-4 * unit).deviance) / 2e-4
                assert slope == pytest.approx(here.gradient[k], abs=bound * (1 + abs(here.gradient).max())), (
                    deviance.spec.psi_names[k]
                )


def steps_of(fit: Fit) -> list[list[float]]:
    return [list(of_item[:k]) for of_item, k in zip(fit.formats.steps(fit.steps), fit.formats.highest, strict=True)]


@pytest.mark.parametrize("form", FORMS)
def test_compressed_is_response_by_response(form):
    highest = [1, 3, 3, 2, 1, 4]
    rows = rows_of(11, highest, 40)
    treat, values, person, item, resp = rows
    fit = fit_statistics(statistics_of(rows, highest, form), MODELS["M_C"])
    dense = dense_laplace(
        Rows(treat, person, item, resp, values, len(highest)), fit.beta, fit.sigma_theta, fit.item_factor, steps_of(fit)
    )
    assert -2 * fit.loglik == pytest.approx(dense.deviance, rel=1e-9)
    np.testing.assert_allclose(fit.ranef, dense.item_effects, atol=1e-6)
    np.testing.assert_allclose(fit.ranef_vcov, dense.item_covariances, atol=1e-6)


def test_the_derivative_of_item_effects_is_that_of_differences():
    """In the steps as in the other parameters."""
    highest = [3, 3, 2, 2, 3]
    statistics = statistics_of(rows_of(13, highest), highest)
    fit = fit_statistics(statistics, MODELS["M_C"])
    for deviance in (LaplaceDeviance(statistics, MODELS["M_C"]), QuadratureDeviance(statistics, MODELS["M_C"], 31)):
        psi = fit.psi + 0.05
        deviance.tolerance = 1e-10
        deviance(psi)
        exact = deviance.item_effect_derivatives()
        for k, unit in enumerate(np.eye(len(psi))):
            sides = []
            for side in (1e-4, -1e-4):
                deviance(psi + side * unit)
                sides.append(deviance.item_effects())
            np.testing.assert_allclose((sides[0] - sides[1]) / 2e-4, exact[:, :, k], atol=2e-4)


# -- symmetry --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", ["laplace", "aghq"])
def test_reversing_the_categories_turns_the_effects_round(form, method):
    highest = [3, 3, 1, 2, 3, 2]
    treat, values, person, item, resp = rows_of(17, highest, 80)
    turned = np.array(highest)[item] - resp
    one, other = (
        fit_statistics(statistics_of((treat, values, person, item, r), highest, form, covariate=False), MODELS["M_A"], method=method)
        for r in (resp, turned)
    )  # fmt: skip
    assert other.loglik == pytest.approx(one.loglik, abs=1e-6)
    np.testing.assert_allclose(other.beta, -one.beta, atol=1e-4)
    np.testing.assert_allclose(other.ranef, -one.ranef, atol=1e-3)
    np.testing.assert_allclose(other.formats.steps(other.steps)[0], -one.formats.steps(one.steps)[0][::-1], atol=1e-3)


def test_steps_rating_is_nested_in_partial():
    table, _ = sums(Design(300, 8, 3, steps=(-1.0, 0.0, 1.0)))
    rating, partial = (fit_models(prepare(table, steps=form))["M_A"] for form in FORMS)
    assert partial.loglik >= rating.loglik - 1e-4
    assert len(partial.steps) - len(rating.steps) == 2 * 7


def sums(design: Design) -> tuple[pd.DataFrame, np.ndarray]:
    """A long table drawn from a design, and each person's sum of scores."""
    drawn = draw_trial(design)
    n, j = drawn.responses.shape
    table = pd.DataFrame(
        {
            "id": np.repeat(np.arange(n), j),
            "item": np.tile([f"q{k}" for k in range(j)], n),
            "resp": drawn.responses.ravel().astype(int),
            "treat": np.repeat(drawn.treat.astype(int), j),
        }
    )
    return table, drawn.responses.sum(axis=1)


# -- psychotools: conditional likelihood, another estimator of the same steps -----------------------------------------


@pytest.mark.r
@pytest.mark.parametrize("form", FORMS)
def test_steps_agree_with_psychotools(form, tmp_path):
    """Item thresholds by conditional maximum likelihood (Zeileis et al., psychotools), each within its standard error."""
    if shutil.which("Rscript") is None:
        pytest.skip("R is not installed")
    drawn = draw_trial(Design(1500, 6, 9, ate=0.0, sigma_zeta=0.0, steps=(-1.0, 0.1, 0.9))).responses
    np.savetxt(tmp_path / "x.csv", drawn, fmt="%d", delimiter=",")
    model = "rsmodel" if form == StepForm.RATING else "pcmodel"
    script = (
        'if (!requireNamespace("psychotools", quietly = TRUE)) quit(status = 7)\n'
        f'm <- psychotools::{model}(as.matrix(read.csv("x.csv", header = FALSE)))\n'
        "t <- psychotools::threshpar(m, vcov = TRUE)\n"
        'write.table(cbind(unlist(coef(t)), sqrt(diag(vcov(t)))), "t.csv", sep = ",", row.names = FALSE, col.names = FALSE)\n'
    )
    ran = subprocess.run(["Rscript", "-e", script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    if ran.returncode == 7:
        pytest.skip("psychotools is not installed")
    assert ran.returncode == 0, ran.stderr
    theirs, errors = np.loadtxt(tmp_path / "t.csv", delimiter=",").T
    theirs, errors = theirs.reshape(6, 3), errors.reshape(6, 3)
    treat = np.arange(len(drawn)) % 2
    person, item = np.repeat(np.arange(len(drawn)), 6), np.tile(np.arange(6), len(drawn))
    statistics = statistics_of((treat, None, person, item, drawn.ravel()), [3] * 6, form, covariate=False)
    # by quadrature: Laplace's bias with six items is about a standard error
    fit = fit_statistics(statistics, MODELS["M_0"], method="aghq")
    # theirs are of difficulty and add up to 0
    ours = fit.formats.steps(fit.steps) - fit.ranef[:, :1]
    ours -= ours.mean()
    assert np.abs((ours - theirs) / np.where(errors > 0, errors, np.nanmax(errors))).max() < 1.0


# -- preparation -----------------------------------------------------------------------------------------------------


def ratings(seed: int = 5, n_items: int = 5) -> pd.DataFrame:
    return sums(Design(120, n_items, seed, steps=(-1.0, 0.2, 0.8)))[0]


def test_codes_from_any_lowest_value():
    table = ratings()
    base = prepare(table)
    for shift in (1, -2, 7):
        moved = prepare(table.assign(resp=table["resp"] + shift))
        np.testing.assert_array_equal(moved.resp, base.resp)
        assert moved.categories[0] == tuple(str(k + shift) for k in range(4))


def test_labels_in_order():
    table = ratings()
    words = ["never", "sometimes", "often", "always"]
    labelled = table.assign(resp=[words[k] for k in table["resp"]])
    for options in ({"categories": words}, {"categories": ("Never, Sometimes,often,ALWAYS",)}):
        trial = prepare(labelled, **options)
        np.testing.assert_array_equal(trial.resp, prepare(table).resp)
    assert prepare(labelled, categories=words).categories[0] == tuple(words)
    from ilhte_lib import InputError

    with pytest.raises(InputError, match="--categories"):
        prepare(labelled)
    with pytest.raises(InputError, match="'always'"):
        prepare(labelled, categories=words[:3])


def test_an_ordered_column_knows_its_order():
    from ilhte_lib import analyse

    table = ratings()
    words = ["never", "sometimes", "often", "always"]
    column = pd.Categorical([words[k] for k in table["resp"]], categories=words, ordered=True)
    a = analyse(table.assign(resp=column))
    np.testing.assert_array_equal(a.trial.resp, prepare(table).resp)
    assert a.trial.categories[0] == tuple(words)


@pytest.mark.r
@pytest.mark.parametrize("wide", [True, False])
def test_an_ordered_factor_of_r_knows_its_order(tmp_path, wide):
    if shutil.which("Rscript") is None:
        pytest.skip("R is not installed")
    from ilhte_lib.data.read import read_table
    from ilhte_report.intake.check import check_table

    table, words = ratings(), ["never", "sometimes", "often", "always"]
    by_person = table.pivot(index="id", columns="item", values="resp")
    treat = table.drop_duplicates("id")["treat"].to_numpy()
    (by_person if wide else table).assign(**({"treat": treat} if wide else {})).to_csv(tmp_path / "x.csv", index=wide)
    columns = 'grep("^q", names(x), value = TRUE)' if wide else '"resp"'
    script = (
        'x <- read.csv("x.csv"); words <- c("never", "sometimes", "often", "always")\n'
        f"for (k in {columns}) x[[k]] <- factor(words[x[[k]] + 1], levels = words, ordered = TRUE)\n"
        'saveRDS(x, "x.rds")\n'
    )
    subprocess.run(["Rscript", "-e", script], cwd=tmp_path, check=True, timeout=120)
    read = read_table(tmp_path / "x.rds", **({"wide": ["q*"]} if wide else {}))
    trial = prepare(read)
    assert trial.categories[0] == tuple(words)
    answers = dict(zip(zip(map(str, trial.person_ids[trial.person]), trial.item, strict=True), trial.resp, strict=True))
    again = prepare(table)
    assert answers == dict(
        zip(zip(map(str, again.person_ids[again.person]), again.item, strict=True), again.resp, strict=True)
    )
    assert all(arm.without_response == 0 for arm in check_table(read, "x").arms)


def test_threshold_makes_items_binary():
    table = ratings()
    trial = prepare(table, threshold=2)
    assert trial.formats is None
    np.testing.assert_array_equal(trial.resp, (prepare(table).resp >= 2).astype(int))


def test_unused_categories_are_merged_and_told():
    table = ratings()
    table.loc[(table["item"] == "q1") & (table["resp"] == 3), "resp"] = 2
    table.loc[(table["item"] == "q2") & (table["resp"] == 1), "resp"] = 0
    trial = prepare(table)
    assert trial.formats.highest.tolist() == [3, 2, 2, 3, 3]
    flag = next(flag for flag in trial.flags if "that nobody chose" in flag)
    assert "'q1' has no 3" in flag and "'q2' has no 1" in flag
    assert set(trial.resp[trial.item == 2]) == {0, 1, 2}


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (9, "'9' may be a code for missing"),
        (-9, "'-9' may be a code for missing"),
        (99, "'99' may be a code for missing"),
    ],
)
def test_a_code_for_missing_is_no_category(code, says):
    table = ratings()
    table.loc[table.index[table["item"] == "q1"][:3], "resp"] = code
    trial = prepare(table)
    assert "q1" not in trial.item_names and any(says in flag for flag in trial.flags)
    named = prepare(table, missing_codes=(str(code),))
    assert named.n_items == 5 and named.formats.highest.max() == 3
    taken = prepare(table, missing_codes=("none",))
    assert taken.formats.highest[1] == 4


def test_what_is_no_scale_is_refused():
    from ilhte_lib import InputError

    table = ratings().astype({"resp": float})
    halves = table.assign(resp=np.where(table.index == 0, 0.5, table["resp"]))
    with pytest.raises(InputError, match="'q0' .*holds .*0.5.*whole numbers; .*--threshold"):
        prepare(halves)
    wide = table.assign(resp=np.arange(len(table)) % 23)
    with pytest.raises(InputError, match=r"23 different values.*at most 10 ordered categories"):
        prepare(wide)
    assert prepare(wide, threshold=10).formats is None


def test_mixed_formats_are_told_and_one_analysis():
    table = ratings()
    table.loc[table["item"] == "q0", "resp"] = (table.loc[table["item"] == "q0", "resp"] > 1).astype(int)
    trial = prepare(table)
    assert trial.formats.highest.tolist() == [1, 3, 3, 3, 3]
    assert any("alongside 1 item with two" in flag for flag in trial.flags)
    fits = fit_models(trial)
    assert fits["M_A"].spec.steps == ("tau_1", "tau_2") and fits["M_A"].converged


def test_the_vignette_drops_them_as_published():
    table = ratings()
    binary = table.assign(item="b" + table["item"], resp=(table["resp"] > 1).astype(int))
    table = pd.concat([table, binary], ignore_index=True)
    trial = prepare(table, profile="vignette")
    assert trial.formats is None and all(name.startswith("b") for name in trial.item_names)


# -- everything that is said of a trial --------------------------------------------------------------------------------


def test_the_whole_analysis_of_ratings(tmp_path):
    from ilhte_lib import analyse

    a = analyse(ratings(8, 8), replicates=9, curves=True)
    assert not [note for note in a.inference.notes if "could not be computed" in note]
    assert a.inference.resampling.failed == 0 and a.inference.null_replicates == 9
    free = a.inference.items.departure
    assert np.isfinite(free).all()
    assert a.items["p_ctrl"].between(0, 1).all()
    assert a.plot("curves").layout.yaxis.title.text.startswith("Expected score")
    terms = a.models[a.models["model"] == "M_A"].set_index("term")
    assert {"tau_1", "tau_2"} <= set(terms.index) and (terms.loc[["tau_1", "tau_2"], "se"] > 0).all()
    written = a.document()
    assert written["categories"]["q0"] == ["0", "1", "2", "3"]
    assert written["models"]["M_A"]["steps"]["tau_1"] == terms.loc["tau_1", "estimate"]
    assert written["inference"]["scores"]["highest"] == [3.0] * 8 and written["inference"]["steps"]["df"] > 0
    assert "score" in a.to_html(tmp_path / "a.html").read_text()


def test_lme4_is_refused_in_a_sentence():
    from ilhte_lib import InputError

    with pytest.raises(InputError, match="lme4 cannot fit: use engine native"):
        fit_models(prepare(ratings()), engine="pymer4")


def test_free_effects_of_ratings_are_unbiased_by_their_standard_error():
    """Each item's own effect in a large simulated trial lies where it was drawn."""
    from ilhte_lib.inference.items import free_item_effects

    design = Design(4000, 8, 21, ate=0.3, sigma_zeta=0.5, steps=(-1.0, 0.2, 0.8))
    drawn = draw_trial(design)
    from ilhte_lib.model.response_matrix import matrix_statistics

    statistics = matrix_statistics(drawn.responses, drawn.treat, formats=design.formats)
    fit = fit_statistics(statistics, MODELS["M_A"])
    free = free_item_effects(statistics, fit.sigma_theta, fit.steps)
    z = (free.effect - (0.3 + drawn.zeta)) / np.sqrt(np.diagonal(free.covariance))
    assert np.abs(z).max() < 3.0 and replace(fit).formats is not None


# -- score points, and whether steps are shared -----------------------------------------------------------------------


def test_expected_scores_are_those_of_simulated_persons():
    from ilhte_lib.inference.expected_scores import expected_scores

    fit = fit_models(prepare(ratings(8, 6)))["M_A"]
    found = expected_scores(fit)
    rng = np.random.default_rng(1)
    n = 200_000
    for treated, average, over in ((0, found.control, found.control_mean), (1, found.treated, found.treated_mean)):
        for k in range(fit.n_items):
            eta = fit.beta[0] + fit.ranef[k, 0] + treated * (fit.beta[1] + fit.ranef[k, 1])
            theta = fit.sigma_theta * rng.standard_normal(n)
            drawn = fit.formats.draw(np.full(n, k), eta + theta, fit.steps, rng)
            assert drawn.mean() == pytest.approx(over[k], abs=4 * drawn.std() / np.sqrt(n))
            here = fit.formats.draw(np.full(n, k), np.full(n, eta), fit.steps, rng)
            assert here.mean() == pytest.approx(average[k], abs=4 * here.std() / np.sqrt(n))


def test_shared_steps_are_tested():
    from ilhte_lib.inference.expected_scores import steps_test

    drawn = prepare(ratings(8, 6))
    statistics, fit = drawn.sufficient_statistics(False), fit_models(drawn)["M_A"]
    found = steps_test(statistics, fit)
    assert found.df == (fit.formats.highest - 1).sum() - len(fit.steps) and found.p > 0.01
    # items of which each has steps of its own
    rng = np.random.default_rng(4)
    formats = ItemFormats(np.full(6, 3), StepForm.PARTIAL)
    person, item = np.repeat(np.arange(600), 6), np.tile(np.arange(6), 600)
    eta = rng.normal(size=600)[person] + rng.normal(size=6)[item]
    resp = formats.draw(item, eta, 0.8 * rng.normal(size=12), rng)
    uneven = statistics_of((np.arange(600) % 2, None, person, item, resp), [3] * 6, covariate=False)
    found = steps_test(uneven, fit_statistics(uneven, MODELS["M_A"]))
    assert found.p < 1e-6 and found.statistic > 50
