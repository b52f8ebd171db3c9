#' Explain labels, clusters or single cells by their genes
#'
#' `ExplainLabels()` shares out among the genes what tells a label from the others. An annotator gives every cell a
#' logit of each label; the difference between that of the cell's own label and the mean of the others, less the same
#' difference in the mean cell of the object, is the sum of the shares of all genes: a gene's expression, less that of
#' the mean cell, times what expression of it does to the difference (integrated gradients, Sundararajan et al. 2017).
#' They say what tells the labels apart for this annotator; of two genes that are expressed together it may use one.
#' `ExplanationPlot()` draws the largest.
#'
#' @param object Cells: a Seurat object, an assay, a SingleCellExperiment, or a matrix of raw counts (genes × cells).
#'   They stay as they are.
#' @param labels Column of the metadata with labels, such as `"seurat_clusters"`, or a label for each cell: an annotator
#'   learns them, in seconds, from the model in the box adapted to these cells. Cells with `NA` are left out. By default
#'   `Idents(object)`, unless there is a `model.object`.
#' @param by Column of the metadata with groups over which shares are averaged, or a value for each cell; by default
#'   each label is a group.
#' @param cells Names of cells to explain one by one, at most 1,000.
#' @param n.genes Genes of each group to return, those with the largest shares up or down; by default all that have one.
#' @param model.object Directory in which [AnnotateCells()] kept an annotator: each cell is then explained by the label
#'   that it gives, but for cells that are unknown to it.
#' @param assay,layer,counts,species,seed.use,verbose As of [RunCelloquy()].
#' @param explanation What `ExplainLabels()` returned.
#' @param n Number of genes of each group to draw.
#'
#' @return `ExplainLabels()` returns a data frame with a row for each group and gene that has a share, the largest
#'   first: `group`, `gene`, `attribution` (its share, a mean over the cells; above 0 speaks for the label),
#'   `expression` (mean log expression in the group less that in the mean cell: a gene can speak for a label by being
#'   there or by being absent), `share` (of the sizes of all shares) and `rank`. Its attribute `"groups"` has the
#'   `label`, the number of cells `n.cells`, the `difference` that is explained, and the `sum` of all shares, of each
#'   group. `ExplanationPlot()` returns a ggplot.
#' @seealso [AnnotateCells()]
#' @examples
#' \dontrun{
#' genes <- ExplainLabels(pbmc)
#' ExplanationPlot(genes)
#' # The five best genes that each cluster has, as Seurat draws them
#' there <- genes[genes$expression > 0, ]
#' Seurat::DotPlot(pbmc, features = unique(unlist(lapply(split(there$gene, there$group), head, 5))))
#' }
#' @export
ExplainLabels <- function(object, labels = NULL, by = NULL, cells = NULL, n.genes = NULL, model.object = NULL,
                          assay = NULL, layer = "counts", counts = NULL, species = NULL, seed.use = 42,
                          verbose = TRUE) {
  call <- rlang::current_env()
  if (!is.null(labels) && !is.null(model.object)) {
    cli::cli_abort(c(
      "{.arg labels} has no use with an annotator.",
      x = "Found {.arg labels} and {.arg model.object}.",
      i = "Leave one of them out."
    ), class = "celloquy_ArgumentError", argument = "labels", call = call)
  }
  read <- read_cells(object, assay, layer, call = call)
  label <- if (is.null(model.object)) label_of_cells(object, read, labels, call)
  # Messages name the column.
  column <- if (rlang::is_string(labels)) labels else if (is.null(labels)) "identities" else "labels"
  of_groups <- make.unique(c(column, "group"))[[2]]
  group <- groups_of(read, by, call)$group
  bridge <- python_bridge(call, torch = TRUE)
  told <- stats::setNames(list(label, group), c(column, of_groups))
  crossing <- cross_cells(read, labels = present(told), call = call)
  found <- reticulate::py_to_r(with_python(with_progress(bridge$explain(
    crossing$adata(), if (!is.null(label)) column,
    annotator = model_path(model.object), by = if (!is.null(group)) of_groups, cells = as_names(cells),
    n_genes = whole_number(n.genes, call = call), counts = counts, species = species,
    seed = whole_number(seed.use, "seed.use", call), progress = verbose
  ), verbose), crossing$subject, call))
  structure(table_of_genes(found$columns), groups = table_of_genes(found$groups))
}

# The label of each cell as text: identities, a column of the metadata, or values; "" of a cell without one.
label_of_cells <- function(object, cells, labels, call) {
  if (is.null(labels) && methods::is(object, "Seurat")) labels <- SeuratObject::Idents(object)
  labels <- if (rlang::is_string(labels) && !is.null(cells$data)) {
    metadata_column(cells$data, labels, "labels", call = call)
  } else {
    for_cells(labels, cells$counts)
  }
  if (!(is.atomic(labels) || is.factor(labels)) || length(labels) != ncol(cells$counts)) {
    cli::cli_abort(c(
      "Not every cell has a label.",
      x = found_value(labels),
      i = "Pass the name of a column of the metadata as {.arg labels}, or a label for each cell."
    ), class = "celloquy_ArgumentError", argument = "labels", call = call)
  }
  labels <- as.character(unname(labels))
  labels[is.na(labels)] <- ""
  labels
}

#' @rdname ExplainLabels
#' @export
ExplanationPlot <- function(explanation, n = 8) {
  rlang::check_installed("ggplot2")
  columns <- c("group", "gene", "attribution", "expression")
  if (!is.data.frame(explanation) || !all(columns %in% names(explanation))) {
    cli::cli_abort(c(
      "This is no explanation of labels.",
      x = "Found: {.obj_type_friendly {explanation}}.",
      i = "Pass what {.fn ExplainLabels} returned."
    ), class = "celloquy_ArgumentError", argument = "explanation")
  }
  groups <- unique(explanation$group)
  best <- lapply(groups, function(group) {
    own <- explanation[explanation$group == group, columns]
    utils::head(own[order(-abs(own$attribution)), ], n)
  })
  drawn <- do.call(rbind, best)
  drawn <- drawn[order(drawn$attribution), ]
  # A gene has a place of its own in each group.
  place <- paste(drawn$gene, drawn$group, sep = "\r")
  drawn$place <- factor(place, unique(place))
  drawn$group <- factor(drawn$group, groups)
  drawn$it <- ifelse(drawn$expression > 0, "more of it", "less of it")
  ggplot2::ggplot(drawn, ggplot2::aes(.data$attribution, .data$place, fill = .data$it)) +
    ggplot2::geom_col() +
    ggplot2::geom_vline(xintercept = 0, linewidth = 0.3) +
    ggplot2::facet_wrap("group", scales = "free") +
    ggplot2::scale_y_discrete(labels = function(places) sub("\r.*", "", places)) +
    ggplot2::scale_fill_manual(values = c("more of it" = "#b2182b", "less of it" = "#2166ac")) +
    ggplot2::labs(x = "share in the difference of logits", y = NULL, fill = NULL) +
    ggplot2::theme_classic()
}
