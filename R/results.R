# What a task found, as R users keep it: an assay, an alternative experiment, or a matrix, each with how it was made.

# How the result under a key was made, in plain data, with the losses by epoch of what was trained for it.
provenance <- function(adata, key) {
  # Vectors, not arrays of one dimension.
  made <- rapply(reticulate::py_to_r(import_bridge()$provenance(adata, key)), as.vector, how = "replace")
  history <- attr(adata, "history")
  if (length(history)) made$history <- as.data.frame(lapply(history, unlist))
  made
}

# A table of Python's, cells × features with names, as a matrix of features × cells.
features_by_cells <- function(adata, key) {
  table <- reticulate::py_to_r(import_bridge()$table_to_r(adata, key))
  structure(table$values, dimnames = list(as.vector(table$features), as.vector(table$cells)))
}

# An assay of results: `layers`, matrices of features × cells; `features`, their metadata; and how it was made. It is
# made slot by slot, because the constructor takes no matrix of one feature.
result_assay <- function(found) {
  spelled <- make.unique(chartr("_|", "--", rownames(found$layers[[1]])))
  cells <- colnames(found$layers[[1]])
  layers <- lapply(found$layers, function(matrix) list(matrix = matrix, features = spelled, cells = cells))
  layout <- list(
    class = "Assay5", package = "SeuratObject",
    slots = list(default = 1L, assay.orig = character(), misc = list(), key = "")
  )
  metadata <- data.frame(row.names = seq_along(spelled))
  for (name in names(found$features)) metadata[[name]] <- found$features[[name]]
  assay <- build_assay(layout, layers, spelled, cells, metadata)
  SeuratObject::Misc(assay, "celloquy") <- found$provenance
  assay
}

# A Seurat object with an assay of results.
with_assay <- function(object, name, assay) {
  # SeuratObject warns of an assay without counts that it can't sum them up.
  suppressWarnings(object[[name]] <- assay)
  object
}

# A DimReduc of an embedding, with how it was made in its Misc().
result_reduction <- function(embedding, key, assay) {
  made <- attr(embedding, "celloquy")
  attr(embedding, "celloquy") <- NULL
  colnames(embedding) <- paste0(key, seq_len(ncol(embedding)))
  SeuratObject::CreateDimReducObject(
    embeddings = embedding, key = key, assay = assay, misc = list(celloquy = made),
    # For ElbowPlot().
    stdev = unname(apply(embedding, 2, stats::sd))
  )
}

# A SingleCellExperiment with results as an alternative experiment; `called` is what its users call the layer `data`.
with_experiment <- function(object, found, name, called = "logcounts") {
  layers <- found$layers
  names(layers)[names(layers) == "data"] <- called
  experiment <- SummarizedExperiment::SummarizedExperiment(layers)
  # Cells may have no names, or not unique ones.
  colnames(experiment) <- colnames(object)
  for (column in names(found$features)) {
    SummarizedExperiment::rowData(experiment)[[column]] <- found$features[[column]]
  }
  S4Vectors::metadata(experiment)$celloquy <- found$provenance
  SingleCellExperiment::altExp(object, name) <- experiment
  object
}

# Results as a matrix with attributes.
result_matrix <- function(found) {
  values <- found$layers[[1]]
  for (name in names(found$layers)[-1]) attr(values, name) <- found$layers[[name]]
  for (name in names(found$features)) attr(values, name) <- found$features[[name]]
  structure(values, celloquy = found$provenance)
}
