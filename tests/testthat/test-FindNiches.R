placed_object <- function() {
  object <- small_object()
  set.seed(1)
  for (slice in c("left", "right")) {
    cells <- colnames(object)[if (slice == "left") 1:40 else 41:80]
    places <- data.frame(x = stats::runif(40), y = stats::runif(40), cell = cells)
    object[[slice]] <- SeuratObject::CreateFOV(places, type = "centroids", assay = "RNA", key = paste0(slice, "_"))
  }
  object
}

test_that("a Seurat object gets niches and the embedding of neighbourhoods, each image a tissue of its own", {
  skip_without_python()
  object <- FindNiches(placed_object(), small_model(), n.niches = 3, verbose = FALSE)
  expect_s3_class(object$niche, "factor")
  expect_identical(levels(object$niche), c("0", "1", "2"))
  expect_false(is.unsorted(rev(as.vector(table(object$niche)))))
  made <- SeuratObject::Misc(object[["niches"]], "celloquy")
  expect_identical(made$parameters$tissue_key, "tissue")
  expect_identical(rownames(SeuratObject::Embeddings(object, "niches")), colnames(object))
  expect_identical(SeuratObject::Key(object[["niches"]]), c(niches = "NICHE_"), ignore_attr = TRUE)
  skip_if_not_installed("ggplot2")
  plot <- NichePlot(object)
  expect_identical(nrow(plot$data), 80L)
  expect_identical(levels(plot$data$niche), c("0", "1", "2"))
})

test_that("a matrix with positions gets the same", {
  skip_without_python()
  object <- placed_object()
  counts <- SeuratObject::LayerData(object, layer = "counts")
  places <- tissue_positions(object)
  found <- FindNiches(
    counts, as.matrix(places[c("x", "y")]),
    model.object = small_model(), tissue = places$image, n.niches = 3, verbose = FALSE
  )
  object <- FindNiches(object, small_model(), n.niches = 3, verbose = FALSE)
  expect_identical(as.character(found$niche), as.character(object$niche))
  expect_equal(found$embedding, SeuratObject::Embeddings(object, "niches"), ignore_attr = TRUE, tolerance = 1e-6)
})

test_that("objects without positions, and neighbourhoods larger than a tissue, are errors that say what to do", {
  skip_without_python()
  expect_match(task_failure(FindNiches(small_object(), verbose = FALSE)), "no positions in this object")
  object <- placed_object()
  failure <- task_failure(FindNiches(object, small_model(), n.neighbors = 60, verbose = FALSE))
  expect_match(failure, "n.neighbors", fixed = TRUE)
  expect_match(failure, "40 cells")
})
