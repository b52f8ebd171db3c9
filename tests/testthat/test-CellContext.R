# Cells of two images with places, and a model whose cells read one another.
tissues <- function() {
  object <- small_object()
  set.seed(1)
  for (slice in c("left", "right")) {
    cells <- colnames(object)[if (slice == "left") 1:40 else 41:80]
    places <- data.frame(x = stats::runif(40), y = stats::runif(40), cell = cells)
    object[[slice]] <- SeuratObject::CreateFOV(places, type = "centroids", assay = "RNA", key = paste0(slice, "_"))
  }
  SeuratObject::Idents(object) <- "half"
  object
}

test_that("what the cells of a Seurat object were read with is told by identity and by distance, and is drawn", {
  skip_without_python()
  object <- tissues()
  before <- object
  found <- CellContext(object, model.object = small_model(), spatial = TRUE, verbose = FALSE)
  expect_identical(object, before)
  expect_identical(unique(found$group), c("first", "second"))
  sums <- tapply(found$weight, list(found$group, found$kind), sum)
  expect_equal(as.vector(sums), rep(1, 4), tolerance = 1e-5)
  labels <- found[found$kind == "label", ]
  expect_identical(labels$read, rep(c("first", "second"), 2))
  expect_equal(labels$cells, rep(0.5, 4))
  expect_equal(labels$ratio, labels$weight / labels$cells)
  expect_identical(labels$n.cells, rep(40L, 4))
  expect_true(all(found$strength > 0))
  skip_if_not_installed("ggplot2")
  expect_identical(nrow(ggplot2::layer_data(ContextPlot(found))), 4L)
  lines <- ggplot2::layer_data(ContextPlot(found, "distance"), 2)
  expect_identical(nrow(lines), sum(found$kind == "distance"))
  expect_error(ContextPlot(data.frame(a = 1)), "no context", class = "celloquy_ArgumentError")
  expect_error(ContextPlot(labels, "distance"), "kind", class = "celloquy_ArgumentError")
})

test_that("values for each cell say the same as columns and images", {
  skip_without_python()
  object <- tissues()
  places <- tissue_positions(object)
  model <- small_model()
  expected <- CellContext(object, model.object = model, spatial = TRUE, distances = c(0.2, 0.5), verbose = FALSE)
  counts <- SeuratObject::LayerData(object, layer = "counts")
  found <- CellContext(counts,
    labels = object$half, model.object = model, tissue.by = stats::setNames(places$image, rownames(places)),
    spatial = as.matrix(places[c("x", "y")]), distances = c(0.2, 0.5), verbose = FALSE
  )
  expect_equal(found, expected, tolerance = 1e-5)
  alone <- CellContext(counts, object$half == "first", object$half, model.object = model, verbose = FALSE)
  expect_identical(unique(alone$group), "first")
})

test_that("cells are asked for by name, and name those that they read most", {
  skip_without_python()
  object <- tissues()
  asked <- colnames(object)[c(50, 2)]
  found <- CellContext(object, asked, model.object = small_model(), spatial = TRUE, n.top = 3, verbose = FALSE)
  expect_identical(unique(found$group), asked)
  top <- found[found$kind == "cell", ]
  expect_identical(top$group, rep(asked, each = 3))
  expect_true(all(match(top$read[1:3], colnames(object)) > 40))
  expect_false(is.unsorted(-top$weight[1:3]))
})

test_that("what can not be asked is refused in R's words", {
  skip_without_python()
  object <- tissues()
  expect_error(CellContext(object, "nobody", model.object = small_model(), verbose = FALSE),
    "not in the object",
    class = "celloquy_ArgumentError"
  )
  expect_error(CellContext(object, labels = "none", verbose = FALSE), "no column", class = "celloquy_ArgumentError")
  expect_error(CellContext(object, labels = 1:3, verbose = FALSE), "labels", class = "celloquy_ArgumentError")
  expect_match(
    task_failure(CellContext(object, model.object = "cells-mini", verbose = FALSE)), "model.object = \"scratch\"",
    fixed = TRUE
  )
  counts <- SeuratObject::LayerData(object, layer = "counts")
  expect_error(CellContext(counts, model.object = small_model(), spatial = TRUE, verbose = FALSE), "no positions",
    class = "celloquy_ArgumentError"
  )
})
