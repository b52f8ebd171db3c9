# A Seurat object or a SingleCellExperiment that once was an AnnData: what it remembers of that one returns.

# The types of parts, kind by kind, for `uns["seurat"]`: those that parts had in the AnnData that the object came from
# (`origin`, as the object remembers it), and the names of the parts that R made, which have none. `parts` are the parts
# that the object has now.
remembered_types <- function(origin, parts) {
  if (is.null(origin)) {
    return(NULL)
  }
  lapply(stats::setNames(nm = names(parts)), function(part) {
    list(had = origin[[part]], of_r = setdiff(names(parts[[part]]), names(origin[[part]])))
  })
}

# The parts of an AnnData, with those that the object remembers. `raw` holds the layer, features and var that were the
# AnnData's raw, if the object still has them.
with_remembered <- function(parts, origin, cells, genes, raw) {
  for (place in c("obsm", "varm", "obsp", "varp", "layers")) {
    rows <- if (place %in% c("varm", "varp")) genes else cells
    columns <- if (place %in% c("varp", "layers")) genes else cells
    for (key in names(origin[[place]])) {
      one <- origin[[place]][[key]]
      value <- rows_of(one$value, one$rows, rows)
      if (!is.null(one$columns)) value <- columns_of(value, one$columns, columns)
      if (!is.null(value)) parts[[place]][[key]] <- value_to_python(value)
    }
  }
  uns <- lapply(origin$uns, value_to_python)
  parts$uns <- c(parts$uns, uns[setdiff(names(uns[!vapply(uns, is.null, NA)]), names(parts$uns))])
  if (!is.null(raw)) {
    was <- stats::setNames(list(c(list(key = "X"), origin$raw[c("dtype", "format")])), origin$raw$layer)
    layers <- layers_to_python(raw$layers, raw$features, length(cells), origin$raw$layer, was)
    var <- frame_to_python(raw$var, original(raw$features, origin$raw$genes %||% origin$genes), "", origin$raw$var)
    parts$raw <- list(X = layers$X, var = var)
  }
  parts
}

raw_of_seurat <- function(object, raw) {
  if (is.null(raw) || !raw$assay %in% names(object@assays)) {
    return(NULL)
  }
  assay <- object@assays[[raw$assay]]
  layer <- assay_layers(assay)[raw$layer]
  if (is.null(raw$frame) || is.null(layer[[1]])) {
    return(list(layers = layer, features = rownames(assay), var = assay@meta.data))
  }
  # The genes and their metadata in the order that they had in raw.
  features <- intersect(rownames(raw$frame), rownames(assay)[layer[[1]]$features])
  rows <- match(features, rownames(assay)[layer[[1]]$features])
  if (is.unsorted(rows) || length(rows) < length(layer[[1]]$features)) {
    layer[[1]]$matrix <- layer[[1]]$matrix[rows, , drop = FALSE]
  }
  layer[[1]]$features <- seq_along(features)
  list(layers = layer, features = features, var = raw$frame[match(features, rownames(raw$frame)), , drop = FALSE])
}

# The layout of the layer that came from raw, which is given back there and not to layers, unless it was changed since.
layers_of_raw <- function(layers, object, assay, origin) {
  shared <- origin$raw$shared
  if (is.null(shared) || !shared %in% names(layers) || !origin$raw$assay %in% names(object@assays)) {
    return(list())
  }
  if (origin$raw$assay != assay) {
    whole <- assay_layers(object@assays[[origin$raw$assay]])[[origin$raw$layer]]
    genes <- original(rownames(object@assays[[assay]]), origin$genes)
    rows <- match(genes, original(rownames(object@assays[[origin$raw$assay]]), origin$raw$genes))
    same <- !is.null(whole) && !anyNA(rows) &&
      identical(whole$matrix[rows, , drop = FALSE], layers[[shared]]$matrix)
    if (!same) {
      return(list())
    }
  }
  part <- stats::setNames(list(list(class = "as it is")), shared)
  stats::setNames(list(list(key = "raw", place = "raw of genes", parts = part)), shared)
}

# Columns of metadata that Seurat made of an AnnData, and that are still as it makes them.
unchanged_columns <- function(object, origin, assays) {
  if (is.null(origin$made)) {
    return(character())
  }
  made <- columns_of_seurat(object@assays[assays], rownames(object@meta.data), SeuratObject::Project(object))
  present <- intersect(intersect(names(made), origin$made), names(object@meta.data))
  same <- vapply(present, function(name) identical(unname(object@meta.data[[name]]), made[[name]]), NA)
  present[same]
}

# The rows of a value for these names; NULL if some are new.
rows_of <- function(value, had, want) {
  if (identical(had, want)) {
    return(value)
  }
  if (!all(want %in% had)) {
    return(NULL)
  }
  part_of(value, function(x) x[match(want, had), , drop = FALSE], match(want, had), 1)
}

columns_of <- function(value, had, want) {
  if (is.null(value) || identical(had, want)) {
    return(value)
  }
  if (!all(want %in% had)) {
    return(NULL)
  }
  part_of(value, function(x) x[, match(want, had), drop = FALSE], match(want, had), 2)
}

part_of <- function(value, select, which, dimension) {
  was <- attr(value, "python", exact = TRUE)
  if (identical(was$python, "sparse")) {
    value[[1]] <- select(value[[1]])
    return(value)
  }
  if (is.data.frame(value)) {
    was$index <- was$index[which]
    return(structure(select(value), python = was))
  }
  if (length(dim(value)) == 2) {
    was$shape[[dimension]] <- length(which)
    return(structure(select(value), python = was))
  }
  NULL
}
