# The code of the package without its comments.
code_of_r <- function() {
  folder <- test_path("..", "..", "R")
  skip_if_not(dir.exists(folder), "the sources of the package")
  files <- list.files(folder, "[.]R$", full.names = TRUE)
  lines <- unlist(lapply(files, readLines, encoding = "UTF-8"))
  lines[!grepl("^\\s*#", lines)]
}

test_that("R enters Python by one door", {
  code <- code_of_r()
  # Advice for the user to import something stands in code markup.
  imports <- grep("reticulate::import", gsub("[{][.]code [^}]*[}]", "", code), value = TRUE)
  expect_gt(length(imports), 1)
  expect_true(all(grepl("reticulate::import(\"celloquy.bridge\"", imports, fixed = TRUE)))
  others <- "py_run_string|py_run_file|py_eval|source_python|import_from_path|import_builtins|import_main|__import__"
  expect_identical(grep(others, code, value = TRUE), character())
  # Classes of Python are named by their module's path.
  paths <- grep("\"(celloquy|anndata|pandas|numpy|torch)[.]", code, value = TRUE)
  expect_identical(setdiff(paths, imports), character())
})

# More values than R makes a vector of its own for.
large_counts <- function() {
  counts <- Matrix::sparseMatrix(
    i = rep(seq_len(1100), 1000), p = 1100L * 0:1000, x = as.numeric(seq_len(1.1e6)), dims = c(1200, 1000),
    dimnames = list(paste0("g", 1:1200), paste0("c", 1:1000))
  )
  SeuratObject::CreateSeuratObject(counts)
}

test_that("large matrices from Python are R's own: compared, changed, saved and kept like any", {
  skip_without_python()
  object <- large_counts()
  adata <- SeuratToAnnData(object, verbose = FALSE)
  back <- AnnDataToSeurat(adata, verbose = FALSE)
  expect_same(back, object)
  expect_same(through_a_file(object), object)
  rm(adata)
  gc()
  counts <- SeuratObject::LayerData(back, layer = "counts")
  changed <- counts
  changed@x[[1]] <- -1
  expect_identical(counts@x[[1]], 1)
  expect_identical(sum(changed@x[-1]), sum(counts@x[-1]))
  expect_identical(unserialize(serialize(counts, NULL)), SeuratObject::LayerData(object, layer = "counts"))
  expect_identical(Matrix::colSums(counts), Matrix::colSums(SeuratObject::LayerData(object, layer = "counts")))
})

test_that("what Python does to an AnnData leaves R's object as it was", {
  skip_without_python()
  object <- large_counts()
  before <- unserialize(serialize(object, NULL))
  adata <- SeuratToAnnData(object, verbose = FALSE)
  reticulate::import("scanpy")$pp$normalize_total(adata)
  expect_identical(object, before)
})

test_that("vectors of either type and of no length are made, and memory that is no longer needed is given back", {
  for (real in c(TRUE, FALSE)) {
    expect_length(.Call(celloquy_new_vector, real, 0), 0)
    vector <- .Call(celloquy_new_vector, real, 3)
    expect_type(vector, if (real) "double" else "integer")
    vector[] <- 7
    expect_identical(as.integer(vector), rep(7L, 3))
  }
  skip_if_not(file.exists("/proc/self/status"))
  held <- function() {
    line <- grep("^VmSize:", readLines("/proc/self/status"), value = TRUE)
    as.numeric(gsub("[^0-9]", "", line)) / 1e6
  }
  before <- held()
  # 40 times 0.4 GB, none of it needed afterwards.
  for (i in 1:40) .Call(celloquy_new_vector, TRUE, 5e7)
  expect_lt(held() - before, 4)
  expect_error(.Call(celloquy_new_vector, TRUE, 1e17), "cannot allocate")
})
