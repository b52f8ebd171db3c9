test_that("random odd objects come back as the report says, through memory", {
  skip_without_python()
  for (seed in 1:150) {
    object <- odd_object(seed)
    before <- parts_of(object)
    copy <- unserialize(serialize(object, NULL))
    adata <- SeuratToAnnData(object, verbose = FALSE)
    expect_identical(object, copy)
    back <- AnnDataToSeurat(adata, verbose = FALSE)
    expect_as_reported(before, parts_of(back), attr(adata, "report"), paste("object", seed))
  }
})

test_that("random odd objects come back as the report says, through a file", {
  skip_without_python()
  file <- withr::local_tempfile(fileext = ".h5ad")
  for (seed in 151:180) {
    object <- odd_object(seed)
    written <- WriteH5AD(object, file, overwrite = TRUE, verbose = FALSE)
    back <- ReadH5AD(file, verbose = FALSE)
    expect_as_reported(parts_of(object), parts_of(back), attr(written, "report"), paste("object", seed))
  }
})

test_that("counts, columns and identities stay with their cells in whatever order they lie", {
  skip_without_python()
  object <- small_object()
  object$number <- seq_len(80)
  shuffled <- object
  shuffled@meta.data <- shuffled@meta.data[80:1, ]
  shuffled@active.ident <- rev(factor(stats::setNames(rep(c("a", "b"), 40), colnames(object))))
  adata <- SeuratToAnnData(shuffled, verbose = FALSE)
  sums <- as.vector(reticulate::py_to_r(adata$X$sum(axis = 1L)))
  cells <- unlist(reticulate::py_to_r(adata$obs_names$to_list()))
  expect_identical(unname(Matrix::colSums(pbmc_counts())[cells]), sums)
  back <- AnnDataToSeurat(adata, verbose = FALSE)
  expect_identical(back$number[colnames(object)], object$number)
  expect_identical(as.character(SeuratObject::Idents(back)[colnames(object)]), rep(c("a", "b"), 40))
})

test_that("what belongs to no known cell is refused by name", {
  skip_without_python()
  object <- SeuratObject::pbmc_small
  refused <- function(object) {
    copy <- object
    error <- tryCatch(SeuratToAnnData(object, verbose = FALSE), error = identity)
    expect_s3_class(error, "celloquy_ArgumentError")
    expect_identical(object, copy)
    conditionMessage(error)
  }
  broken <- object
  rownames(broken@reductions$pca@cell.embeddings)[[1]] <- "stranger"
  expect_match(refused(broken), "not valid.*\"pca\": 1 of its cells")
  broken <- object
  broken@meta.data <- broken@meta.data[-1, ]
  expect_match(refused(broken), "not valid.*80 cells, not of the 79")
  broken <- object
  colnames(broken@assays$RNA@counts) <- paste0("q", 1:80)
  expect_match(refused(broken), "cells of layer \"counts\"")
  broken <- object
  rownames(broken@graphs$RNA_snn)[[1]] <- "stranger"
  expect_match(refused(broken), "\"RNA_snn\": 1 of its cells")
  broken <- small_object()
  broken@assays$RNA@layers$counts <- broken@assays$RNA@layers$counts[, -1]
  expect_match(refused(broken), "230 . 79 values, for 230 . 80")
})

test_that("objects of an older Seurat are told to be renewed, by every verb", {
  skip_without_python()
  old <- SeuratObject::pbmc_small
  attr(old, "images") <- NULL
  older <- SeuratObject::pbmc_small
  attr(older@reductions$pca, "global") <- NULL
  for (object in list(old, older)) {
    for (verb in list(SeuratToAnnData, RunCelloquy, DenoiseExpression, ImputeGenes, AnnotateCells)) {
      expect_error(verb(object), "older version.*UpdateSeuratObject", class = "celloquy_ArgumentError")
    }
  }
})

test_that("an assay of some cells says whom it leaves out, and which assay has them", {
  skip_without_python()
  object <- SeuratObject::pbmc_small
  object[["sketch"]] <- SeuratObject::CreateAssay5Object(pbmc_counts()[, 1:20])
  SeuratObject::DefaultAssay(object) <- "sketch"
  expect_message(adata <- SeuratToAnnData(object), "Dropped: 60 cells")
  report <- attr(adata, "report")
  expect_match(report$detail[report$part == "60 cells"], "assay = \"RNA\"")
  back <- AnnDataToSeurat(adata, verbose = FALSE)
  expect_identical(colnames(back), colnames(object)[1:20])
  expect_true(methods::validObject(back))
  expect_same(there_and_back(object, assay = "RNA"), object)
})

