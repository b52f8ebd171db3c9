# What the verbs of the tasks share: cells read from what R users hold, a task fitted or loaded, results as assays.

# The counts and the metadata of cells, and what errors call the counts; `arg` is the argument that they came by.
read_cells <- function(object, assay = NULL, layer = "counts", arg = "object", call = rlang::caller_env()) {
  data <- NULL
  name <- function(what) if (arg == "object") what else paste(what, "of the", arg)
  if (methods::is(object, "Seurat")) {
    assay <- choose_assay(object, assay, call)
    data <- object[[]]
    object <- object[[assay]]
  }
  if (inherits(object, c("Assay", "StdAssay"))) {
    counts <- assay_counts(object, layer, assay, call)
    of_assay <- if (!is.null(assay)) paste0(" of assay \"", assay, "\"")
    return(list(counts = counts, data = data, subject = name(paste0("Layer \"", layer, "\"", of_assay))))
  }
  if (methods::is(object, "SingleCellExperiment")) {
    rlang::check_installed("SingleCellExperiment", call = call)
    present <- SummarizedExperiment::assayNames(object)
    if (!layer %in% present) abort_no_layer(layer, NULL, present, call)
    counts <- as_counts(SummarizedExperiment::assay(object, layer), call)
    data <- as.data.frame(SummarizedExperiment::colData(object), optional = TRUE)
    return(list(counts = counts, data = data, subject = name(paste0("Assay \"", layer, "\""))))
  }
  if (is.matrix(object) || inherits(object, c("Matrix", "IterableMatrix", "DelayedMatrix"))) {
    return(list(counts = as_counts(object, call), data = NULL, subject = name("The matrix")))
  }
  cli::cli_abort(c(
    "{.arg {arg}} holds no cells that can be read.",
    x = "Found: {.obj_type_friendly {object}}.",
    i = "Pass a Seurat object, an assay, a SingleCellExperiment, or a matrix of raw counts (genes by cells)."
  ), class = "celloquy_ArgumentError", call = call)
}

# A column of metadata, one value for each cell.
metadata_column <- function(data, column, arg, call = rlang::caller_env()) {
  if (!rlang::is_string(column) || !column %in% names(data)) {
    cli::cli_abort(c(
      "There is no column {.val {column}} in the metadata.",
      x = if (length(data)) "Columns: {.val {names(data)}}." else "There is no metadata.",
      i = "Pass the name of a column as {.arg {arg}}."
    ), class = "celloquy_ArgumentError", call = call)
  }
  data[[column]]
}

# Which cells of a Seurat object are read together, and where they lie.
tissue_of <- function(object, tissue.by, spatial, call = rlang::caller_env()) {
  tissue <- if (!is.null(tissue.by)) tissue_column(object, tissue.by, call)
  positions <- if (isTRUE(spatial)) tissue_positions(object, call)
  if (is.null(tissue) && length(unique(positions$image)) > 1) {
    # Places in different images can't be compared, so each is a tissue, and so are the cells in none.
    tissue <- stats::setNames(rep("no image", ncol(object)), colnames(object))
    tissue[rownames(positions)] <- positions$image
  }
  list(tissue = tissue, positions = positions[c("x", "y")])
}

# The cells of a task as they cross: an AnnData is made when it is asked for, which is after all checks of arguments.
cross_cells <- function(cells, tissue = NULL, positions = NULL, batch = NULL, call = rlang::caller_env()) {
  tissue <- if (!is.null(tissue)) check_tissue(for_cells(tissue, cells$counts), cells$counts, call)
  positions <- if (!is.null(positions)) check_positions(for_cells(positions, cells$counts), cells$counts, call)
  batch <- for_cells(batch, cells$counts)
  list(
    adata = function() as_anndata(cells$counts, present(list(tissue = tissue, batch = batch)), positions),
    keys = list(
      layer = "X", tissue_key = if (!is.null(tissue)) "tissue", spatial_key = if (!is.null(positions)) "spatial",
      batch_key = if (!is.null(batch)) "batch"
    ),
    subject = cells$subject, names = colnames(cells$counts)
  )
}

# Whether a model is one that a task has been fitted with, as `model.dir` keeps it, or that one task.
is_fitted <- function(model.object, task = NULL) {
  if (!rlang::is_string(model.object)) {
    return(FALSE)
  }
  file <- file.path(model_path(model.object), "task.json")
  file.exists(file) && (is.null(task) || any(readLines(file, warn = FALSE) == paste0(" \"task\": \"", task, "\",")))
}

# What a task learns from is given unless the model has learned it; `what` is the arguments that it takes.
check_source <- function(model.object, given, what, call) {
  if (is_fitted(model.object) && any(given)) {
    cli::cli_abort(c(
      "This model is fitted already.",
      x = "Found: {.arg model.object} with a fitted model, and {.arg {what[given]}}.",
      i = "Leave {.arg {what[given]}} out, or {.arg model.object} to fit anew."
    ), class = "celloquy_ArgumentError", call = call)
  }
  if (!is_fitted(model.object) && !all(given)) {
    cli::cli_abort(c(
      "There is nothing to learn from.",
      x = "Not given: {.arg {what[!given]}}.",
      i = "Pass {.arg {what}}, or the directory of a model that was fitted with them as {.arg model.object}."
    ), class = "celloquy_ArgumentError", call = call)
  }
}

