#' Which cells of its tissue a cell was read with
#'
#' `CellContext()` tells what a cell model's attention takes from where, by type and by distance. The weight that
#' another cell has in a cell, a share of one over the tissue, is the mean over the heads of a layer and over the
#' layers; a cell reads itself, too. Beside it stands the share of the tissue's cells, and the ratio of both: 1 where
#' attention reads evenly, above 1 for what it prefers. It says what the model looks at, not which cells act on which.
#' The weights are those of [RunCelloquy()] with the same model, of the asked cells alone. `ContextPlot()` draws them.
#'
#' @param object Cells: a Seurat object, an assay, a SingleCellExperiment, or a matrix of raw counts (genes × cells).
#'   They stay as they are.
#' @param cells Cells to ask for; by default all. Names, at most 1,000: each has rows of its own unless `by` is given.
#'   Or `TRUE` or `FALSE` for each cell, for the means of groups.
#' @param labels Column of the metadata with the types of the cells that are read, or a type for each cell. By default
#'   `Idents(object)`; without identities cells are told by distance alone.
#' @param by Column of the metadata with groups of asked cells over which weights are averaged, or a value for each
#'   cell; by default the labels.
#' @param model.object Directory of a saved model whose cells read their tissue, `"org/name"` of one on the hub, or a
#'   model of Python. By default `"scratch"`: a small one is trained on these cells first, which takes minutes;
#'   [RunCelloquy()] trains and keeps one with `model.dir`. The models in the box read each cell alone.
#' @param distances Where intervals of distance end, in the unit of the positions, such as `c(50, 100, 200)`. By default
#'   they double from twice the median distance of a cell to its nearest. Needs `spatial`.
#' @param n.top Cells that each cell read most to name; only where cells are asked for one by one.
#' @param encoder.layer Layer of the model's encoder, counted from 1; by default the mean over all.
#' @param tissue.by Column of the metadata with the tissue, or a value for each cell. By default all cells are one
#'   tissue, or those of each image with `spatial = TRUE`.
#' @param spatial `TRUE` tells weights by distance, with the positions of the object's images, or a matrix of positions,
#'   cells × 2, `NA` where unknown. A model that reads positions is told them.
#' @param assay,layer,counts,species,device,verbose As of [RunCelloquy()].
#' @param context What `CellContext()` returned.
#'
#' @return `CellContext()` returns a data frame with a row for each group and kind of cells that it could read: `group`,
#'   `kind` (`"label"`, `"distance"` or `"cell"`), `read` (the label, the interval of distances, the cell), `distance`
#'   (where the interval ends, or that of the cell), `weight` (share of what a cell reads, a mean over the group),
#'   `cells` (share of the cells of its tissue), `ratio` (the one over the other), `n.cells` (cells of the group) and
#'   `strength` (length of what attention adds to a cell's vector over the length of that vector: near 0 context hardly
#'   matters).
#'   `ContextPlot()` returns a ggplot.
#' @seealso [RunCelloquy()], [FindNiches()]
#' @examples
#' \dontrun{
#' object <- RunCelloquy(object, "scratch", spatial = TRUE, model.dir = "model/")
#' context <- CellContext(object, model.object = "model/", spatial = TRUE)
#' ContextPlot(context)
#' ContextPlot(context, kind = "distance")
#' }
#' @export
CellContext <- function(object, cells = NULL, labels = NULL, by = NULL, model.object = "scratch", distances = NULL,
                        n.top = 0, encoder.layer = NULL, assay = NULL, layer = "counts", counts = NULL,
                        tissue.by = NULL, spatial = FALSE, species = NULL, device = "auto", verbose = TRUE) {
  call <- rlang::current_env()
  if (is.null(labels) && methods::is(object, "Seurat")) labels <- SeuratObject::Idents(object)
  read <- read_cells(object, assay, layer, call = call)
  label <- groups_of(read, labels, call, "labels")$group
  group <- groups_of(read, by, call)$group
  columns <- context_columns(object, read, tissue.by, spatial, call)
  bridge <- python_bridge(call, torch = TRUE)
  model <- check_model(model.object, call)
  crossing <- cross_cells(read, columns, labels = present(list(label = label, group = group)), call = call)
  if (is.logical(cells)) cells <- for_cells(cells, read$counts) %in% TRUE
  found <- with_python(with_progress(bridge$context(
    crossing$adata(),
    model = model, columns = c(crossing$keys, list(counts = counts)), cells = as_names(cells),
    labels = if (!is.null(label)) "label", by = if (!is.null(group)) "group", distances = as_names(distances),
    n_top = whole_number(n.top, call = call), encoder_layer = whole_number(encoder.layer, call = call),
    species = species, device = device, progress = verbose
  ), verbose), crossing$subject, call)
  table <- table_of_genes(reticulate::py_to_r(found))
  table$distance[is.nan(table$distance)] <- NA
  table
}

