"""How many evaluations and passes over the table the usual computations take: guarded by counts, which no slow machine changes.

The bounds are what was counted when they were written and a tenth more. One that is exceeded is a slowdown, to be mended or
to be given a reason.
"""

from __future__ import annotations

import pytest

from ilhte_lib.data.catalogue import load_bundled
from ilhte_lib.data.prepare import prepare
from ilhte_lib.engine.laplace import LaplaceDeviance
from ilhte_lib.engine.native import fit_models, fit_side_by_side, statistics_of
from ilhte_lib.inference.bootstrap import parametric_bootstrap
from ilhte_lib.inference.influence import leave_one_item_out
from ilhte_lib.inference.profile import Profiler, objective
from ilhte_lib.model.spec import MODELS

TABLES = ("verbagg_gender", "caffeine_anxiety", "film_sad_negative", "sim_n0200_j20_sz50_rho00_pre")


@pytest.fixture(scope="module")
def fitted(project) -> dict:
    """Trial and fits by table."""
    trials = {tab: prepare(load_bundled(tab, project / "data")) for tab in TABLES}
    return {tab: (trial, fit_models(trial)) for tab, trial in trials.items()}


class Counted:
    """Evaluations and passes of all workspaces that are made from now on."""

    def __init__(self, monkeypatch):
        self.made: list[LaplaceDeviance] = []
        make = LaplaceDeviance.__init__

        def recorded(deviance, *args, **kwargs):
            make(deviance, *args, **kwargs)
            self.made.append(deviance)

        monkeypatch.setattr(LaplaceDeviance, "__init__", recorded)

    def so_far(self) -> tuple[int, int]:
        return sum(d.evaluations for d in self.made), sum(d.passes for d in self.made)


def within(counted: tuple[int, int], most: tuple[int, int]) -> bool:
    return counted[0] <= most[0] and counted[1] <= most[1]


@pytest.mark.parametrize(
    ("tab", "evaluations", "passes"), list(zip(TABLES, (28, 42, 83, 28), (123, 188, 337, 122), strict=True))
)
def test_the_four_models(tab, evaluations, passes, fitted):
    fits = fitted[tab][1].values()
    counted = sum(fit.evaluations for fit in fits), sum(fit.passes for fit in fits)
    assert within(counted, (evaluations, passes)), counted


@pytest.mark.parametrize(
    ("tab", "parameter", "interval", "curve"),
    [
        ("verbagg_gender", "treat", (23, 56), (53, 108)),
        ("verbagg_gender", "sigma_zeta", (22, 54), (55, 112)),
        ("caffeine_anxiety", "treat", (30, 72), (75, 155)),
        ("caffeine_anxiety", "sigma_zeta", (36, 91), (62, 127)),
    ],
)
def test_a_profile_interval_and_its_curve(tab, parameter, interval, curve, fitted):
    trial, fits = fitted[tab]
    deviance = objective(statistics_of(trial, MODELS["M_A"]), fits["M_A"])
    profiler = Profiler(deviance, fits["M_A"], fits["M_0"])
    found = profiler.interval(parameter)
    first = deviance.evaluations, deviance.passes
    assert within(first, interval), first
    profiler.curve(found)
    rest = deviance.evaluations - first[0], deviance.passes - first[1]
    # a curve has 41 points: most are found at the first evaluation
    assert within(rest, curve), rest


@pytest.mark.parametrize(
    ("tab", "evaluations", "passes"), [("verbagg_gender", 150, 396), ("sim_n0200_j20_sz50_rho00_pre", 125, 333)]
)
def test_leaving_items_out(tab, evaluations, passes, fitted, monkeypatch):
    trial, fits = fitted[tab]
    counted = Counted(monkeypatch)
    leave_one_item_out(trial, fits["M_A"])
    assert within(counted.so_far(), (evaluations, passes)), counted.so_far()


@pytest.mark.parametrize(
    ("tab", "evaluations", "passes"), [("verbagg_gender", 32, 103), ("sim_n0200_j20_sz50_rho00_pre", 22, 71)]
)
def test_a_bootstrap_replicate(tab, evaluations, passes, fitted, monkeypatch):
    trial, fits = fitted[tab]
    found = []

    def recorded(*args, **kwargs):
        found.extend(fits := fit_side_by_side(*args, **kwargs))
        return fits

    monkeypatch.setattr("ilhte_lib.inference.bootstrap.fit_side_by_side", recorded)
    replicates = 8
    parametric_bootstrap(statistics_of(trial, MODELS["M_A"]), fits["M_0"], replicates=replicates, seed=1, workers=1)
    counted = sum(f.evaluations for f in found) / replicates, sum(f.passes for f in found) / replicates
    assert within(counted, (evaluations, passes)), counted