# The batch of each cell of a Seurat object.
batch_of <- function(object, batch.by, call = rlang::caller_env()) {
  if (!is.null(batch.by)) stats::setNames(metadata_column(object[[]], batch.by, "batch.by", call), colnames(object))
}

# Fit a task of Python's to cells, or load it, and have it predict them. `learn(task, adata)` fits it; `given` are its
# parameters, `asked` the arguments of predict(). Returns the AnnData with the results.
run_task <- function(name, cells, learn, given = list(), asked = list(), others = NULL, model.object = NULL,
                     frozen = FALSE, config = NULL, epochs = NULL, model.dir = NULL, species = NULL,
                     precision = "auto", device = "auto", seed.use = 42, verbose = TRUE, ...,
                     call = rlang::caller_env()) {
  rlang::check_dots_empty(call = call)
  epochs <- whole_number(epochs, call = call)
  seed.use <- whole_number(seed.use %||% sample.int(.Machine$integer.max, 1), call = call)
  celloquy <- celloquy_python(call)
  model.object <- check_model(model.object, call)
  adata <- cells$adata()
  other <- if (!is.null(others)) others$adata()
  ask <- function(code, subject = cells$subject) with_python(with_progress(code, verbose), subject, call)
  # Looked at one by one, so that an error names the one that it is about.
  look <- reticulate::import("celloquy.data", convert = FALSE)$choose_counts
  ask(look(adata, layer = "X"))
  if (!is.null(other)) ask(look(other, layer = "X"), others$subject)
  fitted <- is_fitted(model.object)
  task <- if (fitted) {
    ask(celloquy[[name]]$load(model.object))
  } else {
    given <- c(given, list(model = model.object, frozen = frozen, species = species))
    # By default the task's own.
    if (!is.null(config)) given$config <- config
    ask(do.call(celloquy[[name]], given))
  }
  change <- reticulate::import("dataclasses", convert = FALSE)$replace
  training <- list(precision = precision, device = device, progress = verbose)
  if (!fitted) training <- c(training, list(epochs = epochs, seed = seed.use))
  fitting <- ask(do.call(change, c(list(task$fitting), training)))
  for (key in names(cells$keys)) reticulate::py_set_attr(task, key, cells$keys[[key]])
  reticulate::py_set_attr(task, "fitting", fitting)
  if (!fitted) ask(learn(task, adata, other))
  attr(adata, "history") <- task$history_
  if (!is.null(model.dir)) ask(task$save(model_path(model.dir)))
  ask(do.call(task$predict, c(list(adata), asked)))
  adata
}

# How a result was made, in plain data, with the loss by epoch of what was trained for it.
provenance <- function(adata) {
  # Vectors, not arrays of one dimension.
  made <- rapply(reticulate::py_to_r(adata$uns[["celloquy"]]), as.vector, how = "replace")
  history <- attr(adata, "history")
  if (!is.null(history)) made$history <- as.data.frame(lapply(reticulate::py_to_r(history$to_dict("list")), unlist))
  made
}

# A result of Python's, cells × features with names, as features × cells.
features_by_cells <- function(adata, key) {
  frame <- adata$obsm[[key]]
  values <- reticulate::py_to_r(frame$to_numpy()$T)
  dimnames(values) <- lapply(list(frame$columns, frame$index), function(names) listed(names$tolist()))
  values
}

# A Python list of text as a vector.
listed <- function(names) as.character(reticulate::py_to_r(names))

# An assay of results: `layers`, matrices of features × cells; `features`, their metadata; and how it was made.
result_assay <- function(found) {
  spelled <- make.unique(chartr("_|", "--", rownames(found$layers[[1]])))
  layers <- lapply(found$layers, function(layer) structure(layer, dimnames = list(spelled, colnames(layer))))
  # The constructor takes sparse matrices alone, and no value of a result is 0.
  values <- layers[[1]]
  empty <- Matrix::sparseMatrix(integer(), integer(), x = numeric(), dims = dim(values), dimnames = dimnames(values))
  assay <- do.call(SeuratObject::CreateAssay5Object, stats::setNames(list(empty), names(layers)[[1]]))
  for (name in names(layers)) SeuratObject::LayerData(assay, name) <- layers[[name]]
  for (name in names(found$features)) {
    assay[[name]] <- stats::setNames(data.frame(found$features[[name]], row.names = spelled), name)
  }
  SeuratObject::Misc(assay, "celloquy") <- found$provenance
  assay
}

# A Seurat object with an assay of results.
with_assay <- function(object, name, assay) {
  # SeuratObject warns of an assay without counts that it can't sum them up.
  suppressWarnings(object[[name]] <- assay)
  object
}

# The same as an alternative experiment of a SingleCellExperiment; `called` is what its users call the layer `data`.
with_experiment <- function(object, found, name, called = "logcounts") {
  layers <- found$layers
  names(layers)[names(layers) == "data"] <- called
  experiment <- SummarizedExperiment::SummarizedExperiment(layers)
  for (column in names(found$features)) {
    SummarizedExperiment::rowData(experiment)[[column]] <- found$features[[column]]
  }
  S4Vectors::metadata(experiment)$celloquy <- found$provenance
  SingleCellExperiment::altExp(object, name) <- experiment
  object
}

# The same as a matrix with attributes.
result_matrix <- function(found) {
  values <- found$layers[[1]]
  for (name in names(found$layers)[-1]) attr(values, name) <- found$layers[[name]]
  for (name in names(found$features)) attr(values, name) <- found$features[[name]]
  structure(values, celloquy = found$provenance)
}
