sce_of_everything <- function() {
  skip_if_not_installed("SingleCellExperiment")
  counts <- pbmc_counts()
  columns <- every_column(80)
  sce <- SingleCellExperiment::SingleCellExperiment(
    list(counts = counts, logcounts = log1p(counts), dense = as.matrix(counts) / 3),
    colData = as_dframe(columns, colnames(counts), 80), rowData = as_dframe(every_column(230), rownames(counts), 230),
    metadata = list(x = list(1L, NULL), y = c(a = NA)), mainExpName = "RNA"
  )
  scores <- withr::with_seed(1, matrix(stats::rnorm(160), 80, dimnames = list(colnames(counts), c("PC1", "PC2"))))
  SingleCellExperiment::reducedDim(sce, "PCA") <- structure(scores, percentVar = c(2, 1))
  SingleCellExperiment::reducedDim(sce, "no names", withDimnames = FALSE) <- unname(scores)
  SingleCellExperiment::altExp(sce, "ADT") <- SingleCellExperiment::SingleCellExperiment(list(counts = counts[1:3, ]))
  graph <- methods::as(SeuratObject::pbmc_small@graphs$RNA_snn, "dgCMatrix")
  SingleCellExperiment::colPair(sce, "nearest") <- unname(graph)
  sce
}

without_report <- function(sce) {
  S4Vectors::metadata(sce)$report <- NULL
  sce
}

test_that("a SingleCellExperiment with everything in it comes back identical, through memory and through a file", {
  skip_without_python()
  sce <- sce_of_everything()
  back <- AnnDataToSCE(SCEToAnnData(sce, verbose = FALSE), verbose = FALSE)
  expect_identical(without_report(back), sce)
  file <- withr::local_tempfile(fileext = ".h5ad")
  WriteH5AD(sce, file, verbose = FALSE)
  expect_identical(without_report(ReadH5AD(file, as = "SingleCellExperiment", verbose = FALSE)), sce)
})

test_that("an experiment without names comes back without", {
  skip_without_python()
  skip_if_not_installed("SingleCellExperiment")
  sce <- SingleCellExperiment::SingleCellExperiment(list(counts = unname(pbmc_counts())))
  expect_identical(without_report(AnnDataToSCE(SCEToAnnData(sce, verbose = FALSE), verbose = FALSE)), sce)
})

test_that("an AnnData with everything in it comes back identical from a SingleCellExperiment", {
  skip_without_python()
  skip_if_not_installed("SingleCellExperiment")
  make <- python_objects()
  for (seed in 1:10) {
    adata <- make$everything(seed)
    sce <- AnnDataToSCE(adata, verbose = FALSE)
    back <- SCEToAnnData(sce, verbose = FALSE)
    expect_identical(reticulate::py_to_r(make$differences(adata, back)), list())
    expect_identical(without_report(AnnDataToSCE(back, verbose = FALSE)), without_report(sce))
  }
})

test_that("what is no plain data is reported, and the rest is kept for the way back", {
  skip_without_python()
  sce <- sce_of_everything()
  SummarizedExperiment::colData(sce)$list <- as.list(1:80)
  SingleCellExperiment::reducedDim(sce, "table") <- data.frame(a = 1:80, row.names = colnames(sce))
  kept <- sce
  SummarizedExperiment::colData(sce)$code <- rep(list(mean), 80)
  S4Vectors::metadata(sce)$place <- globalenv()
  expect_message(adata <- SCEToAnnData(sce), "Dropped: colData code and metadata\\$place")
  report <- attr(adata, "report")
  expect_identical(sum(report$action == "dropped"), 2L)
  expect_identical(without_report(AnnDataToSCE(adata, verbose = FALSE)), kept)
})

test_that("anything else is refused", {
  skip_if_not_installed("SingleCellExperiment")
  message <- "not a SingleCellExperiment.*SeuratToAnnData"
  expect_error(SCEToAnnData(SeuratObject::pbmc_small), message, class = "celloquy_ArgumentError")
})
