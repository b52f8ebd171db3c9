# Running a task in Python: what all verbs are asked alike, and how cells and results cross.

# The options that every verb takes under the same name, out of the frame of a method, and the names of all arguments
# that the user gave another value than the usual one (`changed`).
task_options <- function(frame = rlang::caller_env(), method = rlang::caller_fn()) {
  shared <- c(
    "model.object", "freeze.encoder", "config", "counts", "species", "epochs", "training", "model.dir", "overwrite",
    "precision", "device", "seed.use", "verbose"
  )
  defaults <- formals(method)
  changed <- Filter(function(name) {
    !identical(defaults[[name]], quote(expr = )) && !is_same(get(name, frame), eval(defaults[[name]], frame))
  }, setdiff(names(defaults), "..."))
  c(mget(shared, frame), list(changed = changed))
}

# Whether two values are one, as 42 and 42L are.
is_same <- function(x, y) identical(x, y) || is.numeric(x) && is.numeric(y) && isTRUE(all.equal(x, y))

# The same, checked as far as R can, with a seed drawn if none is given.
check_options <- function(options, call = rlang::caller_env()) {
  options["epochs"] <- list(whole_number(options$epochs, "epochs", call))
  options["training"] <- list(check_training(options$training, call))
  seed <- options$seed.use %||% sample.int(.Machine$integer.max, 1)
  options$seed.use <- whole_number(seed, "seed.use", call)
  options["model.dir"] <- list(model_path(options$model.dir))
  options
}

# Where and how a computation runs, as Python calls it.
running <- function(options) {
  list(precision = options$precision, device = options$device, progress = options$verbose)
}

# Fit the task of a verb to cells, or load it, and let it predict them: `parameters`, `fit` and `predict` are the
# arguments that other tasks do not have, as Python spells them. Returns the AnnData with the results.
run_task <- function(verb, cells, options, parameters = list(), fit = list(), predict = list(), reference = NULL,
                     call = rlang::caller_env()) {
  options <- check_options(options, call)
  bridge <- python_bridge(call, torch = TRUE)
  model <- check_model(options$model.object, call)
  ask <- function(code, subject = cells$subject) with_python(with_progress(code, options$verbose), subject, call)
  counts <- options$counts
  adata <- cells$adata()
  # The counts are looked at one object at a time, so that an error names the one that it is about.
  ask(bridge$look_for_counts(adata, counts))
  known <- NULL
  if (!is.null(reference)) {
    known <- reference$adata()
    ask(bridge$look_for_counts(known, counts), reference$subject)
  }
  parameters$freeze_encoder <- options$freeze.encoder
  # By default the task's own.
  parameters$config <- options$config
  arguments <- c(
    list(verb, adata, known),
    list(
      model = model, columns = c(cells$keys, list(counts = counts)), species = options$species,
      parameters = named(parameters), fit = named(fit), predict = named(predict), out = options$model.dir,
      overwrite = options$overwrite, training = options$training, epochs = options$epochs, seed = options$seed.use
    ),
    running(options)
  )
  history <- ask(do.call(bridge$run_task, arguments))
  attr(adata, "history") <- reticulate::py_to_r(history)
  adata
}
