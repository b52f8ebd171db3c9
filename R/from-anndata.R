# An AnnData that never was a Seurat object: the places of its parts in one, and what is remembered so that they return.

foreign_layout <- function(source, assay) {
  overview <- source$overview
  layers <- foreign_layers(source)
  list(
    version = utils::packageVersion("SeuratObject"), project.name = "SeuratProject", active.assay = assay,
    assay = assay, assay.order = assay, foreign = TRUE,
    metadata = list(), identities = list(foreign = TRUE),
    main = list(
      class = "Assay5", package = "SeuratObject", layers = layers, metadata = list(row.numbers = integer()),
      slots = list(default = 1L, assay.orig = character(), misc = named(list()), key = seurat_key(assay))
    ),
    reductions = foreign_reductions(source, assay),
    graphs = foreign_graphs(overview, assay),
    misc = list(), commands = list(), tools = list()
  )
}

foreign_names <- function(source, feature.column, report, call) {
  cells <- make.unique(ifelse(nzchar(source$cells), source$cells, "unnamed"), sep = "-")
  shown <- feature_names(source, feature.column, call)
  genes <- seurat_names(shown)
  say_renamed(report, "cells", source$cells, cells, "Seurat wants names, without repetition")
  why <- if (!is.null(feature.column)) paste0("named by var[\"", feature.column, "\"]; ")
  say_renamed(report, "features", source$genes, genes, paste0(why, "Seurat wants names without repetition, _ and |"))
  list(cells = cells, genes = genes)
}

# The names of features: those that they have, or those of a column of var where it has any.
feature_names <- function(source, feature.column, call) {
  if (is.null(feature.column)) {
    return(source$genes)
  }
  var <- frame_from_python(source$adata$var, seq_along(source$genes), list(), function(name, why) NULL)$data
  shown <- as.character(metadata_column(var, feature.column, "feature.column", "features", call))
  ifelse(is.na(shown) | !nzchar(shown), source$genes, shown)
}

seurat_names <- function(names) {
  names[names == ""] <- "unnamed"
  make.unique(gsub("[_|]", "-", names), sep = ".")
}

say_renamed <- function(report, what, old, new, why) {
  changed <- which(old != new)
  if (length(changed)) {
    some <- utils::head(changed, 3)
    examples <- paste0(toString(paste(old[some], "is", new[some])), if (length(changed) > 3) ", \u2026")
    renamed(report, paste(length(changed), what), paste0(why, ": ", examples, "; the way back restores them"))
  }
}

seurat_key <- function(name) {
  key <- tolower(gsub("[^A-Za-z0-9]", "", name))
  paste0(if (!grepl("^[a-z]", key)) "a", key, "_")
}

foreign_layers <- function(source, otherwise = "data", taken = NULL) {
  layers <- layers_of_anndata(source, otherwise, taken)
  if (otherwise == "data" && !"counts" %in% names(layers) && is.null(taken) && raw_has_counts(source)) {
    part <- stats::setNames(list(list(class = "as it is")), "counts")
    layers <- c(list(counts = list(key = "raw", place = "raw of genes", parts = part)), layers)
  }
  layers
}

# Whether raw holds counts of every gene of X.
raw_has_counts <- function(source) {
  genes <- as.vector(source$overview$raw$genes)
  all(source$genes %in% genes) && !anyDuplicated(source$genes) && !anyDuplicated(genes) &&
    reticulate::py_to_r(source$bridge$holds_counts(source$adata$raw$X))
}

layers_of_anndata <- function(source, otherwise, taken) {
  overview <- source$overview
  layers <- lapply(stats::setNames(nm = setdiff(names(overview$layers), taken)), function(key) {
    list(key = key, place = "layers", parts = stats::setNames(list(list(class = "as it is")), key))
  })
  if (is.null(overview$X) || "X" %in% taken) {
    return(layers)
  }
  free <- function(name) if (name %in% names(layers)) "X" else name
  name <- if (reticulate::py_to_r(source$bridge$holds_counts(source$adata$X))) free("counts") else free(otherwise)
  X <- list(key = "X", place = "X", parts = stats::setNames(list(list(class = "as it is")), name))
  c(stats::setNames(list(X), name), layers)
}

foreign_graphs <- function(overview, assay, taken = character()) {
  keys <- setdiff(sparse_keys(overview$obsp), taken)
  lapply(stats::setNames(nm = keys), function(key) {
    list(key = key, class = "Graph", package = "SeuratObject", assay.used = assay)
  })
}

