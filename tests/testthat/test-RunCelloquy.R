test_that("pbmc_small gets cell for cell what Python gives", {
  skip_without_python()
  object <- RunCelloquy(SeuratObject::pbmc_small, small_model(), verbose = FALSE)
  counts <- SeuratObject::LayerData(object, layer = "counts")
  expect_s4_class(object[["RNA"]], "Assay")
  expected <- embed_in_python(counts, small_model())
  embedding <- SeuratObject::Embeddings(object, "celloquy")
  expect_identical(max(abs(embedding - expected)), 0)
  expect_identical(rownames(embedding), colnames(object))
  expect_identical(colnames(embedding)[1:2], c("CELLOQUY_1", "CELLOQUY_2"))
  expect_identical(SeuratObject::DefaultAssay(object[["celloquy"]]), "RNA")
  expect_identical(SeuratObject::Key(object[["celloquy"]]), c(celloquy = "CELLOQUY_"), ignore_attr = TRUE)
})

test_that("the demo's cells in an Assay5 get cell for cell what Python gives", {
  skip_without_python()
  demo <- demo_cells()
  object <- suppressWarnings(SeuratObject::CreateSeuratObject(demo$counts))
  expect_s4_class(object[["RNA"]], "Assay5")
  object <- RunCelloquy(object, demo$model, verbose = FALSE)
  expected <- embed_in_python(demo$counts, demo$model)
  expect_identical(max(abs(SeuratObject::Embeddings(object, "celloquy") - expected)), 0)
})

test_that("split layers are joined for the embedding and stay split in the object", {
  skip_without_python()
  object <- small_object()
  whole <- RunCelloquy(object, small_model(), verbose = FALSE)
  object[["RNA"]] <- split(object[["RNA"]], f = object$half)
  parts <- RunCelloquy(object, small_model(), verbose = FALSE)
  expect_identical(
    SeuratObject::Embeddings(parts, "celloquy"), SeuratObject::Embeddings(whole, "celloquy")[colnames(parts), ]
  )
  expect_identical(SeuratObject::Layers(parts), c("counts.first", "counts.second"))
})

test_that("layers of other genes each count as unmeasured zeros where they are missing", {
  skip_without_python()
  counts <- SeuratObject::LayerData(SeuratObject::pbmc_small, layer = "counts")
  assay <- SeuratObject::CreateAssay5Object(list(a = counts[1:150, 1:40], b = counts[100:230, 41:80]))
  padded <- counts
  padded[151:230, 1:40] <- 0
  padded[1:99, 41:80] <- 0
  reduction <- RunCelloquy(assay, small_model(), assay = "RNA", verbose = FALSE)
  expect_s4_class(reduction, "DimReduc")
  expect_equal(
    SeuratObject::Embeddings(reduction), RunCelloquy(padded, small_model(), verbose = FALSE),
    ignore_attr = TRUE, tolerance = 1e-5
  )
})

test_that("matrices of every kind and SingleCellExperiments give the same numbers", {
  skip_without_python()
  counts <- SeuratObject::LayerData(SeuratObject::pbmc_small, layer = "counts")
  expected <- RunCelloquy(counts, small_model(), verbose = FALSE)
  attr(expected, "celloquy") <- NULL
  expect_identical(dim(expected), c(80L, 32L))
  for (other in list(as.matrix(counts), methods::as(counts, "TsparseMatrix"), methods::as(counts, "RsparseMatrix"))) {
    embedding <- RunCelloquy(other, small_model(), verbose = FALSE)
    expect_identical(embedding[], expected[], ignore_attr = TRUE)
  }
  skip_if_not_installed("SingleCellExperiment")
  sce <- SingleCellExperiment::SingleCellExperiment(list(counts = counts))
  sce <- RunCelloquy(sce, small_model(), verbose = FALSE)
  sce <- RunCelloquy(sce, small_model(), reduction.name = "again", verbose = FALSE)
  expect_identical(SingleCellExperiment::reducedDimNames(sce), c("CELLOQUY", "again"))
  expect_identical(SingleCellExperiment::reducedDim(sce, "CELLOQUY"), expected, ignore_attr = TRUE)
  expect_identical(SingleCellExperiment::reducedDim(sce, "again"), expected, ignore_attr = TRUE)
})

