"""Trials read out of core: the same statistics and the same audit as in memory, in DuckDB and in Spark."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from ilhte_lib import InputError
from ilhte_lib.analysis import document
from ilhte_lib.data.large import LARGE_TEXT, LargeTrial, is_large, large_trial
from ilhte_lib.data.prepare import prepare
from ilhte_lib.data.trial import Trial
from ilhte_lib.engine.native import fit_models, statistics_of
from ilhte_lib.inference.effects import effects
from ilhte_lib.inference.infer import infer
from ilhte_lib.model.compress import SufficientStatistics
from ilhte_lib.model.spec import MODELS
from ilhte_report.cli import app
from ilhte_report.words.sentences import cluster_sentence

pytest.importorskip("duckdb", reason="DuckDB is not installed")

ARRAYS = ("count", "score", "trials", "item_total")
SIZES = ("item_names", "n_control_classes", "n_persons", "n_responses")


def draw(seed: int = 1, n_persons: int = 300, n_items: int = 9, missing: float = 0.0) -> pd.DataFrame:
    """A long table with natural-order traps in its item names."""
    rng = np.random.default_rng(seed)
    treat, pretest = np.arange(n_persons) % 2, rng.integers(0, 9, n_persons)
    theta, easiness = 0.2 * pretest + rng.normal(size=n_persons), rng.normal(size=n_items)
    responses = rng.random((n_persons, n_items)) < 1 / (
        1 + np.exp(-theta[:, None] - easiness - 0.3 * treat[:, None] + 1)
    )
    person, item = np.indices(responses.shape).reshape(2, -1)
    table = pd.DataFrame(
        {
            "id": [f"p{k}" for k in person],
            "item": [f"q{k + 1}" for k in item],
            "resp": responses.ravel().astype(int),
            "treat": treat[person],
            "cov_pretest": pretest[person] / 3,
        }
    )
    return table[rng.random(len(table)) >= missing].sample(frac=1.0, random_state=seed)


def write(table: pd.DataFrame, folder: Path, ending: str) -> Path:
    path = folder / f"trial{ending}"
    if ending == ".parquet":
        table.to_parquet(path, index=False)
    else:
        table.to_csv(path, index=False)
    return path


def both(table: pd.DataFrame, folder: Path, ending: str = ".parquet", **options: str) -> tuple[Trial, LargeTrial]:
    return prepare(table, "trial", **options), large_trial(write(table, folder, ending), "trial", **options)


def same_statistics(a: SufficientStatistics, b: SufficientStatistics) -> None:
    for name in SIZES:
        assert getattr(a, name) == getattr(b, name), name
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    if a.covariate is None:
        assert b.covariate is None
    else:
        # the sums behind mean and SD are rounded differently
        np.testing.assert_allclose(a.covariate, b.covariate, rtol=0, atol=1e-12)


def same(memory: Trial, large: LargeTrial) -> None:
    """Statistics of every model, audit, flags and what the results show."""
    same_statistics(statistics_of(memory, MODELS["M_0"]), statistics_of(large, MODELS["M_0"]))
    assert (memory.covariate is None) == (large.covariate is None)
    if memory.covariate is not None:
        same_statistics(statistics_of(memory, MODELS["M_B"]), statistics_of(large, MODELS["M_B"]))
        assert memory.covariate_correlation == pytest.approx(large.covariate_correlation, abs=1e-12)
    assert memory.covariate_name == large.covariate_name
    assert memory.audit_rows() == large.audit_rows()
    assert memory.flags == large.flags
    for name in ("tab", "profile", "item_names", "wave", "n_persons", "n_items", "n_responses"):
        assert getattr(memory, name) == getattr(large, name), name
    arm = memory.treat[memory.person].astype(int)
    answers, ones = large.item_counts()
    for counts, weights in ((answers, None), (ones, memory.resp)):
        cell = arm * memory.n_items + memory.item
        np.testing.assert_array_equal(np.bincount(cell, weights, 2 * memory.n_items).reshape(2, -1), counts)


# -- equal to memory --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_equals_the_preparation_in_memory(tmp_path, ending, missing):
    same(*both(draw(missing=missing), tmp_path, ending))


def test_more_items_than_one_word_holds(tmp_path):
    same(*both(draw(n_persons=40, n_items=130, missing=0.1), tmp_path))


def test_persons_without_covariate_are_left_out_of_two_models(tmp_path):
    table = draw(missing=0.1)
    table.loc[table["id"].isin([f"p{k}" for k in range(0, 300, 7)]), "cov_pretest"] = np.nan
    memory, large = both(table, tmp_path)
    same(memory, large)
    assert large.with_covariate.n_persons < large.n_persons


def test_every_rule_is_counted(tmp_path):
    table = draw(missing=0.05)
    rng = np.random.default_rng(4)
    table = table.astype({"resp": float, "treat": float})
    table["wave"] = rng.choice([0, 1, 2], len(table), p=[0.1, 0.8, 0.1])
    table.loc[table["id"] == "p5", "wave"] = 2
    table.loc[table["id"] == "p6", "resp"] = np.nan
    table.loc[table["id"] == "p7", "treat"] = np.nan
    table.loc[rng.random(len(table)) < 0.02, "resp"] = np.nan
    table.loc[table["item"] == "q3", "resp"] = 1.0
    table.loc[(table["item"] == "q4") & (table["id"] < "p2"), "resp"] = 2.0
    table["id"] = table["id"].mask(rng.random(len(table)) < 0.01, None)
    table["item"] = table["item"].mask(rng.random(len(table)) < 0.01, None)
    alone = pd.DataFrame(
        {"id": "only constant", "item": ["q3"], "resp": 1.0, "treat": 0, "cov_pretest": 1.0, "wave": 1}
    )
    table = pd.concat([table, alone], ignore_index=True)
    for ending in (".parquet", ".csv"):
        memory, large = both(table, tmp_path, ending)
        same(memory, large)
        assert {entry.step for entry in large.audit if entry.rows} >= {
            "identifiers", "wave", "missing response", "missing arm", "items",
        }  # fmt: skip
        assert any(entry.step == "items" and entry.persons >= 1 for entry in large.audit)


def test_a_wave_that_is_asked_for(tmp_path):
    table = draw().assign(wave=lambda t: np.where(t["id"] < "p2", "before", "after"))
    same(*both(table, tmp_path, wave="after"))


def test_the_covariate_is_chosen_by_its_correlation(tmp_path):
    table = draw()
    rng = np.random.default_rng(8)
    values = pd.DataFrame({"id": table["id"].unique()})
    values["cov_noise"] = rng.normal(size=len(values))
    values["cov_constant"] = 3.0
    table = table.merge(values, on="id")
    memory, large = both(table, tmp_path)
    same(memory, large)
    assert large.covariate_name == "cov_pretest"
    same(*both(table, tmp_path, covariate="cov_noise"))


def test_names_of_columns_and_items_are_data(tmp_path):
    table = draw().assign(item=lambda t: t["item"].replace({"q1": "'; DROP TABLE persons; --", "q2": 'a"b`c'}))
    named = table.rename(columns={"id": 'who "is" it', "item": "what; --", "resp": "select"})
    folder = tmp_path / "it's"
    folder.mkdir()
    large = large_trial(write(named, folder, ".csv"), "trial", id='who "is" it', item="what; --", resp="select")
    same(prepare(table, "trial"), large)


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_fits_are_the_same(tmp_path, missing):
    memory, large = both(draw(missing=missing), tmp_path)
    ours, theirs = fit_models(memory), fit_models(large)
    assert list(ours) == list(theirs) == list(MODELS)
    for model in ours:
        assert ours[model].loglik == pytest.approx(theirs[model].loglik, abs=1e-9)
        np.testing.assert_allclose(ours[model].beta, theirs[model].beta, atol=1e-7)
    with pytest.raises(InputError, match="too large for lme4"):
        fit_models(large, engine="pymer4")


@pytest.mark.shared
def test_real_tables(shared, tmp_path):
    for tab in ("mdat_malawi", "thp_pakistan_schoolquality7y", "mturk_crosswise", "verbagg_gender"):
        table = pd.read_csv(shared / "data" / "tables" / f"{tab}.csv.gz", dtype={"id": str, "item": str})
        if "cluster" in table:  # out of core each person must have one
            table = table.dropna(subset=["cluster"])
        same(prepare(table, "trial"), large_trial(write(table, tmp_path, ".parquet"), "trial"))


# -- large ------------------------------------------------------------------------------------------------------------


def test_clusters_are_in_the_models_out_of_core_too(tmp_path):
    table = draw()
    assert not large_trial(write(table, tmp_path, ".parquet"), "trial").clustered
    clustered = table.assign(cluster=table["id"].str[-1])
    path = write(clustered, tmp_path, ".parquet")
    trial = large_trial(path, "trial")
    same(prepare(clustered, "trial"), trial)
    assert trial.clusters_modelled and trial.n_clusters == clustered["cluster"].nunique()
    fits = fit_models(trial)
    found = infer(trial, fits)
    record = document(trial, fits, effects(trial, fits), found)
    assert record["inference"]["clusters"]["count"] == trial.n_clusters
    assert record["provenance"]["clusters"] == {"column": "cluster", "term": "(1|cluster)"}
    assert not record["inference"]["only_model_standard_errors"] and not cluster_sentence(found)
    ignored = large_trial(path, "trial", ignore_clusters=True)
    told = infer(ignored, fit_models(ignored))
    assert told.model_only and "too narrow" in cluster_sentence(told)
    for broken, says in (
        (clustered.assign(cluster=clustered["id"]), "holds a single person"),
        (clustered.assign(cluster=clustered["item"].str[-1]), "more than one value of 'cluster'"),
        (clustered.assign(cluster=clustered["cluster"].where(clustered["cluster"] != "1")), "no 'cluster'"),
    ):
        with pytest.raises(InputError, match=says):
            large_trial(write(broken, tmp_path, ".csv"), "trial")


def test_python_sees_classes_and_never_responses(tmp_path):
    from ilhte_lib.data.relations import DuckDB

    table = draw(n_persons=4000, n_items=8)
    fetched = []

    class Watched(DuckDB):
        def fetch(self, sql):
            result = super().fetch(sql)
            fetched.append(len(next(iter(result.values()))))
            return result

    with Watched(memory="100MB", threads=1) as relations:
        large = large_trial(write(table.drop(columns="cov_pretest"), tmp_path, ".parquet"), relations=relations)
    assert large.n_responses == 32_000 and large.statistics.n_classes <= 18
    assert max(fetched) <= 4 * 8 * 2


def test_what_is_large(tmp_path, monkeypatch):
    parquet, text = write(draw(), tmp_path, ".parquet"), write(draw(), tmp_path, ".csv")
    assert not is_large(parquet) and not is_large(text)
    monkeypatch.setattr("ilhte_lib.data.large.LARGE_ROWS", 2000)
    assert is_large(parquet)
    with open(text, "rb+") as stream:
        stream.truncate(LARGE_TEXT + 1)
    assert is_large(text)
    parquet.write_bytes(b"no table")
    assert not is_large(parquet)


@pytest.mark.parametrize(("ending", "rest"), [(".parquet", ()), (".csv", ("--quick",))])
def test_the_command_takes_a_large_file_out_of_core(tmp_path, monkeypatch, ending, rest):
    def results(*options: str) -> tuple[dict, str]:
        out = tmp_path / "out.json"
        done = CliRunner().invoke(app, ["fit", str(path), "--resp", "right", "--json", str(out), *options])
        assert done.exit_code == 0, done.output
        return json.loads(out.read_text(encoding="utf-8")), done.output

    path = write(draw(missing=0.1).rename(columns={"resp": "right"}), tmp_path, ending)
    memory, said = results(*rest)
    assert "out of core" not in said
    monkeypatch.setattr("ilhte_lib.data.large.LARGE_ROWS", 2000)
    monkeypatch.setattr("ilhte_lib.data.large.LARGE_TEXT", 2000)
    with monkeypatch.context() as without_memory:
        without_memory.setattr("ilhte_report.intake.preparation.load", None)
        large, said = results(*rest)
    assert re.search(r"Read out of core in [0-9.]+ s\.", said)
    for part in ("tab", "audit", "flags"):
        assert large[part] == memory[part], part
    for ours, theirs in zip(large["items"], memory["items"], strict=True):
        assert ours == pytest.approx(theirs, abs=1e-6) and ours["n_ctrl"] > 0
    assert large["models"]["M_C"]["loglik"] == pytest.approx(memory["models"]["M_C"]["loglik"], abs=1e-8)
    # what only memory gives is still given
    assert "out of core" not in results("--max-persons", "100", "--quick")[1]


# -- refused in a sentence --------------------------------------------------------------------------------------------


def broken(what: str) -> pd.DataFrame:
    table = draw()
    first = table["id"] == "p0"
    if what == "repeated":
        return pd.concat([table, table[first].head(2)])
    if what == "arms":
        return table.assign(treat=table["treat"].mask(first & (table["item"] == "q2"), 1 - table["treat"]))
    if what == "covariate":
        return table.assign(cov_pretest=table["cov_pretest"].mask(first & (table["item"] == "q2"), 7.0))
    if what == "text":
        return table.assign(resp=table["resp"].astype(object).mask(first, "yes").astype(str))
    if what == "treat":
        return table.assign(treat=table["treat"] + 1)
    if what == "one arm":
        return table[table["treat"] == 0]
    if what == "odd":
        return table.assign(resp=table["resp"] + 1)
    if what == "spaces":
        return table.assign(id=table["id"].mask(table["item"] == "q2", table["id"] + " "))
    if what == "column":
        return table.drop(columns="resp")
    if what == "empty":
        return table.head(0)
    return table[table["item"].isin(["q1", "q2"])]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("repeated", r"repeated rows of one person and item for 1 person \(id 'p0'\)"),
        ("arms", r"treat of table 'trial' is not constant within a person for 1 person \(id 'p0'\)"),
        ("covariate", r"'cov_pretest' varies within 1 person of table 'trial' \(id 'p0'\)"),
        (
            "text",
            r"resp of table 'trial' must hold numbers, but 9 rows hold 'yes' \(id 'p0' item 'q1'; id 'p0' item 'q2'; id",
        ),
        ("treat", r"treat of table 'trial' must be 0 \(control\) or 1 \(treated\), but \d+ rows hold '2'"),
        ("one arm", r"nobody in the treated \(treat = 1\) arm"),
        ("odd", r"9 binary items of table 'trial' are not coded 0/1"),
        ("spaces", r"'p0' and 'p0 '.*spelled in two ways"),
        ("column", r"has no column 'resp'"),
        ("empty", r"has a header but no rows"),
        ("few", r"2 binary items, but at least 3 are needed"),
    ],
)
@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_refusals(tmp_path, what, message, ending):
    with pytest.raises(InputError, match=message):
        large_trial(write(broken(what), tmp_path, ending), "trial")


def test_a_damaged_file_is_one_sentence(tmp_path):
    path = tmp_path / "trial.parquet"
    path.write_bytes(b"PAR1 this is no table PAR1")
    with pytest.raises(InputError, match="damaged or cut-off Parquet"):
        large_trial(path)


def test_a_row_too_long_or_too_short_is_found(tmp_path):
    sound = "id,item,resp,treat\n" + "".join(f"p{i},i{j},1,0\n" for i in range(500) for j in range(5))
    for row, count in (("p9,i1,1,0,7", 5), ("p9,i1,1", 3)):
        path = tmp_path / f"with_{count}.csv"
        path.write_text(f"{sound}{row}\n" + "p,i,0,1\n" * 500)
        with pytest.raises(InputError, match=f"has {count} fields in line 2502 but 4 in its header"):
            large_trial(path)


def test_a_path_is_no_pattern(tmp_path):
    for name in ("a1.csv", "a2.csv", "a*.csv"):
        (tmp_path / name).write_text("id,item,resp,treat\np,i,0,1\n")
    with pytest.raises(InputError, match="as a pattern"):
        large_trial(tmp_path / "a*.csv")


# -- the same statements on Spark -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spark():
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java, which is not here")
    sql = pytest.importorskip("pyspark.sql", reason="PySpark is not installed")
    builder = sql.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    for option in ("spark.driver.host", "spark.driver.bindAddress"):
        builder = builder.config(option, "127.0.0.1")
    session = builder.config("spark.sql.shuffle.partitions", "1").config("spark.default.parallelism", "1").getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


def test_spark_gives_the_same_to_the_last_bit(spark, tmp_path):
    from ilhte_lib.data.relations import Spark

    table = draw(missing=0.1)
    table.loc[table["id"].isin([f"p{k}" for k in range(0, 300, 7)]), "cov_pretest"] = np.nan
    path = write(table, tmp_path, ".parquet")
    here, there = large_trial(path, "trial"), large_trial(path, "trial", relations=Spark(spark))
    for a, b in ((here.statistics, there.statistics), (here.with_covariate, there.with_covariate)):
        for name in (*SIZES, *ARRAYS, "covariate"):
            x, y = getattr(a, name), getattr(b, name)
            assert x.tobytes() == y.tobytes() if isinstance(x, np.ndarray) else x == y, name
    assert here.audit == there.audit and here.flags == there.flags


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_answers_of_nobody_are_no_categories(tmp_path, ending):
    """A value that only rows without a person hold."""
    rng = np.random.default_rng(2)
    table = pd.DataFrame(
        {
            "id": [f"p{k}" for k in np.repeat(np.arange(40), 4)],
            "item": np.tile([f"q{k}" for k in range(4)], 40),
            "resp": rng.choice([0, 1, 3], 160),
            "treat": np.repeat(np.arange(40) % 2, 4),
        }
    )
    nobody = pd.DataFrame({"id": [None, None], "item": ["q0", "q1"], "resp": [2, 2], "treat": [0, 1]})
    path = tmp_path / f"t{ending}"
    both = pd.concat([table, nobody], ignore_index=True)
    both.to_csv(path, index=False) if ending == ".csv" else both.to_parquet(path)
    trial = large_trial(path)
    assert trial.formats.highest.tolist() == [2, 2, 2, 2] and trial.categories[0] == ("0", "1", "3")
    assert trial.item_counts()[1].tolist() == prepare(both).item_counts()[1].tolist()
