#' @rdname SCEToAnnData
#' @param adata A Python AnnData.
#' @return `AnnDataToSCE()`: a SingleCellExperiment. What of the AnnData has no place in it is in
#'   `metadata(object)$anndata`, for the way back; the report is in `metadata(object)$report`.
#' @details
#' Of an AnnData that did not come from a SingleCellExperiment, `X` becomes the assay `counts` if it holds whole numbers
#' and `X` otherwise; `raw` becomes an alternative experiment `"raw"`.
#' @export
AnnDataToSCE <- function(adata, verbose = TRUE) {
  rlang::check_installed("SingleCellExperiment")
  check_anndata(adata)
  report <- new_report("AnnData", "SingleCellExperiment")
  source <- open_anndata(adata)
  plain <- if ("sce" %in% as.vector(source$there$uns)) reticulate::py_to_r(source$adata$uns[["sce"]])
  memory <- if (is.null(plain)) foreign_sce_memory(source) else from_plain(plain)
  object <- sce_again(memory, source, report)
  table <- report_table(report)
  S4Vectors::metadata(object)$report <- table
  say_report(table, verbose, "metadata(x)$report")
  object
}

foreign_sce_memory <- function(source) {
  reductions <- foreign_reductions(source$there, "")
  names(reductions) <- make.unique(toupper(names(reductions)), sep = ".")
  list(
    layers = foreign_layers(source, otherwise = "X"), foreign = TRUE, obs = list(), var = list(),
    reductions = lapply(reductions, function(one) list(key = one$key, rows = TRUE)),
    named = list(cells = TRUE, genes = TRUE), metadata = list(), alternatives = list()
  )
}

sce_again <- function(memory, source, report) {
  drop <- function(part, why) dropped(report, part, why)
  cells <- source$cells
  genes <- source$genes
  obs <- frame_from_python(source$adata$obs, cells, memory$obs, drop, source$bridge)
  var <- frame_from_python(source$adata$var, genes, memory$var, drop, source$bridge)
  layers <- layers_from_python(memory$layers, genes, cells, list(), source$fetch, drop)
  layers <- layers[c(intersect(memory$layer.order, names(layers)), setdiff(names(layers), memory$layer.order))]
  names <- list(if (memory$named$genes) genes, if (memory$named$cells) cells)
  assays <- lapply(stats::setNames(nm = names(layers)), function(name) {
    matrix <- layers[[name]]$matrix
    if (!isFALSE(memory$inner[[name]])) dimnames(matrix) <- names
    matrix
  })
  object <- SingleCellExperiment::SingleCellExperiment(
    assays = assays, mainExpName = memory$main, metadata = memory$metadata,
    colData = as_dframe(obs$data, names[[2]], length(cells)), rowData = as_dframe(var$data, names[[1]], length(genes))
  )
  dimnames(object) <- names
  for (name in names(layers)) kept(report, paste("assay", name))
  for (name in names(memory$reductions)) {
    one <- memory$reductions[[name]]
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
  for (key in sparse_keys(source$there$obsp)) {
    SingleCellExperiment::colPair(object, key) <- source$fetch("obsp", key)
    kept(report, paste0("obsp[\"", key, "\"]"), "column pairs")
  }
  for (key in sparse_keys(source$there$varp)) {
    SingleCellExperiment::rowPair(object, key) <- source$fetch("varp", key)
    kept(report, paste0("varp[\"", key, "\"]"), "row pairs")
  }
  for (name in names(memory$alternatives)) {
    alternative <- experiment_again(memory$alternatives[[name]], cells)
    if (is.null(alternative)) drop(paste("alternative experiment", name), "it does not have all the cells")
    if (!is.null(alternative)) SingleCellExperiment::altExp(object, name) <- alternative
  }
  sce_with_news(object, memory, source, obs, var, report)
}

as_dframe <- function(data, row_names, rows) {
  frame <- S4Vectors::make_zero_col_DFrame(rows)
  for (name in names(data)) frame[[name]] <- data[[name]]
  rownames(frame) <- row_names
  frame
}

experiment_again <- function(memory, cells) {
  if (!all(cells %in% memory$cells)) {
    return(NULL)
  }
  object <- SingleCellExperiment::SingleCellExperiment(
    assays = memory$assays,
    rowData = as_dframe(memory$rowData, memory$features, length(memory$features)),
    colData = as_dframe(memory$colData, memory$cells, length(memory$cells))
  )
  dimnames(object) <- list(memory$features, memory$cells)
  if (identical(cells, memory$cells)) object else object[, cells]
}

sce_with_news <- function(object, memory, source, obs, var, report) {
  there <- source$there
  used <- list(
    obsm = unlist(lapply(memory$reductions, `[[`, "key")), layers = unlist(lapply(memory$layers, `[[`, "key")),
    obsp = sparse_keys(there$obsp), varp = sparse_keys(there$varp), uns = c("sce", "celloquy_conversion")
  )
  news <- leftovers(source, used, source$cells, source$genes, "metadata(object)$anndata", report)
  if (!is.null(there$raw)) {
    raw <- raw_experiment(source, report)
    SingleCellExperiment::altExp(object, "raw") <- raw$experiment
    news$raw <- raw$memory
    kept(report, "raw", "alternative experiment \"raw\"")
  }
  if (isTRUE(memory$foreign)) {
    graphs <- lapply(stats::setNames(nm = sparse_keys(there$obsp)), function(key) list(key = key))
    types <- list(
      main = list(layers = memory$layers), reductions = memory$reductions, graphs = graphs, types = memory$types
    )
    news <- c(news, foreign_types(types, source, obs, var, source$cells, source$genes))
  }
  if (length(news)) S4Vectors::metadata(object)$anndata <- news
  object
}

raw_experiment <- function(source, report) {
  raw <- raw_parts(source, report)
  assays <- stats::setNames(list(raw$X), if (raw$memory$layer == "counts") "counts" else "X")
  raw$memory$layer <- names(assays)
  list(
    experiment = SingleCellExperiment::SingleCellExperiment(
      assays = assays, rowData = as_dframe(raw$var, as.vector(source$there$raw$genes), nrow(raw$X)),
      colData = as_dframe(list(), source$cells, length(source$cells))
    ),
    memory = raw$memory
  )
}
