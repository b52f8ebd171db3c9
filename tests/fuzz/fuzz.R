# Fuzz the R package: `make fuzz-r N=1000 SEED=1` runs the seeds 1 to 1000, one input each; `N=1` runs one again.

library(celloquy)
`%||%` <- rlang::`%||%`
folder_of_fuzz <- function() {
  file <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
  normalizePath(if (length(file)) dirname(file) else testthat::test_path("..", "fuzz"))
}

start_fuzz <- function(folder = folder_of_fuzz()) {
  paths <- reticulate::import("sys", convert = FALSE)$path
  for (place in c(folder, file.path(dirname(folder), "python"))) paths$insert(0L, place)
  reticulate::import("celloquy.bridge")
  suppressWarnings(python_module("trained")$all_of_them())
}

# Runs one seed; the name of the case, how it ended, and what was wrong.
run_seed <- function(seed, case = sample(names(weights), 1, prob = weights)) {
  folder <- withr::local_tempdir()
  withr::local_seed(seed)
  force(case)
  tryCatch(
    # What is said outside of the calls is the generators' affair.
    list(case = case, end = suppressWarnings(all_cases[[case]](folder)), wrong = NULL),
    no_object = function(condition) list(case = case, end = "no object", wrong = NULL),
    error = function(condition) {
      where <- if (inherits(condition, "wrong")) "" else "outside of the call: "
      list(case = case, end = "wrong", wrong = paste0(where, conditionMessage(condition)))
    }
  )
}

main <- function(arguments) {
  seeds <- seq(as.integer(arguments[[2]]), length.out = as.integer(arguments[[1]]))
  ends <- character()
  failed <- integer()
  for (seed in seeds) {
    found <- run_seed(seed)
    ends <- c(ends, paste0(found$case, ": ", found$end))
    if (!is.null(found$wrong)) {
      failed <- c(failed, seed)
      cat(sprintf("seed %d, %s: %s\n", seed, found$case, found$wrong))
    }
  }
  counts <- table(ends)
  cat(sprintf("%6d  %s\n", counts, names(counts)), sep = "")
  made <- sum(!endsWith(ends, "no object"))
  of <- sprintf("seeds %d to %d", min(seeds), max(seeds))
  cat(sprintf("R: %d inputs, %s: %d failures %s\n", made, of, length(failed), toString(failed)))
  quit(status = as.integer(length(failed) > 0))
}

if (!interactive() && length(grep("fuzz.R", commandArgs(), fixed = TRUE))) {
  folder <- folder_of_fuzz()
  for (file in file.path(folder, c("objects.R", "judge.R", "cases.R", "genes.R", "evidence.R"))) source(file)
  source(file.path(dirname(folder), "testthat", "helper-objects.R"))
  source(file.path(dirname(folder), "testthat", "helper-python.R"))
  start_fuzz(folder)
  main(commandArgs(trailingOnly = TRUE))
}
