"""Numbers that the vignette quotes from a run."""

from __future__ import annotations

import pandas as pd
import pytest

from ilhte_lib.inference.multiplicity import benjamini_hochberg, holm
from ilhte_report.pages.results import RunResults


@pytest.mark.parametrize(("profile", "plain", "by_holm", "by_bh"), [("full", 3, 1, 2), ("vignette", 4, 2, 4)])
def test_tables_that_stay_significant_when_all_are_tested_together(profile, plain, by_holm, by_bh):
    mixture, halved = [0.001, 0.02, 0.04, 0.06], [0.0005, 0.013, 0.03, 0.04]
    summary = pd.DataFrame({"lrt_pval_mixture": mixture, "lrt_pval": halved})
    run = RunResults(summary, pd.DataFrame(), {"settings": {"profile": profile}}, {})
    assert run.n_significant_after(lambda p: p) == plain
    assert run.n_significant_after(holm) == by_holm
    assert run.n_significant_after(benjamini_hochberg) == by_bh
