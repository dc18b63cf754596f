# lme4's own Laplace log-likelihood at given parameters, its inner search (PIRLS) run to a given tolerance.
# Rscript lme4_deviance.R rows.csv "formula" tolerance sigma_theta l11[,l21,l22] beta1,beta2[,...]
suppressMessages(library(lme4))
numbers <- function(text) as.numeric(strsplit(text, ",")[[1]])
argument <- commandArgs(TRUE)
parts <- glFormula(as.formula(argument[2]), data = read.csv(argument[1]), family = binomial)
deviance <- do.call(mkGlmerDevfun, c(parts, list(control = glmerControl(tolPwrss = as.numeric(argument[3])))))
deviance <- updateGlmerDevfun(deviance, parts$reTrms)
theta <- list(id = numbers(argument[4]), item = numbers(argument[5]))
cat(sprintf("%.9f", -deviance(c(unlist(theta[names(parts$reTrms$cnms)]), numbers(argument[6]))) / 2))
