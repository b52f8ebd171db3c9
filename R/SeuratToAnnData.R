#' Convert a Seurat object to AnnData, and back
#'
#' `SeuratToAnnData()` gives Python the whole object: every assay and layer, metadata, identities, reductions, graphs,
#' neighbours, images, commands and tools. `AnnDataToSeurat()` is the way back; both ways in turn return what they were
#' given. What has no counterpart on the other side is kept for the way back where it is plain data, and otherwise named
#' in the report.
#'
#' | in Seurat | in AnnData |
#' |---|---|
#' | layer `counts` of the default assay (`layer`) | `X`, cells × genes, sparse as it was |
#' | its other layers; split layers joined | `layers`; the part that each cell was in, in `obsm["seurat"]` |
#' | `scale.data` of some genes | `obsm["scale.data"]`, without padding for the other genes |
#' | metadata of cells and of features | `obs`, `var`, column by column |
#' | identities | a column of `obs`, unless all cells have the same |
#' | variable features | `var["highly_variable"]` |
#' | reductions | `obsm["X_pca"]`, …; loadings in `varm["PCs"]` (PCA) or under the reduction's name |
#' | graphs, neighbours | `obsp` |
#' | images and fields of view | `obsm["spatial"]`, and `uns["spatial"]` as scanpy and squidpy have it |
#' | other assays, commands, tools, misc, and whatever else the way back needs | `uns["seurat"]` |
#'
#' Counts and other numbers stay as they are: R's numbers are `float64` in Python, and a matrix that came from Python as
#' `float32` returns as that. Factors become categoricals with all their levels, logical and integer columns with `NA`
#' the nullable types, dates and times `datetime64[ns]`.
#'
#' @param object A Seurat object.
#' @param assay The assay that becomes the AnnData; by default the default assay.
#' @param layer The layer that becomes `X`. If it is not there, the assay's first.
#' @param assays Place of the other assays: `"uns"` puts them into `uns["seurat"]`, `"separate"` makes a list with one
#'   AnnData for each.
#' @param verbose Say what was renamed or dropped.
#'
#' @return `SeuratToAnnData()`: a Python AnnData, or a named list of them. The attribute `"report"` tells of every part
#'   whether it was kept, renamed or dropped, and why; so does `uns["celloquy_conversion"]`. `object` is as it was.
#'
#' @seealso [WriteH5AD()] for files, and for layers that are on disk or too large for memory; [SCEToAnnData()].
#' @examplesIf celloquy:::examples_can_run()
#' adata <- SeuratToAnnData(SeuratObject::pbmc_small)
#' adata
#' attr(adata, "report")
#'
#' back <- AnnDataToSeurat(adata, verbose = FALSE)
#' attr(back, "report") <- NULL
#' identical(back, SeuratObject::pbmc_small)
#' @export
SeuratToAnnData <- function(object, assay = NULL, layer = "counts", assays = c("uns", "separate"), verbose = TRUE) {
  assays <- rlang::arg_match(assays)
  check_seurat(object)
  chosen <- choose_assay(object, assay)
  if (assays == "separate") {
    names <- SeuratObject::Assays(object)
    converted <- lapply(stats::setNames(nm = names), function(name) {
      seurat_to_anndata(object, name, if (name == chosen) layer else "counts", verbose, alone = TRUE)
    })
    return(converted)
  }
  seurat_to_anndata(object, chosen, layer, verbose)
}

seurat_to_anndata <- function(object, assay, layer, verbose, alone = FALSE, call = rlang::caller_env()) {
  python_bridge(call)
  parts <- seurat_parts(object, assay, layer, alone, call = call)
  adata <- anndata_from_parts(parts$parts, paste0("Assay \"", assay, "\""), call = call)
  finish_anndata(adata, parts$report, verbose)
}

finish_anndata <- function(adata, report, verbose) {
  table <- report_table(report)
  bridge <- import_bridge()
  crossing <- frame_to_python(as.data.frame(table), as.character(seq_len(nrow(table))))
  reticulate::py_set_item(adata$uns, "celloquy_conversion", bridge$frame_from_r(crossing))
  attr(adata, "report") <- table
  say_report(table, verbose, "attr(x, \"report\")")
  adata
}

