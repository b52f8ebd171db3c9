# The pieces of a conversion on their way to Python and back: arrays of either side, each copied once.

# A data frame as it crosses: its columns, their order, and an index. `dtypes` are the types that columns had in Python.
frame_to_python <- function(data, index, index_name = "", dtypes = list()) {
  columns <- columns_to_python(data)
  # pandas takes no index that has the name of a column.
  if (index_name %in% names(columns)) index_name <- ""
  for (name in intersect(names(columns), names(dtypes))) {
    columns[[name]]$dtype <- dtypes[[name]]
  }
  list(
    columns = named(columns), order = as.array(enc2utf8(names(columns) %||% character())),
    index = as.array(enc2utf8(index)), index_name = index_name
  )
}

# A data frame of the columns of obs or var, and the types they had; `drop(name, why)` is called for every loss,
# `rename(old, new)` for every name that R's users could not tell from another.
frame_from_python <- function(frame, row_names, prototypes, drop, rename = function(old, new) NULL,
                              bridge = import_bridge()) {
  kinds <- vapply(prototypes, kind_of_column, "")
  crossed <- reticulate::py_to_r(bridge$columns_to_r(frame, named(as.list(kinds))))
  columns <- lapply(crossed$columns, column_from_python)
  had <- as.character(as.vector(crossed$names))
  names <- had
  names[!nzchar(names)] <- "unnamed"
  names <- make.unique(names, sep = ".")
  for (i in which(names != had)) rename(had[[i]], names[[i]])
  names(columns) <- names
  for (name in intersect(names(columns), names(prototypes))) {
    columns[[name]] <- as_prototype(columns[[name]], prototypes[[name]])
  }
  for (name in as.vector(crossed$dropped)) drop(name, "its values are of no one type")
  for (name in as.vector(crossed$rounded)) drop(paste0(name, ", nanoseconds"), "times of R hold microseconds")
  list(data = data_frame(columns, row_names), dtypes = stats::setNames(lapply(crossed$columns, `[[`, "dtype"), names))
}

present <- function(x) x[!vapply(x, is.null, NA)]

# reticulate takes an empty list for a Python list; with names it is a dict.
named <- function(x) {
  if (length(x)) x else stats::setNames(list(), character())
}

# A dgCMatrix, or a dense matrix, of what the bridge's matrix_to_r() gives; a Python dict, or R's list of one.
matrix_from_python <- function(matrix, dimnames = NULL) {
  dense <- if (is.list(matrix)) matrix$dense else reticulate::py_to_r(matrix$get("dense"))
  if (!is.null(dense)) {
    dimnames(dense) <- dimnames
    return(dense)
  }
  # Slot by slot, because new() with values would check and copy them once more.
  sparse <- methods::new("dgCMatrix")
  sparse@x <- vector_from_python(matrix$x, "double")
  sparse@i <- vector_from_python(matrix$i, "integer")
  sparse@p <- vector_from_python(matrix$p, "integer")
  sparse@Dim <- vector_from_python(matrix$shape, "integer")
  sparse@Dimnames <- dimnames %||% list(NULL, NULL)
  sparse
}

# A vector of R with the values of a Python array, which Python itself puts there: reticulate would copy twice.
vector_from_python <- function(array, type) {
  if (!inherits(array, "python.builtin.object")) {
    return(as.vector(array, type))
  }
  length <- reticulate::py_to_r(array$size)
  # R would zero the memory of a large vector and collect garbage for it, so it gets memory of its own.
  values <- if (length > 1e6) .Call(celloquy_new_vector, type == "double", length) else vector(type, length)
  import_bridge()$copy_into(memory_of(values), array)
  values
}

# The address of a vector's values. The vector must live for as long as Python uses them.
memory_of <- function(values) {
  list(address = .Call(celloquy_address_of, values), length = length(values), type = typeof(values))
}

# The AnnData of parts, which are sent as the addresses of their values. An AnnData that is only written to a file may
# share this memory (`borrow`); then it must not outlive `parts`.
anndata_from_parts <- function(parts, subject, borrow = FALSE, call = rlang::caller_env()) {
  located <- function(layer) {
    for (i in seq_along(layer$pieces)) {
      matrix <- layer$pieces[[i]]$matrix
      layer$pieces[[i]]$matrix <- list(i = memory_of(matrix@i), p = memory_of(matrix@p), x = memory_of(matrix@x))
    }
    layer
  }
  sent <- parts
  sent$layers <- lapply(parts$layers, located)
  for (place in intersect("X", names(parts))) sent[[place]] <- located(parts[[place]])
  if (!is.null(parts$raw)) sent$raw$X <- located(parts$raw$X)
  with_python(import_bridge()$make_anndata(sent, borrow), subject, call)
}

# Zero-based places, or None for all.
places <- function(which, all) {
  if (identical(as.integer(which), seq_len(all))) NULL else as.array(as.integer(which) - 1L)
}
