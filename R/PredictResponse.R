#' Predict how expression answers to perturbations
#'
#' `PredictResponse()` learns from measured perturbations (genes, compounds, ligands, any condition), one or several at
#' once, at doses and in contexts (cell types, lines, patients), and tells expression under those that were not
#' measured: other perturbations, combinations, contexts and doses. Each of these situations is imitated by hiding what
#' was measured; the ways of the field, the simple ones first, are tried on what was hidden, and their blend predicts
#' unless a simpler way does better, or nothing is better than no change. [ResponsePlot()] draws the result,
#' [SampleResponse()] draws cells.
#'
#' @param object What is learned from: a Seurat object, an assay, a SingleCellExperiment, or a matrix (genes × cells, or
#'   genes × conditions); with `values = "effects"` or `"ranks"` also a data frame of numbers with the genes as row
#'   names. By default what was kept in `model.dir` is read.
#' @param perturbations Names of what is asked for; combinations with the `separator` between them. By default all that
#'   were measured alone.
#' @param perturbation.by Column of the metadata with the perturbation, or a value for each cell: genes by symbol or
#'   Ensembl id, compounds, ligands, or any condition. Of effects and ranks by default the names of the columns.
#' @param control Name, or names, of the controls among these values.
#' @param covariate.by Column, or a value for each cell, of the context, such as a cell type or a patient: changes are
#'   against the controls of the same context.
#' @param dose.by Column, or a value for each cell, of the dose, a number above 0; that of controls is not read.
#' @param replicate.by Column, or a value for each cell, of replicates, such as donors: changes are against the controls
#'   of the same one.
#' @param contexts,doses Contexts and doses that are asked for; by default all that have controls, and all that were
#'   measured.
#' @param controls Control cells, as `object`, of contexts that were not there to be learned from; `covariate.by` names
#'   their context.
#' @param separator Text between the perturbations of a combination; `""` if a name is never split.
#' @param values `"counts"`: raw counts of cells or pseudobulks; `"expression"`: logarithms, such as those of
#'   `layer = "data"`; `"effects"`: changes, without controls; `"ranks"`: ranks of genes, 1 the most up, 0 not ranked.
#' @param described What is known of perturbations: a data frame with their names as row names and columns `smiles`
#'   (read by Python's `rdkit`), `targets` (genes) and `mechanism`, `";"` between several, and any columns of numbers.
#' @param model.object A model whose vectors of genes describe perturbed genes: the directory or the name of a saved
#'   one, or a model of Python. By default `"cells-mini"` and `"genes-mini"`, which are in the box.
#' @param priors What else describes genes: as `evidence` of [ClassifyGenes()], without `"cells"`.
#' @param model.dir Directory in which what was learned is kept, or from which it is read if there is no `object`.
#' @param overwrite Replace what is kept in `model.dir`.
#' @param assay,layer,counts,device,seed.use,verbose As of [RunCelloquy()].
#'
#' @return A list of class `celloquy_response`:
#'
#' * `expression`, `change`, `lower`, `upper`: matrices of genes × conditions, the expected expression (a mean of
#'   logarithms where counts were given), its change against the control, and the interval that nine tenths of the
#'   changes of hidden conditions lay in (`NaN` where none could be hidden);
#' * `conditions`: a data frame with their `perturbation`, `context` and `dose`; `situation`, how the condition is new;
#'   `method`; and `reliability`, the correlation with the true change that is to be expected;
#' * `measured`: a list of what was learned from, `expression`, `change`, `error` (its standard error) and `conditions`;
#' * `held.out`: a list of the conditions that were hidden, `observed`, `predicted` and `conditions`, with the
#'   `correlation` of both;
#' * `report`: a data frame of each `situation` and `way`, its `loss` on hidden conditions, its `gain` over no change
#'   with standard error `gain.error`, what was `chosen`, and the `weight`.
#' @seealso [ResponsePlot()], [SampleResponse()]; [PerturbGenes()], which asks a model and not data.
#' @examples
#' \dontrun{
#' asked <- c("KLF1", "CEBPA+KLF1")
#' told <- PredictResponse(screen, asked, perturbation.by = "gene", control = "non-targeting")
#' told$conditions
#' head(sort(told$change[, "CEBPA+KLF1"]))
#' ResponsePlot(told, "reliability")
#' }
#' @export
PredictResponse <- function(object = NULL, perturbations = NULL, perturbation.by = NULL, control = "control",
                            covariate.by = NULL, dose.by = NULL, replicate.by = NULL, contexts = NULL, doses = NULL,
                            controls = NULL, separator = "+", values = "counts", described = NULL, model.object = NULL,
                            priors = "auto", model.dir = NULL, overwrite = FALSE, assay = NULL, layer = "counts",
                            counts = NULL, device = "auto", seed.use = 42, verbose = TRUE) {
  call <- rlang::current_env()
  check_learned(object, model.dir, list(
    perturbation.by = perturbation.by, dose.by = dose.by, replicate.by = replicate.by, described = described,
    model.object = model.object
  ), call)
  described <- cross_described(described, call)
  learned <- if (!is.null(object)) {
    cells <- read_cells(conditions_of(object, values), assay, layer, call = call)
    without_controls <- isTRUE(values %in% c("effects", "ranks"))
    if (is.null(perturbation.by) && without_controls) perturbation.by <- colnames(cells$counts)
    by <- list(
      perturbation = perturbation.by, covariate = covariate.by, dose = dose.by, replicate = replicate.by
    )
    cells_by(cells, by, call = call)
  }
  others <- if (!is.null(controls)) {
    cells_by(read_cells(controls, assay, layer, "controls", call), list(covariate = covariate.by), call = call)
  }
  bridge <- python_bridge(call, torch = TRUE)
  model <- if (!is.null(model.object)) check_model(model.object, call)
  found <- with_python(with_progress(bridge$predict_response(
    if (!is.null(learned)) learned$adata(),
    perturbations = as_names(perturbations), contexts = as_names(contexts), doses = as_names(doses),
    controls = if (!is.null(others)) others$adata(), context_key = others$keys$covariate, described = described,
    model = model, priors = cross_evidence(priors, call), out = model_path(model.dir), overwrite = overwrite,
    progress = verbose, perturbation_key = learned$keys$perturbation, control = as.list(control),
    covariate_key = learned$keys$covariate, dose_key = learned$keys$dose, replicate_key = learned$keys$replicate,
    separator = separator, values = values, counts = counts, device = device,
    seed = whole_number(seed.use, "seed.use", call)
  ), verbose), learned$subject %||% others$subject %||% "The matrix", call)
  found <- reticulate::py_to_r(found)
  report <- property_table(found$report)
  structure(
    c(
      response_part(found$predicted),
      list(measured = response_part(found$measured), held.out = response_part(found$held_out), report = report)
    ),
    class = "celloquy_response", summary = found$summary
  )
}

