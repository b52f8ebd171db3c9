#' Predict the class or the value of samples from their cells
#'
#' `PredictSamples()` tells a class or a number of samples, such as patients, from their cells. A sample is read in
#' four ways: by the mean of its cells' embedding, by its composition (shares of states of cells), by its pseudobulk
#' (mean log expression), each with a regression with a ridge, and by gated attention over its cells. Each way is
#' tried on samples that are held out, for which all that is learned is learned anew without them. All predict
#' together, each with a weight that falls with its loss on these samples; the most common class, or the mean, has one,
#' too. With fewer than five samples of a class a warning says what can be claimed. `SamplePlot()` draws what is told of
#' held-out samples.
#'
#' @param object A Seurat object, an assay, a SingleCellExperiment, or a matrix of raw counts (genes × cells).
#' @param sample.by Column of the metadata with the sample, or a value for each cell.
#' @param target Column of the metadata with what is to be told, or a value for each cell, the same for all cells of a
#'   sample: numbers are a number, all else are classes. Samples where it is `NA` are told by what was learned from the
#'   others. By default what was kept in `model.dir` is read, and tells all samples.
#' @param group.by Column, or a value for each cell, of groups that are held out together, such as the patient where a
#'   patient has several samples. By default each sample is a group.
#' @param label.by Column, or a value for each cell, of types or states of cells, whose shares are the composition; by
#'   default 16 clusters of the embedding.
#' @param model.object The directory of a saved model, the name `"org/name"` of one on the hub, or a model of Python.
#'   `NULL` is the model in the box, `"cells-mini"`. It does not adapt to the cells, so that those that are held out
#'   have no part in it.
#' @param model.dir Directory in which what was learned is kept, or from which it is read if there is no `target`.
#' @param overwrite Replace what is kept in `model.dir`.
#' @param samples What `PredictSamples()` returned.
#' @param assay,layer,counts,species,precision,device,seed.use,verbose As of [RunCelloquy()].
#'
#' @return A data frame with a row for each sample: `n.cells` with counts, `truth`, `label`, a `probability` of
#'   each class, `confidence`; of a number instead `value` and `error`. `held.out` is `TRUE` of samples that were
#'   learned from: they are told by readings that did not know them. Where what was kept is read, `given` is `TRUE`
#'   of names that were learned from. Attributes: `cells`, a data frame of which cells decide: the `evidence` of all
#'   cells of a sample sums to what is told of it, less what is told of the usual sample; `report`, what each way
#'   and all together are worth on held-out samples (`loss`, `gain` over the most common class or the mean, its standard
#'   error, `auroc` or `r2`, and the `weight`); and `summary`.
#'
#'   `SamplePlot()` returns a ggplot: the probability of each class by the truth, or what is told over what is true.
#' @examples
#' \dontrun{
#' told <- PredictSamples(cohort, sample.by = "patient", target = "response", model.dir = "response/")
#' SamplePlot(told)
#' cohort$evidence <- attr(told, "cells")$evidence
#' PredictSamples(new.patients, sample.by = "patient", model.dir = "response/")
#' }
#' @export
PredictSamples <- function(object, sample.by, target = NULL, group.by = NULL, label.by = NULL, model.object = NULL,
                           model.dir = NULL, overwrite = FALSE, assay = NULL, layer = "counts", counts = NULL,
                           species = NULL, precision = "auto", device = "auto", seed.use = 42, verbose = TRUE) {
  call <- rlang::current_env()
  if (is.null(target) && is.null(model.dir)) {
    cli::cli_abort(c(
      "There is nothing to learn from.",
      x = "Found neither {.arg target} nor {.arg model.dir}.",
      i = "Pass what is known of samples, or the directory in which what was learned was kept."
    ), class = "celloquy_ArgumentError", argument = "target", call = call)
  }
  given <- names(present(list(group.by = group.by, model.object = model.object)))
  if (is.null(target) && length(given)) {
    cli::cli_abort(c(
      "There is no use here for {.arg {given}}.",
      x = "What is in {.arg model.dir} was learned already.",
      i = "Leave {.arg {given}} out, or pass a {.arg target} to learn."
    ), class = "celloquy_ArgumentError", argument = given[[1]], call = call)
  }
  cells <- read_cells(object, assay, layer, call = call)
  crossing <- cells_by(cells, list(sample = sample.by, target = target, group = group.by, label = label.by), call)
  numbers <- is.numeric(if (rlang::is_string(target) && !is.null(cells$data)) cells$data[[target]] else target)
  bridge <- python_bridge(call, torch = TRUE)
  keys <- crossing$keys
  found <- with_python(with_progress(bridge$predict_samples(
    crossing$adata(),
    sample_key = keys$sample, target = keys$target, numbers = numbers, group_key = keys$group, label_key = keys$label,
    model = check_model(model.object, call) %||% "cells-mini", out = model_path(model.dir), overwrite = overwrite,
    counts = counts, species = species, precision = precision, device = device,
    seed = whole_number(seed.use, "seed.use", call), progress = verbose
  ), verbose), crossing$subject, call)
  found <- reticulate::py_to_r(found)
  classes <- as.character(unlist(found$classes))
  table <- sample_table(found$samples, classes)
  rownames(table) <- table$sample
  table$sample <- NULL
  report <- property_table(found$report)
  rownames(report) <- report$way
  report$way <- NULL
  structure(
    table,
    cells = sample_table(found$cells, classes), report = report, summary = found$summary
  )
}

