# The table that Python makes of cells in a task: cells × columns. In this process, as training repeats to the bit where
# torch's threads are the same.
task_in_python <- function(task, folders, genes = character()) {
  out <- tempfile()
  python_bridge(torch = TRUE)
  tasks <- reticulate::import_from_path("reference_tasks", testthat::test_path())
  do.call(tasks[[task]], as.list(c(folders, out, genes)))
  table <- reticulate::import("numpy")$load(paste0(out, ".npy"))
  colnames(table) <- readLines(paste0(out, ".txt"), warn = FALSE)
  table
}

# Run a call that must fail on a copy of the object; give its message without formatting.
task_failure <- function(call) {
  condition <- rlang::catch_cnd(call, "error")
  testthat::expect_s3_class(condition, "rlang_error")
  cli::ansi_strip(conditionMessage(condition))
}
