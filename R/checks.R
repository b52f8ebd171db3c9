# Checks of arguments. Each returns the argument as the code wants it, or stops with what was found and what to pass.

# A whole number or NULL.
whole_number <- function(value, arg = rlang::caller_arg(value), call = rlang::caller_env()) {
  if (is.null(value)) {
    return(NULL)
  }
  if (!rlang::is_integerish(value, n = 1, finite = TRUE)) {
    cli::cli_abort(c(
      "{.arg {arg}} must be a whole number.",
      x = found_value(value)
    ), class = "celloquy_ArgumentError", argument = arg, call = call)
  }
  as.integer(value)
}

# What `rlang::arg_match()` chooses, with its error as one of ours.
choice <- function(matched, call = rlang::caller_env()) {
  arg <- rlang::as_name(rlang::call_args(substitute(matched))[[1]])
  rlang::try_fetch(matched, error = function(error) {
    header <- rlang::cnd_header(error)
    cli::cli_abort("{header}", class = "celloquy_ArgumentError", argument = arg, call = call)
  })
}

# The bullet that shows a value, or says what it is where it is not a few numbers or words.
found_value <- function(value) {
  if (is.atomic(value) && !is.null(value) && length(value) %in% 1:5 && is.null(dim(value))) {
    paste0("Found: ", literal(toString(vapply(value, deparse, ""))), ".")
  } else {
    paste0("Found: ", literal(cli::format_inline("{.obj_type_friendly {value}}")), ".")
  }
}

# Options of training by their names in Python. Which there are is Python's to say.
check_training <- function(training, call = rlang::caller_env()) {
  if (is.null(training)) {
    return(NULL)
  }
  if (!is.list(training) || length(training) && !rlang::is_named(training)) {
    cli::cli_abort(c(
      "{.arg training} must be a list with names.",
      x = found_value(training),
      i = "Pass options by name, such as {.code training = list(learning.rate = 1e-3, patience = 10)}."
    ), class = "celloquy_ArgumentError", argument = "training", call = call)
  }
  named(stats::setNames(training, gsub(".", "_", names(training), fixed = TRUE)))
}

# A model of Python, the path of a saved one, or NULL.
check_model <- function(model.object, call = rlang::caller_env()) {
  if (is.null(model.object) || rlang::is_string(model.object)) {
    return(model_path(model.object))
  }
  of_python <- inherits(model.object, "python.builtin.object")
  # A Python object that went through saveRDS() is an empty shell.
  lost <- of_python && reticulate::py_is_null_xptr(model.object)
  if (!of_python || lost || !reticulate::py_to_r(import_bridge()$is_model(model.object))) {
    cli::cli_abort(c(
      "This is not a model.",
      x = if (lost) "It was saved with R and did not survive that." else "Found: {.obj_type_friendly {model.object}}.",
      i = "Pass the directory or the name of a saved model as {.arg model.object}, or leave it out."
    ), class = "celloquy_ArgumentError", argument = "model.object", call = call)
  }
  model.object
}

# The path of a directory, or NULL.
model_path <- function(directory, arg = rlang::caller_arg(directory), call = rlang::caller_env()) {
  if (is.null(directory)) {
    return(NULL)
  }
  if (!rlang::is_string(directory)) {
    cli::cli_abort(c(
      "{.arg {arg}} must be the path of a directory.",
      x = found_value(directory)
    ), class = "celloquy_ArgumentError", argument = arg, call = call)
  }
  path.expand(directory)
}

# What a task learns from is given unless the model has learned it; `what` is the arguments that it takes, `given`
# whether each is.
check_source <- function(task, given, what, call) {
  if (!is.null(task) && any(given)) {
    cli::cli_abort(c(
      "This model is fitted already.",
      x = "Found: {.arg model.object} with a fitted model, and {.arg {what[given]}}.",
      i = "Leave {.arg {what[given]}} out, or {.arg model.object} to fit anew."
    ), class = "celloquy_ArgumentError", argument = what[given][[1]], call = call)
  }
  if (is.null(task) && !all(given)) {
    cli::cli_abort(c(
      "There is nothing to learn from.",
      x = "Not given: {.arg {what[!given]}}.",
      i = "Pass {.arg {what}}, or the directory of a model that was fitted with them as {.arg model.object}."
    ), class = "celloquy_ArgumentError", argument = what[!given][[1]], call = call)
  }
}

