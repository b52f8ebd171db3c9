#' Annotate cells with the cell types of a labelled reference, or with coarse ones
#'
#' Without a reference, some sixty coarse types of human and mouse that come with the package are told apart, each cell
#' for itself, in a second; [KnownTypes()] lists them. Where none has a probability of .4, the cell is `"unknown"`. They
#' were learned from mean profiles of cell types. A reference knows more:
#'
#' `AnnotateCells()` then gives every cell the most probable label of the reference and the probability of each label,
#' and says where a cell is like none of them. Two heads see a cell: a linear one on the genes that tell the labels
#' apart, and one on the embedding of a cell model that is trained, or fine-tuned, on the labels. Their sum is
#' calibrated on reference cells that were held out from both.
#'
#' Everything is learned from the reference; of `object` only the names of its genes are looked at, unless it is of
#' another species. Keep the fitted model with `model.dir`, and pass that directory as `model.object`, without a
#' reference, to annotate further cells.
#'
#' The reference may be of the other species, human or mouse, under its own gene names. Orthologs of any relation are
#' then read (the counts of Ins1 and Ins2 are summed to meet INS), by the genes that mark the labels, standardised
#' within each cell; and the cells of `object` take part without labels, through what they have in common, the surest of
#' them, and their neighbours. A label then depends on which cells are annotated together.
#'
#' @inheritParams RunCelloquy
#' @param object The cells: a Seurat object, an assay, a SingleCellExperiment, or a matrix of raw counts (genes ×
#'   cells).
#' @param reference Labelled cells with raw counts: a Seurat object or a SingleCellExperiment, of the same species or of
#'   the other. Without one, and without
#'   `model.object`, coarse types are named, and arguments that are about learning have no use.
#' @param label.by Column of the reference's metadata with the labels, at least two cells with each. If there are a
#'   coarse and a fine level, take one at a time.
#' @param model.object The directory of a model that this verb kept with `model.dir`, or a pretrained model to fine-tune
#'   (its directory, its name on the Hugging Face hub, or a model of Python). `NULL` trains one on the reference; if
#'   that is of the other species, the model in the box adapts to it.
#' @param layer,reference.layer Layers with the raw counts of the object and of the reference.
#' @param reference.assay Name of the reference's assay; by default its default assay.
#' @param tissue.by Column of the metadata with the tissue, in the object and in the reference. It matters to a
#'   pretrained model only: by default every cell is read for itself.
#' @param batch.by Column of the reference's metadata with the experimental batch.
#' @param spatial Tell a pretrained model the positions of the cells, from the images of the object and, if it has any,
#'   of the reference.
#' @param false.unknown.rate Share of held-out reference cells that may be called `"unknown"`; the larger it is, the
#'   more cells of types that the reference lacks are found. More cells of another laboratory, or treated ones, are
#'   called unknown; then try 0.005. 0 never calls a cell unknown.
#' @param drop.missing Leave out, with a warning, reference cells without a label, or whose label says no more: `""`,
#'   `"nan"`, `"Unknown"`, `"unassigned"` and so on, in any case. `FALSE` learns such words as labels.
#' @param drop.rare Smallest number of reference cells of a label; cells of rarer labels are left out. By default a
#'   label of one cell is an error.
#' @param top.k Number of most probable labels to add as the metadata `predicted.id.1`, `predicted.id.2`, …
#' @param return.evidence Add the five reference cells that lie nearest in the embedding, and their labels, as the
#'   metadata `evidence.cell.1`, `evidence.label.1`, …
#' @param freeze.encoder Leave the encoder of the pretrained model as it is, and train only the heads.
#' @param config Size of a model that is trained from scratch: `"mini"`, `"small"` or `"base"`. By default a small one
#'   that reads every cell for itself, so that a label does not depend on which cells are annotated together.
#' @param epochs Number of times that training sees every cell of the reference; by default more for few cells.
#' @param model.dir Directory in which the fitted model is kept.
#' @param seed.use Seed of training; `NULL` draws one from R's random numbers.
#' @param new.assay.name Name of the assay, or alternative experiment, of the probabilities.
#' @param ... Not used; must be empty.
#'
#' @return
#' * For Seurat, the object with the metadata `predicted.id`, the label or `"unknown"`; `prediction.score.max`, the
#'   probability of the most probable label; and `prediction.novelty`, from 0 to 1, how far a cell is from every known
#'   label (unknown above one half). The probabilities of all labels are an assay, labels × cells, as
#'   `Seurat::TransferData()` makes it; how they were made is in its `Misc(…, "celloquy")`. A model that reads a limited
#'   number of genes of a cell also gives `prediction.genes.cut`, how many of the genes of each cell it left out.
#' * For a SingleCellExperiment, the object with these columns in `colData`, and an alternative experiment.
#' * For an assay or a matrix, a data frame with a row for each cell and an attribute `"celloquy"`.
#'
#' If the call fails or is interrupted, nothing has changed.
#'
#' @examplesIf celloquy:::examples_can_run()
#' object <- SeuratObject::pbmc_small
#' table(AnnotateCells(object, verbose = FALSE)$predicted.id)
#' # Two epochs keep the example short; leave `epochs` out.
#' object <- AnnotateCells(object, object, "RNA_snn_res.1", epochs = 2, verbose = FALSE)
#' table(object$predicted.id, object$RNA_snn_res.1)
#' object[["prediction.score.id"]]
#' @export
AnnotateCells <- function(object, ...) {
  UseMethod("AnnotateCells")
}

