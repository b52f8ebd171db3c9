#' Tell a property of genes, learned from some that have it
#'
#' `ClassifyGenes()` learns any label of genes, or a number, from some genes and tells it of others: dosage sensitivity,
#' essentiality, a phenotype. Genes are described by what is known of them (families, functions, domains, responses to
#' signals, and how much of that there is), by how the corpus of the models in the box expresses them, by the vectors of
#' models, and, with `object`, by how your own cells express them. Each kind of evidence is read by a regression of its
#' own, all of them by one more and by a forest; they are blended by what they say of held-out genes. Where a single
#' kind of evidence or the frequency of the labels alone does better there, it is used instead, and the attribute
#' `"report"` says so. `GenePropertyPlot()` draws how held-out genes were told.
#'
#' @param features Genes to learn from, by symbol or Ensembl id, of human or mouse. One-to-one orthologs are one gene.
#' @param labels Label of each gene: text, a factor, `TRUE` and `FALSE`, or numbers. More than 20 different numbers, or
#'   fractions, are a number to be told; else labels are classes. Genes with `NA` are left out. By default the property
#'   that was kept in `model.dir` is told.
#' @param to Genes whose property is asked for; by default all that are known, in the species that was learned from.
#' @param model.object A model whose vectors of genes are read: the directory or the name of a saved one, or a model of
#'   Python. By default `"cells-mini"` and `"genes-mini"`, which are in the box.
#' @param object Cells in which the genes are described, too: a Seurat object, an assay, a SingleCellExperiment, or a
#'   matrix of raw counts (genes × cells).
#' @param evidence `"auto"`, all that can be had, or some of `"family"`, `"function"`, `"domains"`, `"signalling"`,
#'   `"annotations"`, `"expression"`, `"profiles"`, `"vectors"` and `"cells"`. Numeric matrices of your own, genes ×
#'   features with the genes as row names, stand beside these in a list.
#' @param folds `"family"` holds out whole families of genes, so that no paralogue of a held-out gene is learned from;
#'   `"random"` holds out genes at random.
#' @param unknown `"drop"` leaves out names that stand for no gene; by default they are an error.
#' @param model.dir Directory in which what was learned is kept, or from which it is read if there are no `labels`.
#' @param overwrite Replace what is kept in `model.dir`.
#' @param assay,layer,counts,species,device,seed.use,verbose As of [RunCelloquy()].
#' @param properties What `ClassifyGenes()` returned.
#'
#' @return `ClassifyGenes()` returns a data frame with a row for each gene: `gene` (Ensembl id), `symbol`, `label`,
#'   `probability.` of each class, `confidence`, the probability of the label; of a number `value` and `error`, its
#'   standard error on held-out genes; `known`, how many kinds of evidence know the gene; `given`, whether it was
#'   learned from. Its attribute `"held.out"` has the same of the genes that were learned from, told by what was learned
#'   from others, with their `truth`; `"report"` has a row for each way that was tried, with its loss, its gain over the
#'   frequency of the labels and the standard error of that, and AUROC or R²; `"method"` is the way that was chosen.
#'
#'   `GenePropertyPlot()` returns a ggplot: the ROC curve of each class, or numbers against the truth.
#' @seealso [GeneEmbeddings()]
#' @examples
#' \dontrun{
#' found <- ClassifyGenes(lists$gene, lists$dosage.sensitive, to = c("GATA4", "TBX5"))
#' attr(found, "report")
#' GenePropertyPlot(found)
#' }
#' @export
ClassifyGenes <- function(features, labels = NULL, to = NULL, model.object = NULL, object = NULL, evidence = "auto",
                          folds = "family", unknown = "error", model.dir = NULL, overwrite = FALSE, assay = NULL,
                          layer = "counts", counts = NULL, species = NULL, device = "auto", seed.use = 42,
                          verbose = TRUE) {
  call <- rlang::current_env()
  if (is.null(labels) && is.null(model.dir)) {
    cli::cli_abort(c(
      "There is no property to tell.",
      x = "Found neither {.arg labels} nor {.arg model.dir}.",
      i = "Pass the labels of {.arg features}, or the directory in which a property was kept."
    ), class = "celloquy_ArgumentError", argument = "labels", call = call)
  }
  told <- check_labels(if (missing(features)) NULL else features, labels, call)
  if (is.null(labels) && !missing(features) && is.null(to)) to <- features
  bridge <- python_bridge(call, torch = TRUE)
  model <- if (!is.null(model.object)) check_model(model.object, call)
  subject <- "The cells"
  adata <- NULL
  if (!is.null(object)) {
    cells <- read_cells(object, assay, layer, call = call)
    crossing <- cross_cells(cells, call = call)
    adata <- crossing$adata()
    subject <- crossing$subject
  }
  found <- with_python(with_progress(bridge$classify_genes(
    told$genes, told$labels, adata,
    levels = told$levels, to = as_names(to), model = model, evidence = cross_evidence(evidence, call),
    out = model_path(model.dir), overwrite = overwrite, folds = folds, unknown = unknown, counts = counts,
    species = species, device = device, seed = whole_number(seed.use, "seed.use", call), progress = verbose
  ), verbose), subject, call)
  found <- reticulate::py_to_r(found)
  table <- property_table(found$columns, found$classes)
  report <- property_table(found$report)
  rownames(report) <- report$way
  report$way <- NULL
  structure(
    table,
    held.out = property_table(found$held_out, found$classes), report = report, method = found$method
  )
}

