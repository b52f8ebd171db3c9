# Layers of an assay as matrices of AnnData: which belong together, where each goes, what must be remembered of it.

# What an assay holds, whatever its version: layers with the places of their cells and features, and all the rest.
# Matrices are as they lie in the assay; `features` and `cells` are the names of all.
assay_layers <- function(assay) {
  if (methods::is(assay, "StdAssay")) {
    lapply(stats::setNames(nm = names(assay@layers)), function(name) {
      list(
        matrix = assay@layers[[name]],
        features = which(assay@features@.Data[, name]),
        cells = which(assay@cells@.Data[, name])
      )
    })
  } else {
    slots <- list(counts = assay@counts, data = assay@data, scale.data = assay@scale.data)
    # A v3 assay has all three slots, some of them empty.
    slots <- slots[vapply(slots, function(slot) !any(dim(slot) == 0), NA)]
    lapply(slots, function(slot) {
      list(
        matrix = slot,
        features = match(rownames(slot), rownames(assay)),
        cells = match(colnames(slot), colnames(assay))
      )
    })
  }
}

# Layers that are parts of one, `counts.1` and `counts.2` with no cell in common, under the name of the whole.
layer_groups <- function(layers) {
  if (!length(layers)) {
    return(list())
  }
  base <- names(layers)
  for (whole in c("counts", "data", "scale.data")) {
    parts <- names(layers)[startsWith(names(layers), paste0(whole, "."))]
    cells <- unlist(lapply(layers[parts], `[[`, "cells"), use.names = FALSE)
    sparse <- vapply(layers[parts], function(layer) is_sparse(layer$matrix), NA)
    if (length(parts) > 1 && !whole %in% names(layers) && !anyDuplicated(cells) && all(sparse)) {
      base[names(layers) %in% parts] <- whole
    }
  }
  split(names(layers), factor(base, unique(base)))
}

is_sparse <- function(matrix) methods::is(matrix, "sparseMatrix")

# Any matrix in memory as a dgCMatrix or a base matrix of numbers.
plain_matrix <- function(matrix, name, call = rlang::caller_env()) {
  if (inherits(matrix, c("IterableMatrix", "DelayedMatrix"))) {
    cli::cli_abort(c(
      "Layer {.val {name}} is on disk and can't be converted in memory.",
      x = "It is a {.cls {class(matrix)[[1]]}}.",
      i = "Use {.fn WriteH5AD}, which writes it block by block, or load it with {.code as(x, \"dgCMatrix\")}."
    ), class = "celloquy_ArgumentError", call = call)
  }
  if (methods::is(matrix, "dgCMatrix") || is.matrix(matrix)) {
    return(matrix)
  }
  if (is_sparse(matrix)) {
    return(methods::as(methods::as(methods::as(matrix, "dMatrix"), "generalMatrix"), "CsparseMatrix"))
  }
  as.matrix(matrix)
}

# Layers as parts of an AnnData, and what R needs to fetch them again. `first` names the one that becomes X; `features`
# are the names of all features, `cells` is the number of all cells.
layers_to_python <- function(layers, features, cells, first, remembered = list(), on_disk = FALSE,
                             call = rlang::caller_env()) {
  groups <- layer_groups(layers)
  genes <- length(features)
  out <- list(X = NULL, layers = list(), obsm = list(), layout = list(), cells = list(), blocks = list())
  for (whole in names(groups)) {
    parts <- layers[groups[[whole]]]
    key <- remembered[[whole]]$key %||% (if (whole == first) "X" else safe_key(whole, c("X", names(out$layers))))
    layout <- list(key = key, parts = lapply(parts, layer_layout, genes = genes, cells = cells, features))
    if (on_disk && any(vapply(parts, function(part) inherits(part$matrix, c("IterableMatrix", "DelayedMatrix")), NA))) {
      out$blocks[[key]] <- parts
      crossing <- NULL
    } else {
      crossing <- layer_to_python(parts, genes, cells, call)
      crossing$dtype <- remembered[[whole]]$dtype
      crossing$format <- remembered[[whole]]$format
    }
    if (isTRUE(crossing$unaligned)) {
      # Dense values of some genes: cells by those genes, because padding with NaN would take as much as all genes.
      layout$place <- "obsm"
      out$obsm[[key]] <- crossing[c("dense", "transposed", "rows")]
    } else if (key == "X") {
      layout$place <- "X"
      out$X <- crossing
    } else {
      layout$place <- "layers"
      out$layers[[key]] <- crossing
    }
    if (any(vapply(parts, function(part) length(part$cells) < cells, NA))) {
      # The part that a cell is in travels with the cell, so that it survives a selection.
      layout$cells <- TRUE
      of <- rep(NA_integer_, cells)
      for (i in seq_along(parts)) of[parts[[i]]$cells] <- i
      out$cells[[key]] <- factor(of, seq_along(parts), names(parts))
    }
    out$layout[[whole]] <- layout
  }
  out
}

