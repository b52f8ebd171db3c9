#' Convert a SingleCellExperiment to AnnData, and back
#'
#' The counterpart of [SeuratToAnnData()] for Bioconductor. Assays become `X` and `layers`, `colData` and `rowData`
#' become `obs` and `var`, reduced dimensions `obsm` (`PCA` is `obsm["X_pca"]`), pairings of columns and of rows `obsp`
#' and `varp`, the coordinates of a SpatialExperiment `obsm["spatial"]`. Alternative experiments, pairings with several
#' values, columns that pandas has nothing like, ranges, metadata and whatever else the object holds are in `uns["sce"]`
#' for the way back.
#'
#' @param object A SingleCellExperiment.
#' @param layer The assay that becomes `X`. If it is not there, the first.
#' @param verbose Say what was renamed or dropped.
#'
#' @return `SCEToAnnData()`: a Python AnnData. The attribute `"report"` tells of every part whether it was kept, renamed
#'   or dropped, and why; so does `uns["celloquy_conversion"]`.
#' @examplesIf celloquy:::examples_can_run() && requireNamespace("SingleCellExperiment", quietly = TRUE)
#' counts <- SeuratObject::LayerData(SeuratObject::pbmc_small, layer = "counts")
#' sce <- SingleCellExperiment::SingleCellExperiment(list(counts = counts))
#' adata <- SCEToAnnData(sce)
#' AnnDataToSCE(adata)
#' @export
SCEToAnnData <- function(object, layer = "counts", verbose = TRUE) {
  rlang::check_installed("SingleCellExperiment")
  check_sce(object)
  python_bridge()
  parts <- sce_parts(object, layer)
  finish_anndata(anndata_from_parts(parts$parts, "The object"), parts$report, verbose)
}

sce_parts <- function(object, layer, on_disk = FALSE, call = rlang::caller_env()) {
  report <- new_report("SingleCellExperiment", "AnnData")
  origin <- S4Vectors::metadata(object)$anndata
  joined <- joined_experiments(object, origin)
  if (!is.null(joined)) object <- joined$object
  for (name in names(joined$types)) kept(report, paste("alternative experiment", name), "X, as features of its type")
  genes <- unique_names(rownames(object), nrow(object), "gene", "features", report)
  cells <- unique_names(colnames(object), ncol(object), "cell", "cells", report)
  layers <- sce_layers(object)
  first <- if (layer %in% names(layers)) layer else utils::head(names(layers), 1)
  placed <- layers_to_python(layers, genes, length(cells), first, origin$layers, on_disk, call = call)
  for (group in names(placed$layout)) kept(report, paste("assay", group), where_is(placed$layout[[group]]))
  table <- function(data, rows, what, given) {
    table <- table_to_python(as.list(data), rows, what, "uns[\"sce\"]", report, given)
    if (length(table$data)) kept(report, what, paste(length(table$data), "columns"))
    # What describes the columns.
    about <- S4Vectors::mcols(data, use.names = FALSE)
    if (length(about)) table$layout$about <- about
    if (length(S4Vectors::metadata(data))) table$layout$metadata <- S4Vectors::metadata(data)
    table
  }
  obs <- table(SummarizedExperiment::colData(object), cells, "colData", names(origin$obs))
  var <- table(SummarizedExperiment::rowData(object), genes, "rowData", names(origin$var))
  reductions <- reduced_dims(object, origin, report)
  places <- spatial_coordinates(object, names(reductions$obsm), report)
  obsp <- pairs_to_python(object, "col", origin)
  varp <- pairs_to_python(object, "row", origin)
  for (key in obsp$keys) kept(report, paste("column pairs", key), "obsp")
  for (key in varp$keys) kept(report, paste("row pairs", key), "varp")
  rest <- sce_rest(object, names(layers), reductions$layout, places, obsp$names, varp$names, origin)
  layout <- list(
    layers = placed$layout, layer.order = SummarizedExperiment::assayNames(object) %||% names(layers),
    # Whether matrices carry the names that the object has anyway; names of their own whole.
    inner = lapply(layers, function(layer) {
      own <- dimnames(layer$matrix)
      if (is.null(unlist(own)) || identical(own, dimnames(object))) !is.null(unlist(own)) else own
    }),
    unnamed = is.null(SummarizedExperiment::assayNames(object)), foreign = !is.null(origin),
    types = remembered_types(origin, list(
      obs = obs$data, var = var$data, layers = placed$layout, reductions = reductions$layout, obsp_types = obsp$parts
    )),
    obs = obs$layout, var = var$layout, reductions = reductions$layout, places = places$layout,
    reduction.order = SingleCellExperiment::reducedDimNames(object),
    pairs = list(col = obsp$layout, row = varp$layout),
    named = list(cells = colnames(object), genes = rownames(object)), cells = cells, genes = genes,
    feature.column = origin$feature.column, rest = rest, apart = joined$types, with_types = origin$types,
    feature.order = origin$feature.order
  )
  part <- function(path) {
    path <- gsub("[$](listData|data|se|rest|elementMetadata)\\b", "", path)
    sub("^[$]", "", gsub("int_colData[$]altExps", "altExps", path))
  }
  drop <- function(path, why) dropped(report, part(path), why)
  plain <- as_plain(layout, "", drop)
  in_uns <- function(what, names) for (name in names) kept(report, paste(what, name), "uns[\"sce\"]")
  in_uns("alternative experiment", SingleCellExperiment::altExpNames(rest))
  elsewhere <- c("reducedDims", "altExps", "colPairs", if (!is.null(places)) "spatialCoords")
  in_uns("int_colData", setdiff(names(rest@int_colData), elsewhere))
  in_uns("int_metadata", setdiff(names(rest@int_metadata), c("version", "mainExpName")))
  in_uns("reduced dimensions", SingleCellExperiment::reducedDimNames(rest))
  in_uns("column pairs", SingleCellExperiment::colPairNames(rest))
  in_uns("row pairs", SingleCellExperiment::rowPairNames(rest))
  if (length(S4Vectors::metadata(rest))) kept(report, "metadata", "uns[\"sce\"]")
  parts <- list(
    obs = frame_to_python(obs$data, original(cells, origin$cells), origin$obs_index %||% "", origin$obs),
    var = frame_to_python(var$data, original(genes, origin$genes), origin$var_index %||% "", origin$var),
    X = placed$X, layers = placed$layers, obsm = c(reductions$obsm, places$obsm, placed$obsm), varm = list(),
    obsp = obsp$parts, varp = varp$parts, uns = list(), plain = list(sce = plain)
  )
  if (!is.null(origin)) {
    parts <- with_remembered(parts, origin, cells, genes, raw_of_sce(object, origin$raw))
  }
  parts <- lapply(parts, function(part) if (is.list(part)) named(part) else part)
  list(parts = parts, report = report, blocks = placed$blocks, size = dim(object))
}

