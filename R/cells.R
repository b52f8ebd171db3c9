# Cells of what R users hold, read for a task: their counts, their metadata, and how they are grouped and placed.

# The counts of cells, the metadata of cells and of features, and what errors call the counts. `arg` is the argument
# that they came by.
read_cells <- function(object, assay = NULL, layer = "counts", arg = "object", call = rlang::caller_env()) {
  name <- function(what) if (arg == "object") what else paste(what, "of the", arg)
  data <- NULL
  check_new_name(layer, arg = if (arg == "object") "layer" else "reference.layer", call = call)
  check_current(object, call)
  if (methods::is(object, "Seurat")) {
    assay <- choose_assay(object, assay, call)
    data <- object[[]]
    object <- object[[assay]]
  }
  if (inherits(object, "SCTAssay")) warn_corrected_counts(assay, call)
  if (inherits(object, c("Assay", "StdAssay"))) {
    counts <- assay_counts(object, layer, assay, call)
    of_assay <- if (!is.null(assay)) paste0(" of assay \"", assay, "\"")
    about <- if (methods::is(object, "StdAssay")) object@meta.data else object@meta.features
    # A layer may have some of the features.
    features <- lapply(unclass(about), rows_of_column, match(rownames(counts), rownames(object)))
    subject <- name(paste0("Layer \"", layer, "\"", of_assay))
    return(list(counts = counts, data = data, features = features, subject = subject))
  }
  if (methods::is(object, "SingleCellExperiment")) {
    rlang::check_installed("SingleCellExperiment", call = call)
    present <- SummarizedExperiment::assayNames(object)
    if (!layer %in% present) abort_no_layer(layer, NULL, present, call)
    counts <- as_counts(SummarizedExperiment::assay(object, layer), call)
    data <- as.data.frame(SummarizedExperiment::colData(object), optional = TRUE)
    features <- as.list(SummarizedExperiment::rowData(object))
    return(list(counts = counts, data = data, features = features, subject = name(paste0("Assay \"", layer, "\""))))
  }
  if (is_matrix(object)) {
    return(list(counts = as_counts(object, call), data = NULL, subject = name("The matrix")))
  }
  cli::cli_abort(c(
    "{.arg {arg}} holds no cells that can be read.",
    x = "Found: {.obj_type_friendly {object}}.",
    i = "Pass a Seurat object, an assay, a SingleCellExperiment, or a matrix of raw counts (genes by cells)."
  ), class = "celloquy_ArgumentError", argument = arg, call = call)
}

warn_corrected_counts <- function(assay, call) {
  cli::cli_warn(c(
    "Assay {.val {assay %||% 'SCT'}} holds counts that SCTransform corrected, not raw ones.",
    i = "Models are made for raw counts: pass {.code assay = \"RNA\"}."
  ), call = call)
}

is_matrix <- function(object) {
  is.matrix(object) || inherits(object, c("Matrix", "IterableMatrix", "DelayedMatrix"))
}

# How the cells of an object are read, one value for each cell: the tissue, the position and the batch, NULL where the
# user gave none. `arg` is the argument that the object came by.
cell_columns <- function(object, tissue.by = NULL, spatial = FALSE, batch.by = NULL, arg = "object",
                         call = rlang::caller_env()) {
  data <- if (methods::is(object, "Seurat")) {
    object[[]]
  } else if (methods::is(object, "SingleCellExperiment")) {
    as.data.frame(SummarizedExperiment::colData(object), optional = TRUE)
  }
  column <- function(name, asked_by) {
    if (!is.null(name)) stats::setNames(metadata_column(data, name, asked_by, arg, call), colnames(object))
  }
  tissue <- column(tissue.by, "tissue.by")
  batch <- column(batch.by, "batch.by")
  positions <- if (isTRUE(spatial)) tissue_positions(object, call)
  if (is.null(tissue) && length(unique(positions$image)) > 1) {
    # Positions in different images can't be compared, so each image is a tissue, and so are the cells in none.
    tissue <- stats::setNames(rep("no image", ncol(object)), colnames(object))
    tissue[rownames(positions)] <- positions$image
  }
  list(tissue = tissue, positions = positions[c("x", "y")], batch = batch)
}

# The cells of a task on their way to Python. The AnnData is made when it is asked for, after all checks of arguments.
# `labels` is a named list with a column of labels.
cross_cells <- function(cells, columns = list(), labels = list(), call = rlang::caller_env()) {
  counts <- cells$counts
  tissue <- if (!is.null(columns$tissue)) check_tissue(for_cells(columns$tissue, counts), counts, call)
  positions <- if (!is.null(columns$positions)) check_positions(for_cells(columns$positions, counts), counts, call)
  batch <- if (!is.null(columns$batch)) check_batch(for_cells(columns$batch, counts), counts, call)
  list(
    adata = function() {
      obs <- c(present(list(tissue = tissue, batch = batch)), labels)
      as_anndata(counts, obs, cells$features, positions, call)
    },
    keys = list(
      tissue_key = if (!is.null(tissue)) "tissue", spatial_key = if (!is.null(positions)) "spatial",
      batch_key = if (!is.null(batch)) "batch"
    ),
    subject = cells$subject, names = colnames(counts)
  )
}

# What the cells of a reference are said to be where only the cells to be predicted are grouped or placed.
with_columns_like <- function(columns, others, cells) {
  if (is.null(columns$tissue) && !is.null(others$tissue)) columns$tissue <- rep("reference", cells)
  if (is.null(columns$positions) && !is.null(others$positions)) columns$positions <- matrix(NA_real_, cells, 2)
  columns
}

# A cells × genes AnnData of the counts of a genes × cells matrix. The columns of R's matrix are the rows of Python's,
# so that nothing is transposed and the counts are copied once. Of the metadata of features, what says which are genes
# crosses.
as_anndata <- function(counts, obs = list(), features = list(), spatial = NULL, call = rlang::caller_env()) {
  obs <- lapply(obs, as.factor)
  types <- intersect(unlist(reticulate::py_to_r(import_bridge()$columns_of_types())), names(features))
  types <- Filter(function(column) kind_of_column(column) %in% c("character", "factor"), features[types])
  frame <- function(columns, names) {
    frame_to_python(structure(columns, class = "data.frame", row.names = seq_along(names)), names)
  }
  parts <- list(
    obs = frame(named(obs), colnames(counts)), var = frame(named(types), rownames(counts)),
    X = list(pieces = list(list(matrix = counts, cells = NULL, genes = NULL))), layers = named(list()),
    obsm = if (!is.null(spatial)) list(spatial = list(dense = spatial))
  )
  anndata_from_parts(present(parts), "The matrix", call = call)
}
