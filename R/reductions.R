# Reductions, graphs and neighbours of a Seurat object in AnnData's obsm, varm and obsp.

reductions_to_python <- function(object, assay, report) {
  cells <- colnames(object)
  genes <- rownames(object[[assay]])
  out <- list(obsm = list(), varm = list(), cells = list(), memory = list())
  for (name in names(object@reductions)) {
    reduction <- object@reductions[[name]]
    came <- object@misc$anndata$reductions[[name]]
    key <- came$key %||% safe_key(paste0("X_", name), names(out$obsm))
    embeddings <- reduction@cell.embeddings
    rows <- match(rownames(embeddings), cells)
    slots <- c("assay.used", "global", "stdev", "jackstraw", "misc", "key")
    memory <- list(
      key = key, columns = colnames(embeddings), attributes = other_attributes(embeddings),
      slots = lapply(stats::setNames(nm = slots), function(slot) methods::slot(reduction, slot))
    )
    out$obsm[[key]] <- list(dense = unname(embeddings), rows = places(rows, length(cells)), dtype = came$dtype)
    if (!identical(rows, seq_along(cells))) {
      memory$cells <- TRUE
      out$cells[[key]] <- seq_along(cells) %in% rows
    }
    for (slot in c("feature.loadings", "feature.loadings.projected")) {
      loadings <- methods::slot(reduction, slot)
      stored <- loadings_to_python(loadings, slot, name, genes)
      memory[[slot]] <- stored$memory
      if (!is.null(stored$varm)) {
        stored$varm$dtype <- came[[slot]]$dtype
        out$varm[[came[[slot]]$key %||% stored$memory$key]] <- stored$varm
        memory[[slot]]$key <- came[[slot]]$key %||% stored$memory$key
      }
    }
    out$memory[[name]] <- memory
    kept(report, paste("reduction", name), paste0("obsm[\"", key, "\"]"))
  }
  out
}

# What a matrix carries besides its names, such as the centre that scale() took off.
other_attributes <- function(matrix) {
  kept <- attributes(matrix)
  kept[setdiff(names(kept), c("dim", "dimnames"))]
}

# Loadings are of some genes in an order of their own: in varm, NaN for other genes, and that order remembered. Those of
# genes that the assay does not have are remembered whole.
loadings_to_python <- function(loadings, slot, name, genes) {
  if (!length(loadings)) {
    return(list(memory = list(whole = loadings)))
  }
  rows <- match(rownames(loadings), genes)
  unfit <- is.null(rownames(loadings)) || anyNA(rows) || anyDuplicated(rows) || length(other_attributes(loadings))
  if (unfit) {
    return(list(memory = list(whole = loadings)))
  }
  key <- if (slot == "feature.loadings") {
    if (name == "pca") "PCs" else safe_key(name, character())
  } else {
    paste0(safe_key(name, character()), "_projected")
  }
  list(
    memory = list(
      key = key, columns = colnames(loadings), features = if (!identical(rows, seq_along(genes))) rownames(loadings)
    ),
    varm = list(dense = unname(loadings), rows = places(rows, length(genes)))
  )
}

reduction_from_memory <- function(memory, cells, genes, cells_of, fetch, drop) {
  of <- if (isTRUE(memory$cells)) which(cells_of[[memory$key]] %in% TRUE) else seq_along(cells)
  embeddings <- fetch("obsm", memory$key, if (isTRUE(memory$cells)) of)
  if (is.null(embeddings)) {
    drop(memory$key, "it is no longer in obsm")
    return(NULL)
  }
  columns <- memory$columns
  if (length(columns) != ncol(embeddings)) columns <- paste0(memory$slots$key, seq_len(ncol(embeddings)))
  dimnames(embeddings) <- list(cells[of], columns)
  attributes(embeddings) <- c(attributes(embeddings), memory$attributes)
  loadings <- lapply(stats::setNames(nm = c("feature.loadings", "feature.loadings.projected")), function(slot) {
    loadings_from_memory(memory[[slot]], genes, fetch)
  })
  slots <- c(list(cell.embeddings = embeddings), loadings, memory$slots)
  fill(blank("DimReduc"), slots)
}

loadings_from_memory <- function(memory, genes, fetch) {
  if (!is.null(memory$whole)) {
    return(memory$whole)
  }
  features <- if (is.null(memory$features)) genes else intersect(memory$features, genes)
  loadings <- fetch("varm", memory$key, if (!is.null(memory$features)) match(features, genes))
  if (is.null(loadings)) {
    return(matrix(numeric(), 0, 0))
  }
  dimnames(loadings) <- list(features, if (length(memory$columns) == ncol(loadings)) memory$columns)
  loadings
}

