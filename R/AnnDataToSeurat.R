#' @rdname SeuratToAnnData
#'
#' @param adata A Python AnnData, or what `SeuratToAnnData(assays = "separate")` returned.
#' @return `AnnDataToSeurat()`: a Seurat object. What of the AnnData has no place in it is in `Misc(object, "anndata")`,
#'   for the way back. The attribute `"report"` tells what became of every part.
#' @details
#' An AnnData that did not come from Seurat becomes an object with one assay, `assay`: `X` is its layer `counts` if it
#' holds whole numbers, else `data`. `raw` becomes an assay `"raw"`, `obsm` reductions (`obsm["spatial"]` an image),
#' `obsp` graphs. Seurat allows neither underscores nor repetition in the names of features: the names that AnnData had
#' are kept and return.
#' @export
AnnDataToSeurat <- function(adata, assay = "RNA", verbose = TRUE) {
  if (is.list(adata) && !inherits(adata, "python.builtin.object") && length(adata)) {
    return(seurat_of_several(adata, verbose))
  }
  seurat_of_one(adata, assay, verbose)$object
}

seurat_of_one <- function(adata, assay, verbose, call = rlang::caller_env()) {
  check_anndata(adata, call)
  report <- new_report("AnnData", "Seurat")
  source <- open_anndata(adata, call)
  layout <- if (is.null(source$plain)) foreign_layout(source, assay) else with_added(from_plain(source$plain), source)
  # An object that came from an AnnData before takes the names of that one.
  if (isTRUE(layout$foreign)) layout$names <- foreign_names(source, report)
  object <- rebuild_seurat(layout, source, report)
  table <- report_table(report)
  attr(object, "report") <- table
  say_report(table, verbose, "attr(x, \"report\")")
  list(object = object, active = layout$active.assay)
}