sparse_keys <- function(members) Filter(function(key) members[[key]]$kind == "sparse", names(members))

# The layout of an object that came from Seurat, with what Python added since: reductions, graphs and, where an assay
# can have them, layers.
with_added <- function(layout, source) {
  used <- used_keys(layout)
  overview <- source$overview
  layout$reductions <- c(layout$reductions, foreign_reductions(source, layout$assay, used$obsm))
  layout$graphs <- c(layout$graphs, foreign_graphs(overview, layout$assay, used$obsp))
  if (layout$main$class == "Assay5") {
    layout$main$layers <- c(layout$main$layers, foreign_layers(source, taken = used$layers))
  }
  layout
}

foreign_reductions <- function(source, assay, taken = character()) {
  overview <- source$overview
  fits <- function(key) {
    member <- overview$obsm[[key]]
    table <- member$kind == "dense" && length(member$shape) == 2 && member$shape[[2]] > 0
    table && !key %in% taken && !is_places(key, member)
  }
  keys <- Filter(fits, names(overview$obsm))
  names <- make.unique(sub("^X_", "", keys), sep = ".")
  names[names == ""] <- "X"
  reductions <- lapply(seq_along(keys), function(i) {
    width <- overview$obsm[[keys[[i]]]]$shape[[2]]
    varm <- intersect(c(if (names[[i]] == "pca") "PCs", names[[i]]), names(overview$varm))
    varm <- Filter(function(key) {
      overview$varm[[key]]$kind == "dense" && identical(overview$varm[[key]]$shape[[2]], width)
    }, varm)
    stdev <- if (names[[i]] == "pca") deviations(source, width) else numeric()
    key <- switch(names[[i]], pca = "PC_", tsne = "tSNE_", seurat_key(names[[i]]))
    list(
      key = keys[[i]], columns = paste0(key, seq_len(width)),
      feature.loadings = if (length(varm)) list(key = varm[[1]], columns = paste0(key, seq_len(width))) else nothing(),
      feature.loadings.projected = nothing(),
      slots = list(
        assay.used = assay, global = FALSE, stdev = stdev, misc = list(), key = key,
        jackstraw = blank("JackStrawData")
      )
    )
  })
  stats::setNames(reductions, names)
}

# The standard deviations of scanpy's principal components.
deviations <- function(source, width) {
  if (!"pca" %in% as.vector(source$overview$uns)) {
    return(numeric())
  }
  value <- source$value("uns", "pca")$value
  variance <- if (is.list(value)) value$variance
  if (is.numeric(variance) && length(variance) == width) sqrt(as.vector(variance)) else numeric()
}

nothing <- function() list(whole = matrix(numeric(), 0, 0))

is_places <- function(key, member) {
  key == "spatial" && member$kind != "other" && length(member$shape) == 2 && member$shape[[2]] == 2
}

# The object with the parts of an AnnData that `layout` does not list: they go where Seurat has a place for them, and
# all of them are remembered in Misc(object, "anndata").
with_extras <- function(object, layout, source, obs, var, report) {
  overview <- source$overview
  used <- used_keys(layout)
  cells <- rownames(object@meta.data)
  genes <- rownames(var$data)
  extras <- leftovers(source, used, cells, genes, "Misc(object, \"anndata\")", report)
  if (!is.null(overview$raw)) {
    raw <- raw_of_anndata(layout, source, genes, cells, report)
    if (!is.null(raw$assay)) object@assays[[raw$layout$assay]] <- raw$assay
    extras$raw <- raw$layout
    kept(report, "raw", paste0("assay \"", raw$layout$assay, "\""))
  }
  if (!"spatial" %in% used$obsm && "spatial" %in% names(overview$obsm) && is_places("spatial", overview$obsm$spatial)) {
    places <- source$fetch("obsm", "spatial")
    found <- images_from_anndata(places, extras$uns$spatial, obs$data, cells, layout$assay)
    object@images <- c(object@images, found$images)
    extras$images <- names(found$images)
    kept(report, "obsm[\"spatial\"]", if (length(found$images)) {
      paste("images", toString(names(found$images)))
    } else {
      "Misc(object, \"anndata\")"
    })
    for (lost in found$lost) dropped(report, lost[[1]], lost[[2]])
  }
  if (isTRUE(layout$foreign)) {
    extras$derived <- names(variable_features(layout, var))
    extras$types <- layout$with_types
    extras$feature.order <- layout$feature.order
    extras$made <- layout$made %||% setdiff(names(object@meta.data), names(obs$data))
    extras$feature.column <- layout$feature.column
    extras <- c(extras, foreign_types(layout, source, obs, var, cells, genes))
    # The names of features that other assays have now.
    extras$genes <- c(extras$genes, layout$renamed[setdiff(names(layout$renamed), names(extras$genes))])
  }
  if (length(extras)) SeuratObject::Misc(object, "anndata") <- c(list(assay = layout$assay), extras)
  object
}

