# Tables of cells or features, data frames and those of Bioconductor, on their way to Python and back.

# A table, as a list of its columns. `data` has the columns that pandas has a like for, under keys that files can hold;
# `layout` is what R needs to make the table again: other columns whole, with the names of their `rows`. `what` is what
# users call a column, `place` where whole ones are kept, `given` the names that are keys already.
table_to_python <- function(columns, rows, what, place, report, given = character()) {
  names <- names(columns) %||% rep("", length(columns))
  keys <- safe_keys(names, given = given)
  layout <- list(keys = keys, names = if (!identical(names, keys)) names, prototypes = list(), shapes = list())
  data <- list()
  for (i in seq_along(columns)) {
    key <- keys[[i]]
    part <- paste(what, if (is.na(names[[i]]) || !nzchar(names[[i]])) "without a name" else names[[i]])
    values <- without_runs(columns[[i]])
    if (is.na(kind_of_column(values))) {
      whole <- whole_as_plain(columns[[i]])
      if (is.null(whole$lost)) {
        kept(report, part, paste0(place, ", as pandas has no column like a ", class(columns[[i]])[[1]]))
        layout$whole[[key]] <- whole$plain
      } else {
        dropped(report, part, paste0("pandas has no column like a ", class(columns[[i]])[[1]], ", and ", whole$lost))
      }
      next
    }
    if (!identical(key, names[[i]])) renamed(report, part, paste0("in files it is called \"", key, "\""))
    data[[key]] <- values
    layout$prototypes[[key]] <- prototype_of(values)
    if (!identical(values, columns[[i]])) layout$runs <- c(layout$runs, key)
    layout$shapes[[key]] <- shape_of(values)
  }
  if (length(c(layout$whole, layout$shapes))) layout$rows <- rows
  list(data = data, layout = layout)
}

# The values of runs, as Bioconductor keeps columns with few changes; of other columns themselves.
without_runs <- function(column) {
  if (!methods::is(column, "Rle") || !requireNamespace("S4Vectors", quietly = TRUE)) {
    return(column)
  }
  values <- S4Vectors::decode(column)
  if (identical(S4Vectors::Rle(values), column)) values else column
}

# Names of values, and the form of an array of one dimension: neither has a place in pandas.
shape_of <- function(column) {
  shape <- attributes(column)[c("names", "dim", "dimnames")]
  shape <- shape[!vapply(shape, is.null, NA)]
  if (length(shape)) shape
}

# A value as plain data, if all of it can be; else why not.
whole_as_plain <- function(x) {
  lost <- NULL
  plain <- as_plain(x, "", function(path, why) {
    lost <<- lost %||% paste0(if (nzchar(path)) paste0(sub("^[$]", "", path), ": "), why)
  })
  if (is.null(lost)) list(plain = as_it_is(plain)) else list(lost = lost)
}

# The columns of a table that came back, in their order and under their names, new ones after them; `supplied` are
# columns that R makes itself.
table_from_python <- function(data, layout, rows, what, drop, supplied = list()) {
  columns <- unclass(data)
  attr(columns, "row.names") <- NULL
  # A layout without keys is of a table that was never R's.
  known <- layout$keys %||% character()
  here <- match(rows, layout$rows)
  for (key in intersect(known, names(columns))) {
    column <- columns[[key]]
    shape <- layout$shapes[[key]]
    if (!is.null(shape) && !anyNA(here)) column <- in_shape(column, shape, here)
    if (key %in% layout$runs && requireNamespace("S4Vectors", quietly = TRUE)) column <- S4Vectors::Rle(column)
    columns[[key]] <- column
  }
  for (key in setdiff(names(layout$whole), names(columns))) {
    part <- paste(what, (layout$names %||% known)[[match(key, known)]])
    if (anyNA(here)) {
      drop(part, "there are rows that it has no value for")
      next
    }
    column <- layout$whole[[key]]
    if (!identical(here, seq_along(layout$rows))) column <- rows_of_column(column, here)
    if (is.null(column)) drop(part, "the package of its class is not installed") else columns[[key]] <- column
  }
  order <- layout$order %||% c(names(supplied), known)
  columns[names(supplied)] <- supplied
  columns <- columns[c(intersect(order, names(columns)), setdiff(names(columns), c(order, layout$added)))]
  if (!is.null(layout$names)) {
    place <- match(names(columns), known)
    names(columns) <- ifelse(is.na(place), names(columns), layout$names[place])
  }
  columns
}

rows_of_column <- function(column, which) {
  if (length(dim(column)) == 2) column[which, , drop = FALSE] else column[which]
}

in_shape <- function(column, shape, which) {
  if (!is.null(shape$dim)) {
    dim(column) <- length(column)
    if (!is.null(shape$dimnames[[1]])) shape$dimnames[[1]] <- shape$dimnames[[1]][which]
    dimnames(column) <- shape$dimnames
  } else {
    names(column) <- shape$names[which]
  }
  column
}

# A data frame of columns of any class, which data.frame() would take apart.
data_frame <- function(columns, row_names) {
  structure(columns, names = names(columns) %||% character(), class = "data.frame", row.names = row_names)
}
