# Cells of two clusters, one with more of the first genes and one with more of the last.
clustered <- function() {
  object <- small_object()
  counts <- SeuratObject::LayerData(object, layer = "counts")
  ours <- seq_len(nrow(counts)) <= nrow(counts) / 2
  first <- seq_len(ncol(counts)) <= ncol(counts) / 2
  counts[ours, first] <- counts[ours, first] + 3
  counts[!ours, !first] <- counts[!ours, !first] + 3
  object <- SeuratObject::CreateSeuratObject(methods::as(counts, "CsparseMatrix"), meta.data = object[[]])
  object$cluster <- ifelse(first, "a", "b")
  SeuratObject::Idents(object) <- "cluster"
  object
}

test_that("clusters of a Seurat object are explained by their genes, and are drawn", {
  skip_without_python()
  object <- clustered()
  before <- object
  found <- ExplainLabels(object, verbose = FALSE)
  expect_identical(object, before)
  groups <- attr(found, "groups")
  expect_identical(groups$group, c("a", "b"))
  expect_identical(groups$n.cells, as.integer(table(object$cluster)))
  expect_equal(groups$sum, groups$difference, tolerance = 1e-3)
  expect_true(all(found$gene %in% rownames(object)))
  best <- found[found$rank == 1, ]
  expect_true(all(best$attribution > 0))
  by_column <- ExplainLabels(object, "cluster", n.genes = 5, verbose = FALSE)
  expect_identical(nrow(by_column), 10L)
  one <- ExplainLabels(object, object$cluster, cells = colnames(object)[[1]], verbose = FALSE)
  expect_identical(unique(one$group), colnames(object)[[1]])
  skip_if_not_installed("ggplot2")
  drawn <- ggplot2::layer_data(ExplanationPlot(found, n = 4))
  expect_identical(nrow(drawn), 8L)
  expect_error(ExplanationPlot(data.frame(a = 1)), "no explanation", class = "celloquy_ArgumentError")
})

test_that("labels that can not be explained are refused in R's words", {
  skip_without_python()
  object <- clustered()
  expect_error(ExplainLabels(object, "none", verbose = FALSE), "no column", class = "celloquy_ArgumentError")
  expect_error(ExplainLabels(object, 1:3, verbose = FALSE), "a label", class = "celloquy_ArgumentError")
  expect_error(
    ExplainLabels(object, "cluster", model.object = tempdir(), verbose = FALSE), "no use",
    class = "celloquy_ArgumentError"
  )
  expect_error(ExplainLabels(object, model.object = NA, verbose = FALSE), "path", class = "celloquy_ArgumentError")
  expect_error(ExplainLabels(object, cells = "nobody", verbose = FALSE), class = "celloquy_ArgumentError")
  expect_error(ExplainLabels(object, n.genes = 0, verbose = FALSE), class = "celloquy_ArgumentError")
  object$group <- ifelse(seq_len(ncol(object)) == 1, "alone", object$cluster)
  SeuratObject::Idents(object) <- "group"
  # As the messages of cli come in lines.
  said <- gsub("\\s+", " ", conditionMessage(tryCatch(ExplainLabels(object, verbose = FALSE), error = identity)))
  expect_match(said, "Column \"identities\" of the metadata has labels of one cell")
  expect_match(said, "leave their cells out")
  said <- conditionMessage(tryCatch(ExplainLabels(object, "group", by = "cluster", verbose = FALSE), error = identity))
  expect_match(said, "Column \"group\"")
})

test_that("labels by a column called as groups are, and groups by another, are told apart", {
  skip_without_python()
  object <- clustered()
  object$group <- object$cluster
  found <- ExplainLabels(object, "group", by = "cluster", verbose = FALSE)
  expect_identical(attr(found, "groups")$label, c("a", "b"))
})
