#' Impute genes that a spatial panel lacks
#'
#' Predicts the expression of genes that were not measured in a tissue from dissociated cells of the same tissue, and
#' how far each prediction can be trusted. An ensemble of models is trained on panel and reference together; from each
#' model other genes of the panel are held out. How well these are predicted decides how the predictors of the ensemble
#' are weighed, how much a cell's neighbours in the tissue count, and what reliability to expect of a gene that the
#' panel lacks.
#'
#' Panel and reference are the batches of the model, so there is no `batch.by`.
#'
#' @inheritParams AnnotateCells
#' @inheritParams RunCelloquy
#' @param object Cells or spots with the genes of a panel: a Seurat object, an assay, a SingleCellExperiment, or a
#'   matrix of raw counts (genes × cells).
#' @param reference Dissociated cells of the same tissue with raw counts: an object of any of these classes.
#' @param features Genes to impute, as the reference spells them, none of them in the panel. The result is a dense
#'   matrix of `features` × cells.
#' @param model.object The directory of a model that this verb kept with `model.dir`, which then needs neither
#'   `reference` nor `features`, or a pretrained model to fine-tune (its directory, its name on the Hugging Face hub, or
#'   a model of Python). `NULL` trains the ensemble on the object and the reference.
#' @param tissue.by Column of the metadata with the slice. By default each image is one with `spatial = TRUE`, and
#'   otherwise all cells are.
#' @param spatial Average predictions over the neighbours of a cell in the tissue, as far as held-out genes gain by it;
#'   by default if the object has images, from which positions are read.
#' @param tissue The slice of each cell: one value for each.
#' @param n.models Number of models in the ensemble, at least 2.
#' @param batch.mixing Weight of drawing panel and reference together in the latent space, in nats a cell.
#' @param config Size of a model that is trained from scratch: `"mini"`, `"small"` or `"base"`.
#' @param epochs Number of times that training sees every cell; by default more for few cells.
#' @param new.assay.name Name of the assay, or alternative experiment, of the result.
#'
#' @return
#' * For Seurat, the object with the assay `new.assay.name`. Its layer `data` is log1p of counts, scaled to the median
#'   depth of the panel's cells; its feature metadata has `reliability`, the correlation with the truth that is to be
#'   expected of each gene. How it was made, and the correlations that the panel's own genes reached when held out
#'   (`panel`), are in its `Misc(…, "celloquy")`.
#' * For an assay, that assay.
#' * For a SingleCellExperiment, the object with an alternative experiment.
#' * For a matrix, a matrix of features × cells with attributes `"reliability"` and `"celloquy"`.
#'
#' If the call fails or is interrupted, nothing has changed.
#'
#' @examplesIf celloquy:::examples_can_run()
#' reference <- SeuratObject::pbmc_small
#' panel <- subset(reference, features = setdiff(rownames(reference), c("CD3E", "CD79A")))
#' # Two epochs keep the example short; leave `epochs` out.
#' panel <- ImputeGenes(panel, reference, c("CD3E", "CD79A"), epochs = 2, verbose = FALSE)
#' panel[["imputed"]][["reliability"]]
#' @export
ImputeGenes <- function(object, ...) {
  UseMethod("ImputeGenes")
}

#' @rdname ImputeGenes
#' @export
ImputeGenes.Seurat <- function(object, reference = NULL, features = NULL, model.object = NULL, assay = NULL,
                               layer = "counts", reference.assay = NULL, reference.layer = "counts", tissue.by = NULL,
                               spatial = length(SeuratObject::Images(object)) > 0, counts = NULL, species = NULL,
                               n.models = 4, batch.mixing = 0, freeze.encoder = FALSE, config = "mini", epochs = NULL,
                               training = NULL, model.dir = NULL, overwrite = FALSE, precision = "auto",
                               device = "auto", new.assay.name = "imputed", seed.use = 42, verbose = TRUE, ...) {
  rlang::check_dots_empty()
  check_new_name(new.assay.name, object, c("Assay", "StdAssay"))
  assay <- choose_assay(object, assay)
  columns <- cell_columns(object, tissue.by, spatial)
  found <- impute_genes(
    read_cells(object, assay, layer), columns, reference, reference.assay, reference.layer, features, task_options(),
    n.models, batch.mixing
  )
  object <- with_assay(object, new.assay.name, result_assay(found))
  # What is logged stays in the object.
  reference <- NULL
  SeuratObject::LogSeuratCommand(object)
}

