# Errors, warnings and interrupts of Python as those of R.

# Run code that calls Python on the counts that the user knows as `subject`. Its errors become R errors, its warnings
# R warnings; an interrupt passes as it is.
with_python <- function(code, subject = "The matrix", call = rlang::caller_env()) {
  bridge <- import_bridge()
  recorder <- bridge$record_warnings()
  recorded <- NULL
  result <- tryCatch(
    force(code),
    python.builtin.Exception = function(error) {
      said <- reticulate::py_to_r(bridge$describe_error(attr(error, "py_object")))
      if (said$ours) abort_celloquy(said, subject, call) else abort_python(said, call)
    },
    finally = recorded <- unlist(reticulate::py_to_r(recorder$stop()))
  )
  for (warning in unique(recorded)) {
    lines <- strsplit(in_terms_of_r(warning, subject), "\n", fixed = TRUE)[[1]]
    cli::cli_warn(bullets("{lines[[%d]]}", lines), call = call)
  }
  result
}

# A problem that celloquy itself recognised: what, found, expected, remedy. The condition's field `argument` names the
# argument at fault as R spells it, if it is one.
abort_celloquy <- function(said, subject, call) {
  argument <- if (nzchar(said$argument)) r_name(said$argument) else ""
  problem <- in_terms_of_r(said$problem, subject)
  found <- in_terms_of_r(said$found, subject)
  expected <- in_terms_of_r(said$expected, subject)
  remedy <- remedy_in_r(said$remedy, said$class, argument, subject)
  cli::cli_abort(
    c(
      "{problem}",
      x = if (nzchar(found)) "Found: {found}.",
      "*" = if (nzchar(expected)) "Expected: {expected}.",
      i = "{remedy}"
    ),
    class = c(paste0("celloquy_", said$class), "celloquy_error"), argument = argument, call = call
  )
}

abort_python <- function(said, call) {
  cli::cli_abort(c(
    "The Python side of celloquy failed.",
    x = "{said$class}: {said$text}",
    i = "The object is unchanged. {.run reticulate::py_last_error()} shows where it happened."
  ), class = "celloquy_python_error", call = call)
}

bullets <- function(template, lines) {
  stats::setNames(sprintf(template, seq_along(lines)), c("", rep("i", length(lines) - 1)))
}

first_line <- function(text) strsplit(text, "\n", fixed = TRUE)[[1]][[1]]

# Text that cli takes as it is: braces would be code to it, so they are doubled.
literal <- function(text) gsub("([{}])", "\\1\\1", text)
