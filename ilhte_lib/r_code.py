"""The same models in R: a script for lme4 that fits what was fitted here to the same rows, and gives the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .errors import InputError
from .inference.predict import response_rows, rows_of
from .manifest import EMPTY_OR_OURS, Manifest

if TYPE_CHECKING:
    from .analysis import Analysis

SCRIPT, ROWS = "models.R", "rows.csv"

# Tighter than lme4's defaults, under which its log-likelihood can stay some hundredths below the maximum; R's 95% intervals
# are left to confint(), which profiles for hours what is profiled here in seconds.
_HEAD = """\
# The models of an analysis by ilhte {version}, for R with lme4. Run it beside {rows}: Rscript {script}
library(lme4)

rows <- read.csv("{rows}", colClasses = c(id = "character", item = "character"), encoding = "UTF-8")
rows <- transform(rows, id = factor(id), item = factor(item))
control <- glmerControl(
  optimizer = "bobyqa", tolPwrss = 1e-12,
  optCtrl = list(maxfun = 200000, rhobeg = 0.02, rhoend = 1e-9)
)
fit <- function(formula, data = rows) glmer(formula, data = data, family = binomial(), nAGQ = 1, control = control)
"""
_TAIL = """\

# Effects in SDs of the persons: divided by their SD in M_0
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


def r_code(analysis: Analysis) -> str:
    """The script; no name of the data is in it.

    Raises
    ------
    InputError : items with more than two categories, whose model lme4 does not have.
    """
    from . import __version__

    if analysis.arms is not None:
        raise InputError(
            "The table has several arms: ask one of them for its R code (a.of_arms), or write all (a.to_r)."
        )
    if analysis.trial.formats is not None:
        raise InputError(
            "lme4 has no model of ordered categories, so there is no R code for them: with --threshold the responses are "
            "0 and 1."
        )
    if any(fit.method != "laplace" for fit in analysis.fits.values()):
        raise InputError(
            "The models were fitted by quadrature over persons, which lme4 does not have where items vary too: with the method "
            "laplace (--method laplace) R gives the same numbers."
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
    """The script and the rows it reads, in a folder of ours; see ``Analysis.to_r``."""
    if analysis.arms is not None:
        Manifest.open(Path(folder), EMPTY_OR_OURS)  # the mark by which the folder is known for ours
        places = enumerate(analysis.of_arms.values(), 1)
        return [path for k, one in places for path in write_r(one, Path(folder) / f"arm-{k}")]
    script = r_code(analysis)
    frame = response_rows(rows_of(analysis.trial))
    kept = Manifest.open(Path(folder), EMPTY_OR_OURS)
    table = frame.to_csv(index=False, lineterminator="\n")
    return [kept.write_text(SCRIPT, script), kept.write_text(ROWS, table)]
