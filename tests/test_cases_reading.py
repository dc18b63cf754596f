"""Files as people have them: the inputs of the shared cases that were once read wrongly, with what is right."""

from __future__ import annotations

import json
import re
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import call

from ilhte_lib.data.prepare import prepare
from ilhte_lib.data.read import read_table
from ilhte_lib.data.trial import Trial
from ilhte_lib.engine.native import fit_models
from ilhte_lib.errors import InputError

pytestmark = pytest.mark.shared

LME4 = 1e-3
"""lme4's log-likelihoods lie up to so much below the maximum."""
PACKAGE = {".parquet": "pyarrow", ".dta": "pyreadstat", ".sav": "pyreadstat", ".xlsx": "openpyxl", ".rds": "pyreadr"}


@pytest.fixture(scope="session")
def cases(shared) -> Path:
    return shared / "cases"


def needs(name: str) -> None:
    package = PACKAGE.get(Path(name).suffix)
    if package:
        pytest.importorskip(package)


def read(path: Path, **options: object) -> Trial:
    """The trial in a file, read and prepared without a warning."""
    needs(path.name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return prepare(read_table(path, **options), path.stem)


def told(path: Path, **options: object) -> str:
    needs(path.name)
    with pytest.raises(InputError) as caught:
        read_table(path, **options)
    assert str(caught.value).isprintable()
    return str(caught.value)


def size(trial: Trial) -> list[int]:
    return [trial.n_persons, trial.n_items, trial.n_responses]


@cache
def expected(cases: Path) -> dict:
    return json.loads((cases / "expected.json").read_text(encoding="utf-8"))


M_C_REFINED = -530.269331
"""lme4 with tolPwrss = 1e-10, by any of its optimisers; with its usual tolerance it stops at the -530.2705 of the case."""

FITTED = {
    "05-blank-ids.sav": {},
    "05-blank-resp.dta": {},
    "06-long-ids.csv": {},
    "15-stata117-odd-bytes.dta": {},
    "15-haven-labelled.rds": {"control": "1"},
    "15-altrep.rds": {"wide": ["q*"]},
    "15-stata114-cp1252-label.dta": {"control": "témoin"},
}
"""Files whose case gives numbers of lme4, with the options."""


@pytest.mark.parametrize("name", FITTED)
def test_sizes_and_fits_are_those_of_lme4(cases, name):
    right = expected(cases)[name]["expected"]
    trial = read(cases / name, **FITTED[name])
    assert size(trial) == right["n"]
    fits = fit_models(trial, [model for model in ("M_A", "M_C") if model in right])
    for model, fit in fits.items():
        assert fit.converged
        beta = dict(zip(fit.spec.beta_names, fit.beta, strict=True))
        sigma_zeta = float(np.linalg.norm(fit.item_factor[1]))
        found = {"loglik": fit.loglik, "sigma_theta": fit.sigma_theta, "sigma_zeta": sigma_zeta}
        for quantity, value in right[model].items():
            if (model, quantity, value) == ("M_C", "loglik", -530.2705):
                assert fit.loglik == pytest.approx(M_C_REFINED, abs=1e-5)
                continue
            near = LME4 if quantity == "loglik" else 2e-3
            assert (found | beta)[quantity] == pytest.approx(value, abs=near), (model, quantity)


# ---------------------------------------------------------------- blank text


def as_csv(path: Path, tmp_path: Path) -> Path:
    """The same rows as a CSV file, blank text as nothing."""
    import pyreadstat

    table = (pyreadstat.read_dta if path.suffix == ".dta" else pyreadstat.read_sav)(str(path))[0]
    written = tmp_path / f"{path.stem}.csv"
    table.to_csv(written, index=False)
    return written


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("05-blank-ids.sav", {}),
        ("05-one-blank-id.dta", {}),
        ("05-blank-arm.sav", {"control": "C"}),
        ("05-blank-resp.dta", {}),
        ("05-blank-covariate.sav", {}),
    ],
)
def test_blank_text_is_missing_as_in_csv(cases, tmp_path, name, options):
    trial = read(cases / name, **options)
    same = read(as_csv(cases / name, tmp_path), **options)
    assert size(trial) == size(same)
    assert trial.flags == same.flags
    for array in ("treat", "person", "item", "resp", "covariate"):
        np.testing.assert_array_equal(getattr(trial, array), getattr(same, array))
    right = expected(cases)[name]["expected"]
    if isinstance(right, dict):
        assert size(trial) == right["n"]


def test_persons_without_arm_are_left_out(cases):
    trial = read(cases / "05-blank-arm.sav", control="C")
    assert size(trial) == size(read(cases / "05-blank-arm.csv", control="C")) == [119, 8, 905]
    # lme4 1.1-31 on the same rows
    assert fit_models(trial, ["M_A"])["M_A"].loglik == pytest.approx(-530.5525, abs=LME4)


def test_a_blank_covariate_is_none(cases):
    trial = read(cases / "05-blank-covariate.sav")
    assert trial.covariate_name == "cov_pre" and np.isfinite(trial.covariate).sum() == 110
    fit = fit_models(trial, ["M_C"])["M_C"]
    assert dict(zip(fit.spec.beta_names, fit.beta, strict=True))["treat:cov"] == pytest.approx(0.2111, abs=2e-3)


