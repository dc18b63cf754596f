"""The shared cases of waves, codes for missing, names that restart and items given twice, each with what is right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Done, call, refusal

pytestmark = pytest.mark.shared

LME4 = 1e-3
"""lme4's log-likelihoods lie up to so much below the maximum."""


@pytest.fixture(scope="session")
def expected(case_files) -> dict:
    return json.loads((case_files / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture
def document(case_files, tmp_path):
    """The JSON document of a case, fitted on the command line by the likelihood of its references, lme4's."""

    def fitted(name: str, *options: str) -> dict:
        done = call("fit", case_files / name, *options, "--method", "laplace", "--json", tmp_path / "out.json")
        assert done.code == 0, done.err
        return json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))

    return fitted


def size(document: dict) -> list[int]:
    return [document["summary"][f"n_{what}"] for what in ("persons", "items", "responses")]


def told(case: Path, *options: str) -> str:
    """The sentence by which both check and fit refuse a case."""
    for_fit = refusal(call("fit", case, *options))
    checked: Done = call("check", case, *options)
    assert checked.code == 2 and checked.err == f"ilhte: {for_fit}\n"
    return for_fit


def test_the_base(document, expected):
    found, right = document("00-base.csv"), expected["00-base.csv"]
    assert size(found) == right["n"]
    assert found["models"]["M_A"]["loglik"] == pytest.approx(right["M_A"]["loglik"], abs=LME4)
    assert found["models"]["M_A"]["beta"]["treat"] == pytest.approx(right["M_A"]["treat"], abs=2e-3)
    assert found["models"]["M_C"]["beta"]["treat:cov"] == pytest.approx(right["M_C"]["treat:cov"], abs=2e-3)
    assert found["flags"] == []


def test_rows_without_a_person(document, expected):
    found, right = document("05-blank-ids.csv"), expected["05-blank-ids.sav"]["expected"]
    assert size(found) == right["n"]
    assert found["models"]["M_A"]["loglik"] == pytest.approx(right["M_A"]["loglik"], abs=LME4)


def test_years_as_waves_are_asked_for(case_files, document, expected):
    message = told(case_files / "04-waves-2019-2020.csv")
    assert "'2019', '2020'" in message and "--wave" in message
    right = expected["04-waves-2019-2020.csv"]["expected"]["M_A"]
    for found in (document("04-waves-2019-2020.csv", "--wave", "2020"), document("04-waves-truth-post.csv")):
        assert found["models"]["M_A"]["loglik"] == pytest.approx(right["loglik"], abs=LME4)
        assert found["models"]["M_A"]["beta"]["treat"] == pytest.approx(right["treat"], abs=2e-3)


def test_a_column_called_time(case_files, document):
    path = case_files / "04-column-time.csv"
    assert "--wave-column 'time' --wave '0'" in told(path)
    assert "--wave-column (perhaps 'time')" in told(path, "--wave", "1")
    alone = document(path.name, "--wave-column", "time", "--wave", "1")
    first = document(path.name, "--wave-column", "time")
    assert alone["models"]["M_A"]["loglik"] == first["models"]["M_A"]["loglik"]
    assert alone["summary"]["n_responses"] == 960


def test_a_code_for_missing_in_the_covariate(document, expected):
    right = expected["07-covariate-999.csv"]["expected"]
    found = document("07-covariate-999.csv")
    for by in (found, document("07-covariate-truth.csv")):
        assert by["summary"]["n_persons_cov"] == right["n_cov"]
        assert by["models"]["M_C"]["beta"]["treat:cov"] == pytest.approx(right["treat:cov M_C"], abs=2e-3)
    (flag,) = found["flags"]
    assert "'cov_pre' holds '999'" in flag and "taken as missing" in flag
    kept = document("07-covariate-999.csv", "--missing-codes", "none")
    assert kept["summary"]["n_persons_cov"] == 120
    assert kept["models"]["M_C"]["beta"]["treat:cov"] == pytest.approx(-0.0508, abs=2e-3), "as the user says"


def test_a_code_for_missing_in_every_item(case_files, document, expected):
    pytest.importorskip("pyreadstat")
    message = told(case_files / "08-minus9-all-items.sav")
    assert "holds -9 (Missing), 0 (No), 1 (Yes)" in message and "--missing-codes '-9'" in message
    found = document("08-minus9-all-items.sav", "--missing-codes=-9")
    assert size(found) == expected["00-base.csv"]["n"]
    assert found["models"]["M_A"]["loglik"] == pytest.approx(expected["00-base.csv"]["M_A"]["loglik"], abs=LME4)


def test_a_code_for_missing_in_two_items(document):
    found = document("08-999-two-items.csv")
    assert found["summary"]["n_items"] == 6
    (flag,) = found["flags"]
    assert "2 items with more than two values are left out" in flag and "'999' may be a code for missing" in flag
    assert document("08-999-two-items.csv", "--missing-codes", "999")["summary"]["n_items"] == 8


def test_ids_that_restart_in_a_wide_file(case_files, document, expected):
    path, school = case_files / "09-ids-restart-wide.csv", ("--cluster", "school")
    for options in ((), school, (*school, "--profile", "vignette")):
        message = refusal(call("fit", path, "--wide", "q*", *options))
        assert "Ids repeat" in message and "--id-within-cluster" in message and "--repeated" not in message
    right = expected["09-ids-restart-wide.csv"]["expected"]
    unique = document("09-ids-unique-wide.csv", "--wide", "q*")
    for found in (document(path.name, "--wide", "q*", *school, "--id-within-cluster"), unique):
        assert size(found) == right["n"]
        assert found["models"]["M_A"]["loglik"] == pytest.approx(right["M_A"]["loglik"], abs=LME4)


def test_ids_that_restart_in_a_long_file(case_files, document):
    message = told(case_files / "09-ids-restart-long.csv")
    assert "restart in every 'school'" in message and "--cluster 'school' --id-within-cluster" in message
    found = document("09-ids-restart-long.csv", "--cluster", "school", "--id-within-cluster")
    assert size(found)[0] == 120


def test_an_item_that_is_the_arm(document):
    found = document("10-item-equals-arm.csv")
    for answer, arm in ((0, "control"), (1, "treated")):
        assert any(f"Item 'q03' has one response only ({answer}) in the {arm} arm" in flag for flag in found["flags"])
    assert found["inference"]["without_one_way"]["left_out"] == ["q03"]


def test_an_item_given_twice(case_files):
    done = call("check", case_files / "16-duplicated-item.csv")
    assert done.code == 0 and "'q07' equals 'q01' for every person" in done.out


def test_items_not_reached_are_answers_of_0(case_files):
    """Nothing in the file tells an item that was not reached from one answered wrongly: it is taken as it stands."""
    done = call("check", case_files / "16-not-reached-zero.csv")
    assert done.code == 0 and "400 persons, 20 items, 8000 responses" in done.out
    assert "equals" not in done.out


def test_every_case_is_tried(case_files, expected):
    """Each file of the cases is named in a test, so that a new one is not forgotten."""
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    files = {path.name for path in case_files.iterdir() if path.suffix not in (".md", ".json")}
    assert set(expected) <= files
    assert [name for name in sorted(files) if name not in tests and f'"{name.partition(".")[0]}"' not in tests] == []
