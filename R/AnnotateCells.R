#' Annotate cells with the cell types of a labelled reference
#'
#' Gives every cell the label of the reference that it most probably has, the probability of each label, and says where
#' a cell is like none of them. Two readings of a cell are added: regressions on the genes that tell the labels apart,
#' and the embedding of a cell model that is trained, or fine-tuned, on the labels. Probabilities are calibrated on
#' reference cells that neither was fitted to.
#'
#' Everything is learned from the reference; of `object` only the names of its genes are looked at. Keep what was
#' learned with `model.dir`, and pass that directory as `model.object`, without a reference, to annotate further cells.
#'
#' @inheritParams RunCelloquy
#' @param object The cells: a Seurat object, an assay, a SingleCellExperiment, or a matrix of raw counts (genes ×
#'   cells).
#' @param reference Labelled cells with raw counts: a Seurat object or a SingleCellExperiment.
#' @param label Column of the reference's metadata with the labels, at least two cells with each. Of a coarse and a fine
#'   level, take one at a time.
#' @param model.object The directory of a model that this verb kept with `model.dir`, or a pretrained model to fine-tune
#'   (its directory, or a Python `celloquy.CellModel`). `NULL` trains one on the reference.
#' @param layer,reference.layer Layers with raw counts of the object and of the reference.
#' @param reference.assay Name of the reference's assay; by default its default assay.
#' @param unknown Share of held-out reference cells that may be called `"unknown"`; the more, the more cells of types
#'   that the reference lacks are found. Of cells of another laboratory, or treated ones, it will be more; then try
#'   0.005. 0 never calls a cell unknown.
#' @param top.k Give the most probable labels, so many, too: as the metadata `predicted.id.1`, `predicted.id.2`, …
#' @param return.evidence Give the five reference cells that lie nearest in the embedding, too, and their labels: as the
#'   metadata `evidence.cell.1`, `evidence.label.1`, …
#' @param frozen Leave the embedding of the pretrained model as it is.
#' @param species `"auto"` maps genes of the other species through one-to-one orthologs, with a warning; by default
#'   these are an error.
#' @param config Size of a model that is trained from scratch: `"mini"`, `"small"` or `"base"`. By default a small one
#'   that reads every cell for itself, so that a label does not depend on which cells are annotated together.
#' @param epochs How often training sees every cell of the reference; by default more often for few.
#' @param model.dir Directory in which to keep the fitted model.
#' @param seed.use Seed of training; `NULL` draws one from R's random numbers.
#' @param new.assay.name Name of the assay, or alternative experiment, of probabilities.
#' @param ... Further arguments, as in the method for Seurat objects.
#'
#' @return
#' * For Seurat, the object with the metadata `predicted.id`, the label or `"unknown"`; `prediction.score.max`, the
#'   probability of the most probable label; and `prediction.novelty`, from 0 to 1, how unlike the whole reference a
#'   cell is (unknown above one half). The probabilities of all labels are an assay, labels × cells, as
#'   `Seurat::TransferData()` makes it; how they were made is in its `Misc(…, "celloquy")`.
#' * For a SingleCellExperiment, the object with these columns in `colData`, and an alternative experiment.
#' * For an assay or a matrix, a data frame with a row for each cell, with an attribute `"celloquy"`.
#'
#' If the call fails or is interrupted, nothing has changed.
#'
#' @examplesIf celloquy:::examples_can_run()
#' object <- SeuratObject::pbmc_small
#' # So few epochs are for the example's sake; leave `epochs` out.
#' object <- AnnotateCells(object, object, "RNA_snn_res.1", epochs = 2, verbose = FALSE)
#' table(object$predicted.id, object$RNA_snn_res.1)
#' object[["prediction.score.id"]]
#' @export
AnnotateCells <- function(object, ...) {
  UseMethod("AnnotateCells")
}

