# One conversion in a process of its own, for convert.py: Rscript benchmarks/convert.R make|ROUTE TOOL FOLDER
#
# Prints one line of JSON: seconds, the median of three conversions, and the peak of the process's memory in the first,
# above what it held with the input loaded. Every tool first converts fifty cells, so that nobody pays for loading
# packages. One conversion would not do: a virtual machine hands out memory that nobody has touched at a fifth of the
# speed, and whom that meets is chance.
#
# zellkonverter, sceasy and anndataR cannot be had from Debian's packages. What stands for each are the steps that its
# own code takes on the matrix, in its order, through the same libraries; the source is named at each. Where a package
# does more than the steps here (other slots, checks, progress bars), the steps are to its advantage.

suppressPackageStartupMessages(library(Seurat))
anndata <- reticulate::import("anndata", convert = FALSE)
scipy <- reticulate::import("scipy.sparse", convert = FALSE)
quietly <- function(code) suppressWarnings(suppressMessages(code))

# Cells first, as Python has them, for a matrix of R: what zellkonverter and sceasy send.
transposed <- function(counts) methods::as(Matrix::t(counts), "CsparseMatrix")

frame <- function(names) data.frame(row.names = names)

python_anndata <- function(matrix, cells, genes, ...) {
  anndata$AnnData(X = matrix, obs = frame(cells), var = frame(genes), ...)
}

# anndataR R/utils.R, to_py_matrix() and to_R_matrix()
to_py_matrix <- function(counts) Matrix::t(methods::as(counts, "RsparseMatrix"))
to_r_matrix <- function(cells) Matrix::t(methods::as(cells, "CsparseMatrix"))

names_of <- function(adata) {
  list(reticulate::py_to_r(adata$var_names$to_list()), reticulate::py_to_r(adata$obs_names$to_list()))
}

# zellkonverter R/AnnData2SCE.R, .extract_or_skip_assay(): reticulate hands over a dgRMatrix.
zellkonverter_sce <- function(adata) {
  counts <- Matrix::t(reticulate::py_to_r(adata$X))
  if (methods::is(counts, "dgRMatrix")) counts <- methods::as(counts, "CsparseMatrix")
  dimnames(counts) <- names_of(adata)
  SingleCellExperiment::SingleCellExperiment(assays = list(X = counts))
}

# sceasy R/functions.R, anndata2seurat()
sceasy_seurat <- function(adata) {
  counts <- Matrix::t(reticulate::py_to_r(scipy$csc_matrix(adata$X)))
  dimnames(counts) <- names_of(adata)
  assay <- CreateAssayObject(counts = counts)
  Key(assay) <- "rna_"
  object <- methods::new("Seurat", assays = list(RNA = assay), meta.data = frame(colnames(counts)))
  DefaultAssay(object) <- "RNA"
  object
}

# anndataR R/as_Seurat.R, .as_Seurat_create_object_with_layers()
anndatar_seurat <- function(cells, dimnames) {
  counts <- to_r_matrix(cells)
  dimnames(counts) <- dimnames
  CreateSeuratObject(counts = counts)
}

# anndataR R/rhdf5_write_h5ad_helpers.R, R/rhdf5_write_hdf5_helpers.R: a dataset in one piece, compression "none"
write_dataset <- function(value, file, name) {
  rhdf5::h5createDataset(file, name, length(value), storage.mode = storage.mode(value), filter = "NONE", native = TRUE)
  rhdf5::h5write(value, file, name, native = TRUE)
}

write_attributes <- function(file, name, ...) {
  handle <- rhdf5::H5Oopen(file, name)
  on.exit(rhdf5::H5Oclose(handle))
  attributes <- list(...)
  for (attribute in names(attributes)) {
    value <- attributes[[attribute]]
    rhdf5::h5writeAttribute(value, handle, attribute, asScalar = length(value) == 1)
  }
}

