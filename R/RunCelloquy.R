#' Embed cells with a cell language model
#'
#' Reads the raw counts of all cells of a tissue together and gives every cell a vector, stored as a dimensional
#' reduction: use it where you would use a PCA. The result does not depend on the order of cells or genes, and the same
#' cells always get the same vectors.
#'
#' Without `model.object` a small model is first trained on the object itself. That takes from a minute (hundreds of
#' cells) to an hour (a hundred thousand), so keep the model with `model.dir`, and pass that directory as `model.object`
#' from then on.
#'
#' Gene names may be symbols, also old ones, or Ensembl ids with or without version, of human or mouse.
#'
#' @param object A Seurat object, an assay, a SingleCellExperiment, or a matrix of raw counts (genes × cells).
#' @param model.object The directory of a saved model, or a model of Python, such as `celloquy.Model`. `NULL` trains one
#'   on `object`.
#' @param assay Name of the assay; by default the object's default assay.
#' @param layer Layer with the raw counts. The parts of a split layer (`counts.1`, `counts.2`, …) are joined for the
#'   embedding; the object keeps them as they are.
#' @param tissue.by Column of the metadata with the tissue, such as a sample or a slice: cells of a tissue are read
#'   together. By default all cells are one tissue, or those of each image with `spatial = TRUE`.
#' @param spatial Tell the model the positions of the cells, from the object's images. This helps only a model that was
#'   trained with positions.
#' @param batch.by Column of the metadata with the experimental batch that the embedding should be free of: batches are
#'   drawn together, as [CelloquyIntegration()] does for split layers. By default batches are left as they are.
#' @param species `"auto"` maps genes of the other species through one-to-one orthologs, with a warning; by default such
#'   genes are an error.
#' @param tissue The tissue of each cell: one value for each.
#' @param batch The experimental batch of each cell: one value for each.
#' @param positions Positions of the cells: a matrix of cells × 2, `NA` where unknown.
#' @param batch.size Number of cells computed at a time; by default as many as fit a modest memory. It does not change
#'   the result.
#' @param max.memory Memory that an embedding may take: bytes, or text such as `"4 GB"`. By default half of the free
#'   memory.
#' @param precision `"float32"`, `"bfloat16"`, or `"auto"`: bfloat16 where the hardware has it and the model is wide.
#' @param device `"cpu"`, `"cuda"`, `"mps"`, or `"auto"`: a GPU if there is one.
#' @param config Size of a model that is trained from scratch: `"mini"`, `"small"` or `"base"`.
#' @param freeze.encoder Leave the encoder of `model.object` as it is while the model is fine-tuned for batches. Without
#'   `batch.by` no model is fine-tuned.
#' @param batch.mixing Weight of drawing the batches together, in nats a cell; 0 leaves it to the decoder. It is used
#'   with `batch.by` only.
#' @param n.top.genes Number of most variable genes that a model trained from scratch with `batch.by` reads; `NULL`
#'   gives it all genes.
#' @param epochs Number of times that training sees every cell; by default more for few cells.
#' @param training Further options of training: a named list with some of `batch.size`, `learning.rate`,
#'   `weight.decay`, `validation` and `patience`, such as `list(learning.rate = 1e-3, patience = 10)`.
#' @param model.dir Directory in which the trained model is kept; an interrupted training leaves its best state so far
#'   there. A model trained with batches embeds cells of new batches, too, when it is passed as `model.object`.
#' @param seed.use Seed of training; `NULL` draws one from R's random numbers. Embedding draws none.
#' @param reduction.name Name of the dimensional reduction.
#' @param reduction.key Key of the reduction, from which the names of its dimensions are made.
#' @param verbose Show messages and progress bars.
#' @param ... Not used; must be empty. For matrices of other classes, the arguments of the method for `dgCMatrix`.
#'
#' @return
#' * For Seurat, the object with a [DimReduc][SeuratObject::DimReduc-class] called `reduction.name`; how it was made is
#'   in `Misc(object[[reduction.name]], "celloquy")`.
#' * For an assay, that DimReduc.
#' * For a SingleCellExperiment, the object with `reducedDim(object, reduction.name)`.
#' * For a matrix, the embedding: a matrix of cells × dimensions. Its attribute `"celloquy"` tells how it was made.
#'
#' If the call fails or is interrupted, nothing has changed.
#'
#' @seealso [InstallCelloquy()] if Python is missing.
#'
#' @examplesIf celloquy:::examples_can_run()
#' object <- SeuratObject::pbmc_small
#' model <- tempfile("model")
#' # Two epochs keep the example short; leave `epochs` out.
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
                               spatial = FALSE, batch.by = NULL, species = NULL, freeze.encoder = FALSE,
                               config = "mini", batch.mixing = 100, n.top.genes = 2000, epochs = NULL, training = NULL,
                               model.dir = NULL, batch.size = NULL, max.memory = NULL, precision = "auto",
                               device = "auto", reduction.name = "celloquy", reduction.key = "CELLOQUY_",
                               seed.use = 42, verbose = TRUE, ...) {
  rlang::check_dots_empty()
  assay <- choose_assay(object, assay)
  columns <- cell_columns(object, tissue.by, spatial, batch.by)
  embedding <- embed_cells(
    read_cells(object, assay, layer), columns, task_options(), batch.size, max.memory, batch.mixing, n.top.genes
  )
  object[[reduction.name]] <- result_reduction(embedding, reduction.key, assay)
  SeuratObject::LogSeuratCommand(object)
}

