# Features that are no genes, in a SingleCellExperiment: an alternative experiment for each type, named after it.

# The features that go into each alternative experiment, by name: what the object had there before or, of an AnnData
# that never was in R, what var says. NULL where all are genes.
features_of_types <- function(layout, source, features) {
  if (!is.null(layout$cells)) {
    return(layout$apart)
  }
  types <- as.vector(reticulate::py_to_r(source$bridge$types_beside_genes(source$adata)))
  if (is.null(types) || anyDuplicated(features)) {
    return(NULL)
  }
  beside <- unique(types[nzchar(types)])
  found <- lapply(beside, function(type) features[types == type])
  stats::setNames(found, utils::tail(make.unique(c("raw", beside)), length(beside)))
}

experiments_by_type <- function(object, types, drop = function(part, why) NULL) {
  features <- rownames(object)
  own <- setdiff(features, unlist(types))
  if (!length(types) || !length(own)) {
    return(object)
  }
  main <- object[own, ]
  for (name in names(types)) {
    here <- intersect(types[[name]], features)
    if (length(here)) {
      part <- object[here, ]
      SingleCellExperiment::altExp(main, name) <- SingleCellExperiment::SingleCellExperiment(
        as.list(SummarizedExperiment::assays(part, withDimnames = FALSE)),
        rowData = SummarizedExperiment::rowData(part)
      )
    } else {
      drop(paste("alternative experiment", name), "none of its features is left")
    }
  }
  main
}

# An object with the features of all types in one again, and the types by which it comes apart; NULL if they can't be
# joined so that they come apart as they are.
joined_experiments <- function(object, origin) {
  names <- intersect(origin$types, SingleCellExperiment::altExpNames(object))
  types <- lapply(stats::setNames(nm = names), function(name) rownames(SingleCellExperiment::altExp(object, name)))
  features <- c(rownames(object), unlist(types, use.names = FALSE))
  if (!length(types) || anyDuplicated(features)) {
    return(NULL)
  }
  # Other assays or columns of features, new classes of any of them: what can't be bound stays where it is.
  whole <- tryCatch(bind_experiments(object, names, origin$feature.order), error = function(error) NULL)
  if (!is.null(whole) && identical(experiments_by_type(whole, types), object)) list(object = whole, types = types)
}

bind_experiments <- function(object, names, order) {
  parts <- c(list(object), lapply(names, function(name) SingleCellExperiment::altExp(object, name)))
  assays <- SummarizedExperiment::assayNames(object)
  bound <- lapply(stats::setNames(nm = assays), function(assay) {
    do.call(rbind, lapply(parts, SummarizedExperiment::assay, assay, withDimnames = FALSE))
  })
  table <- do.call(rbind, lapply(parts, SummarizedExperiment::rowData))
  whole <- SingleCellExperiment::SingleCellExperiment(bound, rowData = table)
  features <- rownames(whole)
  whole <- whole[c(intersect(order, features), setdiff(features, order)), ]
  of_cells <- SingleCellExperiment::int_colData(object)
  of_cells$altExps <- of_cells$altExps[setdiff(names(of_cells$altExps), names)]
  colnames(whole) <- colnames(object)
  fill(whole, list(
    int_colData = of_cells, colData = SummarizedExperiment::colData(object), metadata = S4Vectors::metadata(object),
    int_metadata = SingleCellExperiment::int_metadata(object)
  ))
}
