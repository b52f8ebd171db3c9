#' Embed cells with a cell language model
#'
#' Reads the raw counts of all cells of a tissue together and gives every cell a vector, stored as a dimensional
#' reduction: use it where you would use a PCA. The result does not depend on the order of cells or genes, and the same
#' cells always get the same vectors.
#'
#' The model in the box, `"cells-mini"`, serves where no other is given: it holds what some twenty studies of human and
#' mouse cells have in common, learns from the cells of the object in seconds, and needs no network.
#'
#' With `model.object = "scratch"` a small model is first trained on the object itself. That takes from a minute
#' (hundreds of cells) to an hour (a hundred thousand), so keep the model with `model.dir`, and pass that directory as
#' `model.object` from then on.
#'
#' Gene names may be symbols, also old ones, or Ensembl ids with or without version, of human or mouse.
#'
#' @param object A Seurat object, an assay, a SingleCellExperiment, or a matrix of raw counts (genes × cells).
#' @param model.object The directory of a saved model, the name `"org/name"` of one on the Hugging Face hub (which needs
#'   the Python package huggingface_hub), or a model of Python, such as `celloquy.Model`. `NULL` is the model in the
#'   box, `"cells-mini"`; `"scratch"` trains one on `object`, as `batch.by` does where no model is given.
#' @param adapt Let the model learn from the cells of `object` first; by default it does if it can. `FALSE` embeds them
#'   as the model knows cells, so that embeddings of several objects can be compared.
#' @param assay Name of the assay; by default the object's default assay.
#' @param layer Layer with the raw counts. The parts of a split layer (`counts.1`, `counts.2`, …) are joined for the
#'   embedding; the object keeps them as they are.
#' @param tissue.by Column of the metadata with the tissue, such as a sample or a slice: cells of a tissue are read
#'   together. By default all cells are one tissue, or those of each image with `spatial = TRUE`. An error for a model
#'   that reads every cell alone, as the one in the box.
#' @param spatial Tell the model the positions of the cells, from the object's images. An error for a model that
#'   does not read them, as the one in the box; it helps only a model that was trained with positions.
#' @param batch.by Column of the metadata with the experimental batch that the embedding should be free of: batches are
#'   drawn together, as [CelloquyIntegration()] does for split layers. By default batches are left as they are.
#' @param counts `"round"` rounds estimated or corrected counts, as RSEM, kallisto, SoupX and decontX leave them. By
#'   default values that are not whole are an error.
#' @param species `"auto"` maps genes of the other species through one-to-one orthologs, with a warning; by default such
#'   genes are an error. A model of human and mouse reads either without it.
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
#' @param training Further options of training: a named list with some of `batch.size`, `cells.per.sentence`,
#'   `parts`, `learning.rate`, `weight.decay`, `validation` and `patience`, such as
#'   `list(learning.rate = 1e-3, patience = 10)`.
#' @param model.dir Directory in which the trained model is kept; an interrupted training leaves its best state so far
#'   there. A model trained with batches embeds cells of new batches, too, when it is passed as `model.object`.
#' @param overwrite Replace a saved model that is in `model.dir`; by default that is an error.
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
#' A model that reads a limited number of genes of a cell, such as a gene model, also says how many of the expressed
#' genes of each cell it left out: in the metadata, `"celloquy.genes.cut"` (`reduction.name` and `.genes.cut`); of an
#' assay or a matrix, in `genes.cut` beside how it was made.
#'
#' If the call fails or is interrupted, nothing has changed.
#'
#' @seealso [InstallCelloquy()] if Python is missing.
#'
#' @examplesIf celloquy:::examples_can_run()
#' object <- SeuratObject::pbmc_small
#' model <- tempfile("model")
#' object <- RunCelloquy(object, verbose = FALSE)
#' object[["celloquy"]]
#'
#' # A model of the object's own; two epochs keep the example short: leave `epochs` out.
#' object <- RunCelloquy(object, "scratch", epochs = 2, model.dir = model, verbose = FALSE)
#' # From now on the saved model serves.
#' object <- RunCelloquy(object, model.object = model, verbose = FALSE)
#' @export
RunCelloquy <- function(object, ...) {
  UseMethod("RunCelloquy")
}

