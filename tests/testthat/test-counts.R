# Run a call that must fail; give its message, and make sure that the object is as it was.
failure <- function(object, ..., model = small_model()) {
  before <- serialize(object, NULL)
  condition <- rlang::catch_cnd(RunCelloquy(object, model, ..., verbose = FALSE), "error")
  expect_s3_class(condition, "rlang_error")
  expect_identical(serialize(object, NULL), before)
  cli::ansi_strip(conditionMessage(condition))
}

with_counts <- function(change) {
  counts <- SeuratObject::LayerData(SeuratObject::pbmc_small, layer = "counts")
  suppressWarnings(SeuratObject::CreateSeuratObject(change(counts)))
}

test_that("a layer that is not there is named beside those that are", {
  message <- failure(small_object(), layer = "raw", model = NULL)
  expect_match(message, "Can't find raw counts in assay \"RNA\"", fixed = TRUE)
  expect_match(message, "Layer \"raw\" is not there, or empty. Layers present: \"counts\"", fixed = TRUE)
})

test_that("an assay without counts is told, v3 or v5", {
  object <- SeuratObject::pbmc_small
  data <- SeuratObject::LayerData(object, layer = "data")
  expect_match(failure(SeuratObject::CreateAssayObject(data = data), model = NULL), "Can't find raw counts")
  expect_match(failure(SeuratObject::CreateAssay5Object(data = data), model = NULL), "Can't find raw counts")
})

test_that("an assay that is not there is named beside those that are", {
  expect_match(failure(small_object(), assay = "ADT", model = NULL), "Assays: \"RNA\"", fixed = TRUE)
})

test_that("log-normalised data is recognised", {
  skip_without_python()
  message <- failure(SeuratObject::pbmc_small, layer = "data")
  expect_match(message, "Layer \"data\" of assay \"RNA\" is log-normalised, not raw counts.", fixed = TRUE)
  expect_match(message, "Pass `layer` of the raw counts", fixed = TRUE)
})

test_that("scaled data is recognised", {
  skip_without_python()
  message <- failure(SeuratObject::pbmc_small, layer = "scale.data")
  expect_match(message, "Layer \"scale.data\" of assay \"RNA\" is scaled", fixed = TRUE)
})

test_that("negative counts are refused", {
  skip_without_python()
  object <- with_counts(function(counts) {
    counts@x[[1]] <- -3
    counts
  })
  expect_match(failure(object), "Layer \"counts\" of assay \"RNA\" holds negative values")
})

test_that("missing and infinite counts are refused", {
  skip_without_python()
  for (value in c(NaN, NA, Inf)) {
    object <- with_counts(function(counts) {
      counts@x[[5]] <- value
      counts
    })
    expect_match(failure(object), "not finite")
  }
})

test_that("cells without any known gene are refused with examples of their names", {
  skip_without_python()
  object <- with_counts(function(counts) {
    rownames(counts) <- paste0("locus", seq_len(nrow(counts)))
    counts
  })
  expect_match(failure(object), "locus1", fixed = TRUE)
})

test_that("a tissue column must be there and full", {
  object <- small_object()
  expect_match(failure(object, tissue.by = "donor", model = NULL), "There is no column \"donor\"", fixed = TRUE)
  object$donor <- c(NA, rep("a", 79))
  expect_match(failure(object, tissue.by = "donor"), "1 of 80 values? missing")
})

test_that("positions must be there", {
  expect_match(failure(small_object(), spatial = TRUE, model = NULL), "There are no positions in this object")
})

test_that("a model must be a model", {
  skip_without_python()
  expect_match(failure(small_object(), model = 7), "This is not a model")
  expect_match(failure(small_object(), model = "no/such/folder"), "no/such/folder", fixed = TRUE)
  shell <- reticulate::import("celloquy")$Model$from_pretrained(small_model())
  shell <- unserialize(serialize(shell, NULL))
  expect_match(failure(small_object(), model = shell), "did not survive")
})

test_that("devices, precisions and numbers are checked", {
  skip_without_python()
  expect_match(failure(small_object(), device = "abacus"), "abacus")
  expect_match(failure(small_object(), precision = "float8"), "float8")
  expect_match(failure(small_object(), batch.size = 2.5), "`batch.size` must be a whole number", fixed = TRUE)
  expect_match(failure(small_object(), batch.size = 0), "`batch.size` can't be used")
  expect_match(failure(small_object(), batchsize = 10), "must be empty")
})

test_that("true and false are not counts, and a matrix needs gene names", {
  counts <- SeuratObject::LayerData(SeuratObject::pbmc_small, layer = "counts")
  expect_match(failure(counts > 0, model = NULL), "These are not counts")
  expect_match(failure(as.matrix(counts) > 0, model = NULL), "These are not counts")
  rownames(counts) <- NULL
  expect_match(failure(counts, model = NULL), "no gene names")
  expect_match(failure("counts.csv", model = NULL), "can't embed a string")
})

test_that("cells without a count of a known gene get finite numbers and are listed", {
  skip_without_python()
  counts <- SeuratObject::LayerData(SeuratObject::pbmc_small, layer = "counts")
  counts[, 3] <- 0
  embedding <- RunCelloquy(counts, small_model(), verbose = FALSE)
  expect_true(all(is.finite(embedding)))
  expect_identical(as.character(attr(embedding, "celloquy")$empty_cells), colnames(counts)[[3]])
})

test_that("one cell and one gene are enough", {
  skip_without_python()
  counts <- SeuratObject::LayerData(SeuratObject::pbmc_small, layer = "counts")
  one <- RunCelloquy(counts[, 1, drop = FALSE], small_model(), verbose = FALSE)
  expect_identical(dim(one), c(1L, 32L))
  gene <- RunCelloquy(counts["CD79B", , drop = FALSE], small_model(), verbose = FALSE)
  expect_identical(dim(gene), c(80L, 32L))
})
