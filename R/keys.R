# Names of parts as keys of an AnnData that files can hold, too.

# One key for each name, none of them twice or among `taken`. In HDF5 and zarr a slash separates folders and a dot
# begins a name of their own; anndata reserves `_index`. Names in `given` are keys already and stay.
safe_keys <- function(names, taken = character(), given = character()) {
  names <- enc2utf8(as.character(names))
  keys <- gsub("/", "|", names, fixed = TRUE)
  keys <- sub("^[.]", "_.", keys)
  keys[is.na(keys)] <- "NA"
  keys[!nzchar(keys)] <- "unnamed"
  keys[keys == "_index"] <- "_index_"
  stay <- names %in% given & !duplicated(names) & !names %in% taken
  keys[stay] <- names[stay]
  # Names that are keys as they are come first, so that it is the changed ones that give way.
  order <- order(!stay, keys != names | is.na(names))
  unique <- utils::tail(make.unique(c(taken, keys[order]), sep = "_"), length(keys))
  keys[order] <- unique
  keys
}