#' @rdname ClassifyGenes
#' @export
GenePropertyPlot <- function(properties) {
  rlang::check_installed("ggplot2")
  held <- attr(properties, "held.out")
  if (!is.data.frame(held)) {
    cli::cli_abort(c(
      "These are no properties of genes.",
      x = "Found: {.obj_type_friendly {properties}}.",
      i = "Pass what {.fn ClassifyGenes} returned; a part of its rows has lost what is known of held-out genes."
    ), class = "celloquy_ArgumentError", argument = "properties")
  }
  if (!is.null(held$value)) {
    plot <- ggplot2::ggplot(held, ggplot2::aes(.data$truth, .data$value)) +
      ggplot2::geom_abline(linetype = 2, colour = "grey60") +
      ggplot2::geom_point(size = 0.8, colour = "#1f5f8b") +
      ggplot2::labs(x = "truth", y = "told of held-out genes") +
      ggplot2::theme_classic()
    return(plot)
  }
  curves <- lapply(levels(held$label), function(class) roc_curve(class, held))
  ggplot2::ggplot(do.call(rbind, curves), ggplot2::aes(.data$false.positive, .data$true.positive)) +
    ggplot2::geom_abline(linetype = 2, colour = "grey60") +
    ggplot2::geom_step(ggplot2::aes(colour = .data$class)) +
    ggplot2::coord_equal() +
    ggplot2::labs(x = "false positive rate", y = "true positive rate", colour = "AUROC, held-out genes") +
    ggplot2::theme_classic()
}

# The ROC curve of a class against the others, and its area in the name; genes of one probability are one step.
roc_curve <- function(class, held) {
  probability <- held[[paste0("probability.", class)]]
  truth <- held$truth == class
  at <- c(Inf, sort(unique(probability), decreasing = TRUE))
  hits <- vapply(at, function(least) mean(probability[truth] >= least), 0)
  alarms <- vapply(at, function(least) mean(probability[!truth] >= least), 0)
  area <- sum(diff(alarms) * (utils::head(hits, -1) + hits[-1]) / 2)
  data.frame(class = sprintf("%s: %.2f", class, area), true.positive = hits, false.positive = alarms)
}

# Genes and labels that Python can take: those that have one, text or numbers, and the order of classes.
check_labels <- function(features, labels, call) {
  if (is.null(labels)) {
    return(list())
  }
  if (!is.atomic(labels) && !is.factor(labels) || length(labels) != length(features)) {
    cli::cli_abort(c(
      "Each gene needs a label.",
      x = "Found {length(features)} gene{?s} and {length(labels)} label{?s}.",
      i = "Pass a vector as {.arg labels}, with {.code NA} for genes without one."
    ), class = "celloquy_ArgumentError", argument = "labels", call = call)
  }
  kept <- !is.na(labels)
  levels <- if (is.factor(labels)) as.list(levels(labels))
  # A list with names would be a dictionary.
  values <- unname(if (is.numeric(labels)) as.numeric(labels) else as.character(labels))
  kept <- unname(kept)
  list(genes = as.list(unname(as.character(features))[kept]), labels = as.list(values[kept]), levels = levels)
}

# Kinds of evidence by name, and matrices as Python makes tables of them.
cross_evidence <- function(evidence, call) {
  if (is.matrix(evidence)) evidence <- list(evidence)
  lapply(as.list(evidence), function(one) {
    if (rlang::is_string(one)) {
      return(one)
    }
    if (!is.matrix(one) || !is.numeric(one) || is.null(rownames(one))) {
      cli::cli_abort(c(
        "This is no evidence of genes.",
        x = found_value(one),
        i = "Pass names of kinds of evidence, or numeric matrices with the genes as row names."
      ), class = "celloquy_ArgumentError", argument = "evidence", call = call)
    }
    columns <- colnames(one) %||% paste0("V", seq_len(ncol(one)))
    list(values = unname(one), names = as.list(rownames(one)), features = as.list(columns))
  })
}

property_table <- function(columns, classes = character()) {
  table <- as.data.frame(lapply(columns, as.vector), stringsAsFactors = FALSE, check.names = FALSE)
  names(table) <- sub("^probability_", "probability.", names(columns))
  names(table) <- ifelse(grepl("^probability[.]", names(table)), names(table), gsub("_", ".", names(table)))
  for (name in intersect(c("given", "chosen"), names(table))) table[[name]] <- as.logical(table[[name]])
  if (!is.null(table$label)) table$label <- factor(table$label, as.character(unlist(classes)))
  table
}
