# What a Seurat object must be for its values to reach the right place: whole, of this version, and named throughout.

# Stop unless all parts of an object have the slots that this version of Seurat gives them.
check_current <- function(object, call = rlang::caller_env()) {
  old <- inherits(object, "seurat")
  if (!methods::is(object, "Seurat") && !old) {
    return(invisible())
  }
  parts <- list(object)
  for (slot in c("assays", "reductions", "neighbors", "images")) {
    if (methods::.hasSlot(object, slot)) parts <- c(parts, methods::slot(object, slot))
  }
  whole <- vapply(parts, function(part) {
    isS4(part) && all(methods::slotNames(part) %in% names(attributes(part)))
  }, NA)
  # Before version 3 the class had another name.
  if (!all(whole) || old) {
    cli::cli_abort(c(
      "This object was made by an older version of Seurat.",
      x = if (all(whole)) {
        "Its class is {.cls {class(object)[[1]]}}."
      } else {
        "Parts of it are not as this version has them: {.cls {unique(vapply(parts[!whole], \\(x) class(x)[[1]], ''))}}."
      },
      i = "Renew it with {.code object <- UpdateSeuratObject(object)}."
    ), class = "celloquy_ArgumentError", argument = "object", call = call)
  }
}

# Stop if values could not be given to cells and features by name. An order other than that of the cells is no fault.
check_valid <- function(object, call = rlang::caller_env()) {
  cells <- rownames(object@meta.data)
  faults <- unlist(c(
    faults_of_cells(object),
    lapply(names(object@assays), function(name) faults_of_assay(object@assays[[name]], name, cells)),
    lapply(names(object@reductions), function(name) faults_of_reduction(object@reductions[[name]], name, object)),
    strangers(object@graphs, "Graph", cells, function(graph) unlist(dimnames(graph))),
    strangers(object@neighbors, "Neighbors", cells, function(neighbors) neighbors@cell.names),
    strangers(object@images, "Image", cells, SeuratObject::Cells)
  ))
  # What else the package itself finds.
  if (!length(faults)) faults <- faults_by_seurat(object)
  if (length(faults)) {
    cli::cli_abort(c(
      "This Seurat object is not valid.",
      stats::setNames(literal(utils::head(faults, 3)), rep("x", min(3, length(faults)))),
      i = "Mend what is named, or make the object anew with {.fn SeuratObject::CreateSeuratObject}."
    ), class = "celloquy_ArgumentError", argument = "object", call = call)
  }
}

# Parts that name cells which the object does not have.
strangers <- function(parts, what, cells, cells_of) {
  lapply(names(parts), function(name) {
    unknown <- sum(!unique(cells_of(parts[[name]])) %in% cells)
    if (unknown) paste0(what, " \"", name, "\": ", unknown, " of its cells are not in the object.")
  })
}

faults_by_seurat <- function(object) {
  parts <- c(list(object), object@assays, object@reductions, object@graphs)
  said <- unlist(lapply(parts, function(part) {
    valid <- suppressWarnings(tryCatch(methods::validObject(part, test = TRUE), error = conditionMessage))
    if (!isTRUE(valid)) valid
  }))
  # Order and names of cells, and layers that are bare vectors, are seen to here.
  settled <- "same order|must be named|must have the same (cells|features)|must have a key|two-dimensional"
  unique(said[!grepl(settled, said)])
}

faults_of_cells <- function(object) {
  cells <- rownames(object@meta.data)
  idents <- names(object@active.ident)
  c(
    if (!is.data.frame(object@meta.data)) "The metadata is no data frame.",
    if (!length(object@assays) || is.null(names(object@assays))) "It has no assays with names.",
    if (anyDuplicated(cells)) "The names of cells are not unique.",
    if (!setequal(idents, cells) || anyDuplicated(idents) || length(object@active.ident) != length(cells)) {
      paste0("The identities are those of ", length(object@active.ident), " cells, not of the ", length(cells), ".")
    }
  )
}

faults_of_assay <- function(assay, name, cells) {
  whose <- paste0("Assay \"", name, "\": ")
  own <- colnames(assay)
  features <- rownames(assay)
  v5 <- methods::is(assay, "StdAssay")
  data <- if (v5) assay@meta.data else assay@meta.features
  rows <- attr(data, "row.names")
  layers <- if (v5) faults_of_layers(assay) else faults_of_slots(assay)
  said <- c(
    if (!all(own %in% cells)) paste(sum(!own %in% cells), "of its cells are not in the metadata."),
    if (anyDuplicated(own)) "the names of its cells are not unique.",
    if (anyDuplicated(features)) "the names of its features are not unique.",
    if (nrow(data) != length(features)) {
      paste0("the metadata of its features has ", nrow(data), " rows for ", length(features), " features.")
    } else if (is.character(rows) && !setequal(rows, features)) {
      "the metadata of its features names others."
    },
    layers
  )
  if (length(said)) paste0(whose, said)
}

