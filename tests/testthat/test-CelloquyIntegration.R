split_object <- function() {
  skip_if_not_installed("Seurat")
  object <- small_object()
  object[["RNA"]] <- split(object[["RNA"]], f = object$half)
  object <- Seurat::NormalizeData(object, verbose = FALSE)
  object <- Seurat::FindVariableFeatures(object, nfeatures = 50, verbose = FALSE)
  object <- Seurat::ScaleData(object, verbose = FALSE)
  suppressWarnings(Seurat::RunPCA(object, npcs = 5, verbose = FALSE))
}

test_that("IntegrateLayers takes the method and puts the reduction into the object", {
  skip_without_python()
  object <- split_object()
  expect_identical(attr(CelloquyIntegration, "Seurat.method"), "integration")
  integrated <- Seurat::IntegrateLayers(object, CelloquyIntegration, epochs = 2, verbose = FALSE)
  embedding <- SeuratObject::Embeddings(integrated, "celloquy")
  expect_identical(rownames(embedding), colnames(object))
  expect_identical(SeuratObject::Layers(integrated), SeuratObject::Layers(object))
  expect_true(all(is.finite(embedding)))
  again <- Seurat::IntegrateLayers(object, CelloquyIntegration, epochs = 2, verbose = FALSE, new.reduction = "again")
  expect_identical(SeuratObject::Embeddings(again, "again"), embedding)
})

test_that("cells get what Python gives them for the same batches", {
  skip_without_python()
  object <- split_object()
  reduction <- CelloquyIntegration(object[["RNA"]], epochs = 2, seed.use = 3, verbose = FALSE)$celloquy
  joined <- SeuratObject::JoinLayers(object)
  adata <- as_anndata(SeuratObject::LayerData(joined, layer = "counts"), obs = list(batch = joined$half))
  python_bridge(torch = TRUE)
  celloquy <- reticulate::import("celloquy", convert = FALSE)
  celloquy$integrate(adata, batch_key = "batch", epochs = 2L, seed = 3L, progress = FALSE)
  expected <- reticulate::py_to_r(adata$obsm[["X_celloquy"]])
  rownames(expected) <- colnames(joined)
  expect_equal(
    SeuratObject::Embeddings(reduction), expected[rownames(SeuratObject::Embeddings(reduction)), ],
    ignore_attr = TRUE, tolerance = 1e-6
  )
})

test_that("an assay whose layers are not split is refused", {
  object <- small_object()
  expect_error(CelloquyIntegration(object[["RNA"]]), "no layers to integrate.*split", class = "celloquy_ArgumentError")
})