test_that("a SingleCellExperiment without names, or with names that are not unique, gets its results in silence", {
  skip_without_python()
  skip_if_not_installed("SingleCellExperiment")
  counts <- SeuratObject::LayerData(SeuratObject::pbmc_small, layer = "counts")
  expected <- RunCelloquy(counts, small_model(), verbose = FALSE)
  for (names in list(NULL, rep("AAACCC-1", 80))) {
    colnames(counts) <- names
    sce <- SingleCellExperiment::SingleCellExperiment(list(counts = counts))
    expect_silent(embedded <- RunCelloquy(sce, small_model(), verbose = FALSE))
    expect_identical(SingleCellExperiment::reducedDim(embedded), expected, ignore_attr = TRUE)
    expect_silent(denoised <- DenoiseExpression(sce, rownames(sce)[1:3], epochs = 1, verbose = FALSE))
    expect_identical(colnames(SingleCellExperiment::altExp(denoised, "denoised")), names)
  }
})

test_that("names and keys of results that can't be used are refused before anything is computed", {
  object <- SeuratObject::pbmc_small
  for (name in list("", NA, 1, character(), c("a", "b"))) {
    expect_error(RunCelloquy(object, reduction.name = name), "must be a name", class = "celloquy_ArgumentError")
    for (verb in list(AnnotateCells, DenoiseExpression, ImputeGenes)) {
      expect_error(verb(object, new.assay.name = name), "must be a name", class = "celloquy_ArgumentError")
    }
  }
  for (layer in list("", character(), NA, 1)) {
    expect_error(RunCelloquy(object, layer = layer), "`layer` must be a name", class = "celloquy_ArgumentError")
  }
  for (assay in list(character(), c("RNA", "RNA"), NA_character_, 3)) {
    expect_error(RunCelloquy(object, assay = assay), "There is no assay", class = "celloquy_ArgumentError")
  }
  for (key in list("", "a", "a b_", 1, NA, "1_")) {
    expect_error(RunCelloquy(object, reduction.key = key), "must be a key", class = "celloquy_ArgumentError")
  }
})

test_that("one cell of an assay is embedded as that cell of a matrix", {
  skip_without_python()
  counts <- SeuratObject::LayerData(SeuratObject::pbmc_small, layer = "counts")[, 1, drop = FALSE]
  expected <- RunCelloquy(counts, small_model(), verbose = FALSE)
  # SeuratObject makes no Assay5 of one cell.
  found <- suppressWarnings(RunCelloquy(SeuratObject::CreateAssayObject(counts), small_model(), verbose = FALSE))
  expect_equal(SeuratObject::Embeddings(found), expected, ignore_attr = TRUE)
})

test_that("models and columns of any type are refused by what they are", {
  skip_without_python()
  object <- SeuratObject::pbmc_small
  for (value in list(mean, list(1), 1i, TRUE)) {
    expect_error(RunCelloquy(object, value, verbose = FALSE), class = "celloquy_ArgumentError")
    expect_error(RunCelloquy(object, small_model(), tissue.by = value), class = "celloquy_ArgumentError")
  }
})

test_that("tissue.by tells which cells are read together, whatever the type of the column", {
  skip_without_python()
  object <- small_object()
  counts <- SeuratObject::LayerData(object, layer = "counts")
  expected <- embed_in_python(counts, small_model(), tissue = object$half)
  object$number <- ifelse(object$half == "first", 1, 2)
  object$levels <- factor(object$half, levels = c("unused", "second", "first"))
  for (column in c("half", "number", "levels")) {
    embedded <- RunCelloquy(object, small_model(), tissue.by = column, verbose = FALSE)
    expect_identical(max(abs(SeuratObject::Embeddings(embedded, "celloquy") - expected)), 0)
  }
  together <- SeuratObject::Embeddings(RunCelloquy(object, small_model(), verbose = FALSE), "celloquy")
  expect_gt(max(abs(together - expected)), 0)
})

test_that("positions of a field of view reach the model", {
  skip_without_python()
  object <- small_object()
  counts <- SeuratObject::LayerData(object, layer = "counts")
  positions <- withr::with_seed(1, matrix(round(stats::runif(160), 3), 80))
  centroids <- data.frame(x = positions[, 1], y = positions[, 2], cell = colnames(object))
  object[["fov"]] <- SeuratObject::CreateFOV(centroids, type = "centroids", assay = "RNA")
  embedding <- SeuratObject::Embeddings(RunCelloquy(object, small_model(), spatial = TRUE, verbose = FALSE), "celloquy")
  expected <- embed_in_python(counts, small_model(), positions = positions)
  expect_identical(max(abs(embedding - expected)), 0)
})

