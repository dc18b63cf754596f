"""Inference for single items: intervals, flagged items, and whether the average depends on a few of them.

Two kinds of estimates are used. Empirical-Bayes effects ``beta_1 + zeta_i`` of M_A borrow strength from the other items and are
the more accurate; free estimates, with one parameter per item and arm, borrow none, so that they are unbiased under a hypothesis
about one item and can be used to test it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from ..engine.objective import ModeNotFound
from ..engine.quadrature import PersonIntegrals, person_modes
from ..errors import EngineError
from ..model.compress import SufficientStatistics, without_clusters
from ..model.fit_result import Fit
from .delta_method import total_effect_variance
from .multiplicity import benjamini_hochberg, holm

FREE_NODES, FEWER_NODES = 31, 9
"""Quadrature nodes for the free item estimates; fewer for large data with many items, where each person's integrand is so nearly
normal that more would change nothing that is shown."""
LARGE_CELLS, MANY_ITEMS = 10_000_000, 10
EXTREME_SIGMA = 5.0
"""Above this sigma_theta (logits) the result is checked with four times as many nodes."""
ENOUGH_NODES = 0.1
"""More nodes may move no effect by more than this share of its standard error."""
CUT = 0.05
"""The bisquare gives weight 0 to items whose departure would be significant at this level, as Halpin (2024) does."""
DRAWS = 1999
NULL_SEED = 1964
STARTS = 15
DRAWN_CELLS = 60_000
"""Draws times starts times items processed together, so that they stay in the processor's cache."""


# -- free estimates ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FreeEffects:
    """Item effects estimated one by one, logits.

    Attributes
    ----------
    effect : (J,) log-odds of the item under treatment minus control, given theta; NaN where an arm did not answer the item, or
        gave it only its lowest or only its highest score.
    covariance : (J, J) their covariance; NaN in the rows and columns of undefined effects.
    """

    effect: np.ndarray
    covariance: np.ndarray

    @classmethod
    def undefined(cls, n_items: int) -> FreeEffects:
        """All effects undefined."""
        return cls(np.full(n_items, np.nan), np.full((n_items, n_items), np.nan))

    @property
    def estimable(self) -> np.ndarray:
        """(m,) indices of the items whose effect is defined."""
        return np.flatnonzero(~np.isnan(self.effect))


def free_item_effects(
    statistics: SufficientStatistics, sigma_theta: float, steps: np.ndarray | None = None
) -> FreeEffects:
    """Marginal maximum likelihood with one easiness per item and arm, and no distribution over items.

    ``logit P(Y_pi = 1) = e_Ti + theta_p``, theta_p ~ N(0, sigma_theta^2), with persons integrated out by quadrature (Bock and
    Aitkin 1981, Psychometrika 46(4)). effect_i = e_1i - e_0i includes the average effect. sigma_theta is treated as known, because
    its uncertainty scales every effect by the same small factor. With clusters it is the SD over all persons
    (``Fit.sigma_persons``): a cluster's level shifts all its items equally, so that contrasts between items are unaffected.

    Parameters
    ----------
    statistics : the data, without covariate.
    sigma_theta : its estimate in M_A, logits.
    steps : (S,) free steps of items with more than two categories, as estimated in M_A and treated as known.

    Raises
    ------
    EngineError : the estimates do not converge, or persons differ so much that no quadrature is accurate.
    """
    usable, statistics = _without_constant_items(without_clusters(statistics))
    n_items = statistics.n_items
    large = statistics.n_classes * n_items * FREE_NODES > LARGE_CELLS and n_items >= MANY_ITEMS
    share = (statistics.item_total + 0.5) / (_answers(statistics) * _highest(statistics) + 1.0)

    def integrals(nodes: int) -> PersonIntegrals:
        persons = PersonIntegrals(statistics, nodes)
        persons.set_steps(np.empty(0) if steps is None else steps)
        return persons

    easiness = np.log(share / (1.0 - share)) * np.sqrt(1.0 + 0.35 * sigma_theta**2)
    if sigma_theta <= EXTREME_SIGMA:
        nodes = FEWER_NODES if large else FREE_NODES
        return _effects(usable, *_maximised(integrals(nodes), usable, sigma_theta, easiness))
    # a person's integrand can then be nearly a step, so check that the nodes suffice
    try:
        found = _maximised(integrals(FREE_NODES), usable, sigma_theta, easiness)
        coarse = _effects(usable, *found)
        fine = _effects(usable, *_maximised(integrals(4 * FREE_NODES), usable, sigma_theta, found[0]))
    except (ArithmeticError, ValueError, EngineError):
        raise EngineError(_too_different(sigma_theta)) from None
    kept = fine.estimable
    moved = np.abs(fine.effect - coarse.effect)[kept] / np.sqrt(np.diagonal(fine.covariance)[kept])
    if not (moved < ENOUGH_NODES).all():
        raise EngineError(_too_different(sigma_theta))
    return fine


