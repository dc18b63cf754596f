"""Item covariates as moderators of the treatment effect.

The model is M_A with fixed effects of item covariates z: gamma on easiness and delta on the effect of treatment (see
``model.item_types``; De Boeck & Wilson, 2004; Gilbert, Kim & Miratrix, 2023, Journal of Educational and Behavioral Statistics
48(6)). delta is a comparison between items, so with J items and m columns of z its t has J - m - 2 degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..engine.modes import Model, Modes
from ..engine.native import fit_statistics
from ..errors import EngineError
from ..model.compress import SufficientStatistics
from ..model.fit_result import Fit
from ..model.item_types import ItemCovariate, coded, explained

if TYPE_CHECKING:
    from ..data.trial import PreparedTrial

PERMUTATIONS = 999
"""Number of times z is shuffled over the items."""
SEED = 20250131
MOST_VALUES = 6
"""A numeric covariate with at most this many values has an effect for each; others have effects at the mean and at +-1 SD."""


@dataclass(frozen=True)
class TypeEffect:
    """The average effect of treatment on the items of one type, logits.

    Attributes
    ----------
    label : the label, or the number.
    items : indices of the items of this type; empty for a number that no item has.
    effect, se : beta_1 + z'delta and its standard error, which treats the items as a sample of such items.
    low, high : 95% interval, t with J - m - 2 degrees of freedom; NaN where undefined.
    """

    label: str
    items: tuple[int, ...]
    effect: float
    se: float
    low: float
    high: float


@dataclass(frozen=True)
class Contrast:
    """One entry of delta, logits: the difference from the effect for the first label, or the change per unit of a number."""

    name: str
    estimate: float
    se: float
    low: float
    high: float


@dataclass(frozen=True)
class Explanation:
    """What one item covariate, or several together, explain.

    Attributes
    ----------
    names : names of the covariates.
    values : (J,) values of a single covariate; empty for several.
    loglik : log-likelihood of the model with gamma and delta.
    contrasts : the entries of delta.
    types : the effect by type; empty for several covariates together.
    degrees : degrees of freedom, J - m - 2.
    sigma_zeta, sigma_zeta_without : residual SD of the item effects, and that in M_A, logits.
    share : share explained, 1 - sigma_zeta^2 / sigma_zeta_without^2, at least 0; NaN where M_A has no variance to explain.
    statistic, p : likelihood ratio of delta, beyond gamma alone, and its chi-square p-value on m degrees of freedom.
    p_permutation : p-value from shuffling z over the items, valid with few items.
    permutations : number of shuffles.
    singular, converged : status of the fit.
    """

    names: tuple[str, ...]
    values: tuple[float, ...] | tuple[str, ...]
    loglik: float
    contrasts: tuple[Contrast, ...]
    types: tuple[TypeEffect, ...]
    degrees: int
    sigma_zeta: float
    sigma_zeta_without: float
    share: float
    statistic: float
    p: float
    p_permutation: float
    permutations: int
    singular: bool
    converged: bool


@dataclass(frozen=True)
class ItemTypes:
    """Every item covariate on its own and, if there are several and enough degrees of freedom, all together.

    Attributes
    ----------
    alone : one explanation per covariate.
    together : the explanation by all of them, or None.
    missing : sentences on explanations that could not be computed.
    seed : seed of the shuffles.
    """

    alone: tuple[Explanation, ...]
    together: Explanation | None
    missing: tuple[str, ...]
    seed: int


def item_types(
    trial: PreparedTrial, fits: dict[str, Fit], *, permutations: int = PERMUTATIONS, seed: int | None = None
) -> ItemTypes | None:
    """Whether the trial's item covariates explain the item effects; None if it has none.

    Parameters
    ----------
    trial, fits : prepared data and its fits, including M_A.
    permutations, seed : number and seed of the shuffles; default ``PERMUTATIONS`` and ``SEED``.
    """
    covariates = trial.item_covariates
    if not covariates:
        return None
    seed = SEED if seed is None else seed
    statistics, main = trial.sufficient_statistics(False), fits["M_A"]
    shuffled = ShuffledScores(statistics, main)
    alone, missing = [], []

    def attempt(chosen: Sequence[ItemCovariate]) -> Explanation | None:
        try:
            return _explanation(statistics, fits, chosen, shuffled, permutations, seed)
        except EngineError as reason:
            missing.append(str(reason))
            return None

    for covariate in covariates:
        if (found := attempt([covariate])) is not None:
            alone.append(found)
    together = None
    if len(covariates) > 1:
        size = len(coded(covariates)[0])
        if main.n_items - size - 2 >= 1:
            together = attempt(covariates)
        else:
            missing.append(
                f"All {len(covariates)} item covariates together have {size} columns, too many for {main.n_items} items: each is analysed "
                "only on its own."
            )
    return ItemTypes(tuple(alone), together, tuple(missing), seed)


def _explanation(
    statistics: SufficientStatistics,
    fits: dict[str, Fit],
    covariates: Sequence[ItemCovariate],
    shuffled: ShuffledScores,
    permutations: int,
    seed: int,
) -> Explanation:
    from scipy.special import chdtrc, stdtrit

    main = fits["M_A"]
    names, z = coded(covariates)
    known = replace(statistics, item_covariates=z)
    base = replace(main.spec, steps=())
    method, nodes = main.method, main.nodes
    of_easiness = fit_statistics(
        known, explained(base, names, False), fitted=fits, standard_errors=False, method=method, nodes=nodes
    )
    full = fit_statistics(
        known,
        explained(base, names, True),
        fitted={**fits, of_easiness.spec.name: of_easiness},
        method=method,
        nodes=nodes,
    )
    m, at = len(names), len(full.beta) - len(names)
    degrees = full.n_items - m - 2
    half = float(stdtrit(degrees, 0.975))
    covariance = full.vcov[: len(full.beta), : len(full.beta)]

    def effect(weights: np.ndarray) -> tuple[float, float, float, float]:
        """Estimate, SE and interval of a linear combination of beta."""
        value, variance = float(weights @ full.beta), float(weights @ covariance @ weights)
        se = np.sqrt(variance) if variance >= 0 else np.nan
        return value, float(se), value - half * float(se), value + half * float(se)

    contrasts = tuple(Contrast(name, *effect(np.eye(len(full.beta))[at + k])) for k, name in enumerate(names))
    types = []
    if len(covariates) == 1:
        for label, items, row in _types(covariates[0]):
            weights = np.zeros(len(full.beta))
            weights[1], weights[at:] = 1.0, row
            types.append(TypeEffect(label, items, *effect(weights)))
    statistic = max(2.0 * (full.loglik - of_easiness.loglik), 0.0)
    without = main.sigma_zeta
    return Explanation(
        names=tuple(covariate.name for covariate in covariates),
        values=covariates[0].values if len(covariates) == 1 else (),
        loglik=full.loglik,
        contrasts=contrasts,
        types=tuple(types),
        degrees=degrees,
        sigma_zeta=full.sigma_zeta,
        sigma_zeta_without=without,
        share=max(1.0 - (full.sigma_zeta / without) ** 2, 0.0) if without > 0 else float("nan"),
        statistic=statistic,
        p=float(chdtrc(m, statistic)),
        p_permutation=shuffled.p_value(z, permutations, seed),
        permutations=permutations,
        singular=full.singular,
        converged=full.converged,
    )


def _types(covariate: ItemCovariate) -> list[tuple[str, tuple[int, ...], np.ndarray]]:
    """The types of one covariate: label, items, and their row of z (m,)."""
    values, z = covariate.values, covariate.columns
    different = sorted(set(values), key=lambda value: (str(type(value)), value))
    if covariate.labels is not None or len(different) <= MOST_VALUES:
        found = []
        for value in different:
            items = tuple(k for k, own in enumerate(values) if own == value)
            label = value if isinstance(value, str) else f"{value:.10g}"
            found.append((label, items, z[items[0]]))
        return found
    mean, sd = float(np.mean(np.array(values, float))), float(np.std(np.array(values, float), ddof=1))
    return [(f"{mean + k * sd:.3g}", (), np.array([k * sd])) for k in (-1, 0, 1)]


class ShuffledScores:
    """The score statistic of delta at the estimates of M_A, for any coding z of the items.

    With g (2, J) the items' residuals by arm at the modes and ``W = C - C A S^-1 A' C`` the information on item offsets with
    persons and item effects integrated out (C the items' information by arm, A the loadings, S the Schur complement; see
    ``engine.modes``), offsets X c reduce the deviance by ``g'X (X'WX)^-1 X'g`` to first order. The statistic is the reduction by
    (1, T, z, Tz) beyond (1, T, z), which approximates the likelihood ratio at the cost of a small linear system. If the covariates
    do not matter, all shuffles of them over the items are equally likely, so the p-value is exact for any statistic (Phipson &
    Smyth, 2010, Statistical Applications in Genetics and Molecular Biology 9(1)).
    """

    def __init__(self, statistics: SufficientStatistics, main: Fit):
        model = Model(statistics, main.spec)
        modes = Modes(model)
        modes.set_parameters(main.psi[None])
        modes.start_persons()
        modes.find()
        j, q = statistics.n_items, model.q
        self.n_items = j
        self.residual = modes.item_residual[0].ravel()
        by_arm = np.zeros((2, j, 2, j))
        for (t, other), information in zip(model.pairs, modes.information[0], strict=True):
            by_arm[t, :, other] = information
        loadings = np.einsum("tk,ij->tikj", modes.a[0], np.eye(j)).reshape(2 * j, q * j)
        own = by_arm.reshape(2 * j, 2 * j)
        pulled = own @ loadings
        inverse = modes.schur_inverse()[0].transpose(0, 2, 1, 3).reshape(q * j, q * j)
        self.information = own - pulled @ inverse @ pulled.T

    def statistics(self, z: np.ndarray) -> np.ndarray:
        """(R,) statistic of each of R codings z (R, J, m)."""
        shuffles, j, m = z.shape
        design = np.zeros((shuffles, 2, j, 2 + 2 * m))
        design[:, :, :, 0] = 1.0
        design[:, 1, :, 1] = 1.0
        design[:, :, :, 2 : 2 + m] = z[:, None]
        design[:, 1, :, 2 + m :] = z
        flat = design.reshape(shuffles, 2 * j, -1)
        score = np.matmul(flat.transpose(0, 2, 1), self.residual)
        information = np.matmul(flat.transpose(0, 2, 1), np.matmul(self.information, flat))

        def gain(columns: int) -> np.ndarray:
            own = score[:, :columns, None]
            return np.matmul(own.transpose(0, 2, 1), np.linalg.solve(information[:, :columns, :columns], own))[:, 0, 0]

        return gain(2 + 2 * m) - gain(2 + m)

    def p_value(self, z: np.ndarray, permutations: int, seed: int) -> float:
        """Share of shuffles of z (J, m), including z itself, that reach its statistic; NaN without shuffles."""
        if permutations < 1:
            return float("nan")
        rng = np.random.default_rng(seed)
        try:
            observed = float(self.statistics(z[None])[0])
            orders = rng.permuted(np.tile(np.arange(self.n_items), (permutations, 1)), axis=1)
            drawn = self.statistics(z[orders])
        except np.linalg.LinAlgError:
            return float("nan")
        reached = int((drawn >= observed - 1e-9 * (1.0 + abs(observed))).sum())
        return (1 + reached) / (1 + permutations)
