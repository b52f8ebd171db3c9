genes <- c("MS4A1", "CD3E", "LYZ")

denoise <- function(object, ...) DenoiseExpression(object, ..., epochs = 2, verbose = FALSE)

test_that("expression and its deviation are those that Python gives, in an assay of their own", {
  skip_without_python()
  object <- small_object()
  counts <- SeuratObject::LayerData(object, layer = "counts")
  expect_no_warning(object <- denoise(object, features = genes, return.std = TRUE, batch.by = "half"))
  expected <- task_in_python("denoise", write_counts(counts, tissue = object$half), genes)
  assay <- object[["denoised"]]
  expect_identical(rownames(assay), genes)
  expect_equal(t(SeuratObject::LayerData(assay, "data")), expected[, genes], tolerance = 1e-6, ignore_attr = TRUE)
  deviations <- expected[, paste0(genes, "_sd")]
  expect_equal(t(SeuratObject::LayerData(assay, "sd")), deviations, tolerance = 1e-6, ignore_attr = TRUE)
  expect_identical(colnames(assay), colnames(object))
  expect_identical(SeuratObject::LayerData(object, layer = "counts", assay = "RNA"), counts)
})

test_that("batches reach the decoder", {
  skip_without_python()
  values <- function(...) {
    SeuratObject::LayerData(denoise(small_object(), features = genes, ...)[["denoised"]], "data")
  }
  expect_gt(max(abs(values(batch.by = "half") - values())), 0)
})

test_that("the variable features are denoised unless others are asked for", {
  skip_without_python()
  object <- SeuratObject::pbmc_small
  variable <- SeuratObject::VariableFeatures(object)
  object <- denoise(object, new.assay.name = "smooth")
  expect_setequal(rownames(object[["smooth"]]), variable)
  expect_identical(SeuratObject::Command(object, "DenoiseExpression.RNA", "unit"), "lognorm")
  expect_identical(SeuratObject::Misc(object[["smooth"]], "celloquy")$task, "denoise")
})

test_that("one gene is enough to ask for", {
  skip_without_python()
  both <- denoise(small_object(), features = c("MS4A1", "CD3E"))[["denoised"]]
  one <- denoise(small_object(), features = "CD3E")[["denoised"]]
  expect_identical(
    SeuratObject::LayerData(one, "data"), SeuratObject::LayerData(both, "data")["CD3E", , drop = FALSE]
  )
})

test_that("a matrix, an assay and a SingleCellExperiment get the same numbers", {
  skip_without_python()
  object <- small_object()
  counts <- SeuratObject::LayerData(object, layer = "counts")
  expected <- denoise(counts, features = genes, unit = "counts")
  expect_identical(attr(expected, "celloquy")$parameters$unit, "counts")
  assay <- denoise(object[["RNA"]], features = genes, unit = "counts")
  expect_identical(SeuratObject::LayerData(assay, "counts"), expected, ignore_attr = TRUE)
  skip_if_not_installed("SingleCellExperiment")
  sce <- SingleCellExperiment::SingleCellExperiment(list(counts = counts))
  sce <- denoise(sce, features = genes, unit = "counts")
  values <- SummarizedExperiment::assay(SingleCellExperiment::altExp(sce, "denoised"), "counts")
  expect_identical(values, expected, ignore_attr = TRUE)
})

test_that("what was kept denoises again, and gives the same", {
  skip_without_python()
  object <- small_object()
  model <- file.path(withr::local_tempdir(), "denoiser")
  first <- denoise(object, features = genes, model.dir = model)
  again <- DenoiseExpression(object, features = genes, model.object = model, verbose = FALSE)
  expect_identical(
    SeuratObject::LayerData(again[["denoised"]], "data"), SeuratObject::LayerData(first[["denoised"]], "data")
  )
})

test_that("features and columns must be there", {
  object <- small_object()
  expect_match(task_failure(denoise(object)), "no features to return.*FindVariableFeatures")
  expect_match(task_failure(denoise(object, features = c("CD3E", "nope"))), "Not there: \"nope\"", fixed = TRUE)
  expect_match(task_failure(denoise(object, features = 1:2)), "Some of `features`")
  expect_match(task_failure(denoise(object, features = genes, batch.by = "donor")), "no column \"donor\"")
  expect_match(task_failure(denoise(object, features = genes, tissue.by = "donor")), "no column \"donor\"")
  expect_match(task_failure(denoise(object, features = genes, unit = "log")), "`unit` must be one of")
  expect_match(task_failure(denoise(object, features = genes, assay = "ADT")), "Assays: \"RNA\"")
  expect_match(task_failure(denoise(list(), features = genes)), "holds no cells")
})

test_that("normalised values and a model of another task are refused", {
  skip_without_python()
  expect_match(task_failure(denoise(SeuratObject::pbmc_small, features = genes, layer = "data")), "log-normalised")
  model <- file.path(withr::local_tempdir(), "denoiser")
  denoise(small_object(), features = genes, model.dir = model)
  message <- task_failure(AnnotateCells(small_object(), model.object = model, verbose = FALSE))
  expect_match(message, "no model of AnnotateCells\\(\\).*one for DenoiseExpression\\(\\)")
})

test_that("an interrupt returns to R with the object as it was", {
  skip_without_python()
  skip_on_os("windows")
  result <- run_r(c(
    "object <- before <- SeuratObject::pbmc_small",
    "invisible(DenoiseExpression(object, epochs = 1, verbose = FALSE))",
    "system(sprintf('sh -c \"sleep 2; kill -INT %d\"', Sys.getpid()), wait = FALSE)",
    "caught <- tryCatch({",
    "  object <- DenoiseExpression(object, epochs = 1000000, verbose = FALSE)",
    "  'finished'",
    "}, interrupt = function(condition) 'interrupted')",
    "stopifnot(identical(object, before))",
    "cat(caught, '\\n')"
  ))
  expect_match(result$out, "interrupted", info = paste(result$err, collapse = "\n"))
})