#' @rdname ImputeGenes
#' @export
ImputeGenes.Assay <- function(object, reference = NULL, features = NULL, model.object = NULL, assay = NULL,
                              layer = "counts", reference.assay = NULL, reference.layer = "counts", tissue = NULL,
                              positions = NULL, counts = NULL, species = NULL, n.models = 4, batch.mixing = 0,
                              freeze.encoder = FALSE, config = "mini", epochs = NULL, training = NULL, model.dir = NULL,
                              overwrite = FALSE, precision = "auto", device = "auto", seed.use = 42, verbose = TRUE,
                              ...) {
  rlang::check_dots_empty()
  columns <- list(tissue = tissue, positions = positions)
  result_assay(impute_genes(
    read_cells(object, assay, layer), columns, reference, reference.assay, reference.layer, features, task_options(),
    n.models, batch.mixing
  ))
}

#' @rdname ImputeGenes
#' @export
ImputeGenes.StdAssay <- ImputeGenes.Assay

#' @rdname ImputeGenes
#' @export
ImputeGenes.SingleCellExperiment <- function(object, reference = NULL, features = NULL, model.object = NULL,
                                             layer = "counts", reference.assay = NULL, reference.layer = "counts",
                                             tissue.by = NULL, positions = NULL, counts = NULL, species = NULL,
                                             n.models = 4, batch.mixing = 0, freeze.encoder = FALSE, config = "mini",
                                             epochs = NULL, training = NULL, model.dir = NULL, overwrite = FALSE,
                                             precision = "auto", device = "auto", new.assay.name = "imputed",
                                             seed.use = 42, verbose = TRUE, ...) {
  rlang::check_dots_empty()
  check_new_name(new.assay.name)
  columns <- cell_columns(object, tissue.by)
  columns$positions <- positions
  found <- impute_genes(
    read_cells(object, layer = layer), columns, reference, reference.assay, reference.layer, features, task_options(),
    n.models, batch.mixing
  )
  with_experiment(object, found, new.assay.name)
}

#' @rdname ImputeGenes
#' @export
ImputeGenes.default <- function(object, reference = NULL, features = NULL, model.object = NULL, reference.assay = NULL,
                                reference.layer = "counts", tissue = NULL, positions = NULL, counts = NULL,
                                species = NULL, n.models = 4, batch.mixing = 0, freeze.encoder = FALSE, config = "mini",
                                epochs = NULL, training = NULL, model.dir = NULL, overwrite = FALSE, precision = "auto",
                                device = "auto", seed.use = 42, verbose = TRUE, ...) {
  rlang::check_dots_empty()
  columns <- list(tissue = tissue, positions = positions)
  result_matrix(impute_genes(
    read_cells(object), columns, reference, reference.assay, reference.layer, features, task_options(), n.models,
    batch.mixing
  ))
}

impute_genes <- function(cells, columns, reference, reference.assay, reference.layer, features, options, n.models,
                         batch.mixing, call = rlang::caller_env()) {
  n.models <- whole_number(n.models, call = call)
  task <- fitted_task(options$model.object, call)
  check_source(task, c(!is.null(reference), !is.null(features)), c("reference", "features"), call)
  if (!is.null(task)) {
    of_reference <- c("n.models", "batch.mixing", "reference.assay", "reference.layer")
    check_idle(options, c(of_fitting, of_reference), is_fitted, call)
  }
  known <- if (!is.null(reference)) {
    cross_cells(read_cells(reference, reference.assay, reference.layer, "reference", call), call = call)
  }
  adata <- run_task(
    "impute", cross_cells(cells, columns, call = call), options,
    parameters = list(n_models = n.models, batch_mixing = batch.mixing, reference_layer = "X"),
    fit = list(genes = as.list(features)), reference = known, call = call
  )
  key <- reticulate::py_to_r(import_bridge()$keys())$imputed
  made <- provenance(adata, key)
  list(
    layers = list(data = features_by_cells(adata, key)),
    features = data.frame(reliability = as.numeric(made$reliability$predicted)), provenance = made
  )
}
