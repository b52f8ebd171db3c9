#' @rdname SCEToAnnData
#' @inheritParams AnnDataToSeurat
#' @param adata A Python AnnData.
#' @return `AnnDataToSCE()`: a SingleCellExperiment, or the class that the object had before, if its package is
#'   installed. What of the AnnData has no place in it is in `metadata(object)$anndata`, for the way back; the report is
#'   in `metadata(object)$report`.
#' @details
#' If the AnnData did not come from a SingleCellExperiment, its `X` becomes the assay `counts` if it holds whole numbers
#' and `X` otherwise; its `raw` becomes an alternative experiment `"raw"`, and so do features that
#' `var["feature_types"]` says are no genes: one experiment for each type, such as `"Antibody Capture"`.
#' @export
AnnDataToSCE <- function(adata, feature.column = NULL, verbose = TRUE) {
  rlang::check_installed("SingleCellExperiment")
  check_anndata(adata)
  report <- new_report("AnnData", "SingleCellExperiment")
  source <- open_anndata(adata)
  plain <- if ("sce" %in% as.vector(source$overview$uns)) reticulate::py_to_r(source$adata$uns[["sce"]])
  layout <- if (is.null(plain)) foreign_sce_layout(source) else from_plain(plain)
  layout$feature.column <- check_feature_column(feature.column, layout, !is.null(plain), rlang::current_env())
  source$shown <- make.unique(feature_names(source, layout$feature.column, rlang::current_env()), sep = ".")
  object <- rebuild_sce(layout, source, report)
  table <- report_table(report)
  S4Vectors::metadata(object)$report <- table
  say_report(table, verbose, "metadata(x)$report")
  object
}

foreign_sce_layout <- function(source) {
  reductions <- foreign_reductions(source, "")
  names(reductions) <- make.unique(toupper(names(reductions)), sep = ".")
  list(
    layers = foreign_layers(source, otherwise = "X"), foreign = TRUE, obs = list(), var = list(),
    reductions = lapply(reductions, function(one) list(key = one$key, rows = TRUE))
  )
}

rebuild_sce <- function(layout, source, report) {
  drop <- function(part, why) dropped(report, part, why)
  cells <- source$cells
  genes <- if (is.null(layout$feature.column)) source$genes else source$shown
  object <- rest_of_sce(layout, cells, source$genes, drop)
  names <- list(genes, cells)
  if (!is.null(layout$cells)) {
    names <- list(layout$named$genes[match(source$genes, layout$genes)], layout$named$cells[match(cells, layout$cells)])
    if (isTRUE(layout$foreign) && !is.null(names[[1]])) names[[1]] <- genes
  }
  rename <- function(old, new) renamed(report, paste("column", new), paste0("it was called \"", old, "\""))
  frame <- function(place, rows, layout, row_names, what) {
    crossed <- frame_from_python(place_of(source$adata, place), rows, layout$prototypes, drop, rename, source$bridge)
    columns <- table_from_python(crossed$data, layout, rows, what, drop)
    crossed$frame <- as_dframe(columns, row_names, length(rows), layout)
    crossed
  }
  obs <- frame("obs", cells, layout$obs, names[[2]], "colData")
  var <- frame("var", source$genes, layout$var, names[[1]], "rowData")
  layers <- layers_from_python(layout$layers, source$genes, cells, list(), source$fetch, drop)
  assays <- lapply(stats::setNames(nm = names(layers)), function(name) {
    matrix <- layers[[name]]$matrix
    own <- layout$inner[[name]]
    same <- identical(source$genes, layout$genes) && identical(cells, layout$cells)
    if (!isFALSE(own)) dimnames(matrix) <- if (is.list(own) && same) own else names
    matrix
  })
  assays <- c(assays, as.list(SummarizedExperiment::assays(object, withDimnames = FALSE)))
  assays <- assays[c(intersect(layout$layer.order, names(assays)), setdiff(names(assays), layout$layer.order))]
  dimnames(object) <- names
  # Not by the class's own function: that of SpatialExperiment changes the table of pictures.
  object <- fill(object, list(colData = obs$frame))
  SummarizedExperiment::rowData(object) <- var$frame
  if (isTRUE(layout$unnamed) && setequal(names(assays), layout$layer.order)) assays <- unname(assays)
  if (length(assays)) SummarizedExperiment::assays(object, withDimnames = FALSE) <- assays
  for (name in names(layers)) kept(report, paste("assay", name))
  of_cells <- SingleCellExperiment::int_colData(object)
  dims <- with_columns(of_cells$reducedDims, embeddings_from_python(layout, source, cells, drop, report))
  order <- layout$reduction.order
  of_cells$reducedDims <- dims[c(intersect(order, names(dims)), setdiff(names(dims), order))]
  places <- coordinates_from_python(layout$places, source, drop)
  if (!is.null(places)) of_cells$spatialCoords <- places
  object@int_colData <- of_cells
  layout$apart <- features_of_types(layout, source, rownames(object))
  # Pairs of features of several types can't be those of one experiment.
  layout$paired <- c("col", if (!length(layout$apart)) "row")
  for (of in layout$paired) object <- with_pairs(object, of, layout$pairs[[of]], source, report)
  experiments_by_type(sce_with_extras(object, layout, source, obs, var, report), layout$apart, drop)
}

