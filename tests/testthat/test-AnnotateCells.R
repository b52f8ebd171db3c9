# Half of pbmc_small's cells, labelled by their cluster, and the other half.
halves <- function() {
  object <- small_object()
  object$type <- paste0("type_", SeuratObject::pbmc_small$RNA_snn_res.1)
  list(reference = object[, object$half == "first"], query = object[, object$half == "second"])
}

annotate <- function(object, ...) AnnotateCells(object, ..., epochs = 2, verbose = FALSE)

test_that("labels, probabilities and novelty are those that Python gives, and are where TransferData puts its own", {
  skip_without_python()
  cells <- halves()
  object <- annotate(cells$query, cells$reference, "type")
  counts <- SeuratObject::LayerData(cells$query, layer = "counts")
  labelled <- SeuratObject::LayerData(cells$reference, layer = "counts")
  expected <- task_in_python("annotate", c(write_counts(counts), write_counts(labelled, cells$reference$type)))
  labels <- colnames(expected)[1:3]
  scores <- object[["prediction.score.id"]]
  expect_equal(t(SeuratObject::LayerData(scores, "data")), expected[, 1:3], tolerance = 1e-6, ignore_attr = TRUE)
  expect_identical(rownames(scores), gsub("_", "-", labels, fixed = TRUE))
  expect_identical(scores[["label"]]$label, labels)
  best <- labels[max.col(expected[, 1:3])]
  expect_identical(unname(object$predicted.id), ifelse(expected[, "unknown"] == 1, "unknown", best))
  expect_equal(unname(object$prediction.score.max), apply(expected[, 1:3], 1, max), tolerance = 1e-6)
  expect_equal(unname(object$prediction.novelty), unname(expected[, "novelty"]), tolerance = 1e-6)
})

test_that("the call is logged without the reference, and the assay says how it was made", {
  skip_without_python()
  cells <- halves()
  reference <- methods::as(SeuratObject::LayerData(cells$reference, layer = "counts"), "dgCMatrix")
  skip_if_not_installed("SingleCellExperiment")
  sce <- SingleCellExperiment::SingleCellExperiment(list(counts = reference), colData = cells$reference[[]])
  expect_no_warning(object <- annotate(cells$query, sce, "type"))
  expect_identical(SeuratObject::Command(object), "AnnotateCells.RNA")
  expect_identical(SeuratObject::Command(object, "AnnotateCells.RNA", "label.by"), "type")
  logged <- SeuratObject::Command(object, "AnnotateCells.RNA")
  expect_false("reference" %in% names(methods::slot(logged, "params")))
  made <- SeuratObject::Misc(object[["prediction.score.id"]], "celloquy")
  expect_identical(made$task, "annotate")
  expect_true(all(rapply(made, is.atomic)))
  counts <- SeuratObject::LayerData(cells$query, layer = "counts")
  expect_identical(SeuratObject::LayerData(object, layer = "counts"), counts)
})

test_that("the next best labels and the nearest reference cells are metadata, if asked for", {
  skip_without_python()
  cells <- halves()
  object <- annotate(cells$query, cells$reference, "type", false.unknown.rate = 0, top.k = 2, return.evidence = TRUE)
  expect_identical(object$predicted.id.1, object$predicted.id)
  expect_true(all(object$predicted.id.2 != object$predicted.id.1))
  for (rank in 1:5) {
    near <- object[[paste0("evidence.cell.", rank)]][[1]]
    expect_true(all(near %in% colnames(cells$reference)))
    expect_identical(object[[paste0("evidence.label.", rank)]][[1]], unname(cells$reference$type[near]))
  }
  expect_error(
    annotate(cells$query, cells$reference, "type", top.k = 9), "`top.k` can't be used",
    fixed = TRUE, class = "celloquy_ArgumentError"
  )
})

test_that("a matrix, an assay and a SingleCellExperiment get the same labels", {
  skip_without_python()
  cells <- halves()
  expected <- annotate(cells$query, cells$reference, "type")
  counts <- SeuratObject::LayerData(cells$query, layer = "counts")
  for (object in list(counts, as.matrix(counts), cells$query[["RNA"]])) {
    table <- annotate(object, cells$reference, "type")
    expect_identical(table$predicted.id, unname(expected$predicted.id))
    expect_identical(rownames(table), colnames(counts))
    scores <- table[paste0("prediction.score.type_", 0:2)]
    expect_identical(apply(scores, 1, max), expected$prediction.score.max)
  }
  skip_if_not_installed("SingleCellExperiment")
  sce <- annotate(SingleCellExperiment::SingleCellExperiment(list(counts = counts)), cells$reference, "type")
  expect_identical(sce$predicted.id, unname(expected$predicted.id))
  expect_identical(
    SummarizedExperiment::assay(SingleCellExperiment::altExp(sce, "prediction.score.id"), "probability"),
    SeuratObject::LayerData(expected[["prediction.score.id"]], "data"), ignore_attr = TRUE
  )
})

test_that("what was kept annotates again without the reference, and gives the same", {
  skip_without_python()
  cells <- halves()
  model <- file.path(withr::local_tempdir(), "annotator")
  first <- annotate(cells$query, cells$reference, "type", model.dir = model)
  again <- AnnotateCells(cells$query, model.object = model, verbose = FALSE)
  expect_identical(again[[]], first[[]])
  expect_match(task_failure(annotate(cells$query, cells$reference, "type", model.object = model)), "fitted already")
  for (idle in list(list(epochs = 3), list(drop.rare = 5), list(config = "small"), list(seed.use = 1))) {
    call <- c(list(cells$query, model.object = model, verbose = FALSE), idle)
    expect_match(task_failure(do.call(AnnotateCells, call)), paste0("no use here for.*", names(idle)))
  }
})

