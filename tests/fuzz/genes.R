# Calls of the verbs of genes and of responses on random objects of R. Each returns how it ended, or stops.

factors <- c("LEF1", "TCF7", "FOXP3", "JUN", "FOS")

odd_values <- list(
  NULL, NA, TRUE, -1, 0, 2.5, "x", "", character(), c("a", "b"), list(1), 1i, mean, 1e20, factor("a"), Inf,
  NA_character_, "a+b+", "\u00e9", as.Date("2020-01-01"), data.frame(a = 1), matrix(1), list(), list(a = "b"), "half"
)

gene_model <- function() python_module("gene_calls")$factor_model()

# Kept by Python in the folder of this process.
kept_vectors <- function() {
  if (is.null(fuzzed$vectors)) fuzzed$vectors <- GeneEmbeddings(gene_model(), device = "cpu", verbose = FALSE)
  fuzzed$vectors
}

kept_responses <- function() {
  if (is.null(fuzzed$responses)) {
    folder <- file.path(dirname(model_of("model")), "responses")
    told <- with_seed_kept(suppressWarnings(PredictResponse(
      as_screen(specimen(60)),
      perturbation.by = "gene", covariate.by = "line", dose.by = "dose", priors = "signalling", model.dir = folder,
      device = "cpu", verbose = FALSE
    )))
    fuzzed$responses <- list(told = told, folder = folder)
  }
  fuzzed$responses
}

fuzzed <- new.env()

with_seed_kept <- function(code) withr::with_seed(3, code)

# A screen in a Seurat object: perturbations and controls, contexts, doses, donors.
as_screen <- function(s, names = c("STAT1", "IRF1", "MYC")) {
  n <- nrow(s$data)
  s$data$gene <- ifelse(seq_len(n) %% 2 == 0, "control", sample(names, n, replace = TRUE))
  s$data$line <- rep(c("a", "a", "b", "b"), length.out = n)
  s$data$dose <- sample(c(0.1, 1, 10), n, replace = TRUE)
  s$data$donor <- rep(c("d0", "d0", "d1", "d1", "d2"), length.out = n)
  as_seurat(s)
}

# Columns of a screen with odd values among them, on the odd object.
odd_screen <- function() {
  s <- dressed()
  n <- nrow(s$data)
  names <- sample(c("STAT1", "IRF1", "MYC", "IRF1+STAT1", "drug"), 3)
  if (maybe(0.3)) names[[1]] <- one_of(c(hostile, "STAT1+control", "a+b+", "+", " STAT1", "Control"))
  object <- as_screen(s, names)
  change <- function(column, values) object@meta.data[[column]] <<- values
  no_object({
    if (maybe(0.1)) change("gene", factor(object$gene, levels = c("unused", unique(object$gene))))
    if (maybe(0.1)) change("gene", ifelse(stats::runif(n) < 0.2, NA, object$gene))
    if (maybe(0.1)) change("dose", one_of(list(rep("high", n), rep(-1, n), rep(Inf, n), factor(object$dose), NA)))
    if (maybe(0.1)) change("line", one_of(list(rep("", n), rep(NA, n), rep(TRUE, n), factor(object$line), seq_len(n))))
  })
  list(s = s, object = object)
}

respond <- function(folder) {
  screen <- odd_screen()
  object <- screen$object
  given <- list(object, perturbation.by = "gene", priors = "signalling", device = "cpu", verbose = FALSE)
  if (maybe(0.5)) given$covariate.by <- one_of(list("line", object$line, "nowhere"))
  if (maybe(0.4)) given$dose.by <- one_of(list("dose", object$dose))
  if (maybe(0.2)) given$replicate.by <- "donor"
  if (maybe(0.2)) given$control <- one_of(list("nowhere", character(), NA, 3, c("control", "DMSO"), list("control")))
  if (maybe(0.4)) given$perturbations <- one_of(list("MYC", c("MYC", "STAT1"), hostile[1:3], NA, character(), 3))
  if (maybe(0.2)) given$doses <- one_of(list(1, c(0.5, 5), -1, "high", NA, numeric(), Inf))
  if (maybe(0.2)) given$described <- odd_described()
  if (maybe(0.2)) given$values <- one_of(c("expression", "effects", "ranks"))
  if (maybe(0.1)) given$controls <- as_screen(dressed())
  # Conditions of few cells are told of.
  result <- watched(function() do.call(PredictResponse, given), list(object), folder)
  if (screen$s$end == "refusal" && is.null(given$values)) check_end(screen$s, result)
  if (!ended(result)) {
    check_response(result)
    check_plots(result, folder)
  }
  how(result)
}

odd_described <- function() {
  names <- c("MYC", "STAT1", "IRF1", "drug")
  smiles <- c("CCO", "", NA, one_of(c("C1CC", "CN", "\u00e9")))
  values <- one_of(list(1:4, c(1, NA, 2, 3), c(TRUE, FALSE, NA, TRUE), letters[1:4], c(1, Inf, 2, 3), rep(1i, 4)))
  one_of(list(
    data.frame(smiles = smiles, row.names = names), data.frame(targets = c("CD4;LYZ", NA, "", "x"), row.names = names),
    data.frame(size = values, row.names = names), data.frame(), data.frame(row.names = names), 3, list(a = 1),
    data.frame(mechanism = factor(c("a", "b", NA, "a")), row.names = names), as.matrix(1:2),
    data.frame(size = I(list(1, 2, 3, "a")), row.names = names),
    stats::setNames(data.frame(1:4, 1:4, row.names = names), c("a", "a")),
    data.frame(when = as.Date("2020-01-01") + 0:3, row.names = names)
  ))
}

