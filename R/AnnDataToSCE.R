#' @rdname SCEToAnnData
#' @param adata A Python AnnData.
#' @return `AnnDataToSCE()`: a SingleCellExperiment. What of the AnnData has no place in it is in
#'   `metadata(object)$anndata`, for the way back; the report is in `metadata(object)$report`.
#' @details
#' If the AnnData did not come from a SingleCellExperiment, its `X` becomes the assay `counts` if it holds whole numbers
#' and `X` otherwise; its `raw` becomes an alternative experiment `"raw"`.
#' @export
AnnDataToSCE <- function(adata, verbose = TRUE) {
  rlang::check_installed("SingleCellExperiment")
  check_anndata(adata)
  report <- new_report("AnnData", "SingleCellExperiment")
  source <- open_anndata(adata)
  plain <- if ("sce" %in% as.vector(source$overview$uns)) reticulate::py_to_r(source$adata$uns[["sce"]])
  layout <- if (is.null(plain)) foreign_sce_layout(source) else from_plain(plain)
  object <- rebuild_sce(layout, source, report)
  table <- report_table(report)
  S4Vectors::metadata(object)$report <- table
  say_report(table, verbose, "metadata(x)$report")
  object
}

foreign_sce_layout <- function(source) {
  reductions <- foreign_reductions(source$overview, "")
  names(reductions) <- make.unique(toupper(names(reductions)), sep = ".")
  list(
    layers = foreign_layers(source, otherwise = "X"), foreign = TRUE, obs = list(), var = list(),
    reductions = lapply(reductions, function(one) list(key = one$key, rows = TRUE)),
    named = list(cells = TRUE, genes = TRUE), metadata = list(), alternatives = list()
  )
}

rebuild_sce <- function(layout, source, report) {
  drop <- function(part, why) dropped(report, part, why)
  cells <- source$cells
  genes <- source$genes
  obs <- frame_from_python(source$adata$obs, cells, layout$obs, drop, source$bridge)
  var <- frame_from_python(source$adata$var, genes, layout$var, drop, source$bridge)
  layers <- layers_from_python(layout$layers, genes, cells, list(), source$fetch, drop)
  layers <- layers[c(intersect(layout$layer.order, names(layers)), setdiff(names(layers), layout$layer.order))]
  names <- list(if (layout$named$genes) genes, if (layout$named$cells) cells)
  assays <- lapply(stats::setNames(nm = names(layers)), function(name) {
    matrix <- layers[[name]]$matrix
    if (!isFALSE(layout$inner[[name]])) dimnames(matrix) <- names
    matrix
  })
  object <- SingleCellExperiment::SingleCellExperiment(
    assays = assays, mainExpName = layout$main, metadata = layout$metadata,
    colData = as_dframe(obs$data, names[[2]], length(cells)), rowData = as_dframe(var$data, names[[1]], length(genes))
  )
  dimnames(object) <- names
  for (name in names(layers)) kept(report, paste("assay", name))
  for (name in names(layout$reductions)) {
    one <- layout$reductions[[name]]
    embedding <- source$fetch("obsm", one$key)
    if (is.null(embedding)) {
      drop(one$key, "it is no longer in obsm")
      next
    }
    dimnames(embedding) <- if (one$rows || !is.null(one$columns)) list(if (one$rows) cells, one$columns)
    attributes(embedding) <- c(attributes(embedding), one$attributes)
    SingleCellExperiment::reducedDim(object, name, withDimnames = FALSE) <- embedding
    kept(report, paste0("obsm[\"", one$key, "\"]"), paste("reduced dimensions", name))
  }
  for (key in sparse_keys(source$overview$obsp)) {
    SingleCellExperiment::colPair(object, key) <- source$fetch("obsp", key)
    kept(report, paste0("obsp[\"", key, "\"]"), "column pairs")
  }
  for (key in sparse_keys(source$overview$varp)) {
    SingleCellExperiment::rowPair(object, key) <- source$fetch("varp", key)
    kept(report, paste0("varp[\"", key, "\"]"), "row pairs")
  }
  for (name in names(layout$alternatives)) {
    alternative <- rebuild_experiment(layout$alternatives[[name]], cells)
    if (is.null(alternative)) drop(paste("alternative experiment", name), "it does not have all the cells")
    if (!is.null(alternative)) SingleCellExperiment::altExp(object, name) <- alternative
  }
  sce_with_extras(object, layout, source, obs, var, report)
}

as_dframe <- function(data, row_names, rows) {
  frame <- S4Vectors::make_zero_col_DFrame(rows)
  for (name in names(data)) frame[[name]] <- data[[name]]
  rownames(frame) <- row_names
  frame
}

rebuild_experiment <- function(layout, cells) {
  if (!all(cells %in% layout$cells)) {
    return(NULL)
  }
  object <- SingleCellExperiment::SingleCellExperiment(
    assays = layout$assays,
    rowData = as_dframe(layout$rowData, layout$features, length(layout$features)),
    colData = as_dframe(layout$colData, layout$cells, length(layout$cells))
  )
  dimnames(object) <- list(layout$features, layout$cells)
  if (identical(cells, layout$cells)) object else object[, cells]
}

sce_with_extras <- function(object, layout, source, obs, var, report) {
  overview <- source$overview
  used <- list(
    obsm = unlist(lapply(layout$reductions, `[[`, "key")), layers = unlist(lapply(layout$layers, `[[`, "key")),
    obsp = sparse_keys(overview$obsp), varp = sparse_keys(overview$varp), uns = c("sce", "celloquy_conversion")
  )
  extras <- leftovers(source, used, source$cells, source$genes, "metadata(object)$anndata", report)
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
    extras <- c(extras, foreign_types(types, source, obs, var, source$cells, source$genes))
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
