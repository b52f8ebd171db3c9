#' Denoise expression
#'
#' Tells the expression of a cell from the noise of its counts: a model that fills in masked counts predicts a gene from
#' what else the cell expresses and from the cells of its tissue, and the prediction is averaged with the counts of the
#' nearest cells in the latent space. The object's counts stay as they are; the result is another assay.
#'
#' The model learns from all genes. The result is a dense matrix of `features` × cells, so by default it has only the
#' variable features: for all genes pass `features = rownames(object)`, if 8 bytes a gene and cell fit the memory.
#'
#' @inheritParams AnnotateCells
#' @inheritParams RunCelloquy
#' @param object A Seurat object, an assay, a SingleCellExperiment, or a matrix of raw counts (genes × cells).
#' @param features Genes to return; by default the variable features. A SingleCellExperiment and a matrix have none.
#' @param model.object The directory of a model that this verb kept with `model.dir`, which is then applied to the
#'   object as it is, or a pretrained model to fine-tune (its directory, its name on the Hugging Face hub, or a model of
#'   Python). `NULL` trains one on the object.
#' @param layer Layer with the raw counts.
#' @param unit `"lognorm"`: log1p of counts per 10,000, as `Seurat::NormalizeData()` gives and plots expect them;
#'   `"counts"`: the expected counts at each cell's own depth.
#' @param return.std Return the standard deviation of a count, too, as a layer `"sd"`: that of the noise of counting
#'   and of the variation that the model cannot explain.
#' @param n.neighbors Number of nearest cells of the same batch whose counts are averaged with the prediction; 0 takes
#'   the prediction alone.
#' @param batch.by Column of the metadata with the experimental batch, which the decoder is told. A model that was
#'   fitted with batches must be told them again.
#' @param freeze.encoder Leave the encoder of the pretrained model as it is, and train only its decoder.
#' @param config Size of a model that is trained from scratch: `"mini"`, `"small"` or `"base"`.
#' @param epochs Number of times that training sees every cell; by default more for few cells.
#' @param new.assay.name Name of the assay, or alternative experiment, of the result.
#'
#' @return
#' * For Seurat, the object with the assay `new.assay.name`, whose layer is `data` or, with `unit = "counts"`, `counts`;
#'   how it was made is in its `Misc(…, "celloquy")`.
#' * For an assay, that assay.
#' * For a SingleCellExperiment, the object with an alternative experiment.
#' * For a matrix, a matrix of features × cells with an attribute `"celloquy"`, and `"sd"` if asked for.
#'
#' If the call fails or is interrupted, nothing has changed.
#'
#' @examplesIf celloquy:::examples_can_run()
#' object <- SeuratObject::pbmc_small
#' # Two epochs keep the example short; leave `epochs` out.
#' object <- DenoiseExpression(object, features = c("CD3E", "MS4A1"), epochs = 2, verbose = FALSE)
#' SeuratObject::LayerData(object, assay = "denoised", layer = "data")[, 1:3]
#' @export
DenoiseExpression <- function(object, ...) {
  UseMethod("DenoiseExpression")
}

#' @rdname DenoiseExpression
#' @export
DenoiseExpression.Seurat <- function(object, features = NULL, model.object = NULL, assay = NULL, layer = "counts",
                                     unit = c("lognorm", "counts"), return.std = FALSE, n.neighbors = 30,
                                     tissue.by = NULL, spatial = FALSE, batch.by = NULL, counts = NULL, species = NULL,
                                     freeze.encoder = FALSE, config = "mini", epochs = NULL, training = NULL,
                                     model.dir = NULL, overwrite = FALSE, precision = "auto", device = "auto",
                                     new.assay.name = "denoised", seed.use = 42, verbose = TRUE, ...) {
  rlang::check_dots_empty()
  check_new_name(new.assay.name, object, c("Assay", "StdAssay"))
  unit <- choice(rlang::arg_match(unit))
  assay <- choose_assay(object, assay)
  columns <- cell_columns(object, tissue.by, spatial, batch.by)
  features <- features %||% SeuratObject::VariableFeatures(object[[assay]])
  found <- denoise_cells(
    read_cells(object, assay, layer), columns, features, task_options(), unit, return.std, n.neighbors
  )
  object <- with_assay(object, new.assay.name, result_assay(found))
  SeuratObject::LogSeuratCommand(object)
}