#' @rdname RunCelloquy
#' @export
RunCelloquy.Seurat <- function(object, model.object = NULL, assay = NULL, layer = "counts", tissue.by = NULL,
                               spatial = FALSE, batch.by = NULL, counts = NULL, species = NULL, adapt = NULL,
                               freeze.encoder = FALSE, config = "mini", batch.mixing = 100, n.top.genes = 2000,
                               epochs = NULL, training = NULL, model.dir = NULL, overwrite = FALSE, batch.size = NULL,
                               max.memory = NULL, precision = "auto", device = "auto", reduction.name = "celloquy",
                               reduction.key = "CELLOQUY_", seed.use = 42, verbose = TRUE, ...) {
  rlang::check_dots_empty()
  check_new_name(reduction.name, object, "DimReduc")
  check_new_key(reduction.key)
  assay <- choose_assay(object, assay)
  columns <- cell_columns(object, tissue.by, spatial, batch.by)
  embedding <- embed_cells(
    read_cells(object, assay, layer), columns, task_options(), adapt, batch.size, max.memory,
    batch.mixing, n.top.genes
  )
  cut <- attr(embedding, "celloquy")$genes.cut
  attr(embedding, "celloquy")$genes.cut <- NULL
  object[[reduction.name]] <- result_reduction(embedding, reduction.key, assay)
  if (!is.null(cut)) object[[paste0(reduction.name, ".genes.cut")]] <- cut
  SeuratObject::LogSeuratCommand(object)
}

#' @rdname RunCelloquy
#' @export
RunCelloquy.Assay <- function(object, model.object = NULL, assay = NULL, layer = "counts", tissue = NULL,
                              positions = NULL, batch = NULL, counts = NULL, species = NULL, adapt = NULL,
                              freeze.encoder = FALSE, config = "mini", batch.mixing = 100, n.top.genes = 2000,
                              epochs = NULL, training = NULL, model.dir = NULL, overwrite = FALSE, batch.size = NULL,
                              max.memory = NULL, precision = "auto", device = "auto", reduction.key = "CELLOQUY_",
                              seed.use = 42, verbose = TRUE, ...) {
  rlang::check_dots_empty()
  check_new_key(reduction.key)
  columns <- list(tissue = tissue, positions = positions, batch = batch)
  embedding <- embed_cells(
    read_cells(object, assay, layer), columns, task_options(), adapt, batch.size, max.memory,
    batch.mixing, n.top.genes
  )
  result_reduction(embedding, reduction.key, assay %||% "RNA")
}

#' @rdname RunCelloquy
#' @export
RunCelloquy.StdAssay <- RunCelloquy.Assay

#' @rdname RunCelloquy
#' @export
RunCelloquy.SingleCellExperiment <- function(object, model.object = NULL, layer = "counts", tissue.by = NULL,
                                             positions = NULL, batch.by = NULL, counts = NULL, species = NULL,
                                             adapt = NULL, freeze.encoder = FALSE, config = "mini", batch.mixing = 100,
                                             n.top.genes = 2000, epochs = NULL, training = NULL, model.dir = NULL,
                                             overwrite = FALSE, batch.size = NULL, max.memory = NULL,
                                             precision = "auto", device = "auto", reduction.name = "CELLOQUY",
                                             seed.use = 42, verbose = TRUE, ...) {
  rlang::check_dots_empty()
  check_new_name(reduction.name)
  columns <- cell_columns(object, tissue.by, batch.by = batch.by)
  columns$positions <- positions
  embedding <- embed_cells(
    read_cells(object, layer = layer), columns, task_options(), adapt, batch.size, max.memory,
    batch.mixing, n.top.genes
  )
  cut <- attr(embedding, "celloquy")$genes.cut
  attr(embedding, "celloquy")$genes.cut <- NULL
  if (!is.null(cut)) SummarizedExperiment::colData(object)[[paste0(reduction.name, ".genes.cut")]] <- unname(cut)
  # Cells may have no names, or not unique ones.
  rownames(embedding) <- colnames(object)
  SingleCellExperiment::reducedDim(object, reduction.name) <- embedding
  object
}

#' @rdname RunCelloquy
#' @export
RunCelloquy.dgCMatrix <- function(object, model.object = NULL, tissue = NULL, positions = NULL, batch = NULL,
                                  counts = NULL, species = NULL, adapt = NULL, freeze.encoder = FALSE, config = "mini",
                                  batch.mixing = 100, n.top.genes = 2000, epochs = NULL, training = NULL,
                                  model.dir = NULL, overwrite = FALSE, batch.size = NULL, max.memory = NULL,
                                  precision = "auto", device = "auto", seed.use = 42, verbose = TRUE, ...) {
  rlang::check_dots_empty()
  columns <- list(tissue = tissue, positions = positions, batch = batch)
  embed_cells(read_cells(object), columns, task_options(), adapt, batch.size, max.memory, batch.mixing, n.top.genes)
}

#' @rdname RunCelloquy
#' @export
RunCelloquy.default <- function(object, ...) {
  if (is_matrix(object)) {
    return(RunCelloquy(as_counts(object), ...))
  }
  check_current(object)
  cli::cli_abort(c(
    "celloquy can't embed {.obj_type_friendly {object}}.",
    i = "Pass a Seurat object, an assay, a SingleCellExperiment, or a matrix of raw counts (genes by cells)."
  ), class = "celloquy_ArgumentError", argument = "object")
}

# Name of the model that embeds cells where the user gives none.
model_in_the_box <- "cells-mini"

