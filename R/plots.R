# Plots of results, drawn with ggplot2.

#' Plots of annotation, denoising, imputation, integration and training
#'
#' * `AnnotationPlot()`: the confidence and the number of cells of each label; with `truth`, the share of the cells of
#'   each known label that was given each label.
#' * `DenoisingPlot()`: the denoised values of every cell against its observed values, one panel for each gene.
#' * `ImputationPlot()`: imputed genes on the tissue, beside their measured values where these exist.
#' * `IntegrationPlot()`: UMAPs of two embeddings of the same cells, before and after integration.
#' * `LossPlot()`: the loss by epoch of the training for a result, and the loss of held-out cells.
#'
#' @param object A Seurat object with the result of [AnnotateCells()], [DenoiseExpression()], [ImputeGenes()],
#'   [CelloquyIntegration()] or [RunCelloquy()].
#' @param truth Column of the metadata with known labels.
#' @param features Names of genes.
#' @param assay Assay with the result.
#' @param observed Assay with the counts; by default the default assay.
#' @param layer Layer with the counts.
#' @param group.by Column of the metadata by which `DenoisingPlot()` colours cells; for `IntegrationPlot()` one or
#'   several columns, such as the batch and the cell type, each in a panel of its own.
#' @param measured A Seurat object of the same cells in which these genes were measured, if there is one.
#' @param pt.size Size of the points.
#' @param before,after Names of dimensional reductions.
#' @param seed.use Seed of the UMAPs.
#' @param result Name of an assay or a dimensional reduction that celloquy made.
#'
#' @return A ggplot, or several put together by patchwork: add to it, or keep it with [ggplot2::ggsave()].
#' @examplesIf celloquy:::examples_can_run() && rlang::is_installed("ggplot2")
#' object <- SeuratObject::pbmc_small
#' # Two epochs keep the example short; leave `epochs` out.
#' object <- AnnotateCells(object, object, "RNA_snn_res.1", epochs = 2, verbose = FALSE)
#' AnnotationPlot(object, truth = "RNA_snn_res.1")
#' LossPlot(object, "prediction.score.id")
#' @name plots
NULL

#' @rdname plots
#' @export
AnnotationPlot <- function(object, truth = NULL) {
  rlang::check_installed("ggplot2")
  data <- object[[]]
  if (!all(c("predicted.id", "prediction.score.max") %in% names(data))) {
    cli::cli_abort(c(
      "These cells are not annotated.",
      x = "There is no {.val predicted.id} with {.val prediction.score.max} in the metadata.",
      i = "Run {.fn AnnotateCells} first."
    ), class = "celloquy_ArgumentError")
  }
  given <- data$predicted.id
  if (is.null(truth)) {
    sure <- data$prediction.score.max
    sizes <- sort(table(given))
    label <- factor(given, names(sizes), paste0(names(sizes), " (", sizes, ")"))
    drawn <- data.frame(label = label, confidence = sure)
    return(
      ggplot2::ggplot(drawn, ggplot2::aes(.data$confidence, .data$label)) +
        ggplot2::geom_boxplot(outlier.shape = NA) +
        ggplot2::coord_cartesian(xlim = c(0, 1)) +
        ggplot2::labs(y = NULL) +
        ggplot2::theme_classic()
    )
  }
  known <- as.character(metadata_column(data, truth, "truth"))
  shares <- prop.table(table(known = known, given = given), 1)
  drawn <- as.data.frame(shares, responseName = "share")
  # The same label lies on the diagonal.
  same <- intersect(levels(drawn$known), levels(drawn$given))
  drawn$known <- factor(drawn$known, rev(c(same, setdiff(levels(drawn$known), same))))
  drawn$given <- factor(drawn$given, c(same, setdiff(levels(drawn$given), same)))
  drawn$text <- ifelse(drawn$share >= 0.005, sprintf("%.0f", 100 * drawn$share), "")
  ggplot2::ggplot(drawn, ggplot2::aes(.data$given, .data$known, fill = .data$share)) +
    ggplot2::geom_tile() +
    ggplot2::geom_text(ggplot2::aes(label = .data$text, colour = .data$share > 0.5), size = 3, show.legend = FALSE) +
    ggplot2::scale_colour_manual(values = c("FALSE" = "black", "TRUE" = "white")) +
    ggplot2::scale_fill_gradient(low = "white", high = "#1f5f8b", limits = c(0, 1), labels = percent) +
    ggplot2::labs(x = "given", y = truth, fill = "share") +
    ggplot2::theme_classic() +
    ggplot2::theme(axis.text.x = ggplot2::element_text(angle = 45, hjust = 1))
}

