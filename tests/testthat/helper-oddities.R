# Objects as users really have them: with columns, orders, names and parts that are easily lost or given to others.

odd_names <- c("a/b", "", "_index", ".hidden", "twice", "twice", "ident", "library_id", "x y", "\u00e9", "names")

# Columns that pandas has nothing like, and some that look like others.
odd_columns <- function(n) {
  columns <- list(
    list = lapply(seq_len(n), seq_len), table = data.frame(a = seq_len(n), b = rep("x", n)),
    matrix = matrix(seq_len(2 * n) / 3, n, dimnames = list(NULL, c("p", "q"))),
    time = as.POSIXlt("2024-01-01", tz = "UTC") + seq_len(n), complex = complex(real = seq_len(n), imaginary = 1),
    named = stats::setNames(seq_len(n), paste0("n", seq_len(n))), array = array(seq_len(n) / 2, n),
    as_is = I(as.list(seq_len(n))), code = rep(list(mean), n)
  )
  if (rlang::is_installed("S4Vectors")) {
    columns$runs <- S4Vectors::Rle(sample(c("a", "b"), n, replace = TRUE))
    columns$factor_runs <- S4Vectors::Rle(factor(sample(c("a", "b"), n, replace = TRUE)))
    columns$frame <- S4Vectors::DataFrame(u = seq_len(n), v = S4Vectors::Rle(rep(TRUE, n)))
  }
  columns
}

# One of random_object() with oddities, each drawn or not.
odd_object <- function(seed) {
  object <- random_object(seed)
  withr::local_seed(seed)
  maybe <- function(p = 0.4) stats::runif(1) < p
  n <- ncol(object)
  cells <- colnames(object)
  columns <- odd_columns(n)
  columns <- columns[sample(length(columns), sample(0:5, 1))]
  if (maybe() && length(columns)) names(columns) <- sample(odd_names, length(columns))
  data <- c(unclass(object@meta.data), columns)
  attr(data, "row.names") <- NULL
  object@meta.data <- data_frame(data, cells)
  if (maybe() && n > 2) {
    some <- sort(sample(n, sample(n - 1, 1)))
    tags <- paste0("adt", 1:3)
    layers <- list(counts = list(
      matrix = Matrix::rsparsematrix(3, length(some), 0.5), features = tags, cells = cells[some]
    ))
    layout <- list(
      class = "Assay5", package = "SeuratObject",
      slots = list(default = 1L, assay.orig = character(), misc = named(list()), key = "adt_")
    )
    metadata <- data.frame(row.names = 1:3)
    object@assays$ADT <- build_assay(layout, layers, tags, cells[some], metadata)
    if (maybe(0.3)) object@active.assay <- "ADT"
  }
  if (maybe() && n > 2) {
    some <- sort(sample(n, sample(2:n, 1)))
    values <- matrix(stats::rnorm(2 * length(some)), ncol = 2, dimnames = list(cells[some], c("S_1", "S_2")))
    object@reductions[["some/cells"]] <- SeuratObject::CreateDimReducObject(values, key = "S_", assay = "RNA")
    graph <- Matrix::rsparsematrix(length(some), length(some), 0.5)
    dimnames(graph) <- list(cells[some], cells[some])
    object@graphs[["some/cells"]] <- SeuratObject::as.Graph(graph)
  }
  if (maybe() && n > 3) {
    halves <- split(seq_len(n), rep(1:2, length.out = n))
    for (name in c("left/1", "right")) {
      half <- halves[[if (name == "right") 2 else 1]]
      places <- data.frame(x = stats::runif(length(half)), y = stats::runif(length(half)), cell = cells[half])
      object@images[[name]] <- SeuratObject::CreateFOV(
        places,
        type = "centroids", radius = 1, assay = "RNA", key = SeuratObject::Key(gsub("/", "", name), quiet = TRUE)
      )
    }
  }
  main <- object@assays$RNA
  if (methods::is(main, "Assay") && maybe()) object@assays$RNA@scale.data <- matrix()
  if (methods::is(main, "StdAssay")) {
    single <- which(vapply(main@layers, function(layer) 1L %in% dim(layer), NA))
    for (name in names(single)) object@assays$RNA@layers[[name]] <- as.vector(object@assays$RNA@layers[[name]])
  }
  if (maybe(0.3)) object@active.ident <- object@active.ident[sample(n)]
  if (maybe(0.3)) {
    order <- sample(n)
    columns <- lapply(unclass(object@meta.data), rows_of_column, order)
    object@meta.data <- data_frame(columns[seq_along(columns)], cells[order])
  }
  object
}

# Every value of an object under the name of its part, with the names of cells and features that it belongs to: what
# must be the same, whatever the order.
parts_of <- function(object) {
  main <- colnames(object@assays[[SeuratObject::DefaultAssay(object)]])
  data <- lapply(unclass(object@meta.data), rows_of_column, match(main, rownames(object@meta.data)))
  parts <- stats::setNames(data[seq_along(data)], paste("metadata column", shown(names(object@meta.data))))
  parts$identities <- object@active.ident[main]
  for (name in names(object@assays)) {
    assay <- object@assays[[name]]
    layers <- assay_layers(assay)
    for (layer in names(layers)) {
      matrix <- as.matrix(layers[[layer]]$matrix)
      dimnames(matrix) <- list(rownames(assay)[layers[[layer]]$features], colnames(assay)[layers[[layer]]$cells])
      here <- sort(intersect(colnames(matrix), main))
      if (length(here)) parts[[paste(name, "layer", layer)]] <- matrix[sort(rownames(matrix)), here, drop = FALSE]
    }
  }
  for (name in names(object@reductions)) {
    values <- object@reductions[[name]]@cell.embeddings
    here <- intersect(main, rownames(values))
    if (length(here)) parts[[paste("reduction", name)]] <- values[here, , drop = FALSE]
  }
  for (name in names(object@graphs)) {
    graph <- as.matrix(methods::as(object@graphs[[name]], "dgCMatrix"))
    here <- intersect(main, rownames(graph))
    if (length(here)) parts[[paste("graph", name)]] <- graph[here, here, drop = FALSE]
  }
  for (name in names(object@images)) {
    places <- SeuratObject::GetTissueCoordinates(object@images[[name]])
    places <- places[places$cell %in% main, ]
    if (nrow(places)) parts[[paste("image", name)]] <- places[order(places$cell), c("x", "y", "cell")]
  }
  for (name in names(object@neighbors)) {
    neighbors <- object@neighbors[[name]]
    if (all(neighbors@cell.names %in% main)) parts[[paste("neighbors", name)]] <- neighbors
  }
  c(parts, list(misc = object@misc))
}

shown <- function(names) ifelse(is.na(names) | !nzchar(names), "without a name", names)

# What a report says must hold: what was dropped is not there, and all else is there, equal.
expect_as_reported <- function(before, after, report, label) {
  lost <- report$part[report$action == "dropped"]
  gone <- names(before) %in% lost
  testthat::expect_identical(names(before)[!gone], names(after), label = paste(label, "names"))
  for (i in seq_along(after)) {
    part <- which(!gone)[[i]]
    same <- isTRUE(all.equal(before[[part]], after[[i]], check.attributes = FALSE)) &&
      identical(class(before[[part]]), class(after[[i]])) && identical(names(before[[part]]), names(after[[i]]))
    testthat::expect_true(same, label = paste(label, names(before)[[part]]))
  }
}