test_that("Python is told the image of each cell, under a name that files can hold", {
  skip_without_python()
  object <- small_object()
  object$library_id <- "mine"
  cells <- list("left/1" = colnames(object)[1:40], right = colnames(object)[35:80])
  for (name in names(cells)) {
    places <- data.frame(x = seq_along(cells[[name]]), y = 1, cell = cells[[name]])
    object@images[[name]] <- SeuratObject::CreateFOV(places, type = "centroids", assay = "RNA", key = "k_")
  }
  adata <- SeuratToAnnData(object, verbose = FALSE)
  of <- unlist(reticulate::py_to_r(adata$obs[["library_id_1"]]$to_list()))
  expect_identical(of, rep(c("left|1", "right"), each = 40))
  expect_same(through_a_file(object), object)
})

test_that("layers that R made bare vectors, and placeholders, are what they stand for", {
  skip_without_python()
  object <- small_object()
  object[["RNA"]] <- split(object[["RNA"]], f = rep(c("a", "b"), c(2, 78)))
  object <- suppressWarnings(subset(object, cells = colnames(object)[-1]))
  expect_null(dim(object@assays$RNA@layers$counts.a))
  adata <- SeuratToAnnData(object, verbose = FALSE)
  expect_identical(as.matrix(reticulate::py_to_r(adata$X)), t(as.matrix(pbmc_counts()))[-1, ], ignore_attr = TRUE)
  back <- AnnDataToSeurat(adata, verbose = FALSE)
  expect_identical(as.vector(SeuratObject::LayerData(back, layer = "counts.a")), unname(pbmc_counts()[, 2]))
  integrated <- SeuratObject::pbmc_small
  integrated@assays$RNA@scale.data <- matrix()
  expect_same(there_and_back(integrated), integrated)
  expect_same(through_a_file(integrated), integrated)
})

test_that("genes that Python sorts keep their scaled values", {
  skip_without_python()
  skip_if_not_installed("Seurat")
  object <- worked_object()
  adata <- SeuratToAnnData(object, verbose = FALSE)
  sorted <- adata[python_objects()$np$arange(79L, -1L, -1L), python_objects()$np$arange(229L, -1L, -1L)]$copy()
  back <- AnnDataToSeurat(sorted, verbose = FALSE)
  expect_true(methods::validObject(back))
  for (layer in c("counts.first", "data.second", "scale.data")) {
    expected <- as.matrix(SeuratObject::LayerData(object, layer = layer))
    found <- as.matrix(SeuratObject::LayerData(back, layer = layer))
    expect_identical(found[rownames(expected), colnames(expected)], expected)
  }
})

test_that("ElbowPlot draws the reductions of celloquy", {
  skip_without_python()
  skip_if_not_installed("Seurat")
  object <- RunCelloquy(small_object(), small_model(), verbose = FALSE)
  embedding <- SeuratObject::Embeddings(object, "celloquy")
  expect_equal(SeuratObject::Stdev(object, "celloquy"), unname(apply(embedding, 2, stats::sd)))
  expect_s3_class(Seurat::ElbowPlot(object, ndims = 10, reduction = "celloquy"), "ggplot")
})

