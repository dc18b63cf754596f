"""The second engine: lme4's glmer in R, called through pymer4.

R runs inside this process and starts with the first fit; importing this module loads neither R nor rpy2.
"""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

import numpy as np

from ..errors import EngineError, InputError
from ..model.fit_result import SINGULAR_BELOW, ClusterFit, Fit
from ..model.spec import MODELS, ModelSpec

if TYPE_CHECKING:
    from ..data.trial import Trial

OPTIMIZER = "bobyqa"
MAX_EVALUATIONS = 200_000

# Everything is read in one call and put in the order of psi (beta, sigma_theta, L) by name, because lme4 orders its terms by
# their number of levels. theta has the scale of psi since a binomial model has no residual SD; gradient and hessian are
# lme4's finite differences of the deviance. slopes is d(item effects)/d(psi): the mode u^ solves
# Lambda' Z'(y - mu) = u, so by the implicit function theorem H du^ = -Lambda' Z' W X dbeta
# + (dLambda' Z'(y - mu) - Lambda' Z' W Z dLambda u^) dtheta, with H the matrix whose Cholesky factor lme4 keeps as L
# (Bates et al. 2015, Journal of Statistical Software 67(1), section 3).
_READ_FIT = """
function(m) {
  get <- function(name) lme4::getME(m, name)
  effects <- lme4::ranef(m, condVar = TRUE)$item
  u <- get("u"); Lt <- get("Lambdat"); Zt <- get("Zt"); W <- weights(m, type = "working")
  residual <- Zt %*% (get("y") - get("mu"))
  dLt <- lapply(seq_along(get("theta")), function(k) { Lt@x <- as.numeric(get("Lind") == k); Lt })
  direct <- lapply(dLt, function(d) Matrix::crossprod(d, u))
  pull <- c(
    list(-(Lt %*% Zt %*% (W * get("X")))),
    Map(function(d, v) d %*% residual - Lt %*% Zt %*% (W * as.numeric(Matrix::crossprod(Zt, v))), dLt, direct)
  )
  slopes <- as.matrix(Matrix::crossprod(Lt, Matrix::solve(get("L"), do.call(cbind, pull), system = "A")))
  beta <- seq_len(ncol(get("X")))
  slopes[, -beta] <- slopes[, -beta] + as.matrix(do.call(cbind, direct))
  start <- get("Gp")[match("item", names(get("cnms")))]
  theta <- get("theta")
  psi <- c("cluster.(Intercept)", "cluster.treat.(Intercept)", "cluster.treat", "id.(Intercept)", "item.(Intercept)", "item.treat.(Intercept)", "item.treat")
  psi <- match(intersect(psi, names(theta)), names(theta))
  place <- c(length(theta) + beta, psi)
  list(
    loglik = as.numeric(logLik(m)),
    beta = lme4::fixef(m), beta_names = names(lme4::fixef(m)), beta_vcov = as.matrix(vcov(m)),
    theta = unname(theta[psi]), lower = get("lower")[psi],
    items = rownames(effects), ranef = as.matrix(effects), ranef_vcov = attr(effects, "postVar"),
    slopes = slopes[start + seq_len(length(as.matrix(effects))), c(beta, length(beta) + psi), drop = FALSE],
    persons = lme4::ngrps(m)[["id"]], clusters = if ("cluster" %in% names(lme4::ngrps(m))) lme4::ngrps(m)[["cluster"]] else 0L, responses = nobs(m),
    singular = lme4::isSingular(m),
    gradient = as.numeric(m@optinfo$derivs$gradient)[place], hessian = m@optinfo$derivs$Hessian[place, place],
    optimizer = as.character(m@optinfo$optimizer), evaluations = as.integer(m@optinfo$feval),
    code = as.integer(m@optinfo$conv$opt), exit = as.character(m@optinfo$message),
    messages = as.character(unlist(c(m@optinfo$conv$lme4$messages, m@optinfo$warnings)))
  )
}
"""


