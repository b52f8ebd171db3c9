#' @rdname SeuratToAnnData
#'
#' @param adata A Python AnnData, or what `SeuratToAnnData(assays = "separate")` returned.
#' @param feature.column Column of `var` that names the features, such as `"feature_name"`, which has the symbols in
#'   files of CELLxGENE. By default features have the names that they have in `adata`.
#' @return `AnnDataToSeurat()`: a Seurat object. What of the AnnData has no place in it is in `Misc(object, "anndata")`,
#'   for the way back. The attribute `"report"` tells what became of every part.
#' @details
#' An AnnData that did not come from Seurat becomes an object with one assay, `assay`: `X` is its layer `counts` if it
#' holds whole numbers, else `data`. `raw` becomes an assay `"raw"`; if it holds counts and `X` does not, these are the
#' layer `counts` of `assay`, too. `obsm` becomes reductions (`obsm["spatial"]` images, one for each slide), `obsp`
#' graphs. `orig.ident` and the numbers of counts and features are made as Seurat makes them, and identities are the
#' clusters of Leiden or Louvain, if there are any. Features that `var["feature_types"]` says are no genes become assays
#' of their own, such as `"ADT"` for antibodies, `"HTO"` for hashtags, `"GDO"` for guides and `"ATAC"` for peaks, and
#' return among the genes, unless their cells or layers no longer fit those. Seurat allows neither underscores nor
#' repetition in the names of features: the names that AnnData had are kept and return.
#' @export
AnnDataToSeurat <- function(adata, assay = "RNA", feature.column = NULL, verbose = TRUE) {
  if (is.list(adata) && !inherits(adata, "python.builtin.object") && length(adata)) {
    return(seurat_of_several(adata, feature.column, verbose))
  }
  seurat_of_one(adata, assay, feature.column, verbose)$object
}

seurat_of_one <- function(adata, assay, feature.column, verbose, call = rlang::caller_env()) {
  check_anndata(adata, call)
  report <- new_report("AnnData", "Seurat")
  source <- open_anndata(adata, call)
  check_not_empty(source, call)
  layout <- if (is.null(source$plain)) foreign_layout(source, assay) else with_added(from_plain(source$plain), source)
  layout$feature.column <- check_feature_column(feature.column, layout, !is.null(source$plain), call)
  # An object that came from an AnnData before takes the names of that one.
  if (isTRUE(layout$foreign)) layout$names <- foreign_names(source, layout$feature.column, report, call)
  if (is.null(source$plain)) layout <- with_types(layout, source)
  object <- rebuild_seurat(layout, source, report)
  table <- report_table(report)
  attr(object, "report") <- table
  say_report(table, verbose, "attr(x, \"report\")")
  list(object = object, active = layout$active.assay)
}

check_not_empty <- function(source, call) {
  if (!length(source$cells) || !length(source$genes)) {
    cli::cli_abort(c(
      "This AnnData has no cells or no genes.",
      x = "Found: {length(source$cells)} cell{?s} and {length(source$genes)} gene{?s}.",
      i = "A Seurat object needs some of both. {.code AnnDataToSCE()} takes it as it is; the table of the cells alone \\
           is {.code reticulate::py_to_r(adata$obs)}."
    ), class = "celloquy_ArgumentError", argument = "adata", call = call)
  }
}

# The column that names features: the one that did when they came to R first, as parts are remembered by those names.
check_feature_column <- function(given, layout, came_from_r, call) {
  if (!came_from_r || identical(given, layout$feature.column)) {
    return(given)
  }
  if (!is.null(given)) {
    cli::cli_abort(c(
      "The features of this AnnData were named in R before.",
      x = if (is.null(layout$feature.column)) {
        "They have the names that they had there."
      } else {
        "They were named by {.val {layout$feature.column}}."
      },
      i = "Leave {.arg feature.column} out."
    ), class = "celloquy_ArgumentError", argument = "feature.column", call = call)
  }
  layout$feature.column
}