# Names of cells or features, none twice; numbered if the object has none.
unique_names <- function(names, length, what, whose, report) {
  if (is.null(names)) {
    return(paste0(what, seq_len(length), recycle0 = TRUE))
  }
  unique <- make.unique(names, sep = "-")
  say_renamed(report, whose, names, unique, "names are matched, so that none may be there twice")
  unique
}

# The assays that AnnData can hold: matrices of numbers. Others stay in the rest.
sce_layers <- function(object) {
  assays <- as.list(SummarizedExperiment::assays(object, withDimnames = FALSE))
  names(assays) <- names(assays) %||% paste0("assay", seq_along(assays), recycle0 = TRUE)
  assays <- Filter(function(matrix) {
    (is.matrix(matrix) && (is.numeric(matrix) || is.logical(matrix))) || methods::is(matrix, "Matrix") ||
      inherits(matrix, on_disk_classes)
  }, assays)
  lapply(assays, function(matrix) {
    list(matrix = matrix, features = seq_len(nrow(object)), cells = seq_len(ncol(object)))
  })
}

reduced_dims <- function(object, origin, report) {
  out <- list(obsm = list(), layout = list())
  dims <- as.list(SingleCellExperiment::reducedDims(object, withDimnames = FALSE))
  fits <- vapply(dims, function(one) is.matrix(one) && is.numeric(one), NA)
  for (name in names(dims)[fits]) {
    key <- origin$reductions[[name]]$key %||% safe_keys(paste0("X_", tolower(name)), c(names(out$obsm), "spatial"))
    out$obsm[[key]] <- list(dense = unname(dims[[name]]), dtype = origin$reductions[[name]]$dtype)
    out$layout[[name]] <- list(
      key = key, columns = colnames(dims[[name]]), attributes = other_attributes(dims[[name]]),
      rows = !is.null(rownames(dims[[name]]))
    )
    kept(report, paste("reduced dimensions", name), paste0("obsm[\"", key, "\"]"))
  }
  out
}

# The coordinates of a SpatialExperiment, which are a column of int_colData, as scanpy and squidpy have them.
spatial_coordinates <- function(object, taken, report) {
  places <- SingleCellExperiment::int_colData(object)$spatialCoords
  if (!is.matrix(places) || !is.numeric(places) || !ncol(places) || "spatial" %in% taken) {
    return(NULL)
  }
  kept(report, "spatialCoords", "obsm[\"spatial\"]")
  list(
    obsm = list(spatial = list(dense = unname(places))),
    layout = list(key = "spatial", columns = colnames(places), rows = rownames(places), type = typeof(places))
  )
}