def fit_pymer4(trial: Trial, model: str | ModelSpec) -> Fit:
    """Fit one model with lme4 1.1's ``glmer``: binomial, bobyqa with 200,000 evaluations, Laplace (nAGQ = 1).

    Parameters
    ----------
    trial : prepared data. A model with a covariate uses the persons who have one.
    model : "M_0", "M_A", "M_B", "M_C", or the specification itself.

    Returns
    -------
    Fit with ``engine="pymer4"``, in logits. ``se`` and the beta block of ``vcov`` are lme4's ``vcov``, the rest of
    ``vcov`` is from the same finite-difference Hessian; ``ranef_vcov`` is lme4's postVar (given psi). Standard
    deviations that lme4 leaves below its own singularity tolerance are set to 0, as the native engine does.
    ``seconds`` is wall time; R runs in this process, so ``time.process_time`` around this call is the CPU time.

    Raises
    ------
    InputError : the model needs a covariate and the trial has none.
    EngineError : R, an R package or pymer4 is missing, lme4 failed, or it used an optimiser other than bobyqa.
    """
    spec = MODELS[model] if isinstance(model, str) else model
    if spec.covariate and trial.covariate is None:
        raise InputError(f"{spec.name} needs a covariate, but the table has none: name one, or leave {spec.name} out.")
    from .r_session import quiet, r_errors, start_r

    start_r()
    glmer, arguments, read = _r_side()
    spec = spec.of_clusters(trial.sufficient_statistics(False).clusters)
    frame = model_frame(trial, spec)
    clock = time.perf_counter()
    with quiet():
        try:
            # The class pymer4.models.glmer drops control= silently (its _initialize passes family, weights and
            # contrasts only), so the optimiser would stay lme4's default; pymer4's function hands everything to lme4.
            found = dict(read(glmer(spec.formula, data=frame, **arguments)).items())
        except r_errors() as failure:
            raise EngineError(
                f'lme4 could not fit {spec.name} ("{_one_line(failure)}"): check the table, or use the native engine.'
            ) from None
    return _to_fit(trial, spec, {name: np.asarray(value) for name, value in found.items()}, time.perf_counter() - clock)


@functools.cache
def _r_side():
    """pymer4's glmer, the arguments every fit passes to it, and the R function that reads a fitted object."""
    from .r_session import quiet

    with quiet():
        from pymer4.tidystats import glmer
        from rpy2.robjects import r

        arguments = {
            "family": r("binomial()"),
            "control": r(f'lme4::glmerControl(optimizer = "{OPTIMIZER}", optCtrl = list(maxfun = {MAX_EVALUATIONS}))'),
            "nAGQ": 1,
        }
        return glmer, arguments, r(_READ_FIT)


def model_frame(trial: Trial, spec: ModelSpec):
    """The rows a model uses as a polars frame, with generated factor levels, so that a user's strings never reach R."""
    import polars as pl

    rows = slice(None) if not spec.covariate else ~np.isnan(trial.covariate)[trial.person]
    person, item = trial.person[rows], trial.item[rows]
    columns = {
        "resp": trial.resp[rows].astype(np.int32),
        "treat": trial.treat[person].astype(float),
        "id": _factor(person, "p", len(trial.treat)),
        "item": _factor(item, "i", len(trial.item_names)),
    }
    of_clusters = trial.of_clusters["cluster"]
    if of_clusters is not None:
        columns["cluster"] = _factor(of_clusters[person], "c", int(of_clusters.max()) + 1)
    if spec.covariate:
        columns["cov"] = trial.covariate[person].astype(float)
    return pl.DataFrame(columns)


def _factor(codes: np.ndarray, letter: str, levels: int):
    """A polars Enum column of codes such as i0007; levels without rows are left out, as R's factor() does."""
    import polars as pl

    names = np.array([f"{letter}{k:07d}" for k in range(levels)])
    return pl.Series(names[codes], dtype=pl.Enum(names[np.unique(codes)].tolist()))


