# The five-minute tour with an installed celloquy, on cells that come with scanpy: Rscript scripts/smoke.R.
suppressPackageStartupMessages(library(Seurat))
library(celloquy)

cq <- reticulate::import("celloquy")
adata <- cq$recover_counts(reticulate::import("scanpy")$datasets$pbmc68k_reduced())
counts <- adata$T$layers[["counts"]]
dimnames(counts) <- list(adata$var_names$to_list(), adata$obs_names$to_list())
object <- CreateSeuratObject(counts = counts)
object$type <- as.character(adata$obs$bulk_labels)

object <- RunCelloquy(object, verbose = FALSE)
object <- FindNeighbors(object, reduction = "celloquy", dims = 1:20, verbose = FALSE)
object <- FindClusters(object, verbose = FALSE)
object <- suppressWarnings(RunUMAP(object, reduction = "celloquy", dims = 1:20, verbose = FALSE))
stopifnot(dim(Embeddings(object, "umap")) == c(700, 2), !anyNA(Embeddings(object, "celloquy")))

object <- AnnotateCells(object, verbose = FALSE)
named <- head(sort(table(object$predicted.id), decreasing = TRUE), 4)
first <- seq(1, 700, 2)
query <- suppressWarnings(AnnotateCells(
  object[, -first],
  reference = object[, first], label.by = "type", model.object = "cells-mini", verbose = FALSE
))
right <- mean(query$predicted.id == query$type)
stopifnot(right > 0.75)

shifts <- PerturbGenes(object[, 1:200], c("SPI1", "LYZ"), n.random = 10, verbose = FALSE)
stopifnot(identical(as.character(shifts$gene), c("SPI1", "LYZ")))
cat(sprintf(
  "R %s: the tour, %.2f right by a reference, named %s\n", packageVersion("celloquy"), right,
  toString(sprintf("%s %d", names(named), named))
))
