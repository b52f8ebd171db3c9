#' Attention between genes in cells
#'
#' `GeneAttention()` tells how much genes read of one another in a gene model: of each pair, the share of its attention
#' that one gene (the query) pays to the other (the key), a mean over the heads of a layer and over the cells in which
#' both are among the genes that are read. It says what the model looks at, not what regulates what.
#' `GeneAttentionPlot()` draws it as a heat map, one for each group.
#'
#' @inheritParams GeneEmbeddings
#' @param object Cells: a Seurat object, an assay, a SingleCellExperiment, or a matrix of raw counts (genes × cells).
#'   They are read a few at a time, and no more is kept than a number for each group and pair.
#' @param features Genes to look at, by symbol or Ensembl id.
#' @param by Column of the metadata, such as a cell type, or a value for each cell, for the attention in each of these
#'   groups; by default in all cells.
#' @param encoder.layer Layer of the model's encoder, counted from 1; the last by default.
#' @param attention What `GeneAttention()` returned.
#'
#' @return `GeneAttention()` returns a data frame with a row for each pair of genes that some cell reads, of each group:
#'   `query`, `key`, `attention`, `n.cells` on which it rests, and `group` if `by` is given. `GeneAttentionPlot()`
#'   returns a ggplot.
#' @seealso [GeneEmbeddings()]
#' @examples
#' \dontrun{
#' attention <- GeneAttention("model/", pbmc, c("GATA1", "KLF1", "HBB"), by = "cell.type")
#' GeneAttentionPlot(attention)
#' }
#' @export
GeneAttention <- function(model.object, object, features, by = NULL, encoder.layer = NULL, assay = NULL,
                          layer = "counts", counts = NULL, species = NULL, precision = "auto", device = "auto",
                          verbose = TRUE) {
  call <- rlang::current_env()
  options <- list(counts = counts, species = species, precision = precision, device = device, verbose = verbose)
  encoder.layer <- whole_number(encoder.layer, call = call)
  table_of_genes(reticulate::py_to_r(ask_of_genes(
    "gene_attention", model.object, object, by, features, assay, layer, options,
    encoder_layer = encoder.layer, call = call
  )))
}

#' @rdname GeneAttention
#' @export
GeneAttentionPlot <- function(attention) {
  rlang::check_installed("ggplot2")
  if (!is.data.frame(attention) || !all(c("query", "key", "attention") %in% names(attention))) {
    cli::cli_abort(c(
      "This is no attention between genes.",
      x = "Found: {.obj_type_friendly {attention}}.",
      i = "Pass what {.fn GeneAttention} returned."
    ), class = "celloquy_ArgumentError", argument = "attention")
  }
  genes <- unique(c(attention$query, attention$key))
  drawn <- attention
  # The first gene is above, and on the left.
  drawn$query <- factor(drawn$query, rev(genes))
  drawn$key <- factor(drawn$key, genes)
  plot <- ggplot2::ggplot(drawn, ggplot2::aes(.data$key, .data$query, fill = .data$attention)) +
    ggplot2::geom_tile() +
    ggplot2::scale_x_discrete(drop = FALSE) +
    ggplot2::scale_y_discrete(drop = FALSE) +
    ggplot2::scale_fill_gradient(low = "white", high = "#1f5f8b", limits = c(0, NA)) +
    ggplot2::coord_equal() +
    ggplot2::labs(x = "is read", y = "reads") +
    ggplot2::theme_classic() +
    ggplot2::theme(axis.text.x = ggplot2::element_text(angle = 90, hjust = 1, vjust = 0.5))
  if (is.null(drawn$group)) plot else plot + ggplot2::facet_wrap("group")
}
