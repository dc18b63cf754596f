# Times glmmTMB on one prepared table, on one thread; its standard errors come with every fit.
#
#   OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 Rscript --vanilla benchmarks/glmmTMB_fits.R TABLE.csv [MODEL...]
suppressPackageStartupMessages(library(glmmTMB))
source(file.path(dirname(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))), "peer_fits.R"))

run("glmmTMB", function(formula, rows) {
  control <- glmmTMBControl(parallel = 1L)
  fit <- timed(function() glmmTMB(formula, data = rows, family = binomial, control = control))
  m <- fit$fitted
  list(c(list(logLik = as.numeric(logLik(m)), beta = as.list(fixef(m)$cond),
              sd = lapply(VarCorr(m)$cond, function(v) as.list(attr(v, "stddev"))),
              evaluations = m$fit$evaluations[["function"]]), fit$report))
})
