# Reductions, graphs and neighbours of a Seurat object in AnnData's obsm, varm and obsp.

reductions_to_python <- function(object, genes, report) {
  cells <- rownames(object@meta.data)
  out <- list(obsm = list(), varm = list(), cells = list(), layout = list())
  for (name in names(object@reductions)) {
    reduction <- object@reductions[[name]]
    origin <- SeuratObject::Misc(object, "anndata")$reductions[[name]]
    key <- origin$key %||% safe_keys(paste0("X_", name), c(names(out$obsm), "spatial", "seurat"))
    embeddings <- SeuratObject::Embeddings(reduction)
    rows <- match(rownames(embeddings), cells)
    if (all(is.na(rows))) {
      dropped(report, paste("reduction", name), "it has none of these cells")
      next
    }
    if (anyNA(rows)) {
      embeddings <- embeddings[!is.na(rows), , drop = FALSE]
      rows <- rows[!is.na(rows)]
    }
    slots <- c("assay.used", "global", "stdev", "jackstraw", "misc", "key")
    layout <- list(
      key = key, columns = colnames(embeddings), attributes = other_attributes(embeddings),
      slots = lapply(stats::setNames(nm = slots), function(slot) methods::slot(reduction, slot))
    )
    out$obsm[[key]] <- list(dense = unname(embeddings), rows = places(rows, length(cells)), dtype = origin$dtype)
    if (!identical(rows, seq_along(cells))) {
      layout$cells <- TRUE
      out$cells[[key]] <- seq_along(cells) %in% rows
    }
    for (slot in c("feature.loadings", "feature.loadings.projected")) {
      loadings <- methods::slot(reduction, slot)
      stored <- loadings_to_python(loadings, slot, name, genes, names(out$varm))
      layout[[slot]] <- stored$layout
      if (!is.null(stored$varm)) {
        stored$varm$dtype <- origin[[slot]]$dtype
        out$varm[[origin[[slot]]$key %||% stored$layout$key]] <- stored$varm
        layout[[slot]]$key <- origin[[slot]]$key %||% stored$layout$key
      }
    }
    out$layout[[name]] <- layout
    kept(report, paste("reduction", name), paste0("obsm[\"", key, "\"]"))
  }
  out
}

# The attributes of a matrix other than its names, such as the centre that scale() took off.
other_attributes <- function(matrix) {
  kept <- attributes(matrix)
  kept[setdiff(names(kept), c("dim", "dimnames"))]
}

# Loadings cover some genes, in an order of their own: they go to varm, with NaN for other genes, and the order is
# remembered. Loadings of genes that the assay lacks are remembered whole.
loadings_to_python <- function(loadings, slot, name, genes, taken) {
  if (!length(loadings)) {
    return(list(layout = list(whole = loadings)))
  }
  rows <- match(rownames(loadings), genes)
  unfit <- is.null(rownames(loadings)) || anyNA(rows) || anyDuplicated(rows) || length(other_attributes(loadings))
  if (unfit) {
    return(list(layout = list(whole = loadings)))
  }
  wanted <- if (slot == "feature.loadings.projected") paste0(name, "_projected") else if (name == "pca") "PCs" else name
  key <- safe_keys(wanted, taken)
  list(
    layout = list(
      key = key, columns = colnames(loadings), features = if (!identical(rows, seq_along(genes))) rownames(loadings)
    ),
    varm = list(dense = unname(loadings), rows = places(rows, length(genes)))
  )
}

reduction_from_layout <- function(layout, cells, genes, cells_of, fetch, drop) {
  of <- if (isTRUE(layout$cells)) which(cells_of[[layout$key]] %in% TRUE) else seq_along(cells)
  embeddings <- fetch("obsm", layout$key, if (isTRUE(layout$cells)) of)
  if (is.null(embeddings)) {
    drop(layout$key, "it is no longer in obsm")
    return(NULL)
  }
  columns <- layout$columns
  if (length(columns) != ncol(embeddings)) columns <- paste0(layout$slots$key, seq_len(ncol(embeddings)))
  dimnames(embeddings) <- list(cells[of], columns)
  attributes(embeddings) <- c(attributes(embeddings), layout$attributes)
  loadings <- lapply(stats::setNames(nm = c("feature.loadings", "feature.loadings.projected")), function(slot) {
    loadings_from_layout(layout[[slot]], genes, fetch)
  })
  slots <- c(list(cell.embeddings = embeddings), loadings, layout$slots)
  fill(blank("DimReduc"), slots)
}

loadings_from_layout <- function(layout, genes, fetch) {
  if (!is.null(layout$whole)) {
    return(layout$whole)
  }
  features <- if (is.null(layout$features)) genes else intersect(layout$features, genes)
  loadings <- fetch("varm", layout$key, if (!is.null(layout$features)) match(features, genes))
  if (is.null(loadings)) {
    return(matrix(numeric(), 0, 0))
  }
  dimnames(loadings) <- list(features, if (length(layout$columns) == ncol(loadings)) layout$columns)
  loadings
}

