#' Infer gene regulatory networks
#'
#' `InferNetwork()` tells which genes regulate which: edges from regulators to targets, the surest first, in all cells
#' or in each group of them. What it finds are associations that look like regulation; on networks known from
#' experiments most methods are little better than chance. `NetworkPlot()` draws the targets of a regulator,
#' `WriteNetwork()` writes edges to a file for Cytoscape, Gephi or igraph.
#'
#' @inheritParams GeneEmbeddings
#' @param object Cells: a Seurat object, an assay, a SingleCellExperiment, or a matrix of raw counts (genes × cells).
#' @param model.object Gene model for the methods that ask one: the directory of a saved one, a name, or a model of
#'   Python; by default `"genes-mini"`. With `method = "auto"` its cosine takes part if it is given.
#'   A `FactorModel` is the model of `"coexpression"`, in the place of the one in the box.
#' @param regulators Genes that may regulate, by symbol or Ensembl id; by default all transcription factors of the
#'   species (the Gene Ontology's GO:0003700; for mouse, orthologs of the human ones).
#' @param targets Genes that may be regulated; by default all genes. No gene regulates itself.
#' @param by Column of the metadata, such as a cell type, or a value for each cell: one network for each group.
#' @param method `"auto"`, a method, several of equal weight, or weights with the names of methods,
#'   `c(pearson = 1, prior = 2)`. Several are combined as Fisher's method combines tests: each adds minus the logarithm
#'   of the share of pairs that it ranks higher, times its weight.
#'
#'   * `"pearson"`, `"spearman"`: correlation of log expression, or of its ranks.
#'   * `"partial"`: correlation given all other regulators, with shrinkage.
#'   * `"ridge"`: coefficients of a ridge regression of the target on all regulators.
#'   * `"boosting"`: importance in boosted trees, as GRNBoost2; slow, some tenths of a second for each target.
#'   * `"cosine"`, `"attention"`, `"deletion"`: likeness of the vectors that a gene model gives both; how much the
#'     target reads of the regulator; how far the target's vector moves where the regulator is deleted.
#'   * `"prior"`: families, functions, domains and responses to signals that both share.
#'   * `"coexpression"`: correlation in the studies of the model in the box.
#'   * `"auto"`: `"prior"` with weight 2, `"pearson"` and `"coexpression"` with 1.
#' @param n.edges Edges to return of each group, at most; `NULL` returns all.
#' @param max.cells Cells of each group that are read, at most, drawn by their names and the seed.
#' @param normalised Take the values as they are, such as those of `layer = "data"`. Methods of a model need counts.
#' @param seed.use Seed of the cells that are drawn and of the trees.
#' @param network What `InferNetwork()` returned, or some of its rows.
#' @param regulator Name of a regulator.
#' @param n Number of targets.
#' @param file Path of a file that ends in `.graphml`, `.sif` or `.csv`.
#'
#' @return `InferNetwork()` returns a data frame of edges: `regulator` and `target` (names as in the object), `score`
#'   (the higher, the surer), `sign` (1 activates, -1 represses, 0 unknown), `group` if `by` is given, and `rank` within
#'   the group. Genes that do not vary in a group have no edges there. `NetworkPlot()` returns a ggplot,
#'   `WriteNetwork()` the path, invisibly.
#' @seealso [GeneAttention()]
#' @examplesIf celloquy:::examples_can_run()
#' network <- InferNetwork(
#'   SeuratObject::pbmc_small,
#'   regulators = c("LYZ", "CD79A"), method = "spearman", verbose = FALSE
#' )
#' head(network)
#' if (requireNamespace("ggplot2", quietly = TRUE)) NetworkPlot(network, "LYZ")
#' @export
InferNetwork <- function(object, model.object = NULL, regulators = NULL, targets = NULL, by = NULL, method = "auto",
                         n.edges = 100000, max.cells = 5000, normalised = FALSE, assay = NULL, layer = "counts",
                         counts = NULL, species = NULL, precision = "auto", device = "auto", seed.use = 42,
                         verbose = TRUE) {
  call <- rlang::current_env()
  n.edges <- whole_number(n.edges, call = call)
  max.cells <- whole_number(max.cells, call = call)
  seed.use <- whole_number(seed.use, call = call)
  cells <- read_cells(object, assay, layer, call = call)
  group <- groups_of(cells, by, call)
  bridge <- python_bridge(call, torch = TRUE)
  model <- if (!is.null(model.object)) check_model(model.object, call)
  crossing <- cross_cells(cells, labels = group, call = call)
  arguments <- list(
    crossing$adata(),
    model = model, regulators = as_names(regulators), targets = as_names(targets), by = names(group),
    method = if (rlang::is_string(method) && is.null(names(method))) method else as.list(method), n_edges = n.edges,
    max_cells = max.cells, normalised = normalised, counts = counts, species = species, seed = seed.use
  )
  options <- list(precision = precision, device = device, verbose = verbose)
  found <- with_python(
    with_progress(do.call(bridge$infer_network, c(arguments, running(options))), verbose), crossing$subject, call
  )
  table_of_genes(reticulate::py_to_r(found))
}