# Everything that Python needs to make the AnnData of one assay.
seurat_parts <- function(object, assay, layer, alone = FALSE, on_disk = FALSE, call = rlang::caller_env()) {
  report <- new_report("Seurat", "AnnData")
  cells <- colnames(object)
  origin <- SeuratObject::Misc(object, "anndata")
  if (!identical(origin$assay, assay)) origin <- NULL
  main <- object[[assay]]
  if (!identical(colnames(main), cells)) {
    # An assay that has only some of the cells becomes an AnnData of those.
    object <- suppressWarnings(subset(object, cells = colnames(main)))
    cells <- colnames(object)
    main <- object[[assay]]
  }
  all_layers <- assay_layers(main)
  whole <- names(layer_groups(all_layers))
  first <- if (layer %in% whole) layer else utils::head(whole, 1)
  layers <- layers_to_python(all_layers, rownames(main), length(cells), first, origin$layers, on_disk, call)
  for (group in names(layers$layout)) {
    layout <- layers$layout[[group]]
    kept(report, paste0("layer ", group), where_is(layout))
  }
  obs <- cell_metadata(object, report)
  reductions <- reductions_to_python(object, assay, report)
  graphs <- graphs_to_python(object, report)
  images <- images_to_python(object, origin$images, report)
  drop <- function(path, why) dropped(report, sub("^[$]", "", path), why)
  var <- feature_metadata(main, origin$derived, report)
  besides <- setdiff(SeuratObject::Assays(object), c(assay, origin$raw$assay))
  others <- if (alone) list() else parts_named(object, besides)
  misc <- SeuratObject::Misc(object)
  layout <- list(
    version = SeuratObject::Version(object), project.name = SeuratObject::Project(object),
    active.assay = SeuratObject::DefaultAssay(object), assay = assay, assay.order = SeuratObject::Assays(object),
    metadata = obs$layout, identities = obs$identities,
    main = c(assay_layout(main), list(layers = layers$layout, metadata = var$layout)),
    foreign = !is.null(origin),
    types = remembered_types(origin, list(
      obs = obs$data, var = var$data, layers = layers$layout, reductions = reductions$layout, obsp_types = graphs$layout
    )),
    reductions = reductions$layout, graphs = graphs$layout, neighbors = graphs$neighbors, images = images$layout,
    commands = object@commands, tools = object@tools,
    misc = misc[setdiff(names(misc), "anndata")],
    assays = lapply(others, assay_whole), empty = empty_containers(object)
  )
  for (name in names(others)) kept(report, paste("assay", name), paste0("uns[\"seurat\"][\"assays\"][\"", name, "\"]"))
  plain <- as_plain(layout, "", drop)
  for (part in c("commands", "tools", "misc")) {
    if (length(layout[[part]])) kept(report, part, paste0("uns[\"seurat\"][\"", part, "\"]"))
  }
  parts <- list(
    obs = frame_to_python(obs$data, original(cells, origin$cells), origin$obs_index %||% "", origin$obs),
    var = frame_to_python(var$data, original(rownames(main), origin$genes), origin$var_index %||% "", origin$var),
    X = layers$X, layers = named(layers$layers),
    obsm = c(reductions$obsm, images$obsm, layers$obsm, aligned_layout(c(layers$cells, reductions$cells), cells)),
    varm = reductions$varm, obsp = graphs$obsp, uns = images$uns, plain = list(seurat = plain)
  )
  if (!is.null(origin)) {
    parts <- with_remembered(parts, origin, cells, rownames(main), raw_of_seurat(object, origin$raw))
  }
  parts <- lapply(parts, function(part) if (is.list(part)) named(part) else part)
  list(parts = parts, report = report, blocks = layers$blocks, size = dim(main))
}

# The parts of a Seurat object with these names.
parts_named <- function(object, names) lapply(stats::setNames(nm = names), function(name) object[[name]])

# Containers without entries, which may be lists with or without names, so that they return as they were.
empty_containers <- function(object) {
  names <- c("graphs", "neighbors", "reductions", "images", "misc", "commands", "tools")
  slots <- lapply(stats::setNames(nm = names), function(name) methods::slot(object, name))
  slots[lengths(slots) == 0]
}

where_is <- function(layout) {
  if (layout$place == "X") "X" else paste0(layout$place, "[\"", layout$key, "\"]")
}

# Names as they were before Seurat insisted on others.
original <- function(names, remembered) {
  if (is.null(remembered)) names else ifelse(names %in% names(remembered), unname(remembered[names]), names)
}

# Columns that must stay with their cells through any selection: one data frame in obsm.
aligned_layout <- function(columns, cells) {
  if (!length(columns)) {
    return(list())
  }
  data <- structure(columns, class = "data.frame", row.names = cells)
  list(seurat = c(list(python = "frame"), frame_to_python(data, cells)))
}