check_response <- function(found) {
  size <- dim(found$change)
  for (name in c("expression", "change", "lower", "upper")) {
    if (!identical(dim(found[[name]]), size)) wrong(name, " has another shape")
    if (!identical(colnames(found[[name]]), rownames(found$conditions))) wrong(name, " has other names")
  }
  if (!all(is.finite(found$change)) || !all(is.finite(found$expression))) wrong("predictions are not finite")
  reliability <- found$conditions$reliability
  if (any(!is.na(reliability) & (reliability < 0 | reliability > 1))) wrong("reliability is out of range")
}

check_plots <- function(found, folder) {
  kind <- one_of(c("changes", "volcano", "dose", "reliability"))
  value <- if (maybe(0.5)) NULL else one_of(c(odd_values, list(colnames(found$change)[[1]])))
  argument <- one_of(c("conditions", "features", "n"))
  given <- list(found, kind)
  if (!is.null(value)) given[[argument]] <- value
  plotted <- tryCatch(
    watched(function() do.call(ResponsePlot, given), list(found), folder),
    wrong = function(condition) {
      wrong(sprintf("ResponsePlot(%s, %s = %s): ", kind, argument, said(value)), conditionMessage(condition))
    }
  )
  if (!ended(plotted) && !inherits(plotted, "ggplot")) wrong("a plot is a ", class(plotted)[[1]])
  if (!ended(plotted)) suppressMessages(ggplot2::ggplot_build(plotted))
}

said <- function(value) substr(rlang::expr_deparse(value)[[1]], 1, 60)

draw_cells <- function(folder) {
  screen <- if (maybe(0.5)) odd_screen() else list(object = as_screen(specimen()))
  kept <- kept_responses()
  name <- one_of(c("MYC", "STAT1", hostile[1:3]))
  dose <- one_of(list(NULL, 1, 100, -1, "x"))
  result <- watched(function() {
    SampleResponse(screen$object, name, kept$folder, dose = dose, covariate.by = "line", verbose = FALSE)
  }, list(screen$object), folder)
  if (!ended(result) && ncol(result) != ncol(screen$object)) wrong("cells were lost")
  how(result)
}

# A verb of genes on an odd object.
genes_of_cells <- function(folder) {
  s <- dressed()
  object <- if (maybe(0.7)) as_seurat(s) else as_sce(s)
  by <- one_of(list(NULL, NULL, "label", "batch", "nowhere"))
  method <- one_of(c("pearson", "spearman", "ridge", "prior"))
  how_changed <- one_of(list("delete", "overexpress", 2))
  network <- function() {
    InferNetwork(object, regulators = factors, by = by, method = method, device = "cpu", verbose = FALSE)
  }
  perturb <- function() {
    PerturbGenes(
      object, c("CD3D", "LYZ"), gene_model(),
      how = how_changed, by = by, n.random = 5, device = "cpu", verbose = FALSE
    )
  }
  drivers <- function() {
    RankDrivers(object, "T", "B", "label", model.object = gene_model(), n.random = 5, device = "cpu", verbose = FALSE)
  }
  verb <- one_of(list(network, perturb, drivers))
  result <- watched(verb, list(object), folder)
  if (!ended(result) && !is.data.frame(result)) wrong("the result is a ", class(result)[[1]])
  how(result)
}

# One argument has an odd value; the object is plain.
odd_arguments_of_genes <- function(folder) {
  object <- as_screen(specimen(30))
  genes <- unlist(reticulate::py_to_r(python_module("specimens")$SYMBOLS))
  quiet <- list(device = "cpu", verbose = FALSE)
  kept <- kept_responses()
  verbs <- list(
    InferNetwork = c(list(object, regulators = factors, method = "pearson"), quiet),
    PerturbGenes = c(list(object, "CD3D", gene_model(), n.random = 5), quiet),
    RankDrivers = c(list(object, "T", "B", "label", model.object = gene_model(), n.random = 5), quiet),
    ClassifyGenes = c(list(genes, rep(c("a", "b"), length.out = length(genes)), evidence = "expression"), quiet),
    GeneEmbeddings = c(list(gene_model(), object), quiet),
    SimilarGenes = list("CD3D", kept_vectors()),
    PredictResponse = c(list(object, perturbation.by = "gene", priors = "signalling"), quiet),
    SampleResponse = list(object, "MYC", kept$folder, covariate.by = "line", verbose = FALSE),
    ResponsePlot = list(kept$told)
  )
  verb <- one_of(names(verbs))
  formals <- setdiff(names(formals(get(verb))), c("device", "verbose", "model.dir", "..."))
  name <- one_of(formals)
  value <- one_of(odd_values)
  given <- verbs[[verb]]
  # Arguments by place come by name, so that any of them can be replaced.
  unnamed <- which(!nzchar(names(given) %||% rep("", length(given))))
  names(given)[unnamed] <- names(formals(get(verb)))[unnamed]
  given[name] <- list(value)
  inputs <- list(object)
  tryCatch(
    how(watched(function() do.call(verb, given), inputs, folder)),
    wrong = function(condition) wrong(sprintf("%s(%s = %s): ", verb, name, said(value)), conditionMessage(condition))
  )
}

all_cases <- c(all_cases, list(
  respond = respond, draw_cells = draw_cells, genes_of_cells = genes_of_cells,
  odd_arguments_of_genes = odd_arguments_of_genes
))
weights <- c(weights, respond = 3, draw_cells = 1, genes_of_cells = 3, odd_arguments_of_genes = 5)
