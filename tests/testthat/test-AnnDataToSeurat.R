test_that("an AnnData with everything in it comes back identical from Seurat", {
  skip_without_python()
  make <- python_objects()
  for (seed in 1:20) {
    adata <- make$everything(seed)
    object <- AnnDataToSeurat(adata, verbose = FALSE)
    expect_s4_class(object, "Seurat")
    back <- SeuratToAnnData(object, verbose = FALSE)
    expect_identical(reticulate::py_to_r(make$differences(adata, back)), list())
    # And once more, with what the first round left for it.
    expect_same(AnnDataToSeurat(back, verbose = FALSE), {
      attr(object, "report") <- NULL
      object
    })
  }
})

test_that("what R adds to an object from Python, and what it drops, comes back identical", {
  skip_without_python()
  make <- python_objects()
  for (seed in 1:20) {
    object <- AnnDataToSeurat(make$everything(seed), verbose = FALSE)
    attr(object, "report") <- NULL
    object$text <- rep(c("a", "b"), length.out = ncol(object))
    object$whole <- seq_len(ncol(object))
    object@meta.data[[2]] <- NULL
    vectors <- matrix(rnorm(3 * ncol(object)), ncol = 3, dimnames = list(colnames(object), paste0("new_", 1:3)))
    object[["new"]] <- SeuratObject::CreateDimReducObject(vectors, key = "new_", assay = "RNA")
    near <- as_sparse(diag(ncol(object)))
    dimnames(near) <- list(colnames(object), colnames(object))
    object[["near"]] <- SeuratObject::as.Graph(near)
    expect_same(there_and_back(object), object)
  }
})

test_that("the file route gives the same", {
  skip_without_python()
  make <- python_objects()
  files <- withr::local_tempfile(pattern = c("one", "two"), fileext = ".h5ad")
  for (seed in 21:25) {
    adata <- make$on_file(seed, files[[1]])
    object <- ReadH5AD(files[[1]], verbose = FALSE)
    WriteH5AD(object, files[[2]], overwrite = TRUE, verbose = FALSE)
    expect_identical(reticulate::py_to_r(make$differences(adata, make$read(files[[2]]))), list())
  }
})

test_that("names that Seurat does not allow are changed, said, and come back", {
  skip_without_python()
  make <- python_objects()
  adata <- make$odd_names()
  expect_message(object <- AnnDataToSeurat(adata), "Renamed: 2 cells and 4 features")
  expect_identical(rownames(object), c("a-b", "a-b.1", "x-y", "dup", "dup.1"))
  expect_identical(colnames(object), c("1", "1-1", "1-2"))
  report <- attr(object, "report")
  expect_match(report$detail[report$action == "renamed"], "a_b is a-b", all = FALSE)
  back <- SeuratToAnnData(object, verbose = FALSE)
  expect_identical(unlist(reticulate::py_to_r(back$var_names$to_list())), c("a_b", "a-b", "x|y", "dup", "dup"))
  expect_identical(unlist(reticulate::py_to_r(back$obs_names$to_list())), c("1", "1", "1"))
})

test_that("whole numbers are counts, others data; raw is an assay of its own", {
  skip_without_python()
  make <- python_objects()
  object <- AnnDataToSeurat(make$scanpys(), verbose = FALSE)
  expect_setequal(SeuratObject::Assays(object), c("RNA", "raw"))
  expect_setequal(SeuratObject::Layers(object[["RNA"]]), c("data", "counts"))
  expect_setequal(SeuratObject::Reductions(object), c("pca", "umap"))
  expect_setequal(SeuratObject::Graphs(object), c("connectivities", "distances"))
  expect_length(SeuratObject::VariableFeatures(object), 50)
  expect_identical(dim(SeuratObject::Loadings(object, "pca")), c(50L, 10L))
})

test_that("an AnnData of Visium becomes an image, and Seurat's functions work on what came", {
  skip_without_python()
  skip_if_not_installed("Seurat")
  adata <- python_objects()$visium()
  object <- AnnDataToSeurat(adata, verbose = FALSE)
  expect_s4_class(object[["slide.1"]], "VisiumV2")
  places <- SeuratObject::GetTissueCoordinates(object, image = "slide.1")
  expect_identical(rownames(places), colnames(object))
  object <- Seurat::NormalizeData(object, verbose = FALSE)
  expect_s3_class(Seurat::SpatialFeaturePlot(object, "gene3"), "ggplot")
  back <- SeuratToAnnData(AnnDataToSeurat(adata, verbose = FALSE), verbose = FALSE)
  expect_identical(reticulate::py_to_r(python_objects()$differences(adata, back)), list())
})