#' @rdname InferNetwork
#' @export
NetworkPlot <- function(network, regulator, n = 20) {
  rlang::check_installed("ggplot2")
  check_network(network)
  own <- network[network$regulator %in% regulator, ]
  if (!rlang::is_string(regulator) || nrow(own) == 0) {
    cli::cli_abort(c(
      "The regulator {.val {regulator}} has no edges.",
      x = "Regulators in the table: {.val {utils::head(unique(network$regulator), 5)}}.",
      i = "Pass one of them, or infer the network with more {.arg n.edges}."
    ), class = "celloquy_ArgumentError", argument = "regulator")
  }
  own$group <- own$group %||% ""
  stars <- lapply(split(own, own$group, drop = TRUE), function(part) {
    part <- utils::head(part[order(-part$score), ], n)
    angle <- pi / 2 - 2 * pi * (seq_len(nrow(part)) - 1) / nrow(part)
    part$x <- cos(angle)
    part$y <- sin(angle)
    left <- part$x < -1e-9
    # Names are read outward, and never upside down.
    part$turned <- angle * 180 / pi + ifelse(left, 180, 0)
    part$side <- ifelse(left, 1, 0)
    part
  })
  drawn <- do.call(rbind, stars)
  drawn$effect <- factor(
    c("represses", "unknown", "activates")[sign(drawn$sign) + 2], c("activates", "represses", "unknown")
  )
  plot <- ggplot2::ggplot(drawn) +
    ggplot2::geom_segment(ggplot2::aes(
      x = 0, y = 0, xend = .data$x, yend = .data$y, colour = .data$effect, linewidth = .data$score
    )) +
    ggplot2::geom_text(ggplot2::aes(
      x = 1.05 * .data$x, y = 1.05 * .data$y, label = .data$target, angle = .data$turned, hjust = .data$side
    ), size = 3) +
    ggplot2::annotate("label", x = 0, y = 0, label = regulator, fontface = "bold") +
    ggplot2::scale_colour_manual(
      values = c(activates = "#b2182b", represses = "#2166ac", unknown = "#888888"), drop = TRUE
    ) +
    ggplot2::scale_linewidth(range = c(0.3, 2)) +
    ggplot2::coord_equal(xlim = c(-1.6, 1.6), ylim = c(-1.6, 1.6)) +
    ggplot2::theme_void()
  if (identical(unique(drawn$group), "")) plot else plot + ggplot2::facet_wrap("group")
}

#' @rdname InferNetwork
#' @export
WriteNetwork <- function(network, file) {
  call <- rlang::current_env()
  check_network(network, call)
  columns <- lapply(network, function(column) as.array(if (is.factor(column)) as.character(column) else column))
  bridge <- python_bridge(call, torch = TRUE)
  with_python(bridge$write_network(columns, path.expand(file)), call = call)
  invisible(file)
}

check_network <- function(network, call = rlang::caller_env()) {
  if (!is.data.frame(network) || !all(c("regulator", "target", "score", "sign") %in% names(network))) {
    cli::cli_abort(c(
      "These are no edges of a network.",
      x = "Found: {.obj_type_friendly {network}}.",
      i = "Pass what {.fn InferNetwork} returned, or some of its rows."
    ), class = "celloquy_ArgumentError", argument = "network", call = call)
  }
}