# What the object held besides the parts that AnnData has a place for, of these cells and features.
rest_of_sce <- function(layout, cells, genes, drop) {
  plain <- function() {
    nothing <- Matrix::sparseMatrix(i = integer(), j = integer(), dims = c(length(genes), length(cells)))
    object <- SingleCellExperiment::SingleCellExperiment(list(nothing = nothing))
    SummarizedExperiment::assays(object, withDimnames = FALSE) <- list()
    object
  }
  if (is.null(layout$cells)) {
    return(plain())
  }
  lost <- "alternative experiments, ranges, metadata and other parts that AnnData has no place for"
  if (!methods::is(layout$rest, "SingleCellExperiment") || !is_whole(layout$rest)) {
    drop(lost, "a package of their classes is not installed")
    return(plain())
  }
  rows <- match(genes, layout$genes)
  columns <- match(cells, layout$cells)
  if (anyNA(rows) || anyNA(columns)) {
    drop(lost, "there are cells or features that the object did not have")
    return(plain())
  }
  same <- identical(rows, seq_along(layout$genes)) && identical(columns, seq_along(layout$cells))
  if (same) layout$rest else layout$rest[rows, columns]
}

is_whole <- function(object) tryCatch(methods::validObject(object, complete = TRUE), error = function(error) FALSE)

with_columns <- function(frame, columns) {
  for (name in names(columns)) frame[[name]] <- columns[[name]]
  frame
}

embeddings_from_python <- function(layout, source, cells, drop, report) {
  embeddings <- lapply(stats::setNames(nm = names(layout$reductions)), function(name) {
    one <- layout$reductions[[name]]
    embedding <- source$fetch("obsm", one$key)
    if (is.null(embedding)) {
      drop(paste("reduced dimensions", name), "they are no longer in obsm")
      return(NULL)
    }
    dimnames(embedding) <- if (one$rows || !is.null(one$columns)) list(if (one$rows) cells, one$columns)
    attributes(embedding) <- c(attributes(embedding), one$attributes)
    kept(report, paste0("obsm[\"", one$key, "\"]"), paste("reduced dimensions", name))
    embedding
  })
  present(embeddings)
}

coordinates_from_python <- function(layout, source, drop) {
  if (is.null(layout)) {
    return(NULL)
  }
  places <- source$fetch("obsm", layout$key)
  if (is.null(places)) {
    drop("spatialCoords", "they are no longer in obsm")
    return(NULL)
  }
  if (is.numeric(places)) storage.mode(places) <- layout$type
  names <- list(if (!is.null(layout$rows)) source$cells, if (length(layout$columns) == ncol(places)) layout$columns)
  dimnames(places) <- if (!is.null(unlist(names))) names
  places
}

