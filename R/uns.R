# Values of an AnnData's `uns`, and of its odd members, as lists, vectors and data frames that R users can read.
#
# The attribute "python" remembers what a value was, so that it returns as that; without it (made or changed in R) a
# value becomes what a Python user would have made: one text or number a scalar, more an array, a named list a dict.

value_from_python <- function(x) {
  switch(x$python,
    None = NULL,
    dict = structure(items_from_python(x), python = if (!length(x$items)) list(python = "dict")),
    list = structure(unname(items_from_python(x)), python = list(python = "list")),
    record = structure(items_from_python(x), python = list(python = "record")),
    frame = frame_value_from_python(x),
    array = structure(column_from_python(x$column), python = list(python = "array", dtype = x$column$dtype)),
    # An attribute would be no slot of a matrix.
    sparse = structure(list(matrix_from_python(x)), python = x[c("python", "dtype", "format")]),
    array_from_python(x)
  )
}

items_from_python <- function(x) {
  stats::setNames(lapply(x$items, value_from_python), as.vector(x$keys))
}

frame_value_from_python <- function(x) {
  order <- as.vector(x$order)
  columns <- lapply(x$columns[order], column_from_python)
  dtypes <- lapply(x$columns[order], `[[`, "dtype")
  index <- as.vector(x$index)
  structure(
    columns, names = as.character(order), class = "data.frame",
    row.names = if (anyDuplicated(index)) seq_along(index) else as.character(index),
    python = list(python = "frame", dtypes = dtypes, index = if (anyDuplicated(index)) index, index_name = x$index_name)
  )
}

array_from_python <- function(x) {
  values <- switch(x$kind,
    integer64 = structure(as.vector(x$values), class = "integer64"),
    text = as.character(as.vector(x$values)),
    as.vector(x$values)
  )
  shape <- as.vector(x$shape)
  if (length(shape) > 1) dim(values) <- shape
  structure(values, python = list(python = x$python, dtype = x$dtype, shape = shape))
}

# The value as it crosses to Python; NULL if it has no counterpart there.
value_to_python <- function(x) {
  was <- attr(x, "python", exact = TRUE)
  attr(x, "python") <- NULL
  if (is.null(x)) {
    list(python = "None")
  } else if (identical(was$python, "sparse") && is_sparse(x[[1]])) {
    c(was, list(matrix = unnamed_matrix(plain_matrix(x[[1]], "uns"))))
  } else if (methods::is(x, "sparseMatrix")) {
    list(python = "sparse", matrix = unnamed_matrix(plain_matrix(x, "uns")))
  } else if (is.data.frame(x)) {
    index <- was$index %||% as.character(row.names(x))
    c(list(python = "frame"), frame_to_python(x, index, was$index_name %||% "", was$dtypes))
  } else if (is.factor(x) || identical(was$python, "array") || inherits(x, c("Date", "POSIXct", "difftime"))) {
    column <- column_to_python(x)
    column$dtype <- was$dtype
    list(python = "array", column = column)
  } else if (is.list(x)) {
    list_to_python(x, was)
  } else if (is.atomic(x)) {
    array_to_python(x, was)
  }
}

list_to_python <- function(x, was) {
  items <- lapply(unname(x), value_to_python)
  present <- !vapply(items, is.null, NA)
  keys <- names(x) %||% as.character(seq_along(x) - 1L)
  python <- was$python %||% (if (is.null(names(x)) && length(x)) "list" else "dict")
  list(python = python, keys = as.array(enc2utf8(keys[present])), items = items[present])
}

array_to_python <- function(x, was) {
  shape <- dim(x) %||% length(x)
  kind <- if (inherits(x, "integer64")) "integer64" else if (is.character(x)) "text" else "numbers"
  same <- identical(as.integer(prod(shape)), as.integer(prod(was$shape)))
  python <- if (!is.null(was) && same) was$python else if (length(x) == 1 && is.null(dim(x))) "scalar" else "ndarray"
  # Only the remembered shape tells a value without dimensions from an array with one value.
  if (!is.null(was) && same) shape <- was$shape
  if (is.character(x)) x <- enc2utf8(ifelse(is.na(x), "", x))
  values <- as.vector(unclass(x))
  list(python = python, kind = kind, values = as.array(values), shape = as.array(as.integer(shape)), dtype = was$dtype)
}
