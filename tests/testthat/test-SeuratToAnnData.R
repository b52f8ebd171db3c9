test_that("pbmc_small comes back identical, through memory and through a file", {
  skip_without_python()
  expect_same(there_and_back(SeuratObject::pbmc_small), SeuratObject::pbmc_small)
  expect_same(through_a_file(SeuratObject::pbmc_small), SeuratObject::pbmc_small)
})

test_that("an Assay5 after the usual steps comes back identical, with split layers and loadings of some genes", {
  skip_without_python()
  object <- worked_object()
  expect_identical(SeuratObject::Layers(object)[1:2], c("counts.first", "counts.second"))
  expect_lt(nrow(SeuratObject::Loadings(object, "pca")), nrow(object))
  expect_same(there_and_back(object), object)
  expect_same(through_a_file(object), object)
})

test_that("two hundred random objects come back identical", {
  skip_without_python()
  for (seed in 1:200) {
    object <- random_object(seed)
    back <- there_and_back(object)
    attr(back, "report") <- NULL
    expect_true(identical(back, object), label = paste("random object", seed))
  }
})

test_that("random objects come back identical through a file", {
  skip_without_python()
  for (seed in 201:230) {
    object <- random_object(seed)
    back <- through_a_file(object)
    attr(back, "report") <- NULL
    expect_true(identical(back, object), label = paste("random object", seed))
  }
})

test_that("the counts are X, sparse and as they were; other layers, metadata and the rest are where scanpy looks", {
  skip_without_python()
  object <- worked_object()
  adata <- SeuratToAnnData(object, verbose = FALSE)
  counts <- SeuratObject::LayerData(SeuratObject::JoinLayers(object), layer = "counts")
  X <- reticulate::py_to_r(adata$X)
  expect_s4_class(X, "dgRMatrix")
  expect_identical(as.matrix(X), t(as.matrix(counts)), ignore_attr = TRUE)
  expect_identical(reticulate::py_to_r(adata$X$nnz), length(counts@x))
  keys <- function(of) reticulate::iterate(of$keys(), reticulate::py_to_r)
  expect_setequal(unlist(keys(adata$layers)), "data")
  expect_setequal(unlist(keys(adata$obsm)), c("X_pca", "X_umap", "scale.data", "seurat"))
  expect_setequal(unlist(keys(adata$obsp)), c("RNA_nn", "RNA_snn"))
  # Variable genes only: not a column for any other.
  expect_identical(dim(reticulate::py_to_r(adata$obsm[["scale.data"]])), c(80L, 20L))
  expect_identical(sum(reticulate::py_to_r(adata$var[["highly_variable"]]$to_numpy())), 20L)
})

test_that("columns of every type cross to the pandas type that their users expect", {
  skip_without_python()
  object <- small_object()
  columns <- every_column(ncol(object))
  object@meta.data <- cbind(object@meta.data, columns)
  adata <- SeuratToAnnData(object, verbose = FALSE)
  type <- function(name) reticulate::py_str(adata$obs[[name]]$dtype)
  keys <- gsub("/", "|", names(columns), fixed = TRUE)
  types <- vapply(keys, type, "")
  expect_identical(unname(types), c(
    "bool", "boolean", "int32", "Int32", "float64", "float64", "object", "category", "category", "category",
    "category", "category", "category", "Int64", "datetime64[ns]", "datetime64[ns]", "datetime64[ns, Europe/Berlin]",
    "datetime64[ns, UTC]", "float64", "timedelta64[ns]", "timedelta64[ns]", "uint8", "int32"
  ))
  missing <- vapply(keys, function(name) as.integer(reticulate::py_to_r(adata$obs[[name]]$isna()$sum())), 1L)
  names(missing) <- names(columns)
  gaps <- vapply(columns, function(x) sum(is.na(x)), 1L)
  gaps[c("factor_na_level", "integer64")] <- c(0L, 27L)
  expect_identical(missing, gaps)
  expect_same(there_and_back(object), object)
  expect_same(through_a_file(object), object)
})

test_that("a level called NA is no missing value", {
  skip_without_python()
  object <- small_object()
  object$either <- factor(rep(c("NA", NA, "b"), length.out = 80))
  object$level <- factor(rep(c("NA", NA, "b"), length.out = 80), exclude = NULL)
  adata <- SeuratToAnnData(object, verbose = FALSE)
  categories <- function(name) unlist(reticulate::py_to_r(adata$obs[[name]]$cat$categories$to_list()))
  expect_identical(categories("either"), c("NA", "b"))
  expect_identical(categories("level"), c("NA", "b", "NA_1"))
  expect_same(there_and_back(object), object)
})

