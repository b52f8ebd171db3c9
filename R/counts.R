# Counts of any object as one sparse matrix, genes × cells.

# The counts of an assay, split layers joined; cells in the assay's order.
assay_counts <- function(object, layer, name, call = rlang::caller_env()) {
  present <- SeuratObject::Layers(object)
  # A v3 assay lists its slots even if they are empty.
  if (!layer %in% present) {
    pieces <- present[startsWith(present, paste0(layer, "."))]
    if (!length(pieces)) {
      abort_no_layer(layer, name, present, call)
    }
    object <- SeuratObject::JoinLayers(object, layers = layer)
  }
  # Of an assay of version 3 with one cell, LayerData() makes a vector.
  counts <- if (methods::is(object, "Assay")) {
    methods::slot(object, layer)
  } else {
    SeuratObject::LayerData(object, layer = layer)
  }
  if (any(dim(counts) == 0)) {
    abort_no_layer(layer, name, present, call)
  }
  as_counts(counts, call = call)
}

abort_no_layer <- function(layer, name, present, call) {
  where <- if (is.null(name)) "the assay" else paste0("assay \"", name, "\"")
  cli::cli_abort(c(
    "Can't find raw counts in {where}.",
    x = "Layer {.val {layer}} is not there, or empty. Layers present: {.val {present}}.",
    i = "Pass the layer with the raw counts, {.code layer = \"...\"}, or another {.arg assay}."
  ), class = "celloquy_CountsError", call = call)
}

# Any matrix as a dgCMatrix with names; Python checks the values.
as_counts <- function(x, call = rlang::caller_env()) {
  if (inherits(x, c("IterableMatrix", "DelayedMatrix"))) {
    cli::cli_abort(c(
      "Counts on disk can't be embedded from R yet.",
      x = "This is {.cls {class(x)[[1]]}}.",
      i = "Load the cells that you need with {.code as(x, \"dgCMatrix\")}, or write an h5ad file and run \\
           {.code celloquy embed} on it."
    ), class = "celloquy_CountsError", call = call)
  }
  if (inherits(x, c("lMatrix", "nMatrix")) || is.logical(x)) {
    cli::cli_abort(c(
      "These are not counts.",
      x = "Found: {.cls {class(x)[[1]]}}, true or false for each gene and cell.",
      i = "Pass the matrix of raw counts."
    ), class = "celloquy_CountsError", call = call)
  }
  if (is.null(rownames(x))) {
    cli::cli_abort(c(
      "The counts have no gene names.",
      x = "Found: a matrix of {nrow(x)} rows and {ncol(x)} columns without row names.",
      i = "Set {.code rownames(x)} to gene symbols or Ensembl ids; columns are cells."
    ), class = "celloquy_GenesError", call = call)
  }
  if (is.null(colnames(x))) {
    colnames(x) <- paste0("cell", seq_len(ncol(x)), recycle0 = TRUE)
  }
  if (!methods::is(x, "dgCMatrix")) {
    x <- methods::as(methods::as(methods::as(x, "dMatrix"), "generalMatrix"), "CsparseMatrix")
  }
  x
}
