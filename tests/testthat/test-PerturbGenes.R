perturbed_in_python <- function(object, code) {
  out <- withr::local_tempfile(fileext = ".csv", .local_envir = parent.frame())
  folder <- write_counts(SeuratObject::LayerData(object, layer = "counts"), tissue = object$half)
  python(test_path("reference.py"), code, folder, small_gene_model(), out)
  utils::read.csv(out)
}

test_that("shifts of a Seurat object are those that Python gives, by group, and are drawn", {
  skip_without_python()
  object <- small_object()
  before <- object
  found <- PerturbGenes(
    object, c("LYZ", "CD3E"), small_gene_model(),
    by = "half", n.random = 6, seed.use = 0, verbose = FALSE
  )
  expect_identical(object, before)
  expected <- perturbed_in_python(object, "perturb")
  expect_identical(found$gene, expected$gene)
  expect_identical(as.character(found$group), expected$group)
  expect_identical(found$n.cells, expected$n_cells)
  expect_equal(found$shift.euclidean, expected$shift_euclidean, tolerance = 1e-4)
  expect_equal(found$q, expected$q, tolerance = 1e-3)
  skip_if_not_installed("ggplot2")
  drawn <- ggplot2::layer_data(PerturbedPlot(found), 2)
  expect_identical(nrow(drawn), sum(!is.na(found$z)))
  expect_error(PerturbedPlot(data.frame(a = 1)), "no shifts of cells", class = "celloquy_ArgumentError")
})

test_that("drivers of a Seurat object are those that Python gives, and are drawn", {
  skip_without_python()
  object <- small_object()
  found <- RankDrivers(
    object, "first", "second",
    by = "half", model.object = small_gene_model(), n.random = 6, seed.use = 0, verbose = FALSE
  )
  expected <- perturbed_in_python(object, "drivers")
  expect_identical(found$gene, expected$gene)
  expect_identical(found$direction, expected$direction)
  expect_equal(found$cosine, expected$cosine, tolerance = 1e-3)
  expect_equal(found$states.p, expected$states_p)
  skip_if_not_installed("ggplot2")
  drawn <- ggplot2::layer_data(DriverPlot(found, n = 5))
  expect_identical(nrow(drawn), 10L)
  expect_error(DriverPlot(data.frame(a = 1)), "no drivers", class = "celloquy_ArgumentError")
})

test_that("what can not be changed is refused in R's words", {
  skip_without_python()
  object <- small_object()
  failure <- function(code) rlang::catch_cnd(code, "error")
  said <- failure(PerturbGenes(object, "GFP", small_gene_model(), verbose = FALSE))
  expect_s3_class(said, "celloquy_GenesError")
  expect_identical(said$argument, "features")
  said <- failure(PerturbGenes(object, "LYZ", small_gene_model(), how = "silence", verbose = FALSE))
  expect_s3_class(said, "celloquy_ArgumentError")
  expect_identical(said$argument, "how")
  expect_error(PerturbGenes(object, "LYZ", small_model(), verbose = FALSE), "read changed counts",
    class = "celloquy_ModelError"
  )
  model <- small_gene_model()
  said <- failure(RankDrivers(object, "first", "third", by = "half", model.object = model, verbose = FALSE))
  expect_s3_class(said, "celloquy_ArgumentError")
  expect_identical(said$argument, "target")
})