test_that("what can't go is in the report, with the reason, and is said once", {
  skip_without_python()
  object <- small_object()
  object@meta.data$list <- rep(list(mean), ncol(object))
  object@misc <- list(kept = 1, code = function(x) x, place = globalenv())
  object@neighbors$nn <- methods::new(
    methods::getClass("Neighbor", where = asNamespace("SeuratObject")),
    nn.idx = matrix(1:80), nn.dist = matrix(0, 80), alg.idx = globalenv(), cell.names = colnames(object)
  )
  expect_message(adata <- SeuratToAnnData(object), "Dropped: metadata column list, index of neighbors nn, misc\\$code")
  report <- attr(adata, "report")
  expect_s3_class(report, "celloquy_conversion")
  lost <- report[report$action == "dropped", ]
  expect_identical(lost$part, c("metadata column list", "index of neighbors nn", "misc$code", "misc$place"))
  expect_match(lost$detail, "a list, and 1: class function|memory only|class (function|environment) is not plain data")
  stored <- reticulate::py_to_r(adata$uns[["celloquy_conversion"]]$part$to_list())
  expect_identical(unlist(stored), report$part)
  expect_snapshot(print(report))
  expect_silent(SeuratToAnnData(object, verbose = FALSE))
  back <- there_and_back(object)
  expect_identical(back@misc, list(kept = 1))
})

test_that("the object that is converted stays as it was", {
  skip_without_python()
  object <- worked_object()
  copy <- unserialize(serialize(object, NULL))
  adata <- SeuratToAnnData(object, verbose = FALSE)
  # What Python does to its own data does not reach R's.
  adata$X$data$fill(0)
  adata$obs$drop(columns = "half", inplace = TRUE)
  reticulate::import("scanpy", convert = FALSE)$pp$normalize_total(adata, layer = "data")
  expect_identical(object, copy)
})

test_that("any layer may be X, and a missing one is replaced by the first", {
  skip_without_python()
  object <- worked_object()
  adata <- SeuratToAnnData(object, layer = "data", verbose = FALSE)
  data <- SeuratObject::LayerData(SeuratObject::JoinLayers(object), layer = "data")
  expect_identical(as.matrix(reticulate::py_to_r(adata$X)), t(as.matrix(data)), ignore_attr = TRUE)
  expect_same(AnnDataToSeurat(adata, verbose = FALSE), object)
  normalised <- Seurat::DietSeurat(SeuratObject::pbmc_small, layers = "data")
  expect_same(there_and_back(normalised), normalised)
})

test_that("an object without any values in its layers comes back", {
  skip_without_python()
  object <- small_object()
  none <- function(names) {
    fill(blank("LogMap"), list(.Data = matrix(logical(), length(names), 0, dimnames = list(names, NULL))))
  }
  object@assays$RNA <- fill(object@assays$RNA, list(
    layers = list(), features = none(rownames(object)), cells = none(colnames(object)), default = 0L
  ))
  expect_same(there_and_back(object), object)
})

test_that("one cell, one gene and no reductions are no special cases", {
  skip_without_python()
  for (object in list(SeuratObject::pbmc_small[, 7], SeuratObject::pbmc_small["CD79B", ], small_object())) {
    expect_same(there_and_back(object), object)
    expect_same(through_a_file(object), object)
  }
})

test_that("other assays travel in uns, or apart on request, and all come back", {
  skip_without_python()
  object <- SeuratObject::pbmc_small
  object[["ADT"]] <- SeuratObject::CreateAssay5Object(counts = pbmc_counts()[1:4, ])
  object[["old"]] <- SeuratObject::CreateAssayObject(counts = pbmc_counts()[5:9, ])
  SeuratObject::DefaultAssay(object) <- "ADT"
  expect_same(there_and_back(object), object)
  expect_same(there_and_back(object, assay = "RNA"), object)
  expect_same(there_and_back(object, assays = "separate"), object)
  expect_same(through_a_file(object), object)
  apart <- SeuratToAnnData(object, assays = "separate", verbose = FALSE)
  expect_named(apart, c("RNA", "ADT", "old"))
  expect_identical(reticulate::py_to_r(apart$ADT$shape), list(80L, 4L))
})

test_that("SCTransform's assay comes back with its models", {
  skip_without_python()
  skip_if_not_installed("Seurat")
  object <- suppressMessages(suppressWarnings(
    Seurat::SCTransform(small_object(), ncells = 80, verbose = FALSE)
  ))
  expect_s4_class(object[["SCT"]], "SCTAssay")
  expect_same(there_and_back(object), object)
  expect_same(through_a_file(object), object)
})

