test_that("layers on disk are written block by block and come back", {
  skip_without_python()
  skip_if_not_installed("DelayedArray")
  object <- small_object()
  object[["RNA"]] <- split(object[["RNA"]], f = object$half)
  stored <- object
  for (name in SeuratObject::Layers(stored)) {
    stored@assays$RNA@layers[[name]] <- DelayedArray::DelayedArray(stored@assays$RNA@layers[[name]])
  }
  expect_error(SeuratToAnnData(stored), "is on disk.*WriteH5AD", class = "celloquy_ArgumentError")
  expect_same(through_a_file(stored), object)
})

test_that("blocks hold the cells of all parts in their order, however many there are", {
  counts <- unname(pbmc_counts())
  odd <- seq(1, 80, 2)
  parts <- list(
    list(matrix = counts[, odd], features = 1:230, cells = odd),
    list(matrix = counts[5:100, -odd], features = 5:100, cells = seq(2, 80, 2))
  )
  expected <- counts
  expected[-(5:100), -odd] <- 0
  for (values in c(2e7, 230 * 7, 1)) {
    following <- blocks_of(parts, c(230L, 80L), values = values)
    blocks <- list()
    while (!is.null(block <- following())) blocks <- c(blocks, block)
    expect_identical(as.matrix(do.call(cbind, blocks)), as.matrix(expected))
  }
})

test_that("a file that is there is replaced on request only, and only by a whole one", {
  skip_without_python()
  file <- withr::local_tempfile(fileext = ".h5ad")
  WriteH5AD(SeuratObject::pbmc_small, file, verbose = FALSE)
  expect_error(WriteH5AD(small_object(), file), "overwrite = TRUE", class = "celloquy_ArgumentError")
  before <- tools::md5sum(file)
  # HDF5 finds out about this half-way.
  expect_error(WriteH5AD(small_object(), file, compression = "none such", overwrite = TRUE, verbose = FALSE))
  expect_identical(tools::md5sum(file), before)
  expect_identical(list.files(dirname(file), pattern = "unfinished", all.files = TRUE), character())
  WriteH5AD(small_object(), file, overwrite = TRUE, verbose = FALSE)
  expect_same(ReadH5AD(file, verbose = FALSE), small_object())
})

test_that("compression changes the file and not what is read", {
  skip_without_python()
  files <- withr::local_tempfile(pattern = c("plain", "small"), fileext = ".h5ad")
  counts <- do.call(cbind, rep(list(pbmc_counts()), 100))
  colnames(counts) <- paste0("cell", seq_len(ncol(counts)))
  object <- SeuratObject::CreateSeuratObject(counts)
  WriteH5AD(object, files[[1]], verbose = FALSE)
  WriteH5AD(object, files[[2]], compression = "gzip", verbose = FALSE)
  expect_lt(file.size(files[[2]]), file.size(files[[1]]) / 2)
  expect_same(ReadH5AD(files[[2]], verbose = FALSE), object)
})

test_that("names that HDF5 would take for folders come back", {
  skip_without_python()
  object <- SeuratObject::pbmc_small
  names(object@reductions)[[2]] <- "a/b"
  names(object@graphs) <- "c/d"
  object@misc <- list("e/f" = 1)
  object@assays$RNA <- methods::as(object@assays$RNA, "Assay5")
  object@assays$RNA@meta.data[["g/h"]] <- 1:230
  SeuratObject::LayerData(object@assays$RNA, "i/j") <- pbmc_counts()
  expect_same(through_a_file(object), object)
})

test_that("the report comes with the file's name", {
  skip_without_python()
  file <- withr::local_tempfile(fileext = ".h5ad")
  expect_invisible(written <- WriteH5AD(SeuratObject::pbmc_small, file, verbose = FALSE))
  expect_identical(as.character(written), file)
  expect_s3_class(attr(written, "report"), "celloquy_conversion")
})

test_that("files of other kinds are read, or named with the line of R that reads them", {
  skip_without_python()
  folder <- withr::local_tempdir()
  counts <- pbmc_counts()
  tables <- list(
    barcodes = colnames(counts), features = paste(rownames(counts), rownames(counts), "Gene Expression", sep = "\t")
  )
  zipped <- function(name, text) {
    file <- gzfile(file.path(folder, name), "w")
    writeLines(text, file)
    close(file)
  }
  for (name in names(tables)) zipped(paste0(name, ".tsv.gz"), tables[[name]])
  plain <- withr::local_tempfile()
  Matrix::writeMM(counts, plain)
  zipped("matrix.mtx.gz", readLines(plain))
  expect_identical(SeuratObject::LayerData(ReadH5AD(folder, verbose = FALSE), layer = "counts"), counts)
  csv <- withr::local_tempfile(fileext = ".csv")
  writeLines("a,b", csv)
  expect_error(ReadH5AD(csv), "Read it with data.table::fread\\(", class = "celloquy_ArgumentError")
})

test_that("what is no h5ad file, or none that can be written, is one error", {
  skip_without_python()
  folder <- withr::local_tempdir()
  withr::local_dir(folder)
  writeLines("text", "text.h5ad")
  expect_error(ReadH5AD("text.h5ad"), "can't be read as h5ad", class = "celloquy_ArgumentError")
  expect_error(ReadH5AD("none.h5ad"), "no file.*none.h5ad", class = "celloquy_ArgumentError")
  expect_error(WriteH5AD(small_object(), "x.txt"), "end in .*h5ad", class = "celloquy_ArgumentError")
  expect_error(WriteH5AD(1, "x.h5ad"), "can't write a number", class = "celloquy_ArgumentError")
})

real <- function(...) {
  file <- testthat::test_path("..", "..", "..", "shared", "data", ...)
  testthat::skip_if_not(file.exists(file), "real data")
  file
}

test_that("real files of cells and of tissue come back identical", {
  skip_without_python()
  make <- python_objects()
  copy <- withr::local_tempfile(fileext = ".h5ad")
  for (name in c("scrna/pbmc_ifnb", "scrna/nsclc_zilionis", "spatial/starmap_mpfc", "spatial/mob_st")) {
    file <- real(paste0(name, ".h5ad"))
    object <- ReadH5AD(file, verbose = FALSE)
    expect_s4_class(object, "Seurat")
    WriteH5AD(object, copy, overwrite = TRUE, verbose = FALSE)
    expect_identical(reticulate::py_to_r(make$differences(make$read(file), make$read(copy))), list())
    expect_same(ReadH5AD(copy, verbose = FALSE), {
      attr(object, "report") <- NULL
      object
    })
  }
})
