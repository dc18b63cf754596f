# What lme4_fits.R and glmmTMB_fits.R share: the table, the models it allows, the clock, and the JSON document.
#
# The table (a CSV file) has the columns id, item, resp (0/1), treat (0/1) and, for M_B and M_C, cov (standardised,
# empty where missing). Set OPENBLAS_NUM_THREADS=1 and OMP_NUM_THREADS=1 before R starts: a BLAS reads them then.

formulas <- list(
  M_0 = resp ~ treat + (1 | id) + (1 | item),
  M_A = resp ~ treat + (1 | id) + (treat | item),
  M_B = resp ~ treat * cov + (1 | id) + (1 | item),
  M_C = resp ~ treat * cov + (1 | id) + (treat | item)
)

# Evaluates a call of the fitting function alone: cpu_s is its user + system time (system.time collects garbage first).
# R's start, the reading of the file and of the fitted object are outside it.
timed <- function(call) {
  warned <- character()
  clock <- system.time(
    fitted <- withCallingHandlers(
      call,
      warning = function(w) {
        warned <<- c(warned, conditionMessage(w))
        invokeRestart("muffleWarning")
      },
      message = function(m) invokeRestart("muffleMessage")
    )
  )
  cpu <- sum(clock[c("user.self", "sys.self")])
  list(fitted = fitted, report = list(cpu_s = cpu, wall_s = clock[["elapsed"]], warnings = I(warned)))
}

# Reads "TABLE.csv [MODEL...]" from the command line, applies fits(model, formula, rows), a list of reports, to each
# model (default: all the table allows) and prints one JSON document.
run <- function(tool, fits) {
  arguments <- commandArgs(trailingOnly = TRUE)
  if (length(arguments) < 1) stop("usage: ", tool, "_fits.R TABLE.csv [MODEL...]")
  table <- read.csv(arguments[1], colClasses = c(id = "character", item = "character"))
  table$id <- factor(table$id)
  table$item <- factor(table$item)
  allowed <- if ("cov" %in% names(table)) names(formulas) else c("M_0", "M_A")
  models <- if (length(arguments) > 1) arguments[-1] else allowed
  if (!all(models %in% allowed)) stop("this table does not allow ", paste(setdiff(models, allowed), collapse = ", "))
  reports <- lapply(models, function(model) {
    rows <- if (model %in% c("M_B", "M_C")) droplevels(table[!is.na(table$cov), ]) else table
    lapply(fits(formulas[[model]], rows), function(report) c(list(model = model, n_responses = nrow(rows)), report))
  })
  document <- list(
    tool = tool, version = format(packageVersion(tool)), r = as.character(getRversion()),
    blas = basename(extSoftVersion()[["BLAS"]]), fits = do.call(c, reports)
  )
  cat(jsonlite::toJSON(document, auto_unbox = TRUE, digits = NA, na = "null"), "\n", sep = "")
}
