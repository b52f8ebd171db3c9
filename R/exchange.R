# The pieces of a conversion across reticulate: each side's arrays, copied once.

# The Python side of conversions; torch is not needed for them.
exchange_python <- function(call = rlang::caller_env()) {
  celloquy_python(call, torch = FALSE)
  reticulate::import("celloquy.exchange", convert = FALSE)
}

# A data frame as it crosses: its columns, their order, and an index. `dtypes` are the types that columns had in Python.
frame_to_python <- function(data, index, index_name = "", dtypes = list(), drop = function(name, why) NULL) {
  columns <- columns_to_python(data, drop)
  for (name in intersect(names(columns), names(dtypes))) {
    columns[[name]]$dtype <- dtypes[[name]]
  }
  list(
    columns = named(columns), order = as.array(enc2utf8(names(columns) %||% character())),
    index = as.array(enc2utf8(index)), index_name = index_name
  )
}

# A data frame of the columns of obs or var, and the types they had; `drop(name, why)` hears of what is lost.
frame_from_python <- function(frame, row_names, prototypes, drop, exchange = exchange_python()) {
  kinds <- vapply(prototypes, kind_of_column, "")
  crossed <- reticulate::py_to_r(exchange$columns_to_r(frame, named(as.list(kinds))))
  columns <- lapply(crossed$columns, column_from_python)
  names(columns) <- as.vector(crossed$names)
  for (name in intersect(names(columns), names(prototypes))) {
    columns[[name]] <- as_prototype(columns[[name]], prototypes[[name]])
  }
  data <- structure(columns, names = names(columns) %||% character(), class = "data.frame", row.names = row_names)
  for (name in as.vector(crossed$dropped)) drop(name, "its values are of no one type")
  for (name in as.vector(crossed$rounded)) drop(paste0(name, ", nanoseconds"), "times of R hold microseconds")
  list(data = data, dtypes = stats::setNames(lapply(crossed$columns, `[[`, "dtype"), names(columns)))
}

# reticulate takes an empty list for a Python list; with names it is a dict.
named <- function(x) {
  if (length(x)) x else stats::setNames(list(), character())
}

# A dgCMatrix, or a dense matrix, of what exchange.matrix_to_r() gives; a Python dict, or R's list of one.
matrix_from_python <- function(matrix, dimnames = NULL) {
  dense <- if (is.list(matrix)) matrix$dense else reticulate::py_to_r(matrix$get("dense"))
  if (!is.null(dense)) {
    dimnames(dense) <- dimnames
    return(dense)
  }
  # Slot by slot, as new() with values would check and copy them once more.
  sparse <- methods::new("dgCMatrix")
  sparse@x <- vector_from_python(matrix$x, "double")
  sparse@i <- vector_from_python(matrix$i, "integer")
  sparse@p <- vector_from_python(matrix$p, "integer")
  sparse@Dim <- vector_from_python(matrix$shape, "integer")
  sparse@Dimnames <- dimnames %||% list(NULL, NULL)
  sparse
}

# A vector of R with the values of a Python array, which Python itself puts there: reticulate would copy twice.
vector_from_python <- function(array, mode) {
  if (!inherits(array, "python.builtin.object")) {
    return(as.vector(array, mode))
  }
  values <- vector(mode, as.integer(reticulate::py_to_r(array$size)))
  # With a dimension reticulate shows Python the memory of R.
  dim(values) <- length(values)
  exchange_python()$copy_into(reticulate::r_to_py(values), array)
  dim(values) <- NULL
  values
}

# Zero-based places, or None for all.
places <- function(which, all) {
  if (identical(as.integer(which), seq_len(all))) NULL else as.array(as.integer(which) - 1L)
}
