test_that("every result keeps how it was made, whatever else is computed", {
  skip_without_python()
  object <- small_object()
  object$type <- paste0("type_", SeuratObject::pbmc_small$RNA_snn_res.1)
  object <- RunCelloquy(object, small_model(), verbose = FALSE)
  object <- DenoiseExpression(object, features = "CD3E", epochs = 2, verbose = FALSE)
  object <- AnnotateCells(object, object, "type", epochs = 2, verbose = FALSE)
  results <- c(embed = "celloquy", denoise = "denoised", annotate = "prediction.score.id")
  made <- lapply(results, function(result) SeuratObject::Misc(object[[result]], "celloquy"))
  expect_identical(vapply(made, `[[`, "", "task"), stats::setNames(nm = names(results)))
  for (one in made) expect_true(all(c("version", "model", "genes", "parameters", "date", "seconds") %in% names(one)))
  expect_null(made$embed$history)
  expect_identical(as.integer(made$denoise$history$epoch), 1:2)
})

test_that("cells are annotated by tissue and batch, which the reference must have, too", {
  skip_without_python()
  object <- small_object()
  object$type <- paste0("type_", SeuratObject::pbmc_small$RNA_snn_res.1)
  annotate <- function(reference = object, ...) {
    found <- AnnotateCells(
      object, reference, "type",
      model.object = small_model(), freeze.encoder = TRUE, epochs = 2, verbose = FALSE, ...
    )
    found$prediction.score.max
  }
  together <- annotate()
  expect_gt(max(abs(annotate(tissue.by = "half") - together)), 0)
  expect_length(annotate(batch.by = "half"), 80)
  # The batch is one of the reference.
  without <- object
  without$half <- NULL
  found <- AnnotateCells(without, object, "type", batch.by = "half", epochs = 2, verbose = FALSE)
  expect_length(found$predicted.id, 80)
  expect_error(
    annotate(without, tissue.by = "half"), "no column \"half\" in the metadata.*Columns of the reference",
    class = "celloquy_ArgumentError"
  )
  # Only the cells of the query have positions.
  centroids <- data.frame(x = seq_len(80), y = 80:1, cell = colnames(object))
  before <- object
  object[["fov"]] <- SeuratObject::CreateFOV(centroids, type = "centroids", assay = "RNA")
  expect_length(annotate(before, spatial = TRUE), 80)
})

test_that("a matrix takes as vectors what an object takes as columns", {
  skip_without_python()
  object <- small_object()
  counts <- SeuratObject::LayerData(object, layer = "counts")
  denoise <- function(...) DenoiseExpression(..., features = c("CD3E", "LYZ"), epochs = 2, verbose = FALSE)
  expected <- SeuratObject::LayerData(denoise(object, tissue.by = "half", batch.by = "half")[["denoised"]], "data")
  found <- denoise(counts, tissue = object$half, batch = object$half)
  expect_identical(found, expected, ignore_attr = TRUE)
  skip_if_not_installed("SingleCellExperiment")
  sce <- SingleCellExperiment::SingleCellExperiment(list(counts = counts), colData = object[[]])
  sce <- denoise(sce, tissue.by = "half", batch.by = "half")
  values <- SummarizedExperiment::assay(SingleCellExperiment::altExp(sce, "denoised"), "logcounts")
  expect_identical(values, expected, ignore_attr = TRUE)
})

test_that("a model that a batch was taken from is kept by IntegrateLayers, too", {
  skip_without_python()
  object <- small_object()
  object[["RNA"]] <- split(object[["RNA"]], f = object$half)
  model <- withr::local_tempfile()
  layers <- CelloquyIntegration(object[["RNA"]], epochs = 2, model.dir = model, n.top.genes = 50, verbose = FALSE)
  again <- RunCelloquy(object, model, verbose = FALSE)
  cells <- colnames(object)
  expect_equal(
    SeuratObject::Embeddings(layers$celloquy)[cells, ], SeuratObject::Embeddings(again, "celloquy")[cells, ],
    ignore_attr = TRUE
  )
})
