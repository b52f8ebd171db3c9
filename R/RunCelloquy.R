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
#' @param batch.by Column of the metadata with the experimental batch that the embedding should be free of: batches are
#'   drawn together, as [CelloquyIntegration()] does for split layers. By default batches are left as they are.
#' @param tissue Which cells are read together: one value for each cell.
#' @param batch The batch of each cell, as `batch.by`.
#' @param positions Where cells lie: a matrix of cells × 2, `NA` where unknown.
#' @param batch.size Cells computed at a time; by default as many as fit a modest memory. Does not change the result.
#' @param precision `"float32"`, `"bfloat16"`, or `"auto"`: bfloat16 where the hardware has it and the model is wide.
#' @param device `"cpu"`, `"cuda"`, `"mps"`, or `"auto"`: a GPU if there is one.
#' @param config Size of the model that is trained without `model.object`: `"mini"`, `"small"` or `"base"`.
#' @param epochs How often it sees every cell; by default as is usual for its size.
#' @param model.dir Directory in which to keep it; an interrupted training leaves its best state so far there. With
#'   batches it is kept when it is trained, and as `model.object` then embeds cells of new batches, too.
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
                               spatial = FALSE, batch.by = NULL, config = "mini", epochs = NULL, model.dir = NULL,
                               batch.size = NULL, precision = "auto", device = "auto", reduction.name = "celloquy",
                               reduction.key = "CELLOQUY_", seed.use = 42, verbose = TRUE, ...) {
  assay <- choose_assay(object, assay)
  place <- tissue_of(object, tissue.by, spatial)
  object[[reduction.name]] <- RunCelloquy(
    object[[assay]],
    model.object = model.object, assay = assay, layer = layer, tissue = place$tissue, positions = place$positions,
    batch = batch_of(object, batch.by), config = config, epochs = epochs, model.dir = model.dir,
    batch.size = batch.size, precision = precision, device = device, reduction.key = reduction.key,
    seed.use = seed.use, verbose = verbose, ...
  )
  SeuratObject::LogSeuratCommand(object)
}

#' @rdname RunCelloquy
#' @export
RunCelloquy.Assay <- function(object, model.object = NULL, assay = NULL, layer = "counts", tissue = NULL,
                              positions = NULL, batch = NULL, reduction.key = "CELLOQUY_", ...) {
  embedding <- embed_cells(
    read_cells(object, assay, layer), tissue = tissue, positions = positions, batch = batch,
    model.object = model.object, ...
  )
  reduction_of(embedding, reduction.key, assay %||% "RNA")
}

# A DimReduc of an embedding, with how it was made in its Misc().
reduction_of <- function(embedding, key, assay) {
  made <- attr(embedding, "celloquy")
  attr(embedding, "celloquy") <- NULL
  colnames(embedding) <- paste0(key, seq_len(ncol(embedding)))
  SeuratObject::CreateDimReducObject(embeddings = embedding, key = key, assay = assay, misc = list(celloquy = made))
}

#' @rdname RunCelloquy
#' @export
RunCelloquy.StdAssay <- RunCelloquy.Assay

#' @rdname RunCelloquy
#' @export
RunCelloquy.SingleCellExperiment <- function(object, model.object = NULL, layer = "counts", tissue = NULL,
                                             batch = NULL, reduction.name = "CELLOQUY", ...) {
  SingleCellExperiment::reducedDim(object, reduction.name) <- embed_cells(
    read_cells(object, layer = layer), tissue = tissue, batch = batch, model.object = model.object, ...
  )
  object
}

#' @rdname RunCelloquy
#' @export
RunCelloquy.dgCMatrix <- function(object, model.object = NULL, tissue = NULL, positions = NULL, batch = NULL,
                                  config = "mini", epochs = NULL, model.dir = NULL, batch.size = NULL,
                                  precision = "auto", device = "auto", seed.use = 42, verbose = TRUE, ...) {
  embed_cells(
    read_cells(object), tissue = tissue, positions = positions, batch = batch, model.object = model.object,
    config = config, epochs = epochs, model.dir = model.dir, batch.size = batch.size, precision = precision,
    device = device, seed.use = seed.use, verbose = verbose, ...
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

# The embedding of cells as read_cells() returns them, cells × dimensions, with how it was made as an attribute.
embed_cells <- function(cells, tissue = NULL, positions = NULL, batch = NULL, model.object = NULL, config = "mini",
                        epochs = NULL, model.dir = NULL, batch.size = NULL, mixing = NULL, precision = "auto",
                        device = "auto", seed.use = 42, verbose = TRUE, ..., call = rlang::caller_env()) {
  rlang::check_dots_empty(call = call)
  batch.size <- whole_number(batch.size, call = call)
  crossing <- cross_cells(cells, tissue, positions, batch, call)
  if (!is.null(batch) || is_fitted(model.object, "integrate")) {
    adata <- run_task(
      "Integrator", crossing,
      learn = function(task, adata, other) task$fit(adata),
      given = c(list(batch_key = "batch"), if (!is.null(mixing)) list(mixing = mixing)),
      model.object = model.object, config = config, epochs = epochs, model.dir = model.dir, precision = precision,
      device = device, seed.use = seed.use, verbose = verbose, call = call
    )
    return(embedding_of(adata, crossing$names))
  }
  epochs <- whole_number(epochs, call = call)
  seed.use <- whole_number(seed.use %||% sample.int(.Machine$integer.max, 1), call = call)
  celloquy <- celloquy_python(call)
  model.object <- check_model(model.object, call)
  adata <- crossing$adata()
  where <- c(
    crossing$keys[names(crossing$keys) != "batch_key"],
    list(precision = precision, device = device, progress = verbose)
  )
  ask <- function(verb, arguments) {
    with_python(with_progress(do.call(verb, c(list(adata), arguments, where)), verbose), crossing$subject, call)
  }
  history <- NULL
  if (is.null(model.object)) {
    if (verbose) {
      say_training(ncol(cells$counts), nrow(cells$counts), config, epochs, model.dir)
    }
    training <- list(config = config, epochs = epochs, seed = seed.use, out = model_path(model.dir))
    model.object <- ask(celloquy$pretrain, training)
    history <- model.object$history
  }
  ask(celloquy$embed, list(model = model.object, batch_size = batch.size))
  attr(adata, "history") <- history
  embedding_of(adata, crossing$names)
}

embedding_of <- function(adata, cells) {
  embedding <- reticulate::py_to_r(adata$obsm[["X_celloquy"]])
  dimnames(embedding) <- list(cells, NULL)
  attr(embedding, "celloquy") <- provenance(adata)
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
