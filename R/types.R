# Features that are no genes: an AnnData has antibodies, guides and peaks among its genes, and a type of each in var; a
# Seurat object has an assay for each type, so that none of them is ever read as a gene.

# Seurat's usual names for the assays of types. Other types name their assays themselves.
usual_assays <- c(
  "antibody capture" = "ADT", "protein" = "ADT", "protein expression" = "ADT", "antibody" = "ADT", "adt" = "ADT",
  "multiplexing capture" = "HTO", "hashtag" = "HTO", "hto" = "HTO",
  "crispr guide capture" = "GDO", "guide capture" = "GDO", "guide" = "GDO", "sgrna" = "GDO",
  "peaks" = "ATAC", "peak" = "ATAC", "chromatin accessibility" = "ATAC", "atac" = "ATAC"
)

# The layout of an AnnData that never was in R, with those of the assays that the types of its features become.
with_types <- function(layout, source) {
  types <- as.vector(reticulate::py_to_r(source$bridge$types_beside_genes(source$adata)))
  if (is.null(types)) {
    return(layout)
  }
  genes <- layout$names$genes
  besides <- unique(types[nzchar(types)])
  usual <- unname(usual_assays[tolower(besides)])
  called <- ifelse(is.na(usual), besides, usual)
  taken <- c(layout$assay, "raw", names(layout$reductions), names(layout$graphs))
  names <- utils::tail(make.unique(c(taken, unique(called))), length(unique(called)))
  of <- names[match(called, unique(called))][match(types, besides)]
  keys <- make.unique(vapply(c(layout$assay, names), function(name) sub("_$", "", seurat_key(name)), ""), sep = "")
  layout$apart <- Map(function(name, key) {
    part <- layout$main
    part$layers <- NULL
    part$slots$key <- paste0(key, "_")
    here <- if (name == layout$assay) is.na(of) else of %in% name
    c(part, list(features = genes[here], row.numbers = integer()))
  }, c(layout$assay, names), keys)
  layout$with_types <- names
  in_turn <- unlist(lapply(layout$apart, `[[`, "features"), use.names = FALSE)
  layout$feature.order <- if (!identical(in_turn, genes)) genes
  layout
}

# An assay of features of all types as one for each type. `types` are the layouts of these; without any the assay stays
# whole, and so it does where Python left no gene.
by_type <- function(assay, types, name, drop) {
  features <- rownames(assay)
  own <- setdiff(features, unlist(lapply(types[-1], `[[`, "features")))
  if (!length(types) || !length(own)) {
    return(stats::setNames(list(assay), name))
  }
  types[[1]]$features <- c(intersect(types[[1]]$features, own), setdiff(own, types[[1]]$features))
  columns <- unlist(lapply(types, `[[`, "columns"))
  parts <- lapply(types, function(type) {
    here <- intersect(type$features, features)
    if (length(here)) assay_of_features(assay, here, type, c(type$columns, setdiff(names(assay@meta.data), columns)))
  })
  for (lost in names(parts)[lengths(parts) == 0]) drop(paste("assay", lost), "none of its features is left")
  present(parts)
}

assay_of_features <- function(assay, features, layout, columns) {
  whole <- assay_layers(assay)
  layers <- lapply(stats::setNames(nm = names(whole)), function(name) {
    layer <- whole[[name]]
    names <- rownames(assay)[layer$features]
    here <- intersect(features, names)
    if (length(here)) {
      matrix <- layer$matrix[match(here, names), , drop = FALSE]
      was <- layout$kinds[[name]]
      if (!is.null(was)) matrix <- as_class(matrix, was)
      list(matrix = matrix, features = here, cells = colnames(assay)[layer$cells])
    }
  })
  rows <- match(features, rownames(assay))
  metadata <- lapply(unclass(assay@meta.data)[intersect(columns, names(assay@meta.data))], rows_of_column, rows)
  metadata <- data_frame(metadata, features)
  numbers <- layout$row.numbers
  if (!is.null(numbers)) {
    attr(metadata, "row.names") <- if (length(numbers) == length(rows)) numbers else .set_row_names(length(rows))
  }
  build_assay(layout, present(layers), features, colnames(assay), metadata)
}

