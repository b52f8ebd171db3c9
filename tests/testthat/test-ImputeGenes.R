genes <- c("CD3E", "LYZ")

# A panel of half of pbmc_small's cells without some genes, and the other half with all of them.
panel_and_reference <- function() {
  object <- small_object()
  panel <- object[setdiff(rownames(object), genes), object$half == "first"]
  panel$slice <- rep(c("a", "b"), length.out = ncol(panel))
  list(panel = panel, reference = object[, object$half == "second"])
}

places <- function(object) {
  withr::with_seed(1, matrix(round(stats::runif(2 * ncol(object)), 3), ncol(object)))
}

impute <- function(object, ...) ImputeGenes(object, ..., epochs = 2, verbose = FALSE)

test_that("genes and their reliability are those that Python gives, by place and slice", {
  skip_without_python()
  cells <- panel_and_reference()
  panel <- cells$panel
  positions <- places(panel)
  centroids <- data.frame(x = positions[, 1], y = positions[, 2], cell = colnames(panel))
  panel[["fov"]] <- SeuratObject::CreateFOV(centroids, type = "centroids", assay = "RNA")
  counts <- SeuratObject::LayerData(panel, layer = "counts")
  known <- SeuratObject::LayerData(cells$reference, layer = "counts")
  expect_no_warning(imputed <- impute(panel, cells$reference, genes, tissue.by = "slice"))
  folders <- c(write_counts(counts, panel$slice, positions), write_counts(known))
  expected <- task_in_python("impute", folders, genes)
  assay <- imputed[["imputed"]]
  expect_identical(dimnames(assay), list(genes, colnames(panel)))
  values <- t(SeuratObject::LayerData(assay, "data"))
  expect_equal(values, expected[seq_len(ncol(panel)), ], tolerance = 1e-6, ignore_attr = TRUE)
  expect_equal(assay[["reliability"]]$reliability, unname(expected[ncol(panel) + 1, ]), tolerance = 1e-6)
  expect_identical(SeuratObject::Command(imputed, "ImputeGenes.RNA", "tissue.by"), "slice")
  made <- SeuratObject::Misc(assay, "celloquy")
  expect_identical(made$task, "impute")
  # Genes are named by their present symbols; some of pbmc_small's are older.
  expect_gt(mean(made$panel$gene %in% rownames(panel)), 0.5)
})

test_that("a matrix, an assay and a SingleCellExperiment get the same numbers, from references of every kind", {
  skip_without_python()
  cells <- panel_and_reference()
  counts <- SeuratObject::LayerData(cells$panel, layer = "counts")
  known <- SeuratObject::LayerData(cells$reference, layer = "counts")
  expected <- impute(counts, known, genes)
  expect_length(attr(expected, "reliability"), 2)
  assay <- impute(cells$panel[["RNA"]], cells$reference[["RNA"]], genes)
  expect_identical(SeuratObject::LayerData(assay, "data"), expected, ignore_attr = TRUE)
  skip_if_not_installed("SingleCellExperiment")
  sce <- impute(SingleCellExperiment::SingleCellExperiment(list(counts = counts)), cells$reference, genes)
  imputed <- SingleCellExperiment::altExp(sce, "imputed")
  expect_identical(SummarizedExperiment::assay(imputed, "logcounts"), expected, ignore_attr = TRUE)
  expect_identical(SummarizedExperiment::rowData(imputed)$reliability, attr(expected, "reliability"))
})

test_that("what was kept imputes again without the reference, and gives the same", {
  skip_without_python()
  cells <- panel_and_reference()
  model <- file.path(withr::local_tempdir(), "imputer")
  first <- impute(cells$panel, cells$reference, genes, model.dir = model)[["imputed"]]
  again <- ImputeGenes(cells$panel, model.object = model, verbose = FALSE)[["imputed"]]
  expect_identical(SeuratObject::LayerData(again, "data"), SeuratObject::LayerData(first, "data"))
  expect_identical(again[["reliability"]], first[["reliability"]])
  expect_match(task_failure(impute(cells$panel, cells$reference, genes, model.object = model)), "fitted already")
})

test_that("reference and features must be given, positions be there", {
  cells <- panel_and_reference()
  expect_match(task_failure(impute(cells$panel, features = genes)), "Not given: `reference`")
  expect_match(task_failure(impute(cells$panel, cells$reference)), "Not given: `features`")
  expect_match(task_failure(impute(cells$panel, "atlas.rds", genes)), "`reference` holds no cells")
  expect_match(task_failure(impute(cells$panel, cells$reference, genes, spatial = TRUE)), "no positions in this object")
  expect_match(task_failure(impute(cells$panel, cells$reference, genes, tissue.by = "cut")), "no column \"cut\"")
})

test_that("genes that are measured or unknown, and a reference of other genes, are told", {
  skip_without_python()
  cells <- panel_and_reference()
  expect_match(task_failure(impute(cells$panel, cells$reference, "MS4A1")), "MS4A1 in the panel")
  expect_match(task_failure(impute(cells$panel, cells$reference, "nope")), "not in the reference")
  other <- cells$reference[genes, ]
  expect_match(task_failure(impute(cells$panel, other, genes)), "share too few genes")
})
