#' Impute genes that a spatial panel lacks
#'
#' Predicts the expression of genes that were not measured in a tissue from dissociated cells of the same tissue, and
#' how far each can be trusted. Four models are trained on panel and reference together; from each another part of the
#' panel's genes is held out. How well these are found again tells how to weigh the ways to a prediction, how much a
#' cell's neighbours in the tissue say, and what reliability to expect of a gene that the panel lacks.
#'
#' @inheritParams AnnotateCells
#' @inheritParams RunCelloquy
#' @param object Cells or spots with the genes of a panel: a Seurat object, an assay, a SingleCellExperiment, or a
#'   matrix of raw counts (genes × cells).
#' @param reference Dissociated cells of the same tissue with raw counts: any of these, too.
#' @param features Genes to impute, as the reference spells them, none of them in the panel. The result is a dense
#'   matrix of `features` × cells.
#' @param model.object The directory of a model that this verb kept with `model.dir`, which then needs neither
#'   `reference` nor `features`, or a pretrained model to fine-tune (its directory, or a Python `celloquy.CellModel`).
#'   `NULL` trains them on the object and the reference.
#' @param tissue.by Column of the metadata that names the slices. By default the images do with `spatial = TRUE`, and
#'   otherwise all cells are one.
#' @param spatial Let the neighbours of a cell in the tissue have a say; by default if the object has images, from which
#'   places are read.
#' @param tissue The slice of each cell.
#' @param config Size of a model that is trained from scratch: `"mini"`, `"small"` or `"base"`.
#' @param epochs How often training sees every cell; by default more often for few.
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
#' # So few epochs are for the example's sake; leave `epochs` out.
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
                               spatial = length(SeuratObject::Images(object)) > 0, frozen = FALSE, config = "mini",
                               epochs = NULL, model.dir = NULL, species = NULL, precision = "auto", device = "auto",
                               new.assay.name = "imputed", seed.use = 42, verbose = TRUE, ...) {
  assay <- choose_assay(object, assay)
  place <- tissue_of(object, tissue.by, spatial)
  imputed <- ImputeGenes(
    object[[assay]],
    reference = reference, features = features, model.object = model.object, assay = assay, layer = layer,
    reference.assay = reference.assay, reference.layer = reference.layer, tissue = place$tissue,
    positions = place$positions, frozen = frozen, config = config, epochs = epochs, model.dir = model.dir,
    species = species, precision = precision, device = device, seed.use = seed.use, verbose = verbose, ...
  )
  object <- with_assay(object, new.assay.name, imputed)
  # What is logged stays in the object.
  reference <- NULL
  SeuratObject::LogSeuratCommand(object)
}

#' @rdname ImputeGenes
#' @export
ImputeGenes.Assay <- function(object, reference = NULL, features = NULL, assay = NULL, layer = "counts", ...) {
  result_assay(impute_genes(read_cells(object, assay, layer), reference, features, ...))
}

#' @rdname ImputeGenes
#' @export
ImputeGenes.StdAssay <- ImputeGenes.Assay

#' @rdname ImputeGenes
#' @export
ImputeGenes.SingleCellExperiment <- function(object, reference = NULL, features = NULL, layer = "counts",
                                             new.assay.name = "imputed", ...) {
  with_experiment(object, impute_genes(read_cells(object, layer = layer), reference, features, ...), new.assay.name)
}

#' @rdname ImputeGenes
#' @export
ImputeGenes.default <- function(object, reference = NULL, features = NULL, tissue = NULL, positions = NULL, ...) {
  result_matrix(impute_genes(read_cells(object), reference, features, tissue = tissue, positions = positions, ...))
}

impute_genes <- function(cells, reference, features, model.object = NULL, reference.assay = NULL,
                         reference.layer = "counts", tissue = NULL, positions = NULL, ..., call = rlang::caller_env()) {
  check_source(model.object, c(!is.null(reference), !is.null(features)), c("reference", "features"), call)
  if (!is.null(reference)) known <- read_cells(reference, reference.assay, reference.layer, "reference", call)
  adata <- run_task(
    "Imputer", cross_cells(cells, tissue, positions, call = call),
    learn = function(task, adata, other) task$fit(adata, other, genes = as.list(features)),
    others = if (!is.null(reference)) cross_cells(known, call = call),
    given = list(reference_layer = "X"), model.object = model.object, ..., call = call
  )
  made <- provenance(adata)
  list(
    layers = list(data = features_by_cells(adata, "celloquy_imputed")),
    features = data.frame(reliability = as.numeric(made$reliability$predicted)), provenance = made
  )
}
