#' Write and read h5ad files
#'
#' `WriteH5AD()` writes a whole object into a file that scanpy, squidpy and celloquy open; `ReadH5AD()` reads such a
#' file, whoever wrote it. What goes where is told in [SeuratToAnnData()] and [SCEToAnnData()], and nothing that these
#' keep is lost in the file: reading returns what was written.
#'
#' `ReadH5AD()` reads h5mu files (their RNA), zarr directories and Cell Ranger's `filtered_feature_bc_matrix` (the h5
#' file or the folder), too. Of files of other kinds the error names the line that reads them.
#'
#' Layers that are on disk (BPCells, DelayedArray) are written block by block and are never in memory as a whole; the
#' same holds for split layers that together have more than 2^31 - 1 non-zeros, which one matrix of R can't hold.
#'
#' @inheritParams SeuratToAnnData
#' @param object A Seurat object or a SingleCellExperiment.
#' @param file The file; one to write ends in `.h5ad`.
#' @param overwrite Replace a file that is there. The new one takes its place only when it is whole.
#' @param compression Compression of the file: `"gzip"` makes files a third as large and writing about ten times slower;
#'   `NULL` does neither.
#' @param ... Arguments of the methods.
#'
#' @return `WriteH5AD()`: `file`, invisibly, with the report as attribute `"report"`.
#' @examplesIf celloquy:::examples_can_run()
#' file <- tempfile(fileext = ".h5ad")
#' WriteH5AD(SeuratObject::pbmc_small, file)
#' object <- ReadH5AD(file)
#' object
#' @export
WriteH5AD <- function(object, file, ...) {
  UseMethod("WriteH5AD")
}

#' @rdname WriteH5AD
#' @export
WriteH5AD.Seurat <- function(object, file, assay = NULL, layer = "counts", overwrite = FALSE, compression = NULL,
                             verbose = TRUE, ...) {
  rlang::check_dots_empty()
  file <- check_new_file(file, overwrite)
  assay <- choose_assay(object, assay)
  parts <- seurat_parts(object, assay, layer, on_disk = TRUE)
  write_parts(parts, file, compression, verbose, paste0("Assay \"", assay, "\""))
}

#' @rdname WriteH5AD
#' @export
WriteH5AD.SingleCellExperiment <- function(object, file, layer = "counts", overwrite = FALSE, compression = NULL,
                                           verbose = TRUE, ...) {
  rlang::check_dots_empty()
  file <- check_new_file(file, overwrite)
  write_parts(sce_parts(object, layer, on_disk = TRUE), file, compression, verbose, "The SingleCellExperiment")
}

#' @rdname WriteH5AD
#' @export
WriteH5AD.default <- function(object, file, ...) {
  cli::cli_abort(c(
    "celloquy can't write {.obj_type_friendly {object}} as h5ad.",
    i = "Pass a Seurat object or a SingleCellExperiment."
  ), class = "celloquy_ArgumentError")
}

#' @rdname WriteH5AD
#' @inheritParams AnnDataToSeurat
#' @param as Class of the result: `"Seurat"` or `"SingleCellExperiment"`.
#' @return `ReadH5AD()`: a Seurat object or a SingleCellExperiment, as [AnnDataToSeurat()] and [AnnDataToSCE()] make it.
#' @export
ReadH5AD <- function(file, as = c("Seurat", "SingleCellExperiment"), assay = "RNA", feature.column = NULL,
                     verbose = TRUE) {
  as <- choice(rlang::arg_match(as))
  if (!rlang::is_string(file) || !file.exists(file)) {
    cli::cli_abort(c(
      "There is no file {.path {file}}.",
      i = "Pass the path of an h5ad file; the working directory is {.path {getwd()}}."
    ), class = "celloquy_ArgumentError")
  }
  bridge <- python_bridge()
  adata <- with_python(bridge$read_h5ad(path.expand(file)), basename(file))
  if (as == "SingleCellExperiment") {
    return(AnnDataToSCE(adata, feature.column = feature.column, verbose = verbose))
  }
  AnnDataToSeurat(adata, assay = assay, feature.column = feature.column, verbose = verbose)
}

write_parts <- function(parts, file, compression, verbose, subject, call = rlang::caller_env()) {
  bridge <- python_bridge(call)
  adata <- anndata_from_parts(parts$parts, subject, borrow = TRUE, call = call)
  adata <- finish_anndata(adata, parts$report, verbose)
  blocks <- lapply(parts$blocks, function(layer) blocks_of(layer, parts$size))
  with_python(bridge$write_h5ad(adata, file, compression = compression, blocks = named(blocks)), subject, call)
  invisible(structure(file, report = attr(adata, "report")))
}

# A function that returns the next block of cells of a layer with every call, genes × cells, and NULL at the end.
blocks_of <- function(parts, size, values = 2e7) {
  start <- 1
  # `values` is the size of a block without zeros; 160 MB.
  width <- max(1, floor(values / size[[1]]))
  function() {
    if (start > size[[2]]) {
      return(NULL)
    }
    cells <- seq(start, min(start + width - 1, size[[2]]))
    start <<- start + width
    block <- Matrix::sparseMatrix(i = integer(), j = integer(), x = numeric(), dims = c(size[[1]], length(cells)))
    for (part in parts) {
      here <- which(part$cells %in% cells)
      if (!length(here)) next
      loaded <- methods::as(part$matrix[, here, drop = FALSE], "dgCMatrix")
      full <- fill(methods::new("dgCMatrix"), list(
        i = part$features[loaded@i + 1L] - 1L, p = loaded@p, x = loaded@x, Dim = c(as.integer(size[[1]]), length(here))
      ))
      if (length(here) == length(cells)) block <- full else block[, match(part$cells[here], cells)] <- full
    }
    unnamed_matrix(block)
  }
}
