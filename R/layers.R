# Layers of an assay as matrices of AnnData: which belong together, where each goes, what must be remembered of it.

# What an assay holds, whatever its version: layers with values, and the places of their cells and features. Matrices
# are as they lie in the assay.
assay_layers <- function(assay) {
  if (!methods::is(assay, "StdAssay")) {
    # A v3 assay has all three slots, some of them without values.
    slots <- list(counts = assay@counts, data = assay@data, scale.data = assay@scale.data)
    return(lapply(slots[!vapply(slots, is_placeholder, NA)], function(slot) {
      list(
        matrix = slot, features = match(rownames(slot), rownames(assay)), cells = match(colnames(slot), colnames(assay))
      )
    }))
  }
  sparse <- any(vapply(assay@layers, is_sparse, NA))
  layers <- lapply(stats::setNames(nm = names(assay@layers)), function(name) {
    layer <- list(
      matrix = assay@layers[[name]],
      features = which(assay@features@.Data[, name]), cells = which(assay@cells@.Data[, name])
    )
    size <- lengths(layer[c("features", "cells")])
    if (!has_values(layer$matrix, size)) {
      return(NULL)
    }
    if (is.null(dim(layer$matrix))) {
      # Seurat selects one cell or one feature of a layer as a bare vector.
      layer$matrix <- matrix(layer$matrix, size[[1]], size[[2]])
      if (sparse && !startsWith(name, "scale.data")) layer$matrix <- methods::as(layer$matrix, "CsparseMatrix")
    }
    layer
  })
  present(layers)
}

# Layers without values, to be remembered as they are.
empty_layers <- function(assay) {
  if (!methods::is(assay, "StdAssay")) {
    slots <- list(counts = assay@counts, data = assay@data, scale.data = assay@scale.data)
    return(slots[vapply(slots, is_placeholder, NA)])
  }
  names <- setdiff(names(assay@layers), names(assay_layers(assay)))
  lapply(stats::setNames(nm = names), function(name) {
    list(
      matrix = assay@layers[[name]], features = rownames(assay)[assay@features@.Data[, name]],
      cells = colnames(assay)[assay@cells@.Data[, name]]
    )
  })
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
    # Scaled values are dense and of some genes, which differ from part to part.
    joins <- whole != "scale.data" || all(vapply(layers[parts], function(layer) is_sparse(layer$matrix), NA))
    if (length(parts) > 1 && !whole %in% names(layers) && !anyDuplicated(cells) && joins) {
      base[names(layers) %in% parts] <- whole
    }
  }
  split(names(layers), factor(base, unique(base)))
}

on_disk_classes <- c("IterableMatrix", "DelayedMatrix")

is_sparse <- function(matrix) methods::is(matrix, "sparseMatrix")

# Any matrix in memory as a dgCMatrix or a base matrix of numbers.
plain_matrix <- function(matrix, name, call = rlang::caller_env()) {
  if (inherits(matrix, on_disk_classes)) {
    cli::cli_abort(c(
      "Layer {.val {name}} is on disk and can't be converted in memory.",
      x = "It is a {.cls {class(matrix)[[1]]}}.",
      i = "Use {.fn WriteH5AD}, which writes it block by block, or load it with {.code as(x, \"dgCMatrix\")}."
    ), class = "celloquy_ArgumentError", call = call)
  }
  if (methods::is(matrix, "dgCMatrix") || is.matrix(matrix)) {
    return(matrix)
  }
  if (is_sparse(matrix)) as_columns(matrix) else as.matrix(matrix)
}

as_columns <- function(matrix) {
  if (methods::is(matrix, "dgCMatrix")) {
    return(matrix)
  }
  methods::as(methods::as(methods::as(matrix, "dMatrix"), "generalMatrix"), "CsparseMatrix")
}

