"""The draw of persons is R's: values obtained from R 4.2.2, and R itself where it is installed."""

from __future__ import annotations

import random
import shutil
import subprocess

import numpy as np
import pytest

from ilhte_lib.data.r_sample import LARGEST_POPULATION, LEcuyer, sample_ids

GENERATOR = 'RNGkind("L\'Ecuyer-CMRG", "Inversion", "Rejection")'

# seed, n, size, first six and last three of sample(1:n, size), sum of position times value over all of it
FROM_R = [
    (42, 10000, 5, [3588, 3052, 2252, 5257, 8307], [2252, 5257, 8307], 79011),
    (42, 5001, 5000, [3202, 3588, 3052, 2252, 4565, 115], [3561, 3876, 2201], 31372557435),
    (42, 5002, 5000, [3202, 3588, 3052, 2252, 4565, 115], [3110, 3561, 3876], 31380569033),
    (42, 7396, 5000, [3202, 3588, 7103, 7372, 3052, 2252], [2795, 1228, 5918], 46502756030),
    (42, 8192, 5000, [3202, 3588, 7103, 7372, 3052, 2252], [1259, 3035, 1441], 51513789765),
    (42, 8193, 5000, [3588, 7103, 7372, 3052, 2252, 5257], [1259, 3035, 1441], 51517197068),
    (42, 16384, 5000, [11394, 3588, 15295, 15564, 3052, 2252], [15149, 13400, 10479], 101495665759),
    (42, 20000, 5000, [11394, 3588, 15564, 19436, 2252, 12757], [16456, 9240, 17807], 124168343290),
    (42, 65535, 5000, [36356, 48332, 2252, 45525, 54410, 28823], [54110, 34424, 12767], 418030761627),
    (42, 65536, 5000, [36356, 48332, 2252, 45525, 54410, 28823], [54110, 34424, 12767], 418016069594),
    (42, 65537, 5000, [48332, 2252, 45525, 54410, 28823, 23800], [34424, 12767, 45974], 418107188932),
    (42, 131072, 5000, [101892, 48332, 67788, 45525, 54410, 94359], [32113, 113820, 7754], 828092400341),
    (42, 131072, 131072, [101892, 48332, 67788, 45525, 54410, 94359], [106812, 31622, 730], 562538404385154),
    (1, 5001, 5000, [3443, 3431, 2319, 3499, 4752, 1809], [641, 4815, 2852], 31345885085),
    (2, 12345, 5000, [7014, 2905, 2530, 5749, 7790, 9141], [10977, 12067, 4172], 77341769138),
    (20260521, 20000, 5000, [13195, 16033, 2221, 18800, 6765, 856], [9354, 2386, 7066], 125440418840),
    (0, 1, 1, [1], [1], 1),
    (0, 2, 2, [1, 2], [1, 2], 5),
    (-1, 10, 10, [9, 10, 2, 6, 1, 3], [8, 4, 5], 281),
    (-2147483647, 16384, 5000, [4823, 5194, 8455, 1853, 7672, 209], [5917, 14944, 7722], 102888609691),
    (2147483647, 100, 100, [92, 24, 47, 36, 98, 82], [85, 76, 32], 248003),
    (123, 65536, 65536, [25549, 40878, 36262, 11648, 16766, 11828], [26400, 17398, 25020], 70335978774089),
    (7, 3, 0, [], [], 0),
    (99, 1000000, 20, [601657, 720869, 328550, 985428, 612070, 787062], [138935, 105580, 520884], 88773931),
]


def weighted_sum(draw: list[int]) -> int:
    """Changes if any value or the order of two different values changes."""
    return sum(position * value for position, value in enumerate(draw, start=1))


def test_the_draw_named_by_the_vignette():
    assert sample_ids(range(1, 10001), 5, seed=42) == [3588, 3052, 2252, 5257, 8307]


@pytest.mark.parametrize(("seed", "n", "size", "first", "last", "total"), FROM_R)
def test_values_from_r(seed, n, size, first, last, total):
    draw = sample_ids(range(1, n + 1), size, seed)
    assert len(draw) == size
    assert len(set(draw)) == size
    assert draw[:6] == first
    assert draw[-3:] == (last if size else [])
    assert weighted_sum(draw) == total


def test_uniform_numbers_from_r():
    generator = LEcuyer(42)
    # set.seed(42); runif(4) under the same generator, printed with 17 digits
    assert [generator.uniform() for _ in range(4)] == [
        0.17384558454153168,
        0.55474009676509084,
        0.48337712221370116,
        0.73748307381674638,
    ]


def test_defaults_are_the_vignettes():
    ids = [f"p{i}" for i in range(5001)]
    assert sample_ids(ids) == [ids[i - 1] for i in sample_ids(range(1, 5002), 5000, 42)]


def test_the_ids_themselves_are_returned_and_the_input_is_left_alone():
    ids = np.array(["b", "a", "c"], dtype=object)
    assert sorted(sample_ids(ids, 3, seed=1)) == ["a", "b", "c"]
    assert list(ids) == ["b", "a", "c"]


@pytest.mark.parametrize(("n", "size"), [(3, 4), (3, -1), (0, 1)])
def test_more_than_there_are_is_refused(n, size):
    with pytest.raises(ValueError, match="cannot draw"):
        sample_ids(range(n), size)


def test_populations_that_r_hashes_are_refused():
    with pytest.raises(ValueError, match="10,000,000"):
        sample_ids(range(LARGEST_POPULATION + 1), 5)


@pytest.mark.parametrize("seed", [2**31, -(2**31)])
def test_seeds_r_cannot_hold_are_refused(seed):
    with pytest.raises(ValueError, match="seed"):
        sample_ids(range(3), 1, seed)


@pytest.mark.r
def test_against_r_itself():
    if shutil.which("Rscript") is None:
        pytest.skip("R is not installed")
    chance = random.Random()
    cases = []
    for _ in range(40):
        n = chance.choice([chance.randint(2, 200), chance.randint(5001, 20000), 2 ** chance.randint(1, 17)])
        cases.append((chance.randint(-(2**31) + 1, 2**31 - 1), n, chance.randint(1, min(n, 5000))))
    script = GENERATOR + "".join(
        f"; set.seed({seed}L); cat(sample.int({n}L, {size}L), '\\n')" for seed, n, size in cases
    )
    answer = subprocess.run(["Rscript", "-"], input=script, capture_output=True, text=True, check=True, timeout=300)
    lines = answer.stdout.splitlines()
    assert len(lines) == len(cases)
    for (seed, n, size), line in zip(cases, lines, strict=True):
        assert sample_ids(range(1, n + 1), size, seed) == [int(v) for v in line.split()], (seed, n, size)
