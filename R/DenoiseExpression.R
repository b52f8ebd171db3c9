#' Denoise expression
#'
#' Tells the expression of a cell from the noise of its counts: a model that fills in masked counts predicts a gene from
#' what else the cell expresses and from the cells of its tissue, and the nearest cells in its latent have a say. The
#' object's counts stay as they are; the result is another assay.
#'
#' The model learns from all genes. What is returned is a dense matrix of `features` × cells, so by default only the
#' variable features are: for all genes pass `features = rownames(object)`, if 8 bytes a gene and cell fit the memory.
#'
#' @inheritParams AnnotateCells
#' @inheritParams RunCelloquy
#' @param object A Seurat object, an assay, a SingleCellExperiment, or a matrix of raw counts (genes × cells).
#' @param features Genes to return; by default the variable features. A SingleCellExperiment and a matrix have none.
#' @param model.object The directory of a model that this verb kept with `model.dir`, which is then applied to the
#'   object as it is, or a pretrained model to fine-tune (its directory, or a Python `celloquy.CellModel`). `NULL`
#'   trains one on the object.
#' @param layer Layer that holds raw counts.
#' @param unit `"lognorm"`: log1p of counts per 10,000, as `Seurat::NormalizeData()` gives and plots expect them;
#'   `"counts"`: the expected counts at each cell's own depth.
#' @param uncertainty Return the standard deviation of a count, too, as a layer `"sd"`: that of the noise of counting
#'   and of the variation that the model cannot explain.
#' @param batch.by Column of the metadata with the experimental batch, which the decoder is told. A model that was
#'   fitted with batches must be told them again.
#' @param batch The batch of each cell.
#' @param config Size of a model that is trained from scratch: `"mini"`, `"small"` or `"base"`.
#' @param epochs How often training sees every cell; by default more often for few.
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
#' # So few epochs are for the example's sake; leave `epochs` out.
#' object <- DenoiseExpression(object, features = c("CD3E", "MS4A1"), epochs = 2, verbose = FALSE)
#' SeuratObject::LayerData(object, assay = "denoised", layer = "data")[, 1:3]
#' @export
DenoiseExpression <- function(object, ...) {
  UseMethod("DenoiseExpression")
}

#' @rdname DenoiseExpression
#' @export
DenoiseExpression.Seurat <- function(object, features = NULL, model.object = NULL, assay = NULL, layer = "counts",
                                     unit = c("lognorm", "counts"), uncertainty = FALSE, tissue.by = NULL,
                                     batch.by = NULL, spatial = FALSE, frozen = FALSE, config = "mini", epochs = NULL,
                                     model.dir = NULL, species = NULL, precision = "auto", device = "auto",
                                     new.assay.name = "denoised", seed.use = 42, verbose = TRUE, ...) {
  unit <- rlang::arg_match(unit)
  assay <- choose_assay(object, assay)
  place <- tissue_of(object, tissue.by, spatial)
  denoised <- DenoiseExpression(
    object[[assay]],
    features = features, model.object = model.object, assay = assay, layer = layer, unit = unit,
    uncertainty = uncertainty, tissue = place$tissue, batch = batch_of(object, batch.by), positions = place$positions,
    frozen = frozen, config = config, epochs = epochs, model.dir = model.dir, species = species, precision = precision,
    device = device, seed.use = seed.use, verbose = verbose, ...
  )
  object <- with_assay(object, new.assay.name, denoised)
  SeuratObject::LogSeuratCommand(object)
}

#' @rdname DenoiseExpression
#' @export
DenoiseExpression.Assay <- function(object, features = NULL, assay = NULL, layer = "counts", ...) {
  features <- features %||% SeuratObject::VariableFeatures(object)
  result_assay(denoise_cells(read_cells(object, assay, layer), features, ...))
}

#' @rdname DenoiseExpression
#' @export
DenoiseExpression.StdAssay <- DenoiseExpression.Assay

#' @rdname DenoiseExpression
#' @export
DenoiseExpression.SingleCellExperiment <- function(object, features = NULL, layer = "counts",
                                                   new.assay.name = "denoised", ...) {
  with_experiment(object, denoise_cells(read_cells(object, layer = layer), features, ...), new.assay.name)
}

#' @rdname DenoiseExpression
#' @export
DenoiseExpression.default <- function(object, features = NULL, unit = c("lognorm", "counts"), uncertainty = FALSE,
                                      tissue = NULL, batch = NULL, positions = NULL, ...) {
  result_matrix(denoise_cells(
    read_cells(object), features,
    unit = unit, uncertainty = uncertainty, tissue = tissue, batch = batch, positions = positions, ...
  ))
}

denoise_cells <- function(cells, features, unit = c("lognorm", "counts"), uncertainty = FALSE, tissue = NULL,
                          batch = NULL, positions = NULL, ..., call = rlang::caller_env()) {
  unit <- rlang::arg_match(unit, error_call = call)
  if (!length(features)) {
    cli::cli_abort(c(
      "There are no features to return.",
      x = "Neither {.arg features} nor variable features are given.",
      i = "Pass {.arg features}, or run {.fn Seurat::FindVariableFeatures} on a Seurat object first."
    ), class = "celloquy_ArgumentError", call = call)
  }
  features <- check_features(features, rownames(cells$counts), call = call)
  adata <- run_task(
    "Denoiser", cross_cells(cells, tissue, positions, batch, call),
    learn = function(task, adata, other) task$fit(adata),
    asked = list(unit = unit, genes = as.list(features), uncertainty = uncertainty), ..., call = call
  )
  layers <- list(features_by_cells(adata, "celloquy_denoised"))
  names(layers) <- if (unit == "lognorm") "data" else "counts"
  if (uncertainty) layers$sd <- features_by_cells(adata, "celloquy_denoised_sd")
  list(layers = layers, provenance = provenance(adata))
}

# Names of genes that are there, each once; an object may have them in one assay and not in another.
check_features <- function(features, present, where = "the object", call = rlang::caller_env()) {
  absent <- setdiff(features, present)
  if (!is.character(features) || !length(features) || length(absent)) {
    cli::cli_abort(c(
      "Some of {.arg features} are not in {where}.",
      x = if (length(absent)) "Not there: {.val {utils::head(absent, 5)}}." else "No name is given.",
      i = "Pass names as the object spells them, such as {.val {utils::head(present, 3)}}."
    ), class = c("celloquy_GenesError", "celloquy_ArgumentError"), call = call)
  }
  unique(features)
}
