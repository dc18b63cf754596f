# Times lme4's glmer on one prepared table, as the vignette fits it and without derivatives (calc.derivs = FALSE: no
# check of convergence and rougher standard errors, the least lme4 can do).
#
#   OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 Rscript --vanilla benchmarks/lme4_fits.R TABLE.csv [MODEL...]
suppressPackageStartupMessages(library(lme4))
source(file.path(dirname(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))), "peer_fits.R"))

# The log-likelihood at a fit's own estimates with the inner search run to the end: with the default tolerance (1e-7)
# what is reported can be off either way, by 1e-5 to 1e-1.
exact <- function(m, formula, rows) {
  parts <- glFormula(formula, data = rows, family = binomial)
  deviance <- do.call(mkGlmerDevfun, c(parts, list(control = glmerControl(tolPwrss = 1e-12))))
  deviance <- updateGlmerDevfun(deviance, parts$reTrms)
  -deviance(c(getME(m, "theta"), fixef(m))) / 2
}

run("lme4", function(formula, rows) {
  lapply(c(TRUE, FALSE), function(derivatives) {
    control <- glmerControl(optimizer = "bobyqa", optCtrl = list(maxfun = 2e5), calc.derivs = derivatives)
    fit <- timed(function() glmer(formula, data = rows, family = binomial, control = control))
    m <- fit$fitted
    stopifnot(m@optinfo$optimizer == "bobyqa")
    c(list(derivatives = derivatives, logLik = as.numeric(logLik(m)),
           logLik_exact = tryCatch(exact(m, formula, rows), error = function(e) NA), beta = as.list(fixef(m)),
           theta = as.list(getME(m, "theta")), singular = isSingular(m), evaluations = m@optinfo$feval), fit$report)
  })
})
