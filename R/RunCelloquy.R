#' Embed cells with a cell language model
#'
#' Reads the raw counts of all cells of a tissue together and gives every cell a vector, stored as a dimensional
#' reduction: use it where you would use a PCA. The result does not depend on the order of cells or genes, and the same
#' cells always give the same vectors.
#'
#' Without `model.object` a small model is first trained on the object itself. That takes from a minute (hundreds of
#' cells) to an hour (a hundred thousand), so keep it with `model.dir` and pass that directory as `model.object` from
#' then on.
#'
#' Gene names may be symbols, also old ones, or Ensembl ids with or without version, of human or mouse.
#'
#' @param object A Seurat object, an assay, a SingleCellExperiment, or a matrix of raw counts (genes × cells).
#' @param model.object The directory of a saved model, or a Python `celloquy.CellModel`. `NULL` trains one on `object`.
#' @param assay Name of the assay; by default the object's default assay.
#' @param layer Layer that holds raw counts. If it is split (`counts.1`, `counts.2`, …) the parts are joined for the
#'   embedding; the object keeps them as they are.
#' @param tissue.by Column of the metadata that tells which cells are read together, such as a sample or a slice. By
#'   default all cells are, or those of an image each with `spatial = TRUE`.
#' @param spatial Tell the model where in its tissue a cell lies, from the object's images. Only of use with a model
#'   that was trained with positions.
#' @param tissue Which cells are read together: one value for each cell.
#' @param positions Where cells lie: a matrix of cells × 2, `NA` where unknown.
#' @param batch.size Cells computed at a time; by default as many as fit a modest memory. Does not change the result.
#' @param precision `"float32"`, `"bfloat16"`, or `"auto"`: bfloat16 where the hardware has it and the model is wide.
#' @param device `"cpu"`, `"cuda"`, `"mps"`, or `"auto"`: a GPU if there is one.
#' @param config Size of the model that is trained without `model.object`: `"mini"`, `"small"` or `"base"`.
#' @param epochs How often it sees every cell; by default as is usual for its size.
#' @param model.dir Directory in which to keep it; an interrupted training leaves its best state so far there.
#' @param seed.use Seed of its training; `NULL` draws one from R's random numbers. Embedding draws none.
#' @param reduction.name Name of the dimensional reduction.
#' @param reduction.key Its key, from which the names of its dimensions are made.
#' @param verbose Show messages and progress bars.
#' @param ... Further arguments, handed to the method for matrices.
#'
#' @return
#' * For Seurat, the object with a [DimReduc][SeuratObject::DimReduc-class] called `reduction.name`; how it was made is
#'   in `Misc(object[[reduction.name]], "celloquy")`.
#' * For an assay, that DimReduc.
#' * For a SingleCellExperiment, the object with `reducedDim(object, reduction.name)`.
#' * For a matrix, the embedding: a matrix of cells × dimensions with an attribute `"celloquy"` that tells how it was
#'   made.
#'
#' If the call fails or is interrupted, nothing has changed.
#'
#' @seealso [InstallCelloquy()] if Python is missing.
#'
#' @examplesIf celloquy:::examples_can_run()
#' object <- SeuratObject::pbmc_small
#' model <- tempfile("model")
#' # So few epochs are for the example's sake; leave `epochs` out.
#' object <- RunCelloquy(object, epochs = 2, model.dir = model, verbose = FALSE)
#' object[["celloquy"]]
#'
#' # From now on the saved model serves.
#' object <- RunCelloquy(object, model.object = model, verbose = FALSE)
#' @export
RunCelloquy <- function(object, ...) {
  UseMethod("RunCelloquy")
}

#' @rdname RunCelloquy
#' @export
RunCelloquy.Seurat <- function(object, model.object = NULL, assay = NULL, layer = "counts", tissue.by = NULL,
                               spatial = FALSE, config = "mini", epochs = NULL, model.dir = NULL, batch.size = NULL,
                               precision = "auto", device = "auto", reduction.name = "celloquy",
                               reduction.key = "CELLOQUY_", seed.use = 42, verbose = TRUE, ...) {
  assay <- assay %||% SeuratObject::DefaultAssay(object)
  if (!assay %in% SeuratObject::Assays(object)) {
    cli::cli_abort(c(
      "There is no assay {.val {assay}}.",
      x = "Assays: {.val {SeuratObject::Assays(object)}}.",
      i = "Pass one of these as {.arg assay}."
    ), class = "celloquy_ArgumentError")
  }
  tissue <- if (!is.null(tissue.by)) tissue_column(object, tissue.by)
  positions <- if (isTRUE(spatial)) tissue_positions(object)
  if (is.null(tissue) && length(unique(positions$image)) > 1) {
    # Places in different images can't be compared, so each is a tissue, and so are the cells in none.
    tissue <- stats::setNames(rep("no image", ncol(object)), colnames(object))
    tissue[rownames(positions)] <- positions$image
  }
  object[[reduction.name]] <- RunCelloquy(
    object[[assay]],
    model.object = model.object, assay = assay, layer = layer, tissue = tissue, positions = positions[c("x", "y")],
    config = config, epochs = epochs, model.dir = model.dir, batch.size = batch.size, precision = precision,
    device = device, reduction.key = reduction.key, seed.use = seed.use, verbose = verbose, ...
  )
  SeuratObject::LogSeuratCommand(object)
}

