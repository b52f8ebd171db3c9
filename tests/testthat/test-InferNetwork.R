pbmc_counts <- function() SeuratObject::LayerData(SeuratObject::pbmc_small, layer = "counts")

infer <- function(object, ...) InferNetwork(object, regulators = c("LYZ", "S100A9", "CD79A"), verbose = FALSE, ...)

test_that("the network of a Seurat object is that of Python, by group", {
  skip_without_python()
  object <- small_object()
  out <- withr::local_tempfile()
  python(test_path("reference.py"), "network", write_counts(pbmc_counts(), tissue = object$half), out)
  expected <- utils::read.csv(out)
  before <- object
  network <- infer(object, by = "half", method = c("pearson", "prior"), n.edges = NULL)
  expect_identical(object, before)
  expect_identical(names(network), c("regulator", "target", "score", "sign", "group", "rank"))
  expect_identical(network$regulator, expected$regulator)
  expect_identical(network$target, expected$target)
  expect_equal(network$score, expected$score, tolerance = 1e-5)
  expect_identical(network$sign, expected$sign)
  expect_identical(as.character(network$group), expected$group)
  expect_identical(network$rank, expected$rank)
})

test_that("every class of object gives the same network, and values for each cell serve as a column does", {
  skip_without_python()
  object <- small_object()
  network <- infer(object, by = "half", method = "spearman")
  for (other in list(object[["RNA"]], pbmc_counts(), as.matrix(pbmc_counts()))) {
    expect_identical(infer(other, by = object$half, method = "spearman"), network)
  }
  expect_lte(max(table(infer(object, by = "half", method = "spearman", n.edges = 7)$group)), 7)
})

test_that("methods may have weights, a model takes part, and values may be normalised", {
  skip_without_python()
  object <- small_object()
  auto <- infer(object)
  weighted <- infer(object, method = c(pearson = 1, coexpression = 1, prior = 2))
  expect_identical(weighted, auto)
  expect_false(identical(infer(object, method = c(pearson = 5, prior = 1)), auto))
  with.model <- infer(object, model.object = small_gene_model(), targets = c("CD3E", "LYZ", "MS4A1"), method = "cosine")
  expect_true(all(with.model$score <= 1))
  of.data <- infer(SeuratObject::pbmc_small, layer = "data", normalised = TRUE, method = "pearson")
  expect_equal(of.data$score, infer(object, method = "pearson")$score, tolerance = 1e-3)
})

test_that("what has no network is refused in R's words", {
  skip_without_python()
  object <- small_object()
  failure <- function(code) rlang::catch_cnd(code, "error")
  said <- failure(InferNetwork(object, regulators = "LYZZ", verbose = FALSE))
  expect_s3_class(said, "celloquy_GenesError")
  expect_identical(said$argument, "regulators")
  expect_match(conditionMessage(said), "LYZ")
  expect_error(infer(object, method = "scenic"), "`method`", class = "celloquy_ArgumentError")
  expect_error(infer(object, by = "no"), "no column \"no\"", class = "celloquy_ArgumentError")
  expect_error(infer(object, n.edges = "all"), "whole number", class = "celloquy_ArgumentError")
  expect_error(infer(object, model.object = small_model(), method = "cosine"), class = "celloquy_ModelError")
  expect_error(infer(object[, 1:9]), "too few cells", class = "celloquy_ArgumentError")
})

test_that("a network is drawn and written", {
  skip_without_python()
  network <- infer(small_object(), by = "half", method = "spearman")
  file <- withr::local_tempfile(fileext = ".sif")
  expect_identical(WriteNetwork(network, file), file)
  first <- network[1, ]
  expect_match(readLines(file)[[1]], paste0("^", first$regulator, "\t(activates|represses)\t", first$target))
  WriteNetwork(network, withr::local_tempfile(fileext = ".graphml"))
  expect_error(WriteNetwork(network, "network.gml"), "file of this kind", class = "celloquy_ArgumentError")
  expect_error(WriteNetwork(data.frame(a = 1), file), "no edges of a network", class = "celloquy_ArgumentError")
  skip_if_not_installed("ggplot2")
  plot <- NetworkPlot(network, "LYZ", n = 5)
  segments <- ggplot2::layer_data(plot, 1)
  expect_identical(nrow(segments), 10L)
  expect_length(unique(segments$PANEL), 2)
  expect_error(NetworkPlot(network, "CD3E"), "has no edges", class = "celloquy_ArgumentError")
  expect_error(NetworkPlot(data.frame(a = 1), "LYZ"), "no edges of a network", class = "celloquy_ArgumentError")
})
