# Cells of what R users hold, read for a task: their counts, their metadata, and how they are grouped and placed.

# The counts and the metadata of cells, and what errors call the counts; `arg` is the argument that they came by.
read_cells <- function(object, assay = NULL, layer = "counts", arg = "object", call = rlang::caller_env()) {
  name <- function(what) if (arg == "object") what else paste(what, "of the", arg)
  data <- NULL
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
  if (is_matrix(object)) {
    return(list(counts = as_counts(object, call), data = NULL, subject = name("The matrix")))
  }
  cli::cli_abort(c(
    "{.arg {arg}} holds no cells that can be read.",
    x = "Found: {.obj_type_friendly {object}}.",
    i = "Pass a Seurat object, an assay, a SingleCellExperiment, or a matrix of raw counts (genes by cells)."
  ), class = "celloquy_ArgumentError", argument = arg, call = call)
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
    adata = function() as_anndata(counts, c(present(list(tissue = tissue, batch = batch)), labels), positions, call),
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
# so that nothing is transposed and the counts are copied once.
as_anndata <- function(counts, obs = list(), spatial = NULL, call = rlang::caller_env()) {
  obs <- lapply(obs, as.factor)
  frame <- function(columns, names) {
    frame_to_python(structure(columns, class = "data.frame", row.names = seq_along(names)), names)
  }
  parts <- list(
    obs = frame(named(obs), colnames(counts)), var = frame(named(list()), rownames(counts)),
    X = list(pieces = list(list(matrix = counts, cells = NULL, genes = NULL))), layers = named(list()),
    obsm = if (!is.null(spatial)) list(spatial = list(dense = spatial))
  )
  anndata_from_parts(present(parts), "The matrix", call = call)
}