test_that("what a model does not read is refused", {
  skip_without_python()
  object <- small_object()
  object[["fov"]] <- SeuratObject::CreateFOV(
    data.frame(x = 1:80, y = 80:1, cell = colnames(object)), type = "centroids", assay = "RNA"
  )
  expect_error(
    RunCelloquy(object, tissue.by = "half", verbose = FALSE), "`tissue.by` has no use.*pass another `model.object`",
    class = "celloquy_ArgumentError"
  )
  expect_error(
    RunCelloquy(object, spatial = TRUE, verbose = FALSE), "`spatial` has no use.*Leave `spatial` out",
    class = "celloquy_ArgumentError"
  )
})

test_that("cells of different images are different tissues", {
  skip_without_python()
  object <- small_object()
  for (half in c("first", "second")) {
    cells <- colnames(object)[object$half == half]
    centroids <- data.frame(x = seq_along(cells), y = rev(seq_along(cells)), cell = cells)
    object[[half]] <- SeuratObject::CreateFOV(centroids, type = "centroids", assay = "RNA", key = paste0(half, "_"))
  }
  by_image <- RunCelloquy(object, small_model(), spatial = TRUE, verbose = FALSE)
  by_column <- RunCelloquy(object, small_model(), spatial = TRUE, tissue.by = "half", verbose = FALSE)
  expect_identical(SeuratObject::Embeddings(by_image, "celloquy"), SeuratObject::Embeddings(by_column, "celloquy"))
})

test_that("the order of cells is kept and does not matter", {
  skip_without_python()
  object <- small_object()
  order <- withr::with_seed(2, sample(colnames(object)))
  straight <- RunCelloquy(object, small_model(), verbose = FALSE)
  counts <- SeuratObject::LayerData(object, layer = "counts")[, order]
  shuffled <- RunCelloquy(counts, small_model(), verbose = FALSE)
  expect_identical(rownames(shuffled), order)
  expect_equal(shuffled, SeuratObject::Embeddings(straight, "celloquy")[order, ], ignore_attr = TRUE, tolerance = 1e-5)
})

test_that("a model is trained from scratch on request, kept where asked, and repeats with its seed", {
  skip_without_python()
  object <- small_object()
  model <- withr::local_tempdir()
  expect_message(
    first <- RunCelloquy(object, "scratch", epochs = 1, model.dir = file.path(model, "one")),
    "Training a small model on these 80 cells"
  )
  again <- RunCelloquy(object, "scratch", epochs = 1, verbose = FALSE)
  loaded <- RunCelloquy(object, file.path(model, "one"), verbose = FALSE)
  other <- RunCelloquy(object, "scratch", epochs = 1, seed.use = 7, verbose = FALSE)
  embedding <- SeuratObject::Embeddings(first, "celloquy")
  drawn <- withr::with_seed(5, RunCelloquy(object, "scratch", epochs = 1, seed.use = NULL, verbose = FALSE))
  expect_gt(max(abs(SeuratObject::Embeddings(drawn, "celloquy") - embedding)), 0)
  expect_identical(SeuratObject::Embeddings(again, "celloquy"), embedding)
  expect_identical(SeuratObject::Embeddings(loaded, "celloquy"), embedding)
  expect_gt(max(abs(SeuratObject::Embeddings(other, "celloquy") - embedding)), 0)
})

test_that("the time of training is said before it starts", {
  skip_without_python()
  said <- function(...) {
    numbers <- lapply(list(...), function(number) if (!is.null(number)) as.integer(number))
    in_minutes(reticulate::py_to_r(do.call(python_bridge(torch = TRUE)$expected_seconds, numbers)))
  }
  expect_identical(said(700, 765, NULL, 2), "1 minute")
  expect_identical(said(2638, 13714, NULL, 2), "1 minute")
  expect_identical(said(1e6, 3e4, NULL, 4), "40 minutes")
  expect_identical(said(80, 230, 1, 2), "1 minute")
})

