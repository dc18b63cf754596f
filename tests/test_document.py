"""The document of a table: its keys, null for what is undefined, and files written whole or not at all."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ilhte_lib import files as module
from ilhte_lib.analysis import document
from ilhte_lib.data.prepare import prepare
from ilhte_lib.engine.native import fit_models
from ilhte_lib.files import to_json, write_text
from ilhte_lib.inference.effects import ITEM_COLUMNS, SUMMARY_COLUMNS, effects
from ilhte_lib.model.simulate import Design, simulate_trial


@pytest.fixture(scope="module")
def parts():
    table, _ = simulate_trial(Design(120, 5, 8, gamma=0.5))
    names = {f"i{k:02d}": f'</script> "{k}" \u00e9\u2028' for k in range(1, 6)}
    trial = prepare(table.assign(item=table["item"].map(names)), "demo")
    fits = fit_models(trial)
    return trial, fits, effects(trial, fits)


def test_the_keys_of_a_document(parts):
    found = json.loads(to_json(document(*parts, input_sha256="ab12")))
    assert {"tab", "summary", "items", "audit", "models", "provenance"} <= set(found)
    assert found["tab"] == "demo"
    assert list(found["summary"]) == list(SUMMARY_COLUMNS)
    assert [list(row) for row in found["items"]] == [list(ITEM_COLUMNS)] * 5
    assert set(found["models"]) == {"M_0", "M_A", "M_B", "M_C"}
    keys = {"loglik", "beta", "se", "sigma_theta", "item_cov", "singular", "converged", "gradient_norm", "seconds"}
    for name, model in found["models"].items():
        assert keys <= set(model)
        names = ["intercept", "treat"] + (["cov", "treat:cov"] if name in ("M_B", "M_C") else [])
        assert list(model["beta"]) == list(model["se"]) == names
        q = 2 if name in ("M_A", "M_C") else 1
        assert np.array(model["item_cov"]).shape == (q, q)
        assert model["converged"] is True and isinstance(model["singular"], bool) and model["seconds"] > 0
    assert {"versions", "profile", "engine", "covariate", "wave", "input_sha256"} <= set(found["provenance"])
    assert found["provenance"]["input_sha256"] == "ab12" and found["provenance"]["covariate"] == "std_baseline"
    assert {"ilhte", "python", "numpy", "scipy"} <= set(found["provenance"]["versions"])
    assert all(set(entry) == {"step", "rows", "persons", "items", "reason"} for entry in found["audit"])


def test_numbers_survive_exactly(parts):
    trial, fits, result = parts
    found = json.loads(to_json(document(*parts)))
    for name, fit in fits.items():
        assert found["models"][name]["loglik"] == fit.loglik
        np.testing.assert_array_equal(list(found["models"][name]["beta"].values()), fit.beta)
        np.testing.assert_array_equal(found["models"][name]["item_cov"], fit.item_cov)
    assert found["summary"]["ate_std"] == result.summary["ate_std"]
    assert [row["item"] for row in found["items"]] == list(trial.item_names)


def test_undefined_is_null_and_never_nan():
    # two persons alike, one in each arm: sigma_zeta = 0, so rho is undefined and several SEs are
    rng = np.random.default_rng(9)
    resp = np.repeat((rng.random((80, 5)) < rng.random(5) * 0.6 + 0.2).astype(int), 2, axis=0)
    resp[:60] = (np.arange(60) // 2 % 4 > 1)[:, None] | resp[:60]
    person, item = np.indices(resp.shape).reshape(2, -1)
    table = pd.DataFrame({"id": person, "item": item, "resp": resp.ravel(), "treat": person % 2})
    trial = prepare(table, "twins")
    fits = fit_models(trial)
    text = to_json(document(trial, fits, effects(trial, fits)))
    assert "NaN" not in text and "Infinity" not in text
    summary = json.loads(text)["summary"]
    for name in ("rho", "rho_se", "sigma_zeta_std_se", "beta3_b", "delta_beta3", "covariate", "wave", "n_persons_cov"):
        assert summary[name] is None, name
    assert summary["sigma_zeta_std"] == 0.0 and summary["singular"] is True


def test_nan_in_every_kind_of_place_becomes_null():
    places = {
        "float": float("nan"), "numpy": np.float64("inf"), "array": np.array([[1.0, np.nan], [2, 3]]),
        "list": [1, -np.inf, (np.nan, True)], "bool": np.bool_(True), "int": np.int64(3), "none": None, 5: "five",
    }  # fmt: skip
    assert json.loads(to_json(places)) == {
        "float": None, "numpy": None, "array": [[1.0, None], [2.0, 3.0]], "list": [1, None, [None, True]], "bool": True,
        "int": 3, "none": None, "5": "five",
    }  # fmt: skip


def test_standard_errors_that_do_not_exist_are_null(parts):
    trial, fits, _ = parts
    unknown = replace(fits["M_A"], se=np.full(2, np.nan), vcov=np.full((6, 6), np.nan), gradient_norm=np.nan)
    changed = {**fits, "M_A": unknown}
    found = json.loads(to_json(document(trial, changed, effects(trial, changed))))
    assert found["models"]["M_A"]["se"] == {"intercept": None, "treat": None}
    assert found["models"]["M_A"]["gradient_norm"] is None and found["items"][0]["total_se"] is None


def test_messages_of_the_fits_are_flags(parts):
    trial, fits, result = parts
    told = {**fits, "M_A": replace(fits["M_A"], messages=("M_A: something to know.",))}
    assert document(trial, told, result)["flags"] == [*trial.flags, "M_A: something to know."]


def test_a_file_is_written_whole(tmp_path):
    path = tmp_path / "new folder" / "demo.json"
    write_text(path, "first\n")
    write_text(path, "zweite \u00fc\n")
    assert path.read_text(encoding="utf-8") == "zweite \u00fc\n"
    assert [p.name for p in path.parent.iterdir()] == ["demo.json"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch, step):
    path = tmp_path / "demo.json"
    write_text(path, "old\n")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(module.os, step, fail)
    with pytest.raises(OSError, match="disk full"):
        write_text(path, "new\n" * 1000)
    assert path.read_text() == "old\n"
    assert [p.name for p in tmp_path.iterdir()] == ["demo.json"]


def test_text_that_cannot_be_encoded_leaves_the_old_file(tmp_path):
    path = tmp_path / "demo.json"
    write_text(path, "old\n")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert path.read_text() == "old\n" and len(list(tmp_path.iterdir())) == 1
