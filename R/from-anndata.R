# An AnnData that never was a Seurat object: the places of its parts in one, and what is remembered so that they return.

foreign_layout <- function(source, assay) {
  overview <- source$overview
  layers <- foreign_layers(source)
  list(
    version = utils::packageVersion("SeuratObject"), project.name = "SeuratProject", active.assay = assay,
    assay = assay, assay.order = assay, foreign = TRUE,
    metadata = list(), identities = list(all = "SeuratProject", prototype = factor(character(), "SeuratProject")),
    main = list(
      class = "Assay5", package = "SeuratObject", layers = layers, metadata = list(rows = integer()),
      slots = list(default = 1L, assay.orig = character(), misc = named(list()), key = seurat_key(assay))
    ),
    reductions = foreign_reductions(overview, assay),
    graphs = foreign_graphs(overview, assay),
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
  layout$reductions <- c(layout$reductions, foreign_reductions(overview, layout$assay, used$obsm))
  layout$graphs <- c(layout$graphs, foreign_graphs(overview, layout$assay, used$obsp))
  if (layout$main$class == "Assay5") {
    layout$main$layers <- c(layout$main$layers, foreign_layers(source, taken = used$layers))
  }
  layout
}

foreign_reductions <- function(overview, assay, taken = character()) {
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

# The object with the parts of an AnnData that `layout` does not list: they go where Seurat has a place for them, and
# all of them are remembered in Misc(object, "anndata").
with_extras <- function(object, layout, source, obs, var, report) {
  overview <- source$overview
  used <- used_keys(layout)
  cells <- colnames(object)
  genes <- rownames(object[[layout$assay]])
  extras <- leftovers(source, used, cells, genes, "Misc(object, \"anndata\")", report)
  if (!is.null(overview$raw)) {
    raw <- raw_assay(source, cells, report)
    object@assays[[raw$name]] <- raw$assay
    extras$raw <- raw$layout
    kept(report, "raw", paste0("assay \"", raw$name, "\""))
  }
  if (!"spatial" %in% used$obsm && "spatial" %in% names(overview$obsm) && is_places("spatial", overview$obsm$spatial)) {
    places <- source$fetch("obsm", "spatial")
    images <- images_from_anndata(places, extras$uns$spatial, cells, layout$assay)
    object@images <- c(object@images, images)
    extras$images <- names(images)
    kept(report, "obsm[\"spatial\"]", paste0("image \"", names(images), "\""))
  }
  if (isTRUE(layout$foreign)) {
    variable <- var$data$highly_variable
    if (is.logical(variable) && any(variable %in% TRUE) && !"var.features" %in% names(var$data)) {
      object@assays[[layout$assay]]@meta.data$var.features <- ifelse(variable %in% TRUE, genes, NA_character_)
      object@assays[[layout$assay]]@meta.data$var.features.rank <- ranks(variable %in% TRUE)
      extras$derived <- c("var.features", "var.features.rank")
    }
    extras <- c(extras, foreign_types(layout, source, obs, var, cells, genes))
  }
  if (length(extras)) SeuratObject::Misc(object, "anndata") <- c(list(assay = layout$assay), extras)
  object
}

# The remaining parts of an AnnData: their values, and the names of their rows and columns.
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
    uns = c("seurat", "celloquy_conversion", if (any(vapply(layout$images, has_picture, NA))) "spatial")
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

raw_assay <- function(source, cells, report) {
  raw <- raw_parts(source, report)
  genes <- seurat_names(as.vector(source$overview$raw$genes))
  attr(raw$var, "row.names") <- .set_row_names(length(genes))
  layout <- list(
    class = "Assay5", package = "SeuratObject",
    slots = list(default = 1L, assay.orig = character(), misc = named(list()), key = "raw_")
  )
  layers <- stats::setNames(list(list(matrix = raw$X, features = genes, cells = cells)), raw$layout$layer)
  raw$layout$genes <- if (!identical(genes, as.vector(source$overview$raw$genes))) {
    stats::setNames(as.vector(source$overview$raw$genes), genes)
  }
  list(name = "raw", assay = build_assay(layout, layers, genes, cells, raw$var), layout = raw$layout)
}

raw_parts <- function(source, report) {
  raw <- source$overview$raw
  counts <- reticulate::py_to_r(source$bridge$holds_counts(source$adata$raw$X))
  drop <- function(name, why) dropped(report, paste("raw.var", name), why)
  var <- frame_from_python(source$adata$raw$var, seq_along(raw$genes), list(), drop, source$bridge)
  list(
    X = source$fetch("raw", NULL), var = var$data,
    layout = list(
      assay = "raw", layer = if (counts) "counts" else "data", dtype = raw$X$dtype, format = raw$X$format,
      var = var$dtypes
    )
  )
}
