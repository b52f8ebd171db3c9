#' Integrate layers with a cell language model
#'
#' A method for [Seurat::IntegrateLayers()]: every layer of counts (`counts.1`, `counts.2`, …) is a batch, and cells of
#' the same kind come to lie together whichever layer they are in. The model is told the batch where it explains counts,
#' so that the embedding need not hold it.
#'
#' @param object An assay with split layers, as [Seurat::IntegrateLayers()] passes it on.
#' @param assay Name of that assay.
#' @param layer The layers of raw counts, of which the split is the batch.
#' @param model.object The directory of a saved model, to be fine-tuned, or a Python `celloquy.CellModel`. `NULL` trains
#'   one on these cells.
#' @param mixing How strongly batches are drawn together, in nats a cell; 0 leaves it to the decoder.
#' @param new.reduction,key Name and key of the new dimensional reduction.
#' @param config,epochs Size of the model that is trained without `model.object`, and how often it sees every cell.
#' @param precision,device,seed.use,verbose As in [RunCelloquy()].
#' @param ... What other methods of [Seurat::IntegrateLayers()] take: ignored.
#'
#' @return A list with one [DimReduc][SeuratObject::DimReduc-class], which [Seurat::IntegrateLayers()] puts into the
#'   object.
#' @examplesIf celloquy:::examples_can_run() && requireNamespace("Seurat", quietly = TRUE)
#' object <- SeuratObject::CreateSeuratObject(SeuratObject::LayerData(SeuratObject::pbmc_small, layer = "counts"))
#' object[["RNA"]] <- split(object[["RNA"]], f = rep(c("first", "second"), 40))
#' object <- Seurat::NormalizeData(object, verbose = FALSE)
#' object <- Seurat::FindVariableFeatures(object, nfeatures = 50, verbose = FALSE)
#' object <- Seurat::ScaleData(object, verbose = FALSE)
#' object <- Seurat::RunPCA(object, npcs = 5, verbose = FALSE)
#' # So few epochs are for the example's sake; leave `epochs` out.
#' object <- Seurat::IntegrateLayers(object, CelloquyIntegration, epochs = 2, verbose = FALSE)
#' object[["celloquy"]]
#' @export
CelloquyIntegration <- function(object, assay = "RNA", layer = "counts", model.object = NULL, mixing = 100,
                                new.reduction = "celloquy", key = "CELLOQUY_", config = "mini", epochs = NULL,
                                precision = "auto", device = "auto", seed.use = 42, verbose = TRUE, ...) {
  batch <- layer_of_cells(object, layer)
  cells <- read_cells(object, assay, layer)
  if (verbose) {
    cli::cli_inform(c(
      i = "Integrating {ncol(cells$counts)} cell{?s} of {nlevels(batch)} layers: {.val {levels(batch)}}."
    ))
  }
  embedding <- embed_cells(
    cells,
    batch = stats::setNames(batch, colnames(object)), mixing = mixing, model.object = model.object, config = config,
    epochs = epochs, precision = precision, device = device, seed.use = seed.use, verbose = verbose
  )
  stats::setNames(list(reduction_of(embedding, key, assay)), new.reduction)
}

attr(CelloquyIntegration, "Seurat.method") <- "integration"

# Which of the layers `counts.1`, `counts.2`, … each cell of an assay is in.
layer_of_cells <- function(object, layer, call = rlang::caller_env()) {
  pieces <- if (methods::is(object, "StdAssay")) {
    present <- SeuratObject::Layers(object)
    present[startsWith(present, paste0(layer, "."))]
  }
  if (length(pieces) < 2) {
    cli::cli_abort(c(
      "There are no layers to integrate.",
      x = "Layers of this assay: {.val {SeuratObject::Layers(object)}}.",
      i = "Split it by batch first, {.code object[[\"RNA\"]] <- split(object[[\"RNA\"]], f = object$batch)}."
    ), class = "celloquy_ArgumentError", call = call)
  }
  batch <- factor(rep(NA_character_, ncol(object)), sub(paste0(layer, "."), "", pieces, fixed = TRUE))
  for (piece in pieces) {
    cells <- match(SeuratObject::Cells(object, layer = piece), colnames(object))
    batch[cells] <- sub(paste0(layer, "."), "", piece, fixed = TRUE)
  }
  batch
}
