# An AnnData that never was a Seurat object: where its parts go in one, and what to remember so that they return.

foreign_memory <- function(source, assay) {
  there <- source$there
  layers <- foreign_layers(source)
  list(
    version = utils::packageVersion("SeuratObject"), project.name = "SeuratProject", active.assay = assay,
    assay = assay, assay.order = assay, foreign = TRUE,
    metadata = list(), identities = list(all = "SeuratProject", prototype = factor(character(), "SeuratProject")),
    main = list(
      class = "Assay5", package = "SeuratObject", layers = layers, metadata = list(rows = integer()),
      slots = list(default = 1L, assay.orig = character(), misc = named(list()), key = seurat_key(assay))
    ),
    reductions = foreign_reductions(there, assay),
    graphs = foreign_graphs(there, assay),
    misc = list(), commands = list(), tools = list()
  )
}

foreign_names <- function(source, report) {
  cells <- make.unique(source$cells, sep = "-")
  genes <- seurat_names(source$genes)
  say_renamed(report, "cells", source$cells, cells, "Seurat wants names without repetition")
  say_renamed(report, "features", source$genes, genes, "Seurat wants names without repetition, _ and |")
  list(cells = cells, genes = genes)
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
  there <- source$there
  layers <- lapply(stats::setNames(nm = setdiff(names(there$layers), taken)), function(key) {
    list(key = key, place = "layers", parts = stats::setNames(list(list(class = "as it is")), key))
  })
  if (is.null(there$X) || "X" %in% taken) {
    return(layers)
  }
  free <- function(name) if (name %in% names(layers)) "X" else name
  name <- if (reticulate::py_to_r(source$bridge$holds_counts(source$adata$X))) free("counts") else free(otherwise)
  X <- list(key = "X", place = "X", parts = stats::setNames(list(list(class = "as it is")), name))
  c(stats::setNames(list(X), name), layers)
}

foreign_graphs <- function(there, assay, taken = character()) {
  keys <- setdiff(sparse_keys(there$obsp), taken)
  lapply(stats::setNames(nm = keys), function(key) {
    list(key = key, class = "Graph", package = "SeuratObject", assay.used = assay)
  })
}

sparse_keys <- function(members) Filter(function(key) members[[key]]$kind == "sparse", names(members))

# What Python put beside what came from Seurat: reductions, graphs and, where an assay can have them, layers.
with_added <- function(memory, source) {
  used <- used_keys(memory)
  there <- source$there
  memory$reductions <- c(memory$reductions, foreign_reductions(there, memory$assay, used$obsm))
  memory$graphs <- c(memory$graphs, foreign_graphs(there, memory$assay, used$obsp))
  if (memory$main$class == "Assay5") {
    memory$main$layers <- c(memory$main$layers, foreign_layers(source, taken = used$layers))
  }
  memory
}

foreign_reductions <- function(there, assay, taken = character()) {
  fits <- function(key) {
    member <- there$obsm[[key]]
    table <- member$kind == "dense" && length(member$shape) == 2 && member$shape[[2]] > 0
    table && !key %in% taken && !is_places(key, member)
  }
  keys <- Filter(fits, names(there$obsm))
  names <- make.unique(sub("^X_", "", keys), sep = ".")
  names[names == ""] <- "X"
  reductions <- lapply(seq_along(keys), function(i) {
    width <- there$obsm[[keys[[i]]]]$shape[[2]]
    varm <- intersect(c(if (names[[i]] == "pca") "PCs", names[[i]]), names(there$varm))
    varm <- Filter(function(key) {
      there$varm[[key]]$kind == "dense" && identical(there$varm[[key]]$shape[[2]], width)
    }, varm)
    key <- switch(names[[i]], pca = "PC_", tsne = "tSNE_", seurat_key(names[[i]]))
    list(
      key = keys[[i]], columns = paste0(key, seq_len(width)),
      feature.loadings = if (length(varm)) list(key = varm[[1]], columns = paste0(key, seq_len(width))) else nothing(),
      feature.loadings.projected = nothing(),
      slots = list(
        assay.used = assay, global = FALSE, stdev = numeric(), misc = list(), key = key,
        jackstraw = blank("JackStrawData")
      )
    )
  })
  stats::setNames(reductions, names)
}

nothing <- function() list(whole = matrix(numeric(), 0, 0))

is_places <- function(key, member) key == "spatial" && length(member$shape) == 2 && member$shape[[2]] == 2

