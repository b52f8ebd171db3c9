# Seurat objects of every kind, for tests of conversions.

expect_same <- function(back, object) {
  attr(back, "report") <- NULL
  testthat::expect_identical(back, object)
}

there_and_back <- function(object, ...) {
  AnnDataToSeurat(SeuratToAnnData(object, ..., verbose = FALSE), verbose = FALSE)
}

through_a_file <- function(object, ...) {
  file <- withr::local_tempfile(fileext = ".h5ad")
  WriteH5AD(object, file, ..., verbose = FALSE)
  ReadH5AD(file, verbose = FALSE)
}

pbmc_counts <- function() SeuratObject::LayerData(SeuratObject::pbmc_small, layer = "counts")

# An Assay5 object after the usual steps: split layers, scaled variable genes, PCA, clusters, UMAP.
worked_object <- function() {
  testthat::skip_if_not_installed("Seurat")
  object <- small_object()
  object[["RNA"]] <- split(object[["RNA"]], f = object$half)
  suppressWarnings({
    object <- Seurat::NormalizeData(object, verbose = FALSE)
    object <- Seurat::FindVariableFeatures(object, nfeatures = 20, verbose = FALSE)
    object <- Seurat::ScaleData(object, verbose = FALSE)
    object <- Seurat::RunPCA(object, npcs = 5, verbose = FALSE)
    object <- Seurat::FindNeighbors(object, dims = 1:5, verbose = FALSE)
    object <- Seurat::FindClusters(object, verbose = FALSE)
    Seurat::RunUMAP(object, dims = 1:5, verbose = FALSE)
  })
}

# Columns of every type that metadata may have, with what usually gets lost.
every_column <- function(n) {
  n <- as.integer(n)
  cycle <- function(...) rep(c(...), length.out = n)
  data <- list(
    logical = cycle(TRUE, FALSE), logical_na = cycle(TRUE, NA, FALSE), integer = seq_len(n),
    integer_na = c(NA, seq_len(n - 1L)), double = seq_len(n) / 7, double_na = cycle(NA, 0.1, NaN, Inf),
    text = cycle("a", "\u00e9", ""), text_na = cycle("NA", NA, "b"), all_na = rep(NA_character_, n),
    factor = factor(cycle("a", "c", NA), levels = c("unused", "c", "a")),
    factor_na_level = factor(cycle("a", NA), exclude = NULL), factor_named_na = factor(cycle("NA", NA, "b")),
    ordered = factor(cycle("lo", "hi"), levels = c("lo", "hi"), ordered = TRUE),
    integer64 = structure(cycle(5e-324, -0.0, 1.5e-322), class = "integer64"),
    date = as.Date("2020-02-29") + c(NA, seq_len(n - 1L)), date_integer = structure(seq_len(n), class = "Date"),
    time = as.POSIXct("2021-03-28 01:59:59.789", tz = "Europe/Berlin") + 3600 * seq_len(n),
    time_without_zone = structure(1e9 + seq_len(n), class = c("POSIXct", "POSIXt")),
    time_too_fine = structure(seq_len(n) + 1e-10, class = c("POSIXct", "POSIXt"), tzone = "UTC"),
    minutes = as.difftime(cycle(NA, 1 / 3, 90), units = "mins"), days = as.difftime(seq_len(n), units = "days"),
    raw = as.raw(seq_len(n) %% 256L), labelled = structure(seq_len(n), label = "a label")
  )
  names(data)[[2]] <- "a name/with (odd) characters"
  structure(data, class = "data.frame", row.names = seq_len(n))
}

