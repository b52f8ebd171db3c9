# What an error tells the user to pass or to leave out is an argument of that verb, as R spells it.

named_in <- function(text) {
  text <- gsub("[A-Za-z_.:]+\\([^()]*\\)", "", text)
  names <- c(
    regmatches(text, gregexpr("(?<=`)[a-z][a-z0-9_.]*(?=`)", text, perl = TRUE))[[1]],
    regmatches(text, gregexpr("\\b[a-z][a-z0-9_.]*(?= = [\"'A-Z0-9])", text, perl = TRUE))[[1]]
  )
  # Options of training are those of its list.
  setdiff(names, c("learning.rate", "weight.decay", "cells.per.sentence", "validation", "patience", "parts"))
}

check_remedy <- function(condition, verb) {
  method <- formals(utils::getFromNamespace(paste0(verb, ".Seurat"), "celloquy"))
  text <- gsub("\\s+", " ", cli::ansi_strip(conditionMessage(condition)))
  strangers <- setdiff(c(named_in(text), if (length(condition$argument)) condition$argument), c(names(method), ""))
  expect_identical(strangers, character(), info = paste(verb, text))
}

verbs_with_cells <- function(object) {
  reference <- small_object()
  reference$kind <- rep(c("a", "b"), length.out = 80)
  list(
    RunCelloquy = list(object), DenoiseExpression = list(object, features = rownames(object)[1:2]),
    AnnotateCells = list(object, reference = reference, label.by = "kind"),
    ImputeGenes = list(object, reference = reference, features = rownames(reference)[[230]])
  )
}

refusals <- 0

refused_by <- function(verb, arguments) {
  arguments <- c(arguments, list(verbose = FALSE))
  if (verb != "RunCelloquy" && !"epochs" %in% names(arguments)) arguments$epochs <- 1
  condition <- suppressWarnings(tryCatch(do.call(verb, arguments), celloquy_error = identity, error = identity))
  if (inherits(condition, "error")) {
    refusals <<- refusals + 1
    check_remedy(condition, verb)
  }
}

test_that("names of arguments are found in what errors say", {
  said <- "Pass `max.memory`, or species = \"auto\"; see Seurat::AddMetaData(x, col.name = \"a\")."
  expect_identical(named_in(said), c("max.memory", "species"))
})

test_that("wrong cells are mended by arguments that the verb has", {
  skip_without_python()
  counts <- pbmc_counts()[1:229, ]
  made <- function(counts) suppressWarnings(SeuratObject::CreateSeuratObject(methods::as(counts, "CsparseMatrix")))
  renamed <- function(names) {
    rownames(counts) <- names
    made(counts)
  }
  types <- made(counts)
  types@assays$RNA@meta.data$feature_types <- "Antibody Capture"
  objects <- list(
    made(log1p(counts / 3)), made(counts + 0.5), made(counts * 1.001), types, renamed(paste0("peak", 1:229)),
    renamed(paste0("ENSDARG", sprintf("%011d", 1:229))),
    renamed(paste0(substr(rownames(counts), 1, 1), tolower(substring(rownames(counts), 2))))
  )
  refusals <<- 0
  for (object in objects) {
    calls <- verbs_with_cells(object)
    for (verb in names(calls)) refused_by(verb, calls[[verb]])
  }
  refused_by("RunCelloquy", list(objects[[7]], small_model()))
  expect_gt(refusals, 15)
})

test_that("a value that an argument can't have is mended by arguments that the verb has", {
  skip_without_python()
  calls <- verbs_with_cells(small_object()[1:229, ])
  refusals <<- 0
  for (verb in names(calls)) {
    method <- formals(utils::getFromNamespace(paste0(verb, ".Seurat"), "celloquy"))
    # What can only be true or false is taken as that.
    yes_or_no <- names(method)[vapply(method, is.logical, NA)]
    for (name in setdiff(names(method), c("object", "...", "verbose", yes_or_no))) {
      for (value in list("nonsense", -1.5)) {
        arguments <- calls[[verb]]
        arguments[[name]] <- value
        if (!(name %in% c("model.dir", "reduction.name", "new.assay.name"))) refused_by(verb, arguments)
      }
    }
  }
  expect_gt(refusals, 50)
})
