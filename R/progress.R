# Python's progress as bars of cli.

# Run code that calls Python; while it runs, every bar of celloquy's Python is drawn by cli.
with_progress <- function(code, verbose = TRUE) {
  if (!verbose) {
    return(force(code))
  }
  bridge <- import_bridge()
  bridge$listen(reticulate::r_to_py(progress_drawer(environment()), convert = TRUE))
  on.exit(bridge$listen(NULL))
  force(code)
}

# A function that draws the state of a task; its bars end with the function whose frame is given.
progress_drawer <- function(frame) {
  shown <- NULL
  id <- NULL
  tenths <- 0
  moving <- cli::is_dynamic_tty()
  function(task, done, total, figures) {
    if (!identical(task, shown)) {
      shown <<- task
      tenths <<- 0
      # A new bar of the same frame ends the one before it.
      id <<- cli::cli_progress_bar(
        total = total, extra = list(task = task), auto_terminate = FALSE, .envir = frame,
        format = paste(
          "{cli::pb_extra$task} {cli::pb_bar} {cli::pb_percent} | ETA: {cli::pb_eta}",
          "{if (nzchar(cli::pb_extra$figures)) paste('|', cli::pb_extra$figures)}"
        )
      )
    }
    # A log file keeps every state of the bar, so it gets ten at most.
    due <- floor(10 * done / total) > tenths
    if (moving || due) {
      tenths <<- floor(10 * done / total)
      cli::cli_progress_update(set = done, extra = list(figures = figures), id = id, force = !moving, .envir = frame)
    }
  }
}