# What AnnData holds besides what `memory` accounts for, put where Seurat has a place for it, and all of it remembered
# in Misc(object, "anndata").
with_news <- function(object, memory, source, obs, var, report) {
  there <- source$there
  used <- used_keys(memory)
  cells <- colnames(object)
  genes <- rownames(object[[memory$assay]])
  news <- leftovers(source, used, cells, genes, "Misc(object, \"anndata\")", report)
  if (!is.null(there$raw)) {
    raw <- raw_assay(source, cells, report)
    object@assays[[raw$name]] <- raw$assay
    news$raw <- raw$memory
    kept(report, "raw", paste0("assay \"", raw$name, "\""))
  }
  if (!"spatial" %in% used$obsm && "spatial" %in% names(there$obsm) && is_places("spatial", there$obsm$spatial)) {
    places <- source$fetch("obsm", "spatial")
    images <- images_from_anndata(places, news$uns$spatial, cells, memory$assay)
    object@images <- c(object@images, images)
    news$images <- names(images)
    kept(report, "obsm[\"spatial\"]", paste0("image \"", names(images), "\""))
  }
  if (isTRUE(memory$foreign)) {
    variable <- var$data$highly_variable
    if (is.logical(variable) && any(variable %in% TRUE) && !"var.features" %in% names(var$data)) {
      object@assays[[memory$assay]]@meta.data$var.features <- ifelse(variable %in% TRUE, genes, NA_character_)
      object@assays[[memory$assay]]@meta.data$var.features.rank <- ranks(variable %in% TRUE)
      news$derived <- c("var.features", "var.features.rank")
    }
    news <- c(news, foreign_types(memory, source, obs, var, cells, genes))
  }
  if (length(news)) object@misc$anndata <- c(list(assay = memory$assay), news)
  object
}

# The parts of an AnnData that nothing else took: values, and the names of the rows and columns that they belong to.
leftovers <- function(source, used, cells, genes, where, report) {
  values <- function(place, keys, ...) {
    found <- lapply(stats::setNames(nm = keys), function(key) {
      got <- source$value(place, key)
      for (lost in got$dropped) dropped(report, paste0(place, "[\"", key, "\"]", lost[[1]]), lost[[2]])
      if (!is.null(got$value) || !length(got$dropped)) kept(report, paste0(place, "[\"", key, "\"]"), where)
      got["value"]
    })
    lapply(found, function(one) c(one, list(...)))
  }
  left <- function(place) setdiff(names(source$there[[place]]), unlist(used[[place]]))
  news <- list(
    uns = lapply(values("uns", setdiff(as.vector(source$there$uns), used$uns)), `[[`, "value"),
    obsm = values("obsm", left("obsm"), rows = cells),
    varm = values("varm", left("varm"), rows = genes),
    obsp = values("obsp", left("obsp"), rows = cells, columns = cells),
    varp = values("varp", left("varp"), rows = genes, columns = genes),
    layers = values("layers", left("layers"), rows = cells, columns = genes)
  )
  news[lengths(news) > 0]
}

ranks <- function(which) {
  rank <- rep(NA_integer_, length(which))
  rank[which] <- seq_len(sum(which))
  rank
}

used_keys <- function(memory) {
  of_layers <- function(place) {
    unlist(lapply(memory$main$layers, function(one) if (identical(one$place, place)) one$key))
  }
  loadings <- lapply(memory$reductions, function(one) c(one$feature.loadings$key, one$feature.loadings.projected$key))
  list(
    obsm = unlist(c(
      lapply(memory$reductions, `[[`, "key"), of_layers("obsm"), "seurat", if (length(memory$images)) "spatial"
    )),
    varm = unlist(loadings), layers = c(of_layers("layers"), of_layers("X")),
    obsp = unlist(c(lapply(memory$graphs, `[[`, "key"), lapply(memory$neighbors, `[[`, "keys"))),
    uns = c("seurat", "celloquy_conversion", if (any(vapply(memory$images, has_picture, NA))) "spatial")
  )
}

# Types and names that R does not have.
foreign_types <- function(memory, source, obs, var, cells, genes) {
  there <- source$there
  type <- function(place, key) there[[place]][[key]][c("dtype", "format")]
  changed <- function(new, old) if (!identical(new, old)) stats::setNames(old, new)
  types <- list(
    obs = obs$dtypes, var = var$dtypes,
    layers = lapply(named(memory$main$layers), function(one) {
      c(list(key = one$key), if (one$place == "X") there$X[c("dtype", "format")] else type(one$place, one$key))
    }),
    reductions = lapply(named(memory$reductions), function(one) {
      loadings <- one$feature.loadings$key
      list(
        key = one$key, dtype = type("obsm", one$key)$dtype,
        feature.loadings = list(key = loadings, dtype = if (!is.null(loadings)) type("varm", loadings)$dtype)
      )
    }),
    obsp_types = lapply(named(memory$graphs), function(one) c(list(key = one$key), type("obsp", one$key)))
  )
  for (part in names(memory$types)) {
    was <- memory$types[[part]]
    news <- types[[part]][setdiff(names(types[[part]]), was$of_r)]
    types[[part]] <- named(was$had)
    types[[part]][names(news)] <- news
  }
  c(
    list(
      cells = changed(cells, source$cells), genes = changed(genes, source$genes),
      obs_index = there$obs_index, var_index = there$var_index
    ),
    types
  )
}

