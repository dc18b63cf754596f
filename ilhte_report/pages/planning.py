"""A planned trial: the design from options or a pilot's document, and its sections."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilhte_lib.errors import InputError
from ilhte_lib.inference.planning import Power, steps_for
from ilhte_lib.messages import quoted
from ilhte_lib.model.simulate import Design

from ..words.planning import fitted_by, items_or_persons, planned, planning_rows, planning_words, preregistration
from .section import Section

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

NOTE = (
    "Simulated trials are fitted and tested like real ones: the average effect by t with Satterthwaite's degrees of freedom, item "
    "effects by the mixture p-value of the likelihood ratio. Units are logits; power has a 95% Monte Carlo interval; SE is the mean "
    "standard error. Closed forms are given where they exist."
)
DEFAULTS: dict[str, Any] = {
    "persons": 500, "items": 20, "categories": 2, "effect": 0.2, "sigma_theta": 1.0, "sigma_b": 1.0, "sigma_zeta": 0.4, "rho": 0.0,
    "pretest": None, "interaction": 0.0, "treated": 0.5, "missing": 0.0, "clusters": None, "icc": None, "sites": False, "site_sd": 0.0,
}  # fmt: skip
"""The design without options and without a pilot."""
USUAL_ICC = 0.1
"""Intraclass correlation of clusters if none is given."""


def planned_design(given: dict[str, Any], pilot: Path | None, seed: int) -> Design:
    """The design: each value from the options, else from the pilot, else from ``DEFAULTS``.

    Parameters
    ----------
    given : values by the names in ``DEFAULTS``; None for options that were not given.
    pilot : a document of ``ilhte fit --json``.

    Raises
    ------
    InputError : the pilot is not such a document, or the design is impossible.
    """
    said = {name: value for name, value in given.items() if value is not None}
    known, steps = ({}, None) if pilot is None else from_pilot(pilot)
    values = DEFAULTS | known | said
    if "categories" in said or steps is None:
        steps = steps_for(values["categories"])
    if "clusters" in known and "persons" in said and "clusters" not in said:
        # more persons mean more clusters of the pilot's size
        values["clusters"] = round(known["clusters"] * values["persons"] / known["persons"])
    icc = values["icc"] if values["clusters"] is None or values["icc"] is not None else USUAL_ICC
    if icc is not None and not 0 <= icc < 1:
        raise InputError(f"An intraclass correlation of {icc:g} was given: it must be at least 0 and less than 1.")
    return Design(
        values["persons"], values["items"], seed, sigma_theta=values["sigma_theta"], ate=values["effect"], sigma_b=values["sigma_b"],
        sigma_zeta=values["sigma_zeta"], rho=values["rho"], gamma=values["pretest"], beta_3=values["interaction"],
        missing=values["missing"], treat_share=values["treated"], steps=steps, clusters=values["clusters"],
        sigma_u=values["sigma_theta"] * math.sqrt(icc / (1 - icc)) if icc else 0.0, sites=values["sites"], sigma_site=values["site_sd"],
    )  # fmt: skip


def from_pilot(path: Path) -> tuple[dict[str, Any], tuple[float, ...] | None]:
    """The design that a pilot's fit implies, by the names in ``DEFAULTS``, and the steps of its items if all share them.

    Raises
    ------
    InputError : the file is not a document of ``ilhte fit --json``.
    """
    wrong = InputError(
        f"{quoted(path.name)} is not a document of `ilhte fit --json`: write one for the pilot and name it."
    )
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        models, summary = document["models"], document["summary"]
        model = models.get("M_C", models["M_A"])
        easiness, covariance, effects = (model["item_cov"][a][b] for a, b in ((0, 0), (0, 1), (1, 1)))
        counts = {name: [row[name] for row in document["items"]] for name in ("n_ctrl", "n_treat")}
        known = {
            "persons": int(summary["n_persons"]), "items": int(summary["n_items"]), "effect": float(model["beta"]["treat"]),
            "sigma_theta": float(model["sigma_theta"]), "sigma_b": math.sqrt(easiness), "sigma_zeta": math.sqrt(effects),
            "rho": max(-1.0, min(1.0, covariance / math.sqrt(easiness * effects))) if easiness * effects > 0 else 0.0,
            "treated": sum(counts["n_treat"]) / (sum(counts["n_treat"]) + sum(counts["n_ctrl"])),
        }  # fmt: skip
        if "cov" in model["beta"]:
            known |= {"pretest": float(model["beta"]["cov"]), "interaction": float(model["beta"]["treat:cov"])}
        if model.get("cluster_cov"):
            own, alike = document["inference"]["clusters"], model["cluster_cov"]
            known |= {
                "clusters": int(own["count"]), "sites": bool(own["both_arms"]),
                "icc": alike[0][0] / (alike[0][0] + model["sigma_theta"] ** 2),
                "site_sd": math.sqrt(alike[1][1]) if len(alike) > 1 else 0.0,
            }  # fmt: skip
        known["missing"] = max(0.0, 1.0 - float(summary["n_responses"]) / (known["persons"] * known["items"]))
        free = list(model["steps"].values())
    except OSError as error:
        raise InputError(f"{quoted(path.name)} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, IndexError):
        raise wrong from None
    shared = document.get("categories") and all(name.startswith("tau_") and "|" not in name for name in model["steps"])
    return known, (*free, -sum(free)) if shared and free else None


def planning_sections(found: Power) -> list[Section]:
    """The sections about a planned trial."""

    def figure() -> Figure:
        from ilhte_lib.figures.planning import planning_figure

        return planning_figure(found)

    failed = (f"{found.failed} simulated trials could not be fitted and are left out.",) if found.failed else ()
    said = (planned(found.design), fitted_by(found), items_or_persons(found))
    curves = "Closed form, for half, equal and twice the number of items; the point is the simulated power with its 95% interval."
    return [
        Section("The plan", said, failed, tuple(planning_rows(found)), note=NOTE),
        Section("Power by persons and items", figure=figure, alt=planning_words(found), note=curves),
        Section("For a preregistration", (preregistration(found),)),
    ]