percent <- function(share) paste0(100 * share, " %")

#' @rdname plots
#' @export
DenoisingPlot <- function(object, features, assay = "denoised", observed = NULL, layer = "counts", group.by = NULL,
                          pt.size = 0.6) {
  rlang::check_installed("ggplot2")
  assay <- choose_assay(object, assay)
  observed <- choose_assay(object, observed)
  denoised <- object[[assay]]
  unit <- SeuratObject::DefaultLayer(denoised)
  counts <- assay_counts(object[[observed]], layer, observed)
  features <- check_features(features, rownames(denoised), paste0("assay \"", assay, "\""))
  check_features(features, rownames(counts), paste0("assay \"", observed, "\""))
  # As the denoised values are: counts, or log1p of counts per 10,000.
  per <- if (unit == "counts") 1 else 1e4 / pmax(Matrix::colSums(counts), 1)
  group <- if (!is.null(group.by)) metadata_column(object[[]], group.by, "group.by")
  panels <- lapply(features, function(feature) {
    seen <- counts[feature, colnames(object)] * per
    data.frame(
      feature = feature, observed = if (unit == "counts") seen else log1p(seen),
      denoised = SeuratObject::LayerData(denoised, unit)[feature, colnames(object)], group = group %||% "all cells"
    )
  })
  drawn <- do.call(rbind, panels)
  drawn$feature <- factor(drawn$feature, features)
  ggplot2::ggplot(drawn, ggplot2::aes(.data$observed, .data$denoised, colour = .data$group)) +
    ggplot2::geom_abline(colour = "grey70", linetype = "dotted") +
    # Counts are small whole numbers: without jitter most points would cover one another.
    ggplot2::geom_point(
      size = pt.size, alpha = 0.6, show.legend = !is.null(group),
      position = ggplot2::position_jitter(width = if (unit == "counts") 0.2 else 0.05, height = 0, seed = 1)
    ) +
    ggplot2::facet_wrap("feature", scales = "free") +
    ggplot2::guides(colour = ggplot2::guide_legend(override.aes = list(size = 2, alpha = 1))) +
    ggplot2::labs(
      x = if (unit == "counts") "observed counts" else "observed, log-normalised",
      y = if (unit == "counts") "denoised counts" else "denoised, log-normalised", colour = group.by
    ) +
    ggplot2::theme_classic()
}