graphs_to_python <- function(object, report) {
  cells <- colnames(object)
  out <- list(obsp = list(), memory = list(), neighbors = list())
  for (name in names(object@graphs)) {
    graph <- object@graphs[[name]]
    came <- object@misc$anndata$obsp_types[[name]]
    if (!identical(rownames(graph), cells) || !identical(colnames(graph), cells)) {
      out$memory[[name]] <- list(whole = graph)
      kept(report, paste("graph", name), "uns[\"seurat\"], as it is not of all cells")
      next
    }
    class <- class(graph)
    key <- came$key %||% safe_key(name, names(out$obsp))
    out$memory[[name]] <- list(
      key = key, class = as.character(class), package = attr(class, "package"),
      assay.used = if (methods::.hasSlot(graph, "assay.used")) graph@assay.used
    )
    matrix <- methods::as(graph, "dgCMatrix")
    out$obsp[[key]] <- list(matrix = unnamed_matrix(matrix), dtype = came$dtype)
    kept(report, paste("graph", name), paste0("obsp[\"", key, "\"]"))
  }
  for (name in names(object@neighbors)) {
    neighbor <- object@neighbors[[name]]
    stored <- neighbor_to_python(neighbor, name, cells)
    if (!is.null(neighbor@alg.idx)) {
      dropped(report, paste0("index of neighbors ", name), "it lives in memory only; FindNeighbors() makes it anew")
    }
    out$obsp <- c(out$obsp, stored$obsp)
    out$neighbors[[name]] <- stored$memory
    place <- if (length(stored$obsp)) paste0("obsp[\"", names(stored$obsp)[[1]], "\"]") else "uns[\"seurat\"]"
    kept(report, paste("neighbors", name), place)
  }
  out
}

# The k nearest of every cell: distances in obsp, and beside them the ranks, which ties in distance would lose.
neighbor_to_python <- function(neighbor, name, cells) {
  index <- neighbor@nn.idx
  n <- length(cells)
  rows <- rep(seq_len(nrow(index)), ncol(index))
  unfit <- !identical(neighbor@cell.names, cells) || anyNA(index) || !length(index) || any(index < 1 | index > n) ||
    anyDuplicated(cbind(rows, as.vector(index))) || nrow(index) != n
  if (unfit) {
    neighbor@alg.idx <- NULL
    return(list(memory = list(whole = neighbor)))
  }
  square <- function(values) {
    Matrix::sparseMatrix(i = rows, j = as.vector(index), x = as.vector(values), dims = c(n, n), repr = "C")
  }
  distances <- square(neighbor@nn.dist)
  ranks <- square(rep(seq_len(ncol(index)), each = n))
  keys <- paste0(safe_key(name, character()), c("", "_ranks"))
  list(
    obsp = stats::setNames(list(list(matrix = distances), list(matrix = ranks)), keys),
    memory = list(
      keys = keys, neighbors = ncol(index), alg.info = neighbor@alg.info, integer = is.integer(index),
      dimnames = list(dimnames(index), dimnames(neighbor@nn.dist))
    )
  )
}

neighbor_from_memory <- function(memory, cells, fetch, drop) {
  if (!is.null(memory$whole)) {
    return(memory$whole)
  }
  found <- lapply(memory$keys, function(key) fetch("obsp", key))
  n <- length(cells)
  whole <- function(matrix) !is.null(matrix) && length(matrix@x) == n * memory$neighbors
  complete <- all(vapply(found, whole, NA))
  if (!complete) {
    drop(memory$keys[[1]], "cells were taken out, so that not all have their neighbours")
    return(NULL)
  }
  by_rank <- function(of) {
    pairs <- methods::as(found[[2]], "TsparseMatrix")
    order <- order(pairs@x, pairs@i)
    matrix(of(pairs)[order], n)
  }
  index <- by_rank(function(pairs) pairs@j + 1)
  if (memory$integer) storage.mode(index) <- "integer"
  distance <- methods::as(found[[1]], "TsparseMatrix")
  distance <- by_rank(function(pairs) distance@x)
  dimnames(index) <- memory$dimnames[[1]]
  dimnames(distance) <- memory$dimnames[[2]]
  fill(blank("Neighbor"), list(
    nn.idx = index, nn.dist = distance, alg.idx = NULL, alg.info = memory$alg.info, cell.names = cells
  ))
}
