"""Which approximation of the likelihood a table's numbers are of, and why, in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ilhte_lib.engine.approximation import ENOUGH_FOR_LAPLACE, FEW_ITEMS

if TYPE_CHECKING:
    from ilhte_lib.model.fit_result import Fit

NAMES = {"laplace": "Laplace's likelihood", "aghq": "likelihood by quadrature"}


def approximation_sentence(main: Fit, asked: str) -> str:
    """What was done, and why ``auto`` did so.

    Parameters
    ----------
    main : M_A.
    asked : "auto", "laplace" or "aghq".
    """
    if main.method == "laplace":
        why = (
            "; quadrature over persons would move σ_θ by no more than half its standard error"
            if asked == "auto" and main.n_items > FEW_ITEMS
            else ""
        )
        if main.clusters is not None and main.n_items <= FEW_ITEMS:
            why = "; quadrature over persons has no clusters in its model"
        return f"The likelihood is Laplace's, as in lme4{why}."
    text = "Persons are integrated out by adaptive quadrature, which lme4 cannot do"
    if asked == "auto" and main.n_items <= FEW_ITEMS:
        text += f": with {main.n_items} items Laplace's likelihood would underestimate σ_θ"
    elif asked == "auto":
        text += ": Laplace's likelihood would be off by more than half a standard error of σ_θ"
    if main.n_items < ENOUGH_FOR_LAPLACE:
        return f"{text}. A bootstrap fits the trials it draws by Laplace, the persons it draws by quadrature."
    return f"{text}. A bootstrap fits what it draws by Laplace."
