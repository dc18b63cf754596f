"""Any size: cells recomputed in place of kept, folders and addresses, and the same counts on clusters of Dask and Spark."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from run_cases import ilhte, small_project, write_table
from test_large import draw
from typer.testing import CliRunner

from ilhte_lib import InputError
from ilhte_lib.data import large
from ilhte_lib.data.large import large_trial
from ilhte_lib.data.prepare import prepare
from ilhte_lib.data.read import read_table
from ilhte_lib.engine import modes, thinned
from ilhte_lib.engine.native import fit_models, fit_statistics
from ilhte_lib.model.compress import SufficientStatistics, classes
from ilhte_lib.model.packed import PackedTrials
from ilhte_lib.model.spec import MODELS
from ilhte_report.cli import app
from ilhte_report.intake.source import source, sources

pytest.importorskip("duckdb", reason="DuckDB is not installed")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """1,200 persons, a fifth of the responses and some covariates missing."""
    made = draw(n_persons=1200, n_items=12, missing=0.2)
    made.loc[made["id"].isin([f"p{k}" for k in range(0, 300, 7)]), "cov_pretest"] = np.nan
    return made


def same_bits(a: SufficientStatistics, b: SufficientStatistics) -> None:
    for field in fields(a):
        x, y = getattr(a, field.name), getattr(b, field.name)
        assert x.tobytes() == y.tobytes() if isinstance(x, np.ndarray) else x == y, field.name


# -- cells that are not kept ------------------------------------------------------------------------------------------


def packed(trials: np.ndarray) -> PackedTrials:
    return PackedTrials(np.packbits(trials.astype(bool), axis=1), trials.shape[1])


def test_packed_answers_multiply_as_numbers_do():
    rng = np.random.default_rng(1)
    numbers = (rng.random((9000, 13)) < 0.7).astype(float)
    bits = packed(numbers)
    left, right = rng.random((2, 9000)), rng.random((13, 3))
    np.testing.assert_allclose(bits @ right, numbers @ right, rtol=1e-13)
    np.testing.assert_allclose(left @ bits, left @ numbers, rtol=1e-12)
    np.testing.assert_array_equal(bits.sum(axis=1), numbers.sum(axis=1))
    assert (bits.shape, bits.max(), bits.complete) == (numbers.shape, 1.0, False)
    assert packed(np.ones((3, 13))).complete


@pytest.mark.parametrize("model", ["M_A", "M_C"])
def test_recomputed_cells_give_the_same_fit(table, model, monkeypatch):
    """Of packed answers too, begun at a few classes."""
    statistics = prepare(table, "t").sufficient_statistics(model == "M_C")
    kept = fit_statistics(statistics, MODELS[model])
    for module in (modes, thinned):
        monkeypatch.setattr(module, "KEPT_CELLS", 1000)
    monkeypatch.setattr(thinned, "FEW_CELLS", 6000)
    again = fit_statistics(replace(statistics, trials=packed(statistics.trials)), MODELS[model])
    assert again.converged and again.loglik == pytest.approx(kept.loglik, abs=1e-9)
    np.testing.assert_allclose(again.psi, kept.psi, rtol=0, atol=2e-7)
    np.testing.assert_allclose(again.se, kept.se, rtol=1e-4)
    np.testing.assert_allclose(again.ranef, kept.ranef, rtol=0, atol=2e-7)


def test_few_evaluations_are_needed_from_there(monkeypatch):
    """20,000 persons, each with answers of their own, begin at 3,000 of them."""
    rng = np.random.default_rng(3)
    treat, easiness, effect = np.arange(20_000) % 2, rng.normal(size=20), 0.3 * rng.normal(size=20)
    eta = rng.normal(size=(20_000, 1)) + easiness + treat[:, None] * effect
    answered = rng.random(eta.shape) < 0.9
    right = answered & (rng.random(eta.shape) < 1 / (1 + np.exp(-eta)))
    total = np.array([right[treat == arm].sum(axis=0) for arm in (0, 1)], float)
    names = tuple(f"q{k}" for k in range(20))
    trials = PackedTrials(np.packbits(answered, axis=1), 20)
    statistics = classes(names, treat, right.sum(axis=1), trials, None, total, int(answered.sum()))
    for module in (modes, thinned):
        monkeypatch.setattr(module, "KEPT_CELLS", 1000)
    monkeypatch.setattr(thinned, "FEW_CELLS", 60_000)
    fit = fit_statistics(statistics, MODELS["M_A"])
    assert fit.converged and fit.evaluations <= 6 and fit.passes <= 22


def test_the_few_stand_for_all(table):
    statistics = prepare(table, "t").sufficient_statistics(False)
    few = thinned.thinned(replace(statistics, trials=packed(statistics.trials)))
    cut, whole = few.n_control_classes, statistics.n_control_classes
    for mine, theirs in ((slice(0, cut), slice(0, whole)), (slice(cut, None), slice(whole, None))):
        assert few.count[mine].sum() == pytest.approx(statistics.count[theirs].sum(), rel=1e-12)
    of_persons = [few.count[:cut] @ few.score[:cut], few.count[cut:] @ few.score[cut:]]
    np.testing.assert_allclose(of_persons, few.item_total.sum(axis=1), rtol=1e-12)


def test_ordered_categories_recomputed(monkeypatch):
    rng = np.random.default_rng(5)
    made = draw(n_persons=300, n_items=5, missing=0.1)
    made["resp"] = made["resp"] + (rng.random(len(made)) < 0.4)
    statistics = prepare(made, "t").sufficient_statistics(False)
    kept = fit_statistics(statistics, MODELS["M_A"])
    monkeypatch.setattr(modes, "KEPT_CELLS", 100)
    again = fit_statistics(statistics, MODELS["M_A"])
    assert again.loglik == pytest.approx(kept.loglik, abs=1e-9)
    np.testing.assert_allclose(again.se, kept.se, rtol=1e-4)


def test_there_is_no_cap(table, tmp_path, monkeypatch):
    """A table whose answers are packed has the same classes; the report says which intervals are Wald's."""
    path = tmp_path / "t.parquet"
    table.to_parquet(path, index=False)
    kept = large_trial(path).statistics
    monkeypatch.setattr(large, "KEPT_CELLS", 1000)
    found = large_trial(path).statistics
    assert isinstance(found.trials, PackedTrials)
    same_bits(replace(found, trials=found.trials @ np.eye(12)), kept)
    done = CliRunner().invoke(app, ["fit", str(path), "--engine-data", "duckdb", "--full"])
    assert done.exit_code == 0, done.output
    assert re.search(r"classes\s+of\s+persons\s+with\s+different\s+answered\s+items", done.output)