anndatar_write <- function(object, path) {
  cells <- to_py_matrix(LayerData(object, layer = "counts"))
  rhdf5::h5createFile(path)
  file <- rhdf5::H5Fopen(path)
  on.exit(rhdf5::H5Fclose(file))
  for (group in c("layers", "layers/counts", "obs", "var")) rhdf5::h5createGroup(file, group)
  write_dataset(cells@j, file, "layers/counts/indices")
  write_dataset(cells@p, file, "layers/counts/indptr")
  write_dataset(cells@x, file, "layers/counts/data")
  write_attributes(
    file, "layers/counts",
    `encoding-type` = "csr_matrix", `encoding-version` = "0.1.0", shape = dim(cells)
  )
  write_dataset(colnames(object), file, "obs/_index")
  write_dataset(rownames(object), file, "var/_index")
}

# anndataR R/rhdf5_read_h5ad_helpers.R, rhdf5_read_h5ad_sparse_array()
anndatar_read <- function(path) {
  file <- rhdf5::H5Fopen(path, flags = "H5F_ACC_RDONLY")
  on.exit(rhdf5::H5Fclose(file))
  group <- rhdf5::H5Gopen(file, "X")
  shape <- as.vector(rhdf5::h5readAttributes(file, "X", native = FALSE)$shape)
  cells <- Matrix::sparseMatrix(
    j = as.vector(group$indices), p = as.vector(group$indptr), x = as.vector(group$data),
    dims = shape, repr = "R", index1 = FALSE
  )
  rhdf5::H5Gclose(group)
  names <- lapply(c("var/_index", "obs/_index"), function(name) as.vector(rhdf5::h5read(file, name)))
  anndatar_seurat(cells, names)
}

as_sce <- function(object) {
  SingleCellExperiment::SingleCellExperiment(assays = list(counts = LayerData(object, layer = "counts")))
}

# Each takes the input that load() gives, and a path where it writes one.
routes <- list(
  "Seurat to AnnData" = list(
    load = function(folder) readRDS(file.path(folder, "object.rds")),
    celloquy = function(object, path) celloquy::SeuratToAnnData(object, verbose = FALSE),
    # zellkonverter R/SCE2AnnData.R, .makeNumpyFriendly()
    zellkonverter = function(object, path) {
      counts <- transposed(SummarizedExperiment::assay(object, "counts"))
      python_anndata(reticulate::r_to_py(counts), colnames(object), rownames(object))
    },
    # sceasy R/functions.R, seurat2anndata(main_layer = "counts")
    sceasy = function(object, path) {
      counts <- Seurat::GetAssayData(object, assay = "RNA", layer = "counts")
      python_anndata(Matrix::t(counts), colnames(object), rownames(object))
    },
    # anndataR R/from_Seurat.R, then R/ReticulateAnnData.R: the counts become a layer
    anndataR = function(object, path) {
      cells <- to_py_matrix(LayerData(object, layer = "counts"))
      adata <- anndata$AnnData(obs = frame(colnames(object)), var = frame(rownames(object)))
      reticulate::py_set_item(adata$layers, "counts", reticulate::r_to_py(cells))
      adata
    }
  ),
  "AnnData to Seurat" = list(
    load = function(folder) anndata$read_h5ad(file.path(folder, "cells.h5ad")),
    celloquy = function(adata, path) celloquy::AnnDataToSeurat(adata, verbose = FALSE),
    zellkonverter = function(adata, path) zellkonverter_sce(adata),
    sceasy = function(adata, path) sceasy_seurat(adata),
    anndataR = function(adata, path) anndatar_seurat(reticulate::py_to_r(adata$X), names_of(adata))
  ),
  "Seurat to h5ad" = list(
    load = function(folder) readRDS(file.path(folder, "object.rds")),
    celloquy = function(object, path) celloquy::WriteH5AD(object, path, verbose = FALSE),
    # zellkonverter R/write.R, .H5ADwriter(): uncompressed
    zellkonverter = function(object, path) {
      routes[["Seurat to AnnData"]]$zellkonverter(object)$write_h5ad(path)
    },
    # sceasy R/functions.R: always gzip
    sceasy = function(object, path) {
      routes[["Seurat to AnnData"]]$sceasy(object)$write_h5ad(path, compression = "gzip")
    },
    anndataR = function(object, path) anndatar_write(object, path)
  ),
  "h5ad to Seurat" = list(
    load = function(folder) file.path(folder, "cells.h5ad"),
    celloquy = function(file, path) celloquy::ReadH5AD(file, verbose = FALSE),
    # zellkonverter R/read.R, .H5ADreader()
    zellkonverter = function(file, path) zellkonverter_sce(anndata$read_h5ad(file)),
    sceasy = function(file, path) sceasy_seurat(anndata$read_h5ad(file)),
    anndataR = function(file, path) anndatar_read(file)
  )
)