cell_metadata <- function(object, report) {
  data <- object[[]]
  idents <- SeuratObject::Idents(object)
  layout <- list(
    order = names(data),
    prototypes = lapply(data, prototype_of),
    attributes = attributes(data)[setdiff(names(attributes(data)), c("names", "row.names", "class"))]
  )
  values <- unname(idents)
  same <- vapply(data, function(column) identical(unname(column), values), NA)
  identities <- list(prototype = prototype_of(values))
  if (any(same)) {
    identities$column <- names(data)[which(same)[[1]]]
  } else if (length(unique(values)) == 1) {
    identities$all <- as.character(values[[1]])
  } else {
    identities$column <- utils::tail(make.unique(c(names(data), "ident"), sep = "_"), 1)
    identities$added <- TRUE
    data[[identities$column]] <- values
  }
  kept(report, "identities", if (is.null(identities$column)) "uns" else paste0("obs[\"", identities$column, "\"]"))
  columns <- columns_to_python(data, function(name, why) dropped(report, paste("metadata column", name), why))
  if (length(columns)) kept(report, "metadata of cells", paste0("obs, ", length(columns), " columns"))
  list(data = data[names(columns)], layout = layout, identities = identities)
}

feature_metadata <- function(assay, derived, report) {
  v5 <- methods::is(assay, "StdAssay")
  data <- if (v5) assay@meta.data else assay@meta.features
  # The columns that were derived from an AnnData's highly_variable will be derived again.
  data <- data[setdiff(names(data), derived)]
  layout <- list(
    order = names(data), prototypes = lapply(data, prototype_of),
    rows = row_numbers(data)
  )
  variable <- if (v5) {
    if ("var.features" %in% names(data)) data$var.features[!is.na(data$var.features)]
  } else {
    SeuratObject::VariableFeatures(assay)
  }
  if (length(variable) && !"highly_variable" %in% names(data)) {
    data$highly_variable <- rownames(assay) %in% variable
    layout$added <- "highly_variable"
    kept(report, "variable features", "var[\"highly_variable\"]")
  }
  columns <- columns_to_python(data, function(name, why) dropped(report, paste("feature column", name), why))
  if (length(layout$order)) kept(report, "metadata of features", paste0("var, ", length(layout$order), " columns"))
  list(data = data[names(columns)], layout = layout)
}

# The row numbers of a feature's metadata: none where they count the rows, NULL where rows have names. Some versions
# number the rows, and keep the numbers when features are selected; others name them.
row_numbers <- function(data) {
  rows <- attr(data, "row.names")
  if (!is.integer(rows)) {
    return(NULL)
  }
  if (identical(rows, seq_along(rows))) integer() else rows
}

# The slots of an assay other than its matrices and its features' metadata.
assay_layout <- function(assay) {
  class <- class(assay)
  slots <- setdiff(
    methods::slotNames(assay),
    c("layers", "cells", "features", "meta.data", "meta.features", "counts", "data", "scale.data")
  )
  list(
    class = as.character(class), package = attr(class, "package"),
    layer.order = names(assay_layers(assay)),
    # The two maps of an Assay5 may list its layers in orders of their own.
    map.order = if (methods::is(assay, "StdAssay")) {
      list(features = colnames(assay@features@.Data), cells = colnames(assay@cells@.Data))
    },
    slots = lapply(stats::setNames(nm = slots), function(name) methods::slot(assay, name)),
    # A layer without values is a matrix of one class or another.
    empty = if (!methods::is(assay, "StdAssay")) empty_slots(assay)
  )
}

empty_slots <- function(assay) {
  slots <- list(counts = assay@counts, data = assay@data, scale.data = assay@scale.data)
  slots[vapply(slots, function(slot) any(dim(slot) == 0), NA)]
}

# An assay besides the main one, whole, with the names of its features and cells.
assay_whole <- function(assay) {
  layers <- lapply(assay_layers(assay), function(layer) {
    list(
      matrix = unnamed_matrix(layer$matrix),
      features = if (!identical(as.integer(layer$features), seq_len(nrow(assay)))) layer$features,
      cells = if (!identical(as.integer(layer$cells), seq_len(ncol(assay)))) layer$cells
    )
  })
  data <- if (methods::is(assay, "StdAssay")) assay@meta.data else assay@meta.features
  c(assay_layout(assay), list(features = rownames(assay), cells = colnames(assay), metadata = data, layers = layers))
}

unnamed_matrix <- function(matrix) {
  if (is_sparse(matrix)) {
    matrix@Dimnames <- list(NULL, NULL)
    if (methods::.hasSlot(matrix, "factors")) matrix@factors <- list()
  } else {
    dimnames(matrix) <- NULL
  }
  matrix
}