#' @rdname RunCelloquy
#' @export
RunCelloquy.Assay <- function(object, model.object = NULL, assay = NULL, layer = "counts", tissue = NULL,
                              positions = NULL, batch = NULL, species = NULL, freeze.encoder = FALSE, config = "mini",
                              batch.mixing = 100, n.top.genes = 2000, epochs = NULL, training = NULL, model.dir = NULL,
                              batch.size = NULL, max.memory = NULL, precision = "auto", device = "auto",
                              reduction.key = "CELLOQUY_", seed.use = 42, verbose = TRUE, ...) {
  rlang::check_dots_empty()
  columns <- list(tissue = tissue, positions = positions, batch = batch)
  embedding <- embed_cells(
    read_cells(object, assay, layer), columns, task_options(), batch.size, max.memory, batch.mixing, n.top.genes
  )
  result_reduction(embedding, reduction.key, assay %||% "RNA")
}

#' @rdname RunCelloquy
#' @export
RunCelloquy.StdAssay <- RunCelloquy.Assay

#' @rdname RunCelloquy
#' @export
RunCelloquy.SingleCellExperiment <- function(object, model.object = NULL, layer = "counts", tissue.by = NULL,
                                             positions = NULL, batch.by = NULL, species = NULL, freeze.encoder = FALSE,
                                             config = "mini", batch.mixing = 100, n.top.genes = 2000, epochs = NULL,
                                             training = NULL, model.dir = NULL, batch.size = NULL, max.memory = NULL,
                                             precision = "auto", device = "auto", reduction.name = "CELLOQUY",
                                             seed.use = 42, verbose = TRUE, ...) {
  rlang::check_dots_empty()
  columns <- cell_columns(object, tissue.by, batch.by = batch.by)
  columns$positions <- positions
  SingleCellExperiment::reducedDim(object, reduction.name) <- embed_cells(
    read_cells(object, layer = layer), columns, task_options(), batch.size, max.memory, batch.mixing, n.top.genes
  )
  object
}

