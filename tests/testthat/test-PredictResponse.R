# Counts of three perturbations and two combinations in two types of cells; A and C raise the same genes, B lowers
# others.
screen <- function() {
  set.seed(1)
  base <- seq(0.5, 5, length.out = 60)
  raised <- rep(c(1, 0, 0), 20)
  lowered <- rep(c(0, -1, 0), 20)
  effects <- list(
    control = 0 * base, "drug A" = raised, "drug B" = lowered, "drug C" = 0.8 * raised,
    "drug A+drug B" = raised + lowered, "drug B+drug C" = lowered + 0.8 * raised
  )
  kinds <- rep(names(effects), each = 40)
  types <- rep(c("T", "B"), length.out = length(kinds))
  counts <- vapply(seq_along(kinds), function(i) {
    as.numeric(stats::rpois(60, base * exp(effects[[kinds[[i]]]]) * if (types[[i]] == "T") 1 else 1.3))
  }, numeric(60))
  dimnames(counts) <- list(sprintf("gene%02d", 1:60), paste0("cell", seq_along(kinds)))
  object <- SeuratObject::CreateSeuratObject(methods::as(counts, "CsparseMatrix"))
  object$drug <- kinds
  object$type <- types
  object
}

# What is learned from these cells, once for all tests, with the directory in which it is kept.
learned <- function() {
  if (is.null(made$responses)) {
    folder <- file.path(withr::local_tempdir(.local_envir = testthat::teardown_env()), "responses")
    found <- PredictResponse(
      screen(), c("drug A", "drug A+drug C"),
      perturbation.by = "drug", covariate.by = "type", seed.use = 0, model.dir = folder, verbose = FALSE
    )
    made$responses <- list(found = found, folder = folder)
  }
  made$responses
}

# Changes under six drugs, genes × conditions.
effects <- function() {
  set.seed(2)
  shared <- stats::rnorm(30)
  values <- vapply(1:6, function(i) shared + stats::rnorm(30, sd = 0.3), numeric(30))
  dimnames(values) <- list(sprintf("gene%02d", 1:30), paste0("drug", 1:6))
  values
}

test_that("responses are those that Python predicts, and what was kept predicts the same", {
  skip_without_python()
  object <- screen()
  asked <- c("drug A", "drug A+drug C")
  found <- learned()$found
  folder <- learned()$folder
  expect_s3_class(found, "celloquy_response")
  expect_identical(dim(found$change), c(60L, 4L))
  expect_identical(colnames(found$change), rownames(found$conditions))
  expect_identical(found$conditions$situation[found$conditions$perturbation == "drug A"], rep("measured", 2))
  expect_identical(colnames(found$measured$error), rownames(found$measured$conditions))
  expect_true(all(c("observed", "predicted", "conditions") %in% names(found$held.out)))
  expect_type(found$report$chosen, "logical")
  expect_output(print(found), "10 conditions of 3 perturbations.*Predicted: 60 genes under 4 conditions")
  # In Python, from the same counts.
  adata <- SeuratToAnnData(object, verbose = FALSE)
  celloquy <- reticulate::import("celloquy", convert = FALSE)
  told <- celloquy$predict_response(
    adata, as.list(asked),
    perturbation_key = "drug", covariate_key = "type", progress = FALSE
  )
  change <- reticulate::py_to_r(told$to_df("change")$to_numpy())
  expect_equal(unname(found$change), t(change), tolerance = 1e-5)
  expect_identical(PredictResponse(NULL, asked, model.dir = folder, verbose = FALSE), found)
  # A context of which there are controls alone.
  more <- subset(object, drug == "control" & type == "T")
  more$kind <- "NK"
  told <- PredictResponse(NULL, "drug A",
    contexts = "NK", controls = more, covariate.by = "kind", model.dir = folder, verbose = FALSE
  )
  expect_identical(told$conditions$situation, "new context")
  expect_gt(stats::cor(told$change[, 1], found$change[, "drug A T"]), 0.9)
})

test_that("cells are drawn as predicted, with the metadata that they had", {
  skip_without_python()
  object <- screen()
  folder <- learned()$folder
  controls <- subset(object, drug == "control")
  drawn <- SampleResponse(controls, "drug A", folder, covariate.by = "type", verbose = FALSE)
  expect_identical(colnames(drawn), colnames(controls))
  expect_identical(drawn$type, controls$type)
  expect_true(all(drawn$perturbation == "drug A"))
  # Shares of all counts, as cells are drawn at the depth of the controls.
  shares <- function(cells) prop.table(Matrix::rowSums(SeuratObject::LayerData(cells, layer = "counts")))
  treated <- shares(subset(object, drug == "drug A"))
  expect_lt(mean(abs(shares(drawn) - treated)), mean(abs(shares(controls) - treated)) / 2)
  again <- SampleResponse(controls, "drug A", folder, covariate.by = "type", verbose = FALSE)
  expect_identical(SeuratObject::LayerData(again, "counts"), SeuratObject::LayerData(drawn, "counts"))
  expect_error(SampleResponse(controls, c("a", "b"), folder), "must be one name", class = "celloquy_ArgumentError")
})

