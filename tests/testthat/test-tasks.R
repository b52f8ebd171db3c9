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

test_that("where a model or a result can't go is told before the training, and a model is replaced only if asked for", {
  skip_without_python()
  object <- small_object()
  model <- withr::local_tempfile()
  denoise <- function(..., model.dir = model) {
    DenoiseExpression(object, features = "CD3E", ..., model.dir = model.dir, epochs = 1, verbose = FALSE)
  }
  denoise()
  kept <- readLines(file.path(model, "config.json"))
  file <- withr::local_tempfile(lines = "mine")
  # So many epochs would take hours.
  long <- function(...) DenoiseExpression(object, features = "CD3E", ..., epochs = 1e6, verbose = FALSE)
  expect_error(long(model.dir = model), "saved model in .* already.*`overwrite`", class = "celloquy_CheckpointError")
  expect_error(long(model.dir = file.path(file, "model")), "can't be written", class = "celloquy_DiskError")
  taken <- RunCelloquy(object, small_model(), reduction.name = "mine", verbose = FALSE)
  expect_error(
    DenoiseExpression(taken, features = "CD3E", epochs = 1e6, new.assay.name = "mine", verbose = FALSE),
    "new.assay.name.*free.*DimReduc", class = "celloquy_ArgumentError"
  )
  expect_error(RunCelloquy(object, "scratch", epochs = 1e6, reduction.name = "RNA"), "reduction.name.*free.*Assay")
  expect_error(RunCelloquy(object, "scratch", epochs = 1e6, model.dir = model, verbose = FALSE), "already")
  expect_identical(readLines(file.path(model, "config.json")), kept)
  expect_s4_class(denoise(seed.use = 7, overwrite = TRUE), "Seurat")
  expect_false(identical(readLines(file.path(model, "config.json")), kept))
})

test_that("a fitted model is kept when its result can't be used, and the error says where", {
  skip_without_python()
  object <- small_object()
  object$type <- paste0("type_", SeuratObject::pbmc_small$RNA_snn_res.1)
  python_bridge(torch = TRUE)
  reticulate::py_run_string("
from celloquy.errors import ArgumentError
from celloquy.tasks.annotation import Annotator

_predict = Annotator.predict


def _fail(*_, **__):
    raise ArgumentError('No result today.', remedy='Try tomorrow.')


Annotator.predict = _fail
")
  withr::defer(reticulate::py_run_string("Annotator.predict = _predict"))
  said <- task_failure(AnnotateCells(object, object, "type", epochs = 1, verbose = FALSE))
  place <- sub('.*kept in "([^"]+)".*', "\\1", said)
  expect_true(file.exists(file.path(place, "task.json")))
  unlink(place, recursive = TRUE)
})