test_that("a model held in Python serves too, and never enters the object", {
  skip_without_python()
  model <- reticulate::import("celloquy")$Model$from_pretrained(small_model())
  object <- small_object()
  from_python <- RunCelloquy(object, model, verbose = FALSE)
  from_disk <- RunCelloquy(object, small_model(), verbose = FALSE)
  expect_identical(
    SeuratObject::Embeddings(from_python, "celloquy"), SeuratObject::Embeddings(from_disk, "celloquy")
  )
  file <- withr::local_tempfile()
  saveRDS(from_python, file)
  stored <- rawToChar(memDecompress(readBin(file, "raw", file.size(file)), "gzip", asChar = FALSE)[-1], multiple = TRUE)
  expect_false(any(grepl("python.builtin", stored, fixed = TRUE, useBytes = TRUE)))
})

test_that("the name of a model on the hub stands for it, and what was fetched serves without a network", {
  skip_without_python()
  testthat::skip_if_not(reticulate::py_module_available("huggingface_hub"), "huggingface_hub")
  hub <- reticulate::import("huggingface_hub.constants")
  before <- list(HF_HUB_OFFLINE = hub$HF_HUB_OFFLINE, HF_HUB_CACHE = hub$HF_HUB_CACHE)
  withr::defer(for (name in names(before)) reticulate::py_set_attr(hub, name, before[[name]]))
  # The cache as huggingface_hub leaves it.
  cache <- withr::local_tempdir()
  commit <- strrep("0123456789", 4)
  snapshot <- file.path(cache, "models--lab--kidney", "snapshots", commit)
  dir.create(snapshot, recursive = TRUE)
  file.copy(list.files(small_model(), full.names = TRUE), snapshot)
  dir.create(file.path(cache, "models--lab--kidney", "refs"))
  cat(commit, file = file.path(cache, "models--lab--kidney", "refs", "main"))
  reticulate::py_set_attr(hub, "HF_HUB_OFFLINE", TRUE)
  reticulate::py_set_attr(hub, "HF_HUB_CACHE", cache)
  object <- small_object()
  expect_identical(
    SeuratObject::Embeddings(RunCelloquy(object, model.object = "lab/kidney", verbose = FALSE), "celloquy"),
    SeuratObject::Embeddings(RunCelloquy(object, model.object = small_model(), verbose = FALSE), "celloquy")
  )
  condition <- expect_error(
    RunCelloquy(object, model.object = "lab/liver", verbose = FALSE), "\"lab/liver\" can't be fetched.*no copy of it",
    class = "celloquy_CheckpointError"
  )
  expect_identical(condition$argument, "model.object")
})

test_that("the call is logged and the reduction says how it was made, in plain data", {
  skip_without_python()
  object <- RunCelloquy(small_object(), small_model(), tissue.by = "half", verbose = FALSE)
  expect_identical(SeuratObject::Command(object), "RunCelloquy.RNA")
  expect_identical(SeuratObject::Command(object, "RunCelloquy.RNA", "tissue.by"), "half")
  made <- SeuratObject::Misc(object[["celloquy"]], "celloquy")
  expect_match(made$version, "^[0-9.]+$")
  expect_identical(made$task, "embed")
  expect_true(all(rapply(made, is.atomic)))
  expect_identical(unserialize(serialize(made, NULL)), made)
})

test_that("neighbours, clusters, UMAP and plots take the reduction, also in the object saved and reloaded", {
  skip_without_python()
  skip_if_not_installed("Seurat")
  demo <- demo_cells()
  object <- RunCelloquy(suppressWarnings(SeuratObject::CreateSeuratObject(demo$counts)), demo$model, verbose = FALSE)
  file <- withr::local_tempfile(fileext = ".rds")
  saveRDS(object, file)
  steps <- c(
    "suppressWarnings(suppressPackageStartupMessages(library(Seurat)))",
    "object <- FindNeighbors(object, reduction = 'celloquy', dims = 1:32, verbose = FALSE)",
    "object <- FindClusters(object, verbose = FALSE)",
    "object <- suppressWarnings(RunUMAP(object, reduction = 'celloquy', dims = 1:32, verbose = FALSE))",
    "plot <- DimPlot(object, reduction = 'umap')",
    "stopifnot(inherits(plot, 'ggplot'), nlevels(object$seurat_clusters) > 1)",
    "grDevices::pdf(NULL); print(plot); print(DimPlot(object, reduction = 'celloquy'))",
    "clusters <- as.integer(object$seurat_clusters)"
  )
  here <- new.env()
  here$object <- object
  suppressMessages(eval(parse(text = steps), here))
  reloaded <- run_r(c(
    sprintf("object <- readRDS(%s)", deparse(file)), steps,
    sprintf("saveRDS(clusters, %s)", deparse(paste0(file, ".clusters")))
  ))
  expect_identical(reloaded$status, 0L, info = paste(reloaded$err, collapse = "\n"))
  expect_identical(readRDS(paste0(file, ".clusters")), here$clusters)
})