test_that("a SingleCellExperiment and a matrix say the same, with values for each cell", {
  skip_without_python()
  object <- screen()
  counts <- SeuratObject::LayerData(object, layer = "counts")
  ask <- function(...) {
    PredictResponse(..., perturbations = c("drug A", "drug A+drug C"), seed.use = 0, verbose = FALSE)$change
  }
  expected <- learned()$found$change
  expect_identical(ask(counts, perturbation.by = object$drug, covariate.by = object$type), expected)
  skip_if_not_installed("SingleCellExperiment")
  cells <- SingleCellExperiment::SingleCellExperiment(
    list(counts = counts),
    colData = data.frame(drug = object$drug, type = object$type)
  )
  expect_identical(ask(cells, perturbation.by = "drug", covariate.by = "type"), expected)
})

test_that("tables of effects and of ranks need no controls, and may have doses and descriptions", {
  skip_without_python()
  values <- effects()
  described <- data.frame(
    mechanism = c("one", "one", "two", "two", NA, "one", "two"), weight = 1:7, row.names = paste0("drug", 1:7)
  )
  found <- PredictResponse(values, "drug7", values = "effects", described = described, verbose = FALSE)
  expect_identical(found$conditions$situation, "new perturbation")
  expect_gt(stats::cor(found$change[, 1], rowMeans(values)), 0.9)
  expect_true(any(grepl("mechanism", found$report$way)))
  expect_identical(
    PredictResponse(as.data.frame(values), "drug7", values = "effects", described = described, verbose = FALSE), found
  )
  ranks <- apply(-values, 2, rank)
  ranked <- PredictResponse(ranks, "drug7", values = "ranks", described = described, verbose = FALSE)
  expect_gt(stats::cor(ranked$change[, 1], rowMeans(values), method = "spearman"), 0.8)
  doses <- rep(c(1, 10, 100), 2)
  told <- PredictResponse(
    values * rep(log10(doses) + 1, each = 30), "a",
    perturbation.by = rep(c("a", "b"), each = 3), dose.by = doses, doses = c(10, 30), values = "effects",
    verbose = FALSE
  )
  expect_identical(told$conditions$situation, c("measured", "new dose"))
  expect_identical(told$conditions$dose, c(10, 30))
})

test_that("responses are drawn", {
  skip_without_python()
  skip_if_not_installed("ggplot2")
  found <- learned()$found
  rows <- function(plot, layer) nrow(ggplot2::layer_data(plot, layer))
  expect_identical(rows(ResponsePlot(found, n = 3), 2), 180L)
  volcano <- ResponsePlot(found, "volcano", "drug A T", n = 4)
  expect_identical(rows(volcano, 1), 60L)
  expect_identical(rows(volcano, 2), 4L)
  expect_lt(max(abs(ggplot2::layer_data(volcano)$x - found$measured$change[, "drug A T"])), 1e-12)
  expect_identical(rows(ResponsePlot(found, "reliability"), 3), ncol(found$held.out$observed))
  values <- effects()[, rep(1, 6)] * rep(c(1, 2, 3), each = 30)
  doses <- PredictResponse(
    values, "a",
    perturbation.by = rep(c("a", "b"), each = 3), dose.by = rep(c(1, 10, 100), 2), doses = c(1, 3, 10),
    values = "effects", verbose = FALSE
  )
  curve <- ResponsePlot(doses, "dose", features = c("gene01", "gene02"))
  expect_identical(rows(curve, 3), 6L)
  expect_identical(rows(curve, 4), 6L)
  expect_error(ResponsePlot(doses, "volcano", "a 1"), "how sure", class = "celloquy_ArgumentError")
  expect_error(ResponsePlot(doses, "dose", "c", "gene01"), "are not there", class = "celloquy_ArgumentError")
  expect_error(ResponsePlot(doses, "dose", features = "no"), class = "celloquy_GenesError")
  expect_error(ResponsePlot(found$report), "no response to perturbations", class = "celloquy_ArgumentError")
  expect_error(ResponsePlot(found, "lines"), "must be one of", class = "celloquy_ArgumentError")
  expect_error(ResponsePlot(found, 3), "must be a character vector", class = "celloquy_ArgumentError")
  expect_error(ResponsePlot(found, n = NA), "whole number", class = "celloquy_ArgumentError")
  expect_error(ResponsePlot(found, conditions = character()), "are not there", class = "celloquy_ArgumentError")
})

test_that("what can't be predicted is refused in R's words", {
  skip_without_python()
  object <- screen()
  refused <- function(...) rlang::catch_cnd(PredictResponse(..., verbose = FALSE), "error")
  expect_match(conditionMessage(refused()), "nothing to learn from")
  expect_match(conditionMessage(refused(model.dir = "no", perturbation.by = "drug")), "There is no use here")
  said <- refused(object, perturbation.by = "drug", control = "DMSO")
  expect_s3_class(said, "celloquy_ArgumentError")
  expect_identical(said$argument, "control")
  said <- refused(object, "drug Z", perturbation.by = "drug")
  expect_s3_class(said, "celloquy_GenesError")
  expect_match(conditionMessage(said), "Nothing is known of these perturbations")
  expect_identical(refused(object, perturbation.by = "no")$argument, "perturbation.by")
  expect_identical(refused(object, perturbation.by = "drug", dose.by = "type")$argument, "dose.by")
  said <- refused(effects(), perturbation.by = "a", values = "effects")
  expect_match(conditionMessage(said), "no value for each cell")
  expect_identical(refused(effects(), values = "effects", described = 1)$argument, "described")
  expect_s3_class(refused(model.dir = tempdir()), "celloquy_CheckpointError")
})
