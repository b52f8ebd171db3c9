# Genes with features of which the first tells the property.
planted <- function() {
  set.seed(1)
  genes <- sprintf("ENSG%011d", 1:120)
  values <- matrix(stats::rnorm(120 * 3), 120, dimnames = list(genes, c("a", "b", "c")))
  list(genes = genes, values = values, labels = ifelse(values[, 1] > 0, "yes", "no"))
}

test_that("a planted property is told of other genes, as Python tells it", {
  skip_without_python()
  known <- planted()
  learned <- 1:80
  found <- ClassifyGenes(
    known$genes[learned], known$labels[learned],
    to = known$genes[-learned], evidence = known$values, seed.use = 0, verbose = FALSE
  )
  expect_identical(found$gene, known$genes[-learned])
  expect_s3_class(found$label, "factor")
  expect_gt(mean(as.character(found$label) == known$labels[-learned]), 0.85)
  expect_equal(found$probability.yes + found$probability.no, rep(1, 40), tolerance = 1e-8)
  expect_false(any(found$given))
  report <- attr(found, "report")
  expect_true(report[attr(found, "method"), "chosen"])
  expect_identical(nrow(attr(found, "held.out")), 80L)
  pandas <- reticulate::import("pandas", convert = FALSE)
  celloquy <- reticulate::import("celloquy", convert = FALSE)
  table <- pandas$DataFrame(
    reticulate::r_to_py(unname(known$values)),
    index = as.list(known$genes), columns = as.list(c("a", "b", "c"))
  )
  in_python <- celloquy$classify_genes(
    as.list(known$genes[learned]), as.list(unname(known$labels[learned])),
    to = as.list(known$genes[-learned]), evidence = list(table), progress = FALSE
  )
  expected <- reticulate::py_to_r(in_python["probability_yes"]$to_numpy())
  expect_equal(found$probability.yes, as.vector(expected), tolerance = 1e-6)
})

test_that("factors keep their order, genes without a label are left out, and numbers are told", {
  skip_without_python()
  known <- planted()
  labels <- factor(known$labels, c("yes", "no"))
  labels[1:5] <- NA
  found <- ClassifyGenes(known$genes, labels, to = known$genes[1:5], evidence = known$values, verbose = FALSE)
  expect_identical(levels(found$label), c("yes", "no"))
  expect_false(any(found$given))
  number <- ClassifyGenes(
    known$genes, known$values[, 1] * 2 + 5,
    to = known$genes, evidence = known$values, verbose = FALSE
  )
  expect_gt(stats::cor(number$value, known$values[, 1]), 0.99)
  expect_null(number$label)
  logical <- ClassifyGenes(known$genes, known$values[, 1] > 0, to = known$genes[1:3], evidence = known$values,
    verbose = FALSE
  )
  expect_identical(levels(logical$label), c("FALSE", "TRUE"))
})

test_that("a property that was kept is told again", {
  skip_without_python()
  known <- planted()
  folder <- file.path(withr::local_tempdir(), "property")
  found <- ClassifyGenes(
    known$genes, known$labels,
    to = known$genes[1:10], evidence = known$values, model.dir = folder, verbose = FALSE
  )
  expect_identical(ClassifyGenes(known$genes[1:10], model.dir = folder, verbose = FALSE), found)
  expect_error(
    ClassifyGenes(known$genes, known$labels, evidence = known$values, model.dir = folder, verbose = FALSE),
    "already",
    class = "celloquy_CheckpointError"
  )
})

test_that("cells of a Seurat object say what they know of genes", {
  skip_without_python()
  object <- small_object()
  counts <- SeuratObject::LayerData(object, layer = "counts")
  level <- log1p(Matrix::rowMeans(counts))
  found <- ClassifyGenes(
    rownames(counts), level,
    to = rownames(counts), object = object, evidence = "cells", model.object = small_gene_model(), unknown = "drop",
    verbose = FALSE
  )
  expect_gt(max(attr(found, "report")$spearman), 0.5)
})

test_that("held-out genes are drawn", {
  skip_without_python()
  skip_if_not_installed("ggplot2")
  known <- planted()
  found <- ClassifyGenes(known$genes, known$labels, to = known$genes, evidence = known$values, verbose = FALSE)
  drawn <- ggplot2::layer_data(GenePropertyPlot(found), 2)
  expect_length(unique(drawn$colour), 2)
  expect_equal(range(drawn$y), c(0, 1))
  number <- ClassifyGenes(known$genes, known$values[, 1], to = known$genes, evidence = known$values, verbose = FALSE)
  expect_identical(nrow(ggplot2::layer_data(GenePropertyPlot(number), 2)), 120L)
  expect_error(GenePropertyPlot(data.frame(a = 1)), "no properties of genes", class = "celloquy_ArgumentError")
})

test_that("what can't be learned is refused in R's words", {
  skip_without_python()
  known <- planted()
  refused <- function(..., evidence = known$values) {
    rlang::catch_cnd(ClassifyGenes(..., evidence = evidence, verbose = FALSE), "error")
  }
  expect_match(conditionMessage(refused(known$genes)), "no property to tell")
  expect_match(conditionMessage(refused(known$genes, "yes")), "Each gene needs a label")
  expect_match(conditionMessage(refused(known$genes, known$labels, evidence = list(1))), "no evidence of genes")
  few <- refused(known$genes[1:9], known$labels[1:9])
  expect_s3_class(few, "celloquy_ArgumentError")
  expect_match(conditionMessage(few), "too few genes with a label")
  expect_match(conditionMessage(refused(known$genes, rep("yes", 120))), "same label")
  said <- refused(c("GATA55", known$genes), c("yes", known$labels))
  expect_s3_class(said, "celloquy_GenesError")
  expect_identical(said$argument, "features")
  expect_match(conditionMessage(said), "nearest: GATA")
  said <- refused(known$genes, known$labels, model.object = small_model(), evidence = "vectors")
  expect_s3_class(said, "celloquy_ModelError")
  expect_identical(refused(known$genes, known$labels, folds = "no")$argument, "folds")
})
