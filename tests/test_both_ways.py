"""Every damaged table goes in memory and out of core, and ends alike: the same numbers, or a refusal by both."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from damaged_tables import Case, cases
from hypothesis import HealthCheck, given, settings

from ilhte_lib import InputError
from ilhte_lib.data.large import LargeTrial, large_trial
from ilhte_lib.data.prepare import prepare
from ilhte_lib.data.read import read_table
from ilhte_lib.data.trial import Trial
from ilhte_lib.engine.native import statistics_of
from ilhte_lib.model.spec import MODELS

pytest.importorskip("duckdb", reason="DuckDB is not installed")

ONLY_IN_MEMORY = (r"varies within \d+ persons? of table", "trials are counted only in tables that fit into memory")
"""What depends on the order of rows, or on several rows a cell, is refused out of core in these words."""
NO_TABLE = ("not a regular table", "fields in line", "DuckDB could not read", "not UTF-8")
"""What a CSV file that breaks the rules of CSV is called out of core."""


def outcome(read) -> Trial | LargeTrial | str:
    try:
        return read()
    except InputError as refusal:
        return str(refusal)


def alike(memory: Trial | str, large: LargeTrial | str, whole: bool, damages: object) -> None:
    if isinstance(large, str):
        if any(re.search(words, large) for words in (*ONLY_IN_MEMORY, *(() if whole else NO_TABLE))):
            return
        assert isinstance(memory, str), (damages, large, memory.flags)
        return
    assert not isinstance(memory, str), (damages, memory, large.flags)
    assert [plain(flag) for flag in memory.flags] == [plain(flag) for flag in large.flags], damages
    assert [(a["step"], a["rows"], a["persons"], a["items"], plain(a["reason"])) for a in memory.audit_rows()] == [
        (a["step"], a["rows"], a["persons"], a["items"], plain(a["reason"])) for a in large.audit_rows()
    ], damages
    assert (memory.covariate_name, memory.wave) == (large.covariate_name, large.wave), damages
    np.testing.assert_allclose(memory.covariate_correlation, large.covariate_correlation, atol=1e-9)
    for model in ("M_0", *(("M_B",) if memory.covariate is not None else ())):
        ours, theirs = statistics_of(memory, MODELS[model]), statistics_of(large, MODELS[model])
        for name in ("item_names", "n_control_classes", "n_persons", "n_responses"):
            assert getattr(ours, name) == getattr(theirs, name), (damages, name)
        for name in ("count", "score", "trials", "item_total"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=f"{damages} {name}")
        if ours.covariate is not None:
            np.testing.assert_allclose(ours.covariate, theirs.covariate, rtol=1e-9, atol=1e-9)


def plain(sentence: str) -> str:
    """Without examples, which come in the order of rows in memory and sorted out of core."""
    return re.sub(r"\([^()]*\)|('[^']*', )+\.\.\.", "", sentence)


def both_ways(case: Case, folder: Path) -> None:
    options = {name: value for name, value in case.options.items() if name in ("covariate", "wave")}
    files = []
    if case.as_text is not None:
        (folder / "t.csv").write_bytes(case.as_text)
        files.append(folder / "t.csv")
    else:
        try:
            case.table.to_csv(folder / "t.csv", index=False)
            files.append(folder / "t.csv")
        except UnicodeEncodeError:
            pass
        try:
            case.table.to_parquet(folder / "t.parquet", index=False)
            files.append(folder / "t.parquet")
        except (ValueError, TypeError, OverflowError, OSError):
            pass  # Parquet has no columns of mixed types
    for path in files:
        memory = outcome(lambda: prepare(read_table(path), "t", **options))  # noqa: B023
        large = outcome(lambda: large_trial(path, "t", **options))  # noqa: B023
        alike(memory, large, case.whole, (path.suffix, case.damages, options))


@given(cases())
@settings(max_examples=90, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_damaged_tables_end_alike(tmp_path_factory, case):
    both_ways(case, tmp_path_factory.mktemp("both"))


@pytest.mark.soak
@given(cases())
@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
def test_many_damaged_tables_end_alike(tmp_path_factory, case):
    both_ways(case, tmp_path_factory.mktemp("both"))


def small(**columns: object) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    person, item = np.indices((60, 5)).reshape(2, -1)
    table = pd.DataFrame({"id": person, "item": [f"q{k}" for k in item], "resp": rng.integers(0, 2, 300)})
    return table.assign(treat=person % 2, **{name: np.asarray(v)[person] for name, v in columns.items()})


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
@pytest.mark.parametrize(
    "table",
    [
        small(cov_a=1e12 + np.arange(60) % 7),
        small(cov_a=np.where(np.arange(60) % 9 == 0, -99.0, np.arange(60) % 11)),
        small(cov_a=np.arange(60) * 1e-200),
        small(cov_a=np.where(np.arange(60) < 3, "1_0", "2")),
        small(cov_a=[f" {k} " for k in range(60)]),
        small(wave=np.full(60, 2019)),
        small(cov_a=np.arange(60) % 7 / 10, cov_b=np.arange(60) % 7 * 3.7, cov_c=np.arange(60) % 7 * -1.1),
        small(cov_a=np.arange(60) % 7 / 10, cov_b=np.arange(60) % 3).assign(resp=lambda t: (t.index % 5 < 2) * 1),
        small().assign(resp=lambda t: t["resp"].map({0: "FALSE", 1: "true"})),
        small().assign(resp=lambda t: t["resp"].astype(str).where(t.index % 7 > 0, "1_0")),
        small().assign(resp=lambda t: t["resp"].astype(str).where(t.index % 7 > 0, "  ")),
        small().assign(id=lambda t: t["id"].map(lambda k: f"{k:02d}" if k % 2 else f"{k}")),
        small().assign(id=lambda t: t["id"].map(lambda k: "1e+1" if k == 11 else str(k))),
        small().assign(item=lambda t: t["item"].str.encode("utf-8")),
        small().assign(Resp=1, ID=2),
        small().assign(item=lambda t: t["item"].map({f"q{k}": 0.1 * k for k in range(5)})),
        small().assign(id=lambda t: t["id"] * 2.0**60),
        small().assign(id=lambda t: (t["id"] * 2.0**30).astype("float32")),
        small().assign(item=lambda t: t["item"].map({f"q{k}": (k + 1) * 2.0**55 for k in range(5)})),
        small().assign(id=lambda t: t["id"].map(lambda k: f"{k + 10}00000000000000000")),
        small().assign(id=lambda t: t["id"].map(lambda k: f"{k + 10}0000000000000000{k % 2}")),
        small().assign(id=lambda t: t["id"].map(lambda k: f"1.1529{k:02d}E+18")),
    ],
)
def test_rules_are_shared(tmp_path, table, ending):
    path = tmp_path / f"t{ending}"
    table.to_csv(path, index=False) if ending == ".csv" else table.to_parquet(path, index=False)
    memory = outcome(lambda: prepare(read_table(path), "t"))
    alike(memory, outcome(lambda: large_trial(path, "t")), True, ending)


def test_two_columns_of_one_name_are_refused(tmp_path):
    path = tmp_path / "t.csv"
    table = small()
    pd.concat([table, 1 - table["resp"]], axis=1).to_csv(path, index=False)
    assert "more than one column named 'resp'" in outcome(lambda: large_trial(path, "t"))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (small().assign(id=lambda t: t["id"] * 2.0**60), "above 2^53"),
        (small().assign(id=lambda t: (t["id"] * 2.0**30).astype("float32")), "above 2^24"),
        (
            small().assign(item=lambda t: t["item"].map({f"q{k}": (k + 1) * 2.0**55 for k in range(5)})),
            "items may have",
        ),
    ],
)
def test_names_that_the_file_has_rounded_are_told(tmp_path, table, words):
    path = tmp_path / "t.parquet"
    table.to_parquet(path, index=False)
    assert words in large_trial(path, "t").flags[0]


@pytest.mark.parametrize("row", ["p9,q1,1", "p9", ",", "p9,q1,1,0,7"])
@pytest.mark.parametrize("is_last", [True, False])
def test_a_row_that_does_not_fit_the_header_is_refused_with_its_line(tmp_path, row, is_last):
    path = tmp_path / "t.csv"
    lines = small().to_csv(index=False).splitlines()
    lines.insert(len(lines) if is_last else 100, row)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    line, count = lines.index(row) + 1, row.count(",") + 1
    for refusal in (outcome(lambda: prepare(read_table(path), "t")), outcome(lambda: large_trial(path, "t"))):
        assert f"has {count} fields in line {line} but 4 in its header" in refusal


def test_empty_lines_are_no_rows(tmp_path):
    path = tmp_path / "t.csv"
    lines = small().assign(cov_a=None).to_csv(index=False).splitlines()
    path.write_text("\n\n".join(lines) + "\n\n", encoding="utf-8")
    alike(outcome(lambda: prepare(read_table(path), "t")), outcome(lambda: large_trial(path, "t")), True, "empty lines")