#' @rdname DenoiseExpression
#' @export
DenoiseExpression.Assay <- function(object, features = NULL, model.object = NULL, assay = NULL, layer = "counts",
                                    unit = c("lognorm", "counts"), return.std = FALSE, n.neighbors = 30, tissue = NULL,
                                    positions = NULL, batch = NULL, counts = NULL, species = NULL,
                                    freeze.encoder = FALSE, config = "mini", epochs = NULL, training = NULL,
                                    model.dir = NULL, overwrite = FALSE, precision = "auto", device = "auto",
                                    seed.use = 42, verbose = TRUE, ...) {
  rlang::check_dots_empty()
  columns <- list(tissue = tissue, positions = positions, batch = batch)
  features <- features %||% SeuratObject::VariableFeatures(object)
  cells <- read_cells(object, assay, layer)
  result_assay(
    denoise_cells(cells, columns, features, task_options(), choice(rlang::arg_match(unit)), return.std, n.neighbors)
  )
}

#' @rdname DenoiseExpression
#' @export
DenoiseExpression.StdAssay <- DenoiseExpression.Assay

#' @rdname DenoiseExpression
#' @export
DenoiseExpression.SingleCellExperiment <- function(object, features = NULL, model.object = NULL, layer = "counts",
                                                   unit = c("lognorm", "counts"), return.std = FALSE, n.neighbors = 30,
                                                   tissue.by = NULL, positions = NULL, batch.by = NULL, counts = NULL,
                                                   species = NULL, freeze.encoder = FALSE, config = "mini",
                                                   epochs = NULL, training = NULL, model.dir = NULL, overwrite = FALSE,
                                                   precision = "auto", device = "auto", new.assay.name = "denoised",
                                                   seed.use = 42, verbose = TRUE, ...) {
  rlang::check_dots_empty()
  check_new_name(new.assay.name)
  unit <- choice(rlang::arg_match(unit))
  columns <- cell_columns(object, tissue.by, batch.by = batch.by)
  columns$positions <- positions
  cells <- read_cells(object, layer = layer)
  found <- denoise_cells(cells, columns, features, task_options(), unit, return.std, n.neighbors)
  with_experiment(object, found, new.assay.name)
}

#' @rdname DenoiseExpression
#' @export
DenoiseExpression.default <- function(object, features = NULL, model.object = NULL, unit = c("lognorm", "counts"),
                                      return.std = FALSE, n.neighbors = 30, tissue = NULL, positions = NULL,
                                      batch = NULL, counts = NULL, species = NULL, freeze.encoder = FALSE,
                                      config = "mini", epochs = NULL, training = NULL, model.dir = NULL,
                                      overwrite = FALSE, precision = "auto", device = "auto", seed.use = 42,
                                      verbose = TRUE, ...) {
  rlang::check_dots_empty()
  unit <- choice(rlang::arg_match(unit))
  columns <- list(tissue = tissue, positions = positions, batch = batch)
  cells <- read_cells(object)
  result_matrix(denoise_cells(cells, columns, features, task_options(), unit, return.std, n.neighbors))
}

denoise_cells <- function(cells, columns, features, options, unit, return.std, n.neighbors,
                          call = rlang::caller_env()) {
  n.neighbors <- whole_number(n.neighbors, call = call)
  if (!is.null(fitted_task(options$model.object, call))) {
    check_idle(options, c(of_fitting, "n.neighbors"), is_fitted, call)
  }
  if (!length(features)) {
    cli::cli_abort(c(
      "There are no features to return.",
      x = "Neither {.arg features} nor variable features are given.",
      i = "Pass {.arg features}, or run {.fn Seurat::FindVariableFeatures} on a Seurat object first."
    ), class = "celloquy_ArgumentError", argument = "features", call = call)
  }
  features <- check_features(features, rownames(cells$counts), call = call)
  adata <- run_task(
    "denoise", cross_cells(cells, columns, call = call), options,
    parameters = list(n_neighbors = n.neighbors),
    predict = list(unit = unit, genes = as.list(features), return_std = return.std), call = call
  )
  keys <- reticulate::py_to_r(import_bridge()$keys())
  layers <- list(features_by_cells(adata, keys$denoised))
  names(layers) <- if (unit == "lognorm") "data" else "counts"
  if (return.std) layers$sd <- features_by_cells(adata, keys$std)
  list(layers = layers, provenance = provenance(adata, keys$denoised))
}
