test_that("without a reference, coarse types are named and counted among those that are listed", {
  skip_without_python()
  object <- SeuratObject::pbmc_small
  named <- AnnotateCells(object, verbose = FALSE)
  expect_true(all(named$predicted.id %in% c(KnownTypes()$name, "unknown")))
  expect_equal(nrow(named[["prediction.score.id"]]), nrow(KnownTypes()))
  expect_identical(named[["prediction.score.id"]][["label"]]$label, KnownTypes()$name)
  expect_gt(sum(named$predicted.id %in% c("T cell", "B cell", "natural killer cell", "monocyte", "dendritic cell")), 40)
  every <- AnnotateCells(object, false.unknown.rate = 0, top.k = 2, verbose = FALSE)
  expect_false("unknown" %in% every$predicted.id)
  expect_identical(every$predicted.id.1, every$predicted.id)
  counts <- SeuratObject::LayerData(object, layer = "counts")
  expect_identical(AnnotateCells(counts, verbose = FALSE)$predicted.id, unname(named$predicted.id))
})

test_that("what is about a reference is refused without one, and the object stays as it is", {
  skip_without_python()
  object <- SeuratObject::pbmc_small
  expect_error(AnnotateCells(object, epochs = 2), "no use here for `epochs`", class = "celloquy_ArgumentError")
  expect_error(AnnotateCells(object, return.evidence = TRUE), "return.evidence", class = "celloquy_ArgumentError")
  expect_error(AnnotateCells(object, false.unknown.rate = 0.1), "false.unknown.rate", class = "celloquy_ArgumentError")
  expect_error(AnnotateCells(object, label.by = "groups"), "reference", class = "celloquy_ArgumentError")
  expect_error(AnnotateCells(object, top.k = 100), "top.k", class = "celloquy_ArgumentError")
})

test_that("every known type has ids of the Cell Ontology", {
  skip_without_python()
  expect_true(all(grepl("^CL:[0-9]{7}( CL:[0-9]{7})*$", KnownTypes()$cell_ontology)))
})

test_that("the model in the box learns the labels of a reference, and takes no options of training", {
  skip_without_python()
  object <- SeuratObject::pbmc_small
  first <- AnnotateCells(object, object, "RNA_snn_res.1", model.object = "cells-mini", verbose = FALSE)
  expect_gt(mean(first$predicted.id == as.character(object$RNA_snn_res.1)), 0.8)
  expect_error(
    AnnotateCells(object, object, "RNA_snn_res.1", model.object = "cells-mini", epochs = 2, verbose = FALSE),
    "`epochs` has no use with this model", class = "celloquy_ArgumentError"
  )
})