# The embedding of cells as read_cells() returns them, cells × dimensions, with how it was made as an attribute.
embed_cells <- function(cells, columns, options, adapt = NULL, batch.size = NULL, max.memory = NULL, batch.mixing = 100,
                        n.top.genes = 2000, call = rlang::caller_env()) {
  batch.size <- whole_number(batch.size, call = call)
  n.top.genes <- whole_number(n.top.genes, call = call)
  task <- fitted_task(options$model.object, call)
  check_embedding(options, task, !is.null(columns$batch), call)
  crossing <- cross_cells(cells, columns, call = call)
  if (!is.null(columns$batch) || identical(task, "integrate")) {
    if (identical(options$model.object, "scratch")) options["model.object"] <- list(NULL)
    parameters <- list(batch_mixing = batch.mixing, n_top_genes = n.top.genes)
    return(embedding_of(run_task("integrate", crossing, options, parameters, call = call), crossing$names))
  }
  options <- check_options(options, call)
  bridge <- python_bridge(call, torch = TRUE)
  scratch <- identical(options$model.object, "scratch")
  model <- if (!scratch) check_model(options$model.object %||% model_in_the_box, call)
  adata <- crossing$adata()
  ask <- function(verb, arguments) {
    reading <- list(columns = crossing$keys, counts = options$counts, species = options$species)
    arguments <- c(list(adata), arguments, reading, running(options))
    with_python(with_progress(do.call(verb, arguments), options$verbose), crossing$subject, call)
  }
  history <- NULL
  if (options$verbose && is.null(options$model.object)) {
    cli::cli_inform(c(i = "The model in the box, {.val {model_in_the_box}}, embeds {ncol(cells$counts)} cell{?s}."))
  }
  if (scratch) {
    if (options$verbose) say_training(cells$counts, options)
    trained <- ask(bridge$pretrain, list(
      config = options$config, training = options$training, epochs = options$epochs, seed = options$seed.use,
      out = options$model.dir, overwrite = options$overwrite
    ))
    model <- trained[[0]]
    history <- reticulate::py_to_r(trained[[1]])
  }
  ask(bridge$embed, list(model = model, adapt = adapt, batch_size = batch.size, max_memory = max.memory))
  attr(adata, "history") <- history
  embedding_of(adata, crossing$names)
}

# Refuse the options that an embedding has no use for: which these are depends on the model and on the batches.
check_embedding <- function(options, task, batches, call) {
  of_batches <- c("freeze.encoder", "batch.mixing", "n.top.genes")
  if (identical(task, "integrate")) {
    idle <- c(of_fitting, of_batches, "batch.by", "batch", "batch.size", "max.memory", "adapt")
    check_idle(options, idle, is_fitted, call)
  } else if (batches) {
    check_idle(options, c("batch.size", "max.memory", "adapt"), "With batches a model is trained in memory.", call)
  } else if (identical(options$model.object, "scratch")) {
    check_idle(options, c(of_batches, "adapt"), "Without batches a model is trained from scratch, on all genes.", call)
  } else if (is.null(options$model.object)) {
    idle <- c(of_fitting, of_batches, "model.dir", "overwrite")
    check_idle(options, idle, "The model in the box needs no training; `model.object = \"scratch\"` trains one.", call)
  } else {
    idle <- c(of_fitting, of_batches, "model.dir", "overwrite")
    check_idle(options, idle, "Without batches `model.object` embeds the cells as it is.", call)
  }
}

embedding_of <- function(adata, cells) {
  bridge <- import_bridge()
  key <- reticulate::py_to_r(bridge$keys())$embedding
  embedding <- reticulate::py_to_r(bridge$embedding_to_r(adata, key))
  dimnames(embedding) <- list(cells, NULL)
  made <- provenance(adata, key)
  cut <- reticulate::py_to_r(bridge$genes_cut(adata))
  if (!is.null(cut)) made$genes.cut <- stats::setNames(as.vector(cut), cells)
  attr(embedding, "celloquy") <- made
  embedding
}

say_training <- function(counts, options) {
  time <- if (identical(options$config, "mini")) {
    epochs <- options$epochs %||% options$training$epochs
    seconds <- reticulate::py_to_r(import_bridge()$expected_seconds(ncol(counts), nrow(counts), epochs))
    paste(" At most about", in_minutes(seconds), "on this computer's processor.")
  }
  what <- if (is.null(time)) "a model" else "a small model"
  cli::cli_inform(c(
    i = "Training {what} on these {ncol(counts)} cell{?s}.{time}",
    " " = if (is.null(options$model.dir)) {
      "Pass {.arg model.dir} to keep it, {.arg model.object} to use one that is trained."
    }
  ))
}

in_minutes <- function(seconds) {
  minutes <- max(1, signif(seconds / 60, 1))
  if (minutes < 60) cli::pluralize("{minutes} minute{?s}") else cli::pluralize("{round(minutes / 60)} hour{?s}")
}
