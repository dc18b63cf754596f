# What lme4_fits.R and glmmTMB_fits.R share: the table, the models it allows, the clock, and the JSON documents.
#
# The table (a CSV file) has the columns id, item, resp (0/1), treat (0/1) and, for M_B and M_C, cov (standardised,
# empty where missing). Set OPENBLAS_NUM_THREADS=1 and OMP_NUM_THREADS=1 before R starts: a BLAS reads them then.

formulas <- list(
  M_0 = resp ~ treat + (1 | id) + (1 | item),
  M_A = resp ~ treat + (1 | id) + (treat | item),
  M_B = resp ~ treat * cov + (1 | id) + (1 | item),
  M_C = resp ~ treat * cov + (1 | id) + (treat | item)
)

# A fit is made so many times, fewer once they took this many CPU seconds together; the median counts (as in
# python_peer_fits.py).
runs <- 7
enough <- 1

# Makes a fit, a function without arguments: cpu_s is the median user + system time of the calls (system.time
# collects garbage first). R's start, the reading of the file and of the fitted object are outside it.
timed <- function(fit) {
  warned <- character()
  seconds <- numeric()
  while (length(seconds) == 0 || (length(seconds) < runs && sum(seconds) < enough)) {
    clock <- system.time(
      fitted <- withCallingHandlers(
        fit(),
        warning = function(w) {
          warned <<- c(warned, conditionMessage(w))
          invokeRestart("muffleWarning")
        },
        message = function(m) invokeRestart("muffleMessage")
      )
    )
    seconds <- c(seconds, sum(clock[c("user.self", "sys.self")]))
  }
  list(fitted = fitted, report = list(cpu_s = median(seconds), runs = length(seconds), warnings = I(unique(warned))))
}

# Reads "TABLE.csv [MODEL...]" from the command line, applies fits(model, formula, rows), a list of reports, to each
# model (default: all the table allows) and prints one JSON document a report.
run <- function(tool, fits) {
  arguments <- commandArgs(trailingOnly = TRUE)
  if (length(arguments) < 1) stop("usage: ", tool, "_fits.R TABLE.csv [MODEL...]")
  table <- read.csv(arguments[1], colClasses = c(id = "character", item = "character"))
  table$id <- factor(table$id)
  table$item <- factor(table$item)
  allowed <- if ("cov" %in% names(table)) names(formulas) else c("M_0", "M_A")
  models <- if (length(arguments) > 1) arguments[-1] else allowed
  if (!all(models %in% allowed)) stop("this table does not allow ", paste(setdiff(models, allowed), collapse = ", "))
  about <- list(tool = tool, version = format(packageVersion(tool)), r = as.character(getRversion()),
                blas = basename(extSoftVersion()[["BLAS"]]))
  for (model in models) {
    rows <- if (model %in% c("M_B", "M_C")) droplevels(table[!is.na(table$cov), ]) else table
    for (report in fits(formulas[[model]], rows)) {
      document <- c(about, list(model = model, n_responses = nrow(rows)), report)
      cat(jsonlite::toJSON(document, auto_unbox = TRUE, digits = NA, na = "null"), "\n", sep = "")
    }
  }
}
