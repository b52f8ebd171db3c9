# Assays of other classes than Seurat's own two, such as Signac's ChromatinAssay, on their way back.

# The layout of an assay of a class that this machine has; else that of a plain assay.
known_class <- function(layout, name, drop) {
  if (is_plain_class(layout$class, layout$package)) {
    return(layout)
  }
  plain_layout(layout, name, paste0("package ", layout$package, " is not installed or not known to celloquy"), drop)
}

plain_layout <- function(layout, name, why, drop) {
  plain <- if (isFALSE(layout$v5)) "Assay" else "Assay5"
  own <- setdiff(names(layout$slots), methods::slotNames(methods::getClass(plain, where = asNamespace("SeuratObject"))))
  lost <- if (length(own)) paste0("; lost are ", toString(own))
  drop(paste0("class ", layout$class, " of assay ", name), paste0(why, lost))
  layout$class <- plain
  layout$package <- "SeuratObject"
  layout$slots <- layout$slots[setdiff(names(layout$slots), own)]
  layout
}

# The layout with slots for these features and cells: what the class's own subset() makes of them. Ranges, motifs and
# the like belong to features by their place.
selected_class <- function(layout, name, features, cells, drop) {
  layout <- known_class(layout, name, drop)
  had <- layout$had
  if (layout$package == "SeuratObject" || is.null(had) || identical(had, list(features = features, cells = cells))) {
    return(layout)
  }
  shell <- if (all(features %in% had$features) && all(cells %in% had$cells)) {
    tryCatch(selected_shell(layout, features, cells), error = function(error) NULL)
  }
  if (is.null(shell)) {
    return(plain_layout(layout, name, "it can't be had for these features and cells", drop))
  }
  layout$slots <- lapply(stats::setNames(nm = names(layout$slots)), function(slot) methods::slot(shell, slot))
  layout
}

# An assay that has the slots of a layout and no values, for some of its features and cells.
selected_shell <- function(layout, features, cells) {
  had <- layout$had
  nothing <- Matrix::sparseMatrix(
    i = integer(), j = integer(), x = numeric(), dims = lengths(had, use.names = FALSE), dimnames = unname(had)
  )
  shell <- fill(blank(layout$class, layout$package), layout$slots)
  shell <- fill(shell, list(counts = nothing, data = nothing, meta.features = data.frame(row.names = had$features)))
  shell <- suppressWarnings(subset(shell, features = features, cells = cells))
  # Signac leaves ranges in the order that they had.
  for (slot in names(layout$slots)) {
    value <- layout$slots[[slot]]
    if (methods::is(value, "GenomicRanges") && length(value) == length(had$features)) {
      methods::slot(shell, slot) <- value[match(features, had$features)]
    }
  }
  shell
}