graphs_to_python <- function(object, report) {
  cells <- rownames(object@meta.data)
  out <- list(obsp = list(), layout = list(), neighbors = list())
  for (name in names(object@graphs)) {
    graph <- object@graphs[[name]]
    origin <- SeuratObject::Misc(object, "anndata")$obsp_types[[name]]
    if (!all(cells %in% rownames(graph)) || !all(cells %in% colnames(graph))) {
      some <- graph_of_cells(graph, name, cells, function(part, why) dropped(report, part, why))
      if (!is.null(some)) {
        out$layout[[name]] <- list(whole = some)
        kept(report, paste("graph", name), "uns[\"seurat\"], as it is not of all cells")
      }
      next
    }
    class <- class(graph)
    key <- origin$key %||% safe_keys(name, names(out$obsp))
    out$layout[[name]] <- list(
      key = key, class = as.character(class), package = attr(class, "package"),
      assay.used = if (methods::.hasSlot(graph, "assay.used")) SeuratObject::DefaultAssay(graph)
    )
    matrix <- methods::as(graph, "dgCMatrix")
    ordered <- identical(rownames(graph), cells) && identical(colnames(graph), cells)
    if (!ordered) matrix <- matrix[cells, cells, drop = FALSE]
    out$obsp[[key]] <- list(matrix = unnamed_matrix(matrix), dtype = origin$dtype)
    kept(report, paste("graph", name), paste0("obsp[\"", key, "\"]"))
  }
  for (name in names(object@neighbors)) {
    neighbor <- object@neighbors[[name]]
    if (!all(neighbor@cell.names %in% cells)) {
      dropped(report, paste("neighbors", name), "not all of its cells are among these")
      next
    }
    stored <- neighbor_to_python(neighbor, name, cells, names(out$obsp))
    if (!is.null(neighbor@alg.idx)) {
      dropped(report, paste0("index of neighbors ", name), "it lives in memory only; FindNeighbors() makes it anew")
    }
    out$obsp <- c(out$obsp, stored$obsp)
    out$neighbors[[name]] <- stored$layout
    place <- if (length(stored$obsp)) paste0("obsp[\"", names(stored$obsp)[[1]], "\"]") else "uns[\"seurat\"]"
    kept(report, paste("neighbors", name), place)
  }
  out
}

# The k nearest of every cell: distances in obsp, and beside them the ranks, which ties in distance would lose.
neighbor_to_python <- function(neighbor, name, cells, taken) {
  index <- neighbor@nn.idx
  n <- length(cells)
  rows <- rep(seq_len(nrow(index)), ncol(index))
  unfit <- !identical(neighbor@cell.names, cells) || anyNA(index) || !length(index) || any(index < 1 | index > n) ||
    anyDuplicated(cbind(rows, as.vector(index))) || nrow(index) != n
  if (unfit) {
    neighbor@alg.idx <- NULL
    return(list(layout = list(whole = neighbor)))
  }
  square <- function(values) {
    Matrix::sparseMatrix(i = rows, j = as.vector(index), x = as.vector(values), dims = c(n, n), repr = "C")
  }
  distances <- square(neighbor@nn.dist)
  ranks <- square(rep(seq_len(ncol(index)), each = n))
  keys <- safe_keys(paste0(name, c("", "_ranks")), taken)
  list(
    obsp = stats::setNames(list(list(matrix = distances), list(matrix = ranks)), keys),
    layout = list(
      keys = keys, neighbors = ncol(index), alg.info = neighbor@alg.info, integer = is.integer(index),
      dimnames = list(dimnames(index), dimnames(neighbor@nn.dist))
    )
  )
}

neighbor_from_layout <- function(layout, name, cells, fetch, drop) {
  if (!is.null(layout$whole)) {
    if (all(layout$whole@cell.names %in% cells)) {
      return(layout$whole)
    }
    drop(paste("neighbors", name), "cells were taken out, so that not all have their neighbours")
    return(NULL)
  }
  found <- lapply(layout$keys, function(key) fetch("obsp", key))
  n <- length(cells)
  whole <- function(matrix) !is.null(matrix) && length(matrix@x) == n * layout$neighbors
  complete <- all(vapply(found, whole, NA))
  if (!complete) {
    drop(paste("neighbors", name), "cells were taken out, so that not all have their neighbours")
    return(NULL)
  }
  by_rank <- function(of) {
    pairs <- methods::as(found[[2]], "TsparseMatrix")
    order <- order(pairs@x, pairs@i)
    matrix(of(pairs)[order], n)
  }
  index <- by_rank(function(pairs) pairs@j + 1)
  if (layout$integer) storage.mode(index) <- "integer"
  distance <- methods::as(found[[1]], "TsparseMatrix")
  distance <- by_rank(function(pairs) distance@x)
  dimnames(index) <- layout$dimnames[[1]]
  dimnames(distance) <- layout$dimnames[[2]]
  fill(blank("Neighbor"), list(
    nn.idx = index, nn.dist = distance, alg.idx = NULL, alg.info = layout$alg.info, cell.names = cells
  ))
}