# An AnnData as R reads it: what is there, and `fetch()` for one part of it at a time.
open_anndata <- function(adata, call = rlang::caller_env()) {
  bridge <- python_bridge(call)
  # Whichever way the AnnData came to R, nothing of it is converted unasked from here on.
  adata <- bridge$unconverted(adata)
  overview <- reticulate::py_to_r(bridge$overview(adata))
  member <- function(place, key) {
    if (place == "X") adata$X else if (place == "raw") adata$raw$X else place_of(adata, place)[[key]]
  }
  # Matrices of expression come as features × cells, all others as they are; `rows` and `columns` are AnnData's. The
  # place "raw of genes" is raw for the genes of X.
  fetch <- function(place, key, rows = NULL, columns = NULL, flip = place %in% c("X", "raw", "layers")) {
    if (place == "raw of genes") {
      wanted <- as.vector(overview$genes)[columns %||% seq_along(overview$genes)]
      columns <- match(wanted, as.vector(overview$raw$genes))
      if (anyNA(columns)) {
        return(NULL)
      }
      if (identical(columns, seq_along(overview$raw$genes))) columns <- NULL
      return(fetch("raw", key, rows, columns))
    }
    if (if (place %in% c("X", "raw")) is.null(overview[[place]]) else !key %in% names(overview[[place]])) {
      return(NULL)
    }
    zero <- function(which) if (!is.null(which)) as.array(as.integer(which) - 1L)
    with_python(
      matrix_from_python(bridge$matrix_to_r(member(place, key), zero(rows), zero(columns), transposed = flip)),
      "The AnnData", call
    )
  }
  value <- function(place, key) {
    crossed <- reticulate::py_to_r(bridge$value_to_r(place_of(adata, place)[[key]]))
    list(value = if (!is.null(crossed[[1]])) value_from_python(crossed[[1]]), dropped = crossed[[2]])
  }
  plain <- if ("seurat" %in% as.vector(overview$uns)) reticulate::py_to_r(adata$uns[["seurat"]])
  list(
    adata = adata, overview = overview, fetch = fetch, value = value, plain = plain, bridge = bridge,
    cells = as.vector(overview$cells), genes = as.vector(overview$genes)
  )
}

# A Seurat object by what is remembered of it, with what the AnnData holds now.
rebuild_seurat <- function(layout, source, report) {
  drop <- function(part, why) dropped(report, part, why)
  cells <- layout$names$cells %||% source$cells
  genes <- layout$names$genes %||% source$genes
  cells_of <- if ("seurat" %in% names(source$overview$obsm)) source$value("obsm", "seurat")$value
  lost_in <- function(place) function(name, why) drop(paste(place, name), why)
  rename <- function(place) {
    function(old, new) {
      renamed(report, paste(place, new), paste0("it was called \"", old, "\", as another column is or without a name"))
    }
  }
  frame <- function(place, names, layout) {
    table <- place_of(source$adata, place)
    frame_from_python(table, names, layout$prototypes, lost_in(place), rename(place), source$bridge)
  }
  obs <- frame("obs", cells, layout$metadata)
  var <- frame("var", genes, layout$main$metadata)
  features <- table_from_python(var$data, layout$main$metadata, genes, "feature column", drop)
  features <- c(features, variable_features(layout, var))
  whole <- main_assay(layout$main, layout$assay, source, genes, cells, features, cells_of, drop)
  assays <- by_type(whole, layout$apart, layout$assay, drop)
  for (name in names(layout$assays)) {
    other <- rebuild_assay(layout$assays[[name]], name, cells, drop)
    if (!is.null(other)) assays[[name]] <- other
  }
  assays <- assays[c(intersect(layout$assay.order, names(assays)), setdiff(names(assays), layout$assay.order))]
  reductions <- lapply(layout$reductions, function(one) {
    reduction_from_layout(one, cells, genes, cells_of, source$fetch, drop)
  })
  graphs <- lapply(stats::setNames(nm = names(layout$graphs)), function(name) {
    rebuild_graph(layout$graphs[[name]], name, cells, source$fetch, drop)
  })
  neighbors <- lapply(stats::setNames(nm = names(layout$neighbors)), function(name) {
    neighbor_from_layout(layout$neighbors[[name]], name, cells, source$fetch, drop)
  })
  spatial <- if ("spatial" %in% as.vector(source$overview$uns)) source$value("uns", "spatial")$value
  images <- images_from_layout(layout$images, layout$pictured, spatial, cells, drop)
  counted <- intersect(unique(c(layout$assay, names(layout$apart), layout$with_types)), names(assays))
  supplied <- supplied_columns(layout, obs$data, assays[counted], cells)
  metadata <- table_from_python(obs$data, layout$metadata, cells, "metadata column", drop, supplied)
  identities <- rebuild_identities(layout$identities, c(unclass(obs$data), supplied), cells)
  slots <- list(
    assays = assays, graphs = present(graphs), neighbors = present(neighbors), reductions = present(reductions),
    images = images, misc = layout$misc, commands = layout$commands, tools = layout$tools
  )
  for (name in names(slots)) {
    if (!length(slots[[name]])) slots[[name]] <- layout$empty[[name]] %||% list()
  }
  metadata <- data_frame(metadata, cells)
  attributes(metadata) <- c(attributes(metadata), layout$metadata$attributes)
  slots <- c(slots, list(
    meta.data = metadata, active.assay = active_assay(layout, assays), active.ident = identities,
    project.name = layout$project.name, version = layout$version
  ))
  for (part in names(slots)[lengths(slots) > 0]) {
    if (!part %in% c("active.assay", "version")) {
      kept(report, part, if (part != "active.ident") toString(utils::head(names(slots[[part]]), 20)) else "")
    }
  }
  object <- fill(blank("Seurat"), slots)
  with_extras(object, layout, source, obs, var, report)
}