# Pairings of cells ("col") or features ("row") with one number for each pair, as square matrices.
pairs_to_python <- function(object, of, origin = NULL) {
  col <- of == "col"
  names <- if (col) SingleCellExperiment::colPairNames(object) else SingleCellExperiment::rowPairNames(object)
  out <- list(parts = list(), layout = list(), names = character(), keys = character())
  keys <- safe_keys(names, given = names(origin[[if (col) "obsp_types" else "varp_types"]]))
  for (i in seq_along(names)) {
    hits <- if (col) SingleCellExperiment::colPair(object, i) else SingleCellExperiment::rowPair(object, i)
    matrix <- matrix_of_pairs(hits)
    if (is.null(matrix)) next
    out$parts[[keys[[i]]]] <- list(matrix = matrix, dtype = origin$obsp_types[[keys[[i]]]]$dtype)
    out$layout[[keys[[i]]]] <- list(name = names[[i]], column = names(S4Vectors::mcols(hits)))
    out$names <- c(out$names, names[[i]])
    out$keys <- c(out$keys, keys[[i]])
  }
  out
}

# NULL where the matrix would not give back the same pairs.
matrix_of_pairs <- function(hits) {
  values <- S4Vectors::mcols(hits)
  if (length(values) != 1 || !is.numeric(values[[1]])) {
    return(NULL)
  }
  matrix <- Matrix::sparseMatrix(
    i = S4Vectors::from(hits), j = S4Vectors::to(hits), x = as.double(values[[1]]),
    dims = rep(S4Vectors::nnode(hits), 2), repr = "C"
  )
  if (identical(pairs_of_matrix(matrix, names(values)), hits)) matrix
}

pairs_of_matrix <- function(matrix, column) {
  pairs <- methods::as(matrix, "TsparseMatrix")
  # By cell, as Bioconductor has them.
  order <- order(pairs@i, pairs@j)
  hits <- S4Vectors::SelfHits(pairs@i[order] + 1L, pairs@j[order] + 1L, nnode = nrow(matrix), x = pairs@x[order])
  names(S4Vectors::mcols(hits)) <- column
  hits
}

# The object without what went elsewhere, which the way back puts in again.
sce_rest <- function(object, layers, reductions, places, col.pairs, row.pairs, origin) {
  assays <- SummarizedExperiment::assays(object, withDimnames = FALSE)
  SummarizedExperiment::assays(object, withDimnames = FALSE) <- assays[setdiff(names(assays), layers)]
  SummarizedExperiment::rowData(object) <- SummarizedExperiment::rowData(object)[integer()]
  without <- function(frame, names) if (is.null(frame)) NULL else frame[setdiff(names(frame), names)]
  of_cells <- SingleCellExperiment::int_colData(object)
  of_cells$reducedDims <- without(of_cells$reducedDims, names(reductions))
  of_cells$colPairs <- without(of_cells$colPairs, col.pairs)
  of_cells$altExps <- without(of_cells$altExps, origin$raw$assay)
  # A SpatialExperiment must have some.
  if (!is.null(places)) of_cells$spatialCoords <- matrix(numeric(), ncol(object), 0)
  of_genes <- SingleCellExperiment::int_elementMetadata(object)
  of_genes$rowPairs <- without(of_genes$rowPairs, row.pairs)
  metadata <- S4Vectors::metadata(object)
  reports <- vapply(metadata, inherits, NA, "celloquy_conversion")
  metadata <- metadata[!reports & !names(metadata) %in% "anndata"]
  # Slot by slot, as not every class takes an object of which parts are missing. One column SpatialExperiment must have.
  needed <- if (methods::is(object, "SpatialExperiment")) "sample_id" else character()
  fill(object, list(
    int_colData = of_cells, int_elementMetadata = of_genes, metadata = metadata,
    colData = SummarizedExperiment::colData(object)[needed]
  ))
}

raw_of_sce <- function(object, raw) {
  if (is.null(raw) || !raw$assay %in% SingleCellExperiment::altExpNames(object)) {
    return(NULL)
  }
  experiment <- SingleCellExperiment::altExp(object, raw$assay)
  list(
    layers = sce_layers(experiment)[raw$layer], features = rownames(experiment),
    var = data_frame(as.list(SummarizedExperiment::rowData(experiment)), rownames(experiment))
  )
}
