# What R makes of files that others wrote.

differences <- function(one, other) reticulate::py_to_r(python_objects()$differences(one, other))

test_that("a file of CELLxGENE gives the counts of its raw, symbols on request, and what Seurat makes itself", {
  skip_without_python()
  adata <- python_objects()$cellxgene()
  file <- withr::local_tempfile(fileext = ".h5ad")
  adata$write_h5ad(file)
  object <- ReadH5AD(file, feature.column = "feature_name", verbose = FALSE)
  expect_identical(SeuratObject::Layers(object), c("counts", "data"))
  counts <- reticulate::py_to_r(adata$raw$X$toarray())
  expect_identical(as.matrix(SeuratObject::LayerData(object, layer = "counts")), t(counts), ignore_attr = TRUE)
  expect_identical(rownames(object)[c(1, 12)], c("SYM0", "SYM0.1"))
  made <- suppressWarnings(SeuratObject::CreateSeuratObject(SeuratObject::LayerData(object, layer = "counts")))
  expect_identical(object[[]][1:3], made[[]])
  expect_identical(levels(SeuratObject::Idents(object)), c("0", "1", "2"))
  expect_identical(SeuratObject::Stdev(object, "pca"), sqrt(5:1))
  back <- SeuratToAnnData(object, verbose = FALSE)
  expect_identical(differences(python_objects()$read(file), back), list())
  attr(object, "report") <- NULL
  expect_same(AnnDataToSeurat(back, verbose = FALSE), object)
  expect_error(
    AnnDataToSeurat(back, feature.column = "weight"), "were named in R before",
    class = "celloquy_ArgumentError"
  )
  expect_error(ReadH5AD(file, feature.column = "no"), "no column \"no\"", class = "celloquy_ArgumentError")
  expect_identical(rownames(ReadH5AD(file, verbose = FALSE))[[1]], "ENSG00000000000")
  skip_if_not_installed("SingleCellExperiment")
  sce <- ReadH5AD(file, as = "SingleCellExperiment", feature.column = "feature_name", verbose = FALSE)
  expect_identical(rownames(sce), rownames(object))
  expect_identical(differences(python_objects()$read(file), SCEToAnnData(sce, verbose = FALSE)), list())
})

test_that("raw with more genes than X is an assay of its own, and gives the counts of those of X", {
  skip_without_python()
  adata <- python_objects()$cellxgene(genes = 5L)
  object <- AnnDataToSeurat(adata, verbose = FALSE)
  expect_identical(SeuratObject::Assays(object), c("RNA", "raw"))
  expect_equal(dim(object), c(5, 30))
  counts <- SeuratObject::LayerData(object, layer = "counts")
  expect_identical(counts, SeuratObject::LayerData(object[["raw"]], layer = "counts")[rownames(object), ])
  expect_identical(differences(adata, SeuratToAnnData(object, verbose = FALSE)), list())
  # What was changed in R does not vanish behind raw.
  object@assays$RNA@layers$counts <- object@assays$RNA@layers$counts * 2
  expect_identical(there_and_back(object)[["RNA"]]@layers, object[["RNA"]]@layers)
})

test_that("every slide is an image of its own, drawn at the scale of its picture", {
  skip_without_python()
  skip_if_not_installed("Seurat")
  for (kinds in list("hires", c("hires", "lowres"))) {
    adata <- python_objects()$slides(as.list(kinds))
    object <- AnnDataToSeurat(adata, verbose = FALSE)
    expect_identical(SeuratObject::Images(object), c("a.b", "c"))
    expect_identical(SeuratObject::Cells(object[["c"]]), colnames(object)[11:20])
    for (image in object@images) {
      places <- SeuratObject::GetTissueCoordinates(image, scale = "lowres")
      expect_lte(max(places[c("x", "y")]), max(dim(image@image)))
      expect_lte(max(image@image), 1)
    }
    expect_true(methods::validObject(object))
    expect_identical(differences(adata, SeuratToAnnData(object, verbose = FALSE)), list())
  }
  adata$obs$drop(columns = "library_id", inplace = TRUE)
  expect_message(object <- AnnDataToSeurat(adata), "Dropped: image of obsm")
  expect_identical(length(SeuratObject::Images(object)), 0L)
})

test_that("arrays and columns that R has nothing like are in the report", {
  skip_without_python()
  object <- AnnDataToSeurat(python_objects()$without_like(), verbose = FALSE)
  report <- attr(object, "report")
  lost <- report$part[report$action == "dropped"]
  expect_setequal(lost, c("uns[\"set\"]", "obsm[\"ragged\"]", "obs period"))
  expect_identical(report$part[report$action == "renamed"], c("obs a.1", "obs unnamed"))
  expect_identical(unname(object$sparse), c(0, 0, 1, 0))
  expect_identical(unname(object$a.1), 5:8)
  # What was dropped does not return as something else.
  back <- SeuratToAnnData(object, verbose = FALSE)
  expect_false("set" %in% names(reticulate::py_to_r(reticulate::import_builtins()$dict(back$uns))))
})

test_that("an AnnData without genes or cells is refused by Seurat's converter alone", {
  skip_without_python()
  adata <- SeuratToAnnData(small_object(), verbose = FALSE)
  none <- reticulate::import("anndata", convert = FALSE)$AnnData(obs = adata$obs)
  expect_error(AnnDataToSeurat(none), "no cells or no genes.*80 cells and 0 genes", class = "celloquy_ArgumentError")
  skip_if_not_installed("SingleCellExperiment")
  expect_identical(dim(AnnDataToSCE(none, verbose = FALSE)), c(0L, 80L))
})

test_that("classes that are not on the list are not loaded, and their assays are plain", {
  skip_without_python()
  object <- SeuratObject::pbmc_small
  adata <- SeuratToAnnData(object, verbose = FALSE)
  main <- adata$uns[["seurat"]][["main"]]
  loaded <- loadedNamespaces()
  for (package in c("Signac", "tools", "nowhere")) {
    reticulate::py_set_item(main, "class", "ChromatinAssay")
    reticulate::py_set_item(main, "package", package)
    back <- AnnDataToSeurat(adata, verbose = FALSE)
    expect_identical(as.character(class(back[["RNA"]])), "Assay")
    expect_identical(back[["RNA"]]@counts, object[["RNA"]]@counts)
    report <- attr(back, "report")
    expect_match(report$part[report$action == "dropped"], "class ChromatinAssay of assay RNA")
  }
  expect_identical(setdiff(loadedNamespaces(), loaded), character())
})
