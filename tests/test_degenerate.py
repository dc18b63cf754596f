"""Degenerate binary tables through everything: fit, inference, document, terminal, HTML page. No traceback, no number that
is not one, no sentence that says more than its interval, and what could not be had is named with a known reason."""

from __future__ import annotations

import json
import os
import re
import warnings

import numpy as np
import pytest
from degenerate_tables import degenerate_table

from ilhte_lib.analysis import Analysis, document
from ilhte_lib.data.prepare import prepare
from ilhte_lib.engine.native import fit_models
from ilhte_lib.errors import IlhteError
from ilhte_lib.files import to_json
from ilhte_lib.inference.effects import effects
from ilhte_lib.inference.infer import infer, with_resampling
from ilhte_lib.inference.interval import average_interval, rho_interval
from ilhte_lib.inference.units import Unit
from ilhte_report.words.sentences import average_sentence, easiness_sentence, test_sentence

pytest.importorskip("plotly", reason="plotly is not installed")
QUICK = 20
DEAR = 10
"""A table like number 7, and like it as long at work as the rest of its ten."""
UNEXPECTED = re.compile(r"It could not be computed|Warning|Error\b")
"""Of a reason that nobody foresaw."""


@pytest.mark.parametrize("tens", range(QUICK // 10))
def test_degenerate_tables(tens):
    seeds = [seed for seed in range(10 * tens, 10 * tens + 10) if seed != DEAR]
    outcomes = [judge(seed, replicates=2 if seed == seeds[0] else 0) for seed in seeds]
    assert outcomes.count("refused") < 5


@pytest.mark.soak
def test_many_degenerate_tables():
    of = int(os.environ.get("ILHTE_FUZZ", "600"))
    outcomes = [judge(seed, replicates=3 if seed % 5 == 0 else 0) for seed in (DEAR, *range(QUICK, QUICK + of))]
    assert outcomes.count("refused") < 0.5 * of


def judge(seed: int, replicates: int) -> str:
    """ "reported" or "refused"; fails if the outcome is neither."""
    name, table = degenerate_table(seed)
    refusal = None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            trial = prepare(table, "t")
            fits = fit_models(trial)
        except IlhteError as error:
            refusal = str(error)
    if refusal is not None:
        assert refusal.endswith((".", "?")), (name, refusal)
        return "refused"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = effects(trial, fits)
        inference = infer(trial, fits, replicates=replicates, curves=True)
        result = with_resampling(result, inference)
        text = to_json(document(trial, fits, result, inference))
        shown = Analysis(trial, fits, result, inference)
        printed, page = shown.report(80), shown.html()
    assert not caught, (name, [str(w.message) for w in caught])
    assert not [note for note in inference.notes if UNEXPECTED.search(note)], (name, inference.notes)
    contents = json.loads(text, parse_constant=lambda value: pytest.fail(f"{name}: {value} in the JSON"))
    _sentences_keep_to_their_intervals(name, result, inference)
    _units_agree(name, contents, result, printed, page)
    shown = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    for words in (printed, shown):
        assert not re.search(r"\bnan\b|\binf\b|\bNone\b|\bnp\.", words), (
            name,
            re.search(r".{0,40}(\bnan\b|\binf\b|\bNone\b|\bnp\.).{0,40}", words)[0],
        )
    return "reported"


def _sentences_keep_to_their_intervals(name, result, inference) -> None:
    weak = result.weak
    average, easiness, test = (s(result, inference) for s in (average_sentence, easiness_sentence, test_sentence))
    if not average_interval(result, inference).excludes_zero or weak.forbids_conclusions:
        assert "treated persons give" not in average, (name, average)
    if not rho_interval(result, inference).excludes_zero or weak.forbids_conclusions:
        assert not easiness.startswith("The easier"), (name, easiness)
    spread = inference.intervals.get("sigma_zeta")
    if weak.forbids_conclusions or (spread and spread.lower == 0.0):
        assert "there is evidence" not in test, (name, test)
    if weak.no_common_item:
        assert easiness == ""
    for interval in inference.intervals.values():
        assert not interval.lower > interval.upper, (name, interval)
        if interval.lower == interval.upper:
            assert interval.estimate == interval.lower == 0.0 or np.isnan(interval.estimate), (name, interval)


def _units_agree(name, contents, result, printed, page) -> None:
    """Where persons do not differ everything is in logits and null in SDs; elsewhere nothing in SDs is null."""
    standard = [contents["summary"][column] for column in ("ate_std", "sigma_zeta_std")]
    standard += [row[column] for row in contents["items"] for column in ("b_std", "zeta_std", "total_std")]
    if contents["summary"]["sigma_theta"] == 0:
        assert all(value is None for value in standard), name
        assert result.scale.unit is Unit.LOGIT and contents["unit"] == "logit"
        assert [row["total"] for row in contents["items_logit"]] == [row["total"] for row in result.items_logit]
        assert any("cannot be standardised" in flag for flag in contents["flags"])
        assert "treatment effect (logits)" in page and "SDs of the persons)" not in page, name
        assert "(logits)" in printed and "(SDs)" not in printed and "SDs of the persons;" not in printed, name
    else:
        assert all(value is not None for value in standard), name
        assert contents["unit"] == "SD" and contents["items_logit"] is None