#' @rdname PredictSamples
#' @export
SamplePlot <- function(samples) {
  rlang::check_installed("ggplot2")
  held <- if (is.data.frame(samples) && !is.null(samples$truth)) samples[!is.na(samples$truth), , drop = FALSE]
  if (is.null(held) || nrow(held) == 0) {
    cli::cli_abort(c(
      "There is no sample with a truth to draw.",
      x = "Found: {.obj_type_friendly {samples}}.",
      i = "Pass what {.fn PredictSamples} returned where it was given a {.arg target}."
    ), class = "celloquy_ArgumentError", argument = "samples")
  }
  if (!is.null(held$value)) {
    range <- ggplot2::aes(ymin = .data$value - .data$error, ymax = .data$value + .data$error)
    plot <- ggplot2::ggplot(held, ggplot2::aes(.data$truth, .data$value)) +
      ggplot2::geom_abline(linetype = 2, colour = "grey60") +
      ggplot2::geom_pointrange(range, colour = "#1f5f8b", size = 0.3) +
      ggplot2::labs(x = "truth", y = "told, held out") +
      ggplot2::theme_classic()
    return(plot)
  }
  classes <- levels(held$label)
  # Of two classes one says all.
  shown <- if (length(classes) == 2) classes[[2]] else classes
  drawn <- do.call(rbind, lapply(shown, function(class) {
    data.frame(truth = held$truth, probability = held[[paste0("probability.", class)]], class = class)
  }))
  drawn$own <- as.character(drawn$truth) == drawn$class
  drawn$class <- factor(drawn$class, shown)
  ggplot2::ggplot(drawn, ggplot2::aes(.data$truth, .data$probability, colour = .data$own)) +
    ggplot2::geom_hline(yintercept = 1 / length(classes), linetype = 2, colour = "grey60") +
    ggplot2::geom_point(position = ggplot2::position_jitter(0.15, 0, seed = 1), show.legend = FALSE) +
    ggplot2::scale_colour_manual(values = c("grey50", "#1f5f8b")) +
    ggplot2::facet_wrap("class") +
    ggplot2::ylim(0, 1) +
    ggplot2::labs(x = "truth", y = "probability, held out") +
    ggplot2::theme_classic() +
    ggplot2::theme(strip.background = ggplot2::element_blank())
}

# Columns of samples or cells, with classes as factors.
sample_table <- function(columns, classes) {
  table <- property_table(columns, classes)
  if (is.character(table$truth)) table$truth <- factor(table$truth, classes)
  if (!is.null(table$held.out)) table$held.out <- as.logical(table$held.out)
  table
}