active_assay <- function(layout, assays) {
  if (layout$active.assay %in% names(assays)) layout$active.assay else names(assays)[[1]]
}

rebuild_identities <- function(layout, data, cells) {
  if (isTRUE(layout$foreign)) layout <- list(column = column_of_clusters(data), derived = "orig.ident")
  column <- layout$column %||% layout$derived
  values <- if (is.null(column)) {
    fill_attributes(match(rep(layout$all, length(cells)), levels(layout$prototype)), layout$prototype)
  } else if (is.null(data[[column]])) {
    factor(rep("SeuratProject", length(cells)))
  } else if (is.null(layout$prototype)) {
    as.factor(data[[column]])
  } else {
    as_prototype(as.factor(data[[column]]), layout$prototype)
  }
  stats::setNames(values, cells)
}

# The column with the clusters of an AnnData that never was in R; NULL if there is none.
column_of_clusters <- function(data) {
  factors <- names(data)[vapply(data, is.factor, NA)]
  usual <- c("seurat_clusters", "leiden", "louvain", "clusters")
  found <- c(intersect(usual, factors), grep("^(leiden|louvain)", factors, value = TRUE))
  if (length(found)) found[[1]]
}

fill_attributes <- function(values, prototype) {
  attributes(values) <- attributes(prototype)
  values
}

main_assay <- function(main, name, source, genes, cells, features, cells_of, drop) {
  layers <- layers_from_python(main$layers, genes, cells, cells_of, source$fetch, drop)
  order <- c(intersect(main$layer.order, names(layers)), setdiff(names(layers), main$layer.order))
  rows <- main$metadata$row.numbers
  metadata <- data_frame(features, genes)
  attr(metadata, "row.names") <- if (is.null(rows)) {
    genes
  } else if (length(rows) == length(genes)) {
    rows
  } else {
    .set_row_names(length(genes))
  }
  build_assay(selected_class(main, name, genes, cells, drop), layers[order], genes, cells, metadata)
}

rebuild_assay <- function(layout, name, cells, drop) {
  here <- layout$cells %in% cells
  if (!any(here)) {
    drop(paste("assay", name), "none of its cells is left")
    return(NULL)
  }
  order <- intersect(cells, layout$cells)
  layout <- selected_class(layout, name, layout$features, order, drop)
  present <- Filter(function(layer) !is.null(layer$matrix), layout$layers)
  layers <- lapply(present, function(layer) {
    features <- layer$features %||% seq_along(layout$features)
    columns <- layer$cells %||% seq_along(layout$cells)
    matrix <- layer$matrix
    names <- layout$cells[columns]
    if (!all(here)) {
      keep <- names %in% cells
      matrix <- matrix[, keep, drop = FALSE]
      names <- names[keep]
    }
    list(matrix = matrix, features = layout$features[features], cells = names)
  })
  build_assay(layout, layers, layout$features, order, layout$metadata)
}