test_that("neighbours come back in their class, ties in distance included", {
  skip_without_python()
  skip_if_not_installed("Seurat")
  object <- worked_object()
  object <- suppressWarnings(Seurat::FindNeighbors(object, dims = 1:2, return.neighbor = TRUE, verbose = FALSE))
  object@neighbors$RNA.nn@alg.idx <- NULL
  object@neighbors$RNA.nn@nn.dist[] <- round(object@neighbors$RNA.nn@nn.dist)
  expect_same(there_and_back(object), object)
})

test_that("fields of view come back: centroids, segmentations and molecules", {
  skip_without_python()
  object <- small_object()
  cells <- colnames(object)
  corners <- data.frame(x = c(0, 1, 1, 0) + rep(1:3, each = 4), y = c(0, 0, 1, 1), cell = rep(cells[1:3], each = 4))
  centres <- withr::with_seed(1, data.frame(x = stats::runif(80), y = stats::runif(80), cell = cells))
  molecules <- data.frame(x = 1:5 / 3, y = 5:1, gene = c("CD79B", "LYZ", "CD79B", "LYZ", "GNLY"))
  object[["whole"]] <- SeuratObject::CreateFOV(
    centres,
    type = "centroids", molecules = molecules, assay = "RNA", key = "whole_"
  )
  object[["some"]] <- SeuratObject::CreateFOV(
    list(
      segmentation = SeuratObject::CreateSegmentation(corners),
      centroids = SeuratObject::CreateCentroids(centres[1:3, ])
    ),
    type = c("segmentation", "centroids"), assay = "RNA", key = "some_"
  )
  # As a table, and not an object for every cell.
  expect_identical(as_plain(object@images$some@boundaries$segmentation)$R, "Segmentation")
  expect_identical(as_plain(object@images$whole@molecules$molecules)$R, "Molecules")
  expect_same(there_and_back(object), object)
  expect_same(through_a_file(object), object)
  places <- reticulate::py_to_r(SeuratToAnnData(object, verbose = FALSE)$obsm[["spatial"]])
  expect_identical(places, as.matrix(centres[1:2]), ignore_attr = TRUE)
})

test_that("Visium comes back in its class, and lies as scanpy and squidpy have it", {
  skip_without_python()
  skip_if_not_installed("Seurat")
  for (object in list(visium(1), visium(2))) {
    expect_same(there_and_back(object), object)
    expect_same(through_a_file(object), object)
    adata <- SeuratToAnnData(object, verbose = FALSE)
    slide <- reticulate::py_to_r(adata$uns[["spatial"]])$slice1
    expect_identical(slide$images$lowres, visium_picture())
    expect_identical(slide$scalefactors$tissue_lowres_scalef, 0.05)
    places <- reticulate::py_to_r(adata$obsm[["spatial"]])
    expect_identical(places, as.matrix(visium_spots(object)[c("imagecol", "imagerow")]), ignore_attr = TRUE)
  }
})

test_that("names come back as they were, however odd", {
  skip_without_python()
  counts <- pbmc_counts()
  rownames(counts)[1:5] <- c("a b", "\u00e9", "1", "NA", "x/y")
  colnames(counts) <- as.character(80:1)
  object <- SeuratObject::CreateSeuratObject(counts)
  object[["a column"]] <- 1
  expect_same(there_and_back(object), object)
  # Seurat does not let these in any more, but older objects have them.
  rownames(object@assays$RNA@features@.Data)[1:2] <- c("under_score", "pipe|")
  expect_same(there_and_back(object), object)
})

test_that("an object saved and read again converts as before", {
  skip_without_python()
  file <- withr::local_tempfile()
  back <- there_and_back(SeuratObject::pbmc_small)
  saveRDS(back, file)
  expect_same(there_and_back(readRDS(file)), SeuratObject::pbmc_small)
})

test_that("what can't be converted is one error that names the remedy", {
  skip_without_python()
  expect_snapshot(error = TRUE, {
    SeuratToAnnData(1)
    SeuratToAnnData(SeuratObject::pbmc_small, assay = "ADT")
    AnnDataToSeurat(1)
    AnnDataToSeurat(list(SeuratToAnnData(SeuratObject::pbmc_small, verbose = FALSE)))
  })
})

test_that("what celloquy itself leaves in an object comes back, too", {
  skip_without_python()
  object <- small_object()
  object <- RunCelloquy(object, model.object = small_model(), verbose = FALSE)
  object <- AnnotateCells(object, object, "half", epochs = 1, verbose = FALSE)
  object <- DenoiseExpression(object, features = c("LYZ", "CD3E"), epochs = 1, verbose = FALSE)
  expect_same(there_and_back(object), object)
  expect_same(through_a_file(object), object)
})