# An AnnData as R reads it: what is there, and `fetch()` for one part of it at a time.
open_anndata <- function(adata, call = rlang::caller_env()) {
  bridge <- python_bridge(call)
  # Whichever way the AnnData came to R, nothing of it is converted unasked from here on.
  adata <- bridge$unconverted(adata)
  overview <- reticulate::py_to_r(bridge$overview(adata))
  member <- function(place, key) {
    if (place == "X") adata$X else if (place == "raw") adata$raw$X else adata[[place]][[key]]
  }
  # Matrices of expression come as features × cells, all others as they are; `rows` and `columns` are AnnData's.
  fetch <- function(place, key, rows = NULL, columns = NULL, flip = place %in% c("X", "raw", "layers")) {
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
    crossed <- reticulate::py_to_r(bridge$value_to_r(adata[[place]][[key]]))
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
  obs <- frame_from_python(source$adata$obs, cells, layout$metadata$prototypes, lost_in("obs"), source$bridge)
  var <- frame_from_python(source$adata$var, genes, layout$main$metadata$prototypes, lost_in("var"), source$bridge)
  identities <- rebuild_identities(layout$identities, obs$data, cells)
  added <- if (isTRUE(layout$identities$added)) layout$identities$column
  metadata <- in_old_order(obs$data, layout$metadata$order, added)
  features <- in_old_order(var$data, layout$main$metadata$order, layout$main$metadata$added)
  assays <- stats::setNames(list(main_assay(layout$main, source, genes, cells, features, cells_of, drop)), layout$assay)
  for (name in names(layout$assays)) {
    other <- rebuild_assay(layout$assays[[name]], cells, drop)
    if (!is.null(other)) assays[[name]] <- other
  }
  assays <- assays[intersect(layout$assay.order, names(assays))]
  reductions <- lapply(layout$reductions, function(one) {
    reduction_from_layout(one, cells, genes, cells_of, source$fetch, drop)
  })
  graphs <- lapply(stats::setNames(nm = names(layout$graphs)), function(name) {
    rebuild_graph(layout$graphs[[name]], name, cells, source$fetch, drop)
  })
  neighbors <- lapply(layout$neighbors, neighbor_from_layout, cells = cells, fetch = source$fetch, drop = drop)
  spatial <- if ("spatial" %in% as.vector(source$overview$uns)) source$value("uns", "spatial")$value
  images <- images_from_layout(layout$images, spatial, cells, drop)
  slots <- list(
    assays = assays, graphs = present(graphs), neighbors = present(neighbors), reductions = present(reductions),
    images = images, misc = layout$misc, commands = layout$commands, tools = layout$tools
  )
  for (name in names(slots)) {
    if (!length(slots[[name]])) slots[[name]] <- layout$empty[[name]] %||% list()
  }
  slots <- c(slots, list(
    meta.data = metadata, active.assay = active_assay(layout, assays), active.ident = identities,
    project.name = layout$project.name, version = layout$version
  ))
  for (part in names(slots)[lengths(slots) > 0]) {
    if (!part %in% c("active.assay", "version")) {
      kept(report, part, if (part != "active.ident") toString(utils::head(names(slots[[part]]), 20)) else "")
    }
  }
  object <- do.call(methods::new, c(list(methods::getClass("Seurat", where = asNamespace("SeuratObject"))), slots))
  with_extras(object, layout, source, obs, var, report)
}

active_assay <- function(layout, assays) {
  if (layout$active.assay %in% names(assays)) layout$active.assay else names(assays)[[1]]
}

rebuild_identities <- function(layout, data, cells) {
  values <- if (is.null(layout$column)) {
    fill_attributes(match(rep(layout$all, length(cells)), levels(layout$prototype)), layout$prototype)
  } else if (is.null(data[[layout$column]])) {
    factor(rep("SeuratProject", length(cells)))
  } else {
    as_prototype(as.factor(data[[layout$column]]), layout$prototype)
  }
  stats::setNames(values, cells)
}

fill_attributes <- function(values, prototype) {
  attributes(values) <- attributes(prototype)
  values
}

# Columns in the order they had in Seurat, new ones after them, without those that were added for Python.
in_old_order <- function(data, order, added) {
  data[c(intersect(order, names(data)), setdiff(names(data), c(order, added)))]
}

main_assay <- function(main, source, genes, cells, metadata, cells_of, drop) {
  layers <- layers_from_python(main$layers, genes, cells, cells_of, source$fetch, drop)
  order <- c(intersect(main$layer.order, names(layers)), setdiff(names(layers), main$layer.order))
  rows <- main$metadata$rows
  attr(metadata, "row.names") <- if (is.null(rows)) {
    genes
  } else if (length(rows) == length(genes)) {
    rows
  } else {
    .set_row_names(length(genes))
  }
  build_assay(main, layers[order], genes, cells, metadata)
}

rebuild_assay <- function(layout, cells, drop) {
  here <- layout$cells %in% cells
  if (!any(here)) {
    drop("assay", "none of its cells is left")
    return(NULL)
  }
  order <- if (all(here)) layout$cells else intersect(cells, layout$cells)
  layers <- lapply(layout$layers, function(layer) {
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
    assay@layers <- lapply(layers, function(layer) unnamed_matrix(layer$matrix))
    assay@features <- log_map(features, lapply(layers, `[[`, "features"), layout$map.order$features)
    assay@cells <- log_map(cells, lapply(layers, `[[`, "cells"), layout$map.order$cells)
    assay@default <- min(layout$slots$default, length(layers))
    assay@meta.data <- metadata
    return(assay)
  }
  for (name in c("counts", "data", "scale.data")) {
    layer <- layers[[name]]
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

log_map <- function(all, of, order) {
  of <- of[c(intersect(order, names(of)), setdiff(names(of), order))]
  map <- vapply(of, function(some) all %in% some, logical(length(all)))
  map <- matrix(map, length(all), length(of), dimnames = list(all, names(of)))
  methods::new(methods::getClass("LogMap", where = asNamespace("SeuratObject")), .Data = map)
}

rebuild_graph <- function(layout, name, cells, fetch, drop) {
  if (!is.null(layout$whole)) {
    return(layout$whole)
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

# One object of the AnnData of several assays; what belongs to the cells is taken from that of the active assay.
seurat_of_several <- function(adatas, verbose) {
  if (is.null(names(adatas)) || any(names(adatas) == "")) {
    cli::cli_abort(c(
      "A list of AnnData must have names.",
      i = "Name every AnnData after the assay that it becomes, such as {.code list(RNA = adata, ADT = other)}."
    ), class = "celloquy_ArgumentError", call = rlang::caller_env())
  }
  converted <- Map(function(adata, assay) seurat_of_one(adata, assay, verbose), adatas, names(adatas))
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