# An object drawn at random: its size, sparsity, names, layers, metadata and everything that hangs on it.
random_object <- function(seed) {
  withr::local_seed(seed)
  cells <- sample(c(1:4, 5:40), 1)
  genes <- sample(c(1:3, 4:60), 1)
  maybe <- function(p = 0.5) stats::runif(1) < p
  odd <- c("a_b", "x y", "\u00fc", "1", "A|B", "c-d", "e.f", "NA", "TRUE", "a/b", "'q'", "#", "g:h", "(", "\u03b1")
  name_cells <- utils::head(c(if (maybe()) sample(odd), paste0(sample(c("c", "", "CELL-"), 1), 1:100)), 100)
  name_genes <- utils::head(c(if (maybe()) sample(gsub("[_|]", "~", odd)), paste0("Gene", 1:100)), 100)
  counts <- as_sparse(random_counts(genes, cells, stats::runif(1, 0, 1)))
  dimnames(counts) <- list(sample(unique(name_genes), genes), sample(unique(name_cells), cells))
  assay <- if (maybe()) v5_assay(counts, maybe) else v3_assay(counts, maybe)
  object <- methods::new(
    methods::getClass("Seurat", where = asNamespace("SeuratObject")),
    assays = list(RNA = assay), meta.data = random_metadata(colnames(counts), maybe), active.assay = "RNA",
    active.ident = stats::setNames(random_factor(cells, maybe), colnames(counts)),
    project.name = sample(c("SeuratProject", "an odd \u00e9"), 1), version = utils::packageVersion("SeuratObject"),
    misc = if (maybe()) list(x = list(1L, NULL, list(b = NA)), "f\u00fcr/alle" = c(a = 1, b = NaN)) else list()
  )
  add_the_rest(object, counts, maybe)
}

as_sparse <- function(x) methods::as(methods::as(methods::as(x, "dMatrix"), "generalMatrix"), "CsparseMatrix")

random_counts <- function(genes, cells, density) {
  matrix(stats::rpois(genes * cells, 3) * (stats::runif(genes * cells) < density), genes, cells)
}

random_factor <- function(n, maybe) {
  factor(sample(c("x", "y", if (maybe(0.3)) NA), n, replace = TRUE), levels = c("unused", "y", "x"))
}

random_metadata <- function(cells, maybe) {
  columns <- if (length(cells) > 1) every_column(length(cells)) else data.frame(a = 1L, b = NA, c = "q")
  columns <- columns[sort(sample(ncol(columns), sample(0:ncol(columns), 1)))]
  attr(columns, "row.names") <- cells
  columns
}

v5_assay <- function(counts, maybe) {
  cells <- ncol(counts)
  genes <- nrow(counts)
  layers <- list()
  of <- sample(c("one", "two", "three"), cells, replace = TRUE)
  for (name in c("counts", "data")) {
    if (name == "data" && maybe()) next
    if (maybe(0.4) && length(unique(of)) > 1) {
      for (part in unique(of)) {
        some <- if (maybe(0.3)) sort(sample(genes, max(1, genes %/% 2))) else seq_len(genes)
        layers[[paste0(name, ".", part)]] <- list(
          matrix = counts[some, of == part, drop = FALSE], features = some, cells = which(of == part)
        )
      }
    } else {
      layers[[name]] <- list(matrix = counts, features = seq_len(genes), cells = seq_len(cells))
    }
  }
  if (maybe()) {
    some <- sort(sample(genes, sample(genes, 1)))
    scaled <- matrix(stats::rnorm(length(some) * cells), length(some))
    layers$scale.data <- list(matrix = scaled, features = some, cells = seq_len(cells))
  }
  layers <- lapply(layers, function(layer) {
    names <- list(features = rownames(counts)[layer$features], cells = colnames(counts)[layer$cells])
    c(list(matrix = layer$matrix), names)
  })
  metadata <- every_column(max(2, genes))[seq_len(genes), sort(sample(20, sample(0:5, 1))), drop = FALSE]
  # Numbers, those of a larger assay that features were selected from, or names.
  rows <- list(.set_row_names(genes), sort(sample(200L, genes)), rownames(counts))
  attr(metadata, "row.names") <- sample(rows, 1)[[1]]
  layout <- list(
    class = "Assay5", package = "SeuratObject",
    slots = list(default = 1L, assay.orig = character(), misc = named(list()), key = "rna_")
  )
  build_assay(layout, layers, rownames(counts), colnames(counts), metadata)
}

v3_assay <- function(counts, maybe) {
  if (nrow(counts) < 2 || ncol(counts) < 2) {
    return(methods::new(
      methods::getClass("Assay", where = asNamespace("SeuratObject")),
      counts = counts, data = counts, scale.data = matrix(numeric(), 0, 0),
      meta.features = data.frame(row.names = rownames(counts)), key = "rna_"
    ))
  }
  assay <- suppressWarnings(SeuratObject::CreateAssayObject(counts = counts))
  SeuratObject::Key(assay) <- "rna_"
  if (maybe()) assay@data <- as_sparse(log1p(counts))
  if (maybe()) {
    some <- sample(rownames(assay), max(1, nrow(assay) %/% 2))
    values <- stats::rnorm(length(some) * ncol(assay))
    assay@scale.data <- matrix(values, length(some), dimnames = list(some, colnames(assay)))
    assay@var.features <- sample(some)
  }
  assay
}

