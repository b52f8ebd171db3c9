# R values as plain data that crosses to Python, fits an h5ad file, and comes back identical.
#
# A bare vector without NA crosses as an array, so that Python can read it; everything else as a named list with an
# entry `R` that says what it is. Attributes are values themselves, which covers factors, data frames, dates and
# matrices with names. S4 objects are their slots. What has no plain form (functions, environments, pointers, code) is
# left out and reported.

# Packages whose classes may be made from what a file says, and are loaded for it; no constructor of theirs runs.
packages_of_plain_classes <- c(
  "SeuratObject", "Seurat", "Signac", "Matrix", "sp", "S4Vectors", "IRanges", "GenomicRanges", "GenomeInfoDb",
  "Seqinfo", "SummarizedExperiment", "SingleCellExperiment", "SpatialExperiment"
)

# Packages whose functions may be: logs of commands hold them.
packages_of_plain_functions <- c("SeuratObject", "Seurat")

# `drop(path, why)` is called for every part that is left out.
as_plain <- function(x, path = "", drop = function(path, why) NULL) {
  if (is.null(x)) {
    return(list(R = "NULL"))
  }
  if (inherits(x, "celloquy_plain")) {
    return(x$plain)
  }
  if (isS4(x)) {
    return(compact_as_plain(x) %||% s4_as_plain(x, path, drop))
  }
  if (is.function(x) && !is.null(home <- home_of(x))) {
    return(c(list(R = "function"), home))
  }
  if (!is.atomic(x) && !is.list(x)) {
    drop(path, paste0("class ", class(x)[[1]], " is not plain data"))
    return(NULL)
  }
  kept <- attributes(x)
  bare <- x
  attributes(bare) <- NULL
  value <- if (is.list(bare)) {
    list_as_plain(bare, kept$names, path, drop)
  } else {
    vector_as_plain(bare, if (by_shape(kept)) kept$dim)
  }
  attributes_of_array <- if (by_shape(kept)) "dim"
  kept <- kept[setdiff(names(kept), c(if (is.list(bare)) "names", if (!is.list(bare)) attributes_of_array))]
  if (is.list(bare) && is.null(value)) {
    return(NULL)
  }
  if (!length(kept)) {
    return(value)
  }
  list(R = "object", value = value, attributes = as_plain(kept, paste0(path, " (attributes)"), drop))
}

# Plain data that as_plain() is to leave as it is.
as_it_is <- function(plain) structure(list(plain = plain), class = "celloquy_plain")

# Whether the shape of Python's array tells the dimensions. It does not for one dimension, which a vector has, too.
by_shape <- function(attributes) is.null(attributes$dimnames) && length(attributes$dim) > 1

vector_as_plain <- function(x, dim = NULL) {
  shaped <- function(x) array(x, dim %||% length(x))
  switch(typeof(x),
    double = shaped(x),
    integer = shaped(x),
    logical = if (anyNA(x)) list(R = "logical", value = shaped(as.integer(x))) else shaped(x),
    character = text_as_plain(x, shaped),
    complex = list(R = "complex", real = shaped(Re(x)), imaginary = shaped(Im(x))),
    raw = list(R = "raw", value = shaped(as.integer(x)))
  )
}

text_as_plain <- function(x, shaped) {
  if (!length(x)) {
    return(list(R = "character"))
  }
  x <- enc2utf8(x)
  missing <- is.na(x)
  if (any(missing)) {
    x[missing] <- ""
    list(R = "character", value = shaped(x), missing = as.array(which(missing)))
  } else {
    shaped(x)
  }
}

list_as_plain <- function(x, names, path, drop) {
  # Names that can be keys make the value readable from Python; the order is kept apart, because files forget it.
  legible <- length(names) && !anyNA(names) && !anyDuplicated(names) && !any(names %in% c("", "R", "names")) &&
    !any(grepl("/", names, fixed = TRUE)) && !any(startsWith(names, "."))
  key <- if (legible) names else as.character(seq_along(x))
  entries <- lapply(seq_along(x), function(i) {
    as_plain(x[[i]], paste0(path, "$", if (is.null(names)) i else names[[i]]), drop)
  })
  present <- !vapply(entries, is.null, NA)
  plain <- stats::setNames(entries, key)[present]
  c(
    list(R = "list"),
    if (!is.null(names)) list(names = vector_as_plain(enc2utf8(names)[present])),
    if (!legible) stats::setNames(plain, as.character(seq_along(plain))) else plain
  )
}

# The package and name of a function of Seurat's, as logs of commands hold them.
home_of <- function(x) {
  package <- environmentName(environment(x))
  if (!package %in% packages_of_plain_functions) {
    return(NULL)
  }
  namespace <- asNamespace(package)
  for (name in ls(namespace)) {
    if (identical(namespace[[name]], x)) {
      return(list(package = package, name = name))
    }
  }
}