# For the way back, of each kind of part: the types that parts had in Python, and the names of those that R made, which
# have none to remember. `came` is what the object remembers of the AnnData that it came from, `there` what it has now.
remembered_types <- function(came, there) {
  if (is.null(came)) {
    return(NULL)
  }
  lapply(stats::setNames(nm = names(there)), function(part) {
    list(had = came[[part]], of_r = setdiff(names(there[[part]]), names(came[[part]])))
  })
}

raw_assay <- function(source, cells, report) {
  raw <- raw_parts(source, report)
  genes <- seurat_names(as.vector(source$there$raw$genes))
  attr(raw$var, "row.names") <- .set_row_names(length(genes))
  memory <- list(
    class = "Assay5", package = "SeuratObject",
    slots = list(default = 1L, assay.orig = character(), misc = named(list()), key = "raw_")
  )
  layers <- stats::setNames(list(list(matrix = raw$X, features = genes, cells = cells)), raw$memory$layer)
  raw$memory$genes <- if (!identical(genes, as.vector(source$there$raw$genes))) {
    stats::setNames(as.vector(source$there$raw$genes), genes)
  }
  list(name = "raw", assay = build_assay(memory, layers, genes, cells, raw$var), memory = raw$memory)
}

raw_parts <- function(source, report) {
  raw <- source$there$raw
  counts <- reticulate::py_to_r(source$bridge$holds_counts(source$adata$raw$X))
  drop <- function(name, why) dropped(report, paste("raw.var", name), why)
  var <- frame_from_python(source$adata$raw$var, seq_along(raw$genes), list(), drop, source$bridge)
  list(
    X = source$fetch("raw", NULL), var = var$data,
    memory = list(
      assay = "raw", layer = if (counts) "counts" else "data", dtype = raw$X$dtype, format = raw$X$format,
      var = var$dtypes
    )
  )
}

# ---- And back to AnnData ---------------------------------------------------------------------------------------------

# `raw` holds the layer, features and var that are the AnnData's raw, if it had one and that is still there.
with_remembered <- function(parts, came, cells, genes, raw) {
  for (place in c("obsm", "varm", "obsp", "varp", "layers")) {
    rows <- if (place %in% c("varm", "varp")) genes else cells
    columns <- if (place %in% c("varp", "layers")) genes else cells
    for (key in names(came[[place]])) {
      one <- came[[place]][[key]]
      value <- rows_of(one$value, one$rows, rows)
      if (!is.null(one$columns)) value <- columns_of(value, one$columns, columns)
      if (!is.null(value)) parts[[place]][[key]] <- value_to_python(value)
    }
  }
  uns <- lapply(came$uns, value_to_python)
  parts$uns <- c(parts$uns, uns[setdiff(names(uns[!vapply(uns, is.null, NA)]), names(parts$uns))])
  if (!is.null(raw)) {
    was <- stats::setNames(list(c(list(key = "X"), came$raw[c("dtype", "format")])), came$raw$layer)
    layers <- layers_to_python(raw$layers, raw$features, length(cells), came$raw$layer, was)
    var <- frame_to_python(raw$var, original(raw$features, came$raw$genes), "", came$raw$var)
    parts$raw <- list(X = layers$X, var = var)
  }
  parts
}

raw_of_seurat <- function(object, raw) {
  if (is.null(raw) || !raw$assay %in% names(object@assays)) {
    return(NULL)
  }
  assay <- object@assays[[raw$assay]]
  list(layers = assay_layers(assay)[raw$layer], features = rownames(assay), var = assay@meta.data)
}

# The rows of a value for these names; NULL if some are new.
rows_of <- function(value, had, want) {
  if (identical(had, want)) {
    return(value)
  }
  if (!all(want %in% had)) {
    return(NULL)
  }
  part_of(value, function(x) x[match(want, had), , drop = FALSE], match(want, had), 1)
}

columns_of <- function(value, had, want) {
  if (is.null(value) || identical(had, want)) {
    return(value)
  }
  if (!all(want %in% had)) {
    return(NULL)
  }
  part_of(value, function(x) x[, match(want, had), drop = FALSE], match(want, had), 2)
}

part_of <- function(value, select, which, dimension) {
  was <- attr(value, "python", exact = TRUE)
  if (identical(was$python, "sparse")) {
    value[[1]] <- select(value[[1]])
    return(value)
  }
  if (is.data.frame(value)) {
    was$index <- was$index[which]
    return(structure(select(value), python = was))
  }
  if (length(dim(value)) == 2) {
    was$shape[[dimension]] <- length(which)
    return(structure(select(value), python = was))
  }
  NULL
}