def _to_fit(trial: Trial, spec: ModelSpec, found: dict[str, np.ndarray], seconds: float) -> Fit:
    """lme4's numbers in the common result type."""
    optimizer = str(found["optimizer"][0])
    if optimizer != OPTIMIZER:
        raise EngineError(
            f"lme4 fitted {spec.name} with {optimizer} instead of {OPTIMIZER}, because this version of pymer4 does not pass "
            "control on: install the right one (pip install .[lme4]), or use the native engine."
        )
    expected = tuple({"intercept": "(Intercept)"}.get(name, name) for name in spec.beta_names)
    if tuple(found["beta_names"]) != expected:
        dropped = [name for name in expected if name not in set(found["beta_names"])]
        raise EngineError(
            f"lme4 dropped {', '.join(dropped)} from {spec.name} because the columns are linearly dependent: "
            "check that there are persons in both arms and that the covariate varies in each."
        )
    n_items, q, p = len(trial.item_names), spec.q, len(spec.beta_names)
    interior = found["theta"] - found["lower"] >= SINGULAR_BELOW
    n_own = len(spec.cluster_factor)
    for last, has in ((n_own + 3, spec.item_effects), (2, spec.cluster_q == 2)):
        if has and not interior[last] and abs(found["theta"][last - 1]) < SINGULAR_BELOW:
            interior[last - 1] = False  # l21 is unbounded, but on the boundary if sigma_zeta is
    theta = np.where(interior, found["theta"], 0.0)
    factor, own = np.zeros((q, q)), np.zeros((spec.cluster_q, spec.cluster_q))
    factor[np.tril_indices(q)] = theta[n_own + 1 :]
    own[np.tril_indices(spec.cluster_q)] = theta[:n_own]
    vcov, gradient_norm, curvature = _curvature(found, np.concatenate([np.ones(p, bool), interior]))
    vcov[:p, :p] = found["beta_vcov"]

    seen = np.array([int(code[1:]) for code in found["items"]])
    # an item that nobody in this model answered keeps its prior: mean 0, covariance L L'
    ranef, ranef_vcov = np.zeros((n_items, q)), np.tile(factor @ factor.T, (n_items, 1, 1))
    jacobian = np.zeros((n_items, q, len(vcov)))
    ranef[seen] = found["ranef"].reshape(len(seen), q)
    ranef_vcov[seen] = np.moveaxis(found["ranef_vcov"].reshape(q, q, len(seen)), -1, 0)
    jacobian[seen] = found["slopes"].reshape(len(seen), q, len(vcov))

    complaints = [m for m in map(str, found["messages"]) if "isSingular" not in m]
    if int(found["code"][0]) != 0:
        complaints.append(f"bobyqa: {found['exit'][0]}")
    return Fit(
        spec=spec,
        engine="pymer4",
        method="laplace",
        loglik=float(found["loglik"][0]),
        beta=found["beta"].astype(float),
        se=np.sqrt(np.diag(found["beta_vcov"])),
        sigma_theta=float(theta[n_own]),
        item_factor=factor,
        vcov=vcov,
        item_names=tuple(trial.item_names),
        ranef=ranef,
        ranef_vcov=ranef_vcov,
        ranef_jacobian=jacobian,
        n_persons=int(found["persons"][0]),
        n_items=n_items,
        n_responses=int(found["responses"][0]),
        singular=bool(found["singular"][0]),
        converged=not complaints,
        gradient_norm=gradient_norm,
        hessian_min_eigenvalue=curvature,
        optimizer=optimizer,
        evaluations=int(found["evaluations"][0]),
        passes=0,
        seconds=seconds,
        messages=tuple(f"lme4: {' '.join(m.split())}" for m in complaints),
        clusters=None if not n_own else ClusterFit(own, int(found["clusters"][0]), _both_arms(trial)),
    )


def _both_arms(trial: Trial) -> bool:
    """Whether some cluster holds persons in both arms."""
    statistics = trial.sufficient_statistics(False)
    return statistics.clusters is not None and statistics.clusters.hold_both_arms(statistics.n_control_classes)


def _curvature(found: dict[str, np.ndarray], free: np.ndarray) -> tuple[np.ndarray, float, float]:
    """(k, k) covariance of psi, largest gradient entry and smallest eigenvalue of the Hessian, over the (k,) free parameters.

    Entries are NaN for other parameters, where lme4 computed no derivatives, and where the Hessian is not positive definite.
    """
    vcov = np.full((free.size, free.size), np.nan)
    if not np.isfinite(found["gradient"]).all():
        return vcov, float("nan"), float("nan")
    free = np.flatnonzero(free)
    hessian = found["hessian"][np.ix_(free, free)]
    smallest = float(np.linalg.eigvalsh((hessian + hessian.T) / 2)[0])
    if smallest > 0:
        inverse = np.linalg.inv(hessian)
        vcov[np.ix_(free, free)] = inverse + inverse.T
    return vcov, float(np.abs(found["gradient"][free]).max()), smallest


def _one_line(failure: Exception) -> str:
    """R's message on one line without its prefix ("Error:", or "Error in", the call and " : ")."""
    text = " ".join(str(failure).split())
    return text.rsplit(" : ", 1)[-1].removeprefix("Error: ").rstrip(".")