# What a conversion must not change: the number of non-zeros and their sum.
totals <- function(result, path) {
  if (file.exists(path)) {
    result <- anndata$read_h5ad(path)
  }
  if (inherits(result, "python.builtin.object")) {
    matrix <- result$X
    if (inherits(matrix, "python.builtin.NoneType")) matrix <- reticulate::py_get_item(result$layers, "counts")
    c(reticulate::py_to_r(matrix$nnz), reticulate::py_to_r(matrix$sum(dtype = "float64")))
  } else {
    matrix <- if (methods::is(result, "Seurat")) {
      LayerData(result, layer = Layers(result)[[1]])
    } else {
      SummarizedExperiment::assay(result)
    }
    c(length(matrix@x), sum(matrix@x))
  }
}

# The same cells for everyone, written once: uncompressed, so that loading is quick.
make_input <- function(folder) {
  for (size in c("small", "large")) {
    adata <- anndata$read_h5ad(file.path(folder, size, "cells.h5ad"))
    counts <- reticulate::py_to_r(adata$X$T)
    dimnames(counts) <- names_of(adata)
    saveRDS(quietly(CreateSeuratObject(counts)), file.path(folder, size, "object.rds"), compress = FALSE)
  }
}

memory <- function(field) {
  line <- grep(paste0("^", field, ":"), readLines("/proc/self/status"), value = TRUE)
  as.numeric(gsub("[^0-9]", "", line)) * 1024
}

collect <- function() {
  gc(full = TRUE)
  reticulate::import("gc")$collect()
}

measure <- function(route, tool, folder) {
  steps <- routes[[route]]
  load_input <- function(size) {
    input <- steps$load(file.path(folder, size))
    # Making a SingleCellExperiment of a Seurat object is not what is measured.
    if (tool == "zellkonverter" && methods::is(input, "Seurat")) as_sce(input) else input
  }
  path <- tempfile(tmpdir = folder, fileext = ".h5ad")
  quietly(steps[[tool]](load_input("small"), path))
  unlink(path)
  input <- load_input("large")
  collect()
  # The peak is counted from here.
  cat("5", file = "/proc/self/clear_refs")
  before <- memory("VmRSS")
  times <- list()
  for (number in 1:3) {
    result <- NULL
    unlink(path)
    collect()
    times[[number]] <- system.time(result <- quietly(steps[[tool]](input, path)), gcFirst = FALSE)
    if (number == 1) peak <- memory("VmHWM") - before
  }
  found <- totals(result, path)
  unlink(path)
  cat(jsonlite::toJSON(
    list(
      seconds = stats::median(vapply(times, `[[`, 0, "elapsed")),
      cpu = stats::median(vapply(times, function(time) time[["user.self"]] + time[["sys.self"]], 0)),
      peak = peak, nonzeros = found[[1]], sum = found[[2]]
    ),
    auto_unbox = TRUE, digits = NA
  ), "\n")
}

arguments <- commandArgs(trailingOnly = TRUE)
if (arguments[[1]] == "make") make_input(arguments[[2]]) else measure(arguments[[1]], arguments[[2]], arguments[[3]])