#' @rdname AnnotateCells
#' @export
AnnotateCells.Seurat <- function(object, reference = NULL, label.by = NULL, model.object = NULL, assay = NULL,
                                 layer = "counts", reference.assay = NULL, reference.layer = "counts", tissue.by = NULL,
                                 spatial = FALSE, batch.by = NULL, counts = NULL, species = NULL,
                                 false.unknown.rate = 0.02, drop.missing = TRUE, drop.rare = NULL, top.k = NULL,
                                 return.evidence = FALSE, freeze.encoder = FALSE, config = NULL, epochs = NULL,
                                 training = NULL, model.dir = NULL, overwrite = FALSE, precision = "auto",
                                 device = "auto", new.assay.name = "prediction.score.id", seed.use = 42, verbose = TRUE,
                                 ...) {
  rlang::check_dots_empty()
  check_new_name(new.assay.name, object, c("Assay", "StdAssay"))
  assay <- choose_assay(object, assay)
  known <- read_reference(reference, label.by, reference.assay, reference.layer, tissue.by, spatial, batch.by)
  columns <- cell_columns(object, tissue.by, spatial)
  found <- annotate_cells(
    read_cells(object, assay, layer), columns, known, label.by, task_options(), false.unknown.rate,
    drop.missing, drop.rare, top.k, return.evidence
  )
  object <- with_assay(SeuratObject::AddMetaData(object, found$cells), new.assay.name, result_assay(found))
  # What is logged stays in the object.
  reference <- NULL
  SeuratObject::LogSeuratCommand(object)
}

#' @rdname AnnotateCells
#' @export
AnnotateCells.SingleCellExperiment <- function(object, reference = NULL, label.by = NULL, model.object = NULL,
                                               layer = "counts", reference.assay = NULL, reference.layer = "counts",
                                               tissue.by = NULL, positions = NULL, batch.by = NULL, counts = NULL,
                                               species = NULL, false.unknown.rate = 0.02, drop.missing = TRUE,
                                               drop.rare = NULL, top.k = NULL, return.evidence = FALSE,
                                               freeze.encoder = FALSE, config = NULL, epochs = NULL, training = NULL,
                                               model.dir = NULL, overwrite = FALSE, precision = "auto", device = "auto",
                                               new.assay.name = "prediction.score.id", seed.use = 42, verbose = TRUE,
                                               ...) {
  rlang::check_dots_empty()
  check_new_name(new.assay.name)
  known <- read_reference(reference, label.by, reference.assay, reference.layer, tissue.by, FALSE, batch.by)
  columns <- cell_columns(object, tissue.by)
  columns$positions <- positions
  found <- annotate_cells(
    read_cells(object, layer = layer), columns, known, label.by, task_options(), false.unknown.rate,
    drop.missing, drop.rare, top.k, return.evidence
  )
  for (column in names(found$cells)) SummarizedExperiment::colData(object)[[column]] <- found$cells[[column]]
  with_experiment(object, found, new.assay.name, called = "probability")
}

#' @rdname AnnotateCells
#' @export
AnnotateCells.default <- function(object, reference = NULL, label.by = NULL, model.object = NULL, assay = NULL,
                                  layer = "counts", reference.assay = NULL, reference.layer = "counts", tissue = NULL,
                                  positions = NULL, batch.by = NULL, counts = NULL, species = NULL,
                                  false.unknown.rate = 0.02, drop.missing = TRUE, drop.rare = NULL, top.k = NULL,
                                  return.evidence = FALSE, freeze.encoder = FALSE, config = NULL, epochs = NULL,
                                  training = NULL, model.dir = NULL, overwrite = FALSE, precision = "auto",
                                  device = "auto", seed.use = 42, verbose = TRUE, ...) {
  rlang::check_dots_empty()
  cells <- read_cells(object, assay, layer)
  known <- read_reference(reference, label.by, reference.assay, reference.layer, batch.by = batch.by)
  found <- annotate_cells(
    cells, list(tissue = tissue, positions = positions), known, label.by, task_options(), false.unknown.rate,
    drop.missing, drop.rare, top.k, return.evidence
  )
  scores <- t(found$layers$data)
  colnames(scores) <- paste0("prediction.score.", colnames(scores))
  table <- cbind(found$cells["predicted.id"], scores, found$cells[-1])
  structure(table, celloquy = found$provenance)
}