# Columns that Seurat makes of the names and counts of cells, for an AnnData that never was in R, or had them there.
supplied_columns <- function(layout, obs, assays, cells) {
  wanted <- layout$metadata$derived
  if (isTRUE(layout$foreign) && is.null(layout$metadata$keys)) wanted <- TRUE
  if (is.null(wanted)) {
    return(list())
  }
  made <- columns_of_seurat(assays, cells, layout$project.name)
  made <- made[setdiff(names(made), names(obs))]
  if (isTRUE(wanted)) made else made[intersect(names(made), wanted)]
}

# As CreateSeuratObject() makes them of assays with names: the sample is what stands before the first _ in the names of
# cells, unless that gives every cell its own, or more than 100.
columns_of_seurat <- function(assays, cells, project) {
  before <- sub("_.*", "", cells)
  samples <- length(unique(before))
  usable <- all(nzchar(before)) && samples <= 100 && samples < length(cells)
  columns <- list(orig.ident = factor(if (usable) before else rep(project, length(cells))))
  for (name in names(assays)) columns <- c(columns, sums_of_counts(assays[[name]], name, cells))
  columns
}

# The sums of the counts of each cell, and the numbers of features that it has any of; nothing without counts in memory.
sums_of_counts <- function(assay, name, cells) {
  layers <- assay_layers(assay)
  counts <- layers[grepl("^counts([.]|$)", names(layers))]
  if (!length(counts) || any(vapply(counts, function(one) inherits(one$matrix, on_disk_classes), NA))) {
    return(list())
  }
  # In the type that sums of the one matrix have; of several they are double.
  summed <- function(of) {
    if (length(counts) == 1 && length(counts[[1]]$cells) == length(cells)) {
      return(unname(Matrix::colSums(of(counts[[1]]$matrix))))
    }
    sums <- numeric(length(cells))
    for (one in counts) sums[one$cells] <- sums[one$cells] + Matrix::colSums(of(one$matrix))
    sums
  }
  sums <- summed(identity)
  detected <- summed(function(matrix) matrix > 0)
  stats::setNames(list(sums, detected), paste0(c("nCount_", "nFeature_"), name))
}

# The metadata of Seurat's variable features, of the column of scanpy's; nothing where there is none.
variable_features <- function(layout, var) {
  variable <- var$data[["highly_variable"]]
  known <- is.logical(variable) && any(variable %in% TRUE)
  if (isTRUE(layout$foreign) && known && !"var.features" %in% names(var$data)) {
    as_variable(variable %in% TRUE, rownames(var$data))
  }
}

as_variable <- function(variable, features) {
  list(var.features = ifelse(variable, features, NA_character_), var.features.rank = ranks(variable))
}

# The remaining parts of an AnnData: their values, and the names of their rows and columns.
leftovers <- function(source, used, cells, genes, where, report) {
  values <- function(place, keys, ...) {
    found <- lapply(stats::setNames(nm = keys), function(key) {
      got <- source$value(place, key)
      for (lost in got$dropped) dropped(report, paste0(place, "[\"", key, "\"]", lost[[1]]), lost[[2]])
      if (is.null(got$value) && length(got$dropped)) {
        return(NULL)
      }
      kept(report, paste0(place, "[\"", key, "\"]"), where)
      got["value"]
    })
    lapply(present(found), function(one) c(one, list(...)))
  }
  left <- function(place) setdiff(names(source$overview[[place]]), unlist(used[[place]]))
  extras <- list(
    uns = lapply(values("uns", setdiff(as.vector(source$overview$uns), used$uns)), `[[`, "value"),
    obsm = values("obsm", left("obsm"), rows = cells),
    varm = values("varm", left("varm"), rows = genes),
    obsp = values("obsp", left("obsp"), rows = cells, columns = cells),
    varp = values("varp", left("varp"), rows = genes, columns = genes),
    layers = values("layers", left("layers"), rows = cells, columns = genes)
  )
  extras[lengths(extras) > 0]
}

