# Objects of classes that other packages define, where these are installed.

unreported <- function(object) {
  if (methods::is(object, "Seurat")) attr(object, "report") <- NULL else S4Vectors::metadata(object)$report <- NULL
  object
}

spatial_experiment <- function() {
  skip_if_not_installed("SpatialExperiment")
  counts <- pbmc_counts()
  places <- withr::with_seed(1, matrix(stats::runif(160), 80, dimnames = list(colnames(counts), c("column", "row"))))
  object <- SpatialExperiment::SpatialExperiment(
    list(counts = counts),
    colData = S4Vectors::DataFrame(sample_id = rep(c("one", "two"), 40), number = 1:80), spatialCoords = places
  )
  file <- withr::local_tempfile(fileext = ".png")
  grDevices::png(file)
  graphics::plot.new()
  grDevices::dev.off()
  for (sample in c("one", "two")) {
    object <- SpatialExperiment::addImg(
      object,
      sample_id = sample, image_id = "lowres", imageSource = file, scaleFactor = 0.1, load = sample == "one"
    )
  }
  object
}

test_that("a SpatialExperiment with its pictures comes back identical, through memory and through a file", {
  skip_without_python()
  object <- spatial_experiment()
  adata <- SCEToAnnData(object, verbose = FALSE)
  places <- unname(SpatialExperiment::spatialCoords(object))
  expect_identical(unname(reticulate::py_to_r(adata$obsm[["spatial"]])), places)
  report <- attr(adata, "report")
  in_uns <- report$part[report$detail == "uns[\"sce\"]"]
  expect_identical(in_uns, paste("int_metadata", c("spatialDataNames", "imgData")))
  expect_identical(unreported(AnnDataToSCE(adata, verbose = FALSE)), object)
  file <- withr::local_tempfile(fileext = ".h5ad")
  WriteH5AD(object, file, verbose = FALSE)
  expect_identical(unreported(ReadH5AD(file, as = "SingleCellExperiment", verbose = FALSE)), object)
  # One that another class became has a table of pictures without columns.
  made <- methods::as(SingleCellExperiment::SingleCellExperiment(list(counts = pbmc_counts())), "SpatialExperiment")
  expect_identical(unreported(AnnDataToSCE(SCEToAnnData(made, verbose = FALSE), verbose = FALSE)), made)
  some <- adata[python_objects()$np$arange(9L, 4L, -1L), python_objects()$np$arange(3L)]$copy()
  expect_identical(unreported(AnnDataToSCE(some, verbose = FALSE)), object[1:3, 10:6])
})

test_that("every verb takes a SpatialExperiment", {
  skip_without_python()
  object <- spatial_experiment()
  genes <- rownames(object)
  results <- list(
    RunCelloquy(object, small_model(), tissue.by = "sample_id", verbose = FALSE),
    AnnotateCells(object, verbose = FALSE),
    DenoiseExpression(object, genes[1:3], epochs = 1, verbose = FALSE),
    ImputeGenes(object[1:200, ], object, genes[201:203], epochs = 1, verbose = FALSE)
  )
  for (result in results) {
    expect_true(methods::is(result, "SpatialExperiment") && methods::validObject(result))
    expect_identical(unreported(AnnDataToSCE(SCEToAnnData(result, verbose = FALSE), verbose = FALSE)), result)
  }
})

chromatin_object <- function() {
  skip_if_not_installed("Signac")
  object <- small_object()
  peaks <- pbmc_counts()
  starts <- seq(1L, by = 1000L, length.out = nrow(peaks))
  rownames(peaks) <- paste("chr1", starts, starts + 499L, sep = "-")
  object[["peaks"]] <- Signac::CreateChromatinAssay(counts = peaks, sep = c("-", "-"), min.cells = 0, min.features = 0)
  object
}

test_that("a ChromatinAssay comes back identical, from beside the main assay and as that", {
  skip_without_python()
  object <- chromatin_object()
  expect_same(there_and_back(object), object)
  expect_same(there_and_back(object, assay = "peaks"), object)
  expect_same(through_a_file(object, assay = "peaks"), object)
  result <- RunCelloquy(object, small_model(), verbose = FALSE)
  expect_identical(result[["peaks"]], object[["peaks"]])
  expect_error(RunCelloquy(object[["peaks"]], verbose = FALSE), "chr1-1-500", class = "celloquy_GenesError")
})

test_that("ranges stay with the peaks that Python selects and sorts", {
  skip_without_python()
  object <- chromatin_object()
  np <- python_objects()$np
  adata <- SeuratToAnnData(object, assay = "peaks", verbose = FALSE)
  back <- AnnDataToSeurat(adata[np$arange(30L), np$array(c(20L, 3L, 7L))]$copy(), verbose = FALSE)
  peaks <- back[["peaks"]]
  expect_identical(rownames(peaks), rownames(object[["peaks"]])[c(21, 4, 8)])
  expect_identical(peaks@ranges, object[["peaks"]]@ranges[c(21, 4, 8)])
  expect_identical(as.character(class(peaks)), "ChromatinAssay")
  expect_true(methods::validObject(peaks))
})

test_that("models of SCTransform stay with the cells that Python selects", {
  skip_without_python()
  skip_if_not_installed("Seurat")
  object <- suppressMessages(suppressWarnings(Seurat::SCTransform(small_object(), verbose = FALSE)))
  expect_same(there_and_back(object), object)
  np <- python_objects()$np
  adata <- SeuratToAnnData(object, verbose = FALSE)
  back <- AnnDataToSeurat(adata[np$arange(30L), np$arange(10L)]$copy(), verbose = FALSE)
  expect_identical(as.character(class(back[["SCT"]])), "SCTAssay")
  expect_identical(rownames(back[["SCT"]]@SCTModel.list[[1]]@cell.attributes), colnames(object)[1:30])
})