# Objects that Python has a form for, or that are too many small objects to go slot by slot; NULL for others.
compact_as_plain <- function(x) {
  if (identical(class(x)[[1]], "dgCMatrix") && !length(x@factors)) {
    names <- x@Dimnames
    x@Dimnames <- list(NULL, NULL)
    return(c(
      list(R = "sparse", value = x),
      if (!identical(names, list(NULL, NULL))) list(dimnames = as_plain(names))
    ))
  }
  for (kind in names(polygon_tables)) {
    if (identical(class(x)[[1]], kind)) {
      # Only if the way back is exact; else (holes, several outlines) slot by slot.
      table <- tryCatch(polygon_tables[[kind]]$to(x), error = function(error) NULL)
      exact <- tryCatch(identical(polygon_tables[[kind]]$from(table), x), error = function(error) FALSE)
      if (exact) {
        return(list(R = kind, value = as_plain(table)))
      }
    }
  }
  NULL
}

s4_as_plain <- function(x, path, drop) {
  class <- class(x)
  package <- attr(class, "package") %||% ""
  if (!package %in% packages_of_plain_classes) {
    drop(path, paste0("an object of class ", class, " has no plain form"))
    return(NULL)
  }
  slots <- stats::setNames(lapply(methods::slotNames(x), methods::slot, object = x), methods::slotNames(x))
  list(R = "S4", class = as.character(class), package = package, slots = as_plain(slots, path, drop))
}

from_plain <- function(x) {
  if (!is.list(x)) {
    # One dimension is a vector; more are a matrix or an array.
    return(if (length(dim(x)) > 1) x else as.vector(x))
  }
  switch(x$R,
    "NULL" = NULL,
    logical = reshaped(as.logical(x$value), x$value),
    complex = reshaped(complex(real = x$real, imaginary = x$imaginary), x$real),
    raw = reshaped(as.raw(x$value), x$value),
    character = text_from_plain(x),
    list = list_from_plain(x),
    object = object_from_plain(x),
    S4 = s4_from_plain(x),
    sparse = sparse_from_plain(x),
    "function" = function_from_plain(x),
    polygon_tables[[x$R]]$from(from_plain(x$value))
  )
}

reshaped <- function(values, like) {
  if (length(dim(like)) > 1) array(values, dim(like)) else values
}

text_from_plain <- function(x) {
  if (is.null(x$value)) {
    return(character())
  }
  text <- x$value
  text[x$missing] <- NA
  if (length(dim(text)) > 1) text else as.vector(text)
}

list_from_plain <- function(x) {
  names <- if (!is.null(x$names)) from_plain(x$names)
  entries <- x[setdiff(names(x), c("R", "names"))]
  numbered <- as.character(seq_along(entries))
  keys <- if (setequal(numbered, names(entries))) numbered else names
  stats::setNames(lapply(unname(entries[keys]), from_plain), names)
}

object_from_plain <- function(x) {
  value <- from_plain(x$value)
  kept <- from_plain(x$attributes)
  # `dim` first, because `dimnames` need it.
  for (name in c(intersect("dim", names(kept)), setdiff(names(kept), "dim"))) {
    attr(value, name) <- kept[[name]]
  }
  value
}

s4_from_plain <- function(x) {
  if (is_plain_class(x$class, x$package)) fill(blank(x$class, x$package), from_plain(x$slots))
}

# Whether objects of a class may be made of what a file says: it is one of a package on the list that is installed.
is_plain_class <- function(class, package) {
  listed <- rlang::is_string(class) && rlang::is_string(package) && package %in% packages_of_plain_classes
  if (!listed || !requireNamespace(package, quietly = TRUE)) {
    return(FALSE)
  }
  definition <- methods::getClassDef(class, where = asNamespace(package), inherits = FALSE)
  !is.null(definition) && !definition@virtual
}

# An object of a class with its slots as the class has them by default: new() would run what some classes check, which
# an object without values does not pass.
blank <- function(class, package = "SeuratObject") {
  if (!is_plain_class(class, package)) {
    cli::cli_abort("{.cls {class}} is no class that celloquy makes.", class = "celloquy_ArgumentError")
  }
  object <- methods::getClass(class, where = asNamespace(package))@prototype
  attr(object, "class") <- structure(class, package = package)
  asS4(object)
}

fill <- function(object, slots) {
  for (name in names(slots)) {
    methods::slot(object, name, check = FALSE) <- slots[[name]]
  }
  object
}

function_from_plain <- function(x) {
  listed <- rlang::is_string(x$package) && x$package %in% packages_of_plain_functions
  if (listed && requireNamespace(x$package, quietly = TRUE)) {
    found <- asNamespace(x$package)[[x$name]]
    if (is.function(found)) found
  }
}

sparse_from_plain <- function(x) {
  if (!is.null(x$dimnames)) {
    x$value@Dimnames <- from_plain(x$dimnames)
  }
  x$value
}
