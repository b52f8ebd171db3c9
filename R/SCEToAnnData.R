#' Convert a SingleCellExperiment to AnnData, and back
#'
#' The counterpart of [SeuratToAnnData()] for Bioconductor. Assays become `X` and `layers`, `colData` and `rowData`
#' become `obs` and `var`, reduced dimensions `obsm` (`PCA` is `obsm["X_pca"]`), pairings of columns and of rows `obsp`
#' and `varp`. Alternative experiments, metadata and everything else that the way back needs are in `uns["sce"]`.
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
  drop <- function(path, why) dropped(report, sub("^[$]", "", path), why)
  origin <- S4Vectors::metadata(object)$anndata
  genes <- rownames(object) %||% paste0("gene", seq_len(nrow(object)), recycle0 = TRUE)
  cells <- colnames(object) %||% paste0("cell", seq_len(ncol(object)), recycle0 = TRUE)
  layers <- sce_layers(object)
  first <- if (layer %in% names(layers)) layer else utils::head(names(layers), 1)
  placed <- layers_to_python(layers, genes, length(cells), first, origin$layers, on_disk, call)
  for (group in names(placed$layout)) kept(report, paste("assay", group), where_is(placed$layout[[group]]))
  obs <- plain_columns(SummarizedExperiment::colData(object), "colData", report)
  var <- plain_columns(SummarizedExperiment::rowData(object), "rowData", report)
  reductions <- reduced_dims(object, origin, report)
  metadata <- S4Vectors::metadata(object)
  alternatives <- SingleCellExperiment::altExps(object)
  layout <- list(
    layers = placed$layout, layer.order = names(layers),
    # Whether matrices carry the names that the object has anyway.
    inner = lapply(layers, function(layer) !is.null(unlist(dimnames(layer$matrix)))), foreign = !is.null(origin),
    types = remembered_types(origin, list(
      obs = obs, var = var, layers = placed$layout, reductions = reductions$layout,
      obsp_types = as.list(SingleCellExperiment::colPairs(object))
    )),
    obs = lapply(obs, prototype_of), var = lapply(var, prototype_of), reductions = reductions$layout,
    named = list(cells = !is.null(colnames(object)), genes = !is.null(rownames(object))),
    main = SingleCellExperiment::mainExpName(object), metadata = metadata[setdiff(names(metadata), "anndata")],
    alternatives = lapply(alternatives[setdiff(names(alternatives), origin$raw$assay)], experiment_whole)
  )
  ranges <- tryCatch(lengths(SummarizedExperiment::rowRanges(object)), error = function(error) 0)
  if (any(ranges > 0)) drop("rowRanges", "AnnData has no place for genomic ranges")
  for (name in names(layout$alternatives)) kept(report, paste("alternative experiment", name), "uns[\"sce\"]")
  if (length(layout$metadata)) kept(report, "metadata", "uns[\"sce\"]")
  pairs <- function(all, one) {
    lapply(stats::setNames(nm = names(all(object))), function(name) {
      matrix <- unnamed_matrix(plain_matrix(one(object, name, asSparse = TRUE), name))
      list(matrix = matrix, dtype = origin$obsp_types[[name]]$dtype)
    })
  }
  parts <- list(
    obs = frame_to_python(data_frame(obs, cells), original(cells, origin$cells), origin$obs_index %||% "", origin$obs),
    var = frame_to_python(data_frame(var, genes), original(genes, origin$genes), origin$var_index %||% "", origin$var),
    X = placed$X, layers = placed$layers, obsm = reductions$obsm, varm = list(),
    obsp = pairs(SingleCellExperiment::colPairs, SingleCellExperiment::colPair),
    varp = pairs(SingleCellExperiment::rowPairs, SingleCellExperiment::rowPair),
    uns = list(), plain = list(sce = as_plain(layout, "", drop))
  )
  for (place in c("obsp", "varp")) for (key in names(parts[[place]])) kept(report, paste("pairs", key), place)
  if (!is.null(origin)) {
    parts <- with_remembered(parts, origin, cells, genes, raw_of_sce(object, origin$raw))
  }
  parts <- lapply(parts, function(part) if (is.list(part)) named(part) else part)
  list(parts = parts, report = report, blocks = placed$blocks, size = dim(object))
}

sce_layers <- function(object) {
  assays <- as.list(SummarizedExperiment::assays(object, withDimnames = FALSE))
  names(assays) <- names(assays) %||% paste0("assay", seq_along(assays), recycle0 = TRUE)
  lapply(assays, function(matrix) {
    list(matrix = matrix, features = seq_len(nrow(object)), cells = seq_len(ncol(object)))
  })
}

# The columns of a DFrame that have a counterpart in pandas.
plain_columns <- function(data, what, report) {
  columns <- lapply(as.list(data), function(column) {
    if (methods::is(column, "Rle")) S4Vectors::decode(column) else column
  })
  fits <- !vapply(columns, function(column) is.na(kind_of_column(column)), NA)
  for (name in names(columns)[!fits]) {
    dropped(report, paste0(what, "$", name), paste0("pandas has no column like a ", class(columns[[name]])[[1]]))
  }
  if (any(fits)) kept(report, what, paste(sum(fits), "columns"))
  columns[fits]
}

data_frame <- function(columns, row_names) {
  structure(columns, names = names(columns) %||% character(), class = "data.frame", row.names = row_names)
}

reduced_dims <- function(object, origin, report) {
  out <- list(obsm = list(), layout = list())
  dims <- as.list(SingleCellExperiment::reducedDims(object, withDimnames = FALSE))
  for (name in names(dims)) {
    if (!is.matrix(dims[[name]]) || !is.numeric(dims[[name]])) {
      dropped(report, paste("reduced dimensions", name), paste("it is no matrix but a", class(dims[[name]])[[1]]))
      next
    }
    key <- origin$reductions[[name]]$key %||% safe_key(paste0("X_", tolower(name)), names(out$obsm))
    out$obsm[[key]] <- list(dense = unname(dims[[name]]), dtype = origin$reductions[[name]]$dtype)
    out$layout[[name]] <- list(
      key = key, columns = colnames(dims[[name]]), attributes = other_attributes(dims[[name]]),
      rows = !is.null(rownames(dims[[name]]))
    )
    kept(report, paste("reduced dimensions", name), paste0("obsm[\"", key, "\"]"))
  }
  out
}

# An alternative experiment as plain data.
experiment_whole <- function(object) {
  frame <- function(data) as.list(data)
  list(
    assays = lapply(sce_layers(object), `[[`, "matrix"), features = rownames(object),
    rowData = frame(SummarizedExperiment::rowData(object)), colData = frame(SummarizedExperiment::colData(object)),
    cells = colnames(object)
  )
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