#' Draw cells as a perturbation would leave them
#'
#' Each control cell is drawn as it would be: a gene that falls keeps each of its counts with a probability, the share
#' of its level that is left; one that rises gains counts of a Poisson distribution. Cells differ from one another as
#' the controls do.
#'
#' @param object Control cells: a Seurat object, an assay, a SingleCellExperiment, or a matrix of raw counts
#'   (genes × cells).
#' @param perturbation Name of what is done to them; of a combination with the separator between its parts.
#' @param model.dir Directory in which [PredictResponse()] kept what it learned from raw counts.
#' @param dose Dose; by default the largest that was measured.
#' @param covariate.by Column of the metadata with the context, or a value for each cell, if contexts were learned.
#' @param assay,layer,counts,seed.use,verbose As of [RunCelloquy()].
#' @return A Seurat object of the cells with the drawn counts, the metadata of `object` and the column `perturbation`.
#' @seealso [PredictResponse()]
#' @examples
#' \dontrun{
#' told <- PredictResponse(screen, perturbation.by = "gene", model.dir = "responses/")
#' cells <- SampleResponse(subset(screen, gene == "control"), "KLF1", "responses/")
#' }
#' @export
SampleResponse <- function(object, perturbation, model.dir, dose = NULL, covariate.by = NULL, assay = NULL,
                           layer = "counts", counts = NULL, seed.use = 42, verbose = TRUE) {
  call <- rlang::current_env()
  if (!rlang::is_string(perturbation)) {
    cli::cli_abort(c(
      "{.arg perturbation} must be one name.",
      x = found_value(perturbation),
      i = "Pass one; of a combination the name that has all its parts."
    ), class = "celloquy_ArgumentError", argument = "perturbation", call = call)
  }
  cells <- read_cells(object, assay, layer, call = call)
  crossing <- cells_by(cells, list(covariate = covariate.by), call)
  bridge <- python_bridge(call, torch = TRUE)
  drawn <- with_python(with_progress(bridge$sample_response(
    crossing$adata(), perturbation, dose, crossing$keys$covariate,
    out = model_path(model.dir), counts = counts, seed = whole_number(seed.use, "seed.use", call), progress = verbose
  ), verbose), crossing$subject, call)
  genes <- as.vector(reticulate::py_to_r(bridge$overview(drawn))$genes)
  matrix <- matrix_from_python(bridge$matrix_to_r(drawn$X), list(genes, colnames(cells$counts)))
  drawn <- SeuratObject::CreateSeuratObject(matrix, meta.data = cells$data)
  drawn$perturbation <- perturbation
  drawn
}

