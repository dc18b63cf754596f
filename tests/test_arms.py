"""Three arms or more: one analysis an arm against a shared control, corrected for their number, on one page."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from command_line import call, refusal

from ilhte_lib.analysis import analyse
from ilhte_lib.data.design import prepare_design
from ilhte_lib.data.options import DataOptions
from ilhte_lib.data.read import shaped
from ilhte_lib.errors import InputError
from ilhte_lib.inference.multiplicity import holm
from ilhte_report.pages.sections import sections

N, J = 180, 6
LABELS = ("usual", "letters", "<b>visits", "letters 2")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(6)
    arm = np.arange(N) % 4
    eta = rng.standard_normal(N)[:, None] + np.linspace(-1, 1, J) + np.array([0.0, 1.2, 0.1, -0.3])[arm][:, None]
    resp = (rng.random(eta.shape) * (1 + np.exp(-eta)) < 1).astype(int)
    person, item = np.divmod(np.arange(N * J), J)
    names = np.array([f"q{k}" for k in range(J)])
    return pd.DataFrame(
        {"id": person, "item": names[item], "resp": resp.ravel(), "treat": np.array(LABELS)[arm][person]}
    )


@pytest.fixture(scope="module")
def found(table):
    return analyse(table, control="usual", tab="trial")


def test_each_arm_is_what_an_analysis_of_it_alone_finds(table, found):
    assert list(found.of_arms) == ["<b>visits", "letters", "letters 2"]
    for arm, one in found.of_arms.items():
        both = table[table["treat"].isin(["usual", arm])]
        alone = analyse(both.assign(treat=(both["treat"] == arm).astype(int)))
        assert one.effects.average == pytest.approx(alone.effects.average, abs=1e-9)
        assert one.fits["M_A"].loglik == pytest.approx(alone.fits["M_A"].loglik, abs=1e-9)
        assert one.trial.tab == f"trial / {arm}"


def test_the_arms_side_by_side_are_corrected_for_their_number(found):
    rows = found.arms.rows
    assert found.arms.control == "usual" and found.arms.correction == "Holm"
    assert [row.n_control for row in rows] == [45] * 3 and [row.n_treated for row in rows] == [45] * 3
    for row, one in zip(rows, found.of_arms.values(), strict=True):
        z = one.effects.average / one.effects.average_se
        assert row.p_average == pytest.approx(2 * 0.5 * (1 + _erf(-abs(z) / np.sqrt(2))), abs=1e-9)
        assert row.p_equal == one.inference.test.mixture
    assert [row.p_average_holm for row in rows] == pytest.approx(holm(np.array([row.p_average for row in rows])))
    assert [row.p_equal_holm for row in rows] == pytest.approx(holm(np.array([row.p_equal for row in rows])))
    significant = [row.arm for row in rows if row.p_average_holm < 0.05]
    assert significant == ["letters"]


def _erf(x: float) -> float:
    from math import erf

    return erf(x)


def test_one_page_has_all_arms_and_tells_of_the_shared_control(found):
    shown = sections(found)
    titles = [section.title for section in shown]
    assert titles[0] == "Arms" and titles[-1] == "The data" and len(set(titles)) == len(titles)
    assert "the same 45 persons serve as the control for each" in shown[0].sentences[0]
    assert "'letters'" in shown[0].sentences[1] and "Holm" in shown[0].sentences[1]
    for arm in found.of_arms:
        assert f"{arm}: What the trial shows" in titles and f"{arm}: Items" in titles
    figure = found.plot("arms")
    assert list(figure.data[1].x) == pytest.approx([row.average.estimate for row in found.arms.rows], rel=1e-3)
    assert len(figure.data[0].x) == 3 * J and "&lt;b&gt;visits" in figure.layout.yaxis.ticktext


def test_some_arms_are_chosen(table, found):
    one = analyse(table, control="usual", arms="letters")
    assert one.arms is None and one.effects.average == found.of_arms["letters"].effects.average
    two = analyse(table, control="usual", arms=["letters 2", "letters"])
    assert list(two.of_arms) == ["letters", "letters 2"]
    (fewer, _), (more, _) = ((row.p_average_holm, row.arm) for row in two.arms.rows)
    assert fewer <= found.arms.rows[1].p_average_holm and more >= 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"control": "usual", "arms": "posters"},
            "'posters' is not an arm of table 'table': name one of '<b>visits', 'letters'",
        ),
        ({"control": "usual", "arms": "usual"}, "'usual' is the control of table 'table'"),
        ({"control": "none"}, "has no value 'none'"),
    ],
)
def test_arms_that_are_not_there_are_told(table, options, said):
    with pytest.raises(InputError) as refused:
        analyse(table, **options)
    assert said in str(refused.value)


def test_what_cannot_be_compared_is_one_sentence(table):
    moved = table.assign(treat=table["treat"].mask((table["id"] == 1) & (table["item"] == "q0"), "letters 2"))
    with pytest.raises(InputError, match="not constant within a person for 1 person"):
        analyse(moved, control="usual")
    two = table[table["treat"].isin(["usual", "letters"])]
    with pytest.raises(InputError, match="--arms is for a table of three or more arms"):
        analyse(two, control="usual", arms="letters")
    with pytest.raises(InputError, match="name the value that means control with --control"):
        analyse(table.assign(treat=table["treat"].map({label: k for k, label in enumerate(LABELS)})))


def test_arms_with_waves_and_item_types(table):
    both = pd.concat([table.assign(wave=number) for number in (0, 1)])
    both["itemcov_kind"] = np.where(both["item"] < "q3", "first", "last")
    trial = prepare_design(shaped(both, control="usual"), "trial", DataOptions(pretest_from_wave="0"))
    assert [arm for arm, _ in trial.arms] == ["<b>visits", "letters", "letters 2"]
    for _, of_arm in trial.arms:
        assert of_arm.covariate_name == "score at wave 0" and of_arm.item_covariates[0].name == "kind"
        assert [(wave.name, wave.before) for wave in of_arm.other_waves] == [("0", True)]


def labelled(table: pd.DataFrame, *labels: str) -> pd.DataFrame:
    both = table[table["treat"].isin(["usual", "letters"])]
    return both.assign(
        treat=(both["treat"] == "letters").astype(int), region=[labels[k // 4 % len(labels)] for k in both["id"]]
    )


def test_labels_of_a_covariate_are_contrasts(table):
    two = analyse(labelled(table, "north", "south"), covariate="region")
    numbers = labelled(table, "north", "south").assign(region=lambda t: (t["region"] == "south").astype(int))
    same = analyse(numbers, covariate="region")
    assert two.trial.covariate_name == "region=south"
    assert two.fits["M_C"].loglik == pytest.approx(same.fits["M_C"].loglik, abs=1e-9)
    three = labelled(table, "north", "south", "west")
    with pytest.raises(InputError, match="holds 3 labels .*: name the one to compare with the others"):
        analyse(three, covariate="region")
    assert analyse(three, covariate="region", contrast="west").trial.covariate_name == "region=west"
    with pytest.raises(InputError, match="has no label 'east'"):
        analyse(three, covariate="region", contrast="east")
    with pytest.raises(InputError, match="--contrast needs the column"):
        analyse(three, contrast="west")


def test_the_whole_path(table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table.to_csv("trial.csv", index=False)
    pd.DataFrame({"item": [f"q{k}" for k in range(J)], "kind": ["a", "b"] * (J // 2)}).to_csv("items.csv", index=False)
    options = ("--control", "usual", "--item-covariates", "items.csv")
    done = call("fit", "trial.csv", *options, "--json", "out.json", "--html", "out.html")
    assert done.code == 0, done.err
    assert "3 arms against one control" in done.out and "letters 2: Item types: kind" in done.out
    document = json.loads((tmp_path / "out.json").read_text())
    assert list(document["arms"]["documents"]) == ["<b>visits", "letters", "letters 2"]
    assert document["tab"] == "trial" and document["arms"]["rows"][1]["arm"] == "letters"
    for arm, own in document["arms"]["documents"].items():
        assert own["tab"] == own["summary"]["tab"] == f"trial / {arm}" and own["arms"] is None
        assert own["item_types"]["alone"][0]["names"] == ["kind"]
    page = (tmp_path / "out.html").read_text()
    assert "&lt;b&gt;visits: Estimates" in page and "<b>visits" not in page
    seen = call("check", "trial.csv", "--control", "usual", "--arms", "letters,letters 2")
    assert seen.code == 0 and "trial / letters 2" in seen.out and "visits" not in seen.out
    told = refusal(call("who-benefits", "trial.csv", "--control", "usual"))
    assert "3 arms beside control 'usual'" in told


def test_a_run_has_a_row_an_arm_and_one_page(table, tmp_path, monkeypatch):
    from ilhte_report.pages.results import page_addresses, read_run

    monkeypatch.chdir(tmp_path)
    table.to_csv("trial.csv", index=False)
    done = call("run", "trial.csv", "--control", "usual", "--bootstrap", "0", "--out", "results")
    assert done.code == 0, done.err
    run = read_run(tmp_path / "results")
    arms = ["trial / <b>visits", "trial / letters", "trial / letters 2"]
    assert list(run.summary["tab"]) == arms and list(run.items.groupby("tab").size()) == [J] * 3
    assert set(page_addresses(run).values()) == {"tables/trial.html"}


def test_a_paper_gets_the_arms_side_by_side_and_a_folder_of_each(found, tmp_path):
    pytest.importorskip("great_tables", reason="great_tables is not installed (extra 'papers')")
    pypandoc = pytest.importorskip("pypandoc", reason="pypandoc is not installed (extra 'papers')")
    found.to_tables(tmp_path / "tables")
    folders = sorted(path.name for path in (tmp_path / "tables").iterdir() if path.is_dir())
    assert folders == ["b-visits", "letters", "letters-2"]
    for folder in folders:
        assert (tmp_path / "tables" / folder / "items.docx").is_file()
    word = pypandoc.convert_file(str(tmp_path / "tables" / "arms.docx"), "plain", extra_args=["--wrap=none"])
    numbers = pd.read_csv(tmp_path / "tables" / "arms.csv").set_index("arm")
    for row in found.arms.rows:
        assert f"{row.arm} ({row.n_treated})" in word and f"{row.arm} ({row.n_treated}" in found.paragraph
        assert numbers.loc[row.arm, "p_average_holm"] == pytest.approx(row.p_average_holm, rel=1e-12)
        assert numbers.loc[row.arm, "sigma_zeta_high"] == pytest.approx(row.spread.high, rel=1e-12)
    assert "compared with usual" in found.methods and "Holm's method [@holm1979simple]" in found.methods
    with pytest.raises(InputError, match="use the table of one of them"):
        found.table("items")
    assert "letters 2" in found.table("arms").as_raw_html()