# The assays of an object that were one in the AnnData that it came from, as one again, and the layouts by which it
# comes apart; NULL if they can't be joined so that they come apart as they are.
joined_types <- function(object, assay, origin) {
  assays <- object@assays[c(assay, intersect(origin$types, names(object@assays)))]
  if (length(assays) < 2) {
    return(NULL)
  }
  joined <- join_assays(assays, origin$feature.order)
  if (is.null(joined)) {
    return(NULL)
  }
  types <- lapply(assays, function(one) {
    kinds <- lapply(assay_layers(one), function(layer) layer_layout(layer, nrow(one), rownames(one)))
    about <- list(features = rownames(one), columns = names(one@meta.data), row.numbers = row_numbers(one@meta.data))
    c(assay_layout(one), about, list(kinds = kinds))
  })
  apart <- by_type(joined, types, assay, function(part, why) NULL)
  # Layers that Seurat made bare vectors are matrices then.
  whole <- Map(function(one, type) assay_of_features(one, rownames(one), type, type$columns), assays, types)
  if (identical(apart, whole)) list(assay = joined, types = types)
}

join_assays <- function(assays, order) {
  cells <- colnames(assays[[1]])
  features <- unlist(lapply(assays, rownames), use.names = FALSE)
  alike <- vapply(assays, function(one) identical(class(one)[[1]], "Assay5") && identical(colnames(one), cells), NA)
  if (!all(alike) || anyDuplicated(features)) {
    return(NULL)
  }
  of <- lapply(assays, assay_layers)
  names <- unique(unlist(lapply(of, names)))
  layers <- lapply(stats::setNames(nm = names), function(name) {
    pieces <- present(lapply(of, `[[`, name))
    matrices <- lapply(unname(pieces), function(piece) unnamed_matrix(piece$matrix))
    if (length(unique(lapply(matrices, class))) > 1) matrices <- lapply(matrices, sparse_in_memory)
    if (length(unique(lapply(unname(pieces), `[[`, "cells"))) == 1 && length(present(matrices)) == length(matrices)) {
      list(
        matrix = do.call(rbind, matrices),
        features = unlist(lapply(names(pieces), function(one) rownames(assays[[one]])[pieces[[one]]$features])),
        cells = cells[pieces[[1]]$cells]
      )
    }
  })
  tables <- lapply(assays, function(one) unclass(one@meta.data))
  columns <- unique(unlist(lapply(tables, names)))
  metadata <- lapply(stats::setNames(nm = columns), function(name) {
    join_columns(lapply(tables, `[[`, name), lengths(lapply(assays, rownames)))
  })
  if (length(present(layers)) < length(layers) || length(present(metadata)) < length(metadata)) {
    return(NULL)
  }
  ordered <- c(intersect(order, features), setdiff(features, order))
  metadata <- data_frame(lapply(metadata, rows_of_column, match(ordered, features)), ordered)
  attr(metadata, "row.names") <- .set_row_names(length(ordered))
  layout <- assay_layout(assays[[1]])
  layout[c("empty", "layer.order", "map.order")] <- NULL
  build_assay(layout, layers, ordered, cells, metadata)
}

sparse_in_memory <- function(matrix) if (!inherits(matrix, on_disk_classes)) as_columns(matrix)

# A column of several tables, one below the other, missing where a table lacks it; NULL for columns of odd classes.
join_columns <- function(pieces, lengths) {
  first <- present(pieces)[[1]]
  if (is.na(kind_of_column(first)) || !is.null(names(first)) || length(dim(first))) {
    return(NULL)
  }
  # What bit64 takes for missing is -0 to R.
  missing <- if (inherits(first, "integer64")) -0 else as.vector(NA, typeof(first))
  values <- unlist(Map(function(piece, length) {
    if (is.null(piece)) rep(missing, length) else as.vector(unclass(piece))
  }, pieces, lengths), use.names = FALSE)
  if (typeof(values) == typeof(first)) attributes(values) <- attributes(first)
  values
}
