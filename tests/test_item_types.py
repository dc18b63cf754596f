"""What covariates of the items explain: effects by type, the share explained, the permutation p-value, faults in a sentence."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from command_line import call, refusal

from ilhte_lib.analysis import analyse
from ilhte_lib.data.catalogue import load_bundled
from ilhte_lib.data.item_file import with_item_covariates
from ilhte_lib.data.prepare import prepare
from ilhte_lib.engine.native import fit_models, fit_statistics
from ilhte_lib.errors import InputError
from ilhte_lib.inference.item_types import ShuffledScores, item_types
from ilhte_lib.model.compress import sufficient_statistics
from ilhte_lib.model.item_types import ItemCovariate, coded, explained
from ilhte_lib.model.simulate import Design, simulate_trial
from ilhte_lib.model.spec import MODELS
from ilhte_report.pages.sections import sections


@pytest.fixture(scope="module")
def verbagg(project):
    trial = prepare(load_bundled("verbagg_gender", project / "data"), "verbagg_gender")
    fits = fit_models(trial, ["M_0", "M_A"])
    return trial, fits, item_types(trial, fits)


def test_labels_are_contrasts_and_everything_is_centred():
    covariate = ItemCovariate("type", ("b", "a", "c", "a"))
    assert covariate.column_names == ("type=b", "type=c")
    np.testing.assert_allclose(covariate.columns, [[0.75, -0.25], [-0.25, -0.25], [-0.25, 0.75], [-0.25, -0.25]])
    names, z = coded([ItemCovariate("length", (1.0, 2.0, 3.0, 6.0)), covariate])
    assert names == ("length", "type=b", "type=c") and np.abs(z.sum(axis=0)).max() < 1e-12
    spec = explained(MODELS["M_A"], names, True)
    assert spec.formula == "resp ~ treat * (length + type=b + type=c) + (1|id) + (treat|item)"
    assert spec.beta_names == ("intercept", "treat", *names, *(f"treat:{name}" for name in names))


def test_verbal_aggression_differs_between_want_and_do(verbagg):
    trial, fits, found = verbagg
    mode = found.alone[0]
    # engine.md, section 10: glmmTMB's .8230 (SE .161), sigma_zeta from .466 to .209
    (contrast,) = mode.contrasts
    assert (mode.names, contrast.name) == (("mode",), "mode=want")
    assert contrast.estimate == pytest.approx(-0.8230, abs=1e-3) and contrast.se == pytest.approx(0.161, abs=5e-4)
    assert mode.sigma_zeta == pytest.approx(0.209, abs=5e-4)
    assert mode.sigma_zeta_without == fits["M_A"].sigma_zeta == pytest.approx(0.466, abs=2e-3)
    assert mode.share == pytest.approx(1 - (mode.sigma_zeta / mode.sigma_zeta_without) ** 2)
    # t with J - m - 2 = 21 degrees of freedom
    assert mode.degrees == 21
    assert (contrast.high - contrast.low) / 2 == pytest.approx(2.0796 * contrast.se, rel=1e-4)
    # the two types' effects differ by delta and average to beta_1, twelve items each
    effects = {kind.label: kind.effect for kind in mode.types}
    assert effects["want"] - effects["do"] == pytest.approx(contrast.estimate, abs=1e-12)
    assert [len(kind.items) for kind in mode.types] == [12, 12]
    assert mode.p_permutation == 1 / 1000 and mode.p < 1e-4
    assert found.together.loglik >= -4044.8893 - 1e-4 and found.together.singular
    assert found.together.degrees == 24 - 4 - 2 and not found.together.types
    assert [one.names[0] for one in found.alone] == ["mode", "behaviour", "situation"]
    assert found == item_types(trial, fits)  # seeded


def test_the_score_of_a_shuffle_is_what_refitting_gains(verbagg):
    trial, fits, _ = verbagg
    statistics = trial.sufficient_statistics(False)
    names, z = coded([trial.item_covariates[1]])
    rng, scores, refitted = np.random.default_rng(4), ShuffledScores(statistics, fits["M_A"]), []
    shuffles = np.array([z[rng.permutation(len(z))] for _ in range(25)])
    for shuffled in shuffles:
        known, both = replace(statistics, item_covariates=shuffled), []
        for moderation in (False, True):
            spec = explained(MODELS["M_A"], names, moderation)
            both.append(fit_statistics(known, spec, fitted=fits, standard_errors=False).loglik)
        refitted.append(2 * (both[1] - both[0]))
    assert np.corrcoef(scores.statistics(shuffles), refitted)[0, 1] > 0.97


def null_trial(k: int, labelled: bool, n_persons: int = 120, n_items: int = 10):
    """A covariate of the items on which easiness depends and effects do not; both are correlated beyond it."""
    rng = np.random.default_rng([17, k])
    z = rng.standard_normal(n_items)
    if labelled:
        covariate = ItemCovariate("z", tuple("abb"[rank % 3] for rank in np.argsort(np.argsort(z)).tolist()))
    else:
        covariate = ItemCovariate("z", tuple(z.tolist()))
    b, zeta = rng.multivariate_normal([0.0, 0.0], [[0.5, 0.2], [0.2, 0.25]], n_items).T
    treat = rng.permutation(n_persons) % 2
    eta = rng.standard_normal(n_persons)[:, None] + b + covariate.columns[:, 0] + treat[:, None] * (0.3 + zeta)
    resp = (rng.random(eta.shape) * (1.0 + np.exp(-eta)) < 1.0).astype(int)
    person, item = np.divmod(np.arange(eta.size), n_items)
    names = tuple(f"q{i}" for i in range(n_items))
    return sufficient_statistics(names, treat, person, item, resp.ravel()), covariate


def null_p(k: int, labelled: bool, permutations: int = 99) -> float:
    statistics, covariate = null_trial(k, labelled)
    main = fit_statistics(statistics, MODELS["M_A"], standard_errors=False)
    return ShuffledScores(statistics, main).p_value(covariate.columns, permutations, k)


@pytest.mark.parametrize("labelled", [False, True])
def test_the_permutation_p_is_uniform_where_types_do_not_matter(labelled):
    found = np.array([null_p(k, labelled) for k in range(150)])
    # standard error of a share p: sqrt(p (1 - p) / 150)
    for level in (0.05, 0.1, 0.25, 0.5, 0.75):
        assert abs((found <= level).mean() - level) < 2.6 * np.sqrt(level * (1 - level) / 150), level


def test_a_number_has_an_effect_at_its_mean_and_an_sd_to_each_side():
    table, _ = simulate_trial(Design(150, 12, 5, sigma_zeta=0.4))
    length = {name: float(k**2) for k, name in enumerate(sorted(table["item"].unique()))}
    found = analyse(table, item_covariates={"length": length}).item_types.alone[0]
    assert [kind.items for kind in found.types] == [()] * 3 and found.contrasts[0].name == "length"
    values = np.array(list(length.values()))
    low, middle, high = (kind.effect for kind in found.types)
    step = found.contrasts[0].estimate * values.std(ddof=1)
    assert middle - low == pytest.approx(step) and high - middle == pytest.approx(step)


def with_column(**columns) -> pd.DataFrame:
    table, _ = simulate_trial(Design(80, 6, 4))
    number = table["item"].str[1:].astype(int)
    return table.assign(**{name: values(number) for name, values in columns.items()})


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (
            {"itemcov_one": lambda k: "same"},
            "Item covariate 'one' is left out: it has the same value for all items ('same').",
        ),
        (
            {"itemcov_a": lambda k: k % 2, "itemcov_b": lambda k: 3 - 2 * (k % 2)},
            "Item covariate 'b' is left out: it is collinear with 'a'.",
        ),
        (
            {"itemcov_own": lambda k: "q" + k.astype(str)},
            "Item covariate 'own' is left out: it has 6 values for 6 items, which leaves nothing to compare.",
        ),
        (
            {"itemcov_gap": lambda k: k.where(k > 1)},
            "Item covariate 'gap' is left out: it is missing for 'i01'.",
        ),
        (
            {"itemcov_row": lambda k: np.arange(len(k))},
            "Item covariate 'row' is left out: it differs between rows of one item ('i01', 'i02', 'i03', ...).",
        ),
    ],
)
def test_a_column_that_cannot_serve_is_told_in_one_sentence(columns, said):
    trial = prepare(with_column(**columns))
    assert said in trial.flags
    assert len(trial.item_covariates) == len(columns) - 1


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        ({"name": ["i01"]}, "has no column 'item'"),
        ({"item": ["i01"]}, "has only a column item"),
        ({"item": ["i01", "i01"], "a": [1, 2]}, "has several rows for item 'i01'"),
        ({"item": ["i01", "i02"], "a": [1, 2]}, "lacks 4 items of table 'demo' ('i03', 'i04', 'i05', ...)"),
        (
            {"item": [f"i0{k}" for k in range(1, 7)], "a": [1] * 6},
            "cannot be used because it has the same value for all items",
        ),
        (
            {"item": [f"i0{k}" for k in range(1, 7)], "a": [1, 2] * 3, "b": [5, 3] * 3},
            "'b' of The table of item covariates cannot be used because it is collinear with 'a': correct or remove it.",
        ),
    ],
)
def test_a_file_that_cannot_serve_is_refused_in_one_sentence(frame, said):
    with pytest.raises(InputError) as refused:
        with_item_covariates(prepare(with_column(), "demo"), pd.DataFrame(frame))
    assert said in str(refused.value) and str(refused.value).count(": ") <= 2


def test_without_item_covariates_nothing_is_added():
    found = analyse(with_column())
    assert found.item_types is None and found.document()["item_types"] is None
    assert not any("types" in section.title for section in sections(found))
    with pytest.raises(InputError, match="no such covariate"):
        found.plot("types")


def test_the_whole_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = with_column(itemcov_kind=lambda k: np.where(k % 2, "odd", '<b>"even"'))
    table.to_csv("trial.csv", index=False)
    table.drop_duplicates("item")[["item", "itemcov_kind"]].to_csv("items.csv", index=False)
    table.drop(columns="itemcov_kind").to_csv("plain.csv", index=False)
    documents = []
    for args in (["trial.csv"], ["plain.csv", "--item-covariates", "items.csv"]):
        done = call("fit", *args, "--json", "out.json", "--html", "out.html", "--force")
        assert done.code == 0, done.err
        assert "Item types: kind" in done.out and "by permutation" in done.out
        documents.append(json.loads((tmp_path / "out.json").read_text())["item_types"])
    assert documents[0] == documents[1]
    (kind,) = documents[0]["alone"]
    assert {one["label"] for one in kind["types"]} == {"odd", '<b>"even"'} and kind["permutations"] == 999
    page = (tmp_path / "out.html").read_text()
    assert "Item types: kind" in page and '<b>"even"' not in page and "&lt;b&gt;" in page
    assert "There is no file 'nothing.csv'" in refusal(call("fit", "plain.csv", "--item-covariates", "nothing.csv"))


def test_ordered_categories_have_item_types(project):
    table = load_bundled("caffeine_tension", project / "data")
    found = analyse(table[table["cluster"].isin(table["cluster"].unique()[:3])], ignore_clusters=True)
    (keyed,) = found.item_types.alone
    assert found.fits["M_A"].formats is not None and keyed.converged
    figure = found.plot("types")
    assert len(figure.data[0].x) == 10 and len(figure.data[1].x) == 2
    effects = {item.name: item.effect for item in found.effects.shown_items}
    assert sorted(figure.data[0].x) == pytest.approx(sorted(effects.values()), rel=1e-3)