# Pairings of cells ("col") or features ("row"), in the columns that they had, and those that Python added.
with_pairs <- function(object, of, layout, source, report) {
  place <- if (of == "col") "obsp" else "varp"
  set <- if (of == "col") SingleCellExperiment::`colPair<-` else SingleCellExperiment::`rowPair<-`
  for (key in sparse_keys(source$overview[[place]])) {
    matrix <- methods::as(source$fetch(place, key), "CsparseMatrix")
    name <- layout[[key]]$name %||% key
    object <- set(object, name, value = pairs_of_matrix(matrix, layout[[key]]$column %||% "x"))
    kept(report, paste0(place, "[\"", key, "\"]"), paste(if (of == "col") "column" else "row", "pairs", name))
  }
  object
}

# A table of Bioconductor's, with what describes it and its columns.
as_dframe <- function(columns, row_names, rows, about = list()) {
  frame <- S4Vectors::make_zero_col_DFrame(rows)
  frame@listData <- stats::setNames(unclass(columns), names(columns) %||% character())
  attr(frame@listData, "row.names") <- NULL
  if (!is.null(row_names)) rownames(frame) <- row_names
  if (!is.null(about$about) && nrow(about$about) == length(columns)) S4Vectors::mcols(frame) <- about$about
  if (length(about$metadata)) S4Vectors::metadata(frame) <- about$metadata
  frame
}

sce_with_extras <- function(object, layout, source, obs, var, report) {
  overview <- source$overview
  used <- list(
    obsm = c(unlist(lapply(layout$reductions, `[[`, "key")), layout$places$key),
    layers = unlist(lapply(layout$layers, `[[`, "key")),
    obsp = sparse_keys(overview$obsp), varp = if ("row" %in% layout$paired) sparse_keys(overview$varp),
    uns = c("sce", "celloquy_conversion")
  )
  genes <- if (is.null(layout$feature.column)) source$genes else source$shown
  extras <- leftovers(source, used, source$cells, genes, "metadata(object)$anndata", report)
  if (!is.null(overview$raw)) {
    raw <- raw_experiment(source, report)
    SingleCellExperiment::altExp(object, "raw") <- raw$experiment
    extras$raw <- raw$layout
    kept(report, "raw", "alternative experiment \"raw\"")
  }
  if (isTRUE(layout$foreign)) {
    graphs <- lapply(stats::setNames(nm = sparse_keys(overview$obsp)), function(key) list(key = key))
    types <- list(
      main = list(layers = layout$layers), reductions = layout$reductions, graphs = graphs, types = layout$types
    )
    extras$feature.column <- layout$feature.column
    extras$types <- layout$with_types %||% names(layout$apart)
    in_turn <- c(setdiff(rownames(object), unlist(layout$apart)), unlist(layout$apart, use.names = FALSE))
    order <- if (length(layout$apart) && !identical(in_turn, rownames(object))) rownames(object)
    extras$feature.order <- layout$feature.order %||% order
    extras <- c(extras, foreign_types(types, source, obs, var, source$cells, genes))
  }
  if (length(extras)) S4Vectors::metadata(object)$anndata <- extras
  object
}

raw_experiment <- function(source, report) {
  raw <- raw_parts(source, report)
  assays <- stats::setNames(list(raw$X), if (raw$layout$layer == "counts") "counts" else "X")
  raw$layout$layer <- names(assays)
  list(
    experiment = SingleCellExperiment::SingleCellExperiment(
      assays = assays, rowData = as_dframe(raw$var, as.vector(source$overview$raw$genes), nrow(raw$X)),
      colData = as_dframe(list(), source$cells, length(source$cells))
    ),
    layout = raw$layout
  )
}
