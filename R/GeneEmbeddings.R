#' Describe genes by the vectors of a gene model
#'
#' `GeneEmbeddings()` gives a vector for every gene: what the model knows of it outside of any cell, or, with `object`,
#' the mean over the cells in which the gene is among those that are read. `SimilarGenes()` finds the genes whose
#' vectors are most like that of one.
#'
#' @param model.object A gene model: the directory of a saved one, the name `"org/name"` of one on the Hugging Face hub,
#'   or a `celloquy.GeneModel` of Python, such as `celloquy$read_genecompass()` reads.
#' @param object Cells in which the genes are read: a Seurat object, an assay, a SingleCellExperiment, or a matrix of
#'   raw counts (genes × cells). They are read a few at a time. By default genes have the vectors that the model knows
#'   outside of any cell.
#' @param by Column of the metadata, such as a cell type, or a value for each cell: one vector for each gene in each of
#'   these groups.
#' @param features Genes to describe, by symbol or Ensembl id; all by default. In mouse cells a human gene is read as
#'   its ortholog.
#' @param assay,layer,counts,species,precision,device,verbose As of [RunCelloquy()].
#' @param gene Symbol or Ensembl id, or the name of a row of `vectors`, as of a gene in a group.
#' @param vectors What `GeneEmbeddings()` returned, or a model, of which these are then made.
#' @param n Number of genes.
#'
#' @return `GeneEmbeddings()` returns a matrix of genes × dimensions: use it where cells have an embedding, such as
#'   `Seurat::RunUMAP(vectors)`. Its rows are named by the symbol, or the id where there is none, followed by `"|"` and
#'   the group. The attribute `"genes"` is a data frame with a row for each: `gene` (Ensembl id), `symbol`, `species`,
#'   and with `object` also `n.cells`, on which the vector rests, and `group`. R drops attributes of a part of a
#'   matrix, so look its genes up by name: `attr(vectors, "genes")[rownames(part), ]`. A gene that no cell reads has no
#'   row.
#'
#'   `SimilarGenes()` returns these columns of the most similar genes with their `cosine`, the highest first. Cosines
#'   are of vectors from which the mean of all is taken, as all genes share a direction that says nothing.
#'
#' @seealso [GeneAttention()]
#' @examples
#' \dontrun{
#' vectors <- GeneEmbeddings("model/", pbmc, by = "cell.type")
#' head(attr(vectors, "genes"))
#' SimilarGenes("GATA4", "model/")
#' }
#' @export
GeneEmbeddings <- function(model.object, object = NULL, by = NULL, features = NULL, assay = NULL, layer = "counts",
                           counts = NULL, species = NULL, precision = "auto", device = "auto", verbose = TRUE) {
  call <- rlang::current_env()
  if (is.null(object)) {
    bridge <- python_bridge(call, torch = TRUE)
    model <- check_gene_model(model.object, call)
    # Without cells Python says what a group is of.
    found <- with_python(bridge$gene_embeddings(
      model, NULL,
      genes = as_names(features), by = by, precision = precision, device = device
    ), call = call)
  } else {
    options <- list(counts = counts, species = species, precision = precision, device = device, verbose = verbose)
    found <- ask_of_genes("gene_embeddings", model.object, object, by, features, assay, layer, options, call = call)
  }
  found <- reticulate::py_to_r(found)
  table <- table_of_genes(found$columns, found$names)
  vectors <- structure(found$values, dimnames = list(rownames(table), NULL))
  colnames(vectors) <- paste0("GENE_", seq_len(ncol(vectors)))
  structure(vectors, genes = table)
}

#' @rdname GeneEmbeddings
#' @export
SimilarGenes <- function(gene, vectors, n = 20) {
  call <- rlang::current_env()
  bridge <- python_bridge(call, torch = TRUE)
  if (!rlang::is_string(gene)) {
    cli::cli_abort(c(
      "{.arg gene} must be the name of one gene.",
      x = found_value(gene),
      i = "Pass a symbol, an Ensembl id, or the name of a row of {.arg vectors}."
    ), class = "celloquy_ArgumentError", argument = "gene", call = call)
  }
  n <- whole_number(n, call = call)
  if (is.matrix(vectors) && is.numeric(vectors) && !is.null(rownames(vectors))) {
    # A part of the rows has lost what is known of them, but its names.
    table <- attr(vectors, "genes") %||% data.frame(gene = rownames(vectors), symbol = rownames(vectors))
    names(table) <- gsub(".", "_", names(table), fixed = TRUE)
    vectors <- list(
      values = unname(vectors[, , drop = FALSE]), names = as.array(rownames(vectors)),
      columns = lapply(table, function(column) as.array(as.character(column)))
    )
  } else {
    vectors <- check_gene_model(vectors, call, "vectors")
  }
  found <- reticulate::py_to_r(with_python(bridge$similar_genes(gene, vectors, n), call = call))
  table <- table_of_genes(found$columns, found$names)
  if (!is.null(table$n.cells)) table$n.cells <- as.integer(table$n.cells)
  table
}

# Ask a gene model of some genes in cells: a function of the bridge, whose own arguments are in `...`.
ask_of_genes <- function(verb, model.object, object, by, features, assay, layer, options, ..., call) {
  cells <- read_cells(object, assay, layer, call = call)
  group <- groups_of(cells, by, call)
  bridge <- python_bridge(call, torch = TRUE)
  model <- check_gene_model(model.object, call)
  crossing <- cross_cells(cells, labels = group, call = call)
  adata <- crossing$adata()
  arguments <- list(
    model, adata,
    genes = as_names(features), by = names(group), counts = options$counts, species = options$species, ...
  )
  with_python(
    with_progress(do.call(bridge[[verb]], c(arguments, running(options))), options$verbose), crossing$subject, call
  )
}

# The group of each cell, `list(group = ...)`, from a column of the metadata or given as such; an empty list without
# `by`.
groups_of <- function(cells, by, call, arg = "by") {
  if (is.null(by)) {
    return(list())
  }
  of_column <- rlang::is_string(by) && !is.null(cells$data)
  group <- if (of_column) metadata_column(cells$data, by, arg, call = call) else for_cells(by, cells$counts)
  list(group = check_groups(group, cells$counts, call, arg))
}

# Names as a Python list, also where there is one.
as_names <- function(features) if (is.null(features)) NULL else as.list(features)

check_groups <- function(group, counts, call, arg = "by") {
  if (!is.atomic(group) && !is.factor(group) || length(group) != ncol(counts) || anyNA(group)) {
    cli::cli_abort(c(
      "Not every cell has a group.",
      x = if (is.atomic(group) || is.factor(group)) "Found: {found_values(group, counts)}." else found_value(group),
      i = "Pass the name of a column of the metadata as {.arg {arg}}, or a value for each cell, and fill in what is \\
           missing."
    ), class = "celloquy_ArgumentError", argument = arg, call = call)
  }
  unname(group)
}

check_gene_model <- function(model.object, call, arg = "model.object") {
  if (is.null(model.object)) {
    cli::cli_abort(c(
      "No gene model is given.",
      i = "Pass the directory of a saved one as {.arg {arg}}."
    ), class = "celloquy_ArgumentError", argument = arg, call = call)
  }
  check_model(model.object, call)
}

# A data frame of the columns that Python found, of genes by name.
table_of_genes <- function(columns, names = NULL) {
  table <- as.data.frame(lapply(columns, as.vector), stringsAsFactors = FALSE)
  names(table) <- gsub("_", ".", names(columns), fixed = TRUE)
  if (!is.null(names)) rownames(table) <- make.unique(as.vector(names))
  table
}
