# The data that a plot draws, layer by layer; building it fails where ggplot2 can't draw it.
drawn <- function(plot, layer = 1) ggplot2::layer_data(plot, layer)

test_that("annotation is drawn by label, and against known labels", {
  skip_if_not_installed("ggplot2")
  object <- small_object()
  expect_error(AnnotationPlot(object), "not annotated.*AnnotateCells", class = "celloquy_ArgumentError")
  object$predicted.id <- rep(c("a", "b", "unknown", "b"), 20)
  object$prediction.score.max <- rep(c(0.9, 0.8, 0.2, 0.6), 20)
  object$truth <- rep(c("b", "b", "c", "b"), 20)
  boxes <- drawn(AnnotationPlot(object))
  expect_equal(boxes$xmiddle %||% boxes$middle, c(0.9, 0.2, 0.7)[c(1, 2, 3)])
  tiles <- AnnotationPlot(object, truth = "truth")$data
  share <- stats::setNames(tiles$share, paste(tiles$known, tiles$given))
  expect_equal(share[c("b a", "b b", "b unknown", "c unknown", "c b")], c(1 / 3, 2 / 3, 0, 1, 0), ignore_attr = TRUE)
  expect_s3_class(AnnotationPlot(object, truth = "truth"), "ggplot")
  expect_error(AnnotationPlot(object, truth = "no"), "no column \"no\"", class = "celloquy_ArgumentError")
})

test_that("denoised values are drawn against observed ones of the same unit", {
  skip_if_not_installed("ggplot2")
  object <- small_object()
  counts <- SeuratObject::LayerData(object, layer = "counts")
  genes <- c("CD3E", "LYZ")
  for (unit in c("counts", "data")) {
    found <- list(layers = stats::setNames(list(as.matrix(counts[genes, ]) + 1), unit))
    with <- with_assay(object, "denoised", result_assay(found))
    plot <- DenoisingPlot(with, genes, group.by = "half")
    seen <- counts["LYZ", ]
    expected <- if (unit == "counts") seen else log1p(seen / Matrix::colSums(counts) * 1e4)
    expect_equal(plot$data$observed[plot$data$feature == "LYZ"], unname(expected))
    expect_equal(plot$data$denoised[plot$data$feature == "LYZ"], unname(seen + 1))
    expect_identical(nrow(drawn(plot, 2)), 160L)
  }
  expect_error(DenoisingPlot(with, "CD4"), "CD4", class = "celloquy_ArgumentError")
  expect_error(DenoisingPlot(object, "LYZ"), "no assay \"denoised\"", class = "celloquy_ArgumentError")
})

test_that("imputed genes are drawn on the tissue, beside what was measured", {
  skip_if_not_installed("ggplot2")
  object <- small_object()
  values <- as.matrix(log1p(SeuratObject::LayerData(object, layer = "counts")[c("CD3E", "LYZ"), ]))
  found <- list(layers = list(data = values), features = list(reliability = c(0.5, 0.25)))
  panel <- with_assay(object, "imputed", result_assay(found))
  expect_error(ImputationPlot(panel, "LYZ"), "no positions", class = "celloquy_ArgumentError")
  centroids <- data.frame(x = seq_len(80), y = 80:1, cell = colnames(object))
  panel[["fov"]] <- SeuratObject::CreateFOV(centroids, type = "centroids", assay = "RNA")
  plot <- ImputationPlot(panel, c("LYZ", "CD3E"), measured = object)
  expect_identical(
    levels(plot$data$title),
    c("LYZ, measured", "LYZ, imputed (reliability 0.25)", "CD3E, measured", "CD3E, imputed (reliability 0.50)")
  )
  expect_equal(range(plot$data$value), c(0, 1))
  expect_identical(nrow(drawn(plot)), 320L)
  expect_identical(nrow(drawn(ImputationPlot(panel, "LYZ"))), 80L)
})

test_that("embeddings before and after integration are drawn, and the loss of what was trained", {
  skip_without_python()
  skip_if_not_installed("Seurat")
  object <- worked_object()
  object <- RunCelloquy(object, batch.by = "half", epochs = 3, verbose = FALSE)
  plot <- suppressWarnings(IntegrationPlot(object, "half"))
  expect_s3_class(plot, "patchwork")
  expect_error(IntegrationPlot(object, "half", after = "no"), "no reduction \"no\"", class = "celloquy_ArgumentError")
  loss <- LossPlot(object)
  expect_setequal(loss$data$epoch, 1:3)
  expect_true(all(is.finite(drawn(loss, length(loss$layers))$y)))
  expect_error(LossPlot(object, "pca"), "no loss.*Nothing was trained", class = "celloquy_ArgumentError")
  expect_error(LossPlot(object, "no"), "no loss.*no \"no\"", class = "celloquy_ArgumentError")
})
