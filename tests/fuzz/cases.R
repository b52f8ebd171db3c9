# Calls on random objects of R. Each returns how it ended, or stops with what was wrong.

model_of <- function(name) file.path(reticulate::py_str(python_module("trained")$all_of_them()), name)

# The plain result: the same counts as a matrix with the Ensembl ids of its genes.
plain_embedding <- function(s) {
  genes <- unlist(reticulate::py_to_r(python_module("specimens")$SYMBOLS))
  known <- unlist(reticulate::py_to_r(python_module("specimens")$ids_of_symbols()))
  counts <- s$counts
  ids <- known[match(rownames(counts), genes)]
  counts <- counts[!is.na(ids), , drop = FALSE]
  dimnames(counts) <- list(ids[!is.na(ids)], s$cells)
  suppressWarnings(RunCelloquy(counts, model.object = model_of("model"), device = "cpu", verbose = FALSE))
}

check_embedding <- function(s, found) {
  if (!identical(nrow(found), length(s$cells)) || anyNA(found)) wrong("an embedding of ", nrow(found), " cells")
  if (s$end != "result") {
    return(invisible())
  }
  expected <- plain_embedding(s)
  if (!identical(dim(found), dim(expected))) wrong("an embedding of ", ncol(found), " dimensions")
  if (max(abs(unname(found) - unname(as.matrix(expected)))) > 1e-3) wrong("it is not the embedding of the plain counts")
}

embed_seurat <- function(folder) {
  s <- dressed()
  object <- as_seurat(s)
  if (s$form == "data") s <- worse(s, "refusal")
  result <- watched(function() {
    RunCelloquy(object, model.object = model_of("model"), device = "cpu", verbose = FALSE)
  }, list(object), folder)
  check_end(s, result)
  if (!ended(result)) check_embedding(s, SeuratObject::Embeddings(result, "celloquy"))
  how(result)
}

embed_sce <- function(folder) {
  s <- dressed()
  object <- as_sce(s)
  result <- watched(function() {
    RunCelloquy(object, model.object = model_of("model"), device = "cpu", verbose = FALSE)
  }, list(object), folder)
  check_end(s, result)
  if (!ended(result)) check_embedding(s, SingleCellExperiment::reducedDim(result, "CELLOQUY"))
  how(result)
}

verbs <- function(folder) {
  s <- dressed()
  object <- if (maybe(0.7)) as_seurat(s) else as_sce(s)
  if (methods::is(object, "Seurat") && s$form == "data") s <- worse(s, "refusal")
  verb <- one_of(list(
    function() AnnotateCells(object, model.object = model_of("annotator"), device = "cpu", verbose = FALSE),
    function() {
      features <- rownames(object)[seq_len(min(3, nrow(object)))]
      DenoiseExpression(object, features, model.object = model_of("denoiser"), device = "cpu", verbose = FALSE)
    },
    function() ImputeGenes(object, model.object = model_of("imputer"), device = "cpu", verbose = FALSE),
    function() RunCelloquy(object, model.object = model_of("integrator"), device = "cpu", verbose = FALSE)
  ))
  result <- watched(verb, list(object), folder)
  # Some of the tasks need genes that a specimen may lack.
  if (s$end != "result" || ended(result)) s <- worse(s, if (s$end == "result") "result" else "either")
  check_end(s, result)
  if (!ended(result) && !methods::validObject(result, test = TRUE)) wrong("the result is not a valid object")
  how(result)
}

# There and back, in memory or through a file: identical, or what differs is in the report.
convert_seurat <- function(folder) {
  s <- dressed()
  object <- if (maybe(0.4)) no_object(random_object(sample.int(1e6, 1))) else as_seurat(s)
  file <- if (maybe(0.4)) file.path(folder, "object.h5ad")
  result <- watched_conversion(object, file, folder, function() {
    if (is.null(file)) {
      adata <- SeuratToAnnData(object, verbose = FALSE)
      list(AnnDataToSeurat(adata, verbose = FALSE), attr(adata, "report"))
    } else {
      written <- WriteH5AD(object, file, verbose = FALSE)
      list(ReadH5AD(file, verbose = FALSE), attr(written, "report") %||% written)
    }
  })
  if (!ended(result)) check_back(result[[1]], object, result[[2]])
  how(result)
}

convert_sce <- function(folder) {
  object <- as_sce(dressed())
  file <- if (maybe(0.4)) file.path(folder, "object.h5ad")
  result <- watched_conversion(object, file, folder, function() {
    if (is.null(file)) {
      adata <- SCEToAnnData(object, verbose = FALSE)
      list(AnnDataToSCE(adata, verbose = FALSE), attr(adata, "report"))
    } else {
      written <- WriteH5AD(object, file, verbose = FALSE)
      list(ReadH5AD(file, as = "SingleCellExperiment", verbose = FALSE), attr(written, "report") %||% written)
    }
  })
  if (!ended(result)) check_back(result[[1]], object, result[[2]])
  how(result)
}

