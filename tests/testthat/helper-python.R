# For those who check the package without Python, tests that need it are skipped. In CI a missing Python is a failure.
skip_without_python <- function() {
  if (nzchar(Sys.getenv("CI"))) {
    return(invisible(python_bridge(torch = TRUE)))
  }
  testthat::skip_if_not(examples_can_run(), "Python with celloquy")
}

python <- function(...) {
  output <- suppressWarnings(system2(reticulate::py_exe(), shQuote(c(...)), stdout = TRUE, stderr = TRUE))
  if (!is.null(attr(output, "status"))) {
    stop("Python failed:\n", paste(output, collapse = "\n"))
  }
}

# A folder with counts that Python can read, without a line of the package's own code.
write_counts <- function(counts, tissue = NULL, positions = NULL) {
  folder <- withr::local_tempdir(.local_envir = testthat::teardown_env())
  Matrix::writeMM(counts, file.path(folder, "counts.mtx"))
  write_text <- function(lines, name) cat(paste(lines, collapse = "\n"), file = file.path(folder, name))
  write_text(rownames(counts), "genes.txt")
  write_text(colnames(counts), "cells.txt")
  if (!is.null(tissue)) write_text(tissue, "tissue.txt")
  if (!is.null(positions)) {
    write_text(sprintf("%.17g %.17g", positions[, 1], positions[, 2]), "positions.txt")
  }
  folder
}

# The embedding that a Python process of its own makes of the same counts with the same saved model.
embed_in_python <- function(counts, model, ...) {
  out <- tempfile(fileext = ".npy")
  python(testthat::test_path("reference.py"), "embed", write_counts(counts, ...), model, out)
  embedding <- reticulate::import("numpy")$load(out)
  rownames(embedding) <- colnames(counts)
  embedding
}

made <- new.env()

# A saved model over the genes of pbmc_small, made once; reference.py makes it under the name of its kind.
saved_once <- function(kind) {
  if (is.null(made[[kind]])) {
    model <- file.path(withr::local_tempdir(.local_envir = testthat::teardown_env()), kind)
    counts <- SeuratObject::LayerData(SeuratObject::pbmc_small, layer = "counts")
    python(testthat::test_path("reference.py"), kind, write_counts(counts), model)
    made[[kind]] <- model
  }
  made[[kind]]
}

small_model <- function() saved_once("model")

# It reads 40 genes of a cell.
small_gene_model <- function() saved_once("gene_model")

# The counts of scanpy's PBMC, genes × cells, and a model over their genes; made once.
demo_cells <- function() {
  if (is.null(made$demo_cells)) {
    folder <- withr::local_tempdir(.local_envir = testthat::teardown_env())
    python(testthat::test_path("reference.py"), "cells", folder)
    python(testthat::test_path("reference.py"), "model", folder, file.path(folder, "model"))
    counts <- methods::as(Matrix::readMM(file.path(folder, "counts.mtx")), "CsparseMatrix")
    read_text <- function(name) readLines(file.path(folder, name), warn = FALSE)
    dimnames(counts) <- list(read_text("genes.txt"), read_text("cells.txt"))
    made$demo_cells <- list(counts = counts, model = file.path(folder, "model"))
  }
  made$demo_cells
}

# pbmc_small with its counts in an Assay5 and nothing else.
small_object <- function() {
  counts <- SeuratObject::LayerData(SeuratObject::pbmc_small, layer = "counts")
  object <- SeuratObject::CreateSeuratObject(counts)
  object$half <- rep(c("first", "second"), length.out = ncol(object))
  object
}

# Run R code in a process of its own with the package loaded, as a user's Rscript would.
run_r <- function(code, env = character()) {
  script <- tempfile(fileext = ".R")
  load <- if (requireNamespace("pkgload", quietly = TRUE) && pkgload::is_dev_package("celloquy")) {
    sprintf("pkgload::load_all(%s, quiet = TRUE, helpers = FALSE)", deparse(pkgload::pkg_path()))
  } else {
    "library(celloquy)"
  }
  writeLines(c(paste0("suppressWarnings(suppressPackageStartupMessages(", load, "))"), code), script)
  out <- tempfile()
  err <- tempfile()
  rscript <- file.path(R.home("bin"), "Rscript")
  status <- system2(rscript, c("--vanilla", script), stdout = out, stderr = err, env = env)
  list(status = status, out = readLines(out, warn = FALSE), err = readLines(err, warn = FALSE))
}