# A SingleCellExperiment drawn at random, with parts that AnnData has no place for.
odd_experiment <- function(seed) {
  withr::local_seed(seed)
  maybe <- function(p = 0.5) stats::runif(1) < p
  n <- sample(1:12, 1)
  g <- sample(1:9, 1)
  counts <- matrix(stats::rpois(n * g, 2), g, dimnames = list(paste0("g", seq_len(g)), paste0("c", seq_len(n))))
  object <- SingleCellExperiment::SingleCellExperiment(list(counts = counts))
  columns <- odd_columns(n)[sample(12, sample(0:5, 1))]
  columns <- columns[!names(columns) %in% c("array", "as_is")]
  if (maybe() && length(columns)) names(columns) <- sample(odd_names, length(columns))
  if (length(columns)) SummarizedExperiment::colData(object) <- as_dframe(columns, colnames(counts), n)
  if (maybe(0.3)) SummarizedExperiment::assay(object, "a/b") <- matrix("t", g, n, dimnames = dimnames(counts))
  if (maybe(0.3)) SummarizedExperiment::assay(object, "log") <- as_sparse(log1p(counts))
  if (maybe()) SingleCellExperiment::reducedDim(object, "U/V") <- matrix(stats::rnorm(2 * n), n)
  if (maybe()) {
    table <- data.frame(a = seq_len(n), row.names = colnames(object))
    SingleCellExperiment::reducedDim(object, "table") <- table
  }
  if (maybe()) {
    pairs <- S4Vectors::SelfHits(seq_len(n), rev(seq_len(n)), nnode = n, why = rep("x", n), w = seq_len(n))
    SingleCellExperiment::colPair(object, "text") <- pairs
    S4Vectors::mcols(pairs) <- S4Vectors::DataFrame(w = stats::rnorm(n))
    SingleCellExperiment::colPair(object, "num/ber") <- pairs
  }
  if (maybe()) SingleCellExperiment::int_colData(object)$size <- seq_len(n)
  if (maybe()) {
    places <- matrix(stats::runif(2 * n), n, dimnames = list(NULL, c("x", "y")))
    SingleCellExperiment::int_colData(object)$spatialCoords <- places
  }
  if (maybe()) {
    other <- SingleCellExperiment::SingleCellExperiment(
      list(counts = counts[1, , drop = FALSE]),
      reducedDims = list(PCA = matrix(1, n, 1)), metadata = list(batch = seed)
    )
    SingleCellExperiment::altExp(object, "ADT") <- other
    SingleCellExperiment::altExp(object, "plain") <- SummarizedExperiment::SummarizedExperiment(list(counts = counts))
  }
  if (maybe(0.3)) {
    ranges <- GenomicRanges::GRanges(rep("chr1", g), IRanges::IRanges(seq_len(g), width = 2))
    names(ranges) <- rownames(counts)
    SummarizedExperiment::rowRanges(object) <- ranges
  }
  if (maybe(0.3)) S4Vectors::metadata(object) <- list(a = 1, list(b = NULL))
  object
}

# The columns of functions, which alone can't be carried.
which_code <- function(object) {
  which(vapply(as.list(SummarizedExperiment::colData(object)), function(column) {
    is.list(column) && is.function(column[[1]])
  }, NA))
}

test_that("random odd experiments come back identical unless the report says what was lost", {
  skip_without_python()
  skip_if_not_installed("SingleCellExperiment")
  file <- withr::local_tempfile(fileext = ".h5ad")
  for (seed in 1:80) {
    object <- odd_experiment(seed)
    if (seed %% 4) {
      adata <- SCEToAnnData(object, verbose = FALSE)
      report <- attr(adata, "report")
      back <- AnnDataToSCE(adata, verbose = FALSE)
    } else {
      report <- attr(WriteH5AD(object, file, overwrite = TRUE, verbose = FALSE), "report")
      back <- ReadH5AD(file, as = "SingleCellExperiment", verbose = FALSE)
    }
    lost <- sub("^colData ", "", report$part[report$action == "dropped"])
    # Functions, and nothing else.
    code <- shown(names(SummarizedExperiment::colData(object))[which_code(object)])
    expect_identical(lost, as.character(code), label = paste("experiment", seed, "lost"))
    keep <- setdiff(seq_along(names(SummarizedExperiment::colData(object))), which_code(object))
    SummarizedExperiment::colData(object) <- SummarizedExperiment::colData(object)[keep]
    S4Vectors::metadata(back)$report <- NULL
    expect_true(identical(back, object), label = paste("experiment", seed))
  }
})

test_that("alternative experiments and coordinates follow the cells that Python sorts", {
  skip_without_python()
  skip_if_not_installed("SingleCellExperiment")
  object <- odd_experiment(5)
  n <- ncol(object)
  values <- matrix(seq_len(n), 1, dimnames = list("q", colnames(object)))
  other <- SummarizedExperiment::SummarizedExperiment(list(x = values))
  SingleCellExperiment::altExp(object, "other", withDimnames = TRUE) <- other
  SingleCellExperiment::int_colData(object)$spatialCoords <- cbind(x = seq_len(n), y = 0)
  adata <- SCEToAnnData(object, verbose = FALSE)
  sorted <- adata[python_objects()$np$arange(n - 1L, -1L, -1L)]$copy()
  back <- AnnDataToSCE(sorted, verbose = FALSE)
  expect_identical(colnames(back), rev(colnames(object)))
  values <- SummarizedExperiment::assay(SingleCellExperiment::altExp(back, "other"))
  expect_identical(as.vector(values), rev(seq_len(n)))
  expect_identical(SingleCellExperiment::int_colData(back)$spatialCoords[, "x"], as.numeric(rev(seq_len(n))))
})