# A key that is not taken and that a file can hold: in HDF5 a slash separates folders.
safe_key <- function(name, taken) {
  utils::tail(make.unique(c(taken, gsub("/", "|", name, fixed = TRUE)), sep = "_"), 1)
}

layer_layout <- function(layer, genes, cells, features) {
  list(
    class = class(layer$matrix)[[1]],
    # By name, because genes may be selected or sorted in Python.
    features = if (!identical(as.integer(layer$features), seq_len(genes))) features[layer$features]
  )
}

layer_to_python <- function(parts, genes, cells, call) {
  matrices <- Map(function(part, name) plain_matrix(part$matrix, name, call), parts, names(parts))
  if (is_sparse(matrices[[1]])) {
    pieces <- Map(function(part, matrix) {
      list(matrix = matrix, cells = places(part$cells, cells), genes = places(part$features, genes))
    }, parts, matrices)
    return(list(pieces = unname(lapply(pieces, in_order))))
  }
  part <- parts[[1]]
  every_gene <- is.null(places(part$features, genes))
  every_cell <- is.null(places(part$cells, cells))
  if (every_gene && every_cell) {
    return(list(dense = matrices[[1]]))
  }
  list(unaligned = TRUE, dense = matrices[[1]], transposed = TRUE, rows = places(part$cells, cells))
}

# Genes of a piece must be in rising order, as they are in all but hand-made v3 assays.
in_order <- function(piece) {
  if (is.unsorted(piece$genes)) {
    order <- order(piece$genes)
    piece$matrix <- piece$matrix[order, , drop = FALSE]
    piece$genes <- piece$genes[order]
  }
  piece
}

# The layers of an assay, fetched from an AnnData by what was remembered. `fetch(place, key, rows, columns)` gives a
# matrix of features × cells.
layers_from_python <- function(layout, features, cells, cells_of, fetch, drop) {
  layers <- list()
  for (whole in names(layout)) {
    group <- layout[[whole]]
    for (name in names(group$parts)) {
      part <- group$parts[[name]]
      of <- if (isTRUE(group$cells)) which(cells_of[[group$key]] %in% name) else NULL
      none_left <- length(part$features) && !any(part$features %in% features) || (!is.null(of) && !length(of))
      if (none_left) {
        drop(paste("layer", name), "none of its cells or features is left")
        next
      }
      if (identical(group$place, "obsm")) {
        here <- which(part$features %in% features)
        names_here <- part$features[here]
        matrix <- fetch("obsm", group$key, of, if (length(here) < length(part$features)) here, flip = TRUE)
      } else {
        names_here <- if (is.null(part$features)) features else intersect(part$features, features)
        matrix <- fetch(group$place, group$key, of, if (!is.null(part$features)) match(names_here, features))
      }
      if (is.null(matrix)) {
        drop(paste("layer", name), "it is no longer in the AnnData")
        next
      }
      layers[[name]] <- list(
        matrix = as_class(matrix, part$class), features = names_here, cells = if (is.null(of)) cells else cells[of]
      )
    }
  }
  layers
}

# A matrix in the class it had.
as_class <- function(matrix, class) {
  if (class(matrix)[[1]] == class || !is_sparse(matrix)) {
    return(matrix)
  }
  to <- switch(class,
    dgTMatrix = "TsparseMatrix",
    dgRMatrix = "RsparseMatrix",
    lgCMatrix = "lMatrix",
    ngCMatrix = "nMatrix",
    return(matrix)
  )
  methods::as(matrix, to)
}