# -- folders and addresses --------------------------------------------------------------------------------------------


def test_a_partitioned_folder_is_one_table(table, tmp_path):
    folder = tmp_path / "tables" / "trial"
    table.to_parquet(folder, partition_cols=["treat"], index=False)
    (folder / "_SUCCESS").touch()
    file = tmp_path / "t.parquet"
    table.to_parquet(file, index=False)
    same_bits(large_trial(folder).statistics, large_trial(file).statistics)
    in_memory = prepare(read_table(folder), "trial").sufficient_statistics(True)
    same_bits(in_memory, prepare(table, "trial").sufficient_statistics(True))
    assert source(str(folder)).tab == "trial"
    assert [found.path for found in sources([str(tmp_path / "tables")])] == [folder]
    for command in (["check"], ["who-benefits"], ["who-benefits", "--engine-data", "duckdb"]):
        done = CliRunner().invoke(app, [command[0], str(folder), *command[1:]])
        assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["verbagg_gender", "--engine-data", "spark"], "is a bundled table, which is read into memory"),
        (["s3://bucket/t.parquet", "--max-persons", "5"], "--max-persons needs the table in memory"),
        (["s3://bucket/t.parquet", "--scheduler", "tcp://x:1"], "DuckDB counts in this process and has no --scheduler"),
    ],
)
def test_what_does_not_go_together(options, said):
    done = CliRunner().invoke(app, ["fit", *options])
    assert isinstance(done.exception, InputError) and said in str(done.exception)