# Layers as parts of an AnnData, and what R needs to fetch them again. `first` names the one that becomes X; `features`
# are the names of all features, `cells` is the number of all cells; `reserved` keys are those of other parts.
layers_to_python <- function(layers, features, cells, first, remembered = list(), on_disk = FALSE,
                             reserved = character(), call = rlang::caller_env()) {
  groups <- layer_groups(layers)
  genes <- length(features)
  out <- list(X = NULL, layers = list(), obsm = list(), layout = list(), cells = list(), blocks = list())
  for (whole in names(groups)) {
    parts <- layers[groups[[whole]]]
    taken <- c("X", names(out$layers), names(out$obsm), reserved)
    key <- remembered[[whole]]$key %||% (if (whole == first) "X" else safe_keys(whole, taken))
    layout <- list(key = key, parts = lapply(parts, layer_layout, genes, features))
    if (on_disk && any(vapply(parts, function(part) inherits(part$matrix, on_disk_classes), NA))) {
      out$blocks[[key]] <- parts
      crossing <- NULL
    } else {
      crossing <- layer_to_python(parts, genes, cells, aligned = key == "X", call)
      crossing$dtype <- remembered[[whole]]$dtype
      crossing$format <- remembered[[whole]]$format
    }
    if (isTRUE(crossing$unaligned)) {
      # Dense values of some genes: cells by those genes, because padding with NaN would take as much as all genes.
      layout$place <- "obsm"
      # Python may select genes, but not these columns.
      for (name in names(parts)) layout$parts[[name]]$features <- features[parts[[name]]$features]
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
    without <- cells - length(unique(unlist(lapply(parts, `[[`, "cells"))))
    layout$without <- if (without && layout$place != "obsm") without
    out$layout[[whole]] <- layout
  }
  out
}

layer_layout <- function(layer, genes, features) {
  list(
    class = class(layer$matrix)[[1]], type = if (is.matrix(layer$matrix)) typeof(layer$matrix),
    # By name, because genes may be selected or sorted in Python.
    features = if (!identical(as.integer(layer$features), seq_len(genes))) features[layer$features]
  )
}

# Parts of a layer are joined as sparse matrices; so is what must be `aligned` with all genes and cells and is of some.
layer_to_python <- function(parts, genes, cells, aligned, call) {
  matrices <- Map(function(part, name) plain_matrix(part$matrix, name, call), parts, names(parts))
  whole <- function(part) setequal(part$features, seq_len(genes)) && setequal(part$cells, seq_len(cells))
  if (is_sparse(matrices[[1]]) || length(parts) > 1 || (aligned && !whole(parts[[1]]))) {
    matrices <- lapply(matrices, as_columns)
    pieces <- Map(function(part, matrix) {
      list(matrix = matrix, cells = places(part$cells, cells), genes = places(part$features, genes))
    }, parts, matrices)
    return(list(pieces = unname(lapply(pieces, in_order))))
  }
  part <- parts[[1]]
  matrix <- matrices[[1]]
  if (whole(part)) {
    ordered <- is.null(places(part$features, genes)) && is.null(places(part$cells, cells))
    if (!ordered) matrix <- matrix[order(part$features), order(part$cells), drop = FALSE]
    return(list(dense = matrix))
  }
  list(unaligned = TRUE, dense = matrix, transposed = TRUE, rows = places(part$cells, cells))
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
        matrix = as_class(matrix, part), features = names_here, cells = if (is.null(of)) cells else cells[of]
      )
    }
  }
  layers
}

# A matrix in the class that a part of a layer had.
as_class <- function(matrix, part) {
  if (identical(part$class, "matrix") && is_sparse(matrix)) {
    matrix <- as.matrix(matrix)
    storage.mode(matrix) <- part$type %||% "double"
  }
  if (class(matrix)[[1]] == part$class || !is_sparse(matrix)) {
    return(matrix)
  }
  to <- switch(part$class,
    dgTMatrix = "TsparseMatrix",
    dgRMatrix = "RsparseMatrix",
    lgCMatrix = "lMatrix",
    ngCMatrix = "nMatrix",
    return(matrix)
  )
  methods::as(matrix, to)
}