def test_blank_names_and_the_test_of_equal_effects(cases, tmp_path):
    out = tmp_path / "out.json"
    needs("x.sav")
    assert call("fit", cases / "05-blank-ids.sav", "--method", "laplace", "--json", out).code == 0
    document = json.loads(out.read_text(encoding="utf-8"))
    assert document["summary"]["lrt_pval_mixture"] == pytest.approx(0.0458, abs=2e-4)


# ---------------------------------------------------------------- long whole numbers as names


def test_an_exact_file_with_a_null_keeps_its_names(cases):
    trial = read(cases / "06-long-ids-one-null.parquet")
    exact = expected(cases)["06-long-ids.csv"]["expected"]
    assert size(trial) == exact["n"]
    fit = fit_models(trial, ["M_A"])["M_A"]
    assert fit.loglik == pytest.approx(exact["M_A"]["loglik"], abs=LME4)
    by_text = read(cases / "06-long-ids.csv")
    assert [str(name) for name in trial.person_ids] == list(by_text.person_ids)


def test_a_person_without_a_name_is_one_row_less(cases):
    """The file is 00-base.csv with one name emptied, that of a row with a response: of its 913, 912 are left."""
    trial = read(cases / "06-long-ids-null-refused.parquet")
    assert size(trial) == [120, 8, 912]
    fit = fit_models(trial, ["M_A"])["M_A"]
    # lme4 1.1-31, bobyqa, on 00-base.csv without its last row
    assert fit.loglik == pytest.approx(-534.4031, abs=LME4)
    assert fit.beta[1] == pytest.approx(0.15480, abs=2e-3)


@pytest.mark.parametrize(("name", "power"), [("06-long-ids.sav", 53), ("06-long-ids-float.dta", 24)])
def test_names_that_the_file_has_rounded_are_told(cases, name, power):
    needs(name)
    (caution,) = read_table(cases / name).attrs["cautions"]
    assert caution.startswith(f"Column 'id' of {name!r} holds whole numbers above 2^{power}")
    assert "persons may have been merged" in caution


# ---------------------------------------------------------------- labels, formulas, sheets, headers, odd bytes


def test_labels_of_codes_come_along(cases):
    needs("x.sav")
    table = read_table(cases / "08-minus9-all-items.sav")
    assert table.attrs["value_labels"] == {"resp": {-9: "Missing", 0: "No", 1: "Yes"}}


def test_formulas_that_were_never_computed(cases):
    message = told(cases / "08-formulas-not-computed.xlsx")
    assert "Column 'resp'" in message and "913 formulas" in message and "no responses at all" in message
    assert "Excel" in message and "save" in message


def test_data_on_another_sheet(cases):
    path = cases / "13-data-on-sheet-2.xlsx"
    assert "--sheet Data" in told(path)
    assert "'README', 'Data'" in told(path, sheet="Dta")
    for sheet in ("Data", "data", "2", 2):
        assert size(read(path, sheet=sheet)) == [120, 8, 913]
    done = call("fit", path, "--sheet", "Data")
    assert done.code == 0 and "913" in done.out
    assert "--sheet Data" in call("check", path).err


def test_three_rows_of_headers(cases):
    path = cases / "13-qualtrics-three-headers.csv"
    message = told(path, wide=["q*"])
    assert "Rows 2 and 3" in message and "--header-row 1" in message
    done = call("fit", path, "--wide", "q*")
    assert done.code == 2 and "--header-row 1" in done.err
    table = read_table(path, wide=["q*"], header_row=1)
    assert "Rows 2 and 3" in table.attrs["cautions"][0]
    assert size(prepare(table, "t")) == [120, 8, 913]
    base = read(cases / "00-base.csv")
    fit = fit_models(read(path, wide=["q*"], header_row=1), ["M_A"])["M_A"]
    assert fit.loglik == pytest.approx(fit_models(base, ["M_A"])["M_A"].loglik, abs=1e-6)


def test_odd_bytes_are_told_by_column(cases):
    needs("x.dta")
    (caution,) = read_table(cases / "15-stata117-odd-bytes.dta").attrs["cautions"]
    assert "Column 'note'" in caution and "bytes" in caution


def test_many_columns_make_no_warning(cases):
    trial = read(cases / "wide_150_columns_no_id.csv", wide=["BMonth_*"], treat="Condition", control="1")
    assert trial.n_persons == 120
    done = call(
        "check", cases / "wide_150_columns_no_id.csv", "--wide", "BMonth_*", "--treat", "Condition", "--control", "1"
    )
    assert "Warning" not in done.out + done.err
    assert not re.search("fragmented", done.err)


def test_european_csv_is_read_as_the_same_rows(cases, tmp_path):
    base = pd.read_csv(cases / "00-base.csv")
    path = tmp_path / "t.csv"
    base.to_csv(path, sep=";", decimal=",", index=False)
    trial, plain = read(path), read(cases / "00-base.csv")
    assert size(trial) == size(plain) and trial.flags == plain.flags
    np.testing.assert_array_equal(trial.covariate, plain.covariate)