# Refuse options that were changed (see task_options()) and that a call has no use for; `because` says why.
check_idle <- function(options, idle, because, call) {
  idle <- intersect(options$changed, idle)
  if (length(idle)) {
    cli::cli_abort(c(
      "There is no use here for {.arg {idle}}.",
      x = because,
      i = "Leave {.arg {idle}} out."
    ), class = "celloquy_ArgumentError", argument = idle[[1]], call = call)
  }
}

# Options of fitting, which a fitted model has no use for.
of_fitting <- c("freeze.encoder", "config", "epochs", "training", "seed.use")
is_fitted <- "`model.object` is fitted already, and does what it was fitted to do."

# The verb with whose task a model was fitted, as `model.dir` keeps it; NULL for models of no task, and for no model.
fitted_task <- function(model.object, call = rlang::caller_env()) {
  if (rlang::is_string(model.object) && dir.exists(model_path(model.object))) {
    reticulate::py_to_r(python_bridge(call, torch = TRUE)$fitted_task(model_path(model.object)))
  }
}

# A column of metadata, one value for each cell. `arg` is the argument that names the column, `whose` the one that the
# metadata came by.
metadata_column <- function(data, column, arg, whose = "object", call = rlang::caller_env()) {
  if (!rlang::is_string(column) || !column %in% names(data)) {
    if (!rlang::is_string(column)) column <- paste0("<", class(column)[[1]], ">")
    of_whom <- if (whose == "object") "" else paste(" of the", whose)
    cli::cli_abort(c(
      "There is no column {.val {column}} in the metadata.",
      x = if (length(data)) "Columns{of_whom}: {.val {names(data)}}." else "There is no metadata{of_whom}.",
      i = "Pass the name of a column as {.arg {arg}}, or leave it out if you can do without."
    ), class = "celloquy_ArgumentError", argument = arg, call = call)
  }
  data[[column]]
}

# Names of genes that are there, each once; an object may have them in one assay and not in another.
check_features <- function(features, present, where = "the object", call = rlang::caller_env()) {
  absent <- setdiff(features, present)
  if (!is.character(features) || !length(features) || length(absent)) {
    cli::cli_abort(c(
      "Some of {.arg features} are not in {where}.",
      x = if (length(absent)) "Not there: {.val {utils::head(absent, 5)}}." else "No name is given.",
      i = "Pass names as the object spells them, such as {.val {utils::head(present, 3)}}."
    ), class = c("celloquy_GenesError", "celloquy_ArgumentError"), argument = "features", call = call)
  }
  unique(features)
}

# The part of a named vector, or of a matrix with row names, that belongs to the cells of a matrix, in their order.
for_cells <- function(values, counts) {
  if (length(dim(values)) == 2) {
    values <- as.matrix(values)
    if (is.null(rownames(values))) values else values[match(colnames(counts), rownames(values)), , drop = FALSE]
  } else if (is.null(names(values))) {
    values
  } else {
    values[match(colnames(counts), names(values))]
  }
}

check_tissue <- function(tissue, counts, call = rlang::caller_env()) {
  if (length(tissue) != ncol(counts) || anyNA(tissue)) {
    cli::cli_abort(c(
      "Not every cell has a tissue.",
      x = "Found: {found_values(tissue, counts)}.",
      i = "Fill the column, or drop these cells, or leave {.arg tissue.by} out to read all cells together."
    ), class = "celloquy_ArgumentError", argument = "tissue.by", call = call)
  }
  unname(tissue)
}

check_batch <- function(batch, counts, call = rlang::caller_env()) {
  if (length(batch) != ncol(counts) || anyNA(batch)) {
    cli::cli_abort(c(
      "Not every cell has a batch.",
      x = "Found: {found_values(batch, counts)}.",
      i = "Fill the column that {.arg batch.by} names, or drop these cells."
    ), class = "celloquy_ArgumentError", argument = "batch.by", call = call)
  }
  unname(batch)
}

found_values <- function(values, counts) {
  if (anyNA(values)) {
    cli::pluralize("{sum(is.na(values))} of {length(values)} value{?s} missing")
  } else {
    cli::pluralize("{length(values)} value{?s} for {ncol(counts)} cell{?s}")
  }
}

check_positions <- function(positions, counts, call = rlang::caller_env()) {
  positions <- as.matrix(positions)
  if (!is.numeric(positions) || !identical(dim(positions), c(ncol(counts), 2L))) {
    cli::cli_abort(c(
      "These are not positions.",
      x = "Found: {.cls {typeof(positions)}} of {nrow(positions)} by {ncol(positions)}.",
      i = "Pass numbers, {ncol(counts)} cells by 2, {.code NA} where unknown."
    ), class = "celloquy_ArgumentError", argument = "positions", call = call)
  }
  unname(positions)
}