#' @rdname RunCelloquy
#' @export
RunCelloquy.Assay <- function(object, model.object = NULL, assay = NULL, layer = "counts", tissue = NULL,
                              positions = NULL, reduction.key = "CELLOQUY_", ...) {
  counts <- assay_counts(object, layer, assay)
  embedding <- embed_counts(
    counts,
    subject = paste0("Layer \"", layer, "\"", if (!is.null(assay)) paste0(" of assay \"", assay, "\"")),
    model.object = model.object, tissue = for_cells(tissue, counts), positions = for_cells(positions, counts), ...
  )
  provenance <- attr(embedding, "celloquy")
  attr(embedding, "celloquy") <- NULL
  colnames(embedding) <- paste0(reduction.key, seq_len(ncol(embedding)))
  SeuratObject::CreateDimReducObject(
    embeddings = embedding,
    key = reduction.key,
    assay = assay %||% "RNA",
    misc = list(celloquy = provenance)
  )
}

#' @rdname RunCelloquy
#' @export
RunCelloquy.StdAssay <- RunCelloquy.Assay

#' @rdname RunCelloquy
#' @export
RunCelloquy.SingleCellExperiment <- function(object, model.object = NULL, layer = "counts", tissue = NULL,
                                             reduction.name = "CELLOQUY", ...) {
  rlang::check_installed("SingleCellExperiment")
  present <- SummarizedExperiment::assayNames(object)
  if (!layer %in% present) {
    abort_no_layer(layer, NULL, present, rlang::current_env())
  }
  SingleCellExperiment::reducedDim(object, reduction.name) <- embed_counts(
    as_counts(SummarizedExperiment::assay(object, layer)),
    subject = paste0("Assay \"", layer, "\""),
    model.object = model.object, tissue = tissue, ...
  )
  object
}

#' @rdname RunCelloquy
#' @export
RunCelloquy.dgCMatrix <- function(object, model.object = NULL, tissue = NULL, positions = NULL, config = "mini",
                                  epochs = NULL, model.dir = NULL, batch.size = NULL, precision = "auto",
                                  device = "auto", seed.use = 42, verbose = TRUE, ...) {
  embed_counts(
    as_counts(object),
    subject = "The matrix", model.object = model.object, tissue = tissue, positions = positions, config = config,
    epochs = epochs, model.dir = model.dir, batch.size = batch.size, precision = precision, device = device,
    seed.use = seed.use, verbose = verbose, ...
  )
}

#' @rdname RunCelloquy
#' @export
RunCelloquy.default <- function(object, ...) {
  if (is.matrix(object) || inherits(object, c("Matrix", "IterableMatrix", "DelayedMatrix"))) {
    return(RunCelloquy(as_counts(object), ...))
  }
  cli::cli_abort(c(
    "celloquy can't embed {.obj_type_friendly {object}}.",
    i = "Pass a Seurat object, an assay, a SingleCellExperiment, or a matrix of raw counts (genes by cells)."
  ), class = "celloquy_ArgumentError")
}