# An assay slot by slot: its constructors would rename features and take layers for others.
build_assay <- function(layout, layers, features, cells, metadata) {
  assay <- blank(layout$class, layout$package)
  assay <- fill(assay, layout$slots)
  if (methods::is(assay, "StdAssay")) {
    layers <- c(layers, layout$empty)
    layers <- layers[c(intersect(layout$layer.order, names(layers)), setdiff(names(layers), layout$layer.order))]
    # The maps say which features and cells a layer has; their order is that of the assay.
    assay@layers <- lapply(layers, function(layer) unnamed_matrix(in_order_of(layer, features, cells)$matrix))
    assay@features <- log_map(features, lapply(layers, `[[`, "features"), layout$map.order$features)
    assay@cells <- log_map(cells, lapply(layers, `[[`, "cells"), layout$map.order$cells)
    assay@default <- min(layout$slots$default, length(layers))
    assay@meta.data <- metadata
    return(assay)
  }
  for (name in c("counts", "data", "scale.data")) {
    layer <- layers[[name]]
    if (!is.null(layer) && !identical(layer$cells, cells)) {
      layer <- in_order_of(layer, layer$features, cells)
    }
    methods::slot(assay, name, check = FALSE) <- if (is.null(layer)) {
      layout$empty[[name]] %||% (if (name == "scale.data") matrix(numeric(), 0, 0) else methods::new("matrix"))
    } else {
      matrix <- layer$matrix
      names <- list(layer$features, layer$cells)
      if (is_sparse(matrix)) matrix@Dimnames <- names else dimnames(matrix) <- names
      matrix
    }
  }
  assay@meta.features <- metadata
  if (!all(assay@var.features %in% features)) assay@var.features <- intersect(assay@var.features, features)
  assay
}

in_order_of <- function(layer, features, cells) {
  rows <- order(match(layer$features, features))
  columns <- order(match(layer$cells, cells))
  if (is.unsorted(rows)) layer$matrix <- layer$matrix[rows, , drop = FALSE]
  if (is.unsorted(columns)) layer$matrix <- layer$matrix[, columns, drop = FALSE]
  list(matrix = layer$matrix, features = layer$features[rows], cells = layer$cells[columns])
}

log_map <- function(all, of, order) {
  of <- of[c(intersect(order, names(of)), setdiff(names(of), order))]
  map <- vapply(of, function(some) all %in% some, logical(length(all)))
  map <- matrix(map, length(all), length(of), dimnames = list(all, names(of)))
  methods::new(methods::getClass("LogMap", where = asNamespace("SeuratObject")), .Data = map)
}

rebuild_graph <- function(layout, name, cells, fetch, drop) {
  if (!is.null(layout$whole)) {
    return(graph_of_cells(layout$whole, name, cells, drop))
  }
  matrix <- fetch("obsp", layout$key)
  if (is.null(matrix)) {
    drop(paste("graph", name), "it is no longer in obsp")
    return(NULL)
  }
  if (!is_sparse(matrix)) matrix <- methods::as(matrix, "CsparseMatrix")
  graph <- blank(layout$class, layout$package)
  graph <- fill(graph, list(i = matrix@i, p = matrix@p, x = matrix@x, Dim = matrix@Dim, Dimnames = list(cells, cells)))
  if (!is.null(layout$assay.used)) SeuratObject::DefaultAssay(graph) <- layout$assay.used
  graph
}

# A graph of some cells, of those that are there.
graph_of_cells <- function(graph, name, cells, drop) {
  here <- rownames(graph) %in% cells
  if (all(here)) {
    return(graph)
  }
  if (!any(here)) {
    drop(paste("graph", name), "none of its cells is left")
    return(NULL)
  }
  matrix <- methods::as(graph, "dgCMatrix")[here, colnames(graph) %in% cells, drop = FALSE]
  fill(graph, list(i = matrix@i, p = matrix@p, x = matrix@x, Dim = matrix@Dim, Dimnames = matrix@Dimnames))
}

# One object of the AnnData of several assays; what belongs to the cells is taken from that of the active assay.
seurat_of_several <- function(adatas, feature.column, verbose) {
  if (is.null(names(adatas)) || any(names(adatas) == "")) {
    cli::cli_abort(c(
      "A list of AnnData must have names.",
      i = "Name every AnnData after the assay that it becomes, such as {.code list(RNA = adata, ADT = other)}."
    ), class = "celloquy_ArgumentError", call = rlang::caller_env())
  }
  converted <- Map(function(adata, assay) seurat_of_one(adata, assay, feature.column, verbose), adatas, names(adatas))
  objects <- lapply(converted, `[[`, "object")
  active <- intersect(c(converted[[1]]$active, names(objects)), names(objects))[[1]]
  object <- objects[[active]]
  for (name in setdiff(names(objects), SeuratObject::Assays(object))) {
    object@assays[[name]] <- objects[[name]][[name]]
  }
  object@assays <- object@assays[names(objects)]
  methods::validObject(object)
  attr(object, "report") <- NULL
  object
}