check_seurat <- function(object, call = rlang::caller_env()) {
  if (methods::is(object, "Seurat") || inherits(object, "seurat")) {
    check_current(object, call)
  } else {
    cli::cli_abort(c(
      "This is not a Seurat object.",
      x = "Found: {.obj_type_friendly {object}}.",
      i = "Pass a Seurat object; for a SingleCellExperiment there is {.fn SCEToAnnData}."
    ), class = "celloquy_ArgumentError", argument = "object", call = call)
  }
}

check_sce <- function(object, call = rlang::caller_env()) {
  if (!methods::is(object, "SingleCellExperiment")) {
    cli::cli_abort(c(
      "This is not a SingleCellExperiment.",
      x = "Found: {.obj_type_friendly {object}}.",
      i = "Pass a SingleCellExperiment; for a Seurat object there is {.fn SeuratToAnnData}."
    ), class = "celloquy_ArgumentError", argument = "object", call = call)
  }
}

check_anndata <- function(adata, call = rlang::caller_env()) {
  of_python <- inherits(adata, "python.builtin.object") && !reticulate::py_is_null_xptr(adata)
  if (!of_python || !reticulate::py_to_r(import_bridge()$is_anndata(adata))) {
    cli::cli_abort(c(
      "This is not an AnnData.",
      x = "Found: {.obj_type_friendly {adata}}.",
      i = "Pass an AnnData from Python, or read a file with {.fn ReadH5AD}."
    ), class = "celloquy_ArgumentError", argument = "adata", call = call)
  }
}

choose_assay <- function(object, assay, call = rlang::caller_env()) {
  check_current(object, call)
  assay <- assay %||% SeuratObject::DefaultAssay(object)
  if (!rlang::is_string(assay) || !assay %in% SeuratObject::Assays(object)) {
    cli::cli_abort(c(
      "There is no assay {.val {assay}}.",
      x = "Assays: {.val {SeuratObject::Assays(object)}}.",
      i = "Pass one of these as {.arg assay}."
    ), class = "celloquy_ArgumentError", argument = "assay", call = call)
  }
  assay
}

check_new_file <- function(file, overwrite, call = rlang::caller_env()) {
  if (!rlang::is_string(file) || !grepl("[.]h5ad$", file)) {
    cli::cli_abort(c(
      "{.arg file} must be the path of an h5ad file.",
      x = "Found: {.val {file}}.",
      i = "Let it end in {.val .h5ad}."
    ), class = "celloquy_ArgumentError", argument = "file", call = call)
  }
  if (file.exists(file) && !overwrite) {
    cli::cli_abort(c(
      "There is a file {.path {file}} already.",
      i = "Pass {.code overwrite = TRUE} to replace it, or another name."
    ), class = "celloquy_ArgumentError", argument = "overwrite", call = call)
  }
  path.expand(file)
}

# The name of a new reduction or assay. In a Seurat object (`object`) it may be that of an older one (`classes`), but of
# nothing else.
check_new_name <- function(name, object = NULL, classes = NULL, arg = rlang::caller_arg(name),
                           call = rlang::caller_env()) {
  if (!rlang::is_string(name) || is.na(name) || !nzchar(name)) {
    cli::cli_abort(c(
      "{.arg {arg}} must be a name.",
      x = "Found: {.obj_type_friendly {name}}.",
      i = "Pass one text, or leave {.arg {arg}} out."
    ), class = "celloquy_ArgumentError", argument = arg, call = call)
  }
  # Asked for its names, an object of an older Seurat fails.
  check_current(object, call)
  there <- if (name %in% names(object)) object[[name]]
  if (!is.null(there) && !any(vapply(classes, function(class) methods::is(there, class), TRUE))) {
    cli::cli_abort(c(
      "{.arg {arg}} must be a name that the object has free.",
      x = "{.val {name}} is a {.cls {class(there)[[1]]}}.",
      i = "Pass another name."
    ), class = "celloquy_ArgumentError", argument = arg, call = call)
  }
  name
}

# The key of a new reduction, as Seurat wants it: Seurat changes any other, with a warning.
check_new_key <- function(key, arg = rlang::caller_arg(key), call = rlang::caller_env()) {
  if (!rlang::is_string(key) || !grepl("^[A-Za-z][A-Za-z0-9]*_$", key)) {
    cli::cli_abort(c(
      "{.arg {arg}} must be a key of Seurat.",
      x = found_value(key),
      i = "Pass letters and digits with an underscore at the end, such as {.val CELLOQUY_}."
    ), class = "celloquy_ArgumentError", argument = arg, call = call)
  }
  key
}
