# Run the R tests on the sources of the checkout; an argument names one file of them. Ends with the counts.
filter <- commandArgs(trailingOnly = TRUE)
results <- as.data.frame(testthat::test_local(
  ".",
  filter = if (length(filter)) filter,
  reporter = testthat::ProgressReporter$new(show_praise = FALSE),
  stop_on_failure = FALSE
))
failed <- sum(results$failed) + sum(results$error)
warned <- sum(results$warning)
if (warned > 0) cat(sprintf("%d warnings, which count as failures\n", warned))
failed <- failed + warned
cat(sprintf("R: %d passed, %d failed, %d skipped\n", sum(results$passed), failed, sum(results$skipped)))
quit(status = as.integer(failed > 0 || sum(results$passed) == 0))