faults_of_layers <- function(assay) {
  unlist(lapply(names(assay@layers), function(layer) {
    if (!layer %in% colnames(assay@features@.Data) || !layer %in% colnames(assay@cells@.Data)) {
      return(paste0("it is not known whose values layer \"", layer, "\" holds."))
    }
    size <- c(sum(assay@features@.Data[, layer]), sum(assay@cells@.Data[, layer]))
    matrix <- assay@layers[[layer]]
    fits <- is_placeholder(matrix) || identical(as.double(dim(matrix)), as.double(size)) ||
      (is.null(dim(matrix)) && length(matrix) == prod(size))
    if (!fits) {
      found <- paste(dim(matrix) %||% length(matrix), collapse = " \u00d7 ")
      paste0("layer \"", layer, "\" has ", found, " values, for ", paste(size, collapse = " \u00d7 "), ".")
    }
  }))
}

faults_of_slots <- function(assay) {
  unlist(lapply(c("counts", "data", "scale.data"), function(layer) {
    matrix <- methods::slot(assay, layer)
    if (is_placeholder(matrix)) {
      return(NULL)
    }
    named <- function(names, all) !is.null(names) && all(names %in% all) && !anyDuplicated(names)
    foreign <- c(
      if (!named(rownames(matrix), rownames(assay))) "features", if (!named(colnames(matrix), colnames(assay))) "cells"
    )
    paste0("the ", foreign, " of layer \"", layer, "\" are not those of the assay.", recycle0 = TRUE)
  }))
}

faults_of_reduction <- function(reduction, name, object) {
  embeddings <- reduction@cell.embeddings
  whose <- paste0("Reduction \"", name, "\": ")
  rows <- rownames(embeddings)
  if (is.null(rows) || anyDuplicated(rows)) {
    paste0(whose, "its cells have no names, or not unique ones.")
  } else if (!all(rows %in% rownames(object@meta.data))) {
    paste0(whose, sum(!rows %in% rownames(object@meta.data)), " of its cells are not in the object.")
  } else if (!is.numeric(embeddings)) {
    paste0(whose, "its values are no numbers.")
  }
}

# Whether a layer of an Assay5 has values, of which the maps of the assay name features and cells.
has_values <- function(matrix, size) {
  all(size > 0) && (identical(as.double(dim(matrix)), as.double(size)) || !is_placeholder(matrix))
}

# A matrix that stands for none: empty, or one NA as Seurat leaves it where values are missing.
is_placeholder <- function(matrix) {
  single <- identical(dim(matrix), c(1L, 1L)) && is.null(unlist(dimnames(matrix)))
  any(dim(matrix) == 0) || (single && is.na(matrix[1, 1]))
}

# An object in which everything about cells is in the order of the cells of one assay, and of these alone.
with_cells_of <- function(object, assay, report) {
  cells <- colnames(object@assays[[assay]])
  without <- setdiff(rownames(object@meta.data), cells)
  if (length(without)) {
    others <- Filter(function(name) all(without %in% colnames(object@assays[[name]])), names(object@assays))
    remedy <- if (length(others)) paste0("; with assay = \"", others[[1]], "\" they stay")
    why <- paste0("assay \"", assay, "\" doesn't have them", remedy)
    dropped(report, paste(length(without), if (length(without) == 1) "cell" else "cells"), why)
  }
  if (!identical(rownames(object@meta.data), cells)) {
    # Column by column, as metadata may have some that data frames can't select from.
    columns <- lapply(unclass(object@meta.data), rows_of_column, match(cells, rownames(object@meta.data)))
    kept <- attributes(object@meta.data)
    attributes(columns) <- kept[setdiff(names(kept), "row.names")]
    attr(columns, "row.names") <- cells
    object@meta.data <- columns
  }
  if (!identical(names(object@active.ident), cells)) object@active.ident <- object@active.ident[cells]
  object
}

# An assay of a class that this machine doesn't know, as a plain one.
known_assay <- function(assay, name, report) {
  class <- class(assay)
  package <- attr(class, "package") %||% ""
  if (package %in% packages_of_plain_classes) requireNamespace(package, quietly = TRUE)
  if (methods::is(assay, "StdAssay") || methods::is(assay, "Assay")) {
    return(assay)
  }
  slots <- attributes(assay)
  plain <- blank(if ("layers" %in% names(slots)) "Assay5" else "Assay")
  dropped(report, paste0("class ", class[[1]], " of assay ", name), paste0(
    "package ", package, " is not installed; what every assay has is kept"
  ))
  fill(plain, slots[intersect(names(slots), methods::slotNames(plain))])
}
