"""A planned trial in words and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ilhte_lib.engine.approximation import FEW_ITEMS
from ilhte_lib.inference.planning import PlannedTest, Power, clusters_variance
from ilhte_lib.messages import counted

from .numbers import between, number

if TYPE_CHECKING:
    from ilhte_lib.model.simulate import Design

    from .numbers import Row

_TESTS = {
    "average": "Average, β₁",
    "items": "Item effects, σ_ζ",
    "interaction": "Interaction, β₃",
}
_ASKED = {
    "average": "an average effect",
    "items": "effects that differ between items",
    "interaction": "an interaction with the pretest",
}


def planned(design: Design) -> str:
    """The design, in a sentence."""
    control, clusters = design.n_persons - design.n_treated, design.clusters
    categories = 2 if design.steps is None else len(design.steps) + 1
    text = (
        f"{control} control and {design.n_treated} treated persons, {counted(design.n_items, 'item', 'items')} with {categories} categories; in logits, "
        f"the SDs are σ_θ = {number(design.sigma_theta, 2)} for persons, σ_b = {number(design.sigma_b, 2)} for easiness and σ_ζ = "
        f"{number(design.sigma_zeta, 2)} for item effects around β₁ = {number(design.ate, 2)} with ρ = {number(design.rho, 2)}"
    )
    if clusters is not None:
        size, alike = (
            number(design.n_persons / clusters, 0),
            design.sigma_u**2 / (design.sigma_u**2 + design.sigma_theta**2),
        )
        text += (
            f"; persons come in {clusters} {'sites' if design.sites else 'clusters'} of about {size}, which vary by σ_u = "
            f"{number(design.sigma_u, 2)} (intraclass correlation {number(alike, 2)}; σ_θ is within them)"
        )
        if design.sites and design.sigma_site:
            text += f" and in the effect by {number(design.sigma_site, 2)}"
        text += (
            ", and are randomised within them" if design.sites else f"; {design.clusters_treated} clusters are treated"
        )
    if design.gamma is not None:
        text += f", a pretest has slope {number(design.gamma, 2)} per SD (σ_θ is the SD given the pretest) and interaction β₃ = {number(design.beta_3, 2)}"
    if design.missing:
        text += f"; {100 * design.missing:.0f}% of the responses are missing at random"
    return f"{text}."


def fitted_by(found: Power) -> str:
    """How the simulated trials were fitted, and where the analysis of a real trial may differ."""
    design = found.design
    if found.method == "aghq":
        return "Trials are fitted by quadrature over persons, as `ilhte fit` does with so few items."
    if design.clusters is not None:
        term, option = ("(treat|cluster)", " --cluster-effects") if design.sigma_site > 0 else ("(1|cluster)", "")
        return f"Trials are fitted by Laplace's method with {term} in the models, as `ilhte fit{option}` does with clusters."
    if design.n_items <= FEW_ITEMS:
        return "Trials are fitted by Laplace's method; with so few items `ilhte fit` uses quadrature over persons (--method auto)."
    return "Trials are fitted by Laplace's method, as `ilhte fit` does unless quadrature over persons would change σ_θ by half its standard error."


def preregistration(found: Power) -> str:
    """A sentence for a preregistration: design, power with its Monte Carlo interval, standard error."""
    design, said = found.design, []
    for test in found.tests:
        chance = f"{number(test.power, 2)} (95% Monte Carlo interval {between(test.power_low, test.power_high)})"
        size = "SD " if test.name == "items" else ""
        said.append(f"{_ASKED[test.name]} ({size}{number(test.truth, 2)} logits) with power {chance}")
    average = found.test("average")
    replicates = found.replicates - found.failed
    in_clusters = ""
    if design.clusters is not None:
        in_clusters = f" in {design.clusters} {'sites' if design.sites else 'clusters that are randomised'}"
    listed = said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"
    return (
        f"With {design.n_persons} persons{in_clusters}, {design.n_treated} of them treated, and {counted(design.n_items, 'item', 'items')}, tests at 5% "
        f"find {listed}; the standard error of the average effect is {number(average.se, 3)} logits on average, which allows "
        f"for other items ({counted(replicates, 'simulated trial', 'simulated trials')}, seed {design.seed})."
    )


def items_or_persons(found: Power) -> str:
    """The parts of the variance of the average effect, in closed form."""
    design, average = found.design, found.test("average")
    share = design.sigma_zeta**2 / design.n_items / average.closed_se**2
    if clusters := clusters_variance(design):
        of_clusters = 100 * clusters / average.closed_se**2
        return (
            f"Of the variance of the average effect, {100 * share:.0f}% is due to the choice of items, {of_clusters:.0f}% to the choice of "
            f"{'sites' if design.sites else 'clusters'}, and the rest to the persons: more persons in the same ones reduce only the rest."
        )
    return (
        f"Of the variance of the average effect, {100 * share:.0f}% is due to the choice of items and the rest to the persons: more "
        "persons reduce only the rest."
    )


def planning_rows(found: Power) -> list[Row]:
    """Power and standard errors, simulated and in closed form."""
    return [_row(test) for test in found.tests]


def _row(test: PlannedTest) -> Row:
    return {
        "": _TESTS[test.name],
        "True": number(test.truth, 2),
        "Power": f"{number(test.power, 2)} [{between(test.power_low, test.power_high)}]",
        "Closed form": number(test.closed_power, 2),
        "SE": number(test.se, 3),
        "Closed SE": number(test.closed_se, 3),
    }


def planning_words(found: Power) -> str:
    """The figure of the power curves in words."""
    average = found.test("average")
    return (
        f"Power of the test of the average effect, which rises with the number of persons, and more steeply with more items. "
        f"The simulated power of the planned design is {number(average.power, 2)}, the closed form's {number(average.closed_power, 2)}."
    )
