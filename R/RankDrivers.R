#' Rank the genes that lead from one state of cells to another
#'
#' `RankDrivers()` deletes and overexpresses each gene in the cells of a state, all else held, and compares the mean
#' shift of their embedding with the way to the cells of another state. Differential expression, the correlation of each
#' gene with the way and its expression stand beside. The rank is mostly that of differential expression, which on known
#' drivers does better than the model, which decides between genes that differ alike. `DriverPlot()` draws the best.
#'
#' @inheritParams PerturbGenes
#' @param source,target Values of `by`: the state to leave, and the state to reach.
#' @param by Column of the metadata with the states, or a value for each cell.
#' @param candidates Genes to rank, such as transcription factors; by default all that 5 % of the cells of a state
#'   express.
#' @param how As of [PerturbGenes()]; by default both deletion and overexpression are tried.
#' @param pairs Try pairs of the ten best genes, too.
#' @param drivers What `RankDrivers()` returned.
#' @param n Number of genes to draw.
#'
#' @return A data frame with a row for each gene, the best first: `rank`, `gene`, `direction` (`"up"` if more of the
#'   gene leads to the target), `cosine` of the shift with the way, `step` (the share of the way that the mean cell is
#'   moved), `z`, `p` and `q` among random genes of like expression, which are taken as independent (those that are
#'   expressed together are not, so `q` is a guide and no guarantee), `confidence` that the move is toward the target,
#'   the simple scores `log.fold.change`, `t`, `correlation` and `expression`, `n.cells` that are altered, and
#'   `states.p`: p of whether the states differ at all. Above 0.05 every `q` is 1 and every `confidence` 0.
#'   `DriverPlot()` returns a ggplot.
#' @seealso [PerturbGenes()]
#' @examples
#' \dontrun{
#' drivers <- RankDrivers(marrow, "HSC", "Erythroid", by = "cell.type")
#' DriverPlot(drivers)
#' }
#' @export
RankDrivers <- function(object, source, target, by, candidates = NULL, how = NULL, pairs = FALSE,
                        model.object = "cells-mini", n.cells = 500, n.random = 50, assay = NULL, layer = "counts",
                        counts = NULL, species = NULL, precision = "auto", device = "auto", seed.use = 42,
                        verbose = TRUE) {
  call <- rlang::current_env()
  options <- list(counts = counts, species = species, precision = precision, device = device, verbose = verbose)
  table_of_genes(reticulate::py_to_r(ask_of_genes(
    "rank_drivers", model.object, object, by, candidates, assay, layer, options,
    source = source, target = target, how = how, pairs = pairs, n_cells = whole_number(n.cells, call = call),
    n_random = whole_number(n.random, call = call), seed = whole_number(seed.use, call = call), call = call
  )))
}

#' @rdname RankDrivers
#' @export
DriverPlot <- function(drivers, n = 15) {
  rlang::check_installed("ggplot2")
  if (!is.data.frame(drivers) || !all(c("gene", "direction", "cosine", "t") %in% names(drivers))) {
    cli::cli_abort(c(
      "These are no drivers.",
      x = "Found: {.obj_type_friendly {drivers}}.",
      i = "Pass what {.fn RankDrivers} returned."
    ), class = "celloquy_ArgumentError", argument = "drivers")
  }
  best <- utils::head(drivers[!is.na(drivers$t), ], n)
  drawn <- data.frame(
    gene = factor(rep(best$gene, 2), rev(best$gene)), direction = rep(best$direction, 2),
    value = c(best$cosine, best$t), score = rep(c("cosine with the way", "t between the states"), each = nrow(best))
  )
  ggplot2::ggplot(drawn, ggplot2::aes(.data$value, .data$gene, fill = .data$direction)) +
    ggplot2::geom_col() +
    ggplot2::facet_wrap("score", scales = "free_x") +
    ggplot2::scale_fill_manual(values = c(up = "#b2182b", down = "#2166ac")) +
    ggplot2::labs(x = NULL, y = NULL) +
    ggplot2::theme_classic()
}