# The cells of a reference, how they are read, and their labels; NULL without a reference.
read_reference <- function(reference, label.by, assay, layer, tissue.by = NULL, spatial = FALSE, batch.by = NULL,
                           call = rlang::caller_env()) {
  if (is.null(reference)) {
    return(NULL)
  }
  cells <- read_cells(reference, assay, layer, "reference", call)
  placed <- isTRUE(spatial) && methods::is(reference, "Seurat") && length(SeuratObject::Images(reference)) > 0
  list(
    cells = cells, columns = cell_columns(reference, tissue.by, placed, batch.by, "reference", call),
    labels = if (!is.null(label.by)) metadata_column(cells$data, label.by, "label.by", "reference", call)
  )
}

# The columns of each cell, and the probabilities of the labels as a result.
annotate_cells <- function(cells, columns, known, label.by, options, false.unknown.rate, drop.missing, drop.rare, top.k,
                           return.evidence, call = rlang::caller_env()) {
  top.k <- whole_number(top.k, call = call)
  drop.rare <- whole_number(drop.rare, call = call)
  of_reference <- c(
    "batch.by", "false.unknown.rate", "drop.missing", "drop.rare", "reference.assay", "reference.layer"
  )
  if (is.null(known) && is.null(label.by) && is.null(options$model.object)) {
    idle <- c(of_fitting, of_reference, "tissue.by", "spatial", "positions", "tissue", "return.evidence", "model.dir")
    idle <- c(idle, "overwrite", "precision", "device")
    # 0 has a use: no cell is unknown then.
    idle <- if (identical(as.numeric(false.unknown.rate), 0)) setdiff(idle, "false.unknown.rate") else idle
    check_idle(options, idle, "There is no `reference`, so coarse types are named that are known already.", call)
    crossing <- cross_cells(cells, columns, call = call)
    adata <- name_types(crossing, options, false.unknown.rate > 0, top.k, call)
    return(annotated(adata, crossing, top.k, FALSE))
  }
  task <- fitted_task(options$model.object, call)
  check_source(task, c(!is.null(known), !is.null(label.by)), c("reference", "label.by"), call)
  if (!is.null(task)) {
    check_idle(options, c(of_fitting, of_reference), is_fitted, call)
  }
  crossing <- cross_cells(cells, columns, call = call)
  reference <- if (!is.null(known)) {
    alike <- with_columns_like(known$columns, columns, ncol(known$cells$counts))
    cross_cells(known$cells, alike, stats::setNames(list(known$labels), label.by), call)
  }
  # The batch is one of the reference.
  crossing$keys["batch_key"] <- list(reference$keys$batch_key)
  adata <- run_task(
    "annotate", crossing, options,
    parameters = list(
      label_key = label.by, false_unknown_rate = false.unknown.rate, drop_missing = drop.missing, drop_rare = drop.rare,
      reference_layer = "X"
    ),
    predict = list(top_k = top.k, return_evidence = return.evidence), reference = reference, call = call
  )
  annotated(adata, crossing, top.k, return.evidence)
}

# The cells as an AnnData with the coarse types that need no reference.
name_types <- function(crossing, options, unknown, top.k, call) {
  bridge <- python_bridge(call, torch = TRUE)
  ask <- function(code) with_python(with_progress(code, options$verbose), crossing$subject, call)
  adata <- crossing$adata()
  ask(bridge$look_for_counts(adata, options$counts))
  ask(bridge$annotate_known(
    adata,
    counts = options$counts, species = options$species, unknown = unknown, top_k = top.k
  ))
  adata
}

# What an annotated AnnData says of each cell.
annotated <- function(adata, crossing, top.k, return.evidence) {
  bridge <- import_bridge()
  keys <- reticulate::py_to_r(bridge$keys())
  column <- function(key, get) as.vector(reticulate::py_to_r(get(adata, key)))
  texts <- function(key) lapply(reticulate::py_to_r(bridge$texts_to_r(adata, key)), as.vector)
  top <- if (!is.null(top.k)) texts(keys$top)
  evidence <- if (return.evidence) texts(keys$evidence)
  names(top) <- if (length(top)) paste0("predicted.id.", names(top))
  names(evidence) <- if (length(evidence)) paste0("evidence.", sub("_", ".", names(evidence)))
  by_cell <- c(list(
    predicted.id = column(keys$label, bridge$text_by_cell),
    prediction.score.max = column(keys$confidence, bridge$numbers_by_cell),
    prediction.novelty = column(keys$novelty, bridge$numbers_by_cell)
  ), top, evidence)
  cut <- reticulate::py_to_r(bridge$genes_cut(adata))
  if (!is.null(cut)) by_cell$prediction.genes.cut <- as.vector(cut)
  probability <- features_by_cells(adata, keys$probability)
  list(
    layers = list(data = probability), features = data.frame(label = rownames(probability)),
    cells = data.frame(by_cell, row.names = crossing$names), provenance = provenance(adata, keys$label)
  )
}
