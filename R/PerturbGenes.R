#' Change genes of cells in silico
#'
#' `PerturbGenes()` deletes or overexpresses genes in cells, or multiplies their counts, and tells how far a cell
#' language model then moves the cells, beside random genes of like expression. All else is held: the depth of a cell,
#' the values and positions of its other genes. `PerturbedPlot()` draws it.
#'
#' @param object Cells: a Seurat object, an assay, a SingleCellExperiment, or a matrix of raw counts (genes × cells).
#'   They stay as they are.
#' @param features Genes to change, by symbol or Ensembl id. In mouse cells a human gene is read as its ortholog.
#' @param model.object A model that can read changed counts: `"genes-mini"` or `"cells-mini"`, the models in the box;
#'   the directory of a saved one, the name `"org/name"` of one on the Hugging Face hub, or a model of Python.
#' @param how `"delete"`; `"overexpress"`: in every cell to the 99 % quantile of the gene's counts per 10,000 among the
#'   cells that express it; or a factor by which counts are multiplied, of which 0 deletes and 1 changes nothing.
#' @param by Column of the metadata, such as a cell type, or a value for each cell: a result for each of these groups.
#' @param together Change all `features` at once; by default each alone.
#' @param of `"cells"`: how far the cells move; `"genes"`: how far the vectors of the other genes move in the cells that
#'   read both, for a gene model.
#' @param n.cells Cells of a group that are read, at most, drawn by `seed.use`.
#' @param n.random Random genes to which each gene is compared.
#' @param assay,layer,counts,species,precision,device,seed.use,verbose As of [RunCelloquy()] and [AnnotateCells()].
#' @param shifts What `PerturbGenes()` returned, of cells.
#'
#' @return A data frame with a row for each gene, of each group: `group` if `by` is given, `gene`, `shift.cosine` and
#'   `shift.euclidean` (1 - cosine and distance between the embedding of a cell before and after, means over the cells
#'   that are altered), `z`, `p` and `q` of the shift among those of random genes, `expression` (mean counts per 10,000)
#'   and `n.cells` that are altered. With `of = "genes"` a row for each other gene that is `affected`, the most affected
#'   first. `PerturbedPlot()` returns a ggplot.
#' @seealso [RankDrivers()]
#' @examples
#' \dontrun{
#' shifts <- PerturbGenes(pbmc, c("GATA1", "KLF1"), by = "cell.type")
#' PerturbedPlot(shifts)
#' PerturbGenes(pbmc, "GATA1", of = "genes")
#' }
#' @export
PerturbGenes <- function(object, features, model.object = "genes-mini", how = "delete", by = NULL, together = FALSE,
                         of = "cells", n.cells = 200, n.random = 50, assay = NULL, layer = "counts", counts = NULL,
                         species = NULL, precision = "auto", device = "auto", seed.use = 42, verbose = TRUE) {
  call <- rlang::current_env()
  options <- list(counts = counts, species = species, precision = precision, device = device, verbose = verbose)
  table_of_genes(reticulate::py_to_r(ask_of_genes(
    "perturb", model.object, object, by, features, assay, layer, options,
    how = how, together = together, of = of, n_cells = whole_number(n.cells, call = call),
    n_random = whole_number(n.random, call = call), seed = whole_number(seed.use, call = call), call = call
  )))
}

#' @rdname PerturbGenes
#' @export
PerturbedPlot <- function(shifts) {
  rlang::check_installed("ggplot2")
  if (!is.data.frame(shifts) || !all(c("gene", "z", "q") %in% names(shifts)) || "affected" %in% names(shifts)) {
    cli::cli_abort(c(
      "These are no shifts of cells.",
      x = "Found: {.obj_type_friendly {shifts}}.",
      i = "Pass what {.fn PerturbGenes} returned, of cells."
    ), class = "celloquy_ArgumentError", argument = "shifts")
  }
  drawn <- shifts[!is.na(shifts$z), ]
  drawn$gene <- factor(drawn$gene, rev(unique(shifts$gene)))
  drawn$found <- ifelse(drawn$q < 0.05, "q < 0.05", "not found")
  plot <- ggplot2::ggplot(drawn, ggplot2::aes(.data$z, .data$gene, shape = .data$found)) +
    ggplot2::geom_vline(xintercept = 0, colour = "grey70") +
    ggplot2::geom_point(size = 2, colour = "#1f5f8b") +
    ggplot2::scale_shape_manual(values = c("q < 0.05" = 16, "not found" = 1)) +
    ggplot2::scale_y_discrete(drop = FALSE) +
    ggplot2::labs(x = "z of the shift among random genes", y = NULL, shape = NULL) +
    ggplot2::theme_classic()
  if (is.null(drawn$group)) plot else plot + ggplot2::facet_wrap("group")
}
