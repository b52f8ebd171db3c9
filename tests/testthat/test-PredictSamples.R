# Samples of two classes, which differ in the share of cells that express the first genes; the share is a number, too.
cohort <- function(samples = 10, start = 0) {
  set.seed(3 + start)
  markers <- c("CD3D", "CD3E", "IL7R", "CD79A", "MS4A1", "CD74", "LYZ", "S100A8", "CD14", "NKG7", "GNLY", "PPBP")
  others <- c("ACTB", "B2M", "TMSB4X", "MALAT1", "RPL3", "RPS6", "FTL", "FTH1", "EEF1A1", "GAPDH", "CD44", "JUN")
  genes <- c(markers, others)
  made <- lapply(seq_len(samples), function(number) {
    share <- if (number %% 2) 0.85 else 0.15
    first <- stats::runif(40) < share
    of_first <- c(rep(c(8, 0.3), each = 6), rep(4, 12))
    of_second <- c(rep(c(0.3, 8), each = 6), rep(4, 12))
    means <- outer(of_first, first) + outer(of_second, !first)
    list(
      counts = matrix(stats::rpois(length(means), means), nrow(means)),
      data = data.frame(
        patient = rep(sprintf("p%02d", number + start), 40), state = if (number %% 2) "well" else "ill",
        share = mean(first)
      )
    )
  })
  counts <- do.call(cbind, lapply(made, `[[`, "counts"))
  dimnames(counts) <- list(genes, paste0("cell", start, "_", seq_len(ncol(counts))))
  data <- do.call(rbind, lapply(made, `[[`, "data"))
  rownames(data) <- colnames(counts)
  SeuratObject::CreateSeuratObject(methods::as(counts, "CsparseMatrix"), meta.data = data)
}

test_that("samples are told held out, those without a target by what was learned, and kept readings tell the same", {
  skip_without_python()
  object <- cohort(14)
  state <- object$state
  state[object$patient %in% c("p13", "p14")] <- NA
  object$known <- state
  folder <- file.path(withr::local_tempdir(), "kept")
  told <- PredictSamples(object, "patient", "known", model.dir = folder, verbose = FALSE)
  expect_identical(rownames(told), sprintf("p%02d", 1:14))
  expect_identical(told$held.out, c(rep(TRUE, 12), FALSE, FALSE))
  expect_identical(as.character(told["p13", "label"]), "well")
  expect_identical(is.na(told$truth), c(rep(FALSE, 12), TRUE, TRUE))
  expect_identical(levels(told$truth), c("ill", "well"))
  expect_equal(told$probability.ill + told$probability.well, rep(1, 14), tolerance = 1e-6)
  cells <- attr(told, "cells")
  expect_identical(cells$cell, colnames(object))
  expect_identical(cells$sample, unname(object$patient))
  expect_equal(sum(head(attr(told, "report")$weight, -1)), 1)
  again <- PredictSamples(object, "patient", model.dir = folder, verbose = FALSE)
  expect_identical(again$given, told$held.out)
  expect_equal(again["p13", "probability.well"], told["p13", "probability.well"], tolerance = 1e-6)
  # A matrix has no metadata.
  counts <- SeuratObject::LayerData(object, "counts")
  same <- PredictSamples(counts, unname(object$patient), unname(state), verbose = FALSE)
  expect_equal(same$probability.ill, told$probability.ill, tolerance = 1e-6)
})

test_that("a number is told as one, and both are drawn", {
  skip_without_python()
  object <- cohort()
  told <- PredictSamples(object, "patient", "share", verbose = FALSE)
  expect_type(told$truth, "double")
  expect_gt(stats::cor(told$truth, told$value), 0.9)
  skip_if_not_installed("ggplot2")
  expect_s3_class(SamplePlot(told), "ggplot")
  classes <- PredictSamples(object, "patient", "state", verbose = FALSE)
  drawn <- ggplot2::ggplot_build(SamplePlot(classes))
  expect_identical(nrow(drawn$data[[2]]), 10L)
})

test_that("what can't be used is refused in R's words", {
  skip_without_python()
  object <- cohort()
  expect_error(PredictSamples(object, "patient"), "nothing to learn from")
  expect_error(PredictSamples(object, "patient", model.dir = "kept", group.by = "state"), "no use here")
  object$mixed <- rep(c("a", "b"), length.out = ncol(object))
  said <- task_failure(PredictSamples(object, "patient", "mixed", verbose = FALSE))
  expect_match(said, "several values within a sample")
  expect_match(said, "sample.by")
  expect_error(SamplePlot(data.frame(x = 1)), "no sample with a truth")
  expect_warning(PredictSamples(cohort(6), "patient", "state", verbose = FALSE), "fewer than 5 samples")
})
