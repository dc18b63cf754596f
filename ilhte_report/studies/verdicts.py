"""How often the verdict of ``ilhte_lib.inference.who_benefits`` is wrong: a simulation.

Truths: persons only, items only, both with the same and with opposite signs, neither; a true interaction of 0, 0.1 or 0.2
logits per SD of the pretest. Then trials that violate the assumptions of M_C, with item effects and without a true interaction:
item-specific slopes (each item's effect varies with the pretest in its own way), a curved effect of the pretest, and persons who
differ more under treatment; M_D (``engine.slopes``) allows for all three. A verdict is wrong if it makes a false
claim: "person-level" or "masked" without a true interaction, "item-level" with one or without item effects, "masked" where items
and persons do not work in opposite directions. "Cannot tell" claims nothing.

M_D takes ten times as long as M_B and M_C together. It can only withdraw a claim of M_C, so it is fitted only if M_C makes a
claim, and only in trials without a true interaction; in the others verdicts rest on M_C alone, which cannot make fewer of them wrong.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import numpy as np

from ilhte_lib.engine.native import fit_statistics
from ilhte_lib.engine.slopes import bends, fit_slopes
from ilhte_lib.errors import EngineError
from ilhte_lib.inference.closed_form import predicted_bias, predicted_bias_of
from ilhte_lib.inference.replicate import replicate_number
from ilhte_lib.inference.who_benefits import verdict, with_wald_interval
from ilhte_lib.model.response_matrix import matrix_statistics
from ilhte_lib.model.spec import MODELS

from .simulation import Simulation
from .size import wilson_interval

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Markdown

    from ilhte_lib.inference.who_benefits import Verdict

SEED = 51015
REPLICATIONS = 150
GAMMA = 0.7
ESTIMATES = ("beta3_b", "beta3_b_se", "beta3_c", "beta3_c_se", "predicted", "predicted_se", "beta3_d", "beta3_d_se")
"""Estimates and standard errors of M_B, M_C, the closed form, and M_D (NaN if it was not fitted)."""
HOLDS = "none"
SLOPES, CURVE, WIDER = 0.2, 0.3, 1.5
"""SD over items of the effect's slope in the pretest (logits per SD); coefficient of pretest^2 - 1; ratio of the SDs of theta,
treated to control."""


@dataclass(frozen=True)
class Cell:
    """A kind of trial, with sigma_theta = sigma_b = 1, a pretest of 21 values with slope ``GAMMA``, and half of the persons treated."""

    n_persons: int
    n_items: int
    sigma_zeta: float
    rho: float
    beta_3: float
    violation: str = HOLDS

    @property
    def truth(self) -> str:
        """ "neither", "items", "persons", "same sign" or "opposite sign"."""
        if self.beta_3 == 0:
            return "items" if self.sigma_zeta else "neither"
        if not self.sigma_zeta:
            return "persons"
        return "same sign" if self.beta_3 * self.bias > 0 else "opposite sign"

    @property
    def bias(self) -> float:
        """The bias of M_B, by the closed form."""
        return float(predicted_bias(GAMMA, 1.0, self.sigma_zeta, self.rho))

    def wrong(self, said: str) -> bool:
        """Whether a verdict makes a false claim."""
        if said == "person-level":
            return self.beta_3 == 0
        if said == "masked":
            return self.truth != "opposite sign"
        return said == "item-level" and self.truth != "items"


_CELL = ["n_persons", "n_items", "sigma_zeta", "rho", "beta_3", "violation"]
_KINDS = ((0.0, 0.0, (0.0, 0.1, 0.2)), (0.6, 0.8, (0.0, 0.1, 0.2)), (0.6, -0.8, (0.0, 0.1, 0.2)))
CELLS = (
    *(Cell(n, 20, s, r, b) for n in (500, 2000) for s, r, betas in _KINDS for b in betas),
    Cell(1000, 20, 0.0, 0.0, 0.0),
    Cell(1000, 20, 0.6, 0.8, 0.1),
    *(Cell(1000, 20, 0.4, 0.0, 0.0, violation) for violation in ("slopes", "curve", "spread")),
)
LIMITING = tuple(cell for cell in CELLS if cell.beta_3 == 0)
"""Cells without a true interaction, where claims about persons are wrong; they have more trials."""
MORE = 500
"""Trials of each of these after the first ``REPLICATIONS`` of every cell."""
FACTS = {"more": MORE}
"""Stored with the results."""


def cell_of(k: int) -> Cell:
    """The cell of trial k."""
    more = k - REPLICATIONS * len(CELLS)
    return CELLS[k % len(CELLS)] if more < 0 else LIMITING[more % len(LIMITING)]


def asks_m_d(k: int) -> bool:
    """Whether M_D is fitted if there is a claim in trial k."""
    return cell_of(k).beta_3 == 0


def draw(cell: Cell, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, J) responses, (N,) arms and (N,) pretest of one trial."""
    n, j = cell.n_persons, cell.n_items
    w = rng.standard_normal((3, j))
    zeta = cell.sigma_zeta * (cell.rho * w[0] + np.sqrt(1.0 - cell.rho**2) * w[1])
    treat = (rng.permutation(n) < n // 2).astype(np.int8)
    pretest = (2.0 * rng.binomial(20, 0.5, n) - 20) / np.sqrt(20)
    theta = rng.standard_normal(n)
    if cell.violation == "spread":
        theta *= np.where(treat == 1, WIDER, 1.0)
    person = theta + 0.2 * treat + (GAMMA + cell.beta_3 * treat) * pretest
    if cell.violation == "curve":
        person += CURVE * (pretest**2 - 1.0)
    eta = person[:, None] + w[0] + treat[:, None] * zeta
    if cell.violation == "slopes":
        eta += SLOPES * (treat * pretest)[:, None] * w[2]
    responses = (rng.random((n, j)) * (1.0 + np.exp(-eta)) < 1.0).astype(np.int8)
    return responses, treat, pretest


class VerdictStudy(Simulation):
    """Trial k is of ``cell_of(k)``.

    Its table has one row per trial: replication, the cell's n_persons, n_items, sigma_zeta, rho, beta_3, violation, and ``ESTIMATES``.
    """

    seed = SEED
    names = ESTIMATES

    def total(self, replications: int) -> int:
        return replications * len(CELLS) + MORE * len(LIMITING)

    @property
    def identity(self) -> tuple:
        return (GAMMA, SLOPES, CURVE, WIDER, tuple(astuple(cell) for cell in CELLS))

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        k = replicate_number(rng)
        responses, treat, pretest = draw(cell_of(k), rng)
        statistics = matrix_statistics(responses, treat, (pretest - pretest.mean()) / pretest.std())
        constant = fit_statistics(statistics, MODELS["M_B"])
        flexible = fit_statistics(statistics, MODELS["M_C"], smaller=constant)
        bias = predicted_bias_of(flexible)
        both = [(fit.coefficient("treat:cov"), fit.standard_error("treat:cov")) for fit in (constant, flexible)]
        of_slopes = (np.nan, np.nan)
        if asks_m_d(k) and _said(*both, (bias.value, bias.se)) != "cannot tell":
            with suppress(EngineError):
                slopes = fit_slopes(statistics, flexible, curved=bends(statistics))
                of_slopes = (slopes.coefficient("treat:cov"), slopes.standard_error("treat:cov"))
        return np.array([*both[0], *both[1], bias.value, bias.se, *of_slopes])

    def tabulate(self, numbers: np.ndarray, rows: np.ndarray) -> pd.DataFrame:
        import pandas as pd

        cells = [cell_of(int(k)) for k in numbers]
        return pd.DataFrame(
            {
                "replication": numbers.astype(np.int32),
                **{name: [getattr(cell, name) for cell in cells] for name in _CELL},
                **{name: np.round(rows[:, at], 4).astype(np.float32) for at, name in enumerate(ESTIMATES)},
            }
        )


def _said(*pairs: tuple[float, float]) -> Verdict:
    """The verdict from estimates and standard errors of M_B, M_C, the closed form and, if fitted, M_D."""
    return verdict(*(with_wald_interval(*pair) for pair in pairs))


STUDY = VerdictStudy()


def rule_before(constant: tuple[float, float], flexible: tuple[float, float], predicted: tuple[float, float]) -> str:
    """The earlier rule: half of the estimate of M_B is predicted and disappears, whether or not M_B finds an interaction."""
    b, c, p = (with_wald_interval(*pair) for pair in (constant, flexible, predicted))
    if c.excludes_zero:
        return "person-level"
    half, side = abs(b.value) / 2.0, np.sign(b.value)
    explained = min(side * p.value, side * (b.value - c.value)) >= half
    return "item-level" if p.excludes_zero and explained and side != 0 else "cannot tell"


def with_verdicts(trials: pd.DataFrame) -> pd.DataFrame:
    """The fitted trials with columns ``truth``, the verdicts ``before`` (by the earlier rule), ``alone`` (by M_C alone) and ``after``,
    and whether they are wrong, ``wrong_before``, ``wrong_alone`` and ``wrong``."""
    fitted = trials.dropna(subset=list(ESTIMATES[:4]))
    out: dict[str, list] = {
        name: [] for name in ("truth", "before", "alone", "after", "wrong_before", "wrong_alone", "wrong")
    }
    for row in fitted.itertuples():
        cell = Cell(row.n_persons, row.n_items, row.sigma_zeta, row.rho, row.beta_3, row.violation)
        pairs = ((row.beta3_b, row.beta3_b_se), (row.beta3_c, row.beta3_c_se), (row.predicted, row.predicted_se))
        said = (rule_before(*pairs), _said(*pairs), _said(*pairs, (row.beta3_d, row.beta3_d_se)))
        for name, value in zip(out, (cell.truth, *said, *(cell.wrong(word) for word in said)), strict=True):
            out[name].append(value)
    return fitted.assign(**out)


def verdict_summary(given: pd.DataFrame) -> pd.DataFrame:
    """One row per cell of ``with_verdicts``: the cell, truth, trials, and the shares of each verdict, of "item-level" and of wrong
    verdicts by the earlier rule, and of wrong verdicts by M_C alone and by the rule, these with Wilson intervals."""
    import pandas as pd

    keys = [*_CELL, "truth"]
    words = ["person-level", "item-level", "masked", "cannot tell"]
    out = []
    for key, rows in given.groupby(keys, sort=False):
        shares = [float((rows["after"] == word).mean()) for word in words]
        before = (float((rows["before"] == "item-level").mean()), float(rows["wrong_before"].mean()))
        alone, wrong = (float(rows[name].mean()) for name in ("wrong_alone", "wrong"))
        ends = (*wilson_interval(alone, len(rows)), wrong, *wilson_interval(wrong, len(rows)))
        out.append((*key, len(rows), *shares, *before, alone, *ends))
    names = [
        "trials", *words, "item-level before", "wrong before", "wrong by M_C", "low by M_C", "high by M_C", "wrong", "low", "high"
    ]  # fmt: skip
    return pd.DataFrame(out, columns=[*keys, *names])


def verdict_page(summary: pd.DataFrame) -> Markdown:
    """The table of verdicts and errors by cell."""
    from ..words.markdown import page_table
    from ..words.numbers import number, percent_text

    names = {
        HOLDS: "",
        "slopes": ", item-specific slopes",
        "curve": ", curved pretest",
        "spread": ", larger spread under treatment",
    }
    rows = []
    for row in summary.to_dict("records"):
        shares = " / ".join(
            f"{100 * row[word]:.0f}" for word in ("person-level", "item-level", "masked", "cannot tell")
        )
        rows.append(
            {
                "Truth": f"{row['truth']}{names[row['violation']]}",
                "N": f"{row['n_persons']:,}",
                "σ_ζ, ρ": f"{row['sigma_zeta']:g}, {number(row['rho'], 1)}",
                "β₃": f"{row['beta_3']:g}",
                "Verdicts, %": shares,
                "Wrong, earlier rule, %": number(100 * row["wrong before"], 0),
                "Wrong, M_C alone, %": percent_text(row["wrong by M_C"], row["low by M_C"], row["high by M_C"]),
                "Wrong, %": percent_text(row["wrong"], row["low"], row["high"]),
                "Trials": f"{row['trials']:,}",
            }
        )
    return page_table(rows, left=("Truth",))
