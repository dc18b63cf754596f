"""Adjusted p-values, and the decisions of the three tests on the published likelihood ratios."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from ilhte_lib.inference.lrt import p_values
from ilhte_lib.inference.multiplicity import benjamini_hochberg, holm

P = np.array([0.01, 0.04, 0.03, 0.005, 0.5])


def test_by_hand():
    np.testing.assert_allclose(holm(P), [0.04, 0.09, 0.09, 0.025, 0.5])
    np.testing.assert_allclose(benjamini_hochberg(P), [0.025, 0.05, 0.05, 0.025, 0.5])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_against_scipy_and_bounds(values):
    p = np.array(values)
    adjusted = benjamini_hochberg(p)
    np.testing.assert_allclose(adjusted, false_discovery_control(p), rtol=1e-12)
    stepped = holm(p)
    assert (stepped >= adjusted - 1e-15).all() and (adjusted >= p - 1e-15).all() and (stepped <= 1).all()
    # Holm by its definition: go up from the smallest until one fails
    for alpha in (0.01, 0.05, 0.2):
        ordered, rejected = np.sort(p), 0
        while rejected < len(p) and ordered[rejected] * (len(p) - rejected) <= alpha * (1 - 1e-12):
            rejected += 1
        assert abs((stepped <= alpha * (1 - 1e-12)).sum() - rejected) == 0


def test_undefined_p_values_are_no_tests():
    with_gap = np.array([0.01, np.nan, 0.04])
    np.testing.assert_allclose(holm(with_gap), [0.02, np.nan, 0.04])
    np.testing.assert_allclose(benjamini_hochberg(with_gap), [0.02, np.nan, 0.04])
    assert np.isnan(holm(np.array([np.nan]))).all()
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm(np.array([1.2]))


@pytest.mark.shared
def test_decisions_on_the_published_likelihood_ratios(shared):
    """70 tables: halved 40, mixture 39, naive 34; over tables Holm rejects no more than Benjamini-Hochberg."""
    import pandas as pd

    published = pd.read_csv(shared / "reference" / "irw_published" / "summary.csv")
    tests = [p_values(x) for x in published["LRT"]]
    counts = {name: sum(getattr(t, name) < 0.05 for t in tests) for name in ("halved", "mixture", "naive")}
    assert counts == {"halved": 40, "mixture": 39, "naive": 34}
    mixture = np.array([t.mixture for t in tests])
    fdr, family = (benjamini_hochberg(mixture) < 0.05).sum(), (holm(mixture) < 0.05).sum()
    assert family <= fdr <= 39
    assert fdr == (false_discovery_control(mixture) < 0.05).sum()
