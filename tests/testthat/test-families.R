# A model of a family that the package has never heard of, over the genes of pbmc_small.
toy_model <- function() {
  python_bridge(torch = TRUE)
  families <- reticulate::import_from_path("toy_family", test_path(), convert = FALSE)
  vocabulary <- reticulate::import("celloquy", convert = FALSE)$GeneVocabulary$from_names(rownames(pbmc_counts()))
  families$ProjectionModel(families$ProjectionConfig(), vocabulary)
}

test_that("a model of another family embeds the cells of a Seurat object, held in Python or saved", {
  skip_without_python()
  model <- toy_model()
  counts <- pbmc_counts()
  object <- RunCelloquy(small_object(), model, verbose = FALSE)
  embedding <- SeuratObject::Embeddings(object, "celloquy")
  directions <- reticulate::py_to_r(model$directions$detach()$numpy())
  genes <- unlist(reticulate::py_to_r(model$vocabulary$symbols))
  matched <- intersect(genes, rownames(counts))
  expect_gt(length(matched), 200)
  # Old symbols count as the gene that they are now, so only cells without them agree with a product by name.
  renamed <- setdiff(rownames(counts), genes)
  plain <- Matrix::colSums(counts[renamed, ]) == 0
  expected <- t(log1p(as.matrix(counts[matched, plain]))) %*% directions[match(matched, genes), ]
  expect_gt(sum(plain), 5)
  expect_equal(embedding[plain, ], expected, tolerance = 1e-5, ignore_attr = TRUE)
  saved <- withr::local_tempfile()
  model$save(saved)
  again <- RunCelloquy(small_object(), saved, verbose = FALSE)
  expect_identical(SeuratObject::Embeddings(again, "celloquy"), embedding)
})

test_that("a verb that a family can't serve says so in R's words", {
  skip_without_python()
  condition <- rlang::catch_cnd(
    DenoiseExpression(small_object(), features = "CD3E", model.object = toy_model(), verbose = FALSE), "error"
  )
  expect_s3_class(condition, "celloquy_ModelError")
  expect_identical(condition$argument, "model.object")
  expect_match(cli::ansi_strip(conditionMessage(condition)), "can't decode.*`model.object` or `config`")
})