test_that("cells without a label and rare labels teach nothing", {
  skip_without_python()
  cells <- halves()
  cells$reference$type[1:6] <- c(NA, "", "Unknown", "unassigned", "nan", "a rare type")
  expect_match(task_failure(suppressWarnings(annotate(cells$query, cells$reference, "type"))), "labels of one cell")
  expect_warning(
    object <- annotate(cells$query, cells$reference, "type", drop.rare = 2),
    "5 of [0-9]+ reference cells have no label"
  )
  expect_setequal(object[["prediction.score.id"]][["label"]]$label, paste0("type_", 0:2))
})

test_that("a pretrained model is fine-tuned", {
  skip_without_python()
  cells <- halves()
  tuned <- annotate(cells$query, cells$reference, "type", model.object = small_model())
  alone <- annotate(cells$query, cells$reference, "type")
  expect_gt(max(abs(tuned$prediction.score.max - alone$prediction.score.max)), 0)
})

test_that("a column of labels must be there, and a reference be given", {
  cells <- halves()
  expect_match(task_failure(annotate(cells$query, cells$reference, "celltype")), "There is no column \"celltype\"")
  counts <- SeuratObject::LayerData(cells$reference, layer = "counts")
  expect_match(task_failure(annotate(cells$query, counts, "type")), "There is no metadata")
  expect_match(task_failure(annotate(cells$query, label.by = "type")), "nothing to learn from.*reference")
  expect_match(task_failure(annotate(cells$query, cells$reference)), "Not given: `label.by`")
})

test_that("objects of another class are refused by the name of their argument", {
  cells <- halves()
  expect_match(task_failure(annotate("cells.csv", cells$reference, "type")), "`object` holds no cells.*a string")
  expect_match(task_failure(annotate(cells$query, "atlas.csv", "type")), "`reference` holds no cells.*a string")
  expect_match(task_failure(annotate(cells$query, cells$reference, "type", reference.assay = "ADT")), "\"RNA\"")
  expect_match(task_failure(annotate(cells$query, cells$reference, "type", epoch = 3)), "must be empty|epoch")
})

test_that("labels with gaps, one label, no shared genes and a reference without counts are told", {
  skip_without_python()
  cells <- halves()
  gaps <- cells$reference
  gaps$type[[1]] <- NA
  expect_warning(annotate(cells$query, gaps, "type"), "1 of 40 reference cells")
  expect_match(task_failure(annotate(cells$query, cells$reference, "half")), "has one label")
  counts <- SeuratObject::LayerData(cells$query, layer = "counts")
  known <- rownames(counts) %in% rownames(counts)[1:100]
  message <- task_failure(annotate(counts[known, ], cells$reference[!known, ], "type"))
  expect_match(message, "Only 0.0% of the counts .* 100 names such as MS4A1")
  normalised <- cells$reference
  SeuratObject::LayerData(normalised, "data") <- log1p(SeuratObject::LayerData(normalised, layer = "counts") / 3)
  message <- task_failure(annotate(cells$query, normalised, "type", reference.layer = "data"))
  expect_match(message, "Layer \"data\" of assay \"RNA\" of the reference", fixed = TRUE)
})

test_that("cells get the labels of a reference of the other species", {
  skip_without_python()
  genes <- c(
    "CD3D", "CD3E", "MS4A1", "CD79A", "NKG7", "GZMA", "CST3", "GCG", "ACTB", "PPIA", "EEF2", "VIM", "CD8A", "CD4",
    "SPI1", "PAX5", "GATA3", "MKI67", "TOP2A", "PCNA", "LDHB", "CD19", "IL7R", "LEF1", "TCF7", "BANK1", "CD22", "BLK"
  )
  cells <- function(names, seed) {
    type <- rep(c("even", "odd"), length.out = 80)
    rates <- outer(seq_along(names) %% 2, type == "odd", function(odd, of_odd) ifelse(odd == of_odd, 8, 1))
    withr::with_seed(seed, counts <- matrix(stats::rpois(length(rates), rates), nrow(rates)))
    dimnames(counts) <- list(names, paste0("cell", seq_len(80)))
    list(counts = methods::as(counts, "dgCMatrix"), type = type)
  }
  # Names that are human alone say that the capitals are.
  human <- cells(c(genes, "HLA-A", "HLA-B", "HLA-DRA", "ZNF106"), 1)
  # The first letter of a mouse symbol alone is a capital.
  mouse <- cells(paste0(substr(genes, 1, 1), tolower(substring(genes, 2))), 2)
  reference <- SeuratObject::CreateSeuratObject(human$counts)
  reference$type <- human$type
  found <- AnnotateCells(mouse$counts, reference, "type", false.unknown.rate = 0, verbose = FALSE)
  expect_gt(mean(found$predicted.id == mouse$type), 0.9)
  made <- attr(found, "celloquy")$parameters
  expect_identical(as.character(made$reference_species), "human")
  expect_equal(as.numeric(made$ortholog_groups), length(genes))
})