# Reductions, graphs, neighbours, images and a second assay, each or not.
add_the_rest <- function(object, counts, maybe) {
  cells <- colnames(object)
  n <- length(cells)
  genes <- rownames(object)
  if (maybe()) {
    embeddings <- matrix(stats::rnorm(2 * n), n, dimnames = list(cells, c("PC_1", "PC_2")))
    some <- sample(genes, sample(length(genes), 1))
    loadings <- matrix(stats::rnorm(2 * length(some)), ncol = 2, dimnames = list(some, c("PC_1", "PC_2")))
    object@reductions$pca <- SeuratObject::CreateDimReducObject(
      embeddings, if (maybe()) loadings else matrix(numeric(), 0, 0), key = "PC_", assay = "RNA", stdev = c(2, 1)
    )
  }
  if (maybe() && n > 2) {
    graph <- Matrix::rsparsematrix(n, n, 0.3)
    dimnames(graph) <- list(cells, cells)
    object@graphs$RNA_snn <- SeuratObject::as.Graph(graph)
    SeuratObject::DefaultAssay(object@graphs$RNA_snn) <- "RNA"
    index <- t(vapply(seq_len(n), function(i) sample(n, 2), c(1, 1)))
    object@neighbors$RNA.nn <- methods::new(
      methods::getClass("Neighbor", where = asNamespace("SeuratObject")),
      nn.idx = index, nn.dist = matrix(sample(c(0, 1, 2), 2 * n, replace = TRUE), n), cell.names = cells
    )
  }
  if (maybe()) {
    some <- sort(sample(n, sample(n, 1)))
    places <- data.frame(x = stats::runif(length(some)), y = stats::runif(length(some)), cell = cells[some])
    object@images$fov <- SeuratObject::CreateFOV(places, type = "centroids", radius = 1, assay = "RNA", key = "fov_")
  }
  if (maybe() && n > 1) {
    proteins <- as_sparse(random_counts(3, n, 0.7))
    dimnames(proteins) <- list(c("CD3", "CD4", "CD8"), cells)
    object@assays$ADT <- SeuratObject::CreateAssay5Object(proteins)
    SeuratObject::Key(object@assays$ADT) <- "adt_"
  }
  object
}

visium_picture <- function() withr::with_seed(3, array(stats::runif(20 * 30 * 3), c(20, 30, 3)))

visium_spots <- function(object) {
  spots <- withr::with_seed(4, data.frame(imagerow = stats::runif(80) * 300, imagecol = stats::runif(80) * 500))
  rownames(spots) <- colnames(object)
  spots
}

# Counts on a Visium slide, in the first or the second of Seurat's classes for it.
visium <- function(version) {
  object <- small_object()
  factors <- Seurat::scalefactors(spot = 89.5, fiducial = 144.6, hires = 0.17, lowres = 0.05)
  spots <- visium_spots(object)
  image <- if (version == 1) {
    coordinates <- cbind(tissue = 1L, row = 1:80, col = 80:1, spots)
    methods::new(
      methods::getClass("VisiumV1", where = asNamespace("Seurat")),
      image = visium_picture(), scale.factors = factors, coordinates = coordinates, spot.radius = 0.01, assay = "RNA",
      key = "slice1_"
    )
  } else {
    fov <- SeuratObject::CreateFOV(spots, type = "centroids", radius = 89.5, assay = "RNA", key = "slice1_")
    methods::new(
      methods::getClass("VisiumV2", where = asNamespace("Seurat")),
      image = visium_picture(), scale.factors = factors, molecules = fov@molecules, boundaries = fov@boundaries,
      assay = "RNA", key = "slice1_"
    )
  }
  object[["slice1"]] <- image
  object
}

# The AnnData of objects.py.
python_objects <- function() {
  reticulate::import_from_path("objects", testthat::test_path(), convert = FALSE)
}
