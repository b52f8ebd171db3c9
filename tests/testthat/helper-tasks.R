# The table that a Python process of its own makes of cells in a task: cells × columns.
task_in_python <- function(task, folders, genes = character()) {
  out <- tempfile()
  python(testthat::test_path("reference_tasks.py"), task, folders, out, genes)
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