#' @rdname RunCelloquy
#' @export
RunCelloquy.dgCMatrix <- function(object, model.object = NULL, tissue = NULL, positions = NULL, batch = NULL,
                                  species = NULL, freeze.encoder = FALSE, config = "mini", batch.mixing = 100,
                                  n.top.genes = 2000, epochs = NULL, training = NULL, model.dir = NULL,
                                  batch.size = NULL, max.memory = NULL, precision = "auto", device = "auto",
                                  seed.use = 42, verbose = TRUE, ...) {
  rlang::check_dots_empty()
  columns <- list(tissue = tissue, positions = positions, batch = batch)
  embed_cells(read_cells(object), columns, task_options(), batch.size, max.memory, batch.mixing, n.top.genes)
}

#' @rdname RunCelloquy
#' @export
RunCelloquy.default <- function(object, ...) {
  if (is_matrix(object)) {
    return(RunCelloquy(as_counts(object), ...))
  }
  cli::cli_abort(c(
    "celloquy can't embed {.obj_type_friendly {object}}.",
    i = "Pass a Seurat object, an assay, a SingleCellExperiment, or a matrix of raw counts (genes by cells)."
  ), class = "celloquy_ArgumentError", argument = "object")
}

# The embedding of cells as read_cells() returns them, cells × dimensions, with how it was made as an attribute.
embed_cells <- function(cells, columns, options, batch.size = NULL, max.memory = NULL, batch.mixing = 100,
                        n.top.genes = 2000, call = rlang::caller_env()) {
  batch.size <- whole_number(batch.size, call = call)
  n.top.genes <- whole_number(n.top.genes, call = call)
  crossing <- cross_cells(cells, columns, call = call)
  if (!is.null(columns$batch) || identical(fitted_task(options$model.object, call), "integrate")) {
    parameters <- list(batch_mixing = batch.mixing, n_top_genes = n.top.genes)
    return(embedding_of(run_task("integrate", crossing, options, parameters, call = call), crossing$names))
  }
  options <- check_options(options, call)
  bridge <- python_bridge(call, torch = TRUE)
  model <- check_model(options$model.object, call)
  adata <- crossing$adata()
  ask <- function(verb, arguments) {
    arguments <- c(list(adata), arguments, list(columns = crossing$keys, species = options$species), running(options))
    with_python(with_progress(do.call(verb, arguments), options$verbose), crossing$subject, call)
  }
  history <- NULL
  if (is.null(model)) {
    if (options$verbose) say_training(cells$counts, options)
    trained <- ask(bridge$pretrain, list(
      config = options$config, training = options$training, epochs = options$epochs, seed = options$seed.use,
      out = options$model.dir
    ))
    model <- trained[[0]]
    history <- reticulate::py_to_r(trained[[1]])
  }
  ask(bridge$embed, list(model = model, batch_size = batch.size, max_memory = max.memory))
  attr(adata, "history") <- history
  embedding_of(adata, crossing$names)
}

embedding_of <- function(adata, cells) {
  bridge <- import_bridge()
  key <- reticulate::py_to_r(bridge$keys())$embedding
  embedding <- reticulate::py_to_r(bridge$embedding_to_r(adata, key))
  dimnames(embedding) <- list(cells, NULL)
  attr(embedding, "celloquy") <- provenance(adata, key)
  embedding
}

say_training <- function(counts, options) {
  time <- if (identical(options$config, "mini")) {
    epochs <- options$epochs %||% options$training$epochs
    seconds <- reticulate::py_to_r(import_bridge()$expected_seconds(ncol(counts), nrow(counts), epochs))
    paste(" At most about", in_minutes(seconds), "on this computer's processor.")
  }
  what <- if (is.null(time)) "one" else "a small one"
  cli::cli_inform(c(
    i = "No model given: training {what} on these {ncol(counts)} cell{?s}.{time}",
    " " = if (is.null(options$model.dir)) {
      "Pass {.arg model.dir} to keep it, {.arg model.object} to use one that is trained."
    }
  ))
}

in_minutes <- function(seconds) {
  minutes <- max(1, signif(seconds / 60, 1))
  if (minutes < 60) cli::pluralize("{minutes} minute{?s}") else cli::pluralize("{round(minutes / 60)} hour{?s}")
}
