test_that("R's names of Python's arguments follow the rule, and every exception has a reason", {
  expect_identical(r_name("batch_size"), "batch.size")
  expect_identical(r_name("tissue_key"), "tissue.by")
  expect_identical(r_name("reference_layer"), "reference.layer")
  expect_identical(r_name("false_unknown_rate"), "false.unknown.rate")
  expect_identical(r_name("seed"), "seed.use")
  expect_true(all(nzchar(vapply(argument_exceptions, `[[`, "", "why"))))
  # An exception that follows the rule is none.
  by_rule <- gsub("_", ".", sub("_key$", "_by", names(argument_exceptions)))
  expect_false(any(vapply(argument_exceptions, `[[`, "", "r") == by_rule))
})

test_that("every argument that the rule names is one of the verb", {
  options <- c(
    "model", "freeze_encoder", "config", "layer", "species", "epochs", "training", "out", "precision", "device", "seed",
    "progress"
  )
  own <- list(
    RunCelloquy.Seurat = c("tissue_key", "spatial_key", "batch_key", "batch_size", "max_memory", "batch_mixing"),
    AnnotateCells.Seurat = c(
      "tissue_key", "spatial_key", "batch_key", "label_key", "false_unknown_rate", "top_k", "return_evidence",
      "reference", "key_added"
    ),
    DenoiseExpression.Seurat = c(
      "tissue_key", "spatial_key", "batch_key", "unit", "genes", "return_std", "n_neighbors", "key_added"
    ),
    ImputeGenes.Seurat = c(
      "tissue_key", "spatial_key", "reference", "reference_layer", "genes", "n_models", "batch_mixing", "key_added"
    ),
    CelloquyIntegration = c("batch_mixing", "n_top_genes")
  )
  for (verb in names(own)) {
    arguments <- vapply(c(options, own[[verb]]), r_name, "", USE.NAMES = FALSE)
    expect_identical(setdiff(arguments, names(formals(verb))), character(), info = verb)
  }
})

test_that("functions that errors name are there", {
  for (name in functions_of_r) expect_true(is.function(get(sub("()", "", name, fixed = TRUE))))
  expect_identical(in_terms_of_r("which `gene_embeddings` needs", "counts"), "which `GeneEmbeddings()` needs")
})

test_that("methods for every class take the options of training and of running by name, with one default", {
  shared <- c(
    "model.object", "freeze.encoder", "config", "counts", "species", "epochs", "training", "model.dir", "overwrite",
    "precision", "device", "seed.use", "verbose"
  )
  for (verb in c("RunCelloquy", "AnnotateCells", "DenoiseExpression", "ImputeGenes")) {
    of_matrices <- if (verb == "RunCelloquy") "dgCMatrix" else "default"
    classes <- c(if (verb != "AnnotateCells") c("Assay", "StdAssay"), "SingleCellExperiment", of_matrices)
    for (class in classes) {
      method <- formals(utils::getFromNamespace(paste(verb, class, sep = "."), "celloquy"))
      expect_identical(method[shared], formals(utils::getFromNamespace(paste0(verb, ".Seurat"), "celloquy"))[shared])
    }
  }
})

test_that("what Python says of its arguments and objects is said of R's", {
  said <- function(text) in_terms_of_r(text, "Layer \"counts\"")
  expect_identical(said("`batch_size` can't be used."), "`batch.size` can't be used.")
  expect_identical(said("pass `tissue_key`, or leave `spatial_key` out."), "pass `tissue.by`, or leave `spatial` out.")
  expect_identical(said("X of adata is log-normalised."), "Layer \"counts\" is log-normalised.")
  expect_identical(said("species=\"auto\", max_memory='4 GB'"), "species = \"auto\", max.memory = \"4 GB\"")
  expect_identical(said("'auto' or None"), "\"auto\" or NULL")
  expect_identical(said("None of the features are genes."), "None of the features are genes.")
  expect_identical(said("the panel's genes can't"), "the panel's genes can't")
  expect_identical(said("Column 'a' of reference.obs"), "Column \"a\" of the metadata of the reference")
  expect_identical(said("to smooth them use cq.denoise()."), "to smooth them use DenoiseExpression().")
  expect_identical(said("names in adata.var_names"), "names among the features")
  expect_identical(said("There is no Annotator in 'a/b'."), "There is no model of AnnotateCells() in \"a/b\".")
  expect_identical(said("one for the task 'denoise'"), "one for DenoiseExpression()")
  expect_identical(said("a directory that Imputer.save() wrote"), "a directory that `model.dir` kept")
  expect_identical(said("fit an Imputer on this panel"), "fit a model of ImputeGenes() on this panel")
  expect_identical(said("No gene of input 1 is known."), "No gene of layer \"counts\" is known.")
  expect_identical(said("No gene of reference is known."), "No gene of the reference is known.")
  # What is no identifier is left as it is.
  expect_identical(said("what `R RHOME` prints"), "what `R RHOME` prints")
})

test_that("a remedy that only Python's users could follow becomes one of R", {
  remedy <- function(text, class, argument = "") remedy_in_r(text, class, argument, "The matrix")
  expect_match(remedy("put them into adata.layers['counts'].", "CountsError"), "Pass the raw counts")
  expect_match(remedy("see cq.identify_genes(adata.var_names).", "GenesError"), "gene symbols or Ensembl ids")
  expect_match(remedy("read it with CellModel.from_cellplm(prefix).", "CheckpointError"), "`model.object`")
  expect_identical(remedy("see obsm['x'].", "ArgumentError", "top.k"), "Change `top.k`, or leave it out.")
  expect_identical(remedy("leave `genes` out.", "ArgumentError"), "Leave `features` out.")
  to_a_file <- "pass `genes` for some of them, or out='denoised.h5ad' to write them by blocks."
  expect_identical(remedy(to_a_file, "ArgumentError"), "Pass `features` for some of them.")
})

test_that("options of training have R's names, and those that are there are listed", {
  skip_without_python()
  run <- function(...) DenoiseExpression(small_object(), features = "CD3E", training = list(...), verbose = FALSE)
  values <- function(...) SeuratObject::LayerData(run(epochs = 2, ...)[["denoised"]], "data")
  expect_gt(max(abs(values(learning.rate = 5e-3) - values())), 0)
  expect_identical(values(batch.size = 20), values(batch.size = 20L))
  expect_error(run(learning.rat = 1), "no option `learning.rat`.*`learning.rate`", class = "celloquy_ArgumentError")
  expect_error(run(learning.rate = 3), "`learning.rate` can't be used", class = "celloquy_ArgumentError")
  expect_error(run(1e-3), "must be a list with names", class = "celloquy_ArgumentError")
})

test_that("an error names the argument at fault in its field, too", {
  condition <- rlang::catch_cnd(RunCelloquy(small_object(), tissue.by = "no"), "error")
  expect_identical(condition$argument, "tissue.by")
  said <- list(
    class = "ArgumentError", problem = "`label_key` is missing.", found = "", expected = "", remedy = "pass it.",
    argument = "label_key"
  )
  condition <- rlang::catch_cnd(abort_celloquy(said, "The matrix", NULL), "error")
  expect_identical(condition$argument, "label.by")
  expect_match(conditionMessage(condition), "`label.by` is missing", fixed = TRUE)
})