def test_a_run_has_a_partitioned_folder_and_no_address(tmp_path):
    """In a kernel DuckDB cannot draw a bar, and may not be told to draw none; what an address holds has no digest."""
    project = small_project(tmp_path)
    one = pd.read_csv(write_table(tmp_path / "one.csv", 3))
    one.to_parquet(project / "parts", partition_cols=["treat"])
    done = ilhte("run", "parts", "s3://bucket/table", "--bootstrap", 0, "--out", "run", cwd=project)
    assert "parts: fitted" in done.stdout + done.stderr
    assert "s3://bucket/table is an address, but a run identifies tables by the checksums of their files" in " ".join(
        (done.stdout + done.stderr).split()
    )


def in_parts(folder: Path, table: pd.DataFrame, second: Callable[[pd.Series], pd.Series]) -> Path:
    """A folder of two halves, the first with whole numbers as responses, the second with ``second`` of them."""
    folder.mkdir()
    half = table["id"].isin(table["id"].unique()[:600])
    table[half].to_parquet(folder / "part-0.parquet", index=False)
    table[~half].assign(resp=second(table[~half]["resp"])).to_parquet(folder / "part-1.parquet", index=False)
    return folder


@contextmanager
def two_workers() -> Iterator[object]:
    """Dask's relations on two workers."""
    distributed = pytest.importorskip("distributed", reason="Dask is not installed (the extra `cluster`)")
    from ilhte_lib.data.parts import Dask

    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs="CRITICAL"
        ) as two,
        distributed.Client(two) as client,
    ):
        yield Dask(client)


def all_refuse(folder: Path, there: object, said: str, in_memory: Callable[[Path], object] = read_table) -> None:
    """DuckDB, Dask's workers ``there`` and the reader into memory refuse the folder in a sentence."""
    for reader in (large_trial, lambda folder: large_trial(folder, relations=there), in_memory):
        with pytest.raises(InputError, match=said):
            reader(folder)


def test_parts_with_other_types_of_one_column(table, tmp_path):
    """DuckDB and Arrow give all parts the types of the first: a half would be rounded to a response that nobody gave."""
    table = table.drop(columns="cov_pretest")
    fractions = in_parts(tmp_path / "fractions", table, lambda resp: resp.astype(float))
    same_bits(
        large_trial(fractions).statistics,
        large_trial(in_parts(tmp_path / "whole", table, lambda resp: resp)).statistics,
    )
    same_bits(
        prepare(read_table(fractions), "t").sufficient_statistics(False),
        prepare(table, "t").sufficient_statistics(False),
    )
    halves = in_parts(tmp_path / "halves", table, lambda resp: resp * 0.5)
    with two_workers() as there:
        same_bits(large_trial(fractions).statistics, large_trial(fractions, relations=there).statistics)
        all_refuse(halves, there, "0.5", lambda folder: prepare(read_table(folder), "t"))
        all_refuse(in_parts(tmp_path / "words", table, lambda resp: resp.map({0: "no", 1: "yes"})), there, "resp")
        (halves / "part-2.parquet").write_bytes(b"no Parquet")
        all_refuse(halves, there, "Parquet|damaged")