def _too_different(sigma_theta: float) -> str:
    return (
        f"Persons differ so much (sigma_theta is {sigma_theta:.3g} logits) that the items' own effects cannot be computed: "
        "most persons give the same response to all items, or responses form a Guttman pattern."
    )


def _maximised(
    persons: PersonIntegrals, usable: np.ndarray, sigma: float, easiness: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """(2, J) easiness of each item by arm, and the information on it, by Newton's method from a first guess."""
    easiness = easiness.copy()
    for _ in range(100):
        _integrate(persons, sigma, easiness)
        information = persons.information()
        step = np.zeros(easiness.shape)
        for t in (0, 1):
            here = usable[t]
            if here.any():
                factor = cho_factor(information[t][np.ix_(here, here)])
                step[t, here] = cho_solve(factor, persons.residuals()[t][here])
        easiness += np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-9:
            return easiness, information
    raise EngineError("The items' own effects could not be estimated, because Newton's method did not converge.")


def _integrate(persons: PersonIntegrals, sigma: float, easiness: np.ndarray) -> None:
    """Compute the persons' integrals; if Newton's method fails to find their modes, these are first found by bracketing."""
    zero, offsets = np.zeros(persons.statistics.n_classes), (easiness[0], easiness[1])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        try:
            persons.integrate(zero, sigma, offsets)
        except ModeNotFound:
            persons.centre[:] = person_modes(persons.statistics, zero, sigma, offsets, persons.steps)
            persons.integrate(zero, sigma, offsets)


def _effects(usable: np.ndarray, easiness: np.ndarray, information: list[np.ndarray]) -> FreeEffects:
    """Differences between the arms, for items with both kinds of responses in each arm."""
    n_items = easiness.shape[1]
    both = np.flatnonzero(usable.all(axis=0))
    effect = np.full(n_items, np.nan)
    effect[both] = easiness[1, both] - easiness[0, both]
    covariance = np.full((n_items, n_items), np.nan)
    if len(both):
        covariance[np.ix_(both, both)] = sum(
            _block(np.linalg.inv(_block(information[t], usable[t])), usable[t], both) for t in (0, 1)
        )
    return FreeEffects(effect, covariance)


def _block(matrix: np.ndarray, of: np.ndarray, wanted: np.ndarray | None = None) -> np.ndarray:
    """The rows and columns in ``of`` (a mask) or, if the matrix already has only those, the ones in ``wanted``."""
    index = np.flatnonzero(of) if wanted is None else np.searchsorted(np.flatnonzero(of), wanted)
    return matrix[np.ix_(index, index)]


def _answers(statistics: SufficientStatistics) -> np.ndarray:
    """(2, J) number of responses to each item, by arm."""
    s = statistics
    trials = np.ones((s.n_classes, s.n_items)) if s.trials is None else s.trials
    cut = s.n_control_classes
    return np.array([s.count[:cut] @ trials[:cut], s.count[cut:] @ trials[cut:]])


def _highest(statistics: SufficientStatistics) -> np.ndarray:
    """(J,) highest score of each item."""
    return np.ones(statistics.n_items) if statistics.formats is None else statistics.formats.highest.astype(float)


def _without_constant_items(statistics: SufficientStatistics) -> tuple[np.ndarray, SufficientStatistics]:
    """(2, J) mask of items whose responses vary in each arm, and the statistics without the others.

    An item whose responses in an arm are all the lowest or all the highest has no finite easiness there and carries no information
    about that arm's persons. Its responses are constant, so they are subtracted from the scores exactly.
    """
    s, answers = statistics, _answers(statistics)
    highest = _highest(s)
    usable = (s.item_total > 0) & (s.item_total < answers * highest)
    if usable.all():
        return usable, s
    trials = np.ones((s.n_classes, s.n_items)) if s.trials is None else s.trials @ np.eye(s.n_items)
    score, total = s.score.copy(), s.item_total.copy()
    for t, arm in enumerate((slice(0, s.n_control_classes), slice(s.n_control_classes, s.n_classes))):
        at_top = (s.item_total[t] == answers[t] * highest) & ~usable[t]
        score[arm] -= trials[arm] @ (at_top * highest)
        trials[arm] *= usable[t]
        total[t] *= usable[t]
    return usable, replace(s, trials=trials, score=score, item_total=total)


# -- items one by one ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ItemInference:
    """Inference for each item; arrays have one entry per item, effects are in logits.

    Attributes
    ----------
    item_names : J names.
    effect, se, lower, upper : empirical-Bayes effect beta_1 + zeta_i, its SE including the uncertainty of beta_1, and the interval
        effect -+ z SE.
    p, p_bh, p_holm : two-sided p-value for an effect of 0 on the item, unadjusted, after Benjamini-Hochberg and after Holm.
    departure, departure_se : free estimate of the item's effect minus the mean of all free estimates; NaN where undefined.
    departure_p, departure_p_bh, departure_p_holm : two-sided p-value for an effect equal to the average.
    level : coverage of the interval of a single item.
    """

    item_names: tuple[str, ...]
    effect: np.ndarray
    se: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    p: np.ndarray
    p_bh: np.ndarray
    p_holm: np.ndarray
    departure: np.ndarray
    departure_se: np.ndarray
    departure_p: np.ndarray
    departure_p_bh: np.ndarray
    departure_p_holm: np.ndarray
    level: float

    def flagged(self, alpha: float = 0.05) -> tuple[str, ...]:
        """Names of items whose effect differs from the average at level ``alpha`` after Holm's correction."""
        return tuple(n for n, p in zip(self.item_names, self.departure_p_holm, strict=True) if p < alpha)


def item_inference(
    statistics: SufficientStatistics, fit: Fit, *, level: float = 0.95, free: FreeEffects | None = None
) -> ItemInference:
    """Intervals and tests for the items of M_A.

    Parameters
    ----------
    statistics, fit : data and fit of M_A, with standard errors.
    level : coverage of the intervals.
    free : ``free_item_effects`` at the fit's SD of persons, if already computed; ``FreeEffects.undefined`` if they cannot be
        computed, so that departures are NaN.
    """
    from scipy.special import ndtri, stdtrit

    effect = fit.coefficient("treat") + fit.ranef[:, 1]
    se = np.sqrt(total_effect_variance(fit))
    p = _two_sided(effect, se, None if fit.clusters is None else fit.clusters.degrees_of_freedom)
    free = free or free_item_effects(statistics, fit.sigma_persons, fit.steps)
    departure, departure_se = np.full((2, fit.n_items), np.nan)
    kept = free.estimable
    if len(kept) > 1:
        contrast = np.eye(len(kept)) - 1.0 / len(kept)
        departure[kept] = contrast @ free.effect[kept]
        departure_se[kept] = np.sqrt(np.diagonal(contrast @ free.covariance[np.ix_(kept, kept)] @ contrast.T))
    departure_p = _two_sided(departure, departure_se)
    z = float(ndtri(0.5 + level / 2.0))
    if fit.clusters is not None:
        z = float(stdtrit(fit.clusters.degrees_of_freedom, 0.5 + level / 2.0))
    return ItemInference(
        fit.item_names, effect, se, effect - z * se, effect + z * se, p, benjamini_hochberg(p), holm(p),
        departure, departure_se, departure_p, benjamini_hochberg(departure_p), holm(departure_p), level,
    )  # fmt: skip


def _two_sided(estimate: np.ndarray, se: np.ndarray, df: int | None = None) -> np.ndarray:
    """Two-sided p-values, normal or by t with ``df`` degrees of freedom; NaN without a standard error."""
    from scipy.special import ndtr, stdtr

    z = np.divide(estimate, se, out=np.full(estimate.shape, np.nan), where=se > 0)
    return 2.0 * (ndtr(-np.abs(z)) if df is None else stdtr(df, -np.abs(z)))


# -- whether the average depends on a few items --------------------------------------------------------------------


@dataclass(frozen=True)
class RobustComparison:
    """The mean of the item effects compared with a robust mean, logits.

    Attributes
    ----------
    mean : unweighted mean of the free item effects.
    robust : their bisquare M-estimate, in which outlying items have little or no weight.
    difference : mean - robust.
    weight : (J,) bisquare weight of each item, 1 at the centre and 0 beyond the cut; NaN where its effect is undefined.
    se : SD of the difference if all items had the same effect.
    p : p-value of the difference if all items had the same effect, so that only the sampling of persons matters.
    p_normal : p-value of the difference if effects varied normally with M_A's sigma_zeta, without outlying items.
    p_outliers : p-value for normally varying item effects against a few outlying ones.
    outlying : (J,) whether the item is in the most outlying group, the least likely by chance.
    mean_without : mean effect of the other items.
    n_items : number of usable items.
    """

    mean: float
    robust: float
    difference: float
    weight: np.ndarray
    se: float
    p: float
    p_normal: float
    p_outliers: float
    outlying: np.ndarray
    mean_without: float
    n_items: int


def robust_comparison(
    statistics: SufficientStatistics, fit: Fit, *, draws: int = DRAWS, free: FreeEffects | None = None
) -> RobustComparison:
    """Whether the average effect depends on a few items: a Hausman-type comparison of the mean with a robust mean.

    After Halpin and Gilbert (2024, arXiv:2409.03502): if items differ only by chance, the mean and the bisquare estimate of
    Halpin (2024, Psychometrika 89(3)) estimate the same effect, and a difference beyond its sampling error shows that some items
    pull the mean. The bisquare's cut for item i is z_(1 - alpha/2) times the SD of its departure from the centre under that
    hypothesis. Both estimates move equally with a shift of all effects, so anything that items have in common, including the
    persons' part, cancels in the difference.

    The two p-values answer different questions. A small ``p`` means that the average depends on which items are in the test;
    items that differ symmetrically cause that too, because the bisquare then settles on some of them. A small ``p_normal`` means
    that the item effects are more uneven than the normal distribution of M_A implies. It has little power, because a few strong
    items also raise M_A's sigma_zeta, and pull the mean little if they lie on both sides.

    Whether a few items stand out is therefore tested directly, by a mean-shift test (Viechtbauer and Cheung 2010, Research
    Synthesis Methods 1(2), for outliers in meta-analysis): for k = 1 ... J/4 the k effects farthest from the median get means of
    their own, and the gain in normal log-likelihood is compared with its distribution if effects vary normally with M_A's
    sigma_zeta; ``p_outliers`` is the p-value of the smallest over k. Its size and power are simulated in
    ``ilhte_report.studies.outliers``.

    The R package robustDIF (0.2.0; Halpin 2024) has the first of these tests as ``delta_test``: a Wald test of the naive
    difference between groups, the mean of its scaling functions of the items (``d_fun3``, a group difference of intercepts over a
    pooled slope), against their bisquare estimate (``rdif``), and one of each item against that (``dif_test``), for a 2PL or
    graded response model fitted to each group by mirt or lavaan. Its null is that of ``p``, that no item differs. If items differ
    normally, as in M_A, it rejects, so it is not a test for a few outlying items.

    P-values come from drawing effects under the null with the estimated covariance and repeating both estimates, with a fixed
    seed. A normal approximation would not do, because the difference is of second order if items are about equally precise.

    Parameters
    ----------
    statistics, fit : data and fit of M_A.
    draws : number of draws from each null.
    free : ``free_item_effects`` at the fit's SD of persons, if already computed.

    Returns
    -------
    The comparison; all NaN except ``n_items`` if fewer than three items are usable.
    """
    free = free or free_item_effects(statistics, fit.sigma_persons, fit.steps)
    # drawn in the order of their effects, so that the order of items in the table does not matter
    kept = free.estimable[np.argsort(free.effect[free.estimable], kind="stable")]
    weight = np.full(fit.n_items, np.nan)
    if len(kept) < 3:
        nan = float("nan")
        return RobustComparison(nan, nan, nan, weight, nan, nan, nan, nan, np.zeros(fit.n_items, bool), nan, len(kept))
    effect, covariance = free.effect[kept], free.covariance[np.ix_(kept, kept)]
    cut = _departure_cut(covariance)
    robust = _bisquare_centres(effect[None], cut)[0]
    weight[kept] = _bisquare_weight(effect - robust, cut)
    difference = float(effect.mean() - robust)
    rng = np.random.default_rng(NULL_SEED)
    p, spread = [], []
    for extra in (0.0, fit.sigma_zeta**2):
        factor = np.linalg.cholesky(covariance + extra * np.eye(len(kept)))
        null = rng.standard_normal((draws, len(kept))) @ factor.T
        differences = null.mean(axis=1) - _bisquare_centres(null, cut)
        p.append(float((1 + np.count_nonzero(np.abs(differences) >= abs(difference))) / (draws + 1)))
        spread.append(float(differences.std(ddof=1)))
    p_outliers, far = _outlying(effect, null, float(np.diagonal(covariance).mean()))
    outlying = np.zeros(fit.n_items, bool)
    outlying[kept[far]] = True
    return RobustComparison(
        float(effect.mean()), float(robust), difference, weight, spread[0], p[0], p[1], p_outliers, outlying,
        float(np.delete(effect, far).mean()), len(kept),
    )  # fmt: skip


def _outlying(effect: np.ndarray, null: np.ndarray, noise: float) -> tuple[float, np.ndarray]:
    """The mean-shift test of ``robust_comparison``: its p-value, and the positions of the most outlying items.

    Parameters
    ----------
    effect : (m,) effects.
    null : (B, m) draws of them without outliers.
    noise : lower bound of the variance of the other effects, the variance of an effect's estimate, squared logits.
    """
    gains, order = _shift_gains(np.vstack([effect, null]), noise)
    # rank 1 is the largest gain; ties share the worse rank
    of_columns = [np.searchsorted(np.sort(-column), -column, side="right") for column in gains.T]
    smallest = np.min(of_columns, axis=0)
    p = float(np.count_nonzero(smallest <= smallest[0]) / len(smallest))
    return p, order[0, : int(np.argmin([ranks[0] for ranks in of_columns])) + 1]


def _shift_gains(effects: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Gains from giving the 1 ... K effects farthest from the median means of their own.

    Returns twice the gain in log-likelihood (B, K), and the order of the effects by that distance (B, m), farthest first.
    """
    m = effects.shape[1]
    order = np.argsort(-np.abs(effects - np.median(effects, axis=1, keepdims=True)), axis=1, kind="stable")
    ordered = np.take_along_axis(effects, order, axis=1)

    # sums over all but the first k, for all k at once
    ordered -= ordered.mean(axis=1, keepdims=True)
    last = max(1, m // 4)
    size = m - np.arange(last + 1)
    total = ordered.sum(axis=1, keepdims=True) - _summed(ordered[:, :last])
    squares = (ordered**2).sum(axis=1, keepdims=True) - _summed(ordered[:, :last] ** 2) - total**2 / size
    variance = np.maximum(squares / m, noise)
    deviance = m * np.log(variance) + squares / variance
    return deviance[:, :1] - deviance[:, 1:], order


def _summed(values: np.ndarray) -> np.ndarray:
    """(B, k + 1) sums of the first 0, 1, ... k columns of values (B, k)."""
    return np.concatenate([np.zeros((len(values), 1)), values.cumsum(axis=1)], axis=1)


def _departure_cut(covariance: np.ndarray) -> np.ndarray:
    """(m,) cut for each item's departure from the precision-weighted mean, beyond which its weight is 0, logits."""
    from scipy.special import ndtri

    precision = 1.0 / np.diagonal(covariance)
    w = precision / precision.sum()
    contrast = np.eye(len(w)) - w
    return float(ndtri(1.0 - CUT / 2.0)) * np.sqrt(np.diagonal(contrast @ covariance @ contrast.T))


def _bisquare_weight(departure: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """Tukey's weight (1 - (r/c)^2)^2 within the cut, 0 beyond."""
    inside = departure / cut
    inside *= inside
    np.subtract(1.0, inside, out=inside)
    np.maximum(inside, 0.0, out=inside)
    inside *= inside
    return inside


def _bisquare_centres(effects: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """(B,) bisquare M-estimates for B sets of effects (B, m): the deepest minimum of sum rho(r / c).

    The objective has several minima, so a few steps are taken from up to ``STARTS`` effects, evenly spaced in rank and therefore
    densest where the items are, and the search continues from the lowest.
    """
    m = effects.shape[1]
    ranks = np.unique(np.linspace(0, m - 1, min(m, STARTS)).round().astype(int))
    out = np.empty(len(effects))
    together = max(1, DRAWN_CELLS // (m * len(ranks)))
    for first in range(0, len(effects), together):
        part = effects[first : first + together]
        centres = np.sort(part, axis=1)[:, ranks]
        for _ in range(5):
            centres = _reweighted(part, centres, cut)
        inside = np.maximum(1.0 - ((part[:, None, :] - centres[:, :, None]) / cut) ** 2, 0.0)
        lowest = (1.0 - inside**3).sum(axis=2).argmin(axis=1)
        out[first : first + together] = np.take_along_axis(centres, lowest[:, None], axis=1)[:, 0]
    together = max(1, DRAWN_CELLS // m)
    for first in range(0, len(effects), together):
        moving = np.arange(first, min(first + together, len(effects)))
        for _ in range(200):
            moved = _reweighted(effects[moving], out[moving, None], cut)[:, 0]
            change = np.abs(moved - out[moving])
            out[moving] = moved
            moving = moving[change >= 1e-11]
            if not len(moving):
                break
    return out


def _reweighted(effects: np.ndarray, centres: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """One step of iteratively reweighted least squares from each centre (B, s), for effects (B, m)."""
    weight = _bisquare_weight(effects[:, None, :] - centres[:, :, None], cut)
    weight /= cut**2
    return np.matmul(weight, effects[:, :, None])[..., 0] / weight.sum(axis=2)