test_that("the model in the box embeds where none is given, and learns from the cells unless told not to", {
  skip_without_python()
  object <- small_object()
  expect_message(embedded <- RunCelloquy(object), "model in the box, \"cells-mini\"")
  adapted <- SeuratObject::Embeddings(embedded, "celloquy")
  named <- RunCelloquy(object, "cells-mini", verbose = FALSE)
  expect_identical(SeuratObject::Embeddings(named, "celloquy"), adapted)
  as_known <- SeuratObject::Embeddings(RunCelloquy(object, adapt = FALSE, verbose = FALSE), "celloquy")
  expect_identical(ncol(as_known), 100L)
  expect_false(identical(dim(as_known), dim(adapted)))
  expect_error(RunCelloquy(object, epochs = 2), "scratch", class = "celloquy_ArgumentError")
  expect_error(RunCelloquy(object, "scratch", adapt = TRUE), "adapt", class = "celloquy_ArgumentError")
})

test_that("verbose = FALSE says nothing, verbose = TRUE shows progress", {
  skip_without_python()
  call <- "invisible(RunCelloquy(SeuratObject::pbmc_small, %s, verbose = %s))"
  quiet <- run_r(sprintf(call, deparse(small_model()), "FALSE"))
  expect_identical(c(quiet$out, quiet$err), character())
  loud <- run_r(sprintf(call, deparse(small_model()), "TRUE"))
  expect_match(paste(loud$err, collapse = "\n"), "Embedding")
})

test_that("an interrupt returns to R with the object as it was", {
  skip_without_python()
  skip_on_os("windows")
  for (verbose in c("FALSE", "TRUE")) {
    model <- withr::local_tempdir()
    result <- run_r(c(
      "object <- before <- SeuratObject::pbmc_small",
      sprintf("model <- %s", deparse(model)),
      # Ctrl-C, as soon as an epoch is over.
      "wait <- sprintf('until [ -e %s/history.csv ]; do sleep 0.1; done; kill -INT %d', model, Sys.getpid())",
      "system(paste('timeout 120 sh -c', shQuote(wait)), wait = FALSE)",
      "caught <- tryCatch({",
      sprintf("  object <- RunCelloquy(object, 'scratch', epochs = 100000, model.dir = model, verbose = %s)", verbose),
      "  'finished'",
      "}, interrupt = function(condition) 'interrupted')",
      "stopifnot(identical(object, before))",
      "again <- RunCelloquy(object, 'scratch', epochs = 1, verbose = FALSE)",
      "cat(caught, SeuratObject::Reductions(again), '\\n')"
    ))
    expect_match(result$out, "interrupted .*celloquy", info = paste(result$err, collapse = "\n"))
  }
})

test_that("an embedding free of batches is the one of the layers, and serves new cells", {
  skip_without_python()
  object <- small_object()
  model <- withr::local_tempfile()
  embedded <- RunCelloquy(object, batch.by = "half", epochs = 2, seed.use = 3, model.dir = model, verbose = FALSE)
  split <- object
  split[["RNA"]] <- split(split[["RNA"]], f = split$half)
  layers <- CelloquyIntegration(split[["RNA"]], epochs = 2, seed.use = 3, verbose = FALSE)$celloquy
  expected <- SeuratObject::Embeddings(layers)[colnames(object), ]
  expect_equal(SeuratObject::Embeddings(embedded, "celloquy"), expected, tolerance = 1e-6)
  made <- SeuratObject::Misc(embedded[["celloquy"]], "celloquy")
  expect_identical(made$task, "integrate")
  expect_identical(made$history$epoch, 1:2)
  again <- RunCelloquy(object, model.object = model, verbose = FALSE)
  expect_equal(SeuratObject::Embeddings(again, "celloquy"), SeuratObject::Embeddings(embedded, "celloquy"))
  expect_error(RunCelloquy(object, batch.by = "no"), "no column \"no\"", class = "celloquy_ArgumentError")
  object$half[1] <- NA
  expect_error(RunCelloquy(object, batch.by = "half", verbose = FALSE), "half|batch", class = "celloquy_ArgumentError")
})