@pytest.mark.parametrize(
    ("names", "tables"),
    [
        (["part-0.parquet", "part-1.parquet"], ["trial"]),  # PyArrow
        (["part.0.parquet", "part.10.parquet"], ["trial"]),  # Dask
        (
            ["part-00000-4f1c-c000.snappy.parquet", "_SUCCESS", ".part-00000-4f1c-c000.snappy.parquet.crc"],
            ["trial"],
        ),  # Spark
        (["part-0.parquet", "school.parquet"], ["part-0", "school"]),
        (["parts.parquet", "partial_1.parquet"], ["partial_1", "parts"]),
    ],
)
def test_parts_of_one_table_are_one_table(names, tables, tmp_path):
    (tmp_path / "trial").mkdir()
    for name in names:
        (tmp_path / "trial" / name).touch()
    assert [found.tab for found in sources([str(tmp_path / "trial")])] == tables


def test_what_belongs_to_a_folder(table, tmp_path):
    """Linked folders and upper-case endings do; what is hidden does not. A link to the folder itself leads nowhere."""
    table = table.drop(columns="cov_pretest")
    half = table["id"].isin(table["id"].unique()[:600])
    folder, elsewhere = tmp_path / "folder.parquet", tmp_path / "elsewhere"
    for path in (folder / "_temporary", folder / ".old", elsewhere):
        path.mkdir(parents=True)
        table.to_parquet(path / "PART-1.PARQUET" if path == elsewhere else path / "part-9.parquet", index=False)
    table[half].to_parquet(folder / "part-0.parquet", index=False)
    table[~half].to_parquet(elsewhere / "PART-1.PARQUET", index=False)
    (folder / "more").symlink_to(elsewhere)
    (folder / "again").symlink_to(folder)
    expected = prepare(table, "t").sufficient_statistics(False)
    same_bits(prepare(read_table(folder), "t").sufficient_statistics(False), expected)
    with two_workers() as there:
        same_bits(large_trial(folder).statistics, large_trial(folder, relations=there).statistics)
    assert large_trial(folder).statistics.n_responses == expected.n_responses


def test_a_column_in_files_and_in_names_of_folders(table, tmp_path):
    """DuckDB would take the folder's and Arrow cannot unite them: the arms stood reversed."""
    folder = tmp_path / "contrary"
    for arm, rows in table.groupby("treat"):
        (folder / f"treat={1 - arm}").mkdir(parents=True)
        rows.to_parquet(folder / f"treat={1 - arm}" / "part-0.parquet", index=False)
    with two_workers() as there:
        all_refuse(folder, there, "Column treat of 'contrary' is both in its files and in the names")
        # one file is asked for, whose own column counts
        alone = folder / "treat=1" / "part-0.parquet"
        assert read_table(alone)["treat"].unique().tolist() == [0]
        for reader in (lambda: large_trial(alone), lambda: large_trial(alone, relations=there)):
            with pytest.raises(InputError, match="nobody in the treat"):
                reader()


def test_a_member_that_is_no_table_stops_no_other(table, tmp_path):
    for name in ("empty.parquet", "_temporary"):
        (tmp_path / "tables" / name).mkdir(parents=True)
    table.to_parquet(tmp_path / "tables" / "_temporary" / "part-0.parquet", index=False)
    table.to_parquet(tmp_path / "tables" / "good.parquet", index=False)
    empty, good = sources([str(tmp_path / "tables")])
    assert "folder without Parquet files" in empty.trouble and good.trouble is None


def test_an_empty_folder_is_no_table(tmp_path):
    with pytest.raises(InputError, match="is a folder without Parquet files"):
        source(str(tmp_path))


# -- clusters ---------------------------------------------------------------------------------------------------------