#' @rdname AnnotateCells
#' @export
AnnotateCells.Seurat <- function(object, reference = NULL, label = NULL, model.object = NULL, assay = NULL,
                                 layer = "counts", reference.assay = NULL, reference.layer = "counts", unknown = 0.02,
                                 top.k = NULL, return.evidence = FALSE, frozen = FALSE, config = NULL, epochs = NULL,
                                 model.dir = NULL, species = NULL, precision = "auto", device = "auto",
                                 new.assay.name = "prediction.score.id", seed.use = 42, verbose = TRUE, ...) {
  assay <- choose_assay(object, assay)
  found <- annotate_cells(
    read_cells(object, assay, layer), reference, label,
    model.object = model.object, reference.assay = reference.assay, reference.layer = reference.layer,
    unknown = unknown, top.k = top.k, return.evidence = return.evidence, frozen = frozen, config = config,
    epochs = epochs, model.dir = model.dir, species = species, precision = precision, device = device,
    seed.use = seed.use, verbose = verbose, ...
  )
  object <- with_assay(SeuratObject::AddMetaData(object, found$cells), new.assay.name, result_assay(found))
  # What is logged stays in the object.
  reference <- NULL
  SeuratObject::LogSeuratCommand(object)
}

#' @rdname AnnotateCells
#' @export
AnnotateCells.SingleCellExperiment <- function(object, reference = NULL, label = NULL, layer = "counts",
                                               new.assay.name = "prediction.score.id", ...) {
  found <- annotate_cells(read_cells(object, layer = layer), reference, label, ...)
  for (column in names(found$cells)) SummarizedExperiment::colData(object)[[column]] <- found$cells[[column]]
  with_experiment(object, found, new.assay.name, called = "probability")
}

#' @rdname AnnotateCells
#' @export
AnnotateCells.default <- function(object, reference = NULL, label = NULL, assay = NULL, layer = "counts", ...) {
  found <- annotate_cells(read_cells(object, assay, layer), reference, label, ...)
  scores <- t(found$layers$data)
  colnames(scores) <- paste0("prediction.score.", colnames(scores))
  table <- cbind(found$cells["predicted.id"], scores, found$cells[-1])
  structure(table, celloquy = found$provenance)
}

# The columns of each cell, and the probabilities of the labels as a result.
annotate_cells <- function(cells, reference, label, model.object = NULL, reference.assay = NULL,
                           reference.layer = "counts", unknown = 0.02, top.k = NULL, return.evidence = FALSE, ...,
                           call = rlang::caller_env()) {
  top.k <- whole_number(top.k, call = call)
  check_source(model.object, c(!is.null(reference), !is.null(label)), c("reference", "label"), call)
  if (!is.null(reference)) {
    labelled <- read_cells(reference, reference.assay, reference.layer, "reference", call)
    labels <- metadata_column(labelled$data, label, "label", call)
    known <- cross_cells(labelled, call = call)
    known$adata <- function() as_anndata(labelled$counts, stats::setNames(list(labels), label))
  }
  ids <- colnames(cells$counts)
  adata <- run_task(
    "Annotator", cross_cells(cells, call = call),
    learn = function(task, adata, other) task$fit(other, query = adata),
    others = if (!is.null(reference)) known,
    given = list(label_key = label, unknown = unknown),
    asked = list(top_k = top.k, return_evidence = return.evidence),
    model.object = model.object, ..., call = call
  )
  column <- function(name) reticulate::py_to_r(adata$obs[[name]]$tolist())
  text <- function(key, asked) {
    if (!asked) {
      return(list())
    }
    names <- listed(adata$obsm[[key]]$columns$tolist())
    lapply(stats::setNames(nm = names), function(name) listed(adata$obsm[[key]][[name]]$tolist()))
  }
  top <- text("celloquy_top", !is.null(top.k))
  evidence <- text("celloquy_evidence", return.evidence)
  names(top) <- sprintf("predicted.id.%s", names(top))
  names(evidence) <- sprintf("evidence.%s", sub("_", ".", names(evidence)))
  cells <- c(list(
    predicted.id = as.character(column("celloquy_label")),
    prediction.score.max = as.numeric(column("celloquy_confidence")),
    prediction.novelty = as.numeric(column("celloquy_novelty"))
  ), top, evidence)
  list(
    layers = list(data = features_by_cells(adata, "celloquy_probability")),
    features = data.frame(label = listed(adata$obsm[["celloquy_probability"]]$columns$tolist())),
    cells = data.frame(cells, row.names = ids),
    provenance = provenance(adata)
  )
}