watched_conversion <- function(object, file, folder, call) {
  watched(function() {
    result <- call()
    if (!is.null(file)) unlink(file)
    result
  }, list(object), folder)
}

check_back <- function(back, object, report) {
  reports <- list(report, attr(back, "report"))
  if (methods::is(back, "SingleCellExperiment")) {
    reports[[2]] <- S4Vectors::metadata(back)$report
    S4Vectors::metadata(back)$report <- NULL
  } else {
    attr(back, "report") <- NULL
  }
  told <- any(vapply(reports, function(one) any(one$action %in% c("dropped", "renamed", "changed", "rounded")), NA))
  if (!identical(back, object) && !told) {
    wrong("it came back another, and no report says so: ", toString(utils::head(all.equal(back, object), 3)))
  }
  if (!methods::validObject(back, test = TRUE)) wrong("what came back is not valid")
}

# Antibodies and the like are in assays, or alternative experiments, of their own.
features_in_all <- function(object) {
  if (methods::is(object, "Seurat")) {
    return(sum(vapply(object@assays[setdiff(names(object@assays), "raw")], nrow, 1)))
  }
  others <- setdiff(SingleCellExperiment::altExpNames(object), "raw")
  nrow(object) + sum(vapply(others, function(name) nrow(SingleCellExperiment::altExp(object, name)), 1L))
}

# AnnData of Python, with its own oddities.
convert_anndata <- function(folder) {
  adata <- no_object(python_module("specimens")$dressed(sample.int(1e6, 1L))$build())
  digests <- function() reticulate::py_to_r(python_module("judge")$parts(adata))
  before <- digests()
  make <- if (maybe()) AnnDataToSeurat else AnnDataToSCE
  result <- watched(function() make(adata, verbose = FALSE), folder = folder)
  if (!identical(before, digests())) wrong("the AnnData was changed")
  if (!ended(result)) {
    shape <- rev(unlist(reticulate::py_to_r(adata$shape)))
    size <- c(features_in_all(result), ncol(result))
    if (!identical(as.integer(size), as.integer(shape))) wrong("an object of ", toString(size))
    if (!methods::validObject(result, test = TRUE)) wrong("the result is not a valid object")
  }
  how(result)
}

damaged_h5ad <- function(folder) {
  file <- file.path(folder, "cells.h5ad")
  files <- python_module("damage")
  seed <- sample.int(1e6, 1L)
  no_object({
    files$written(python_module("specimens")$bare(seed), reticulate::import("pathlib", convert = FALSE)$Path(file))
    numpy <- reticulate::import("numpy", convert = FALSE)
    files$damage(reticulate::import("pathlib", convert = FALSE)$Path(file), numpy$random$default_rng(seed))
  })
  as <- one_of(c("Seurat", "SingleCellExperiment"))
  result <- watched(function() ReadH5AD(file, as = as, verbose = FALSE), folder = folder)
  how(result)
}

odd_arguments <- function(folder) {
  s <- specimen()
  object <- as_seurat(s)
  values <- list(
    NULL, NA, TRUE, -1, 0, 2.5, "x", "", character(), c("a", "b"), list(1), 1i, mean, 1e20, factor("a"), Inf
  )
  value <- one_of(values)
  arguments <- c(
    "model.object", "assay", "layer", "tissue.by", "spatial", "batch.by", "species", "batch.size", "max.memory",
    "precision", "device", "reduction.name", "reduction.key", "seed.use", "epochs", "training", "config"
  )
  name <- one_of(arguments)
  given <- list(object, model.object = model_of("model"), device = "cpu", verbose = FALSE)
  given[name] <- list(value)
  if (name == "model.object" && is.null(value)) given$epochs <- 1
  called <- sprintf("RunCelloquy(%s = %s): ", name, rlang::expr_deparse(value)[[1]])
  tryCatch(
    how(watched(function() do.call(RunCelloquy, given), list(object), folder)),
    wrong = function(condition) wrong(called, conditionMessage(condition))
  )
}

all_cases <- list(
  embed_seurat = embed_seurat, embed_sce = embed_sce, verbs = verbs, convert_seurat = convert_seurat,
  convert_sce = convert_sce, convert_anndata = convert_anndata, damaged_h5ad = damaged_h5ad,
  odd_arguments = odd_arguments
)
weights <- c(
  embed_seurat = 3, embed_sce = 2, verbs = 3, convert_seurat = 5, convert_sce = 4, convert_anndata = 4,
  damaged_h5ad = 1, odd_arguments = 3
)