#' @rdname plots
#' @export
ImputationPlot <- function(object, features, assay = "imputed", measured = NULL, layer = "counts", pt.size = 0.8) {
  rlang::check_installed("ggplot2")
  assay <- choose_assay(object, assay)
  features <- check_features(features, rownames(object[[assay]]), paste0("assay \"", assay, "\""))
  places <- tissue_positions(object)
  cells <- rownames(places)
  values <- SeuratObject::LayerData(object, assay = assay, layer = "data")
  reliability <- object[[assay]][["reliability"]][features, 1]
  panel <- function(feature, found, title) {
    # Measured and imputed values have scales of their own, so each panel goes from its lowest to its highest value.
    data.frame(
      places,
      feature = feature, title = title, value = (found - min(found)) / max(diff(range(found)), .Machine$double.eps)
    )
  }
  drawn <- Map(function(feature, sure) {
    rbind(
      if (!is.null(measured)) {
        counts <- assay_counts(measured[[choose_assay(measured, NULL)]], layer)
        check_features(feature, rownames(counts), "`measured`")
        panel(feature, log1p(counts[feature, cells]), paste(feature, "measured", sep = ", "))
      },
      panel(feature, values[feature, cells], sprintf("%s, imputed (reliability %.2f)", feature, sure))
    )
  }, features, reliability)
  drawn <- do.call(rbind, unname(drawn))
  drawn$title <- factor(drawn$title, unique(drawn$title))
  ggplot2::ggplot(drawn, ggplot2::aes(.data$x, .data$y, colour = .data$value)) +
    ggplot2::geom_point(size = pt.size) +
    ggplot2::facet_wrap("title", ncol = if (is.null(measured)) NULL else 2) +
    ggplot2::scale_colour_viridis_c(breaks = c(0, 1), labels = c("least", "most")) +
    ggplot2::coord_equal() +
    ggplot2::labs(colour = "expression") +
    ggplot2::theme_void() +
    ggplot2::theme(strip.text = ggplot2::element_text(margin = ggplot2::margin(2, 0, 4, 0)))
}

#' @rdname plots
#' @export
IntegrationPlot <- function(object, group.by, before = "pca", after = "celloquy", pt.size = NULL, seed.use = 42) {
  rlang::check_installed(c("Seurat", "patchwork"))
  for (column in group.by) metadata_column(object[[]], column, "group.by")
  rows <- lapply(c(before, after), function(reduction) {
    if (!rlang::is_string(reduction) || !reduction %in% SeuratObject::Reductions(object)) {
      cli::cli_abort(c(
        "There is no reduction {.val {reduction}}.",
        x = "Reductions: {.val {SeuratObject::Reductions(object)}}.",
        i = "Compute it first, or name one that is there."
      ), class = "celloquy_ArgumentError", call = rlang::caller_env(2))
    }
    # uwot's messages are of no use here.
    drawn <- suppressWarnings(Seurat::RunUMAP(
      object,
      reduction = reduction, dims = seq_len(ncol(object[[reduction]])), seed.use = seed.use, verbose = FALSE
    ))
    lapply(group.by, function(column) {
      Seurat::DimPlot(drawn, group.by = column, pt.size = pt.size) +
        ggplot2::labs(title = paste0(reduction, ": ", column))
    })
  })
  patchwork::wrap_plots(unlist(rows, recursive = FALSE), nrow = 2)
}

#' @rdname plots
#' @export
LossPlot <- function(object, result = "celloquy") {
  rlang::check_installed("ggplot2")
  results <- c(SeuratObject::Assays(object), SeuratObject::Reductions(object))
  history <- if (result %in% results) SeuratObject::Misc(object[[result]], "celloquy")$history
  if (is.null(history$loss)) {
    cli::cli_abort(c(
      "There is no loss to draw.",
      x = if (result %in% results) "Nothing was trained for {.val {result}}." else "There is no {.val {result}}.",
      i = "Pass the name of an assay or a reduction for which celloquy trained a model; there are {.val {results}}."
    ), class = "celloquy_ArgumentError")
  }
  held.out <- !is.null(history$validation)
  drawn <- rbind(
    data.frame(epoch = history$epoch, loss = history$loss, cells = "training"),
    if (held.out) data.frame(epoch = history$epoch, loss = history$validation, cells = "held out")
  )
  best <- if (held.out) history$epoch[which.min(history$validation)]
  ggplot2::ggplot(drawn, ggplot2::aes(.data$epoch, .data$loss, colour = .data$cells)) +
    ggplot2::geom_vline(xintercept = best, colour = "grey70", linetype = "dotted") +
    ggplot2::geom_line() +
    # A loss is of a whole epoch.
    ggplot2::scale_x_continuous(breaks = function(limits) unique(round(pretty(limits)))) +
    ggplot2::labs(colour = NULL, caption = if (held.out) paste("Kept: epoch", best)) +
    ggplot2::theme_classic()
}
