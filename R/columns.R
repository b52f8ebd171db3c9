# Columns of metadata between R and pandas, one by one: as whole data frames they would lose NA, dates and levels.
#
# A column crosses as a list: `kind`, what it is; `values`, an array without NA; `missing`, the places of NA from 0; and
# `levels`, `ordered`, `zone` or `units` where the kind has them.

# Columns without a counterpart in pandas are left out.
columns_to_python <- function(data) present(lapply(unclass(data), column_to_python))

column_to_python <- function(x) {
  kind <- kind_of_column(x)
  if (is.na(kind)) {
    return(NULL)
  }
  if (kind == "factor") {
    return(list(
      kind = kind, values = as.array(ifelse(is.na(unclass(x)), 0L, as.integer(x)) - 1L), missing = as.array(integer()),
      levels = as.array(levels_as_text(levels(x))), ordered = is.ordered(x)
    ))
  }
  # Without the package bit64, R can't tell which of these are NA; Python can.
  missing <- if (kind == "integer64") integer() else which(is.na(x) & !is_nan(x))
  values <- as.vector(unclass(x))
  if (kind == "character") values <- enc2utf8(values)
  if (kind == "raw") values <- as.integer(values)
  # A missing number keeps its bits, by which R tells NA from NaN.
  if (!is.double(values)) values[missing] <- switch(typeof(values), character = "", integer = 0L, logical = FALSE)
  c(
    list(kind = kind, values = as.array(values), missing = as.array(missing - 1L)),
    if (kind == "POSIXct") list(zone = attr(x, "tzone")[1] %||% "UTC"),
    if (kind == "difftime") list(units = attr(x, "units"))
  )
}

is_nan <- function(x) {
  if (is.double(x)) is.nan(unclass(x)) else rep(FALSE, length(x))
}

# The kind of a column, as Python is told; NA for columns that can't cross.
kind_of_column <- function(x) {
  if (!is.atomic(x) || is.null(x) || isS4(x) || length(dim(x)) > 1) {
    return(NA_character_)
  }
  for (class in c("factor", "integer64", "POSIXct", "Date", "difftime")) {
    if (inherits(x, class)) {
      return(class)
    }
  }
  switch(typeof(x), logical = , integer = , double = , character = , raw = typeof(x), NA_character_)
}

# Categories can't be missing in pandas, so a level NA gets a name that no other level has.
levels_as_text <- function(levels) {
  if (anyNA(levels)) {
    levels[is.na(levels)] <- utils::tail(make.unique(c(levels[!is.na(levels)], "NA"), sep = "_"), 1)
  }
  enc2utf8(levels)
}

column_from_python <- function(column) {
  values <- as.vector(column$values)
  missing <- as.vector(column$missing) + 1L
  if (column$kind == "factor") {
    levels <- as.character(as.vector(column$levels))
    codes <- values + 1L
    codes[codes == 0L] <- NA
    return(structure(codes, levels = levels, class = c(if (column$ordered) "ordered", "factor")))
  }
  if (column$kind == "character") values <- as.character(values)
  if (column$kind == "integer64") {
    return(structure(values, class = "integer64"))
  }
  # Numbers that were NA or NaN in R still are, by their bits. Missing whole numbers that came as double are not yet.
  values[if (column$kind == "double") missing[!is.na(values[missing])] else missing] <- NA
  switch(column$kind,
    POSIXct = structure(values, class = c("POSIXct", "POSIXt"), tzone = column$zone),
    difftime = structure(values, class = "difftime", units = column$units),
    values
  )
}

# The type and the attributes of a column, without its values: these are remembered.
prototype_of <- function(x) {
  kept <- attributes(x)
  kept <- kept[setdiff(names(kept), c("names", "dim", "dimnames"))]
  prototype <- vector(typeof(x), 0)
  attributes(prototype) <- kept
  prototype
}

# A column that came back, as it was before it went, if its values still allow that.
as_prototype <- function(x, prototype) {
  was <- kind_of_column(prototype)
  now <- kind_of_column(x)
  values <- if (was == "factor" && now == "factor") {
    # Python may have dropped levels or added some: those are then the levels.
    if (!identical(levels(x), levels_as_text(levels(prototype)))) {
      return(x)
    }
    as.integer(x)
  } else if (was == "character" && now == "factor") {
    as.character(x)
  } else if (was == "factor" && now == "character") {
    match(x, levels_as_text(levels(prototype)))
  } else if (was %in% c("Date", "difftime") && now %in% c("POSIXct", "difftime")) {
    as.vector(unclass(x)) / seconds_in(prototype)
  } else if (was == now || (is.numeric(x) && was %in% c("POSIXct", "Date", "difftime", "integer", "double", "raw"))) {
    as.vector(unclass(x))
  } else {
    return(x)
  }
  if (typeof(values) != typeof(prototype)) {
    cast <- suppressWarnings(as.vector(values, typeof(prototype)))
    if (anyNA(cast) && !identical(is.na(cast), is.na(values))) {
      return(x)
    }
    values <- cast
  }
  attributes(values) <- attributes(prototype)
  values
}

seconds_in <- function(prototype) {
  if (inherits(prototype, "Date")) {
    return(86400)
  }
  c(secs = 1, mins = 60, hours = 3600, days = 86400, weeks = 604800)[[attr(prototype, "units")]]
}