# Embed a dgCMatrix of counts; `subject` is what errors call it.
embed_counts <- function(counts, subject, model.object = NULL, tissue = NULL, positions = NULL, config = "mini",
                         epochs = NULL, model.dir = NULL, batch.size = NULL, precision = "auto", device = "auto",
                         seed.use = 42, verbose = TRUE, ..., call = rlang::caller_env()) {
  rlang::check_dots_empty(call = call)
  batch.size <- whole_number(batch.size, call = call)
  epochs <- whole_number(epochs, call = call)
  seed.use <- whole_number(seed.use %||% sample.int(.Machine$integer.max, 1), call = call)
  obs <- if (!is.null(tissue)) list(tissue = check_tissue(tissue, counts, call))
  positions <- if (!is.null(positions)) check_positions(positions, counts, call)
  celloquy <- celloquy_python(call)
  model.object <- check_model(model.object, call)
  adata <- as_anndata(counts, obs = obs, spatial = positions)
  where <- list(
    layer = "X", tissue_key = if (!is.null(tissue)) "tissue", spatial_key = if (!is.null(positions)) "spatial",
    precision = precision, device = device, progress = verbose
  )
  ask <- function(verb, arguments) {
    with_python(with_progress(do.call(verb, c(list(adata), arguments, where)), verbose), subject, call)
  }
  if (is.null(model.object)) {
    if (verbose) {
      say_training(ncol(counts), nrow(counts), config, epochs, model.dir)
    }
    training <- list(config = config, epochs = epochs, seed = seed.use, out = model_path(model.dir))
    model.object <- ask(celloquy$pretrain, training)
  }
  ask(celloquy$embed, list(model = model.object, batch_size = batch.size))
  embedding <- reticulate::py_to_r(adata$obsm[["X_celloquy"]])
  dimnames(embedding) <- list(colnames(counts), NULL)
  attr(embedding, "celloquy") <- reticulate::py_to_r(adata$uns[["celloquy"]])
  embedding
}

say_training <- function(cells, genes, config, epochs, model.dir) {
  time <- if (identical(config, "mini")) {
    paste(" At most about", minutes_of_training(cells, genes, epochs), "on this computer's processor.")
  }
  cli::cli_inform(c(
    i = "No model given: training {if (is.null(time)) 'one' else 'a small one'} on these {cells} cell{?s}.{time}",
    " " = if (is.null(model.dir)) "Pass {.arg model.dir} to keep it, {.arg model.object} to use one that is trained."
  ))
}

# How long a small model trains, from processor time measured on 700 cells of 765 genes and 2,600 of 13,714.
minutes_of_training <- function(cells, genes, epochs, cores = reticulate::import("os")$cpu_count()) {
  # Without a word about epochs, few cells are seen 120 times and many 10 times.
  passes <- if (is.null(epochs)) min(120 * cells, max(960e3, 10 * cells)) else epochs * cells
  seconds <- passes * (0.75e-3 + 5e-8 * genes) / (0.7 * cores)
  minutes <- max(1, signif(seconds / 60, 1))
  if (minutes < 60) cli::pluralize("{minutes} minute{?s}") else cli::pluralize("{round(minutes / 60)} hour{?s}")
}

# The part of a named vector, or of a matrix with row names, that belongs to the cells of a matrix, in its order.
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
      x = if (anyNA(tissue)) {
        "Found: {sum(is.na(tissue))} of {length(tissue)} value{?s} missing."
      } else {
        "Found: {length(tissue)} value{?s} for {ncol(counts)} cell{?s}."
      },
      i = "Fill the column, or drop these cells, or leave {.arg tissue.by} out to read all cells together."
    ), class = "celloquy_ArgumentError", call = call)
  }
  unname(tissue)
}

check_positions <- function(positions, counts, call = rlang::caller_env()) {
  positions <- as.matrix(positions)
  if (!is.numeric(positions) || !identical(dim(positions), c(ncol(counts), 2L))) {
    cli::cli_abort(c(
      "These are not positions.",
      x = "Found: {.cls {typeof(positions)}} of {nrow(positions)} by {ncol(positions)}.",
      i = "Pass numbers, {ncol(counts)} cells by 2, {.code NA} where unknown."
    ), class = "celloquy_ArgumentError", call = call)
  }
  unname(positions)
}

model_path <- function(model.dir) {
  if (is.null(model.dir)) NULL else path.expand(model.dir)
}

check_model <- function(model.object, call = rlang::caller_env()) {
  if (is.null(model.object) || rlang::is_string(model.object)) {
    return(model_path(model.object))
  }
  # A Python object that went through saveRDS() is an empty shell.
  lost <- inherits(model.object, "python.builtin.object") && reticulate::py_is_null_xptr(model.object)
  if (lost || !inherits(model.object, "celloquy.models.cell_model.CellModel")) {
    cli::cli_abort(c(
      "This is not a model.",
      x = if (lost) "It was saved with R and did not survive that." else "Found: {.obj_type_friendly {model.object}}.",
      i = "Pass the directory of a saved model as {.arg model.object}, or leave it out to train one."
    ), class = "celloquy_ArgumentError", call = call)
  }
  model.object
}

whole_number <- function(value, arg = rlang::caller_arg(value), call = rlang::caller_env()) {
  if (is.null(value)) {
    return(NULL)
  }
  if (!rlang::is_integerish(value, n = 1, finite = TRUE)) {
    cli::cli_abort(c(
      "{.arg {arg}} must be a whole number.",
      x = "Found: {.obj_type_friendly {value}}."
    ), class = "celloquy_ArgumentError", call = call)
  }
  as.integer(value)
}
