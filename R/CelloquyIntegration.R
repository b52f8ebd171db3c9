#' Integrate layers with a cell language model
#'
#' A method for [Seurat::IntegrateLayers()]: every layer of counts (`counts.1`, `counts.2`, …) is a batch, and cells of
#' the same kind come to lie together whichever layer they are in. The model is told the batch where it explains counts,
#' so that the embedding need not hold it.
#'
#' The layers are the batches, and [Seurat::IntegrateLayers()] hands over an assay without metadata and images: instead
#' of names of columns this method takes the tissues and the positions themselves. [RunCelloquy()] with `batch.by` does
#' the same for a whole object.
#'
#' @inheritParams RunCelloquy
#' @param object An assay with split layers, as [Seurat::IntegrateLayers()] passes it on.
#' @param assay Name of that assay.
#' @param layer The layers of raw counts, of which the split is the batch.
#' @param model.object The directory of a saved model, to be fine-tuned, its name on the Hugging Face hub, or a model of
#'   Python. `NULL` trains one on these cells.
#' @param batch.mixing Weight of drawing the batches together, in nats a cell; 0 leaves it to the decoder.
#' @param n.top.genes Number of most variable genes that a model trained from scratch reads; `NULL` gives it all genes.
#' @param freeze.encoder Leave the encoder of `model.object` as it is.
#' @param new.reduction,key Name and key of the new dimensional reduction.
#' @param ... Arguments for other methods of [Seurat::IntegrateLayers()]: ignored.
#'
#' @return A list with one [DimReduc][SeuratObject::DimReduc-class], which [Seurat::IntegrateLayers()] puts into the
#'   object.
#' @examplesIf celloquy:::examples_can_run() && requireNamespace("Seurat", quietly = TRUE)
#' counts <- SeuratObject::LayerData(SeuratObject::pbmc_small, layer = "counts")
#' object <- SeuratObject::CreateSeuratObject(counts)
#' object[["RNA"]] <- split(object[["RNA"]], f = rep(c("first", "second"), 40))
#' object <- Seurat::NormalizeData(object, verbose = FALSE)
#' object <- Seurat::FindVariableFeatures(object, nfeatures = 50, verbose = FALSE)
#' object <- Seurat::ScaleData(object, verbose = FALSE)
#' object <- Seurat::RunPCA(object, npcs = 5, verbose = FALSE)
#' # Two epochs keep the example short; leave `epochs` out.
#' object <- Seurat::IntegrateLayers(object, CelloquyIntegration, epochs = 2, verbose = FALSE)
#' object[["celloquy"]]
#' @export
CelloquyIntegration <- function(object, assay = "RNA", layer = "counts", model.object = NULL, batch.mixing = 100,
                                n.top.genes = 2000, new.reduction = "celloquy", key = "CELLOQUY_", tissue = NULL,
                                positions = NULL, counts = NULL, species = NULL, freeze.encoder = FALSE,
                                config = "mini", epochs = NULL, training = NULL, model.dir = NULL, overwrite = FALSE,
                                precision = "auto", device = "auto", seed.use = 42, verbose = TRUE, ...) {
  batch <- layer_of_cells(object, layer)
  cells <- read_cells(object, assay, layer)
  if (verbose) {
    cli::cli_inform(c(
      i = "Integrating {ncol(cells$counts)} cell{?s} of {nlevels(batch)} layers: {.val {levels(batch)}}."
    ))
  }
  columns <- list(tissue = tissue, positions = positions, batch = stats::setNames(batch, colnames(object)))
  embedding <- embed_cells(
    cells, columns, task_options(),
    batch.mixing = batch.mixing, n.top.genes = n.top.genes
  )
  stats::setNames(list(result_reduction(embedding, key, assay)), new.reduction)
}

attr(CelloquyIntegration, "Seurat.method") <- "integration"

# What to do depends on what was passed in the place of an assay with split layers.
abort_no_batches <- function(object, call) {
  split <- "object[[\"RNA\"]] <- split(object[[\"RNA\"]], f = object$batch)"
  hint <- if (methods::is(object, "Seurat")) {
    c(
      x = "{.fn CelloquyIntegration} is a method of {.fn Seurat::IntegrateLayers}, and was called with a whole object.",
      i = "Split by batch with {.code {split}}, then {.code IntegrateLayers(object, CelloquyIntegration)}.",
      i = "Without split layers, {.code RunCelloquy(object, batch.by = \"batch\")} does the same."
    )
  } else if (methods::is(object, "SCTAssay")) {
    c(
      x = "This is an SCT assay: its counts are corrected, and of no layers.",
      i = "Integrate the raw counts: {.code DefaultAssay(object) <- \"RNA\"}, {.code {split}}, then \\
           {.code IntegrateLayers(object, CelloquyIntegration)}."
    )
  } else if (methods::is(object, "StdAssay")) {
    c(
      x = "Layers of this assay: {.val {SeuratObject::Layers(object)}}.",
      i = "Split it by batch first, {.code {split}}."
    )
  } else if (methods::is(object, "Assay")) {
    c(
      x = "This is an assay of version 3, which has no layers to split.",
      i = "Make it one of version 5 with {.code object[[\"RNA\"]] <- as(object[[\"RNA\"]], \"Assay5\")}, and split it \\
           by batch, {.code {split}}.",
      i = "Or integrate it as it is with {.code RunCelloquy(object, batch.by = \"batch\")}."
    )
  } else {
    c(
      x = "Found: {.obj_type_friendly {object}}.",
      i = "Pass it to {.fn Seurat::IntegrateLayers} as {.code method = CelloquyIntegration}; other objects go to \\
           {.fn RunCelloquy} with {.arg batch.by}."
    )
  }
  cli::cli_abort(
    c("There are no layers to integrate.", hint),
    class = "celloquy_ArgumentError", argument = "object", call = call
  )
}

# The batch of each cell of an assay: the one of the layers `counts.1`, `counts.2`, … that the cell is in.
layer_of_cells <- function(object, layer, call = rlang::caller_env()) {
  pieces <- if (methods::is(object, "StdAssay")) {
    present <- SeuratObject::Layers(object)
    present[startsWith(present, paste0(layer, "."))]
  }
  if (length(pieces) < 2) {
    abort_no_batches(object, call)
  }
  batch <- factor(rep(NA_character_, ncol(object)), sub(paste0(layer, "."), "", pieces, fixed = TRUE))
  for (piece in pieces) {
    cells <- match(SeuratObject::Cells(object, layer = piece), colnames(object))
    batch[cells] <- sub(paste0(layer, "."), "", piece, fixed = TRUE)
  }
  batch
}