#' @export
print.celloquy_response <- function(x, ...) {
  cat(attr(x, "summary"), sep = "\n")
  about <- x$conditions[c("situation", "reliability")]
  about$reliability <- round(about$reliability, 2)
  cat(sprintf("\nPredicted: %d genes under %d conditions.\n", nrow(x$change), ncol(x$change)))
  print(utils::head(about, 10))
  if (nrow(about) > 10) cat(sprintf("... and %d more\n", nrow(about) - 10))
  invisible(x)
}

# Something is learned from, or was kept; what says how to learn is of no use without an object.
check_learned <- function(object, model.dir, of_fitting, call) {
  if (is.null(object) && is.null(model.dir)) {
    cli::cli_abort(c(
      "There is nothing to learn from.",
      x = "Found neither {.arg object} nor {.arg model.dir}.",
      i = "Pass measured perturbations, or the directory in which what was learned was kept."
    ), class = "celloquy_ArgumentError", argument = "object", call = call)
  }
  given <- names(present(of_fitting))
  if (is.null(object) && length(given)) {
    cli::cli_abort(c(
      "There is no use here for {.arg {given}}.",
      x = "What is in {.arg model.dir} was learned already.",
      i = "Leave {.arg {given}} out, or pass an {.arg object} to learn from."
    ), class = "celloquy_ArgumentError", argument = given[[1]], call = call)
  }
}

# A table of effects as a matrix.
conditions_of <- function(object, values) {
  if (is.data.frame(object) && isTRUE(values %in% c("effects", "ranks"))) as.matrix(object) else object
}

# Cells that cross with columns of obs, each named as that of the metadata; `keys` are these names.
cells_by <- function(cells, by, call) {
  by <- present(by)
  labels <- list()
  keys <- list()
  for (name in names(by)) {
    of_column <- rlang::is_string(by[[name]]) && !is.null(cells$data)
    argument <- if (name == "target") name else paste0(name, ".by")
    keys[[name]] <- if (of_column) by[[name]] else if (name == "covariate") "context" else name
    labels[[keys[[name]]]] <- if (of_column) {
      metadata_column(cells$data, by[[name]], argument, call = call)
    } else {
      check_each_cell(for_cells(by[[name]], cells$counts), cells$counts, argument, call)
    }
  }
  crossing <- cross_cells(cells, labels = labels, call = call)
  crossing$keys <- keys
  crossing
}

check_each_cell <- function(values, counts, argument, call) {
  if (!is.atomic(values) && !is.factor(values) || length(values) != ncol(counts)) {
    cli::cli_abort(c(
      "{.arg {argument}} has no value for each cell.",
      x = "Found {length(values)} value{?s} for {ncol(counts)} cell{?s}.",
      i = "Pass a value for each, or the name of a column if the object has metadata."
    ), class = "celloquy_ArgumentError", argument = argument, call = call)
  }
  unname(values)
}

# A data frame of perturbations by their row names, as Python makes its table of it.
cross_described <- function(described, call) {
  if (is.null(described)) {
    return(NULL)
  }
  if (!is.data.frame(described)) {
    cli::cli_abort(c(
      "{.arg described} is no data frame.",
      x = found_value(described),
      i = "Pass one with the names of the perturbations as row names."
    ), class = "celloquy_ArgumentError", argument = "described", call = call)
  }
  columns <- lapply(described, function(column) {
    if (is.numeric(column) || is.logical(column)) {
      return(as.list(as.numeric(column)))
    }
    column <- as.character(column)
    as.list(ifelse(is.na(column), "", column))
  })
  list(columns = named(columns), names = as.list(rownames(described)))
}

# Matrices of genes × conditions with names, and the conditions.
response_part <- function(part) {
  names <- list(as.vector(part$genes), as.vector(part$names))
  conditions <- table_of_genes(part$conditions)
  rownames(conditions) <- names[[2]]
  matrices <- lapply(part$matrices, function(matrix) {
    dimnames(matrix) <- names
    matrix
  })
  c(matrices, list(conditions = conditions))
}
