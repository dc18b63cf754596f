# Times lme4's glmer on one prepared table, as the vignette fits it and without derivatives (calc.derivs = FALSE: no
# check of convergence and rougher standard errors, the least lme4 can do).
#
#   OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 Rscript --vanilla benchmarks/lme4_fits.R TABLE.csv [MODEL...]
suppressPackageStartupMessages(library(lme4))
source(file.path(dirname(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))), "peer_fits.R"))

run("lme4", function(formula, rows) {
  lapply(c(TRUE, FALSE), function(derivatives) {
    control <- glmerControl(optimizer = "bobyqa", optCtrl = list(maxfun = 2e5), calc.derivs = derivatives)
    fit <- timed(glmer(formula, data = rows, family = binomial, control = control))
    m <- fit$fitted
    stopifnot(m@optinfo$optimizer == "bobyqa")
    c(list(derivatives = derivatives, logLik = as.numeric(logLik(m)), beta = as.list(fixef(m)),
           theta = as.list(getME(m, "theta")), singular = isSingular(m), evaluations = m@optinfo$feval), fit$report)
  })
})