# The tissue and the positions of cells: of the metadata and the images, or values for each cell.
context_columns <- function(object, cells, tissue.by, spatial, call) {
  if (isTRUE(spatial) && !methods::is(object, "Seurat")) {
    cli::cli_abort(c(
      "There are no positions in this object.",
      x = "Found: {.obj_type_friendly {object}}.",
      i = "Pass a matrix of positions, a row for each cell, as {.arg spatial}."
    ), class = "celloquy_ArgumentError", argument = "spatial", call = call)
  }
  of_column <- rlang::is_string(tissue.by) && !is.null(cells$data)
  columns <- cell_columns(object, if (of_column) tissue.by, spatial, call = call)
  if (!of_column && !is.null(tissue.by)) columns$tissue <- tissue.by
  if (!is.logical(spatial)) columns$positions <- spatial
  columns
}

#' @rdname CellContext
#' @param kind What to draw: `"label"`, a map of groups and the labels that they read, or `"distance"`, a line for each
#'   group over the intervals; by default the first of these that there is.
#' @export
ContextPlot <- function(context, kind = NULL) {
  rlang::check_installed("ggplot2")
  columns <- c("group", "kind", "read", "distance", "ratio")
  there <- if (is.data.frame(context)) intersect(c("label", "distance"), context$kind)
  if (!length(there) || !all(columns %in% names(context))) {
    cli::cli_abort(c(
      "This is no context of cells.",
      x = "Found: {.obj_type_friendly {context}}.",
      i = "Pass what {.fn CellContext} returned."
    ), class = "celloquy_ArgumentError", argument = "context")
  }
  kind <- kind %||% there[[1]]
  kind <- choice(rlang::arg_match0(kind, there))
  drawn <- context[context$kind == kind, columns]
  drawn$group <- factor(drawn$group, unique(drawn$group))
  theme <- ggplot2::theme(axis.text.x = ggplot2::element_text(angle = 90, hjust = 1, vjust = 0.5))
  if (kind == "distance") {
    drawn <- drawn[!is.na(drawn$distance), ]
    drawn$read <- factor(drawn$read, unique(drawn$read[order(drawn$distance)]))
    return(
      ggplot2::ggplot(drawn, ggplot2::aes(.data$read, .data$ratio, colour = .data$group, group = .data$group)) +
        ggplot2::geom_hline(yintercept = 1, linetype = "dotted") +
        ggplot2::geom_line() +
        ggplot2::geom_point(size = 1) +
        ggplot2::labs(x = "distance", y = "weight over an even reading", colour = NULL) +
        ggplot2::theme_classic() +
        theme
    )
  }
  drawn$read <- factor(drawn$read, unique(drawn$read))
  drawn$group <- factor(drawn$group, rev(levels(drawn$group)))
  drawn$doublings <- log2(drawn$ratio)
  # A scale that ends close to white would show noise as structure.
  most <- max(abs(drawn$doublings[is.finite(drawn$doublings)]), 0.1)
  ggplot2::ggplot(drawn, ggplot2::aes(.data$read, .data$group, fill = .data$doublings)) +
    ggplot2::geom_tile() +
    ggplot2::scale_fill_gradient2(low = "#2166ac", high = "#b2182b", limits = c(-most, most)) +
    ggplot2::labs(x = "is read", y = "reads", fill = "doublings of\nan even reading") +
    ggplot2::theme_classic() +
    theme
}
