"""The analysis of sum scores, for comparison with the model's effect.

Sum scores mix item effects with item discriminations, and their standardised effect is attenuated by unreliability. Reliability
is computed within arms, because over both arms together the treatment effect itself would count as reliable variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data.baseline import baseline_difference
from ..data.trial import Trial, cluster_codes
from ..errors import InputError


@dataclass(frozen=True)
class SumScoreEffect:
    """The sum-score analysis of a trial, in SDs of the score unless said otherwise.

    Attributes
    ----------
    difference : mean score of treated minus control, in items (score = share of answered items that are 1, times the number of
        items).
    sd : pooled within-arm SD of the score, in items.
    smd, smd_se : standardised mean difference with Hedges' small-sample factor, and its standard error.
    reliability, reliability_se : within-arm KR-20 (Cronbach's alpha for binary items) at the mean number of answered items, and
        its distribution-free standard error; NaN if items do not covary positively or nobody answered two.
    corrected, corrected_se : smd / sqrt(reliability), and its SE including the uncertainty of the reliability.
    n_control, n_treated : numbers of persons.
    mean_answered : mean number of items a person answered.
    """

    difference: float
    sd: float
    smd: float
    smd_se: float
    reliability: float
    reliability_se: float
    corrected: float
    corrected_se: float
    n_control: int
    n_treated: int
    mean_answered: float


@dataclass(frozen=True)
class SumScoreInteraction:
    """Least-squares regression of the standardised sum score on treatment, covariate and their product.

    Attributes
    ----------
    treat, cov, interaction : coefficients in within-arm SDs of the score (per SD of the covariate).
    treat_se, cov_se, interaction_se : heteroscedasticity-robust standard errors (HC2); NaN for a perfect fit.
    n_persons : number of persons with a covariate.
    """

    treat: float
    cov: float
    interaction: float
    treat_se: float
    cov_se: float
    interaction_se: float
    n_persons: int


def sum_score_effect(trial: Trial) -> SumScoreEffect:
    """Standardised mean difference of sum scores, also corrected for attenuation.

    ``g = c(m) (y1 - y0) / s``, m = N - 2, ``c(m) = 1 - 3 / (4 m - 1)``, ``SE^2 = N / (n0 n1) + g^2 / (2 N)`` (Hedges
    1981, Journal of Educational Statistics 6(2); Hedges and Olkin 1985, chapter 5); if the models have clusters the first term is
    the cluster-robust variance of the difference (``data.baseline``). With v the mean within-arm variance of an item, k the mean
    covariance of two items, and n the mean number of answered items, the reliability is ``n k / (v + (n - 1) k)``, which is KR-20
    for complete data (Kuder and Richardson 1937) and its Spearman-Brown value otherwise. Its SE comes from the influence of each
    person, without assuming normality (Maydeu-Olivares et al. 2007, Psychological Methods 12(2)), that of the corrected effect
    from the delta method.

    Raises
    ------
    InputError : an arm has fewer than two persons, or scores do not vary.
    """
    score, answered, _ = _scores(trial)
    arm = trial.treat.astype(bool)
    n0, n1 = int(np.count_nonzero(~arm)), int(np.count_nonzero(arm))
    if min(n0, n1) < 2:
        raise InputError(
            f"Table {trial.tab} has fewer than two persons in an arm, so sum scores cannot be compared: include more persons."
        )
    means = np.array([score[~arm].mean(), score[arm].mean()])
    m = n0 + n1 - 2
    sd = float(np.sqrt(((score - means[arm.astype(int)]) ** 2).sum() / m))
    if not sd > 1e-12 * trial.n_items:
        raise InputError(
            f"Everyone in an arm of table {trial.tab} has the same score, so there is no SD to standardise by: include more persons."
        )
    smd = (1.0 - 3.0 / (4.0 * m - 1.0)) * (means[1] - means[0]) / sd
    smd_se = np.sqrt((n0 + n1) / (n0 * n1) + smd**2 / (2.0 * (n0 + n1)))
    if trial.clusters_modelled:
        smd_se = baseline_difference(score, trial.treat, trial.cluster).se
    reliability, reliability_se = _reliability(trial, float(answered.mean()))
    corrected = corrected_se = float("nan")
    if reliability > 0:
        corrected = smd / np.sqrt(reliability)
        corrected_se = np.sqrt(smd_se**2 / reliability + smd**2 * reliability_se**2 / (4.0 * reliability**3))
    return SumScoreEffect(
        float(means[1] - means[0]), sd, float(smd), float(smd_se), reliability, reliability_se,
        float(corrected), float(corrected_se), n0, n1, float(answered.mean()),
    )  # fmt: skip


def sum_score_interaction(trial: Trial) -> SumScoreInteraction:
    """The interaction of treatment and covariate in sum scores, as most trials report it.

    Ordinary least squares of the score, in within-arm SDs, on 1, T, c and T c, with HC2 standard errors (MacKinnon and White 1985,
    Journal of Econometrics 29(3)) or, if the models have clusters, cluster-robust ones (Liang and Zeger 1986, Biometrika 73(1)).

    Raises
    ------
    InputError : the trial has no covariate, too few persons have it, or it or the score does not vary in both arms.
    """
    if trial.covariate is None:
        raise InputError(f"Table {trial.tab} has no covariate for an interaction: name one (option --covariate).")
    score, _, _ = _scores(trial)
    kept = ~np.isnan(trial.covariate)
    arm, c = trial.treat[kept].astype(float), trial.covariate[kept]
    score = score[kept]
    if len(score) < 6 or min(np.ptp(c[arm == t]) if (arm == t).sum() > 2 else 0.0 for t in (0, 1)) == 0:
        raise InputError(
            f"The covariate of table {trial.tab} does not vary in both arms, so no interaction can be estimated: name another "
            "(option --covariate)."
        )
    within = np.concatenate([score[arm == t] - score[arm == t].mean() for t in (0, 1)])
    sd = float(np.sqrt((within**2).sum() / (len(score) - 2)))
    if not sd > 1e-12 * trial.n_items:
        raise InputError(
            f"Everyone in an arm of table {trial.tab} has the same score, so no interaction can be estimated: include more persons."
        )
    y = score / sd
    x = np.column_stack([np.ones_like(c), arm, c, arm * c])
    bread = np.linalg.inv(x.T @ x)
    beta = bread @ (x.T @ y)
    leverage = np.einsum("pi,ij,pj->p", x, bread, x)
    residual = y - x @ beta
    meat = (x * (residual**2 / np.maximum(1.0 - leverage, 1e-12))[:, None]).T @ x
    if trial.clusters_modelled and trial.cluster is not None:
        _, of_cluster = np.unique(cluster_codes(trial.cluster[kept]), return_inverse=True)
        count = int(of_cluster.max()) + 1
        sums = np.zeros((count, 4))
        np.add.at(sums, of_cluster, x * residual[:, None])
        meat = count / (count - 1) * sums.T @ sums
    variance = np.diagonal(bread @ meat @ bread)
    se = np.sqrt(variance, out=np.full(4, np.nan), where=variance > 0)  # rounding can make it negative in a perfect fit
    (treat, cov, product), (treat_se, cov_se, product_se) = beta[1:].tolist(), se[1:].tolist()
    return SumScoreInteraction(treat, cov, product, treat_se, cov_se, product_se, len(score))


def _scores(trial: Trial) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Score in points of the whole test (P,), number of answered items (P,), and sum of responses (P,)."""
    answered = np.bincount(trial.person, minlength=trial.n_persons).astype(float)
    total = np.bincount(trial.person, weights=trial.resp, minlength=trial.n_persons)
    if trial.formats is None:
        return trial.n_items * total / answered, answered, total
    highest = trial.formats.highest
    within_reach = np.bincount(trial.person, weights=highest[trial.item], minlength=trial.n_persons)
    return highest.sum() * total / within_reach, answered, total


def _reliability(trial: Trial, length: float) -> tuple[float, float]:
    """Within-arm reliability of a test of ``length`` items, and its standard error."""
    cell = trial.treat[trial.person].astype(int) * trial.n_items + trial.item
    mean = np.bincount(cell, weights=trial.resp) / np.maximum(np.bincount(cell), 1)
    residual = trial.resp - mean[cell]
    n = trial.n_persons
    squares = np.bincount(trial.person, weights=residual**2, minlength=n)
    total = np.bincount(trial.person, weights=residual, minlength=n)
    answered = np.bincount(trial.person, minlength=n).astype(float)
    products, pairs = total**2 - squares, answered * (answered - 1.0)
    if not pairs.sum() > 0:  # with one response per person, covariances of items are unknown
        return float("nan"), float("nan")
    v, k = squares.sum() / answered.sum(), products.sum() / pairs.sum()
    if not (k > 0 and v > 0):
        return float("nan"), float("nan")
    reliability = length * k / (v + (length - 1.0) * k)
    # v and k are ratios of sums over persons: compute each person's influence on them, then on the reliability
    on_v, on_k = (squares - v * answered) / answered.sum(), (products - k * pairs) / pairs.sum()
    denominator = (v + (length - 1.0) * k) ** 2
    influence = (length * v / denominator) * on_k - (length * k / denominator) * on_v
    return float(reliability), float(np.sqrt((influence**2).sum() * n / (n - 2)))