test_that("what Python selected, sorted and added is what R gets", {
  skip_without_python()
  make <- python_objects()
  object <- worked_object()
  object[["ADT"]] <- SeuratObject::CreateAssay5Object(counts = pbmc_counts()[1:4, ])
  cut <- AnnDataToSeurat(make$select(SeuratToAnnData(object, verbose = FALSE)), verbose = FALSE)
  cells <- colnames(object)[c(6, 4, 41, 80, 2)]
  genes <- rownames(object)[c(11, 3, 101)]
  expect_identical(colnames(cut), cells)
  expect_identical(rownames(cut), genes)
  expect_identical(SeuratObject::Layers(cut)[1:2], c("counts.first", "counts.second"))
  joined <- function(object) as.matrix(SeuratObject::LayerData(SeuratObject::JoinLayers(object), layer = "counts"))
  expect_identical(joined(cut), joined(object)[genes, cells])
  expect_identical(SeuratObject::Embeddings(cut, "pca"), SeuratObject::Embeddings(object, "pca")[cells, ])
  expect_identical(as.matrix(cut[["RNA_snn"]]), as.matrix(object[["RNA_snn"]][cells, cells]))
  expect_setequal(colnames(cut[["ADT"]]), cells)
  expect_identical(unname(cut$added), c(0L, 1L, 2L, 3L, 4L))
  expect_identical(SeuratObject::Embeddings(cut, "new"), matrix(1, 5, 2, dimnames = list(cells, c("new_1", "new_2"))))
  expect_true(methods::validObject(cut))
})

test_that("scanpy runs its standard steps on what Seurat gives, and squidpy on images", {
  skip_without_python()
  make <- python_objects()
  object <- worked_object()
  file <- withr::local_tempfile(fileext = ".h5ad")
  WriteH5AD(object, file, verbose = FALSE)
  make$scanpy_steps(file)
  back <- ReadH5AD(file, verbose = FALSE)
  expect_true(all(c("leiden", "half") %in% names(back[[]])))
  expect_true("connectivities" %in% SeuratObject::Graphs(back))
  WriteH5AD(visium(2), file, overwrite = TRUE, verbose = FALSE)
  make$squidpy_steps(file)
  graphs <- SeuratObject::Graphs(ReadH5AD(file, verbose = FALSE))
  expect_true(all(c("spatial_connectivities", "spatial_distances") %in% graphs))
})

test_that("what R has nothing like is said, of cells and of genes", {
  skip_without_python()
  adata <- python_objects()$unlike_r()
  expect_message(object <- AnnDataToSeurat(adata), "Dropped: obs mixed, obs when, nanoseconds, and var mixed")
  expect_identical(object$plain, c("0" = 1L, "1" = 2L, "2" = 3L))
  expect_s3_class(object[[]]$when, "POSIXct")
  expect_false("mixed" %in% c(names(object[[]]), names(object[["RNA"]][[]])))
})

test_that("what R can't hold is an error that names the file", {
  skip_without_python()
  make <- python_objects()
  expect_snapshot(error = TRUE, AnnDataToSeurat(make$too_large()))
})

test_that("infinite coordinates make no image, and the report says so", {
  skip_without_python()
  adata <- python_objects()$everything(1L)
  cells <- reticulate::py_to_r(adata$n_obs)
  places <- matrix(c(Inf, seq_len(2 * cells - 1)), cells)
  reticulate::py_set_item(adata$obsm, "spatial", reticulate::r_to_py(places))
  back <- AnnDataToSeurat(adata, verbose = FALSE)
  expect_length(SeuratObject::Images(back), 0)
  report <- as.data.frame(attr(back, "report"))
  expect_true(any(grepl("infinite", unlist(report))))
})

test_that("cells that are called as parts of an AnnData are no parts of it", {
  skip_without_python()
  counts <- SeuratObject::LayerData(SeuratObject::pbmc_small, layer = "counts")[, 1:4]
  colnames(counts) <- c("obs", "var", "obsm", "layers")
  object <- SeuratObject::CreateSeuratObject(counts)
  adata <- SeuratToAnnData(object, verbose = FALSE)
  expect_identical(colnames(AnnDataToSeurat(adata, verbose = FALSE)), colnames(counts))
  skip_if_not_installed("SingleCellExperiment")
  expect_identical(colnames(AnnDataToSCE(adata, verbose = FALSE)), colnames(counts))
})
