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
#' | assays of antibodies, guides, …, made of one AnnData | features of `X` and `layers`, by `var["feature_types"]` |
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
  assays <- choice(rlang::arg_match(assays))
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
  drop <- function(path, why) dropped(report, sub("^[$]", "", path), why)
  for (name in names(object@assays)) object@assays[[name]] <- known_assay(object@assays[[name]], name, report)
  check_valid(object, call)
  object <- with_cells_of(object, assay, if (alone) new_report() else report)
  cells <- rownames(object@meta.data)
  origin <- SeuratObject::Misc(object, "anndata")
  if (!identical(origin$assay, assay)) origin <- NULL
  made_by_r <- unchanged_columns(object, origin, intersect(c(assay, origin$types), names(object@assays)))
  joined <- if (!alone) joined_types(object, assay, origin)
  if (!is.null(joined)) object@assays[[assay]] <- joined$assay
  main <- object@assays[[assay]]
  genes <- rownames(main)
  reductions <- reductions_to_python(object, genes, report)
  images <- images_to_python(object, origin$images, report)
  all_layers <- assay_layers(main)
  from_raw <- layers_of_raw(all_layers, object, assay, origin)
  all_layers <- all_layers[setdiff(names(all_layers), names(from_raw))]
  whole <- names(layer_groups(all_layers))
  first <- if (layer %in% whole) layer else utils::head(whole, 1)
  reserved <- c(names(reductions$obsm), "spatial", "seurat")
  layers <- layers_to_python(all_layers, genes, length(cells), first, origin$layers, on_disk, reserved, call)
  for (group in names(layers$layout)) kept(report, paste("layer", group), where_is(layers$layout[[group]]))
  for (group in names(from_raw)) kept(report, paste("layer", group), "raw")
  obs <- cell_metadata(object, images, made_by_r, names(origin$obs), report)
  graphs <- graphs_to_python(object, report)
  var <- feature_metadata(main, origin, report)
  for (name in names(joined$types)[-1]) kept(report, paste("assay", name), "X and layers, as features of its type")
  besides <- setdiff(names(object@assays), c(assay, names(joined$types), origin$raw$assay))
  others <- if (alone) list() else object@assays[besides]
  misc <- SeuratObject::Misc(object)
  layout <- list(
    version = SeuratObject::Version(object), project.name = SeuratObject::Project(object),
    active.assay = SeuratObject::DefaultAssay(object), assay = assay, assay.order = names(object@assays),
    metadata = obs$layout, identities = obs$identities,
    main = c(assay_layout(main), list(layers = c(from_raw, layers$layout), metadata = var$layout)),
    foreign = !is.null(origin), feature.column = origin$feature.column, made = origin$made,
    apart = joined$types, with_types = origin$types, feature.order = origin$feature.order,
    renamed = if (length(origin$types) && is.null(joined)) origin$genes,
    types = remembered_types(origin, list(
      obs = obs$data, var = var$data, layers = layers$layout, reductions = reductions$layout, obsp_types = graphs$layout
    )),
    reductions = reductions$layout, graphs = graphs$layout, neighbors = graphs$neighbors, images = images$layout,
    pictured = images$pictured,
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
    var = frame_to_python(var$data, original(genes, origin$genes), origin$var_index %||% "", origin$var),
    X = layers$X, layers = named(layers$layers),
    obsm = c(reductions$obsm, images$obsm, layers$obsm, aligned_layout(c(layers$cells, reductions$cells), cells)),
    varm = reductions$varm, obsp = graphs$obsp, uns = images$uns, plain = list(seurat = plain)
  )
  if (!is.null(origin)) {
    parts <- with_remembered(parts, origin, cells, genes, raw_of_seurat(object, origin$raw))
  }
  parts <- lapply(parts, function(part) if (is.list(part)) named(part) else part)
  list(parts = parts, report = report, blocks = layers$blocks, size = dim(main))
}

# Containers without entries, which may be lists with or without names, so that they return as they were.
empty_containers <- function(object) {
  names <- c("graphs", "neighbors", "reductions", "images", "misc", "commands", "tools")
  slots <- lapply(stats::setNames(nm = names), function(name) methods::slot(object, name))
  slots[lengths(slots) == 0]
}