ranks <- function(which) {
  rank <- rep(NA_integer_, length(which))
  rank[which] <- seq_len(sum(which))
  rank
}

used_keys <- function(layout) {
  of_layers <- function(place) {
    unlist(lapply(layout$main$layers, function(one) if (identical(one$place, place)) one$key))
  }
  loadings <- lapply(layout$reductions, function(one) c(one$feature.loadings$key, one$feature.loadings.projected$key))
  list(
    obsm = unlist(c(
      lapply(layout$reductions, `[[`, "key"), of_layers("obsm"), "seurat", if (length(layout$images)) "spatial"
    )),
    varm = unlist(loadings), layers = c(of_layers("layers"), of_layers("X")),
    obsp = unlist(c(lapply(layout$graphs, `[[`, "key"), lapply(layout$neighbors, `[[`, "keys"))),
    uns = c("seurat", "celloquy_conversion", if (length(layout$pictured)) "spatial")
  )
}

# Types and names that R does not have.
foreign_types <- function(layout, source, obs, var, cells, genes) {
  overview <- source$overview
  type <- function(place, key) overview[[place]][[key]][c("dtype", "format")]
  changed <- function(new, old) if (!identical(new, old)) stats::setNames(old, new)
  types <- list(
    obs = obs$dtypes, var = var$dtypes,
    layers = lapply(named(layout$main$layers), function(one) {
      c(list(key = one$key), if (one$place == "X") overview$X[c("dtype", "format")] else type(one$place, one$key))
    }),
    reductions = lapply(named(layout$reductions), function(one) {
      loadings <- one$feature.loadings$key
      list(
        key = one$key, dtype = type("obsm", one$key)$dtype,
        feature.loadings = list(key = loadings, dtype = if (!is.null(loadings)) type("varm", loadings)$dtype)
      )
    }),
    obsp_types = lapply(named(layout$graphs), function(one) c(list(key = one$key), type("obsp", one$key)))
  )
  for (part in names(layout$types)) {
    was <- layout$types[[part]]
    added <- types[[part]][setdiff(names(types[[part]]), was$of_r)]
    types[[part]] <- named(was$had)
    types[[part]][names(added)] <- added
  }
  c(
    list(
      cells = changed(cells, source$cells), genes = changed(genes, source$genes),
      obs_index = overview$obs_index, var_index = overview$var_index
    ),
    types
  )
}

# What becomes of raw: it is the counts of the main assay, or an assay of its own.
raw_of_anndata <- function(layout, source, genes, cells, report) {
  raw <- raw_parts(source, report)
  had <- as.vector(source$overview$raw$genes)
  places <- vapply(layout$main$layers, `[[`, "", "place")
  shared <- names(places)[places == "raw of genes"]
  raw$layout$shared <- if (length(shared)) shared
  if (length(shared) && setequal(had, source$genes)) {
    # Their order and metadata in raw, which may differ from those of X.
    attr(raw$var, "row.names") <- genes[match(had, source$genes)]
    raw$layout[c("assay", "layer", "frame")] <- list(layout$assay, shared, raw$var)
    return(list(layout = raw$layout))
  }
  named <- seurat_names(had)
  attr(raw$var, "row.names") <- .set_row_names(length(named))
  main <- list(
    class = "Assay5", package = "SeuratObject",
    slots = list(default = 1L, assay.orig = character(), misc = named(list()), key = "raw_")
  )
  layers <- stats::setNames(list(list(matrix = raw$X, features = named, cells = cells)), raw$layout$layer)
  raw$layout$genes <- if (!identical(named, had)) stats::setNames(had, named)
  list(assay = build_assay(main, layers, named, cells, raw$var), layout = raw$layout)
}

raw_parts <- function(source, report) {
  raw <- source$overview$raw
  counts <- reticulate::py_to_r(source$bridge$holds_counts(source$adata$raw$X))
  drop <- function(name, why) dropped(report, paste("raw.var", name), why)
  var <- frame_from_python(source$adata$raw$var, seq_along(raw$genes), list(), drop, bridge = source$bridge)
  list(
    X = source$fetch("raw", NULL), var = var$data,
    layout = list(
      assay = "raw", layer = if (counts) "counts" else "data", dtype = raw$X$dtype, format = raw$X$format,
      var = var$dtypes
    )
  )
}

# A part of an AnnData. Its cells have names, too, and `adata[["obs"]]` is the cell of that name if there is one.
place_of <- function(adata, place) do.call("$", list(adata, place))
