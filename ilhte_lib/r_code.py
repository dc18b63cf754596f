"""An R script for lme4 that fits the same models to the same rows and gives the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .errors import InputError
from .files import file_names
from .inference.predict import response_rows, rows_of
from .manifest import EMPTY_OR_OURS, Manifest

if TYPE_CHECKING:
    from .analysis import Analysis
    from .data.trial import PreparedTrial

SCRIPT, ROWS = "models.R", "rows.csv"

# Tighter than lme4's defaults, which can stop some hundredths below the maximum of the log-likelihood. The script computes no
# intervals: confint() would take hours for profiles that take seconds here.
_HEAD = """\
# The models of an analysis by ilhte {version}, for R with lme4. Run it beside {rows}: Rscript {script}
library(lme4)

rows <- read.csv("{rows}", colClasses = c(id = "character", item = "character"), encoding = "UTF-8")
rows <- transform(rows, id = factor(id), item = factor(item))
control <- glmerControl(
  optimizer = "bobyqa", tolPwrss = 1e-12,
  optCtrl = list(maxfun = 200000, rhobeg = 0.02, rhoend = 1e-9)
)
# glmer() evaluates the weights in its determinant one step before the modes, which shifts the deviance by about 1e-5 and
# standard errors by about 0.1%. Started at the modes they are exact, so take Newton steps from glmer's estimates, and the
# Hessian there.
derivatives <- function(f, p, free, h = 1e-3) {{
  k <- which(free)
  moved <- function(i, a, j = i, b = 0) {{ p[i] <- p[i] + a * h; p[j] <- p[j] + b * h; f(p) }}
  middle <- f(p)
  up <- sapply(k, moved, 1)
  down <- sapply(k, moved, -1)
  hessian <- diag(length(p))
  hessian[cbind(k, k)] <- (up - 2 * middle + down) / h^2
  for (i in k) for (j in k[k < i]) hessian[i, j] <- hessian[j, i] <-
    (moved(i, 1, j, 1) - moved(i, 1, j, -1) - moved(i, -1, j, 1) + moved(i, -1, j, -1)) / (4 * h^2)
  gradient <- numeric(length(p))
  gradient[k] <- (up - down) / (2 * h)
  list(gradient = gradient, Hessian = hessian)
}}
fit <- function(formula, data = rows) {{
  model <- glmer(formula, data = data, family = binomial(), nAGQ = 1, control = control)
  parts <- glFormula(formula, data = data, family = binomial(), control = control)
  deviance <- updateGlmerDevfun(do.call(mkGlmerDevfun, c(parts, list(control = control))), parts$reTrms)
  at <- environment(deviance)
  theta <- getME(model, "theta")
  p <- c(theta, fixef(model))
  # an SD on its boundary, 0, is held there, as in ilhte
  free <- c(getME(model, "lower") < 0 | theta > 1e-4, rep(TRUE, length(p) - length(theta)))
  exact <- function(p) {{
    for (k in 1:2) {{ value <- deviance(p); at$lp0 <- at$resp$eta }}
    value
  }}
  for (k in 1:3) {{
    here <- derivatives(exact, p, free)
    step <- solve(here$Hessian, here$gradient)
    if (exact(p - step) < exact(p)) p <- p - step
  }}
  here <- derivatives(exact, p, free)
  opt <- list(par = p, fval = exact(p), feval = model@optinfo$feval, conv = 0, message = NULL)
  model <- mkMerMod(at, opt, parts$reTrms, parts$fr, model@call)
  model@optinfo$derivs <- here
  model
}}
"""
_TAIL = """\

# Effects in SDs of the persons: divided by sigma_theta of M_0
sigma_theta <- attr(VarCorr(M_0)$id, "stddev")[["(Intercept)"]]
sds <- attr(VarCorr(M_A)$item, "stddev")
estimates <- c(
  average_effect = fixef(M_A)[["treat"]] / sigma_theta,
  sigma_zeta = sds[["treat"]] / sigma_theta,
  rho = attr(VarCorr(M_A)$item, "correlation")[1, 2],
  sigma_theta = sigma_theta,
  LR = 2 * as.numeric(logLik(M_A) - logLik(M_0)){more}
)
print(estimates, digits = 7)
"""
_INTERACTIONS = """,
  beta3_b = fixef(M_B)[["treat:cov"]], beta3_c = fixef(M_C)[["treat:cov"]]"""


def refuse_r_code(trial: PreparedTrial) -> None:
    """Raise InputError if lme4 has no model for this trial."""
    if trial.formats is not None:
        raise InputError(
            "lme4 has no model for ordered categories, so there is no R code for them: use --threshold to score responses "
            "as 0 and 1."
        )


def r_code(analysis: Analysis) -> str:
    """The script; it contains no name from the data.

    Raises
    ------
    InputError : items with more than two categories, whose model lme4 does not have.
    """
    from . import __version__

    if analysis.arms is not None:
        raise InputError(
            "The table has several arms: take the R code of one of them (a.of_arms), or write all of them (a.to_r)."
        )
    refuse_r_code(analysis.trial)
    if any(fit.method != "laplace" for fit in analysis.fits.values()):
        raise InputError(
            "The models were fitted by quadrature over persons, which lme4 cannot do where items are random too: fit them with "
            "--method laplace to get the same numbers in R."
        )
    clusters = analysis.trial.clusters_modelled
    lines = [_HEAD.format(version=__version__, rows=ROWS, script=SCRIPT)]
    fits = analysis.fits.items()
    if clusters:
        lines.append("rows <- transform(rows, cluster = factor(cluster))")
    if any(fit.spec.covariate for _, fit in fits):
        lines.append("with_cov <- subset(rows, !is.na(cov))")
    lines += [f"{name} <- fit({fit.spec.formula}{', with_cov' * fit.spec.covariate})" for name, fit in fits]
    models = ", ".join(f"{name} = {name}" for name, _ in fits)
    lines.append(
        f"models <- list({models})\nfor (name in names(models)) print(summary(models[[name]], correlation = FALSE))"
    )
    more = _INTERACTIONS if {"M_B", "M_C"} <= set(analysis.fits) else ""
    return "\n".join(lines) + "\n" + _TAIL.format(more=more)


def write_r(analysis: Analysis, folder: str | Path) -> list[Path]:
    """Write the script and the rows it reads into a folder; see ``Analysis.to_r``."""
    if analysis.arms is not None:
        Manifest.open(Path(folder), EMPTY_OR_OURS)  # marks the folder as ours
        places = zip(file_names(list(analysis.of_arms)), analysis.of_arms.values(), strict=True)
        return [path for name, one in places for path in write_r(one, Path(folder) / name)]
    script = r_code(analysis)
    frame = response_rows(rows_of(analysis.trial))
    kept = Manifest.open(Path(folder), EMPTY_OR_OURS)
    table = frame.to_csv(index=False, lineterminator="\n")
    return [kept.write_text(SCRIPT, script), kept.write_text(ROWS, table)]