where_is <- function(layout) {
  paste0(
    if (layout$place == "X") "X" else paste0(layout$place, "[\"", layout$key, "\"]"),
    if (!is.null(layout$without)) paste0(", with zeros for ", layout$without, " cells that it has no values of")
  )
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

# The metadata of cells, with the columns that are made for Python: identities that no column has, and the image that
# each cell is on. `derived` are columns that Python is not given, as R can make them again.
cell_metadata <- function(object, images, derived, given, report) {
  data <- object@meta.data
  cells <- attr(data, "row.names")
  sent <- unclass(data)[setdiff(seq_along(data), which(names(data) %in% derived))]
  table <- table_to_python(sent, cells, "metadata column", "uns[\"seurat\"]", report, given)
  layout <- table$layout
  layout$attributes <- attributes(data)[setdiff(names(attributes(data)), c("names", "row.names", "class"))]
  # All columns in their order, those that R makes among them.
  order <- names(data) %in% derived
  layout$order <- rep("", length(data))
  layout$order[order] <- names(data)[order]
  layout$order[!order] <- layout$keys
  layout$derived <- derived
  if (length(table$data)) kept(report, "metadata of cells", paste0("obs, ", length(table$data), " columns"))
  add <- function(name, values) {
    key <- utils::tail(make.unique(c(unique(c(names(table$data), layout$keys)), name), sep = "_"), 1)
    table$data[[key]] <<- values
    layout$added <<- c(layout$added, key)
    key
  }
  values <- unname(object@active.ident)
  same <- function(columns) names(columns)[vapply(columns, function(column) identical(unname(column), values), NA)]
  identities <- list(prototype = prototype_of(values))
  if (length(found <- same(table$data))) {
    identities$column <- found[[1]]
  } else if (length(found <- same(unclass(data)[derived]))) {
    identities$derived <- found[[1]]
  } else if (length(unique(values)) == 1) {
    identities$all <- as.character(values[[1]])
  } else {
    identities$column <- add("ident", values)
  }
  kept(report, "identities", if (is.null(identities$column)) "uns" else paste0("obs[\"", identities$column, "\"]"))
  if (!is.null(images$of)) {
    key <- add("library_id", images$of)
    kept(report, "image of each cell", paste0("obs[\"", key, "\"]"))
  }
  list(data = table$data, layout = layout, identities = identities)
}

feature_metadata <- function(assay, origin, report) {
  v5 <- methods::is(assay, "StdAssay")
  data <- if (v5) assay@meta.data else assay@meta.features
  features <- rownames(assay)
  if (is.character(attr(data, "row.names")) && !identical(attr(data, "row.names"), features)) {
    data <- data[match(features, rownames(data)), , drop = FALSE]
  }
  # The columns that were derived from an AnnData's highly_variable will be derived again, if they are as they were.
  as_derived <- as_variable(data[["highly_variable"]] %in% TRUE, features)
  same <- identical(unclass(data)[origin$derived], as_derived[origin$derived])
  sent <- unclass(data)[setdiff(seq_along(data), if (same) which(names(data) %in% origin$derived))]
  table <- table_to_python(sent, features, "feature column", "uns[\"seurat\"]", report, names(origin$var))
  layout <- c(table$layout, list(row.numbers = row_numbers(data)))
  variable <- if (v5) {
    if ("var.features" %in% names(data)) data$var.features[!is.na(data$var.features)]
  } else {
    SeuratObject::VariableFeatures(assay)
  }
  had <- table$data[["highly_variable"]]
  anew <- !is.null(origin) && is.logical(had) && !identical(features %in% variable, had %in% TRUE)
  if (anew) dropped(report, "feature column highly_variable", "variable features were chosen anew since")
  if (length(variable) && (is.null(had) || anew)) {
    table$data$highly_variable <- features %in% variable
    if (is.null(had)) layout$added <- "highly_variable"
    kept(report, "variable features", "var[\"highly_variable\"]")
  }
  if (length(table$layout$keys)) kept(report, "metadata of features", paste0("var, ", length(sent), " columns"))
  list(data = table$data, layout = layout)
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
  v5 <- methods::is(assay, "StdAssay")
  list(
    class = as.character(class), package = attr(class, "package"), v5 = v5,
    layer.order = if (v5) names(assay@layers) else names(assay_layers(assay)),
    # The two maps of an Assay5 may list its layers in orders of their own.
    map.order = if (v5) {
      list(features = colnames(assay@features@.Data), cells = colnames(assay@cells@.Data))
    },
    slots = lapply(stats::setNames(nm = slots), function(name) methods::slot(assay, name)),
    # Whose what else the class holds is.
    had = if (!class %in% c("Assay", "Assay5")) list(features = rownames(assay), cells = colnames(assay)),
    # A layer without values is a matrix of one class or another.
    empty = empty_layers(assay)
  )
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
