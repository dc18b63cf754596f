"""A sentence on which approximation of the likelihood was used for a table, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ilhte_lib.engine.approximation import ENOUGH_FOR_LAPLACE, FEW_ITEMS

if TYPE_CHECKING:
    from ilhte_lib.model.fit_result import Fit

OTHERWISE = "approximated by Laplace, since"
"""In the message of a fit by Laplace for another reason than that quadrature would change little."""
NAMES = {"laplace": "Laplace's likelihood", "aghq": "likelihood by quadrature"}


def approximation_sentence(main: Fit, asked: str) -> str:
    """Which approximation was used and, where ``auto`` chose it, why.

    Parameters
    ----------
    main : the fit of M_A.
    asked : the method asked for, "auto", "laplace" or "aghq".
    """
    if main.method == "laplace":
        why = (
            "; quadrature over persons would change σ_θ by at most half its standard error"
            if asked == "auto"
            and main.n_items > FEW_ITEMS
            and not any(OTHERWISE in message for message in main.messages)
            else ""
        )
        if main.clusters is not None and main.n_items <= FEW_ITEMS:
            why = "; quadrature over persons is not available for models with clusters"
        return f"The likelihood is Laplace's, as in lme4{why}."
    text = "Persons are integrated out by adaptive quadrature, which lme4 cannot do for these models"
    if asked == "auto" and main.n_items <= FEW_ITEMS:
        text += f": with {main.n_items} items Laplace's likelihood would underestimate σ_θ"
    elif asked == "auto":
        text += ": with Laplace's likelihood σ_θ would be off by more than half its standard error"
    if main.n_items < ENOUGH_FOR_LAPLACE:
        return (
            f"{text}. In a bootstrap, simulated trials are fitted by Laplace's method, resampled persons by quadrature."
        )
    return f"{text}. In a bootstrap, Laplace's method is used."