def test_dask_counts_the_same_and_a_worker_may_die(table, tmp_path, monkeypatch):
    """Two workers, one killed while both count; rows of a person lie in many parts."""
    distributed = pytest.importorskip("distributed", reason="Dask is not installed (the extra `cluster`)")
    from ilhte_lib.data import parts

    path = tmp_path / "t.parquet"
    table.to_parquet(path, index=False, row_group_size=4000)
    monkeypatch.setattr(parts, "PART_ROWS", 4000)
    here = large_trial(path)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs="CRITICAL"
        ) as two,
        distributed.Client(two) as client,
    ):
        relations, killed = parts.Dask(client), []
        gather = relations._gather_persons

        def kill_one(sql: parts.Query) -> None:
            gather(sql)
            worker = next(iter(client.scheduler_info()["workers"]))
            os.kill(client.run(os.getpid, workers=[worker])[worker], signal.SIGKILL)
            killed.append(worker)

        monkeypatch.setattr(relations, "_gather_persons", kill_one)
        there = large_trial(path, relations=relations)
    assert killed
    same_bits(here.statistics, there.statistics)
    same_bits(here.with_covariate, there.with_covariate)
    assert (here.audit, here.flags) == (there.audit, there.flags)
    assert here.covariate_correlation == pytest.approx(there.covariate_correlation, abs=1e-12)


def test_spark_counts_the_same_and_an_executor_may_die(table, tmp_path, monkeypatch):
    """Spark's local-cluster mode: two workers with an executor each, one killed in between."""
    pyspark = pytest.importorskip("pyspark", reason="PySpark is not installed")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java, which is not here")
    from pyspark.sql import SparkSession

    from ilhte_lib.data.relations import Spark

    path = tmp_path / "t.parquet"
    table.to_parquet(path, index=False)
    monkeypatch.setenv("SPARK_HOME", str(Path(pyspark.__file__).parent))
    builder = SparkSession.builder.master("local-cluster[2,1,1024]").config("spark.sql.shuffle.partitions", "4")
    for name in ("driver.host", "driver.bindAddress"):
        builder = builder.config(f"spark.{name}", "127.0.0.1")
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    killed: list[int] = []

    def kill_one() -> None:
        listed = ["pgrep", "-P", str(session.sparkContext._gateway.proc.pid), "-f", "CoarseGrainedExecutorBackend"]
        time.sleep(10)
        executors = subprocess.run(listed, capture_output=True, text=True, check=False).stdout.split()
        os.kill(int(executors[0]), signal.SIGKILL)
        killed.append(int(executors[0]))

    killer = threading.Thread(target=kill_one)
    killer.start()
    contrary = tmp_path / "contrary"
    for arm, rows in table.groupby("treat"):
        (contrary / f"treat={1 - arm}").mkdir(parents=True)
        rows.to_parquet(contrary / f"treat={1 - arm}" / "part-0.parquet", index=False)
    table.to_parquet(tmp_path / "parts", partition_cols=["treat"], index=False)
    with Spark(session) as relations:
        there = large_trial(path, relations=relations)
        killer.join()
        with pytest.raises(InputError, match="Column treat of 'contrary' is both in its files and in the names"):
            large_trial(contrary, relations=relations)
        same_bits(large_trial(tmp_path / "parts", relations=relations).statistics, there.statistics)
        linked = tmp_path / "linked"
        in_parts(linked, table, lambda resp: resp)
        (tmp_path / "elsewhere").mkdir()
        (linked / "part-1.parquet").rename(tmp_path / "elsewhere" / "part-1.parquet")
        (linked / "more").symlink_to(tmp_path / "elsewhere")
        same_bits(large_trial(linked, relations=relations).statistics, there.statistics)
        halves = in_parts(tmp_path / "halves", table, lambda resp: resp * 0.5)
        with pytest.raises(InputError, match="Column resp has another type in .*halves/part-1.parquet"):
            large_trial(halves, relations=relations)
    here = large_trial(path)
    assert killed
    same_bits(here.statistics, there.statistics)
    same_bits(here.with_covariate, there.with_covariate)


def test_the_engines_of_data_lead_to_one_fit(table, tmp_path):
    path = tmp_path / "t.parquet"
    table.to_parquet(path, index=False)
    ours = fit_models(prepare(table, "t"), ["M_A", "M_C"])
    theirs = fit_models(large_trial(path), ["M_A", "M_C"])
    for name, fit in ours.items():
        assert theirs[name].loglik == pytest.approx(fit.loglik, abs=1e-8)
